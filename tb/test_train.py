"""Training: NumPy against PyTorch, step by step, and the command line, also without torch."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import small_mnist
from random_networks import generator
from small_mnist import digits

from model.base.errors import UserError
from model.formats.onnx import read_onnx
from model.hardware import manifest as manifests
from model.learning.recipes import Recipe
from model.learning.training import Source, Split, hold_out, train_float, tune_int8
from model.mersenne import Mersenne
from model.network import reference
from model.network.examples import NETWORKS
from model.network.floats import FloatNetwork
from model.network.graph import Network
from model.network.layers import Conv, Linear, MaxPool

ROOT = Path(__file__).resolve().parents[1]
SMALL = Network("small", (Conv(3, 5, 2, 1), MaxPool(2, 2), Conv(4, 3), Linear(12), Linear(10)))
STILL = Recipe(rotate=0, scale=0, shear=0, shift=0, elastic=0, batch=32, rate=3e-3)


@pytest.mark.parametrize("number", [0, 1, 7, 2**31 + 5, 12345678901])
def test_random_numbers_are_those_of_torch(number):
    torch = pytest.importorskip("torch")
    from model.learning.torch_network import TorchNetwork

    torch.manual_seed(number)
    rng = Mersenne(number)
    for network in (*NETWORKS.values(), SMALL):
        expected = TorchNetwork(network).state_dict()
        found = rng.initialise(network)
        assert list(found) == list(expected)
        for name, tensor in expected.items():
            np.testing.assert_array_equal(found[name], tensor.numpy())
    for count in (2, 3, 2000):
        np.testing.assert_array_equal(rng.permutation(count), torch.randperm(count).numpy())
    for shape in ((5, 3, 1), (3, 7, 3), (8, 25, 2), (3, 1, 1)):
        # Not contiguous, as the weights of the displacements are.
        expected = torch.empty(shape[0], shape[1] + 3, shape[2])[:, 3:].normal_().numpy()
        np.testing.assert_allclose(rng.normal(shape), expected, rtol=1e-6, atol=1e-12)
        np.testing.assert_array_equal(rng.rand(9), torch.rand(9).numpy())


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(),
        STILL,
        Recipe(shift=20, elastic=4, rotate=180),
        Recipe(interpolation="bicubic", clean=0.4),
        dataclasses.replace(STILL, interpolation="bicubic"),
        Recipe(interpolation="bicubic", shift=20, elastic=4, rotate=180),
    ],
    ids=["usual", "still", "wild", "cubic", "cubic-still", "cubic-wild"],
)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 20, 26)])
def test_augmentation_is_that_of_torch(seed, shape, recipe):
    torch = pytest.importorskip("torch")

    pixels = generator(seed, "augment").integers(0, 256, (16, *shape), np.uint8)
    kept = pixels.copy()
    torch.manual_seed(5)
    expected = torch_train.augment(torch.from_numpy(pixels).float(), recipe).numpy()
    rng = Mersenne(5)
    found = numpy_train.augment(pixels, recipe, rng)
    assert found.dtype == np.uint8
    assert rng.rand(1) == torch.rand(1).numpy()
    difference = np.abs(found - expected)
    # A value half way between two integers may be rounded to either.
    assert difference.max() <= 1
    assert difference.mean() < 1e-3
    np.testing.assert_array_equal(pixels, kept)
    if recipe.rotate == 0:
        np.testing.assert_array_equal(found, pixels)


def losses(network: Network, recipe: Recipe, data: Split, teacher: FloatNetwork | None):
    """Losses of all steps of both backends, float training and tuning, in float64; by stage."""
    torch = pytest.importorskip("torch")

    trained, tuned = [], []
    for backend in (
        numpy_train.NumpyBackend(4, np.float64),
        torch_train.TorchBackend(4, dtype=torch.float64),
    ):
        splits = [backend.to_device(part) for part in hold_out(data)]
        trained.append(train_float(backend, network, *splits, recipe, teacher=teacher))
        tuned.append(tune_int8(backend, trained[-1][0], *splits, recipe))
    ours, theirs = trained
    yield ours[1], theirs[1]
    ours, theirs = tuned
    assert ours[1] == theirs[1]
    yield ours[2], theirs[2]


@pytest.mark.parametrize(
    "recipe",
    [
        STILL,
        dataclasses.replace(STILL, smoothing=0.1, copies=1),
        dataclasses.replace(STILL, optimiser="sgd", rate=0.05, momentum=0.8, tune_rate=0.002),
        dataclasses.replace(STILL, teacher_weight=0.7, decay=0.3),
    ],
    ids=["adam", "smoothed-copies", "sgd", "teacher"],
)
def test_the_first_losses_are_those_of_torch(seed, recipe):
    data = digits(seed, 1000)
    teacher = None
    if recipe.teacher_weight == 0.7:
        teacher = FloatNetwork(SMALL, Mersenne(9).initialise(SMALL))
    recipe = dataclasses.replace(recipe, epochs=4, tune_epochs=1)
    for stage, (ours, theirs) in enumerate(losses(SMALL, recipe, data, teacher)):
        assert len(ours.steps) == [4 * 25, 25][stage]
        np.testing.assert_allclose(ours.steps, theirs.steps, rtol=0, atol=1e-6)
        for field in ("loss", "train_accuracy", "validation_loss", "validation_accuracy"):
            np.testing.assert_allclose(getattr(ours, field), getattr(theirs, field), atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_first_losses_of_each_network_are_those_of_torch(seed, name):
    recipe = dataclasses.replace(STILL, batch=8, epochs=1, tune_epochs=0)
    for ours, theirs in losses(NETWORKS[name], recipe, digits(seed, 1000), None):
        np.testing.assert_allclose(ours.steps, theirs.steps, rtol=0, atol=1e-6)
        assert len(ours.steps) in (0, 100)


def test_the_last_layer_is_solved_as_by_torch(seed):
    torch = pytest.importorskip("torch")

    data = digits(seed, 300)
    model = FloatNetwork(SMALL, Mersenne(2).initialise(SMALL)).astype(np.float64)
    recipe = dataclasses.replace(STILL, solve=1e-3)
    backend = numpy_train.NumpyBackend(1)
    ours = backend.solve_last(model, Source(backend, data, recipe))
    backend = torch_train.TorchBackend(1)
    twin = torch_train.TorchNetwork(SMALL).double()
    twin.load_state_dict({k: torch.from_numpy(v) for k, v in model.parameters.items()})
    source = Source(backend, backend.to_device(data), recipe)
    theirs = backend.solve_last(twin, source).state_dict()
    for name, array in ours.parameters.items():
        np.testing.assert_allclose(array, theirs[name].numpy(), atol=1e-2)
        # Only the last layer has changed.
        assert np.array_equal(array, model.parameters[name]) == (not name.startswith("fc2"))


def test_minimise_finds_the_minimum_of_a_quadratic_form(seed):
    rng = generator(seed, "minimise")
    root = rng.normal(size=(30, 30))
    matrix, target = root @ root.T + 0.1 * np.eye(30), rng.normal(size=30)

    def function(x):
        error = matrix @ (x - target)
        return float((x - target) @ error / 2), error

    found = numpy_train.minimise(function, np.zeros(30), steps=500)
    np.testing.assert_allclose(found, target, atol=1e-5)


def test_several_starts(seed):
    training, validation = hold_out(digits(seed, 300))
    recipe = dataclasses.replace(
        STILL, epochs=2, tune_epochs=1, restarts=2, restart_epochs=1, solve=1e-3, copies=1
    )
    seen = []
    trained = numpy_train.train(
        SMALL,
        training,
        validation,
        recipe,
        seed=1,
        progress=lambda stage, epoch, share: seen.append((stage.name, epoch, share)),
    )
    assert [one for one in seen if one[2] == 1] == [
        ("start 1/2", 0, 1),
        ("start 2/2", 0, 1),
        ("float", 0, 1),
        ("float", 1, 1),
        ("int8", 0, 1),
    ]
    again = numpy_train.train(SMALL, training, validation, recipe, seed=1)
    for name, array in trained.parameters.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, again.parameters[name])


@pytest.fixture
def environment(tmp_path, seed) -> dict[str, str]:
    """Where `import torch` fails and MNIST is 400 small images."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    for name in ("torch", "torchvision"):
        (hidden / f"{name}.py").write_text("raise ImportError('hidden by a test')\n")
    small_mnist.write(tmp_path / "root", digits(seed, 300), digits(seed, 100))
    return os.environ | {
        "PYTHONPATH": str(hidden),
        "MNIST_ROOT": str(tmp_path / "root"),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "model" / "train.py"), *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_the_command_trains_without_torch(environment, tmp_path, optimiser):
    out = tmp_path / "convnet"
    done = run(
        environment,
        *("convnet", "--backend", "numpy", "--optimiser", optimiser, "--out", str(out)),
        *("--epochs", "2", "--tune-epochs", "1", "--threads", "1", "--set", "batch=30"),
        *("--set", "teacher=none", "--set", "rate=0.01", "--set", "restarts=1"),
    )
    assert done.returncode == 0, done.stderr
    assert "float 2/2" in done.stderr
    assert "written to" in done.stdout
    manifest = json.loads((out / manifests.FILE_NAME).read_text())
    manifests.verify(out)
    training = manifest["training"]
    assert training["backend"] == "numpy"
    assert training["numpy"] == np.__version__
    assert training["recipe"]["optimiser"] == optimiser
    assert (out / "training.png").read_bytes().startswith(b"\x89PNG")
    model = FloatNetwork.load(NETWORKS["convnet"], out / "float.npz")
    quantised = read_onnx(out / "network.onnx", "convnet")
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (8, 1, 28, 28), np.uint8)
    assert model.predict(images).shape == reference.predict(quantised, images).shape == (8, 10)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["convnet", "--backend", "tensor"],
            "unknown backend 'tensor'; expected one of torch",
        ),
        (["convnet"], "needs the extra [train]"),
        (["convnot", "--backend", "numpy"], "unknown network 'convnot'"),
        (["convnet", "--backend", "numpy", "--optimiser", "x"], "unknown optimiser 'x'"),
        (["convnet", "--backend", "numpy", "--set", "rate=fast"], "'fast' is no float"),
        (["convnet", "--backend", "numpy", "--threads", "0"], "expected at least 1"),
        (["convnet", "--backend", "numpy", "--epochs", "0"], "must be at least 1"),
        (["convnet", "--backend", "numpy", "--set", "momentum=1"], "momentum"),
        (["convnet", "--backend", "numpy", "--set", "interpolation=x"], "bilinear or bicubic"),
    ],
)
def test_the_command_refuses_in_one_line(environment, tmp_path, arguments, words):
    done = run(environment, *arguments, "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert words in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_teacher_must_be_there(tmp_path, monkeypatch):
    from model import train

    recipe = Recipe(teacher="simplecnn")
    with pytest.raises(UserError, match="train it first"):
        train.load_teacher(recipe, tmp_path)
    with pytest.raises(UserError, match="unknown teacher"):
        train.load_teacher(Recipe(teacher="nobody"), tmp_path)
    assert train.load_teacher(Recipe(), tmp_path) is None
