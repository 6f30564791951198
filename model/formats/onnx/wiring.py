"""What makes and what reads each tensor of a file's graph."""

from __future__ import annotations

import heapq
from collections import defaultdict

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from convstream.model.base.errors import UserError
from convstream.model.formats.onnx.checks import MICROSOFT, blame, text


class Wiring:
    """The graph's nodes and constants by the names of the tensors between them.

    constants: initialisers, and the values of Constant nodes. nodes: all others, in topological
    order: the file's own, if it is as the ONNX standard wants it. makers, readers: the node that
    makes a tensor, and those that take it. input, output: those of the
    graph. dependent: the tensors that depend on the input. opsets, ir_version: the file's;
    opset: of the standard's operators.

    Raises `UserError` where there are several of these, a tensor is made twice, or nodes go round
    in a circle.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self.opsets = list(model.opset_import)
        if MICROSOFT not in [entry.domain for entry in self.opsets]:
            self.opsets.append(helper.make_opsetid(MICROSOFT, 1))
        self.ir_version = model.ir_version
        self.opset = next(o.version for o in self.opsets if o.domain in ("", "ai.onnx"))
        if graph.sparse_initializer:
            raise UserError(
                "it holds sparse initialisers; expected dense ones: export it with such"
            )
        self.constants: dict[str, TensorProto] = {}
        self.makers: dict[str, NodeProto] = {}
        self.readers: defaultdict[str, list[NodeProto]] = defaultdict(list)
        for tensor in graph.initializer:
            if tensor.name in self.constants:
                raise UserError(f"initialiser {text(tensor.name)} is there twice; remove one")
            self.constants[tensor.name] = tensor
        for node in graph.node:
            with blame(node):
                if node.op_type != "Constant" and not any(node.input):
                    raise UserError("it has no inputs; export with constants folded")
                for name in filter(None, node.output):
                    if name in self.makers or name in self.constants:
                        raise UserError(f"tensor {text(name)} is made twice; rename one")
                    if node.op_type == "Constant":
                        self.constants[name] = _constant_value(node)
                    else:
                        self.makers[name] = node
        inputs = [value.name for value in graph.input if value.name not in self.constants]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise UserError(
                f"the graph has {len(inputs)} inputs and {len(graph.output)} outputs, "
                "expected one of each; cut the others off with onnx.utils.extract_model"
            )
        self.input, self.output = inputs[0], graph.output[0].name
        if self.input in self.makers:
            raise UserError(f"input {text(self.input)} is also made by a node; rename one")
        if self.output not in self.makers:
            raise UserError(f"no node makes the output {text(self.output)}; is the file whole?")
        self.nodes = self._sorted([node for node in graph.node if node.op_type != "Constant"])
        self.dependent = {self.input}
        for node in self.nodes:
            if not self.dependent.isdisjoint(node.input):
                self.dependent.update(node.output)

    def _sorted(self, nodes: list[NodeProto]) -> list[NodeProto]:
        """The nodes, each after those whose outputs it takes, and otherwise as in the file."""
        missing = []
        takers: defaultdict[str, list[int]] = defaultdict(list)
        for place, node in enumerate(nodes):
            sources = set(filter(None, node.input))
            missing.append(sum(name in self.makers for name in sources))
            for name in sources:
                takers[name].append(place)
                self.readers[name].append(node)
        ready = [place for place, count in enumerate(missing) if not count]
        order = []
        while ready:
            node = nodes[heapq.heappop(ready)]
            order.append(node)
            for place in (place for name in node.output for place in takers.get(name, ())):
                missing[place] -= 1
                if not missing[place]:
                    heapq.heappush(ready, place)
        for place, count in enumerate(missing):
            if count:
                with blame(nodes[place]):
                    raise UserError("it is in a circle of nodes, or behind one; unroll the loop")
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
    """What a Constant node holds, by the name of its output."""
    types = {
        "value_float": np.float32, "value_floats": np.float32,
        "value_int": np.int64, "value_ints": np.int64,
    }  # fmt: skip
    if len(node.attribute) == 1:
        (attribute,) = node.attribute
        if attribute.name == "value" and attribute.HasField("t"):
            tensor = TensorProto()
            tensor.CopyFrom(attribute.t)
            tensor.name = node.output[0]
            return tensor
        if attribute.name in types:
            values = np.array(helper.get_attribute_value(attribute), types[attribute.name])
            return numpy_helper.from_array(values, node.output[0])
    raise UserError("expected a tensor as its value; make it an initialiser")
