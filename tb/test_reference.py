"""The int8 reference against exact integer sums, PyTorch in float64, and rational arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from oracles import run_torch
from random_networks import (
    generator,
    random_images,
    random_network,
    random_parameters,
    random_window,
)

from convstream.model.base.errors import UserError
from convstream.model.network import reference
from convstream.model.network.exponents import Shifts, power_of_two
from convstream.model.network.graph import Network
from convstream.model.network.layers import AvgPool, Conv, Linear
from convstream.model.network.layers.avgpool import avgpool2d
from convstream.model.network.layers.conv import conv2d
from convstream.model.network.layers.linear import fc
from convstream.model.network.layers.maxpool import maxpool2d
from convstream.model.network.layers.windows import Window

CASES = range(40)


def random_layer(
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Window, int, int]:
    """Input, weights, biases, window, groups and pad code of a small convolution."""
    window, size = random_window(rng, most_dilation=3)
    groups, channels, out_channels = rng.integers(1, 4, 3)
    x = rng.integers(0, 256, (3, groups * channels, *size), np.uint8)
    weight_shape = (groups * out_channels, channels, *window.kernel)
    weight = rng.integers(-128, 128, weight_shape, np.int8)
    bias = rng.integers(-(2**20), 2**20, groups * out_channels, np.int32)
    return x, weight, bias, window, int(groups), int(rng.integers(0, 256))


def padded(x: np.ndarray, window: Window, value: int) -> np.ndarray:
    top, left, bottom, right = window.padding
    return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=value)


def sums_by_hand(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, window: Window, groups: int, pad_code: int
) -> np.ndarray:
    """The definition of a convolution, window by window, in int64."""
    x = padded(x.astype(np.int64), window, pad_code)
    x = np.stack(np.split(x, groups, 1), 1)[:, :, None]  # N x G x 1 x IC/G x H x W
    weight = weight.astype(np.int64).reshape(groups, len(weight) // groups, *weight.shape[1:])
    (height, width), (below, apart) = window.span, window.dilation
    rows = range(0, x.shape[-2] - height + 1, window.stride[0])
    columns = range(0, x.shape[-1] - width + 1, window.stride[1])
    acc = np.empty((len(x), len(bias), len(rows), len(columns)), np.int64)
    for oy, y in enumerate(rows):
        for ox, left in enumerate(columns):
            seen = x[..., y : y + height : below, left : left + width : apart]
            acc[:, :, oy, ox] = (seen * weight).sum((3, 4, 5)).reshape(len(x), -1) + bias
    return acc


def sums_by_torch(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, window: Window, groups: int, pad_code: int
) -> np.ndarray:
    torch = pytest.importorskip("torch")
    arrays = (padded(x, window, pad_code), weight, bias)
    tensors = [torch.from_numpy(array).double() for array in arrays]
    conv2d = torch.nn.functional.conv2d
    return conv2d(*tensors, window.stride, 0, window.dilation, groups).numpy()


@pytest.mark.parametrize("oracle", [sums_by_hand, sums_by_torch])
@pytest.mark.parametrize("case", CASES)
def test_conv2d(seed, case, oracle):
    *arrays, window, groups, pad_code = random_layer(generator(seed, "conv2d", case))
    acc = conv2d(*arrays, window.stride, window.padding, window.dilation, groups, pad_code)
    assert acc.dtype == np.int32
    np.testing.assert_array_equal(acc, oracle(*arrays, window, groups, pad_code))


@pytest.mark.parametrize("case", CASES)
def test_fc(seed, case):
    torch = pytest.importorskip("torch")
    rng = generator(seed, "fc", case)
    features, out = rng.integers(1, 100, 2)
    x = rng.integers(0, 256, (5, features), np.uint8)
    weight = rng.integers(-128, 128, (out, features), np.int8)
    bias = rng.integers(-(2**31) + 2**25, 2**31 - 2**25, out, np.int32)
    acc = fc(x, weight, bias)
    assert acc.dtype == np.int32
    np.testing.assert_array_equal(acc, x.astype(np.int64) @ weight.T.astype(np.int64) + bias)
    tensors = [torch.from_numpy(array).double() for array in (x, weight, bias)]
    np.testing.assert_array_equal(acc, torch.nn.functional.linear(*tensors).numpy())


@pytest.mark.parametrize("case", CASES)
def test_maxpool2d(seed, case):
    torch = pytest.importorskip("torch")
    rng = generator(seed, "maxpool2d", case)
    window, size = random_window(rng)
    x = rng.integers(0, 256, (3, int(rng.integers(1, 5)), *size), np.uint8)
    pooled = maxpool2d(x, window.kernel, window.stride, window.padding)
    assert pooled.dtype == np.uint8
    tensor = torch.from_numpy(padded(x, window, 0)).double()
    expected = torch.nn.functional.max_pool2d(tensor, window.kernel, window.stride)
    np.testing.assert_array_equal(pooled, expected.numpy())


@pytest.mark.parametrize("case", CASES)
def test_avgpool2d(seed, case):
    """The sums are KH*KW times PyTorch's averages."""
    torch = pytest.importorskip("torch")
    rng = generator(seed, "avgpool2d", case)
    window, size = random_window(rng)
    x = rng.integers(0, 256, (3, int(rng.integers(1, 5)), *size), np.uint8)
    pad_code = int(rng.integers(0, 256))
    sums = avgpool2d(x, window.kernel, window.stride, window.padding, pad_code)
    assert sums.dtype == np.int32
    tensor = torch.from_numpy(padded(x, window, pad_code)).double()
    means = torch.nn.functional.avg_pool2d(tensor, window.kernel, window.stride).numpy()
    np.testing.assert_array_equal(sums, np.rint(means * window.taps))


def test_avgpool2d_rounds_half_to_even():
    x = np.array([[[[0, 1], [1, 0]], [[1, 2], [2, 1]], [[255, 255], [255, 255]]]], np.uint8)
    codes = reference.requantise(avgpool2d(x, 2, 2), AvgPool(2, 2).sum_exponent)
    assert codes.ravel().tolist() == [0, 2, 255]


def test_maxpool2d_with_more_padding_than_torch_takes():
    x = np.arange(1, 7, dtype=np.uint8).reshape(1, 1, 2, 3)
    expected = [[1, 2, 3, 3, 3], [4, 5, 6, 6, 6], [4, 5, 6, 6, 6], [4, 5, 6, 6, 6]]
    np.testing.assert_array_equal(maxpool2d(x, 3, 1, 2), [[expected]])


@pytest.mark.parametrize("shift", [0, 1, 2, 7, 15, 22, 30, 31, 32, 40, 63, 240])
def test_requantise(seed, shift):
    rng = generator(seed, "requantise", shift)
    step = 2.0**shift
    near = np.concatenate(
        [
            np.array([k, k + 0.5]) * step + d
            for k in (-1, 0, 1, 2, 127, 254, 255)
            for d in (-1, 0, 1)
        ]
    )
    acc = np.concatenate([near, rng.uniform(-2 * step, 300 * step, 200), [-(2**31), 2**31 - 1]])
    acc = acc[np.abs(acc) <= 2**31 - 1].astype(np.int32)
    expected = [min(max(round(Fraction(value, 2**shift)), 0), 255) for value in acc.tolist()]
    y = reference.requantise(acc, shift)
    assert y.dtype == np.uint8
    np.testing.assert_array_equal(y, expected)


def test_requantise_leaves_its_input_as_it_is():
    acc = np.array([-5, 3, 1000], np.int32)
    reference.requantise(acc, 1)
    np.testing.assert_array_equal(acc, [-5, 3, 1000])


def test_argmax_takes_the_lowest_of_equals():
    logits = np.array([[-7, -3, -3], [5, 5, 5], [-(2**31), 2**31 - 1, 2**31 - 1]], np.int32)
    np.testing.assert_array_equal(reference.argmax(logits), [1, 0, 1])


@pytest.mark.parametrize("features", [517, 519, 60000])
def test_sums_beyond_float32_are_exact(features):
    """Odd sums around 2**24 and near the end of int32, where float32 would lose the last bit."""
    x = np.full((1, features), 255, np.uint8)
    weight = np.full((2, features), 127, np.int8)
    weight[1] = -128
    bias = np.array([0, 1], np.int32)
    expected = [[255 * 127 * features, -255 * 128 * features + 1]]
    np.testing.assert_array_equal(fc(x, weight, bias), expected)
    wide = x.reshape(1, features, 1, 1), weight.reshape(2, features, 1, 1), bias
    np.testing.assert_array_equal(conv2d(*wide)[:, :, 0, 0], expected)


def test_bias_counts_towards_the_bound():
    """The weights alone would fit into float32, the sum with the bias does not."""
    weight, bias = np.array([[1]], np.int8), np.array([2**24], np.int32)
    assert fc(np.array([[1]], np.uint8), weight, bias) == 2**24 + 1


def test_accumulator_beyond_int32_is_refused():
    with pytest.raises(UserError, match="beyond int32"):
        fc(
            np.full((1, 1), 255, np.uint8),
            np.ones((1, 1), np.int8),
            np.array([2**31 - 1], np.int32),
        )


@pytest.mark.parametrize("case", range(20))
def test_features_are_those_of_pytorch(seed, case):
    rng = generator(seed, "predict", case)
    quantised = random_network(rng)
    images = random_images(rng, quantised, 37)
    maps = reference.features(quantised, images, threads=2)
    expected = run_torch(quantised, images)
    assert list(maps) == list(expected) == [node.name for node in quantised.network.nodes]
    for node in quantised.network.nodes:
        output = maps[node.name]
        assert output.dtype == (np.uint8 if quantised.codes_of(node.name) else np.int32)
        assert output.shape == (37, *node.out_shape)
        np.testing.assert_array_equal(output, expected[node.name], err_msg=node.name)
    outputs = reference.predict(quantised, images, threads=1)
    assert outputs.shape == (37, quantised.network.classes)
    np.testing.assert_array_equal(outputs, output.reshape(outputs.shape))


def test_predict_of_any_number_of_images(seed):
    rng = generator(seed, "batches")
    network = Network.chain("many", (Conv(2, 3), Linear(3)), (1, 5, 5))
    quantised = power_of_two(network, random_parameters(rng, network))
    images = random_images(rng, quantised, 5000)
    logits = reference.predict(quantised, images)
    for count in (0, 1, 2, 4095, 4999):
        np.testing.assert_array_equal(reference.predict(quantised, images[:count]), logits[:count])
    np.testing.assert_array_equal(
        reference.predict(
            quantised, images[::-1].transpose(0, 1, 3, 2).copy().transpose(0, 1, 3, 2)
        ),
        logits[::-1],
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, w, b: conv2d(x.astype(np.int16), w, b), "int16.*expected uint8"),
        (lambda x, w, b: conv2d(x[0], w, b), "input of conv2d"),
        (lambda x, w, b: conv2d(x.tolist(), w, b), "found list"),
        (lambda x, w, b: conv2d(x, w.astype(float), b), "expected int8"),
        (lambda x, w, b: conv2d(x, w, b.astype(np.int64)), "expected int32"),
        (lambda x, w, b: conv2d(x, w[:, :1], b), "do not fit"),
        (lambda x, w, b: conv2d(x, w, b, groups=3), "3 groups; expected groups that divide both"),
        (lambda x, w, b: conv2d(x, w, b, 1, (0, 0, 0, 3)), "padding < kernel"),
        (lambda x, w, b: conv2d(x, w, b, (1, 0)), "stride >= 1"),
        (lambda x, w, b: conv2d(x, w, b, dilation=(1, 3)), "larger than the 6x6 input"),
        (lambda x, w, b: conv2d(x, w, b[:1]), "do not fit"),
        (lambda x, w, b: conv2d(x[:, :, :2], w, b), "larger than the 2x6 input"),
        (lambda x, w, b: conv2d(x, w, b, 0), "stride >= 1"),
        (lambda x, w, b: conv2d(x, w, b, 1, 3), "padding < kernel"),
        (lambda x, w, b: fc(x, w[:, :, 0, 0], b), "input of fc"),
        (lambda x, w, b: fc(x[:, :, 0, 0], w[:, :, 0], b), "weights of fc"),
        (lambda x, w, b: fc(x[:, 0, 0], w[:, :, 0, 0], b), "do not fit"),
        (lambda x, w, b: fc(x[:, :, 0, 0], w[:, :, 0, 0], b[1:]), "do not fit"),
        (lambda x, w, b: reference.requantise(b.astype(np.int64), 1), "expected int32"),
        (lambda x, w, b: reference.requantise(b, -1), "expected 0 or more"),
        (lambda x, w, b: maxpool2d(b, 2, 2), "input of maxpool2d"),
        (lambda x, w, b: maxpool2d(x, 7, 1), "window is larger"),
        (lambda x, w, b: maxpool2d(x, 2, 1, 2), "padding < kernel"),
        (lambda x, w, b: avgpool2d(b, 2, 2), "input of avgpool2d"),
        (lambda x, w, b: avgpool2d(x, 8, 1), "window is larger"),
        (lambda x, w, b: reference.argmax(b), "the logits"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    x = np.zeros((1, 2, 6, 6), np.uint8)
    weight, bias = np.zeros((4, 2, 3, 3), np.int8), np.zeros(4, np.int32)
    with pytest.raises(UserError, match=message):
        call(x, weight, bias)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((1, 1, 28, 28), np.float32), "found float32.*expected uint8"),
        (np.zeros((28, 28), np.uint8), "N x C x H x W"),
        (np.zeros((1, 3, 28, 28), np.uint8), "3 x 28 x 28, expected 1 x 28 x 28"),
        (np.zeros((1, 1, 28, 27), np.uint8), "1 x 28 x 27, expected 1 x 28 x 28"),
        ([[1]], "found list"),
    ],
)
def test_images_that_do_not_fit_are_refused(images, message):
    network = Network.chain("fits", (Linear(1),))
    p = Shifts(np.ones((1, 784), np.int8), np.zeros(1, np.int32), 8, 0, None)
    with pytest.raises(UserError, match=message):
        reference.predict(power_of_two(network, {"fc": p}), images)
