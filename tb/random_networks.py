"""Random networks and foldings: chains of layers that nobody thought of, for tests of every kind.

There is one generator. It takes its choices either from NumPy, for tests that want some network, or
from hypothesis, which can then shrink a network that fails: the first of several options, and the
least of a range, is always the simplest.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from stages import lone_stage

from convstream.model.base.errors import UserError
from convstream.model.hardware.draws import Limits
from convstream.model.hardware.folding import (
    PIXELS_PER_BEAT,
    FoldedNetwork,
    beat_pixels,
)
from convstream.model.hardware.lanes import lane_groups
from convstream.model.hardware.layers import STAGES, stage_class
from convstream.model.hardware.stage import Folding
from convstream.model.network import reference
from convstream.model.network.codes import Codes
from convstream.model.network.exponents import Shifts, power_of_two
from convstream.model.network.graph import IMAGE, Network
from convstream.model.network.layers import Layer, Linear, Shape, Table
from convstream.model.network.layers.base import Site, int32
from convstream.model.network.layers.windows import Window
from convstream.model.network.quantised import QuantisedNetwork

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

T = TypeVar("T")

# How much a case may cost: a simulation of it should take about a second in Icarus.
MAX_MACS = 100_000
MAX_CLOCKS = 2200  # an image, more than the 2,116 positions that the largest input can have
MAX_MULTIPLIERS = 128  # a layer
IMAGES = 3
SMALL = 12  # half of all heights and widths are at most this
STALLS = (0, 0, 10, 30, 60, 90)  # percent of the clocks

WEIGHTS = (
    *(0, 127, -128),
    *("ends",) * 2,
    *("sparse",) * 4,
    *("small",) * 5,
    *("any",) * 6,
)


def generator(seed: str, *index: int | str) -> np.random.Generator:
    """A generator for one test, or one case of it, from the seed of the run."""
    return np.random.default_rng(list("/".join([seed, *map(str, index)]).encode()))


class Choices:
    """Whole numbers within bounds, and what follows from them, from NumPy."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def integer(self, low: int, high: int) -> int:
        """A number of low..high."""
        return int(self._rng.integers(low, high + 1))

    def of(self, options: Sequence[T]) -> T:
        """One of several options."""
        return options[self.integer(0, len(options) - 1)]

    def now_and_then(self, times: int) -> bool:
        """True once in so many times."""
        return self.integer(0, times - 1) == times - 1

    def data(self) -> np.random.Generator:
        """A generator for numbers that need no shrinking, such as the single weights."""
        return self._rng


class DrawnChoices(Choices):
    """The same from hypothesis."""

    def __init__(self, draw: Callable[[SearchStrategy], Any]) -> None:
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        from hypothesis import strategies

        return self._draw(strategies.integers(low, high))

    def data(self) -> np.random.Generator:
        return np.random.default_rng(self.integer(0, 2**32 - 1))


# Networks


def random_network(
    choices: np.random.Generator | Choices,
    name: str = "random",
    max_size: int = 20,
    max_layers: int = 5,
    max_channels: int = 32,
    max_macs: float = math.inf,
    multiple: int = 1,
) -> QuantisedNetwork:
    """A chain as of `random_chain` that power-of-two scales suit, of layers that can be trained.

    Weights are random, sparse or all at one extreme, biases now and then as large as int32
    accumulators allow; most shifts are such that activations neither die nor all saturate, the
    others anything from 0 up.
    """
    choices = _choices(choices)
    limits = Limits(max_channels, max_macs)
    network = random_chain(choices, limits, name, max_size, max_layers, multiple)
    return power_of_two(network, random_parameters(choices, network))


def random_chain(
    choices: Choices,
    limits: Limits,
    name: str = "random",
    max_size: int = 20,
    max_layers: int = 5,
    multiple: int = 1,
) -> Network:
    """A chain of 1 to `max_layers` layers.

    The input is 1..max_size x 1..max_size of 1..8 channels; kernels 1 to 7, strides 1 to 4,
    paddings 0 to K-1, pools 2 to 4. multiple: divides the width of the input. A layer beyond
    `limits` gets fewer channels, or a larger stride.
    """
    shape = input_shape = random_shape(choices, max_size, multiple)
    layers: list[Layer] = []
    last = False
    while not last:
        # Any number of layers is as likely; and a layer can be cut out of what was drawn.
        last = choices.integer(0, max_layers - 1 - len(layers)) == 0
        flat = bool(layers) and isinstance(layers[-1], Linear)
        bare = all(layer.weight_shape(input_shape) is None for layer in layers)
        layers.append(_layer(choices, shape, limits, flat, last, bare))
        shape = layers[-1].out_shape(shape)
    return Network.chain(name, layers, input_shape)


def random_shape(choices: Choices, max_size: int, multiple: int = 1) -> Shape:
    """1..8 channels of 1..max_size x 1..max_size; multiple: divides the width."""
    channels = choices.integer(1, 8)
    height, width = (
        step * choices.integer(1, max(1, min(max_size, choices.of([SMALL, max_size])) // step))
        for step in (1, multiple)
    )
    return channels, height, width


def random_window(
    rng: np.random.Generator, most_dilation: int = 1
) -> tuple[Window, tuple[int, int]]:
    """Any window of up to 5 x 5 taps, and the size of an image that it fits."""
    kernel, stride, dilation = (
        tuple(int(size) for size in rng.integers(1, most + 1, 2)) for most in (5, 4, most_dilation)
    )
    span = Window(kernel, dilation=dilation).span
    padding = tuple(int(rng.integers(0, size)) for size in span * 2)
    height, width = (
        int(rng.integers(max(1, size - before - after), size + 7))
        for size, before, after in zip(span, padding[:2], padding[2:], strict=True)
    )
    return Window(kernel, stride, padding, dilation), (height, width)


def random_images(
    rng: np.random.Generator, quantised: QuantisedNetwork, count: int = 4
) -> np.ndarray:
    """uint8 count x C x H x W; the first is all 0, the second all 255."""
    images = rng.integers(0, 256, (count, *quantised.network.input_shape), np.uint8)
    images[:1] = 0
    images[1:2] = 255
    return images


def random_parameters(
    choices: np.random.Generator | Choices, network: Network
) -> dict[str, Shifts]:
    """Parameters of each layer, most with shifts that suit what random images give."""
    choices = _choices(choices)
    parameters: dict[str, Shifts] = {}
    exponents = {IMAGE: choices.integer(-2, 11)}
    values = {IMAGE: choices.data().integers(0, 256, (4, *network.input_shape), np.uint8)}
    for node in network.nodes:
        layer, exponent = node.layer, exponents[node.inputs[0]]
        inputs = [values[name] for name in node.inputs]
        if not layer.accumulates:
            exponents[node.name] = exponent
            values[node.name] = layer.integers(inputs, layer.operands(Site()))
            continue
        weight = bias = None
        if node.weight_shape is not None:
            weight = random_weight(choices, node.weight_shape)
            bias = np.zeros(len(weight), np.int32)
            acc = layer.integers(inputs, layer.operands(Site(weight=weight, bias=bias)))
            bias = random_bias(choices, weight, int(np.abs(acc).max()))
        operands = layer.operands(Site(weight=weight, bias=bias))
        acc = int32(layer.integers(inputs, operands))
        if choices.now_and_then(10):
            shift = choices.integer(0, 16)
        else:
            suitable = math.ceil(math.log2(max(int(acc.max()), 1) / 255))
            shift = max(0, suitable - choices.integer(0, 2))
        own = layer.sum_exponent if weight is None else choices.integer(-2, 11)
        output = None if node is network.output else exponent + own - shift
        parameters[node.name] = Shifts(weight, bias, exponent, own, output)
        exponents[node.name] = exponent + own - shift
        values[node.name] = reference.requantise(acc, shift)
    return parameters


def rescaled(rng: np.random.Generator, quantised: QuantisedNetwork) -> QuantisedNetwork:
    """The network with scales of any value, near what they were, and zero points, all random."""
    network = quantised.network
    parameters = {}
    made = {IMAGE: Codes(float(np.float32(rng.uniform(0.001, 1))), int(rng.integers(256)))}
    found = dict(made)  # with those that pass on
    for node in network.nodes:
        (source,) = node.inputs
        if node.layer.passes:
            found[node.name] = found[source]
            continue
        unit = found[source].scale
        if node.weight_shape is None:
            unit *= 2.0**-node.layer.sum_exponent
        else:
            scales = len(quantised.parameters[node.name].weight) if rng.random() < 0.7 else 1
            parameters[node.name] = replace(
                quantised.parameters[node.name],
                weight_scale=rng.uniform(0.3, 1, scales).astype(np.float32),
            )
        rounding = quantised.rounding(node.name)
        if rounding is not None:
            scale = np.float32(unit * 2.0**rounding.shift * rng.uniform(0.5, 2))
            low, high = sorted(rng.integers(0, 256, 2).tolist())
            zero_point = int(rng.integers(256))
            if rng.random() < 0.5:
                zero_point, high = low, 255  # a ReLU
            made[node.name] = found[node.name] = Codes(float(scale), zero_point, low, high)
    return QuantisedNetwork(network, parameters, made)


def telling_network(seed: str, network: Network, count: int = 9) -> QuantisedNetwork:
    """Random parameters that give each of `count` random images logits of its own.

    Where all images had the same ones, a mixed-up order would go unnoticed.
    """
    for attempt in itertools.count():
        rng = generator(seed, network.name, attempt)
        quantised = power_of_two(network, random_parameters(rng, network))
        logits = reference.predict(quantised, random_images(rng, quantised, count))
        if len(np.unique(logits, axis=0)) == count:
            return quantised


def _choices(source: np.random.Generator | Choices) -> Choices:
    return source if isinstance(source, Choices) else Choices(source)


def _layer(
    choices: Choices, shape: Shape, limits: Limits, flat: bool, last: bool, bare: bool
) -> Layer:
    layer = draw_layer(choices, shape, limits)
    # What comes after a flattened layer is flat; the last layer gives sums, and some have weights.
    fits = not (flat and not isinstance(layer, Linear))
    if last:
        fits &= limits.any_scale or layer.accumulates
        fits &= not (bare and layer.weight_shape(shape) is None)
    return layer if fits else STAGES[Linear][0].draw(choices, shape, limits)


def draw_layer(choices: Choices, shape: Shape, limits: Limits) -> Layer:
    """Any layer of one input."""
    builds = [stage for stages in STAGES.values() for stage in stages]
    stages = [stage for stage in builds for _ in range(stage.frequency)]
    layer = choices.of(stages).draw(choices, shape, limits)
    if isinstance(layer, Table) and not limits.any_scale:
        layer = STAGES[Linear][0].draw(choices, shape, limits)
    return layer


def random_weight(choices: Choices, shape: tuple[int, ...]) -> np.ndarray:
    """int8 of a shape: any, sparse, or all at one extreme."""
    kind, rng = choices.of(WEIGHTS), choices.data()
    if kind == "any":
        weight = rng.integers(-128, 128, shape)
    elif kind == "small":
        weight = np.clip(np.rint(rng.normal(0, 20, shape)), -128, 127)
    elif kind == "sparse":
        weight = rng.integers(-128, 128, shape) * (rng.random(shape) < 0.2)
    elif kind == "ends":
        weight = rng.choice([-128, 127], shape)
    else:
        weight = np.full(shape, kind)
    return weight.astype(np.int8)


def random_bias(choices: Choices, weight: np.ndarray, spread: int) -> np.ndarray:
    """Mostly of the size of the sums, or at the ends of what int32 accumulators leave to them."""
    extreme, rng = choices.now_and_then(15), choices.data()
    if extreme:
        room = 2**31 - 1 - 255 * np.abs(weight.astype(np.int64)).reshape(len(weight), -1).sum(1)
        return (room * rng.choice([-1, 1], len(weight))).astype(np.int32)
    return rng.integers(-spread - 1, spread + 2, len(weight)).astype(np.int32)


# Foldings, and whole cases for a simulator


def random_folding(
    choices: np.random.Generator | Choices, network: Network, max_clocks: int = MAX_CLOCKS
) -> FoldedNetwork:
    """Any folding, pixels a beat and orders of loops; at most about `max_clocks` an image."""
    choices = _choices(choices)
    pixels = choices.of([pixels for pixels in PIXELS_PER_BEAT if _suits(network, pixels)])
    beat = beat_pixels(network, pixels)
    lanes = lane_groups(network)
    foldings: dict[str, Folding] = {}
    for node in network.nodes:
        stage = stage_class(node)
        if not stage.foldable:
            continue
        channels, rows, columns = node.out_shape
        window = lone_stage(node.layer, node.in_shape, Folding(1, 1), 1).window
        groups = rows * columns // beat[node.name]
        group = lanes[node.name]
        whole = beat[node.name] > 1 or group.whole
        common = math.gcd(*group.multiples)
        if len(group.folded) > 1:
            # The streams that join have equal lanes: those of the one that was first.
            common = math.gcd(common, *(folded.out_shape[0] for folded in group.folded))
        parallel = [
            pe
            for pe in range(1, channels + 1)
            if groups * math.ceil(channels / pe) <= max_clocks
            and not (whole and channels % pe)
            and common % pe == 0
        ]
        if group.image:
            parallel = [network.input_shape[0]]
        elif len(group.folded) > 1 and group.folded[0].name in foldings:
            parallel = [foldings[group.folded[0].name].pe]
        pe = _size(choices, parallel or [common or channels], channels)
        most_chunks = max(1, max_clocks // (groups * math.ceil(channels / pe)))
        least = math.ceil(window / most_chunks)
        most = max(least, min(window, MAX_MULTIPLIERS // (pe * beat[node.name])))
        simd = _size(choices, range(least, most + 1), window)
        by_pixel = node.in_shape[0] if stage.ordered else window // math.prod(node.weight_shape[2:])
        if least <= by_pixel <= most and choices.now_and_then(4):
            simd = by_pixel
        input_major = stage.ordered and bool(choices.integer(0, 1))
        fabric = choices.integer(0, simd) if choices.now_and_then(3) else 0
        foldings[node.name] = Folding(pe, simd, input_major, fabric)
    return FoldedNetwork(network, foldings, pixels, compact=choices.now_and_then(2))


def _suits(network: Network, pixels: int) -> bool:
    try:
        beat_pixels(network, pixels)
    except UserError:
        return False
    return True


def _size(choices: Choices, sizes: Sequence[int], total: int) -> int:
    """One of `sizes`; more often than by chance one that divides `total`."""
    divisors = [size for size in sizes if total % size == 0]
    return choices.of(choices.of([sizes, sizes, divisors]) if divisors else sizes)


@dataclass(frozen=True, eq=False)
class Case:
    """A network with its folding, and how to stream images through it.

    stall_in, stall_out: percent of the clocks. seed: of the stalls and the images.
    """

    quantised: QuantisedNetwork
    folded: FoldedNetwork
    stall_in: int
    stall_out: int
    seed: int

    @property
    def images(self) -> np.ndarray:
        """uint8 N x C x H x W."""
        return random_images(np.random.default_rng(self.seed), self.quantised, IMAGES)

    def __repr__(self) -> str:
        foldings = [
            f"{name} {f.pe}x{f.simd}{' input-major' * f.input_major} fabric {f.fabric}"
            for name, f in self.folded.foldings.items()
        ]
        network = self.quantised.network
        nodes = [
            f"{node.name} = {node.layer} of {', '.join(node.inputs)}" for node in network.nodes
        ]
        return (
            f"{'; '.join(nodes)} on {network.input_shape}, PE x SIMD {', '.join(foldings)}, "
            f"{self.folded.pixels} pixel(s) a beat{', compact' * self.folded.compact}, "
            f"{dict(self.quantised.codes)}, stalls {self.stall_in} % and {self.stall_out} %, seed "
            f"{self.seed}"
        )
