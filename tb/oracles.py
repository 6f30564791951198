"""ONNX Runtime and PyTorch as oracles, which share no code with this project."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from convstream.model.network.graph import IMAGE
from convstream.model.network.layers.base import EXACT_IN_FLOAT32
from convstream.model.network.quantised import QuantisedNetwork


def run_onnx(
    model: onnx.ModelProto | Path, images: np.ndarray, optimise: bool = False
) -> list[np.ndarray]:
    """Outputs of ONNX Runtime; unoptimised, it computes each node as the standard says."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
    content = model.read_bytes() if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})


def as_integers(logits: np.ndarray, quantised: QuantisedNetwork) -> np.ndarray:
    """Float logits in units of the accumulators' scale."""
    (scale,) = quantised.output_scale
    return logits.astype(np.float64) / scale


def fits_float32(quantised: QuantisedNetwork) -> bool:
    """Whether every sum of every layer is exact in the float32 of ONNX Runtime."""
    return quantised.largest_bound < EXACT_IN_FLOAT32


def _codes(acc: torch.Tensor, quantised: QuantisedNetwork, name: str) -> torch.Tensor:
    """By the rule of DESIGN: in float32, or a shift of the exact sum."""
    site = quantised.site(name)
    shift = quantised.rounding(name).shift
    if shift is not None:
        y = torch.round(acc * 2.0**-shift)
    elif site.weight_scale is None:
        scale = quantised.network[name].layer.sum_scale(site)[0]
        y = torch.round(acc * scale / site.output.scale)
    else:
        factor = torch.tensor(site.inputs[0].scale, dtype=torch.float32)
        factor = factor * torch.from_numpy(site.weight_scale) / site.output.scale
        y = torch.round(acc.float() * factor[:, None, None]).double()
    return (y + site.output.zero_point).clamp(site.output.low, site.output.high)


def run_torch(quantised: QuantisedNetwork, images: np.ndarray) -> dict[str, np.ndarray]:
    """Output of every node by PyTorch in float64, int64 N x C x H x W: exact for any network."""
    values = {IMAGE: torch.from_numpy(images).double()}
    for node in quantised.network.nodes:
        site, layer = quantised.site(node.name), node.layer
        inputs = [values[name] for name in node.inputs]
        if not layer.accumulates:
            values[node.name] = layer.torch_forward(inputs, [])
            continue
        # PyTorch pads with 0, which is what the zero point stands for.
        inputs = [x - codes.zero_point for x, codes in zip(inputs, site.inputs, strict=True)]
        weights = []
        if site.weight is not None:
            weights = [torch.from_numpy(array).double() for array in (site.weight, site.bias)]
        y = layer.torch_forward(inputs, weights)
        if site.weight is None:
            # An average is a sum at its own scale.
            y = torch.round(y * site.inputs[0].scale / layer.sum_scale(site)[0])
        values[node.name] = y if site.output is None else _codes(y, quantised, node.name)
    return {name: y.long().numpy() for name, y in values.items() if name != IMAGE}
