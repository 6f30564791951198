"""Channels of several tensors, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from convstream.model.base.errors import UserError
from convstream.model.network.layers.base import FAST, Arrays, Gradients, Layer, Passes, Shape, Way

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Concat(Layer):
    """Inputs of equal height and width; their codes stand for the same values."""

    kind = "concat"
    stem = "concat"
    trainable = False
    accumulates = False
    passes = True

    def out_shape(self, *shapes: Shape) -> Shape:
        if len({shape[1:] for shape in shapes}) != 1:
            sizes = ", ".join(f"{height}x{width}" for _, height, width in shapes)
            raise UserError(f"concatenated images of {sizes}, expected one size")
        return (sum(shape[0] for shape in shapes), *shapes[0][1:])

    def integers(self, inputs: Arrays, operands: Arrays) -> np.ndarray:
        return np.concatenate(inputs, axis=1)

    def forward(self, inputs: Arrays, weights: Arrays, way: Way = FAST) -> Passes:
        ends = np.cumsum([x.shape[1] for x in inputs])[:-1]

        def backward(dy: np.ndarray) -> Gradients:
            return np.split(dy, ends, axis=1), ()

        return np.concatenate(inputs, axis=1), backward

    def torch_forward(self, inputs: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
        import torch

        return torch.cat(list(inputs), dim=1)
