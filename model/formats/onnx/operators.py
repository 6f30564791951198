"""The table of operators that may stand in a file: those between the layers, and the layers'."""

from __future__ import annotations

import math
from dataclasses import replace

from onnx import NodeProto, TensorProto

from convstream.model.base.errors import UserError
from convstream.model.formats.onnx.assembly import Assembly, State, Tensor
from convstream.model.formats.onnx.checks import attributes, inputs
from convstream.model.formats.onnx.layers import LAYERS, Read


def _quantise(assembly: Assembly, node: NodeProto) -> Tensor:
    codes = assembly.constants.codes(assembly.constants.scale(node))
    return assembly.quantised(assembly.data(node), codes)


def _dequantise(assembly: Assembly, node: NodeProto) -> Tensor:
    x = assembly.data(node)
    codes = assembly.constants.codes(assembly.constants.scale(node), x.signed)
    return assembly.dequantised(x, codes)


def _add(assembly: Assembly, node: NodeProto) -> Tensor:
    """The bias after a MatMul, which is read nowhere else."""
    names = inputs(node, 2, 2)
    attributes(node)
    data = [name for name in names if name in assembly.tensors]
    maker = assembly.wiring.makers.get(data[0])
    if (
        len(data) != 1
        or maker is None
        or maker.op_type != "MatMul"
        or len(assembly.wiring.readers[data[0]]) > 1
    ):
        raise UserError("expected only to add the bias right after a MatMul")
    (bias,) = set(names) - set(data)
    x = assembly.tensors[data[0]]
    (source,) = assembly.layers[x.place][1]
    assembly.set_bias(x.place, assembly.origin(source), bias)
    return x


def _relu(assembly: Assembly, node: NodeProto) -> Tensor:
    inputs(node, 1, 1)
    attributes(node)
    x = assembly.data(node)
    if x.state is State.CODES:
        raise UserError("its input is quantised, expected a DequantizeLinear before it")
    return replace(x, low=max(x.low, 0.0), high=max(x.high, 0.0))


def _flatten(assembly: Assembly, node: NodeProto) -> Tensor:
    inputs(node, 1, 1)
    x = assembly.data(node)
    axis = attributes(node, axis=1)["axis"]
    if axis not in (1, -1 if x.flat else -3):
        raise UserError(f"axis {axis}, expected 1")
    return replace(x, flat=True)


def _reshape(assembly: Assembly, node: NodeProto) -> Tensor:
    """A flatten, or the way back to N x C x H x W."""
    x = assembly.data(node)
    _, target = inputs(node, 2, 2)
    zero_is_zero = attributes(node, allowzero=0)["allowzero"]
    sizes = assembly.constants.values(target, TensorProto.INT64).reshape(-1).tolist()
    batch = {-1, assembly.batch} - {0} if zero_is_zero else {-1, assembly.batch, 0}
    features = math.prod(x.shape)
    if len(sizes) == 2 and sizes[0] != -1 and sizes[1] == -1:
        sizes[1] = features
    if sizes[0] not in batch or sizes[1:] not in ([features], list(x.shape)):
        raise UserError(f"to {sizes[:8]}, expected a flatten to [0, {features}]")
    return replace(x, flat=len(sizes) == 2)


OPERATORS: dict[str, Read] = {
    "DequantizeLinear": _dequantise,
    "QuantizeLinear": _quantise,
    **{op_type: read for form in LAYERS.values() for op_type, read in form.read.items()},
    "Add": _add,
    "Relu": _relu,
    "Flatten": _flatten,
    "Reshape": _reshape,
}
