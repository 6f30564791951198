"""The table of layers: how ONNX writes each of them, and what is read as it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from onnx import NodeProto, TensorProto

from convstream.model.base.errors import UserError
from convstream.model.formats.onnx import joins
from convstream.model.formats.onnx.assembly import Assembly
from convstream.model.formats.onnx.builder import Builder
from convstream.model.formats.onnx.checks import attributes, expect, inputs, text
from convstream.model.formats.onnx.tensors import CHANNELS_FIRST, Tensor
from convstream.model.formats.onnx.windows import window
from convstream.model.network.graph import Node
from convstream.model.network.layers import (
    Add,
    AvgPool,
    Concat,
    Conv,
    Layer,
    Linear,
    MaxPool,
    Table,
    Upsample,
)
from convstream.model.network.layers.avgpool import WHOLE_IMAGES
from convstream.model.network.layers.base import Site
from convstream.model.network.layers.windows import Window

Read = Callable[[Assembly, NodeProto], Tensor]
"""Adds what a node of a file stands for to the network; returns what the node makes."""

Write = Callable[[Builder, Node, list[str], Site], str]
"""Appends a layer's operator to a file; returns the name of its output.

It is given the names of the layer's inputs, and of its weights and biases if any: as real values,
or as codes where `of_codes`.
"""


@dataclass(frozen=True)
class Form:
    """A layer in ONNX. read: by operator. flat: its input and output are N x features.

    of_codes: it is written as an operator on codes, not on real values.
    """

    write: Write
    read: Mapping[str, Read]
    flat: bool = False
    of_codes: bool = False


def image(assembly: Assembly, node: NodeProto) -> Tensor:
    """The first input, which must be N x C x H x W, or N x C x W."""
    x = assembly.data(node)
    if x.flat:
        raise UserError(
            "its input is flat, expected N x C x H x W; remove the Flatten or Reshape before it"
        )
    if x.order != CHANNELS_FIRST:
        raise UserError(
            "its input is N x H x W x C, expected N x C x H x W; put a Transpose before it, or "
            "export with channels first"
        )
    return x


def _window_attributes(window: Window) -> dict[str, Any]:
    """A window as every operator writes it."""
    return {
        "kernel_shape": list(window.kernel),
        "strides": list(window.stride),
        "pads": list(window.padding),
    }


# Conv


def _write_conv(builder: Builder, node: Node, sources: list[str], site: Site) -> str:
    layer = cast(Conv, node.layer)
    attributes = _window_attributes(layer.window)
    if layer.window.dilation != (1, 1):
        attributes["dilations"] = list(layer.window.dilation)
    if layer.groups > 1:
        attributes["group"] = layer.groups
    return builder.node("Conv", node.name, *sources, **attributes)


def _read_conv(assembly: Assembly, node: NodeProto) -> Tensor:
    x = image(assembly, node)
    _, name, bias = inputs(node, 2, 3)
    weight, scale = assembly.constants.weight(name, len(x.dims) + 1)
    return conv(assembly, node, x, weight, scale, bias)


def conv(
    assembly: Assembly,
    node: NodeProto,
    x: Tensor,
    weight: np.ndarray,
    scale: np.ndarray,
    bias: np.ndarray | str,
) -> Tensor:
    """The sums of a convolution with the window of the node."""
    found_window, found = window(node, x, list(weight.shape[2:]), group=1)
    if weight.ndim == 3:
        weight = weight[:, :, None]
    layer = Conv(
        len(weight),
        found_window.kernel,
        found_window.stride,
        found_window.padding,
        found_window.dilation,
        found["group"],
    )
    return assembly.accumulate(layer, x, weight, scale, bias)


# Linear


def _write_linear(builder: Builder, node: Node, sources: list[str], site: Site) -> str:
    return builder.node("Gemm", node.name, *sources, transB=1)


def _read_gemm(assembly: Assembly, node: NodeProto) -> Tensor:
    _, weight, bias = inputs(node, 2, 3)
    found = attributes(node, alpha=1.0, beta=1.0, transA=0, transB=0)
    expect(found, alpha=1, beta=1, transA=0)
    return _linear(assembly, node, weight, bias, transposed=found["transB"] != 0)


def _read_matmul(assembly: Assembly, node: NodeProto) -> Tensor:
    """Without a bias; an Add may bring it."""
    _, weight = inputs(node, 2, 2)
    attributes(node)
    return _linear(assembly, node, weight, "", transposed=False)


def _linear(assembly: Assembly, node: NodeProto, name: str, bias: str, transposed: bool) -> Tensor:
    x = flat_data(assembly, node)
    weight, scale = assembly.constants.weight(name, 2, axis=0 if transposed else 1)
    return linear(assembly, x, weight if transposed else weight.T, scale, bias)


def flat_data(assembly: Assembly, node: NodeProto) -> Tensor:
    """The first input, which must be N x features."""
    x = assembly.data(node)
    if not x.flat:
        raise UserError(
            "its input is N x C x H x W, expected a Flatten before it; a product of two tensors, "
            "as attention has it, is no layer here"
        )
    return x


def linear(
    assembly: Assembly, x: Tensor, weight: np.ndarray, scale: np.ndarray, bias: np.ndarray | str
) -> Tensor:
    """The sums of weights, outputs first, whose columns are in the order of x in the file."""
    if x.order != CHANNELS_FIRST and weight.shape[1] == math.prod(x.shape):
        columns = weight.reshape(len(weight), *x.in_order)
        axes = [x.order.index(axis) + 1 for axis in CHANNELS_FIRST]
        weight = columns.transpose(0, *axes).reshape(weight.shape)
    weight = np.ascontiguousarray(weight)
    return assembly.accumulate(Linear(len(weight)), x, weight, scale, bias, (len(weight),))


# MaxPool


def _write_maxpool(builder: Builder, node: Node, sources: list[str], site: Site) -> str:
    attributes = _window_attributes(cast(MaxPool, node.layer).window)
    return builder.node("MaxPool", node.name, *sources, **attributes)


def _read_maxpool(assembly: Assembly, node: NodeProto) -> Tensor:
    inputs(node, 1, 1)
    x = image(assembly, node)
    made, found = window(node, x, ceil_mode=0, storage_order=0)
    expect(found, storage_order=0)
    if made.dilation != (1, 1):
        raise UserError(f"dilations {made.dilation}, expected 1; pool without dilation")
    return assembly.pass_on(MaxPool(made.kernel, made.stride, made.padding), x)


# AvgPool


def _write_avgpool(builder: Builder, node: Node, sources: list[str], site: Site) -> str:
    layer = cast(AvgPool, node.layer)
    if layer.rule == WHOLE_IMAGES:
        return builder.node("GlobalAveragePool", node.name, *sources)
    attributes = _window_attributes(layer.window)
    if layer.count_include_pad:
        attributes["count_include_pad"] = 1
    return builder.node("AveragePool", node.name, *sources, **attributes)


def _read_avgpool(assembly: Assembly, node: NodeProto) -> Tensor:
    inputs(node, 1, 1)
    return average(assembly, node, image(assembly, node))


def average(assembly: Assembly, node: NodeProto, x: Tensor, **more: Any) -> Tensor:
    """The sums of the windows of an average pool. more: attributes that do not matter."""
    made, found = window(node, x, ceil_mode=0, count_include_pad=0, **more)
    if made.dilation != (1, 1):
        raise UserError(f"dilations {made.dilation}, expected 1; pool without dilation")
    counted = found["count_include_pad"] != 0
    if counted and found["ceil_mode"]:
        plain = window(_without(node, "ceil_mode"), x, ceil_mode=0, count_include_pad=0, **more)[0]
        if plain != made:
            raise UserError(
                "ceil_mode with count_include_pad, of which runtimes differ; export one of them "
                "without"
            )
    return assembly.accumulate(AvgPool(made.kernel, made.stride, made.padding, counted), x)


def _without(node: NodeProto, name: str) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    del copy.attribute[:]
    copy.attribute.extend(attribute for attribute in node.attribute if attribute.name != name)
    return copy


def _read_global_avgpool(assembly: Assembly, node: NodeProto) -> Tensor:
    inputs(node, 1, 1)
    attributes(node)
    return global_average(assembly, image(assembly, node))


def global_average(assembly: Assembly, x: Tensor, keepdims: bool = True) -> Tensor:
    """The sums of whole images."""
    size = x.shape[1:]
    dims = None if keepdims else x.shape[:1]
    return assembly.accumulate(AvgPool(size, size, rule=WHOLE_IMAGES), x, dims=dims)


def _read_mean(assembly: Assembly, node: NodeProto) -> Tensor:
    """A mean over the image; its axes are an attribute up to opset 17, then an input."""
    x = image(assembly, node)
    _, name = inputs(node, 1, 2)
    found = attributes(node, axes=[], keepdims=1, noop_with_empty_axes=0)
    axes = np.array(found["axes"], np.int64)
    if name:
        axes = assembly.constants.values(name, TensorProto.INT64)
    rank = len(x.dims) + 1
    expected = list(range(2, rank))
    if axes.ndim != 1 or sorted(np.where(axes < 0, axes + rank, axes).tolist()) != expected:
        raise UserError(
            f"axes {text(str(axes.tolist()))}, expected {expected}, those of the image; take means "
            "over others outside the network"
        )
    return global_average(assembly, x, bool(found["keepdims"]))


# Upsample


def _write_upsample(builder: Builder, node: Node, sources: list[str], site: Site) -> str:
    layer = cast(Upsample, node.layer)
    scales = np.array([1, 1, layer.rows, layer.columns], np.float32)
    return builder.node(
        "Resize",
        node.name,
        *sources,
        "",
        builder.constant(f"{node.name}_scales", scales),
        coordinate_transformation_mode="asymmetric",
        mode="nearest",
        nearest_mode="floor",
    )


# Each source pixel of these is repeated, where factors are whole numbers.
NEAREST = {
    ("asymmetric", "floor"),
    ("half_pixel", "round_prefer_floor"),
    ("half_pixel", "round_prefer_ceil"),
    ("pytorch_half_pixel", "round_prefer_floor"),
    ("pytorch_half_pixel", "round_prefer_ceil"),
    ("tf_half_pixel_for_nn", "floor"),
}


def _read_resize(assembly: Assembly, node: NodeProto) -> Tensor:
    """X, roi, scales, sizes; in opset 10 and in Upsample X, scales."""
    x = image(assembly, node)
    old = node.op_type == "Upsample" or assembly.wiring.opset < 11
    if old:
        _, scales = inputs(node, 2, 2)
        found = attributes(node, mode="nearest") | {"way": ("asymmetric", "floor")}
        sizes = ""
    else:
        _, _, scales, sizes = inputs(node, 1, 4)
        found = attributes(
            node,
            mode="nearest",
            coordinate_transformation_mode="half_pixel",
            nearest_mode="round_prefer_floor",
            cubic_coeff_a=-0.75,
            exclude_outside=0,
            extrapolation_value=0.0,
            antialias=0,
            axes=[],
            keep_aspect_ratio_policy="stretch",
        )
        expect(found, axes=[], keep_aspect_ratio_policy="stretch", antialias=0)
        found["way"] = (found["coordinate_transformation_mode"], found["nearest_mode"])
    if found["mode"] != "nearest" or found["way"] not in NEAREST:
        raise UserError(
            f"{text(found['mode'])} with {text(' and '.join(found['way']))}; expected nearest: "
            "use torch.nn.Upsample(scale_factor=2, mode='nearest') or so"
        )
    if sizes:
        target = assembly.constants.values(sizes, TensorProto.INT64).reshape(-1)[1:]
        factors = target / np.array(x.dims)
    else:
        factors = assembly.constants.values(scales, TensorProto.FLOAT).reshape(-1)[1:]
    rows_and_columns = factors[1:] if len(x.dims) == 3 else np.array([1.0, *factors[1:]])
    if len(factors) != len(x.dims) or (rows_and_columns % 1).any() or factors[0] != 1:
        raise UserError(
            f"factors {factors.tolist()[:8]}, expected 1 and whole numbers; resize by 2, 3 or so"
        )
    rows, columns = (int(factor) for factor in rows_and_columns)
    return assembly.pass_on(Upsample(rows, columns), x)


# Table, Concat


def _write_table(builder: Builder, node: Node, sources: list[str], site: Site) -> str:
    """Gather from a table, at the codes, or from one behind the other at codes + 256 * channel."""
    assert site.output is not None
    values = cast(Table, node.layer).values
    index = builder.node("Cast", f"{node.name}_index", *sources, to=TensorProto.INT32)
    offsets = 256 * np.arange(len(values), dtype=np.int32) + 128 * site.inputs[0].signed
    if offsets.any():
        offset = builder.constant(f"{node.name}_offset", offsets[:, None, None])
        index = builder.node("Add", f"{node.name}_place", index, offset)
    rows = values.reshape(-1)
    if site.output.signed:
        rows = (rows.astype(np.int16) - 128).astype(np.int8)
    return builder.node("Gather", node.name, builder.constant(f"{node.name}_table", rows), index)


def _write_add(builder: Builder, node: Node, sources: list[str], site: Site) -> str:
    return builder.node("Add", node.name, *sources)


def _write_concat(builder: Builder, node: Node, sources: list[str], site: Site) -> str:
    return builder.node("Concat", node.name, *sources, axis=1)


LAYERS: dict[type[Layer], Form] = {
    Conv: Form(_write_conv, {"Conv": _read_conv}),
    Linear: Form(_write_linear, {"Gemm": _read_gemm, "MatMul": _read_matmul}, flat=True),
    MaxPool: Form(_write_maxpool, {"MaxPool": _read_maxpool}),
    AvgPool: Form(
        _write_avgpool,
        {
            "AveragePool": _read_avgpool,
            "GlobalAveragePool": _read_global_avgpool,
            "ReduceMean": _read_mean,
        },
    ),
    Add: Form(_write_add, {"Add": joins.read_add}),
    Upsample: Form(_write_upsample, {"Resize": _read_resize, "Upsample": _read_resize}),
    Concat: Form(_write_concat, {"Concat": joins.read_concat}),
    Table: Form(_write_table, {"Gather": joins.read_gather}, of_codes=True),
}
