"""Sums of codes: the runtimes' rules, and the numbers by which rtl/axis_add.v computes them."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from convstream.model.base.errors import UserError
from convstream.model.hardware import adding
from convstream.model.network.codes import Codes
from convstream.model.network.layers import Add
from convstream.model.network.layers.add import AS_UINT8, add_codes, fma, ratios
from convstream.model.network.layers.base import Site

A, B = (axis.ravel() for axis in np.mgrid[:256, :256])


def generator(*words: object) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32("/".join(map(str, words)).encode()))


def draw(rng: np.random.Generator) -> tuple[Codes, Codes, Codes]:
    """Codes of two tensors and of their sum: of any scales, or of such that make many ties."""
    signed = bool(rng.integers(2))
    scale = 2.0 ** (rng.integers(-8, 1) if rng.integers(2) else rng.uniform(-8, 0))
    if rng.integers(2):
        scales = scale * rng.integers(1, 17, 2) / rng.choice([1, 2, 3, 4, 6, 10, 12])
    else:
        scales = scale * 2 ** rng.uniform(-6, 2, 2)
    zero_points = 128 * signed * np.ones(3, int) if rng.integers(2) else rng.integers(0, 256, 3)
    a, b, y = (
        Codes(float(np.float32(scale)), int(zero_point), signed=signed)
        for scale, zero_point in zip((*scales, scale), zero_points, strict=True)
    )
    return a, b, replace(y, low=y.zero_point) if rng.integers(2) else y


def model(codes: tuple[Codes, Codes, Codes], fused: bool) -> onnxruntime.InferenceSession:
    """QLinearAdd of all pairs of codes, or the QDQ nodes that are fused to it."""
    signed = codes[0].signed
    kind, dtype = (TensorProto.INT8, np.int8) if signed else (TensorProto.UINT8, np.uint8)
    constants = []
    for name, own in zip("aby", codes, strict=True):
        zero_point = np.array(own.zero_point - 128 * signed, dtype)
        constants.append(numpy_helper.from_array(np.float32(own.scale), f"s{name}"))
        constants.append(numpy_helper.from_array(zero_point, f"z{name}"))
    if fused:
        inputs = ["a", "sa", "za", "b", "sb", "zb", "sy", "zy"]
        nodes = [helper.make_node("QLinearAdd", inputs, ["y"], domain="com.microsoft")]
    else:
        nodes = [
            helper.make_node("DequantizeLinear", ["a", "sa", "za"], ["fa"]),
            helper.make_node("DequantizeLinear", ["b", "sb", "zb"], ["fb"]),
            helper.make_node("Add", ["fa", "fb"], ["sum"]),
            helper.make_node("QuantizeLinear", ["sum", "sy", "zy"], ["y"]),
        ]
    a, b, y = (helper.make_tensor_value_info(name, kind, [len(A)]) for name in "aby")
    graph = helper.make_graph(nodes, "add", [a, b], [y], constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return onnxruntime.InferenceSession(proto.SerializeToString())


@pytest.mark.parametrize("fused", [True, False])
def test_rule_is_that_of_onnx_runtime(seed: str, fused: bool) -> None:
    rng = generator(seed, fused)
    for _ in range(20):
        codes = draw(rng)
        offset = 128 * codes[0].signed
        dtype = np.int8 if offset else np.uint8
        feed = {"a": (A - offset).astype(dtype), "b": (B - offset).astype(dtype)}
        (y,) = model(codes, fused).run(None, feed)
        expected = np.clip(y.astype(int) + offset, codes[2].low, codes[2].high)
        assert np.array_equal(add_codes(A, B, *codes, "onnxruntime"), expected), codes


def test_rule_of_int8_in_pairs_is_that_of_onnx_runtime(seed: str) -> None:
    """Each tensor through a QuantizeLinear and a DequantizeLinear of its own: there it is uint8."""
    rng = generator(seed)
    differ = 0
    for _ in range(20):
        codes = tuple(replace(own, low=0, signed=True) for own in draw(rng))
        nodes, constants = [], []
        for name, made, own in zip("aby", ("fa", "fb", "out"), codes, strict=True):
            zero_point = np.array(own.zero_point - 128, np.int8)
            constants.append(numpy_helper.from_array(np.float32(own.scale), f"s{name}"))
            constants.append(numpy_helper.from_array(zero_point, f"z{name}"))
            scale = [f"s{name}", f"z{name}"]
            nodes.append(helper.make_node("QuantizeLinear", [name, *scale], [f"q{name}"]))
            nodes.append(helper.make_node("DequantizeLinear", [f"q{name}", *scale], [made]))
        nodes.insert(4, helper.make_node("Add", ["fa", "fb"], ["y"]))
        a, b, y = (
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [len(A)])
            for name in ("a", "b", "out")
        )
        graph = helper.make_graph(nodes, "add", [a, b], [y], constants)
        opsets = [helper.make_opsetid("", 17)]
        proto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        session = onnxruntime.InferenceSession(proto.SerializeToString())
        feed = {
            name: own.real(operand).astype(np.float32)
            for name, own, operand in zip("ab", codes, (A, B), strict=False)
        }
        expected = codes[2].of_real(session.run(None, feed)[0])
        assert np.array_equal(add_codes(A, B, *codes, AS_UINT8), expected), codes
        differ += int((add_codes(A, B, *codes, "onnxruntime") != expected).sum())
    assert differ


def test_fma_rounds_once(seed: str) -> None:
    rng = generator(seed)
    a, b, c = (np.float32(rng.standard_normal(10_000)) for _ in range(3))
    c *= np.float32(2.0) ** rng.integers(-40, 40, len(c))
    exact = a.astype(np.longdouble) * b + c
    error = np.abs(fma(a, b, c) - exact)
    assert (error <= np.spacing(np.abs(fma(a, b, c))) / 2).all()
    half = np.float32(1 + 2.0**-12)
    # Its square is halfway between two floats, and what is added too little for float64.
    assert fma(half, half, np.float32(2.0**-60)) == np.float32(1 + 2.0**-11 + 2.0**-23)


def litert(codes: tuple[Codes, Codes, Codes]) -> np.ndarray:
    """What LiteRT makes of all pairs of int8 codes, as uint8 codes."""
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    flatbuffers = pytest.importorskip("flatbuffers")
    proto, graph, operator = schema.ModelT(), schema.SubGraphT(), schema.OperatorT()
    graph.tensors = []
    for own in codes:
        tensor, encoding = schema.TensorT(), schema.QuantizationParametersT()
        encoding.scale, encoding.zeroPoint = [own.scale], [own.zero_point - 128]
        tensor.shape, tensor.type, tensor.quantization = [len(A)], schema.TensorType.INT8, encoding
        graph.tensors.append(tensor)
    operator.inputs, operator.outputs = [0, 1], [2]
    operator.builtinOptionsType = schema.BuiltinOptions.AddOptions
    operator.builtinOptions = schema.AddOptionsT()
    graph.operators, graph.inputs, graph.outputs = [operator], [0, 1], [2]
    opcode = schema.OperatorCodeT()
    opcode.version = 2
    proto.version, proto.buffers = 3, [schema.BufferT()]
    proto.operatorCodes, proto.subgraphs = [opcode], [graph]
    builder = flatbuffers.Builder()
    builder.Finish(proto.Pack(builder), b"TFL3")
    session = interpreter.Interpreter(model_content=bytes(builder.Output()))
    session.allocate_tensors()
    for index, operand in enumerate((A, B)):
        session.set_tensor(index, (operand - 128).astype(np.int8))
    session.invoke()
    return session.get_tensor(2).astype(int) + 128


def test_rule_is_that_of_litert(seed: str) -> None:
    rng = generator(seed)
    for _ in range(20):
        a, b, y = draw(rng)
        whole = replace(y, low=0)
        assert np.array_equal(add_codes(A, B, a, b, whole, "litert"), litert((a, b, whole)))


def test_litert_refuses_far_scales() -> None:
    codes = Codes(1.0), Codes(2.0**-11), Codes(1.0)
    with pytest.raises(UserError, match="LiteRT's kernel takes quotients from 2\\^-10 to 2\\^8"):
        add_codes(A, B, *codes, "litert")


def test_layer(seed: str) -> None:
    rng = generator(seed)
    codes = draw(rng)
    layer = Add("litert" if min(ratios(*codes)) >= 2**-10 else "onnxruntime")
    site = Site(inputs=codes[:2], output=codes[2])
    a, b = rng.integers(0, 256, (2, 3, 4, 5, 6), np.uint8)
    y = layer.integers([a, b], layer.operands(site))
    assert np.array_equal(y, add_codes(a, b, *codes, layer.rule))
    assert layer.out_shape((1, 2, 3), (1, 2, 3)) == (1, 2, 3)
    with pytest.raises(UserError, match="added tensors of 1x2x3, 1x2x4, expected two of one shape"):
        layer.out_shape((1, 2, 3), (1, 2, 4))


@pytest.mark.parametrize("rule", ["onnxruntime", "litert"])
def test_every_sum_has_an_adder(seed: str, rule: str) -> None:
    """`fit` itself compares all 65,536 pairs."""
    rng = generator(seed, rule)
    kinds = set()
    for _ in range(40):
        codes = draw(rng)
        table = Add(rule).table(Site(inputs=codes[:2], output=codes[2]))
        adder = adding.fit(table, *map(float, ratios(*codes)))
        assert np.array_equal(adder.table(), table)
        kinds.add("patch" if adder.patch is not None else "tie" if adder.tie else "floor")
    assert "floor" in kinds


def test_known_adders() -> None:
    """Equal scales add; halves tie; tenths tie where float32 says so."""

    def fitted(sa: float, sb: float, sy: float) -> adding.Adder:
        codes = tuple(Codes(float(np.float32(scale))) for scale in (sa, sb, sy))
        table = Add().table(Site(inputs=codes[:2], output=codes[2]))
        return adding.fit(table, *map(float, ratios(*codes)))

    plain = fitted(0.1, 0.1, 0.1)
    assert (plain.factor_a, plain.factor_b, plain.offset, plain.shift) == (1, 1, 0, 0)
    halves = fitted(0.5, 0.5, 1)
    assert halves.tie and halves.patch is None
    tenths = fitted(0.1, 0.7, 1)
    assert tenths.patch is not None and tenths.patch.any() and tenths.shift < 12


def test_a_sum_of_one_code() -> None:
    """Whatever is added, where a clamp leaves a single code: the numbers stay small."""
    table = np.full((256, 256), 255, np.uint8)
    adder = adding.fit(table, 0.9, 2.3)
    assert adder.sum_width < 32
    assert adder.low == adder.high == 255
