"""What the two backends of `model/train.py`, PyTorch and NumPy, have in common: all but arithmetic.

`train` is the whole training, in terms of the methods of a `Backend`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from model.base.errors import UserError
from model.learning.data import load_images
from model.learning.recipes import Recipe
from model.network.exponents import Exponents, to_integers
from model.network.floats import FloatNetwork
from model.network.graph import Network
from model.network.quantised import QuantisedNetwork

VALIDATION = 5000
SPLIT_SEED = 20240229
CALIBRATION = 2048
EVALUATION_BATCH = 2000
COPY_BATCH = 1000
SOLVE_COPIES = 3
OPTIMISERS = ("adam", "sgd")
INTERPOLATIONS = ("bilinear", "bicubic")
ADAM_BETAS = (0.9, 0.999)
ADAM_EPSILON = 1e-8
ELASTIC_GRID = 5

Array = Any
"""What a backend computes with: np.ndarray or torch.Tensor."""
Model = Any
"""A network with its float weights as a backend has it: FloatNetwork or TorchNetwork."""
Batch = tuple[Array, Array, Array | None]
"""Pixels uint8 (B, C, H, W), labels int64 (B,), and the teacher's logits (B, classes) if any."""


@dataclass(frozen=True, eq=False)
class Split:
    """pixels: uint8 (N, C, H, W). labels: int64 (N,)."""

    pixels: Array
    labels: Array

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
    """What PyTorch and NumPy do each in their own way, random numbers included.

    Pixels are uint8 (N, C, H, W), labels int64 (N,), logits floats (N, classes). A model computes
    in floats or, given `exponents`, what int8 computes. about: the device and the version of what
    it runs on, for `network.json`.
    """

    about: dict[str, Any]

    def to_device(self, data: Split) -> Split:
        """`data` as this backend's arrays, where it computes."""
        return data

    @abstractmethod
    def concatenate(self, arrays: Sequence[Array]) -> Array:
        """All rows of several arrays in one."""

    @abstractmethod
    def permutation(self, count: int) -> Array:
        """0 to count - 1 in random order, int64 (count,)."""

    @abstractmethod
    def augment(self, pixels: Array, recipe: Recipe) -> Array:
        """Randomly distorted copies of `pixels`, as the recipe says."""

    def prefetch(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches, perhaps made before they are asked for."""
        return batches

    @abstractmethod
    def new_model(self, network: Network, pixels: Array) -> Model:
        """Random weights, scaled and shifted to outputs of mean 0 and variance 1 on `pixels`.

        In networks of a few channels a channel that starts out dead, or a layer that starts out
        faint, costs whole percents.
        """

    @abstractmethod
    def from_float(self, model: FloatNetwork) -> Model:
        """The same weights. Draws no random numbers."""

    @abstractmethod
    def parameters(self, model: Model) -> dict[str, np.ndarray]:
        """Weights and biases by name, as in `FloatNetwork`."""

    @abstractmethod
    def copy(self, model: Model) -> Model:
        """A model with weights of its own."""

    @abstractmethod
    def predict(self, model: Model, pixels: Array) -> Array:
        """Logits."""

    @abstractmethod
    def evaluate(
        self, model: Model, data: Split, exponents: Exponents | None = None
    ) -> tuple[float, float]:
        """Mean cross-entropy, and the percentage of images that are classified rightly."""

    @abstractmethod
    def choose_exponents(self, model: Model, pixels: Array) -> Exponents:
        """The exponents of least squared rounding error of weights, and of outputs on `pixels`."""

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

    @abstractmethod
    def solve_last(self, model: Model, source: Source) -> Model:
        """A copy of `model` with the last layer at the optimum, given the layers before it: the
        least loss on the source's copies of the training set, plus half of `recipe.solve` times the
        weights' squared norm.

        Adam's steps are of one size in every weight, and so fit rare features to the noise; the
        optimum does not. The problem is convex: L-BFGS finds it in seconds.
        """


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
        self.copies: list[tuple[Array, Array | None]] = []
        self.epoch = 0

    def __iter__(self) -> Iterator[Batch]:
        """One epoch."""
        return self.backend.prefetch(self._epoch())

    def _epoch(self) -> Iterator[Batch]:
        size, batch = len(self.training), self.recipe.batch
        kept = None
        if self.recipe.copies:
            if len(self.copies) < self.recipe.copies:
                self.copies.append(self.copy())
            # A copy that has just been made is the one whose turn it is.
            kept = self.copies[self.epoch % len(self.copies)]
        self.epoch += 1
        order = self.backend.permutation(size)
        for start in range(0, min(size, self.steps * batch), batch):
            part = order[start : start + batch]
            if kept is None:
                pixels, logits = self._augmented(part)
            else:
                pixels, logits = (None if array is None else array[part] for array in kept)
            yield pixels, self.training.labels[part], logits

    def _augmented(self, part: Array | slice) -> tuple[Array, Array | None]:
        pixels = self.backend.augment(self.training.pixels[part], self.recipe)
        return pixels, None if self.teacher is None else self.backend.predict(self.teacher, pixels)

    def copy(self) -> tuple[Array, Array | None]:
        """A new augmented copy of the training set, and the teacher's logits for it."""
        starts = range(0, len(self.training), COPY_BATCH)
        parts = (self._augmented(slice(start, start + COPY_BATCH)) for start in starts)
        pixels, logits = zip(*parts, strict=True)
        concatenate = self.backend.concatenate
        return concatenate(pixels), None if self.teacher is None else concatenate(logits)


def train(
    backend: Backend,
    network: Network,
    training: Split,
    validation: Split,
    recipe: Recipe,
    *,
    teacher: FloatNetwork | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train and quantise a network."""
    splits = [backend.to_device(part) for part in (training, validation)]
    model, float_stage, float_score = train_float(
        backend, network, *splits, recipe, teacher=teacher, progress=progress
    )
    tuned, exponents, int8_stage, int8_score = tune_int8(
        backend, model, *splits, recipe, progress=progress
    )
    return Trained(
        parameters=backend.parameters(model),
        quantised=to_integers(network, backend.parameters(tuned), exponents),
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
    """A trained float network: what `fit` returns. The splits are on the backend's device.

    Raises `UserError` if the last layer is to be solved and is not fully connected.
    """
    source = Source(
        backend, training, recipe, None if teacher is None else backend.from_float(teacher)
    )
    sample = training.pixels[:CALIBRATION]
    models = [backend.new_model(network, sample) for _ in range(recipe.restarts)]
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
        if network.layers[-1].kind != "fc":
            raise UserError(f"recipe field solve: {network.name} does not end fully connected")
        solved = backend.solve_last(model, source)
        loss, score = backend.evaluate(solved, validation)
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

    `model` stays as it is; the splits are on the backend's device. Returns the tuned shadow
    weights, the exponents, the curve and the validation accuracy of int8 in percent; merely
    rounding takes part in the choice.
    """
    sample = backend.augment(training.pixels[:CALIBRATION], recipe)
    exponents = backend.choose_exponents(model, sample)
    if recipe.tune_epochs == 0:
        loss, score = backend.evaluate(model, validation, exponents)
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
        loss, score = backend.evaluate(model, validation, exponents)
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
        loss, score = backend.evaluate(averaged, validation, exponents)
        stage.validation_loss.append(loss)
        stage.validation_accuracy.append(score)
        if best is None or (score, -loss) > best:
            chosen, best = backend.copy(averaged), (score, -loss)
        if progress is not None:
            progress(stage, epoch, 1.0)
    assert best is not None
    return chosen, stage, best[0]
