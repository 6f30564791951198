"""A network in the making, while a file's operators are read."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import tflite

from convstream.model.base.errors import UserError
from convstream.model.formats.tflite.file import File, Operator, Tensor
from convstream.model.network import graph
from convstream.model.network.codes import Codes
from convstream.model.network.graph import Network
from convstream.model.network.layers import Layer, Shape
from convstream.model.network.quantised import Parameters, QuantisedNetwork

IMAGE = -1
MAX_VALUES = 1 << 24  # an image, between two layers
INTEGER = "convert the model with full integer quantisation: tf.lite.TFLiteConverter with a \
representative_dataset, target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]"


@dataclass(frozen=True)
class Value:
    """place: the layer that gives it, or IMAGE. shape: (C, H, W); flat: N x features in the file.

    A flattened image is numbered by row, column and channel: see `Assembly.columns`.
    """

    place: int
    shape: Shape
    codes: Codes
    flat: bool = False


class Assembly:
    """Layers, parameters and codes so far, and values by the number of their tensor."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.layers: list[tuple[Layer, list[int]]] = []
        self.parameters: dict[int, Parameters] = {}
        self.codes: dict[int, Codes] = {}
        if len(file.inputs) != 1 or len(file.outputs) != 1:
            raise UserError(
                f"{len(file.inputs)} inputs and {len(file.outputs)} outputs, expected one of each"
            )
        (number,) = file.inputs
        tensor = file.tensors[number]
        shape, flat = _shape(tensor)
        self.codes[IMAGE] = codes_of(tensor)
        self.values = {number: Value(IMAGE, shape, self.codes[IMAGE], flat)}
        self._last = self.values[number]

    def constant(self, number: int, what: str) -> Tensor:
        """A tensor whose values stand in the file."""
        if not 0 <= number < len(self.file.tensors):
            raise UserError(f"no {what}; expected a constant")
        tensor = self.file.tensors[number]
        if tensor.values is None:
            raise UserError(f"{what} are computed; expected a constant")
        return tensor

    def input(self, operator: Operator, at: int = 0) -> Value:
        """A tensor that the operator takes."""
        number = operator.inputs[at] if at < len(operator.inputs) else -1
        if number not in self.values:
            raise UserError(f"its input {at} is no activation of the network")
        return self.values[number]

    def output(self, operator: Operator) -> Tensor:
        """The tensor that it makes, of which it has just one."""
        if len(operator.outputs) != 1:
            raise UserError(f"{len(operator.outputs)} outputs, expected 1")
        return self.file.tensors[operator.outputs[0]]

    def add(
        self,
        operator: Operator,
        layer: Layer,
        inputs: list[Value],
        activation: int = 0,
        parameters: Parameters | None = None,
    ) -> None:
        """Append a layer that gives the operator's output, with its fused activation."""
        tensor = self.output(operator)
        codes = activated(codes_of(tensor), activation)
        shape = layer.out_shape(*(value.shape for value in inputs))
        found, flat = _shape(tensor)
        if shape != found:
            raise UserError(f"its output is {found} (C, H, W), expected {shape}")
        place = len(self.layers)
        self.layers.append((layer, [value.place for value in inputs]))
        if parameters is not None:
            self.parameters[place] = parameters
        if layer.passes:
            if not all(value.codes.same_values(codes) for value in inputs):
                raise UserError("its output has another scale or zero point than its input")
            low = min(value.codes.low for value in inputs)
            high = max(value.codes.high for value in inputs)
            if low < codes.low or codes.high < high:
                raise UserError("a fused activation behind a layer that rounds nothing")
        else:
            self.codes[place] = codes
        self._keep(operator, Value(place, shape, codes, flat))

    def reshape(self, operator: Operator) -> None:
        """The same values, as the shape that the file gives the output."""
        value, tensor = self.input(operator), self.output(operator)
        shape, flat = _shape(tensor)
        if not flat and shape != value.shape:
            raise UserError(f"to {tensor.shape}, expected a flatten")
        if math.prod(shape) != math.prod(value.shape):
            raise UserError(f"to {tensor.shape}, expected {math.prod(value.shape)} values")
        self._keep(operator, replace(value, flat=flat))

    def _keep(self, operator: Operator, value: Value) -> None:
        self.values[operator.outputs[0]] = self._last = value

    def network(self, name: str) -> QuantisedNetwork:
        """The network that gives what was made last."""
        if not self.layers:
            raise UserError("it has no layers; expected one at least")
        if self._last.place != len(self.layers) - 1:
            raise UserError("its last layer is not its output")
        network = Network.graph(name, self.layers, self.values[self.file.inputs[0]].shape)
        names = {IMAGE: graph.IMAGE} | {at: node.name for at, node in enumerate(network.nodes)}
        return QuantisedNetwork(
            network,
            {names[place]: own for place, own in self.parameters.items()},
            {names[place]: codes for place, codes in self.codes.items()},
        )


def codes_of(tensor: Tensor) -> Codes:
    """What the codes of an activation stand for."""
    signed = tensor.type == tflite.TensorType.INT8
    if not signed and tensor.type != tflite.TensorType.UINT8:
        raise UserError(f"tensor {tensor.name} is {tensor.type_name}, expected int8; {INTEGER}")
    if len(tensor.scale) != 1:
        raise UserError(f"tensor {tensor.name} has {len(tensor.scale)} scales, expected 1")
    zero = int(tensor.zero[0]) + (128 if signed else 0)
    return Codes(float(tensor.scale[0]), zero, signed=signed)


def activated(codes: Codes, activation: int) -> Codes:
    """The codes that a fused activation leaves."""
    kinds = tflite.ActivationFunctionType
    bounds = {
        kinds.NONE: (-math.inf, math.inf),
        kinds.RELU: (0.0, math.inf),
        kinds.RELU6: (0.0, 6.0),
        kinds.RELU_N1_TO_1: (-1.0, 1.0),
    }
    if activation not in bounds:
        raise UserError(
            f"fused activation {activation}, expected none, RELU, RELU6 or RELU_N1_TO_1"
        )
    return codes.clamped(*bounds[activation])


def _shape(tensor: Tensor) -> tuple[Shape, bool]:
    """(C, H, W) of an activation N x H x W x C or N x W x C, or of N x features, which is flat."""
    if min(tensor.shape, default=0) < 1 or math.prod(tensor.shape) > MAX_VALUES:
        raise UserError(f"tensor {tensor.name} has shape {tensor.shape}, expected fixed sizes")
    if len(tensor.shape) == 4:
        _, height, width, channels = tensor.shape
        return (channels, height, width), False
    if len(tensor.shape) == 3:
        _, width, channels = tensor.shape
        return (channels, 1, width), False
    if len(tensor.shape) == 2:
        return (tensor.shape[1], 1, 1), True
    raise UserError(
        f"tensor {tensor.name} has shape {tensor.shape}, expected N x H x W x C or N x features"
    )
