"""The loss of training, and the optimum of the last layer under it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from convstream.model.base.errors import UserError
from convstream.model.learning.recipes import Recipe
from convstream.model.network import floats
from convstream.model.network.floats import FloatNetwork
from convstream.model.network.layers.base import Way

BATCH = 2000


def imitation_loss(
    logits: np.ndarray, labels: np.ndarray, teacher: np.ndarray | None, recipe: Recipe
) -> tuple[float, np.ndarray]:
    """Cross-entropy with the labels and, if there is a teacher, with its softened logits.

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


def solve_last(
    model: FloatNetwork,
    pixels: np.ndarray,
    labels: np.ndarray,
    teacher: np.ndarray | None,
    recipe: Recipe,
) -> FloatNetwork:
    """A copy of `model` with the last layer at its optimum, given the layers before it.

    That is the least loss plus half of `recipe.solve` times the weights' squared norm. Adam takes
    steps of one size in every weight and so fits rare features to the noise; the optimum does not.
    The problem is convex, and L-BFGS solves it in seconds. pixels: uint8 (N, C, H, W); labels:
    int64 (N,); teacher: its logits (N, classes). Raises `UserError` if the last layer has no
    weights.
    """
    network = model.network
    last = network.output
    if last not in network.weighted:
        raise UserError(
            f"recipe field solve: the last layer of {network.name} has no weights; use solve=0"
        )
    model = model.astype(model.dtype)
    weight, bias = (model.parameters[f"{last.name}.{kind}"] for kind in ("weight", "bias"))
    parts = (pixels[start : start + BATCH] for start in range(0, len(pixels), BATCH))
    taken = [model.forward(part)[1][-1].x for part in parts]
    inputs = [np.concatenate(x) for x in zip(*taken, strict=True)]

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        w, b = values[: weight.size].reshape(weight.shape), values[weight.size :]
        y, backward = last.layer.forward(inputs, (w, b), Way(wants_dx=False))
        value, dlogits = imitation_loss(y.reshape(len(y), -1), labels, teacher, recipe)
        value += recipe.solve / 2 * float(np.square(w, dtype=np.float64).sum())
        _, (dweight, dbias) = backward(dlogits.reshape(y.shape))
        return value, np.concatenate([(dweight + recipe.solve * w).ravel(), dbias])

    values = minimise(loss, np.concatenate([weight.ravel(), bias]))
    weight[...] = values[: weight.size].reshape(weight.shape)
    bias[...] = values[weight.size :]
    return model


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
