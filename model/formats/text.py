"""Weights as plain text: C initialisers and hex tables."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from convstream.model.network.floats import FloatNetwork
from convstream.model.network.quantised import QuantisedNetwork


def c_files(quantised: QuantisedNetwork, float_path: Path) -> dict[str, str]:
    """Content by file name: the float weights and biases as C initialiser rows, in one file.

    Without `float_path` (`float.npz`) they are what the int8 weights stand for, and that is said.
    Raises `UserError` where it holds other weights than the network's.
    """
    if float_path.is_file():
        floats = FloatNetwork.load(quantised.network, float_path)
    else:
        print(
            f"note: no {float_path.name} beside network.onnx: writing what the int8 weights stand "
            "for",
            file=sys.stderr,
        )
        floats, _ = FloatNetwork.from_integers(quantised, np.float32)
    tensors = floats.parameters.items()
    return {"weights.txt": "".join(c_rows(name, values) for name, values in tensors)}


def c_rows(name: str, values: np.ndarray) -> str:
    """A float32 tensor as C initialisers: a line with name and shape, then a row a filter."""
    rows = values.reshape(len(values), -1) if values.ndim > 1 else values.reshape(1, -1)
    lines = [f"{name}, shape: ({', '.join(map(str, values.shape))}{',' * (values.ndim == 1)})"]
    lines += ["{" + ", ".join(map(str, row)) + "}," for row in rows.astype(np.float32)]
    return "\n".join(lines) + "\n"


def hex_files(quantised: QuantisedNetwork) -> dict[str, str]:
    """Content by file name: the int8 network as two's-complement hex tables, for `$readmemh`.

    The order is ONNX's. `<layer>_weight_<n>.mem` is filter n, from 1, of weights with windows: a
    line a kernel row, input channels one after the other. `<layer>_weight.mem`, of weights without:
    a line an output. `<layer>_bias.mem`: a line a channel.
    """
    files = {}
    for name, own in quantised.parameters.items():
        if own.weight is None or own.bias is None:
            continue
        if own.weight.ndim == 4:
            for number, kernel in enumerate(own.weight, 1):
                rows = kernel.reshape(-1, kernel.shape[-1])
                files[f"{name}_weight_{number}.mem"] = _hex_rows(rows)
        else:
            files[f"{name}_weight.mem"] = _hex_rows(own.weight)
        files[f"{name}_bias.mem"] = _hex_rows(own.bias.reshape(-1, 1))
    return files


def _hex_rows(rows: np.ndarray) -> str:
    digits = 2 * rows.dtype.itemsize
    mask = (1 << 4 * digits) - 1
    return "".join(
        " ".join(f"{value & mask:0{digits}x}" for value in row) + "\n" for row in rows.tolist()
    )
