"""Random graphs, of residual blocks and concatenations, and the cases that `make fuzz` draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from random_networks import (
    MAX_MACS,
    STALLS,
    Case,
    Choices,
    DrawnChoices,
    draw_layer,
    random_chain,
    random_folding,
    random_shape,
)
from random_numbers import random_numbers

from convstream.model.hardware.draws import Limits
from convstream.model.hardware.folding import PIXELS_PER_BEAT
from convstream.model.hardware.scaling import scalings
from convstream.model.network.graph import Network
from convstream.model.network.layers import (
    Add,
    AvgPool,
    Concat,
    Conv,
    Layer,
    Linear,
    MaxPool,
    Shape,
    Table,
)

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

LIMITS = Limits(32, MAX_MACS, any_scale=True)
BLOCKS = ("layer", "residual", "projection", "concat")
REVERSED = Table.of(np.arange(255, -1, -1).astype(np.uint8))


def random_graph(
    choices: Choices, max_size: int = 10, max_blocks: int = 3, multiple: int = 1
) -> Network:
    """A graph of 1 to `max_blocks` blocks on small images, at whose end there may be any layer.

    multiple: divides the width of the input.
    """
    drawn = _Drawn(random_shape(choices, max_size, multiple))
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
        if kind == "layer":
            layer = draw_layer(choices, self.shape(before), LIMITS)
            self.add(Conv(2, 1) if isinstance(layer, Linear) else layer, before)
        elif kind == "residual":
            long = self._keeping(choices, before)
            if choices.now_and_then(2):
                long = self._keeping(choices, long)
            short = self.add(REVERSED, before) if choices.now_and_then(4) else before
            self.add(Add(), *choices.of([(long, short), (short, long)]))
        elif kind == "projection":
            stride, wider = choices.integer(1, 2), choices.integer(1, 6)
            long = self.add(Conv(wider, 3, stride=stride, padding=1), before)
            short = self.add(Conv(wider, 1, stride=stride), before)
            self.add(Add(), *choices.of([(long, short), (short, long)]))
        else:
            branches = [self._branch(choices, before) for _ in range(choices.integer(2, 3))]
            self.add(Concat(), *branches)

    def _keeping(self, choices: Choices, before: int) -> int:
        """A layer that keeps the shape."""
        channels = self.shape(before)[0]
        layers = (
            Conv(channels, 3, padding=1),
            Conv(channels, 1),
            Conv(channels, 3, padding=1, groups=channels),
            Conv(channels, (1, 3), padding=(0, 2, 0, 2), dilation=(1, 2)),
            AvgPool(3, 1, padding=1, count_include_pad=True),
            MaxPool(3, 1, padding=1),
        )
        return self.add(choices.of(layers), before)

    def _branch(self, choices: Choices, before: int) -> int:
        """A branch of a concatenation, of a multiple of the channels, so that any lanes suit."""
        channels = self.shape(before)[0]
        layers = (
            None, Conv(channels, 1), Conv(2 * channels, 3, padding=1), MaxPool(3, 1, 1), REVERSED
        )  # fmt: skip
        layer = choices.of(layers)
        return before if layer is None else self.add(layer, before)


def graph_case(choices: Choices) -> Case:
    """A graph with any scales and folding, under stalls."""
    quantised = random_numbers(choices, random_graph(choices), choices.now_and_then(2))
    folded = replace(random_folding(choices, quantised.network), scalings=scalings(quantised))
    stalls = choices.of(STALLS), choices.of(STALLS)
    return Case(quantised, folded, *stalls, choices.integer(0, 2**16))


def random_case(choices: Choices) -> Case:
    """A chain on inputs up to 40 x 40, or a graph on smaller ones: about a second to simulate."""
    multiple = choices.of(PIXELS_PER_BEAT)
    if choices.now_and_then(2):
        network = random_graph(choices, max_size=14, multiple=multiple)
    else:
        network = random_chain(choices, LIMITS, max_size=40, multiple=multiple)
    quantised = random_numbers(choices, network, powers=not choices.now_and_then(2))
    folded = random_folding(choices, network)
    smooth = not choices.now_and_then(2)
    stalls = (0, 0) if smooth else (choices.of(STALLS), choices.of(STALLS))
    return Case(quantised, folded, *stalls, choices.integer(0, 2**16))


def cases() -> SearchStrategy[Case]:
    """`random_case` as a strategy of hypothesis."""
    from hypothesis import strategies

    return strategies.composite(lambda draw: random_case(DrawnChoices(draw)))()
