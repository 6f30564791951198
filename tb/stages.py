"""A stage by itself, for benches of single modules."""

from __future__ import annotations

from convstream.model.hardware.layers import stage_class
from convstream.model.hardware.stage import Folding, Stage
from convstream.model.network.graph import IMAGE, Node
from convstream.model.network.layers import Layer, Shape


def lone_stage(
    layer: Layer, shape: Shape, folding: Folding | None, lanes: int, pixels: int = 1
) -> Stage:
    """The stage of a layer on inputs of `shape` that come in beats of `lanes` and `pixels`."""
    node = Node("any", layer, (IMAGE,), (shape,), layer.out_shape(shape))
    return stage_class(node)(node=node, lanes=lanes, pixels=pixels, folding=folding)
