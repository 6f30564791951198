"""Training with NumPy alone, what `convstream train NET --backend numpy` runs."""

from __future__ import annotations

import copy
import math
import os
from contextlib import AbstractContextManager

import numpy as np
from threadpoolctl import threadpool_limits

from convstream.model.learning.backend import ADAM_BETAS, ADAM_EPSILON, Backend, Batch
from convstream.model.learning.imitation import imitation_loss
from convstream.model.learning.recipes import Recipe
from convstream.model.network.exponents import Exponents
from convstream.model.network.floats import FloatNetwork


class NumpyBackend(Backend):
    """dtype: of weights."""

    def __init__(self, seed: int, dtype: type = np.float32) -> None:
        super().__init__(seed)
        self.about = {"backend": "numpy", "device": "cpu", "numpy": np.__version__}
        self.dtype = dtype

    def limited(self, threads: int | None) -> AbstractContextManager[object]:
        # One makes the batches; more threads than processors would wait for each other.
        threads = threads or os.cpu_count() or 1
        return threadpool_limits(max(1, threads - 1), user_api="blas")

    def from_float(self, model: FloatNetwork) -> FloatNetwork:
        return model.astype(self.dtype)

    def to_float(self, model: FloatNetwork) -> FloatNetwork:
        return model

    def copy(self, model: FloatNetwork) -> FloatNetwork:
        return model.astype(model.dtype)

    def predict(
        self, model: FloatNetwork, pixels: np.ndarray, exponents: Exponents | None = None
    ) -> np.ndarray:
        return model.predict(pixels, exponents)

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
