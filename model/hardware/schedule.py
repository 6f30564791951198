"""A whole network's pipeline: interval, latency and FIFO depths, without a simulator.

A model of the handshakes in rtl/, beat by beat and exact to the clock, made of the processes that
each stage names: see `model/hardware/timing.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
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
    occupancy: by node, the most beats that the FIFO at its end held.
    """

    first_in: Times
    last_in: Times
    last_out: Times
    occupancy: dict[str, int]

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


def simulate(folded: FoldedNetwork, depths: Mapping[str, int] | None, images: int) -> Timing:
    """Times of `images` images in succession through FIFOs of `depths`, by node.

    depths: None, or 0 of a node: no end of room.
    """
    stages = folded.stages
    # Every beat of the image is there from the start.
    edges = {IMAGE: Edge(None, [-1] * (images * folded.input_beats))}
    processes: list[Process] = []
    for stage in stages:
        edges[stage.name] = sink = Edge(None if depths is None else depths[stage.name] or None)
        sources = [edges[name] for name in stage.node.inputs]
        processes.extend(stage.processes(sources, sink, images))
    logits: Times = []
    processes.append(_classify(folded, edges, logits, images))
    run(processes)

    beats = folded.input_beats
    taken = edges[IMAGE].read
    return Timing(
        first_in=taken[::beats],
        last_in=taken[beats - 1 :: beats],
        last_out=logits[folded.output.output_beats - 1 :: folded.output.output_beats],
        occupancy={stage.name: edges[stage.name].most_held for stage in stages},
    )


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
    images = _images(folded)
    stages = folded.stages
    least = {stage.name: 2 for stage in stages}
    if not any(stage.takes_all for stage in stages):
        # The first logits leave before the last pixel has come in: they wait until the length of
        # the whole image is known.
        least[folded.output.name] = folded.output.output_beats
    soonest = latency(folded)
    enough = TOLERANCE * folded.cycles

    def suffices(depths: dict[str, int]) -> bool:
        return (
            simulate(folded, depths, 1).latency <= soonest
            and simulate(folded, depths, images).interval <= enough
        )

    depths = dict(least)
    if not suffices(depths):
        enough = max(enough, simulate(folded, None, images).interval)
        while not suffices(depths) and max(depths.values()) < 1 << 16:
            depths = {name: 2 * depth for name, depth in depths.items()}
        # The widest streams first: there a beat saved saves most.
        for stage in sorted(stages, key=lambda stage: -stage.out_lanes * stage.out_pixels):
            name = stage.name
            low, high = least[name], depths[name]
            while low < high:
                # Most need no more than the least, so that is tried first.
                depths[name] = low if low == least[name] else (low + high) // 2
                if suffices(depths):
                    high = depths[name]
                else:
                    low = depths[name] + 1
            depths[name] = high
    timing = simulate(folded, depths, images)
    return Buffers(
        fifo_depths=depths,
        flag_depth=max(FLAGS, timing.in_flight + 2),
        latency=simulate(folded, depths, 1).latency,
        interval=timing.interval,
    )


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
