"""When every beat moves: what the modules of rtl/ have in common, exact to the clock.

Every transfer happens at the latest of the transfers it waits for (data there, room behind, the
stage's own pace), each of which is an earlier event; so there is no clock to step, only maxima to
take. A process is a generator that appends the times of its transfers to lists, and yields while a
time that it needs is not known yet. Where each of some processes waits for another of them, so do
the modules, for ever: see `DeadlockError`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

Times = list[int]
Process = Iterator[None]

ROUNDS = 64  # more than processes ever take from one beat on any stream to the next


class DeadlockError(Exception):
    """Processes wait for each other."""


@dataclass
class Edge:
    """A stream through a FIFO of `depth` beats (None: no end of room; 0: there is no FIFO).

    A beat is at its reader a clock after `written`, and without a FIFO only after the one before
    it has been read. claimed, written, read: of each beat, when its writer would not go on without
    room for it, when it came in and when it went out.
    """

    depth: int | None
    written: Times = field(default_factory=list)
    read: Times = field(default_factory=list)
    claimed: Times = field(default_factory=list)

    @property
    def needed(self) -> int:
        """The least depth that would change no time, if it was no more than this."""
        most = gone = 0
        for index, clock in enumerate(self.claimed):
            while gone < index and self.read[gone] < clock:
                gone += 1
            most = max(most, index - gone + 1)
        return most

    @property
    def empty(self) -> bool:
        """Whether it is not known yet when the next beat to read was written."""
        return len(self.written) <= len(self.read)

    @property
    def full(self) -> bool:
        """Whether it is not known yet when there is room for the next beat to write."""
        return self.depth is not None and len(self.written) - self.depth >= len(self.read)

    @property
    def room(self) -> int:
        """The clock from which there is room for the next beat to write; it must not be `full`."""
        before = -1 if self.depth is None else len(self.written) - self.depth
        return self.read[before] + 1 if before >= 0 else 0

    def take(self, earliest: int, most: int = 1) -> None:
        """Read the next beats, `most` at most, that are known by now; none before `earliest`."""
        read = self.read
        clock = max(earliest - 1, read[-1] if read else -1)
        for written in self.written[len(read) : len(read) + most]:
            clock = (written if written > clock else clock) + 1
            read.append(clock)

    def put(self, ready: int) -> int:
        """Write a beat that waits from `ready` on; returns when. It must not be `full`."""
        clock = max(ready, self.room)
        self.claimed.append(clock)
        self.written.append(clock)
        return clock

    def pass_on(self, source: Edge) -> None:
        """Write the next beat of `source` as soon as it is there and finds room."""
        clock = max(source.written[len(source.read)] + 1, self.room)
        if source.read:
            clock = max(clock, source.read[-1] + 1)
        if self.written:
            clock = max(clock, self.written[-1] + 1)
        source.read.append(clock)
        self.claimed.append(clock)
        self.written.append(clock)


class Compute:
    """`matrix_vector` or `constant_conv2d`: a pipeline that never holds, with a FIFO at its end.

    A beat enters only while there is credit for its result: fewer than the FIFO's depth are between
    here and the FIFO's output. So it must not be `full` then.
    """

    def __init__(self, accumulated: int, scale_clocks: int, edge: Edge) -> None:
        # From a result's last beat until it is accumulated, and until the FIFO takes it: a clock
        # less than the latency that rtl/matrix_vector.v names.
        self.length = accumulated + (scale_clocks + 2 if scale_clocks else 0)
        self.edge = edge
        self.entered = -1

    def enter(self, earliest: int, beats: int = 1) -> None:
        """Take `beats` successive beats, the first not before; `entered` is when the last came."""
        edge = self.edge
        clock = max(earliest, self.entered + 1, edge.room)
        if len(edge.claimed) == len(edge.written):
            edge.claimed.append(clock)
        self.entered = clock + beats - 1

    def leave(self) -> None:
        """Write the result of the beat that entered last."""
        self.edge.written.append(self.entered + self.length)


class Pipeline:
    """A pipeline of `length` registers that moves or holds as one, like maxpool2d's.

    It holds while a result waits at its end, for room in a FIFO or for another pipeline to move.
    Results are written as soon as their operands enter, since nothing that enters later can change
    when they leave; the FIFO must not be `full` then.
    """

    def __init__(self, length: int, sink: Edge | Pipeline) -> None:
        self.length = length
        self.sink = sink
        self.holds: deque[tuple[int, int]] = deque()  # clocks [from, to) in which it holds
        self.entered = -1

    def enter(self, earliest: int, beats: int = 1) -> None:
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

    def leave(self) -> None:
        """Write the result of the beat that entered last."""
        ready = self._after(self.entered, self.length - 1) + 1
        clock = self.sink.put(ready)
        if clock > ready:
            self.holds.append((ready, clock))

    def put(self, ready: int) -> int:
        """Take a beat that waits from `ready` on, and write its result; returns when it entered."""
        self.enter(ready)
        self.leave()
        return self.entered

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


def fork(source: Edge, branches: Sequence[Edge], beats: int) -> Process:
    """`axis_fork`: each branch takes a beat when it can, and the next one comes after the last."""
    for index in range(beats):
        while source.empty:
            yield
        offered = max(source.written[index], source.read[-1] if index else -1) + 1
        taken = offered
        waiting = list(branches)
        while True:
            # A full branch must not keep the beat from the others.
            for branch in [branch for branch in waiting if branch.depth == 0 or not branch.full]:
                clock = offered - 1
                if branch.depth != 0:
                    taken = max(taken, clock := max(offered, branch.room))
                branch.claimed.append(clock)
                branch.written.append(clock)
                waiting.remove(branch)
            if not waiting:
                break
            yield
        for branch in branches:
            if branch.depth == 0:
                while len(branch.read) <= index:
                    yield
                taken = max(taken, branch.read[index])
        source.read.append(taken)


def run(processes: list[Process], edges: Iterable[Edge]) -> None:
    """Run the processes in turn until all have ended; `edges` are the streams between them.

    Raises `DeadlockError` if they never do.
    """
    edges, known = list(edges), -1
    waiting = processes
    while waiting:
        before, known = known, sum(len(edge.written) + len(edge.read) for edge in edges)
        if known == before:
            raise DeadlockError
        for _ in range(ROUNDS):
            # A process yields None; an ended one gives the default.
            waiting = [process for process in waiting if next(process, waiting) is None]
