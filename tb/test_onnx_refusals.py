"""Every reason to refuse a network file, each in one line that says what to change."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_graphs import Graph, assert_equal_networks
from random_networks import generator

from convstream.model.base.errors import UserError
from convstream.model.formats.onnx import read_onnx
from convstream.model.formats.onnx.limits import MAX_FILE_BYTES
from convstream.model.formats.onnx.writer import to_model
from convstream.model.network.exponents import Shifts, power_of_two
from convstream.model.network.graph import Network
from convstream.model.network.layers import Conv, Linear, MaxPool

ROOT = Path(__file__).resolve().parents[1]


def good() -> onnx.ModelProto:
    """conv -> pool -> flatten -> fc in our own form; each refusal below breaks one thing of it."""
    rng = np.random.default_rng(5)
    layers = (Conv(3, 3, 1, 1), MaxPool(2, 2), Linear(4))
    network = Network.chain("good", layers, (2, 6, 6))
    conv, fc = (rng.integers(-128, 128, shape, np.int8) for shape in ((3, 2, 3, 3), (4, 27)))
    parameters = {
        "conv1": Shifts(conv, np.zeros(3, np.int32), 8, 6, 4),
        "fc": Shifts(fc, np.ones(4, np.int32), 4, 6, None),
    }
    return to_model(power_of_two(network, parameters))


def node(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(n for n in model.graph.node if n.name == name)


def initialiser(model: onnx.ModelProto, name: str) -> TensorProto:
    return next(t for t in model.graph.initializer if t.name == name)


def set_attribute(model: onnx.ModelProto, name: str, **attributes) -> None:
    n = node(model, name)
    for key, value in attributes.items():
        for attribute in [a for a in n.attribute if a.name == key]:
            n.attribute.remove(attribute)
        n.attribute.append(helper.make_attribute(key, value))


def set_constant(model: onnx.ModelProto, name: str, index: int, values: np.ndarray) -> None:
    """Give the node `name` a new initialiser as its input `index`."""
    model.graph.initializer.append(
        numpy_helper.from_array(np.asarray(values), f"new_{name}_{index}")
    )
    node(model, name).input[index] = f"new_{name}_{index}"


def set_scale(model: onnx.ModelProto, name: str, value) -> None:
    set_constant(model, name, 1, np.array(value, np.float32))


def insert(model: onnx.ModelProto, before: str, *nodes: onnx.NodeProto) -> None:
    """Put nodes on the first input of the node `before`; they read "FROM" and write "TO"."""
    target = node(model, before)
    index = list(model.graph.node).index(target)
    for n in reversed(nodes):
        names = {"FROM": target.input[0], "TO": f"to_{before}"}
        n.input[:] = [names.get(t, t) for t in n.input]
        n.output[:] = [names.get(t, t) for t in n.output]
        model.graph.node.insert(index, n)
    node(model, before).input[0] = f"to_{before}"


def remove(model: onnx.ModelProto, name: str) -> None:
    """Take a node out of the chain."""
    n = node(model, name)
    for other in model.graph.node:
        other.input[:] = [n.input[0] if t == n.output[0] else t for t in other.input]
    model.graph.node.remove(n)


def make(op_type: str, *inputs: str, output: str = "TO", **attributes) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs or ["FROM"], [output], "odd", **attributes)


def external(model: onnx.ModelProto) -> None:
    tensor = initialiser(model, "conv1.weight")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    tensor.external_data.add(key="location", value="../../etc/passwd")


def dynamic_weight(model: onnx.ModelProto) -> None:
    model.graph.initializer.remove(initialiser(model, "conv1.weight"))


def second_input(model: onnx.ModelProto) -> None:
    dynamic_weight(model)
    model.graph.input.append(
        helper.make_tensor_value_info("conv1.weight", TensorProto.INT8, [3, 2, 3, 3])
    )


def cycle(model: onnx.ModelProto) -> None:
    node(model, "conv1_input").input[0] = node(model, "pool1_output").output[0]


def island(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Relu", ["fc.bias"], ["a"], "island"))
    model.graph.node.append(helper.make_node("Relu", ["a"], ["b"], "another"))


def second_reader(model: onnx.ModelProto) -> None:
    name = node(model, "conv1_output").output[0]
    model.graph.node.append(helper.make_node("Relu", [name], ["other"], "other"))


def output_within(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = node(model, "conv1").output[0]


def constant_output(model: onnx.ModelProto) -> None:
    del model.graph.node[:]
    model.graph.node.append(make("Relu", "fc.bias", output="constant"))
    model.graph.node[0].name = ""
    model.graph.output[0].name = "constant"


def output_nowhere(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "nowhere"


def truncated_initialiser(model: onnx.ModelProto) -> None:
    tensor = initialiser(model, "fc.bias")
    tensor.raw_data = tensor.raw_data[:-1]


def huge_initialiser(model: onnx.ModelProto) -> None:
    initialiser(model, "conv1.weight").dims[:] = [2**40, 2**40, 3, 3]


def negative_dims(model: onnx.ModelProto) -> None:
    initialiser(model, "conv1.weight").dims[:] = [-3, -2, 3, 3]


def typed_data(model: onnx.ModelProto) -> None:
    tensor = initialiser(model, "conv1.weight")
    tensor.ClearField("raw_data")
    tensor.int32_data.extend([1000] * 54)


def set_input(model: onnx.ModelProto, shape, kind=TensorProto.UINT8) -> None:
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("image", kind, shape))


def set_opset(model: onnx.ModelProto, version: int) -> None:
    model.opset_import[0].version = version


def int8_output(model: onnx.ModelProto) -> None:
    set_constant(model, "conv1_output", 2, np.array(0, np.int8))


def relu_logits(model: onnx.ModelProto) -> None:
    model.graph.node.append(make("Relu", "logits", output="final"))
    model.graph.output[0].name = "final"


def softmax(model: onnx.ModelProto, axis: int) -> None:
    model.graph.node.append(make("Softmax", "logits", output="final", axis=axis))
    model.graph.output[0].name = "final"


def pool_at_the_end(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "pooled"
    target = node(model, "conv1_relu")
    del model.graph.node[list(model.graph.node).index(target) :]
    pool = make("MaxPool", node(model, "conv1").output[0], output="pooled", kernel_shape=[2, 2])
    model.graph.node.append(pool)


def gemm_weight_as_input(model: onnx.ModelProto) -> None:
    fc = node(model, "fc")
    fc.input[0], fc.input[1] = fc.input[1], fc.input[0]


def sparse(model: onnx.ModelProto) -> None:
    model.graph.sparse_initializer.add()


def twice_made(model: onnx.ModelProto) -> None:
    model.graph.node.append(make("Relu", "image", output=node(model, "conv1").output[0]))


def twice_named(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(initialiser(model, "conv1.weight"))


def float_weight(model: onnx.ModelProto) -> None:
    set_constant(model, "conv1", 1, np.zeros((3, 2, 3, 3), np.float32))


def quantised_nan_weight(model: onnx.ModelProto) -> None:
    values = numpy_helper.from_array(np.full((3, 2, 3, 3), np.nan, np.float32), "nan")
    model.graph.initializer.append(values)
    insert(model, "conv1_weight", make("QuantizeLinear", "nan", "scale_2^-6", "zero_int8"))


def quantised_weight_of_other_scale(model: onnx.ModelProto) -> None:
    values = numpy_helper.from_array(np.zeros((3, 2, 3, 3), np.float32), "float")
    model.graph.initializer.append(values)
    insert(model, "conv1_weight", make("QuantizeLinear", "float", "scale_2^-8", "zero_int8"))


def add_away_from_matmul(model: onnx.ModelProto) -> None:
    insert(model, "conv1_relu", make("Add", "FROM", node(model, "conv1_bias").output[0]))


def to_float(model: onnx.ModelProto, name: str, values: np.ndarray) -> None:
    set_constant(model, name, 2, values)


def reshape_to(*sizes: int) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        flatten = node(model, "fc_flatten")
        flatten.op_type = "Reshape"
        flatten.ClearField("attribute")
        flatten.input.append("target")
        target = numpy_helper.from_array(np.array(sizes, np.int64), "target")
        model.graph.initializer.append(target)

    return change


REFUSALS: dict[str, tuple[Callable[[onnx.ModelProto], object], str]] = {
    "unsupported operator": (
        lambda m: insert(m, "conv1_relu", make("LRN")),
        "LRN node odd: unsupported operator; expected one of .*Conv, Gemm",
    ),
    "softmax": (
        lambda m: softmax(m, axis=0),
        "Softmax node odd: axis 0, expected 1, the classes",
    ),
    "foreign domain": (
        lambda m: setattr(node(m, "conv1"), "domain", "com.example"),
        "Conv node conv1: unsupported operator",
    ),
    "nameless node": (
        lambda m: (node(m, "conv1").ClearField("name"), setattr(m.graph.node[3], "op_type", "LRN")),
        r"LRN node making conv1:0: unsupported",
    ),
    "name that would break the line": (
        lambda m: (
            setattr(node(m, "conv1"), "op_type", "LRN"),
            setattr(node(m, "conv1"), "name", "a\nb\x1b[2J" + "c" * 500),
        ),
        r"LRN node a\\nb\\x1b\[2Jc{10,50}\.\.\.: unsupported",
    ),
    "scale": (
        lambda m: set_scale(m, "conv1_output", 0.3),
        "pool1_input: its scale 0.0625 and zero point 0 differ from those of its input, 0.3",
    ),
    "scale zero": (
        lambda m: set_scale(m, "conv1_input", 0),
        "conv1_input: scale 0, expected a positive number",
    ),
    "scale negative": (
        lambda m: set_scale(m, "conv1_input", -0.5),
        "scale -0.5, expected a positive number",
    ),
    "scale nan": (
        lambda m: set_scale(m, "conv1_input", np.nan),
        "scale nan, expected",
    ),
    "scale inf": (
        lambda m: set_scale(m, "conv1_output", np.inf),
        "scale inf, expected",
    ),
    "scale tiny": (
        lambda m: set_scale(m, "conv1_output", 2.0**-140),
        r"scale 7.17\d*e-43 is beyond 2",
    ),
    "scales tiny in product": (
        lambda m: (set_scale(m, "conv1_input", 2.0**-90), set_scale(m, "conv1_weight", 2.0**-90)),
        r"conv1: its sums have the scale 8\.\d*e-28 \* 8\.\d*e-28, beyond float32",
    ),
    "scale of wrong type": (
        lambda m: set_constant(m, "conv1_output", 1, np.array(0.5, np.float64)),
        "conv1_output: initialiser new_conv1_output_1 is double, expected float",
    ),
    "scale missing": (
        lambda m: node(m, "conv1_output").input.__setitem__(1, "lost"),
        "conv1_output: lost is not in the file, expected an initialiser",
    ),
    "scale computed": (
        lambda m: node(m, "conv1_output").input.__setitem__(1, node(m, "conv1_input").output[0]),
        "conv1_output: conv1_input:0 is computed, expected an initialiser",
    ),
    "no scales": (
        lambda m: set_scale(m, "conv1_weight", []),
        "new_conv1_weight_1 does not hold just the float values of its shape",
    ),
    "scales per channel": (
        lambda m: set_scale(m, "conv1_weight", [0.5, 0.25, 0.5]),
        "conv1_weight: 1 zero points, expected 3, as its scales",
    ),
    "blocked scales": (
        lambda m: set_attribute(m, "conv1_weight", block_size=32),
        "conv1_weight: block_size 32, expected 0",
    ),
    "zero point of weights": (
        lambda m: set_constant(m, "conv1_weight", 2, np.array(3, np.int8)),
        "conv1: weights less their zero point go from -129 to 119, beyond int8; .*WeightSymmetric",
    ),
    "zero point of activations": (
        lambda m: set_constant(m, "conv1_output", 2, np.array(128, np.uint8)),
        "pool1_input: its scale 0.0625 and zero point 0 differ from .*, 0.0625 and 128",
    ),
    "zero point of the bias": (
        lambda m: node(m, "conv1_bias").input.__setitem__(
            slice(2, 3),
            [m.graph.initializer.add(name="z", data_type=TensorProto.INT32, int32_data=[7]).name],
        ),
        "conv1_bias: zero point 7, expected 0",
    ),
    "signed activations": (
        int8_output,
        "pool1_input: its zero point is uint8, its input int8",
    ),
    "zero point of another type than its input": (
        lambda m: set_constant(m, "conv1_input", 2, np.array(0, np.int8)),
        "conv1_input: its zero point is int8, its input uint8",
    ),
    "zero point of another type than the weights": (
        lambda m: set_constant(m, "conv1_weight", 2, np.array(0, np.uint8)),
        "conv1: its zero point is uint8, its input int8",
    ),
    "scales that differ": (
        lambda m: set_scale(m, "pool1_input", 2.0**-5),
        "pool1_input: its scale 0.03125 and zero point 0 differ from those of its input, 0.0625",
    ),
    "rescaling": (
        lambda m: (set_scale(m, "pool1_output", 0.25), set_scale(m, "fc_input", 0.25)),
        "fc_bias: its biases have the scale 0.0009765625, expected 0.00390625, the product of",
    ),
    "negative shift": (
        lambda m: set_scale(m, "conv1_output", 2.0**-15),
        "pool1_input: its scale 0.0625 and zero point 0 differ",
    ),
    "dilations": (
        lambda m: set_attribute(m, "conv1", dilations=[2, 2]),
        r"fc: weights of shape \(4, 27\), expected \(4, 12\)",
    ),
    "dilated pool": (
        lambda m: set_attribute(m, "pool1", dilations=[2, 2]),
        r"MaxPool node pool1: dilations \(2, 2\), expected 1; pool without",
    ),
    "groups": (
        lambda m: set_attribute(m, "conv1", group=2),
        "conv1: a convolution from 2 to 3 channels in 2 groups; expected groups that divide both",
    ),
    "auto_pad": (
        lambda m: set_attribute(m, "conv1", auto_pad="SAME"),
        "conv1: auto_pad SAME, expected NOTSET, VALID",
    ),
    "kernel in one dimension": (
        lambda m: set_attribute(m, "pool1", kernel_shape=[2]),
        r"pool1: kernel_shape \[2\]",
    ),
    "no kernel": (
        lambda m: node(m, "pool1").ClearField("attribute"),
        r"pool1: kernel_shape \[\]",
    ),
    "kernel unlike the weights": (
        lambda m: set_attribute(m, "conv1", kernel_shape=[5, 5]),
        r"conv1: weights of shape \(3, 2, 3, 3\), expected \(3, 2, 5, 5\)",
    ),
    "window too large": (
        lambda m: set_attribute(m, "pool1", kernel_shape=[9, 9]),
        "pool1: .*window is larger",
    ),
    "stride zero": (lambda m: set_attribute(m, "pool1", strides=[0, 0]), "pool1: .*stride >= 1"),
    "padding as large as the kernel": (
        lambda m: set_attribute(m, "pool1", pads=[2] * 4),
        "pool1: .*padding < kernel",
    ),
    "huge padding": (
        lambda m: set_attribute(m, "pool1", pads=[2**40] * 4, kernel_shape=[2**41] * 2),
        "pool1: its padded input or its output has more than",
    ),
    "unknown attribute": (
        lambda m: set_attribute(m, "conv1", activation="Relu"),
        "conv1: attribute activation is unknown or of the wrong type",
    ),
    "attribute of wrong type": (
        lambda m: set_attribute(m, "conv1", group=[1]),
        "conv1: attribute group is unknown or of",
    ),
    "alpha": (lambda m: set_attribute(m, "fc", alpha=2.0), "Gemm node fc: alpha 2.0, expected 1"),
    "beta": (lambda m: set_attribute(m, "fc", beta=0.5), "fc: beta 0.5, expected 1"),
    "transA": (lambda m: set_attribute(m, "fc", transA=1), "fc: transA 1, expected 0"),
    "transB": (
        lambda m: set_attribute(m, "fc", transB=0),
        r"fc: weights of shape \(27, 4\), expected \(27, 27\)",
    ),
    "flatten on another axis": (
        lambda m: set_attribute(m, "fc_flatten", axis=2),
        "Flatten node fc_flatten: axis 2",
    ),
    "no flatten": (
        lambda m: remove(m, "fc_flatten"),
        "Gemm node fc: its input is N x C x H x W, expected a Flatten",
    ),
    "reshape to something else": (reshape_to(0, 9, 3), r"Reshape node fc_flatten: to \[0, 9, 3\]"),
    "reshape to other channels": (
        reshape_to(0, 27, 1, 1),
        r"to \[0, 27, 1, 1\], expected a flatten to \[0, 27\]",
    ),
    "reshape to a fixed batch": (reshape_to(1, -1), r"to \[1, -1|to \[1, 27\]"),
    "reshape with two unknowns": (reshape_to(-1, -1), r"to \[-1, -1\]"),
    "reshape to nothing": (reshape_to(0), r"to \[0\], expected a flatten to \[0, 27\]"),
    "pool on flat": (
        lambda m: insert(m, "fc_input", make("MaxPool", kernel_shape=[1, 1])),
        "MaxPool node odd: its input is flat",
    ),
    "conv on flat": (
        lambda m: insert(m, "fc_input", make("Conv", "FROM", node(m, "conv1_weight").output[0])),
        "Conv node odd: its input is flat",
    ),
    "sum of two tensors": (
        lambda m: insert(m, "pool1_output", make("Add", "FROM", "conv1_input:0")),
        "Add node odd: adds N x 3 x 3 x 3 and N x 2 x 6 x 6, expected one shape",
    ),
    "tensor with a reader that leads nowhere": (
        second_reader,
        "Relu node other: the graph's output does not depend on it; remove it",
    ),
    "output within the chain": (
        output_within,
        "Relu node conv1_relu: the graph's output does not depend on it; remove it",
    ),
    "output that nothing makes": (output_nowhere, "no node makes the output nowhere"),
    "output that is a constant": (
        constant_output,
        "making constant: the graph's output does not depend on its input image",
    ),
    "stray nodes": (island, "Relu node island: the graph's output does not depend on it"),
    "cycle": (cycle, "conv1_input: it is in a circle of nodes, or behind one"),
    "node on its own output": (
        lambda m: node(m, "conv1_relu").input.__setitem__(0, "conv1_relu:0"),
        "conv1_relu: it is in a circle of nodes",
    ),
    "further input that is ignored": (
        lambda m: node(m, "conv1_relu").input.append("image"),
        "Relu node conv1_relu: 2 inputs, expected 1",
    ),
    "further input of a pool": (
        lambda m: node(m, "pool1").input.append("image"),
        "MaxPool node pool1: 2 inputs, expected 1",
    ),
    "further input of a flatten": (
        lambda m: node(m, "fc_flatten").input.append("image"),
        "Flatten node fc_flatten: 2 inputs, expected 1",
    ),
    "no inputs": (
        lambda m: node(m, "conv1_relu").ClearField("input"),
        "Relu node conv1_relu: it has no inputs",
    ),
    "made twice": (twice_made, "Relu node odd: tensor conv1:0 is made twice"),
    "initialiser twice": (twice_named, "initialiser conv1.weight is there twice"),
    "no quantising between layers": (
        lambda m: [
            remove(m, name) for name in ("conv1_output", "pool1_input", "pool1_output", "fc_input")
        ],
        "Gemm node fc: its input is the sums of .*, not rounded yet; expected QuantizeLinear and",
    ),
    "not dequantised": (
        lambda m: remove(m, "conv1_input"),
        "Conv node conv1: its input is quantised, expected a DequantizeLinear before it",
    ),
    "dequantised twice": (
        lambda m: insert(m, "conv1", make("DequantizeLinear", "FROM", "scale_2^-8", "zero_uint8")),
        "DequantizeLinear node odd: its input is dequantised, expected integers",
    ),
    "quantised twice": (
        lambda m: insert(
            m, "pool1_input", make("QuantizeLinear", "FROM", "scale_2^-4", "zero_uint8")
        ),
        "QuantizeLinear node odd: its input is quantised already",
    ),
    "relu on integers": (
        lambda m: insert(m, "pool1_input", make("Relu")),
        "Relu node odd: its input is quantised",
    ),
    "rectified logits": (relu_logits, "Relu node odd: the network's output is rectified"),
    "pool at the end": (
        pool_at_the_end,
        "MaxPool node odd: the last layer passes on sums that are not quantised",
    ),
    "missing initialiser": (dynamic_weight, "conv1_weight: conv1.weight is not in the file"),
    "dynamic weights": (second_input, "the graph has 2 inputs and 1 outputs, expected one of each"),
    "weights and data swapped": (gemm_weight_as_input, "Gemm node fc: fc_input:0 is not its first"),
    "external data": (
        external,
        "conv1_weight: initialiser conv1.weight lies in another file; save .* single file",
    ),
    "sparse": (sparse, "sparse initialisers"),
    "float weights": (float_weight, "conv1: weights new_conv1_1: a float initialiser, expected"),
    "weights that are not finite": (quantised_nan_weight, "node odd: its weights are not finite"),
    "weights of two scales": (
        quantised_weight_of_other_scale,
        "odd: makes int8 of scale 0.00390625, expected int8 of 0.015625",
    ),
    "uint8 weights": (
        lambda m: set_constant(m, "conv1_weight", 0, np.zeros((3, 2, 3, 3), np.uint8)),
        "conv1: its zero point is int8, its input uint8; give both one type",
    ),
    "weights of wrong shape": (
        lambda m: set_constant(m, "conv1_weight", 0, np.zeros((3, 1, 3, 3), np.int8)),
        r"conv1: weights of shape \(3, 1, 3, 3\), expected \(3, 2, 3, 3\)",
    ),
    "weights of wrong dimension": (
        lambda m: set_constant(m, "conv1_weight", 0, np.zeros((3, 18), np.int8)),
        r"conv1: weights of shape \(3, 18\), expected 4 dimensions",
    ),
    "no output channels": (
        lambda m: set_constant(m, "conv1_weight", 0, np.zeros((0, 2, 3, 3), np.int8)),
        r"does not hold just the int8 values of its shape \[0, 2, 3, 3\]",
    ),
    "biases of wrong shape": (
        lambda m: set_constant(m, "fc_bias", 0, np.zeros(3, np.int32)),
        r"fc_bias: biases of shape \(3,\), expected \(4,\)",
    ),
    "biases of wrong type": (
        lambda m: set_constant(m, "fc_bias", 0, np.zeros(4, np.int64)),
        "new_fc_bias_0 is int64, expected int32 or int8",
    ),
    "bias beyond int32": (
        lambda m: set_constant(m, "fc", 2, np.full(4, 2.0**21, np.float32)),
        "its biases are not finite, or beyond int32",
    ),
    "bias not a number": (
        lambda m: set_constant(m, "fc", 2, np.full(4, np.nan, np.float32)),
        "its biases are not finite",
    ),
    "bias infinite": (
        lambda m: set_constant(m, "fc", 2, np.full(4, -np.inf, np.float32)),
        "its biases are not finite",
    ),
    "sums beyond int32": (
        lambda m: set_constant(m, "fc_bias", 0, np.full(4, 2**31 - 1, np.int32)),
        "fc: its sums can reach .*, beyond int32",
    ),
    "add that is no bias": (
        add_away_from_matmul,
        "Add node odd: expected only to add the bias",
    ),
    "add before anything else": (
        lambda m: insert(m, "conv1_input", make("Add", "FROM", "conv1.bias")),
        "Add node odd: expected to add two tensors",
    ),
    "constant that is no tensor": (
        lambda m: m.graph.node.insert(
            0, helper.make_node("Constant", [], ["k"], "k", value_string="one")
        ),
        "Constant node k: expected a tensor as its value",
    ),
    "too few inputs": (
        lambda m: node(m, "conv1").input.__delitem__(slice(1, 3)),
        "conv1: 1 inputs, expected 2 to 3",
    ),
    "too many outputs": (
        lambda m: node(m, "pool1").output.append("indices"),
        "pool1: 2 outputs, expected 1",
    ),
    "initialiser cut short": (
        truncated_initialiser,
        r"fc.bias does not hold just the int32 values of its shape \[4\]",
    ),
    "initialiser of huge shape": (
        huge_initialiser,
        "conv1.weight does not hold just the int8 values of its shape",
    ),
    "initialiser of negative shape": (
        negative_dims,
        "conv1.weight does not hold just the int8 values of its shape",
    ),
    "initialiser beyond its type": (typed_data, "conv1.weight does not hold just the int8 values"),
    "float64 input": (
        lambda m: set_input(m, ["N", 2, 6, 6], TensorProto.DOUBLE),
        "input image is double, expected",
    ),
    "float input": (
        lambda m: set_input(m, ["N", 2, 6, 6], TensorProto.FLOAT),
        "conv1_input: its input is a float input, expected integers",
    ),
    "input of unknown type": (lambda m: set_input(m, ["N", 2, 6, 6], 77), "input image is type 77"),
    "input of open size": (
        lambda m: set_input(m, ["N", 2, "H", "W"]),
        r"input image has shape \[0, 2, 0, 0\].*fixed",
    ),
    "input of no shape": (
        lambda m: set_input(m, None),
        r"input image has shape \[0\]",
    ),
    "input of two dimensions": (
        lambda m: set_input(m, ["N", 72]),
        "conv1: its input is flat, expected N x C x H x W",
    ),
    "input of negative size": (lambda m: set_input(m, ["N", -2, -6, 6]), "input image has shape"),
    "input of huge size": (
        lambda m: set_input(m, ["N", 2, 2**40, 2**40]),
        "input image has more than .* values",
    ),
    "input that a node makes": (
        lambda m: m.graph.node.append(make("Relu", "image", output="image")),
        "also made by a node",
    ),
    "no nodes": (lambda m: m.graph.ClearField("node"), "no node makes the output logits"),
    "input is the output": (
        lambda m: (m.graph.ClearField("node"), setattr(m.graph.output[0], "name", "image")),
        "no node makes the output image",
    ),
    "no output": (lambda m: m.graph.ClearField("output"), "1 inputs and 0 outputs"),
    "no graph": (lambda m: m.ClearField("graph"), "not an ONNX file"),
    "no version": (lambda m: m.ClearField("ir_version"), "not an ONNX file"),
    "no opset": (lambda m: m.ClearField("opset_import"), "not an ONNX file"),
    "old opset": (lambda m: set_opset(m, 9), "opset 9, expected 10"),
    "future opset": (lambda m: set_opset(m, 1000), "opset 1000, expected 10"),
}


def averaged(x: Graph, *inputs: str, op_type: str = "AveragePool", **attributes) -> Graph:
    """The graph with another operator, whose sums are the logits."""
    if op_type == "AveragePool":
        attributes = {"kernel_shape": [2, 2]} | attributes
    return x.op(op_type, *inputs, name="mean", **attributes)


def pooled_sums() -> Graph:
    return averaged(Graph().dq(8).conv((3, 2, 3, 3)).op("Relu")).q(3).dq(3).conv((2, 3, 1, 1), 3)


def mean_of(*axes: int | list[int]) -> Graph:
    g = Graph(opset=18).dq(8)
    return averaged(g, g.constant(np.array(axes, np.int64)), op_type="ReduceMean")


def quantised(opset: int = 13, **settings) -> Graph:
    """An image that a Quant node makes codes."""
    g = Graph(input_type=TensorProto.FLOAT, opset=opset).quant(name="q", **settings)
    return g.conv((3, 2, 3, 3))


def odd(op_type: str) -> Graph:
    """A node of QONNX behind a Quant."""
    g = Graph(input_type=TensorProto.FLOAT).quant()
    return g.op(op_type, g.constant(np.float32(1)), name="odd", domain="qonnx.custom_op.general")


def shared_weights() -> Graph:
    """A file of 4 MiB whose convolutions have 36 MiB of weights."""
    g = Graph(("N", 2048, 1, 1))
    weight = g.weight((2048, 2048, 1, 1), 8)
    for _ in range(9):
        g.dq(8).op("Conv", weight).q(8)
    return g


GRAPHS: dict[str, tuple[Callable[[], Graph], str]] = {
    "no window": (
        lambda: averaged(Graph().dq(8), kernel_shape=[0, 0]),
        "mean: window 0x0: expected",
    ),
    "dilations": (lambda: averaged(Graph().dq(8), dilations=[2, 2]), r"mean: dilations \(2, 2\)"),
    "stride zero": (lambda: averaged(Graph().dq(8), strides=[0, 0]), "mean: .*stride >= 1"),
    "window too large": (
        lambda: averaged(Graph().dq(8), kernel_shape=[16, 16]),
        "mean: .*window is larger than the 8x7 input",
    ),
    "sums beyond int32": (
        lambda: averaged(Graph(("N", 1, 4096, 4096)).dq(8), kernel_shape=[4096, 4096]),
        "mean: its sums can reach 4278190080, beyond int32",
    ),
    "mean of sums": (
        pooled_sums,
        "mean: its input is the sums of .*, not rounded yet; expected QuantizeLinear and Deq",
    ),
    "mean of codes": (lambda: averaged(Graph()), "mean: its input is quantised, expected a Deq"),
    "mean of floats": (
        lambda: averaged(Graph(input_type=TensorProto.FLOAT)),
        "mean: its input is a float input, expected a DequantizeLinear",
    ),
    "mean of a flat tensor": (
        lambda: averaged(Graph().dq(8).op("Flatten")),
        "mean: its input is flat, expected N x C x H x W",
    ),
    "mean over channels": (lambda: mean_of(1), r"mean: axes \[1\], expected \[2, 3\]"),
    "mean over rows": (lambda: mean_of(2), r"ReduceMean node mean: axes \[2\]"),
    "mean over an axis twice": (lambda: mean_of(2, 2), r"mean: axes \[2, 2\]"),
    "mean over axes in a table": (
        lambda: mean_of([2, 3]),
        r"mean: axes \[\[2, 3\]\], expected \[2, 3\]",
    ),
    "mean over everything": (
        lambda: averaged(Graph().dq(8), op_type="ReduceMean"),
        r"mean: axes \[\], expected \[2, 3\], those of the image",
    ),
    "rectified mean": (
        lambda: averaged(Graph().dq(8)).op("Relu"),
        "the network's output is rectified",
    ),
    "a clip of codes to nothing": (
        lambda: Graph().dq(8).conv((3, 2, 3, 3)).op("Relu").q(3).clip(9, 8).dq(3),
        "Clip node .*: it leaves none of the codes 0 to 255",
    ),
    "16 bits": (lambda: quantised(bits=16), "Quant node q: bit width 16, expected 2 to 8; set bit"),
    "half a bit": (lambda: quantised(bits=3.5), "Quant node q: bit width 3.5, expected 2 to 8"),
    "one bit": (lambda: quantised(bits=1), "Quant node q: bit width 1, expected 2 to 8"),
    "rounded down": (
        lambda: quantised(rounding_mode="FLOOR"),
        "Quant node q: rounding_mode FLOOR, expected ROUND",
    ),
    "a zero point of its own kind": (
        lambda: quantised(zero=0.5),
        r"Quant node q: scales \(\) and zero points \(\), expected .* whole zero points",
    ),
    "a zero point beyond int8": (lambda: quantised(zero=200), "q: zero point 200, expected one of"),
    "scales that differ by channel": (
        lambda: quantised(scale=[[[0.5]], [[0.25]]]),
        "QuantizeLinear node q/QuantizeLinear: its scales or zero points differ by channel",
    ),
    "Quant in an old opset": (
        lambda: quantised(opset=12),
        "Quant nodes in opset 12, expected 13 or more",
    ),
    "binary weights": (
        lambda: odd("BipolarQuant"),
        "BipolarQuant node odd: unsupported operator; weights and activations take 2 to 8 bits",
    ),
    "truncated means": (
        lambda: odd("Trunc"),
        "Trunc node odd: unsupported operator; means are rounded, not truncated; use AvgPool2d",
    ),
    "weights shared too often": (shared_weights, "Conv node .*: more than 33554432 weights"),
}


@pytest.mark.parametrize(("build", "message"), GRAPHS.values(), ids=GRAPHS)
def test_refused_graph(build, message, tmp_path):
    found = read_refused(saved(build().model(), tmp_path))
    assert re.search(message, found), found


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def read_refused(path: Path) -> str:
    """The message of the refusal, which is one printable line that starts with the path."""
    with pytest.raises(UserError) as refusal:
        read_onnx(path)
    message = str(refusal.value)
    assert message.startswith(f"{path}: ") and message.isprintable() and len(message) < 600
    reason = message.removeprefix(f"{path}: ")
    assert "; " in reason, f"no way out: {reason}"
    return reason


def test_the_file_that_is_broken_below_is_good(tmp_path):
    assert len(read_onnx(saved(good(), tmp_path)).network.layers) == 3


@pytest.mark.parametrize(("change", "message"), REFUSALS.values(), ids=REFUSALS)
def test_refusal(change, message, tmp_path):
    model = good()
    change(model)
    found = read_refused(saved(model, tmp_path))
    assert re.search(message, found), found


def test_no_onnx_file(tmp_path):
    path = tmp_path / "file.onnx"
    assert "no such file" in read_refused(path)
    path.mkdir()
    assert "no such file" in read_refused(path)
    path = tmp_path / "empty.onnx"
    path.touch()
    assert "the file is empty" in read_refused(path)
    for content in (b"Hello, World!", b"\x89PNG\r\n\x1a\n", bytes(100), b"\xff" * 100, b"\x08\x08"):
        path.write_bytes(content)
        assert "not an ONNX file" in read_refused(path)
    os.truncate(path, MAX_FILE_BYTES + 1)
    assert "expected at most 32 MiB" in read_refused(path)


def test_device_file_is_refused():
    assert "no such file" in read_refused(Path("/dev/zero"))


def test_damaged_file(seed, tmp_path):
    """Cut or flipped anywhere, a file is refused, or read as a network that fits together."""
    content = good().SerializeToString()
    rng = generator(seed, "damage")
    path = tmp_path / "damaged.onnx"
    damaged = [content[:size] for size in rng.integers(1, len(content), 100)]
    for _ in range(300):
        copy = bytearray(content)
        for bit in rng.integers(0, 8 * len(content), rng.integers(1, 4)):
            copy[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(copy))
    refused = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            read_onnx(path)
        except UserError as error:
            assert str(error).startswith(f"{path}: ") and str(error).isprintable(), str(error)
            refused += 1
    assert refused > len(damaged) // 2


def test_names_that_are_no_text(tmp_path):
    """Broken UTF-8 in a name neither hinders reading nor breaks a message."""
    model = good()
    quantised = read_onnx(saved(model, tmp_path))
    set_attribute(model, "conv1", group=7)
    for old, broken in ((b"conv1:0", b"conv\xff\xfe\xfd"), (b"good", b"go\xffd")):
        path = saved(good(), tmp_path)
        path.write_bytes(path.read_bytes().replace(old, broken))
        assert_equal_networks(read_onnx(path, "good"), quantised)
        read_onnx(path)
    path = saved(model, tmp_path)
    path.write_bytes(path.read_bytes().replace(b"conv1", b"c\xffnv1"))
    assert "Conv node c\\ufffdnv1: a convolution from 2 to 3 channels in 7 groups" in read_refused(
        path
    )


BOMBS = {
    "nodes": b"\x0a\x00",
    "initialisers": b"\x2a\x00",
    "empty inputs of a node": b"\x0a\x00",
    "dimensions": b"\x08\x01",
}


@pytest.mark.parametrize("kind", BOMBS)
def test_file_that_would_fill_the_memory(kind, tmp_path):
    """30 MiB of tiny messages are refused within 1 GiB and 10 seconds."""

    def field(number: int, content: bytes) -> bytes:
        size, varint = len(content), bytearray()
        while size > 0x7F:
            varint.append(size & 0x7F | 0x80)
            size >>= 7
        return bytes([number << 3 | 2]) + bytes(varint) + bytes([size]) + content

    content = BOMBS[kind] * (15 << 20)
    if kind == "empty inputs of a node":
        content = field(1, content)
    elif kind == "dimensions":
        content = field(5, content)
    path = tmp_path / "bomb.onnx"
    path.write_bytes(b"\x08\x08" + field(7, content) + field(8, b"\x10\x0d"))
    code = (
        "import atexit, pathlib, re, sys; sys.path.insert(0, sys.argv[1])\n"
        "from convstream.model.base import errors\n"
        "from convstream.model.formats.onnx import read_onnx\n"
        "status = pathlib.Path('/proc/self/status')\n"
        "atexit.register(lambda: print(re.search(r'VmHWM:\\s+(\\d+) kB', status.read_text())[1]))\n"
        "errors.run(lambda: read_onnx(sys.argv[2]) and 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(ROOT), str(path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 2 and "besides the weights" in result.stderr
    assert int(result.stdout) < 1 << 20
