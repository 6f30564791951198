"""Read a network from a TFLite file."""

from __future__ import annotations

import os
from pathlib import Path

from convstream.model.base.errors import UserError
from convstream.model.formats.tflite.assembly import Assembly
from convstream.model.formats.tflite.file import File
from convstream.model.formats.tflite.operators import OPERATORS, TAILS
from convstream.model.network.quantised import QuantisedNetwork


def read_tflite(path: str | os.PathLike, name: str | None = None) -> QuantisedNetwork:
    """The network in a TFLite file of int8 (or uint8) codes with one input and one output.

    Its codes are those that LiteRT gives. A tail of SOFTMAX, ARG_MAX or DEQUANTIZE changes no class
    and stays outside. name: of the network; by default the file's.
    Raises `UserError` that names the operator and the reason for anything else.
    """
    path = Path(path)
    try:
        return _read(File.read(path), name or path.stem)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _read(file: File, name: str) -> QuantisedNetwork:
    assembly = Assembly(file)
    for operator in file.operators:
        if operator.kind in TAILS and _is_tail(file, operator.outputs):
            break
        try:
            if operator.kind not in OPERATORS:
                expected = ", ".join(sorted(OPERATORS))
                raise UserError(f"unsupported operator; expected one of {expected}")
            OPERATORS[operator.kind](assembly, operator)
        except UserError as error:
            raise UserError(f"{operator}: {error}") from None
    return assembly.network(name)


def _is_tail(file: File, outputs: tuple[int, ...]) -> bool:
    """Whether only further tails read these tensors."""
    readers = [operator for operator in file.operators if set(outputs) & set(operator.inputs)]
    return all(r.kind in TAILS and _is_tail(file, r.outputs) for r in readers)
