"""A whole network's pipeline: interval, latency and FIFO depths, without a simulator.

A model of the handshakes in rtl/, exact to the clock: see `model/hardware/simulation.py`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from convstream.model.hardware.folding import FoldedNetwork
from convstream.model.hardware.simulation import Simulation, Timing
from convstream.model.hardware.stage import Stage

TOLERANCE = 1.005  # an interval this much above the bound still counts as full rate
FLAGS = 16  # images that may at least be in the pipeline while its output is stalled
LARGE = 50_000  # beats an image, in all streams: of more, only so many are simulated
LEAST_ROWS = 2  # that each layer must then still give
MOST_ORDERS = 4  # layers whose loop orders are tried in every combination


def simulate(folded: FoldedNetwork, depths: Mapping[str, int] | None, images: int) -> Timing:
    """Times of `images` images through FIFOs of `depths`: see `Simulation.of`."""
    return Simulation.of(folded.stages, depths, images).timing


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
    kept = 1
    while True:
        rhythm = _rhythm(folded, kept)
        found = _smallest(rhythm.stages, rhythm.soonest)
        if rhythm.left_out == 0:
            return found
        depths = found.fifo_depths
        longer = Simulation.of(rhythm.longer, depths, _images(rhythm.longer)).timing
        step = longer.interval - found.interval
        if longer.latency == rhythm.soonest + rhythm.step and found.interval <= TOLERANCE * (
            _slowest(rhythm.stages).interval
        ):
            interval = max(folded.cycles, found.interval + rhythm.left_out * step)
            return Buffers(depths, found.flag_depth, rhythm.latency, interval)
        kept = 2 * rhythm.kept


@dataclass(frozen=True)
class _Rhythm:
    """What is simulated of a network: an image of fewer rows, if rows repeat.

    stages: on images of `kept` periods of rows, a period being the input rows of an output row.
    longer: on those of a period more. soonest: latency of an isolated image through `stages`.
    step: what a period adds to it. left_out: periods.
    """

    stages: Sequence[Stage]
    longer: Sequence[Stage]
    soonest: int
    step: int
    kept: int
    left_out: int

    @property
    def latency(self) -> int:
        """That of the whole network."""
        return self.soonest + self.left_out * self.step


def _rhythm(folded: FoldedNetwork, kept: int = 1) -> _Rhythm:
    """As few rows of a large image as show how they repeat, but at least `kept` periods.

    What a period adds must still hold for twice as many. Where the logits of the whole image wait
    for its end, it changes late; then all rows are simulated.
    """
    stages = folded.stages
    period = math.prod(stage.stride for stage in stages)
    periods = stages[0].in_shape[1] // period
    repeats = any(stage.takes_all for stage in stages) and _beats(stages) > LARGE
    while repeats and 2 * kept < periods:
        excerpt, longer, double = (
            _shortened(stages, (periods - times * kept - one) * period)
            for times, one in ((1, 0), (1, 1), (2, 0))
        )
        if not _tells(excerpt, stages):
            kept += 1
            continue
        soonest, later, latest = (
            Simulation.of(part, None, 1).timing.latency for part in (excerpt, longer, double)
        )
        step = later - soonest
        if latest == soonest + kept * step:
            return _Rhythm(excerpt, longer, soonest, step, kept, periods - kept)
        kept *= 2
    return _Rhythm(stages, stages, Simulation.of(stages, None, 1).timing.latency, 0, periods, 0)


def _shortened(stages: Sequence[Stage], rows: int) -> list[Stage]:
    """The stages on images of so many rows less, a multiple of the product of all strides."""
    found = []
    for stage in stages:
        channels, height, width = stage.in_shape
        in_shape = channels, height - rows, width
        rows = 0 if stage.takes_all else rows // stage.stride
        channels, height, width = stage.out_shape
        out_shape = channels, height - rows, width
        node = replace(stage.node, in_shapes=(in_shape,), out_shape=out_shape)
        found.append(replace(stage, node=node))
    return found


def _tells(excerpt: Sequence[Stage], stages: Sequence[Stage]) -> bool:
    """Whether `excerpt` has enough rows to do as all `stages` do."""
    rows = min((stage.out_shape[1] for stage in excerpt if not stage.takes_all), default=1)
    return (
        rows >= LEAST_ROWS
        and _beats(excerpt) >= LARGE
        and _slowest(excerpt).name == _slowest(stages).name
    )


def _slowest(stages: Sequence[Stage]) -> Stage:
    return max(stages, key=lambda stage: stage.interval)


def _smallest(stages: Sequence[Stage], soonest: int) -> Buffers:
    """The smallest FIFOs for the latency `soonest` at the pace of the slowest of `stages`."""
    counts = 1, _images(stages)
    least = {stage.name: 2 for stage in stages}
    output = stages[-1]
    if not any(stage.takes_all for stage in stages):
        # The first logits leave before the last pixel has come in: they wait until the length of
        # the whole image is known.
        least[output.name] = output.output_beats
    enough = TOLERANCE * _slowest(stages).interval

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
    fitting = fit(Simulation.of(stages, depths, count) for count in counts)
    if fitting is None:
        enough = max(enough, Simulation.of(stages, None, counts[-1]).timing.interval)
        while fitting is None:
            depths = {name: 2 * depth for name, depth in depths.items()}
            fitting = fit(Simulation.of(stages, depths, count) for count in counts)
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
    latencies = {
        orders: latency(ordered(dict(zip(alternate, orders, strict=True))))
        for orders in combinations
    }
    best = min(latencies, key=latencies.__getitem__)
    if latencies[best] < 0.98 * latencies[tuple(alternate.values())]:
        return ordered(dict(zip(alternate, best, strict=True)))
    return first


def latency(folded: FoldedNetwork) -> int:
    """Clocks from the first pixel to the last logits of an isolated image."""
    return _rhythm(folded).latency


def _beats(stages: Sequence[Stage]) -> int:
    """Beats of all streams for an image."""
    return sum(stage.input_beats + stage.output_beats for stage in stages)


def _images(stages: Sequence[Stage]) -> int:
    """Images to simulate: more than are ever in the pipeline, at a bearable effort."""
    beats = _beats(stages)
    return max(6 if beats < LARGE else 4, min(400, 40_000 // beats))
