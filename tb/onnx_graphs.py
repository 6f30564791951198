"""ONNX graphs made by hand, node by node, for tests of the reader."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from convstream.model.network.quantised import QuantisedNetwork


def assert_equal_networks(a: QuantisedNetwork, b: QuantisedNetwork) -> None:
    assert a.network == b.network
    assert a.parameters.keys() == b.parameters.keys()
    for name, p in a.parameters.items():
        q = b.parameters[name]
        for mine, theirs in (
            (p.weight, q.weight),
            (p.bias, q.bias),
            (p.weight_scale, q.weight_scale),
        ):
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(mine, theirs, err_msg=name)
    assert a.codes == b.codes


class Graph:
    """A QDQ graph in the making; `x` is the tensor at the end of the chain."""

    def __init__(self, shape=("N", 2, 8, 7), input_type=TensorProto.UINT8, opset=13) -> None:
        self.rng = np.random.default_rng(3)
        self.input = helper.make_tensor_value_info("in", input_type, shape)
        self.nodes: list[onnx.NodeProto] = []
        self.initialisers: list[TensorProto] = []
        self.opset = opset
        self.x = "in"

    def constant(self, values: np.ndarray, name: str | None = None) -> str:
        name = name or f"c{len(self.initialisers)}"
        self.initialisers.append(numpy_helper.from_array(values, name))
        return name

    def op(self, op_type: str, *inputs: str, name: str | None = None, **attributes) -> Graph:
        """Append a node on the tensor at the end, with further inputs."""
        self.x = self.node(op_type, self.x, *inputs, name=name, **attributes)
        return self

    def node(self, op_type: str, *inputs: str, name: str | None = None, **attributes) -> str:
        """A node beside the chain; returns its output."""
        output = f"t{len(self.nodes)}"
        name = name or f"{op_type.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [output], name, **attributes))
        return output

    def scale(self, exponent: int) -> str:
        return self.constant(np.array(2.0**-exponent, np.float32))

    def zero(self, dtype: type = np.uint8) -> str:
        return self.constant(np.array(0, dtype))

    def dq(self, exponent: int, name: str | None = None) -> Graph:
        return self.op("DequantizeLinear", self.scale(exponent), self.zero(), name=name)

    def q(self, exponent: int, name: str | None = None) -> Graph:
        return self.op("QuantizeLinear", self.scale(exponent), self.zero(), name=name)

    def clip(self, low: int, high: int) -> Graph:
        """Of uint8 codes."""
        return self.op("Clip", *(self.constant(np.uint8(limit)) for limit in (low, high)))

    def quant(self, bits: float = 8, scale: float = 0.5, zero: float = 0, **attributes) -> Graph:
        """QONNX's Quant of the tensor at the end."""
        values = (self.constant(np.array(value, np.float32)) for value in (scale, zero, bits))
        return self.op("Quant", *values, domain="qonnx.custom_op.general", **attributes)

    def weight(self, shape: tuple[int, ...], exponent: int = 6) -> str:
        values = self.constant(self.rng.integers(-128, 128, shape, np.int8))
        return self.node("DequantizeLinear", values, self.scale(exponent), self.zero(np.int8))

    def bias(self, count: int, exponent: int) -> str:
        values = self.constant(self.rng.integers(-9000, 9000, count, np.int32))
        return self.node("DequantizeLinear", values, self.scale(exponent))

    def conv(self, shape: tuple[int, ...], in_exponent: int = 8, **attributes) -> Graph:
        """Convolution with int8 weights of scale 2**-6 and biases."""
        bias = self.bias(shape[0], in_exponent + 6)
        return self.op("Conv", self.weight(shape), bias, **attributes)

    def model(self) -> onnx.ModelProto:
        rank = 4 if self.nodes[-1].op_type in ("Conv", "AveragePool", "GlobalAveragePool") else 2
        graph = helper.make_graph(
            self.nodes,
            "main_graph",
            [self.input],
            [helper.make_tensor_value_info(self.x, TensorProto.FLOAT, ["N", *[None] * (rank - 1)])],
            self.initialisers,
        )
        opset = helper.make_opsetid("", self.opset)
        return helper.make_model(graph, ir_version=8, opset_imports=[opset])
