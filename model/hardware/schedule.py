"""A whole network's pipeline: interval, latency and FIFO depths, without a simulator.

A model of the handshakes in rtl/, beat by beat and exact to the clock, made of the processes that
each stage names: see `model/hardware/timing.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from model.hardware.folding import FoldedNetwork
from model.hardware.timing import Edge, Process, Times, run
from model.network.graph import IMAGE

TOLERANCE = 1.005  # an interval this much above the bound still counts as full rate
FLAGS = 16  # images that may at least be in the pipeline while its output is stalled
MOST_ORDERS = 4  # layers whose loop orders are tried in every combination


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

    folded: FoldedNetwork
    images: int
    edges: Mapping[str, Edge]
    logits: Times

    @classmethod
    def of(cls, folded: FoldedNetwork, depths: Mapping[str, int] | None, images: int) -> Simulation:
        """Through FIFOs of `depths`, by node; None, or 0 of a node: no end of room."""
        # Every beat of the image is there from the start.
        edges = {IMAGE: Edge(None, [-1] * (images * folded.input_beats))}
        for stage in folded.stages:
            edges[stage.name] = Edge(None if depths is None else depths[stage.name] or None)
        return cls(folded, images, edges, [])._run(0, len(folded.stages))

    def _run(self, first: int, last: int) -> Simulation:
        """Run stages `first` to `last`, and the classification if that is the one after them."""
        processes: list[Process] = []
        for stage in self.folded.stages[first : last + 1]:
            sources = [self.edges[name] for name in stage.node.inputs]
            processes.extend(stage.processes(sources, self.edges[stage.name], self.images))
        if last == len(self.folded.stages):
            processes.append(_classify(self.folded, self.edges, self.logits, self.images))
        run(processes)
        return self

    def refitted(self, depths: Mapping[str, int], name: str, longest: int) -> Simulation | None:
        """The same with `depths`, of which only that of the FIFO at the end of `name` is another.

        None where a smaller FIFO makes the latency more than `longest`.

        Each beat has but one time that agrees with all others. So where the stages around that FIFO
        run again, and read and write at their ends when they did before, all others stay as they
        are; otherwise more of them run.
        """
        end = len(self.folded.stages)  # the classification, after the last stage
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
        end = len(self.folded.stages)
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
        return Simulation(self.folded, self.images, edges, logits)._run(first, last)

    def _flags_matter(self, before: Simulation) -> bool:
        """Whether the ends of the images came at other times, late enough to hold logits up."""
        beats = self.folded.output.output_beats
        ends, known = self.timing.last_in, before.timing.last_in
        return ends != known and any(
            max(end, other) + 2 >= clock
            for end, other, clock in zip(ends, known, self.logits[::beats], strict=True)
        )

    @property
    def timing(self) -> Timing:
        """When images come and go."""
        beats, taken = self.folded.input_beats, self.edges[IMAGE].read
        out = self.folded.output.output_beats
        return Timing(taken[::beats], taken[beats - 1 :: beats], self.logits[out - 1 :: out])


def simulate(folded: FoldedNetwork, depths: Mapping[str, int] | None, images: int) -> Timing:
    """Times of `images` images through FIFOs of `depths`: see `Simulation.of`."""
    return Simulation.of(folded, depths, images).timing


def _classify(
    folded: FoldedNetwork, edges: Mapping[str, Edge], logits: Times, images: int
) -> Process:
    """`argmax`, whose registers move on one by one, and `frame_drop`, which waits for the flag."""
    stage, edge = folded.output, edges[folded.output.name]
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
            final = (image + 1) * folded.input_beats - 1
            while len(last_in) <= final:
                yield
            left[-1] = max(clock + 1, last_in[final] + 2)
            logits.append(left[-1])


@dataclass(frozen=True)
class Buffers:
    """What the FIFOs of a network must hold, and the timing that they give it.

    fifo_depths: by node, beats of the FIFO at its end. flag_depth: images whose flags wait for
    their logits. latency: clocks from the first pixel to the last logits of an isolated image.
    interval: clocks from image to image.
    """

    fifo_depths: dict[str, int]
    flag_depth: int
    latency: int
    interval: float


def buffers(folded: FoldedNetwork) -> Buffers:
    """The smallest FIFOs that cost no time.

    That is: a network takes images as fast as its slowest stage, and an isolated image leaves as
    soon as it would with no end of room. A FIFO of 2 beats does where results are far apart; a
    layer that gives one a clock needs as many as its pipeline is long, and a burst that meets a
    stage that is busy for longer needs more. Bisection finds how many.
    """
    stages = folded.stages
    counts = 1, _images(folded)
    least = {stage.name: 2 for stage in stages}
    if not any(stage.takes_all for stage in stages):
        # The first logits leave before the last pixel has come in: they wait until the length of
        # the whole image is known.
        least[folded.output.name] = folded.output.output_beats
    soonest = latency(folded)
    enough = TOLERANCE * folded.cycles

    def fit(simulations: Iterable[Simulation | None]) -> list[Simulation] | None:
        """The simulations, unless one of them takes more time than it needs."""
        fitting = []
        for simulation in simulations:
            if simulation is None:
                return None
            timing = simulation.timing
            if timing.latency > soonest or timing.interval > enough:
                return None
            fitting.append(simulation)
        return fitting

    depths = dict(least)
    fitting = fit(Simulation.of(folded, depths, count) for count in counts)
    if fitting is None:
        enough = max(enough, simulate(folded, None, counts[-1]).interval)
        while fitting is None:
            depths = {name: 2 * depth for name, depth in depths.items()}
            fitting = fit(Simulation.of(folded, depths, count) for count in counts)
    # The widest streams first: there a beat saved saves most.
    for stage in sorted(stages, key=lambda stage: -stage.out_lanes * stage.out_pixels):
        name = stage.name
        low = least[name]
        high = needed = max(low, *(simulation.edges[name].needed for simulation in fitting))
        while low < high:
            # Most need no more than the least, and most others all that they use.
            depth = low if low == least[name] else high - 1 if high == needed else (low + high) // 2
            smaller = fit(s.refitted({**depths, name: depth}, name, soonest) for s in fitting)
            if smaller is None:
                low = depth + 1
            else:
                high, fitting = depth, smaller
        depths[name] = high
    isolated, stream = (simulation.timing for simulation in fitting)
    return Buffers(depths, max(FLAGS, stream.in_flight + 2), isolated.latency, stream.interval)


def order_loops(folded: FoldedNetwork) -> FoldedNetwork:
    """Choose each order of loops, where there is one, for the shortest latency of a lone image.

    An input-major fc overlaps with the layer before it, as it takes inputs as they come, but gives
    its outputs in one burst at the end; an output-major one starts after that burst, and overlaps
    with the layer after it. So alternating lets every second fc hide; another order is taken only
    where it is shorter by more than a fiftieth.
    """
    stages = [stage for stage in folded.stages if stage.ordered]
    if not stages:
        return folded
    alternate: dict[str, bool] = {}
    for stage in stages:
        alternate[stage.name] = not alternate.get(stage.node.inputs[0], False)

    def ordered(orders: Mapping[str, bool]) -> FoldedNetwork:
        return folded.refolded(
            {
                name: replace(folded.foldings[name], input_major=order)
                for name, order in orders.items()
            }
        )

    first = ordered(alternate)
    if len(stages) > MOST_ORDERS:
        return first
    combinations = itertools.product((True, False), repeat=len(stages))
    others = (ordered(dict(zip(alternate, orders, strict=True))) for orders in combinations)
    best = min(others, key=latency)
    return best if latency(best) < 0.98 * latency(first) else first


def latency(folded: FoldedNetwork) -> int:
    """Clocks from the first pixel to the last logits of an isolated image."""
    return simulate(folded, None, 1).latency


def _images(folded: FoldedNetwork) -> int:
    """Images to simulate: more than are ever in the pipeline, at a bearable effort."""
    beats = sum(stage.input_beats + stage.output_beats for stage in folded.stages)
    return max(6, min(400, 40_000 // beats))
