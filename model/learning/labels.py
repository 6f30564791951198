"""Labels and names of classes in files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from convstream.model.base import files
from convstream.model.base.errors import UserError
from convstream.model.learning.image_files import read_idx, read_npy


def _read_lines(path: Path) -> list[str]:
    try:
        lines = files.read_bytes(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text; expected one name or number a line") from None
    while lines and not lines[-1].strip():
        del lines[-1]
    return [line.strip() for line in lines]


def read_names(path: Path) -> tuple[str, ...]:
    """Names of classes, one a line. Raises `UserError` where one is missing or there twice."""
    names = _read_lines(path)
    for number, name in enumerate(names, 1):
        if not name or not name.isprintable() or name in names[: number - 1]:
            raise UserError(
                f"{path}: line {number}: {name!r}; expected the name of a class, each once"
            )
    if not names:
        raise UserError(f"{path}: empty; expected the name of a class in each line")
    return tuple(names)


def read_labels(path: Path, names: Sequence[str] | None) -> np.ndarray:
    """Labels in a .npy, a .txt with one number or name of a class a line, or an IDX file."""
    if path.suffix.lower() == ".npy":
        return read_npy(path)
    if path.suffix.lower() != ".txt":
        return read_idx(path)
    numbers = {name: number for number, name in enumerate(names or ())}
    labels = []
    for number, line in enumerate(_read_lines(path), 1):
        if line in numbers:
            labels.append(numbers[line])
        elif line.isascii() and line.isdecimal() and len(line) < 10:
            labels.append(int(line))
        else:
            other = f"a name such as {names[0]}" if names else "give --classes for names"
            raise UserError(f"{path}: line {number}: {line!r}; expected a number, or {other}")
    return np.array(labels, np.int64)


def check_labels(labels: np.ndarray, source: str, count: int, images: str) -> np.ndarray:
    """int64 (N,). Raises `UserError` unless they are whole numbers, one an image."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise UserError(
            f"{source}: labels are {labels.dtype} {labels.shape}, expected {count:,} integers, "
            "one an image"
        )
    if len(labels) != count:
        raise UserError(
            f"{source}: {len(labels):,} labels, but {images} holds {count:,} images; expected one "
            "an image"
        )
    labels = labels.astype(np.int64)
    wrong = np.flatnonzero(labels < 0)
    if len(wrong):
        raise UserError(f"{source}: image {wrong[0]} has label {labels[wrong[0]]}, less than 0")
    return labels
