"""The table of operators: what each of a file's stands for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
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
from convstream.model.network.layers.windows import Window
from convstream.model.network.quantised import Parameters

Read = Callable[[Assembly, Operator], None]

RULE = "litert"
TAILS = ("SOFTMAX", "LOG_SOFTMAX", "ARG_MAX", "DEQUANTIZE")
"""At the end of a network they change no class."""


def _windowed(
    value: Value, kernel: tuple[int, int], options: Any, dilation: tuple[int, int] = (1, 1)
) -> Window:
    """The window of a convolution or a pool on `value`, with its padding."""
    window = Window(kernel, (options.StrideH(), options.StrideW()), dilation=dilation)
    return window if options.Padding() == tflite.Padding.VALID else window.same(value.shape)


def _options(operator: Operator) -> Any:
    if operator.options is None:
        raise UserError("its options are missing; is the file damaged?")
    return operator.options


# Layers with weights


def _parameters(assembly: Assembly, operator: Operator, weight: Tensor, axis: int) -> Parameters:
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
    _convolve(assembly, operator, (0, 3, 1, 2))


def _depthwise(assembly: Assembly, operator: Operator) -> None:
    _convolve(assembly, operator, (3, 0, 1, 2))


def _convolve(assembly: Assembly, operator: Operator, axes: tuple[int, int, int, int]) -> None:
    """A convolution. axes: of the file's weights, those of OC, IC of a group, KH and KW."""
    value, options = _image(assembly, operator), _options(operator)
    weight = assembly.constant(operator.inputs[1], "its weights")
    if len(weight.shape) != 4:
        raise UserError(f"weights of shape {weight.shape}, expected 4 dimensions")
    channels, group, *kernel = (weight.shape[axis] for axis in axes)
    if min(weight.shape) < 1 or value.shape[0] % group:
        raise UserError(f"weights {weight.shape} do not fit {value.shape[0]} channels")
    dilation = (options.DilationHFactor(), options.DilationWFactor())
    window = _windowed(value, (kernel[0], kernel[1]), options, dilation)
    own = _parameters(assembly, operator, weight, axes[0])
    own = replace(own, weight=np.ascontiguousarray(own.weight.transpose(axes)))
    layer = Conv(
        channels,
        window.kernel,
        window.stride,
        window.padding,
        window.dilation,
        value.shape[0] // group,
    )
    assembly.add(operator, layer, [value], options.FusedActivationFunction(), own)


def _linear(assembly: Assembly, operator: Operator) -> None:
    value, options = assembly.input(operator), _options(operator)
    weight = assembly.constant(operator.inputs[1], "its weights")
    if len(weight.shape) != 2 or weight.shape[1] != math.prod(value.shape):
        raise UserError(f"weights {weight.shape} do not fit {math.prod(value.shape)} values")
    own = _parameters(assembly, operator, weight, 0)
    channels, height, width = value.shape
    # The file flattens by row, column and channel; a `Linear` takes channel, row and column.
    matrix = own.weight.reshape(-1, height, width, channels).transpose(0, 3, 1, 2)
    matrix = np.ascontiguousarray(matrix.reshape(len(matrix), -1))
    activation = options.FusedActivationFunction()
    own = replace(own, weight=matrix)
    assembly.add(operator, Linear(len(matrix)), [value], activation, own)


# Pools


def _window(operator: Operator, value: Value) -> Window:
    options = _options(operator)
    return _windowed(value, (options.FilterHeight(), options.FilterWidth()), options)


def _maxpool(assembly: Assembly, operator: Operator) -> None:
    value = _image(assembly, operator)
    activation = _options(operator).FusedActivationFunction()
    window = _window(operator, value)
    layer = MaxPool(window.kernel, window.stride, window.padding)
    assembly.add(operator, layer, [value], activation)


def _avgpool(assembly: Assembly, operator: Operator) -> None:
    value = _image(assembly, operator)
    if not codes_of(assembly.output(operator)).same_values(value.codes):
        raise UserError(
            "its output has another scale or zero point than its input, expected the same"
        )
    window = _window(operator, value)
    layer = AvgPool(window.kernel, window.stride, window.padding, rule=RULE)
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
