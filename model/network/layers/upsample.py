"""Nearest-neighbour upsampling by whole factors."""

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
class Upsample(Layer):
    """Every pixel becomes rows x columns equal ones."""

    rows: int
    columns: int

    kind = "upsample"
    stem = "upsample"
    accumulates = False
    passes = True
    monotone = True

    def out_shape(self, *shapes: Shape) -> Shape:
        ((channels, height, width),) = shapes
        if self.rows < 1 or self.columns < 1:
            raise UserError(f"{self}: expected whole factors of 1 or more")
        return channels, height * self.rows, width * self.columns

    def integers(self, inputs: Arrays, operands: Arrays) -> np.ndarray:
        return inputs[0].repeat(self.rows, axis=2).repeat(self.columns, axis=3)

    def forward(self, inputs: Arrays, weights: Arrays, way: Way = FAST) -> Passes:
        (x,) = inputs
        count, channels, height, width = x.shape

        def backward(dy: np.ndarray) -> Gradients:
            parts = dy.reshape(count, channels, height, self.rows, width, self.columns)
            return (parts.sum(axis=(3, 5)),), ()

        return x.repeat(self.rows, axis=2).repeat(self.columns, axis=3), backward

    def torch_forward(self, inputs: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
        x = inputs[0].repeat_interleave(self.rows, dim=2)
        return x.repeat_interleave(self.columns, dim=3)
