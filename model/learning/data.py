"""Images: MNIST from wherever it is, scikit-learn's digits where it is nowhere, and a user's own.

Needs NumPy and Pillow alone (and scikit-learn for the fallback): simulating must not need torch.
"""

from __future__ import annotations

import glob
import hashlib
import io
import os
import struct
import sys
import urllib.request
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convstream.model.base import files, places
from convstream.model.base.errors import UserError

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
MD5 = {
    "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb86873",
    "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
}
IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
DOWNLOAD_TIMEOUT_S = 10
MAX_PIXELS = 1 << 24  # of a PNG

# How the digits that stand in for MNIST are rendered.
FINER = 8  # points a pixel, for the edges of strokes
CONTRAST = 10.0
INK = 0.1
STROKES = 20  # pixels of the longer side


@dataclass(frozen=True, eq=False)
class Dataset:
    """images: uint8 (N, 28, 28). labels: int64 (N,), or None. name: what a report calls it."""

    images: np.ndarray
    labels: np.ndarray | None
    name: str


def load_images(split: str = "test", *, download: bool | None = None) -> Dataset:
    """The `train` or `test` split of MNIST, or of the digits that stand in for it.

    Looks in MNIST_ROOT (a torchvision root: the folder that holds `MNIST/raw/`), in `data/`, then
    downloads to `data/`, then falls back to scikit-learn's digits and says so on stderr.
    `download=False`, or MNIST_DOWNLOAD=0 in the environment, never touches the network.
    """
    if split not in FILES:
        raise UserError(f"unknown split {split!r}; expected one of {', '.join(FILES)}")
    root = os.environ.get("MNIST_ROOT")
    if root and not _complete(Path(root)):
        print(f"MNIST_ROOT={root} does not hold MNIST/raw/ with the four files", file=sys.stderr)
    for folder in (Path(root) if root else None, places.DATA):
        if folder is not None and _complete(folder):
            return _read_mnist(folder, split)
    if download is None:
        download = os.environ.get("MNIST_DOWNLOAD", "1") != "0"
    if download and _download(places.DATA):
        return _read_mnist(places.DATA, split)
    rule = "=" * 78
    print(
        f"{rule}\nMNIST is not here and cannot be downloaded: using scikit-learn's bundled "
        "handwritten\ndigits instead (1,797 images of 8x8 brought to 28x28). Accuracies are NOT "
        "those of MNIST.\nSet MNIST_ROOT to a folder that holds MNIST/raw/ to use MNIST.\n"
        f"{rule}",
        file=sys.stderr,
    )
    return _load_digits(split)


def load_for(
    shape: tuple[int, int, int],
    source: str | Path | None = None,
    count: int | None = None,
    *,
    remedy: str = "use IMAGES=file",
) -> tuple[np.ndarray, np.ndarray | None, str]:
    """Images for a network that takes `shape` (C, H, W), their labels, and what a report says.

    source: a user's own, see `load_user_images`; None: the test set. count: the first so many of
    them; None: all. Returns uint8 (N, C, H, W), int64 (N,) or None, and a name. Raises `UserError`
    where they have another shape, or are too few; remedy: what to do if the test set does not fit.
    """
    labels: np.ndarray | None = None
    if source is not None:
        images, name = load_user_images(source, shape), str(source)
    else:
        dataset = load_images("test")
        images, labels, name = dataset.images[:, None], dataset.labels, dataset.name
        check_shape(images, shape, name, remedy)
    if count is not None and count > len(images):
        raise UserError(
            f"{name} holds {len(images):,} images, {count:,} were asked for; ask for no more than "
            "it holds"
        )
    return images[:count], None if labels is None else labels[:count], name


def check_shape(images: np.ndarray, shape: tuple[int, int, int], source: str, remedy: str) -> None:
    """Raise `UserError` unless `images` (N, C, H, W) have the `shape` that a network takes."""
    if images.shape[1:] != tuple(shape):
        raise UserError(
            f"{source} holds images of {times(images.shape[1:])}, the network takes {times(shape)} "
            f"(channels x height x width); {remedy}"
        )


def check_number(number: int, images: np.ndarray, source: str) -> None:
    """Raise `UserError` unless an image of `source` has that number; they count from 0."""
    if not 0 <= number < len(images):
        raise UserError(
            f"image {number}: {source} holds images 0 to {len(images) - 1}; choose one of those"
        )


def read_idx(path: str | Path) -> np.ndarray:
    """The array of an IDX file, gzipped or not, in the machine's byte order.

    Raises `UserError` where the file is missing, no IDX file, or shorter or longer than it says.
    """
    path = Path(path)
    data = files.read_bytes(path)
    if data[:2] == b"\x1f\x8b":
        data = files.gunzip(data, path)
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in IDX_TYPES or not 1 <= data[3] <= 4:
        raise UserError(
            f"{path}: not an IDX file; its first bytes should be 0, 0, type, 1 to 4 dimensions"
        )
    header = 4 + 4 * data[3]
    if len(data) < header:
        raise UserError(f"{path}: truncated IDX file, it ends in its header; fetch it again")
    shape = struct.unpack(f">{data[3]}I", data[4:header])
    dtype = np.dtype(IDX_TYPES[data[2]])
    expected = header + dtype.itemsize * int(np.prod(shape, dtype=object))
    if len(data) != expected:
        raise UserError(
            f"{path}: IDX file of {len(data)} bytes, its header asks for {expected}; fetch it again"
        )
    try:
        array = np.frombuffer(data, dtype, offset=header).reshape(shape)
    except ValueError:  # of no values, but of sizes beyond those that an array can have
        raise UserError(f"{path}: IDX file of shape {shape}; fetch it again") from None
    return array.astype(dtype.newbyteorder("="))


def load_user_images(path: str | Path, shape: tuple[int, int, int] | None = None) -> np.ndarray:
    """A user's images, uint8 (N, C, H, W).

    `path`: IDX (also .gz) or .npy, both uint8 (N, H, W) or (N, C, H, W); a PNG; a folder of PNGs or
    a glob pattern, taken in order of name. PNGs hold 8 bits a channel: one channel where they are
    grey (or look it), else three. `shape`, if given, is the (C, H, W) that the images must have.
    Raises `UserError` naming the file for anything else.
    """
    text = str(path)
    path = Path(path)
    try:
        found = path.exists()
        folder = sorted(path.iterdir()) if path.is_dir() else None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    if folder is not None:
        images = _read_pngs([p for p in folder if p.suffix.lower() == ".png"], f"folder {path}")
    elif not found and glob.has_magic(text):
        images = _read_pngs(sorted(map(Path, glob.glob(text))), f"pattern {text}")
    elif not found:
        raise UserError(f"{path}: no such file or folder; expected images (IDX, .npy or PNG)")
    elif path.suffix.lower() == ".png":
        images = _read_pngs([path], text)
    elif path.suffix.lower() == ".npy":
        images = _read_npy(path)
    else:
        images = read_idx(path)
    if images.dtype != np.uint8:
        raise UserError(f"{text}: holds {images.dtype}, expected uint8 pixels 0 to 255; convert it")
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4:
        raise UserError(
            f"{text}: array of shape {images.shape}, expected (N, H, W) or (N, C, H, W)"
        )
    if not len(images):
        raise UserError(f"{text}: holds no image; expected at least one")
    if shape is not None:
        check_shape(images, shape, text, "bring them to that size")
    return np.ascontiguousarray(images)


def times(shape: tuple[int, ...]) -> str:
    """A shape in words: 1x28x28."""
    return "x".join(map(str, shape))


def _read_npy(path: Path) -> np.ndarray:
    try:
        return files.parse_npy(files.read_bytes(path))
    except ValueError as error:
        raise UserError(f"{path}: not a .npy array ({error}); write it with numpy.save") from None


def _read_pngs(paths: list[Path], source: str) -> np.ndarray:
    if not paths:
        raise UserError(f"{source}: holds no PNG; expected at least one .png file")
    images: list[np.ndarray] = []
    for path in paths:
        images.append(_read_png(path))
        if 3 * sum(image[0].size for image in images) > files.MAX_BYTES:
            raise UserError(f"{source}: more than {files.MAX_BYTES >> 20} MiB of pixels; use fewer")
    if any(image.shape[0] == 3 for image in images):
        images = [np.repeat(image, 3, axis=0) if len(image) == 1 else image for image in images]
    for path, image in zip(paths, images, strict=True):
        if image.shape != images[0].shape:
            raise UserError(
                f"{path}: {times(image.shape)}, but {paths[0].name} is {times(images[0].shape)}; "
                "all images must have one size"
            )
    return np.stack(images)


def _read_png(path: Path) -> np.ndarray:
    """One PNG as uint8 (C, H, W); C = 1 where red, green and blue are equal."""
    from PIL import Image

    content = files.read_bytes(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, about sizes that are refused below
            with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise ValueError(f"{image.width}x{image.height}, more than {MAX_PIXELS} pixels")
                image.load()
            if image.mode.startswith(("I", "F")):
                raise UserError(f"{path}: more than 8 bits a channel; save it as an 8-bit PNG")
            rgba = np.asarray(image.convert("RGBA"))
    except UserError:
        raise
    except Exception as error:  # a damaged file makes Pillow stumble in any way
        raise UserError(f"{path}: not a readable PNG ({files.one_line(error)})") from None
    if (rgba[..., 3] != 255).any():
        raise UserError(f"{path}: has transparent pixels; flatten it on a background first")
    rgb = np.moveaxis(rgba[..., :3], -1, 0)
    return rgb[:1].copy() if (rgb == rgb[:1]).all() else rgb


def _find(raw: Path, name: str) -> Path | None:
    return next((p for p in (raw / name, raw / f"{name}.gz") if p.is_file()), None)


def _complete(root: Path) -> bool:
    raw = root / "MNIST" / "raw"
    return all(_find(raw, name) for names in FILES.values() for name in names)


def _read_mnist(root: Path, split: str) -> Dataset:
    found = (_find(root / "MNIST" / "raw", name) for name in FILES[split])
    paths = [path for path in found if path is not None]
    images, labels = map(read_idx, paths)
    if images.dtype != np.uint8 or images.shape[1:] != (28, 28) or labels.shape != images.shape[:1]:
        raise UserError(
            f"{paths[0]}: {images.dtype} {images.shape} with labels {labels.shape}, expected "
            "uint8 (N, 28, 28) with as many labels; fetch the files again"
        )
    if labels.dtype != np.uint8 or labels.max(initial=0) > 9:
        raise UserError(f"{paths[1]}: not all labels are digits 0 to 9; fetch the file again")
    return Dataset(images, labels.astype(np.int64), f"MNIST {split}")


def _download(root: Path) -> bool:
    """Fetch the four files; False where there is no network. Each appears whole or not at all."""
    raw = root / "MNIST" / "raw"
    for name in MD5:
        if _find(raw, name):
            continue
        data = next(filter(None, (_fetch(mirror, name) for mirror in MIRRORS)), None)
        if data is None:
            return False
        files.write_atomically(raw / f"{name}.gz", data)
    return True


def _fetch(mirror: str, name: str) -> bytes | None:
    print(f"downloading {mirror}{name}.gz", file=sys.stderr)
    try:
        with urllib.request.urlopen(f"{mirror}{name}.gz", timeout=DOWNLOAD_TIMEOUT_S) as answer:
            data = answer.read()
    except (OSError, ValueError) as error:
        print(f"  failed: {error}", file=sys.stderr)
        return None
    if hashlib.md5(data, usedforsecurity=False).hexdigest() != MD5[name]:
        print("  failed: its checksum is not that of MNIST", file=sys.stderr)
        return None
    return data


def _load_digits(split: str) -> Dataset:
    """scikit-learn's 1,797 digits of 8x8, rendered as MNIST was made."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise UserError(
            "no MNIST and no scikit-learn to stand in for it; set MNIST_ROOT to a folder that "
            "holds MNIST/raw/, or pip install scikit-learn"
        ) from None
    digits = load_digits()
    images = np.stack([_render(digit / 16) for digit in digits.images])
    test = slice(-1000, None) if split == "test" else slice(None, -1000)
    return Dataset(
        images[test],
        digits.target[test].astype(np.int64),
        f"scikit-learn digits {split}, not MNIST",
    )


def _render(digit: np.ndarray) -> np.ndarray:
    """A digit as uint8 (28, 28). digit: 0 to 1, (8, 8).

    Its longer side takes 20 pixels, and its centre of mass lies in the middle, as MNIST has it.
    """
    from scipy import ndimage

    fine = np.clip(ndimage.zoom(np.pad(digit, 1), FINER, order=3), 0, 1)
    # Strokes of 8x8 are grey all over. A logistic curve, from 0 to 1, gives them sharp edges.
    curve = np.tanh(CONTRAST / 2 * (fine - 0.5)) / np.tanh(CONTRAST / 4)
    strokes = (1 + curve) / 2
    ink = np.argwhere(strokes > INK)
    (top, left), (bottom, right) = ink.min(axis=0), ink.max(axis=0) + 1
    strokes = strokes[top:bottom, left:right]
    small = np.clip(ndimage.zoom(strokes, STROKES / max(strokes.shape), order=1), 0, 1)
    corner = np.rint(13.5 - np.array(ndimage.center_of_mass(small))).astype(int)
    row, column = np.clip(corner, 0, 28 - np.array(small.shape))
    image = np.zeros((28, 28), np.uint8)
    image[row : row + small.shape[0], column : column + small.shape[1]] = np.rint(255 * small)
    return image
