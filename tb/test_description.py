"""Networks described in TOML: what they become, what is refused, and training them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from random_networks import generator

from convstream.model import evaluate, train
from convstream.model.base.errors import UserError
from convstream.model.formats.onnx import read_onnx
from convstream.model.hardware import manifest as manifests
from convstream.model.learning.augment import augment
from convstream.model.learning.recipes import Recipe
from convstream.model.network import description
from convstream.model.network.examples import DESCRIPTIONS, NETWORKS
from convstream.model.network.floats import FloatNetwork
from convstream.model.network.graph import Network
from convstream.model.network.layers import (
    Add,
    AvgPool,
    Concat,
    Conv,
    Linear,
    MaxPool,
    Upsample,
)
from convstream.sim import run

RESIDUAL = """
layers = [
    {kind = "conv", channels = 4, kernel = 3, stride = 2, padding = 1},
    {kind = "conv", channels = 4, kernel = [1, 3], padding = [0, 1, 0, 1]},
    {kind = "add", inputs = ["conv1", "conv2"]},
    {kind = "maxpool", kernel = 2},
    {kind = "linear"},
]

[recipe]
epochs = 6
tune_epochs = 1
batch = 20
rate = 2e-2
average = 0.9
clean = 1
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def test_every_kind_of_layer(tmp_path):
    path = write(
        tmp_path,
        """
        input = [2, 16, 12]

        [[layers]]
        kind = "conv"
        channels = 4
        kernel = [3, 5]
        stride = [2, 1]
        padding = [1, 2, 1, 2]
        dilation = 1
        groups = 2

        [[layers]]
        kind = "maxpool"
        kernel = 2

        [[layers]]
        kind = "avgpool"
        kernel = 2
        stride = 1
        padding = 1
        inputs = ["pool1"]

        [[layers]]
        kind = "upsample"
        factor = [1, 2]

        [[layers]]
        kind = "conv"
        channels = 4
        kernel = 1

        [[layers]]
        kind = "add"
        inputs = ["conv2", "upsample1"]

        [[layers]]
        kind = "concat"
        inputs = ["add1", "conv2"]

        [[layers]]
        kind = "linear"
        features = 7
        """,
    )
    expected = Network.graph(
        "mine",
        [
            (Conv(4, (3, 5), (2, 1), (1, 2, 1, 2), groups=2), [-1]),
            (MaxPool(2, 2), [0]),
            (AvgPool(2, 1, 1), [1]),
            (Upsample(1, 2), [2]),
            (Conv(4, 1), [3]),
            (Add(), [4, 3]),
            (Concat(), [5, 4]),
            (Linear(7), [6]),
        ],
        (2, 16, 12),
    )
    found = description.read(path)
    assert found.network() == expected
    assert found.classes == 7 and found.recipe == {}


def test_shape_and_classes_of_the_data(tmp_path):
    found = description.read(write(tmp_path, RESIDUAL))
    assert found.classes is None and found.input_shape is None
    network = found.network((3, 12, 8), 5)
    assert network.input_shape == (3, 12, 8) and network.classes == 5
    assert Recipe().changed(found.recipe, "mine").epochs == 6


def test_the_networks_are_such_files():
    """Each has its own file, with its layers and the recipe by which it was trained."""
    for name, network in NETWORKS.items():
        found = manifests.find(name)
        assert network == read_onnx(found / "network.onnx", name).network
        trained = manifests.read(found)["training"]["recipe"]
        for field, value in DESCRIPTIONS[name].recipe.items():
            assert trained[field] == value, (name, field)


LAYER = 'layers = [{{kind = "conv", channels = 2, kernel = 3}}, {}, {{kind = "linear"}}]'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("layers = [}]", r"no TOML file \(.*line 1, column 11"),
        ("input = [1, 8, 8]", "lacks layers; expected such as layers = "),
        ("layers = []", "lacks layers"),
        ("layers = 3", "lacks layers"),
        ("layer = []", "unknown key layer; expected input, layers, recipe"),
        ('layers = [{kind = "linear"}]\nrecipe = 3', r"recipe = 3; expected a table \[recipe\]"),
        ('layers = [{kind = "linear"}]\ninput = [1, 8]', r"expected \[channels, height, width\]"),
        (LAYER.format("{}"), r"layer 2 \(None\): kind = None; expected one of conv, linear, maxpo"),
        (LAYER.format('{kind = "lstm"}'), r"layer 2 \(lstm\): kind = 'lstm'; expected one of conv"),
        (LAYER.format('{kind = "maxpool"}'), r"layer 2 \(maxpool\): lacks kernel"),
        (
            LAYER.format('{kind = "maxpool", size = 2}'),
            r"layer 2 \(maxpool\): unknown option size; expected inputs, kernel, stride, padding",
        ),
        (
            LAYER.format('{kind = "maxpool", kernel = 0}'),
            r"layer 2 \(maxpool\): kernel = 0; expected 1 or 2 whole numbers from 1 on",
        ),
        (LAYER.format('{kind = "maxpool", kernel = 2.0}'), "kernel = 2.0; expected 1 or 2 whole"),
        (LAYER.format('{kind = "linear", features = [2, 3]}'), "expected 1 whole numbers from 1"),
        (
            LAYER.format('{kind = "conv", channels = 2, kernel = 3, padding = [1, 2]}'),
            r"padding = \[1, 2\]; expected 1 or 4 whole numbers from 0 on",
        ),
        (
            LAYER.format('{kind = "maxpool", kernel = 9}'),
            r"layer 2 \(maxpool\): window 9x9.* larger",
        ),
        (
            LAYER.format('{kind = "conv", channels = 3, kernel = 1, groups = 2}'),
            r"layer 2 \(conv\): a convolution from 2 to 3 channels in 2 groups",
        ),
        (LAYER.format('{kind = "linear"}'), r"layer 2 \(linear\): lacks features"),
        (LAYER.format('{kind = "add"}'), r"layer 2 \(add\): added tensors of 2x6x6, expected two"),
        (
            LAYER.format('{kind = "add", inputs = ["conv1", "conv9"]}'),
            r"layer 2 \(add\): inputs = .*conv9.*; expected a list of layers before it: image, ",
        ),
        (
            LAYER.format('{kind = "maxpool", kernel = 2, inputs = ["conv1", "image"]}'),
            r"layer 2 \(maxpool\): inputs = \['conv1', 'image'\]; expected one",
        ),
        (
            LAYER.format('{kind = "maxpool", kernel = 2, inputs = "conv1"}'),
            "expected a list of layers before it",
        ),
        (
            LAYER.format('{kind = "maxpool", kernel = 2, inputs = ["image"]}'),
            "network mine: nothing takes the output of conv1",
        ),
    ],
)
def test_mistakes_in_the_file(tmp_path, text, words):
    """One line that names the file, the layer, and what was expected."""
    path = write(tmp_path, text)
    with pytest.raises(UserError, match=words) as caught:
        description.read(path).network((1, 8, 8), 3)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("epoch = 3", "unknown recipe field 'epoch'; expected one of epochs, "),
        ("epochs = 2.5", "epochs = 2.5 is no int"),
        ("epochs = true", "epochs = True is no int"),
        ("rate = '1'", "rate = '1' is no float"),
        ("rate = nan", "rate nan: expected 0 or more"),
        ("rate = -1", "rate -1.0: expected 0 or more"),
        ("clean = 2", "clean 2.0: expected a share from 0 to 1"),
        ("flip = 'yes'", "flip = 'yes' is no bool"),
        ("optimiser = 'adams'", "unknown optimiser 'adams'; expected one of adam, sgd"),
    ],
)
def test_mistakes_in_the_recipe(tmp_path, line, words):
    path = write(tmp_path, f'layers = [{{kind = "linear"}}]\n[recipe]\n{line}')
    with pytest.raises(UserError, match=words) as caught:
        train.main([str(path), "--backend", "numpy", "--out", str(tmp_path / "out")])
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_images_are_mirrored(seed):
    """About half of them, when asked for; and nothing else with the rest turned off."""
    pixels = generator(seed, "flip").integers(0, 256, (200, 2, 5, 6), np.uint8)
    still = Recipe(clean=1.0)
    np.testing.assert_array_equal(augment(pixels, still, generator(seed, "draws")), pixels)
    found = augment(pixels, Recipe(clean=1.0, flip=True), generator(seed, "draws"))
    mirrored = (found == pixels[..., ::-1]).all(axis=(1, 2, 3))
    assert 50 < mirrored.sum() < 150
    np.testing.assert_array_equal(found[~mirrored], pixels[~mirrored])


@pytest.fixture
def zoo(tmp_path, seed) -> Path:
    """Class folders of noisy copies of a pattern each, `train` and `test`."""
    rng = generator(seed, "zoo")
    patterns = rng.integers(0, 2, (3, 6, 6, 3)).repeat(2, axis=1).repeat(2, axis=2)
    for split, count in (("train", 50), ("test", 10)):
        for name, pattern in zip(("ant", "bee", "cow"), patterns, strict=True):
            room = tmp_path / "zoo" / split / name
            room.mkdir(parents=True)
            for number in range(count):
                image = 160 * pattern + rng.integers(0, 96, pattern.shape)
                Image.fromarray(image.astype(np.uint8)).save(room / f"{number}.png")
    return tmp_path / "zoo"


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_training_on_class_folders(zoo, tmp_path, capsys, monkeypatch, backend):
    """From a description and a folder to equal logits; the names of classes go along."""
    if backend == "torch":
        pytest.importorskip("torch", reason="needs the extra [train]")
    monkeypatch.setattr(evaluate, "BUILD", tmp_path / "build")
    monkeypatch.setattr(run, "BUILD", tmp_path / "build")
    path, out = write(tmp_path, RESIDUAL), tmp_path / "hw" / "mine"
    data = ["--data", str(zoo)]
    options = ["--out", str(out), "--backend", backend, "--threads", "1"]
    assert train.main([str(path), *data, *options]) == 0
    assert f"on the test images of {zoo}" in capsys.readouterr().out
    training = manifests.verify(out)["training"]
    assert training["dataset"] == str(zoo) and training["classes"] == ["ant", "bee", "cow"]
    assert training["int8_accuracy"] > 80
    network = description.read(path).network((3, 12, 12), 3)
    assert FloatNetwork.load(network, out / "float.npz").network == network

    assert evaluate.main([str(out), *data]) == 0
    shown = capsys.readouterr().out
    assert "before training" in shown and "class bee: " in shown
    assert f"{training['int8_accuracy']:.2f} %" in shown
    if backend == "numpy":
        assert run.main([str(out), *data, "-n", "6", "--sim", "icarus"]) == 0
        (report,) = (tmp_path / "build").rglob("report.json")
        said = json.loads(report.read_text())
        assert (said["images"], said["mismatches"]) == (6, 0)
        # One picture without a label gets the name of a class, too.
        picture = zoo / "test" / "cow" / "0.png"
        assert run.main([str(out), "--data", str(picture), "--sim", "icarus"]) == 0
        assert any(name in capsys.readouterr().out for name in ("ant", "bee", "cow"))


def test_data_that_do_not_fit_the_description(zoo, tmp_path):
    arguments = ["--backend", "numpy", "--data", str(zoo), "--out", str(tmp_path / "out")]
    for head, words in (
        ("input = [3, 8, 8]\n", "holds images of 3x12x12, the network takes 3x8x8"),
        ("input = [3, 8]\n", "expected .channels, height, width."),
    ):
        with pytest.raises(UserError, match=words):
            train.main([str(write(tmp_path, head + RESIDUAL)), *arguments])
    text = RESIDUAL.replace('{kind = "linear"}', '{kind = "linear", features = 5}')
    with pytest.raises(UserError, match="3 class folders, but mine has 5 outputs; give --classes"):
        train.main([str(write(tmp_path, text)), *arguments])
    text = RESIDUAL.replace('    {kind = "linear"},\n', "")
    with pytest.raises(UserError, match="36 outputs, but .* has 3 classes; leave out the feat"):
        train.main([str(write(tmp_path, text)), *arguments])
    with pytest.raises(UserError, match="unknown network 'mine'; expected one of .*a .toml file"):
        train.main(["mine", *arguments])
    with pytest.raises(UserError, match=r"nowhere\.toml is missing"):
        train.main([str(tmp_path / "nowhere.toml"), *arguments])
    with pytest.raises(UserError, match="network name 'my-net' is no Verilog identifier"):
        write(tmp_path, RESIDUAL).rename(tmp_path / "my-net.toml")
        train.main([str(tmp_path / "my-net.toml"), *arguments])
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_photographs_in_class_folders(tmp_path, monkeypatch, capsys):
    """MLPerf Tiny's 500 images of ten classes, 3x32x32: trained, exported, simulated."""
    pytest.importorskip("torch", reason="needs the extra [train]")
    root = Path(os.environ.get("MLPERF_TINY", ""))
    if not (root / "ic_images.npy").is_file():
        pytest.skip("set MLPERF_TINY to MLPerf Tiny's models and images")
    monkeypatch.setattr(run, "BUILD", tmp_path / "build")
    images, labels = (np.load(root / f"ic_{name}.npy") for name in ("images", "labels"))
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        room = tmp_path / "photos" / ("test" if number % 5 == 0 else "train") / f"class{label}"
        room.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(room / f"{number}.png")
    text = RESIDUAL.replace("channels = 4", "channels = 16").replace("rate = 2e-2", "rate = 5e-3")
    out, data = tmp_path / "hw" / "mine", ["--data", str(tmp_path / "photos")]
    options = ["--out", str(out), "--epochs", "20", "--set", "normalise=true", "--set", "flip=true"]
    assert train.main([str(write(tmp_path, text)), *data, *options]) == 0
    # By chance 10 %; on 320 photographs so small a network learns little more.
    assert manifests.read(out)["training"]["int8_accuracy"] > 20
    # The same images as one array, channels last, with their labels.
    arrays = ["--data", str(root / "ic_images.npy"), "--labels", str(root / "ic_labels.npy")]
    for given in (data, [*arrays, "--layout", "nhwc"]):
        assert run.main([str(out), *given, "-n", "50"]) == 0
        (report,) = (tmp_path / "build").rglob("report.json")
        said = json.loads(report.read_text())
        assert (said["images"], said["mismatches"]) == (50, 0)
        assert said["accuracy_rtl"] is not None
