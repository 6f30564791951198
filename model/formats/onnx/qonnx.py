"""QONNX, as Brevitas exports it: Quant nodes in the standard's own operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from convstream.model.base.errors import UserError
from convstream.model.formats.onnx.checks import attributes, blame, inputs, text
from convstream.model.formats.onnx.constants import Constants
from convstream.model.formats.onnx.wiring import Wiring

DOMAINS = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")
ROUNDINGS = ("ROUND", "HALF_EVEN")
OPSET = 13  # the first with scales by channel


def in_standard(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with QuantizeLinear, Clip and DequantizeLinear for Quant, as QCDQ files have them.

    What a Quant makes of a constant is computed: integers and a DequantizeLinear. A model without
    Quant is returned as it is. Raises `UserError` on a Quant that codes of 8 bits cannot hold.
    """
    if not any(_is_quant(node) for node in model.graph.node):
        return model
    wiring = Wiring(model)
    if wiring.opset < OPSET:
        raise UserError(
            f"Quant nodes in opset {wiring.opset}, expected {OPSET} or more; export it again with "
            f"opset_version={OPSET}"
        )
    made = onnx.ModelProto()
    made.CopyFrom(model)
    del made.graph.node[:], made.graph.quantization_annotation[:], made.opset_import[:]
    made.opset_import.extend(own for own in model.opset_import if own.domain not in DOMAINS)
    constants = Constants(wiring)
    for node in model.graph.node:
        if not _is_quant(node):
            made.graph.node.append(node)
            continue
        with blame(node):
            nodes, tensors = _standard(node, constants)
        made.graph.node.extend(nodes)
        made.graph.initializer.extend(tensors)
    return made


def _is_quant(node: NodeProto) -> bool:
    return node.domain in DOMAINS and node.op_type in ("Quant", "IntQuant")


def _standard(node: NodeProto, constants: Constants) -> tuple[list[NodeProto], list[TensorProto]]:
    """Nodes and initialisers that stand for a Quant."""
    source, *names = inputs(node, 4, 4)
    found = attributes(node, signed=1, narrow=0, rounding_mode="ROUND")
    if found["rounding_mode"].upper() not in ROUNDINGS:
        raise UserError(
            f"rounding_mode {text(found['rounding_mode'])}, expected ROUND; quantise with "
            "float_to_int_impl_type=FloatToIntImplType.ROUND"
        )
    scale, zero, bits = (constants.values(name, TensorProto.FLOAT) for name in names)
    constant = source not in constants.wiring.dependent
    most = 32 if constant else 8
    width = float(bits.reshape(-1)[0])
    signed = found["signed"] != 0
    if bits.size != 1 or width != int(width) or not 1 + signed <= width <= most:
        raise UserError(
            f"bit width {', '.join(f'{b:g}' for b in bits.reshape(-1)[:4])}, expected "
            f"{1 + signed} to {most}; set bit_width=8, and weight_bit_width=8"
        )
    levels = 1 << int(width) - signed
    low = found["narrow"] - levels if signed else 0
    high = levels - 1 if signed else levels - 1 - found["narrow"]
    wide = [size for size in scale.shape if size > 1]
    if len(wide) > 1 or zero.size not in (1, scale.size) or (zero % 1).any():
        raise UserError(
            f"scales {scale.shape} and zero points {zero.shape}, expected one, or one a channel, "
            "and whole zero points; quantise per tensor, or per output channel"
        )
    axis = scale.shape.index(wide[0]) if wide else 0
    dtype = np.int32 if width > 8 else np.int8 if signed else np.uint8
    held = np.iinfo(dtype)
    if zero.min() < held.min or zero.max() > held.max or (width > 8 and zero.any()):
        raise UserError(f"zero point {zero.max():g}, expected one of {held.dtype}; export it again")

    name = node.output[0]
    shape = (-1,) if wide else ()
    zeros = np.broadcast_to(zero.reshape(-1).astype(dtype), (scale.size,))
    tensors = [
        numpy_helper.from_array(scale.reshape(shape), f"{name}_scale"),
        numpy_helper.from_array(np.ascontiguousarray(zeros).reshape(shape), f"{name}_zero"),
    ]
    given = [f"{name}_scale", f"{name}_zero"]
    nodes = []
    if constant:
        values = constants.values(source, TensorProto.FLOAT)
        if not np.isfinite(values).all():
            raise UserError("its input is not finite; train the network again")
        if wide and scale.ndim != values.ndim:
            raise UserError(f"scales {scale.shape} of {values.shape}; give each channel one")
        codes = np.rint(values / scale) + zero
        codes = np.clip(codes.astype(np.float64), low, high).astype(dtype)
        tensors.append(numpy_helper.from_array(codes, f"{name}_codes"))
        source = f"{name}_codes"
    else:
        nodes.append(_node(node, "QuantizeLinear", [source, *given], f"{name}_wide", axis=axis))
        source = f"{name}_wide"
        if (low, high) != (held.min, held.max):
            limits = [f"{name}_low", f"{name}_high"]
            tensors += [
                numpy_helper.from_array(np.array(limit, dtype), limit_name)
                for limit, limit_name in zip((low, high), limits, strict=True)
            ]
            nodes.append(_node(node, "Clip", [source, *limits], f"{name}_codes"))
            source = f"{name}_codes"
    nodes.append(_node(node, "DequantizeLinear", [source, *given], name, axis=axis))
    return nodes, tensors


def _node(quant: NodeProto, op_type: str, given: list[str], made: str, **more: Any) -> NodeProto:
    return helper.make_node(op_type, given, [made], f"{quant.name}/{op_type}", **more)
