"""Which streams hold equally many channels a beat: a join ties them, and what is not folded."""

from __future__ import annotations

import math
from dataclasses import dataclass

from convstream.model.hardware.layers import stage_class
from convstream.model.network.graph import IMAGE, Network, Node


@dataclass(frozen=True)
class LaneGroup:
    """Streams of equal lanes, as few as the graph allows.

    nodes: which give them. image: whether the image, which comes whole pixels a beat, is one of
    them. multiples: numbers of channels that the lanes must divide, as a beat must not end within
    them. whole: whether the network's output is one of them and has several positions, which follow
    each other without a gap.
    """

    nodes: tuple[Node, ...]
    image: bool
    multiples: tuple[int, ...]
    whole: bool

    @property
    def folded(self) -> tuple[Node, ...]:
        """The nodes whose PE the lanes are."""
        return tuple(node for node in self.nodes if stage_class(node).foldable)

    @property
    def passive(self) -> tuple[Node, ...]:
        """The others, which take the lanes as they come."""
        return tuple(node for node in self.nodes if not stage_class(node).foldable)


def lane_groups(network: Network) -> dict[str, LaneGroup]:
    """The group of each stream, by IMAGE and by node."""
    together: dict[str, list[str]] = {IMAGE: [IMAGE]}
    for node in network.nodes:
        together[node.name] = [node.name]
        tied = [*node.inputs, *[node.name] * (not stage_class(node).foldable)]
        for name in tied[1:]:
            one, other = together[tied[0]], together[name]
            if one is not other:
                one += other
                together.update(dict.fromkeys(other, one))
    multiples: dict[str, list[int]] = {}
    for node in network.nodes:
        multiples.setdefault(together[node.inputs[0]][0], []).extend(
            stage_class(node).multiples(node)
        )
    several = math.prod(network.output.out_shape[1:]) > 1
    groups: dict[str, LaneGroup] = {}
    for names in together.values():
        if names[0] not in groups:
            group = LaneGroup(
                nodes=tuple(node for node in network.nodes if node.name in names),
                image=IMAGE in names,
                multiples=tuple(multiples.get(names[0], ())),
                whole=several and network.output.name in names,
            )
            groups.update(dict.fromkeys(names, group))
    return groups
