"""Every operator that is read, with any scales and zero points, against ONNX Runtime."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_graphs import Graph
from random_networks import generator, random_images

from convstream.model.formats.onnx import read_onnx, write_onnx
from convstream.model.formats.onnx.notes import notes
from convstream.model.formats.onnx.runtime import session
from convstream.model.network import reference

Scaled = tuple[float, int]
UINT8, INT8 = np.uint8, np.int8


class Quantised(Graph):
    """A graph whose tensors have scales and zero points of their own."""

    def __init__(self, shape=("N", 3, 9, 8), dtype=UINT8, opset=13) -> None:
        kind = TensorProto.UINT8 if dtype is UINT8 else TensorProto.INT8
        super().__init__(shape, kind, opset)
        self.dtype = dtype
        self.scaled: Scaled = (0.0173, 117)
        self.started = False

    def zero_point(self, zero: int) -> str:
        return self.constant(np.array(zero - (128 if self.dtype is INT8 else 0), self.dtype))

    def real(self) -> Quantised:
        scale, zero = self.scaled
        names = self.constant(np.array(scale, np.float32)), self.zero_point(zero)
        return self.op("DequantizeLinear", *names)

    def codes(self, scale: float, zero: int) -> Quantised:
        self.scaled = scale, zero
        names = self.constant(np.array(scale, np.float32)), self.zero_point(zero)
        return self.op("QuantizeLinear", *names)

    def requantise(self, scale: float, zero: int) -> Quantised:
        return self.codes(scale, zero).real()

    def weights(self, *shape: int, axis: int | None = 0, dtype: type = INT8) -> str:
        axis = None if self.opset < 13 else axis
        info = np.iinfo(dtype)
        values = self.rng.integers(info.min, info.max + 1, shape, dtype)
        count = 1 if axis is None else shape[axis]
        scales = self.rng.uniform(0.001, 0.01, count).astype(np.float32)
        zero = np.full(count, 128 if dtype is UINT8 else 0, dtype)
        self.weight_scale = scales
        if axis is None:
            scales, zero = scales[0], zero[0]
        names = self.constant(values), self.constant(np.array(scales)), self.constant(zero)
        more = {} if axis is None else {"axis": axis}
        return self.node("DequantizeLinear", *names, **more)

    def biases(self, count: int) -> str:
        scale = np.float32(self.scaled[0]) * self.weight_scale
        values = self.rng.integers(-9000, 9000, count, np.int32)
        if self.opset < 13:
            return self.node("DequantizeLinear", self.constant(values), self.constant(scale))
        scales = np.broadcast_to(scale, count).astype(np.float32)
        return self.node("DequantizeLinear", self.constant(values), self.constant(scales), axis=0)

    def convolve(self, *shape: int, scale=0.031, zero=131, bias=True, **attributes) -> Quantised:
        """Convolution, with its input dequantised, up to its codes."""
        inputs = [self.weights(*shape)] + ([self.biases(shape[0])] if bias else [])
        return self.real().op("Conv", *inputs, **attributes).codes(scale, zero)

    def multiply(self, outputs: int, features: int, scale=0.2, zero=99) -> Quantised:
        weight = self.weights(outputs, features)
        return self.real().op("Gemm", weight, self.biases(outputs), transB=1).codes(scale, zero)

    def model(self) -> onnx.ModelProto:
        kind = TensorProto.UINT8 if self.dtype is UINT8 else TensorProto.INT8
        if self.nodes[-1].op_type != "QuantizeLinear":
            kind = TensorProto.FLOAT
        if self.nodes[-1].op_type == "ArgMax":
            kind = TensorProto.INT64
        if self.nodes[-1].op_type == "Gather":
            kind = TensorProto.UINT8
        graph = helper.make_graph(
            self.nodes,
            "graph",
            [self.input],
            [helper.make_tensor_value_info(self.x, kind, None)],
            self.initialisers,
        )
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, ir_version=8, opset_imports=opsets)


def conv(*shape: int, image=("N", 3, 9, 8), dtype=UINT8, opset=13, **attributes):
    return lambda: Quantised(image, dtype, opset).convolve(*shape, **attributes)


def pooled(op_type: str, image=("N", 3, 9, 8), opset=13, scale=0.0191, zero=100, **attributes):
    def build() -> Quantised:
        g = Quantised(image, opset=opset).convolve(4, 3, 1, 1) if len(image) == 4 else None
        g = g or Quantised(image).convolve(4, 3, 1)
        g.real().op(op_type, **attributes)
        return g.codes(scale, zero) if op_type != "MaxPool" else g.codes(*g.scaled)

    return build


def function(op_type: str, *constants: np.ndarray, scale=0.021, zero=77, opset=16, **attributes):
    """A function between two scales, with a layer behind it."""

    def build() -> Quantised:
        g = Quantised(opset=opset).convolve(4, 3, 3, 3, scale=0.05, zero=101)
        g.real().op(op_type, *map(g.constant, constants), **attributes).codes(scale, zero)
        return g.convolve(3, 4, 2, 2)

    return build


def batch_norm(where: str) -> Callable[[], Quantised]:
    def build() -> Quantised:
        g = Quantised().convolve(4, 3, 3, 3)
        constants = [g.constant(g.rng.uniform(0.3, 2, 4).astype(np.float32)) for _ in range(4)]
        g.real().op("BatchNormalization", *constants)
        if where == "rectified":
            g.op("Relu")
        return g.codes(0.04, 120).convolve(3, 4, 1, 1)

    return build


def by_channel(op_type: str, at: int = 1) -> Callable[[], Quantised]:
    def build() -> Quantised:
        g = Quantised().convolve(4, 3, 3, 3).real()
        constant = g.constant(g.rng.uniform(0.3, 2, (4, 1, 1)).astype(np.float32))
        g.x = g.node(op_type, g.x, constant) if at else g.node(op_type, constant, g.x)
        return g.codes(0.04, 120).convolve(3, 4, 1, 1)

    return build


def decomposed_requantising() -> Quantised:
    return Quantised().convolve(4, 3, 3, 3).real().codes(0.05, 90).convolve(3, 4, 1, 1)


def relu_between(dtype: type, fused: bool, zero: int = 0) -> Callable[[], Quantised]:
    def build() -> Quantised:
        g = Quantised(dtype=dtype)
        weight = g.weights(4, 3, 3, 3)
        g.real().op("Conv", weight, g.biases(4))
        g = g if fused else g.requantise(0.04, 128)
        return g.op("Relu").codes(0.03, zero if fused else 128).convolve(3, 4, 1, 1)

    return build


def relu6() -> Quantised:
    g = Quantised()
    weight = g.weights(4, 3, 3, 3)
    g.real().op("Conv", weight, g.biases(4))
    low, high = (g.constant(np.array(value, np.float32)) for value in (0, 6))
    return g.op("Clip", low, high).codes(6 / 255, 0).convolve(3, 4, 1, 1)


def residual(dtype: type, scale: float = 0.06, zero: int = 140) -> Callable[[], Quantised]:
    def build() -> Quantised:
        g = Quantised(dtype=dtype).convolve(4, 3, 3, 3)
        start, scaled = g.x, g.scaled
        g.convolve(4, 4, 3, 3, pads=[1] * 4, scale=0.05, zero=120).real()
        other = g.x
        g.x, g.scaled = start, scaled
        g.real()
        g.x = g.node("Add", g.x, other)
        return g.codes(scale, zero).convolve(3, 4, 1, 1)

    return build


def concatenated(equal: bool, op_type: str = "Concat") -> Callable[[], Quantised]:
    def build() -> Quantised:
        g = Quantised().convolve(4, 3, 3, 3)
        start, scaled = g.x, g.scaled
        g.convolve(5, 4, 1, 1, scale=0.05, zero=120).real()
        other = g.x
        g.x, g.scaled = start, scaled
        g.convolve(2, 4, 1, 1, scale=0.05 if equal else 0.03, zero=120).real()
        g.x = g.node("Concat", g.x, other, axis=1)
        return g.codes(0.05, 120).convolve(3, 7, 1, 1)

    return build


def upsampled(**attributes) -> Callable[[], Quantised]:
    def build() -> Quantised:
        g = Quantised().convolve(4, 3, 3, 3).real()
        scales = g.constant(np.array([1, 1, 2, 3], np.float32))
        g.op("Resize", "", scales, mode="nearest", **attributes)
        return g.codes(*g.scaled).convolve(3, 4, 3, 3, pads=[1] * 4)

    return build


def upsampled_to_sizes() -> Quantised:
    g = Quantised().convolve(4, 3, 2, 1).real()
    sizes = g.constant(np.array([40, 4, 16, 24], np.int64))
    g.op("Resize", "", "", sizes, mode="nearest", coordinate_transformation_mode="asymmetric",
         nearest_mode="floor")  # fmt: skip
    return g.codes(*g.scaled)


def transposed_weights() -> Quantised:
    g = Quantised(("N", 12))
    g.weights(5, 12)
    weight = g.node("Transpose", g.x if g.x == "never" else g.nodes[-1].output[0], perm=[1, 0])
    return g.real().op("MatMul", weight).codes(0.3, 120)


def clipped_weights() -> Quantised:
    g = Quantised()
    values = g.constant(g.rng.integers(-128, 128, (4, 3, 3, 3), np.int8))
    low, high = (g.constant(np.array(value, np.int8)) for value in (-127, 127))
    clipped = g.node("Clip", values, low, high)
    scale = g.constant(np.array(0.004, np.float32))
    weight = g.node("DequantizeLinear", clipped, scale, g.constant(np.array(0, np.int8)))
    return g.real().op("Conv", weight).codes(0.03, 128)


def uint8_weights() -> Quantised:
    g = Quantised()
    weight = g.weights(4, 3, 3, 3, axis=None, dtype=UINT8)
    return g.real().op("Conv", weight).codes(0.03, 128)


def asymmetric_weights() -> Quantised:
    """Of 7 bits with a zero point of their own, as reduce_range makes them."""
    g = Quantised()
    values = g.constant(g.rng.integers(0, 128, (4, 3, 3, 3), np.uint8))
    scale, zero = g.constant(np.array(0.004, np.float32)), g.constant(np.array(51, np.uint8))
    return g.real().op("Conv", g.node("DequantizeLinear", values, scale, zero)).codes(0.03, 128)


def nothing_everywhere() -> Quantised:
    g = Quantised().op("Identity").convolve(4, 3, 3, 3).op("Identity").real().op("Dropout")
    g.codes(*g.scaled).op("Flatten").op("Identity")
    return g.multiply(5, 168)


def squeezed() -> Quantised:
    g = Quantised().convolve(6, 3, 9, 8).real()
    g.op("Squeeze", g.constant(np.array([2, 3], np.int64)))
    return g.codes(*g.scaled).multiply(5, 6)


def features() -> Quantised:
    return Quantised(("N", 40)).multiply(7, 40).multiply(3, 7)


def image_in_a_row() -> Quantised:
    g = Quantised(("N", 72)).op("Identity")
    g.op("Reshape", g.constant(np.array([-1, 1, 9, 8], np.int64)))
    return g.convolve(4, 1, 3, 3)


def channels_last() -> Quantised:
    g = Quantised(("N", 9, 8, 3)).op("Transpose", perm=[0, 3, 1, 2]).convolve(4, 3, 3, 3)
    g.op("Transpose", perm=[0, 2, 3, 1]).op("Flatten")
    return g.multiply(5, 168)


def tail(*op_types: str) -> Callable[[], Quantised]:
    def build() -> Quantised:
        g = Quantised(("N", 40)).multiply(7, 40).real()
        for op_type in op_types:
            g.op(op_type, axis=1)
        return g

    return build


def table_of_a_gather() -> Quantised:
    g = Quantised().convolve(4, 3, 3, 3).op("Cast", to=TensorProto.INT32)
    offsets = g.constant((256 * np.arange(4, dtype=np.int32))[:, None, None])
    g.op("Add", offsets)
    table = g.constant(g.rng.integers(0, 256, 1024, np.uint8))
    g.x = g.node("Gather", table, g.x)
    return g.convolve(3, 4, 1, 1)


def pixels_normalised() -> Quantised:
    """uint8 pixels as floats, less a mean, by a deviation, as codes."""
    g = Quantised().op("Cast", to=TensorProto.FLOAT)
    mean = g.constant(g.rng.uniform(100, 140, (3, 1, 1)).astype(np.float32))
    g.op("Sub", mean).op("Div", g.constant(np.array(61.3, np.float32))).codes(0.0171, 119)
    return g.convolve(4, 3, 3, 3)


EXACT: dict[str, Callable[[], Quantised]] = {
    "conv": conv(4, 3, 3, 3),
    "no bias": conv(4, 3, 3, 3, bias=False),
    "rectangular": conv(4, 3, 3, 2, strides=[1, 2], pads=[1, 0, 2, 1]),
    "dilated": conv(4, 3, 3, 2, dilations=[2, 3], pads=[2, 1, 0, 3]),
    "groups": conv(4, 2, 3, 3, image=("N", 4, 9, 8), group=2),
    "depthwise": conv(4, 1, 3, 3, image=("N", 4, 9, 8), group=4),
    "depthwise with multiplier": conv(9, 1, 3, 3, group=3, strides=[2, 1]),
    "same upper": conv(4, 3, 3, 2, auto_pad="SAME_UPPER", strides=[2, 2]),
    "same lower": conv(4, 3, 4, 2, auto_pad="SAME_LOWER", strides=[2, 1]),
    "valid": conv(4, 3, 3, 2, auto_pad="VALID"),
    "signal": conv(5, 3, 4, image=("N", 3, 21), strides=[2], pads=[1, 2]),
    "max-pool": pooled("MaxPool", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 2, 1]),
    "max-pool ceil": pooled("MaxPool", kernel_shape=[2, 3], strides=[2, 2], ceil_mode=1),
    "max-pool same": pooled("MaxPool", kernel_shape=[2, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    "max-pool signal": pooled("MaxPool", ("N", 3, 20), kernel_shape=[3], strides=[2]),
    "average": pooled("AveragePool", kernel_shape=[3, 2], strides=[2, 1]),
    "average padded": pooled("AveragePool", kernel_shape=[3, 2], pads=[1, 1, 2, 0]),
    "average counted": pooled(
        "AveragePool", kernel_shape=[3, 3], pads=[1, 1, 2, 0], count_include_pad=1
    ),
    "average ceil": pooled("AveragePool", kernel_shape=[2, 3], strides=[2, 2], ceil_mode=1),
    "average global": pooled("GlobalAveragePool", ("N", 3, 5, 6)),
    "average global of equal scales": pooled("GlobalAveragePool", ("N", 3, 4, 4), 13, 0.031, 131),
    "leaky": function("LeakyRelu", alpha=0.1),
    "leaky opset 10": function("LeakyRelu", alpha=0.1, opset=10),
    "prelu": function("PRelu", np.array([0.23], np.float32)),
    "prelu of channels": by_channel("PRelu"),
    "sigmoid": function("Sigmoid", scale=1 / 256, zero=0),
    "tanh": function("Tanh", scale=1 / 128, zero=128),
    "hard sigmoid": function("HardSigmoid", scale=1 / 255, zero=0),
    "hard swish": function("HardSwish"),
    "elu": function("Elu", alpha=0.7),
    "clip": function("Clip", np.array(-1, np.float32), np.array(1.5, np.float32)),
    "relu": function("Relu"),
    "batch normalisation": batch_norm("alone"),
    "batch normalisation rectified": batch_norm("rectified"),
    "multiplied": by_channel("Mul"),
    "subtracted from": by_channel("Sub", 0),
    "relu fused": relu_between(UINT8, fused=True),
    "relu apart": relu_between(UINT8, fused=False),
    "relu6": relu6,
    "residual": residual(UINT8),
    "residual coarse": residual(UINT8, 0.3, 7),
    "concat": concatenated(equal=False),
    "concat of equal scales": concatenated(equal=True),
    "upsampled": upsampled(coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
    "upsampled by default": upsampled(),
    "upsampled to sizes": upsampled_to_sizes,
    "transposed weights": transposed_weights,
    "clipped weights": clipped_weights,
    "uint8 weights": uint8_weights,
    "asymmetric weights": asymmetric_weights,
    "nothing everywhere": nothing_everywhere,
    "squeezed": squeezed,
    "features": features,
    "image in a row": image_in_a_row,
    "channels last": channels_last,
    "gather": table_of_a_gather,
    "pixels normalised": pixels_normalised,
}


def run(model: onnx.ModelProto, images: np.ndarray, dtype: type) -> np.ndarray:
    runtime = session(model.SerializeToString())
    codes = (images.astype(np.int16) - (128 if dtype is INT8 else 0)).astype(dtype)
    return runtime.run(None, {runtime.get_inputs()[0].name: codes})[0]


@pytest.mark.parametrize("build", EXACT.values(), ids=EXACT)
def test_operator(seed, build, tmp_path):
    """Read, it gives ONNX Runtime's codes; written again, the same network."""
    g = build()
    model, path = g.model(), tmp_path / "graph.onnx"
    onnx.save(model, path)
    quantised = read_onnx(path)
    images = random_images(generator(seed, "operator"), quantised, 40)
    expected = reference.predict(quantised, images)
    given = images
    if g.input.type.tensor_type.shape.dim[-1].dim_value == 3:
        given = images.transpose(0, 2, 3, 1)
    dims = [dim.dim_value for dim in g.input.type.tensor_type.shape.dim][1:]
    found = run(model, given.reshape(len(images), *dims), g.dtype)
    found = found.reshape(len(images), -1).astype(np.int32) + (128 if g.dtype is INT8 else 0)
    assert len(np.unique(expected)) > 20
    np.testing.assert_array_equal(expected, found)
    write_onnx(quantised, tmp_path / "ours.onnx")
    again = read_onnx(tmp_path / "ours.onnx", "graph")
    np.testing.assert_array_equal(reference.predict(again, images), expected)


def average_of_pairs() -> Quantised:
    g = Quantised().convolve(4, 3, 3, 3)
    return g.real().op("AveragePool", kernel_shape=[2, 2]).codes(*g.scaled)


def mean() -> Quantised:
    g = Quantised().convolve(4, 3, 3, 3)
    return g.real().op("ReduceMean", axes=[2, 3]).codes(0.02, 120)


NOTED: dict[str, tuple[Callable[[], Quantised], str]] = {
    "int8 image": (conv(4, 3, 3, 3, dtype=INT8), "computes Conv conv3 in floats"),
    "relu with a zero point": (
        relu_between(UINT8, fused=True, zero=3),
        "computes FusedConv conv3 in floats",
    ),
    "requantised": (decomposed_requantising, "makes one of the QuantizeLinear nodes"),
    "average of pairs": (average_of_pairs, "pool1: ONNX Runtime adds rounded floats"),
    "mean": (mean, "computes ReduceMean .* in floats"),
}


@pytest.mark.parametrize(("build", "expected"), NOTED.values(), ids=NOTED)
def test_other_arithmetic_is_noted(build, expected, tmp_path):
    """What ONNX Runtime computes otherwise than in integers is read, and said."""
    path = tmp_path / "graph.onnx"
    onnx.save(build().model(), path)
    found = "; ".join(notes(path, read_onnx(path)))
    assert re.search(expected, found), found


@pytest.mark.parametrize("name", ["conv", "average", "average global", "residual", "concat"])
def test_integers_are_not_noted(name, tmp_path):
    path = tmp_path / "graph.onnx"
    onnx.save(EXACT[name]().model(), path)
    assert list(notes(path, read_onnx(path))) == []
