"""What a network is: a graph of layers on uint8 images."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from convstream.model.base.errors import UserError
from convstream.model.network.layers import Layer, Shape

IMAGE = "image"
"""What a node's `inputs` call the network's own input."""


def names_of(layers: Sequence[Layer]) -> list[str]:
    """What the nodes of these layers are called: `conv1`, `pool1`, `conv2`, ..."""
    total = Counter(layer.stem for layer in layers)
    seen: Counter[str] = Counter()
    names = []
    for layer in layers:
        seen[layer.stem] += 1
        names.append(layer.node_name(seen[layer.stem], total[layer.stem]))
    return names


@dataclass(frozen=True)
class Node:
    """A layer at its place in a network.

    name: also of its stage, its `.mem` files and its instance in Verilog. inputs: the names of the
    nodes whose outputs it takes, or IMAGE. Shapes are (channels, height, width).
    """

    name: str
    layer: Layer
    inputs: tuple[str, ...]
    in_shapes: tuple[Shape, ...]
    out_shape: Shape

    @property
    def in_shape(self) -> Shape:
        """Shape of the first input, the only one of most layers."""
        return self.in_shapes[0]

    @property
    def weight_shape(self) -> tuple[int, ...] | None:
        """Shape of the weights, output channels first; None: it has none."""
        return self.layer.weight_shape(self.in_shape)

    @property
    def macs(self) -> int:
        """Multiply-accumulates an image, taps in the padding included."""
        shape = self.weight_shape
        return 0 if shape is None else math.prod(shape) * math.prod(self.out_shape[1:])

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        shape = self.weight_shape
        return 0 if shape is None else math.prod(shape) + shape[0]


@dataclass(frozen=True)
class Network:
    """Nodes in topological order, on uint8 images of `input_shape` (channels, height, width).

    The last node's output is the network's. `Network.chain` and `Network.graph` give
    nodes their names and shapes. Raises `UserError` where the nodes do not make a network.
    """

    name: str
    nodes: tuple[Node, ...]
    input_shape: Shape

    @classmethod
    def chain(cls, name: str, layers: Sequence[Layer], input_shape: Shape = (1, 28, 28)) -> Network:
        """Each layer takes what the one before it gives, the first one the image."""
        return cls.graph(name, [(layer, [at - 1]) for at, layer in enumerate(layers)], input_shape)

    @classmethod
    def graph(
        cls,
        name: str,
        layers: Sequence[tuple[Layer, Sequence[int]]],
        input_shape: Shape = (1, 28, 28),
    ) -> Network:
        """Layers in topological order, each with the places in `layers` of what it takes.

        -1 is the image. Nodes are called as `names_of` says.
        """
        names = names_of([layer for layer, _ in layers])
        nodes: list[Node] = []
        for name_of_node, (layer, places) in zip(names, layers, strict=True):
            sources = [nodes[place] if place >= 0 else None for place in places]
            shapes = tuple(node.out_shape if node else input_shape for node in sources)
            nodes.append(
                Node(
                    name=name_of_node,
                    layer=layer,
                    inputs=tuple(node.name if node else IMAGE for node in sources),
                    in_shapes=shapes,
                    out_shape=layer.out_shape(*shapes),
                )
            )
        return cls(name, tuple(nodes), input_shape)

    def __post_init__(self) -> None:
        known = {IMAGE: self.input_shape}
        for node in self.nodes:
            shapes = tuple(known.get(name) for name in node.inputs)
            if node.in_shapes != shapes or node.name in known:
                raise UserError(
                    f"network {self.name}: {node.name} takes {', '.join(node.inputs)} of shapes "
                    f"{node.in_shapes}; expected nodes before it, each with a name of its own"
                )
            known[node.name] = node.out_shape
        if not self.nodes:
            raise UserError(f"network {self.name}: it has no layers; expected one at least")
        unread = [node.name for node in self.nodes[:-1] if not self.readers(node.name)]
        if unread:
            raise UserError(f"network {self.name}: nothing takes the output of {unread[0]}")

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> Node:
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    @property
    def output(self) -> Node:
        """The last node, which gives the logits."""
        return self.nodes[-1]

    def readers(self, name: str) -> tuple[Node, ...]:
        """The nodes that take the output of the node `name`, or IMAGE."""
        return tuple(node for node in self.nodes if name in node.inputs)

    @cached_property
    def weighted(self) -> tuple[Node, ...]:
        """The nodes that have weights."""
        return tuple(node for node in self.nodes if node.weight_shape is not None)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layer of each node."""
        return tuple(node.layer for node in self.nodes)

    @property
    def classes(self) -> int:
        """Number of logits an image."""
        return math.prod(self.output.out_shape)

    @property
    def macs(self) -> int:
        """Multiply-accumulates an image, taps in the padding included."""
        return sum(node.macs for node in self.nodes)

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum(node.parameters for node in self.nodes)
