"""Weights, biases and scales: what a file's graph holds, and what it computes from that alone."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from onnx import NodeProto, TensorProto, helper

from convstream.model.base.errors import UserError
from convstream.model.formats.onnx.checks import (
    attributes,
    blame,
    inputs,
    is_known,
    is_standard,
    text,
    type_name,
)
from convstream.model.formats.onnx.limits import MAX_EXPONENT
from convstream.model.formats.onnx.wiring import Wiring
from convstream.model.network.codes import Codes

SIMPLE_TYPES = (
    TensorProto.FLOAT, TensorProto.INT8, TensorProto.UINT8, TensorProto.INT32, TensorProto.INT64,
)  # fmt: skip
OF_CONSTANTS = (
    "Cast", "Clip", "DequantizeLinear", "Identity", "QuantizeLinear", "Reshape", "Squeeze",
    "Transpose", "Unsqueeze",
)  # fmt: skip


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
        self.wiring = wiring

    def weight(self, name: str, ndim: int, axis: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """int8 weights, and float32 scales: one, or one a channel of `axis`.

        Float ones are quantised if a QuantizeLinear comes before.
        """
        weight, scale = self._dequantised(name, "weights")
        return self.signed_weight(weight, scale, ndim, axis)

    def _dequantised(self, name: str, what: str) -> tuple[np.ndarray, Scale]:
        """Integers as they stand in the file, of what DequantizeLinear makes of them."""
        node = self.wiring.makers.get(name)
        if node is not None and node.op_type in ("Identity", "Transpose") and is_standard(node):
            with blame(node):
                values, scale = self._dequantised(node.input[0], what)
                axes = list(range(values.ndim))
                order = axes if node.op_type == "Identity" else attributes(node, perm=axes)["perm"]
                if sorted(order) != axes:
                    raise UserError(f"perm {order[:8]}, expected the axes 0 to {len(axes) - 1}")
                if len(scale.values) > 1:
                    scale = scale._replace(axis=order.index(scale.axis % values.ndim))
                return values.transpose(order), scale
        node = self._maker(name, what)
        with blame(node):
            scale = self.scale(node)
            source = self.wiring.makers.get(node.input[0])
            if source is not None and source.op_type == "QuantizeLinear" and is_known(source):
                with blame(source):
                    return self._quantised_weight(source, scale), scale
            return self._integers(node.input[0]), scale

    def _integers(self, name: str) -> np.ndarray:
        """int8 or uint8 of an initialiser, which a Clip may follow."""
        node = self.wiring.makers.get(name)
        if node is not None and node.op_type in ("Identity", "Clip") and is_standard(node):
            with blame(node):
                source, *limits = inputs(node, 1, 3)
                values = self._integers(source)
                low, high = (
                    self.values(limit, TensorProto.INT8, TensorProto.UINT8) if limit else None
                    for limit in limits
                )
                return values if low is high is None else np.clip(values, low, high)
        return self.values(name, TensorProto.INT8, TensorProto.UINT8)

    def signed_weight(
        self, weight: np.ndarray, scale: Scale, ndim: int, axis: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """int8 weights without zero points, and their scales, of integers as the file has them."""
        dtype = TensorProto.INT8 if weight.dtype == np.int8 else TensorProto.UINT8
        if (scale.dtype or dtype) != dtype:
            raise UserError(
                f"its zero point is {type_name(scale.dtype)}, its input {type_name(dtype)}; give "
                "both one type"
            )
        if weight.ndim != ndim:
            raise UserError(
                f"weights of shape {weight.shape}, expected {ndim} dimensions; export them as such"
            )
        if len(scale.values) > 1 and (
            scale.axis % ndim != axis or len(scale.values) != weight.shape[axis]
        ):
            raise UserError(
                f"{len(scale.values)} scales along axis {scale.axis}, expected one, or "
                f"{weight.shape[axis]} along axis {axis}, the output channels; quantise with "
                "per_channel=False, or along that axis"
            )
        shape = [1] * ndim
        shape[axis] = len(scale.zeros)
        signed = weight.astype(np.int64) - scale.zeros.reshape(shape)
        if signed.min(initial=0) < -128 or signed.max(initial=0) > 127:
            raise UserError(
                f"weights less their zero point go from {signed.min()} to {signed.max()}, beyond "
                "int8; quantise them with weight_type=QuantType.QInt8 and "
                "extra_options={'WeightSymmetric': True}, or with reduce_range=True"
            )
        scales = scale.values[:1] if (scale.values == scale.values[0]).all() else scale.values
        return signed.astype(np.int8), scales

    def _quantised_weight(self, node: NodeProto, expected: Scale) -> np.ndarray:
        scale = self.scale(node)
        if scale.dtype != TensorProto.INT8 or not np.array_equal(scale.values, expected.values):
            raise UserError(
                f"makes {type_name(scale.dtype)} of scale {scale.values[0]:.9g}, expected int8 of "
                f"{expected.values[0]:.9g}, as DequantizeLinear takes them; give both one scale"
            )
        values = self.values(node.input[0], TensorProto.FLOAT)
        if not np.isfinite(values).all():
            raise UserError("its weights are not finite; train the network again")
        shape = [1] * values.ndim
        if len(scale.values) > 1:
            shape[scale.axis % values.ndim] = len(scale.values)
        rounded = np.rint(values / scale.values.reshape(shape))
        return np.clip(rounded, -128, 127).astype(np.int8)

    def bias(self, name: str, count: int, scale: np.ndarray) -> np.ndarray:
        """int32 (count,) biases of the float32 scales (count,) or (1,) of the sums.

        Float ones are rounded to that.
        """
        if name in self.wiring.constants:
            values = self.values(name, TensorProto.FLOAT).astype(np.float64)
            values = np.rint(_row(values, count) / scale)
        else:
            node = self._maker(name, "biases")
            with blame(node):
                own = self.scale(node)
                values = self.values(node.input[0], TensorProto.INT32, TensorProto.INT8)
                if own.zeros.any():
                    raise UserError(
                        f"zero point {own.zeros[own.zeros != 0][0]}, expected 0; quantise biases "
                        "symmetrically"
                    )
                values = self._rescaled(_row(values, count), own.values, scale)
        if not (np.abs(values) < 2**31).all():
            raise UserError(
                "its biases are not finite, or beyond int32 at the product of the scales of its "
                "input and its weights; use smaller biases or a coarser scale"
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
                "the scales of its input and its weights; quantise them with that one"
            )
        return rescaled

    def _maker(self, name: str, what: str) -> NodeProto:
        """The DequantizeLinear that makes a constant."""
        node = self.wiring.makers.get(name)
        if node is not None:
            if node.op_type == "DequantizeLinear" and is_known(node) and node.input:
                return node
            found = f"made by {text(node.op_type)} {text(node.name)}"
        elif name in self.wiring.constants:
            found = f"a {type_name(self.wiring.constants[name].data_type)} initialiser"
        else:
            found = "the graph's input" if name == self.wiring.input else "not in the file"
        raise UserError(
            f"{what} {text(name)}: {found}, expected an integer initialiser through "
            "DequantizeLinear; quantise the network with onnxruntime.quantization.quantize_static"
        )

    def scale(self, node: NodeProto) -> Scale:
        """Of a QuantizeLinear or DequantizeLinear."""
        _, scale, zero = inputs(node, 2, 3)
        given = attributes(node, axis=1, saturate=1, block_size=0, output_dtype=0, precision=0)
        if given["block_size"]:
            raise UserError(
                f"block_size {given['block_size']}, expected 0; quantise weights per channel"
            )
        dtype = given["output_dtype"] if node.op_type == "QuantizeLinear" else 0
        return self.scale_of(scale, zero, dtype, given["axis"])

    def scale_of(self, scale: str, zero: str, dtype: int = 0, axis: int = 0) -> Scale:
        """From the names of a scale and of its zero point, "" if there is none."""
        scales = self.values(scale, TensorProto.FLOAT).reshape(-1)
        for value in scales[~(np.isfinite(scales) & (scales > 0))]:
            raise UserError(f"scale {value:.9g}, expected a positive number; calibrate it again")
        for value in scales[np.abs(np.log2(scales)) > MAX_EXPONENT]:
            raise UserError(f"scale {value:.9g} is beyond 2**+-{MAX_EXPONENT}; rescale the network")
        zeros = np.zeros(len(scales), np.int64)
        if zero:
            found = self.values(zero, TensorProto.INT8, TensorProto.UINT8, TensorProto.INT32)
            if found.size != len(scales):
                raise UserError(
                    f"{found.size} zero points, expected {len(scales)}, as its scales; export again"
                )
            zeros = found.reshape(-1).astype(np.int64)
            dtype = self.wiring.constants[zero].data_type
        return Scale(scales, zeros, dtype or None, axis)

    def codes(self, scale: Scale, signed: bool = False) -> Codes:
        """Those of an activation. signed: whether they are int8 where `scale` does not say."""
        if (scale.values != scale.values[0]).any() or (scale.zeros != scale.zeros[0]).any():
            raise UserError(
                "its scales or zero points differ by channel, expected a single one; quantise "
                "activations per tensor"
            )
        dtype = scale.dtype or (TensorProto.INT8 if signed else TensorProto.UINT8)
        if dtype not in (TensorProto.UINT8, TensorProto.INT8):
            raise UserError(
                f"its codes are {type_name(dtype)}, expected uint8 or int8; quantise with "
                "activation_type=QuantType.QUInt8"
            )
        signed = dtype == TensorProto.INT8
        zero = int(scale.zeros[0]) + (128 if signed else 0)
        return Codes(float(scale.values[0]), zero, signed=signed)

    def number(self, name: str) -> float:
        """A float, which may be dequantised."""
        node = self.wiring.makers.get(name)
        if node is None or node.op_type not in ("DequantizeLinear", "Identity"):
            values = self.values(name, TensorProto.FLOAT)
        elif node.op_type == "Identity":
            return self.number(node.input[0])
        else:
            with blame(node):
                scale = self.scale(node)
                codes = self.values(node.input[0], TensorProto.INT8, TensorProto.UINT8)
                values = (codes.astype(np.float32) - scale.zeros) * scale.values
        if values.size != 1:
            raise UserError(
                f"{text(name)} has shape {values.shape}, expected one number; clip by it"
            )
        return float(values.reshape(()))

    # Constants of pieces of the graph

    def widest(self, node: NodeProto) -> int:
        """The most values of a constant that the node takes."""
        sizes = [1]
        for name in filter(None, node.input):
            if name in self.wiring.constants:
                sizes.append(math.prod(self.wiring.constants[name].dims))
            elif name in self.wiring.makers and name not in self.wiring.dependent:
                sizes.append(self.widest(self.wiring.makers[name]))
        return max(sizes)

    def closure(
        self, nodes: Iterable[NodeProto], given: set[str]
    ) -> tuple[list[NodeProto], list[TensorProto]]:
        """The nodes and initialisers that `nodes` take besides `given` and each other's outputs."""
        found: dict[str, TensorProto] = {}
        before: list[NodeProto] = []
        known = set(given)

        def need(node: NodeProto) -> None:
            for name in node.input:
                maker = self.wiring.makers.get(name)
                if name in known or not name:
                    continue
                if name in self.wiring.constants:
                    self.values(name, *SIMPLE_TYPES)  # refuses damaged ones
                    found[name] = self.wiring.constants[name]
                elif maker is not None and name not in self.wiring.dependent:
                    if maker.op_type not in OF_CONSTANTS or not is_known(maker):
                        raise UserError(
                            f"its constant {text(name)} is made by {text(maker.op_type)}; export "
                            "the network with constants folded"
                        )
                    need(maker)
                    before.append(maker)
                known.add(name)

        for node in nodes:
            known.update(name for name in node.input if name.startswith("convstream_"))
            need(node)
            known.update(node.output)
        return before, list(found.values())

    def values(self, name: str, *types: int) -> np.ndarray:
        """Values of an initialiser of one of `types`; its size is checked before it is made."""
        tensor = self.wiring.constants.get(name)
        if tensor is None:
            computed = name in self.wiring.makers or name == self.wiring.input
            found = "computed" if computed else "not in the file"
            raise UserError(
                f"{text(name) or 'an input'} is {found}, expected an initialiser; export the "
                "network with constants folded"
            )
        if tensor.data_type not in types:
            expected = " or ".join(type_name(t) for t in types)
            raise UserError(
                f"initialiser {text(name)} is {type_name(tensor.data_type)}, expected {expected}; "
                "quantise the network to that"
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


def _row(values: np.ndarray, count: int) -> np.ndarray:
    """Biases as (count,)."""
    if values.shape not in ((count,), (1, count)):
        raise UserError(f"biases of shape {values.shape}, expected {(count,)}; reshape them")
    return values.reshape(count)
