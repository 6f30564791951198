"""Read an ONNX file, ours or a foreign one."""

from __future__ import annotations

import math
import os
from pathlib import Path

import onnx
from onnx import TensorProto

from convstream.model.base.errors import UserError
from convstream.model.formats.onnx.assembly import IMAGE, Assembly, State, Tensor
from convstream.model.formats.onnx.builder import PRODUCER
from convstream.model.formats.onnx.checks import blame, is_standard, text, type_name
from convstream.model.formats.onnx.limits import MAX_FEATURES
from convstream.model.formats.onnx.operators import OPERATORS
from convstream.model.formats.onnx.parse import parse
from convstream.model.formats.onnx.wiring import Wiring
from convstream.model.network.quantised import QuantisedNetwork


def read_onnx(path: str | os.PathLike, name: str | None = None) -> QuantisedNetwork:
    """The network in a QDQ file, also one that was not written here.

    A graph of Conv, Gemm (or MatMul and Add), Relu, MaxPool, AveragePool and Flatten (or Reshape)
    on one input N x C x H x W: uint8, or float that QuantizeLinear makes uint8 at once. All scales
    are powers of two, all zero points zero; weights are int8, what goes from layer to layer is
    uint8, and the last sums go out as they are. Quantising to uint8 is a ReLU in itself, so Relu
    may be missing; Relu and MaxPool may stand before or after it, as maxima and clamps commute with
    rounding. A mean does not: AveragePool takes what has been quantised.

    name: of the network; by default the graph's if the file was written here, else the file's.
    Raises `UserError` that names the node and the reason for anything else.
    """
    path = Path(path)
    try:
        model = parse(path)
        if name is None:
            ours = model.producer_name == PRODUCER and isinstance(model.graph.name, str)
            name = (ours and model.graph.name) or path.stem
        return _read(model.graph, name)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _read(graph: onnx.GraphProto, name: str) -> QuantisedNetwork:
    """Go through the nodes that the output needs, each after those that it depends on."""
    wiring = Wiring(graph)
    image, batch = _image(graph, wiring.input)
    assembly = Assembly(wiring, image, batch)
    needed = wiring.needed()
    for node in wiring.nodes:
        # What depends on no tensor, such as weights, is looked at by the node that takes it.
        if needed.isdisjoint(node.output) or assembly.tensors.keys().isdisjoint(node.input):
            continue
        with blame(node):
            if node.op_type not in OPERATORS or not is_standard(node):
                raise UserError(f"unsupported operator; expected one of {', '.join(OPERATORS)}")
            if len(node.output) != 1:
                raise UserError(f"{len(node.output)} outputs, expected 1")
            assembly.tensors[node.output[0]] = OPERATORS[node.op_type](assembly, node)
    with blame(wiring.makers[wiring.output]):
        if wiring.output not in assembly.tensors:
            raise UserError(f"the graph's output does not depend on its input {text(wiring.input)}")
    for node in wiring.nodes:
        if needed.isdisjoint(node.output):
            with blame(node):
                raise UserError("the graph's output does not depend on it; remove it")
    with blame(wiring.makers[wiring.output]):
        return assembly.network(name, assembly.tensors[wiring.output])


def _image(graph: onnx.GraphProto, name: str) -> tuple[Tensor, int]:
    """The graph's input, and its batch: 0 where any is possible."""
    tensor = next(value for value in graph.input if value.name == name).type.tensor_type
    if tensor.elem_type not in (TensorProto.UINT8, TensorProto.INT8, TensorProto.FLOAT):
        raise UserError(
            f"input {text(name)} is {type_name(tensor.elem_type)}, expected uint8, int8 or float"
        )
    sizes = [size.dim_value for size in tensor.shape.dim]
    if len(sizes) != 4 or min(sizes[1:]) < 1:
        raise UserError(
            f"input {text(name)} has shape {sizes[:8]} (0: not fixed), expected "
            "N x C x H x W with C, H and W fixed"
        )
    batch, channels, height, width = sizes
    if math.prod(sizes[1:]) > MAX_FEATURES:
        raise UserError(f"input {text(name)} has more than {MAX_FEATURES} values an image")
    state = State.FLOATS if tensor.elem_type == TensorProto.FLOAT else State.CODES
    signed = tensor.elem_type == TensorProto.INT8
    return Tensor(IMAGE, IMAGE, (channels, height, width), state, signed=signed), batch
