"""How much of a layer is computed at once: folding, its predicted cycles, and the solver for it.

A convolution or fully connected layer computes `pe` output channels at once and sums `simd`
products for each in one cycle. The products of one output run over the flattened window (or input
vector) of `K*K*IC` elements, densely: chunk `sf` is elements `sf*simd` to `sf*simd + simd - 1`, and
only the last chunk can be ragged. With

    NF = ceil(OC / pe)       SF = ceil(K*K*IC / simd)

a layer takes `positions / out_pixels * NF * SF` cycles an image with `out_pixels * pe * simd`
multipliers. A stage is as slow as the largest of its cycles, its input beats and its output beats;
the network takes a new image every `max over stages` cycles.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

from model.base.errors import UserError
from model.network.graph import Network
from model.network.layers import Layer, Shape

PIXELS_PER_BEAT = (1, 2, 4)
STEPS_UP = 6  # next faster foldings of each layer that are tried for a shorter latency


@dataclass(frozen=True)
class Folding:
    """Output channels at once (`pe`), products summed for each (`simd`); for fc the loop order.

    input_major: an fc consumes inputs as they come and keeps every accumulator; otherwise it keeps
    the whole input vector and finishes one group of outputs after the other. fabric: how many of
    the `simd` products are made in plain logic instead of DSP blocks.
    """

    pe: int
    simd: int
    input_major: bool = False
    fabric: int = 0


@dataclass(frozen=True)
class Stage:
    """One layer of a folded network, with all that the RTL instance needs to know.

    lanes, pixels: channels and pixels in an input beat; out_lanes, out_pixels: in an output beat.
    output_groups: transfers of `out_pixels` windows an image (1 for fc). spacing: clocks that a
    max-pool's input leaves between them, or fewer. compact: see `FoldedNetwork`.
    """

    name: str
    layer: Layer
    in_shape: Shape
    out_shape: Shape
    lanes: int
    pixels: int
    out_lanes: int
    out_pixels: int
    folding: Folding | None
    spacing: int = 1
    compact: bool = False

    @property
    def kind(self) -> str:
        """`conv`, `maxpool` or `fc`."""
        return self.layer.kind

    @property
    def input_beats(self) -> int:
        """Beats in an input image."""
        channels, height, width = self.in_shape
        return height * width // self.pixels * math.ceil(channels / self.lanes)

    @property
    def output_groups(self) -> int:
        """Groups of `out_pixels` output positions an image."""
        return self.out_shape[1] * self.out_shape[2] // self.out_pixels

    @property
    def output_beats(self) -> int:
        """Beats in an output image."""
        return self.output_groups * math.ceil(self.out_shape[0] / self.out_lanes)

    @property
    def window(self) -> int:
        """Products that make one output: K*K*IC, or the fc's inputs; 0 for max-pool."""
        if self.folding is None:
            return 0
        return math.prod(self.layer.weight_shape(self.in_shape)[1:])

    @property
    def channel_folds(self) -> int:
        """NF: groups of `pe` output channels (output beats a position for max-pool)."""
        return math.ceil(self.out_shape[0] / self.out_lanes)

    @property
    def window_folds(self) -> int:
        """SF: chunks of `simd` products (1 for max-pool)."""
        return 1 if self.folding is None else math.ceil(self.window / self.folding.simd)

    @property
    def pace(self) -> int:
        """Clocks for which each window is used, or fewer: see rtl/sliding_window.v."""
        return max(self.channel_folds * self.window_folds, self.spacing)

    @property
    def pixelwise(self) -> bool:
        """Whether a convolution uses its windows pixel by pixel: see rtl/pixel_conv2d.v."""
        return self.kind == "conv" and self.pixels == 1 and self.folding.simd == self.in_shape[0]

    @property
    def running(self) -> bool:
        """Whether a max-pool keeps maxima, not pixels: see rtl/running_max.v."""
        layer = self.layer
        side_by_side = (
            self.kind == "maxpool" and layer.stride == layer.kernel and layer.padding == 0
        )
        return self.compact and self.pixels == 1 and side_by_side

    @property
    def cycles(self) -> int:
        """Cycles of computing an image; for max-pool its output beats."""
        return self.output_groups * self.channel_folds * self.window_folds

    @property
    def interval(self) -> int:
        """Cycles from image to image that this stage alone allows."""
        return max(self.cycles, self.input_beats)

    @property
    def multipliers(self) -> int:
        """8x8 multipliers; 0 for max-pool."""
        if self.folding is None:
            return 0
        return self.out_pixels * self.folding.pe * self.folding.simd

    @property
    def macs(self) -> int:
        """Multiply-accumulates an image, taps in the padding included."""
        return math.prod(self.out_shape) * self.window

    @property
    def rom_words(self) -> int:
        """Words of the weight ROM."""
        return 0 if self.folding is None else self.channel_folds * self.window_folds

    @property
    def rom_bits(self) -> int:
        """Bits of the weight and the bias ROM, padding included."""
        if self.folding is None:
            return 0
        pe, simd = self.folding.pe, self.folding.simd
        return 8 * pe * simd * self.rom_words + 32 * pe * self.channel_folds


@dataclass(frozen=True)
class FoldedNetwork:
    """A `Network`, one `Folding` a layer (None for max-pool) and the pixels in an input beat.

    compact: max-pools are to be as small as they can be, not as fast.
    Raises `UserError` on a folding that does not fit its layer, or pixels that do not divide a row.
    """

    network: Network
    foldings: tuple[Folding | None, ...]
    pixels: int = 1
    compact: bool = False

    def __post_init__(self) -> None:
        if len(self.foldings) != len(self.network.layers):
            raise UserError(
                f"{self.network.name}: {len(self.foldings)} foldings for "
                f"{len(self.network.layers)} layers; give one a layer, None for max-pool"
            )
        for index, stage in enumerate(self._chain):
            if (stage.folding is None) != (stage.kind == "maxpool"):
                raise UserError(f"{stage.name}: conv and fc need a folding, max-pool has none")
            if stage.folding is None:
                continue
            pe, simd = stage.folding.pe, stage.folding.simd
            if not 1 <= pe <= stage.out_shape[0] or not 1 <= simd <= stage.window:
                raise UserError(
                    f"{stage.name}: PE {pe}, SIMD {simd}; expected PE from 1 to "
                    f"{stage.out_shape[0]} and SIMD from 1 to {stage.window}"
                )
            if not 0 <= stage.folding.fabric <= simd:
                raise UserError(
                    f"{stage.name}: {stage.folding.fabric} of {simd} products in plain logic; "
                    f"expected 0 to {simd}"
                )
            if _whole_beats(self.network, index, stage.out_pixels) and stage.out_shape[0] % pe:
                raise UserError(
                    f"{stage.name}: PE {pe} does not divide its {stage.out_shape[0]} channels, "
                    "which it must here, where a beat holds several pixels or logits of several "
                    "positions; choose a divisor"
                )

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """One `Stage` a layer."""
        cycles = max(stage.interval for stage in self._chain)
        return tuple(
            replace(stage, spacing=_spacing(stage, cycles), compact=self.compact)
            for stage in self._chain
        )

    @cached_property
    def _chain(self) -> tuple[Stage, ...]:
        """The stages, as if each were alone."""
        network = self.network
        widths = pixel_chain(network, self.pixels)
        stages: list[Stage] = []
        lanes = network.input_shape[0]
        for index, (layer, folding) in enumerate(zip(network.layers, self.foldings, strict=True)):
            out_lanes = lanes if folding is None else folding.pe
            stages.append(
                Stage(
                    name=network.layer_names[index],
                    layer=layer,
                    in_shape=network.shapes[index],
                    out_shape=network.shapes[index + 1],
                    lanes=lanes,
                    pixels=widths[index],
                    out_lanes=out_lanes,
                    out_pixels=widths[index + 1],
                    folding=folding,
                )
            )
            lanes = out_lanes
        return tuple(stages)

    @property
    def input_beats(self) -> int:
        """Beats in an input image."""
        return self.stages[0].input_beats

    @property
    def cycles(self) -> int:
        """Predicted cycles from image to image."""
        return max(stage.interval for stage in self.stages)

    @property
    def multipliers(self) -> int:
        """8x8 multipliers of all layers."""
        return sum(stage.multipliers for stage in self.stages)

    @property
    def utilisation(self) -> float:
        """Share of the multipliers' cycles that does a multiply-accumulate of the network."""
        return self.network.macs / (self.multipliers * self.cycles)


def _spacing(stage: Stage, cycles: int) -> int:
    """Clocks between the windows of a max-pool, or fewer, at an image every `cycles`.

    It waits for its input, which in the rows that complete windows does so `stride` times as often
    as on average. A convolution may have fallen behind and be in a hurry: 1.
    """
    if stage.kind != "maxpool":
        return 1
    return max(1, cycles // (stage.output_groups * stage.layer.stride))


def pixel_chain(network: Network, pixels: int) -> tuple[int, ...]:
    """Pixels in a beat at the input and after each layer: len(layers) + 1 of them.

    A stride takes pixels out of a row, so max(1, pixels / stride) leave the layer in a beat.
    Raises `UserError` where `pixels` is not 1, 2 or 4, or a row or a stride cannot be divided so.
    """
    if pixels not in PIXELS_PER_BEAT:
        raise UserError(f"{pixels} pixels per beat: expected 1, 2 or 4")
    width = network.input_shape[2]
    if width % pixels:
        raise UserError(
            f"{pixels} pixels per beat: the input is {width} pixels wide, which {pixels} does not "
            "divide; use fewer"
        )
    chain = [pixels]
    for layer, name, shape in zip(
        network.layers, network.layer_names, network.shapes[1:], strict=True
    ):
        before = chain[-1]
        stride = getattr(layer, "stride", None)
        if stride is None:
            chain.append(1)
            continue
        if before % stride and stride % before:
            raise UserError(
                f"{pixels} pixels per beat: {name} takes {before} of them a beat, which its stride "
                f"{stride} does not fit; use fewer"
            )
        after = max(1, before // stride)
        if shape[2] % after:
            raise UserError(
                f"{pixels} pixels per beat: {name} would give {after} pixels a beat, which do not "
                f"divide its {shape[2]} output columns; use fewer"
            )
        chain.append(after)
    return tuple(chain)


def _whole_beats(network: Network, index: int, out_pixels: int) -> bool:
    """Whether the PE of layer `index` must divide its channels.

    Beats of several pixels have no ragged channel group, and the logits of several positions must
    follow each other without a gap.
    """
    shape = network.shapes[index + 1]
    last = index == len(network.layers) - 1
    return out_pixels > 1 or (last and shape[1] * shape[2] > 1)


Price = Callable[[Folding, int], int]  # of a folding whose weights are so many ROM words


@dataclass(frozen=True)
class _Choice:
    """A layer folded one way, and what that costs."""

    interval: int
    multipliers: int
    folding: Folding


class _Solver:
    """All sensible foldings of each layer of a network, and the cheapest for a target.

    The lanes into a layer are the PE of the convolution or fc before it, so its input beats are
    that layer's `groups * NF <= groups * NF * SF`: at most that layer's cycles. Input beats
    therefore never bind, and layers can be folded independently of each other once the target is
    fixed. A max-pool between them passes lanes on; with stride 1 and padding it can give more
    positions than it takes, so `groups * NF` of each pool counts with the layer that sets its NF.

    For given NF and SF the smallest `pe` and `simd` cost least, so one choice per distinct (NF, SF)
    covers the optimum: at most about 4 * sqrt(OC * K*K*IC) of them.
    """

    def __init__(self, network: Network, pixels: int, price: Price | None) -> None:
        self.network = network
        self.pixels = pixels
        self.price = price or _multipliers
        self.widths = pixel_chain(network, pixels)
        _, height, width = network.input_shape
        # Before the first PE the lanes are all channels: one beat a group of pixels.
        self.fixed = height * width // pixels
        self.choices: list[list[_Choice] | None] = []
        for index, layer in enumerate(network.layers):
            self.choices.append(None if layer.kind == "maxpool" else self._layer_choices(index))
            if layer.kind == "maxpool" and not any(self.choices):
                self.fixed = max(self.fixed, self._groups(index))
        self.fewest_cycles = max(
            self.fixed, *(min(c.interval for c in layer) for layer in self.choices if layer)
        )
        self.fewest_multipliers = sum(
            min(c.multipliers for c in layer) for layer in self.choices if layer
        )

    def _groups(self, index: int) -> int:
        _, height, width = self.network.shapes[index + 1]
        return height * width // self.widths[index + 1]

    def _layer_choices(self, index: int) -> list[_Choice]:
        network = self.network
        channels, window = (
            network.layers[index].weight_shape(network.shapes[index])[0],
            math.prod(network.layers[index].weight_shape(network.shapes[index])[1:]),
        )
        out_pixels = self.widths[index + 1]
        groups = self._groups(index)
        pool_groups = 0
        for after in range(index + 1, len(network.layers)):
            if network.layers[after].kind != "maxpool":
                break
            pool_groups = max(pool_groups, self._groups(after))
        parallel = _smallest_for_each_fold(channels)
        if _whole_beats(network, index, out_pixels):
            parallel = [pe for pe in range(1, channels + 1) if channels % pe == 0]
        choices = []
        for pe in parallel:
            channel_folds = math.ceil(channels / pe)
            for simd in _smallest_for_each_fold(window):
                words = channel_folds * math.ceil(window / simd)
                cycles = groups * words
                interval = max(cycles, pool_groups * channel_folds)
                folding = Folding(pe, simd)
                choices.append(_Choice(interval, out_pixels * self.price(folding, words), folding))
        return choices

    def solve(self, cycles: int) -> FoldedNetwork:
        """The fewest multipliers for at most `cycles` an image; ties go to the simpler hardware."""
        foldings: list[Folding | None] = []
        lanes = self.network.input_shape[0]
        for index, choices in enumerate(self.choices):
            if choices is None:
                foldings.append(None)
                continue
            layer = self.network.layers[index]
            shape = layer.weight_shape(self.network.shapes[index])
            chosen = min(
                (choice for choice in choices if choice.interval <= cycles),
                key=partial(_cost, shape, lanes if layer.kind == "fc" else None),
            )
            foldings.append(chosen.folding)
            lanes = chosen.folding.pe
        return FoldedNetwork(self.network, tuple(foldings), self.pixels)

    def hasten(self, folded: FoldedNetwork, latency: int) -> FoldedNetwork:
        """Add multipliers to `folded` until an isolated image takes at most `latency` cycles.

        Layer by layer, always what saves most cycles for a multiplier. Raises `UserError` where
        no more multipliers help.
        """
        from model import schedule  # which needs the classes above

        reached = schedule.latency(folded)
        while reached > latency:
            faster = []
            for index, choices in enumerate(self.choices):
                for folding in self._steps_up(folded.stages[index], choices):
                    foldings = list(folded.foldings)
                    foldings[index] = folding
                    option = replace(folded, foldings=tuple(foldings))
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
            saved, folded = max(
                faster, key=lambda entry: entry[0] / (entry[1].multipliers - folded.multipliers)
            )
            reached -= saved
        return folded

    def _steps_up(self, stage: Stage, choices: list[_Choice] | None) -> list[Folding]:
        """The next few foldings of a stage with more multipliers and fewer cycles, cheapest first.

        They keep the loop order.
        """
        if choices is None:
            return []
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

    def cycles_for(self, multipliers: int) -> int:
        """The fewest cycles an image with at most `multipliers`.

        The multipliers needed never grow with the cycles allowed, so bisection over the intervals
        that some layer can take finds the first that fits.
        """
        fronts = [_pareto(choices) for choices in self.choices if choices is not None]
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


def _cost(shape: tuple[int, ...], lanes: int | None, choice: _Choice) -> tuple[int, ...]:
    """What makes one choice better than another: multipliers first, then the simpler hardware.

    shape: of the weights. lanes: of the beats into an fc, None for a convolution.
    """
    pe, simd = choice.folding.pe, choice.folding.simd
    channels, window = shape[0], math.prod(shape[1:])
    # An fc that takes whole beats, or cuts a beat evenly, needs no byte shifter.
    shifter = lanes is not None and simd % lanes != 0 and lanes % simd != 0
    rom = math.ceil(channels / pe) * pe * math.ceil(window / simd) * simd
    return (choice.multipliers, shifter, channels % pe != 0, rom, choice.interval, pe)


def _smallest_for_each_fold(size: int) -> list[int]:
    """For each value that ceil(size / x) takes, the smallest x in 1..size that gives it."""
    return sorted({math.ceil(size / folds) for folds in range(1, size + 1)})


def _pareto(choices: list[_Choice]) -> tuple[list[int], list[int]]:
    """Intervals in rising order, and the fewest multipliers at each."""
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
) -> FoldedNetwork:
    """Fold `network` optimally for a target of cycles an image or a budget of multipliers.

    cycles: the fewest multipliers that reach it. multipliers: the fewest cycles within it (and then
    the fewest multipliers). Neither: as fast as pixels come in at `pixels` a beat, or as the layers
    allow. The loop order of each fc is that of the shortest latency. latency: beyond that, add
    multipliers until an isolated image takes no longer. Raises `UserError` on a target and a budget
    at once, and on what no folding can reach.
    """
    solver = _Solver(network, pixels, price)
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
    from model import schedule  # which needs the classes above

    folded = schedule.order_loops(solver.solve(cycles))
    return folded if latency is None else solver.hasten(folded, latency)


def fifo_depths(folded: FoldedNetwork) -> list[int]:
    """Depth in beats of the FIFO at the end of each layer: see `schedule.buffers`."""
    from model import schedule  # which needs the classes above

    return schedule.buffers(folded).fifo_depths
