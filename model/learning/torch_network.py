"""The networks in PyTorch, in floats or as the float twin of the int8 arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from convstream.model.network.exponents import PIXEL_EXPONENT, Exponents
from convstream.model.network.floats import FloatNetwork, operations
from convstream.model.network.graph import Node


class _Round(torch.autograd.Function):
    """Round half to even, with the gradient of the identity."""

    @staticmethod
    def forward(context: object, values: Tensor) -> Tensor:
        return values.round()

    @staticmethod
    def backward(context: object, gradient: Tensor) -> Tensor:
        return gradient


def fake_quantise(values: Tensor, exponent: int, low: int, high: int) -> Tensor:
    """`values` rounded to multiples of 2**-exponent between low and high of them, as floats."""
    return _Round.apply(values * 2.0**exponent).clamp(low, high) * 2.0**-exponent


class TorchNetwork(nn.Module):
    """A `FloatNetwork` in PyTorch: the same names, weights of its own, trainable.

    It computes in floats or, given `Exponents`, in floats that stand for exactly the integers of
    the int8 reference: an integer q of exponent e is the float q * 2**-e. Rounding and clamping let
    gradients through (straight-through estimator), so the same forward pass serves
    quantisation-aware training. float32 is exact as long as accumulators stay under 2**24; float64
    always is.
    normalise: put a batch normalisation behind each hidden layer with weights, for float training;
    `folded` has it in the weights.
    """

    def __init__(self, model: FloatNetwork, normalise: bool = False) -> None:
        super().__init__()
        self.network = model.network
        self.norms = nn.ModuleDict()
        if normalise:
            for node in model.network.weighted:
                if node is not model.network.output:
                    self.norms[node.name] = nn.BatchNorm2d(node.out_shape[0])
        for node in model.network.weighted:
            own = nn.Module()
            for kind in ("weight", "bias"):
                values = torch.tensor(model.parameters[f"{node.name}.{kind}"])
                own.register_parameter(kind, nn.Parameter(values))
            self.add_module(node.name, own)

    def forward(self, pixels: Tensor, exponents: Exponents | None = None) -> Tensor:
        """Logits (N, classes) as real values.

        pixels: (N, C, H, W), integers 0 to 255 of any type. exponents: compute what int8 computes;
        without them, plain floats.
        """
        dtype = next((weight.dtype for weight in self.parameters()), torch.float64)
        image = pixels.to(dtype) * 2.0 ** -(exponents.input if exponents else PIXEL_EXPONENT)
        values: list[Tensor] = []
        for node, activation, sources in operations(self.network):
            x = [image if source < 0 else values[source] for source in sources]
            if not activation:
                y = node.layer.torch_forward(x, self._weights(node, exponents))
                if node.name in self.norms:
                    y = self.norms[node.name](y)
            elif exponents is None:
                y = functional.relu(x[0])
            else:
                y = fake_quantise(x[0], exponents.output[node.name], 0, 255)
            values.append(y)
        return values[-1].flatten(1)

    def _weights(self, node: Node, exponents: Exponents | None) -> Sequence[Tensor]:
        if node.weight_shape is None:
            return ()
        weight, bias = (self.get_parameter(f"{node.name}.{kind}") for kind in ("weight", "bias"))
        if exponents is None:
            return weight, bias
        exponent = exponents.weight[node.name]
        sum_exponent = exponents.input_of(self.network, node) + exponent
        return (
            fake_quantise(weight, exponent, -128, 127),
            fake_quantise(bias, sum_exponent, -(2**31), 2**31 - 1),
        )

    def folded(self) -> FloatNetwork:
        """The weights and biases, each with the normalisation behind it, by its running figures."""
        parameters = {}
        for node in self.network.weighted:
            weight, bias = (
                self.get_parameter(f"{node.name}.{kind}").detach() for kind in ("weight", "bias")
            )
            if node.name in self.norms:
                norm = self.norms[node.name]
                assert isinstance(norm, nn.BatchNorm2d)
                mean, variance = norm.running_mean, norm.running_var
                assert mean is not None and variance is not None
                factor = norm.weight.detach() / torch.sqrt(variance + norm.eps)
                weight = weight * factor.reshape(-1, *[1] * (weight.ndim - 1))
                bias = (bias - mean) * factor + norm.bias.detach()
            parameters[f"{node.name}.weight"] = weight.cpu().numpy()
            parameters[f"{node.name}.bias"] = bias.cpu().numpy()
        return FloatNetwork(self.network, parameters)
