"""Images: MNIST from wherever it is, scikit-learn's digits where it is nowhere, and a user's own.

Needs NumPy and Pillow alone (and scikit-learn for the fallback): simulating must not need torch.
"""

from __future__ import annotations

import hashlib
import os
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convstream.model.base import files, places
from convstream.model.base.errors import UserError
from convstream.model.learning.image_files import check_shape, read_idx
from convstream.model.learning.own_data import (
    DataFiles,
    Images,
    Takes,
    class_names,
    idx_file,
    load_own,
)

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
OURS = ("MNIST", "scikit-learn digits")  # what `load_images` gives begins so
DOWNLOAD_TIMEOUT_S = 10
DIGIT = (1, 28, 28)  # shape of an image
WHITE = 127  # mean of an image that is mostly white

# How the digits that stand in for MNIST are rendered.
FINER = 8  # points a pixel, for the edges of strokes
CONTRAST = 10.0
INK = 0.1
STROKES = 20  # pixels of the longer side


@dataclass(frozen=True, eq=False)
class Dataset:
    """images: uint8 (N, 28, 28). labels: int64 (N,). name: what a report calls it."""

    images: np.ndarray
    labels: np.ndarray
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
    if root:
        raise UserError(
            f"MNIST_ROOT={root}: not there, nor can MNIST be downloaded; set it to a folder that "
            "holds MNIST/raw/, or unset it to use scikit-learn's digits"
        )
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
    takes: Takes,
    given: DataFiles | None = None,
    count: int | None = None,
    *,
    remedy: str = "use --images FILE",
) -> Images:
    """Images for a network: a user's own, see `load_own`, or MNIST's test set.

    count: so many of them, see `Images.first`. Raises `UserError` where they have another shape, or
    are too few; remedy: what to do if the test set does not fit.
    """
    if given is not None and given.images is not None:
        found = load_own(given, takes)
        if found.labels is None:
            _warn_inverted(found)
        return found.first(count)
    dataset = load_images("test")
    images = dataset.images[:, None]
    if takes.shape is not None:
        check_shape(images, takes.shape, dataset.name, remedy)
    if not (takes.trained or "").startswith(OURS):
        print(
            f"note: {takes.name} was not trained on MNIST here, but runs on {dataset.name}; give "
            "images of its own with --data",
            file=sys.stderr,
        )
    return Images(
        images, dataset.labels, dataset.name, None, class_names(given or DataFiles(), takes)
    ).first(count)


def _warn_inverted(found: Images) -> None:
    """Say so where images of MNIST's shape are mostly white: its digits are white on black."""
    if found.images.shape[1:] != DIGIT or found.names is None:
        return
    white = np.flatnonzero(found.images.mean(axis=(1, 2, 3)) > WHITE)
    if len(white):
        print(
            f"warning: {len(white)} of {len(found.images)} images are mostly white, such as "
            f"{found.names[white[0]]}; networks for MNIST expect white strokes on black: invert "
            "them",
            file=sys.stderr,
        )


def check_number(number: int, images: np.ndarray, source: str) -> None:
    """Raise `UserError` unless an image of `source` has that number; they count from 0."""
    if not 0 <= number < len(images):
        raise UserError(
            f"image {number}: {source} holds images 0 to {len(images) - 1}; choose one of those"
        )


def _complete(root: Path) -> bool:
    raw = root / "MNIST" / "raw"
    return all(idx_file(raw, name) for names in FILES.values() for name in names)


def _read_mnist(root: Path, split: str) -> Dataset:
    found = (idx_file(root / "MNIST" / "raw", name) for name in FILES[split])
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
        if idx_file(raw, name):
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
