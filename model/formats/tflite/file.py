"""A TFLite file as plain records: tensors, operators and their options."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tflite

from convstream.model.base.errors import UserError

MAX_FILE_BYTES = 32 << 20
IDENTIFIER = b"TFL3"
DTYPES: dict[int, np.dtype[Any]] = {
    tflite.TensorType.INT8: np.dtype("<i1"),
    tflite.TensorType.UINT8: np.dtype("<u1"),
    tflite.TensorType.INT32: np.dtype("<i4"),
    tflite.TensorType.INT64: np.dtype("<i8"),
    tflite.TensorType.FLOAT32: np.dtype("<f4"),
}


def _names(enumeration: type) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}


OPERATORS = _names(tflite.BuiltinOperator)
TYPES = _names(tflite.TensorType)


@dataclass(frozen=True, eq=False)
class Tensor:
    """scale: float32, zero: int64, both (channels,) along `axis`, or (1,); empty if it has none.

    values: of a constant, else None.
    """

    name: str
    type: int
    shape: tuple[int, ...]
    scale: np.ndarray
    zero: np.ndarray
    axis: int
    values: np.ndarray | None

    @property
    def type_name(self) -> str:
        """Such as int8."""
        return TYPES.get(self.type, f"type {self.type}").lower()


@dataclass(frozen=True, eq=False)
class Operator:
    """kind: such as CONV_2D. inputs, outputs: numbers of tensors, -1 for one that is missing.

    options: the operator's own table, None if it has none.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any

    def __str__(self) -> str:
        return f"{self.kind} of tensor {self.outputs[0] if self.outputs else '?'}"


@dataclass(frozen=True, eq=False)
class File:
    """The one subgraph of a file."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @classmethod
    def read(cls, path: Path) -> File:
        """Raises `UserError` for what is no TFLite file, or a damaged one."""
        try:
            if not path.is_file():
                raise UserError("no such file; expected a .tflite file")
            if path.stat().st_size > MAX_FILE_BYTES:
                raise UserError(f"larger than {MAX_FILE_BYTES >> 20} MiB; use a smaller network")
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"cannot be read ({error.strerror})") from None
        if content[4:8] != IDENTIFIER:
            raise UserError("not a TFLite file, or a damaged one")
        try:
            return cls._parse(content)
        except UserError:
            raise
        except (struct.error, IndexError, ValueError, TypeError, KeyError, MemoryError):
            raise UserError("a damaged TFLite file; fetch or convert it again") from None

    @classmethod
    def _parse(cls, content: bytes) -> File:
        model = tflite.Model.GetRootAs(content, 0)
        if model.SubgraphsLength() != 1:
            raise UserError(f"{model.SubgraphsLength()} subgraphs, expected 1; convert it without")
        graph = model.Subgraphs(0)
        # A size in a damaged file may be anything; nothing has more parts than the file has bytes.
        for size in (graph.TensorsLength(), graph.OperatorsLength()):
            if size > len(content):
                raise ValueError
        return cls(
            tuple(_tensor(model, graph.Tensors(at)) for at in range(graph.TensorsLength())),
            tuple(_operator(model, graph.Operators(at)) for at in range(graph.OperatorsLength())),
            tuple(map(int, graph.InputsAsNumpy())) if graph.InputsLength() else (),
            tuple(map(int, graph.OutputsAsNumpy())) if graph.OutputsLength() else (),
        )


def _tensor(model: tflite.Model, tensor: tflite.Tensor) -> Tensor:
    shape = tuple(map(int, tensor.ShapeAsNumpy())) if tensor.ShapeLength() else ()
    found = tensor.Quantization()
    scale, zero, axis = np.zeros(0, np.float32), np.zeros(0, np.int64), 0
    if found is not None and found.ScaleLength():
        scale = np.array(found.ScaleAsNumpy(), np.float32)
        zero = np.zeros(len(scale), np.int64)
        if found.ZeroPointLength():
            zero[...] = found.ZeroPointAsNumpy()
        axis = found.QuantizedDimension()
    buffer = model.Buffers(tensor.Buffer())
    values = None
    if buffer is not None and buffer.DataLength():
        dtype = DTYPES.get(tensor.Type())
        if dtype is None:
            raise UserError(
                f"tensor {_text(tensor.Name())} is {TYPES.get(tensor.Type(), 'unknown').lower()}, "
                "expected int8; convert it with full integer quantisation"
            )
        values = np.frombuffer(buffer.DataAsNumpy().tobytes(), dtype).reshape(shape)
    name = _text(tensor.Name())
    return Tensor(name, tensor.Type(), shape, scale, zero, axis, values)


def _text(name: bytes | None) -> str:
    return ascii((name or b"").decode("utf-8", "replace"))[1:-1][:60]


def _operator(model: tflite.Model, operator: tflite.Operator) -> Operator:
    code = model.OperatorCodes(operator.OpcodeIndex())
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    kind = OPERATORS.get(number, f"operator {number}")
    options = None
    table = operator.BuiltinOptions()
    names = _names(tflite.BuiltinOptions)
    if table is not None:
        options = getattr(tflite, names[operator.BuiltinOptionsType()])()
        options.Init(table.Bytes, table.Pos)
    return Operator(
        kind,
        tuple(map(int, operator.InputsAsNumpy())) if operator.InputsLength() else (),
        tuple(map(int, operator.OutputsAsNumpy())) if operator.OutputsLength() else (),
        options,
    )
