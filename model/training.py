"""What the two backends of `model/train.py`, PyTorch and NumPy, have in common."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from model.data import load_images
from model.networks import Recipe
from model.quantised import QuantisedNetwork

VALIDATION = 5000
SPLIT_SEED = 20240229
CALIBRATION = 2048
EVALUATION_BATCH = 2000
SOLVE_COPIES = 3
OPTIMISERS = ("adam", "sgd")
INTERPOLATIONS = ("bilinear", "bicubic")
ADAM_BETAS = (0.9, 0.999)
ADAM_EPSILON = 1e-8
ELASTIC_GRID = 5


@dataclass(frozen=True, eq=False)
class Split:
    """pixels: uint8 (N, C, H, W). labels: int64 (N,)."""

    pixels: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


def load_split(split: str) -> tuple[Split, str]:
    """The whole `train` or `test` split, and the data set's name."""
    data = load_images(split)
    return Split(data.images[:, None], data.labels), data.name


def hold_out(data: Split) -> tuple[Split, Split]:
    """Training and validation part. The same for every seed and network: a teacher must not have
    learned what its pupil is validated on."""
    order = np.random.default_rng(SPLIT_SEED).permutation(len(data))
    held = min(VALIDATION, len(data) // 5)
    train, validation = (
        Split(data.pixels[part], data.labels[part]) for part in (order[held:], order[:held])
    )
    return train, validation


@dataclass
class Stage:
    """One stage of training, for the progress bar and the curve: a row of figures an epoch.

    epochs: how many there will be. steps: the loss of every step.
    """

    name: str
    epochs: int
    loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)


Progress = Callable[[Stage, int, float], None]
"""Called now and then with the stage so far, the epoch, and the share of it that is done."""


@dataclass(frozen=True, eq=False)
class Trained:
    """What a backend makes of a network.

    parameters: float32 weights and biases by name (`float.npz`). quantised: the tuned int8 network.
    stages: float training and tuning. Validation accuracies in percent. about: the device and the
    version of what it ran on, for `network.json`.
    """

    parameters: dict[str, np.ndarray]
    quantised: QuantisedNetwork
    stages: list[Stage]
    float_validation: float
    int8_validation: float
    about: dict[str, Any]


def tuning_recipe(recipe: Recipe) -> Recipe:
    """Of the fine-tuning: the float network's own logits are all that counts."""

    return replace(recipe, decay=0.0, teacher_weight=1.0, temperature=1.0, copies=0)


def warm_up_steps(total: int, steps: int) -> int:
    """Steps of rising rate: an epoch of `steps`, or a tenth of the `total`."""
    return min(steps, total // 10 + 1)


def rate_factor(step: int, total: int, warm_up: int) -> float:
    """Share of the peak learning rate at a step: a linear start, then a cosine down to 0."""
    return min((step + 1) / warm_up, 0.5 + 0.5 * math.cos(math.pi * step / total))
