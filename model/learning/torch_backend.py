"""Training with PyTorch, what `model/train.py NET` runs; on a GPU if there is one."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn import functional

from convstream.model.learning.backend import ADAM_BETAS, ADAM_EPSILON, Backend, Batch
from convstream.model.learning.recipes import Recipe
from convstream.model.learning.torch_network import TorchNetwork
from convstream.model.network.exponents import Exponents
from convstream.model.network.floats import FloatNetwork

PREDICTED = 2000  # images at once


class TorchBackend(Backend):
    """dtype: of weights."""

    def __init__(self, seed: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(seed)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.dtype = dtype
        self.about = {"backend": "torch", "device": self.device.type, "torch": torch.__version__}

    @contextmanager
    def limited(self, threads: int | None) -> Iterator[None]:
        before = torch.get_num_threads()
        torch.set_num_threads(threads or before)
        try:
            # NumPy makes the initial weights, the exponents and the optimum of the last layer.
            with threadpool_limits(threads, user_api="blas"):
                yield
        finally:
            torch.set_num_threads(before)

    def to_device(self, batch: Batch) -> Batch:
        pixels, labels, logits = (
            None if array is None else torch.from_numpy(array).to(self.device) for array in batch
        )
        return pixels, labels, logits

    def from_float(self, model: FloatNetwork) -> TorchNetwork:
        return TorchNetwork(model).to(self.device, self.dtype)

    def normalised(self, model: FloatNetwork) -> TorchNetwork:
        return TorchNetwork(model, normalise=True).to(self.device, self.dtype)

    def to_float(self, model: TorchNetwork) -> FloatNetwork:
        return model.folded()

    def copy(self, model: TorchNetwork) -> TorchNetwork:
        return copy.deepcopy(model)

    @torch.no_grad()
    def predict(
        self, model: TorchNetwork, pixels: np.ndarray, exponents: Exponents | None = None
    ) -> np.ndarray:
        model.eval()
        parts = torch.from_numpy(pixels).split(PREDICTED)
        return torch.cat([model(part.to(self.device), exponents) for part in parts]).cpu().numpy()

    def make_optimiser(self, model: TorchNetwork, recipe: Recipe) -> torch.optim.Optimizer:
        groups = [
            {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": recipe.decay},
            {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0},
        ]
        if recipe.optimiser == "sgd":
            return torch.optim.SGD(groups, momentum=recipe.momentum)
        return torch.optim.AdamW(groups, betas=ADAM_BETAS, eps=ADAM_EPSILON, fused=True)

    def step(
        self,
        model: TorchNetwork,
        optimiser: torch.optim.Optimizer,
        batch: Batch,
        recipe: Recipe,
        exponents: Exponents | None,
        rate: float,
    ) -> tuple[Tensor, Tensor]:
        pixels, labels, wanted = batch
        model.train()
        logits = model(pixels, exponents)
        loss = imitation_loss(logits, labels, wanted, recipe)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.step()
        return loss.detach(), (logits.argmax(1) == labels).sum()

    @torch.no_grad()
    def average(self, averaged: TorchNetwork, model: TorchNetwork, share: float) -> None:
        ours, theirs = (
            [v for v in (*m.parameters(), *m.buffers()) if v.is_floating_point()]
            for m in (averaged, model)
        )
        torch._foreach_lerp_(ours, theirs, share)


def imitation_loss(
    logits: Tensor, labels: Tensor, teacher: Tensor | None, recipe: Recipe
) -> Tensor:
    """As that of NumPy, `imitation.imitation_loss`."""
    hard = functional.cross_entropy(logits, labels, label_smoothing=recipe.smoothing)
    if teacher is None:
        return hard
    soft = functional.kl_div(
        functional.log_softmax(logits / recipe.temperature, 1),
        functional.log_softmax(teacher / recipe.temperature, 1),
        reduction="batchmean",
        log_target=True,
    )
    share = recipe.teacher_weight
    return (1 - share) * hard + share * recipe.temperature**2 * soft
