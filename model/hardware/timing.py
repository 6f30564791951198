"""When every beat moves: what the modules of rtl/ have in common, exact to the clock.

Every transfer happens at the latest of the transfers it waits for (data there, room behind, the
stage's own pace), each of which is an earlier event; so there is no clock to step, only maxima to
take. A process is a generator that appends the times of its transfers to lists, and yields while a
time that it needs is not known yet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

Times = list[int]
Process = Iterator[None]


@dataclass
class Edge:
    """A stream through a FIFO of `depth` beats (None: no end of room)."""

    depth: int | None
    written: Times = field(default_factory=list)
    read: Times = field(default_factory=list)

    @property
    def most_held(self) -> int:
        """Most beats that it held at once."""
        most = gone = 0
        for index, clock in enumerate(self.written):
            while gone < index and self.read[gone] < clock:
                gone += 1
            most = max(most, index - gone + 1)
        return most


def read(edge: Edge, earliest: int) -> Process:
    """Read the next beat of `edge`, not before `earliest`."""
    index = len(edge.read)
    while len(edge.written) <= index:
        yield
    clock = max(earliest, edge.written[index] + 1)
    if index:
        clock = max(clock, edge.read[-1] + 1)
    edge.read.append(clock)


class Compute:
    """`matrix_vector`: a pipeline that never holds, with a FIFO at its end.

    A beat enters only while there is credit for its result: fewer than the FIFO's depth are between
    here and the FIFO's output.
    """

    def __init__(self, simd: int, edge: Edge) -> None:
        # From a result's last beat until the FIFO takes it: LATENCY of rtl/matrix_vector.v.
        self.length = 5 + (simd - 1).bit_length()
        self.edge = edge
        self.entered = -1

    def enter(self, earliest: int, beats: int = 1) -> Process:
        """Take `beats` successive beats, the first not before; `entered` is when the last came."""
        edge = self.edge
        clock = max(earliest, self.entered + 1)
        if edge.depth is not None:
            before = len(edge.written) - edge.depth
            if before >= 0:
                while len(edge.read) <= before:
                    yield
                clock = max(clock, edge.read[before] + 1)
        self.entered = clock + beats - 1

    def leave(self) -> Process:
        """Write the result of the beat that entered last."""
        self.edge.written.append(self.entered + self.length)
        yield from ()


class Pipeline:
    """A pipeline of `length` registers that moves or holds as one, like maxpool2d's.

    It holds while a result waits at its end. Results are written to `edge` as soon as their
    operands enter, since nothing that enters later can change when they leave.
    """

    def __init__(self, length: int, edge: Edge) -> None:
        self.length = length
        self.edge = edge
        self.holds: deque[tuple[int, int]] = deque()  # clocks [from, to) in which it holds
        self.entered = -1

    def enter(self, earliest: int, beats: int = 1) -> Process:
        """Take `beats` successive beats, the first not before; `entered` is when the last came."""
        clock = max(earliest, self.entered + 1)
        while self.holds and self.holds[0][1] <= clock:
            self.holds.popleft()
        if self.holds:
            clock = self._moving(clock)
            clock = self._after(clock, beats - 1)
        else:
            clock += beats - 1
        self.entered = clock
        yield from ()

    def leave(self) -> Process:
        """Write the result of the beat that entered last."""
        edge = self.edge
        ready = self._after(self.entered, self.length - 1) + 1
        clock = ready
        if edge.depth is not None:
            before = len(edge.written) - edge.depth
            if before >= 0:
                while len(edge.read) <= before:
                    yield
                clock = max(clock, edge.read[before] + 1)
        if clock > ready:
            self.holds.append((ready, clock))
        edge.written.append(clock)

    def _moving(self, clock: int) -> int:
        for start, end in self.holds:
            if start <= clock < end:
                clock = end
        return clock

    def _after(self, clock: int, beats: int) -> int:
        """The clock `beats` moving clocks after a moving one."""
        clock += beats
        for start, end in self.holds:
            if clock - beats < end and start <= clock:
                clock += end - max(start, clock - beats)
        return clock


def run(processes: list[Process]) -> None:
    """Run the processes in turn until all have ended."""
    waiting = processes
    while waiting:
        # A process yields None; an ended one gives the default.
        waiting = [process for process in waiting if next(process, waiting) is None]
