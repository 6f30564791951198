"""Between float weights and int8 ones with power-of-two scales.

An exponent e means a scale of 2**-e: an integer q stands for the real value q * 2**-e.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from convstream.model.network.graph import Network, Node
from convstream.model.network.quantised import Parameters, QuantisedNetwork

PIXEL_EXPONENT = 8


@dataclass(frozen=True)
class Exponents:
    """By node that accumulates: of the weights, and of the uint8 output (none for the logits).

    `input` is that of the pixels.
    """

    weight: Mapping[str, int]
    output: Mapping[str, int]
    input: int = PIXEL_EXPONENT

    def input_of(self, network: Network, node: Node) -> int:
        """Exponent of what a node takes; a layer that does not accumulate passes its input's on."""
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


def to_integers(
    network: Network, parameters: Mapping[str, np.ndarray], exponents: Exponents
) -> QuantisedNetwork:
    """The int8 network that float `conv1.weight`, `conv1.bias`, ... stand for."""
    quantised: dict[str, Parameters] = {}
    for node in network.nodes:
        if not node.layer.accumulates:
            continue
        exponent = exponents.weight[node.name]
        input_exponent = exponents.input_of(network, node)
        weight = bias = None
        if node.weight_shape is not None:
            weight = _integers(parameters[f"{node.name}.weight"], exponent, np.int8)
            bias = _integers(parameters[f"{node.name}.bias"], input_exponent + exponent, np.int32)
        quantised[node.name] = Parameters(
            weight, bias, input_exponent, exponent, exponents.output.get(node.name)
        )
    return QuantisedNetwork(network, quantised)


def from_integers(
    quantised: QuantisedNetwork, dtype: type = np.float64
) -> tuple[dict[str, np.ndarray], Exponents]:
    """The reverse of `to_integers`: weights and biases as real values, and the exponents."""
    parameters: dict[str, np.ndarray] = {}
    weight, output = {}, {}
    for name, own in quantised.parameters.items():
        weight[name] = own.weight_exponent
        if own.output_exponent is not None:
            output[name] = own.output_exponent
        if own.weight is not None and own.bias is not None:
            parameters[f"{name}.weight"] = np.ldexp(own.weight.astype(dtype), -own.weight_exponent)
            parameters[f"{name}.bias"] = np.ldexp(own.bias.astype(dtype), -own.sum_exponent)
    return parameters, Exponents(weight, output, quantised.input_exponent)


def _integers(values: np.ndarray, exponent: int, dtype: type[np.signedinteger]) -> np.ndarray:
    limits = np.iinfo(dtype)
    scaled = np.rint(values.astype(np.float64) * 2.0**exponent)
    return scaled.clip(limits.min, limits.max).astype(dtype)
