"""All implementations side by side: that they agree, and that it is told when they do not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx_graphs import Graph
from random_networks import generator, random_images, random_network, random_parameters

from convstream.model.base.errors import UserError
from convstream.model.base.places import PACKAGE
from convstream.model.export import export
from convstream.model.formats.onnx import read_onnx, write_onnx
from convstream.model.learning.data import load_images
from convstream.model.network import reference
from convstream.model.network.exponents import parameter_shapes, power_of_two
from convstream.model.network.graph import Network
from convstream.model.network.layers import Conv, Linear, MaxPool
from convstream.sim import compare
from convstream.sim.design import Design
from convstream.sim.implementations import Row, int8_predictors

TINY = Network.chain("tiny", (Conv(2, 3, 3), MaxPool(3, 3), Linear(4)), (1, 12, 12))


@pytest.fixture
def folder(tmp_path, seed, monkeypatch) -> Path:
    """A small network, exported, with float weights, and images in a file beside it."""
    quantised = power_of_two(TINY, random_parameters(generator(seed, "tiny"), TINY))
    export(quantised, tmp_path / "tiny")
    rng = generator(seed, "float weights")
    weights = {name: rng.normal(size=shape) for name, shape in parameter_shapes(TINY).items()}
    np.savez(tmp_path / "tiny" / "float.npz", **weights)
    np.save(tmp_path / "images.npy", random_images(generator(seed, "images"), quantised, 9))
    monkeypatch.setattr(compare, "BUILD", tmp_path / "build")
    # Compiled once, for later runs of this test as well.
    monkeypatch.setattr(compare.run, "BUILD", PACKAGE / "build" / "tb" / "compare")
    monkeypatch.setattr(Design, "label", Design.name)
    return tmp_path / "tiny"


@pytest.mark.parametrize("case", range(4))
def test_all_compute_the_integers_of_the_reference(seed, case, tmp_path):
    rng = generator(seed, "compare", case)
    quantised = random_network(rng, max_size=10, max_channels=6)
    write_onnx(quantised, tmp_path / "network.onnx")
    images = random_images(rng, quantised, 5)
    expected = reference.predict(quantised, images)
    names = []
    for name, predict in int8_predictors(quantised, tmp_path):
        names.append(name)
        if name != "ONNX Runtime" or quantised.largest_bound < 2**24:
            np.testing.assert_array_equal(predict(images), expected, err_msg=name)
    assert names[-2:] == ["int8 reference", "ONNX Runtime"]
    assert names[:2] == ["NumPy, slow", "NumPy, fast"]


@pytest.mark.parametrize("batch", ["N", 3])
def test_a_float_input_and_a_fixed_batch(seed, batch, tmp_path):
    """ONNX Runtime gets what the user's own file takes."""
    graph = Graph((batch, 2, 7, 7), TensorProto.FLOAT).q(4).dq(4).conv((4, 2, 7, 7), 4)
    onnx.save(graph.model(), tmp_path / "network.onnx")
    quantised = read_onnx(tmp_path / "network.onnx")
    images = random_images(generator(seed, "float"), quantised, 7)
    expected = reference.predict(quantised, images)
    for name, predict in int8_predictors(quantised, tmp_path):
        np.testing.assert_array_equal(predict(images), expected, err_msg=name)


def test_the_command_compares_all(folder, capsys):
    images = str(folder.parent / "images.npy")
    arguments = ["--net", str(folder), "--images", images, "--slow", "3"]
    assert compare.main(arguments) == 0
    shown = capsys.readouterr().out
    assert "the first 3 of 9 images" in shown
    report = json.loads((compare.BUILD / "tiny" / "report.json").read_text())
    rows = report["rows"]
    pytest.importorskip("torch")
    both = ["NumPy, slow", "NumPy, fast", "PyTorch"]
    assert [row["name"] for row in rows] == [
        *both,
        "int8 reference",
        "ONNX Runtime",
        "RTL in Verilator",
        *both,
    ]
    assert [row["images"] for row in rows] == [3, 9, 9, 9, 9, 9, 3, 9, 9]
    assert all(row["agrees"] and row["images_per_second"] > 0 for row in rows)
    assert all(row["largest_difference"] == 0 for row in rows if row["kind"] == "int8")
    assert 0 <= report["images_of_equal_class_in_float_and_int8"] <= 9
    assert (compare.BUILD / "tiny" / "compare.png").read_bytes().startswith(b"\x89PNG")


def test_what_the_rtl_has_wrong_is_told(folder, capsys, monkeypatch):
    """Mismatches that the simulation found, beside the row that does not agree."""
    design = Design.read(folder)
    images = np.load(folder.parent / "images.npy")
    logits = reference.predict(design.read_network(folder), images)
    mismatch = "image 0: logit of class 1: RTL 7, reference 8"
    row = Row("RTL in Verilator", "int8", logits, 1.0, (mismatch,))
    monkeypatch.setattr(compare, "simulate", lambda design, part, expected, tell: row)
    monkeypatch.setattr(compare.run, "compile_one", lambda *arguments: None)
    (folder / "float.npz").unlink()
    assert compare.main(["--net", str(folder), "--images", str(folder.parent / "images.npy")]) == 1
    shown = capsys.readouterr()
    assert shown.err.startswith(f"RTL in Verilator: {mismatch}\ntiny: RTL in Verilator (int8) dis")
    # Without float weights there is nothing to say of the float network.
    assert "float and int8 give" not in shown.out
    report = json.loads((compare.BUILD / "tiny" / "report.json").read_text())
    assert report["images_of_equal_class_in_float_and_int8"] is None
    assert {row["kind"] for row in report["rows"]} == {"int8"}
    assert [row["name"] for row in report["rows"] if not row["agrees"]] == ["RTL in Verilator"]


def test_a_thousand_test_images_unless_told(monkeypatch, tmp_path):
    monkeypatch.setenv("MNIST_DOWNLOAD", "0")
    monkeypatch.setattr(compare, "BUILD", tmp_path)
    seen = []

    def record(design, images, slow_images):
        seen.append(images)
        return [Row("int8 reference", "int8", np.zeros((len(images), 10), np.int32), 1.0)]

    monkeypatch.setattr(compare, "compare", record)
    assert compare.main(["--net", "convnet"]) == 0
    assert compare.main(["--net", "convnet", "--n", "7"]) == 0
    assert [images.shape for images in seen] == [(1000, 1, 28, 28), (7, 1, 28, 28)]
    report = json.loads((tmp_path / "convnet" / "report.json").read_text())
    assert report["dataset"] == load_images("test").name
    # All logits are equal: class 0.
    (row,) = report["rows"]
    assert row["accuracy"] == pytest.approx(
        100 * (load_images("test").labels[:7] == 0).mean(), abs=1e-3
    )


def test_a_disagreement_is_told(folder, capsys, monkeypatch):
    def wrong(quantised, folder):
        def predict(images):
            logits = reference.predict(quantised, images)
            logits[-1, 0] += 1
            return logits

        yield "NumPy, fast", predict
        yield "int8 reference", lambda images: reference.predict(quantised, images)

    monkeypatch.setattr(compare, "int8_predictors", wrong)
    monkeypatch.setattr(compare, "simulate", None)
    monkeypatch.setattr(compare.run, "compile_one", lambda *arguments: None)
    real = compare.compare
    monkeypatch.setattr(compare, "compare", lambda *a: real(*a, rtl=False))
    images = str(folder.parent / "images.npy")
    assert compare.main(["--net", str(folder), "--images", images]) == 1
    assert "NumPy, fast (int8) disagrees: " in capsys.readouterr().err


def test_without_torch_the_others_are_compared(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    design = Design.read(folder)
    images = np.load(folder.parent / "images.npy")
    rows = compare.compare(design, images, 2, rtl=False)
    summary = compare.summarise(design, rows, np.zeros(9, np.int64), "noise")
    assert "PyTorch" not in [row["name"] for row in summary["rows"]]
    assert all(row["agrees"] for row in summary["rows"])
    compare.print_summary(summary)
    assert "PyTorch is not installed" in capsys.readouterr().out


def test_judge():
    logits = np.array([[5.0, 1.0], [2.0, 2.00001]])
    standard = Row("int8 reference", "int8", logits, 1.0)

    def verdict(other: list, exact: bool) -> compare.Verdict:
        return compare.judge(Row("x", "int8", np.array(other), 1.0), standard, exact)

    assert verdict([[5.0, 1.0]], True).agrees
    assert not verdict([[5.0, 1.1]], True).agrees
    assert verdict([[5.0, 1.0001]], False).agrees
    assert not verdict([[5.0, 1.1]], False).agrees
    # Within rounding the classes of the second image cannot be told apart.
    assert verdict([[5.0, 1.0], [2.00001, 2.0]], False).agrees
    assert verdict([[1.0, 5.0], [2.0, 2.00001]], False).classes == 1
    assert verdict([[1.0, 5.0], [2.0, 2.00001]], True).classes == 1


def test_a_network_of_one_logit():
    one = Row("x", "float", np.array([[1.0], [2.0]]), 1.0)
    assert compare.judge(one, one, False).agrees


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--net", "nothing"], "unknown network 'nothing'"),
        (["--net", ","], "no network given"),
        (["--n", "0"], "x>=1"),
        (["--n", "many"], "not a valid integer"),
        (["--slow", "-1"], "x>=1"),
        (["--images", "nowhere.npy"], "no such file"),
        (["--n", "10"], "holds 9 images"),
    ],
)
def test_refuses_in_one_line(folder, arguments, words):
    given = [] if "--images" in arguments else ["--images", str(folder.parent / "images.npy")]
    with pytest.raises(UserError, match=words) as caught:
        compare.main(["--net", str(folder), *given, *arguments])
    assert "\n" not in str(caught.value)


def test_the_command_ends_with_2_on_a_mistake():
    command = [sys.executable, "-m", "convstream.sim.compare", "--n", "0"]
    done = subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: Invalid value for '-n' / '--n': 0 is not in the range x>=1\n"


def test_refuses_the_test_images_for_another_shape(folder):
    with pytest.raises(UserError, match="use --images FILE"):
        compare.main(["--net", str(folder)])


def test_float_weights_of_another_network_are_refused(folder):
    np.savez(folder / "float.npz", **{"conv1.weight": np.zeros(3)})
    with pytest.raises(UserError, match="not the float weights of tiny"):
        compare.compare(Design.read(folder), np.load(folder.parent / "images.npy"), 1, rtl=False)
