"""Training with NumPy alone, what `model/train.py NET --backend numpy` runs.

The same as `model/torch_train.py` with PyTorch, down to the random numbers: the same seed gives
the same initial weights, the same batches and, but for rounding, the same losses.
"""

from __future__ import annotations

import copy
import functools
import math
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import threadpool_limits

from model import floats
from model.errors import UserError
from model.exponents import Exponents, choose_exponents, to_integers
from model.floats import FloatNetwork
from model.mersenne import Mersenne
from model.networks import Network, Recipe
from model.training import (
    ADAM_BETAS,
    ADAM_EPSILON,
    CALIBRATION,
    ELASTIC_GRID,
    EVALUATION_BATCH,
    SOLVE_COPIES,
    Progress,
    Split,
    Stage,
    Trained,
    rate_factor,
    tuning_recipe,
    warm_up_steps,
)

Teacher = Callable[[np.ndarray], np.ndarray]
"""Logits of a batch of pixels."""
BATCHES_AHEAD = 4
FRAME = 3


def train(
    network: Network,
    training: Split,
    validation: Split,
    recipe: Recipe,
    *,
    seed: int,
    teacher: FloatNetwork | None = None,
    progress: Progress | None = None,
    threads: int | None = None,
) -> Trained:
    """Train and quantise a network.

    threads: processors to use, all of them if None; one makes the batches.
    """
    rng = Mersenne(seed)
    # More threads than processors would wait for each other.
    threads = threads or os.cpu_count() or 1
    with threadpool_limits(max(1, threads - 1), user_api="blas"):
        model, float_stage, float_score = train_float(
            network,
            training,
            validation,
            recipe,
            rng=rng,
            teacher=None if teacher is None else teacher.predict,
            progress=progress,
        )
        tuned, exponents, int8_stage, int8_score = tune_int8(
            model, training, validation, recipe, rng=rng, progress=progress
        )
    return Trained(
        parameters=model.parameters,
        quantised=to_integers(network, tuned.parameters, exponents),
        stages=[float_stage, int8_stage],
        float_validation=float_score,
        int8_validation=int8_score,
        about={"backend": "numpy", "device": "cpu", "numpy": np.__version__},
    )


def train_float(
    network: Network,
    training: Split,
    validation: Split,
    recipe: Recipe,
    *,
    rng: Mersenne,
    teacher: Teacher | None = None,
    progress: Progress | None = None,
    dtype: type = np.float32,
) -> tuple[FloatNetwork, Stage, float]:
    """A trained float network: what `fit` returns."""
    source = Source(training, recipe, teacher, rng)
    models = [
        FloatNetwork(network, rng.initialise(network)).astype(dtype) for _ in range(recipe.restarts)
    ]
    models = [initialise(model, training.pixels[:CALIBRATION]) for model in models]
    epochs, rate = recipe.restart_epochs, recipe.rate
    while len(models) > 1:
        tries = [
            fit(
                model,
                source,
                validation,
                recipe,
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
        recipe,
        epochs=recipe.epochs,
        rate=rate,
        name="float",
        progress=progress,
    )
    if recipe.solve:
        solved = solve_last(model, source, recipe)
        loss, score = evaluate(solved, validation)
        stage.validation_loss.append(loss)
        stage.validation_accuracy.append(score)
        if score >= best:
            model, best = solved, score
    return model, stage, best


def solve_last(model: FloatNetwork, source: Source, recipe: Recipe) -> FloatNetwork:
    """A copy of `model` with the last layer at the optimum, given the layers before it: the least
    loss on the source's copies of the training set, plus half of `recipe.solve` times the weights'
    squared norm.

    Adam's steps are of one size in every weight, and so fit rare features to the noise; the optimum
    does not. The problem is convex: L-BFGS finds it in seconds.
    """
    model = model.astype(model.dtype)
    if model.network.layers[-1].kind != "fc":
        raise UserError(f"recipe field solve: {model.network.name} does not end fully connected")
    name = model.network.layer_names[-1]
    weight, bias = model.parameters[f"{name}.weight"], model.parameters[f"{name}.bias"]
    copies = source.copies[:SOLVE_COPIES] or [source.copy()]
    pixels = np.concatenate([pixels for pixels, _ in copies])
    parts = range(0, len(pixels), EVALUATION_BATCH)
    inputs = [model.forward(pixels[start : start + EVALUATION_BATCH])[1][-1].x for start in parts]
    inputs = np.concatenate([x.reshape(len(x), -1) for x in inputs])
    labels = np.tile(source.training.labels, len(copies))
    wanted = None if source.teacher is None else np.concatenate([t for _, t in copies])

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        w, b = values[: weight.size].reshape(weight.shape), values[weight.size :]
        value, dlogits = imitation_loss(floats.fc(inputs, w, b), labels, wanted, recipe)
        value += recipe.solve / 2 * float(np.square(w, dtype=np.float64).sum())
        dweight, dbias = dlogits.T @ inputs + recipe.solve * w, dlogits.sum(axis=0)
        return value, np.concatenate([dweight.ravel(), dbias])

    values = minimise(loss, np.concatenate([weight.ravel(), bias]))
    weight[...] = values[: weight.size].reshape(weight.shape)
    bias[...] = values[weight.size :]
    return model


def tune_int8(
    model: FloatNetwork,
    training: Split,
    validation: Split,
    recipe: Recipe,
    *,
    rng: Mersenne,
    progress: Progress | None = None,
) -> tuple[FloatNetwork, Exponents, Stage, float]:
    """Quantise: exponents of least error, then fine-tuning to give the float network's own logits.

    `model` stays as it is. Returns the tuned shadow weights, the exponents, the curve and the
    validation accuracy of int8; merely rounding takes part in the choice.
    """
    outputs: dict[str, np.ndarray] = {}
    model.forward(augment(training.pixels[:CALIBRATION], recipe, rng), observe=outputs)
    exponents = choose_exponents(model.network, model.parameters, outputs)
    if recipe.tune_epochs == 0:
        loss, score = evaluate(model, validation, exponents)
        return model, exponents, Stage("int8", 0, [], [], [loss], [score]), score
    recipe = tuning_recipe(recipe)
    tuned, stage, best = fit(
        model.astype(model.dtype),
        Source(training, recipe, model.predict, rng),
        validation,
        recipe,
        epochs=recipe.tune_epochs,
        rate=recipe.tune_rate,
        name="int8",
        exponents=exponents,
        progress=progress,
        keep_start=True,
    )
    return tuned, exponents, stage, best


def fit(
    model: FloatNetwork,
    source: Source,
    validation: Split,
    recipe: Recipe,
    *,
    epochs: int,
    rate: float,
    name: str,
    exponents: Exponents | None = None,
    progress: Progress | None = None,
    keep_start: bool = False,
) -> tuple[FloatNetwork, Stage, float]:
    """Train `model` in place; return the averaged weights that did best on the validation split.

    With `exponents` the forward pass is that of int8. `keep_start` lets the model as it came take
    part in the choice. Also returns the curve and the best validation accuracy in percent.
    """
    optimiser = make_optimiser(model, recipe, rate)
    total = source.steps * epochs
    warm_up = warm_up_steps(total, source.steps)
    averaged = model.astype(model.dtype)
    chosen = averaged
    stage = Stage(name, epochs)
    best: tuple[float, float] | None = None
    if keep_start:
        loss, score = evaluate(model, validation, exponents)
        best = (score, -loss)
        chosen = averaged.astype(model.dtype)
    done = 0
    for epoch in range(epochs):
        right = 0
        for step, (pixels, labels, wanted) in enumerate(source, 1):
            logits, steps = model.forward(pixels, exponents)
            loss, dlogits = imitation_loss(logits, labels, wanted, recipe)
            optimiser.step(model.backward(dlogits, steps), rate_factor(done, total, warm_up))
            done += 1
            decay = min(recipe.average, done / (done + 10))
            for key, value in averaged.parameters.items():
                value += (1 - decay) * (model.parameters[key] - value)
            stage.steps.append(loss)
            right += int((logits.argmax(axis=1) == labels).sum())
            if progress is not None and step % 20 == 0:
                progress(stage, epoch, step / source.steps)
        stage.loss.append(math.fsum(stage.steps[-step:]) / step)
        stage.train_accuracy.append(100 * right / (step * len(labels)))
        loss, score = evaluate(averaged, validation, exponents)
        stage.validation_loss.append(loss)
        stage.validation_accuracy.append(score)
        if best is None or (score, -loss) > best:
            best = (score, -loss)
            chosen = averaged.astype(model.dtype)
        if progress is not None:
            progress(stage, epoch, 1.0)
    assert best is not None
    return chosen, stage, best[0]


def evaluate(
    model: FloatNetwork, data: Split, exponents: Exponents | None = None
) -> tuple[float, float]:
    """Mean cross-entropy, and the percentage of images that are classified rightly."""
    logits = model.predict(data.pixels, exponents)
    loss, _ = floats.cross_entropy(logits, data.labels)
    return loss, 100 * float((logits.argmax(axis=1) == data.labels).mean())


def imitation_loss(
    logits: np.ndarray, labels: np.ndarray, teacher: np.ndarray | None, recipe: Recipe
) -> tuple[float, np.ndarray]:
    """Cross-entropy with the labels and, where there is a teacher, with its softened logits.

    With t = softmax(teacher / T), p = softmax(logits / T) the latter is T**2 times the mean over
    images of the sum of t * log(t / p), whose gradient is T * (p - t) / N. Returns the weighted sum
    of both losses and dlogits.
    """
    hard, dhard = floats.cross_entropy(logits, labels, recipe.smoothing)
    if teacher is None:
        return hard, dhard
    temperature, share = recipe.temperature, recipe.teacher_weight
    log_p = floats.log_softmax(logits / temperature)
    log_t = floats.log_softmax(teacher.astype(logits.dtype) / temperature)
    t = np.exp(log_t)
    soft = temperature**2 * float((t * (log_t - log_p)).sum() / len(logits))
    dsoft = (np.exp(log_p) - t) * (temperature / len(logits))
    return (1 - share) * hard + share * soft, (1 - share) * dhard + share * dsoft


def initialise(model: FloatNetwork, pixels: np.ndarray) -> FloatNetwork:
    """`model`, its layers scaled and shifted to outputs of mean 0 and variance 1 on `pixels`.

    In networks of a few channels a channel that starts out dead, or a layer that starts out faint,
    costs whole percents.
    """
    model = model.astype(model.dtype)
    for index, (layer, name) in enumerate(
        zip(model.network.layers, model.network.layer_names, strict=True)
    ):
        if layer.kind == "maxpool":
            continue
        weight, bias = model.parameters[f"{name}.weight"], model.parameters[f"{name}.bias"]
        bias[...] = 0
        _, steps = model.forward(pixels)
        values = next(step.y for step in steps if step.kind == layer.kind and step.index == index)
        values = np.moveaxis(values, 1, 0).reshape(len(bias), -1)
        spread = np.maximum(values.std(axis=1, ddof=1), 1e-6)
        weight /= spread.reshape(-1, *[1] * (weight.ndim - 1))
        bias[...] = -values.mean(axis=1) / spread
    return model


# Optimisers


class Adam:
    """Adam with decoupled weight decay (AdamW), one rate and decay for each parameter.

    m = b1*m + (1 - b1)*g and v = b2*v + (1 - b2)*g**2 are running means of the gradient g and its
    square, too small by 1 - b**t after t steps; then
    p -= rate * (decay * p + (m / (1 - b1**t)) / (sqrt(v / (1 - b2**t)) + epsilon)).
    """

    def __init__(
        self, parameters: dict[str, np.ndarray], rates: dict[str, float], decays: dict[str, float]
    ) -> None:
        self.parameters, self.rates, self.decays = parameters, rates, decays
        self.mean = {key: np.zeros_like(value) for key, value in parameters.items()}
        self.square = copy.deepcopy(self.mean)
        self.count = 0

    def step(self, gradients: dict[str, np.ndarray], factor: float) -> None:
        """Change the parameters in place, at `factor` times their rates."""
        self.count += 1
        first, second = (1 - beta**self.count for beta in ADAM_BETAS)
        for key, p in self.parameters.items():
            gradient, mean, square = gradients[key], self.mean[key], self.square[key]
            rate = self.rates[key] * factor
            mean += (1 - ADAM_BETAS[0]) * (gradient - mean)
            square *= ADAM_BETAS[1]
            square += (1 - ADAM_BETAS[1]) * gradient**2
            p *= 1 - rate * self.decays[key]
            p -= (rate / first) * mean / (np.sqrt(square) / math.sqrt(second) + ADAM_EPSILON)


class Momentum:
    """Stochastic gradient descent with momentum: v = momentum*v + g + decay*p; p -= rate * v."""

    def __init__(
        self,
        parameters: dict[str, np.ndarray],
        rates: dict[str, float],
        decays: dict[str, float],
        momentum: float,
    ) -> None:
        self.parameters, self.rates, self.decays = parameters, rates, decays
        self.momentum = momentum
        self.velocity = {key: np.zeros_like(value) for key, value in parameters.items()}

    def step(self, gradients: dict[str, np.ndarray], factor: float) -> None:
        """Change the parameters in place, at `factor` times their rates."""
        for key, p in self.parameters.items():
            velocity = self.velocity[key]
            velocity *= self.momentum
            velocity += gradients[key] + self.decays[key] * p
            p -= self.rates[key] * factor * velocity


def minimise(
    function: Callable[[np.ndarray], tuple[float, np.ndarray]],
    x: np.ndarray,
    *,
    steps: int = 150,
    history: int = 20,
    tolerance: float = 1e-7,
) -> np.ndarray:
    """Where a smooth convex function is least, from `x` on: L-BFGS with a backtracking line search.

    function: value and gradient at a point, both (n,). Ends after `steps`, or where no step in the
    direction found makes the value less, or the gradient's largest element is below `tolerance`.
    """
    value, gradient = function(x)
    pairs: deque[tuple[np.ndarray, np.ndarray, float]] = deque(maxlen=history)
    for _ in range(steps):
        if np.abs(gradient).max() <= tolerance:
            break
        # The last differences of points and gradients stand for the inverse of the curvature.
        direction = -gradient
        alphas = []
        for dx, dg, product in reversed(pairs):
            alphas.append(float(dx @ direction) / product)
            direction = direction - alphas[-1] * dg
        if pairs:
            _, dg, product = pairs[-1]
            direction = direction * (product / float(dg @ dg))
        else:
            direction = direction / max(1.0, float(np.abs(gradient).sum()))
        for (dx, dg, product), alpha in zip(pairs, reversed(alphas), strict=True):
            direction = direction + (alpha - float(dg @ direction) / product) * dx
        slope = float(gradient @ direction)
        step = 1.0
        while True:
            found, new_gradient = function(x + x.dtype.type(step) * direction)
            if found <= value + 1e-4 * step * slope:
                break
            step /= 2
            if step < 1e-6:
                return x
        dx, dg = x.dtype.type(step) * direction, new_gradient - gradient
        x, value, gradient = x + dx, found, new_gradient
        product = float(dx @ dg)
        if product > 0:
            pairs.append((dx, dg, product))
    return x


def make_optimiser(model: FloatNetwork, recipe: Recipe, rate: float) -> Adam | Momentum:
    """The recipe's optimiser. Weight decay is for weights alone: biases are left free."""
    rates, decays = {}, {}
    for key, value in model.parameters.items():
        rates[key] = rate
        decays[key] = recipe.decay if value.ndim > 1 else 0.0
    if recipe.optimiser == "sgd":
        return Momentum(model.parameters, rates, decays, recipe.momentum)
    return Adam(model.parameters, rates, decays)


# Batches


class Source:
    """Batches of augmented training images with the teacher's logits, shuffled anew each epoch.

    `recipe.copies` bounds how many augmented copies of the training set are made; they and the
    teacher's logits are kept and taken in turns, so that later epochs cost the pupil's time alone.
    0: fresh ones for ever. A thread of its own is a few batches ahead.
    """

    def __init__(
        self, training: Split, recipe: Recipe, teacher: Teacher | None, rng: Mersenne
    ) -> None:
        self.training = training
        self.recipe = recipe
        self.teacher = teacher
        self.rng = rng
        self.steps = max(1, len(training) // recipe.batch)
        self.copies: list[tuple[np.ndarray, np.ndarray | None]] = []
        self.epoch = 0

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
        """One epoch of (pixels, labels, the teacher's logits or None)."""
        batches = self._epoch()
        with ThreadPoolExecutor(1) as executor:
            coming = deque(executor.submit(next, batches, None) for _ in range(BATCHES_AHEAD))
            while (batch := coming.popleft().result()) is not None:
                coming.append(executor.submit(next, batches, None))
                yield batch

    def _epoch(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
        kept = None
        if self.recipe.copies:
            if len(self.copies) < self.recipe.copies:
                self.copies.append(self.copy())
                kept = self.copies[-1]
            else:
                kept = self.copies[self.epoch % len(self.copies)]
        self.epoch += 1
        order = self.rng.permutation(len(self.training))
        batch = self.recipe.batch
        for start in range(0, min(len(order), self.steps * batch), batch):
            part = order[start : start + batch]
            if kept is None:
                pixels, logits = self._augmented(part)
            else:
                pixels = kept[0][part]
                logits = None if kept[1] is None else kept[1][part]
            yield pixels, self.training.labels[part], logits

    def _augmented(self, part: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        pixels = augment(self.training.pixels[part], self.recipe, self.rng)
        return pixels, None if self.teacher is None else self.teacher(pixels)

    def copy(self) -> tuple[np.ndarray, np.ndarray | None]:
        """A new augmented copy of the training set, uint8, and the teacher's logits for it."""
        everything = np.arange(len(self.training))
        parts = (everything[start : start + 1000] for start in range(0, len(everything), 1000))
        pixels, logits = zip(*map(self._augmented, parts), strict=True)
        return np.concatenate(pixels), None if self.teacher is None else np.concatenate(logits)


def augment(pixels: np.ndarray, recipe: Recipe, rng: Mersenne) -> np.ndarray:
    """Randomly distorted copies of `pixels`, uint8 (N, C, H, W).

    One random affine map and one smooth field of displacements an image. Bilinear samples are
    softer than real strokes, which a network of a few filters takes amiss: for it, bicubic ones,
    and a share of images left as they are.
    """
    count, channels, height, width = pixels.shape

    def uniform(limit: float) -> np.ndarray:
        return (rng.rand(count) * 2 - 1) * np.float32(limit)

    angle = uniform(math.radians(recipe.rotate))
    cosine, sine = np.cos(angle), np.sin(angle)
    wide, high = 1 + uniform(recipe.scale), 1 + uniform(recipe.scale)
    shear = uniform(recipe.shear)
    # Sampling coordinates run from -1 to 1.
    shift_x, shift_y = (uniform(recipe.shift) * np.float32(2 / size) for size in (width, height))
    weights = np.empty((count, 2, 3 + ELASTIC_GRID**2), np.float32)
    weights[:, 0, :3] = np.stack([cosine * wide, (shear - sine) * high, shift_x], axis=1)
    weights[:, 1, :3] = np.stack([sine * wide, cosine * high, shift_y], axis=1)
    bumps = rng.normal((count, ELASTIC_GRID**2, 2)) * np.float32(recipe.elastic * 2 / width)
    weights[:, :, 3:] = bumps.transpose(0, 2, 1)
    if recipe.clean:
        left = rng.rand(count) < np.float32(recipe.clean)
        weights[left] = np.eye(2, 3 + ELASTIC_GRID**2, dtype=np.float32)
    grid = (weights.reshape(2 * count, -1) @ _basis(height, width).T).reshape(count, 2, -1)

    # Where to sample: the pixel before, and how far beyond it. Further out all is zero as well.
    pixel, beyond = [], []
    for axis, size in ((0, width), (1, height)):
        position = ((grid[:, axis] + 1) * size - 1) * np.float32(0.5)
        np.clip(position, -2, size + 1, out=position)
        floor = np.floor(position)
        beyond.append(position - floor)
        pixel.append(floor.astype(np.int64) + FRAME)
    columns, rows = (_taps(recipe.interpolation, share) for share in beyond)
    framed = np.pad(pixels, ((0, 0), (0, 0), (FRAME, FRAME + 1), (FRAME, FRAME + 1)))
    line = framed.shape[3]
    area = framed.shape[2] * line
    corner = pixel[1] * line + pixel[0] + np.arange(count)[:, None] * (channels * area)
    sampled = np.empty((count, channels, height * width), np.uint8)
    for channel in range(channels):
        flat = framed.ravel()[channel * area :]
        value = np.float32(0)
        for down, row_share in rows:
            across = (flat[corner + (down * line + right)] * share for right, share in columns)
            value = value + sum(across) * row_share
        sampled[:, channel] = np.clip(np.rint(value), 0, 255)
    return sampled.reshape(pixels.shape)


def _taps(interpolation: str, beyond: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Pixels that a sample is made of, relative to the one before it, and their shares."""
    if interpolation == "bilinear":
        return [(0, 1 - beyond), (1, beyond)]
    return [(tap, _cubic(np.abs(beyond - tap))) for tap in (-1, 0, 1, 2)]


def _cubic(distance: np.ndarray) -> np.ndarray:
    """Share of a point at a distance of 0 to 2 in a cubic interpolation with a = -0.75."""
    near = (1.25 * distance - 2.25) * distance**2 + 1
    far = -0.75 * (((distance - 5) * distance + 8) * distance - 4)
    return np.where(distance <= 1, near, far)


@functools.cache
def _basis(height: int, width: int) -> np.ndarray:
    """(height*width, 3 + ELASTIC_GRID**2): x, y, 1 and the smooth bumps of each grid point, whose
    weighted sums are the sampling coordinates. One matrix product makes the grid of a batch."""
    y, x = ((2 * np.arange(size) + 1) / size - 1 for size in (height, width))
    bumps = np.einsum("yi,xj->yxij", _bicubic(height), _bicubic(width))
    columns = [
        np.tile(x, height)[:, None],
        np.repeat(y, width)[:, None],
        np.ones((height * width, 1)),
        bumps.reshape(height * width, -1),
    ]
    return np.concatenate(columns, axis=1).astype(np.float32)


def _bicubic(size: int) -> np.ndarray:
    """(size, ELASTIC_GRID): weight of each grid point in a cubic interpolation, ends aligned."""
    matrix = np.zeros((size, ELASTIC_GRID))
    for row in range(size):
        position = row * (ELASTIC_GRID - 1) / max(1, size - 1)
        first = math.floor(position) - 1
        for point in range(first, first + 4):
            column = min(max(point, 0), ELASTIC_GRID - 1)
            matrix[row, column] += _cubic(np.float64(abs(position - point)))
    return matrix
