"""What makes and what reads each tensor of a file's graph."""

from __future__ import annotations

import heapq
from collections import defaultdict

import onnx
from onnx import NodeProto, TensorProto

from convstream.model.base.errors import UserError
from convstream.model.formats.onnx.checks import blame, text


class Wiring:
    """The graph's nodes and constants by the names of the tensors between them.

    constants: initialisers, and the values of Constant nodes. nodes: all others, in topological
    order: the file's own, if it is as the ONNX standard wants it. makers, readers: the node that
    makes a tensor, and the places in the file of those that take it. input, output: those of the
    graph.

    Raises `UserError` where there are several of these, a tensor is made twice, or nodes go round
    in a circle.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        if graph.sparse_initializer:
            raise UserError("it holds sparse initialisers; expected dense ones")
        self.constants: dict[str, TensorProto] = {}
        self.makers: dict[str, NodeProto] = {}
        self.readers: defaultdict[str, list[int]] = defaultdict(list)
        for tensor in graph.initializer:
            if tensor.name in self.constants:
                raise UserError(f"initialiser {text(tensor.name)} is there twice")
            self.constants[tensor.name] = tensor
        for node in graph.node:
            with blame(node):
                if node.op_type != "Constant" and not any(node.input):
                    raise UserError("it has no inputs")
                for name in filter(None, node.output):
                    if name in self.makers or name in self.constants:
                        raise UserError(f"tensor {text(name)} is made twice")
                    if node.op_type == "Constant":
                        self.constants[name] = _constant_value(node)
                    else:
                        self.makers[name] = node
        inputs = [value.name for value in graph.input if value.name not in self.constants]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise UserError(
                f"the graph has {len(inputs)} inputs and {len(graph.output)} outputs, "
                "expected one of each"
            )
        self.input, self.output = inputs[0], graph.output[0].name
        if self.input in self.makers:
            raise UserError(f"input {text(self.input)} is also made by a node")
        if self.output not in self.makers:
            raise UserError(f"no node makes the output {text(self.output)}; is the file whole?")
        self.nodes = self._sorted([node for node in graph.node if node.op_type != "Constant"])

    def _sorted(self, nodes: list[NodeProto]) -> list[NodeProto]:
        """The nodes, each after those whose outputs it takes, and otherwise as in the file."""
        missing = []
        for place, node in enumerate(nodes):
            sources = {name for name in node.input if name in self.makers}
            missing.append(len(sources))
            for name in sources:
                self.readers[name].append(place)
        ready = [place for place, count in enumerate(missing) if not count]
        order = []
        while ready:
            node = nodes[heapq.heappop(ready)]
            order.append(node)
            for place in (place for name in node.output for place in self.readers[name]):
                missing[place] -= 1
                if not missing[place]:
                    heapq.heappush(ready, place)
        for place, count in enumerate(missing):
            if count:
                with blame(nodes[place]):
                    raise UserError("it is in a circle of nodes, or behind one")
        return order

    def needed(self) -> set[str]:
        """The tensors made by nodes that the output depends on, itself among them."""
        found: set[str] = set()
        pending = [self.output]
        while pending:
            name = pending.pop()
            if name in self.makers and name not in found:
                found.add(name)
                pending += self.makers[name].input
        return found


def _constant_value(node: NodeProto) -> TensorProto:
    values = [attribute.t for attribute in node.attribute if attribute.name == "value"]
    if len(values) != 1:
        raise UserError("expected a tensor as its value")
    return values[0]
