"""Functions of one code, such as LeakyRelu between two scales: tables made by ONNX Runtime."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper

from convstream.model.base.errors import UserError
from convstream.model.formats.onnx.checks import text
from convstream.model.formats.onnx.constants import Constants
from convstream.model.formats.onnx.tensors import Tensor
from convstream.model.network.codes import Codes

# Each acts on every value alone, or with its channel's constants.
POINTWISE = (
    "Abs", "Add", "BatchNormalization", "Ceil", "Celu", "Clip", "Div", "Elu", "Erf", "Exp", "Floor",
    "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Max", "Min", "Mish", "Mul", "Neg", "PRelu",
    "Pow", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Softplus",
    "Softsign", "Sqrt", "Sub", "Swish", "Tanh", "ThresholdedRelu",
)  # fmt: skip
OF_CODES = ("QLinearLeakyRelu", "QLinearSigmoid", "QLinearAdd", "QLinearMul")

_CODES, _RESULT = "convstream_codes", "convstream_result"


def tabulate(
    constants: Constants,
    x: Tensor,
    nodes: Sequence[NodeProto],
    source: Codes,
    target: Codes,
    *,
    of_codes: bool = False,
) -> np.ndarray:
    """uint8 (256,), or (channels, 256): what `nodes`, one behind the other, make of each code of x.

    Between them and the codes stand DequantizeLinear and QuantizeLinear, unless they take and give
    codes themselves: of_codes.
    Raises `UserError` where that depends on more than a code and its channel.
    """
    wiring = constants.wiring
    by_channel = any(
        node.op_type == "BatchNormalization" or constants.widest(node) > 1 for node in nodes
    )
    channels = math.prod(x.dims) if x.flat else x.shape[0]
    shape = [1] * len(x.dims)
    shape[x.channel_axis or 0] = channels if by_channel else 1
    if 256 * math.prod(shape) > 1 << 26:
        raise UserError("its constants differ by pixel; expected one, or one a channel")

    made: list[NodeProto] = []
    name = _CODES
    if not of_codes:
        made.append(_scaled("DequantizeLinear", name, "source", source))
        name = made[-1].output[0]
    for number, node in enumerate(nodes):
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [name if source in wiring.dependent else source for source in node.input]
        name = f"convstream_{number}"
        copy.output[:] = [name]
        made.append(copy)
    if of_codes:
        made[-1].output[0] = _RESULT
    else:
        made.append(_scaled("QuantizeLinear", name, "target", target))
        made[-1].output[0] = _RESULT
    before, tensors = constants.closure(made, {_CODES})
    for which, codes in (("source", source), ("target", target)):
        tensors += [
            helper.make_tensor(f"{which}_scale", TensorProto.FLOAT, [], [codes.scale]),
            helper.make_tensor(f"{which}_zero", _type(codes), [], [_zero(codes)]),
        ]
    graph = helper.make_graph(
        [*before, *made],
        "piece",
        [helper.make_tensor_value_info(_CODES, _type(source), [256, *shape])],
        [helper.make_tensor_value_info(_RESULT, _type(target), None)],
        tensors,
    )
    model = helper.make_model(graph, ir_version=wiring.ir_version, opset_imports=wiring.opsets)
    every = np.arange(256).reshape(256, *[1] * len(shape)) - 128 * source.signed
    every = np.broadcast_to(every, (256, *shape))
    result = _run(model, every.astype(np.int8 if source.signed else np.uint8))
    if result.shape != every.shape:
        raise UserError(
            f"its constants make {result.shape[1:]} of {tuple(shape)}; expected one constant, or "
            "one a channel"
        )
    values = (result.astype(np.int16) + 128 * target.signed).astype(np.uint8)
    return _by_channel(values.reshape(256, -1).T, x)


def _by_channel(values: np.ndarray, x: Tensor) -> np.ndarray:
    """(1, 256) or (features, 256) as `Table` takes them."""
    if len(values) > 1 and x.channel_axis is None:
        channels = x.shape[0]
        sizes = x.in_order
        axis = x.order.index("C")
        rows = np.moveaxis(values.reshape(*sizes, 256), axis, 0).reshape(channels, -1, 256)
        if (rows != rows[:, :1]).any():
            raise UserError("its constants differ by pixel; expected one, or one a channel")
        values = rows[:, 0]
    if (values == values[0]).all():
        return np.ascontiguousarray(values[0])
    return np.ascontiguousarray(values)


def _run(model: onnx.ModelProto, codes: np.ndarray) -> np.ndarray:
    from convstream.model.formats.onnx.runtime import session

    try:
        (result,) = session(model.SerializeToString()).run(None, {_CODES: codes})
    except Exception as error:  # whatever ONNX Runtime finds wrong with the file
        line = text(str(error).splitlines()[0])
        raise UserError(f"ONNX Runtime does not compute it ({line}); export it again") from None
    return result


def _scaled(op_type: str, name: str, which: str, codes: Codes) -> NodeProto:
    return helper.make_node(
        op_type, [name, f"{which}_scale", f"{which}_zero"], [f"convstream_{which}"]
    )


def _type(codes: Codes) -> int:
    return TensorProto.INT8 if codes.signed else TensorProto.UINT8


def _zero(codes: Codes) -> int:
    return codes.zero_point - 128 * codes.signed
