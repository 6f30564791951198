"""The images that a network learns from, in batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from convstream.model.base.errors import UserError
from convstream.model.learning.augment import augment
from convstream.model.learning.backend import Backend, Batch, Model
from convstream.model.learning.data import load_images
from convstream.model.learning.imitation import solve_last
from convstream.model.learning.own_data import (
    DataFiles,
    Images,
    Takes,
    class_names,
    load_own,
    splits,
)
from convstream.model.learning.recipes import Recipe
from convstream.model.network.codes import Codes
from convstream.model.network.exponents import PIXEL_EXPONENT
from convstream.model.network.graph import Network

VALIDATION = 5000
SPLIT_SEED = 20240229
COPY_BATCH = 1000
BATCHES_AHEAD = 4
SOLVE_COPIES = 3
PIXELS = Codes.power_of_two(PIXEL_EXPONENT)  # what networks trained here take


@dataclass(frozen=True, eq=False)
class Split:
    """pixels: uint8 (N, C, H, W). labels: int64 (N,)."""

    pixels: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def check(self, network: Network) -> None:
        """Raise `UserError` if `network` is not for such images and labels."""
        shape, classes = self.pixels.shape[1:], int(self.labels.max()) + 1
        if network.input_shape != shape or network.classes < classes:
            raise UserError(
                f"{network.name} takes images of {network.input_shape} and knows "
                f"{network.classes} classes, but the data set has images of {shape} in {classes} "
                "classes; choose a network for those"
            )


def hold_out(data: Split) -> tuple[Split, Split]:
    """What is left, and a fifth, at most 5,000, that is held out.

    The same for every seed and network: a teacher must not have learned what its pupil is validated
    on.
    """
    order = np.random.default_rng(SPLIT_SEED).permutation(len(data))
    held = min(VALIDATION, len(data) // 5)
    train, validation = (
        Split(data.pixels[part], data.labels[part]) for part in (order[held:], order[:held])
    )
    return train, validation


class Course(NamedTuple):
    """What a network learns from, is chosen by and, at the end, judged on.

    name: what a report calls the data set. classes: names of the classes, or None.
    """

    training: Split
    validation: Split
    test: Split
    name: str
    classes: tuple[str, ...] | None

    @property
    def outputs(self) -> int:
        """Number of classes."""
        if self.classes is not None:
            return len(self.classes)
        return 1 + max(int(split.labels.max()) for split in self[:3])


def load_course(given: DataFiles, takes: Takes) -> Course:
    """A user's own data, or MNIST.

    Of a folder that is divided, `test`, or else `val`, is what the network is judged on; with both,
    `val` is what it is chosen by. What is missing is held out of the training images. takes: as far
    as the network's shape and outputs are settled. Raises `UserError` naming the file where there
    are no labels, too few images, or other floats than 0 to 1.
    """
    if given.images is None:
        splits_of = {split: load_images(split) for split in ("train", "test")}
        learned, test = (Split(one.images[:, None], one.labels) for one in splits_of.values())
        name = splits_of["train"].name.removesuffix(" train")
        training, validation = hold_out(learned)
        return Course(training, validation, test, name, class_names(given, takes))
    parts = splits(given)
    images = _labelled(parts.get("train", given), takes)
    shape = images.images.shape[1:]
    takes = takes._replace(shape=shape, classes=images.classes)
    learned = _split(images)
    held = [_split(_labelled(parts[name], takes)) for name in ("val", "test") if name in parts]
    if not held:
        learned, one = hold_out(learned)
        held = [one]
    if len(held) == 1:
        learned, one = hold_out(learned)
        held.insert(0, one)
    if not min(len(learned), *map(len, held)):
        raise UserError(f"{given.images}: too few images to hold some out; expected 10 or more")
    validation, test = held
    return Course(learned, validation, test, given.images, images.classes)


def _labelled(given: DataFiles, takes: Takes) -> Images:
    found = load_own(given, takes._replace(codes=PIXELS, bounds=(0, 1)))
    if found.labels is None:
        raise UserError(
            f"{given.images}: has no labels; give --labels, or sort the images into a folder for "
            "each class"
        )
    return found


def _split(images: Images) -> Split:
    assert images.labels is not None
    return Split(images.images, images.labels)


class Source:
    """Batches of augmented training images with the teacher's logits, shuffled anew each epoch.

    The first `recipe.copies` epochs each make an augmented copy of the training set and the
    teacher's logits for it. Later epochs take these in turns and so cost the pupil's time alone.
    With 0 copies every epoch augments the images afresh.
    """

    def __init__(
        self, backend: Backend, training: Split, recipe: Recipe, teacher: Model | None = None
    ) -> None:
        self.backend = backend
        self.training = training
        self.recipe = recipe
        self.teacher = teacher
        self.steps = max(1, len(training) // recipe.batch)
        self.copies: list[tuple[np.ndarray, np.ndarray | None]] = []
        self.epoch = 0

    def __iter__(self) -> Iterator[Batch]:
        """One epoch of batches on the backend's device, made ahead by a thread."""
        batches = map(self.backend.to_device, self._epoch())
        with ThreadPoolExecutor(1) as executor:
            coming = deque(executor.submit(next, batches, None) for _ in range(BATCHES_AHEAD))
            while (batch := coming.popleft().result()) is not None:
                coming.append(executor.submit(next, batches, None))
                yield batch

    def _epoch(self) -> Iterator[Batch]:
        size, batch = len(self.training), self.recipe.batch
        kept = None
        if self.recipe.copies:
            if len(self.copies) < self.recipe.copies:
                self.copies.append(self._copy())
            # A copy that has just been made is the one whose turn it is.
            kept = self.copies[self.epoch % len(self.copies)]
        self.epoch += 1
        order = self.backend.rng.permutation(size)
        for start in range(0, min(size, self.steps * batch), batch):
            part = order[start : start + batch]
            if kept is None:
                pixels, logits = self._augmented(part)
            else:
                pixels, logits = kept[0][part], None if kept[1] is None else kept[1][part]
            yield pixels, self.training.labels[part], logits

    def _augmented(self, part: np.ndarray | slice) -> tuple[np.ndarray, np.ndarray | None]:
        pixels = augment(self.training.pixels[part], self.recipe, self.backend.rng)
        return pixels, None if self.teacher is None else self.backend.predict(self.teacher, pixels)

    def _copy(self) -> tuple[np.ndarray, np.ndarray | None]:
        """A new augmented copy of the training set, and the teacher's logits for it."""
        starts = range(0, len(self.training), COPY_BATCH)
        parts = [self._augmented(slice(start, start + COPY_BATCH)) for start in starts]
        logits = [one for _, one in parts if one is not None]
        return np.concatenate([one for one, _ in parts]), np.concatenate(logits) if logits else None

    def solve_last(self, model: Model) -> Model:
        """`model` with the last layer at its optimum for some copies of the training set."""
        copies = self.copies[:SOLVE_COPIES] or [self._copy()]
        solved = solve_last(
            self.backend.to_float(model),
            np.concatenate([pixels for pixels, _ in copies]),
            np.tile(self.training.labels, len(copies)),
            None if self.teacher is None else np.concatenate([one for _, one in copies]),
            self.recipe,
        )
        return self.backend.from_float(solved)
