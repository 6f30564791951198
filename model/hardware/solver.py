"""The solver: the fewest multipliers for a cycle target, the fewest cycles for a budget."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from convstream.model.base.errors import UserError
from convstream.model.hardware import schedule
from convstream.model.hardware.folding import (
    PIXELS_PER_BEAT,
    FoldedNetwork,
    beat_pixels,
)
from convstream.model.hardware.lanes import LaneGroup, lane_groups
from convstream.model.hardware.layers import stage_class
from convstream.model.hardware.scaling import Scaling
from convstream.model.hardware.stage import ComputeStage, Folding, Stage
from convstream.model.network.graph import IMAGE, Network, Node

STEPS_UP = 6  # faster foldings of each layer to try for a shorter latency

Price = Callable[[ComputeStage], int]  # the cost of a folding


@dataclass(frozen=True)
class _Choice:
    """One folding of a layer and its cost."""

    interval: int
    multipliers: int
    folding: Folding


class _Solver:
    """The useful foldings of each layer, and the cheapest for a target.

    A layer's input lanes are the PE of the weighted layer before it. Its input beats are that
    layer's `groups * NF`, which never exceeds that layer's cycles, `groups * NF * SF`. So input
    beats never bind, and with a fixed target every layer can be folded on its own, unless joins tie
    its PE to that of others: see `LaneGroup`. Then only those are folded together. Layers without
    weights pass lanes on. A pool with stride 1 and padding can produce more positions than it
    receives, so its `groups * NF` counts towards the layers that set its NF.

    For given NF and SF the smallest `pe` and `simd` are cheapest. One choice per distinct (NF, SF)
    therefore covers the optimum: about 4 * sqrt(OC * window) choices at most.
    """

    def __init__(
        self,
        network: Network,
        pixels: int,
        price: Price | None,
        scalings: Mapping[str, Scaling],
    ) -> None:
        self.network = network
        self.pixels = pixels
        self.price = price or _multipliers
        self.scalings = scalings
        self.beat = beat_pixels(network, pixels)
        channels, height, width = network.input_shape
        self.groups = lane_groups(network)
        # Before the first PE, a beat holds all channels of its pixels.
        self.fixed = max(
            [
                height * width // pixels,
                self._passive_beats(self.groups[IMAGE], channels),
                *(self._stage(n).columns for n in network.nodes if not stage_class(n).foldable),
            ]
        )
        self.choices = {
            node.name: self._layer_choices(node)
            for node in network.nodes
            if stage_class(node).foldable
        }
        # By group of layers that share a PE: intervals that they can have, and the fewest
        # multipliers for each.
        self.fronts = [
            _pareto(point for pe in self._parallel(group) for point in self._together(group, pe))
            for group in {id(group): group for group in self.groups.values()}.values()
            if group.folded
        ]
        self.fewest_cycles = max([self.fixed, *(intervals[0] for intervals, _ in self.fronts)])
        self.fewest_multipliers = sum(cheapest[-1] for _, cheapest in self.fronts)

    def _positions(self, node: Node) -> int:
        """Groups of output positions, of the pixels of a beat."""
        _, height, width = node.out_shape
        return height * width // self.beat[node.name]

    def _passive_beats(self, group: LaneGroup, lanes: int) -> int:
        """The most beats of what takes these lanes as they come."""
        return max(
            (self._positions(n) * math.ceil(n.out_shape[0] / lanes) for n in group.passive),
            default=0,
        )

    def _parallel(self, group: LaneGroup) -> list[int]:
        """The PE that the layers of `group` may share, in rising order."""
        channels = [node.out_shape[0] for node in group.folded]
        stages = (self._compute_stage(node, Folding(1, 1)) for node in group.folded)
        readers = (n for n in self.network.nodes if self.groups[n.inputs[0]] is group)
        cut = any(stage_class(node).cuts_pixels for node in (*group.folded, *readers))
        whole = [*group.multiples, *(s.out_shape[0] for s in stages if s.whole_beats or cut)]
        if group.image:
            found, whole = {self.network.input_shape[0]}, list(group.multiples)
        elif whole:
            found = set(range(1, min(channels) + 1))
        else:
            found = {pe for number in channels for pe in _smallest_for_each_fold(number)}
        divided = math.gcd(*whole)
        found = {pe for pe in found if pe <= min(channels) and divided % pe == 0}
        if not found:
            joins = ", ".join(node.name for node in group.passive if len(node.inputs) > 1)
            raise UserError(
                f"{self.network.name}: at {joins}, the image meets streams whose beats cannot hold "
                f"its {self.network.input_shape[0]} channels; put a 1x1 convolution between"
            )
        return sorted(found)

    def _layer_choices(self, node: Node) -> list[_Choice]:
        channels, window = node.out_shape[0], self._compute_stage(node, Folding(1, 1)).window
        positions, group = self._positions(node), self.groups[node.name]
        choices = []
        for pe in self._parallel(group):
            channel_folds = math.ceil(channels / pe)
            passive_beats = self._passive_beats(group, pe)
            for simd in _smallest_for_each_fold(window):
                # Lookup tables are enough for weights that never change.
                constant = channel_folds * math.ceil(window / simd) == 1
                folding = Folding(pe, simd, fabric=simd if constant else 0)
                stage = self._compute_stage(node, folding)
                if not stage.pays:
                    continue
                interval = max(positions * stage.rom_words, passive_beats, stage.columns)
                cost = self.beat[node.name] * self.price(stage)
                choices.append(_Choice(interval, cost, folding))
        return choices

    def _with_pe(self, node: Node, pe: int) -> list[_Choice]:
        return [choice for choice in self.choices[node.name] if choice.folding.pe == pe]

    def _together(self, group: LaneGroup, pe: int) -> list[tuple[int, int]]:
        """Intervals and multipliers of all layers of `group` with this PE."""
        fronts = [
            _pareto((c.interval, c.multipliers) for c in self._with_pe(node, pe))
            for node in group.folded
        ]
        reached = max(intervals[0] for intervals, _ in fronts)
        targets = {interval for intervals, _ in fronts for interval in intervals}
        return [(target, _needed(fronts, target)) for target in targets if target >= reached]

    def _stage(self, node: Node, folding: Folding | None = None, lanes: int = 1) -> Stage:
        return stage_class(node)(
            node=node,
            lanes=lanes,
            pixels=self.beat[node.inputs[0]],
            folding=folding,
            whole=self.groups[node.name].whole,
        )

    def _compute_stage(self, node: Node, folding: Folding, lanes: int = 1) -> ComputeStage:
        stage = self._stage(node, folding, lanes)
        assert isinstance(stage, ComputeStage)
        return stage

    def solve(self, cycles: int) -> FoldedNetwork:
        """The fewest multipliers for at most `cycles` an image; simpler hardware wins a tie."""
        foldings: dict[str, Folding] = {}
        lanes = {IMAGE: self.network.input_shape[0]}
        for node in self.network.nodes:
            source = node.inputs[0]
            lanes[node.name] = lanes[source]
            if node.name not in self.choices:
                continue
            group = self.groups[node.name]
            choices = self.choices[node.name]
            if len(group.folded) > 1:
                settled = {
                    foldings[other.name].pe for other in group.folded if other.name in foldings
                }
                choices = self._with_pe(node, settled.pop() if settled else self._pe(group, cycles))
            stage = self._compute_stage(node, Folding(1, 1), lanes[source])
            chosen = min(
                (choice for choice in choices if choice.interval <= cycles),
                key=partial(_cost, stage),
            )
            foldings[node.name] = chosen.folding
            lanes[node.name] = chosen.folding.pe
        return FoldedNetwork(self.network, foldings, self.pixels, scalings=self.scalings)

    def _pe(self, group: LaneGroup, cycles: int) -> int:
        """The PE with which the layers of `group` need the fewest multipliers for `cycles`."""
        fewest = {}
        for pe in self._parallel(group):
            costs = [cost for interval, cost in self._together(group, pe) if interval <= cycles]
            if costs:
                fewest[pe] = min(costs)
        return min(fewest, key=fewest.__getitem__)

    def hasten(self, folded: FoldedNetwork, latency: int) -> FoldedNetwork:
        """Add multipliers to `folded` until an isolated image takes at most `latency` cycles.

        Each step takes the change that saves the most cycles per multiplier. Raises `UserError` if
        more multipliers no longer help.
        """
        reached = schedule.latency(folded)
        while reached > latency:
            faster = []
            for name in self.choices:
                for option in self._steps_up(folded, name):
                    saved = reached - schedule.latency(option)
                    if saved > 0:
                        faster.append((saved, option))
            if not faster:
                raise UserError(
                    f"{self.network.name}: a latency of {latency} cycles; more multipliers do not "
                    f"bring it below {reached}"
                )
            enough = [option for saved, option in faster if reached - saved <= latency]
            if enough:
                return min(enough, key=lambda option: option.multipliers)
            multipliers = folded.multipliers
            saved, folded = max(
                faster, key=lambda entry: entry[0] / (entry[1].multipliers - multipliers)
            )
            reached -= saved
        return folded

    def _steps_up(self, folded: FoldedNetwork, name: str) -> Iterator[FoldedNetwork]:
        """Foldings in which the node `name` is faster, and what shares its PE no slower."""
        group = self.groups[name]
        for folding in _steps_up(folded[name], self.choices[name]):
            changes = {name: folding}
            for other in group.folded:
                stage = folded[other.name]
                if other.name == name or folding.pe == stage.out_lanes:
                    continue
                swift = [
                    choice
                    for choice in self._with_pe(other, folding.pe)
                    if choice.interval <= max(stage.interval, self.fewest_cycles)
                ]
                if not swift:
                    break
                best = min(swift, key=lambda choice: choice.multipliers).folding
                assert stage.folding is not None
                changes[other.name] = replace(best, input_major=stage.folding.input_major)
            else:
                yield folded.refolded(changes)

    def cycles_for(self, multipliers: int) -> int:
        """The fewest cycles an image with at most `multipliers`.

        The multipliers needed never grow with the cycles allowed, so bisection over the possible
        intervals of all layers finds the first that fits.
        """
        targets = sorted(
            {self.fewest_cycles}
            | {t for front, _ in self.fronts for t in front if t > self.fewest_cycles}
        )
        low, high = 0, len(targets) - 1
        while low < high:
            middle = (low + high) // 2
            if _needed(self.fronts, targets[middle]) <= multipliers:
                high = middle
            else:
                low = middle + 1
        return targets[low]


Front = tuple[
    list[int], list[int]
]  # intervals in rising order, and the fewest multipliers for each


def _needed(fronts: Sequence[Front], target: int) -> int:
    """The fewest multipliers with which none takes longer than `target`."""
    return sum(cheapest[bisect_right(front, target) - 1] for front, cheapest in fronts)


def _multipliers(stage: ComputeStage) -> int:
    return stage.folding.pe * stage.folding.simd


def _cost(stage: ComputeStage, choice: _Choice) -> tuple[int, ...]:
    """The order of preference: fewest multipliers first, then the simplest hardware."""
    pe, simd = choice.folding.pe, choice.folding.simd
    channels, window = stage.out_shape[0], stage.window
    rom = math.ceil(channels / pe) * pe * math.ceil(window / simd) * simd
    # Whether cutting its beats into chunks of `simd` takes a byte shifter.
    shifter = stage.converts and simd % stage.lanes != 0 and stage.lanes % simd != 0
    return (choice.multipliers, shifter, channels % pe != 0, rom, choice.interval, pe)


def _steps_up(stage: Stage, choices: list[_Choice]) -> list[Folding]:
    """The next few foldings of a stage with more multipliers and fewer cycles, cheapest first.

    The loop order stays.
    """
    assert stage.folding is not None
    cheapest: dict[int, _Choice] = {}
    for choice in choices:
        known = cheapest.get(choice.multipliers)
        if known is None or choice.interval < known.interval:
            cheapest[choice.multipliers] = choice
    found = []
    fastest = stage.cycles
    for multipliers in sorted(cheapest):
        choice = cheapest[multipliers]
        if multipliers > stage.multipliers and choice.interval < fastest:
            fastest = choice.interval
            found.append(replace(choice.folding, input_major=stage.folding.input_major))
    return found[:STEPS_UP]


def _smallest_for_each_fold(size: int) -> list[int]:
    """The smallest x in 1..size for each value of ceil(size / x), in rising order."""
    return sorted({math.ceil(size / folds) for folds in range(1, size + 1)})


def _pareto(points: Iterable[tuple[int, int]]) -> Front:
    """Of intervals and multipliers, those of which no other is better in both."""
    intervals: list[int] = []
    cheapest: list[int] = []
    for interval, multipliers in sorted(points):
        if not cheapest or multipliers < cheapest[-1]:
            intervals.append(interval)
            cheapest.append(multipliers)
    return intervals, cheapest


def solve(
    network: Network,
    *,
    cycles: int | None = None,
    multipliers: int | None = None,
    pixels: int = 1,
    latency: int | None = None,
    price: Price | None = None,
    scalings: Mapping[str, Scaling] | None = None,
) -> FoldedNetwork:
    """Fold `network` optimally for a target of cycles an image or a budget of multipliers.

    cycles: find the fewest multipliers that reach it. multipliers: find the fewest cycles within
    it, and then the fewest multipliers. With neither, the network is as fast as its pixels arrive
    at `pixels` a beat, or as its layers allow. Each fc gets the loop order with the shortest
    latency. latency: also add multipliers until an isolated image takes no longer. scalings: see
    `FoldedNetwork`. Raises `UserError` if both a target and a budget are given, or no folding
    reaches them.
    """
    solver = _Solver(network, pixels, price, scalings or {})
    if multipliers is not None and (cycles is not None or latency is not None):
        raise UserError(
            "a budget of multipliers and a target of cycles or latency given; expected a target or "
            "a budget, not both"
        )
    if multipliers is not None:
        if multipliers < solver.fewest_multipliers:
            raise UserError(
                f"{network.name}: a budget of {multipliers} multipliers; its layers need at least "
                f"{solver.fewest_multipliers} at {pixels} pixel(s) per beat"
            )
        cycles = solver.cycles_for(multipliers)
    elif cycles is None:
        cycles = solver.fewest_cycles
    elif cycles < solver.fewest_cycles:
        hint = "" if pixels == PIXELS_PER_BEAT[-1] else "; try more pixels per beat"
        raise UserError(
            f"{network.name}: a target of {cycles} cycles an image; at {pixels} pixel(s) per beat "
            f"it takes at least {solver.fewest_cycles}{hint}"
        )
    folded = schedule.order_loops(solver.solve(cycles))
    return folded if latency is None else solver.hasten(folded, latency)
