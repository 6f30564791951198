"""The float NumPy engine against PyTorch, finite differences and the int8 reference."""

from __future__ import annotations

import numpy as np
import pytest
from random_networks import generator, random_images, random_network, random_window

from convstream.model.base.errors import UserError
from convstream.model.network import floats, reference
from convstream.model.network.examples import NETWORKS
from convstream.model.network.exponents import (
    Shifts,
    from_integers,
    parameter_shapes,
    power_of_two,
    to_integers,
)
from convstream.model.network.floats import FloatNetwork
from convstream.model.network.graph import Network
from convstream.model.network.layers import AvgPool, Conv, Layer, Linear, MaxPool
from convstream.model.network.layers.avgpool import avgpool2d_backward
from convstream.model.network.layers.base import FAST
from convstream.model.network.layers.conv import (
    conv2d_backward_fast,
    conv2d_backward_slow,
    conv2d_fast,
    conv2d_slow,
)
from convstream.model.network.layers.linear import fc_backward, fc_forward
from convstream.model.network.layers.maxpool import maxpool2d, maxpool2d_backward
from convstream.model.network.layers.windows import (
    Window,
    images_innermost,
    windows_to_columns,
)

CASES = range(12)
TOLERANCE = 1e-9
CONVOLUTIONS = {
    "slow": (conv2d_slow, conv2d_backward_slow),
    "fast": (conv2d_fast, conv2d_backward_fast),
}


def relative(found: np.ndarray, expected: np.ndarray, scale: float = 1.0) -> float:
    """Largest error relative to the largest expected value.

    scale: of what went into the sums; where it all but cancels out, the rest is rounding.
    """
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-6 * scale))


def random_conv(rng: np.random.Generator) -> tuple[Conv, np.ndarray, np.ndarray, np.ndarray]:
    """A small convolution, and its x, weight and bias in float64."""
    window, size = random_window(rng, most_dilation=3)
    groups, channels, out_channels, count = (int(size) for size in rng.integers(1, 4, 4))
    layer = Conv(
        groups * out_channels,
        window.kernel,
        window.stride,
        window.padding,
        window.dilation,
        groups,
    )
    x = rng.normal(size=(count, groups * channels, *size))
    weight = rng.normal(size=layer.weight_shape(x.shape[1:]))
    return layer, x, weight, rng.normal(size=len(weight))


def framed(functional, x, window: Window, value: float = 0.0):
    """x with the window's padding, by PyTorch."""
    top, left, bottom, right = window.padding
    return functional.pad(x, (left, right, top, bottom), value=value)


def autograd(function, dy_of, *arrays):
    """PyTorch's y and the gradients of sum(y * dy) with respect to `arrays`; also dy."""
    torch = pytest.importorskip("torch")
    tensors = [torch.from_numpy(array).requires_grad_() for array in arrays]
    y = function(torch.nn.functional, *tensors)
    dy = dy_of(y.shape)
    y.backward(torch.from_numpy(dy))
    return y.detach().numpy(), dy, [tensor.grad.numpy() for tensor in tensors]


def differences(loss, array: np.ndarray, rng: np.random.Generator, count: int = 6):
    """(index, slope) of `loss()` by central differences at a few random elements of `array`."""
    for _ in range(count):
        index = tuple(int(rng.integers(size)) for size in array.shape)
        kept, step = array[index], 1e-6
        values = []
        for sign in (1, -1):
            array[index] = kept + sign * step
            values.append(loss())
        array[index] = kept
        yield index, (values[0] - values[1]) / (2 * step)


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("case", CASES)
def test_conv2d_equals_torch(seed, case, name):
    rng = generator(seed, "conv2d", case)
    layer, *arrays = random_conv(rng)
    window = layer.window
    forward, backward = CONVOLUTIONS[name]
    y, dy, gradients = autograd(
        lambda f, x, w, b: f.conv2d(
            framed(f, x, window), w, b, window.stride, 0, window.dilation, layer.groups
        ),
        lambda shape: rng.normal(size=shape),
        *arrays,
    )
    assert relative(forward(layer, *arrays), y) < TOLERANCE
    found = backward(layer, dy, *arrays[:2])
    for ours, expected in zip(found, gradients, strict=True):
        assert relative(ours, expected) < TOLERANCE


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("case", range(4))
def test_conv2d_gradients_equal_finite_differences(seed, case, name):
    rng = generator(seed, "differences", case)
    layer, x, weight, bias = random_conv(rng)
    forward, backward = CONVOLUTIONS[name]
    dy = rng.normal(size=forward(layer, x, weight, bias).shape)

    def loss() -> float:
        return float((forward(layer, x, weight, bias) * dy).sum())

    gradients = backward(layer, dy, x, weight)
    for array, gradient in zip((x, weight, bias), gradients, strict=True):
        for index, slope in differences(loss, array, rng):
            assert gradient[index] == pytest.approx(slope, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("case", range(4))
def test_layouts_and_columns_do_not_matter(seed, case):
    rng = generator(seed, "layouts", case)
    layer, x, weight, bias = random_conv(rng)
    inner = images_innermost(x)
    assert inner.strides[0] == inner.itemsize
    columns = windows_to_columns(inner, layer.window)
    plain = conv2d_fast(layer, x, weight, bias)
    given = conv2d_fast(layer, inner, weight, bias, columns)
    np.testing.assert_allclose(plain, given, rtol=1e-13, atol=1e-13)
    dy = rng.normal(size=plain.shape)
    for one, other in zip(
        conv2d_backward_fast(layer, dy, x, weight),
        conv2d_backward_fast(layer, images_innermost(dy), inner, weight, columns),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_maxpool2d_equals_torch(seed, case):
    rng = generator(seed, "maxpool2d", case)
    window, size = random_window(rng)
    layer = MaxPool(window.kernel, window.stride, window.padding)
    # Few values, so that there are ties.
    x = rng.integers(-2, 3, (3, int(rng.integers(1, 4)), *size)).astype(float)
    y, dy, (dx,) = autograd(
        lambda f, x: f.max_pool2d(framed(f, x, window, -np.inf), window.kernel, window.stride),
        lambda shape: rng.normal(size=shape),
        x,
    )
    np.testing.assert_array_equal(maxpool2d(x, window.kernel, window.stride, window.padding), y)
    assert relative(maxpool2d_backward(layer, dy, x, y), dx) < TOLERANCE


def test_maxpool2d_leaves_its_input_as_it_is():
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    maxpool2d(x, 2, 2)
    np.testing.assert_array_equal(x.ravel(), np.arange(16.0))


def test_maxpool2d_with_more_padding_than_torch_takes():
    x = -np.arange(1.0, 7).reshape(1, 1, 2, 3)
    y = maxpool2d(x, 3, 1, 2)
    expected = [[-1, -1, -1, -2, -3]] * 3 + [[-4, -4, -4, -5, -6]]
    np.testing.assert_array_equal(y, [[expected]])
    dx = maxpool2d_backward(MaxPool(3, 1, 2), np.ones_like(y), x, y)
    np.testing.assert_array_equal(dx, [[[[9, 3, 3], [3, 1, 1]]]])


@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_avgpool2d_equals_torch_and_finite_differences(seed, case, include):
    rng = generator(seed, "avgpool2d", case)
    window, size = random_window(rng)
    x = rng.normal(size=(3, int(rng.integers(1, 4)), *size))
    layer = AvgPool(window.kernel, window.stride, window.padding, include)

    def average(functional, x):
        sums = functional.avg_pool2d(framed(functional, x, window), window.kernel, window.stride)
        if include:
            return sums
        inside = framed(functional, x.detach() * 0 + 1, window)
        return sums / functional.avg_pool2d(inside, window.kernel, window.stride)

    expected, dy, (dx,) = autograd(average, lambda shape: rng.normal(size=shape), x)
    y, backward = layer.forward([x], ())
    assert relative(y, expected) < TOLERANCE
    (found,), weights = backward(dy)
    assert weights == ()
    assert relative(found, dx) < TOLERANCE
    for index, slope in differences(lambda: float((layer.forward([x], ())[0] * dy).sum()), x, rng):
        assert found[index] == pytest.approx(slope, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", [Conv, MaxPool, AvgPool])
def test_layers_are_the_same_in_torch(seed, case, kind):
    torch = pytest.importorskip("torch")
    rng = generator(seed, kind.kind, case)
    layer, *arrays = random_conv(rng)
    if kind is not Conv:
        window, size = random_window(rng)
        more = {} if kind is MaxPool else dict(count_include_pad=bool(case % 2))
        layer = kind(window.kernel, window.stride, window.padding, **more)
        arrays = [rng.normal(size=(2, 3, *size))]
    x, *weights = (torch.from_numpy(array) for array in arrays)
    found, _ = layer.forward(arrays[:1], arrays[1:])
    assert relative(found, layer.torch_forward([x], weights).numpy()) < TOLERANCE


@pytest.mark.parametrize("case", range(4))
def test_fc_and_relu_equal_torch(seed, case):
    rng = generator(seed, "fc", case)
    count, features, out = rng.integers(1, 20, 3)
    arrays = [rng.normal(size=s) for s in ((count, features), (out, features), (out,))]

    y, dy, gradients = autograd(
        lambda f, *t: f.relu(f.linear(*t)), lambda shape: rng.normal(size=shape), *arrays
    )
    hidden = fc_forward(*arrays)
    found = floats.relu(hidden)
    assert relative(found, y) < TOLERANCE
    for ours, expected in zip(
        fc_backward(floats.relu_backward(dy, found), *arrays[:2]), gradients, strict=True
    ):
        assert relative(ours, expected) < TOLERANCE


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_equals_torch(seed, smoothing):
    rng = generator(seed, "cross_entropy")
    logits, labels = rng.normal(scale=30, size=(7, 5)), rng.integers(0, 5, 7)
    torch = pytest.importorskip("torch")
    loss, _, (dlogits,) = autograd(
        lambda f, x: f.cross_entropy(x, torch.from_numpy(labels), label_smoothing=smoothing),
        lambda shape: np.ones(shape),
        logits,
    )
    found, gradient = floats.cross_entropy(logits, labels, smoothing)
    assert found == pytest.approx(float(loss), rel=1e-12)
    assert relative(gradient, dlogits) < TOLERANCE


def random_float_network(rng: np.random.Generator, network: Network) -> FloatNetwork:
    parameters = {
        name: rng.normal(scale=np.prod(shape[1:]) ** -0.5, size=shape)
        for name, shape in parameter_shapes(network).items()
    }
    return FloatNetwork(network, parameters)


def torch_gradients(model: FloatNetwork, images, labels, exponents=None):
    """Logits and gradients of `model` as `model/train.py` computes them with PyTorch."""
    torch = pytest.importorskip("torch")
    from convstream.model.learning.torch_network import TorchNetwork

    twin = TorchNetwork(model)
    logits = twin(torch.from_numpy(images).double(), exponents)
    if model.parameters:
        torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels)).backward()
    return logits.detach().numpy(), {k: v.grad.numpy() for k, v in twin.named_parameters()}


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("case", range(10))
def test_random_networks_equal_torch(seed, case, rounded):
    rng = generator(seed, "networks", case)
    quantised = random_network(rng, max_size=12, max_channels=8)
    images = random_images(rng, quantised)
    labels = rng.integers(0, quantised.network.classes, len(images))
    if rounded:
        model, exponents = FloatNetwork.from_integers(quantised)
    else:
        model, exponents = random_float_network(rng, quantised.network), None
    logits, steps = model.forward(images, exponents)
    expected, gradients = torch_gradients(model, images, labels, exponents)
    assert relative(logits, expected) < TOLERANCE
    for convolution in floats.CONVOLUTIONS:
        logits, steps = model.forward(images, exponents, convolution=convolution)
        _, dlogits = floats.cross_entropy(logits, labels)
        found = model.backward(dlogits, steps)
        assert found.keys() == gradients.keys()
        largest = max([1.0, *(np.abs(gradient).max() for gradient in gradients.values())])
        for name, gradient in found.items():
            assert relative(gradient, gradients[name], largest) < TOLERANCE


@pytest.mark.parametrize("name", NETWORKS)
def test_the_networks_equal_torch_and_finite_differences(seed, name):
    rng = generator(seed, "gradients", name)
    model = random_float_network(rng, NETWORKS[name])
    images = rng.integers(0, 256, (5, *model.network.input_shape), np.uint8)
    labels = rng.integers(0, 10, len(images))
    logits, steps = model.forward(images)
    loss, dlogits = floats.cross_entropy(logits, labels)
    found = model.backward(dlogits, steps)
    expected, gradients = torch_gradients(model, images, labels)
    assert relative(logits, expected) < TOLERANCE
    for key, gradient in found.items():
        assert relative(gradient, gradients[key]) < TOLERANCE

    for key, array in model.parameters.items():
        slopes = differences(
            lambda: floats.cross_entropy(model.forward(images)[0], labels)[0], array, rng, 2
        )
        for index, slope in slopes:
            assert found[key][index] == pytest.approx(slope, rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("convolution", floats.CONVOLUTIONS)
@pytest.mark.parametrize("case", range(6))
def test_rounding_gives_the_integers_of_the_reference(seed, case, convolution):
    rng = generator(seed, "integers", case)
    quantised = random_network(rng, max_size=12, max_channels=8)
    images = random_images(rng, quantised)
    model, exponents = FloatNetwork.from_integers(quantised)
    logits = model.predict(images, exponents, convolution=convolution, batch=3)
    np.testing.assert_array_equal(
        np.ldexp(logits, exponents.logits(quantised.network)), reference.predict(quantised, images)
    )
    parameters, same = from_integers(quantised)
    again = to_integers(quantised.network, parameters, same)
    assert again.parameters.keys() == quantised.parameters.keys()
    for name, one in again.parameters.items():
        other = quantised.parameters[name]
        np.testing.assert_array_equal(one.weight, other.weight)
        np.testing.assert_array_equal(one.bias, other.bias)
        np.testing.assert_array_equal(one.weight_scale, other.weight_scale)
    assert again.codes == quantised.codes


@pytest.mark.parametrize("kernel", [2, 4, 8])
def test_a_chain_with_an_average_pool(seed, kernel):
    """The int8 reference, the same in floats, and PyTorch agree, gradients included."""
    rng = generator(seed, "average", kernel)
    layers = (Conv(3, 3, padding=1), AvgPool(kernel, kernel // 2), MaxPool(1, 1), Linear(4))
    network = Network.chain("average", layers, (2, 11, 9))
    images = rng.integers(0, 256, (6, *network.input_shape), np.uint8)
    weights = {
        name: Shifts(
            rng.integers(-128, 128, network[name].weight_shape, np.int8),
            rng.integers(-5000, 5000, network[name].weight_shape[0], np.int32),
            *exponents,
        )
        for name, exponents in (("conv1", (8, 6, 4)), ("fc", (5, 7, None)))
    }
    sum_exponent = network["pool1"].layer.sum_exponent
    pool = Shifts(None, None, 4, sum_exponent, 5)
    with pytest.raises(UserError, match="its sums are"):
        power_of_two(
            network,
            weights | {"pool1": pool._replace(weight_exponent=sum_exponent - 1)},
        )
    quantised = power_of_two(network, weights | {"pool1": pool})
    model, exponents = FloatNetwork.from_integers(quantised)
    logits, steps = model.forward(images, exponents)
    np.testing.assert_array_equal(
        np.ldexp(logits, exponents.logits(network)), reference.predict(quantised, images)
    )
    labels = rng.integers(0, 4, len(images))
    expected, gradients = torch_gradients(model, images, labels, exponents)
    np.testing.assert_array_equal(logits, expected)
    found = model.backward(floats.cross_entropy(logits, labels)[1], steps)
    for name, gradient in gradients.items():
        assert relative(found[name], gradient) < TOLERANCE


# A graph that is no chain


class Add(Layer):
    """The sum of two tensors of one shape and one scale."""

    kind = "add"
    stem = "add"

    def out_shape(self, *shapes):
        one, other = shapes
        if one != other:
            raise UserError(f"cannot add {one} and {other}")
        return one

    def accumulator_bound(self, site):
        return 2 * 255

    def integers(self, inputs, operands):
        one, other = inputs
        return one.astype(np.float32) + other

    def forward(self, inputs, weights, way=FAST):
        return inputs[0] + inputs[1], lambda dy: ((dy, dy), ())

    def torch_forward(self, inputs, weights):
        return inputs[0] + inputs[1]


# conv1 has three readers: a max-pool, which comes before its ReLU, another convolution and a sum.
FORK = Network.graph(
    "fork",
    [
        (Conv(4, 3, padding=1), [-1]),
        (MaxPool(2, 2), [0]),
        (Conv(4, 3, stride=2, padding=1), [0]),
        (Add(), [1, 2]),
        (Add(), [3, 3]),
        (AvgPool(2, 2), [4]),
        (AvgPool(4, 4), [0]),
        (Add(), [6, 5]),
        (Linear(5), [7]),
    ],
    (2, 8, 8),
)


def fork_in_torch(images, weights, round_to=lambda x, name: x.relu()):
    """Logits of FORK, step by step. weights: tensors by name; round_to: a node's ReLU."""
    f = pytest.importorskip("torch").nn.functional
    (w1, b1), (w2, b2), (w, b) = (
        [weights[f"{name}.{kind}"] for kind in ("weight", "bias")]
        for name in ("conv1", "conv2", "fc")
    )
    conv1 = round_to(f.conv2d(images, w1, b1, padding=1), "conv1")
    conv2 = round_to(f.conv2d(conv1, w2, b2, stride=2, padding=1), "conv2")
    add1 = round_to(f.max_pool2d(conv1, 2) + conv2, "add1")
    add2 = round_to(add1 + add1, "add2")
    pool2 = round_to(f.avg_pool2d(add2, 2), "pool2")
    pool3 = round_to(f.avg_pool2d(conv1, 4), "pool3")
    add3 = round_to(pool3 + pool2, "add3")
    return f.linear(add3.flatten(1), w, b)


def test_a_fork_has_shapes_and_readers():
    names = ["conv1", "pool1", "conv2", "add1", "add2", "pool2", "pool3", "add3", "fc"]
    assert [node.name for node in FORK.nodes] == names
    assert [node.name for node in FORK.readers("conv1")] == ["pool1", "conv2", "pool3"]
    assert FORK["add1"].in_shapes == ((4, 4, 4), (4, 4, 4))
    assert FORK["add3"].inputs == ("pool3", "pool2")
    assert FORK["fc"].weight_shape == (5, 16)
    with pytest.raises(UserError, match="cannot add"):
        Network.graph("odd", [(Conv(1, 3), [-1]), (Conv(1, 5), [-1]), (Add(), [0, 1])])
    with pytest.raises(UserError, match="nothing takes the output of conv1"):
        Network.graph("idle", [(Conv(1, 3), [-1]), (Linear(2), [-1])])


def test_gradients_of_a_fork_add_up(seed):
    """Float networks in NumPy and PyTorch, against the same written out."""
    torch = pytest.importorskip("torch")
    rng = generator(seed, "fork")
    model = random_float_network(rng, FORK)
    images = rng.integers(0, 256, (6, *FORK.input_shape), np.uint8)
    labels = rng.integers(0, 5, len(images))
    weights = {k: torch.from_numpy(v).requires_grad_() for k, v in model.parameters.items()}
    expected = fork_in_torch(torch.from_numpy(images).double() / 256, weights)
    torch.nn.functional.cross_entropy(expected, torch.from_numpy(labels)).backward()

    logits, steps = model.forward(images)
    found = model.backward(floats.cross_entropy(logits, labels)[1], steps)
    twin, gradients = torch_gradients(model, images, labels)
    for ours in (logits, twin):
        assert relative(ours, expected.detach().numpy()) < TOLERANCE
    for name, tensor in weights.items():
        for ours in (found, gradients):
            assert relative(ours[name], tensor.grad.numpy()) < TOLERANCE


def test_the_integers_of_a_fork(seed):
    """Reference, rounded floats and PyTorch, against the same written out."""
    torch = pytest.importorskip("torch")
    rng = generator(seed, "fork integers")
    exponents = {  # of the input, the weights and the output
        "conv1": (8, 7, 5),
        "conv2": (5, 6, 5),
        "add1": (5, 0, 4),
        "add2": (4, 0, 3),
        "pool2": (3, 2, 4),
        "pool3": (5, 4, 4),
        "add3": (4, 0, 3),
        "fc": (3, 7, None),
    }
    parameters = {}
    for name, scales in exponents.items():
        shape = FORK[name].weight_shape
        weight = None if shape is None else rng.integers(-40, 60, shape, np.int8)
        bias = None if shape is None else rng.integers(-3000, 3000, shape[0], np.int32)
        parameters[name] = Shifts(weight, bias, *scales)
    quantised = power_of_two(FORK, parameters)
    images = rng.integers(0, 256, (9, *FORK.input_shape), np.uint8)

    codes = {}

    def round_to(x, name):
        x = torch.clamp(torch.round(x * 2.0 ** exponents[name][2]), 0, 255)
        codes[name] = x.numpy()
        return x * 2.0 ** -exponents[name][2]

    model, scales = FloatNetwork.from_integers(quantised)
    weights = {name: torch.from_numpy(array) for name, array in model.parameters.items()}
    expected = fork_in_torch(torch.from_numpy(images).double() / 256, weights, round_to).numpy()
    maps = reference.features(quantised, images)
    for name, code in codes.items():
        np.testing.assert_array_equal(maps[name], code)
        assert len(np.unique(code)) > 10
    logits = reference.predict(quantised, images)
    np.testing.assert_array_equal(maps["fc"][:, :, 0, 0], logits)
    assert scales.logits(FORK) == 10
    np.testing.assert_array_equal(logits, np.ldexp(expected, 10))
    np.testing.assert_array_equal(model.predict(images, scales), expected)
    labels = rng.integers(0, 5, len(images))
    twin, gradients = torch_gradients(model, images, labels, scales)
    np.testing.assert_array_equal(twin, expected)
    rounded, steps = model.forward(images, scales)
    found = model.backward(floats.cross_entropy(rounded, labels)[1], steps)
    for name, gradient in gradients.items():
        assert relative(found[name], gradient) < TOLERANCE


def test_scales_that_meet_must_be_equal():
    own = {
        name: Shifts(
            np.ones(FORK[name].weight_shape, np.int8),
            np.zeros(FORK[name].weight_shape[0], np.int32),
            *scales,
        )
        for name, scales in (("conv1", (8, 7, 5)), ("conv2", (5, 6, 4)), ("fc", (3, 7, None)))
    }
    sums = {"add1": (5, 0, 4), "add2": (4, 0, 3), "pool2": (3, 2, 4), "pool3": (5, 4, 4)}
    sums["add3"] = (4, 0, 3)
    joins = {name: Shifts(None, None, *scales) for name, scales in sums.items()}
    with pytest.raises(UserError, match="add1: its input has scale 2"):
        power_of_two(FORK, own | joins)


def test_no_image_is_an_empty_answer():
    network = Network.chain("small", (Conv(2, 3), Linear(4)), (1, 5, 5))
    model = random_float_network(np.random.default_rng(1), network)
    assert model.predict(np.zeros((0, 1, 5, 5), np.uint8)).shape == (0, 4)


X = np.zeros((2, 3, 6, 6))
CONV = Conv(4, 3)
W = np.zeros((4, 3, 3, 3))
B = np.zeros(4)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: conv2d_fast(CONV, X, np.zeros((4, 2, 3, 3)), B), "do not fit"),
        (lambda: conv2d_slow(CONV, X, W, np.zeros(3)), "biases"),
        (lambda: conv2d_fast(CONV, X[0], W, B), "expected N x IC x H x W"),
        (lambda: conv2d_fast(CONV, X.astype(np.float32), W, B), "one float type"),
        (lambda: conv2d_fast(CONV, X.astype(np.uint8), W, B), "one float type"),
        (lambda: conv2d_fast(CONV, X[:, :, :2], W, B), "window is larger"),
        (lambda: conv2d_backward_fast(CONV, X, X, W), "gradient"),
        (lambda: conv2d_backward_slow(CONV, np.zeros((2, 4, 5, 4)), X, W), "gradient"),
        (lambda: maxpool2d(X.astype(np.int32), 2, 2), "expected uint8 or floats"),
        (lambda: maxpool2d(X, 2, 0), "stride"),
        (lambda: maxpool2d_backward(MaxPool(2, 2), X, X, X), "gradient"),
        (lambda: avgpool2d_backward(AvgPool(2, 2), X, X), "gradient"),
        (lambda: fc_forward(np.zeros((2, 5)), np.zeros((3, 4)), np.zeros(3)), "do not fit"),
        (lambda: fc_forward(np.zeros((2, 4)), np.zeros((3, 4)), np.zeros(2)), "biases"),
        (lambda: floats.cross_entropy(np.zeros((2, 5)), np.array([0, 5])), "labels"),
        (lambda: floats.cross_entropy(np.zeros((2, 5)), np.array([0.0, 1.0])), "labels"),
        (lambda: floats.cross_entropy(np.zeros((2, 5)), np.array([0])), "labels"),
    ],
)
def test_refuses_what_does_not_fit(call, words):
    with pytest.raises(UserError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_refuses_batches_and_weights_that_do_not_fit(tmp_path):
    network = Network.chain("small", (Conv(2, 3), Linear(4)), (1, 5, 5))
    model = random_float_network(np.random.default_rng(1), network)
    images = np.zeros((3, 1, 5, 5), np.uint8)
    for batch, words in (
        (images.astype(np.float32), "float32, expected uint8"),
        (images.astype(np.int64), "int64, expected uint8"),
        (images.tolist(), "list, expected uint8"),
        (images[:, :, :4], "expected N images"),
        (images[0], "expected N images"),
    ):
        for call in (model.forward, model.predict):
            with pytest.raises(UserError, match=words):
                call(batch)
    with pytest.raises(UserError, match="unknown convolution 'middling'"):
        model.forward(images, convolution="middling")
    with pytest.raises(UserError, match="gradient"):
        model.backward(np.zeros((3, 5)), model.forward(images)[1])
    wrong = dict(model.parameters)
    wrong["conv1.weight"] = wrong["conv1.weight"].astype(np.float32)
    with pytest.raises(UserError, match="other weights"):
        FloatNetwork(network, wrong)
    del wrong["conv1.weight"]
    with pytest.raises(UserError, match="missing"):
        FloatNetwork(network, wrong)

    path = tmp_path / "float.npz"
    np.savez(path, **model.parameters)
    assert FloatNetwork.load(network, path).dtype == np.float64
    with pytest.raises(UserError, match="not the float weights of convnet"):
        FloatNetwork.load(NETWORKS["convnet"], path)
    path.write_bytes(path.read_bytes()[:500])
    for missing in (path, tmp_path / "none.npz"):
        with pytest.raises(UserError, match="train it first"):
            FloatNetwork.load(network, missing)
