"""ONNX Runtime's operators on codes, each as DequantizeLinear, a layer and QuantizeLinear."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from onnx import NodeProto, TensorProto

from convstream.model.base.errors import UserError
from convstream.model.formats.onnx import joins, layers
from convstream.model.formats.onnx.assembly import Assembly
from convstream.model.formats.onnx.checks import attributes, expect, inputs, text
from convstream.model.formats.onnx.functions import common
from convstream.model.formats.onnx.layers import Read
from convstream.model.formats.onnx.tensors import Tensor
from convstream.model.network.codes import Codes
from convstream.model.network.layers import Add, AvgPool, Concat, Conv, Layer, Linear, Table


def _codes(assembly: Assembly, scale: str, zero: str, signed: bool = False) -> Codes:
    return assembly.constants.codes(assembly.constants.scale_of(scale, zero), signed)


def _real(assembly: Assembly, node: NodeProto, at: int = 0) -> Tensor:
    """The tensor, its scale and its zero point at the inputs from `at` on, as real values."""
    name, scale, zero = node.input[at : at + 3]
    if name not in assembly.tensors:
        raise UserError(
            f"its input {text(name)} is a constant, expected a tensor; use a QDQ file, by "
            "quant_format=QuantFormat.QDQ"
        )
    x = assembly.tensors[name]
    return assembly.dequantised(x, _codes(assembly, scale, zero, x.signed))


def _weight(
    assembly: Assembly, node: NodeProto, ndim: int, axis: int
) -> tuple[np.ndarray, np.ndarray]:
    """The weights, their scale and zero point at inputs 3 to 5."""
    constants = assembly.constants
    weight = constants.values(node.input[3], TensorProto.INT8, TensorProto.UINT8)
    scale = constants.scale_of(node.input[4], node.input[5], axis=axis)
    return constants.signed_weight(weight, scale, ndim, axis)


def _bias(assembly: Assembly, name: str, count: int) -> np.ndarray | str:
    """int32 (count,), or "" for none."""
    if not name:
        return ""
    values = assembly.constants.values(name, TensorProto.INT32)
    if values.size != count:
        raise UserError(f"biases of shape {values.shape}, expected {(count,)}; reshape them")
    return values.reshape(count)


def _read_conv(assembly: Assembly, node: NodeProto) -> Tensor:
    *_, scale, zero, bias = inputs(node, 8, 9)
    layers.image(assembly, node)
    x = _real(assembly, node)
    weight, weight_scale = _weight(assembly, node, len(x.dims) + 1, 0)
    biases = _bias(assembly, bias, len(weight))
    sums = layers.conv(assembly, node, x, weight, weight_scale, biases)
    return assembly.quantised(sums, _codes(assembly, scale, zero))


def _read_matmul(assembly: Assembly, node: NodeProto) -> Tensor:
    *_, scale, zero = inputs(node, 8, 8)
    layers.flat_data(assembly, node)
    x = _real(assembly, node)
    weight, weight_scale = _weight(assembly, node, 2, 1)
    sums = layers.linear(assembly, x, weight.T, weight_scale, "")
    return assembly.quantised(sums, _codes(assembly, scale, zero))


def _read_gemm(assembly: Assembly, node: NodeProto) -> Tensor:
    *_, bias, scale, zero = inputs(node, 6, 9)
    found = attributes(node, alpha=1.0, transA=0, transB=0)
    expect(found, alpha=1, transA=0)
    layers.flat_data(assembly, node)
    x = _real(assembly, node)
    transposed = found["transB"] != 0
    weight, weight_scale = _weight(assembly, node, 2, 0 if transposed else 1)
    weight = weight if transposed else weight.T
    biases = _bias(assembly, bias, len(weight))
    sums = layers.linear(assembly, x, weight, weight_scale, biases)
    return assembly.quantised(sums, _codes(assembly, scale, zero)) if scale else sums


def _read_average(assembly: Assembly, node: NodeProto) -> Tensor:
    *_, scale, zero = inputs(node, 4, 5)
    expect(attributes(_only(node, "channels_last"), channels_last=0), channels_last=0)
    layers.image(assembly, node)
    sums = layers.average(assembly, node, _real(assembly, node), channels_last=0)
    return assembly.quantised(sums, _codes(assembly, scale, zero))


def _only(node: NodeProto, *names: str) -> NodeProto:
    """The node with these attributes alone."""
    copy = NodeProto()
    copy.CopyFrom(node)
    del copy.attribute[:]
    copy.attribute.extend(attribute for attribute in node.attribute if attribute.name in names)
    return copy


def _read_global_average(assembly: Assembly, node: NodeProto) -> Tensor:
    *_, scale, zero = inputs(node, 5, 5)
    expect(attributes(node, channels_last=0), channels_last=0)
    layers.image(assembly, node)
    sums = layers.global_average(assembly, _real(assembly, node))
    return assembly.quantised(sums, _codes(assembly, scale, zero))


def _read_add(assembly: Assembly, node: NodeProto) -> Tensor:
    *_, scale, zero = inputs(node, 8, 8)
    attributes(node)
    if node.input[0] not in assembly.tensors or node.input[3] not in assembly.tensors:
        return _of_one(0 if node.input[0] in assembly.tensors else 3, 6)(assembly, node)
    sums = joins.added(assembly, _real(assembly, node), _real(assembly, node, 3), Add())
    return assembly.quantised(sums, _codes(assembly, scale, zero))


def _read_concat(assembly: Assembly, node: NodeProto) -> Tensor:
    scale, zero, *rest = node.input
    axis = attributes(node, axis=1)["axis"]
    if not rest or len(rest) % 3:
        raise UserError(f"{len(node.input)} inputs, expected 2 and 3 a tensor; export it again")
    parts = [_real(assembly, node, at) for at in range(2, len(node.input), 3)]
    joins.check_channels(parts, axis)
    codes = _codes(assembly, scale, zero)
    return assembly.concatenated([assembly.quantised(part, codes) for part in parts])


def _of_one(first: int, output: int) -> Read:
    """A function of one tensor, at input `first`; scale and zero point of the result at `output`.

    ONNX Runtime says what it makes of each code.
    """

    def read(assembly: Assembly, node: NodeProto) -> Tensor:
        given = [*node.input, *[""] * (output + 2 - len(node.input))]
        if sum(name in assembly.tensors for name in given) > 1:
            between = common(assembly.tensors, assembly.wiring, node)
            if between is None:
                raise UserError(TWO_TENSORS)
            x, root, nodes = between
            codes = _codes(assembly, given[output], given[output + 1])
            x = replace(x, root=root)
            return assembly.tabulated(x, [*nodes, node], codes, of_codes=True)
        x = replace(_real(assembly, node, first), state=assembly.tensors[given[first]].state)
        codes = _codes(assembly, given[output], given[output + 1], assembly.codes[x.origin].signed)
        return assembly.tabulated(x, [node], codes, of_codes=True)

    return read


TWO_TENSORS = (
    "it takes two tensors, expected one and constants; of two tensors only Add and Concat are "
    "layers"
)

LAYERS: dict[type[Layer], dict[str, Read]] = {
    Conv: {"QLinearConv": _read_conv},
    Linear: {"QLinearMatMul": _read_matmul, "QGemm": _read_gemm},
    AvgPool: {
        "QLinearAveragePool": _read_average,
        "QLinearGlobalAveragePool": _read_global_average,
    },
    Add: {"QLinearAdd": _read_add},
    Concat: {"QLinearConcat": _read_concat},
    Table: {
        "QLinearLeakyRelu": _of_one(0, 3),
        "QLinearMul": _of_one(0, 6),
        "QLinearSigmoid": _of_one(0, 3),
    },
}
_READERS = {op_type: read for readers in LAYERS.values() for op_type, read in readers.items()}
_OF_ONNX = ("QLinearConv", "QLinearMatMul")

STANDARD = {op_type: _READERS[op_type] for op_type in _OF_ONNX}
MICROSOFT = {op_type: read for op_type, read in _READERS.items() if op_type not in _OF_ONNX}
