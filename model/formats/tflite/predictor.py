"""A network's own file in LiteRT, fed with codes, and its outputs as integers."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from convstream.model.base.errors import UserError
from convstream.model.formats.tflite.file import File
from convstream.model.formats.tflite.operators import TAILS
from convstream.model.network.quantised import QuantisedNetwork


def predictor(
    path: Path, quantised: QuantisedNetwork, threads: int = 0
) -> Callable[[np.ndarray], np.ndarray]:
    """What LiteRT gives for uint8 images N x C x H x W: float64 N x outputs, uint8 codes.

    The file runs as it is, with the default kernels; what stands behind the network's end, such as
    a softmax, does not count. threads: 0 for as many as there are processors.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        raise UserError(
            "LiteRT, which runs .tflite files, is not installed; pip install ai-edge-litert"
        ) from None
    file = File.read(path)
    (entry,) = file.inputs
    end = next(o.outputs[0] for o in reversed(file.operators) if o.kind not in TAILS)
    with warnings.catch_warnings():
        # It warns of the memory that keeping the last layer's codes takes.
        warnings.simplefilter("ignore", UserWarning)
        interpreter = Interpreter(
            str(path),
            num_threads=threads or os.cpu_count(),
            experimental_preserve_all_tensors=True,
        )
    interpreter.allocate_tensors()
    shape = file.tensors[entry].shape
    signed = file.tensors[entry].type_name == "int8"

    def predict(images: np.ndarray) -> np.ndarray:
        codes, _ = quantised.file_inputs(images)
        x = codes.transpose(0, 2, 3, 1).reshape(len(images), *shape[1:])
        x = (x ^ 128).view(np.int8) if signed else x
        found = []
        for one in x:
            interpreter.set_tensor(entry, one[None])
            interpreter.invoke()
            found.append(_codes(interpreter.get_tensor(end)[0]))
        return np.stack(found).reshape(len(images), -1).astype(np.float64)

    return predict


def _codes(values: np.ndarray) -> np.ndarray:
    """uint8 codes, channels first."""
    codes = (values.view(np.uint8) ^ 128) if values.dtype == np.int8 else values
    return np.moveaxis(codes, -1, 0)
