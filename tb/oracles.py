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
    return np.ldexp(logits.astype(np.float64), quantised.logits.sum_exponent)


def fits_float32(quantised: QuantisedNetwork) -> bool:
    """Whether every sum of every layer is exact in the float32 of ONNX Runtime."""
    return quantised.largest_bound < EXACT_IN_FLOAT32


def run_torch(quantised: QuantisedNetwork, images: np.ndarray) -> dict[str, np.ndarray]:
    """Output of every node by PyTorch in float64, int64 N x C x H x W: exact for any network."""
    values = {IMAGE: torch.from_numpy(images).double()}
    for node in quantised.network.nodes:
        inputs = [values[name] for name in node.inputs]
        own = quantised.parameters.get(node.name)
        weights = []
        if own is not None and own.weight is not None:
            weights = [torch.from_numpy(array).double() for array in (own.weight, own.bias)]
        y = node.layer.torch_forward(inputs, weights)
        if own is not None:
            # An average is a sum at its own scale.
            y = y * 2.0**node.layer.sum_exponent
            if own.shift is not None:
                y = torch.round(y * 2.0**-own.shift).clamp(0, 255)
        values[node.name] = y
    return {name: y.long().numpy() for name, y in values.items() if name != IMAGE}
