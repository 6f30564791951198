"""Random quantised graphs: residual blocks, with and without a projection, and concatenations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from random_networks import STALLS, Case, Choices, random_folding

from convstream.model.hardware.scaling import scalings
from convstream.model.network.codes import Codes
from convstream.model.network.graph import IMAGE, Network
from convstream.model.network.layers import Add, Concat, Conv, Layer, Linear, MaxPool, Shape
from convstream.model.network.layers.base import Site
from convstream.model.network.quantised import Parameters, QuantisedNetwork

BLOCKS = ("plain", "residual", "projection", "concat", "pool")


def random_graph(choices: Choices, max_size: int = 10, max_blocks: int = 3) -> Network:
    """A graph of 1 to `max_blocks` blocks on small images, at whose end there may be any layer."""
    drawn = _Drawn(
        (choices.integer(1, 3), choices.integer(3, max_size), choices.integer(3, max_size))
    )
    for _ in range(choices.integer(1, max_blocks)):
        drawn.block(choices, choices.of(BLOCKS))
    if all(layer.weight_shape((1, 1, 1)) is None for layer, _ in drawn.layers):
        drawn.add(Conv(2, 1), drawn.at)
    ending = choices.integer(0, 2)
    if ending < 2:
        drawn.add(Linear(choices.integer(1, 7)) if ending else Conv(2, 1), drawn.at)
    return Network.graph("net", drawn.layers, drawn.input_shape)


class _Drawn:
    """The layers so far, with the places of what they take, and the place of the last one."""

    def __init__(self, input_shape: Shape) -> None:
        self.input_shape = input_shape
        self.layers: list[tuple[Layer, Sequence[int]]] = []
        self.shapes: list[Shape] = []
        self.at = -1

    def shape(self, place: int) -> Shape:
        return self.shapes[place] if place >= 0 else self.input_shape

    def add(self, layer: Layer, *places: int) -> int:
        self.layers.append((layer, places))
        self.shapes.append(layer.out_shape(*map(self.shape, places)))
        self.at = len(self.layers) - 1
        return self.at

    def block(self, choices: Choices, kind: str) -> None:
        before = self.at
        channels = self.shape(before)[0]
        if kind == "plain":
            stride = choices.integer(1, 2)
            self.add(Conv(choices.integer(1, 6), 3, stride=stride, padding=1), before)
        elif kind == "pool":
            self.add(MaxPool(3, choices.integer(1, 2), padding=1), before)
        elif kind == "residual":
            long = before
            for _ in range(choices.integer(1, 2)):
                long = self.add(Conv(channels, 3, padding=1), long)
            self.add(Add(), *choices.of([(long, before), (before, long)]))
        elif kind == "projection":
            stride, wider = choices.integer(1, 2), choices.integer(1, 6)
            long = self.add(Conv(wider, 3, stride=stride, padding=1), before)
            short = self.add(Conv(wider, 1, stride=stride), before)
            self.add(Add(), *choices.of([(long, short), (short, long)]))
        else:
            branches = [self._branch(choices, before) for _ in range(choices.integer(2, 3))]
            self.add(Concat(), *branches)

    def _branch(self, choices: Choices, before: int) -> int:
        """A branch of a concatenation, of a multiple of the channels, so that any lanes suit."""
        channels = self.shape(before)[0]
        layers = (None, Conv(channels, 1), Conv(2 * channels, 3, padding=1), MaxPool(3, 1, 1))
        layer = choices.of(layers)
        return before if layer is None else self.add(layer, before)


def graph_case(choices: Choices) -> Case:
    """A graph with any scales and folding, under stalls."""
    quantised = quantise_graph(choices.data(), random_graph(choices), choices.now_and_then(2))
    folded = replace(random_folding(choices, quantised.network), scalings=scalings(quantised))
    stalls = choices.of(STALLS), choices.of(STALLS)
    return Case(quantised, folded, *stalls, choices.integer(0, 2**16))


def quantise_graph(rng: np.random.Generator, network: Network, exact: bool) -> QuantisedNetwork:
    """Random weights, and scales with which most codes neither vanish nor saturate.

    exact: all scales are powers of two. Zero points are 0.
    """
    codes = _codes(rng, network, exact)
    parameters: dict[str, Parameters] = {}
    values = {IMAGE: rng.integers(0, 256, (4, *network.input_shape), np.uint8)}
    for node in network.nodes:
        inputs = [values[name] for name in node.inputs]
        output = codes[node.name]
        weight = bias = scale = None
        if node.weight_shape is not None:
            weight = rng.integers(-128, 128, node.weight_shape).astype(np.int8)
            bias = rng.integers(-2000, 2001, len(weight)).astype(np.int32)
            sums = node.layer.integers(inputs, node.layer.operands(Site(weight=weight, bias=bias)))
            factor = 250 / max(1, np.abs(sums).max()) * output.scale / codes[node.inputs[0]].scale
            scales = factor * rng.uniform(0.5, 1, len(weight))
            if exact:
                scales = 2.0 ** np.floor(np.log2(scales[:1]))
            scale = scales.astype(np.float32)
            parameters[node.name] = Parameters(weight, scale, bias)
        site = Site(weight, scale, bias, tuple(codes[name] for name in node.inputs), output)
        y = node.layer.integers(inputs, node.layer.operands(site))
        rounding = None if node.layer.passes else node.layer.rounding(site)
        values[node.name] = y if rounding is None else rounding.codes(y)
    makers = {node.name for node in network.nodes if not node.layer.passes} | {IMAGE}
    if network.output.layer.accumulates:
        makers.remove(network.output.name)
    return QuantisedNetwork(network, parameters, {name: codes[name] for name in makers})


def _codes(rng: np.random.Generator, network: Network, exact: bool) -> dict[str, Codes]:
    """Random ones by node and IMAGE: the same where a layer passes codes on."""
    codes: dict[str, Codes] = {}
    for name in [IMAGE, *(node.name for node in network.nodes)]:
        scale = 2.0 ** rng.integers(-5, -2) if exact else np.float32(rng.uniform(0.03, 0.2))
        codes[name] = Codes(float(scale))
    changed = True
    while changed:
        changed = False
        for node in network.nodes:
            for name in node.inputs if node.layer.passes else ():
                if codes[name] != codes[node.name]:
                    least = min(codes[name], codes[node.name], key=lambda c: c.scale)
                    codes[name] = codes[node.name] = least
                    changed = True
    return codes
