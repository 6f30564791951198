"""Random quantised networks: chains of layers that nobody thought of, for tests of every kind."""

from __future__ import annotations

import math

import numpy as np

from model import reference
from model.networks import Conv, Layer, Linear, MaxPool, Network, Shape
from model.quantised import Parameters, QuantisedNetwork


def generator(seed: str, *index: int | str) -> np.random.Generator:
    """A generator for one test, or one case of it, from the seed of the run."""
    return np.random.default_rng(list("/".join([seed, *map(str, index)]).encode()))


def random_network(
    rng: np.random.Generator,
    name: str = "random",
    max_size: int = 20,
    max_layers: int = 5,
    max_channels: int = 32,
) -> QuantisedNetwork:
    """A chain of 1 to `max_layers` convolutions, max-pools and fully connected layers.

    The input is 1..max_size x 1..max_size of 1..8 channels; kernels 1 to 7, strides 1 to 4,
    paddings 0 to K-1, pools 2 to 4. Weights are random, sparse or all at one extreme, biases now
    and then as large as int32 accumulators allow; elsewhere shifts are such that activations
    neither die nor all saturate.
    """
    height, width = rng.integers(1, max_size + 1, 2).tolist()
    shape = input_shape = (int(rng.integers(1, 9)), height, width)
    layers: list[Layer] = []
    for left in reversed(range(rng.integers(1, max_layers + 1))):
        flat = bool(layers) and isinstance(layers[-1], Linear)
        layers.append(_layer(rng, shape, max_channels, flat, last=left == 0))
        shape = layers[-1].out_shape(shape)
    network = Network(name, tuple(layers), input_shape)
    return QuantisedNetwork(network, random_parameters(rng, network))


def random_images(
    rng: np.random.Generator, quantised: QuantisedNetwork, count: int = 4
) -> np.ndarray:
    """uint8 count x C x H x W; the first is all 0, the second all 255."""
    images = rng.integers(0, 256, (count, *quantised.network.input_shape), np.uint8)
    images[:1] = 0
    images[1:2] = 255
    return images


def random_parameters(rng: np.random.Generator, network: Network) -> tuple[Parameters | None, ...]:
    """Parameters of each layer, with shifts that suit what random images give."""
    parameters: list[Parameters | None] = []
    exponent = int(rng.integers(-2, 12))
    x = rng.integers(0, 256, (4, *network.input_shape), np.uint8)
    last = len(network.layers) - 1
    for index, (layer, shape) in enumerate(zip(network.layers, network.shapes, strict=False)):
        if isinstance(layer, MaxPool):
            parameters.append(None)
            x = reference.maxpool2d(x, layer.kernel, layer.stride, layer.padding)
            continue
        weight = _weight(rng, layer.weight_shape(shape))
        acc = _accumulators(x, layer, weight, np.zeros(len(weight), np.int32))
        bias = _bias(rng, weight, int(np.abs(acc).max()))
        acc = _accumulators(x, layer, weight, bias)
        shift = max(0, math.ceil(math.log2(max(int(acc.max()), 1) / 255))) + rng.integers(-2, 1)
        shift = max(0, int(shift))
        weight_exponent = int(rng.integers(-2, 12))
        output = None if index == last else exponent + weight_exponent - shift
        parameters.append(Parameters(weight, bias, exponent, weight_exponent, output))
        x = reference.requantise(acc, shift)
        exponent = output
    return tuple(parameters)


def _layer(
    rng: np.random.Generator, shape: Shape, max_channels: int, flat: bool, last: bool
) -> Layer:
    kind = rng.choice(["conv", "maxpool", "fc"], p=[0.5, 0.3, 0.2])
    channels = int(min(max_channels, rng.choice([rng.integers(1, 9), rng.integers(1, 33)])))
    if flat or kind == "fc" or (last and kind == "maxpool"):
        return Linear(channels)
    kernel = padding = 0
    while min(shape[1:]) + 2 * padding < kernel or kernel == 0:
        kernel = int(rng.integers(1, 8) if kind == "conv" else rng.integers(2, 5))
        padding = int(rng.integers(0, kernel))
    stride = int(rng.integers(1, 5))
    if kind == "conv":
        return Conv(channels, kernel, stride, padding)
    return MaxPool(kernel, stride, padding)


def _accumulators(
    x: np.ndarray, layer: Conv | Linear, weight: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    if isinstance(layer, Conv):
        return reference.conv2d(x, weight, bias, layer.stride, layer.padding)
    return reference.fc(x.reshape(len(x), -1), weight, bias)[:, :, None, None]


def _weight(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    kinds = {"any": 0.3, "small": 0.25, "sparse": 0.2, "ends": 0.1, -128: 0.05, 127: 0.05, 0: 0.05}
    kind = list(kinds)[rng.choice(len(kinds), p=list(kinds.values()))]
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


def _bias(rng: np.random.Generator, weight: np.ndarray, spread: int) -> np.ndarray:
    """Mostly of the size of the sums, or at the ends of what int32 accumulators leave to them."""
    if rng.random() < 0.05:
        room = 2**31 - 1 - 255 * np.abs(weight.astype(np.int64)).reshape(len(weight), -1).sum(1)
        return (room * rng.choice([-1, 1], len(weight))).astype(np.int32)
    return rng.integers(-spread - 1, spread + 2, len(weight)).astype(np.int32)
