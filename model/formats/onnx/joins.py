"""Operators of several tensors, or of a tensor and a table: Add, Concat, Gather."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from onnx import NodeProto, TensorProto

from convstream.model.base.errors import UserError
from convstream.model.formats.onnx.assembly import Assembly
from convstream.model.formats.onnx.checks import attributes, inputs, text, type_name
from convstream.model.formats.onnx.tensors import State, Tensor
from convstream.model.network.codes import Codes
from convstream.model.network.layers import Add
from convstream.model.network.layers.add import AS_UINT8


def read_add(assembly: Assembly, node: NodeProto) -> Tensor:
    """Two tensors, or a MatMul and its bias."""
    inputs(node, 2, 2)
    attributes(node)
    x, other = (assembly.tensors.get(name) for name in node.input)
    if x is not None and other is not None:
        codes = assembly.codes.get(x.origin)
        signed = codes is not None and codes.signed
        rule = Add(AS_UINT8) if signed and _made_uint8(assembly, node) else Add()
        return added(assembly, x, other, rule)
    if next(t for t in (x, other) if t is not None).state is State.INDICES:
        moved = x if x is not None else other
        assert moved is not None
        return replace(moved, function=(*moved.function, node))
    data, constant = node.input if other is None else reversed(node.input)
    maker = assembly.wiring.makers.get(data)
    x = assembly.tensors[data]
    if x.state is not State.SUMS:
        raise UserError(
            "expected to add two tensors, or the bias right after a MatMul; quantise its input"
        )
    if maker is None or maker.op_type != "MatMul" or len(assembly.wiring.readers[data]) > 1:
        raise UserError(
            "expected only to add the bias right after a MatMul; quantise its input, or give the "
            "bias to the layer itself"
        )
    (source,) = assembly.layers[x.place][1]
    assembly.set_bias(x.place, assembly.origin(source), constant)
    return x


def _made_uint8(assembly: Assembly, add: NodeProto) -> bool:
    """Whether ONNX Runtime makes the int8 codes of an Add uint8.

    On x86 it does so where the output of a QuantizeLinear goes to a single DequantizeLinear only,
    and that one's to a single node.
    """
    wiring = assembly.wiring

    def readers(node: NodeProto) -> int:
        """How many take its output, the graph's own among them."""
        name = node.output[0]
        return len(wiring.readers[name]) + (name == wiring.output)

    # A QuantizeLinear and a DequantizeLinear for each of the three tensors.
    pairs: list[tuple[NodeProto | None, NodeProto | None]] = []
    for name in set(add.input):
        reader = wiring.makers.get(name)
        pairs.append((None if reader is None else wiring.makers.get(reader.input[0]), reader))
    for maker in wiring.readers[add.output[0]]:
        pairs += [(maker, reader) for reader in wiring.readers[maker.output[0]]]
    return len(pairs) == 3 and all(
        maker is not None
        and reader is not None
        and (maker.op_type, reader.op_type) == ("QuantizeLinear", "DequantizeLinear")
        and readers(maker) == readers(reader) == 1
        for maker, reader in pairs
    )


def added(assembly: Assembly, a: Tensor, b: Tensor, layer: Add) -> Tensor:
    """The sums of two dequantised tensors, still without codes."""
    a, b = assembly.settled(a), assembly.settled(b)
    if a.dims != b.dims or a.order != b.order:
        raise UserError(
            f"adds N x {_times(a.dims)} and N x {_times(b.dims)}, expected one shape; repeat the "
            "smaller one, or use a convolution"
        )
    place = assembly.append(layer, [a, b])
    return Tensor(place, place, a.shape, State.SUMS, a.dims, a.order)


def read_concat(assembly: Assembly, node: NodeProto) -> Tensor:
    """Channels of several tensors."""
    axis = attributes(node, axis=1)["axis"]
    parts = []
    for name in node.input:
        if name not in assembly.tensors:
            raise UserError(
                f"its input {text(name)} is a constant, expected tensors; give the layer behind it "
                "a bias instead"
            )
        parts.append(assembly.tensors[name])
    check_channels(parts, axis)
    if len(parts) == 1:
        return parts[0]
    states = {part.state for part in parts}
    if states == {State.CODES} and all(part.origin in assembly.codes for part in parts):
        return assembly.concatenated(parts)
    if states != {State.REAL} or any(part.parts for part in parts):
        raise UserError(
            "its inputs are not all quantised; expected QuantizeLinear and DequantizeLinear before "
            "it: quantise every tensor, as onnxruntime.quantization.quantize_static does"
        )
    known = [assembly.codes[part.origin] for part in parts]
    if all(part.only_clamps for part in parts) and all(
        codes.same_values(known[0]) and codes.signed == known[0].signed for codes in known
    ):
        return assembly.concatenated([assembly.settled(part) for part in parts])
    channels = sum(part.shape[0] for part in parts)
    first = parts[0]
    shape = (channels, *first.shape[1:])
    return Tensor(
        first.place, first.origin, shape, State.REAL, first.dims_of(shape), first.order,
        parts=tuple(parts),
    )  # fmt: skip


def check_channels(parts: list[Tensor], axis: int) -> None:
    """Refuse a concatenation of something else than channels."""
    first = parts[0]
    place = axis + len(first.dims) + 1 if axis < 0 else axis
    if any(
        part.channel_axis is None
        or place != part.channel_axis + 1
        or part.shape[1:] != first.shape[1:]
        or part.order != first.order
        or len(part.dims) != len(first.dims)
        for part in parts
    ):
        sizes = ", ".join(f"N x {_times(part.dims)}" for part in parts[:4])
        raise UserError(
            f"axis {axis} of {sizes}; expected channels of images of one size: use torch.cat(x, 1)"
        )


def _times(dims: tuple[int, ...]) -> str:
    return " x ".join(map(str, dims))


# Codes as numbers, and as indices


def read_cast(assembly: Assembly, node: NodeProto) -> Tensor:
    """Codes as floats of scale 1, or as indices of a Gather."""
    inputs(node, 1, 1)
    to = attributes(node, to=0, saturate=1, round_mode="up")["to"]
    x = assembly.data(node)
    if x.state is State.TAIL:
        return x
    if x.state is State.CODES and to == TensorProto.FLOAT:
        known = assembly.codes.get(x.origin)
        signed = x.signed if known is None else known.signed
        return assembly.dequantised(x, Codes(1.0, 128 if signed else 0, signed=signed))
    if x.state is State.CODES and to in (TensorProto.INT32, TensorProto.INT64):
        return replace(x, state=State.INDICES, function=(node,))
    if x.state in (State.REAL, State.SUMS, State.FLOATS) and to == TensorProto.FLOAT:
        return x
    raise UserError(f"{x.state.value} to {type_name(to)}; remove it, or cast outside the network")


def read_gather(assembly: Assembly, node: NodeProto) -> Tensor:
    """A table of codes."""
    table, index = inputs(node, 2, 2)
    attributes(node, axis=0)
    x = assembly.tensors.get(index)
    if x is None or x.state is not State.INDICES or x.origin not in assembly.codes:
        raise UserError("expected a table at codes of a known scale; use a Conv or a Gemm instead")
    values = assembly.constants.values(table, TensorProto.UINT8, TensorProto.INT8)
    codes = Codes(1.0, signed=values.dtype == np.int8)
    return assembly.tabulated(x, [*x.function, node], codes, of_codes=True, scaled=False)
