"""Training with PyTorch, what `model/train.py NET` runs."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from model.learning import training as common
from model.learning.recipes import Recipe
from model.learning.torch_network import TorchNetwork, choose_exponents
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
from model.network.exponents import Exponents
from model.network.floats import FloatNetwork
from model.network.graph import Network


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
    """Train and quantise a network, on a GPU if there is one. threads: processors to use."""
    if threads is not None:
        torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    backend = TorchBackend(seed, device)
    return common.train(
        backend, network, training, validation, recipe, teacher=teacher, progress=progress
    )


class TorchBackend(Backend):
    """seed: of PyTorch's own random numbers, which making a backend sets. dtype: of weights."""

    def __init__(
        self, seed: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> None:
        torch.manual_seed(seed)
        self.device = torch.device(device)
        self.dtype = dtype
        self.about = {"backend": "torch", "device": self.device.type, "torch": torch.__version__}

    def to_device(self, data: Split) -> Split:
        arrays = (data.pixels, data.labels)
        return Split(*(torch.from_numpy(array).to(self.device) for array in arrays))

    def concatenate(self, arrays: Sequence[Tensor]) -> Tensor:
        return torch.cat(arrays)

    def permutation(self, count: int) -> Tensor:
        return torch.randperm(count, device=self.device)

    def augment(self, pixels: Tensor, recipe: Recipe) -> Tensor:
        return augment(pixels.float(), recipe).byte()

    def new_model(self, network: Network, pixels: Tensor) -> TorchNetwork:
        model = TorchNetwork(network).to(self.device, self.dtype)
        initialise(model, pixels)
        return model

    def from_float(self, model: FloatNetwork) -> TorchNetwork:
        # PyTorch gives every new layer random weights.
        with torch.random.fork_rng(devices=[]):
            twin = TorchNetwork(model.network)
        twin.load_state_dict({key: torch.from_numpy(v) for key, v in model.parameters.items()})
        return twin.to(self.device)

    def parameters(self, model: TorchNetwork) -> dict[str, np.ndarray]:
        return {key: value.cpu().numpy() for key, value in model.state_dict().items()}

    def copy(self, model: TorchNetwork) -> TorchNetwork:
        return copy.deepcopy(model).requires_grad_(False)

    @torch.no_grad()
    def predict(self, model: TorchNetwork, pixels: Tensor) -> Tensor:
        return model(pixels)

    @torch.no_grad()
    def evaluate(
        self, model: TorchNetwork, data: Split, exponents: Exponents | None = None
    ) -> tuple[float, float]:
        parts = data.pixels.split(EVALUATION_BATCH)
        logits = torch.cat([model(pixels, exponents) for pixels in parts])
        loss = functional.cross_entropy(logits, data.labels).item()
        return loss, 100 * (logits.argmax(1) == data.labels).double().mean().item()

    def choose_exponents(self, model: TorchNetwork, pixels: Tensor) -> Exponents:
        return choose_exponents(model, pixels)

    def make_optimiser(self, model: TorchNetwork, recipe: Recipe) -> torch.optim.Optimizer:
        model.requires_grad_()
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
        torch._foreach_lerp_(list(averaged.parameters()), list(model.parameters()), share)

    def solve_last(self, model: TorchNetwork, source: Source) -> TorchNetwork:
        recipe = source.recipe
        model = self.copy(model)
        last = getattr(model, model.network.layer_names[-1])
        inputs: list[Tensor] = []
        hook = last.register_forward_pre_hook(lambda _module, given: inputs.append(given[0]))
        copies = source.copies[:SOLVE_COPIES] or [source.copy()]
        for pixels, _ in copies:
            for part in pixels.split(EVALUATION_BATCH):
                self.predict(model, part)
        hook.remove()
        features = torch.cat(inputs)
        labels = source.training.labels.repeat(len(copies))
        wanted = None if source.teacher is None else torch.cat([logits for _, logits in copies])
        last.requires_grad_()
        optimiser = torch.optim.LBFGS(
            last.parameters(), max_iter=150, history_size=20, line_search_fn="strong_wolfe"
        )

        def closure() -> Tensor:
            optimiser.zero_grad()
            loss = imitation_loss(last(features), labels, wanted, recipe)
            loss = loss + recipe.solve / 2 * last.weight.square().sum()
            loss.backward()
            return loss

        optimiser.step(closure)
        return model.requires_grad_(False)


def imitation_loss(
    logits: Tensor, labels: Tensor, teacher: Tensor | None, recipe: Recipe
) -> Tensor:
    """Cross-entropy with the labels and, where there is a teacher, with its softened logits."""
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


@torch.no_grad()
def initialise(model: TorchNetwork, pixels: Tensor) -> None:
    """Scale and shift each layer to outputs of mean 0 and variance 1 on `pixels`."""
    for layer, name in zip(model.network.layers, model.network.layer_names, strict=True):
        if layer.kind == "maxpool":
            continue
        module = getattr(model, name)
        outputs: list[Tensor] = []
        hook = module.register_forward_hook(lambda _m, _i, output, o=outputs: o.append(output))
        module.bias.zero_()
        model(pixels)
        hook.remove()
        values = outputs[0].transpose(0, 1).flatten(1)
        spread = values.std(1).clamp_min(1e-6)
        module.weight /= spread.view(-1, *[1] * (module.weight.ndim - 1))
        module.bias.copy_(-values.mean(1) / spread)


def augment(pixels: Tensor, recipe: Recipe) -> Tensor:
    """Randomly distorted copies of `pixels`, (N, C, H, W) floats 0 to 255, rounded to integers.

    One random affine map and one smooth field of displacements an image. Bilinear samples are
    softer than real strokes, which a network of a few filters takes amiss: for it, bicubic ones,
    and a share of images left as they are.
    """
    count, _, height, width = pixels.shape
    device = pixels.device

    def uniform(limit: float) -> Tensor:
        return (torch.rand(count, device=device) * 2 - 1) * limit

    angle = uniform(math.radians(recipe.rotate))
    cosine, sine = angle.cos(), angle.sin()
    wide, high = 1 + uniform(recipe.scale), 1 + uniform(recipe.scale)
    shear = uniform(recipe.shear)
    # Sampling coordinates run from -1 to 1.
    shift_x, shift_y = (uniform(recipe.shift) * 2 / size for size in (width, height))
    weights = torch.empty(count, 3 + ELASTIC_GRID**2, 2, device=device)
    weights[:, :3, 0] = torch.stack([cosine * wide, (shear - sine) * high, shift_x], dim=1)
    weights[:, :3, 1] = torch.stack([sine * wide, cosine * high, shift_y], dim=1)
    weights[:, 3:].normal_().mul_(recipe.elastic * 2 / width)
    if recipe.clean:
        left = torch.rand(count, device=device) < recipe.clean
        weights[left] = torch.eye(3 + ELASTIC_GRID**2, 2, device=device)
    grid = (_basis(height, width, device) @ weights).view(count, height, width, 2)
    samples = functional.grid_sample(pixels, grid, mode=recipe.interpolation, align_corners=False)
    return samples.round_().clamp_(0, 255)


@functools.cache
def _basis(height: int, width: int, device: torch.device) -> Tensor:
    """(height*width, 3 + ELASTIC_GRID**2): x, y, 1 and the smooth bumps of each grid point, whose
    weighted sums are the sampling coordinates. One matrix product makes the grid of a batch."""
    identity = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]])
    affine = functional.affine_grid(identity, [1, 1, height, width], align_corners=False)
    bumps = torch.eye(ELASTIC_GRID**2).view(-1, 1, ELASTIC_GRID, ELASTIC_GRID)
    bumps = functional.interpolate(bumps, (height, width), mode="bicubic", align_corners=True)
    columns = [affine.view(-1, 2), torch.ones(height * width, 1), bumps.flatten(1).T]
    return torch.cat(columns, dim=1).to(device)
