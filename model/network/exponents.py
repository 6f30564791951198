"""Networks whose scales are all powers of two, and their float weights.

An exponent e means a scale of 2**-e: an integer q stands for the real value q * 2**-e. All zero
points are 0, and every hidden layer's codes are those of a ReLU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from convstream.model.base.errors import UserError
from convstream.model.network.codes import Codes
from convstream.model.network.graph import IMAGE, Network, Node
from convstream.model.network.quantised import Parameters, QuantisedNetwork

PIXEL_EXPONENT = 8


@dataclass(frozen=True)
class Exponents:
    """weight: by node that accumulates. output: by node with codes of its own, so not of logits.

    `input` is that of the pixels.
    """

    weight: Mapping[str, int]
    output: Mapping[str, int]
    input: int = PIXEL_EXPONENT

    def input_of(self, network: Network, node: Node) -> int:
        """Exponent of what a node takes first; a layer that passes codes on has its input's."""
        source = node
        while source.inputs[0] in network:
            source = network[source.inputs[0]]
            if source.name in self.output:
                return self.output[source.name]
        return self.input

    def logits(self, network: Network) -> int:
        """Exponent of the logits."""
        return self.input_of(network, network.output) + self.weight[network.output.name]


def fake_quantise(values: np.ndarray, exponent: int, low: int, high: int) -> np.ndarray:
    """`values` rounded half to even to multiples of 2**-exponent between low and high of them."""
    return np.clip(np.rint(values * 2.0**exponent), low, high) * 2.0**-exponent


def parameter_shapes(network: Network) -> dict[str, tuple[int, ...]]:
    """Shapes of all weights and biases by name: `conv1.weight`, `conv1.bias`, ..."""
    shapes = {}
    for node in network.weighted:
        shape = node.weight_shape
        assert shape is not None
        shapes[f"{node.name}.weight"] = shape
        shapes[f"{node.name}.bias"] = shape[:1]
    return shapes


class Shifts(NamedTuple):
    """Weights of a node with codes or sums of its own, and exponents of its scales.

    weight, bias: as in `Parameters`; None where the layer has none, as an average pool, whose
    `weight_exponent` is then `layer.sum_exponent`. input_exponent: of its first input.
    output_exponent: None where the int32 accumulators go out.
    """

    weight: np.ndarray | None
    bias: np.ndarray | None
    input_exponent: int
    weight_exponent: int
    output_exponent: int | None


def power_of_two(network: Network, shifts: Mapping[str, Shifts]) -> QuantisedNetwork:
    """The network whose nodes that do not pass codes on have `shifts`, by name.

    Raises `UserError` where they contradict each other or a requantising shift is negative, and as
    `QuantisedNetwork` does.
    """
    parameters: dict[str, Parameters] = {}
    codes: dict[str, Codes] = {}
    exponents: dict[str, int | None] = {}
    for node in network.nodes:
        known = {exponents[name] for name in node.inputs if name in exponents}
        own = shifts.get(node.name)
        if own is None:
            if known:
                # The image's own exponent is known once a layer with shifts has taken it.
                (exponents[node.name],) = known
            continue
        for exponent in known - {own.input_exponent} if node.layer.accumulates else ():
            raise UserError(
                f"{node.name}: its input has scale 2**-{own.input_exponent}, the layer before "
                f"gives 2**-{exponent}; the two must be equal"
            )
        _check_shift(node, own)
        if own.weight is not None and own.bias is not None:
            scale = np.array([2.0**-own.weight_exponent], np.float32)
            parameters[node.name] = Parameters(own.weight, scale, own.bias)
        for name in node.inputs:
            exponents.setdefault(name, own.input_exponent)
        exponents[node.name] = own.output_exponent
        if own.output_exponent is not None:
            codes[node.name] = Codes.power_of_two(own.output_exponent)
    codes[IMAGE] = Codes.power_of_two(_of_the_image(network, shifts))
    return QuantisedNetwork(network, parameters, codes)


def _check_shift(node: Node, own: Shifts) -> None:
    if not node.layer.accumulates:
        return
    if node.weight_shape is None and own.weight_exponent != node.layer.sum_exponent:
        raise UserError(
            f"{node.name}: its sums are 2**-{own.weight_exponent} of the input's scale, "
            f"expected 2**-{node.layer.sum_exponent}"
        )
    if own.output_exponent is None:
        return
    shift = own.input_exponent + own.weight_exponent - own.output_exponent
    if shift < 0:
        raise UserError(
            f"{node.name}: negative requantising shift {shift} (input 2**-"
            f"{own.input_exponent}, weight 2**-{own.weight_exponent}, output "
            f"2**-{own.output_exponent}); use a coarser output scale"
        )


def _of_the_image(network: Network, shifts: Mapping[str, Shifts]) -> int:
    readers = list(network.readers(IMAGE))
    while readers[0].name not in shifts:
        readers = list(network.readers(readers[0].name))
    return shifts[readers[0].name].input_exponent


def shifts_of(quantised: QuantisedNetwork) -> dict[str, Shifts] | None:
    """The reverse of `power_of_two`; None where another scale or a zero point is among them."""
    found: dict[str, Shifts] = {}
    for node in quantised.network.nodes:
        site = quantised.site(node.name)
        plain = [*site.inputs, *([] if site.output is None else [site.output])]
        if any(codes != Codes(codes.scale) or codes.exponent is None for codes in plain):
            return None
        if node.layer.passes:
            continue
        weight_exponent = node.layer.sum_exponent
        if site.weight_scale is not None:
            scales = np.unique(site.weight_scale)
            weight_exponent = Codes(float(scales[0])).exponent if len(scales) == 1 else None
        rounding = quantised.rounding(node.name)
        if weight_exponent is None or (rounding is not None and rounding.shift is None):
            return None
        input_exponent = site.inputs[0].exponent
        assert input_exponent is not None
        output_exponent = None if site.output is None else site.output.exponent
        found[node.name] = Shifts(
            site.weight, site.bias, input_exponent, weight_exponent, output_exponent
        )
    return found


def to_integers(
    network: Network, parameters: Mapping[str, np.ndarray], exponents: Exponents
) -> QuantisedNetwork:
    """The int8 network that float `conv1.weight`, `conv1.bias`, ... stand for."""
    shifts: dict[str, Shifts] = {}
    for node in network.nodes:
        if node.layer.passes:
            continue
        exponent = exponents.weight.get(node.name, 0)
        input_exponent = exponents.input_of(network, node)
        weight = bias = None
        if node.weight_shape is not None:
            weight = _integers(parameters[f"{node.name}.weight"], exponent, np.int8)
            bias = _integers(parameters[f"{node.name}.bias"], input_exponent + exponent, np.int32)
        shifts[node.name] = Shifts(
            weight, bias, input_exponent, exponent, exponents.output.get(node.name)
        )
    return power_of_two(network, shifts)


def from_integers(
    quantised: QuantisedNetwork, dtype: type = np.float64
) -> tuple[dict[str, np.ndarray], Exponents]:
    """The reverse of `to_integers`: weights and biases as real values, and the exponents.

    Raises `UserError` where not all scales are powers of two.
    """
    shifts = shifts_of(quantised)
    if shifts is None:
        raise UserError(
            f"network {quantised.network.name}: its scales are not all powers of two with zero "
            "points of 0; expected a network that was trained here"
        )
    parameters: dict[str, np.ndarray] = {}
    weight, output = {}, {}
    for name, own in shifts.items():
        if quantised.network[name].layer.accumulates:
            weight[name] = own.weight_exponent
        if own.output_exponent is not None:
            output[name] = own.output_exponent
        if own.weight is not None and own.bias is not None:
            sums = own.input_exponent + own.weight_exponent
            parameters[f"{name}.weight"] = np.ldexp(own.weight.astype(dtype), -own.weight_exponent)
            parameters[f"{name}.bias"] = np.ldexp(own.bias.astype(dtype), -sums)
    image = quantised.codes[IMAGE].exponent
    assert image is not None
    return parameters, Exponents(weight, output, image)


def _integers(values: np.ndarray, exponent: int, dtype: type[np.signedinteger]) -> np.ndarray:
    limits = np.iinfo(dtype)
    scaled = np.rint(values.astype(np.float64) * 2.0**exponent)
    return scaled.clip(limits.min, limits.max).astype(dtype)
