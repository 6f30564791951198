"""Read an ONNX file, ours or a foreign one."""

from __future__ import annotations

import math
import os
from pathlib import Path

import onnx
from onnx import TensorProto

from convstream.model.base.errors import UserError
from convstream.model.formats.onnx.assembly import Assembly
from convstream.model.formats.onnx.builder import PRODUCER
from convstream.model.formats.onnx.checks import blame, text, type_name
from convstream.model.formats.onnx.limits import MAX_FEATURES
from convstream.model.formats.onnx.operators import check_ways, reader_of
from convstream.model.formats.onnx.parse import parse
from convstream.model.formats.onnx.shapes import TAKE_PADDED, of_sizes, read_sizes
from convstream.model.formats.onnx.tensors import IMAGE, State, Tensor
from convstream.model.formats.onnx.wiring import Wiring
from convstream.model.network.quantised import QuantisedNetwork


def read_onnx(path: str | os.PathLike, name: str | None = None) -> QuantisedNetwork:
    """The network in a quantised file, also one that was not written here.

    QDQ, or ONNX Runtime's operators on codes, on one input N x C x H x W, N x C x L or N x F:
    uint8, int8, or float that QuantizeLinear makes codes at once. `LAYERS` and `OPERATORS` say
    what may stand in it. Scales and zero points are any; weights are int8 once their zero points
    are taken off. Relu, Clip and MaxPool may stand before or after QuantizeLinear, as maxima and
    clamps commute with rounding. A mean does not: AveragePool takes what has been quantised.
    Functions of single values between two scales become tables, which ONNX Runtime itself makes.
    Softmax and ArgMax at the end stay outside.

    name: of the network; by default the graph's if the file was written here, else the file's.
    Raises `UserError` that names the node and the reason for anything else.
    """
    path = Path(path)
    try:
        model = parse(path)
        if is_float(model):
            raise UserError(
                f"a float network; type: convstream export {path} --calibrate images.npz"
            )
        if name is None:
            ours = model.producer_name == PRODUCER and isinstance(model.graph.name, str)
            name = (ours and model.graph.name) or path.stem
        assembly = _read(model)
        with blame(assembly.wiring.makers[assembly.wiring.output]):
            return assembly.network(name, assembly.tensors[assembly.wiring.output])
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def is_float(model: onnx.ModelProto) -> bool:
    """Whether a model has weights and takes floats that nothing in it quantises."""
    constants = {tensor.name for tensor in model.graph.initializer}
    floats = any(
        value.name not in constants and value.type.tensor_type.elem_type == TensorProto.FLOAT
        for value in model.graph.input
    )
    operators = {node.op_type for node in model.graph.node}
    quantising = any("Quant" in text(operator) for operator in operators)
    return floats and not quantising and not operators.isdisjoint({"Conv", "Gemm", "MatMul"})


def output_name(path: Path) -> str:
    """The tensor of a file, which can be read, that is its network's output."""
    assembly = _read(parse(path))
    return assembly.wiring.output if assembly.end is None else assembly.end[0]


def _read(model: onnx.ModelProto) -> Assembly:
    """Go through the nodes that the output needs, each after those that it depends on."""
    wiring = Wiring(model)
    image, batch = _image(model.graph, wiring.input)
    assembly = Assembly(wiring, image, batch)
    needed = wiring.needed()
    check_ways(wiring.nodes)
    for node in wiring.nodes:
        # What depends on no tensor, such as weights, is looked at by the node that takes it.
        if needed.isdisjoint(node.output) or assembly.tensors.keys().isdisjoint(node.input):
            continue
        with blame(node):
            taken = [assembly.tensors.get(name) for name in node.input]
            sizes = any(map(of_sizes, taken))
            padded = any(given and given.state is State.PADDED for given in taken)
            if padded and node.op_type not in TAKE_PADDED:
                raise UserError("its input comes from a Pad, which only a Conv may take; remove it")
            read = read_sizes if sizes and node.op_type != "Reshape" else reader_of(node)
            if len(node.output) != 1 and (
                node.op_type != "Dropout" or node.output[1] in wiring.readers
            ):
                raise UserError(f"{len(node.output)} outputs, expected 1; export it for inference")
            assembly.tensors[node.output[0]] = read(assembly, node)
    with blame(wiring.makers[wiring.output]):
        if wiring.output not in assembly.tensors:
            raise UserError(
                f"the graph's output does not depend on its input {text(wiring.input)}; name "
                "another output"
            )
    for node in wiring.nodes:
        if needed.isdisjoint(node.output):
            with blame(node):
                raise UserError("the graph's output does not depend on it; remove it")
    return assembly


def _image(graph: onnx.GraphProto, name: str) -> tuple[Tensor, int]:
    """The graph's input, and its batch: 0 where any is possible."""
    tensor = next(value for value in graph.input if value.name == name).type.tensor_type
    if tensor.elem_type not in (TensorProto.UINT8, TensorProto.INT8, TensorProto.FLOAT):
        raise UserError(
            f"input {text(name)} is {type_name(tensor.elem_type)}, expected uint8, int8 or float; "
            "export it with such"
        )
    batch, *dims = [size.dim_value for size in tensor.shape.dim] or [0]
    if len(dims) not in (1, 2, 3) or min(dims) < 1:
        raise UserError(
            f"input {text(name)} has shape {[batch, *dims][:8]} (0: not fixed), expected N x C x H "
            "x W, N x C x L or N x F with all but N fixed; export with dynamic_axes for N alone"
        )
    if math.prod(dims) > MAX_FEATURES:
        raise UserError(
            f"input {text(name)} has more than {MAX_FEATURES} values an image; use smaller images"
        )
    shapes = {1: (dims[0], 1, 1), 2: (dims[0], 1, dims[-1]), 3: tuple(dims)}
    state = State.FLOATS if tensor.elem_type == TensorProto.FLOAT else State.CODES
    signed = tensor.elem_type == TensorProto.INT8
    channels, height, width = shapes[len(dims)]
    shape = (channels, height, width)
    return Tensor(IMAGE, IMAGE, shape, state, tuple(dims), signed=signed), batch
