"""Operators that move no number: Flatten, Reshape, Transpose and those that do nothing."""

from __future__ import annotations

import math
from dataclasses import replace

from onnx import NodeProto, TensorProto

from convstream.model.base.errors import UserError
from convstream.model.formats.onnx.assembly import Assembly
from convstream.model.formats.onnx.checks import attributes, inputs
from convstream.model.formats.onnx.tensors import (
    CHANNELS_FIRST,
    CHANNELS_LAST,
    IMAGE,
    Tensor,
)


def read_flatten(assembly: Assembly, node: NodeProto) -> Tensor:
    """All features in a row."""
    inputs(node, 1, 1)
    x = assembly.data(node)
    axis = attributes(node, axis=1)["axis"]
    if axis not in (1, -len(x.dims)):
        raise UserError(f"axis {axis}, expected 1; flatten everything behind N")
    return replace(x, dims=(math.prod(x.dims),))


def read_reshape(assembly: Assembly, node: NodeProto) -> Tensor:
    """A flatten, or the way back to N x C x H x W."""
    x = assembly.data(node)
    _, target = inputs(node, 2, 2)
    zero_is_zero = attributes(node, allowzero=0)["allowzero"]
    sizes = assembly.constants.values(target, TensorProto.INT64).reshape(-1).tolist()
    asked = sizes[:8]
    features = math.prod(x.dims)
    batch = {-1, assembly.batch} - {0} if zero_is_zero else {-1, assembly.batch, 0}
    if not zero_is_zero:
        sizes[1:] = [
            x.dims[at] if size == 0 and at < len(x.dims) else size
            for at, size in enumerate(sizes[1:])
        ]
    if -1 in sizes[1:] and sizes[:1] != [-1]:
        known = math.prod(size for size in sizes[1:] if size != -1)
        sizes[sizes.index(-1, 1)] = features // known if known > 0 else -1
    if not sizes or sizes[0] not in batch or min(sizes[1:], default=1) < 1:
        raise UserError(
            f"to {asked}, expected a flatten to [0, {features}]; use torch.flatten(x, 1)"
        )
    return reshaped(assembly, x, tuple(sizes[1:]), asked)


def reshaped(assembly: Assembly, x: Tensor, dims: tuple[int, ...], asked: list[int]) -> Tensor:
    """x as `dims`, which must be a way to write its channels, rows and columns, or all in a row."""
    features = math.prod(x.dims)
    if math.prod(dims) == features:
        fresh = x.place == IMAGE and not assembly.layers
        if fresh and len(dims) == 3 and dims != x.in_order:
            x = assembly.image_of(x, (dims[0], dims[1], dims[2]))
        elif fresh and len(dims) == 2:
            x = assembly.image_of(x, (dims[0], 1, dims[1]))
        thin = (x.shape[0], x.shape[2]) if x.shape[1] == 1 else None
        if len(dims) == 1 or dims in (x.in_order, thin):
            return replace(x, dims=dims)
    raise UserError(f"to {asked}, expected a flatten to [0, {features}]; use torch.flatten(x, 1)")


def _without_ones(dims: tuple[int, ...]) -> list[int]:
    return [size for size in dims if size != 1]


def read_squeeze(assembly: Assembly, node: NodeProto) -> Tensor:
    """Sizes of 1 dropped; the axes are an attribute up to opset 12, then an input."""
    x = assembly.data(node)
    axes = _axes(assembly, node, len(x.dims) + 1)
    if axes is None:
        axes = [at + 1 for at, size in enumerate(x.dims) if size == 1]
    if any(not 1 <= axis <= len(x.dims) or x.dims[axis - 1] != 1 for axis in axes):
        raise UserError(f"axes {axes[:8]}, expected some of size 1 behind N; use torch.flatten")
    dims = tuple(size for at, size in enumerate(x.dims) if at + 1 not in axes)
    return reshaped(assembly, x, dims or (1,), list(dims))


def read_unsqueeze(assembly: Assembly, node: NodeProto) -> Tensor:
    """Sizes of 1 added."""
    x = assembly.data(node)
    axes = _axes(assembly, node, None) or []
    rank = len(x.dims) + 1 + len(axes)
    axes = [axis + rank if axis < 0 else axis for axis in axes]
    if any(not 1 <= axis < rank for axis in axes) or len(set(axes)) < len(axes) or rank > 8:
        raise UserError(f"axes {axes[:8]}, expected new ones behind N; use torch.reshape")
    sizes = iter(x.dims)
    dims = tuple(1 if axis in axes else next(sizes) for axis in range(1, rank))
    return reshaped(assembly, x, dims, list(dims))


def _axes(assembly: Assembly, node: NodeProto, rank: int | None) -> list[int] | None:
    _, name = inputs(node, 1, 2)
    found = attributes(node, axes=[])["axes"]
    if name:
        found = assembly.constants.values(name, TensorProto.INT64).reshape(-1).tolist()
    elif not found:
        return None
    return [axis + rank if rank and axis < 0 else axis for axis in found]


def read_transpose(assembly: Assembly, node: NodeProto) -> Tensor:
    """N x C x H x W to N x H x W x C, or back."""
    inputs(node, 1, 1)
    x = assembly.data(node)
    axes = list(range(len(x.dims) + 1))
    perm = attributes(node, perm=axes[::-1])["perm"]
    if perm == axes:
        return x
    if sorted(perm) == axes and perm[0] == 0:
        dims = tuple(x.dims[axis - 1] for axis in perm[1:])
        moved = [x.dims[axis - 1] for axis in perm[1:] if x.dims[axis - 1] != 1]
        if x.place == IMAGE and not assembly.layers and perm == [0, 3, 1, 2]:
            # The image's axes get their names here: it comes as N x H x W x C.
            x = assembly.image_of(x, (dims[0], dims[1], dims[2]))
            return replace(x, dims=dims)
        if len(dims) == 3:
            order = "".join(x.order[axis - 1] for axis in perm[1:])
            still = sum(size != 1 for size in dims) < 2 or moved == _without_ones(x.dims)
            if order in (CHANNELS_FIRST, CHANNELS_LAST):
                return replace(x, dims=dims, order=order)
            if still and dims == x.shape:
                return x
    raise UserError(
        f"perm {perm[:8]}, expected one between N x C x H x W and N x H x W x C; export with "
        "channels first"
    )


def read_nothing(assembly: Assembly, node: NodeProto) -> Tensor:
    """Identity, and Dropout, which does nothing outside training."""
    return assembly.data(node)
