"""Networks that Brevitas quantises, and its exports of them."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of a package that it can do without
    import brevitas.nn as qnn
    from brevitas import quant
    from brevitas.export import export_onnx_qcdq, export_qonnx

EXPORTS: dict[str, Callable[..., Any]] = {"qcdq": export_onnx_qcdq, "qonnx": export_qonnx}
FLOAT = {
    "weight_quant": quant.Int8WeightPerChannelFloat,
    "signed": quant.Int8ActPerTensorFloat,
    "unsigned": quant.Uint8ActPerTensorFloat,
    "output": quant.Int8ActPerTensorFloat,
}
PER_TENSOR = {**FLOAT, "weight_quant": quant.Int8WeightPerTensorFloat}
FIXED_POINT = {
    "weight_quant": quant.Int8WeightPerTensorFixedPoint,
    "signed": quant.Int8ActPerTensorFixedPoint,
    "unsigned": quant.Uint8ActPerTensorFixedPoint,
}


class Quantised(nn.Module):
    """A stem, a block, a max-pool and a classifier for 1 x 28 x 28.

    weights, activations: bits. residual: the block adds its input, both quantised by one quantiser.
    entry: whether a QuantIdentity quantises the image. weight_quant, signed, unsigned: quantisers;
    output: that of the logits, which are sums without.
    """

    def __init__(
        self,
        *,
        weight_quant: Any,
        signed: Any,
        unsigned: Any,
        weights: int = 8,
        activations: int = 8,
        residual: bool = False,
        entry: bool = True,
        bias: bool = True,
        bias_quant: Any = quant.Int32Bias,
        output: Any = None,
    ) -> None:
        super().__init__()
        codes: dict[str, Any] = {"bit_width": activations, "return_quant_tensor": entry}
        layer: dict[str, Any] = {
            "weight_quant": weight_quant,
            "weight_bit_width": weights,
            "bias": bias,
            "bias_quant": bias_quant if entry and bias else None,
        }
        self.entry = qnn.QuantIdentity(signed, **codes) if entry else nn.Identity()
        self.stem = qnn.QuantConv2d(1, 8, 3, 2, 1, **layer, return_quant_tensor=entry)
        self.relu = qnn.QuantReLU(unsigned, **codes)
        self.block = qnn.QuantConv2d(8, 8, 3, padding=1, **layer, return_quant_tensor=entry)
        self.shared = qnn.QuantIdentity(signed, **codes) if residual else None
        self.add = qnn.QuantEltwiseAdd(None, signed, return_quant_tensor=True)
        self.last_relu = qnn.QuantReLU(unsigned, **codes)
        self.pool = nn.MaxPool2d(2, 2)
        # Behind a Flatten, ONNX Runtime has no integer kernel for a QuantLinear.
        self.classifier = (
            nn.Sequential(qnn.QuantConv2d(8, 10, 7, **layer, output_quant=output), nn.Flatten())
            if output is not None
            else nn.Sequential(nn.Flatten(), qnn.QuantLinear(8 * 7 * 7, 10, **layer))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of floats N x 1 x 28 x 28."""
        x = self.relu(self.stem(self.entry(x)))
        y = self.block(x)
        if self.shared is not None:
            y = self.add(self.shared(x), self.shared(y))
        return self.classifier(self.pool(self.last_relu(y)))


def calibrated(images: torch.Tensor, **settings: Any) -> Quantised:
    """A network of random weights, with ranges as `images`, floats N x 1 x 28 x 28, have them."""
    torch.manual_seed(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = Quantised(**settings).train()
        for batch in images.split(20):
            network(batch)
    return network.eval()


def export(network: nn.Module, style: str, path: Path, example: torch.Tensor) -> None:
    """Write a QCDQ or a QONNX file of it, for as many images at once as are in `example`."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        more = {} if style == "qonnx" else {"dynamo": False}
        EXPORTS[style](network, args=example, export_path=str(path), **more)
