"""ONNX Runtime and PyTorch as oracles, which share no code with this project."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from convstream.model.network.exponents import shifts_of
from convstream.model.network.graph import IMAGE
from convstream.model.network.layers import Add, AvgPool
from convstream.model.network.layers.avgpool import WHOLE_IMAGES
from convstream.model.network.layers.base import EXACT_IN_FLOAT32, Site
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


def exact_in_runtime(quantised: QuantisedNetwork) -> bool:
    """Whether what leaves the network is beyond doubt in ONNX Runtime, if it fuses all layers.

    It rounds sums to float32 before it scales them, which a shift of the exact sum does not. Sums
    that leave the network are added up in floats: they are known as long as the error of that, of
    at most 2**-24 for each of the values summed, stays below a half.
    """
    nodes = quantised.network.nodes
    roundings = {node.name: quantised.rounding(node.name) for node in nodes}
    if any(
        rounding is not None
        and rounding.shift is not None
        and quantised.accumulator_bound(name) >= EXACT_IN_FLOAT32
        for name, rounding in roundings.items()
    ):
        return False
    if not quantised.gives_sums or shifts_of(quantised) is not None:
        return fits_float32(quantised) or not quantised.gives_sums
    last = quantised.network.output
    values = math.prod(last.weight_shape[1:]) if last.weight_shape else last.layer.window.taps
    return (values + 5) * quantised.accumulator_bound(last.name) < EXACT_IN_FLOAT32 / 2


def _codes(y: torch.Tensor, quantised: QuantisedNetwork, name: str) -> torch.Tensor:
    """By the rule of DESIGN: in float32, or a shift of the exact sum; means in float64."""
    site, layer = quantised.site(name), quantised.network[name].layer
    scale, output = site.inputs[0].scale, site.output
    zero = output.zero_point
    if isinstance(layer, AvgPool):
        counts = torch.from_numpy(layer.counts(site.shape))
        sums = torch.round(y * counts)
        if layer.rule == WHOLE_IMAGES:
            factor = torch.tensor(scale, dtype=torch.float32)
            y = torch.round(sums.float() * (factor / (np.float32(output.scale) * counts.float())))
            y = y.double() + zero
        else:
            y = torch.round(sums * scale / (counts * output.scale) + zero)
    elif (shift := quantised.rounding(name).shift) is not None:
        y = torch.round(y * 2.0**-shift) + zero
    else:
        factor = torch.tensor(scale, dtype=torch.float32)
        factor = factor * torch.from_numpy(site.weight_scale) / output.scale
        y = torch.round(y.float() * factor[:, None, None]).double() + zero
    return y.clamp(output.low, output.high)


def _added(inputs: Sequence[torch.Tensor], site: Site) -> torch.Tensor:
    """Codes of a sum as QLinearAdd has them: a * ra + (b * rb + rest), each rounded to float32."""
    output = site.output
    offset = 128 if output.signed else 0
    a, b = (x - offset for x in inputs)
    ra, rb = (
        (torch.tensor(codes.scale, dtype=torch.float32) / output.scale).double()
        for codes in site.inputs
    )
    za, zb, zero = (codes.zero_point - offset for codes in (*site.inputs, output))
    rest = (zero - (za * ra + (zb * rb).float()).float()).float()
    y = (a * ra + (b * rb + rest).float()).float()
    return (torch.round(y).double() + offset).clamp(output.low, output.high)


def run_torch(quantised: QuantisedNetwork, images: np.ndarray) -> dict[str, np.ndarray]:
    """Output of every node by PyTorch in float64, int64 N x C x H x W: exact for any network."""
    values = {IMAGE: torch.from_numpy(images).double()}
    for node in quantised.network.nodes:
        site, layer = quantised.site(node.name), node.layer
        inputs = [values[name] for name in node.inputs]
        if not layer.accumulates:
            added = isinstance(layer, Add)
            values[node.name] = _added(inputs, site) if added else layer.torch_forward(inputs, [])
            continue
        # PyTorch pads with 0, which is what the zero point stands for.
        inputs = [x - codes.zero_point for x, codes in zip(inputs, site.inputs, strict=True)]
        weights = []
        if site.weight is not None:
            weights = [torch.from_numpy(array).double() for array in (site.weight, site.bias)]
        y = layer.torch_forward(inputs, weights)
        if site.output is not None:
            y = _codes(y, quantised, node.name)
        elif site.weight is None:
            # An average is a sum at its own scale.
            y = torch.round(y * site.inputs[0].scale / layer.sum_scale(site)[0])
        values[node.name] = y
    return {name: y.long().numpy() for name, y in values.items() if name != IMAGE}
