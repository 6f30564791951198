"""A network with its int8 weights: what an ONNX file holds, what is simulated and exported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from convstream.model.base.errors import UserError
from convstream.model.network.graph import IMAGE, Network, Node


@dataclass(frozen=True, eq=False)
class Parameters:
    """Weights and scales of a node that accumulates, all scales powers of two.

    weight: int8, (OC, IC, K, K), or (OUT, IN) with IN flattened from (channels, height, width).
    bias: int32, (OC,), of scale 2**-(input_exponent + weight_exponent). Both None where the layer
    has none, as an average pool; its weight_exponent is then `layer.sum_exponent`.
    input_exponent, weight_exponent: an integer q stands for the real value q * 2**-exponent.
    output_exponent: of the uint8 output; None where the int32 accumulators go out (logits).
    """

    weight: np.ndarray | None
    bias: np.ndarray | None
    input_exponent: int
    weight_exponent: int
    output_exponent: int | None

    @property
    def sum_exponent(self) -> int:
        """Exponent of the accumulators."""
        return self.input_exponent + self.weight_exponent

    @property
    def shift(self) -> int | None:
        """Requantising shift s = a_in + w - a_out >= 0; None for the logits."""
        return None if self.output_exponent is None else self.sum_exponent - self.output_exponent


@dataclass(frozen=True, eq=False)
class QuantisedNetwork:
    """A `Network` and, by node, the `Parameters` of every one that accumulates.

    Raises `UserError` on a shape, type or exponent that does not fit, a negative requantising
    shift, or an accumulator that does not fit into int32.
    """

    network: Network
    parameters: Mapping[str, Parameters]

    def __post_init__(self) -> None:
        expected = {node.name for node in self.network.nodes if node.layer.accumulates}
        if self.parameters.keys() != expected:
            odd = ", ".join(sorted(self.parameters.keys() ^ expected))
            raise UserError(
                f"network {self.network.name}: parameters missing, or of no layer: {odd}"
            )
        scales: dict[str, int | None] = {}
        for node in self.network.nodes:
            exponents = {scales[name] for name in node.inputs if name in scales}
            if node.name in self.parameters:
                own = self.parameters[node.name]
                self._check(node, own, exponents)
                for name in node.inputs:
                    scales.setdefault(name, own.input_exponent)
                scales[node.name] = own.output_exponent
            elif exponents:
                # The image's own exponent is known once a layer with parameters has taken it.
                (scales[node.name],) = exponents

    def _check(self, node: Node, own: Parameters, exponents: set[int | None]) -> None:
        name = node.name
        self._check_arrays(node, own)
        for exponent in exponents - {own.input_exponent}:
            raise UserError(
                f"{name}: its input has scale 2**-{own.input_exponent}, the layer before gives "
                f"2**-{exponent}; the two must be equal"
            )
        if (own.output_exponent is None) != (node is self.network.output):
            raise UserError(f"{name}: only the last layer gives unquantised logits")
        if own.shift is not None and own.shift < 0:
            raise UserError(
                f"{name}: negative requantising shift {own.shift} (input 2**-"
                f"{own.input_exponent}, weight 2**-{own.weight_exponent}, output "
                f"2**-{own.output_exponent}); use a coarser output scale"
            )
        if self.accumulator_bound(name) >= 2**31:
            raise UserError(
                f"{name}: accumulators can reach {self.accumulator_bound(name)}, beyond int32; "
                "use smaller weights or biases"
            )

    @staticmethod
    def _check_arrays(node: Node, own: Parameters) -> None:
        shape = node.weight_shape
        if shape is None:
            if own.weight is not None or own.bias is not None:
                raise UserError(f"{node.name}: has weights, but its layer has none")
            if own.weight_exponent != node.layer.sum_exponent:
                raise UserError(
                    f"{node.name}: its sums are 2**-{own.weight_exponent} of the input's scale, "
                    f"expected 2**-{node.layer.sum_exponent}"
                )
            return
        for what, array, dtype, wanted in (
            ("weights", own.weight, np.int8, shape),
            ("biases", own.bias, np.int32, shape[:1]),
        ):
            if array is None or array.shape != wanted or array.dtype != dtype:
                found = "missing" if array is None else f"{array.dtype} {array.shape}"
                raise UserError(
                    f"{node.name}: {what} are {found}, expected {np.dtype(dtype)} {wanted}"
                )

    @property
    def input_exponent(self) -> int:
        """Exponent of the image."""
        readers = list(self.network.readers(IMAGE))
        while readers[0].name not in self.parameters:
            readers = list(self.network.readers(readers[0].name))
        return self.parameters[readers[0].name].input_exponent

    def accumulator_bound(self, name: str) -> int:
        """Largest |accumulator| of a node for any uint8 input."""
        own = self.parameters[name]
        return self.network[name].layer.accumulator_bound(own.weight, own.bias)

    def accumulator_width(self, name: str) -> int:
        """Bits of a signed accumulator that holds +-accumulator_bound."""
        return self.accumulator_bound(name).bit_length() + 1

    @property
    def largest_bound(self) -> int:
        """The largest `accumulator_bound` of all nodes."""
        return max(map(self.accumulator_bound, self.parameters))

    @property
    def logits(self) -> Parameters:
        """Parameters of the last node."""
        return self.parameters[self.network.output.name]
