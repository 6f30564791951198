"""Accuracies, confusion matrix and the worst mistakes."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import small_mnist
from random_networks import generator, random_parameters

from convstream.model import evaluate
from convstream.model.base.errors import UserError
from convstream.model.base.places import PACKAGE, label
from convstream.model.export import export
from convstream.model.learning.initial import initial_network
from convstream.model.learning.source import Split
from convstream.model.network import reference
from convstream.model.network.exponents import Exponents, power_of_two, to_integers
from convstream.model.network.floats import FloatNetwork
from convstream.model.network.graph import Network
from convstream.model.network.layers import Conv, Linear
from convstream.model.network.quantised import QuantisedNetwork

MINI = Network.chain("mini", (Conv(2, 3, 3), Linear(10)))


@pytest.fixture
def splits(seed, tmp_path, monkeypatch) -> tuple[Split, Split]:
    """Training and test images, also as MNIST_ROOT."""
    data = small_mnist.digits(seed, 500)
    train, test = (Split(data.pixels[p], data.labels[p]) for p in (slice(300), slice(300, None)))
    small_mnist.write(tmp_path / "root", train, test)
    monkeypatch.setenv("MNIST_ROOT", str(tmp_path / "root"))
    monkeypatch.setattr(evaluate, "BUILD", tmp_path / "build")
    return train, test


@pytest.fixture
def trained(splits) -> FloatNetwork:
    """A convolution as it starts out; the last layer by least squares."""
    train, _ = splits
    model = initial_network(MINI, train.pixels, np.random.default_rng(1))
    _, steps = model.forward(train.pixels)
    inputs = np.c_[steps[-1].x[0].reshape(len(train), -1), np.ones(len(train))]
    targets = np.eye(10)[train.labels]
    solved = np.linalg.solve(inputs.T @ inputs + np.eye(inputs.shape[1]), inputs.T @ targets)
    model.parameters["fc.weight"][...] = solved[:-1].T
    model.parameters["fc.bias"][...] = solved[-1]
    return model


@pytest.fixture
def quantised(trained) -> QuantisedNetwork:
    return to_integers(MINI, trained.parameters, Exponents({"conv1": 6, "fc": 8}, {"conv1": 5}))


def test_accuracies_before_and_after_training(splits, trained, quantised):
    train, test = splits
    result = evaluate.evaluate(quantised, trained, 1, train, test)
    assert result.trained > 90
    assert result.int8 > 90
    assert result.untrained < 50
    assert evaluate.evaluate(quantised, None, 1, train, test).trained is None
    np.testing.assert_array_equal(
        result.classes, reference.argmax(reference.predict(quantised, test.pixels))
    )
    assert result.int8 == 100 * (result.classes == test.labels).mean()
    assert (result.doubt >= 0).all()


def test_confusion_counts_labels_by_row():
    labels, classes = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 2, 0, 0])
    expected = [[1, 1, 0], [0, 1, 0], [2, 0, 1]]
    np.testing.assert_array_equal(evaluate.confusion(labels, classes, 3), expected)


def test_the_worst_mistakes_come_first():
    test = Split(np.zeros((5, 1, 28, 28), np.uint8), np.array([1, 2, 3, 4, 5]))
    result = evaluate.Result(
        0.0, 0.0, 0.0, np.array([1, 0, 0, 0, 0]), np.array([9.0, 1.0, 3.0, 2.0, 3.0])
    )
    assert evaluate.worst_mistakes(result, test).tolist() == [2, 4, 3, 1]
    assert evaluate.worst_mistakes(result, test, 2).tolist() == [2, 4]


@pytest.mark.parametrize("with_floats", [True, False])
def test_the_command(splits, trained, quantised, tmp_path, capsys, with_floats):
    export(quantised, tmp_path / "mini", training={"seed": 3})
    if with_floats:
        np.savez(tmp_path / "mini" / "float.npz", **trained.parameters)
    assert evaluate.main([str(tmp_path / "mini")]) == 0
    shown = capsys.readouterr().out
    assert "before training" in shown
    assert ("no float.npz" in shown) == (not with_floats)
    for name in ("confusion.png", "mistakes.png"):
        assert (
            (tmp_path / "build" / label(tmp_path / "mini", "mini") / name)
            .read_bytes()
            .startswith(b"\x89PNG")
        )


def test_a_network_without_mistakes_can_be_drawn(splits, quantised, tmp_path):
    _, test = splits
    result = evaluate.Result(0.0, 0.0, 100.0, test.labels, np.zeros(len(test)))
    assert len(evaluate.worst_mistakes(result, test)) == 0
    evaluate.draw_mistakes(np.zeros(0, int), result, test, "none", tmp_path / "none.png")
    matrix = evaluate.confusion(test.labels, test.labels, 10)
    evaluate.draw_confusion(matrix, "none", tmp_path / "confusion.png")


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (Network.chain("wide", (Linear(10),), (3, 28, 28)), "takes 3x28x28 .*; use --images FILE"),
        (Network.chain("few", (Linear(4),)), "choose a network for those"),
    ],
)
def test_refuses_networks_for_other_images(splits, network, words, tmp_path, seed):
    quantised = power_of_two(network, random_parameters(generator(seed, "other"), network))
    export(quantised, tmp_path / network.name)
    with pytest.raises(UserError, match=words) as caught:
        evaluate.main([str(tmp_path / network.name)])
    assert "\n" not in str(caught.value)


def test_refuses_unknown_networks_with_status_2():
    command = [sys.executable, str(PACKAGE / "model" / "evaluate.py"), "convnot"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown network 'convnot'")
    assert len(done.stderr.splitlines()) == 1
