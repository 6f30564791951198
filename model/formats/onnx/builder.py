"""An ONNX graph in the making."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from convstream.model.base.errors import UserError
from convstream.model.formats.onnx.limits import MAX_EXPONENT
from convstream.model.network.codes import Codes, exponent_of

PRODUCER = "convstream"


class Builder:
    """Nodes and constants so far; each method returns the name of the tensor that it makes."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}

    def constant(self, name: str, values: np.ndarray) -> str:
        """An initialiser; of two with one name, the values are the same."""
        self.constants.setdefault(name, numpy_helper.from_array(values, name))
        return name

    def node(self, op_type: str, name: str, *inputs: str, **attributes: Any) -> str:
        """An operator with one output."""
        self.nodes.append(helper.make_node(op_type, inputs, [f"{name}:0"], name, **attributes))
        return f"{name}:0"

    def quantise(self, name: str, tensor: str, codes: Codes) -> str:
        """Real values as codes."""
        return self._scaled("QuantizeLinear", name, tensor, *self.codes(codes))

    def dequantise(self, name: str, tensor: str, codes: Codes) -> str:
        """Codes as real values."""
        return self._scaled("DequantizeLinear", name, tensor, *self.codes(codes))

    def dequantise_integers(
        self, name: str, tensor: str, scale: np.ndarray, dtype: type[np.signedinteger]
    ) -> str:
        """Integers of type `dtype` and of the float32 scales of their channels as real values."""
        if len(scale) == 1:
            return self._scaled("DequantizeLinear", name, tensor, float(scale[0]), dtype(0))
        scales = self.constant(f"{name}_scale", scale)
        zeros = self.constant(f"{name}_zero", np.zeros(len(scale), dtype))
        return self.node("DequantizeLinear", name, tensor, scales, zeros, axis=0)

    @staticmethod
    def codes(codes: Codes) -> tuple[float, np.integer]:
        """Scale and zero point, of the type that the file has."""
        if codes.signed:
            return codes.scale, np.int8(codes.zero_point - 128)
        return codes.scale, np.uint8(codes.zero_point)

    def _scaled(self, op_type: str, name: str, tensor: str, scale: float, zero: np.integer) -> str:
        exponent = exponent_of(scale)
        if not 2.0**-MAX_EXPONENT <= scale <= 2.0**MAX_EXPONENT:
            raise UserError(f"{name}: scale {scale:.9g} is too extreme; rescale the network")
        text = f"{scale:.9g}" if exponent is None else f"2^{-exponent}"
        point = f"zero_{zero.dtype.name}" if zero == 0 else f"zero_{zero.dtype.name}_{zero}"
        return self.node(
            op_type,
            name,
            tensor,
            self.constant(f"scale_{text}", np.array(scale, np.float32)),
            self.constant(point, np.array(zero)),
        )
