"""What runs and what is refused, from the tables that the code itself goes by."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from convstream.model.formats.onnx import operators as onnx
from convstream.model.formats.onnx import qlinear
from convstream.model.formats.onnx.functions import POINTWISE
from convstream.model.formats.onnx.layers import LAYERS as ONNX_LAYERS
from convstream.model.formats.tflite import operators as tflite
from convstream.model.hardware.layers import STAGES
from convstream.model.network.layers import Layer, Table

Report = dict[str, Any]


def supported() -> Report:
    """`layers`: a row each. `onnx`, `tflite`: the operators that stand between layers."""
    rows = [_row(layer) for layer in STAGES]
    return {
        "layers": rows,
        "onnx": _others((*onnx.OPERATORS, *onnx.OF_MICROSOFT), rows, "onnx"),
        "tflite": _others((*tflite.OPERATORS, *tflite.TAILS), rows, "tflite"),
    }


def _row(layer: type[Layer]) -> Report:
    """onnx, tflite: the operators that are read as it. modules: of rtl/."""
    file = Path(inspect.getfile(layer))
    summary = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    found = {*ONNX_LAYERS[layer].read, *qlinear.LAYERS.get(layer, ())}
    if layer is Table:
        found |= set(POINTWISE)
    return {
        "name": summary.split(".")[0],
        "file": file.name,
        "modules": [module for stage in STAGES[layer] for module in stage.modules],
        "onnx": sorted(found),
        "tflite": sorted(tflite.LAYERS[layer]),
        "trained": layer.trainable,
    }


def _others(names: Iterable[str], rows: list[Report], key: str) -> list[str]:
    """The operators of no layer."""
    return sorted(set(names).difference(*(row[key] for row in rows)))


def refused() -> dict[str, list[str]]:
    """ONNX operators by the way out that their refusal names."""
    ways: dict[str, list[str]] = {}
    for op_type, way in onnx.WAYS_OUT.items():
        ways.setdefault(way, []).append(op_type)
    return ways
