"""An ONNX graph in the making."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from convstream.model.base.errors import UserError
from convstream.model.formats.onnx.limits import MAX_EXPONENT

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

    def quantise(self, name: str, tensor: str, exponent: int) -> str:
        """Real values as uint8 of scale 2**-exponent."""
        return self._scaled("QuantizeLinear", name, tensor, exponent, np.uint8)

    def dequantise(self, name: str, tensor: str, exponent: int, dtype: type) -> str:
        """Integers of type `dtype` and scale 2**-exponent as real values."""
        return self._scaled("DequantizeLinear", name, tensor, exponent, dtype)

    def _scaled(self, op_type: str, name: str, tensor: str, exponent: int, dtype: type) -> str:
        if abs(exponent) > MAX_EXPONENT:
            raise UserError(f"{name}: scale 2**{-exponent} is too extreme; rescale the network")
        scale = self.constant(f"scale_2^{-exponent}", np.array(2.0**-exponent, np.float32))
        zero = self.constant(f"zero_{np.dtype(dtype).name}", np.array(0, dtype))
        return self.node(op_type, name, tensor, scale, zero)
