"""Write a quantised network as an ONNX file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from convstream.model.base.files import write_atomically
from convstream.model.formats.onnx.builder import PRODUCER, Builder
from convstream.model.formats.onnx.layers import LAYERS
from convstream.model.network.graph import IMAGE, Node
from convstream.model.network.quantised import Parameters, QuantisedNetwork

OPSET = 13  # the first in which every operator of this form has its present meaning
IR_VERSION = 8


def write_onnx(quantised: QuantisedNetwork, path: str | os.PathLike) -> None:
    """Write `quantised` to `path`, the same bytes each time; until it is whole, the old file stays.

    Raises `UserError` for a place that cannot be written to or a scale beyond float32.
    """
    write_atomically(Path(path), to_model(quantised).SerializeToString(deterministic=True))


@dataclass(frozen=True)
class _Codes:
    """A tensor of uint8: its name in the file, its scale 2**-exponent, and whether it is flat."""

    name: str
    exponent: int
    flat: bool = False


def to_model(quantised: QuantisedNetwork) -> onnx.ModelProto:
    """The network as an ONNX model."""
    network = quantised.network
    builder = Builder()
    made = {IMAGE: _Codes("image", quantised.input_exponent)}
    for node in network.nodes:
        form = LAYERS[type(node.layer)]
        own = quantised.parameters.get(node.name)
        inputs = [
            _input(builder, node, at, made[name], form.flat) for at, name in enumerate(node.inputs)
        ]
        real = form.write(builder, node, inputs + _weights(builder, node.name, own))
        if node is network.output:
            break
        if own is None or own.output_exponent is None:
            exponent = made[node.inputs[0]].exponent
        else:
            exponent = own.output_exponent
            if own.weight is not None:
                real = builder.node("Relu", f"{node.name}_relu", real)
        codes = builder.quantise(f"{node.name}_output", real, exponent)
        made[node.name] = _Codes(codes, exponent, form.flat)
    if not form.flat:
        builder.node("Flatten", "logits_flatten", real, axis=1)
    builder.nodes[-1].output[0] = "logits"
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", *network.input_shape])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", network.classes])
    graph = helper.make_graph(
        builder.nodes, network.name, [image], [logits], list(builder.constants.values())
    )
    return helper.make_model(
        graph,
        producer_name=PRODUCER,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )


def _input(builder: Builder, node: Node, at: int, codes: _Codes, flat: bool) -> str:
    """A node's input as real values, flat or N x C x H x W as its layer wants it."""
    name = f"{node.name}_{at + 1}" if at else node.name
    tensor = codes.name
    if flat and not codes.flat:
        tensor = builder.node("Flatten", f"{name}_flatten", tensor, axis=1)
    elif codes.flat and not flat:
        shape = np.array([0, *node.in_shapes[at]], np.int64)
        target = builder.constant(f"{name}_shape", shape)
        tensor = builder.node("Reshape", f"{name}_reshape", tensor, target)
    return builder.dequantise(f"{name}_input", tensor, codes.exponent, np.uint8)


def _weights(builder: Builder, name: str, own: Parameters | None) -> list[str]:
    """Weights and biases as real values, if there are any."""
    if own is None or own.weight is None or own.bias is None:
        return []
    weight = builder.constant(f"{name}.weight", own.weight)
    weight = builder.dequantise(f"{name}_weight", weight, own.weight_exponent, np.int8)
    bias = builder.constant(f"{name}.bias", own.bias)
    return [weight, builder.dequantise(f"{name}_bias", bias, own.sum_exponent, np.int32)]
