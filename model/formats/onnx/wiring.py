"""What makes and what reads each tensor of a file's graph."""

from __future__ import annotations

from collections import Counter

import onnx
from onnx import NodeProto, TensorProto

from model.base.errors import UserError
from model.formats.onnx.checks import blame, text


class Wiring:
    """The graph's nodes and constants by the names of the tensors between them.

    constants: initialisers, and the values of Constant nodes. makers: the node that makes a tensor,
    Constant nodes aside. readers: how many inputs of nodes take a tensor. input, output: those of
    the graph.

    Raises `UserError` where there are several of these, a tensor is made twice, or read before it
    is made: the ONNX standard wants the nodes in topological order.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        if graph.sparse_initializer:
            raise UserError("it holds sparse initialisers; expected dense ones")
        self.constants: dict[str, TensorProto] = {}
        self.makers: dict[str, NodeProto] = {}
        self.readers: Counter[str] = Counter()
        for tensor in graph.initializer:
            if tensor.name in self.constants:
                raise UserError(f"initialiser {text(tensor.name)} is there twice")
            self.constants[tensor.name] = tensor
        self.nodes = [node for node in graph.node if node.op_type != "Constant"]
        for node in graph.node:
            with blame(node):
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
        self._check_order()

    def _check_order(self) -> None:
        made: set[str] = set()
        for node in self.nodes:
            with blame(node):
                if not any(node.input):
                    raise UserError("it has no inputs")
                self.readers.update(filter(None, node.input))
                for name in node.input:
                    if name in self.makers and name not in made:
                        raise UserError(
                            f"takes {text(name)}, which a later node makes, or itself; expected "
                            "the nodes in topological order, as ONNX wants them"
                        )
                made.update(node.output)

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
