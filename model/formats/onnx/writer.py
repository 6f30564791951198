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
from convstream.model.formats.onnx.layers import LAYERS, Form
from convstream.model.network.codes import Codes
from convstream.model.network.graph import IMAGE, Node
from convstream.model.network.layers.base import Site
from convstream.model.network.quantised import QuantisedNetwork

OPSET = 13  # the first in which every operator of this form has its present meaning
IR_VERSION = 8


def write_onnx(quantised: QuantisedNetwork, path: str | os.PathLike) -> None:
    """Write `quantised` to `path`, the same bytes each time; until it is whole, the old file stays.

    Raises `UserError` for a place that cannot be written to or a scale beyond float32.
    """
    write_atomically(Path(path), to_model(quantised).SerializeToString(deterministic=True))


@dataclass(frozen=True)
class _Codes:
    """A tensor of codes: its name in the file, what they stand for, and whether it is flat."""

    name: str
    codes: Codes
    flat: bool = False


def to_model(quantised: QuantisedNetwork) -> onnx.ModelProto:
    """The network as an ONNX model."""
    network = quantised.network
    builder = Builder()
    image_codes = quantised.codes[IMAGE]
    made = {IMAGE: _Codes("image", image_codes)}
    for node in network.nodes:
        form = LAYERS[type(node.layer)]
        inputs = [
            _input(builder, node, at, made[name], form) for at, name in enumerate(node.inputs)
        ]
        site = quantised.site(node.name)
        real = form.write(builder, node, inputs + _weights(builder, node.name, site), site)
        if form.of_codes:
            assert site.output is not None
            real = builder.dequantise(f"{node.name}_real", real, site.output)
        if site.output is None:
            break
        if not (node.layer.passes or form.of_codes):
            real = _activation(builder, node, site.output, real)
        codes = builder.quantise(f"{node.name}_output", real, site.output)
        made[node.name] = _Codes(codes, site.output, form.flat)
        real = codes
    if not form.flat:
        builder.node("Flatten", "logits_flatten", real, axis=1)
    builder.nodes[-1].output[0] = "logits"
    image = helper.make_tensor_value_info("image", _type(image_codes), ["N", *network.input_shape])
    given = TensorProto.FLOAT if site.output is None else _type(site.output)
    logits = helper.make_tensor_value_info("logits", given, ["N", network.classes])
    graph = helper.make_graph(
        builder.nodes, network.name, [image], [logits], list(builder.constants.values())
    )
    return helper.make_model(
        graph,
        producer_name=PRODUCER,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )


def _input(builder: Builder, node: Node, at: int, codes: _Codes, form: Form) -> str:
    """A node's input, flat or N x C x H x W, as real values or codes, as its layer wants it."""
    name = f"{node.name}_{at + 1}" if at else node.name
    tensor = codes.name
    if form.flat and not codes.flat:
        tensor = builder.node("Flatten", f"{name}_flatten", tensor, axis=1)
    elif codes.flat and not form.flat:
        shape = np.array([0, *node.in_shapes[at]], np.int64)
        target = builder.constant(f"{name}_shape", shape)
        tensor = builder.node("Reshape", f"{name}_reshape", tensor, target)
    real = builder.dequantise(f"{name}_input", tensor, codes.codes)
    return builder.quantise(f"{name}_codes", real, codes.codes) if form.of_codes else real


def _weights(builder: Builder, name: str, site: Site) -> list[str]:
    """Weights and biases as real values, if there are any."""
    if site.weight is None or site.weight_scale is None or site.bias is None:
        return []
    weight = builder.constant(f"{name}.weight", site.weight)
    weight = builder.dequantise_integers(f"{name}_weight", weight, site.weight_scale, np.int8)
    bias = builder.constant(f"{name}.bias", site.bias)
    scale = np.float32(site.inputs[0].scale) * site.weight_scale
    return [weight, builder.dequantise_integers(f"{name}_bias", bias, scale, np.int32)]


def _activation(builder: Builder, node: Node, codes: Codes, real: str) -> str:
    """The Relu or Clip that leaves just the range of `codes`."""
    if (codes.low, codes.high) == (0, 255) and (codes.zero_point or not node.weight_shape):
        return real
    if (codes.low, codes.high) == (codes.zero_point, 255):
        return builder.node("Relu", f"{node.name}_relu", real)
    low, high = (
        builder.constant(f"{node.name}_{end}", np.array(codes.real(np.array(code)), np.float32))
        for end, code in (("low", codes.low), ("high", codes.high))
    )
    return builder.node("Clip", f"{node.name}_clip", real, low, high)


def _type(codes: Codes) -> int:
    return TensorProto.INT8 if codes.signed else TensorProto.UINT8
