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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import threadpool_limits

from model.learning import training as common
from model.learning.recipes import Recipe
from model.learning.training import (
    ADAM_BETAS,
    ADAM_EPSILON,
    ELASTIC_GRID,
    EVALUATION_BATCH,
    SOLVE_COPIES,
    Backend,
    Batch,
    Progress,
    Source,
    Split,
    Trained,
)
from model.mersenne import Mersenne
from model.network import floats
from model.network.exponents import Exponents, choose_exponents
from model.network.floats import FloatNetwork
from model.network.graph import Network

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
    # More threads than processors would wait for each other.
    threads = threads or os.cpu_count() or 1
    with threadpool_limits(max(1, threads - 1), user_api="blas"):
        return common.train(
            NumpyBackend(seed),
            network,
            training,
            validation,
            recipe,
            teacher=teacher,
            progress=progress,
        )


class NumpyBackend(Backend):
    """A thread of its own makes the batches. seed: of all random numbers. dtype: of weights."""

    def __init__(self, seed: int, dtype: type = np.float32) -> None:
        self.about = {"backend": "numpy", "device": "cpu", "numpy": np.__version__}
        self.rng = Mersenne(seed)
        self.dtype = dtype

    def concatenate(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        return np.concatenate(arrays)

    def permutation(self, count: int) -> np.ndarray:
        return self.rng.permutation(count)

    def augment(self, pixels: np.ndarray, recipe: Recipe) -> np.ndarray:
        return augment(pixels, recipe, self.rng)

    def prefetch(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        with ThreadPoolExecutor(1) as executor:
            coming = deque(executor.submit(next, batches, None) for _ in range(BATCHES_AHEAD))
            while (batch := coming.popleft().result()) is not None:
                coming.append(executor.submit(next, batches, None))
                yield batch

    def new_model(self, network: Network, pixels: np.ndarray) -> FloatNetwork:
        model = FloatNetwork(network, self.rng.initialise(network)).astype(self.dtype)
        return initialise(model, pixels)

    def from_float(self, model: FloatNetwork) -> FloatNetwork:
        return model

    def parameters(self, model: FloatNetwork) -> dict[str, np.ndarray]:
        return model.parameters

    def copy(self, model: FloatNetwork) -> FloatNetwork:
        return model.astype(model.dtype)

    def predict(self, model: FloatNetwork, pixels: np.ndarray) -> np.ndarray:
        return model.predict(pixels)

    def evaluate(
        self, model: FloatNetwork, data: Split, exponents: Exponents | None = None
    ) -> tuple[float, float]:
        logits = model.predict(data.pixels, exponents)
        loss, _ = floats.cross_entropy(logits, data.labels)
        return loss, 100 * float((logits.argmax(axis=1) == data.labels).mean())

    def choose_exponents(self, model: FloatNetwork, pixels: np.ndarray) -> Exponents:
        outputs: dict[str, np.ndarray] = {}
        model.forward(pixels, observe=outputs)
        return choose_exponents(model.network, model.parameters, outputs)

    def make_optimiser(self, model: FloatNetwork, recipe: Recipe) -> Adam | Momentum:
        decays = {k: recipe.decay if v.ndim > 1 else 0.0 for k, v in model.parameters.items()}
        if recipe.optimiser == "sgd":
            return Momentum(model.parameters, decays, recipe.momentum)
        return Adam(model.parameters, decays)

    def step(
        self,
        model: FloatNetwork,
        optimiser: Adam | Momentum,
        batch: Batch,
        recipe: Recipe,
        exponents: Exponents | None,
        rate: float,
    ) -> tuple[float, int]:
        pixels, labels, wanted = batch
        logits, steps = model.forward(pixels, exponents)
        loss, dlogits = imitation_loss(logits, labels, wanted, recipe)
        optimiser.step(model.backward(dlogits, steps), rate)
        return loss, int((logits.argmax(axis=1) == labels).sum())

    def average(self, averaged: FloatNetwork, model: FloatNetwork, share: float) -> None:
        for key, value in averaged.parameters.items():
            value += share * (model.parameters[key] - value)

    def solve_last(self, model: FloatNetwork, source: Source) -> FloatNetwork:
        recipe = source.recipe
        model = self.copy(model)
        name = model.network.layer_names[-1]
        weight, bias = model.parameters[f"{name}.weight"], model.parameters[f"{name}.bias"]
        copies = source.copies[:SOLVE_COPIES] or [source.copy()]
        pixels = np.concatenate([pixels for pixels, _ in copies])
        starts = range(0, len(pixels), EVALUATION_BATCH)
        parts = (pixels[start : start + EVALUATION_BATCH] for start in starts)
        inputs = [model.forward(part)[1][-1].x for part in parts]
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
    """Adam with decoupled weight decay (AdamW), one decay for each parameter.

    m = b1*m + (1 - b1)*g and v = b2*v + (1 - b2)*g**2 are running means of the gradient g and its
    square, too small by 1 - b**t after t steps; then
    p -= rate * (decay * p + (m / (1 - b1**t)) / (sqrt(v / (1 - b2**t)) + epsilon)).
    """

    def __init__(self, parameters: dict[str, np.ndarray], decays: dict[str, float]) -> None:
        self.parameters, self.decays = parameters, decays
        self.mean = {key: np.zeros_like(value) for key, value in parameters.items()}
        self.square = copy.deepcopy(self.mean)
        self.count = 0

    def step(self, gradients: dict[str, np.ndarray], rate: float) -> None:
        """Change the parameters in place."""
        self.count += 1
        first, second = (1 - beta**self.count for beta in ADAM_BETAS)
        for key, p in self.parameters.items():
            gradient, mean, square = gradients[key], self.mean[key], self.square[key]
            mean += (1 - ADAM_BETAS[0]) * (gradient - mean)
            square *= ADAM_BETAS[1]
            square += (1 - ADAM_BETAS[1]) * gradient**2
            p *= 1 - rate * self.decays[key]
            p -= (rate / first) * mean / (np.sqrt(square) / math.sqrt(second) + ADAM_EPSILON)


class Momentum:
    """Stochastic gradient descent with momentum: v = momentum*v + g + decay*p; p -= rate * v."""

    def __init__(
        self, parameters: dict[str, np.ndarray], decays: dict[str, float], momentum: float
    ) -> None:
        self.parameters, self.decays = parameters, decays
        self.momentum = momentum
        self.velocity = {key: np.zeros_like(value) for key, value in parameters.items()}

    def step(self, gradients: dict[str, np.ndarray], rate: float) -> None:
        """Change the parameters in place."""
        for key, p in self.parameters.items():
            velocity = self.velocity[key]
            velocity *= self.momentum
            velocity += gradients[key] + self.decays[key] * p
            p -= rate * velocity


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


# Augmentation


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
