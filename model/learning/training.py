"""Training and quantising a network: all but the arithmetic, which a `Backend` does.

`train` is the whole of it. Images, labels and random numbers are NumPy's whatever the backend, so
one seed gives the same initial weights, the same batches and, but for rounding, the same losses.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from convstream.model.base.errors import UserError
from convstream.model.learning.augment import augment
from convstream.model.learning.backend import Backend, Model
from convstream.model.learning.initial import initial_network
from convstream.model.learning.quantiser import choose_exponents
from convstream.model.learning.recipes import Recipe
from convstream.model.learning.source import Source, Split
from convstream.model.network.exponents import Exponents, to_integers
from convstream.model.network.floats import FloatNetwork, cross_entropy
from convstream.model.network.graph import Network
from convstream.model.network.quantised import QuantisedNetwork

CALIBRATION = 2048


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
    """Train and quantise a network. threads: processors to use, all of them if None.

    Raises `UserError` where a layer cannot be trained, or as `train_float` does.
    """
    for node in network.nodes:
        if not node.layer.trainable:
            raise UserError(
                f"{node.name}: a {node.layer.kind} is not trained here; train the network in "
                "PyTorch, then run convstream quantise"
            )
    if not network.output.layer.accumulates:
        raise UserError(
            f"{network.output.name}: the last layer gives no logits; end with a linear layer"
        )
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
    begin = backend.normalised if recipe.normalise else backend.from_float
    models = [begin(initial_network(network, sample, backend.rng)) for _ in range(recipe.restarts)]
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
        # The weights that are kept are good ones; large steps would lose them.
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
    if recipe.normalise:
        model = backend.from_float(backend.to_float(model))
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


def evaluate(
    backend: Backend, model: Model, data: Split, exponents: Exponents | None = None
) -> tuple[float, float]:
    """Mean cross-entropy, and the percentage of images that are classified rightly."""
    logits = backend.predict(model, data.pixels, exponents)
    loss, _ = cross_entropy(logits, data.labels)
    return loss, 100 * float((logits.argmax(axis=1) == data.labels).mean())


def tuning_recipe(recipe: Recipe) -> Recipe:
    """Of the fine-tuning: the float network's own logits are all that counts."""

    return replace(recipe, decay=0.0, teacher_weight=1.0, temperature=1.0, copies=0)


def warm_up_steps(total: int, steps: int) -> int:
    """Steps of rising rate: an epoch of `steps`, or a tenth of the `total`."""
    return min(steps, total // 10 + 1)


def rate_factor(step: int, total: int, warm_up: int) -> float:
    """Share of the peak learning rate at a step: a linear start, then a cosine down to 0."""
    return min((step + 1) / warm_up, 0.5 + 0.5 * math.cos(math.pi * step / total))
