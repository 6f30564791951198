"""The solver: the fewest multipliers for a cycle target, the fewest cycles for a budget."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from convstream.model.base.errors import UserError
from convstream.model.hardware import schedule
from convstream.model.hardware.folding import (
    PIXELS_PER_BEAT,
    FoldedNetwork,
    beat_pixels,
    whole_channels,
)
from convstream.model.hardware.layers import stage_class
from convstream.model.hardware.scaling import Scaling
from convstream.model.hardware.stage import ComputeStage, Folding, Stage
from convstream.model.network.graph import IMAGE, Network, Node

STEPS_UP = 6  # faster foldings of each layer to try for a shorter latency

Price = Callable[[Folding, int], int]  # the cost of a folding whose weights take so many ROM words


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
    beats never bind, and with a fixed target every layer can be folded on its own. Layers without
    weights pass lanes on. A pool with stride 1 and padding can produce more positions than it
    receives, so its `groups * NF` counts towards the layer that sets its NF.

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
        _, height, width = network.input_shape
        # Before the first PE, a beat holds all channels of its pixels.
        self.fixed = height * width // pixels
        self.fixed = max(
            [
                self.fixed,
                *map(self._groups, self._passive(IMAGE)),
                *(self._stage(n).columns for n in network.nodes if not stage_class(n).foldable),
            ]
        )
        self.choices = {
            node.name: self._layer_choices(node)
            for node in network.nodes
            if stage_class(node).foldable
        }
        self.fewest_cycles = max(
            [self.fixed, *(min(c.interval for c in layer) for layer in self.choices.values())]
        )
        self.fewest_multipliers = sum(
            min(c.multipliers for c in layer) for layer in self.choices.values()
        )

    def _groups(self, node: Node) -> int:
        _, height, width = node.out_shape
        return height * width // self.beat[node.name]

    def _readers(self, name: str) -> Iterator[Node]:
        """The nodes that `name` feeds, directly or through nodes without foldings."""
        for node in self.network.readers(name):
            yield node
            if not stage_class(node).foldable:
                yield from self._readers(node.name)

    def _passive(self, name: str) -> Iterator[Node]:
        """Those of them without foldings."""
        return (node for node in self._readers(name) if not stage_class(node).foldable)

    def _layer_choices(self, node: Node) -> list[_Choice]:
        channels, window = node.out_shape[0], self._compute_stage(node, Folding(1, 1)).window
        groups = self._groups(node)
        passive_groups = max(map(self._groups, self._passive(node.name)), default=0)
        parallel = _smallest_for_each_fold(channels)
        cut = any(stage_class(n).cuts_pixels for n in (node, *self._readers(node.name)))
        if cut or self._compute_stage(node, Folding(1, 1)).whole_beats:
            parallel = [pe for pe in range(1, channels + 1) if channels % pe == 0]
        choices = []
        for pe in parallel:
            channel_folds = math.ceil(channels / pe)
            for simd in _smallest_for_each_fold(window):
                words = channel_folds * math.ceil(window / simd)
                folding = Folding(pe, simd)
                stage = self._compute_stage(node, folding)
                if not stage.pays:
                    continue
                interval = max(groups * words, passive_groups * channel_folds, stage.columns)
                cost = self.beat[node.name] * self.price(folding, words)
                choices.append(_Choice(interval, cost, folding))
        return choices

    def _stage(self, node: Node, folding: Folding | None = None, lanes: int = 1) -> Stage:
        return stage_class(node)(
            node=node,
            lanes=lanes,
            pixels=self.beat[node.inputs[0]],
            folding=folding,
            logits=node is self.network.output,
            whole=whole_channels(self.network, node),
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
            (source,) = node.inputs
            lanes[node.name] = lanes[source]
            if node.name not in self.choices:
                continue
            stage = self._compute_stage(node, Folding(1, 1), lanes[source])
            chosen = min(
                (choice for choice in self.choices[node.name] if choice.interval <= cycles),
                key=partial(_cost, stage),
            )
            foldings[node.name] = chosen.folding
            lanes[node.name] = chosen.folding.pe
        return FoldedNetwork(self.network, foldings, self.pixels, scalings=self.scalings)

    def hasten(self, folded: FoldedNetwork, latency: int) -> FoldedNetwork:
        """Add multipliers to `folded` until an isolated image takes at most `latency` cycles.

        Each step takes the change that saves the most cycles per multiplier. Raises `UserError` if
        more multipliers no longer help.
        """
        reached = schedule.latency(folded)
        while reached > latency:
            faster = []
            for name, choices in self.choices.items():
                for folding in _steps_up(folded[name], choices):
                    option = folded.refolded({name: folding})
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

    def cycles_for(self, multipliers: int) -> int:
        """The fewest cycles an image with at most `multipliers`.

        The multipliers needed never grow with the cycles allowed, so bisection over the possible
        intervals of all layers finds the first that fits.
        """
        fronts = [_pareto(choices) for choices in self.choices.values()]
        targets = sorted(
            {self.fewest_cycles}
            | {t for front, _ in fronts for t in front if t > self.fewest_cycles}
        )

        def needed(target: int) -> int:
            return sum(cheapest[bisect_right(front, target) - 1] for front, cheapest in fronts)

        low, high = 0, len(targets) - 1
        while low < high:
            middle = (low + high) // 2
            if needed(targets[middle]) <= multipliers:
                high = middle
            else:
                low = middle + 1
        return targets[low]


def _multipliers(folding: Folding, _words: int) -> int:
    return folding.pe * folding.simd


def _cost(stage: ComputeStage, choice: _Choice) -> tuple[int, ...]:
    """The order of preference: fewest multipliers first, then the simplest hardware."""
    pe, simd = choice.folding.pe, choice.folding.simd
    channels, window = stage.out_shape[0], stage.window
    rom = math.ceil(channels / pe) * pe * math.ceil(window / simd) * simd
    shifter = stage.needs_shifter(simd)
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


def _pareto(choices: list[_Choice]) -> tuple[list[int], list[int]]:
    """Intervals in rising order, and the fewest multipliers for each."""
    intervals: list[int] = []
    cheapest: list[int] = []
    for choice in sorted(choices, key=lambda c: (c.interval, c.multipliers)):
        if not cheapest or choice.multipliers < cheapest[-1]:
            intervals.append(choice.interval)
            cheapest.append(choice.multipliers)
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
