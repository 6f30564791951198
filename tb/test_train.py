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

from convstream.model.base import places
from convstream.model.base.errors import UserError
from convstream.model.formats.onnx import read_onnx
from convstream.model.hardware import manifest as manifests
from convstream.model.hardware.layers import STAGES
from convstream.model.learning.augment import augment
from convstream.model.learning.imitation import minimise, solve_last
from convstream.model.learning.initial import initial_network
from convstream.model.learning.numpy_backend import NumpyBackend
from convstream.model.learning.quantiser import choose_exponents
from convstream.model.learning.recipes import INTERPOLATIONS, Recipe
from convstream.model.learning.source import Split, hold_out
from convstream.model.learning.training import evaluate, train, train_float, tune_int8
from convstream.model.network import reference
from convstream.model.network.examples import NETWORKS
from convstream.model.network.exponents import to_integers
from convstream.model.network.floats import FloatNetwork
from convstream.model.network.graph import Network
from convstream.model.network.layers import (
    Add,
    AvgPool,
    Concat,
    Conv,
    Linear,
    MaxPool,
    Table,
    Upsample,
)
from convstream.model.train import load_teacher

ROOT = Path(__file__).resolve().parents[1]
SMALL = Network.chain(
    "small", (Conv(3, 5, 2, 1), MaxPool(2, 2), Conv(4, 3), Linear(12), Linear(10))
)
AVERAGING = Network.chain(
    "averaging",
    (Conv(4, 3, 2), AvgPool(2, 1), Conv(6, 3), MaxPool(2, 2), AvgPool(4, 4), Linear(10)),
)
STILL = Recipe(rotate=0, scale=0, shear=0, shift=0, elastic=0, batch=32, rate=3e-3)


CUBIC = dataclasses.replace(STILL, interpolation="bicubic")


def distorted_by_torch(pixels: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> np.ndarray:
    """`augment` as PyTorch samples; the random numbers are the same ones."""
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    count, _, height, width = pixels.shape
    moved = rng.random(count) >= recipe.clean
    count = int(moved.sum())

    def uniform(limit: float) -> torch.Tensor:
        return torch.from_numpy(rng.uniform(-limit, limit, count))

    angle = uniform(np.deg2rad(recipe.rotate))
    wide, high = 1 + uniform(recipe.scale), 1 + uniform(recipe.scale)
    shear = uniform(recipe.shear)
    shift_x, shift_y = uniform(recipe.shift) * 2 / width, uniform(recipe.shift) * 2 / height
    theta = torch.stack(
        [
            torch.stack([angle.cos() * wide, (shear - angle.sin()) * high, shift_x], 1),
            torch.stack([angle.sin() * wide, angle.cos() * high, shift_y], 1),
        ],
        1,
    )
    grid = f.affine_grid(theta, [count, 1, height, width], align_corners=False)
    bumps = torch.from_numpy(rng.standard_normal((2, count, 5, 5))).transpose(0, 1)
    bumps = f.interpolate(bumps, (height, width), mode="bicubic", align_corners=True)
    grid = grid + bumps.permute(0, 2, 3, 1) * (recipe.elastic * 2 / width)
    sampled = f.grid_sample(
        torch.from_numpy(pixels[moved]).double(),
        grid,
        mode=recipe.interpolation,
        align_corners=False,
    )
    found = pixels.astype(np.float64)
    found[moved] = sampled.clamp(0, 255).numpy()
    return found


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(),
        STILL,
        Recipe(shift=20, elastic=4, rotate=180),
        Recipe(interpolation="bicubic", clean=0.4),
        CUBIC,
        Recipe(interpolation="bicubic", shift=20, elastic=4, rotate=180),
    ],
    ids=["usual", "still", "wild", "cubic", "cubic-still", "cubic-wild"],
)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 20, 26)])
def test_augmentation_samples_as_torch_does(seed, shape, recipe):
    pixels = generator(seed, "augment").integers(0, 256, (40, *shape), np.uint8)
    kept = pixels.copy()
    ours, theirs = generator(seed, "draws"), generator(seed, "draws")
    found = augment(pixels, recipe, ours)
    expected = distorted_by_torch(pixels, recipe, theirs)
    assert found.dtype == np.uint8
    assert ours.random() == theirs.random()
    # Half for the rounding, the rest for float32 positions on noise.
    assert np.abs(found - expected).max() <= 0.6
    np.testing.assert_array_equal(pixels, kept)
    if recipe.rotate == 0:
        np.testing.assert_array_equal(found, pixels)
    else:
        same = (found == pixels).all(axis=(1, 2, 3)).mean()
        assert abs(same - recipe.clean) < 0.25


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("size", [(1, 1), (2, 7), (120, 90)])
def test_images_of_any_size_are_distorted(seed, size, interpolation):
    pixels = generator(seed, "sizes").integers(0, 256, (3, 2, *size), np.uint8)
    recipe = Recipe(interpolation=interpolation, clean=0.0)
    found = augment(pixels, recipe, generator(seed, "any"))
    expected = distorted_by_torch(pixels, recipe, generator(seed, "any"))
    assert np.abs(found - expected).max() <= 0.6
    assert augment(pixels[:0], recipe, generator(seed, "none")).shape == (0, 2, *size)


def losses(network: Network, recipe: Recipe, data: Split, teacher: FloatNetwork | None):
    """Both backends' stages, float training and tuning, in float64."""
    torch = pytest.importorskip("torch")
    from convstream.model.learning.torch_backend import TorchBackend

    trained, tuned = [], []
    for backend in (NumpyBackend(4, np.float64), TorchBackend(4, torch.float64)):
        splits = hold_out(data)
        with backend.limited(1):
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
        teacher = initial_network(SMALL, data.pixels, generator(seed, "teacher"))
    recipe = dataclasses.replace(recipe, epochs=4, tune_epochs=1)
    for stage, (ours, theirs) in enumerate(losses(SMALL, recipe, data, teacher)):
        assert len(ours.steps) == [4 * 25, 25][stage]
        np.testing.assert_allclose(ours.steps, theirs.steps, rtol=0, atol=1e-6)
        for field in ("loss", "train_accuracy", "validation_loss", "validation_accuracy"):
            np.testing.assert_allclose(getattr(ours, field), getattr(theirs, field), atol=1e-6)


@pytest.mark.parametrize(
    "network", [*NETWORKS.values(), AVERAGING], ids=lambda network: network.name
)
def test_the_first_losses_of_each_network_are_those_of_torch(seed, network):
    recipe = dataclasses.replace(STILL, batch=8, epochs=1, tune_epochs=0)
    for ours, theirs in losses(network, recipe, digits(seed, 1000), None):
        np.testing.assert_allclose(ours.steps, theirs.steps, rtol=0, atol=1e-6)
        assert len(ours.steps) in (0, 100)


def test_a_chain_with_average_pools_learns(seed):
    training, validation = hold_out(digits(seed, 1500))
    recipe = dataclasses.replace(STILL, epochs=8, tune_epochs=1, rate=2e-2, average=0.9)
    trained = train(NumpyBackend(1), AVERAGING, training, validation, recipe, threads=1)
    assert trained.float_validation > 80
    assert trained.int8_validation > 80
    logits = reference.predict(trained.quantised, validation.pixels)
    found = 100 * (reference.argmax(logits) == validation.labels).mean()
    assert found == pytest.approx(trained.int8_validation)


def test_training_starts_with_outputs_of_mean_0_and_variance_1(seed):
    pixels = digits(seed, 300).pixels
    model = initial_network(AVERAGING, pixels, np.random.default_rng(1))
    _, steps = model.forward(pixels)
    for step in steps:
        if step.operation.node in AVERAGING.weighted and not step.operation.activation:
            np.testing.assert_allclose(step.y.mean(axis=(0, 2, 3)), 0, atol=1e-4)
            np.testing.assert_allclose(step.y.std(axis=(0, 2, 3)), 1, atol=1e-2)
    assert {array.dtype for array in model.parameters.values()} == {np.dtype(np.float32)}
    other = initial_network(AVERAGING, pixels, np.random.default_rng(2))
    assert not np.array_equal(model.parameters["conv1.weight"], other.parameters["conv1.weight"])


def test_exponents_never_ask_for_a_negative_shift(seed):
    """Outputs so faint that they would be finer than the sums that they are made of."""
    rng = generator(seed, "exponents")
    model = initial_network(AVERAGING, digits(seed, 100).pixels, rng)
    for name in ("conv1", "conv2", "fc"):
        model.parameters[f"{name}.bias"][...] = 0  # at such scales they would not fit into int32
    outputs = {node.name: rng.random(50) * 1e-6 for node in AVERAGING.nodes[:-1]}
    exponents = choose_exponents(AVERAGING, model.parameters, outputs)
    assert exponents.weight["pool1"] == 2
    assert exponents.weight["pool3"] == 4
    assert exponents.output.keys() == {"conv1", "pool1", "conv2", "pool3"}
    quantised = to_integers(AVERAGING, model.parameters, exponents)
    assert [quantised.rounding(name).shift for name in exponents.output] == [0, 0, 0, 0]
    outputs = {name: array * 1e6 for name, array in outputs.items()}
    exponents = choose_exponents(AVERAGING, model.parameters, outputs)
    assert set(exponents.output.values()) == {8}


def test_batch_normalisation_is_folded_at_the_end(seed):
    torch = pytest.importorskip("torch")
    from convstream.model.learning.torch_backend import TorchBackend

    data = digits(seed, 200)
    rng = generator(seed, "normalise")
    backend = TorchBackend(int(seed), torch.float64)
    start = initial_network(SMALL, data.pixels, rng).astype(np.float64)
    model = backend.normalised(start)
    recipe = dataclasses.replace(STILL, normalise=1)
    optimiser = backend.make_optimiser(model, recipe)
    for _ in range(20):
        batch = backend.to_device((data.pixels, data.labels, None))
        backend.step(model, optimiser, batch, recipe, None, 0.05)
    folded = backend.to_float(model)
    assert folded.parameters.keys() == start.parameters.keys()
    logits = backend.predict(model, data.pixels)
    np.testing.assert_allclose(folded.predict(data.pixels), logits, rtol=1e-9, atol=1e-9)
    # Without what has been learned of mean and variance they would be others.
    assert not np.allclose(start.predict(data.pixels), logits, atol=0.1)
    trained, _, score = train_float(backend, SMALL, data, data, recipe)
    assert evaluate(backend, trained, data)[1] == score
    with pytest.raises(UserError, match="has no batch normalisation; train with --backend torch"):
        train_float(NumpyBackend(int(seed)), SMALL, data, data, recipe)


def test_the_last_layer_is_solved_as_by_torch(seed):
    torch = pytest.importorskip("torch")
    from convstream.model.learning.torch_backend import imitation_loss as loss_of_torch

    data = digits(seed, 300)
    rng = generator(seed, "solve")
    model = initial_network(SMALL, data.pixels, rng).astype(np.float64)
    recipe = dataclasses.replace(STILL, solve=1e-3)
    teacher = rng.normal(size=(300, 10))
    solved = solve_last(model, data.pixels, data.labels, teacher, recipe)
    for name, array in solved.parameters.items():
        # Only the last layer has changed.
        assert np.array_equal(array, model.parameters[name]) == (not name.startswith("fc2"))

    inputs = torch.from_numpy(model.forward(data.pixels)[1][-1].x[0]).flatten(1)
    weight, bias = (
        torch.from_numpy(model.parameters[f"fc2.{kind}"]).requires_grad_()
        for kind in ("weight", "bias")
    )
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=300, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        logits = torch.nn.functional.linear(inputs, weight, bias)
        labels = torch.from_numpy(data.labels)
        loss = loss_of_torch(logits, labels, torch.from_numpy(teacher), recipe)
        loss = loss + recipe.solve / 2 * weight.square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    np.testing.assert_allclose(solved.parameters["fc2.weight"], weight.detach().numpy(), atol=1e-2)
    np.testing.assert_allclose(solved.parameters["fc2.bias"], bias.detach().numpy(), atol=1e-2)

    bare = Network.chain("bare", (Conv(10, 3), AvgPool(16, 16)))
    with pytest.raises(UserError, match="the last layer of bare has no weights"):
        solve_last(initial_network(bare, data.pixels, rng), data.pixels, data.labels, None, recipe)


def test_minimise_finds_the_minimum_of_a_quadratic_form(seed):
    rng = generator(seed, "minimise")
    root = rng.normal(size=(30, 30))
    matrix, target = root @ root.T + 0.1 * np.eye(30), rng.normal(size=30)

    def function(x):
        error = matrix @ (x - target)
        return float((x - target) @ error / 2), error

    found = minimise(function, np.zeros(30), steps=500)
    np.testing.assert_allclose(found, target, atol=1e-5)


def test_several_starts(seed):
    training, validation = hold_out(digits(seed, 300))
    recipe = dataclasses.replace(
        STILL, epochs=2, tune_epochs=1, restarts=2, restart_epochs=1, solve=1e-3, copies=1
    )
    seen = []
    trained = train(
        NumpyBackend(1),
        SMALL,
        training,
        validation,
        recipe,
        threads=1,
        progress=lambda stage, epoch, share: seen.append((stage.name, epoch, share)),
    )
    assert [one for one in seen if one[2] == 1] == [
        ("start 1/2", 0, 1),
        ("start 2/2", 0, 1),
        ("float", 0, 1),
        ("float", 1, 1),
        ("int8", 0, 1),
    ]
    again = train(NumpyBackend(1), SMALL, training, validation, recipe, threads=1)
    for name, array in trained.parameters.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, again.parameters[name])


def test_every_layer_that_is_trainable_trains(seed):
    layers = [
        (Conv(4, 3, stride=2, padding=1), [-1]),
        (Conv(4, 3, padding=1), [0]),
        (Add(), [0, 1]),
        (MaxPool(2, 2), [2]),
        (Upsample(2, 2), [3]),
        (AvgPool(2, 2), [4]),
        (Linear(10), [5]),
    ]
    assert {type(layer) for layer, _ in layers} == {one for one in STAGES if one.trainable}
    data = digits(seed, 200)
    recipe = Recipe(epochs=1, tune_epochs=1, batch=50)
    trained = train(NumpyBackend(int(seed)), Network.graph("all", layers), data, data, recipe)
    assert reference.predict(trained.quantised, data.pixels).shape == (200, 10)


@pytest.mark.parametrize("layer", [Concat(), Table.of(np.arange(256, dtype=np.uint8))])
def test_others_are_refused(seed, layer):
    network = Network.chain("my", (Conv(2, 3), layer, Linear(10)))
    data = digits(seed, 20)
    with pytest.raises(UserError, match=f"{layer.kind}1?: a {layer.kind} is not trained here"):
        train(NumpyBackend(int(seed)), network, data, data, Recipe())


@pytest.fixture
def environment(tmp_path, seed) -> dict[str, str]:
    """Where `import torch` fails and MNIST is 400 small images."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    for name in ("torch", "torchvision"):
        (hidden / f"{name}.py").write_text("raise ImportError('hidden by a test')\n")
    small_mnist.write(tmp_path / "root", digits(seed, 300), digits(seed, 100))
    return os.environ | {
        "PYTHONPATH": os.pathsep.join([str(hidden), str(ROOT)]),
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
        (["convnet", "--backend", "numpy", "--threads", "0"], "is not in the range x>=1"),
        (["convnet", "--backend", "numpy", "--epochs", "0"], "epochs 0: expected at least 1"),
        (["convnet", "--backend", "numpy", "--set", "momentum=1"], "momentum"),
        (
            ["convnet", "--backend", "numpy", "--set", "interpolation=x"],
            "expected one of bilinear, bicubic",
        ),
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
    recipe, network = Recipe(teacher="simplecnn"), NETWORKS["lenet5"]
    assert load_teacher(recipe, network, "MNIST") is not None
    with pytest.raises(UserError, match="simplecnn takes other images .* than other; leave it out"):
        load_teacher(recipe, Network.chain("other", (Linear(3),)), "MNIST")
    with pytest.raises(UserError, match="simplecnn has learned from MNIST, not from zoo; use"):
        load_teacher(recipe, network, "zoo")
    monkeypatch.setattr(places, "MEM", tmp_path)
    monkeypatch.setattr(places, "SHIPPED", tmp_path)
    with pytest.raises(UserError, match="train it first"):
        load_teacher(recipe, network, "MNIST")
    with pytest.raises(UserError, match="unknown teacher"):
        load_teacher(Recipe(teacher="nobody"), network, "MNIST")
    assert load_teacher(Recipe(), network, "MNIST") is None
