"""Random choices and size limits, from which tests draw random layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from convstream.model.network.layers import Shape
from convstream.model.network.layers.windows import Window

T = TypeVar("T")


class Choices(Protocol):
    """A source of random choices.

    The first of several options and the least of a range count as the simplest.
    """

    def integer(self, low: int, high: int) -> int:
        """A number of low..high."""
        ...

    def of(self, options: Sequence[T]) -> T:
        """One of several options."""
        ...

    def now_and_then(self, times: int) -> bool:
        """True once in `times` calls, on average."""
        ...


@dataclass(frozen=True)
class Limits:
    """The largest layer: output channels, and multiply-accumulates an image.

    any_scale: scales may be any, so that layers need not suit powers of two.
    """

    most_channels: int
    macs: float
    any_scale: bool = False

    def channels(self, choices: Choices, macs: int) -> int:
        """A number of output channels, given the multiply-accumulates of one."""
        most = min(self.most_channels, choices.of([8, 32]))
        return choices.integer(1, int(max(1, min(most, self.macs // macs))))

    @staticmethod
    def window(
        choices: Choices, shape: Shape, kernels: Sequence[int], *, dilated: bool = False
    ) -> Window:
        """A window that fits images of `shape`, with a stride of 1 to 4; mostly a square one."""
        _, height, width = shape
        if height == 1 or choices.now_and_then(3):
            signal = height == 1 and not choices.now_and_then(3)
            rows = _Line.draw(choices, height, [1] if signal else kernels, dilated)
            columns = _Line.draw(choices, width, kernels, dilated)
            return Window(
                (rows.kernel, columns.kernel),
                (rows.stride, columns.stride),
                (rows.before, columns.before, rows.after, columns.after),
                (rows.dilation, columns.dilation),
            )
        kernel = choices.of(kernels)
        least = max(0, math.ceil((kernel - min(height, width)) / 2))
        return Window.of(kernel, choices.integer(1, 4), choices.integer(least, kernel - 1))


class _Line(NamedTuple):
    """What a window is along one direction; before, after: of the padding."""

    kernel: int
    stride: int
    before: int
    after: int
    dilation: int

    @classmethod
    def draw(cls, choices: Choices, size: int, kernels: Sequence[int], dilated: bool) -> _Line:
        """One that fits `size` pixels."""
        kernel, stride = choices.of(kernels), choices.integer(1, 4)
        dilation = choices.integer(1, 3) if dilated else 1
        most = (kernel - 1) * dilation
        before = choices.integer(0, most)
        after = choices.integer(max(0, most + 1 - size - before), most)
        return cls(kernel, stride, before, after, dilation)
