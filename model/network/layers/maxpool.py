"""2-D max-pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from convstream.model.base.errors import UserError
from convstream.model.network.layers import base, windows
from convstream.model.network.layers.base import FAST, Arrays, Gradients, Layer, Passes, Shape, Way

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class MaxPool(Layer):
    """2-D max-pool, square window. Padding never wins: every window has at least one pixel."""

    kernel: int
    stride: int
    padding: int = 0

    kind = "maxpool"
    stem = "pool"
    accumulates = False
    passes = True
    monotone = True

    def out_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        return (shape[0], *windows.positions(self, shape))

    def integers(self, inputs: Arrays, operands: Arrays) -> np.ndarray:
        return self._maxima(inputs[0], 0)

    def _maxima(self, x: np.ndarray, least: float) -> np.ndarray:
        """N x C x OH x OW; least: the value of the frame, which exceeds none."""
        return windows.reduce_windows(windows.pad(x, self.padding, least), self, np.maximum)

    def forward(self, inputs: Arrays, weights: Arrays, way: Way = FAST) -> Passes:
        (x,) = inputs
        y = self._maxima(x, -np.inf)

        def backward(dy: np.ndarray) -> Gradients:
            return (maxpool2d_backward(dy, x, y, self.kernel, self.stride, self.padding),), ()

        return y, backward

    def torch_forward(self, inputs: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
        import torch
        from torch.nn import functional

        (x,) = inputs
        if self.padding:
            # PyTorch's own padding stops at half a kernel.
            x = functional.pad(x, [self.padding] * 4, value=-torch.inf)
        return functional.max_pool2d(x, self.kernel, self.stride)


def maxpool2d(x: np.ndarray, kernel: int, stride: int, padding: int = 0) -> np.ndarray:
    """y[n, c, oy, ox] = max over ky, kx of x[n, c, oy*S + ky - P, ox*S + kx - P] inside the image.

    x: N x C x H x W, uint8 (`rtl/maxpool2d.v`) or floats. Returns y, of the same type,
    N x C x OH x OW. Raises `UserError` on another type or shape.
    """
    layer = _checked(x, kernel, stride, padding)
    return layer._maxima(x, 0 if x.dtype == np.uint8 else -np.inf)


def maxpool2d_backward(
    dy: np.ndarray, x: np.ndarray, y: np.ndarray, kernel: int, stride: int, padding: int = 0
) -> np.ndarray:
    """dx: each dy goes to the pixel that was the maximum; of equals to the first in raster order.

    dy, y: N x C x OH x OW, y as `maxpool2d` gave it; x: floats N x C x H x W. Returns dx, shaped as
    x.
    """
    layer = _checked(x, kernel, stride, padding)
    out_shape = layer.out_shape(x.shape[1:])
    base.check_gradient(dy, (len(x), *out_shape), x.dtype)
    padded = windows.pad(x, padding, -np.inf)
    dpadded = np.zeros_like(padded)
    left = np.ones_like(y, bool)
    for ky, kx in np.ndindex(kernel, kernel):
        tap = windows.tap(layer, out_shape, ky, kx)
        wins = (padded[tap] == y) & left
        left &= ~wins
        dpadded[tap] += dy * wins
    return windows.crop(dpadded, padding)


def _checked(x: np.ndarray, kernel: int, stride: int, padding: int) -> MaxPool:
    if not isinstance(x, np.ndarray) or x.ndim != 4:
        raise UserError("the input of maxpool2d: expected an array N x C x H x W")
    if x.dtype not in (np.uint8, np.float32, np.float64):
        raise UserError(f"the input of maxpool2d: found {x.dtype}, expected uint8 or floats")
    layer = MaxPool(kernel, stride, padding)
    layer.out_shape(x.shape[1:])  # refuses a window that does not fit
    return layer
