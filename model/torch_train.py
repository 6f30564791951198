"""Training with PyTorch, what `model/train.py NET` runs."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from model import training as common
from model.errors import UserError
from model.exponents import Exponents
from model.floats import FloatNetwork
from model.networks import Network, Recipe
from model.quantise import TorchNetwork, choose_exponents, to_integers
from model.training import (
    ADAM_BETAS,
    ADAM_EPSILON,
    CALIBRATION,
    ELASTIC_GRID,
    EVALUATION_BATCH,
    SOLVE_COPIES,
    Progress,
    Stage,
    Trained,
    rate_factor,
    tuning_recipe,
    warm_up_steps,
)

Teacher = Callable[[Tensor], Tensor]
"""Logits of a batch of pixels."""


class Split:
    """`training.Split` on a device. pixels: uint8 (N, C, H, W). labels: int64 (N,)."""

    def __init__(self, data: common.Split, device: torch.device | str = "cpu") -> None:
        self.pixels = torch.from_numpy(data.pixels).to(device)
        self.labels = torch.from_numpy(data.labels).to(device)

    def __len__(self) -> int:
        return len(self.labels)


def train(
    network: Network,
    training: common.Split,
    validation: common.Split,
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
    splits = [Split(part, device) for part in (training, validation)]
    model, float_stage, float_score = train_float(
        network,
        *splits,
        recipe,
        seed=seed,
        teacher=None if teacher is None else as_teacher(teacher, device),
        progress=progress,
    )
    tuned, exponents, int8_stage, int8_score = tune_int8(model, *splits, recipe, progress=progress)
    return Trained(
        parameters={key: value.cpu().numpy() for key, value in model.state_dict().items()},
        quantised=to_integers(tuned, exponents),
        stages=[float_stage, int8_stage],
        float_validation=float_score,
        int8_validation=int8_score,
        about={"backend": "torch", "device": device.type, "torch": torch.__version__},
    )


def as_teacher(model: FloatNetwork, device: torch.device) -> Teacher:
    """The model's logits as a function of pixels."""
    twin = TorchNetwork(model.network)
    twin.load_state_dict({key: torch.from_numpy(v) for key, v in model.parameters.items()})
    twin.to(device)

    @torch.no_grad()
    def logits(pixels: Tensor) -> Tensor:
        return twin(pixels)

    return logits


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


class Source:
    """Batches of augmented training images with the teacher's logits, shuffled anew each epoch.

    `recipe.copies` bounds how many augmented copies of the training set are made; they and the
    teacher's logits are kept and taken in turns, so that later epochs cost the pupil's time alone.
    0: fresh ones for ever.
    """

    def __init__(self, train: Split, recipe: Recipe, teacher: Teacher | None) -> None:
        self.train = train
        self.recipe = recipe
        self.teacher = teacher
        self.steps = max(1, len(train) // recipe.batch)
        self.copies: list[tuple[Tensor, Tensor | None]] = []
        self.epoch = 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """One epoch of (pixels as floats, labels, the teacher's logits or None)."""
        labels = self.train.labels
        kept = None
        if self.recipe.copies:
            if len(self.copies) < self.recipe.copies:
                self.copies.append(self.copy())
                kept = self.copies[-1]
            else:
                kept = self.copies[self.epoch % len(self.copies)]
        self.epoch += 1
        order = torch.randperm(len(labels), device=labels.device)
        for part in order[: self.steps * self.recipe.batch].split(self.recipe.batch):
            if kept is None:
                pixels, logits = self._augmented(part)
            else:
                pixels = kept[0][part].float()
                logits = None if kept[1] is None else kept[1][part]
            yield pixels, labels[part], logits

    def _augmented(self, part: Tensor) -> tuple[Tensor, Tensor | None]:
        pixels = augment(self.train.pixels[part].float(), self.recipe)
        return pixels, None if self.teacher is None else self.teacher(pixels)

    def copy(self) -> tuple[Tensor, Tensor | None]:
        """A new augmented copy of the training set, uint8, and the teacher's logits for it."""
        everything = torch.arange(len(self.train), device=self.train.labels.device)
        pixels, logits = zip(
            *((p.byte(), t) for p, t in map(self._augmented, everything.split(1000))), strict=True
        )
        return torch.cat(pixels), None if self.teacher is None else torch.cat(logits)


@torch.no_grad()
def logits_of(model: TorchNetwork, pixels: Tensor, exponents: Exponents | None = None) -> Tensor:
    """Logits (N, classes) of all `pixels`, uint8 (N, C, H, W)."""
    return torch.cat([model(batch.float(), exponents) for batch in pixels.split(EVALUATION_BATCH)])


def evaluate(
    model: TorchNetwork, data: Split, exponents: Exponents | None = None
) -> tuple[float, float]:
    """Mean cross-entropy, and the percentage of images that are classified rightly."""
    logits = logits_of(model, data.pixels, exponents)
    loss = functional.cross_entropy(logits, data.labels).item()
    return loss, accuracy(logits, data.labels)


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Percentage of rows whose largest logit is the label's."""
    return 100 * (logits.argmax(1) == labels).double().mean().item()


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


def fit(
    model: TorchNetwork,
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
) -> tuple[TorchNetwork, Stage, float]:
    """Train `model` in place; return the averaged weights that did best on the validation split.

    With `exponents` the forward pass is that of int8. `keep_start` lets the model as it came take
    part in the choice. Also returns the curve and the best validation accuracy in percent.
    """
    optimiser = make_optimiser(model, recipe, rate)
    total = source.steps * epochs
    warm_up = warm_up_steps(total, source.steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: rate_factor(step, total, warm_up)
    )
    averaged = copy.deepcopy(model).requires_grad_(False)
    chosen = copy.deepcopy(averaged)
    stage = Stage(name, epochs)
    best: tuple[float, float] | None = None
    if keep_start:
        loss, score = evaluate(model, validation, exponents)
        best = (score, -loss)
    done = 0
    for epoch in range(epochs):
        losses: list[Tensor] = []
        right = torch.zeros((), device=validation.labels.device)
        for step, (pixels, labels, wanted) in enumerate(source, 1):
            logits = model(pixels, exponents)
            loss = imitation_loss(logits, labels, wanted, recipe)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            done += 1
            decay = min(recipe.average, done / (done + 10))
            with torch.no_grad():
                torch._foreach_lerp_(
                    list(averaged.parameters()), list(model.parameters()), 1 - decay
                )
                losses.append(loss.detach())
                right += (logits.argmax(1) == labels).sum()
            if progress is not None and step % 20 == 0:
                progress(stage, epoch, step / source.steps)
        stage.steps += torch.stack(losses).tolist()
        stage.loss.append(math.fsum(stage.steps[-step:]) / step)
        stage.train_accuracy.append(100 * right.item() / (step * len(labels)))
        loss, score = evaluate(averaged, validation, exponents)
        stage.validation_loss.append(loss)
        stage.validation_accuracy.append(score)
        if best is None or (score, -loss) > best:
            best = (score, -loss)
            chosen.load_state_dict(averaged.state_dict())
        if progress is not None:
            progress(stage, epoch, 1.0)
    assert best is not None
    return chosen, stage, best[0]


def make_optimiser(model: TorchNetwork, recipe: Recipe, rate: float) -> torch.optim.Optimizer:
    """The recipe's optimiser. Weight decay is for weights alone: biases are left free."""
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": recipe.decay},
        {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=recipe.momentum)
    return torch.optim.AdamW(groups, lr=rate, betas=ADAM_BETAS, eps=ADAM_EPSILON, fused=True)


@torch.no_grad()
def initialise(model: TorchNetwork, pixels: Tensor) -> None:
    """Scale and shift each layer so that each of its outputs has mean 0 and variance 1 on `pixels`.

    In networks of a few channels a channel that starts out dead, or a layer that starts out faint,
    costs whole percents.
    """
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


def train_float(
    network: Network,
    train: Split,
    validation: Split,
    recipe: Recipe,
    *,
    seed: int,
    teacher: Teacher | None = None,
    progress: Progress | None = None,
    dtype: torch.dtype = torch.float32,
) -> tuple[TorchNetwork, Stage, float]:
    """A trained float network: what `fit` returns."""
    torch.manual_seed(seed)
    source = Source(train, recipe, teacher)
    device = train.labels.device
    models = [TorchNetwork(network).to(device, dtype) for _ in range(recipe.restarts)]
    sample = train.pixels[:CALIBRATION].float()
    for model in models:
        initialise(model, sample)
    epochs, rate = recipe.restart_epochs, recipe.rate
    while len(models) > 1:
        tries = []
        for index, model in enumerate(models, 1):
            one = fit(
                model,
                source,
                validation,
                recipe,
                epochs=epochs,
                rate=rate,
                name=f"start {index}/{len(models)}",
                progress=progress,
            )
            tries.append(one)
        # Fewer and fewer are trained longer and longer: a round costs as much as the one before.
        tries.sort(key=lambda one: min(one[1].validation_loss))
        models = [one[0].requires_grad_() for one in tries[: max(1, len(tries) // 4)]]
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


def solve_last(model: TorchNetwork, source: Source, recipe: Recipe) -> TorchNetwork:
    """A copy of `model` with the last layer at the optimum, given the layers before it: the least
    loss on the source's copies of the training set, plus half of `recipe.solve` times the weights'
    squared norm.

    Adam's steps are of one size in every weight, and so fit rare features to the noise; the optimum
    does not. The problem is convex: L-BFGS finds it in seconds.
    """
    model = copy.deepcopy(model).requires_grad_(False)
    last = getattr(model, model.network.layer_names[-1])
    if not isinstance(last, torch.nn.Linear):
        raise UserError(f"recipe field solve: {model.network.name} does not end fully connected")
    inputs: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _module, given: inputs.append(given[0]))
    copies = source.copies[:SOLVE_COPIES] or [source.copy()]
    for pixels, _ in copies:
        logits_of(model, pixels)
    hook.remove()
    features = torch.cat(inputs)
    labels = source.train.labels.repeat(len(copies))
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


def tune_int8(
    model: TorchNetwork,
    train: Split,
    validation: Split,
    recipe: Recipe,
    *,
    progress: Progress | None = None,
) -> tuple[TorchNetwork, Exponents, Stage, float]:
    """Quantise: exponents of least error, then fine-tuning to give the float network's own logits.

    `model` stays as it is. Returns the tuned shadow weights, the exponents, the curve and the
    validation accuracy of int8; merely rounding takes part in the choice.
    """
    exponents = choose_exponents(model, augment(train.pixels[:CALIBRATION].float(), recipe))
    start = evaluate(model, validation, exponents)
    recipe = tuning_recipe(recipe)

    def own_logits(pixels: Tensor) -> Tensor:
        with torch.no_grad():
            return model(pixels)

    if recipe.tune_epochs == 0:
        stage = Stage("int8", 0, [], [], [start[0]], [start[1]])
        return copy.deepcopy(model), exponents, stage, start[1]
    tuned, stage, best = fit(
        copy.deepcopy(model).requires_grad_(),
        Source(train, recipe, own_logits),
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
