"""2-D convolution.

Shapes: N images, IC and OC channels before and after, H x W pixels, K the kernel, S the stride, P
the padding; OH x OW are the positions of the window.
"""

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
    Passes,
    Shape,
    Site,
    Way,
    Weighted,
)
from convstream.model.network.layers.windows import windows_to_columns

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Conv(Weighted):
    """2-D convolution, square kernel, zero padding, same stride both ways; with bias."""

    out_channels: int
    kernel: int
    stride: int = 1
    padding: int = 0

    kind = "conv"
    stem = "conv"

    def out_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        return (self.out_channels, *windows.positions(self, shape))

    def weight_shape(self, shape: Shape) -> tuple[int, ...]:
        """(OC, IC, K, K)."""
        return (self.out_channels, shape[0], self.kernel, self.kernel)

    def integers(self, inputs: Arrays, operands: Arrays) -> np.ndarray:
        (x,), (weight, bias, _) = inputs, operands
        columns = windows_to_columns(x, self, weight.dtype)
        return self._products(columns, weight, bias, x.shape)

    def _products(
        self, columns: np.ndarray, matrix: np.ndarray, bias: np.ndarray, x_shape: tuple[int, ...]
    ) -> np.ndarray:
        """N x OC x OH x OW from windows as columns, weights as a matrix, biases as a column."""
        count, channels, height, width = x_shape
        y = matrix @ columns
        y += bias
        return y.reshape(*self.out_shape((channels, height, width)), count).transpose(3, 0, 1, 2)

    def forward(self, inputs: Arrays, weights: Arrays, way: Way = FAST) -> Passes:
        (x,), (weight, bias) = inputs, weights
        if way.slow:

            def backward_slow(dy: np.ndarray) -> Gradients:
                dx, *rest = conv2d_backward_slow(dy, x, weight, self.stride, self.padding)
                return (dx,), rest

            return conv2d_slow(x, weight, bias, self.stride, self.padding), backward_slow
        columns = windows_to_columns(x, self)

        def backward(dy: np.ndarray) -> Gradients:
            dx, dweight, dbias = conv2d_backward_fast(
                dy, x, weight, self.stride, self.padding, columns, wants_dx=way.wants_dx
            )
            return (dx,), (dweight, dbias)

        return conv2d_fast(x, weight, bias, self.stride, self.padding, columns), backward

    def torch_forward(self, inputs: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
        from torch.nn import functional

        weight, bias = weights
        return functional.conv2d(inputs[0], weight, bias, self.stride, self.padding)


# Integers


def conv2d(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int = 1, padding: int = 0
) -> np.ndarray:
    """Accumulators of a 2-D convolution with zero padding (`rtl/conv2d.v`, OUT_WIDTH = 32).

    x: uint8 N x IC x H x W; weight: int8 OC x IC x K x K; bias: int32 (OC,).
    Returns int32 N x OC x OH x OW. Raises `UserError` on another type or shape.
    """
    base.check_integers(x, "uint8", 4, "the input of conv2d, N x C x H x W")
    base.check_integers(weight, "int8", 4, "the weights of conv2d, OC x IC x K x K")
    base.check_integers(bias, "int32", 1, "the biases of conv2d, OC")
    layer = Conv(weight.shape[0], weight.shape[2], stride, padding)
    if weight.shape != layer.weight_shape(x.shape[1:]) or len(bias) != len(weight):
        raise UserError(
            f"conv2d: weights {weight.shape} and biases {bias.shape} do not fit "
            f"the input {x.shape}; expected OC x IC x K x K and OC"
        )
    layer.out_shape(x.shape[1:])  # refuses a window that does not fit
    return base.int32(layer.integers([x], layer.operands(Site(weight=weight, bias=bias))))


# Floats, to be read


def conv2d_slow(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int = 1, padding: int = 0
) -> np.ndarray:
    """y[n, oc, oy, ox] = bias[oc] + sum over ic, ky, kx of weight[oc, ic, ky, kx] * window, where
    window = x[n, ic, oy*S + ky - P, ox*S + kx - P], and zero outside the image.

    x: N x IC x H x W; weight: OC x IC x K x K; bias: OC. Returns y: N x OC x OH x OW.
    """
    layer = _checked(x, weight, bias, stride, padding)
    out_channels, rows, columns = layer.out_shape(x.shape[1:])
    padded = windows.pad(x, padding, 0)
    y = np.empty((len(x), out_channels, rows, columns), x.dtype)
    for n in range(len(x)):
        for oc in range(out_channels):
            for oy in range(rows):
                for ox in range(columns):
                    window = padded[(n, *_window(layer, oy, ox))]
                    y[n, oc, oy, ox] = (window * weight[oc]).sum() + bias[oc]
    return y


def conv2d_backward_slow(
    dy: np.ndarray, x: np.ndarray, weight: np.ndarray, stride: int = 1, padding: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each y is a sum of products, so each factor's gradient is dy times the other factor:

    dweight[oc, ic, ky, kx] = sum over n, oy, ox of dy[n, oc, oy, ox] * its window of x,
    dx = sum over oc and all windows that hold the pixel of dy * weight, dbias[oc] = sum of dy[oc].

    dy: N x OC x OH x OW; x, weight: as in `conv2d_slow`. Returns dx, dweight, dbias, each of the
    shape of x, weight and bias.
    """
    layer = _checked(x, weight, None, stride, padding)
    base.check_gradient(dy, (len(x), *layer.out_shape(x.shape[1:])), x.dtype)
    padded = windows.pad(x, padding, 0)
    dpadded = np.zeros_like(padded)
    dweight = np.zeros_like(weight)
    dbias = np.zeros(len(weight), weight.dtype)
    for n, oc, oy, ox in np.ndindex(dy.shape):
        window = (n, *_window(layer, oy, ox))
        dweight[oc] += dy[n, oc, oy, ox] * padded[window]
        dpadded[window] += dy[n, oc, oy, ox] * weight[oc]
        dbias[oc] += dy[n, oc, oy, ox]
    return windows.crop(dpadded, padding), dweight, dbias


def _window(layer: Conv, oy: int, ox: int) -> tuple[slice, slice, slice]:
    """Index of the window (C, K, K) of position (oy, ox) in a padded image (C, H + 2P, W + 2P)."""
    top, left = oy * layer.stride, ox * layer.stride
    return slice(None), slice(top, top + layer.kernel), slice(left, left + layer.kernel)


# Floats, to be used


def conv2d_fast(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    stride: int = 1,
    padding: int = 0,
    columns: np.ndarray | None = None,
) -> np.ndarray:
    """As `conv2d_slow`, as one matrix product: Y = W @ X + b.

    W is weight as OC x (IC*K*K); X holds each position's window as a column, (IC*K*K) x (OH*OW*N);
    Y is OC x (OH*OW*N). columns: X, as `windows_to_columns` makes it, if it is at hand.
    """
    layer = _checked(x, weight, bias, stride, padding)
    if columns is None:
        columns = windows_to_columns(x, layer)
    return layer._products(columns, weight.reshape(len(weight), -1), bias[:, None], x.shape)


def conv2d_backward_fast(
    dy: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    stride: int = 1,
    padding: int = 0,
    columns: np.ndarray | None = None,
    *,
    wants_dx: bool = True,
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """As `conv2d_backward_slow`, from Y = W @ X + b:

    dW = dY @ X.T, dX = W.T @ dY, db = the sums of the rows of dY. A pixel's gradient is the sum of
    those of its copies in X. columns: X, as in `conv2d_fast`. dx is None where it is not wanted.
    """
    layer = _checked(x, weight, None, stride, padding)
    out_shape = layer.out_shape(x.shape[1:])
    base.check_gradient(dy, (len(x), *out_shape), x.dtype)
    if columns is None:
        columns = windows_to_columns(x, layer)
    matrix = dy.transpose(1, 2, 3, 0).reshape(len(weight), -1)
    dweight = (matrix @ columns.T).reshape(weight.shape)
    dbias = matrix.sum(axis=1)
    if not wants_dx:
        return None, dweight, dbias
    dcolumns = weight.reshape(len(weight), -1).T @ matrix
    dcolumns = dcolumns.reshape(*weight.shape[1:], *out_shape[1:], len(x))
    dpadded = np.zeros_like(windows.pad(x, padding, 0))
    for ky, kx in np.ndindex(layer.kernel, layer.kernel):
        taps = dcolumns[:, ky, kx].transpose(3, 0, 1, 2)
        dpadded[windows.tap(layer, out_shape, ky, kx)] += taps
    return windows.crop(dpadded, padding), dweight, dbias


def _checked(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, stride: int, padding: int
) -> Conv:
    if x.ndim != 4 or weight.ndim != 4:
        raise UserError(
            f"conv2d: input {base.describe(x)} and weights {base.describe(weight)}, "
            "expected N x IC x H x W and OC x IC x K x K"
        )
    layer = Conv(len(weight), weight.shape[2], stride, padding)
    if weight.shape != layer.weight_shape(x.shape[1:]):
        raise UserError(
            f"conv2d: weights {weight.shape} do not fit the input {x.shape}; "
            f"expected OC x {x.shape[1]} x K x K"
        )
    layer.out_shape(x.shape[1:])  # refuses a window that does not fit
    base.check_floats("conv2d", x, weight, bias)
    return layer
