"""The table of operators that may stand in a file: those between the layers, and the layers'."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from onnx import NodeProto, TensorProto

from convstream.model.base.errors import UserError
from convstream.model.formats.onnx import batchnorm, joins, qlinear, shapes
from convstream.model.formats.onnx.assembly import Assembly
from convstream.model.formats.onnx.checks import (
    MICROSOFT,
    attributes,
    blame,
    inputs,
    is_standard,
    text,
)
from convstream.model.formats.onnx.functions import POINTWISE, common
from convstream.model.formats.onnx.layers import LAYERS, Read
from convstream.model.formats.onnx.tensors import State, Tensor
from convstream.model.network.codes import Codes


def _quantise(assembly: Assembly, node: NodeProto) -> Tensor:
    codes = assembly.constants.codes(assembly.constants.scale(node))
    x = assembly.data(node)
    readers = assembly.wiring.readers[node.output[0]]
    if len(readers) == 1 and readers[0].op_type == "Clip":
        # As codes of fewer bits are made: the clip is part of the rounding.
        with blame(readers[0]):
            codes = _clipped(assembly, readers[0], codes)
    return x if x.state is State.TAIL else assembly.quantised(x, codes)


def _clipped(assembly: Assembly, clip: NodeProto, codes: Codes) -> Codes:
    """`codes` within the limits of a Clip on them."""
    _, *names = inputs(clip, 1, 3)
    dtype = TensorProto.INT8 if codes.signed else TensorProto.UINT8
    low, high = (
        int(assembly.constants.values(name, dtype).reshape(-1)[0]) + 128 * codes.signed
        if name
        else usual
        for name, usual in zip(names, (codes.low, codes.high), strict=True)
    )
    low, high = max(low, codes.low), min(high, codes.high)
    if low > high:
        raise UserError(f"it leaves none of the codes {codes.low} to {codes.high}; quantise again")
    return replace(codes, low=low, high=high)


def _dequantise(assembly: Assembly, node: NodeProto) -> Tensor:
    x = assembly.data(node)
    if x.state is State.TAIL:
        return x
    codes = assembly.constants.codes(assembly.constants.scale(node), x.signed)
    return assembly.dequantised(x, codes)


def _relu(assembly: Assembly, node: NodeProto) -> Tensor:
    inputs(node, 1, 1)
    attributes(node)
    return _clamped(assembly, node, 0.0, math.inf)


def _clip(assembly: Assembly, node: NodeProto) -> Tensor:
    """Its limits are attributes up to opset 10, then inputs."""
    x = assembly.data(node)
    if x.state is State.CODES and x.origin in assembly.codes:
        return assembly.narrowed(x, _clipped(assembly, node, assembly.codes[x.origin]))
    _, *names = inputs(node, 1, 3)
    found = attributes(node, min=-math.inf, max=math.inf)
    low, high = (
        assembly.constants.number(name) if name else value
        for name, value in zip(names, (found["min"], found["max"]), strict=True)
    )
    return _clamped(assembly, node, low, high)


def _clamped(assembly: Assembly, node: NodeProto, low: float, high: float) -> Tensor:
    x = assembly.data(node)
    if x.state in (State.CODES, State.INDICES):
        raise UserError(
            "its input is quantised, expected a DequantizeLinear before it; quantise with "
            "onnxruntime.quantization.quantize_static"
        )
    if x.parts:
        # What a clamp does to each, it does to all behind each other.
        parts = tuple(replace(part, function=(*part.function, node)) for part in x.parts)
        return replace(x, parts=parts)
    if x.state is State.REAL:
        return replace(x, function=(*x.function, node))
    return replace(x, low=_between(x.low, low, high), high=_between(x.high, low, high))


def _between(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


def _pointwise(assembly: Assembly, node: NodeProto) -> Tensor:
    """A function of each value alone."""
    data = [assembly.tensors[name] for name in node.input if name in assembly.tensors]
    x = data[0]
    if len(data) > 1:
        between = common(assembly.tensors, assembly.wiring, node)
        if between is None:
            raise UserError(qlinear.TWO_TENSORS)
        codes, root, nodes = between
        return replace(codes, state=State.REAL, function=(*nodes, node), root=root)
    if x.state is State.FLOATS:
        raise UserError(
            f"its input is {x.state.value}, not quantised yet; compute it outside the network, on "
            "the images"
        )
    if x.state is not State.REAL or x.parts:
        raise UserError(
            f"its input is {x.state.value}, expected a DequantizeLinear before it; quantise every "
            "tensor, as onnxruntime.quantization.quantize_static does"
        )
    return replace(x, function=(*x.function, node))


def _batch_norm(assembly: Assembly, node: NodeProto) -> Tensor:
    x = assembly.data(node)
    if x.state is State.SUMS:
        return batchnorm.fold(assembly, node, x)
    return _pointwise(assembly, node)


def _add(assembly: Assembly, node: NodeProto) -> Tensor:
    data = [assembly.tensors[name] for name in node.input if name in assembly.tensors]
    if len(data) == 1 and data[0].state is State.REAL:
        return _pointwise(assembly, node)
    return joins.read_add(assembly, node)


def _tail(assembly: Assembly, node: NodeProto) -> Tensor:
    """Softmax or ArgMax of the classes, which stays outside."""
    x = assembly.data(node)
    usual = {"Softmax": -1, "LogSoftmax": -1, "ArgMax": 0}.get(node.op_type, 1)
    usual = 1 if assembly.wiring.opset < 13 and usual else usual
    axis = attributes(node, axis=usual, keepdims=1, select_last_index=0, opset=13)["axis"]
    axis = axis + len(x.dims) + 1 if axis < 0 else axis
    classes = 1 if x.flat else (x.channel_axis or 0) + 1
    if axis != classes:
        raise UserError(f"axis {axis}, expected {classes}, the classes; end the graph before it")
    if x.state not in (State.REAL, State.SUMS, State.TAIL, State.CODES):
        raise UserError(f"its input is {x.state.value}; quantise the network first")
    if x.state is not State.TAIL:
        assembly.end = node.input[0], x
    return replace(x, state=State.TAIL)


OPERATORS: dict[str, Read] = {
    "DequantizeLinear": _dequantise,
    "QuantizeLinear": _quantise,
    **{op_type: read for form in LAYERS.values() for op_type, read in form.read.items()},
    **dict.fromkeys(POINTWISE, _pointwise),
    **qlinear.STANDARD,
    "Add": _add,
    "ArgMax": _tail,
    "BatchNormalization": _batch_norm,
    "Cast": joins.read_cast,
    "Clip": _clip,
    "Dropout": shapes.read_nothing,
    "Flatten": shapes.read_flatten,
    "Identity": shapes.read_nothing,
    "LogSoftmax": _tail,
    "Pad": shapes.read_pad,
    "Relu": _relu,
    "Reshape": shapes.read_reshape,
    "Shape": shapes.read_shape,
    "Softmax": _tail,
    "Squeeze": shapes.read_squeeze,
    "Transpose": shapes.read_transpose,
    "Unsqueeze": shapes.read_unsqueeze,
}
OF_MICROSOFT: dict[str, Read] = {
    "DequantizeLinear": _dequantise,
    "QuantizeLinear": _quantise,
    **qlinear.MICROSOFT,
    "QLinearSoftmax": _tail,
}

_OF_BITS = "weights and activations take 2 to 8 bits; use Brevitas's Int8WeightPerTensorFloat"
_DYNAMIC = "it quantises while it runs; use onnxruntime.quantization.quantize_static instead"
_RECURRENT = "recurrent layers are none here; use one-dimensional convolutions over time"
_FUSED = "the file is one that ONNX Runtime has optimised; give the one before that"
WAYS_OUT = {
    **dict.fromkeys(("GRU", "LSTM", "RNN", "Loop", "Scan", "If"), _RECURRENT),
    **dict.fromkeys(
        ("ConvInteger", "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "MatMulInteger",
         "MatMulIntegerToFloat"),
        _DYNAMIC,
    ),
    **dict.fromkeys(("FusedConv", "FusedGemm", "FusedMatMul", "NhwcMaxPool"), _FUSED),
    **dict.fromkeys(("BipolarQuant", "FloatQuant"), _OF_BITS),
    "Trunc": "means are rounded, not truncated; use AvgPool2d and a QuantIdentity behind it",
    "ConvTranspose": "use Upsample(mode='nearest') and a Conv instead",
    "Attention": "attention is none here; use convolutions",
    "MultiHeadAttention": "attention is none here; use convolutions",
    "LayerNormalization": "use BatchNorm, which is folded into the layer before it",
    "InstanceNormalization": "use BatchNorm, which is folded into the layer before it",
}  # fmt: skip


def check_ways(nodes: Iterable[NodeProto]) -> None:
    """Refuse nodes that have a better name for what is wrong than those before them."""
    for node in nodes:
        if node.op_type in WAYS_OUT:
            with blame(node):
                reader_of(node)


def reader_of(node: NodeProto) -> Read:
    """What reads a node. Raises `UserError` where nothing does."""
    table = OF_MICROSOFT if node.domain == MICROSOFT else OPERATORS if is_standard(node) else {}
    if node.op_type in table:
        return table[node.op_type]
    if node.op_type in WAYS_OUT:
        raise UserError(f"unsupported operator; {WAYS_OUT[node.op_type]}")
    layers = ", ".join(op_type for form in LAYERS.values() for op_type in form.read)
    domain = "" if is_standard(node) else f" of {text(node.domain)}"
    raise UserError(
        f"unsupported operator{domain}; expected one of {layers}, or functions of single values: "
        "compute it outside the network, or cut the graph before it with onnx.utils.extract_model"
    )
