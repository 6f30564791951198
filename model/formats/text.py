"""Weights as plain text: C initialisers and hex tables."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from model.network.quantised import QuantisedNetwork


def c_files(parameters: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Content by file name: float weights and biases as C initialiser rows, in one file.

    parameters: by name, `conv1.weight`, `conv1.bias`, ...
    """
    return {"weights.txt": "".join(c_rows(name, values) for name, values in parameters.items())}


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
