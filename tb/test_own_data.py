"""A user's own data: arrays, pictures and class folders, their labels and names; and bad ones."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from random_networks import generator, telling_network
from test_data import idx

from convstream.model import evaluate, quantise
from convstream.model.base.errors import UserError
from convstream.model.export import export
from convstream.model.learning.data import load_for
from convstream.model.learning.own_data import DataFiles, Images, Takes, load_own, splits
from convstream.model.learning.source import load_course
from convstream.model.network import reference
from convstream.model.network.graph import Network
from convstream.model.network.layers import Conv, Linear
from convstream.model.network.pixels import Normalisation
from convstream.sim import compare, draw, run

CLASSES = ("ant", "bee", "cow")
SHAPE = (3, 6, 7)


@pytest.fixture
def pixels(seed) -> np.ndarray:
    """uint8 (9, 3, 6, 7)."""
    return generator(seed, "own").integers(0, 256, (9, *SHAPE), np.uint8)


@pytest.fixture
def folder(tmp_path, pixels) -> Path:
    """Three pictures a class; image n is of class n // 3."""
    write(tmp_path / "zoo", pixels)
    return tmp_path / "zoo"


def write(folder: Path, pixels: np.ndarray) -> None:
    """Pictures in class folders, in order."""
    for number, image in enumerate(pixels):
        room = folder / CLASSES[number * 3 // len(pixels)]
        room.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(room / f"{number:03}.png")


def load(path: object, *, takes: Takes | None = None, **options: object) -> Images:
    given = DataFiles(str(path), **{name: str(value) for name, value in options.items()})
    return load_own(given, takes or Takes(SHAPE, outputs=3))


def test_class_folders(folder, pixels):
    """Numbered by name, as torchvision's ImageFolder does; hidden folders are none."""
    (folder / ".cache").mkdir()
    found = load(folder)
    np.testing.assert_array_equal(found.images, pixels)
    assert found.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert found.classes == CLASSES and found.name == str(folder)
    assert found.names[4] == str(folder / "bee" / "004.png")
    # A few of them are some of each class.
    first = load_for(Takes(SHAPE, outputs=3), DataFiles(str(folder)), 3)
    assert first.labels.tolist() == [0, 1, 2]
    assert [Path(name).stem for name in first.names] == ["000", "003", "006"]


def test_torchvision_numbers_class_folders_the_same(folder, pixels):
    pytest.importorskip("torch", reason="torchvision needs torch")
    from torch_compat import import_torchvision

    torchvision = import_torchvision()
    (folder / "bee" / "deep").mkdir()
    shutil.move(folder / "bee" / "004.png", folder / "bee" / "deep" / "004.png")
    theirs = torchvision.datasets.ImageFolder(folder)
    found = load(folder)
    assert list(found.classes) == theirs.classes
    assert list(zip(found.names, found.labels.tolist(), strict=True)) == theirs.samples
    for image, (other, _) in zip(found.images, theirs, strict=True):
        np.testing.assert_array_equal(image, np.asarray(other).transpose(2, 0, 1))


def test_names_decide_the_order_of_class_folders(folder, tmp_path):
    """Those of a file, or those that the network was trained on; they may be more."""
    names = tmp_path / "names.txt"
    names.write_text("cow\nant\nbee\n")
    assert load(folder, classes=names).labels.tolist() == [1] * 3 + [2] * 3 + [0] * 3
    takes = Takes(SHAPE, outputs=4, classes=("dog", "cow", "bee", "ant"))
    found = load(folder, takes=takes)
    assert found.labels.tolist() == [3] * 3 + [2] * 3 + [1] * 3
    assert found.classes == takes.classes
    # Other names in the same number stand for the folders in order.
    names.write_text("Ameise\nBiene\nKuh\n")
    found = load(folder, classes=names)
    assert found.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert found.classes == ("Ameise", "Biene", "Kuh")
    with pytest.raises(
        UserError, match=r"zoo/ant: the network has no class of that name, but x, y"
    ):
        load(folder, takes=Takes(SHAPE, outputs=3, classes=("x", "y", "z")))


def test_grey_or_colour_as_the_network_takes(folder, pixels):
    found = load(folder, takes=Takes((1, 6, 7)))
    for image, colour in zip(found.images, pixels, strict=True):
        grey = np.asarray(Image.fromarray(colour.transpose(1, 2, 0)).convert("L"))
        np.testing.assert_array_equal(image[0], grey)
    Image.fromarray(pixels[0, 0]).save(folder / "grey.png")
    found = load(folder / "grey.png")
    np.testing.assert_array_equal(found.images[0], np.stack([pixels[0, 0]] * 3))


def test_jpegs(tmp_path, pixels):
    """By their content, whatever they are called."""
    for name in ("a.jpg", "b.JPEG", "c.png"):
        Image.fromarray(pixels[0].transpose(1, 2, 0)).save(tmp_path / name, "JPEG")
    with Image.open(tmp_path / "a.jpg") as image:
        expected = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    found = load(tmp_path)
    np.testing.assert_array_equal(found.images, np.stack([expected] * 3))
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:300])
    with pytest.raises(UserError, match="a.jpg: not a readable JPEG"):
        load(tmp_path / "a.jpg")


LABELS = [0, 2, 1, 0, 0, 1, 2, 2, 1]


@pytest.mark.parametrize("kind", ["npy", "txt", "names", "idx", "pair", "npz", "column"])
def test_labels_of_arrays(tmp_path, pixels, kind):
    """Whatever they come in."""
    labels, options = np.array(LABELS, np.uint8), {}
    np.save(tmp_path / "x.npy", pixels)
    path = tmp_path / "x.npy"
    if kind == "npy":
        np.save(tmp_path / "y.npy", labels)
        options["labels"] = tmp_path / "y.npy"
    elif kind == "txt":
        (tmp_path / "y.txt").write_text("".join(f"{label}\n" for label in LABELS))
        options["labels"] = tmp_path / "y.txt"
    elif kind == "names":
        (tmp_path / "y.txt").write_text("".join(f"{CLASSES[label]}\r\n" for label in LABELS))
        (tmp_path / "names.txt").write_text("\n".join(CLASSES))
        options |= {"labels": tmp_path / "y.txt", "classes": tmp_path / "names.txt"}
    elif kind == "idx":
        (tmp_path / "y.gz").write_bytes(gzip.compress(idx(labels)))
        options["labels"] = tmp_path / "y.gz"
    elif kind == "pair":
        path = tmp_path / "my-images-idx3-ubyte"
        path.write_bytes(idx(pixels))
        (tmp_path / "my-labels-idx1-ubyte").write_bytes(idx(labels))
    else:
        path = tmp_path / "xy.npz"
        np.savez(path, images=pixels, labels=labels[:, None] if kind == "column" else labels)
    found = load(path, **options)
    np.testing.assert_array_equal(found.images, pixels)
    assert found.labels.tolist() == LABELS and found.labels.dtype == np.int64
    assert found.classes == (CLASSES if kind == "names" else None)


def test_layouts(tmp_path, pixels):
    np.save(tmp_path / "x.npy", pixels.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(load(tmp_path / "x.npy", layout="nhwc").images, pixels)
    with pytest.raises(UserError, match="6x7x3, the network takes 3x6x7 .*; say --layout nhwc"):
        load(tmp_path / "x.npy")
    np.save(tmp_path / "x.npy", pixels[:, 0])
    found = load(tmp_path / "x.npy", layout="nhwc", takes=Takes((1, 6, 7)))
    np.testing.assert_array_equal(found.images, pixels[:, :1])


def test_divided_data(tmp_path, pixels):
    """`train` is learned from, `test` or `val` judged on, and what is missing is held out."""
    root = tmp_path / "data"
    many = np.concatenate([pixels] * 5)
    write(root / "train", many)
    write(root / "test", pixels[:3])
    given, takes = DataFiles(str(root)), Takes(SHAPE, outputs=3)
    assert splits(given).keys() == {"train", "test"}
    np.testing.assert_array_equal(load_own(given, takes).images, pixels[:3])
    course = load_course(given, takes)
    np.testing.assert_array_equal(course.test.pixels, pixels[:3])
    assert (len(course.training), len(course.validation)) == (36, 9)
    assert course.classes == CLASSES and course.name == str(root)
    write(root / "val", pixels)
    course = load_course(given, takes)
    assert [len(part) for part in course[:3]] == [45, 9, 3]
    shutil.rmtree(root / "test")
    course = load_course(given, takes)
    assert [len(part) for part in course[:3]] == [36, 9, 9]
    # Of one heap, a fifth is held out twice.
    course = load_course(DataFiles(str(root / "train")), takes)
    assert [len(part) for part in course[:3]] == [29, 7, 9]
    with pytest.raises(UserError, match="train/ant: has no labels; give --labels"):
        load_course(DataFiles(str(root / "train" / "ant")), takes)
    heap = tmp_path / "heap.npz"
    np.savez(heap, images=pixels[:5], labels=range(5))
    with pytest.raises(UserError, match="too few images to hold some out"):
        load_course(DataFiles(str(heap)), Takes())


def test_files_of_mnist_in_a_folder_are_divided_data(tmp_path, pixels):
    for prefix, part in (("train", pixels), ("t10k", pixels[:4])):
        images = idx(part[:, 0])
        (tmp_path / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        labels = idx(np.arange(len(part), dtype=np.uint8) % 3)
        (tmp_path / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    found = load(tmp_path, takes=Takes((1, 6, 7), outputs=3))
    assert found.labels.tolist() == [0, 1, 2, 0]
    np.testing.assert_array_equal(found.images, pixels[:4, :1])


def test_floats_that_are_trained_on(tmp_path, pixels):
    """They stand for what `sim` makes of them: 0 to 1 in steps of 1/256."""
    many = np.concatenate([pixels] * 4)
    path = tmp_path / "x.npz"
    labels = np.arange(len(many)) % 3
    np.savez(path, images=many.astype(np.float32) / 256, labels=labels)
    course = load_course(DataFiles(str(path)), Takes())
    assert sum(len(part) for part in course[:3]) == len(many)
    assert {image.tobytes() for image in course.test.pixels} <= {image.tobytes() for image in many}
    np.savez(path, images=np.maximum(many, 1).astype(np.float32), labels=labels)
    with pytest.raises(UserError, match="holds 1 to 255, expected floats from 0 to 1"):
        load_course(DataFiles(str(path)), Takes())


def test_calibration_inputs(tmp_path, pixels):
    """Those that are learned from, with their labels."""
    write(tmp_path / "data" / "train", pixels)
    write(tmp_path / "data" / "test", pixels[:3])
    given = DataFiles(str(tmp_path / "data"))
    inputs, labels = quantise.load(given, SHAPE, Normalisation())
    np.testing.assert_array_equal(inputs, pixels.astype(np.float32) / 255)
    assert labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3


def spoil(folder: Path, what: str) -> dict[str, object]:
    """Make bad data of good ones; the options that name them."""
    images = np.zeros((4, *SHAPE), np.uint8)
    options: dict[str, object] = {"images": folder}
    if what == "empty class folder":
        (folder / "dog").mkdir()
    elif what == "class folder without images":
        (folder / "dog").mkdir()
        (folder / "dog" / "notes.txt").write_text("none yet")
    elif what == "damaged file":
        (folder / "bee" / "004.png").write_bytes(b"\x89PNG no more")
    elif what == "mixed shapes":
        Image.fromarray(np.zeros((5, 5, 3), np.uint8)).save(folder / "bee" / "004.png")
    elif what == "labels of folders":
        options["labels"] = folder / "y.txt"
    elif what == "fewer folders":
        shutil.rmtree(folder / "cow")
    elif what == "other names":
        (folder / "names.txt").write_text("ant\nbee\n")
        options["classes"] = folder / "names.txt"
    elif what == "a name twice":
        (folder / "names.txt").write_text("ant\nbee\nant\n")
        options["classes"] = folder / "names.txt"
    elif what == "no names":
        (folder / "names.txt").write_text("\n\n")
        options["classes"] = folder / "names.txt"
    elif what == "empty folder":
        options["images"] = folder / "nothing"
        (folder / "nothing").mkdir()
    else:
        arrays: dict[str, object] = {"images": images, "labels": [0, 1, 2, 0]}
        if what == "count of labels":
            arrays["labels"] = [0, 1, 2]
        elif what == "label out of range":
            arrays["labels"] = [0, 1, 3, 0]
        elif what == "negative label":
            arrays["labels"] = [0, -1, 2, 0]
        elif what == "float labels":
            arrays["labels"] = [0.0, 1, 2, 0]
        elif what == "nan":
            arrays["images"] = np.full(images.shape, np.nan, np.float32)
        elif what == "no array of images":
            arrays = {"x": images}
        elif what == "line of labels":
            (folder / "y.txt").write_text("0\n1\ncat\n2\n")
            options["labels"] = folder / "y.txt"
        options["images"] = folder / "x.npz"
        np.savez(folder / "x.npz", **arrays)
    return options


BAD = {
    "empty class folder": r"zoo/dog: a class folder without a PNG or JPEG; fill it, or remove it",
    "class folder without images": r"zoo/dog: a class folder without a PNG or JPEG; fill it",
    "damaged file": r"zoo/bee/004.png: not a readable PNG",
    "mixed shapes": r"zoo/bee/004.png: 3x5x5, but .*zoo/ant/000.png is 3x6x7; all images must have",
    "labels of folders": "its folders are the labels; leave out --labels",
    "fewer folders": "2 class folders, but tiny has 3 outputs; give --classes with all their names",
    "other names": "names.txt: 2 names of classes, but tiny has 3 outputs; expected as many",
    "a name twice": "names.txt: line 3: 'ant'; expected the name of a class, each once",
    "no names": "names.txt: empty; expected the name of a class in each line",
    "empty folder": "nothing: holds no PNG or JPEG; expected at least one",
    "count of labels": "x.npz: 3 labels, but .*x.npz holds 4 images; expected one an image",
    "label out of range": "x.npz: label 3 of image 2, but tiny has 3 outputs; expected 0 to 2",
    "negative label": "x.npz: image 1 has label -1, less than 0",
    "float labels": r"x.npz: labels are float64 \(4,\), expected 4 integers, one an image",
    "nan": "x.npz: holds numbers that are not finite; leave them out",
    "no array of images": "x.npz: holds x, expected images",
    "line of labels": "y.txt: line 3: 'cat'; expected a number, or give --classes for names",
}


@pytest.fixture
def tiny(tmp_path) -> Path:
    """A network for such images, exported; not trained here."""
    network = Network.chain("tiny", (Conv(2, 3, 3), Linear(3)), SHAPE)
    export(telling_network("1", network), tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.mark.parametrize("what", BAD)
def test_bad_data(what, folder, tiny):
    """One line that names the file and the way out; `sim`, `evaluate`, `compare` and `draw`."""
    options = spoil(folder, what)
    arguments = [str(tiny), "--data", str(options.pop("images"))]
    for name, value in options.items():
        arguments += [f"--{name}", str(value)]
    for main in (run.main, evaluate.main, compare.main, draw.main):
        with pytest.raises(UserError, match=BAD[what]) as caught:
            main(arguments)
        assert "\n" not in str(caught.value)


def test_labels_without_images(tiny):
    with pytest.raises(UserError, match="--labels y.npy: of which images. name them with --data"):
        run.main([str(tiny), "--labels", "y.npy"])


def test_a_picture_that_is_left_out_would_move_the_labels(tmp_path, pixels):
    """Where each has its own, none may be missing; without labels it is named and left out."""
    for number in range(3):
        Image.fromarray(pixels[number].transpose(1, 2, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "1.png").write_bytes(b"")
    (tmp_path / "y.txt").write_text("0\n1\n2\n")
    with pytest.raises(UserError, match=r"1\.png: not a readable PNG, but an empty file"):
        load(tmp_path, labels=tmp_path / "y.txt")
    assert len(load(tmp_path).images) == 2


def test_reports_use_names_and_paths(folder, tiny, tmp_path, monkeypatch, capsys):
    """Of a foreign network on its own data: accuracy, classes by name, the data set by its path."""
    monkeypatch.setattr(run, "BUILD", tmp_path / "build")
    monkeypatch.setattr(evaluate, "BUILD", tmp_path / "build")
    monkeypatch.setattr(draw, "BUILD", tmp_path / "build")
    assert run.main([str(tiny), "--data", str(folder), "--sim", "icarus"]) == 0
    shown = capsys.readouterr()
    assert "label" in shown.out and "not trained" not in shown.err
    assert sum(shown.out.count(name) for name in CLASSES) > 18
    (report,) = (tmp_path / "build").rglob("report.json")
    said = json.loads(report.read_text())
    found = load(folder)
    logits = np.load(report.with_name("logits.npy"))
    right = 100 * (reference.argmax(logits) == found.labels).mean()
    assert said["dataset"] == str(folder) and said["accuracy_rtl"] == round(right, 4)

    assert evaluate.main([str(tiny), "--data", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"tiny on 9 images of {folder}:"
    assert "before training" not in "".join(lines)
    assert f"int8             {right:.2f} %" in "".join(lines)
    for label, name in enumerate(CLASSES):
        own = found.labels == label
        share = 100 * (reference.argmax(logits)[own] == label).mean()
        assert f"  class {name}: {share:.2f} % of 3" in lines

    assert draw.main([str(tiny), "--data", str(folder), "--image", "8"]) == 0
    assert "8.png" in capsys.readouterr().out


def test_a_foreign_network_is_not_scored_on_mnist_silently(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "BUILD", tmp_path / "build")
    network = Network.chain("mine", (Conv(2, 3, 9), Linear(10)))
    export(telling_network("1", network), tmp_path / "mine")
    assert run.main([str(tmp_path / "mine"), "--sim", "icarus", "-n", "1"]) == 0
    said = capsys.readouterr().err
    assert said.startswith("note: mine was not trained on MNIST here, but runs on ")
    assert said.endswith("give images of its own with --data\n") and said.count("\n") == 1
