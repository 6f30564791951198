"""`convstream quantise`: float networks to QDQ files that are read exactly as ONNX Runtime runs."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from oracles import run_onnx
from random_networks import generator

from convstream.model import quantise
from convstream.model.base.errors import UserError
from convstream.model.formats.onnx import read_onnx
from convstream.model.learning.own_data import DataFiles
from convstream.model.network import reference
from convstream.model.network.graph import IMAGE
from convstream.model.network.pixels import Normalisation

torch = pytest.importorskip("torch", reason="needs the extra [train]")


class Small(torch.nn.Module):
    """A convolution with batch normalisation, functional pools, and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = torch.nn.Conv2d(1, 4, 5, padding=2)
        self.norm = torch.nn.BatchNorm2d(4)
        self.conv2 = torch.nn.Conv2d(4, 6, 3, stride=2)
        self.fc1 = torch.nn.Linear(54, 20)
        self.fc2 = torch.nn.Linear(20, 5)

    def forward(self, x):
        f = torch.nn.functional
        x = f.max_pool2d(f.relu(self.norm(self.conv1(x))), 2)
        x = torch.flatten(f.relu(self.conv2(x)), 1)
        return self.fc2(f.relu(self.fc1(x)))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with net.onnx, and 200 inputs with labels in cal.npz."""
    folder = tmp_path_factory.mktemp("quantise")
    torch.manual_seed(3)
    module = Small()
    rng = np.random.default_rng(4)
    images = rng.normal(size=(200, 1, 14, 14)).astype(np.float32)
    module.train()
    with torch.no_grad():
        module(torch.from_numpy(images))  # figures of the batch normalisation
        labels = module.eval()(torch.from_numpy(images)).argmax(1).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            module,
            torch.zeros(1, 1, 14, 14),
            str(folder / "net.onnx"),
            dynamo=False,
            input_names=["in"],
            dynamic_axes={"in": {0: "N"}},
        )
    np.savez(folder / "cal.npz", images=images, labels=labels)
    return folder


@pytest.mark.parametrize(
    "options",
    [[], ["--per-channel"], ["--power-of-two"], ["--method", "entropy"]],
    ids=lambda options: options[-1] if options else "plain",
)
def test_int8_equals_onnx_runtime(
    files: Path, tmp_path: Path, seed: str, capsys: pytest.CaptureFixture, options: list[str]
) -> None:
    out = tmp_path / "out.onnx"
    arguments = [str(files / "net.onnx"), "--calibrate", str(files / "cal.npz")]
    assert quantise.main([*arguments, *options, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "furthest from the floats at" in printed
    before, after = (float(part.split()[-1].rstrip("%")) for part in printed.split(" in ")[-3:-1])
    assert before == 100 and after >= 90, printed
    quantised = read_onnx(out)
    images = generator(seed, "quantise").normal(size=(300, 1, 14, 14)).astype(np.float32)
    found = reference.predict(quantised, quantised.codes[IMAGE].of_real(images))
    (expected,) = run_onnx(onnx.load(out), images, optimise=True)
    np.testing.assert_array_equal(quantised.real(found).astype(np.float32), expected)
    if "--power-of-two" in options:
        rounding = [quantised.rounding(node.name) for node in quantised.network.nodes]
        assert all(one is None or one.shift is not None for one in rounding)


def test_pixels_are_normalised(files: Path, tmp_path: Path, seed: str) -> None:
    pixels = generator(seed, "pixels").integers(0, 256, (7, 3, 4, 5), np.uint8)
    np.save(tmp_path / "x.npy", pixels)
    normalisation = Normalisation.parse("0.5,0.4,0.3", "0.25")
    images, labels = quantise.load(DataFiles(str(tmp_path / "x.npy")), (3, 4, 5), normalisation)
    mean = np.array([0.5, 0.4, 0.3], np.float32)[:, None, None]
    np.testing.assert_allclose(images, (pixels / np.float32(255) - mean) / 0.25, rtol=1e-5)
    assert labels is None


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ({"x": np.zeros((3, 1, 14, 14))}, [], "holds x, expected images"),
        ({"images": np.zeros((3, 1, 9, 14))}, [], "inputs of 1x9x14, the network takes 1x14x14"),
        ({"images": np.full((3, 1, 14, 14), np.nan)}, [], "not finite; leave those inputs out"),
        (
            {"images": np.zeros((3, 1, 14, 14)), "labels": np.zeros(2, int)},
            [],
            "2 labels, but .* holds 3 images; expected one an image",
        ),
        (
            {"images": np.zeros((3, 1, 14, 14))},
            ["--std", "0"],
            "--std 0: expected numbers from 1e-06",
        ),
        ({"images": np.zeros((3, 1, 14, 14))}, ["--mean", "x"], "--mean x: expected numbers"),
        (
            {"images": np.zeros((3, 1, 14, 14))},
            ["--power-of-two", "--per-channel"],
            "leave out --per-channel",
        ),
    ],
)
def test_refusals(files: Path, tmp_path: Path, arrays, options, message) -> None:
    np.savez(tmp_path / "cal.npz", **arrays)
    arguments = [str(files / "net.onnx"), "--calibrate", str(tmp_path / "cal.npz"), *options]
    with pytest.raises(UserError, match=message):
        quantise.main([*arguments, "--out", str(tmp_path / "out.onnx")])
    assert not (tmp_path / "out.onnx").exists()


def test_what_is_quantised_already(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    calibrate = ["--calibrate", str(files / "cal.npz")]
    quantise.main([str(files / "net.onnx"), *calibrate, "--out", str(out)])
    with pytest.raises(UserError, match="quantised already; hand it to convstream export"):
        quantise.main([str(out), *calibrate])


def test_bright_inputs_are_told_of(
    files: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    images = 255 * np.load(files / "cal.npz")["images"]
    np.savez(tmp_path / "cal.npz", images=images)
    arguments = [str(files / "net.onnx"), "--calibrate", str(tmp_path / "cal.npz")]
    quantise.main([*arguments, "--out", str(tmp_path / "out.onnx")])
    assert "divide them by 255" in capsys.readouterr().err
