"""What a bundle's test bench sends through its network, and what must come out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convstream.model.hardware import rom
from convstream.model.learning import data
from convstream.model.learning.own_data import DataFiles
from convstream.model.network import reference
from convstream.sim.design import Design

COUNT = 10  # images


@dataclass(frozen=True)
class Vectors:
    """source: where the images are from. files: kind to text for `$readmemh`."""

    source: str
    files: dict[str, str]


def choose(design: Design, given: DataFiles) -> Vectors:
    """Some of the images that are given, or else of the test set.

    Where that does not fit the network, random images. Raises `UserError` where there are too few.
    """
    if given.images is None and design.input_shape != data.DIGIT:
        rng = np.random.default_rng(1)
        images = rng.integers(0, 256, (COUNT, *design.input_shape), np.uint8)
        return Vectors(f"{COUNT} random images", _files(design, images))
    found = data.load_for(design.takes, given, COUNT)
    return Vectors(f"{COUNT} images of {found.name}", _files(design, found.images))


def _files(design: Design, images: np.ndarray) -> dict[str, str]:
    quantised = design.read_network(Path(design.folder))
    logits = reference.predict(quantised, images)
    slots = design.slots
    lanes = logits[:, slots].reshape(-1, slots.shape[1])  # of each beat
    unused = np.tile(slots < 0, (len(images), 1))
    classes = reference.argmax(np.ascontiguousarray(logits[:, design.arrival]))
    return {
        "images": rom.to_hex(design.beats(images)),
        "outputs": "".join(
            _beat(values, without, design.output_bits // 4)
            for values, without in zip(lanes, unused, strict=True)
        ),
        "classes": "".join(f"{index:04x}\n" for index in classes),
    }


def _beat(values: np.ndarray, unused: np.ndarray, digits: int) -> str:
    """A line: the first lane lowest, hence last; x where a lane has no output."""
    shown = (
        "x" * digits if without else f"{int(value) % 16**digits:0{digits}x}"
        for value, without in zip(values, unused, strict=True)
    )
    return "".join(reversed(list(shown))) + "\n"
