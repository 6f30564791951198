"""A network in the making, while a file's graph is read."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, replace

import numpy as np
from onnx import NodeProto

from convstream.model.base.errors import UserError
from convstream.model.formats.onnx.checks import text
from convstream.model.formats.onnx.constants import Constants
from convstream.model.formats.onnx.limits import MAX_FEATURES, MAX_WEIGHTS
from convstream.model.formats.onnx.wiring import Wiring
from convstream.model.network import graph
from convstream.model.network.codes import Codes
from convstream.model.network.graph import Network
from convstream.model.network.layers import Layer, Shape, Table
from convstream.model.network.layers.base import Site
from convstream.model.network.quantised import Parameters, QuantisedNetwork

IMAGE = -1
"""The place of the image, as in `Network.graph`."""


class State(enum.Enum):
    """What the numbers of a tensor are; the value says so in messages."""

    FLOATS = "a float input"  # which QuantizeLinear has to make codes
    CODES = "quantised"
    REAL = "dequantised"  # the same as real values
    SUMS = "the sums of a layer"  # as real values


@dataclass(frozen=True)
class Tensor:
    """What goes from node to node of the file.

    place: the layer that gives it, or IMAGE. origin: the layer, or IMAGE, that made these sums or
    codes; only layers that pass codes on stand between the two. shape: also where it is `flat`,
    N x features. low, high: what activations have left of its real values. signed: codes that the
    file has as int8, where only that is known of them.
    """

    place: int
    origin: int
    shape: Shape
    state: State
    flat: bool = False
    low: float = -math.inf
    high: float = math.inf
    signed: bool = False


class Assembly:
    """Layers, parameters and codes so far, and the tensors by name.

    Operators take their tensors from here, and add their layers: `accumulate` those that give sums,
    `pass_on` those that codes go through, `recode` those that give other codes. A layer is at the
    place where it stands in `layers`. codes: by origin, as soon as they are known. batch: N, 0
    where it is not fixed.
    """

    def __init__(self, wiring: Wiring, image: Tensor, batch: int) -> None:
        self.wiring = wiring
        self.constants = Constants(wiring)
        self.batch = batch
        self.tensors = {wiring.input: image}
        self.layers: list[tuple[Layer, list[int]]] = []
        self.parameters: dict[int, Parameters] = {}
        self.codes: dict[int, Codes] = {}
        self._image = image
        self._weights = 0

    def data(self, node: NodeProto) -> Tensor:
        """The tensor that a node takes as its first input."""
        if node.input[0] not in self.tensors:
            name = next(name for name in node.input if name in self.tensors)
            raise UserError(f"{text(name)} is not its first input")
        return self.tensors[node.input[0]]

    # Layers

    def accumulate(
        self,
        layer: Layer,
        x: Tensor,
        weight: np.ndarray | None = None,
        weight_scale: np.ndarray | None = None,
        bias: str = "",
        flat: bool = False,
    ) -> Tensor:
        """The sums of a layer, flat or not, from x.

        weight, weight_scale: int8 and float32, if it has any; bias: the name of its biases, "" for
        zeros.
        """
        x = self.settled(x)
        expected = layer.weight_shape(x.shape)
        if weight is not None and weight.shape != expected:
            raise UserError(f"weights of shape {weight.shape}, expected {expected}")
        self._weights += 0 if weight is None else weight.size
        if self._weights > MAX_WEIGHTS:
            raise UserError(
                f"more than {MAX_WEIGHTS} weights up to this node; use a smaller network"
            )
        place = self._append(layer, [x])
        if weight is not None and weight_scale is not None:
            none = np.zeros(len(weight), np.int32)
            self.parameters[place] = Parameters(weight, weight_scale, none)
        self.set_bias(place, x.origin, bias)
        return Tensor(place, place, self._shape(layer, [x]), State.SUMS, flat)

    def set_bias(self, place: int, origin: int, name: str) -> None:
        """Give a layer, whose input is of `origin`, the biases called `name`, if there are any."""
        codes = self.codes[origin]
        own = self.parameters.get(place)
        site = Site(inputs=(codes,))
        if own is not None:
            if name:
                scale = np.float32(codes.scale) * own.weight_scale
                own = replace(own, bias=self.constants.bias(name, len(own.bias), scale))
                self.parameters[place] = own
            site = Site(own.weight, own.weight_scale, own.bias, (codes,))
        bound = self.layers[place][0].accumulator_bound(site)
        if bound >= 2**31:
            raise UserError(
                f"its sums can reach {bound}, beyond int32; use smaller weights or windows"
            )

    def origin(self, place: int) -> int:
        """That of the output of the layer at `place`, or of IMAGE."""
        while place not in self.codes:
            place = self.layers[place][1][0]
        return place

    def pass_on(self, layer: Layer, x: Tensor) -> Tensor:
        """What a layer that may change places with rounding makes of x, in whatever state."""
        return replace(x, place=self._append(layer, [x]), shape=self._shape(layer, [x]))

    def recode(self, layer: Layer, inputs: list[Tensor], codes: Codes, state: State) -> Tensor:
        """What a layer that gives `codes` makes of real inputs, as codes or dequantised."""
        inputs = [self.settled(x) for x in inputs]
        place = self._append(layer, inputs)
        self.codes[place] = codes
        return Tensor(place, place, self._shape(layer, inputs), state, inputs[0].flat)

    def _append(self, layer: Layer, inputs: list[Tensor]) -> int:
        self.layers.append((layer, [x.place for x in inputs]))
        return len(self.layers) - 1

    @staticmethod
    def _shape(layer: Layer, inputs: list[Tensor]) -> Shape:
        """Shape that the layer gives, if it is one that can be computed with."""
        shape = layer.out_shape(*(x.shape for x in inputs))
        padded = layer.padded_size(inputs[0].shape)
        if max(padded, math.prod(shape)) > MAX_FEATURES:
            raise UserError(f"its padded input or its output has more than {MAX_FEATURES} values")
        return shape

    # Codes and real values

    def quantised(self, x: Tensor, codes: Codes) -> Tensor:
        """x as `codes`."""
        if x.state is State.CODES:
            raise UserError("its input is quantised already")
        codes = replace(codes, low=_code(x.low, codes, 0), high=_code(x.high, codes, 255))
        if x.state is State.REAL:
            known = self.codes[x.origin]
            if known.same_values(codes) and codes.low <= known.low and known.high <= codes.high:
                return replace(x, state=State.CODES, low=-math.inf, high=math.inf)
            values = _requantised(known, codes)
            x = replace(x, low=-math.inf, high=math.inf)
            return self.recode(Table.of(values), [x], codes, State.CODES)
        known = self.codes.setdefault(x.origin, codes)
        if codes != known:
            raise UserError(
                f"its scale {codes.scale:.9g} and zero point {codes.zero_point} differ from "
                f"{known.scale:.9g} and {known.zero_point}, or its activation from that to which "
                "another QuantizeLinear brings the same values; use one for both"
            )
        return replace(x, state=State.CODES, low=-math.inf, high=math.inf)

    def dequantised(self, x: Tensor, codes: Codes) -> Tensor:
        """x, which must be `codes`, as real values."""
        if x.state is not State.CODES:
            raise UserError(f"its input is {x.state.value}, expected integers")
        known = self.codes.setdefault(x.origin, codes)
        if not codes.same_values(known):
            raise UserError(
                f"its scale {codes.scale:.9g} and zero point {codes.zero_point} differ from those "
                f"of its input, {known.scale:.9g} and {known.zero_point}"
            )
        return replace(x, state=State.REAL)

    def settled(self, x: Tensor) -> Tensor:
        """x, real values that a layer takes, as codes whose range is that of its activations."""
        if x.state is State.SUMS:
            raise UserError(
                f"its input is {x.state.value}, not rounded yet; expected QuantizeLinear and "
                "DequantizeLinear before it"
            )
        if x.state is not State.REAL:
            raise UserError(f"its input is {x.state.value}, expected a DequantizeLinear before it")
        if x.low == -math.inf and x.high == math.inf:
            return x
        return replace(self.quantised(x, self.codes[x.origin]), state=State.REAL)

    def network(self, name: str, output: Tensor) -> QuantisedNetwork:
        """The network that gives `output`."""
        if output.state is State.SUMS:
            if (output.low, output.high) != (-math.inf, math.inf):
                raise UserError(
                    "the network's output is rectified, but not quantised; expected a "
                    "QuantizeLinear behind it, or no activation"
                )
            if output.place != output.origin:
                raise UserError(
                    "the last layer passes on sums that are not quantised; expected a "
                    "QuantizeLinear before it"
                )
            if output.origin in self.codes:
                raise UserError(
                    "the network's output is quantised as well; expected it to end there"
                )
        elif output.state is State.FLOATS or output.place == IMAGE:
            raise UserError("the network's output is its input; expected layers between the two")
        elif output.state is State.REAL:
            output = self.settled(output)
        network = Network.graph(name, self.layers, self._image.shape)
        names = {IMAGE: graph.IMAGE} | {at: node.name for at, node in enumerate(network.nodes)}
        return QuantisedNetwork(
            network,
            {names[place]: own for place, own in self.parameters.items()},
            {names[place]: codes for place, codes in self.codes.items()},
        )


def _code(value: float, codes: Codes, unbounded: int) -> int:
    """The code of a real bound; `unbounded` of an infinite one."""
    if math.isinf(value):
        return unbounded
    code = np.rint(np.float32(value) / np.float32(codes.scale)) + codes.zero_point
    return int(np.clip(code, 0, 255))


def _requantised(known: Codes, codes: Codes) -> np.ndarray:
    """uint8 (256,): what DequantizeLinear and QuantizeLinear, in float32, make of each code."""
    real = (np.arange(256) - known.zero_point).astype(np.float32) * np.float32(known.scale)
    rounded = np.rint(real / np.float32(codes.scale)) + codes.zero_point
    return np.clip(rounded, codes.low, codes.high).astype(np.uint8)
