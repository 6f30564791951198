"""2-D average pool on windows of a power of two, whose mean is a sum and a shift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from convstream.model.base.errors import UserError
from convstream.model.network.layers import base, windows
from convstream.model.network.layers.base import (
    FAST,
    Arrays,
    Gradients,
    Layer,
    Passes,
    Shape,
    Site,
    Way,
)
from convstream.model.network.rounding import Rounding

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class AvgPool(Layer):
    """2-D average pool, square window of a power of two, no padding.

    Its accumulators are the sums of the windows: K*K times the mean, at a scale K*K times as fine.
    """

    kernel: int
    stride: int

    kind = "avgpool"
    stem = "pool"
    padding = 0

    def out_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        if self.kernel < 1 or self.kernel & (self.kernel - 1):
            raise UserError(
                f"{self}: expected a kernel that is a power of two; choose 2, 4, 8 or so"
            )
        return (shape[0], *windows.positions(self, shape))

    @property
    def sum_exponent(self) -> int:
        return 2 * (self.kernel.bit_length() - 1)

    def sum_scale(self, site: Site) -> np.ndarray:
        return np.array([site.inputs[0].scale / self.kernel**2])

    def rounding(self, site: Site) -> Rounding | None:
        assert site.output is not None
        return Rounding.real(np.array([site.inputs[0].scale]), site.output, self.kernel**2)

    def accumulator_bound(self, site: Site) -> int:
        return self.kernel**2 * max(site.zero_point, 255 - site.zero_point)

    def operands(self, site: Site) -> tuple[np.ndarray, ...]:
        """The zero point's share of a sum, and the code of the padding."""
        share = np.array(self.kernel**2 * site.zero_point)
        return share, np.array(site.zero_point, np.uint8)

    def integers(self, inputs: Arrays, operands: Arrays) -> np.ndarray:
        share, _ = operands
        dtype = base.exact_dtype(255 * self.kernel**2)
        return windows.reduce_windows(inputs[0].astype(dtype), self, np.add) - dtype(share)

    def forward(self, inputs: Arrays, weights: Arrays, way: Way = FAST) -> Passes:
        (x,) = inputs

        def backward(dy: np.ndarray) -> Gradients:
            return (avgpool2d_backward(dy, x, self.kernel, self.stride),), ()

        sums = windows.reduce_windows(x, self, np.add)
        return sums * x.dtype.type(1 / self.kernel**2), backward

    def torch_forward(self, inputs: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
        from torch.nn import functional

        return functional.avg_pool2d(inputs[0], self.kernel, self.stride)


def avgpool2d(x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    """Sums of the windows, K*K times the means (`rtl/avgpool2d.v`, OUT_WIDTH = 32).

    x: uint8 N x C x H x W. Returns int32 N x C x OH x OW. Raises `UserError` on another type or
    shape.
    """
    base.check_integers(x, "uint8", 4, "the input of avgpool2d, N x C x H x W")
    layer = AvgPool(kernel, stride)
    layer.out_shape(x.shape[1:])  # refuses a window that does not fit
    return base.int32(layer.integers([x], layer.operands(Site())))


def avgpool2d_backward(dy: np.ndarray, x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    """dx: every pixel of a window gets dy / K**2. dy: N x C x OH x OW. Returns dx, shaped as x."""
    layer = AvgPool(kernel, stride)
    out_shape = layer.out_shape(x.shape[1:])
    base.check_gradient(dy, (len(x), *out_shape), x.dtype)
    dx = np.zeros_like(x)
    share = dy * dy.dtype.type(1 / kernel**2)
    for ky, kx in np.ndindex(kernel, kernel):
        dx[windows.tap(layer, out_shape, ky, kx)] += share
    return dx
