"""The networks in PyTorch, in floats or as the float twin of the int8 arithmetic.

`TorchNetwork` computes a network in floats or, given `Exponents`, in floats that stand for exactly
the integers of the int8 reference: an integer q of exponent e is the float q * 2**-e. Rounding and
clamping let gradients through (straight-through estimator), so the same forward pass serves
quantisation-aware training. float32 is exact as long as accumulators stay under 2**24; float64
always is.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.network import exponents as numpy_exponents
from model.network.exponents import PIXEL_EXPONENT, Exponents
from model.network.graph import Network
from model.network.layers import MaxPool
from model.network.quantised import QuantisedNetwork


class _Round(torch.autograd.Function):
    """Round half to even, with the gradient of the identity."""

    @staticmethod
    def forward(context, values: Tensor) -> Tensor:
        return values.round()

    @staticmethod
    def backward(context, gradient: Tensor) -> Tensor:
        return gradient


def fake_quantise(values: Tensor, exponent: int, low: int, high: int) -> Tensor:
    """`values` rounded to multiples of 2**-exponent between low and high of them, as floats."""
    return _Round.apply(values * 2.0**exponent).clamp(low, high) * 2.0**-exponent


class TorchNetwork(nn.Module):
    """A `Network` with trainable float weights, its layers named as in `network.layer_names`."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        for layer, name, shape in zip(
            network.layers, network.layer_names, network.shapes, strict=False
        ):
            if layer.kind == "conv":
                size = (shape[0], layer.out_channels, layer.kernel, layer.stride, layer.padding)
                self.add_module(name, nn.Conv2d(*size))
            elif layer.kind == "fc":
                self.add_module(name, nn.Linear(math.prod(shape), layer.out_features))

    def forward(
        self, pixels: Tensor, exponents: Exponents | None = None, observe: dict | None = None
    ) -> Tensor:
        """Logits (N, classes) as real values.

        pixels: (N, C, H, W), integers 0 to 255 of any type.
        exponents: compute what int8 computes; without them, plain floats.
        observe: is given each hidden layer's output after its ReLU, by layer name.
        """
        dtype = next(self.parameters()).dtype
        x = pixels.to(dtype) * 2.0 ** -(exponents.input if exponents else PIXEL_EXPONENT)
        pending = None
        for index, layer in enumerate(self.network.layers):
            if isinstance(layer, MaxPool):
                # Commutes with the ReLU and with rounding, which then have fewer values to do.
                if layer.padding:
                    # PyTorch's own padding stops at half a kernel.
                    x = functional.pad(x, [layer.padding] * 4, value=-torch.inf)
                x = functional.max_pool2d(x, layer.kernel, layer.stride)
                continue
            if pending is not None:
                x = self._activate(x, pending, exponents, observe)
            x = self._affine(x, index, exponents)
            pending = index
        return x.flatten(1)

    def _activate(
        self, x: Tensor, index: int, exponents: Exponents | None, observe: dict | None
    ) -> Tensor:
        if exponents is None:
            x = functional.relu(x)
        else:
            x = fake_quantise(x, exponents.output[index], 0, 255)
        if observe is not None:
            observe[self.network.layer_names[index]] = x
        return x

    def _affine(self, x: Tensor, index: int, exponents: Exponents | None) -> Tensor:
        layer = self.network.layers[index]
        module = getattr(self, self.network.layer_names[index])
        if layer.kind == "fc":
            x = x.flatten(1)
        if exponents is None:
            return module(x)
        weight_exponent = exponents.weight[index]
        weight = fake_quantise(module.weight, weight_exponent, -128, 127)
        bias_exponent = exponents.layer_input(index) + weight_exponent
        bias = fake_quantise(module.bias, bias_exponent, -(2**31), 2**31 - 1)
        if layer.kind == "conv":
            return functional.conv2d(x, weight, bias, layer.stride, layer.padding)
        return functional.linear(x, weight, bias)


def choose_exponents(model: TorchNetwork, pixels: Tensor) -> Exponents:
    """The exponents of least squared rounding error: of the weights, of activations on `pixels`.

    pixels: (N, C, H, W) calibration images, integers 0 to 255.
    """
    outputs: dict[str, Tensor] = {}
    with torch.no_grad():
        model(pixels, observe=outputs)
    outputs = {name: values.cpu().numpy() for name, values in outputs.items()}
    return numpy_exponents.choose_exponents(model.network, _arrays(model), outputs)


def to_integers(model: TorchNetwork, exponents: Exponents) -> QuantisedNetwork:
    """The int8 network that `model` with `exponents` stands for."""
    return numpy_exponents.to_integers(model.network, _arrays(model), exponents)


def from_integers(quantised: QuantisedNetwork) -> tuple[TorchNetwork, Exponents]:
    """The float64 twin of an int8 network: with the exponents its logits are exactly the integers
    of the reference times 2**-exponents.logits."""
    parameters, exponents = numpy_exponents.from_integers(quantised)
    model = TorchNetwork(quantised.network).double()
    model.load_state_dict({name: torch.from_numpy(array) for name, array in parameters.items()})
    return model, exponents


def _arrays(model: TorchNetwork) -> dict[str, np.ndarray]:
    return {name: tensor.cpu().numpy() for name, tensor in model.state_dict().items()}
