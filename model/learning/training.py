"""Training and quantising a network: all but the arithmetic, which a `Backend` does.

`train` is the whole of it. Images, labels and random numbers are NumPy's whatever the backend, so
one seed gives the same initial weights, the same batches and, but for rounding, the same losses.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from model.learning.augment import augment
from model.learning.data import load_images
from model.learning.imitation import solve_last
from model.learning.initial import initial_network
from model.learning.quantiser import choose_exponents
from model.learning.recipes import Recipe
from model.network.exponents import Exponents, to_integers
from model.network.floats import FloatNetwork, cross_entropy
from model.network.graph import Network
from model.network.quantised import QuantisedNetwork

VALIDATION = 5000
SPLIT_SEED = 20240229
CALIBRATION = 2048
COPY_BATCH = 1000
BATCHES_AHEAD = 4
SOLVE_COPIES = 3
ADAM_BETAS = (0.9, 0.999)
ADAM_EPSILON = 1e-8

Model = Any
"""A network with its float weights as a backend has it: FloatNetwork or TorchNetwork."""
Batch = tuple[Any, Any, Any]
"""Pixels uint8 (B, C, H, W), labels int64 (B,), and the teacher's logits (B, classes) or None:
NumPy's or, on the backend's device, its own arrays."""


@dataclass(frozen=True, eq=False)
class Split:
    """pixels: uint8 (N, C, H, W). labels: int64 (N,)."""

    pixels: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


def load_split(split: str) -> tuple[Split, str]:
    """The whole `train` or `test` split, and the data set's name."""
    data = load_images(split)
    return Split(data.images[:, None], data.labels), data.name


def hold_out(data: Split) -> tuple[Split, Split]:
    """Training and validation part. The same for every seed and network: a teacher must not have
    learned what its pupil is validated on."""
    order = np.random.default_rng(SPLIT_SEED).permutation(len(data))
    held = min(VALIDATION, len(data) // 5)
    train, validation = (
        Split(data.pixels[part], data.labels[part]) for part in (order[held:], order[:held])
    )
    return train, validation


@dataclass
class Stage:
    """One stage of training, for the progress bar and the curve: a row of figures an epoch.

    epochs: how many there will be. steps: the loss of every step of the epochs that are done.
    """

    name: str
    epochs: int
    loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)


Progress = Callable[[Stage, int, float], None]
"""Called now and then with the stage so far, the epoch, and the share of it that is done."""


@dataclass(frozen=True, eq=False)
class Trained:
    """What a backend makes of a network.

    parameters: float32 weights and biases by name (`float.npz`). quantised: the tuned int8 network.
    stages: float training and tuning. Validation accuracies in percent. about: the device and the
    version of what it ran on, for `network.json`.
    """

    parameters: dict[str, np.ndarray]
    quantised: QuantisedNetwork
    stages: list[Stage]
    float_validation: float
    int8_validation: float
    about: dict[str, Any]


def tuning_recipe(recipe: Recipe) -> Recipe:
    """Of the fine-tuning: the float network's own logits are all that counts."""

    return replace(recipe, decay=0.0, teacher_weight=1.0, temperature=1.0, copies=0)


def warm_up_steps(total: int, steps: int) -> int:
    """Steps of rising rate: an epoch of `steps`, or a tenth of the `total`."""
    return min(steps, total // 10 + 1)


def rate_factor(step: int, total: int, warm_up: int) -> float:
    """Share of the peak learning rate at a step: a linear start, then a cosine down to 0."""
    return min((step + 1) / warm_up, 0.5 + 0.5 * math.cos(math.pi * step / total))


class Backend(ABC):
    """What PyTorch and NumPy do each in their own way.

    Pixels are uint8 (N, C, H, W), labels int64 (N,), logits floats (N, classes). A model computes
    in floats or, given `exponents`, what int8 computes. rng: of all random numbers, from `seed`.
    about: the device and the version of what it runs on, for `network.json`.
    """

    about: dict[str, Any]

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    @abstractmethod
    def limited(self, threads: int | None) -> AbstractContextManager[object]:
        """Inside, it computes on so many processors; None: on all of them."""

    @abstractmethod
    def from_float(self, model: FloatNetwork) -> Model:
        """The same weights, in the backend's type and of the model's own."""

    @abstractmethod
    def to_float(self, model: Model) -> FloatNetwork:
        """The same weights, perhaps in the same memory."""

    @abstractmethod
    def copy(self, model: Model) -> Model:
        """A model with weights of its own."""

    @abstractmethod
    def predict(
        self, model: Model, pixels: np.ndarray, exponents: Exponents | None = None
    ) -> np.ndarray:
        """Logits."""

    def to_device(self, batch: Batch) -> Batch:
        """A batch where `step` takes it."""
        return batch

    @abstractmethod
    def make_optimiser(self, model: Model, recipe: Recipe) -> Any:
        """The recipe's optimiser. Weight decay is for weights alone: biases are left free."""

    @abstractmethod
    def step(
        self,
        model: Model,
        optimiser: Any,
        batch: Batch,
        recipe: Recipe,
        exponents: Exponents | None,
        rate: float,
    ) -> tuple[Any, Any]:
        """Change `model` in place: forward, loss, backward, a step of `optimiser` at `rate`.

        Returns the loss and how many images were classified rightly. Both may be on the device
        still: to read them every step would wait for it.
        """

    @abstractmethod
    def average(self, averaged: Model, model: Model, share: float) -> None:
        """Change `averaged` in place, by `share` (0 to 1) of the way to `model`."""


def evaluate(
    backend: Backend, model: Model, data: Split, exponents: Exponents | None = None
) -> tuple[float, float]:
    """Mean cross-entropy, and the percentage of images that are classified rightly."""
    logits = backend.predict(model, data.pixels, exponents)
    loss, _ = cross_entropy(logits, data.labels)
    return loss, 100 * float((logits.argmax(axis=1) == data.labels).mean())


class Source:
    """Batches of augmented training images with the teacher's logits, shuffled anew each epoch.

    `recipe.copies` bounds how many augmented copies of the training set are made; they and the
    teacher's logits are kept and taken in turns, so that later epochs cost the pupil's time alone.
    0: fresh ones for ever.
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


def train(
    backend: Backend,
    network: Network,
    training: Split,
    validation: Split,
    recipe: Recipe,
    *,
    teacher: FloatNetwork | None = None,
    progress: Progress | None = None,
    threads: int | None = None,
) -> Trained:
    """Train and quantise a network. threads: processors to use, all of them if None."""
    with backend.limited(threads):
        model, float_stage, float_score = train_float(
            backend, network, training, validation, recipe, teacher=teacher, progress=progress
        )
        tuned, exponents, int8_stage, int8_score = tune_int8(
            backend, model, training, validation, recipe, progress=progress
        )
    return Trained(
        parameters=backend.to_float(model).parameters,
        quantised=to_integers(network, backend.to_float(tuned).parameters, exponents),
        stages=[float_stage, int8_stage],
        float_validation=float_score,
        int8_validation=int8_score,
        about=backend.about,
    )


def train_float(
    backend: Backend,
    network: Network,
    training: Split,
    validation: Split,
    recipe: Recipe,
    *,
    teacher: FloatNetwork | None = None,
    progress: Progress | None = None,
) -> tuple[Model, Stage, float]:
    """A trained float network: what `fit` returns.

    Raises `UserError` if the last layer is to be solved and has no weights.
    """
    source = Source(
        backend, training, recipe, None if teacher is None else backend.from_float(teacher)
    )
    sample = training.pixels[:CALIBRATION]
    models = [
        backend.from_float(initial_network(network, sample, backend.rng))
        for _ in range(recipe.restarts)
    ]
    epochs, rate = recipe.restart_epochs, recipe.rate
    while len(models) > 1:
        tries = [
            fit(
                model,
                source,
                validation,
                epochs=epochs,
                rate=rate,
                name=f"start {index}/{len(models)}",
                progress=progress,
            )
            for index, model in enumerate(models, 1)
        ]
        # Fewer and fewer are trained longer and longer: a round costs as much as the one before.
        tries.sort(key=lambda one: min(one[1].validation_loss))
        models = [one[0] for one in tries[: max(1, len(tries) // 4)]]
        epochs *= 4
        # What is kept has been found: no need to shake it as hard again.
        rate /= 2
    model, stage, best = fit(
        models[0],
        source,
        validation,
        epochs=recipe.epochs,
        rate=rate,
        name="float",
        progress=progress,
    )
    if recipe.solve:
        solved = source.solve_last(model)
        loss, score = evaluate(backend, solved, validation)
        stage.validation_loss.append(loss)
        stage.validation_accuracy.append(score)
        if score >= best:
            model, best = solved, score
    return model, stage, best


def tune_int8(
    backend: Backend,
    model: Model,
    training: Split,
    validation: Split,
    recipe: Recipe,
    *,
    progress: Progress | None = None,
) -> tuple[Model, Exponents, Stage, float]:
    """Quantise: exponents of least error, then fine-tuning to give the float network's own logits.

    `model` stays as it is. Returns the tuned shadow weights, the exponents, the curve and the
    validation accuracy of int8 in percent; the weights that are merely rounded take part in the
    choice.
    """
    sample = augment(training.pixels[:CALIBRATION], recipe, backend.rng)
    outputs: dict[str, np.ndarray] = {}
    floats = backend.to_float(model)
    floats.forward(sample, observe=outputs)
    exponents = choose_exponents(floats.network, floats.parameters, outputs)
    if recipe.tune_epochs == 0:
        loss, score = evaluate(backend, model, validation, exponents)
        return model, exponents, Stage("int8", 0, [], [], [loss], [score]), score
    tuned, stage, best = fit(
        backend.copy(model),
        Source(backend, training, tuning_recipe(recipe), teacher=model),
        validation,
        epochs=recipe.tune_epochs,
        rate=recipe.tune_rate,
        name="int8",
        exponents=exponents,
        progress=progress,
        keep_start=True,
    )
    return tuned, exponents, stage, best


def fit(
    model: Model,
    source: Source,
    validation: Split,
    *,
    epochs: int,
    rate: float,
    name: str,
    exponents: Exponents | None = None,
    progress: Progress | None = None,
    keep_start: bool = False,
) -> tuple[Model, Stage, float]:
    """Train `model` in place; return the averaged weights that did best on the validation split.

    epochs: at least 1. rate: the peak learning rate. With `exponents` the forward pass is that of
    int8. `keep_start` lets the model as it came take part in the choice. Also returns the curve and
    the best validation accuracy in percent.
    """
    backend, recipe = source.backend, source.recipe
    optimiser = backend.make_optimiser(model, recipe)
    total = source.steps * epochs
    warm_up = warm_up_steps(total, source.steps)
    averaged = backend.copy(model)
    stage = Stage(name, epochs)
    best: tuple[float, float] | None = None
    if keep_start:
        loss, score = evaluate(backend, model, validation, exponents)
        chosen, best = backend.copy(model), (score, -loss)
    done = 0
    for epoch in range(epochs):
        losses, right = [], 0
        for step, batch in enumerate(source, 1):
            now = rate * rate_factor(done, total, warm_up)
            loss, hits = backend.step(model, optimiser, batch, recipe, exponents, now)
            done += 1
            decay = min(recipe.average, done / (done + 10))
            backend.average(averaged, model, 1 - decay)
            losses.append(loss)
            right += hits
            if progress is not None and step % 20 == 0 and step < source.steps:
                progress(stage, epoch, step / source.steps)
        stage.steps += map(float, losses)
        stage.loss.append(math.fsum(stage.steps[-step:]) / step)
        stage.train_accuracy.append(100 * int(right) / (step * len(batch[1])))
        loss, score = evaluate(backend, averaged, validation, exponents)
        stage.validation_loss.append(loss)
        stage.validation_accuracy.append(score)
        if best is None or (score, -loss) > best:
            chosen, best = backend.copy(averaged), (score, -loss)
        if progress is not None:
            progress(stage, epoch, 1.0)
    assert best is not None
    return chosen, stage, best[0]
