"""Reading images: IDX, .npy and PNG files, MNIST wherever it is, the digits in its stead."""

from __future__ import annotations

import gzip
import io
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convstream.model.base import places
from convstream.model.base.errors import UserError
from convstream.model.formats.onnx import read_onnx
from convstream.model.learning import data
from convstream.model.learning.data import check_number, load_for, load_images
from convstream.model.learning.image_files import read_idx
from convstream.model.learning.own_data import DataFiles, Images, Takes, load_own
from convstream.model.network import reference
from convstream.model.network.codes import Codes
from convstream.model.network.examples import NETWORKS

ROOT = Path(__file__).resolve().parents[1]


def load(path: str | Path, shape=None, **options) -> Images:
    """A user's images for a network that takes those of `shape`."""
    return load_own(DataFiles(str(path), **options), Takes(shape))


def idx(array: np.ndarray) -> bytes:
    """An array of bytes as an IDX file."""
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def images(seed) -> np.ndarray:
    return np.random.default_rng(int(seed)).integers(0, 256, (5, 6, 7), np.uint8)


def test_idx_of_no_values_and_absurd_sizes(tmp_path):
    (tmp_path / "odd").write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, 0, 2**32 - 1, 2**32 - 1))
    with pytest.raises(UserError, match="odd: IDX file of shape"):
        read_idx(tmp_path / "odd")


def test_idx_and_its_gzip(tmp_path, images):
    (tmp_path / "plain").write_bytes(idx(images))
    (tmp_path / "zipped.gz").write_bytes(gzip.compress(idx(images)))
    np.testing.assert_array_equal(read_idx(tmp_path / "plain"), images)
    np.testing.assert_array_equal(read_idx(tmp_path / "zipped.gz"), images)


def test_idx_of_wider_types(tmp_path):
    values = np.array([[1, -2], [300, -40000]], ">i4")
    path = tmp_path / "ints"
    path.write_bytes(struct.pack(">4B2I", 0, 0, 0x0C, 2, 2, 2) + values.tobytes())
    assert read_idx(path).tolist() == values.tolist()
    with pytest.raises(UserError, match="int32, expected uint8"):
        load(path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-1], "its header asks for"),
        (lambda content: content + b"\0", "its header asks for"),
        (lambda content: content[:9], "ends in its header"),
        (lambda content: b"", "not an IDX file"),
        (lambda content: b"text" + content, "not an IDX file"),
        (lambda content: gzip.compress(content)[:-9], "broken gzip"),
    ],
)
def test_damaged_idx(tmp_path, images, damage, message):
    path = tmp_path / "images"
    path.write_bytes(damage(idx(images)))
    with pytest.raises(UserError, match=message):
        load(path)


def test_npy(tmp_path, images):
    path = tmp_path / "images.npy"
    np.save(path, images)
    np.testing.assert_array_equal(load(path).images, images[:, None])
    deep = np.stack([images, 255 - images], axis=1)
    np.save(path, deep)
    np.testing.assert_array_equal(load(path, (2, 6, 7)).images, deep)


def test_floats(tmp_path):
    """They become the codes that the network's own file makes of them."""
    path = tmp_path / "images.npy"
    codes = Codes(0.5, 100)
    np.save(path, np.array([-60, -0.3, 0, 0.25, 0.75, 90], np.float32).reshape(1, 2, 3))
    found = load_for(Takes((1, 2, 3), codes), DataFiles(str(path))).images
    assert found.dtype == np.uint8 and found.reshape(-1).tolist() == [0, 99, 100, 100, 102, 255]
    with pytest.raises(UserError, match="expected uint8"):
        load_for(Takes((1, 2, 3)), DataFiles(str(path)))
    np.save(path, np.full((1, 2, 3), np.nan))
    with pytest.raises(UserError, match="not finite"):
        load_for(Takes((1, 2, 3), codes), DataFiles(str(path)))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 6, 7)), "float64, expected uint8"),
        (np.zeros((6, 7), np.uint8), r"expected \(N, H, W\)"),
        (np.zeros((0, 6, 7), np.uint8), "no image"),
        (np.zeros((2, 6, 8), np.uint8), "1x6x8, the network takes 1x6x7"),
        (np.array([{}]), "not a .npy array"),
    ],
)
def test_unfit_npy(tmp_path, array, message):
    path = tmp_path / "images.npy"
    np.save(path, array, allow_pickle=True)
    with pytest.raises(UserError, match=message):
        load(path, (1, 6, 7))


def test_pngs(tmp_path, images):
    for index, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{index}.png")
    np.testing.assert_array_equal(load(tmp_path / "3.png").images, images[3:4, None])
    np.testing.assert_array_equal(load(tmp_path).images, images[:, None])
    np.testing.assert_array_equal(load(f"{tmp_path}/[12].png").images, images[1:3, None])
    # Grey in colour is grey; one picture in colour makes all of them so.
    Image.fromarray(images[0]).convert("RGB").save(tmp_path / "0.png")
    assert load(tmp_path).images.shape == (5, 1, 6, 7)
    colour = np.stack([images[0], images[1], images[2]], axis=-1)
    Image.fromarray(colour).save(tmp_path / "4.png")
    loaded = load(tmp_path).images
    assert loaded.shape == (5, 3, 6, 7)
    np.testing.assert_array_equal(loaded[4], np.moveaxis(colour, -1, 0))
    np.testing.assert_array_equal(loaded[1], np.stack([images[1]] * 3))


def test_unfit_pngs(tmp_path, images):
    with pytest.raises(UserError, match="holds no PNG"):
        load(tmp_path)
    with pytest.raises(UserError, match="no such file"):
        load(tmp_path / "nothing.png")
    Image.fromarray(images[0]).save(tmp_path / "a.png")
    Image.fromarray(images[0][:5]).save(tmp_path / "b.png")
    with pytest.raises(UserError, match=r"b\.png.*one size"):
        load(tmp_path)


def saved(image: Image.Image, kind: str) -> bytes:
    content = io.BytesIO()
    image.save(content, kind)
    return content.getvalue()


BAD_PNGS = {
    "empty": (b"", "not a readable PNG, but an empty file"),
    "webp": (saved(Image.new("L", (7, 6)), "WEBP"), "but a WebP"),
    "gif": (saved(Image.new("L", (7, 6)), "GIF"), "but a GIF"),
    "macos": (bytes.fromhex("00051607") + bytes(40), "but what macOS keeps beside a file"),
    "text": (b"hello", "but something else"),
    "damaged": (b"\x89PNG not really", "not a readable PNG"),
    "deep": (saved(Image.new("I;16", (7, 6)), "PNG"), "8 bits"),
    "transparent": (saved(Image.new("RGBA", (7, 6), (1, 2, 3, 100)), "PNG"), "transparent"),
}


@pytest.mark.parametrize("name", BAD_PNGS)
def test_a_bad_png_among_others_is_left_out(tmp_path, images, capsys, name):
    """A line names it; alone it is an error, in one line that holds no address of an object."""
    content, words = BAD_PNGS[name]
    bad = tmp_path / "._b.png"
    bad.write_bytes(content)
    with pytest.raises(UserError, match=words) as caught:
        load(tmp_path)
    assert str(bad) in str(caught.value) and "0x" not in str(caught.value)
    for other, image in zip("ac", images, strict=False):
        Image.fromarray(image).save(tmp_path / f"{other}.png")
    found, _, _, names, _ = load(tmp_path)
    np.testing.assert_array_equal(found, images[:2, None])
    assert names == [str(tmp_path / "a.png"), str(tmp_path / "c.png")]
    assert capsys.readouterr().err == f"{caught.value}; left out\n"


def test_no_png_of_several_is_good(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.png").write_bytes(b"")
    with pytest.raises(UserError, match="none of its 2 pictures can be used"):
        load(tmp_path)


@pytest.mark.parametrize("size", [28, 27])
def test_images_that_look_inverted(tmp_path, capsys, size):
    """Those for a network that takes MNIST's size, of which strokes are white on black."""
    digits = np.zeros((3, size, size), np.uint8)
    digits[:, 9:18, 12:15] = 255
    digits[1] = 255 - digits[1]
    np.save(tmp_path / "digits.npy", digits)
    found = load_for(Takes((1, size, size)), DataFiles(str(tmp_path / "digits.npy")))
    assert found.names[1] == f"{tmp_path / 'digits.npy'} 1"
    said = capsys.readouterr().err
    assert ("1 of 3 images are mostly white, such as" in said) == (size == 28)
    assert said.count("\n") == (size == 28)


def write_mnist(root, count: int = 3) -> np.ndarray:
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    images = np.arange(count * 784, dtype=np.uint32).astype(np.uint8).reshape(count, 28, 28)
    for pictures, labels in data.FILES.values():
        (raw / pictures).write_bytes(idx(images))
        (raw / f"{labels}.gz").write_bytes(gzip.compress(idx(np.arange(count, dtype=np.uint8))))
    return images


def test_mnist_root_comes_first(tmp_path, monkeypatch):
    images = write_mnist(tmp_path)
    monkeypatch.setenv("MNIST_ROOT", str(tmp_path))
    for split in ("train", "test"):
        dataset = load_images(split, download=False)
        np.testing.assert_array_equal(dataset.images, images)
        assert dataset.labels.tolist() == [0, 1, 2]
        assert dataset.labels.dtype == np.int64
        assert dataset.name == f"MNIST {split}"


def test_images_for_a_network(tmp_path, monkeypatch, images):
    """The test set with its labels, or a user's file without; the first of them, if so told."""
    mnist = write_mnist(tmp_path)
    monkeypatch.setenv("MNIST_ROOT", str(tmp_path))
    takes = Takes((1, 28, 28), trained="MNIST")
    found, labels, name, names, classes = load_for(takes)
    np.testing.assert_array_equal(found, mnist[:, None])
    assert labels.tolist() == [0, 1, 2] and name == "MNIST test"
    assert names is None and classes is None
    found, labels, *_ = load_for(takes, count=2)
    assert found.shape == (2, 1, 28, 28) and labels.tolist() == [0, 1]
    own = tmp_path / "own.npy"
    np.save(own, images)
    for count in (None, 5, 1):
        found, labels, name, names, _ = load_for(Takes((1, 6, 7)), DataFiles(str(own)), count)
        np.testing.assert_array_equal(found, images[:count, None])
        assert labels is None and name == str(own)
        assert names == [f"{own} {number}" for number in range(len(found))]


@pytest.mark.parametrize(
    ("shape", "source", "count", "message"),
    [
        ((1, 8, 8), None, None, "MNIST test holds images of 1x28x28, .* takes 1x8x8 .*; do this"),
        ((1, 28, 28), None, 4, "MNIST test holds 3 images, 4 were asked for"),
        ((1, 6, 7), "own.npy", 6, "own.npy holds 5 images, 6 were asked for"),
        ((3, 6, 7), "own.npy", None, "own.npy holds images of 1x6x7, .* takes 3x6x7"),
        ((1, 6, 7), "none.npy", None, "none.npy: no such file"),
    ],
)
def test_images_that_do_not_fit(tmp_path, monkeypatch, images, shape, source, count, message):
    write_mnist(tmp_path)
    monkeypatch.setenv("MNIST_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    np.save("own.npy", images)
    with pytest.raises(UserError, match=message):
        load_for(Takes(shape), DataFiles(source), count, remedy="do this")


def test_numbers_of_images(images):
    check_number(0, images, "a file")
    check_number(4, images, "a file")
    for number in (-1, 5):
        with pytest.raises(UserError, match=f"image {number}: a file holds images 0 to 4;"):
            check_number(number, images, "a file")


def test_data_folder_comes_second(tmp_path, monkeypatch, capsys):
    images = write_mnist(tmp_path / "data")
    monkeypatch.setattr(places, "DATA", tmp_path / "data")
    monkeypatch.setenv("MNIST_ROOT", str(tmp_path / "nowhere"))
    np.testing.assert_array_equal(load_images("test", download=False).images, images)
    assert "nowhere" in capsys.readouterr().err


def test_digits_stand_in_and_say_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(places, "DATA", tmp_path / "data")
    monkeypatch.delenv("MNIST_ROOT", raising=False)
    monkeypatch.setenv("MNIST_DOWNLOAD", "0")
    test, train = load_images("test"), load_images("train")
    assert "scikit-learn" in capsys.readouterr().err
    assert "scikit-learn" in test.name
    assert test.images.shape == (1000, 28, 28)
    assert test.images.dtype == np.uint8
    assert len(test.images) + len(train.images) == 1797
    assert set(test.labels) == set(range(10))
    assert test.images.max() == 255
    assert not any(tmp_path.iterdir())


def test_networks_read_the_digits_that_stand_in(tmp_path, monkeypatch):
    """They are rendered as MNIST is: what was trained on the one reads the other."""
    monkeypatch.setattr(places, "DATA", tmp_path / "data")
    monkeypatch.delenv("MNIST_ROOT", raising=False)
    test = load_images("test", download=False)
    for name in NETWORKS:
        quantised = read_onnx(ROOT / "mem" / name / "network.onnx")
        classes = reference.argmax(reference.predict(quantised, test.images[:, None]))
        assert 100 * np.mean(classes == test.labels) > 85, name


def test_a_damaged_download_is_refused(tmp_path, monkeypatch):
    """A mirror that sends something else counts as no mirror, and leaves nothing behind."""

    class Answer:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def read(self):
            return gzip.compress(b"a captive portal's page")

    monkeypatch.setattr(places, "DATA", tmp_path / "data")
    monkeypatch.delenv("MNIST_ROOT", raising=False)
    monkeypatch.setattr(data.urllib.request, "urlopen", lambda *_args, **_options: Answer())
    assert "scikit-learn" in load_images("test", download=True).name
    assert not any(tmp_path.iterdir())


def test_unknown_split():
    with pytest.raises(UserError, match="expected one of train, test"):
        load_images("validation")


def test_torchvision_reads_the_same(tmp_path):
    """An independent reader of the same folder; imports beside a CPU-only torch."""
    pytest.importorskip("torch", reason="torchvision needs torch")
    from torch_compat import import_torchvision

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            torchvision = import_torchvision()
        except ImportError:
            pytest.skip("torchvision is not installed")
    images = write_mnist(tmp_path)
    for _, labels in data.FILES.values():
        content = gzip.decompress((tmp_path / "MNIST" / "raw" / f"{labels}.gz").read_bytes())
        (tmp_path / "MNIST" / "raw" / labels).write_bytes(content)
    read = torchvision.datasets.MNIST(tmp_path, train=False)
    np.testing.assert_array_equal(read.data.numpy(), images)
    assert read.targets.tolist() == [0, 1, 2]
