"""PyTorch, computing in floats with fake quantisation, against the int8 reference: equal logits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from random_networks import generator, random_images, random_network

from convstream.model.formats.onnx import read_onnx
from convstream.model.learning.data import load_images
from convstream.model.learning.initial import initial_network
from convstream.model.learning.quantiser import choose_exponents
from convstream.model.network import reference
from convstream.model.network.examples import NETWORKS
from convstream.model.network.exponents import parameter_shapes, to_integers
from convstream.model.network.floats import FloatNetwork
from convstream.model.network.graph import Network
from convstream.model.network.layers import AvgPool, Conv, Linear, MaxPool
from convstream.model.network.quantised import QuantisedNetwork

torch = pytest.importorskip("torch", reason="training needs the extra [train]")

from convstream.model.learning.torch_network import TorchNetwork, fake_quantise  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
IMAGES = 300
FOREIGN = 20


def assert_logits_equal(quantised: QuantisedNetwork, images: np.ndarray) -> None:
    """Every logit of PyTorch is the reference's integer times 2**-(input + weight exponent)."""
    model, exponents = FloatNetwork.from_integers(quantised)
    with torch.no_grad():
        logits = TorchNetwork(model)(torch.from_numpy(images).double(), exponents).numpy()
    expected = reference.predict(quantised, images)
    np.testing.assert_array_equal(logits / quantised.output_scale, expected)


@pytest.mark.parametrize("name", NETWORKS)
def test_fake_quantised_network_equals_reference(name):
    quantised = read_onnx(ROOT / "mem" / name / "network.onnx", name)
    assert_logits_equal(quantised, load_images("test", download=False).images[:IMAGES, None])


@pytest.mark.parametrize("index", range(FOREIGN))
def test_any_chain_equals_reference(index, seed):
    rng = generator(seed, "torch", index)
    quantised = random_network(rng, max_size=12, max_channels=8)
    assert_logits_equal(quantised, random_images(rng, quantised))


@pytest.mark.parametrize("seed_offset", range(3))
def test_what_is_trained_is_what_is_exported(seed, seed_offset):
    """Float weights to exponents to integers: the shadow weights' own fake quantisation agrees."""
    rng = generator(seed, "exported", seed_offset)
    layers = (
        Conv(4, 3, padding=1),
        MaxPool(2, 2),
        AvgPool(2, 1),
        Conv(5, 3, stride=2),
        Linear(7),
        Linear(3),
    )
    network = Network.chain("chain", layers, (2, 11, 9))
    pixels = rng.integers(0, 256, (16, *network.input_shape), np.uint8)
    model = initial_network(network, pixels, rng)
    outputs = {}
    model.forward(pixels, observe=outputs)
    exponents = choose_exponents(network, model.parameters, outputs)
    quantised = to_integers(network, model.parameters, exponents)
    with torch.no_grad():
        logits = TorchNetwork(model).double()(torch.from_numpy(pixels), exponents).numpy()
    np.testing.assert_array_equal(
        logits / quantised.output_scale, reference.predict(quantised, pixels)
    )
    assert_logits_equal(quantised, pixels)


def test_weights_have_the_names_of_their_nodes():
    """Also the names that `float.npz` has, in PyTorch's own order."""
    network = NETWORKS["lenet5"]
    model = FloatNetwork.load(network, ROOT / "mem" / "lenet5" / "float.npz")
    twin = TorchNetwork(model)
    assert list(twin.state_dict()) == list(parameter_shapes(network))
    twin.load_state_dict({k: torch.from_numpy(v + 1) for k, v in model.parameters.items()})
    for name, value in twin.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), model.parameters[name] + 1)


def test_rounding_is_half_to_even_and_lets_gradients_through():
    values = torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5, 300.0, -3.0], requires_grad=True)
    rounded = fake_quantise(values, 0, 0, 255)
    assert rounded.tolist() == [0, 2, 2, 0, 0, 255, 0]
    rounded.sum().backward()
    # No gradient where clamped: beyond 255, and below 0.
    assert values.grad.tolist() == [1, 1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize("name", NETWORKS)
def test_float_weights_belong_to_the_network(name):
    """`float.npz` holds a network that classifies about as well as the int8 one."""
    model = FloatNetwork.load(NETWORKS[name], ROOT / "mem" / name / "float.npz")
    images = load_images("test", download=False).images[:IMAGES, None]
    floats = model.predict(images).argmax(1)
    quantised = read_onnx(ROOT / "mem" / name / "network.onnx", name)
    integers = reference.argmax(reference.predict(quantised, images))
    assert (floats == integers).mean() > 0.97


def test_training_writes_everything_or_nothing(tmp_path):
    """A few steps of the whole of `train.py`, on digits that are always at hand."""
    environment = {**os.environ, "MNIST_DOWNLOAD": "0", "MNIST_ROOT": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "model" / "train.py"), "convnet", "--threads", "1"]
    out = tmp_path / "net"
    short = ["--epochs", "1", "--tune-epochs", "1", "--out", str(out)]
    settings = ["batch=64", "restarts=1", "teacher=none", "copies=1"]
    for setting in settings:
        short += ["--set", setting]
    bad = subprocess.run(
        [*command, *short, "--set", "batch=many"], env=environment, text=True, capture_output=True
    )
    assert bad.returncode == 2
    assert bad.stderr.count("\n") == 1
    assert not out.exists()
    good = subprocess.run([*command, *short], env=environment, text=True, capture_output=True)
    assert good.returncode == 0, good.stderr
    names = {path.name for path in out.iterdir()}
    assert {"network.onnx", "float.npz", "training.png", "network.json", "convnet.v"} <= names
    assert [path.name for path in tmp_path.iterdir()] == ["net"]
    assert_logits_equal(read_onnx(out / "network.onnx", "convnet"), np.zeros((1, 1, 28, 28), "u1"))
