"""From float weights to int8 with power-of-two scales, in NumPy: what every backend quantises with.

An exponent e means a scale of 2**-e: an integer q stands for the real value q * 2**-e.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from model.network.graph import Network
from model.network.layers import MaxPool
from model.network.quantised import Parameters, QuantisedNetwork

PIXEL_EXPONENT = 8


@dataclass(frozen=True)
class Exponents:
    """Per layer (None for max-pool): of the weights, and of the uint8 output (None for the logits).

    `input` is that of the pixels.
    """

    weight: tuple[int | None, ...]
    output: tuple[int | None, ...]
    input: int = PIXEL_EXPONENT

    def layer_input(self, index: int) -> int:
        """Exponent of what layer `index` takes: max-pool passes that of the layer before it on."""
        known = [e for e in self.output[:index] if e is not None]
        return known[-1] if known else self.input

    @property
    def logits(self) -> int:
        """Exponent of the logits."""
        return self.layer_input(len(self.output) - 1) + self.weight[-1]


def fake_quantise(values: np.ndarray, exponent: int, low: int, high: int) -> np.ndarray:
    """`values` rounded half to even to multiples of 2**-exponent between low and high of them."""
    return np.clip(np.rint(values * 2.0**exponent), low, high) * 2.0**-exponent


def best_exponent(values: np.ndarray, low: int, high: int) -> int:
    """The exponent whose fake quantisation has the least squared error on `values`."""
    largest = float(np.abs(values).max())
    if largest == 0:
        return 7
    # Coarse enough to clip nothing, then up to three bits finer: more would clip too much.
    first = math.floor(math.log2((high + 0.5) / largest))
    errors = {
        exponent: np.square(fake_quantise(values, exponent, low, high) - values).sum(dtype=float)
        for exponent in range(first, first + 4)
    }
    return min(errors, key=errors.__getitem__)


def choose_exponents(
    network: Network, parameters: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]
) -> Exponents:
    """The exponents of least squared rounding error.

    parameters: float weights by name, `conv1.weight`, ... outputs: what each hidden convolution and
    fully connected layer gives after its ReLU for calibration images, by the layer's name.
    """
    weight: list[int | None] = []
    output: list[int | None] = []
    exponent = PIXEL_EXPONENT
    for layer, name in zip(network.layers, network.layer_names, strict=True):
        if isinstance(layer, MaxPool):
            weight.append(None)
            output.append(None)
            continue
        weight.append(best_exponent(parameters[f"{name}.weight"], -128, 127))
        if name in outputs:
            best = best_exponent(outputs[name], 0, 255)
            # The requantising shift must not be negative.
            exponent = min(best, exponent + weight[-1])
            output.append(exponent)
        else:
            output.append(None)
    return Exponents(tuple(weight), tuple(output))


def to_integers(
    network: Network, parameters: Mapping[str, np.ndarray], exponents: Exponents
) -> QuantisedNetwork:
    """The int8 network that float `conv1.weight`, `conv1.bias`, ... stand for."""
    quantised: list[Parameters | None] = []
    for index, (layer, name) in enumerate(zip(network.layers, network.layer_names, strict=True)):
        if isinstance(layer, MaxPool):
            quantised.append(None)
            continue
        exponent = exponents.weight[index]
        input_exponent = exponents.layer_input(index)
        quantised.append(
            Parameters(
                weight=_integers(parameters[f"{name}.weight"], exponent, np.int8),
                bias=_integers(parameters[f"{name}.bias"], input_exponent + exponent, np.int32),
                input_exponent=input_exponent,
                weight_exponent=exponent,
                output_exponent=exponents.output[index],
            )
        )
    return QuantisedNetwork(network, tuple(quantised))


def from_integers(
    quantised: QuantisedNetwork, dtype: type = np.float64
) -> tuple[dict[str, np.ndarray], Exponents]:
    """The reverse of `to_integers`: weights and biases as real values, and the exponents."""
    parameters: dict[str, np.ndarray] = {}
    for name, layer in zip(quantised.network.layer_names, quantised.parameters, strict=True):
        if layer is not None:
            exponent = layer.weight_exponent
            parameters[f"{name}.weight"] = np.ldexp(layer.weight.astype(dtype), -exponent)
            exponent += layer.input_exponent
            parameters[f"{name}.bias"] = np.ldexp(layer.bias.astype(dtype), -exponent)
    known = [p for p in quantised.parameters if p is not None]
    return parameters, Exponents(
        tuple(p and p.weight_exponent for p in quantised.parameters),
        tuple(p and p.output_exponent for p in quantised.parameters),
        known[0].input_exponent,
    )


def _integers(values: np.ndarray, exponent: int, dtype: type) -> np.ndarray:
    limits = np.iinfo(dtype)
    scaled = np.rint(values.astype(np.float64) * 2.0**exponent)
    return scaled.clip(limits.min, limits.max).astype(dtype)
