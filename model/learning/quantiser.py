"""The power-of-two scales of least rounding error."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from convstream.model.base.errors import UserError
from convstream.model.network.exponents import Exponents, fake_quantise
from convstream.model.network.graph import Network


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

    parameters: float weights by name, `conv1.weight`, ... outputs: by name, what each hidden node
    with codes of its own gives for calibration images, after its ReLU.
    """
    weight: dict[str, int] = {}
    output: dict[str, int] = {}
    chosen = Exponents(weight, output)
    for node in network.nodes:
        if node.layer.passes:
            continue
        if not node.layer.accumulates:
            output[node.name] = best_exponent(outputs[node.name], 0, 255)
            continue
        if node in network.weighted:
            weight[node.name] = best_exponent(parameters[f"{node.name}.weight"], -128, 127)
        else:
            exponent = node.layer.sum_exponent
            if exponent is None:
                raise UserError(
                    f"{node.name}: a mean over a number of values that is no power of two has no "
                    "power-of-two scale; choose a window of 2, 4, 8 or so"
                )
            weight[node.name] = exponent
        if node is not network.output:
            # The requantising shift must not be negative.
            finest = chosen.input_of(network, node) + weight[node.name]
            output[node.name] = min(best_exponent(outputs[node.name], 0, 255), finest)
    return chosen
