"""The table of layers: how ONNX writes each of them, and what is read as it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from onnx import NodeProto, TensorProto

from convstream.model.base.errors import UserError
from convstream.model.formats.onnx.assembly import Assembly, Tensor
from convstream.model.formats.onnx.builder import Builder
from convstream.model.formats.onnx.checks import attributes, expect, inputs, text, window
from convstream.model.network.graph import Node
from convstream.model.network.layers import AvgPool, Conv, Layer, Linear, MaxPool
from convstream.model.network.layers.windows import Window

Read = Callable[[Assembly, NodeProto], Tensor]
"""Adds what a node of a file stands for to the network; returns what the node makes."""

Write = Callable[[Builder, Node, list[str]], str]
"""Appends a layer's operator to a file; returns the name of its output.

It is given the names of the layer's inputs, as real values, and of its weights and biases if any.
"""


@dataclass(frozen=True)
class Form:
    """A layer in ONNX. read: by operator. flat: its input and output are N x features."""

    write: Write
    read: Mapping[str, Read]
    flat: bool = False


def _window_attributes(window: Window) -> dict[str, Any]:
    """A window as every operator writes it."""
    return {
        "kernel_shape": list(window.kernel),
        "strides": list(window.stride),
        "pads": list(window.padding),
    }


def _image(assembly: Assembly, node: NodeProto) -> Tensor:
    """The first input, which must not be flat."""
    x = assembly.data(node)
    if x.flat:
        raise UserError("its input is flat, expected N x C x H x W")
    return x


# Conv


def _write_conv(builder: Builder, node: Node, sources: list[str]) -> str:
    layer = cast(Conv, node.layer)
    attributes = _window_attributes(layer.window)
    if layer.window.dilation != (1, 1):
        attributes["dilations"] = list(layer.window.dilation)
    if layer.groups > 1:
        attributes["group"] = layer.groups
    return builder.node("Conv", node.name, *sources, **attributes)


def _read_conv(assembly: Assembly, node: NodeProto) -> Tensor:
    x = _image(assembly, node)
    _, name, bias = inputs(node, 2, 3)
    weight, scale = assembly.constants.weight(name, 4)
    found = window(node, list(weight.shape[2:]), group=1)
    expect(found, group=1)
    layer = Conv(len(weight), found["kernel"], found["stride"], found["padding"])
    return assembly.accumulate(layer, x, weight, scale, bias)


# Linear


def _write_linear(builder: Builder, node: Node, sources: list[str]) -> str:
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
    x = assembly.data(node)
    if not x.flat:
        raise UserError("its input is N x C x H x W, expected a Flatten before it")
    weight, scale = assembly.constants.weight(name, 2, axis=0 if transposed else 1)
    weight = np.ascontiguousarray(weight if transposed else weight.T)
    return assembly.accumulate(Linear(len(weight)), x, weight, scale, bias, flat=True)


# MaxPool


def _write_maxpool(builder: Builder, node: Node, sources: list[str]) -> str:
    attributes = _window_attributes(cast(MaxPool, node.layer).window)
    return builder.node("MaxPool", node.name, *sources, **attributes)


def _read_maxpool(assembly: Assembly, node: NodeProto) -> Tensor:
    inputs(node, 1, 1)
    x = _image(assembly, node)
    found = window(node, ceil_mode=0, storage_order=0)
    expect(found, ceil_mode=0)
    return assembly.pass_on(MaxPool(found["kernel"], found["stride"], found["padding"]), x)


# AvgPool


def _write_avgpool(builder: Builder, node: Node, sources: list[str]) -> str:
    layer = cast(AvgPool, node.layer)
    attributes = _window_attributes(layer.window)
    if layer.count_include_pad:
        attributes["count_include_pad"] = 1
    return builder.node("AveragePool", node.name, *sources, **attributes)


def _read_avgpool(assembly: Assembly, node: NodeProto) -> Tensor:
    inputs(node, 1, 1)
    x = _image(assembly, node)
    found = window(node, ceil_mode=0, count_include_pad=0)
    expect(found, pads=[0] * 4, ceil_mode=0)
    return _average(assembly, x, (found["kernel"], found["kernel"]), found["stride"])


def _read_global_avgpool(assembly: Assembly, node: NodeProto) -> Tensor:
    inputs(node, 1, 1)
    x = _image(assembly, node)
    attributes(node)
    _, height, width = x.shape
    return _average(assembly, x, (height, width), height)


def _read_mean(assembly: Assembly, node: NodeProto) -> Tensor:
    """A mean over the image; its axes are an attribute up to opset 17, then an input."""
    x = _image(assembly, node)
    _, name = inputs(node, 1, 2)
    found = attributes(node, axes=[], keepdims=1, noop_with_empty_axes=0)
    axes = np.array(found["axes"], np.int64)
    if name:
        axes = assembly.constants.values(name, TensorProto.INT64)
    if axes.shape != (2,) or set(np.where(axes < 0, axes + 4, axes).tolist()) != {2, 3}:
        raise UserError(f"axes {text(str(axes.tolist()))}, expected [2, 3], those of the image")
    _, height, width = x.shape
    return _average(assembly, x, (height, width), height, flat=not found["keepdims"])


def _average(
    assembly: Assembly, x: Tensor, size: tuple[int, int], stride: int, flat: bool = False
) -> Tensor:
    """The means of windows of `size`."""
    height, width = size
    if height != width or height < 1 or height & (height - 1):
        raise UserError(
            f"it averages windows of {height}x{width}, expected squares with a side of 1, 2, 4, 8 "
            "or so, whose mean is a shift"
        )
    return assembly.accumulate(AvgPool(height, stride), x, flat=flat)


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
}
