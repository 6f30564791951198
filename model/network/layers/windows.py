"""Windows over images in memory, which convolutions and pools share.

Arrays are N x C x H x W, but images are innermost in memory wherever this module makes one: each
step then works on long contiguous runs, whatever the kernel and the stride.
"""

from __future__ import annotations

import functools
from typing import Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from convstream.model.base.errors import UserError
from convstream.model.network.layers.base import Shape


class Window(Protocol):
    """Rows and columns of a square window, its step, and the frame around the image."""

    @property
    def kernel(self) -> int: ...

    @property
    def stride(self) -> int: ...

    @property
    def padding(self) -> int: ...


def positions(window: Window, shape: Shape) -> tuple[int, int]:
    """(OH, OW), the rows and columns of positions of a window on images of `shape`."""
    _, height, width = shape
    if not 0 <= window.padding < window.kernel or window.stride < 1:
        raise UserError(
            f"{window}: expected 0 <= padding < kernel and stride >= 1; choose such values"
        )
    if min(height, width) + 2 * window.padding < window.kernel:
        raise UserError(
            f"{window}: its window is larger than the {height}x{width} input with its padding; "
            "use a smaller kernel or a larger input"
        )
    rows, columns = (
        (size + 2 * window.padding - window.kernel) // window.stride + 1 for size in (height, width)
    )
    return rows, columns


def images_innermost(x: np.ndarray) -> np.ndarray:
    """A copy of x, N x C x H x W as before, whose images are next to each other in memory."""
    copy = empty(*x.shape, dtype=x.dtype)
    copy[...] = x
    return copy


def empty(count: int, *shape: int, dtype: np.dtype) -> np.ndarray:
    """Uninitialised count x shape, images innermost in memory."""
    return np.moveaxis(np.empty((*shape, count), dtype), -1, 0)


def pad(x: np.ndarray, padding: int, value: float) -> np.ndarray:
    """x with a frame of `padding` pixels of `value` around each image; x itself without one."""
    if padding == 0:
        return x
    sizes = (size + 2 * padding for size in x.shape[2:])
    padded = empty(len(x), x.shape[1], *sizes, dtype=x.dtype)
    padded[...] = value
    crop(padded, padding)[...] = x
    return padded


def crop(padded: np.ndarray, padding: int) -> np.ndarray:
    """What is inside the frame of `pad`, as a view."""
    inside = slice(padding, -padding or None)
    return padded[:, :, inside, inside]


def reduce_windows(x: np.ndarray, window: Window, operation: np.ufunc) -> np.ndarray:
    """`operation` over all taps of each window that lies in x: N x C x OH x OW."""
    # A window is a rectangle: first over its rows, then over what these give.
    for axis in (2, 3):
        span = x.shape[axis] - window.kernel + 1
        lines = np.moveaxis(x, axis, 0)
        taps = [lines[tap : tap + span : window.stride] for tap in range(window.kernel)]
        x = np.moveaxis(functools.reduce(operation, taps), 0, axis)
    return x


def tap(window: Window, out_shape: tuple[int, ...], ky: int, kx: int) -> tuple[slice, ...]:
    """Index, in padded images, of what tap (ky, kx) of the window sees at all OH x OW positions."""
    rows, columns = (
        slice(k, k + (count - 1) * window.stride + 1, window.stride)
        for k, count in zip((ky, kx), out_shape[-2:], strict=True)
    )
    return slice(None), slice(None), rows, columns


def windows_to_columns(
    x: np.ndarray, window: Window, dtype: np.dtype | type | None = None
) -> np.ndarray:
    """The window of every position of every image of x as a column: (C*K*K) x (OH*OW*N).

    The frame is zero. dtype: of the columns; by default that of x.
    """
    padded = pad(x, window.padding, 0)
    views = sliding_window_view(padded, (window.kernel, window.kernel), (2, 3))
    views = views[:, :, :: window.stride, :: window.stride].transpose(1, 4, 5, 2, 3, 0)
    return views.astype(dtype or x.dtype, order="C").reshape(x.shape[1] * window.kernel**2, -1)
