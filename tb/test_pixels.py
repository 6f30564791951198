"""Tables that make pixels codes, against PyTorch and ONNX Runtime on the file itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from float_networks import NETWORKS, export_float, images_for, quantise_file
from onnx_graphs import Graph
from oracles import run_onnx
from random_networks import generator

from convstream.model import export
from convstream.model.base.errors import UserError
from convstream.model.formats import files
from convstream.model.formats.onnx import read_onnx
from convstream.model.hardware import manifest
from convstream.model.learning import own_data
from convstream.model.learning.own_data import Takes
from convstream.model.network import reference
from convstream.model.network.codes import Codes
from convstream.model.network.graph import IMAGE
from convstream.model.network.pixels import PIXELS, Normalisation
from convstream.model.network.quantised import QuantisedNetwork

IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
GREY = Normalisation((0.1307,), (0.3081,))


def normalised(pixels: np.ndarray, given: Normalisation) -> np.ndarray:
    """As torchvision's ToTensor and Normalize compute it, uint8 N x C x H x W."""
    mean, std = (torch.tensor(own).view(-1, 1, 1) for own in (given.mean, given.std))
    return torch.from_numpy(pixels).to(torch.float32).div(255).sub(mean).div(std).numpy()


def quantised_file(name: str, activations: str, folder: Path) -> Path:
    floats, path = folder / "float.onnx", folder / f"{name}.onnx"
    export_float(name, floats)
    quantise_file(floats, path, 2 * images_for(NETWORKS[name][1], 8), "qdq", activations)
    return path


def pixels_for(quantised: QuantisedNetwork, seed: str, count: int = 50) -> np.ndarray:
    shape = (count, *quantised.network.input_shape)
    return generator(seed).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize(
    "name, activations, given",
    [("convnet", "uint8", GREY), ("convnet", "int8", GREY), ("colour", "uint8", IMAGENET)],
)
def test_pixels_give_what_onnx_runtime_makes_of_normalised_ones(
    name, activations, given, seed, tmp_path
):
    path = quantised_file(name, activations, tmp_path)
    own = read_onnx(path)
    quantised = files.read(path, normalisation=given)
    pixels = pixels_for(quantised, seed)
    outputs = reference.predict(quantised, pixels)
    (expected,) = run_onnx(path, normalised(pixels, given), optimise=True)
    found = quantised.real(outputs).astype(np.float32)
    assert np.array_equal(found, expected.reshape(found.shape))
    assert len(np.unique(outputs)) > 20
    assert np.array_equal(files.predictor(path, quantised, 1)(pixels), outputs)
    # What pads the image stands for 0, as before, and not for a black pixel.
    assert quantised.pad_code("conv1") == own.pad_code("conv1") == own.codes[IMAGE].zero_point
    assert quantised.codes[IMAGE] == PIXELS


def test_table_is_that_of_pytorch(seed):
    rng = generator(seed)
    for _ in range(20):
        channels = int(rng.integers(1, 4))
        given = Normalisation(
            tuple(rng.uniform(-1, 1, channels)), tuple(rng.uniform(0.05, 2, channels))
        )
        codes = Codes(float(np.float32(rng.uniform(0.001, 0.1))), int(rng.integers(256)))
        pixels = np.tile(np.arange(256, dtype=np.uint8), (1, channels, 1, 1))
        expected = codes.of_real(normalised(pixels, given)).reshape(channels, 256)
        table = given.table(codes, channels)
        assert np.array_equal(np.broadcast_to(table, expected.shape), expected)
        assert table.ndim == (2 if channels > 1 else 1)


def test_channels_of_one_normalisation_have_one_table():
    codes = Codes(float(np.float32(0.02)), 100)
    assert Normalisation((0.5,) * 3, (0.25,) * 3).table(codes, 3).shape == (256,)
    assert Normalisation((0.5, 0.5, 0.4), (0.25,) * 3).table(codes, 3).shape == (3, 256)


def test_pixels_that_are_the_codes_need_no_table(tmp_path):
    graph = Graph().op("DequantizeLinear", "s", "z")
    graph.constant(np.float32(1 / 255), "s")
    graph.constant(np.uint8(0), "z")
    path = tmp_path / "net.onnx"
    path.write_bytes(graph.op("Conv", graph.weight((3, 2, 3, 3))).model().SerializeToString())
    quantised = files.read(path, normalisation=Normalisation())
    assert [node.name for node in quantised.network.nodes] == ["conv1"]
    assert quantised.normalisation is None
    other = files.read(path, normalisation=Normalisation((0.1,)))
    assert [node.name for node in other.network.nodes] == ["table1", "conv1"]


def test_export_writes_it_and_keeps_it(tmp_path, seed):
    path = quantised_file("convnet", "uint8", tmp_path)
    folder = tmp_path / "hw" / "mine"
    arguments = [str(path), "--out", str(folder), "--multipliers", "20"]
    assert export.main([*arguments, "--mean", "0.1307", "--std", "0.3081"]) == 0
    described = manifest.verify(folder)
    assert described["normalisation"] == {"mean": [0.1307], "std": [0.3081]}
    assert [layer["kind"] for layer in described["layers"]][:2] == ["table", "conv"]
    # It is the file's own that is there, and folding it again changes no number.
    assert (folder / "network.onnx").read_bytes() == path.read_bytes()
    assert export.main([str(folder / "network.onnx"), "--cycles", "40000"]) == 0
    again = manifest.verify(folder)
    assert again["normalisation"] == described["normalisation"]
    assert again["cycles"] != described["cycles"]
    quantised = files.read(folder / "network.onnx", "mine", manifest.normalisation(again))
    table = np.array(
        [int(word, 16) for word in (folder / "mine_table1_table.mem").read_text().split()]
    )
    assert np.array_equal(table, GREY.table(quantised.codes["table1"], 1))
    takes = Takes.of(again, quantised.codes[IMAGE])
    pixels = pixels_for(quantised, seed)
    assert np.array_equal(own_data.pixels(pixels / np.float32(255), "x", takes), pixels)
    with pytest.raises(UserError, match="x: holds -1 to 1, expected floats from 0 to 1, or uint8"):
        own_data.pixels(np.float32([[[[-1, 1]]]]), "x", takes)
    # Without, it takes codes again.
    assert export.main([*arguments, "--force"]) == 0
    assert "normalisation" not in json.loads((folder / "network.json").read_text())


@pytest.mark.parametrize(
    "options, message",
    [
        (["--mean", "0.1,0.2"], "--mean 0.1,0.2: expected one number, or 1, one a channel"),
        (["--mean", "a"], "--mean a: expected numbers, with commas between them"),
        (["--std", "0"], "--std 0: expected numbers from 1e-06 to 1e.06"),
        (["--mean", "nan"], "--mean nan: expected numbers from -1e.06 to 1e.06"),
    ],
)
def test_refusals(options, message, tmp_path):
    path = quantised_file("convnet", "uint8", tmp_path)
    with pytest.raises(UserError, match=message):
        export.main([str(path), "--out", str(tmp_path / "out"), *options])
    assert not (tmp_path / "out").exists()
