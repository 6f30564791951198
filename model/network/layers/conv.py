"""2-D convolution.

Shapes: N images, IC and OC channels before and after, G groups of channels, H x W pixels, KH x KW
the kernel; OH x OW are the positions of the window.
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
from convstream.model.network.layers.windows import (
    Padding,
    Pair,
    Window,
    Windowed,
    windows_to_columns,
)

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, init=False)
class Conv(Windowed, Weighted):
    """2-D convolution with bias.

    groups: G; output channels, in G equal groups, take each only their group of input channels.
    """

    out_channels: int
    window: Window
    groups: int

    kind = "conv"
    stem = "conv"

    def __init__(
        self,
        out_channels: int,
        kernel: Pair,
        stride: Pair = 1,
        padding: Padding = 0,
        dilation: Pair = 1,
        groups: int = 1,
    ) -> None:
        object.__setattr__(self, "out_channels", out_channels)
        object.__setattr__(self, "window", Window.of(kernel, stride, padding, dilation))
        object.__setattr__(self, "groups", groups)

    def out_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        if self.groups < 1 or shape[0] % self.groups or self.out_channels % self.groups:
            raise UserError(
                f"a convolution from {shape[0]} to {self.out_channels} channels in "
                f"{self.groups} groups; expected groups that divide both"
            )
        return (self.out_channels, *self.window.positions(shape))

    def weight_shape(self, shape: Shape) -> tuple[int, ...]:
        """(OC, IC/G, KH, KW)."""
        return (self.out_channels, shape[0] // self.groups, *self.window.kernel)

    def integers(self, inputs: Arrays, operands: Arrays) -> np.ndarray:
        (x,), (weight, bias, pad_code) = inputs, operands
        columns = windows_to_columns(x, self.window, weight.dtype, int(pad_code))
        return self._products(columns, weight, bias, x.shape)

    def _products(
        self, columns: np.ndarray, matrix: np.ndarray, bias: np.ndarray, x_shape: tuple[int, ...]
    ) -> np.ndarray:
        """N x OC x OH x OW from windows as columns, weights as a matrix, biases as a column."""
        count, channels, height, width = x_shape
        y = self._grouped(matrix) @ self._grouped(columns)
        y = y.reshape(len(matrix), -1)
        y += bias
        return y.reshape(*self.out_shape((channels, height, width)), count).transpose(3, 0, 1, 2)

    def _grouped(self, matrix: np.ndarray) -> np.ndarray:
        """G matrices, each with the rows of a group of channels."""
        return matrix.reshape(self.groups, len(matrix) // self.groups, -1)

    def forward(self, inputs: Arrays, weights: Arrays, way: Way = FAST) -> Passes:
        (x,), (weight, bias) = inputs, weights
        if way.slow:

            def backward_slow(dy: np.ndarray) -> Gradients:
                dx, *rest = conv2d_backward_slow(self, dy, x, weight)
                return (dx,), rest

            return conv2d_slow(self, x, weight, bias), backward_slow
        columns = windows_to_columns(x, self.window)

        def backward(dy: np.ndarray) -> Gradients:
            dx, dweight, dbias = conv2d_backward_fast(
                self, dy, x, weight, columns, wants_dx=way.wants_dx
            )
            return (dx,), (dweight, dbias)

        return conv2d_fast(self, x, weight, bias, columns), backward

    def torch_forward(self, inputs: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
        from torch.nn import functional

        (x,), (weight, bias), window = inputs, weights, self.window
        top, left, bottom, right = window.padding
        padding = (top, left)
        if padding != (bottom, right):
            # PyTorch itself pads both sides alike.
            x, padding = windows.pad_tensor(x, window, 0), (0, 0)
        return functional.conv2d(
            x, weight, bias, window.stride, padding, window.dilation, self.groups
        )


# Integers


def conv2d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    pad_code: int = 0,
) -> np.ndarray:
    """Accumulators of a 2-D convolution (`rtl/conv2d.v`, OUT_WIDTH = 32).

    x: uint8 N x IC x H x W; weight: int8 OC x IC/G x KH x KW; bias: int32 (OC,); pad_code: the
    code of the padding. Returns int32 N x OC x OH x OW. Raises `UserError` on another type or
    shape.
    """
    base.check_integers(x, "uint8", 4, "the input of conv2d, N x C x H x W")
    base.check_integers(weight, "int8", 4, "the weights of conv2d, OC x IC/groups x KH x KW")
    base.check_integers(bias, "int32", 1, "the biases of conv2d, OC")
    layer = Conv(len(weight), weight.shape[2:], stride, padding, dilation, groups)
    _check_shapes(layer, x, weight)
    if len(bias) != len(weight):
        raise UserError(f"conv2d: {len(bias)} biases do not fit weights {weight.shape}")
    matrix, column, _ = layer.operands(Site(weight=weight, bias=bias))
    return base.int32(layer.integers([x], (matrix, column, np.array(pad_code))))


# Floats, to be read


def conv2d_slow(layer: Conv, x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """y[n, oc, oy, ox] = bias[oc] + sum over ic, ky, kx of weight[oc, ic, ky, kx] * window, where
    window = x[n, first + ic, oy*SY + ky*DY - top, ox*SX + kx*DX - left], zero outside the image,
    and first is the first input channel of oc's group.

    x: N x IC x H x W; weight: OC x IC/G x KH x KW; bias: OC. Returns y: N x OC x OH x OW.
    """
    _check(layer, x, weight, bias)
    out_channels, rows, columns = layer.out_shape(x.shape[1:])
    padded = windows.pad(x, layer.window, 0)
    y = np.empty((len(x), out_channels, rows, columns), x.dtype)
    for n in range(len(x)):
        for oc in range(out_channels):
            for oy in range(rows):
                for ox in range(columns):
                    window = padded[_window(layer, weight, n, oc, oy, ox)]
                    y[n, oc, oy, ox] = (window * weight[oc]).sum() + bias[oc]
    return y


def conv2d_backward_slow(
    layer: Conv, dy: np.ndarray, x: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each y is a sum of products, so each factor's gradient is dy times the other factor:

    dweight[oc, ic, ky, kx] = sum over n, oy, ox of dy[n, oc, oy, ox] * its window of x,
    dx = sum over oc and all windows that hold the pixel of dy * weight, dbias[oc] = sum of dy[oc].

    dy: N x OC x OH x OW; x, weight: as in `conv2d_slow`. Returns dx, dweight, dbias, each of the
    shape of x, weight and bias.
    """
    _check(layer, x, weight)
    base.check_gradient(dy, (len(x), *layer.out_shape(x.shape[1:])), x.dtype)
    padded = windows.pad(x, layer.window, 0)
    dpadded = np.zeros_like(padded)
    dweight = np.zeros_like(weight)
    dbias = np.zeros(len(weight), weight.dtype)
    for n, oc, oy, ox in np.ndindex(dy.shape):
        window = _window(layer, weight, n, oc, oy, ox)
        dweight[oc] += dy[n, oc, oy, ox] * padded[window]
        dpadded[window] += dy[n, oc, oy, ox] * weight[oc]
        dbias[oc] += dy[n, oc, oy, ox]
    return windows.crop(dpadded, layer.window), dweight, dbias


def _window(
    layer: Conv, weight: np.ndarray, n: int, oc: int, oy: int, ox: int
) -> tuple[int, slice, slice, slice]:
    """Index, in padded images, of what output (n, oc, oy, ox) multiplies by weight[oc]."""
    channels = weight.shape[1]
    first = oc // (len(weight) // layer.groups) * channels
    rows, columns = (
        slice(at * stride, at * stride + span, dilation)
        for at, stride, span, dilation in zip(
            (oy, ox), layer.window.stride, layer.window.span, layer.window.dilation, strict=True
        )
    )
    return n, slice(first, first + channels), rows, columns


# Floats, to be used


def conv2d_fast(
    layer: Conv,
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    columns: np.ndarray | None = None,
) -> np.ndarray:
    """As `conv2d_slow`, as one matrix product a group: Y = W @ X + b.

    W is the group's weight as OC/G x (IC/G*KH*KW); X holds each position's window as a column,
    (IC/G*KH*KW) x (OH*OW*N); Y is OC/G x (OH*OW*N). columns: X of all groups, as
    `windows_to_columns` makes it, if it is at hand.
    """
    _check(layer, x, weight, bias)
    if columns is None:
        columns = windows_to_columns(x, layer.window)
    return layer._products(columns, weight.reshape(len(weight), -1), bias[:, None], x.shape)


def conv2d_backward_fast(
    layer: Conv,
    dy: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    columns: np.ndarray | None = None,
    *,
    wants_dx: bool = True,
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """As `conv2d_backward_slow`, from Y = W @ X + b:

    dW = dY @ X.T, dX = W.T @ dY, db = the sums of the rows of dY. A pixel's gradient is the sum of
    those of its copies in X. columns: X, as in `conv2d_fast`. dx is None where it is not wanted.
    """
    _check(layer, x, weight)
    out_shape = layer.out_shape(x.shape[1:])
    base.check_gradient(dy, (len(x), *out_shape), x.dtype)
    if columns is None:
        columns = windows_to_columns(x, layer.window)
    matrix = dy.transpose(1, 2, 3, 0).reshape(len(weight), -1)
    dbias = matrix.sum(axis=1)
    matrix = layer._grouped(matrix)
    dweight = (matrix @ layer._grouped(columns).swapaxes(1, 2)).reshape(weight.shape)
    if not wants_dx:
        return None, dweight, dbias
    dcolumns = layer._grouped(weight.reshape(len(weight), -1)).swapaxes(1, 2) @ matrix
    dcolumns = dcolumns.reshape(-1, *weight.shape[2:], *out_shape[1:], len(x))
    dpadded = np.zeros_like(windows.pad(x, layer.window, 0))
    for ky, kx in np.ndindex(layer.window.kernel):
        taps = dcolumns[:, ky, kx].transpose(3, 0, 1, 2)
        dpadded[windows.tap(layer.window, out_shape, ky, kx)] += taps
    return windows.crop(dpadded, layer.window), dweight, dbias


def _check(layer: Conv, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> None:
    if x.ndim != 4 or weight.ndim != 4:
        raise UserError(
            f"conv2d: input {base.describe(x)} and weights {base.describe(weight)}, "
            "expected N x IC x H x W and OC x IC/groups x KH x KW"
        )
    _check_shapes(layer, x, weight)
    base.check_floats("conv2d", x, weight, bias)


def _check_shapes(layer: Conv, x: np.ndarray, weight: np.ndarray) -> None:
    shape = x.shape[1:]
    layer.out_shape(shape)  # refuses a window that does not fit
    if weight.shape != layer.weight_shape(shape):
        raise UserError(
            f"conv2d: weights {weight.shape} do not fit the input {x.shape}; "
            f"expected {layer.weight_shape(shape)}"
        )
