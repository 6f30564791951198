"""The streams of a graph: what a node gives, and a branch for each reader where it has several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from convstream.model.network.graph import Node


@dataclass(frozen=True)
class Streams:
    """The names of streams. That of what a node gives is the node's own, that of the image IMAGE.

    taken: by node, the streams at its inputs, in their order. forks: by stream that several inputs
    take, its branches, `<stream>_to_<node>`; a fork gives each beat to all of them.
    """

    taken: dict[str, tuple[str, ...]]
    forks: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, nodes: Iterable[Node]) -> Streams:
        """Those of `nodes`, in topological order."""
        nodes = list(nodes)
        readers = Counter(source for node in nodes for source in node.inputs)
        taken: dict[str, tuple[str, ...]] = {}
        forks: dict[str, tuple[str, ...]] = {}
        for node in nodes:
            names = []
            for place, source in enumerate(node.inputs):
                name = source
                if readers[source] > 1:
                    name += f"_to_{node.name}" + f"_{place}" * (node.inputs.count(source) > 1)
                    forks[source] = (*forks.get(source, ()), name)
                names.append(name)
            taken[node.name] = tuple(names)
        return cls(taken, forks)
