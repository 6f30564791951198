"""Files as ONNX Runtime's `quantize_static` makes them of PyTorch's, unmodified, against itself."""

from __future__ import annotations

import functools
from itertools import product
from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("torch")

from float_networks import NETWORKS, export_float, images_for, quantise_file

from convstream.model.formats.onnx import read_onnx
from convstream.model.formats.onnx.notes import notes
from convstream.model.formats.onnx.predictor import predictor
from convstream.model.formats.onnx.reader import output_name
from convstream.model.formats.onnx.runtime import session
from convstream.model.learning import data
from convstream.model.network import reference
from convstream.model.network.graph import IMAGE
from convstream.model.network.quantised import QuantisedNetwork

MNIST_NETWORKS = ("convnet", "lenet5", "strided")
OTHERS = tuple(NETWORKS.keys() - set(MNIST_NETWORKS))
CALIBRATION = 8


@functools.cache
def mnist(count: int) -> np.ndarray:
    """float32 count x 1 x 28 x 28 from -1 to 1."""
    images = data.load_images("test").images[:count, None]
    return (images.astype(np.float32) / 255 - 0.5) / 0.5


@pytest.fixture(scope="module")
def float_files(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("float")
    files = {name: folder / f"{name}.onnx" for name in NETWORKS}
    for name, path in files.items():
        export_float(name, path)
    return files


def assert_equal(path: Path, quantised: QuantisedNetwork, images: np.ndarray) -> None:
    """The reference's outputs, as real values, are those of ONNX Runtime, to the last bit."""
    codes = quantised.codes[IMAGE].of_real(images)
    codes = codes.reshape(len(images), *quantised.network.input_shape)
    found = reference.predict(quantised, codes)
    if onnx.load(path).graph.output[0].name == output_name(path):
        (expected,) = session(str(path)).run(None, {"x": images})
        real = quantised.real(found).astype(np.float32)
        differ = int((real != expected.reshape(real.shape)).sum())
    else:
        differ = int((found != predictor(path, quantised, threads=1)(codes)).sum())
    assert differ == 0, f"{differ} of {found.size} outputs differ"
    assert len(np.unique(found)) > 20


@pytest.mark.parametrize("symmetric", [False, True], ids=["asymmetric", "symmetric"])
@pytest.mark.parametrize("activations", ["uint8", "int8"])
@pytest.mark.parametrize("style", ["qdq", "qoperator"])
@pytest.mark.parametrize("name", MNIST_NETWORKS)
def test_mnist_network(name, style, activations, symmetric, float_files, tmp_path):
    shape = NETWORKS[name][1]
    images = np.concatenate([mnist(100), images_for(shape, 50)])
    for per_channel, reduce_range in product((False, True), repeat=2):
        path = tmp_path / f"{per_channel}{reduce_range}.onnx"
        quantise_file(
            float_files[name], path, mnist(CALIBRATION), style, activations, per_channel,
            symmetric, reduce_range=reduce_range,
        )  # fmt: skip
        quantised = read_onnx(path)
        assert not list(notes(path, quantised))
        assert_equal(path, quantised, images)


# What ONNX Runtime leaves in floats: of int8 QDQ files, what a tensor with two readers is made by
# or feeds; of QOperator files, pools whose input no operator on codes makes.
IN_FLOATS = {
    ("gated", "qdq", "int8", False),
    ("gated", "qdq", "int8", True),
    ("residual", "qdq", "int8", False),
    ("residual", "qdq", "int8", True),
    ("residual", "qoperator", "uint8", True),
    ("residual", "qoperator", "int8", True),
    ("joined", "qdq", "int8", False),
    ("joined", "qdq", "int8", True),
    ("depthwise", "qoperator", "uint8", True),
    ("depthwise", "qoperator", "int8", True),
}


@pytest.mark.parametrize("symmetric", [False, True], ids=["asymmetric", "symmetric"])
@pytest.mark.parametrize("activations", ["uint8", "int8"])
@pytest.mark.parametrize("style", ["qdq", "qoperator"])
@pytest.mark.parametrize("name", sorted(OTHERS))
def test_network(name, style, activations, symmetric, float_files, tmp_path):
    shape = NETWORKS[name][1]
    path = tmp_path / "network.onnx"
    quantise_file(
        float_files[name], path, images_for(shape, CALIBRATION), style, activations, True, symmetric
    )
    quantised = read_onnx(path)
    said = "; ".join(notes(path, quantised))
    if (name, style, activations, symmetric) in IN_FLOATS:
        assert "in floats" in said
    else:
        assert "in floats" not in said
        assert_equal(path, quantised, images_for(shape, 60, seed=5))


@pytest.mark.parametrize("opset", [13, 15, 18, 20])
def test_opset(opset, tmp_path):
    export_float("depthwise", tmp_path / "float.onnx", opset=opset)
    path = tmp_path / "network.onnx"
    images = images_for((1, 28, 28), CALIBRATION)
    quantise_file(tmp_path / "float.onnx", path, images, per_channel=True)
    assert_equal(path, read_onnx(path), images_for((1, 28, 28), 40, seed=5))


@pytest.mark.parametrize("activations", ["uint8", "int8"])
def test_float_biases(activations, float_files, tmp_path):
    path = tmp_path / "network.onnx"
    quantise_file(
        float_files["lenet5"], path, mnist(CALIBRATION), activations=activations, per_channel=True,
        extra_options={"QuantizeBias": False},
    )  # fmt: skip
    assert_equal(path, read_onnx(path), mnist(100))


@pytest.mark.slow
@pytest.mark.parametrize("activations", ["uint8", "int8"])
@pytest.mark.parametrize("style", ["qdq", "qoperator"])
@pytest.mark.parametrize("name", MNIST_NETWORKS)
def test_all_of_mnist(name, style, activations, float_files, tmp_path):
    path = tmp_path / "network.onnx"
    quantise_file(float_files[name], path, mnist(CALIBRATION), style, activations, True)
    assert_equal(path, read_onnx(path), mnist(10_000))
