"""A whole network's pipeline: interval, latency and FIFO depths, without a simulator.

A model of the handshakes in rtl/, exact to the clock: see `model/hardware/simulation.py`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from convstream.model.hardware.folding import FoldedNetwork
from convstream.model.hardware.simulation import Simulation, Timing
from convstream.model.hardware.stage import Stage
from convstream.model.hardware.streams import Streams
from convstream.model.hardware.timing import DeadlockError
from convstream.model.network.graph import IMAGE

TOLERANCE = 1.005  # an excerpt whose interval is this much above the bound tells nothing
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

    fifo_depths: by stream, beats of the FIFO at its end; 0 of a branch that has none. flag_depth:
    images whose flags wait for their outputs. latency: clocks from the first pixel to the last
    outputs of an isolated image. interval: clocks from image to image.
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
    stage that is busy for longer needs more. Where branches of a fork meet again, the shorter one
    holds all beats for which the longer one still has no answer. Bisection finds how many.

    No stalls bring such a network to a standstill. In the simulation a lone image comes through
    these FIFOs, and leaves all of them empty; so one image after another comes through any number
    of them, in that order of transfers. Suppose that under some stalls there came a clock after
    which none of those transfers was possible any more, and take the first of that order that is
    still to come. Those before it have all taken place, so the beats that it takes are there. Each
    stream has one writer, which writes its beats in order, and one reader; so on no stream more was
    written than in that order, nor less read, and there is room for what it gives. And a stage goes
    on as soon as it has its beats and its room, whenever they come. So that transfer is possible.
    """
    kept = 1
    while True:
        rhythm = _rhythm(folded, kept)
        found = _smallest(rhythm)
        if rhythm.left_out == 0:
            return found
        extended = _extended(folded, rhythm, found)
        if extended is not None:
            return extended
        kept = 2 * rhythm.kept


def _extended(folded: FoldedNetwork, rhythm: _Rhythm, found: Buffers) -> Buffers | None:
    """`found` for the rows that `rhythm` keeps, as it is for all rows; None if it does not do."""
    depths = found.fifo_depths
    latency = found.latency + rhythm.left_out * rhythm.step
    try:
        longer = Simulation.of(rhythm.longer, depths, _images(rhythm.longer)).timing
        if folded.streams.forks and simulate(folded, depths, 1).latency != latency:
            return None
    except DeadlockError:
        return None
    if longer.latency != found.latency + rhythm.step:
        return None
    if found.interval > TOLERANCE * _slowest(rhythm.stages).interval:
        return None
    step = longer.interval - found.interval
    interval = max(folded.cycles, found.interval + rhythm.left_out * step)
    return Buffers(depths, found.flag_depth, latency, interval)


@dataclass(frozen=True)
class _Rhythm:
    """What is simulated of a network: an image of fewer rows, if rows repeat.

    stages: on images of `kept` periods of rows, a period being the input rows of an output row.
    longer: on those of a period more. direct: depths of branches without a FIFO, all 0. soonest:
    latency of a lone image through `stages`. step: what a period adds to it. left_out: periods.
    """

    stages: Sequence[Stage]
    longer: Sequence[Stage]
    direct: Mapping[str, int]
    soonest: int
    step: int
    kept: int
    left_out: int

    @property
    def latency(self) -> int:
        """That of the whole network."""
        return self.soonest + self.left_out * self.step


def _rhythm(folded: FoldedNetwork, kept: int = 1) -> _Rhythm:
    """What to simulate, at least `kept` periods.

    A branch to a stage with one input needs no FIFO, as behind that stage there is one anyway,
    which can hold what a longer branch waits for. But it then comes no faster than the other
    readers take the stream: where that costs latency, all branches have FIFOs.
    """
    streams = folded.streams
    branches = {branch for fork in streams.forks.values() for branch in fork}
    direct = {
        taken[0]: 0 for taken in streams.taken.values() if len(taken) == 1 and taken[0] in branches
    }
    found = _excerpt(folded, kept, direct)
    if direct and Simulation.of(found.stages, {}, 1).timing.latency < found.soonest:
        found = _excerpt(folded, kept, {})
    return found


def _excerpt(folded: FoldedNetwork, kept: int, direct: Mapping[str, int]) -> _Rhythm:
    """As few rows of a large image as show how they repeat, but at least `kept` periods.

    What a period adds must still hold for twice as many. Where the logits of the whole image wait
    for its end, it changes late; then all rows are simulated.
    """
    stages = folded.stages
    period = _period(stages)
    periods = folded.network.input_shape[1] // period
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
            Simulation.of(part, direct, 1).timing.latency for part in (excerpt, longer, double)
        )
        step = later - soonest
        if latest == soonest + kept * step:
            return _Rhythm(excerpt, longer, direct, soonest, step, kept, periods - kept)
        kept *= 2
    soonest = Simulation.of(stages, direct, 1).timing.latency
    return _Rhythm(stages, stages, direct, soonest, 0, periods, 0)


def _period(stages: Sequence[Stage]) -> int:
    """The least rows of the image that give whole rows of every stage.

    All of them where a join takes other numbers of rows from one input than from another, so that
    rows do not repeat.
    """
    growth = {IMAGE: Fraction(1)}
    for stage in stages:
        one, *others = (growth[name] for name in stage.node.inputs)
        if any(other != one for other in others):
            return stages[0].in_shape[1]
        growth[stage.name] = Fraction(0) if stage.takes_all else one * stage.growth
    return math.lcm(*(rows.denominator for rows in growth.values()))


def _shortened(stages: Sequence[Stage], rows: int) -> list[Stage]:
    """The stages on images of so many rows less, a multiple of the period."""
    less = {IMAGE: rows}
    found = []
    for stage in stages:
        node = stage.node
        in_shapes = tuple(
            (channels, height - less[name], width)
            for name, (channels, height, width) in zip(node.inputs, node.in_shapes, strict=True)
        )
        gone = 0 if stage.takes_all else less[node.inputs[0]] * stage.growth
        less[stage.name] = int(gone)
        channels, height, width = node.out_shape
        out_shape = channels, height - less[stage.name], width
        found.append(replace(stage, node=replace(node, in_shapes=in_shapes, out_shape=out_shape)))
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


def _smallest(rhythm: _Rhythm) -> Buffers:
    """The smallest FIFOs for the soonest latency at the pace of the slowest stage."""
    stages, direct, soonest = rhythm.stages, rhythm.direct, rhythm.soonest
    counts = 1, _images(stages)
    least = {stage.name: 2 for stage in stages}
    output = stages[-1]
    if not any(stage.takes_all for stage in stages):
        # The first outputs leave before the last pixel has come in: they wait until the length of
        # the whole image is known.
        least[output.name] = output.output_beats
    enough = float(_slowest(stages).interval)

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

    def fresh() -> list[Simulation] | None:
        try:
            return fit(Simulation.of(stages, depths, count) for count in counts)
        except DeadlockError:
            return None

    # At first, branches that have a FIFO have no end of room.
    depths = {**least, **direct}
    fitting = fresh()
    if fitting is None:
        fastest = Simulation.of(stages, direct, counts[-1]).timing.interval
        if direct and fastest > enough:
            # What reads a fork directly holds the other readers up.
            direct, depths = {}, dict(least)
            soonest = Simulation.of(stages, direct, 1).timing.latency
            fastest = Simulation.of(stages, direct, counts[-1]).timing.interval
        enough = max(enough, fastest)
        while fitting is None:
            depths = {name: 2 * depth for name, depth in depths.items()}
            fitting = fresh()
    widths = {stage.name: stage.out_lanes * stage.out_pixels for stage in stages}
    widths[IMAGE] = stages[0].lanes * stages[0].pixels
    for name, branches in Streams.of(stage.node for stage in stages).forks.items():
        for branch in branches:
            widths[branch] = widths[name]
            if branch not in direct:
                least[branch] = 1
    # The widest streams first: there a beat saved saves most.
    for name in sorted(least, key=lambda name: -widths[name]):
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
    """Clocks from the first pixel to the last outputs of an isolated image."""
    return _rhythm(folded).latency


def _beats(stages: Sequence[Stage]) -> int:
    """Beats of all streams for an image."""
    return sum(stage.input_beats + stage.output_beats for stage in stages)


def _images(stages: Sequence[Stage]) -> int:
    """Images to simulate: more than are ever in the pipeline, at a bearable effort."""
    beats = _beats(stages)
    return max(6 if beats < LARGE else 4, min(400, 40_000 // beats))
