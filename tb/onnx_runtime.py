"""ONNX Runtime as an oracle that shares no code with this project."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime

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
