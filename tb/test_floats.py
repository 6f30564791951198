"""The float NumPy engine against PyTorch, finite differences and the int8 reference."""

from __future__ import annotations

import numpy as np
import pytest
from random_networks import generator, random_images, random_network

from model.base.errors import UserError
from model.network import floats, reference
from model.network.examples import NETWORKS
from model.network.exponents import from_integers, parameter_shapes, to_integers
from model.network.floats import FloatNetwork
from model.network.graph import Network
from model.network.layers import Conv, Linear

CASES = range(12)
TOLERANCE = 1e-9


def relative(found: np.ndarray, expected: np.ndarray, scale: float = 1.0) -> float:
    """Largest error relative to the largest expected value.

    scale: of what went into the sums; where it all but cancels out, the rest is rounding.
    """
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-6 * scale))


def random_conv(rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """x, weight, bias, stride, padding of a small convolution in float64."""
    kernel = int(rng.integers(1, 6))
    padding = int(rng.integers(0, kernel))
    sizes = [int(rng.integers(max(1, kernel - 2 * padding), kernel + 7)) for _ in range(2)]
    channels, out_channels, count = rng.integers(1, 5, 3)
    x = rng.normal(size=(count, channels, *sizes))
    weight = rng.normal(size=(out_channels, channels, kernel, kernel))
    return x, weight, rng.normal(size=out_channels), int(rng.integers(1, 4)), padding


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


@pytest.mark.parametrize("name", floats.CONVOLUTIONS)
@pytest.mark.parametrize("case", CASES)
def test_conv2d_equals_torch(seed, case, name):
    rng = generator(seed, "conv2d", case)
    *arrays, stride, padding = random_conv(rng)
    forward, backward = floats.CONVOLUTIONS[name]
    y, dy, gradients = autograd(
        lambda f, x, w, b: f.conv2d(x, w, b, stride, padding),
        lambda shape: rng.normal(size=shape),
        *arrays,
    )
    assert relative(forward(*arrays, stride, padding), y) < TOLERANCE
    found = backward(dy, *arrays[:2], stride, padding)
    for ours, expected in zip(found, gradients, strict=True):
        assert relative(ours, expected) < TOLERANCE


@pytest.mark.parametrize("name", floats.CONVOLUTIONS)
@pytest.mark.parametrize("case", range(4))
def test_conv2d_gradients_equal_finite_differences(seed, case, name):
    rng = generator(seed, "differences", case)
    x, weight, bias, stride, padding = random_conv(rng)
    forward, backward = floats.CONVOLUTIONS[name]
    dy = rng.normal(size=forward(x, weight, bias, stride, padding).shape)

    def loss() -> float:
        return float((forward(x, weight, bias, stride, padding) * dy).sum())

    gradients = backward(dy, x, weight, stride, padding)
    for array, gradient in zip((x, weight, bias), gradients, strict=True):
        for index, slope in differences(loss, array, rng):
            assert gradient[index] == pytest.approx(slope, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("case", range(4))
def test_layouts_and_columns_do_not_matter(seed, case):
    rng = generator(seed, "layouts", case)
    x, weight, bias, stride, padding = random_conv(rng)
    inner = floats.images_innermost(x)
    assert inner.strides[0] == inner.itemsize
    columns = floats.windows_to_columns(inner, weight.shape[2], stride, padding)
    plain = floats.conv2d_fast(x, weight, bias, stride, padding)
    given = floats.conv2d_fast(inner, weight, bias, stride, padding, columns)
    np.testing.assert_allclose(plain, given, rtol=1e-13, atol=1e-13)
    dy = rng.normal(size=plain.shape)
    for one, other in zip(
        floats.conv2d_backward_fast(dy, x, weight, stride, padding),
        floats.conv2d_backward_fast(
            floats.images_innermost(dy), inner, weight, stride, padding, columns
        ),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_maxpool2d_equals_torch(seed, case):
    rng = generator(seed, "maxpool2d", case)
    kernel, stride = int(rng.integers(1, 5)), int(rng.integers(1, 5))
    padding = int(rng.integers(0, kernel // 2 + 1))  # torch takes no more
    sizes = rng.integers(max(1, kernel - 2 * padding), 12, 2)
    # Few values, so that there are ties.
    x = rng.integers(-2, 3, (3, int(rng.integers(1, 4)), *sizes)).astype(float)
    window = (kernel, stride, padding)
    y, dy, (dx,) = autograd(
        lambda f, x: f.max_pool2d(x, *window), lambda shape: rng.normal(size=shape), x
    )
    np.testing.assert_array_equal(floats.maxpool2d(x, *window), y)
    assert relative(floats.maxpool2d_backward(dy, x, y, *window), dx) < TOLERANCE


def test_maxpool2d_leaves_its_input_as_it_is():
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    floats.maxpool2d(x, 2, 2)
    np.testing.assert_array_equal(x.ravel(), np.arange(16.0))


def test_maxpool2d_with_more_padding_than_torch_takes():
    x = -np.arange(1.0, 7).reshape(1, 1, 2, 3)
    y = floats.maxpool2d(x, 3, 1, 2)
    expected = [[-1, -1, -1, -2, -3]] * 3 + [[-4, -4, -4, -5, -6]]
    np.testing.assert_array_equal(y, [[expected]])
    dx = floats.maxpool2d_backward(np.ones_like(y), x, y, 3, 1, 2)
    np.testing.assert_array_equal(dx, [[[[9, 3, 3], [3, 1, 1]]]])


@pytest.mark.parametrize("case", range(4))
def test_fc_and_relu_equal_torch(seed, case):
    rng = generator(seed, "fc", case)
    count, features, out = rng.integers(1, 20, 3)
    arrays = [rng.normal(size=s) for s in ((count, features), (out, features), (out,))]

    y, dy, gradients = autograd(
        lambda f, *t: f.relu(f.linear(*t)), lambda shape: rng.normal(size=shape), *arrays
    )
    hidden = floats.fc(*arrays)
    found = floats.relu(hidden)
    assert relative(found, y) < TOLERANCE
    for ours, expected in zip(
        floats.fc_backward(floats.relu_backward(dy, found), *arrays[:2]), gradients, strict=True
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
    from model.learning.torch_network import TorchNetwork

    twin = TorchNetwork(model.network).double()
    twin.load_state_dict({k: torch.from_numpy(v) for k, v in model.parameters.items()})
    logits = twin(torch.from_numpy(images).double(), exponents)
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
        found = model.backward(dlogits, steps, convolution=convolution)
        assert found.keys() == gradients.keys()
        largest = max(1.0, *(np.abs(gradient).max() for gradient in gradients.values()))
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
        np.ldexp(logits, exponents.logits), reference.predict(quantised, images)
    )
    parameters, same = from_integers(quantised)
    again = to_integers(quantised.network, parameters, same)
    for one, other in zip(again.parameters, quantised.parameters, strict=True):
        if one is not None:
            np.testing.assert_array_equal(one.weight, other.weight)
            np.testing.assert_array_equal(one.bias, other.bias)
            assert one.shift == other.shift


def test_no_image_is_an_empty_answer():
    network = Network("small", (Conv(2, 3), Linear(4)), (1, 5, 5))
    model = random_float_network(np.random.default_rng(1), network)
    assert model.predict(np.zeros((0, 1, 5, 5), np.uint8)).shape == (0, 4)


X = np.zeros((2, 3, 6, 6))
W = np.zeros((4, 3, 3, 3))
B = np.zeros(4)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: floats.conv2d_fast(X, np.zeros((4, 2, 3, 3)), B), "do not fit"),
        (lambda: floats.conv2d_slow(X, W, np.zeros(3)), "biases"),
        (lambda: floats.conv2d_fast(X[0], W, B), "expected N x IC x H x W"),
        (lambda: floats.conv2d_fast(X.astype(np.float32), W, B), "one float type"),
        (lambda: floats.conv2d_fast(X.astype(np.uint8), W, B), "one float type"),
        (lambda: floats.conv2d_fast(X[:, :, :2], W, B), "window is larger"),
        (lambda: floats.conv2d_backward_fast(X, X, W), "gradient"),
        (lambda: floats.conv2d_backward_slow(np.zeros((2, 4, 5, 4)), X, W), "gradient"),
        (lambda: floats.maxpool2d(X.astype(np.uint8), 2, 2), "expected floats"),
        (lambda: floats.maxpool2d(X, 2, 0), "stride"),
        (lambda: floats.maxpool2d_backward(X, X, X, 2, 2), "gradient"),
        (lambda: floats.fc(np.zeros((2, 5)), np.zeros((3, 4)), np.zeros(3)), "do not fit"),
        (lambda: floats.fc(np.zeros((2, 4)), np.zeros((3, 4)), np.zeros(2)), "biases"),
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
    network = Network("small", (Conv(2, 3), Linear(4)), (1, 5, 5))
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
