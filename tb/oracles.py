"""ONNX Runtime and PyTorch as oracles, which share no code with this project."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch.nn import functional

from model.networks import Linear, MaxPool
from model.quantised import QuantisedNetwork

EXACT_IN_FLOAT32 = 2**24


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
    last = quantised.parameters[-1]
    return np.ldexp(logits.astype(np.float64), last.input_exponent + last.weight_exponent)


def fits_float32(quantised: QuantisedNetwork) -> bool:
    """Whether every sum of every layer is exact in the float32 of ONNX Runtime."""
    return all(p is None or p.accumulator_bound < EXACT_IN_FLOAT32 for p in quantised.parameters)


def run_torch(quantised: QuantisedNetwork, images: np.ndarray) -> list[np.ndarray]:
    """Outputs of every layer by PyTorch in float64, int64 N x C x H x W: exact for any network."""
    outputs = []
    x = torch.from_numpy(images).double()
    for layer, parameters in zip(quantised.network.layers, quantised.parameters, strict=True):
        if isinstance(layer, MaxPool):
            x = functional.max_pool2d(
                functional.pad(x, [layer.padding] * 4), layer.kernel, layer.stride
            )
        else:
            weight = torch.from_numpy(parameters.weight).double()
            bias = torch.from_numpy(parameters.bias).double()
            if isinstance(layer, Linear):
                x = functional.linear(x.flatten(1), weight, bias)[..., None, None]
            else:
                x = functional.conv2d(x, weight, bias, layer.stride, layer.padding)
            if parameters.shift is not None:
                x = torch.round(x * 2.0**-parameters.shift).clamp(0, 255)
        outputs.append(x.long().numpy())
    return outputs
