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
from convstream.model.formats.onnx.limits import MAX_EXPONENT, MAX_FEATURES, MAX_WEIGHTS
from convstream.model.formats.onnx.wiring import Wiring
from convstream.model.network.graph import Network
from convstream.model.network.layers import Layer, Shape
from convstream.model.network.layers.windows import Window
from convstream.model.network.quantised import Parameters, QuantisedNetwork

IMAGE = -1
"""The place of the image, as in `Network.graph`."""


class State(enum.Enum):
    """What the numbers of a tensor are; the value says so in messages."""

    FLOATS = "a float input"  # which QuantizeLinear has to make uint8
    CODES = "quantised"  # uint8
    REAL = "dequantised"  # the same as real values
    SUMS = "the sums of a Conv, Gemm or average pool"  # as real values


@dataclass(frozen=True)
class Tensor:
    """What goes from node to node of the file.

    place: the layer that gives it, or IMAGE. origin: the layer that accumulates, or IMAGE, whose
    sums or codes these are; only layers that pass codes on stand between the two. shape: also
    where it is `flat`, N x features. rectified: these are sums, and a Relu has been at them.
    """

    place: int
    origin: int
    shape: Shape
    state: State
    flat: bool = False
    rectified: bool = False


class Assembly:
    """Layers, parameters and scales so far, and the tensors by name.

    Operators take their tensors from here, and add their layers: `accumulate` those that give sums,
    `pass_on` the others. Both take one tensor; a layer is at the place where it stands in `layers`.
    exponents: of the codes by origin, as soon as one is known. batch: N, 0 where it is not fixed.
    """

    def __init__(self, wiring: Wiring, image: Tensor, batch: int) -> None:
        self.wiring = wiring
        self.constants = Constants(wiring)
        self.batch = batch
        self.tensors = {wiring.input: image}
        self.layers: list[tuple[Layer, list[int]]] = []
        self.parameters: dict[int, Parameters] = {}
        self.exponents: dict[int, int] = {}
        self._image = image
        self._weights = 0

    def data(self, node: NodeProto) -> Tensor:
        """The tensor that a node takes as its first input."""
        if node.input[0] not in self.tensors:
            name = next(name for name in node.input if name in self.tensors)
            raise UserError(f"{text(name)} is not its first input")
        return self.tensors[node.input[0]]

    def accumulate(
        self,
        layer: Layer,
        x: Tensor,
        weight: np.ndarray | None = None,
        exponent: int | None = None,
        bias: str = "",
        flat: bool = False,
    ) -> Tensor:
        """The sums of a layer, flat or not, from x.

        weight, exponent: its weights, and that of their scale, if it has any; bias: the name of its
        biases, "" for zeros.
        """
        if x.state is State.SUMS:
            raise UserError(
                f"its input is {x.state.value}, not rounded yet; expected QuantizeLinear and "
                "DequantizeLinear before it"
            )
        if x.state is not State.REAL:
            raise UserError(f"its input is {x.state.value}, expected a DequantizeLinear before it")
        expected = layer.weight_shape(x.shape)
        if weight is not None and weight.shape != expected:
            raise UserError(f"weights of shape {weight.shape}, expected {expected}")
        own = Parameters(
            weight,
            None if weight is None else np.zeros(len(weight), np.int32),
            self.exponents[x.origin],
            layer.sum_exponent if exponent is None else exponent,
            None,
        )
        if abs(own.sum_exponent) > MAX_EXPONENT:
            raise UserError(
                f"its sums have the scale 2**{-own.sum_exponent}, beyond 2**+-{MAX_EXPONENT}"
            )
        self._weights += 0 if weight is None else weight.size
        if self._weights > MAX_WEIGHTS:
            raise UserError(
                f"more than {MAX_WEIGHTS} weights up to this node; use a smaller network"
            )
        place = self._append(layer, x)
        self.parameters[place] = own
        self.set_bias(place, bias)
        return Tensor(place, place, self._shape(layer, x), State.SUMS, flat)

    def set_bias(self, place: int, name: str) -> None:
        """Give a layer the biases called `name`, if they have a name."""
        own = self.parameters[place]
        if name and own.bias is not None:
            own = replace(own, bias=self.constants.bias(name, len(own.bias), own.sum_exponent))
        bound = self.layers[place][0].accumulator_bound(own.weight, own.bias)
        if bound >= 2**31:
            raise UserError(
                f"its sums can reach {bound}, beyond int32; use smaller weights or windows"
            )
        self.parameters[place] = own

    def pass_on(self, layer: Layer, x: Tensor) -> Tensor:
        """What a layer that may change places with rounding makes of x, in whatever state."""
        return replace(x, place=self._append(layer, x), shape=self._shape(layer, x))

    def _append(self, layer: Layer, x: Tensor) -> int:
        self.layers.append((layer, [x.place]))
        return len(self.layers) - 1

    @staticmethod
    def _shape(layer: Layer, x: Tensor) -> Shape:
        """Shape that the layer gives, if it is one that can be computed with."""
        padded = getattr(layer, "window", Window((1, 1))).padded(x.shape)
        shape = layer.out_shape(x.shape)
        if max(math.prod(padded), math.prod(shape)) > MAX_FEATURES:
            raise UserError(f"its padded input or its output has more than {MAX_FEATURES} values")
        return shape

    def quantised(self, x: Tensor, exponent: int) -> Tensor:
        """x as codes of scale 2**-exponent."""
        if x.state is State.CODES:
            raise UserError("its input is quantised already")
        known = self.exponents.setdefault(x.origin, exponent)
        if exponent != known:
            raise UserError(
                f"its scale 2**{-exponent} differs from 2**{-known} before it, with no "
                "Conv, Gemm or average pool between"
                if x.state is State.REAL
                else f"its scale 2**{-exponent} differs from 2**{-known}, to which another "
                "QuantizeLinear brings the same values"
            )
        shift = self.parameters[x.origin].sum_exponent - exponent if x.origin >= 0 else 0
        if shift < 0:
            raise UserError(
                f"negative requantising shift {shift}: its scale 2**{-exponent} is "
                f"finer than 2**{-shift - exponent} of the sums; choose a coarser one"
            )
        return replace(x, state=State.CODES, rectified=False)

    def dequantised(self, x: Tensor, exponent: int) -> Tensor:
        """x, codes of scale 2**-exponent, as real values."""
        if x.state is not State.CODES:
            raise UserError(f"its input is {x.state.value}, expected integers")
        known = self.exponents.setdefault(x.origin, exponent)
        if exponent != known:
            raise UserError(f"its scale 2**{-exponent} differs from that of its input, 2**{-known}")
        return replace(x, state=State.REAL)

    def network(self, name: str, output: Tensor) -> QuantisedNetwork:
        """The network whose logits are `output`."""
        if output.state is not State.SUMS or output.rectified:
            found = "rectified" if output.rectified else output.state.value
            raise UserError(
                f"the network's output is {found}, expected the sums of the last Conv, Gemm or "
                "average pool: end the graph there"
            )
        if output.place != output.origin:
            raise UserError(
                "the last layer is no Conv, Gemm or average pool, whose sums are the logits"
            )
        if output.origin in self.exponents:
            raise UserError("the network's output is quantised as well; expected it to end there")
        network = Network.graph(name, self.layers, self._image.shape)
        return QuantisedNetwork(
            network,
            {
                network.nodes[place].name: replace(own, output_exponent=self.exponents.get(place))
                for place, own in self.parameters.items()
            },
        )
