"""Functions of one code, as tables of 256 bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from convstream.model.base.errors import UserError
from convstream.model.network.layers.base import FAST, Arrays, Layer, Passes, Shape, Way

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Table(Layer):
    """y = values[x], from codes to codes: LeakyReLU, sigmoid, requantising alone, ...

    tables: 256 bytes for all channels, or for each of them.
    """

    tables: tuple[bytes, ...]

    kind = "table"
    stem = "table"
    trainable = False
    accumulates = False

    @classmethod
    def of(cls, values: np.ndarray) -> Table:
        """values: uint8 (256,), or (channels, 256)."""
        return cls(tuple(row.tobytes() for row in np.atleast_2d(values)))

    @property
    def values(self) -> np.ndarray:
        """uint8 (channels, 256), or (1, 256) for all channels."""
        return np.stack([np.frombuffer(table, np.uint8) for table in self.tables])

    def out_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        if len(self.tables) not in (1, shape[0]):
            raise UserError(
                f"{len(self.tables)} tables, expected one, or {shape[0]}, one a channel"
            )
        return shape

    def integers(self, inputs: Arrays, operands: Arrays) -> np.ndarray:
        (x,) = inputs
        values = self.values
        if len(values) == 1:
            return values[0][x]
        return values[np.arange(len(values))[:, None, None], x]

    def forward(self, inputs: Arrays, weights: Arrays, way: Way = FAST) -> Passes:
        raise UserError("a table of codes cannot be trained; train the function that it stands for")

    def torch_forward(self, inputs: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
        import torch

        (x,) = inputs
        values = torch.from_numpy(self.values).to(x.dtype)
        channels = torch.arange(len(values))[:, None, None]
        return values[channels, x.long()]
