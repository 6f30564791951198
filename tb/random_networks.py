"""Random quantised networks: chains of layers that nobody thought of, for tests of every kind.

There is one generator. It takes its choices either from NumPy, for tests that want some network, or
from hypothesis, which can then shrink a network that fails: the first of several options, and the
least of a range, is always the simplest.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from hypothesis import strategies

from model import reference
from model.errors import UserError
from model.folding import PIXELS_PER_BEAT, FoldedNetwork, Folding, pixel_chain
from model.networks import Conv, Layer, Linear, MaxPool, Network, Shape
from model.quantised import Parameters, QuantisedNetwork

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

    def __init__(self, draw: Callable[[strategies.SearchStrategy], Any]) -> None:
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
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
    """A chain of 1 to `max_layers` convolutions, max-pools and fully connected layers.

    The input is 1..max_size x 1..max_size of 1..8 channels; kernels 1 to 7, strides 1 to 4,
    paddings 0 to K-1, pools 2 to 4. Weights are random, sparse or all at one extreme, biases now
    and then as large as int32 accumulators allow; most shifts are such that activations neither die
    nor all saturate, the others anything from 0 up. multiple: divides the width of the input.
    max_macs: of a layer; one that would take more gets fewer channels, or a larger stride.
    """
    choices = _choices(choices)
    channels = choices.integer(1, 8)
    height, width = (
        step * choices.integer(1, min(max_size, choices.of([SMALL, max_size])) // step)
        for step in (1, multiple)
    )
    shape = input_shape = (channels, height, width)
    layers: list[Layer] = []
    last = False
    while not last:
        # Any number of layers is as likely; and a layer can be cut out of what was drawn.
        last = choices.integer(0, max_layers - 1 - len(layers)) == 0
        flat = bool(layers) and isinstance(layers[-1], Linear)
        layers.append(_layer(choices, shape, max_channels, max_macs, flat, last))
        shape = layers[-1].out_shape(shape)
    network = Network(name, tuple(layers), input_shape)
    return QuantisedNetwork(network, random_parameters(choices, network))


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
) -> tuple[Parameters | None, ...]:
    """Parameters of each layer, most with shifts that suit what random images give."""
    choices = _choices(choices)
    parameters: list[Parameters | None] = []
    exponent = choices.integer(-2, 11)
    x = choices.data().integers(0, 256, (4, *network.input_shape), np.uint8)
    last = len(network.layers) - 1
    for index, (layer, shape) in enumerate(zip(network.layers, network.shapes, strict=False)):
        if isinstance(layer, MaxPool):
            parameters.append(None)
            x = reference.maxpool2d(x, layer.kernel, layer.stride, layer.padding)
            continue
        weight = _weight(choices, layer.weight_shape(shape))
        acc = _accumulators(x, layer, weight, np.zeros(len(weight), np.int32))
        bias = _bias(choices, weight, int(np.abs(acc).max()))
        acc = _accumulators(x, layer, weight, bias)
        if choices.now_and_then(10):
            shift = choices.integer(0, 16)
        else:
            suitable = math.ceil(math.log2(max(int(acc.max()), 1) / 255))
            shift = max(0, suitable - choices.integer(0, 2))
        weight_exponent = choices.integer(-2, 11)
        output = None if index == last else exponent + weight_exponent - shift
        parameters.append(Parameters(weight, bias, exponent, weight_exponent, output))
        x = reference.requantise(acc, shift)
        exponent = output
    return tuple(parameters)


def telling_network(seed: str, network: Network, count: int = 9) -> QuantisedNetwork:
    """Random parameters that give each of `count` random images logits of its own.

    Where all images had the same ones, a mixed-up order would go unnoticed.
    """
    for attempt in itertools.count():
        rng = generator(seed, network.name, attempt)
        quantised = QuantisedNetwork(network, random_parameters(rng, network))
        logits = reference.predict(quantised, random_images(rng, quantised, count))
        if len(np.unique(logits, axis=0)) == count:
            return quantised


def _choices(source: np.random.Generator | Choices) -> Choices:
    return source if isinstance(source, Choices) else Choices(source)


def _layer(
    choices: Choices, shape: Shape, max_channels: int, max_macs: float, flat: bool, last: bool
) -> Layer:
    kind = choices.of(["fc"] * 2 + ["conv"] * 5 + ["maxpool"] * 3)
    most = min(max_channels, choices.of([8, 32]))
    if flat or kind == "fc" or (last and kind == "maxpool"):
        return Linear(choices.integer(1, _affordable(most, math.prod(shape), max_macs)))
    # A window must fit into the image and its padding.
    least = {
        kernel: max(0, math.ceil((kernel - min(shape[1:])) / 2))
        for kernel in (range(1, 8) if kind == "conv" else range(2, 5))
    }
    kernel = choices.of([kernel for kernel, padding in least.items() if padding < kernel])
    if kind == "maxpool" and least[kernel] == 0 and choices.now_and_then(2):
        return MaxPool(kernel, kernel)  # windows side by side, as most networks have them
    padding = choices.integer(least[kernel], kernel - 1)
    stride = choices.integer(1, 4)
    if kind == "maxpool":
        return MaxPool(kernel, stride, padding)
    window = shape[0] * kernel**2

    def macs(stride: int) -> int:
        return window * math.prod(MaxPool(kernel, stride, padding).out_shape(shape)[1:])

    while macs(stride) > max_macs:
        stride += 1
    channels = choices.integer(1, _affordable(most, macs(stride), max_macs))
    return Conv(channels, kernel, stride, padding)


def _affordable(most: int, macs: int, max_macs: float) -> int:
    """Output channels, at most `most`, of `macs` each."""
    return int(max(1, min(most, max_macs // macs)))


def _accumulators(
    x: np.ndarray, layer: Conv | Linear, weight: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    if isinstance(layer, Conv):
        return reference.conv2d(x, weight, bias, layer.stride, layer.padding)
    return reference.fc(x.reshape(len(x), -1), weight, bias)[:, :, None, None]


def _weight(choices: Choices, shape: tuple[int, ...]) -> np.ndarray:
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


def _bias(choices: Choices, weight: np.ndarray, spread: int) -> np.ndarray:
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
    widths = pixel_chain(network, pixels)
    foldings: list[Folding | None] = []
    for index, layer in enumerate(network.layers):
        if isinstance(layer, MaxPool):
            foldings.append(None)
            continue
        shape = network.shapes[index + 1]
        window = math.prod(layer.weight_shape(network.shapes[index])[1:])
        groups = shape[1] * shape[2] // widths[index + 1]
        whole = widths[index + 1] > 1 or (index == len(network.layers) - 1 and groups > 1)
        parallel = [
            pe
            for pe in range(1, shape[0] + 1)
            if groups * math.ceil(shape[0] / pe) <= max_clocks and not (whole and shape[0] % pe)
        ]
        pe = _size(choices, parallel or [shape[0]], shape[0])
        most_chunks = max(1, max_clocks // (groups * math.ceil(shape[0] / pe)))
        least = math.ceil(window / most_chunks)
        most = max(least, min(window, MAX_MULTIPLIERS // (pe * widths[index + 1])))
        simd = _size(choices, range(least, most + 1), window)
        channels = network.shapes[index][0]
        if isinstance(layer, Conv) and least <= channels <= most and choices.now_and_then(4):
            simd = channels  # pixel by pixel
        input_major = isinstance(layer, Linear) and bool(choices.integer(0, 1))
        fabric = choices.integer(0, simd) if choices.now_and_then(3) else 0
        foldings.append(Folding(pe, simd, input_major, fabric))
    return FoldedNetwork(network, tuple(foldings), pixels, compact=choices.now_and_then(2))


def _suits(network: Network, pixels: int) -> bool:
    try:
        pixel_chain(network, pixels)
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
            f"{f.pe}x{f.simd}{' input-major' * f.input_major} fabric {f.fabric}"
            for f in self._foldings
        ]
        return (
            f"{self.quantised.network}, PE x SIMD {', '.join(foldings)}, "
            f"{self.folded.pixels} pixel(s) a beat{', compact' * self.folded.compact}, shifts "
            f"{[p.shift for p in self.quantised.parameters if p]}, "
            f"stalls {self.stall_in} % and {self.stall_out} %, seed {self.seed}"
        )

    @property
    def _foldings(self) -> list[Folding]:
        return [folding for folding in self.folded.foldings if folding]


def random_case(choices: np.random.Generator | Choices) -> Case:
    """A network of inputs up to 40 x 40 that takes about a second to simulate."""
    choices = _choices(choices)
    multiple = choices.of(PIXELS_PER_BEAT)
    quantised = random_network(choices, max_size=40, max_macs=MAX_MACS, multiple=multiple)
    folded = random_folding(choices, quantised.network)
    smooth = not choices.now_and_then(2)
    stalls = (0, 0) if smooth else (choices.of(STALLS), choices.of(STALLS))
    return Case(quantised, folded, *stalls, choices.integer(0, 2**16))


@strategies.composite
def cases(draw: Callable[[strategies.SearchStrategy], Any]) -> Case:
    """`random_case` as a strategy of hypothesis."""
    return random_case(DrawnChoices(draw))
