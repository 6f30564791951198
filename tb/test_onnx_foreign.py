"""Foreign network files, with every liberty that the form leaves, against ONNX Runtime."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_graphs import Graph, assert_equal_networks
from oracles import as_integers, run_onnx
from random_networks import generator, random_images

from convstream.model.formats.onnx import read_onnx, write_onnx
from convstream.model.network import reference
from convstream.model.network.graph import IMAGE
from convstream.model.network.layers import Conv, Linear, MaxPool


def pool_before_relu() -> Graph:
    g = Graph().dq(8).conv((3, 2, 3, 3), pads=[1, 1, 1, 1])
    g.op("MaxPool", kernel_shape=[2, 2], strides=[2, 2]).op("Relu").q(3)
    g.dq(3).op("Flatten")
    return g.op("Gemm", g.weight((5, 36)), g.bias(5, 9), transB=1)


def relu_before_pool_unquantised() -> Graph:
    g = Graph().dq(8).conv((3, 2, 3, 3), strides=[2, 2])
    g.op("Relu").op("MaxPool", kernel_shape=[3, 3], strides=[1, 1], pads=[2, 2, 2, 2]).q(2)
    g.dq(2).op("Flatten")
    return g.op("Gemm", g.weight((4, 75)), g.bias(4, 8), transB=1)


def quantised_around_everything() -> Graph:
    g = Graph().dq(5).conv((4, 2, 3, 3), 5).op("Relu").q(0).dq(0)
    g.op("MaxPool", kernel_shape=[2, 2], strides=[1, 1]).q(0).dq(0).op("Flatten").q(0).dq(0)
    return g.op("Gemm", g.weight((4, 80)), g.bias(4, 6), transB=1)


def pool_on_integers() -> Graph:
    g = Graph().op("MaxPool", kernel_shape=[2, 2]).dq(8).conv((4, 2, 1, 1)).q(7)
    g.op("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4).op("Flatten").dq(7)
    return g.op("Gemm", g.weight((4, 48)), g.bias(4, 13), transB=1)


def no_relu() -> Graph:
    return Graph().dq(8).conv((4, 2, 3, 3)).q(3).dq(3).conv((5, 4, 2, 2), 3)


def relu_after_quantising() -> Graph:
    return Graph().dq(8).conv((4, 2, 3, 3)).q(3).dq(3).op("Relu").conv((5, 4, 2, 2), 3)


def no_transpose_nor_bias() -> Graph:
    g = Graph().dq(8).op("Flatten", axis=-3)
    g.op("Gemm", g.weight((112, 9))).q(1).dq(1)
    return g.op("Gemm", g.weight((9, 3)), g.bias(3, 7), alpha=1.0, beta=1.0, transA=0, transB=0)


def matmul_and_add() -> Graph:
    g = Graph().dq(8).op("Flatten")
    g.op("MatMul", g.weight((112, 9))).op("Add", g.bias(9, 14)).op("Relu").q(1).dq(1)
    g.op("MatMul", g.weight((9, 7)))
    g.x = g.node("Add", g.bias(7, 7), g.x)
    return g


def matmul_alone() -> Graph:
    g = Graph().dq(8).op("Flatten")
    return g.op("MatMul", g.weight((112, 9))).q(1).dq(1).op("MatMul", g.weight((9, 7)))


def reshape(*target: int, shape=("N", 2, 8, 7), **attributes) -> Callable[[], Graph]:
    def build() -> Graph:
        g = Graph(shape=shape, opset=14)
        g.op("Reshape", g.constant(np.array(target, np.int64)), **attributes).dq(8)
        return g.op("Gemm", g.weight((3, 112)), g.bias(3, 14), transB=1)

    return build


def reshape_there_and_back() -> Graph:
    g = Graph().op("Flatten")
    g.op("Reshape", g.constant(np.array([-1, 2, 8, 7], np.int64))).dq(8)
    return g.conv((3, 2, 4, 4), pads=[3] * 4, strides=[3, 3])


def shape_as_constant_node() -> Graph:
    g = Graph()
    target = helper.make_node(
        "Constant", [], ["shape"], value=numpy_helper.from_array(np.array([0, -1], np.int64))
    )
    g.nodes.append(target)
    g.op("Reshape", "shape").dq(8)
    return g.op("Gemm", g.weight((3, 112)), transB=1)


def float_input() -> Graph:
    g = Graph(input_type=TensorProto.FLOAT).q(4).dq(4)
    return g.conv((3, 2, 3, 3), 4, auto_pad="NOTSET", group=1, dilations=[1, 1])


def clipped_codes() -> Graph:
    """As codes of fewer bits are made: of sums, of sums that a pool passes on, and of codes."""
    g = Graph().dq(8).conv((4, 2, 3, 3)).q(2)
    g.clip(3, 200).dq(2).op("MaxPool", kernel_shape=[2, 2]).conv((5, 4, 2, 2), 2).q(0)
    g.op("MaxPool", kernel_shape=[2, 2]).clip(0, 15).dq(0)
    return g.conv((3, 5, 1, 1), 0)


def codes_clipped_for_one_of_two() -> Graph:
    g = Graph().dq(8).conv((4, 2, 3, 3)).q(2)
    whole, clipped = g.x, g.clip(10, 50).x
    scale = g.scale(2), g.zero()
    g.x = g.node("Add", *(g.node("DequantizeLinear", x, *scale) for x in (whole, clipped)))
    return g.q(1).clip(2, 99).dq(1).conv((3, 4, 1, 1), 1)


def equal_scales_per_channel() -> Graph:
    g = Graph().dq(8)
    values = g.constant(g.rng.integers(-128, 128, (3, 2, 2, 2), np.int8))
    scales = g.constant(np.full(3, 2.0**-6, np.float32))
    zeros = g.constant(np.zeros(3, np.int8))
    weight = g.node("DequantizeLinear", values, scales, zeros, axis=0)
    return g.op("Conv", weight, g.bias(3, 14))


def weights_quantised_in_the_graph() -> Graph:
    g = Graph().dq(8)
    values = g.constant(g.rng.normal(0, 1.5, (3, 2, 2, 2)).astype(np.float32))
    weight = g.node("QuantizeLinear", values, g.scale(6), g.zero(np.int8))
    weight = g.node("DequantizeLinear", weight, g.scale(6), g.zero(np.int8))
    return g.op("Conv", weight)


def float_bias() -> Graph:
    g = Graph().dq(8)
    bias = g.constant(np.array([0.5, -3.0, 2.0**-14], np.float32))
    return g.op("Conv", g.weight((3, 2, 2, 2)), bias)


def coarse_bias_in_a_row() -> Graph:
    g = Graph().dq(8).op("Flatten")
    bias = g.constant(np.array([[1, -2, 3]], np.int32))
    bias = g.node("DequantizeLinear", bias, g.scale(2))
    return g.op("Gemm", g.weight((3, 112)), bias, transB=1)


def no_zero_points() -> Graph:
    g = Graph(opset=21).op("DequantizeLinear", "s8")
    g.constant(np.array([2.0**-8], np.float32), "s8")
    values = g.constant(g.rng.integers(-128, 128, (3, 2, 2, 2), np.int8))
    weight = g.node("DequantizeLinear", values, g.scale(6))
    g.op("Conv", weight).op("QuantizeLinear", g.scale(3), output_dtype=TensorProto.UINT8)
    return g.op("DequantizeLinear", g.scale(3)).conv((2, 3, 4, 4), 3)


def zero_shift() -> Graph:
    return Graph().dq(8).conv((2, 2, 1, 1)).q(14).dq(14).conv((3, 2, 1, 1), 14)


def shared_weights() -> Graph:
    g = Graph().dq(8)
    weight = g.weight((2, 2, 3, 3))
    return g.op("Conv", weight).q(3).dq(3).op("Conv", weight)


def average_pool() -> Graph:
    g = Graph().dq(8).conv((3, 2, 3, 3), pads=[1] * 4).q(2).dq(2)
    g.op("AveragePool", kernel_shape=[2, 2], strides=[2, 2], count_include_pad=1).q(3).dq(3)
    g.op("Flatten")
    return g.op("Gemm", g.weight((5, 36)), g.bias(5, 9), transB=1)


def average_pool_of_the_image() -> Graph:
    g = Graph(opset=19).dq(8)
    g.op("AveragePool", kernel_shape=[4, 4], auto_pad="NOTSET").q(6).dq(6)
    return g.conv((3, 2, 2, 2), 6)


def average_pool_last() -> Graph:
    return Graph().dq(8).conv((3, 2, 3, 3)).q(1).dq(1).op("AveragePool", kernel_shape=[4, 4])


def average_pools_in_a_row() -> Graph:
    g = Graph().dq(8).op("AveragePool", kernel_shape=[2, 2]).q(8).dq(8)
    return g.op("AveragePool", kernel_shape=[4, 4], strides=[2, 2]).op("Flatten")


def average_pool_among_others() -> Graph:
    """Relu and MaxPool may stand between an average and its rounding, and a Relu before it."""
    g = Graph().dq(8).conv((3, 2, 1, 1)).q(1).dq(1).op("Relu")
    g.op("AveragePool", kernel_shape=[2, 2]).op("Relu").op("MaxPool", kernel_shape=[2, 2]).q(2)
    return g.dq(2).conv((2, 3, 1, 1), 2)


def global_average_pool() -> Graph:
    g = Graph(("N", 2, 8, 8)).dq(8).conv((6, 2, 3, 3), pads=[1] * 4).op("Relu").q(2).dq(2)
    g.op("GlobalAveragePool").q(3).dq(3).op("Flatten")
    return g.op("Gemm", g.weight((5, 6)), g.bias(5, 9), transB=1)


def global_average_pool_last() -> Graph:
    return Graph(("N", 3, 4, 4)).dq(8).op("GlobalAveragePool")


def mean_flat() -> Graph:
    g = Graph(("N", 3, 4, 4)).dq(8).op("ReduceMean", axes=[2, 3], keepdims=0).q(9).dq(9)
    return g.op("Gemm", g.weight((5, 3)), g.bias(5, 15), transB=1)


def mean_of_given_axes() -> Graph:
    g = Graph(("N", 3, 4, 4), opset=18).dq(8)
    g.op("ReduceMean", g.constant(np.array([-1, -2], np.int64))).q(5).dq(5)
    return g.conv((5, 3, 1, 1), 5)


FOREIGN = {
    function.__name__: function
    for function in (
        pool_before_relu,
        relu_before_pool_unquantised,
        quantised_around_everything,
        pool_on_integers,
        no_relu,
        relu_after_quantising,
        no_transpose_nor_bias,
        matmul_and_add,
        matmul_alone,
        reshape_there_and_back,
        shape_as_constant_node,
        float_input,
        clipped_codes,
        codes_clipped_for_one_of_two,
        equal_scales_per_channel,
        weights_quantised_in_the_graph,
        float_bias,
        coarse_bias_in_a_row,
        no_zero_points,
        zero_shift,
        shared_weights,
        average_pool,
        average_pool_of_the_image,
        average_pool_last,
        average_pools_in_a_row,
        average_pool_among_others,
        global_average_pool,
        global_average_pool_last,
        mean_flat,
        mean_of_given_axes,
    )
} | {
    "reshape_0": reshape(0, -1),
    "reshape_-1": reshape(-1, 112),
    "reshape_1": reshape(1, -1, shape=(1, 2, 8, 7)),
    "reshape_allowzero": reshape(-1, 112, allowzero=1),
}


@pytest.mark.parametrize("build", FOREIGN.values(), ids=FOREIGN)
def test_foreign_file(seed, build, tmp_path):
    graph = build()
    model = graph.model()
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, tmp_path / "foreign.onnx")
    quantised = read_onnx(tmp_path / "foreign.onnx")
    assert quantised.network.name == "foreign"
    count = graph.input.type.tensor_type.shape.dim[0].dim_value or 6
    images = random_images(generator(seed, "foreign"), quantised, count + 2)[-count:]
    fed = images
    if graph.input.type.tensor_type.elem_type == TensorProto.FLOAT:
        fed = quantised.codes[IMAGE].real(images).astype(np.float32)
    expected = reference.predict(quantised, images)
    for optimise in (False, True):
        logits = run_onnx(model, fed, optimise)[0].reshape(count, -1)
        np.testing.assert_array_equal(as_integers(logits, quantised), expected)
    write_onnx(quantised, tmp_path / "ours.onnx")
    again = read_onnx(tmp_path / "ours.onnx", "foreign")
    assert_equal_networks(again, quantised)


@pytest.mark.parametrize("before", [False, True], ids=["codes", "floats"])
def test_image_of_fewer_codes_is_clipped(seed, before, tmp_path):
    """The hardware may be given any byte, so a table clips it."""
    g = Graph(input_type=TensorProto.FLOAT)
    if before:
        limits = (g.constant(np.float32(limit)) for limit in (0.0, 0.96))
        g.op("Clip", *limits).q(4).dq(4)
    else:
        g.q(4).clip(0, 15).dq(4)
    model, path = g.conv((3, 2, 3, 3), 4).model(), tmp_path / "narrow.onnx"
    onnx.save(model, path)
    quantised = read_onnx(path)
    assert [node.layer.kind for node in quantised.network.nodes] == ["table", "conv"]
    images = random_images(generator(seed, "narrow"), quantised, 8)
    fed = quantised.codes[IMAGE].real(images).astype(np.float32)
    (logits,) = run_onnx(model, fed)
    expected = reference.predict(quantised, images)
    np.testing.assert_array_equal(as_integers(logits.reshape(8, -1), quantised), expected)


def test_nodes_in_any_order(seed, tmp_path):
    """The standard wants the nodes in topological order, but ONNX Runtime runs them in any."""
    model, path = pool_before_relu().model(), tmp_path / "network.onnx"
    onnx.save(model, path)
    expected = read_onnx(path)
    rng = generator(seed, "order")
    nodes = list(model.graph.node)
    for _ in range(10):
        del model.graph.node[:]
        model.graph.node.extend(nodes[place] for place in rng.permutation(len(nodes)))
        onnx.save(model, path)
        assert_equal_networks(read_onnx(path), expected)
        run_onnx(path, np.zeros((1, 2, 8, 7), np.uint8))


def test_file_from_the_exporter_of_pytorch(seed, tmp_path):
    """Fake quantisation as PyTorch exports it, weights included; its input is a float."""
    torch = pytest.importorskip("torch")

    def quantised(x, exponent: int, low: int, high: int):
        return torch.fake_quantize_per_tensor_affine(x, 2.0**-exponent, 0, low, high)

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(7)
            self.conv, self.fc = torch.nn.Conv2d(2, 4, 3), torch.nn.Linear(36, 5)
            for layer, exponent in ((self.conv, 14), (self.fc, 11)):
                layer.bias.data = quantised(layer.bias.data, exponent, -(2**20), 2**20)

        def forward(self, x):
            x = quantised(x, 8, 0, 255)
            weight = quantised(self.conv.weight, 6, -128, 127)
            x = torch.nn.functional.conv2d(x, weight, self.conv.bias, 2, 1)
            x = quantised(torch.relu(torch.max_pool2d(x, 2, 1)), 5, 0, 255).flatten(1)
            return torch.nn.functional.linear(
                x, quantised(self.fc.weight, 6, -128, 127), self.fc.bias
            )

    net, path = Net().eval(), tmp_path / "torch.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter that needs no further package is an old one
        torch.onnx.export(net, (torch.zeros(1, 2, 8, 8),), path, dynamo=False)
    network = read_onnx(path)
    assert network.network.layers == (Conv(4, 3, 2, 1), MaxPool(2, 1), Linear(5))
    images = random_images(generator(seed, "torch"), network, 20)
    logits = net(torch.from_numpy(images).float() / 256).detach().numpy()
    np.testing.assert_array_equal(as_integers(logits, network), reference.predict(network, images))
    theirs = run_onnx(path, np.ldexp(images[-1:].astype(np.float32), -8))[0]
    np.testing.assert_array_equal(theirs, logits[-1:])
