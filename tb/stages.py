"""A stage by itself, for benches of single modules."""

from __future__ import annotations

from collections.abc import Sequence

from convstream.model.hardware.layers import stage_class
from convstream.model.hardware.stage import Folding, Stage
from convstream.model.network.graph import IMAGE, Node
from convstream.model.network.layers import Layer, Shape


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
