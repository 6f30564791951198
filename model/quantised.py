"""A network with its int8 weights: what `network.onnx` holds, what is simulated and exported."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.errors import UserError
from model.networks import Network


@dataclass(frozen=True, eq=False)
class Parameters:
    """Weights of one convolution or fully connected layer, all scales powers of two.

    weight: int8, (OC, IC, K, K), or (OUT, IN) with IN flattened from (channels, height, width).
    bias: int32, (OC,), of scale 2**-(input_exponent + weight_exponent).
    input_exponent, weight_exponent: an integer q stands for the real value q * 2**-exponent.
    output_exponent: of the uint8 output; None where the int32 accumulators go out (logits).
    """

    weight: np.ndarray
    bias: np.ndarray
    input_exponent: int
    weight_exponent: int
    output_exponent: int | None

    @property
    def shift(self) -> int | None:
        """Requantising shift s = a_in + w - a_out >= 0; None for the logits."""
        if self.output_exponent is None:
            return None
        return self.input_exponent + self.weight_exponent - self.output_exponent

    @property
    def accumulator_bound(self) -> int:
        """Largest |accumulator| of any uint8 input: max over channels of 255*sum|w| + |b|."""
        weight = np.abs(self.weight.astype(np.int64)).reshape(len(self.weight), -1)
        return int((255 * weight.sum(axis=1) + np.abs(self.bias.astype(np.int64))).max())

    @property
    def accumulator_width(self) -> int:
        """Bits of a signed accumulator that holds +-accumulator_bound."""
        return self.accumulator_bound.bit_length() + 1


@dataclass(frozen=True, eq=False)
class QuantisedNetwork:
    """A `Network` and the `Parameters` of each layer (None for max-pool), which fit each other.

    Raises `UserError` on a shape, type or exponent that does not fit, a negative requantising
    shift, or an accumulator that does not fit into int32.
    """

    network: Network
    parameters: tuple[Parameters | None, ...]

    def __post_init__(self) -> None:
        exponent = None
        last = len(self.network.layers) - 1
        if len(self.parameters) != len(self.network.layers):
            raise UserError(
                f"network {self.network.name}: {len(self.network.layers)} layers but "
                f"{len(self.parameters)} sets of parameters"
            )
        for index, (layer, name, shape, parameters) in enumerate(
            zip(
                self.network.layers,
                self.network.layer_names,
                self.network.shapes,
                self.parameters,
                strict=False,
            )
        ):
            if layer.kind == "maxpool":
                continue
            expected = layer.weight_shape(shape)
            if parameters.weight.shape != expected or parameters.weight.dtype != np.int8:
                raise UserError(
                    f"{name}: weights are {parameters.weight.dtype} {parameters.weight.shape}, "
                    f"expected int8 {expected}"
                )
            if parameters.bias.shape != expected[:1] or parameters.bias.dtype != np.int32:
                raise UserError(
                    f"{name}: biases are {parameters.bias.dtype} {parameters.bias.shape}, "
                    f"expected int32 {expected[:1]}"
                )
            if exponent is not None and parameters.input_exponent != exponent:
                raise UserError(
                    f"{name}: its input has scale 2**-{parameters.input_exponent}, the layer "
                    f"before gives 2**-{exponent}; the two must be equal"
                )
            exponent = parameters.output_exponent
            if (exponent is None) != (index == last):
                raise UserError(f"{name}: only the last layer gives unquantised logits")
            if parameters.shift is not None and parameters.shift < 0:
                raise UserError(
                    f"{name}: negative requantising shift {parameters.shift} (input 2**-"
                    f"{parameters.input_exponent}, weight 2**-{parameters.weight_exponent}, output "
                    f"2**-{parameters.output_exponent}); use a coarser output scale"
                )
            if parameters.accumulator_bound >= 2**31:
                raise UserError(
                    f"{name}: accumulators can reach {parameters.accumulator_bound}, beyond int32; "
                    "use smaller weights or biases"
                )
