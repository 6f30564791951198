"""A chain of stages beat by beat, exact to the clock, made of the processes that each names.

See `model/hardware/timing.py` for what a process is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from convstream.model.hardware.stage import Stage
from convstream.model.hardware.timing import Edge, Process, Times, run
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


@dataclass(frozen=True)
class Simulation:
    """The times of all beats of `images` images in succession, input always valid.

    edges: the streams, the image's and then by node, each through the FIFO at its end. logits: of
    each output beat, when `frame_drop` lets it go.
    """

    stages: Sequence[Stage]
    images: int
    edges: Mapping[str, Edge]
    logits: Times

    @classmethod
    def of(
        cls, stages: Sequence[Stage], depths: Mapping[str, int] | None, images: int
    ) -> Simulation:
        """Through FIFOs of `depths`, by node; None, or 0 of a node: no end of room."""
        # Every beat of the image is there from the start.
        edges = {IMAGE: Edge(None, [-1] * (images * stages[0].input_beats))}
        for stage in stages:
            edges[stage.name] = Edge(None if depths is None else depths[stage.name] or None)
        return cls(stages, images, edges, [])._run(0, len(stages))

    def _run(self, first: int, last: int) -> Simulation:
        """Run stages `first` to `last`, and the classification if that is the one after them."""
        processes: list[Process] = []
        for stage in self.stages[first : last + 1]:
            sources = [self.edges[name] for name in stage.node.inputs]
            processes.extend(stage.processes(sources, self.edges[stage.name], self.images))
        if last == len(self.stages):
            processes.append(_classify(self.stages, self.edges, self.logits, self.images))
        run(processes)
        return self

    def refitted(self, depths: Mapping[str, int], name: str, longest: int) -> Simulation | None:
        """The same with `depths`, of which only that of the FIFO at the end of `name` is another.

        None as soon as it is clear that a smaller FIFO makes the latency more than `longest`.

        Each beat has but one time that agrees with all others. So where the stages around that FIFO
        run again, and read and write at their ends when they did before, all others stay as they
        are; otherwise more of them run.
        """
        end = len(self.stages)  # the classification, after the last stage
        names = list(self.edges)
        first = names.index(name) - 1
        last, reach = first + 1, 1
        while True:
            source, sink = names[first], names[min(last + 1, end)]
            found = self._again(depths, first, last)
            up = first > 0 and found.edges[source].read != self.edges[source].read
            down = last < end and (
                found.edges[sink].written != self.edges[sink].written
                or (first == 0 and found._flags_matter(self))
            )
            if down:
                # What follows may hold up the stages before it: their beats come then, or later.
                rest = found._again(depths, last + 1, end)
                if rest.timing.latency > longest:
                    return None
                down = rest.edges[sink].read != found.edges[sink].read
                found = rest
            if not up and not down:
                return found
            first = max(0, first - up * reach)
            last = min(end, last + down * reach)
            reach *= 2

    def _again(self, depths: Mapping[str, int], first: int, last: int) -> Simulation:
        """Run stages `first` to `last` again between the others, which stay as they are."""
        end = len(self.stages)
        edges = dict(self.edges)
        for number, name in enumerate(self.edges):
            if not first <= number <= last + 1:
                continue
            edges[name] = edge = Edge(depths.get(name))
            if number == first:
                edge.written, edge.claimed = self.edges[name].written, self.edges[name].claimed
            if number == last + 1:
                edge.read = self.edges[name].read
        logits = [] if last == end else self.logits
        return Simulation(self.stages, self.images, edges, logits)._run(first, last)

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
