"""From float weights to int8 with power-of-two scales, and the float twin of the int8 arithmetic.

`TorchNetwork` computes a network in floats or, given `Exponents`, in floats that stand for exactly
the integers of the int8 reference: an integer q of exponent e is the float q * 2**-e. Rounding and
clamping let gradients through (straight-through estimator), so the same forward pass serves
quantisation-aware training. float32 is exact as long as accumulators stay under 2**24; float64
always is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.networks import MaxPool, Network
from model.quantised import Parameters, QuantisedNetwork

PIXEL_EXPONENT = 8


@dataclass(frozen=True)
class Exponents:
    """Per layer (None for max-pool): of the weights, and of the uint8 output (None for the logits).

    `input` is that of the pixels. An exponent e means a scale of 2**-e.
    """

    weight: tuple[int | None, ...]
    output: tuple[int | None, ...]
    input: int = PIXEL_EXPONENT

    def layer_input(self, index: int) -> int:
        """Exponent of what layer `index` takes: max-pool passes that of the layer before it on."""
        known = [e for e in self.output[:index] if e is not None]
        return known[-1] if known else self.input


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

        pixels: (N, C, H, W), integers 0 to 255 held as floats.
        exponents: compute what int8 computes; without them, plain floats.
        observe: is given each hidden layer's output after its ReLU, by layer name.
        """
        x = pixels * 2.0 ** -(exponents.input if exponents else PIXEL_EXPONENT)
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

    pixels: (N, C, H, W) calibration images, integers 0 to 255 held as floats.
    """
    network = model.network
    outputs: dict[str, Tensor] = {}
    with torch.no_grad():
        model(pixels, observe=outputs)
    weight: list[int | None] = []
    output: list[int | None] = []
    exponent = PIXEL_EXPONENT
    for layer, name in zip(network.layers, network.layer_names, strict=True):
        if isinstance(layer, MaxPool):
            weight.append(None)
            output.append(None)
            continue
        weight.append(_best_exponent(getattr(model, name).weight.detach(), -128, 127))
        if name in outputs:
            best = _best_exponent(outputs[name], 0, 255)
            # The requantising shift must not be negative.
            output.append(min(best, exponent + weight[-1]))
            exponent = output[-1]
        else:
            output.append(None)
    return Exponents(tuple(weight), tuple(output))


def _best_exponent(values: Tensor, low: int, high: int) -> int:
    """The exponent whose fake quantisation has the least squared error on `values`."""
    largest = values.abs().max().item()
    if largest == 0:
        return 7
    # Coarse enough to clip nothing, then up to three bits finer: more would clip too much.
    first = math.floor(math.log2((high + 0.5) / largest))
    errors = {
        exponent: (fake_quantise(values, exponent, low, high) - values).square().sum().item()
        for exponent in range(first, first + 4)
    }
    return min(errors, key=errors.__getitem__)


def to_integers(model: TorchNetwork, exponents: Exponents) -> QuantisedNetwork:
    """The int8 network that `model` with `exponents` stands for."""
    parameters: list[Parameters | None] = []
    for index, (layer, name) in enumerate(
        zip(model.network.layers, model.network.layer_names, strict=True)
    ):
        if isinstance(layer, MaxPool):
            parameters.append(None)
            continue
        module = getattr(model, name)
        exponent = exponents.weight[index]
        input_exponent = exponents.layer_input(index)
        parameters.append(
            Parameters(
                weight=_integers(module.weight, exponent, np.int8),
                bias=_integers(module.bias, input_exponent + exponent, np.int32),
                input_exponent=input_exponent,
                weight_exponent=exponent,
                output_exponent=exponents.output[index],
            )
        )
    return QuantisedNetwork(model.network, tuple(parameters))


def from_integers(quantised: QuantisedNetwork) -> tuple[TorchNetwork, Exponents]:
    """The float64 twin of an int8 network: with the exponents its logits are exactly the integers
    of the reference times 2**-(input exponent + weight exponent of the last layer)."""
    model = TorchNetwork(quantised.network).double()
    with torch.no_grad():
        for name, parameters in zip(
            quantised.network.layer_names, quantised.parameters, strict=True
        ):
            if parameters is None:
                continue
            module = getattr(model, name)
            exponent = parameters.weight_exponent
            module.weight.copy_(torch.from_numpy(parameters.weight) * 2.0**-exponent)
            exponent += parameters.input_exponent
            module.bias.copy_(torch.from_numpy(parameters.bias).double() * 2.0**-exponent)
    known = [p for p in quantised.parameters if p is not None]
    exponents = Exponents(
        tuple(p and p.weight_exponent for p in quantised.parameters),
        tuple(p and p.output_exponent for p in quantised.parameters),
        known[0].input_exponent,
    )
    return model, exponents


def _integers(values: Tensor, exponent: int, dtype: type) -> np.ndarray:
    limits = np.iinfo(dtype)
    scaled = np.rint(values.detach().cpu().double().numpy() * 2.0**exponent)
    return scaled.clip(limits.min, limits.max).astype(dtype)
