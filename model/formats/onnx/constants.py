"""Weights, biases and scales: what a file's graph holds, and what it computes from that alone."""

from __future__ import annotations

import math

import numpy as np
from onnx import NodeProto, TensorProto, helper

from convstream.model.base.errors import UserError
from convstream.model.formats.onnx.checks import (
    attributes,
    blame,
    inputs,
    is_standard,
    text,
    type_name,
)
from convstream.model.formats.onnx.limits import MAX_EXPONENT
from convstream.model.formats.onnx.wiring import Wiring


class Constants:
    """Integers of a graph with the exponents of their scales: 2**-exponent."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring

    def weight(self, name: str, ndim: int) -> tuple[np.ndarray, int]:
        """int8 weights and their exponent; float ones if a QuantizeLinear comes before."""
        node = self._maker(name, "weights")
        with blame(node):
            exponent, zero = self.scale(node)
            source = self._wiring.makers.get(node.input[0])
            if source is not None and source.op_type == "QuantizeLinear" and is_standard(source):
                with blame(source):
                    weight = self._quantised_weight(source, exponent)
            else:
                weight = self.values(node.input[0], TensorProto.INT8)
            if (zero or TensorProto.INT8) != TensorProto.INT8:
                raise UserError(f"its zero point is {type_name(zero)}, its input int8")
        if weight.ndim != ndim:
            raise UserError(f"weights of shape {weight.shape}, expected {ndim} dimensions")
        return weight, exponent

    def _quantised_weight(self, node: NodeProto, expected: int) -> np.ndarray:
        exponent, zero = self.scale(node)
        if exponent != expected or zero != TensorProto.INT8:
            raise UserError(
                f"makes {type_name(zero)} of scale 2**{-exponent}, expected int8 of 2**{-expected}"
            )
        values = self.values(node.input[0], TensorProto.FLOAT).astype(np.float64)
        if not np.isfinite(values).all():
            raise UserError("its weights are not finite")
        return np.clip(np.rint(np.ldexp(values, exponent)), -128, 127).astype(np.int8)

    def bias(self, name: str, count: int, exponent: int) -> np.ndarray:
        """int32 biases in units of 2**-exponent, from integers of any scale or from floats."""
        if name in self._wiring.constants:
            values = self.values(name, TensorProto.FLOAT).astype(np.float64)
        else:
            node = self._maker(name, "biases")
            with blame(node):
                scale, _ = self.scale(node)
                integers = self.values(node.input[0], TensorProto.INT32, TensorProto.INT8)
                values = np.ldexp(integers.astype(np.float64), -scale)
        if values.shape not in ((count,), (1, count)):
            raise UserError(f"biases of shape {values.shape}, expected {(count,)}")
        with np.errstate(over="ignore"):
            values = np.ldexp(values.reshape(count), exponent)
        if not (np.abs(values) < 2**31).all() or (values != np.rint(values)).any():
            raise UserError(
                f"its biases are no int32 multiples of 2**{-exponent}, the product of the scales "
                "of its input and its weights"
            )
        return values.astype(np.int32)

    def _maker(self, name: str, what: str) -> NodeProto:
        """The DequantizeLinear that makes a constant."""
        node = self._wiring.makers.get(name)
        if node is not None:
            if node.op_type == "DequantizeLinear" and is_standard(node) and node.input:
                return node
            found = f"made by {text(node.op_type)} {text(node.name)}"
        elif name in self._wiring.constants:
            found = f"a {type_name(self._wiring.constants[name].data_type)} initialiser"
        else:
            found = "the graph's input" if name == self._wiring.input else "not in the file"
        raise UserError(
            f"{what} {text(name)}: {found}, expected an integer initialiser through "
            "DequantizeLinear"
        )

    def scale(self, node: NodeProto) -> tuple[int, int | None]:
        """Of a QuantizeLinear or DequantizeLinear: exponent e of its scale 2**-e, and the type of
        its zero point (None if not given).
        """
        _, scale, zero = inputs(node, 2, 3)
        given = attributes(node, axis=1, saturate=1, block_size=0, output_dtype=0, precision=0)
        if given["block_size"]:
            raise UserError(f"block_size {given['block_size']}, expected 0")
        scales = self.values(scale, TensorProto.FLOAT).reshape(-1)
        mantissa, exponent = math.frexp(scales[0])
        if mantissa != 0.5:
            raise UserError(f"scale {scales[0]:.9g} is not a power of two")
        if (scales != scales[0]).any():
            raise UserError(f"per-channel scales {text(scale)} differ, expected a single scale")
        if abs(1 - exponent) > MAX_EXPONENT:
            raise UserError(f"scale 2**{exponent - 1} is beyond 2**+-{MAX_EXPONENT}")
        dtype = given["output_dtype"] if node.op_type == "QuantizeLinear" else 0
        if zero:
            values = self.values(zero, TensorProto.INT8, TensorProto.UINT8, TensorProto.INT32)
            if values.any():
                raise UserError(f"zero point {values[values != 0][0]}, expected 0")
            dtype = self._wiring.constants[zero].data_type
        return 1 - exponent, dtype or None

    def values(self, name: str, *types: int) -> np.ndarray:
        """Values of an initialiser of one of `types`; its size is checked before it is made."""
        tensor = self._wiring.constants.get(name)
        if tensor is None:
            computed = name in self._wiring.makers or name == self._wiring.input
            found = "computed" if computed else "not in the file"
            raise UserError(f"{text(name) or 'an input'} is {found}, expected an initialiser")
        if tensor.data_type not in types:
            expected = " or ".join(type_name(t) for t in types)
            raise UserError(
                f"initialiser {text(name)} is {type_name(tensor.data_type)}, expected {expected}"
            )
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise UserError(
                f"initialiser {text(name)} lies in another file; save the network as a single file"
            )
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
        if tensor.HasField("raw_data"):
            count, odd = divmod(len(tensor.raw_data), dtype.itemsize)
            values = np.frombuffer(tensor.raw_data, dtype.newbyteorder("<"), count)
        else:
            field = getattr(tensor, helper.tensor_dtype_to_field(tensor.data_type))
            wide = np.array(field, np.float32 if dtype == np.float32 else np.int64)
            values = wide.astype(dtype)
            count, odd = len(values), dtype != np.float32 and bool((wide != values).any())
        if odd or min(tensor.dims, default=1) < 1 or count != math.prod(tensor.dims):
            raise UserError(
                f"initialiser {text(name)} does not hold just the {type_name(tensor.data_type)} "
                f"values of its shape {list(tensor.dims)[:8]}; is the file damaged?"
            )
        return values.reshape(tuple(tensor.dims)).astype(dtype)
