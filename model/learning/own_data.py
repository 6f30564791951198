"""A user's own images and labels: arrays, pictures, and folders of pictures, a folder a class.

Needs NumPy and Pillow alone.
"""

from __future__ import annotations

import glob
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from convstream.model.base import files
from convstream.model.base.errors import UserError
from convstream.model.learning.image_files import (
    check_shape,
    is_picture,
    read_idx,
    read_npy,
    read_pictures,
)
from convstream.model.learning.labels import check_labels, read_labels, read_names
from convstream.model.network.codes import Codes

KINDS = "images (IDX, .npy, .npz, PNG or JPEG)"
LAYOUTS = ("nchw", "nhwc")
SPLITS = ("train", "val", "test")
# What MNIST and its kin call the images of each split; labels go by the same name but for PAIR.
IDX_SPLITS = {"train": "train-images-idx3-ubyte", "test": "t10k-images-idx3-ubyte"}
PAIR = ("images-idx3", "labels-idx1")


class DataFiles(NamedTuple):
    """Where data lie.

    images: IDX (.gz), .npy or .npz; a PNG or JPEG, a folder or a glob pattern of such; a folder
    with a folder for each class; None: nowhere, the data are MNIST. labels: one an image, see
    `labels.read_labels`; classes: their names, one a line. layout: of .npy and .npz, nchw or nhwc.
    """

    images: str | None = None
    labels: str | None = None
    classes: str | None = None
    layout: str = "nchw"


class Found(NamedTuple):
    """What files hold.

    images: (N, ...) of any type, channels before rows. labels: int64 (N,), or None. names: of
    pictures, what to call each. classes: names of the classes, or None.
    """

    images: np.ndarray
    labels: np.ndarray | None
    names: list[str] | None
    classes: tuple[str, ...] | None


class Images(NamedTuple):
    """Images for a network.

    images: uint8 (N, C, H, W). labels: int64 (N,), or None. name: what a report calls them. names:
    what it calls each of a user's own; None of the test set's. classes: names of the classes, or
    None.
    """

    images: np.ndarray
    labels: np.ndarray | None
    name: str
    names: list[str] | None
    classes: tuple[str, ...] | None = None

    def first(self, count: int | None) -> Images:
        """The first `count` of them, or some of every class where they are in the order of classes.

        count: None for all. Raises `UserError` where there are fewer.
        """
        total = len(self.images)
        if count is not None and count > total:
            raise UserError(
                f"{self.name} holds {total:,} images, {count:,} were asked for; ask for "
                "no more than it holds"
            )
        numbers = np.arange(total if count is None else count)
        if self.labels is not None and (np.diff(self.labels) >= 0).all():
            numbers = numbers * total // max(1, len(numbers))
        return self.of(numbers)

    def of(self, numbers: np.ndarray) -> Images:
        """Those of these `numbers`."""
        return self._replace(
            images=self.images[numbers],
            labels=None if self.labels is None else self.labels[numbers],
            names=None if self.names is None else [self.names[number] for number in numbers],
        )


class Takes(NamedTuple):
    """What a network takes, as far as it is known.

    shape: (C, H, W). codes: of its image, as which floats are taken. outputs: number of classes.
    classes: their names. trained: the data set on which it was trained here. name: of the network.
    bounds: of floats that may be clamped by the codes; others are refused.
    """

    shape: tuple[int, int, int] | None = None
    codes: Codes | None = None
    outputs: int | None = None
    classes: tuple[str, ...] | None = None
    trained: str | None = None
    name: str = "the network"
    bounds: tuple[float, float] = (-math.inf, math.inf)

    @classmethod
    def of(cls, manifest: Mapping[str, Any], codes: Codes) -> Takes:
        """What the network takes that a `network.json` describes. codes: of its image."""
        channels, height, width = manifest["input_shape"]
        training = manifest.get("training") or {}
        names = training.get("classes")
        return cls(
            (channels, height, width),
            codes,
            manifest["classes"],
            None if names is None else tuple(names),
            training.get("dataset"),
            manifest["name"],
            # Floats for a table of pixels are pixels, not what it makes of them.
            (0, 1) if "normalisation" in manifest else (-math.inf, math.inf),
        )


def title(label: int, classes: Sequence[str] | None) -> str:
    """What a report calls the class of that number."""
    known = classes is not None and 0 <= label < len(classes)
    return classes[label] if classes is not None and known else str(label)


def splits(given: DataFiles) -> dict[str, DataFiles]:
    """The parts of `SPLITS` into which a folder is divided; none of any other data.

    That is a folder with folders of these names and no others, or with the IDX files of MNIST.
    """
    folder = Path(given.images or "")
    if not given.images or given.labels is not None or not os.path.isdir(folder):
        return {}
    parts = {
        split: found
        for split, name in IDX_SPLITS.items()
        if (found := idx_file(folder, name)) is not None
    }
    rooms = {room.name: room for room in _rooms(folder)}
    if "train" in rooms and rooms.keys() <= set(SPLITS):
        parts = rooms
    if "train" not in parts:
        return {}
    return {name: given._replace(images=str(part)) for name, part in parts.items()}


def idx_file(folder: Path, name: str) -> Path | None:
    """An IDX file, gzipped or not, or None where there is none."""
    return next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)


def load_own(given: DataFiles, takes: Takes) -> Images:
    """A user's images for a network: of divided data `test`, or else `val`, or else `train`.

    Raises `UserError` naming the file where they do not fit what the network takes.
    """
    parts = splits(given)
    given = next((parts[name] for name in ("test", "val", "train") if name in parts), given)
    source = given.images
    assert source is not None
    channels = None if takes.shape is None else takes.shape[0]
    found = read(given, class_names(given, takes), channels)
    images = pixels(found.images, source, takes)
    if takes.shape is not None:
        _, *sizes = images.shape
        swapped = (sizes[-1], *sizes[:-1]) == takes.shape
        remedy = "say --layout nhwc" if swapped else "bring them to that size"
        check_shape(images, takes.shape, source, remedy)
    if takes.outputs is not None:
        _check_outputs(given, found, takes)
    names = found.names or [f"{source} {number}" for number in range(len(images))]
    return Images(images, found.labels, source, names, found.classes)


def pixels(images: np.ndarray, source: str, takes: Takes) -> np.ndarray:
    """`images` of any type and shape as uint8 (N, C, H, W), floats as a network's codes."""
    if images.dtype.kind == "f" and takes.codes is not None:
        if not np.isfinite(images).all():
            raise UserError(f"{source}: holds numbers that are not finite; leave them out")
        least, most = takes.bounds
        if images.size and not least <= images.min() <= images.max() <= most:
            raise UserError(
                f"{source}: holds {images.min():.4g} to {images.max():.4g}, expected floats from "
                f"{least:g} to {most:g}, or uint8 pixels; scale them"
            )
        images = takes.codes.of_real(images)
    if images.dtype != np.uint8:
        raise UserError(
            f"{source}: holds {images.dtype}, expected uint8 pixels 0 to 255; convert it"
        )
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4:
        raise UserError(
            f"{source}: array of shape {images.shape}, expected (N, H, W) or (N, C, H, W)"
        )
    if not len(images):
        raise UserError(f"{source}: holds no image; expected at least one")
    return np.ascontiguousarray(images)


def class_names(given: DataFiles, takes: Takes) -> tuple[str, ...] | None:
    """The names of a network's classes: those given, or else those that it was trained on.

    Raises `UserError` where they are not as many as its outputs.
    """
    if given.classes is None:
        return takes.classes
    names = read_names(Path(given.classes))
    if takes.outputs not in (None, len(names)):
        raise UserError(
            f"{given.classes}: {len(names)} names of classes, but {takes.name} has {takes.outputs} "
            "outputs; expected as many"
        )
    return names


def read(
    given: DataFiles, names: tuple[str, ...] | None = None, channels: int | None = None
) -> Found:
    """What the files hold, labels as numbers.

    names: of the classes, see `class_names`. channels: of pictures, see `read_pictures`. Raises
    `UserError` naming the file that cannot be used.
    """
    if not given.images:
        raise UserError(f"no path of images given; expected {KINDS}")
    path = Path(given.images)
    folders = _class_folders(path)
    if folders:
        if given.labels is not None:
            raise UserError(f"{path}: its folders are the labels; leave out --labels")
        return _read_class_folders(path, folders, channels, names, free=given.classes is not None)
    labels = None
    if path.suffix.lower() == ".npz":
        arrays = files.open_npz(path)
        if "images" not in arrays:
            raise UserError(f"{path}: holds {', '.join(arrays) or 'nothing'}, expected images")
        images, used, labels = arrays["images"], None, arrays.get("labels")
    else:
        images, used = _read_images(given, channels)
    if images.ndim == 0:
        raise UserError(f"{path}: holds a single number, expected images")
    if used is None and given.layout == "nhwc" and images.ndim > 3:
        images = np.moveaxis(images, -1, 1)
    source, pair = str(path), path.with_name(path.name.replace(*PAIR))
    if given.labels is not None:
        source = given.labels
        labels = read_labels(Path(source), names)
    elif pair != path and pair.is_file():
        source = str(pair)
        labels = read_idx(pair)
    if labels is not None:
        labels = check_labels(labels, source, len(images), str(path))
    return Found(images, labels, None if used is None else list(map(str, used)), names)


def _read_images(given: DataFiles, channels: int | None) -> tuple[np.ndarray, list[Path] | None]:
    """What files hold that have no labels, of any type and shape; the paths of pictures alone."""
    text = str(given.images)
    path = Path(text)
    try:
        found = path.exists()
        folder = sorted(path.iterdir()) if path.is_dir() else None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    pictures, source = [path] if is_picture(path) else None, text
    if folder is not None:
        pictures, source = [one for one in folder if is_picture(one)], f"folder {path}"
    elif not found and glob.has_magic(text):
        pictures, source = sorted(map(Path, glob.glob(text))), f"pattern {text}"
    elif not found:
        raise UserError(f"{path}: no such file or folder; expected {KINDS}")
    if pictures is None:
        return read_npy(path) if path.suffix.lower() == ".npy" else read_idx(path), None
    if not pictures:
        raise UserError(f"{source}: holds no PNG or JPEG; expected at least one")
    # One that is left out would give those behind it the labels of others.
    return read_pictures(pictures, source, channels, all_of_them=given.labels is not None)


# Labels and classes


def _rooms(folder: Path) -> list[Path]:
    """The folders in a folder, by name, but those that are hidden."""
    try:
        inside = sorted(folder.iterdir()) if os.path.isdir(folder) else []
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror})") from None
    return [one for one in inside if one.is_dir() and not one.name.startswith(".")]


def _class_folders(folder: Path) -> list[Path]:
    """The folders in one that holds no picture itself."""
    rooms = _rooms(folder)
    return [] if rooms and any(map(is_picture, folder.iterdir())) else rooms


def _read_class_folders(
    path: Path,
    folders: list[Path],
    channels: int | None,
    names: tuple[str, ...] | None,
    *,
    free: bool,
) -> Found:
    """Pictures whose labels are the folders that they lie in, at any depth.

    As torchvision's ImageFolder does, folders are numbered by name; or by their place in `names`,
    if all are among them. Others are refused, unless they are `free` and equal in number.
    """
    own = tuple(folder.name for folder in folders)
    if names is None:
        names = own
    if set(own) <= set(names):
        own = names
    elif not free:
        other = next(name for name in own if name not in names)
        raise UserError(
            f"{path / other}: the network has no class of that name, but {_listed(names)}; rename "
            "the folder, or give --classes"
        )
    elif len(own) != len(names):
        raise UserError(f"--classes: {len(names)} names, but {path} holds {len(own)} class folders")
    pictures: list[Path] = []
    labels: list[int] = []
    for folder in folders:
        inside = sorted(one for one in folder.rglob("*") if is_picture(one) and one.is_file())
        if not inside:
            raise UserError(
                f"{folder}: a class folder without a PNG or JPEG; fill it, or remove it"
            )
        pictures += inside
        labels += [own.index(folder.name)] * len(inside)
    images, _ = read_pictures(pictures, str(path), channels, all_of_them=True)
    return Found(images, np.array(labels), list(map(str, pictures)), names)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:10])
    return shown if len(names) <= 10 else f"{shown}, ..."


def _check_outputs(given: DataFiles, found: Found, takes: Takes) -> None:
    """Raise `UserError` where the network has no such labels, or other classes."""
    if found.classes is not None and len(found.classes) != takes.outputs:
        raise UserError(
            f"{given.images}: {len(found.classes)} class folders, but {takes.name} has "
            f"{takes.outputs} outputs; give --classes with all their names"
        )
    if found.labels is not None and takes.outputs is not None:
        wrong = np.flatnonzero(found.labels >= takes.outputs)
        if len(wrong):
            raise UserError(
                f"{given.labels or given.images}: label {found.labels[wrong[0]]} of image "
                f"{wrong[0]}, but {takes.name} has {takes.outputs} outputs; expected 0 to "
                f"{takes.outputs - 1}"
            )
