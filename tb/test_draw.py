"""Looking inside: maps from the reference and from the RTL, marks, histograms, refusals."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from random_networks import (
    generator,
    random_images,
    random_network,
    random_parameters,
    telling_network,
)

from convstream.model.base import pictures
from convstream.model.base.errors import UserError
from convstream.model.base.places import PACKAGE, label
from convstream.model.export import export
from convstream.model.hardware.rom import from_hex, to_hex
from convstream.model.hardware.solver import solve
from convstream.model.hardware.stream_order import slots
from convstream.model.learning.data import load_images
from convstream.model.network import reference
from convstream.model.network.examples import NETWORKS
from convstream.model.network.exponents import Shifts, power_of_two
from convstream.model.network.graph import Network
from convstream.model.network.layers import Conv, Linear, MaxPool
from convstream.model.network.quantised import QuantisedNetwork
from convstream.sim import draw
from convstream.sim.collect import UNKNOWN, unpack
from convstream.sim.design import Design
from convstream.sim.draw import Subject
from convstream.sim.probe import layer_outputs

# Folds that do not divide, two pixels a beat, a hidden vector.
TINY = Network.chain(
    "probed", (Conv(5, 3, padding=1), MaxPool(2, 2), Conv(3, 3), Linear(7), Linear(4)), (2, 8, 10)
)


@pytest.fixture
def quantised(seed) -> QuantisedNetwork:
    return telling_network(seed, TINY)


@pytest.fixture
def images(quantised, seed) -> np.ndarray:
    return random_images(generator(seed, "images"), quantised, 5)


@pytest.mark.parametrize("pixels", [1, 2])
def test_the_rtl_gives_the_maps_of_the_reference(quantised, images, tmp_path, pixels):
    folded = solve(TINY, pixels=pixels)
    export(quantised, tmp_path / "probed", folded=folded)
    design = Design.read(tmp_path / "probed")
    image = images[-1]
    expected = draw.features_of(quantised, image)
    found = layer_outputs(design, image, tmp_path / "build", "icarus")
    assert list(found) == [node.name for node in TINY.nodes]
    for name, maps in found.items():
        np.testing.assert_array_equal(maps, expected[name])

    # Another bias, which moves a value that is not clamped by one: the layer differs, none before.
    channel = np.argwhere((expected["conv2"] > 0) & (expected["conv2"] < 255))[0, 0]
    words = from_hex(design.files["probed_conv2_bias.mem"].decode(), np.int32)
    words.reshape(-1)[channel] += 1 << quantised.rounding("conv2").shift
    files = design.files | {"probed_conv2_bias.mem": to_hex(words).encode()}
    altered = dataclasses.replace(design, files=files)
    found = layer_outputs(altered, image, tmp_path / "build", "icarus")
    same = {name: np.array_equal(maps, expected[name]) for name, maps in found.items()}
    assert same["conv1"]
    assert same["pool1"]
    assert not same["conv2"]


def test_unknown_and_missing_beats_are_told():
    words = ["0201", "0003", "xx05"]
    expected = [1, 5, 2, UNKNOWN, 3, UNKNOWN]
    assert unpack(words, slots((3, 1, 2), 2), 8).tolist() == expected
    assert unpack(["00000001ffffffff"], slots((2, 1, 1), 2), 32).tolist() == [-1, 1]


def red(path: Path) -> int:
    """Pixels of a PNG in the colour of the marks."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    return int(((pixels[..., 0] > 240) & (pixels[..., 1:] < 40).all(axis=2)).sum())


def test_cells_that_differ_are_marked(quantised, images, tmp_path):
    features = draw.features_of(quantised, images[-1])
    subject = Subject(images[-1], "noise", 1, images)
    path = tmp_path / "new" / "maps.png"
    none = dict.fromkeys(features, 0)
    assert draw.draw_features(quantised, subject, features, None, path) == none
    assert red(path) == 0
    rtl = {name: maps.copy() for name, maps in features.items()}
    assert draw.draw_features(quantised, subject, features, rtl, path) == none
    assert red(path) == 0
    rtl["conv1"][4, 7, 9] ^= 1
    rtl["fc1"][2] = UNKNOWN
    rtl["fc2"][0] += 1
    wrong = none | {"conv1": 1, "fc1": 1, "fc2": 1}
    assert draw.draw_features(quantised, subject, features, rtl, path) == wrong
    assert red(path) > 20


@pytest.mark.parametrize("case", range(4))
def test_any_network_can_be_drawn(seed, case, tmp_path):
    rng = generator(seed, "drawn", case)
    quantised = random_network(rng, max_size=14, max_channels=20)
    images = random_images(rng, quantised)
    subject = Subject(images[2], "noise", None, images)
    features = draw.features_of(quantised, images[2])
    draw.draw_features(quantised, subject, features, None, tmp_path / "maps.png")
    rows = draw.draw_histograms(quantised, images, tmp_path / "histograms.png")
    assert (tmp_path / "histograms.png").stat().st_size > 1000
    assert [row["name"] for row in rows] == [node.name for node in quantised.network.weighted]
    outputs = reference.features(quantised, images)
    for row in rows:
        if row["saturated"] is None:
            continue
        output = outputs[row["name"]]
        # Not all that are 255 were clamped, but none else.
        assert 0 <= row["saturated"] <= (output == 255).mean()
        assert row["zeros"] == (output == 0).mean()
        weight = quantised.parameters[row["name"]].weight
        assert row["weights_at_the_ends"] == np.isin(weight, (-128, 127)).mean()


def test_saturation_counts_what_is_clamped():
    weight = np.ones((1, 1), np.int8)
    network = Network.chain("one", (Linear(1), Linear(1)), (1, 1, 1))
    parameters = random_parameters(np.random.default_rng(1), network)
    last = parameters["fc2"]._replace(input_exponent=0)
    for bias, share in ((0, 0.0), (1, 1 / 4), (2, 2 / 4), (300, 1.0)):
        one = Shifts(weight, np.array([bias], np.int32), 0, 0, 0)
        quantised = power_of_two(network, {"fc1": one, "fc2": last})
        x = np.array([0, 100, 254, 255], np.uint8).reshape(4, 1, 1, 1)
        assert draw.saturation(quantised, network["fc1"], [x]) == share


def test_mosaic():
    maps = np.arange(1, 13).reshape(3, 2, 2)
    tiled = pictures.mosaic(maps, 2)
    assert tiled.shape == (5, 5)
    np.testing.assert_array_equal(tiled[:2, 3:], maps[1])
    np.testing.assert_array_equal(tiled[3:, :2], maps[2])
    assert np.isnan(tiled[2]).all()
    assert np.isnan(tiled[3:, 3:]).all()
    assert pictures.mosaic(np.ones((5, 1, 1)), 3).shape == (2, 3)


@pytest.fixture
def exported(tmp_path, seed, monkeypatch) -> Path:
    """A network for test images, exported; its name is the stem of the folder."""
    network = Network.chain("mini", (Conv(2, 3, 3), Linear(10)))
    quantised = power_of_two(network, random_parameters(generator(seed, "mini"), network))
    export(quantised, tmp_path / "mini")
    monkeypatch.setenv("MNIST_DOWNLOAD", "0")
    monkeypatch.setattr(draw, "BUILD", tmp_path / "build")
    return tmp_path / "mini"


def test_the_command_draws_test_images_and_files(exported, tmp_path, capsys):
    assert draw.main([str(exported), "--image", "3"]) == 0
    shown = capsys.readouterr().out
    assert "of the weights at the ends" in shown
    for name in ("3.png", "histograms.png"):
        assert (tmp_path / "build" / label(exported, "mini") / name).is_file()
    picture = tmp_path / "seven.png"
    Image.fromarray(load_images("test").images[0]).save(picture)
    floats = tmp_path / "seven.npy"
    np.save(floats, load_images("test").images[:1].astype(np.float32) / 256)
    assert draw.main([str(exported), "--image", str(floats), "--out", str(tmp_path / "npy")]) == 0
    arguments = [str(exported), "--image", str(picture), "--out", str(tmp_path / "out")]
    assert draw.main([*arguments, "--rtl", "--sim", "icarus"]) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["histograms.png", "seven.png"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--image", "100000"], "holds images 0 to"),
        (["--image", "-1"], "holds images 0 to"),
        (["--image", "nowhere.png"], "no such file"),
        (["--image", ""], "no such file|expected"),
        (["--rtl", "--sim", "modelsim"], "unknown simulator"),
    ],
)
def test_refuses_in_one_line(exported, arguments, words):
    with pytest.raises(UserError, match=words) as caught:
        draw.main([str(exported), *arguments])
    assert "\n" not in str(caught.value)


def test_refuses_unknown_networks_and_other_shapes(quantised, tmp_path):
    with pytest.raises(UserError, match="unknown network"):
        draw.main(["nothing"])
    export(quantised, tmp_path / "probed")
    with pytest.raises(UserError, match="name a file with --image"):
        draw.main([str(tmp_path / "probed")])
    np.save(tmp_path / "wrong.npy", np.zeros((1, 28, 28), np.uint8))
    with pytest.raises(UserError, match="the network takes 2x8x10"):
        draw.main([str(tmp_path / "probed"), "--image", str(tmp_path / "wrong.npy")])


def test_the_command_refuses_in_one_line_with_status_2():
    name = next(iter(NETWORKS))
    command = [sys.executable, "-m", "convstream.sim.draw", name, "--image", "99999999"]
    done = subprocess.run(
        command, cwd=PACKAGE, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: image 99999999: ")
