"""Write and read `network.onnx`: the one canonical form of a quantised network.

The form is plain QDQ: integers stand in the file, DequantizeLinear gives them their power-of-two
scale, and Conv, Gemm, Relu and MaxPool are ordinary float operators: any ONNX tool opens it.
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, NodeProto, TensorProto, helper, numpy_helper

from model.base.errors import UserError
from model.network.graph import Network
from model.network.layers import Conv, Layer, Linear, MaxPool
from model.network.quantised import Parameters, QuantisedNetwork

OPSET = 13  # the first in which every operator of this form has its present meaning
IR_VERSION = 8
PRODUCER = "convstream"

# Limits on what is read, far beyond any network that could be simulated.
MAX_FILE_BYTES = 32 << 20
MAX_STRUCTURE_BYTES = 2 << 20
MAX_EXPONENT = 120
MAX_FEATURES = 1 << 24


# Writing


def write_onnx(quantised: QuantisedNetwork, path: str | os.PathLike) -> None:
    """Write `quantised` to `path`, the same bytes each time.

    Raises `UserError` for a place that cannot be written to or a scale beyond float32.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    content = _model(quantised).SerializeToString(deterministic=True)
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); choose another place"
        ) from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def _model(quantised: QuantisedNetwork) -> onnx.ModelProto:
    network = quantised.network
    writer = _Writer()
    exponents = [p.input_exponent for p in quantised.parameters if p is not None]
    exponent = exponents[0]
    tensor, flat = "image", False
    for layer, name, in_shape, parameters in zip(
        network.layers, network.layer_names, network.shapes, quantised.parameters, strict=False
    ):
        if layer.kind == "fc" and not flat:
            tensor, flat = writer.node("Flatten", f"{name}_flatten", tensor, axis=1), True
        elif layer.kind != "fc" and flat:
            target = writer.constant(f"{name}_shape", np.array([0, *in_shape], np.int64))
            tensor, flat = writer.node("Reshape", f"{name}_reshape", tensor, target), False
        real = writer.dequantise(f"{name}_input", tensor, exponent, np.uint8)
        if parameters is None:
            real = writer.node("MaxPool", name, real, **_window_attributes(layer))
        else:
            scale = parameters.weight_exponent
            weight = writer.constant(f"{name}.weight", parameters.weight)
            weight = writer.dequantise(f"{name}_weight", weight, scale, np.int8)
            bias = writer.constant(f"{name}.bias", parameters.bias)
            bias = writer.dequantise(f"{name}_bias", bias, exponent + scale, np.int32)
            if layer.kind == "conv":
                real = writer.node("Conv", name, real, weight, bias, **_window_attributes(layer))
            else:
                real = writer.node("Gemm", name, real, weight, bias, transB=1)
            exponent = parameters.output_exponent
            if exponent is None:
                break
            real = writer.node("Relu", f"{name}_relu", real)
        tensor = writer.quantise(f"{name}_output", real, exponent)
    if not flat:
        real = writer.node("Flatten", "logits_flatten", real, axis=1)
    writer.nodes[-1].output[0] = "logits"
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", *network.input_shape])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", network.classes])
    graph = helper.make_graph(
        writer.nodes, network.name, [image], [logits], list(writer.constants.values())
    )
    return helper.make_model(
        graph,
        producer_name=PRODUCER,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )


def _window_attributes(layer: Conv | MaxPool) -> dict[str, list[int]]:
    return {
        "kernel_shape": [layer.kernel] * 2,
        "strides": [layer.stride] * 2,
        "pads": [layer.padding] * 4,
    }


class _Writer:
    """Nodes and constants of a graph in the making; each method returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}

    def constant(self, name: str, values: np.ndarray) -> str:
        self.constants.setdefault(name, numpy_helper.from_array(values, name))
        return name

    def node(self, op_type: str, name: str, *inputs: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op_type, inputs, [f"{name}:0"], name, **attributes))
        return f"{name}:0"

    def quantise(self, name: str, tensor: str, exponent: int) -> str:
        return self._scaled("QuantizeLinear", name, tensor, exponent, np.uint8)

    def dequantise(self, name: str, tensor: str, exponent: int, dtype: type) -> str:
        return self._scaled("DequantizeLinear", name, tensor, exponent, dtype)

    def _scaled(self, op_type: str, name: str, tensor: str, exponent: int, dtype: type) -> str:
        if abs(exponent) > MAX_EXPONENT:
            raise UserError(f"{name}: scale 2**{-exponent} is too extreme; rescale the network")
        scale = self.constant(f"scale_2^{-exponent}", np.array(2.0**-exponent, np.float32))
        zero = self.constant(f"zero_{np.dtype(dtype).name}", np.array(0, dtype))
        return self.node(op_type, name, tensor, scale, zero)


# Reading


def read_onnx(path: str | os.PathLike, name: str | None = None) -> QuantisedNetwork:
    """The network in a QDQ file, also one that was not written here.

    A chain of Conv, Gemm (or MatMul and Add), Relu, MaxPool and Flatten (or Reshape) on one input
    N x C x H x W: uint8, or float that QuantizeLinear makes uint8 at once. All scales are powers
    of two, all zero points zero; weights are int8, what goes from layer to layer is uint8, and the
    last sums go out as they are. Quantising to uint8 is a ReLU in itself, so Relu may be missing;
    Relu and MaxPool may stand before or after it, as maxima and clamps commute with rounding.

    name: of the network; by default the graph's if the file was written here, else the file's.
    Raises `UserError` that names the node and the reason for anything else.
    """
    path = Path(path)
    try:
        model = _parse(path)
        if name is None:
            ours = model.producer_name == PRODUCER and isinstance(model.graph.name, str)
            name = (ours and model.graph.name) or path.stem
        return _Reader(model.graph).read(name)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _parse(path: Path) -> onnx.ModelProto:
    try:
        if not path.is_file():
            raise UserError("no such file; expected an ONNX file")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise UserError(f"{size >> 20} MiB, expected at most {MAX_FILE_BYTES >> 20} MiB")
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise UserError(f"cannot be read ({getattr(error, 'strerror', error)})") from None
    if not content:
        raise UserError("the file is empty; expected an ONNX file")
    try:
        _check_structure(memoryview(content), _BULK, MAX_STRUCTURE_BYTES)
        model = onnx.ModelProto.FromString(content)
    except (DecodeError, UnicodeDecodeError):
        raise UserError("not an ONNX file, or a damaged one") from None
    if not (model.ir_version and model.opset_import and model.HasField("graph")):
        raise UserError("not an ONNX file, or a damaged one: it holds no version or no graph")
    versions = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    newest = onnx.defs.onnx_opset_version()
    if not 10 <= (version := versions.get("ai.onnx", 0)) <= newest:
        raise UserError(
            f"opset {version}, expected 10 (the first with QuantizeLinear) to {newest}; "
            "export the file again with such an opset"
        )
    return model


# Where a file's bulk lies, as numbers of protobuf fields: the packed values of a tensor.
_TENSOR = {4: None, 5: None, 7: None, 9: None}
_BULK = {7: {1: {5: {5: _TENSOR}}, 5: _TENSOR}}  # graph: node: attribute: t, initializer


def _check_structure(content: memoryview, bulk: dict[int, Any], budget: int) -> int:
    """Count the bytes of a protobuf message besides its `bulk`; what remains of the budget.

    Empty messages take two bytes in the file and a hundred in memory, so a small file of them could
    fill the memory as soon as it is parsed.
    """
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while position < len(content) and shift < 64:
            byte = content[position]
            value |= (byte & 0x7F) << shift
            position, shift = position + 1, shift + 7
            if byte < 0x80:
                return value
        raise DecodeError

    while position < len(content):
        start = position
        field, wire_type = divmod(varint(), 8)
        if wire_type == 0:
            varint()
        elif wire_type == 2:
            size = varint()
            if field in bulk:
                inner = content[position : position + size]
                budget = _check_structure(inner, bulk[field], budget) if bulk[field] else budget
                budget += size
            position += size
        elif wire_type in (1, 5):
            position += 8 if wire_type == 1 else 4
        else:
            raise DecodeError
        if position > len(content):
            raise DecodeError
        budget -= position - start
        if budget < 0:
            raise UserError(
                f"more than {MAX_STRUCTURE_BYTES >> 20} MiB besides the weights; "
                "expected a chain of layers"
            )
    return budget


@contextmanager
def _blame(node: NodeProto) -> Iterator[None]:
    """Put the node's name in front of what is wrong with it."""
    try:
        yield
    except UserError as error:
        name = _text(node.name) or f"making {_text(next(iter(node.output), ''))}"
        raise UserError(f"{_text(node.op_type)} node {name}: {error}") from None


def _text(name: str | bytes) -> str:
    """A name from the file, safe to print: on one line, not too long; bytes are broken UTF-8."""
    name = ascii(name if isinstance(name, str) else name.decode("utf-8", "replace"))[1:-1]
    return name if len(name) <= 60 else f"{name[:57]}..."


class _Reader:
    """Walks the chain from input to output; each operator's method moves the state on.

    The tensor at hand is always in one of these states:
      INTEGERS  uint8 of scale 2**-exponent (not known before the first DequantizeLinear),
      REAL      the same after DequantizeLinear,
      SUMS      the accumulators of the last of `parameters` that is not None,
      IMAGE     a float input, which QuantizeLinear has to make uint8.
    """

    IMAGE = "a float input"
    INTEGERS = "quantised"
    REAL = "dequantised"
    SUMS = "the sums of a Conv or Gemm"

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.constants: dict[str, TensorProto] = {}
        self.nodes: dict[str, NodeProto] = {}  # by the tensor that it makes
        self.readers: dict[str, list[NodeProto]] = defaultdict(list)
        self.layers: list[Layer] = []
        self.parameters: list[Parameters | None] = []
        self.exponent: int | None = None
        self.flat = False  # N x features, flattened from the shape
        self.rectified = False  # a Relu has been at these sums
        self.takes_bias = False  # these sums come from a MatMul, to which an Add may give the bias
        self.visited: set[str] = set()  # tensors made by nodes that the network needs
        self._index(graph)
        self._find_ends(graph)

    def _index(self, graph: onnx.GraphProto) -> None:
        if graph.sparse_initializer:
            raise UserError("it holds sparse initialisers; expected dense ones")
        for tensor in graph.initializer:
            if tensor.name in self.constants:
                raise UserError(f"initialiser {_text(tensor.name)} is there twice")
            self.constants[tensor.name] = tensor
        for node in graph.node:
            with _blame(node):
                for tensor in filter(None, node.output):
                    if tensor in self.nodes or tensor in self.constants:
                        raise UserError(f"tensor {_text(tensor)} is made twice")
                    if node.op_type == "Constant":
                        self.constants[tensor] = _constant_value(node)
                    else:
                        self.nodes[tensor] = node
                for tensor in filter(None, node.input):
                    self.readers[tensor].append(node)

    def _find_ends(self, graph: onnx.GraphProto) -> None:
        """Set the input, its shape and the output."""
        inputs = [value for value in graph.input if value.name not in self.constants]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise UserError(
                f"the graph has {len(inputs)} inputs and {len(graph.output)} outputs, "
                "expected one of each"
            )
        self.input, self.output = inputs[0].name, graph.output[0].name
        tensor = inputs[0].type.tensor_type
        if self.input in self.nodes:
            raise UserError(f"input {_text(self.input)} is also made by a node")
        if tensor.elem_type not in (TensorProto.UINT8, TensorProto.FLOAT):
            raise UserError(
                f"input {_text(self.input)} is {_type_name(tensor.elem_type)}, expected uint8"
            )
        sizes = [size.dim_value for size in tensor.shape.dim]
        if len(sizes) != 4 or min(sizes[1:]) < 1:
            raise UserError(
                f"input {_text(self.input)} has shape {sizes[:8]} (0: not fixed), expected "
                "N x C x H x W with C, H and W fixed"
            )
        if math.prod(sizes[1:]) > MAX_FEATURES:
            raise UserError(
                f"input {_text(self.input)} has more than {MAX_FEATURES} values an image"
            )
        self.batch = sizes[0]  # 0: any
        self.shape = self.input_shape = tuple(sizes[1:])
        self.tensor = self.input
        self.state = self.INTEGERS if tensor.elem_type == TensorProto.UINT8 else self.IMAGE

    def read(self, name: str) -> QuantisedNetwork:
        """The network, once the whole graph is understood."""
        operators: dict[str, Callable[[NodeProto], None]] = {
            "DequantizeLinear": self._dequantise,
            "QuantizeLinear": self._quantise,
            "Conv": self._conv,
            "Gemm": self._gemm,
            "MatMul": self._matmul,
            "Add": self._add,
            "Relu": self._relu,
            "MaxPool": self._maxpool,
            "Flatten": self._flatten,
            "Reshape": self._reshape,
        }
        node = None
        while self.tensor != self.output or self.readers[self.tensor]:
            node = self._only_reader(self.tensor)
            with _blame(node):
                if node.op_type not in operators or node.domain not in ("", "ai.onnx"):
                    raise UserError(
                        f"unsupported operator; expected a chain of {', '.join(operators)}"
                    )
                if len(node.output) != 1 or not node.output[0]:
                    raise UserError(f"{len(node.output)} outputs, expected 1")
                if node.input[0] != self.tensor and node.op_type != "Add":
                    raise UserError(f"{_text(self.tensor)} is not its first input")
                operators[node.op_type](node)
            self.takes_bias = node.op_type == "MatMul"
            self.tensor = node.output[0]
            self.visited.add(self.tensor)
        if node is None:
            raise UserError("the graph has no nodes")
        with _blame(node):
            if self.state != self.SUMS or self.rectified:
                found = "rectified" if self.rectified else self.state
                raise UserError(
                    f"the network's output is {found}, expected the sums of the last Conv or Gemm: "
                    "end the graph there"
                )
            if isinstance(self.layers[-1], MaxPool):
                raise UserError("a MaxPool comes last, expected a Conv or Gemm")
        for tensor, node in self.nodes.items():
            if tensor not in self.visited:
                with _blame(node):
                    raise UserError("no part of the chain from input to output; remove it")
        return QuantisedNetwork(
            Network(name, tuple(self.layers), self.input_shape), tuple(self.parameters)
        )

    def _only_reader(self, tensor: str) -> NodeProto:
        readers = self.readers[tensor]
        if len(readers) == 1 and tensor != self.output:
            return readers[0]
        places = [f"{_text(node.op_type)} {_text(node.name)}".rstrip() for node in readers[:3]]
        if tensor == self.output:
            places.append("the graph's output")
        raise UserError(
            f"tensor {_text(tensor)} is used by {' and '.join(places) or 'nothing'}, "
            "expected a chain, where each tensor is used once"
        )

    # Operators of the chain

    def _quantise(self, node: NodeProto) -> None:
        exponent, zero = self._scale(node)
        if (zero or TensorProto.UINT8) != TensorProto.UINT8:
            raise UserError(f"makes {_type_name(zero)}, expected uint8")
        if self.state == self.INTEGERS:
            raise UserError("its input is quantised already")
        if self.state == self.REAL and exponent != self.exponent:
            raise UserError(
                f"its scale 2**{-exponent} differs from 2**{-self.exponent} before it, with no "
                "Conv or Gemm between"
            )
        if self.state == self.SUMS:
            self._give_output_exponent(exponent)
        self.exponent, self.state = exponent, self.INTEGERS

    def _give_output_exponent(self, exponent: int) -> None:
        index = max(i for i, p in enumerate(self.parameters) if p is not None)
        parameters = replace(self.parameters[index], output_exponent=exponent)
        if parameters.shift < 0:
            raise UserError(
                f"negative requantising shift {parameters.shift}: its scale 2**{-exponent} is "
                f"finer than 2**{-parameters.shift - exponent} of the sums; choose a coarser one"
            )
        self.parameters[index] = parameters

    def _dequantise(self, node: NodeProto) -> None:
        exponent, zero = self._scale(node)
        if self.state != self.INTEGERS:
            raise UserError(f"its input is {self.state}, expected integers")
        if (zero or TensorProto.UINT8) != TensorProto.UINT8:
            raise UserError(f"its zero point is {_type_name(zero)}, its input uint8")
        if self.exponent not in (None, exponent):
            raise UserError(
                f"its scale 2**{-exponent} differs from that of its input, 2**{-self.exponent}"
            )
        self.exponent, self.state = exponent, self.REAL

    def _conv(self, node: NodeProto) -> None:
        _, weight, bias = _inputs(node, 2, 3)
        window = _attributes(
            node,
            kernel_shape=[],
            strides=[1, 1],
            pads=[0] * 4,
            dilations=[1, 1],
            group=1,
            auto_pad="",
        )
        if self.flat:
            raise UserError("its input is flat, expected N x C x H x W")
        if window["group"] != 1:
            raise UserError(f"group {window['group']}, expected 1")
        weight, exponent = self._weight(weight, 4)
        window["kernel_shape"] = window["kernel_shape"] or list(weight.shape[2:])
        self._append(Conv(len(weight), *_window(window)), weight, exponent, bias)

    def _gemm(self, node: NodeProto) -> None:
        _, weight, bias = _inputs(node, 2, 3)
        attributes = _attributes(node, alpha=1.0, beta=1.0, transA=0, transB=0)
        for name, expected in (("alpha", 1), ("beta", 1), ("transA", 0)):
            if attributes[name] != expected:
                raise UserError(f"{name} {attributes[name]}, expected {expected}")
        self._linear(weight, bias, transposed=attributes["transB"] != 0)

    def _matmul(self, node: NodeProto) -> None:
        _, weight = _inputs(node, 2, 2)
        _attributes(node)
        self._linear(weight, "", transposed=False)

    def _linear(self, weight: str, bias: str, transposed: bool) -> None:
        if not self.flat:
            raise UserError("its input is N x C x H x W, expected a Flatten before it")
        values, exponent = self._weight(weight, 2)
        values = np.ascontiguousarray(values if transposed else values.T)
        self._append(Linear(len(values)), values, exponent, bias)

    def _add(self, node: NodeProto) -> None:
        bias = [name for name in _inputs(node, 2, 2) if name != self.tensor]
        _attributes(node)
        if not self.takes_bias or len(bias) != 1:
            raise UserError("expected only to add the bias right after a MatMul")
        last = self.parameters[-1]
        bias = self._bias(bias[0], len(last.bias), last.input_exponent + last.weight_exponent)
        self.parameters[-1] = _checked(replace(last, bias=bias))

    def _relu(self, node: NodeProto) -> None:
        _attributes(node)
        if self.state == self.INTEGERS:
            raise UserError("its input is quantised, expected a DequantizeLinear before it")
        self.rectified |= self.state == self.SUMS

    def _maxpool(self, node: NodeProto) -> None:
        window = _attributes(
            node,
            kernel_shape=[],
            strides=[1, 1],
            pads=[0] * 4,
            dilations=[1, 1],
            ceil_mode=0,
            storage_order=0,
            auto_pad="",
        )
        if self.flat:
            raise UserError("its input is flat, expected N x C x H x W")
        if window["ceil_mode"]:
            raise UserError("ceil_mode 1, expected 0")
        layer = MaxPool(*_window(window))
        self._move(layer)
        self.layers.append(layer)
        self.parameters.append(None)

    def _flatten(self, node: NodeProto) -> None:
        axis = _attributes(node, axis=1)["axis"]
        if axis not in (1, -1 if self.flat else -3):
            raise UserError(f"axis {axis}, expected 1")
        self.flat = True

    def _reshape(self, node: NodeProto) -> None:
        """A flatten, or the way back to N x C x H x W."""
        _, target = _inputs(node, 2, 2)
        zero_is_zero = _attributes(node, allowzero=0)["allowzero"]
        sizes = self._constant(target, TensorProto.INT64).reshape(-1).tolist()
        batch = {-1, self.batch} - {0} if zero_is_zero else {-1, self.batch, 0}
        features = math.prod(self.shape)
        if len(sizes) == 2 and sizes[0] != -1 and sizes[1] == -1:
            sizes[1] = features
        if sizes[0] not in batch or sizes[1:] not in ([features], list(self.shape)):
            raise UserError(f"to {sizes[:8]}, expected a flatten to [0, {features}]")
        self.flat = len(sizes) == 2

    def _append(self, layer: Conv | Linear, weight: np.ndarray, exponent: int, bias: str) -> None:
        if self.state != self.REAL:
            raise UserError(f"its input is {self.state}, expected a DequantizeLinear before it")
        expected = layer.weight_shape(self.shape)
        if weight.shape != expected:
            raise UserError(f"weights of shape {weight.shape}, expected {expected}")
        total = self.exponent + exponent
        if abs(total) > MAX_EXPONENT:
            raise UserError(f"its sums have the scale 2**{-total}, beyond 2**+-{MAX_EXPONENT}")
        values = self._bias(bias, len(weight), total) if bias else np.zeros(len(weight), np.int32)
        parameters = _checked(Parameters(weight, values, self.exponent, exponent, None))
        self._move(layer)
        self.layers.append(layer)
        self.parameters.append(parameters)
        self.state, self.rectified = self.SUMS, False

    def _move(self, layer: Layer) -> None:
        """Go on to the shape that `layer` gives, if it is one that can be computed with."""
        channels, height, width = self.shape
        padding = getattr(layer, "padding", 0)
        padded = channels * (height + 2 * padding) * (width + 2 * padding)
        shape = layer.out_shape(self.shape)
        if max(padded, math.prod(shape)) > MAX_FEATURES:
            raise UserError(f"its padded input or its output has more than {MAX_FEATURES} values")
        self.shape = shape

    # Constants

    def _weight(self, name: str, ndim: int) -> tuple[np.ndarray, int]:
        """int8 weights and their exponent; float ones if a QuantizeLinear comes before."""
        node = self._maker(name, "weights")
        with _blame(node):
            exponent, zero = self._scale(node)
            source = self.nodes.get(node.input[0])
            if source is not None and source.op_type == "QuantizeLinear":
                self.visited.add(node.input[0])
                with _blame(source):
                    weight = self._quantised_weight(source, exponent)
            else:
                weight = self._constant(node.input[0], TensorProto.INT8)
            if (zero or TensorProto.INT8) != TensorProto.INT8:
                raise UserError(f"its zero point is {_type_name(zero)}, its input int8")
        if weight.ndim != ndim:
            raise UserError(f"weights of shape {weight.shape}, expected {ndim} dimensions")
        return weight, exponent

    def _quantised_weight(self, node: NodeProto, expected: int) -> np.ndarray:
        exponent, zero = self._scale(node)
        if exponent != expected or zero != TensorProto.INT8:
            raise UserError(
                f"makes {_type_name(zero)} of scale 2**{-exponent}, expected int8 of 2**{-expected}"
            )
        values = self._constant(node.input[0], TensorProto.FLOAT).astype(np.float64)
        if not np.isfinite(values).all():
            raise UserError("its weights are not finite")
        return np.clip(np.rint(np.ldexp(values, exponent)), -128, 127).astype(np.int8)

    def _bias(self, name: str, count: int, exponent: int) -> np.ndarray:
        """int32 biases in units of 2**-exponent, from integers of any scale or from floats."""
        if name in self.constants:
            values = self._constant(name, TensorProto.FLOAT).astype(np.float64)
        else:
            node = self._maker(name, "biases")
            with _blame(node):
                scale, _ = self._scale(node)
                values = self._constant(node.input[0], TensorProto.INT32, TensorProto.INT8)
                values = np.ldexp(values.astype(np.float64), -scale)
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
        node = self.nodes.get(name)
        if node is None or node.op_type != "DequantizeLinear" or not node.input:
            if node is not None:
                found = f"made by {_text(node.op_type)} {_text(node.name)}"
            elif name in self.constants:
                found = f"a {_type_name(self.constants[name].data_type)} initialiser"
            else:
                found = "the graph's input" if name == self.input else "not in the file"
            raise UserError(
                f"{what} {_text(name)}: {found}, expected an integer initialiser through "
                "DequantizeLinear"
            )
        self.visited.add(name)
        return node

    def _scale(self, node: NodeProto) -> tuple[int, int | None]:
        """Exponent e of the scale 2**-e, and the type of the zero point (None if not given)."""
        _, scale, zero = _inputs(node, 2, 3)
        attributes = _attributes(
            node, axis=1, saturate=1, block_size=0, output_dtype=0, precision=0
        )
        if attributes["block_size"]:
            raise UserError(f"block_size {attributes['block_size']}, expected 0")
        scales = self._constant(scale, TensorProto.FLOAT).reshape(-1)
        mantissa, exponent = math.frexp(scales[0])
        if mantissa != 0.5:
            raise UserError(f"scale {scales[0]:.9g} is not a power of two")
        if (scales != scales[0]).any():
            raise UserError(f"per-channel scales {_text(scale)} differ, expected a single scale")
        if abs(1 - exponent) > MAX_EXPONENT:
            raise UserError(f"scale 2**{exponent - 1} is beyond 2**+-{MAX_EXPONENT}")
        dtype = attributes["output_dtype"] if node.op_type == "QuantizeLinear" else 0
        if zero:
            values = self._constant(zero, TensorProto.INT8, TensorProto.UINT8, TensorProto.INT32)
            if values.any():
                raise UserError(f"zero point {values[values != 0][0]}, expected 0")
            dtype = self.constants[zero].data_type
        return 1 - exponent, dtype or None

    def _constant(self, name: str, *types: int) -> np.ndarray:
        """Values of an initialiser of one of `types`; its size is checked before it is made."""
        tensor = self.constants.get(name)
        if tensor is None:
            found = "computed" if name in self.nodes or name == self.input else "not in the file"
            raise UserError(f"{_text(name) or 'an input'} is {found}, expected an initialiser")
        if tensor.data_type not in types:
            expected = " or ".join(_type_name(t) for t in types)
            raise UserError(
                f"initialiser {_text(name)} is {_type_name(tensor.data_type)}, expected {expected}"
            )
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise UserError(
                f"initialiser {_text(name)} lies in another file; save the network as a single file"
            )
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
        if tensor.HasField("raw_data"):
            count, odd = divmod(len(tensor.raw_data), dtype.itemsize)
            values = np.frombuffer(tensor.raw_data, dtype.newbyteorder("<"), count)
        else:
            field = getattr(tensor, helper.tensor_dtype_to_field(tensor.data_type))
            wide = np.array(field, np.float32 if dtype == np.float32 else np.int64)
            values = wide.astype(dtype)
            count, odd = len(values), dtype != np.float32 and (wide != values).any()
        if odd or min(tensor.dims, default=1) < 1 or count != math.prod(tensor.dims):
            raise UserError(
                f"initialiser {_text(name)} does not hold just the {_type_name(tensor.data_type)} "
                f"values of its shape {list(tensor.dims)[:8]}; is the file damaged?"
            )
        return values.reshape(tuple(tensor.dims)).astype(dtype)


def _constant_value(node: NodeProto) -> TensorProto:
    values = [attribute.t for attribute in node.attribute if attribute.name == "value"]
    if len(values) != 1:
        raise UserError("expected a tensor as its value")
    return values[0]


def _inputs(node: NodeProto, least: int, most: int) -> list[str]:
    """Names of the inputs, "" for each optional one that is not there."""
    if not least <= len(node.input) <= most or not all(node.input[:least]):
        raise UserError(f"{len(node.input)} inputs, expected {least} to {most}")
    return [*node.input, *[""] * (most - len(node.input))]


def _attributes(node: NodeProto, **defaults: Any) -> dict[str, Any]:
    """Attributes of the node, each of the type of its default; any other one is refused."""
    types = {
        int: AttributeProto.INT,
        float: AttributeProto.FLOAT,
        str: AttributeProto.STRING,
        list: AttributeProto.INTS,
    }
    values = dict(defaults)
    for attribute in node.attribute:
        default = defaults.get(attribute.name)
        if default is None or attribute.type != types[type(default)]:
            raise UserError(f"attribute {_text(attribute.name)} is unknown or of the wrong type")
        value = helper.get_attribute_value(attribute)
        values[attribute.name] = (
            value.decode("ascii", "replace") if isinstance(value, bytes) else type(default)(value)
        )
    return values


def _window(attributes: dict[str, Any]) -> tuple[int, int, int]:
    """(kernel, stride, padding) of a Conv or MaxPool, if each is the same on all sides."""
    for name, count in (("kernel_shape", 2), ("strides", 2), ("dilations", 2), ("pads", 4)):
        values = attributes[name]
        if len(values) != count or len(set(values)) != 1:
            raise UserError(f"{name} {values[:8]}, expected {count} equal ones")
    if attributes["dilations"][0] != 1:
        raise UserError(f"dilations {attributes['dilations']}, expected 1")
    if attributes["auto_pad"] not in ("", "NOTSET"):
        raise UserError(f"auto_pad {_text(attributes['auto_pad'])}, expected explicit pads")
    return attributes["kernel_shape"][0], attributes["strides"][0], attributes["pads"][0]


def _checked(parameters: Parameters) -> Parameters:
    if parameters.accumulator_bound >= 2**31:
        raise UserError(
            f"its sums can reach {parameters.accumulator_bound}, beyond int32; "
            "use smaller weights or biases"
        )
    return parameters


def _type_name(data_type: int | None) -> str:
    try:
        return TensorProto.DataType.Name(data_type or 0).lower()
    except ValueError:
        return f"type {data_type}"
