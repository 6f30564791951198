"""Weights, biases and scales: what a file's graph holds, and what it computes from that alone."""

from __future__ import annotations

import math
from typing import NamedTuple

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
from convstream.model.network.codes import Codes


class Scale(NamedTuple):
    """Scales of one or several channels along `axis`.

    values: float32; zeros: int64; both (channels,) or (1,). dtype: of the zero points, None where
    the file does not say.
    """

    values: np.ndarray
    zeros: np.ndarray
    dtype: int | None
    axis: int


class Constants:
    """Integers and scales of a graph."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring

    def weight(self, name: str, ndim: int, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """int8 weights, and float32 scales: one, or one a channel of `axis`.

        Float ones are quantised if a QuantizeLinear comes before.
        """
        node = self._maker(name, "weights")
        with blame(node):
            scale = self.scale(node)
            source = self._wiring.makers.get(node.input[0])
            if source is not None and source.op_type == "QuantizeLinear" and is_standard(source):
                with blame(source):
                    weight = self._quantised_weight(source, scale)
            else:
                weight = self.values(node.input[0], TensorProto.INT8, TensorProto.UINT8)
            return self.signed_weight(weight, scale, ndim, axis)

    def signed_weight(
        self, weight: np.ndarray, scale: Scale, ndim: int, axis: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """int8 weights and their scales, from integers as they stand in the file."""
        dtype = TensorProto.INT8 if weight.dtype == np.int8 else TensorProto.UINT8
        if (scale.dtype or dtype) != dtype:
            raise UserError(
                f"its zero point is {type_name(scale.dtype)}, its input {type_name(dtype)}"
            )
        if weight.ndim != ndim:
            raise UserError(f"weights of shape {weight.shape}, expected {ndim} dimensions")
        zero = 0 if dtype == TensorProto.INT8 else 128
        if (scale.zeros != zero).any():
            odd = scale.zeros[scale.zeros != zero][0]
            raise UserError(
                f"{type_name(dtype)} weights with zero point {odd}, expected {zero}; quantise "
                "weights symmetrically, with weight_type=QuantType.QInt8 and "
                "extra_options={'WeightSymmetric': True}"
            )
        if len(scale.values) > 1 and (
            scale.axis % ndim != axis or len(scale.values) != weight.shape[axis]
        ):
            raise UserError(
                f"{len(scale.values)} scales along axis {scale.axis}, expected one, or "
                f"{weight.shape[axis]} along axis {axis}, the output channels"
            )
        scales = scale.values[:1] if (scale.values == scale.values[0]).all() else scale.values
        return (weight.astype(np.int16) - zero).astype(np.int8), scales

    def _quantised_weight(self, node: NodeProto, expected: Scale) -> np.ndarray:
        scale = self.scale(node)
        if scale.dtype != TensorProto.INT8 or not np.array_equal(scale.values, expected.values):
            raise UserError(
                f"makes {type_name(scale.dtype)} of scale {scale.values[0]:.9g}, expected int8 of "
                f"{expected.values[0]:.9g}, as DequantizeLinear takes them"
            )
        values = self.values(node.input[0], TensorProto.FLOAT)
        if not np.isfinite(values).all():
            raise UserError("its weights are not finite")
        shape = [1] * values.ndim
        if len(scale.values) > 1:
            shape[scale.axis % values.ndim] = len(scale.values)
        rounded = np.rint(values / scale.values.reshape(shape))
        return np.clip(rounded, -128, 127).astype(np.int8)

    def bias(self, name: str, count: int, scale: np.ndarray) -> np.ndarray:
        """int32 (count,) biases of the float32 scales (count,) or (1,) of the sums.

        Float ones are rounded to that.
        """
        if name in self._wiring.constants:
            values = self.values(name, TensorProto.FLOAT).astype(np.float64)
            if values.shape not in ((count,), (1, count)):
                raise UserError(f"biases of shape {values.shape}, expected {(count,)}")
            values = np.rint(values.reshape(count) / scale)
        else:
            node = self._maker(name, "biases")
            with blame(node):
                own = self.scale(node)
                values = self.values(node.input[0], TensorProto.INT32, TensorProto.INT8)
                if own.zeros.any():
                    raise UserError(f"zero point {own.zeros[own.zeros != 0][0]}, expected 0")
                if values.shape not in ((count,), (1, count)):
                    raise UserError(f"biases of shape {values.shape}, expected {(count,)}")
                values = self._rescaled(values.reshape(count), own.values, scale)
        if not (np.abs(values) < 2**31).all():
            raise UserError(
                "its biases are not finite, or beyond int32 at the product of the scales of its "
                "input and its weights"
            )
        return values.astype(np.int32)

    @staticmethod
    def _rescaled(values: np.ndarray, own: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """int32 biases of scales `own` as float64 multiples of `scale`, but for float rounding."""
        with np.errstate(over="ignore"):
            ratio = own.astype(np.float64) / scale
        if (np.abs(ratio - 1) < 1e-5).all():
            return values.astype(np.float64)
        rescaled = values * ratio
        if not (np.abs(rescaled) < 2**31).all() or (rescaled != np.rint(rescaled)).any():
            raise UserError(
                f"its biases have the scale {own[0]:.9g}, expected {scale[0]:.9g}, the product of "
                "the scales of its input and its weights"
            )
        return rescaled

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

    def scale(self, node: NodeProto) -> Scale:
        """Of a QuantizeLinear or DequantizeLinear."""
        _, scale, zero = inputs(node, 2, 3)
        given = attributes(node, axis=1, saturate=1, block_size=0, output_dtype=0, precision=0)
        if given["block_size"]:
            raise UserError(f"block_size {given['block_size']}, expected 0")
        dtype = given["output_dtype"] if node.op_type == "QuantizeLinear" else 0
        return self.scale_of(scale, zero, dtype, given["axis"])

    def scale_of(self, scale: str, zero: str, dtype: int = 0, axis: int = 0) -> Scale:
        """From the names of a scale and of its zero point, "" if there is none."""
        scales = self.values(scale, TensorProto.FLOAT).reshape(-1)
        for value in scales[~(np.isfinite(scales) & (scales > 0))]:
            raise UserError(f"scale {value:.9g}, expected a positive number")
        for value in scales[np.abs(np.log2(scales)) > MAX_EXPONENT]:
            raise UserError(f"scale {value:.9g} is beyond 2**+-{MAX_EXPONENT}")
        zeros = np.zeros(len(scales), np.int64)
        if zero:
            found = self.values(zero, TensorProto.INT8, TensorProto.UINT8, TensorProto.INT32)
            if found.size != len(scales):
                raise UserError(f"{found.size} zero points, expected {len(scales)}, as its scales")
            zeros = found.reshape(-1).astype(np.int64)
            dtype = self._wiring.constants[zero].data_type
        return Scale(scales, zeros, dtype or None, axis)

    def codes(self, scale: Scale, signed: bool = False) -> Codes:
        """Those of an activation. signed: whether they are int8 where `scale` does not say."""
        if (scale.values != scale.values[0]).any() or (scale.zeros != scale.zeros[0]).any():
            raise UserError("its scales or zero points differ by channel, expected a single one")
        dtype = scale.dtype or (TensorProto.INT8 if signed else TensorProto.UINT8)
        if dtype not in (TensorProto.UINT8, TensorProto.INT8):
            raise UserError(f"makes {type_name(dtype)}, expected uint8 or int8")
        signed = dtype == TensorProto.INT8
        zero = int(scale.zeros[0]) + (128 if signed else 0)
        return Codes(float(scale.values[0]), zero, signed=signed)

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
