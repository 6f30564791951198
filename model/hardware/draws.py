"""Random choices and size limits, from which tests draw random layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from convstream.model.network.layers import Shape

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
    """The largest layer: output channels, and multiply-accumulates an image."""

    most_channels: int
    macs: float

    def channels(self, choices: Choices, macs: int) -> int:
        """A number of output channels, given the multiply-accumulates of one."""
        most = min(self.most_channels, choices.of([8, 32]))
        return choices.integer(1, int(max(1, min(most, self.macs // macs))))

    @staticmethod
    def window(choices: Choices, shape: Shape, kernels: range) -> tuple[int, int]:
        """A kernel and a padding that fit images of `shape`."""
        least = {k: max(0, math.ceil((k - min(shape[1:])) / 2)) for k in kernels}
        kernel = choices.of([k for k, padding in least.items() if padding < k])
        return kernel, choices.integer(least[kernel], kernel - 1)
