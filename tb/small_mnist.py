"""A data set in MNIST's format that is small, quickly learned, and the same everywhere."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from random_networks import generator

from convstream.model.learning.source import Split


def digits(seed: str, count: int) -> Split:
    """Noisy copies of ten random patterns."""
    rng = generator(seed, "digits")
    patterns = rng.integers(0, 2, (10, 1, 7, 7)).repeat(4, 2).repeat(4, 3)
    labels = rng.integers(0, 10, count)
    pixels = patterns[labels] * 160 + rng.integers(0, 96, (count, 1, 28, 28))
    return Split(pixels.astype(np.uint8), labels)


def write(root: Path, train: Split, test: Split) -> None:
    """What MNIST_ROOT may name."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, data in (("train", train), ("t10k", test)):
        images = struct.pack(">4B3I", 0, 0, 8, 3, len(data), 28, 28) + data.pixels.tobytes()
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(images)
        labels = struct.pack(">4BI", 0, 0, 8, 1, len(data)) + data.labels.astype(np.uint8).tobytes()
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(labels)
