"""A graph of stages beat by beat, exact to the clock, made of the processes that each names.

See `model/hardware/timing.py` for what a process is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from convstream.model.hardware.stage import Stage
from convstream.model.hardware.streams import Streams
from convstream.model.hardware.timing import DeadlockError, Edge, Process, Times, fork, run
from convstream.model.network.graph import IMAGE


@dataclass(frozen=True)
class Timing:
    """Clocks at which images come in and logits go out, input always valid, output always ready.

    first_in, last_in, last_out: of each image, its first and last input beat and its last logits.
    """

    first_in: Times
    last_in: Times
    last_out: Times

    @property
    def latency(self) -> int:
        """Clocks from an image's first pixel to its last logits; for an isolated image if alone."""
        return self.last_out[0] - self.first_in[0]

    @property
    def interval(self) -> float:
        """Clocks from image to image once the pipeline is full."""
        half = len(self.last_out) // 2
        return (self.last_out[-1] - self.last_out[half - 1]) / (len(self.last_out) - half)

    @property
    def in_flight(self) -> int:
        """Most images that are in the pipeline at once after their last pixel."""
        most = oldest = 0
        for newest, entered in enumerate(self.last_in):
            while self.last_out[oldest] < entered:
                oldest += 1
            most = max(most, newest - oldest + 1)
        return most


class Part(NamedTuple):
    """A stage; without one a fork, or the classification, which gives no stream.

    taken, given: names of its streams.
    """

    stage: Stage | None
    taken: tuple[str, ...]
    given: tuple[str, ...]


def _parts(stages: Sequence[Stage]) -> list[Part]:
    """All of a network, in topological order."""
    streams = Streams.of(stage.node for stage in stages)

    def forked(name: str) -> list[Part]:
        return [Part(None, (name,), streams.forks[name])] if name in streams.forks else []

    parts = forked(IMAGE)
    for stage in stages:
        parts.append(Part(stage, streams.taken[stage.name], (stage.name,)))
        parts += forked(stage.name)
    return [*parts, Part(None, (stages[-1].name,), ())]


@dataclass(frozen=True)
class Simulation:
    """The times of all beats of `images` images in succession, input always valid.

    edges: the streams, each through the FIFO at its end. logits: of each output beat, when
    `frame_drop` lets it go.
    """

    stages: Sequence[Stage]
    images: int
    parts: Sequence[Part]
    edges: Mapping[str, Edge]
    logits: Times

    @classmethod
    def of(
        cls, stages: Sequence[Stage], depths: Mapping[str, int] | None, images: int
    ) -> Simulation:
        """Through FIFOs of `depths`, by stream; None, or of none: no end of room.

        Raises `DeadlockError` if the FIFOs hold too little for an image to come through.
        """
        parts = _parts(stages)
        # Every beat of the image is there from the start.
        edges = {IMAGE: Edge(None, [-1] * (images * stages[0].input_beats))}
        for name in (name for part in parts for name in part.given):
            edges[name] = Edge(None if depths is None else depths.get(name))
        return cls(stages, images, parts, edges, [])._run(0, len(parts) - 1)

    def _run(self, first: int, last: int) -> Simulation:
        """Run parts `first` to `last`."""
        processes: list[Process] = []
        for part in self.parts[first : last + 1]:
            taken = [self.edges[name] for name in part.taken]
            given = [self.edges[name] for name in part.given]
            if part.stage is not None:
                processes.extend(part.stage.processes(taken, given[0], self.images))
            elif given:
                processes.append(fork(taken[0], given, self.images * self._beats[part.taken[0]]))
            else:
                processes.append(_classify(self.stages, self.edges, self.logits, self.images))
        run(processes, self.edges.values())
        return self

    @property
    def _beats(self) -> dict[str, int]:
        """Beats an image of what the image and the stages give."""
        return {IMAGE: self.stages[0].input_beats} | {s.name: s.output_beats for s in self.stages}

    @cached_property
    def _ends(self) -> dict[str, tuple[int, int]]:
        """By stream, the parts that give and that take it; -1 gives the image."""
        giver = {name: at for at, part in enumerate(self.parts) for name in part.given}
        return {
            name: (giver.get(name, -1), at)
            for at, part in enumerate(self.parts)
            for name in part.taken
        }

    def refitted(self, depths: Mapping[str, int], name: str, longest: int) -> Simulation | None:
        """The same with `depths`, of which only that of the FIFO at the end of `name` is another.

        None if that FIFO is too small for an image to come through, and as soon as it is clear that
        it makes the latency more than `longest`.

        Each beat has but one time that agrees with all others. So where the parts around that FIFO
        run again, and read and write at their ends when they did before, all others stay as they
        are; otherwise more of them run.
        """
        try:
            return self._refitted(depths, name, longest)
        except DeadlockError:
            return None

    def _refitted(self, depths: Mapping[str, int], name: str, longest: int) -> Simulation | None:
        end = len(self.parts) - 1
        first, last = self._ends[name]
        reach = 1
        while True:
            found = self._again(depths, first, last)
            up = any(
                0 <= giver < first <= taker <= last
                and found.edges[stream].read != self.edges[stream].read
                for stream, (giver, taker) in self._ends.items()
            )
            down = any(
                first <= giver <= last < taker
                and found.edges[stream].written != self.edges[stream].written
                for stream, (giver, taker) in self._ends.items()
            ) or (first == 0 and last < end and found._flags_matter(self))
            if down:
                # What follows may hold up the parts before it: their beats come then, or later.
                rest = found._again(depths, last + 1, end)
                if rest.timing.latency > longest:
                    return None
                held = [
                    giver
                    for stream, (giver, taker) in self._ends.items()
                    if 0 <= giver <= last < taker
                    and rest.edges[stream].read != found.edges[stream].read
                ]
                down = any(giver >= first for giver in held)
                up = up or any(giver < first for giver in held)
                found = rest
            if not up and not down:
                return found
            first = max(0, first - up * reach)
            last = min(end, last + down * reach)
            reach *= 2

    def _again(self, depths: Mapping[str, int], first: int, last: int) -> Simulation:
        """Run parts `first` to `last` again between the others, which stay as they are."""
        edges = dict(self.edges)
        for name, (giver, taker) in self._ends.items():
            given, taken = first <= giver <= last, first <= taker <= last
            if not given and not taken:
                continue
            edges[name] = edge = Edge(depths.get(name))
            if not given:
                edge.written, edge.claimed = self.edges[name].written, self.edges[name].claimed
            if not taken:
                edge.read = self.edges[name].read
        logits = [] if last == len(self.parts) - 1 else self.logits
        return Simulation(self.stages, self.images, self.parts, edges, logits)._run(first, last)

    def _flags_matter(self, before: Simulation) -> bool:
        """Whether the ends of the images came at other times, late enough to hold logits up."""
        beats = self.stages[-1].output_beats
        ends, known = self.timing.last_in, before.timing.last_in
        return ends != known and any(
            max(end, other) + 2 >= clock
            for end, other, clock in zip(ends, known, self.logits[::beats], strict=True)
        )

    @property
    def timing(self) -> Timing:
        """When images come and go."""
        beats, taken = self.stages[0].input_beats, self.edges[IMAGE].read
        out = self.stages[-1].output_beats
        return Timing(taken[::beats], taken[beats - 1 :: beats], self.logits[out - 1 :: out])


def _classify(
    stages: Sequence[Stage], edges: Mapping[str, Edge], logits: Times, images: int
) -> Process:
    """`argmax`, whose registers move on one by one, and `frame_drop`, which waits for the flag."""
    stage, edge = stages[-1], edges[stages[-1].name]
    beats, last_in = stage.output_beats, edges[IMAGE].read
    # The clocks at which the beat before left each of argmax's registers.
    left = [0] * (2 + (stage.out_lanes * stage.out_pixels - 1).bit_length())
    for image in range(images):
        for _ in range(beats):
            index = len(edge.read)
            while len(edge.written) <= index:
                yield
            clock = max(edge.written[index] + 1, left[0])
            edge.read.append(clock)
            for register in range(1, len(left)):
                clock = max(clock + 1, left[register])
                left[register - 1] = clock
            final = (image + 1) * stages[0].input_beats - 1
            while len(last_in) <= final:
                yield
            left[-1] = max(clock + 1, last_in[final] + 2)
            logits.append(left[-1])
