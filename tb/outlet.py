"""The schedule of a single module, whose streams stall as those of a bench did."""

from __future__ import annotations

import sys
from bisect import bisect_left
from dataclasses import dataclass, field

from convstream.model.hardware.timing import Edge, Process, Times

NEVER = sys.maxsize


@dataclass
class Outlet(Edge):
    """The stream out of a module, which its reader takes up at the clocks `chances` alone."""

    chances: Times = field(default_factory=list)

    def chance(self, earliest: int) -> int:
        """The first clock from `earliest` on at which the reader is ready."""
        index = bisect_left(self.chances, earliest)
        return self.chances[index] if index < len(self.chances) else NEVER

    def leave(self, beats: int) -> Process:
        """The reader, of so many beats."""
        clock = -1
        for index in range(beats):
            while len(self.written) <= index:
                yield
            clock = self.chance(max(self.written[index], clock) + 1)
            self.read.append(clock)


class Direct:
    """Stands in for the pipeline behind a module that has neither registers nor a FIFO at its end.

    It has the methods of `Compute` and `Pipeline`; its beats enter when the reader takes them.
    """

    def __init__(self, outlet: Outlet) -> None:
        self.outlet = outlet
        self.entered = -1

    def enter(self, earliest: int, beats: int = 1) -> None:
        """Give out `beats` beats, the first not before; `entered` is when the last one goes."""
        for _ in range(beats):
            self.entered = self.outlet.chance(max(earliest, self.entered + 1))
            self.outlet.written.append(self.entered - 1)

    def leave(self) -> None:
        """What entered has left."""
