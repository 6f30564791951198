"""The table of operators: what each of a file's stands for."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tflite

from convstream.model.base.errors import UserError
from convstream.model.formats.tflite.assembly import INTEGER, Assembly, Value, activated, codes_of
from convstream.model.formats.tflite.file import Operator, Tensor
from convstream.model.network.layers import (
    Add,
    AvgPool,
    Concat,
    Conv,
    Layer,
    Linear,
    MaxPool,
    Table,
    Upsample,
)
from convstream.model.network.quantised import Parameters

Read = Callable[[Assembly, Operator], None]

RULE = "litert"
TAILS = ("SOFTMAX", "LOG_SOFTMAX", "ARG_MAX", "DEQUANTIZE")
"""At the end of a network they change no class."""


def _padding(
    value: Value, kernel: tuple[int, int], options: Any, dilation: tuple[int, int] = (1, 1)
) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    """(stride, padding) of a window: SAME puts what is odd at the bottom and right."""
    stride = (options.StrideH(), options.StrideW())
    if options.Padding() == tflite.Padding.VALID:
        return stride, (0, 0, 0, 0)
    before, after = [], []
    for size, taps, step, apart in zip(value.shape[1:], kernel, stride, dilation, strict=True):
        span = (taps - 1) * apart + 1
        total = max(0, (math.ceil(size / max(step, 1)) - 1) * step + span - size)
        before.append(total // 2)
        after.append(total - total // 2)
    return stride, (before[0], before[1], after[0], after[1])


def _options(operator: Operator) -> Any:
    if operator.options is None:
        raise UserError("its options are missing; is the file damaged?")
    return operator.options


# Layers with weights


def _parameters(
    assembly: Assembly, operator: Operator, value: Value, weight: Tensor, axis: int
) -> Parameters:
    """From the file's arrays; the weights keep their order."""
    if weight.values is None or weight.values.dtype != np.int8:
        raise UserError(f"its weights are {weight.type_name}, expected int8; {INTEGER}")
    if weight.zero.any():
        raise UserError("its weights have a zero point, expected 0; convert the model again")
    channels = weight.shape[axis]
    if len(weight.scale) not in (1, channels) or (len(weight.scale) > 1 and weight.axis != axis):
        raise UserError(
            f"its weights have {len(weight.scale)} scales along axis {weight.axis}, expected one, "
            f"or {channels} along axis {axis}"
        )
    bias = np.zeros(channels, np.int32)
    if len(operator.inputs) > 2 and operator.inputs[2] >= 0:
        found = assembly.constant(operator.inputs[2], "its biases").values
        if found is None or found.dtype != np.int32 or found.size != channels:
            raise UserError(f"its biases are no {channels} int32; {INTEGER}")
        bias = found.reshape(channels).astype(np.int32)
    scale = weight.scale
    if (scale == scale[0]).all():
        scale = scale[:1]
    return Parameters(weight.values.astype(np.int8), scale, bias)


def _image(assembly: Assembly, operator: Operator) -> Value:
    value = assembly.input(operator)
    if value.flat:
        raise UserError("its input is flat, expected N x H x W x C")
    return value


def _conv(assembly: Assembly, operator: Operator) -> None:
    value, options = _image(assembly, operator), _options(operator)
    weight = assembly.constant(operator.inputs[1], "its weights")
    if len(weight.shape) != 4 or not weight.shape[3] or value.shape[0] % weight.shape[3]:
        raise UserError(f"weights {weight.shape} do not fit {value.shape[0]} channels")
    channels, *kernel, group = weight.shape
    dilation = (options.DilationHFactor(), options.DilationWFactor())
    size = (kernel[0], kernel[1])
    stride, padding = _padding(value, size, options, dilation)
    own = _parameters(assembly, operator, value, weight, 0)
    own = Parameters(
        np.ascontiguousarray(own.weight.transpose(0, 3, 1, 2)), own.weight_scale, own.bias
    )
    layer = Conv(channels, size, stride, padding, dilation, value.shape[0] // group)
    activation = options.FusedActivationFunction()
    assembly.add(operator, layer, [value], activation, own)


def _depthwise(assembly: Assembly, operator: Operator) -> None:
    value, options = _image(assembly, operator), _options(operator)
    weight = assembly.constant(operator.inputs[1], "its weights")
    if len(weight.shape) != 4 or weight.shape[0] != 1 or weight.shape[3] % value.shape[0]:
        raise UserError(f"weights {weight.shape} do not fit {value.shape[0]} channels")
    _, *kernel, channels = weight.shape
    dilation = (options.DilationHFactor(), options.DilationWFactor())
    size = (kernel[0], kernel[1])
    stride, padding = _padding(value, size, options, dilation)
    own = _parameters(assembly, operator, value, weight, 3)
    own = Parameters(
        np.ascontiguousarray(own.weight.transpose(3, 0, 1, 2)), own.weight_scale, own.bias
    )
    layer = Conv(channels, size, stride, padding, dilation, value.shape[0])
    activation = options.FusedActivationFunction()
    assembly.add(operator, layer, [value], activation, own)


def _linear(assembly: Assembly, operator: Operator) -> None:
    value, options = assembly.input(operator), _options(operator)
    weight = assembly.constant(operator.inputs[1], "its weights")
    if len(weight.shape) != 2 or weight.shape[1] != math.prod(value.shape):
        raise UserError(f"weights {weight.shape} do not fit {math.prod(value.shape)} values")
    own = _parameters(assembly, operator, value, weight, 0)
    channels, height, width = value.shape
    # The file flattens by row, column and channel; a `Linear` takes channel, row and column.
    matrix = own.weight.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
    matrix = np.ascontiguousarray(matrix.reshape(len(matrix), -1))
    activation = options.FusedActivationFunction()
    own = Parameters(matrix, own.weight_scale, own.bias)
    assembly.add(operator, Linear(len(matrix)), [value], activation, own)


# Pools


def _window(
    operator: Operator, value: Value
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int]]:
    options = _options(operator)
    size = (options.FilterHeight(), options.FilterWidth())
    return size, *_padding(value, size, options)


def _maxpool(assembly: Assembly, operator: Operator) -> None:
    value = _image(assembly, operator)
    activation = _options(operator).FusedActivationFunction()
    assembly.add(operator, MaxPool(*_window(operator, value)), [value], activation)


def _avgpool(assembly: Assembly, operator: Operator) -> None:
    value = _image(assembly, operator)
    size, stride, padding = _window(operator, value)
    _mean(assembly, operator, value, AvgPool(size, stride, padding, rule=RULE))


def _mean(assembly: Assembly, operator: Operator, value: Value, layer: AvgPool) -> None:
    codes = assembly.file.tensors[operator.outputs[0]]
    if len(codes.scale) != 1 or codes.scale[0] != np.float32(value.codes.scale):
        raise UserError("its output has another scale than its input, expected the same")
    activation = _options(operator).FusedActivationFunction()
    assembly.add(operator, layer, [value], activation)


# Layers without weights


def _add(assembly: Assembly, operator: Operator) -> None:
    inputs = [assembly.input(operator, at) for at in (0, 1)]
    activation = _options(operator).FusedActivationFunction()
    assembly.add(operator, Add(RULE), inputs, activation)


def _concat(assembly: Assembly, operator: Operator) -> None:
    inputs = [assembly.input(operator, at) for at in range(len(operator.inputs))]
    axis = _options(operator).Axis()
    rank = len(assembly.output(operator).shape)
    if axis not in (-1, rank - 1):
        raise UserError(f"axis {axis}, expected {rank - 1}, that of the channels")
    assembly.add(operator, Concat(), inputs)


def _upsample(assembly: Assembly, operator: Operator) -> None:
    value = _image(assembly, operator)
    options = _options(operator)
    if options.AlignCorners() or options.HalfPixelCenters():
        raise UserError("align_corners or half_pixel_centers, expected neither")
    _, height, width = value.shape
    rows, columns = (
        size // before
        for size, before in zip(assembly.output(operator).shape[1:3], (height, width), strict=True)
    )
    assembly.add(operator, Upsample(rows, columns), [value])


def _relu(assembly: Assembly, operator: Operator) -> None:
    """A ReLU of its own is a table of codes."""
    kinds = tflite.ActivationFunctionType
    activation = {"RELU": kinds.RELU, "RELU6": kinds.RELU6, "RELU_N1_TO_1": kinds.RELU_N1_TO_1}
    _table(assembly, operator, activation[operator.kind])


def _requantise(assembly: Assembly, operator: Operator) -> None:
    _table(assembly, operator, 0)


def _table(assembly: Assembly, operator: Operator, activation: int) -> None:
    value = assembly.input(operator)
    codes = activated(codes_of(assembly.output(operator)), activation)
    real = (np.arange(256) - value.codes.zero_point).astype(np.float32)
    ratio = np.float32(value.codes.scale) / np.float32(codes.scale)
    rounded = np.rint(real * ratio) + codes.zero_point
    table = np.clip(rounded, codes.low, codes.high).astype(np.uint8)
    assembly.add(operator, Table.of(table), [value], activation)


def _reshape(assembly: Assembly, operator: Operator) -> None:
    assembly.reshape(operator)


LAYERS: dict[type[Layer], dict[str, Read]] = {
    Conv: {"CONV_2D": _conv, "DEPTHWISE_CONV_2D": _depthwise},
    Linear: {"FULLY_CONNECTED": _linear},
    MaxPool: {"MAX_POOL_2D": _maxpool},
    AvgPool: {"AVERAGE_POOL_2D": _avgpool},
    Add: {"ADD": _add},
    Concat: {"CONCATENATION": _concat},
    Upsample: {"RESIZE_NEAREST_NEIGHBOR": _upsample},
    Table: {"QUANTIZE": _requantise, "RELU": _relu, "RELU6": _relu, "RELU_N1_TO_1": _relu},
}
OPERATORS: dict[str, Read] = {
    **{kind: read for readers in LAYERS.values() for kind, read in readers.items()},
    "RESHAPE": _reshape,
    "SQUEEZE": _reshape,
    "EXPAND_DIMS": _reshape,
}
