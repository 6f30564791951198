"""Windows over images in memory, which convolutions and pools share.

Arrays are N x C x H x W, but images are innermost in memory wherever this module makes one: each
step then works on long contiguous runs, whatever the kernel and the stride.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from convstream.model.base.errors import UserError
from convstream.model.network.layers.base import Shape

if TYPE_CHECKING:
    from torch import Tensor

Pair = int | tuple[int, int]
"""Of rows and of columns; a single number stands for both."""

Padding = int | tuple[int, int, int, int]
"""Pixels of padding at the top, left, bottom and right; a single number stands for all."""


@dataclass(frozen=True)
class Window:
    """Taps of a window, the step between its positions, and the frame around the image.

    kernel, stride, dilation: of rows and of columns. padding: top, left, bottom, right.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)

    @classmethod
    def of(cls, kernel: Pair, stride: Pair, padding: Padding = 0, dilation: Pair = 1) -> Window:
        """The same from numbers that stand for all directions."""
        top, left, bottom, right = (padding,) * 4 if isinstance(padding, int) else padding
        return cls(_pair(kernel), _pair(stride), (top, left, bottom, right), _pair(dilation))

    @property
    def taps(self) -> int:
        """Number of taps."""
        return self.kernel[0] * self.kernel[1]

    @property
    def span(self) -> tuple[int, int]:
        """Rows and columns from the first tap to the last, both included."""
        rows, columns = (
            (kernel - 1) * dilation + 1
            for kernel, dilation in zip(self.kernel, self.dilation, strict=True)
        )
        return rows, columns

    def padded(self, shape: Shape) -> Shape:
        """`shape` with the frame."""
        channels, height, width = shape
        top, left, bottom, right = self.padding
        return channels, top + height + bottom, left + width + right

    def same(self, shape: Shape, odd_before: bool = False) -> Window:
        """The same with the least padding that gives ceil(size / stride) positions.

        What is odd of it goes behind the image, or before it.
        """
        before, after = [0, 0], [0, 0]
        for axis, size in enumerate(shape[1:]):
            stride = max(1, self.stride[axis])
            total = max(0, (-(-size // stride) - 1) * stride + self.span[axis] - size)
            small, large = total // 2, total - total // 2
            before[axis], after[axis] = (large, small) if odd_before else (small, large)
        return replace(self, padding=(before[0], before[1], after[0], after[1]))

    def positions(self, shape: Shape) -> tuple[int, int]:
        """(OH, OW), the rows and columns of positions on images of `shape`.

        Raises `UserError` where there are none, or a window could lie wholly in the padding.
        """
        (rows, columns), (top, left, bottom, right) = self.span, self.padding
        steps = min(*self.kernel, *self.stride, *self.dilation)
        fits = max(top, bottom) < rows and max(left, right) < columns
        if steps < 1 or min(self.padding) < 0 or not fits:
            raise UserError(
                f"window {self}: expected 0 <= padding < kernel on each side, "
                "and stride >= 1; choose such values"
            )
        _, height, width = self.padded(shape)
        if height < rows or width < columns:
            raise UserError(
                f"window {self}: the window is larger than the {shape[1]}x{shape[2]} input with "
                "its padding; use a smaller kernel or a larger input"
            )
        return (height - rows) // self.stride[0] + 1, (width - columns) // self.stride[1] + 1

    def __str__(self) -> str:
        """Such as "3x5 stride 2x1 pad 1,0,1,2"."""
        text = f"{self.kernel[0]}x{self.kernel[1]}"
        for name, sizes, usual, join in (
            ("stride", self.stride, 1, "x"),
            ("pad", self.padding, 0, ","),
            ("dilation", self.dilation, 1, "x"),
        ):
            if set(sizes) != {usual}:
                shown = sizes[:1] if len(set(sizes)) == 1 else sizes
                text += f" {name} {join.join(map(str, shown))}"
        return text


class Windowed:
    """A layer that moves a window over its input."""

    window: Window

    def padded_size(self, shape: Shape) -> int:
        """Values of an input image of `shape` with its padding."""
        return math.prod(self.window.padded(shape))


def _pair(sizes: Pair) -> tuple[int, int]:
    rows, columns = (sizes, sizes) if isinstance(sizes, int) else sizes
    return rows, columns


def images_innermost(x: np.ndarray) -> np.ndarray:
    """A copy of x, N x C x H x W as before, whose images are next to each other in memory."""
    copy = empty(*x.shape, dtype=x.dtype)
    copy[...] = x
    return copy


def empty(count: int, *shape: int, dtype: np.dtype) -> np.ndarray:
    """Uninitialised count x shape, images innermost in memory."""
    return np.moveaxis(np.empty((*shape, count), dtype), -1, 0)


def pad(x: np.ndarray, window: Window, value: float) -> np.ndarray:
    """x with the window's frame, of `value`, around each image; x itself where there is none."""
    if not any(window.padding):
        return x
    _, channels, height, width = x.shape
    padded = empty(len(x), *window.padded((channels, height, width)), dtype=x.dtype)
    padded[...] = value
    crop(padded, window)[...] = x
    return padded


def crop(padded: np.ndarray, window: Window) -> np.ndarray:
    """What is inside the frame of `pad`, as a view."""
    top, left, bottom, right = window.padding
    return padded[:, :, top : padded.shape[2] - bottom, left : padded.shape[3] - right]


def pad_tensor(x: Tensor, window: Window, value: float) -> Tensor:
    """`pad` in PyTorch."""
    from torch.nn import functional

    top, left, bottom, right = window.padding
    return functional.pad(x, [left, right, top, bottom], value=value)


def reduce_windows(x: np.ndarray, window: Window, operation: np.ufunc) -> np.ndarray:
    """`operation` over all taps of each window that lies in x: N x C x OH x OW."""
    # A window is a rectangle: first over its rows, then over what these give.
    for axis, kernel, stride, dilation, span in zip(
        (2, 3), window.kernel, window.stride, window.dilation, window.span, strict=True
    ):
        positions = x.shape[axis] - span + 1
        lines = np.moveaxis(x, axis, 0)
        taps = [lines[at : at + positions : stride] for at in range(0, kernel * dilation, dilation)]
        x = np.moveaxis(functools.reduce(operation, taps), 0, axis)
    return x


def tap(window: Window, out_shape: tuple[int, ...], ky: int, kx: int) -> tuple[slice, ...]:
    """Index, in padded images, of what tap (ky, kx) of the window sees at all OH x OW positions."""
    rows, columns = (
        slice(k * dilation, k * dilation + (count - 1) * stride + 1, stride)
        for k, dilation, stride, count in zip(
            (ky, kx), window.dilation, window.stride, out_shape[-2:], strict=True
        )
    )
    return slice(None), slice(None), rows, columns


def windows_to_columns(
    x: np.ndarray, window: Window, dtype: np.dtype | type | None = None, value: float = 0
) -> np.ndarray:
    """The window of every position of every image of x as a column: (C*KH*KW) x (OH*OW*N).

    dtype: of the columns; by default that of x. value: of the frame.
    """
    padded = pad(x, window, value)
    (stride, across), (dilation, apart) = window.stride, window.dilation
    views = sliding_window_view(padded, window.span, (2, 3))
    views = views[:, :, ::stride, ::across, ::dilation, ::apart].transpose(1, 4, 5, 2, 3, 0)
    return views.astype(dtype or x.dtype, order="C").reshape(x.shape[1] * window.taps, -1)
