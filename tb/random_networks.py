"""Random quantised networks: chains of layers that nobody thought of, for tests of every kind."""

from __future__ import annotations

import math

import numpy as np

from model import reference
from model.networks import Conv, Layer, Linear, MaxPool, Network, Shape
from model.quantised import Parameters, QuantisedNetwork


def random_network(
    rng: np.random.Generator, name: str = "random", max_size: int = 20, max_layers: int = 5
) -> QuantisedNetwork:
    """A chain of 1 to `max_layers` convolutions, max-pools and fully connected layers.

    The input is 1..max_size x 1..max_size x 1..8; kernels 1 to 7, strides 1 to 4, paddings 0 to K-1,
    pools 2 to 4, 1 to 32 channels. Weights are random, sparse, or all at one extreme; each shift is such
    that activations neither die nor all saturate, where the weights allow it.
    """
    height, width = rng.integers(1, max_size + 1, 2).tolist()
    input_shape = (int(rng.integers(1, 9)), height, width)
    layers = _layers(rng, input_shape, int(rng.integers(1, max_layers + 1)))
    network = Network(name, tuple(layers), input_shape)
    return QuantisedNetwork(network, tuple(_parameters(rng, network)))


def random_images(
    rng: np.random.Generator, quantised: QuantisedNetwork, count: int = 4
) -> np.ndarray:
    """uint8 count x C x H x W; the first two are all 0 and all 255."""
    images = rng.integers(0, 256, (count, *quantised.network.input_shape), np.uint8)
    images[:1] = 0
    images[1:2] = 255
    return images


def _layers(rng: np.random.Generator, shape: Shape, count: int) -> list[Layer]:
    layers: list[Layer] = []
    for left in reversed(range(count)):
        layer = _layer(rng, shape, flat=bool(layers) and layers[-1].kind == "fc", last=left == 0)
        layers.append(layer)
        shape = layer.out_shape(shape)
    return layers


def _layer(rng: np.random.Generator, shape: Shape, flat: bool, last: bool) -> Layer:
    kind = rng.choice(["conv", "maxpool", "fc"], p=[0.5, 0.3, 0.2])
    channels = int(rng.choice([rng.integers(1, 9), rng.integers(1, 33)]))
    if flat or kind == "fc" or (last and kind == "maxpool"):
        return Linear(channels)
    while True:
        kernel = int(rng.integers(1, 8) if kind == "conv" else rng.integers(2, 5))
        padding = int(rng.integers(0, kernel))
        if min(shape[1:]) + 2 * padding >= kernel:
            break
    stride = int(rng.integers(1, 5))
    if kind == "conv":
        return Conv(channels, kernel, stride, padding)
    return MaxPool(kernel, stride, padding)


def _parameters(rng: np.random.Generator, network: Network) -> list[Parameters | None]:
    """Parameters of each layer, shifts chosen on what random images give."""
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
        if isinstance(layer, Conv):
            zero = np.zeros(len(weight), np.int32)
            acc = reference.conv2d(x, weight, zero, layer.stride, layer.padding)
        else:
            zero = np.zeros(len(weight), np.int32)
            acc = reference.fc(x.reshape(len(x), -1), weight, zero)[:, :, None, None]
        spread = max(int(np.abs(acc).max()), 1)
        bias = rng.integers(-spread, spread + 1, len(weight)).astype(np.int32)
        acc = acc + bias[:, None, None]
        shift = max(0, math.ceil(math.log2(max(int(acc.max()), 1) / 255)) - int(rng.integers(0, 3)))
        weight_exponent = int(rng.integers(-2, 12))
        output = None if index == last else exponent + weight_exponent - shift
        parameters.append(Parameters(weight, bias, exponent, weight_exponent, output))
        x = reference.requantise(acc.astype(np.int32), shift)
        exponent = output
    return parameters


def _weight(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    kind = rng.choice(
        ["any", "small", "sparse", "extreme", "-128", "127", "0"],
        p=[0.3, 0.25, 0.2, 0.1, 0.05, 0.05, 0.05],
    )
    if kind == "any":
        weight = rng.integers(-128, 128, shape)
    elif kind == "small":
        weight = np.clip(np.rint(rng.normal(0, 20, shape)), -128, 127)
    elif kind == "sparse":
        weight = rng.integers(-128, 128, shape) * (rng.random(shape) < 0.2)
    elif kind == "extreme":
        weight = rng.choice([-128, 127], shape)
    else:
        weight = np.full(shape, int(kind))
    return weight.astype(np.int8)
