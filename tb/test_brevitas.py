"""QCDQ and QONNX files as Brevitas exports them, against ONNX Runtime, QONNX and Brevitas."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from brevitas_networks import (
    FIXED_POINT,
    FLOAT,
    PER_TENSOR,
    Quantised,
    calibrated,
    export,
)
from float_networks import images_for
from onnx_graphs import assert_equal_networks
from oracles import run_onnx
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes

from convstream.model.base.errors import UserError
from convstream.model.formats.onnx import read_onnx
from convstream.model.formats.onnx.notes import notes
from convstream.model.formats.onnx.predictor import predictor
from convstream.model.learning import data
from convstream.model.network import reference
from convstream.model.network.graph import IMAGE

SETTINGS = {
    "float": FLOAT,
    "float-w4": {**FLOAT, "weights": 4},
    "float-w2-unbiased": {**FLOAT, "weights": 2, "bias": False},
    "residual": {**FLOAT, "residual": True},
    "residual-w4": {**PER_TENSOR, "weights": 4, "residual": True},
    "fixed-point": FIXED_POINT,
    "fixed-point-w3-a4": {**FIXED_POINT, "weights": 3, "activations": 4, "residual": True},
    "float-bias": {**FLOAT, "bias_quant": None},
}
QUICK = ("residual-w4",)
COUNT = 1000


@functools.cache
def images() -> np.ndarray:
    """float32: 1,000 of MNIST, and as many random ones."""
    test = data.load_images("test").images[:COUNT, None]
    random = images_for((1, 28, 28), COUNT)
    return np.concatenate([(test.astype(np.float32) / 255 - 0.5) / 0.5, random])


def network(**settings) -> Quantised:
    return calibrated(torch.from_numpy(images()[::10]), **settings)


def written(found: Quantised, style: str, folder: Path, count: int = 1) -> Path:
    path = folder / f"{style}.onnx"
    export(found, style, path, torch.from_numpy(images()[:count]))
    return path


def pairs(names):
    return [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", pairs(SETTINGS))
def test_both_exports_of_a_network_equal_onnx_runtime(name, tmp_path):
    found = network(**SETTINGS[name])
    path = written(found, "qcdq", tmp_path, len(images()))
    quantised = read_onnx(path)
    outputs = reference.predict(quantised, quantised.codes[IMAGE].of_real(images()))
    (expected,) = run_onnx(path, images(), optimise=True)
    assert int((quantised.real(outputs).astype(np.float32) != expected).sum()) == 0
    assert len(np.unique(outputs)) > 50
    own = written(found, "qonnx", tmp_path)
    assert_equal_networks(read_onnx(own, quantised.network.name), quantised)
    found_notes = list(notes(own, quantised))
    assert not found_notes or SETTINGS[name].get("activations") == 4, found_notes


def test_qonnx_runs_in_onnx_runtime_in_the_standards_operators(tmp_path):
    path = written(network(**FLOAT, residual=True, weights=4), "qonnx", tmp_path, 5)
    quantised = read_onnx(path)
    codes = quantised.codes[IMAGE].of_real(images()[:100])
    assert np.array_equal(predictor(path, quantised, 1)(codes), reference.predict(quantised, codes))


@pytest.mark.parametrize("residual", [pytest.param(False, marks=pytest.mark.slow), True])
def test_fixed_point_equals_qonnx_and_brevitas(residual, tmp_path):
    """Sums of such scales are exact in floats, so all of them must agree."""
    found = network(**FIXED_POINT, residual=residual, weights=4)
    path = written(found, "qonnx", tmp_path, 100)
    floats = np.concatenate([images()[:50], images()[-50:]])
    quantised = read_onnx(path)
    codes = quantised.codes[IMAGE].of_real(floats)
    logits = quantised.real(reference.predict(quantised, codes))
    model = ModelWrapper(str(path)).transform(InferShapes())
    made = execute_onnx(model, {model.graph.input[0].name: floats})
    assert np.array_equal(made[model.graph.output[0].name], logits)
    with torch.no_grad():
        assert np.array_equal(found(torch.from_numpy(floats)).numpy(), logits)


@pytest.mark.parametrize("style", ["qcdq", "qonnx"])
def test_a_network_that_does_not_quantise_its_image_is_refused(style, tmp_path):
    path = written(network(**FLOAT, entry=False), style, tmp_path)
    with pytest.raises(UserError, match="a float input, .* put a QuantIdentity there in Brevitas"):
        read_onnx(path)
