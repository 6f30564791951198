"""What a backend of training, PyTorch or NumPy, does in its own way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from convstream.model.base.errors import UserError
from convstream.model.learning.recipes import Recipe
from convstream.model.network.exponents import Exponents
from convstream.model.network.floats import FloatNetwork

ADAM_BETAS = (0.9, 0.999)
ADAM_EPSILON = 1e-8

Model = Any
"""A network with its float weights as a backend has it: FloatNetwork or TorchNetwork."""
Batch = tuple[Any, Any, Any]
"""Pixels uint8 (B, C, H, W), labels int64 (B,), and the teacher's logits (B, classes) or None:
NumPy's or, on the backend's device, its own arrays."""


class Backend(ABC):
    """What PyTorch and NumPy do each in their own way.

    Pixels are uint8 (N, C, H, W), labels int64 (N,), logits floats (N, classes). A model computes
    in floats or, given `exponents`, what int8 computes. rng: of all random numbers, from `seed`.
    about: the device and the version of what it runs on, for `network.json`.
    """

    about: dict[str, Any]

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    @abstractmethod
    def limited(self, threads: int | None) -> AbstractContextManager[object]:
        """Inside, it computes on so many processors; None: on all of them."""

    @abstractmethod
    def from_float(self, model: FloatNetwork) -> Model:
        """The same weights, in the backend's type and of the model's own."""

    def normalised(self, model: FloatNetwork) -> Model:
        """The same with batch normalisation for float training, which `to_float` folds.

        Raises `UserError` in a backend that has none.
        """
        raise UserError(
            "recipe field normalise: this backend has no batch normalisation; "
            "train with --backend torch, or use --set normalise=0"
        )

    @abstractmethod
    def to_float(self, model: Model) -> FloatNetwork:
        """The same weights, perhaps in the same memory."""

    @abstractmethod
    def copy(self, model: Model) -> Model:
        """A model with weights of its own."""

    @abstractmethod
    def predict(
        self, model: Model, pixels: np.ndarray, exponents: Exponents | None = None
    ) -> np.ndarray:
        """Logits."""

    def to_device(self, batch: Batch) -> Batch:
        """A batch where `step` takes it."""
        return batch

    @abstractmethod
    def make_optimiser(self, model: Model, recipe: Recipe) -> Any:
        """The recipe's optimiser. Weight decay is for weights alone: biases are left free."""

    @abstractmethod
    def step(
        self,
        model: Model,
        optimiser: Any,
        batch: Batch,
        recipe: Recipe,
        exponents: Exponents | None,
        rate: float,
    ) -> tuple[Any, Any]:
        """Change `model` in place: forward, loss, backward, a step of `optimiser` at `rate`.

        Returns the loss and how many images were classified rightly. Both may be on the device
        still: to read them every step would wait for it.
        """

    @abstractmethod
    def average(self, averaged: Model, model: Model, share: float) -> None:
        """Change `averaged` in place, by `share` (0 to 1) of the way to `model`."""
