"""2-D max-pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from convstream.model.base.errors import UserError
from convstream.model.network.layers import base, windows
from convstream.model.network.layers.base import FAST, Arrays, Layer, Passes, Shape, Site, Way
from convstream.model.network.layers.windows import Padding, Pair, Window, Windowed

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, init=False)
class MaxPool(Windowed, Layer):
    """2-D max-pool. Padding never wins: every window has at least one pixel."""

    window: Window

    kind = "maxpool"
    stem = "pool"
    accumulates = False
    passes = True
    monotone = True

    def __init__(self, kernel: Pair, stride: Pair, padding: Padding = 0) -> None:
        object.__setattr__(self, "window", Window.of(kernel, stride, padding))

    def out_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        return (shape[0], *self.window.positions(shape))

    def pad_code(self, site: Site) -> int:
        """One that never wins."""
        return 0

    def integers(self, inputs: Arrays, operands: Arrays) -> np.ndarray:
        return self._maxima(inputs[0], 0)

    def _maxima(self, x: np.ndarray, least: float) -> np.ndarray:
        """N x C x OH x OW; least: the value of the frame, which exceeds none."""
        padded = windows.pad(x, self.window, least)
        return windows.reduce_windows(padded, self.window, np.maximum)

    def forward(self, inputs: Arrays, weights: Arrays, way: Way = FAST) -> Passes:
        (x,) = inputs
        y = self._maxima(x, -np.inf)
        return y, lambda dy: ((maxpool2d_backward(self, dy, x, y),), ())

    def torch_forward(self, inputs: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
        import torch
        from torch.nn import functional

        # PyTorch's own padding stops at half a kernel.
        x = windows.pad_tensor(inputs[0], self.window, -torch.inf)
        return functional.max_pool2d(x, self.window.kernel, self.window.stride)


def maxpool2d(x: np.ndarray, kernel: Pair, stride: Pair, padding: Padding = 0) -> np.ndarray:
    """y[n, c, oy, ox] = max over ky, kx of x[n, c, oy*SY + ky - top, ox*SX + kx - left] inside the
    image.

    x: N x C x H x W, uint8 (`rtl/maxpool2d.v`) or floats. Returns y, of the same type,
    N x C x OH x OW. Raises `UserError` on another type or shape.
    """
    layer = MaxPool(kernel, stride, padding)
    _check(layer, x)
    return layer._maxima(x, 0 if x.dtype == np.uint8 else -np.inf)


def maxpool2d_backward(layer: MaxPool, dy: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """dx: each dy goes to the pixel that was the maximum; of equals to the first in raster order.

    dy, y: N x C x OH x OW, y as `maxpool2d` gave it; x: floats N x C x H x W. Returns dx, shaped as
    x.
    """
    _check(layer, x)
    out_shape = layer.out_shape(x.shape[1:])
    base.check_gradient(dy, (len(x), *out_shape), x.dtype)
    padded = windows.pad(x, layer.window, -np.inf)
    dpadded = np.zeros_like(padded)
    left = np.ones_like(y, bool)
    for ky, kx in np.ndindex(layer.window.kernel):
        tap = windows.tap(layer.window, out_shape, ky, kx)
        wins = (padded[tap] == y) & left
        left &= ~wins
        dpadded[tap] += dy * wins
    return windows.crop(dpadded, layer.window)


def _check(layer: MaxPool, x: np.ndarray) -> None:
    if not isinstance(x, np.ndarray) or x.ndim != 4:
        raise UserError("the input of maxpool2d: expected an array N x C x H x W")
    if x.dtype not in (np.uint8, np.float32, np.float64):
        raise UserError(f"the input of maxpool2d: found {x.dtype}, expected uint8 or floats")
    layer.out_shape(x.shape[1:])  # refuses a window that does not fit
