"""Networks that plain PyTorch trained on MNIST go through the command line and lose nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from convstream.model.base.places import PACKAGE
from convstream.model.calibrated import accuracies
from convstream.model.formats import files as formats
from convstream.model.formats.onnx import read_onnx
from convstream.model.learning import data
from convstream.model.network import reference
from convstream.model.network.pixels import Normalisation

pytest.importorskip("torch", reason="needs the extra [train]")
SCRIPT = PACKAGE / "tb" / "mnist_networks.py"
NORMALISE = ["--mean", "0.5", "--std", "0.5"]
MOST_LOST = 0.001  # of the images


def call(folder: Path, *arguments: object) -> None:
    """Run Python in a folder."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ConvNet", "LeNet5", "Strided"])
def test_trained_on_mnist(name: str, tmp_path: Path) -> None:
    train, test = data.load_images("train"), data.load_images("test")
    if len(test.images) < 10_000:
        pytest.skip("needs MNIST: set MNIST_ROOT")
    assert train.labels is not None and test.labels is not None
    np.savez(tmp_path / "cal.npz", images=train.images[:1000], labels=train.labels[:1000])
    call(tmp_path, SCRIPT, name, "net.pt")
    call(
        tmp_path,
        *("-m", "convstream", "export", f"{SCRIPT}:{name}", "--weights", "net.pt"),
        *("--calibrate", "cal.npz", *NORMALISE, "--out", "hw/net", "--multipliers", 300),
    )
    folder = tmp_path / "hw" / "net"
    normalisation = Normalisation.parse(*NORMALISE[1::2])
    images = normalisation.values(test.images[:, None])
    floats = onnx.load(folder / "float.onnx")
    before, after = accuracies(floats, read_onnx(folder / "network.onnx"), images, test.labels)
    assert before > 0.9 and after >= before - MOST_LOST, (before, after)
    quantised = formats.read(folder / "network.onnx", "net", normalisation)
    found = reference.predict(quantised, test.images[:, None])
    expected = formats.predictor(folder / "network.onnx", quantised)(test.images[:, None])
    assert found.shape == (10_000, 10)
    np.testing.assert_array_equal(found, expected)
    np.save(tmp_path / "test.npy", test.images[:200])
    call(tmp_path, *"-m convstream sim hw/net --data test.npy -n 200 --workers 1".split())
