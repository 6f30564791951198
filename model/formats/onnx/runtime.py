"""ONNX Runtime: what it makes of pieces of a file, and where it does not compute in integers."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from convstream.model.formats.onnx.checks import text
from convstream.model.formats.onnx.parse import parse

if TYPE_CHECKING:
    import onnxruntime

IN_FLOATS = {
    "Add", "AveragePool", "Conv", "FusedConv", "FusedGemm", "FusedMatMul", "Gemm",
    "GlobalAveragePool", "MatMul", "MatMulIntegerToFloat", "ReduceMean",
}  # fmt: skip


def session(model: bytes | str, **settings: Any) -> onnxruntime.InferenceSession:
    """ONNX Runtime on one thread with its default optimisations. settings: of `SessionOptions`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    for name, value in settings.items():
        setattr(options, name, value)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def in_floats(path: Path) -> list[str]:
    """The nodes of a file whose sums ONNX Runtime rounds, as it does not fuse them into integers.

    Its outputs may differ there by a step from the exact ones, unless all scales are powers of two.
    Sums that leave the network as they are do not count, nor those of a tensor and a constant.
    """
    with tempfile.TemporaryDirectory() as folder:
        optimised = Path(folder) / "optimised.onnx"
        session(parse(path).SerializeToString(), optimized_model_filepath=str(optimised))
        graph = onnx.load(optimised).graph
    constants = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if constants.issuperset(filter(None, node.input)):
            constants.update(node.output)
    ends = {value.name for value in graph.output}
    return [
        f"{text(node.op_type)} {text(node.name)}"
        for node in graph.node
        if node.op_type in IN_FLOATS
        and ends.isdisjoint(node.output)
        and not (node.op_type == "Add" and not constants.isdisjoint(node.input))
    ]


@cache
def saturates() -> bool:
    """Whether this processor's sums of uint8 by int8 products saturate at int16 in ONNX Runtime.

    So they do on x86 without VNNI; the sums of files with reduce_range=True never get there.
    """
    count = 64
    node = helper.make_node("MatMulInteger", ["x", "w"], ["y"])
    weight = helper.make_tensor("w", TensorProto.INT8, [count, 16], [127] * count * 16)
    graph = helper.make_graph(
        [node],
        "probe",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, count])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [1, 16])],
        [weight],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)])
    (sums,) = session(model.SerializeToString()).run(
        None, {"x": np.full((1, count), 255, np.uint8)}
    )
    return bool((sums != 255 * 127 * count).any())
