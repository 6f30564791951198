"""From the bytes of an untrusted file to an ONNX model, within limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from convstream.model.base.errors import UserError
from convstream.model.formats.onnx.limits import MAX_FILE_BYTES, MAX_STRUCTURE_BYTES
from convstream.model.formats.onnx.qonnx import in_standard

# Where a file's bulk lies, as numbers of protobuf fields: the packed values of a tensor.
_TENSOR = {4: None, 5: None, 7: None, 9: None}
_BULK = {7: {1: {5: {5: _TENSOR}}, 5: _TENSOR}}  # graph: node: attribute: t, initializer


def parse(path: Path) -> onnx.ModelProto:
    """The model in a file, of an opset with QuantizeLinear; Quant nodes are what they stand for.

    Raises `UserError` for others.
    """
    try:
        if not path.is_file():
            raise UserError("no such file; expected an ONNX file")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise UserError(
                f"{size >> 20} MiB, expected at most {MAX_FILE_BYTES >> 20} MiB; use a smaller "
                "network"
            )
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise UserError(f"cannot be read ({getattr(error, 'strerror', error)})") from None
    if not content:
        raise UserError("the file is empty; expected an ONNX file")
    try:
        _check_structure(memoryview(content), _BULK, MAX_STRUCTURE_BYTES)
        model = onnx.ModelProto.FromString(content)
    except (DecodeError, UnicodeDecodeError):
        raise UserError("not an ONNX file, or a damaged one; export it again") from None
    if not (model.ir_version and model.opset_import and model.HasField("graph")):
        raise UserError(
            "not an ONNX file, or a damaged one: it holds no version or no graph; export it again"
        )
    versions = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    newest = onnx.defs.onnx_opset_version()
    if not 10 <= (version := versions.get("ai.onnx", 0)) <= newest:
        raise UserError(
            f"opset {version}, expected 10 (the first with QuantizeLinear) to {newest}; "
            "export the file again with such an opset"
        )
    return in_standard(model)


def _check_structure(content: memoryview, bulk: dict[int, Any], budget: int) -> int:
    """Count the bytes of a protobuf message besides its `bulk`; what remains of the budget.

    An empty message takes two bytes in the file and a hundred in memory, so a small file of them
    could fill the memory as soon as it is parsed.
    """
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while position < len(content) and shift < 64:
            byte = content[position]
            value |= (byte & 0x7F) << shift
            position, shift = position + 1, shift + 7
            if byte < 0x80:
                return value
        raise DecodeError

    while position < len(content):
        start = position
        field, wire_type = divmod(varint(), 8)
        if wire_type == 0:
            varint()
        elif wire_type == 2:
            size = varint()
            if field in bulk:
                inner = content[position : position + size]
                budget = _check_structure(inner, bulk[field], budget) if bulk[field] else budget
                budget += size
            position += size
        elif wire_type in (1, 5):
            position += 8 if wire_type == 1 else 4
        else:
            raise DecodeError
        if position > len(content):
            raise DecodeError
        budget -= position - start
        if budget < 0:
            raise UserError(
                f"more than {MAX_STRUCTURE_BYTES >> 20} MiB besides the weights; "
                "expected a network of layers"
            )
    return budget
