"""A stage by itself, for benches of single modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from convstream.model.hardware.layers import stage_class
from convstream.model.hardware.stage import Folding, Stage
from convstream.model.network.graph import IMAGE, Node
from convstream.model.network.layers import Layer, Shape
from convstream.model.network.layers.windows import Window


def lone_stage(
    layer: Layer,
    shape: Shape | Sequence[Shape],
    folding: Folding | None,
    lanes: int,
    pixels: int = 1,
) -> Stage:
    """The stage of a layer on inputs of `shape` that come in beats of `lanes` and `pixels`."""
    shapes = [shape] if isinstance(shape[0], int) else list(shape)
    node = Node("any", layer, (IMAGE,) * len(shapes), (*shapes,), layer.out_shape(*shapes))
    return stage_class(node)(node=node, lanes=lanes, pixels=pixels, folding=folding)


def window_of(parameters: Mapping[str, Any]) -> Window:
    """The window of a module with these parameters."""
    known = {"STRIDE": 1, "PADDING": 0} | dict(parameters)

    def sizes(name: str, prefix: str, *ways: str) -> tuple[int, ...]:
        return tuple(known.get(f"{prefix}_{way}", known.get(name, 1)) for way in ways)

    return Window(
        sizes("KERNEL", "KERNEL", "H", "W"),
        sizes("STRIDE", "STRIDE", "H", "W"),
        sizes("PADDING", "PAD", "TOP", "LEFT", "BOTTOM", "RIGHT"),
        sizes("DILATION", "DILATION", "H", "W"),
    )
