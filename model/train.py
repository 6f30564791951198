"""Train a network: floats first, then int8, quantisation-aware; write both to `mem/<net>/`.

    python model/train.py lenet5 [--seed 1] [--epochs 60] [--set rate=0.001 ...]

Float training with augmentation, a moving average of the weights and, where the recipe names one,
a teacher network; then the exponents of least error; then fine-tuning through the rounding, led by
the network's own float logits. Checkpoints are chosen on a validation split of the training set;
the test set is looked at once, at the end. Nothing is written before the end.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __package__ in (None, ""):
    # In place of this folder, whose modules would shadow others' names.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import argparse  # noqa: E402
import copy  # noqa: E402
import dataclasses  # noqa: E402
import functools  # noqa: E402
import math  # noqa: E402
import os  # noqa: E402
import shutil  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

import numpy as np  # noqa: E402

from model import errors  # noqa: E402
from model.data import ROOT, load_images  # noqa: E402
from model.errors import UserError  # noqa: E402
from model.export import check_folder, export  # noqa: E402
from model.networks import NETWORKS, RECIPES, Network, Recipe  # noqa: E402
from model.qdq import write_onnx  # noqa: E402
from model.reference import predict  # noqa: E402

if TYPE_CHECKING:
    from rich.progress import TaskID

    from model.quantised import QuantisedNetwork

try:
    import torch
    from torch import Tensor
    from torch.nn import functional

    from model.quantise import (
        Exponents,
        TorchNetwork,
        choose_exponents,
        to_integers,
    )
except ImportError as error:
    if __name__ != "__main__":
        raise
    print(f"error: no PyTorch ({error}); pip install -e .[train]", file=sys.stderr)
    sys.exit(2)

VALIDATION = 5000
SPLIT_SEED = 20240229
CALIBRATION = 2048
EVALUATION_BATCH = 2000
SOLVE_COPIES = 3
INTERPOLATIONS = ("bilinear", "bicubic")


@dataclasses.dataclass
class Split:
    """pixels: uint8 (N, C, H, W). labels: int64 (N,)."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


Teacher = Callable[[Tensor], Tensor]
"""Logits of a batch of pixels."""


@dataclasses.dataclass
class Stage:
    """One stage of training, for the progress bar and the curve: a row of figures an epoch.

    epochs: how many there will be.
    """

    name: str
    epochs: int
    loss: list[float] = dataclasses.field(default_factory=list)
    train_accuracy: list[float] = dataclasses.field(default_factory=list)
    validation_loss: list[float] = dataclasses.field(default_factory=list)
    validation_accuracy: list[float] = dataclasses.field(default_factory=list)


Progress = Callable[[Stage, int, float], None]
"""Called now and then with the stage so far, the epoch, and the share of it that is done."""


def load_split(split: str, device: torch.device | str = "cpu") -> tuple[Split, str]:
    """The whole `train` or `test` split on the device, and the data set's name."""
    data = load_images(split)
    pixels = torch.from_numpy(data.images)[:, None].to(device)
    return Split(pixels, torch.from_numpy(data.labels).to(device)), data.name


def hold_out(data: Split) -> tuple[Split, Split]:
    """Training and validation part. The same for every seed and network: a teacher must not have
    learned what its pupil is validated on."""
    order = np.random.default_rng(SPLIT_SEED).permutation(len(data))
    held = min(VALIDATION, len(data) // 5)
    parts = (torch.from_numpy(part).to(data.labels.device) for part in (order[held:], order[:held]))
    train, validation = (Split(data.pixels[part], data.labels[part]) for part in parts)
    return train, validation


ELASTIC_GRID = 5


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
    # Weight decay is for weights alone: biases are left free.
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": recipe.decay},
        {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=rate, fused=True)
    total = source.steps * epochs
    warm_up = min(source.steps, total // 10 + 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: min((step + 1) / warm_up, 0.5 + 0.5 * math.cos(math.pi * step / total)),
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
        loss_sum = torch.zeros((), device=validation.labels.device)
        right = torch.zeros_like(loss_sum)
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
                loss_sum += loss.detach()
                right += (logits.argmax(1) == labels).sum()
            if progress is not None and step % 20 == 0:
                progress(stage, epoch, step / source.steps)
        stage.loss.append(loss_sum.item() / step)
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
) -> tuple[TorchNetwork, Stage, float]:
    """A trained float network: what `fit` returns."""
    torch.manual_seed(seed)
    source = Source(train, recipe, teacher)
    models = [TorchNetwork(network).to(train.labels.device) for _ in range(recipe.restarts)]
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
    recipe = dataclasses.replace(recipe, decay=0.0, teacher_weight=1.0, temperature=1.0, copies=0)

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


def load_float(network: Network, path: Path) -> TorchNetwork:
    """The float network that `float.npz` holds. Raises `UserError` where it holds another."""
    model = TorchNetwork(network)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            state = {key: torch.from_numpy(arrays[key]) for key in model.state_dict()}
        model.load_state_dict(state)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise UserError(
            f"{path}: not the float weights of {network.name} ({error}); "
            f"train it first: python model/train.py {network.name}"
        ) from None
    return model


def load_teacher(recipe: Recipe, folder: Path, device: torch.device) -> Teacher | None:
    """The teacher's logits as a function of pixels, None where the recipe has no teacher."""
    if recipe.teacher is None:
        return None
    if recipe.teacher not in NETWORKS:
        raise UserError(f"unknown teacher {recipe.teacher!r}; expected one of {_names()}")
    network = NETWORKS[recipe.teacher]
    teacher = load_float(network, folder / network.name / "float.npz").to(device)

    @torch.no_grad()
    def logits(pixels: Tensor) -> Tensor:
        return teacher(pixels)

    return logits


class Display:
    """A progress bar with loss and accuracy for each stage; off a terminal, a line an epoch."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.fields[stage]:<9}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self.console = console
        self.task: tuple[str, TaskID] | None = None

    def __enter__(self) -> Display:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def __call__(self, stage: Stage, epoch: int, share: float) -> None:
        total = stage.epochs
        if self.task is None or self.task[0] != stage.name:
            self.task = (
                stage.name,
                self.bar.add_task("", total=total, stage=stage.name, figures=""),
            )
        figures = ""
        if stage.loss:
            figures = (
                f"loss {stage.loss[-1]:.4f}  train {stage.train_accuracy[-1]:.2f} %  "
                f"validation {stage.validation_accuracy[-1]:.2f} %  "
                f"best {max(stage.validation_accuracy):.2f} %"
            )
        self.bar.update(self.task[1], completed=min(total, int(epoch + share)), figures=figures)
        if share == 1.0 and not self.console.is_terminal:
            print(f"{stage.name} {epoch + 1}/{total}  {figures}", file=sys.stderr, flush=True)


def draw_curve(stages: list[Stage], title: str, path: Path) -> None:
    """Loss and accuracy of all stages by epoch, as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    start = 1
    for stage, colours in zip(stages, (("C0", "C1"), ("C2", "C3")), strict=False):
        for axes, train, validation in (
            (left, stage.loss, stage.validation_loss),
            (right, stage.train_accuracy, stage.validation_accuracy),
        ):
            # Each stage minimises a loss of its own; cross-entropy on validation is common to all.
            if axes is right or stage is stages[0]:
                axes.plot(
                    range(start, start + len(train)),
                    train,
                    color=colours[0],
                    alpha=0.6,
                    label=f"{stage.name}, training",
                )
            axes.plot(
                range(start, start + len(validation)),
                validation,
                color=colours[1],
                label=f"{stage.name}, validation",
            )
        start += len(stage.validation_loss)
    left.set(xlabel="epoch", ylabel="loss", yscale="log")
    accuracies = sorted(a for stage in stages for a in stage.validation_accuracy)
    # The first epochs would squeeze the rest into one line.
    floor = max(accuracies[len(accuracies) // 10] - 2, 0)
    right.set(xlabel="epoch", ylabel="accuracy in %", ylim=(floor, min(accuracies[-1] + 0.3, 100)))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(title)
    FigureCanvasAgg(figure)
    figure.savefig(path, format="png", dpi=110, metadata={"Software": None})


def train(
    network: Network,
    recipe: Recipe,
    out_dir: Path,
    *,
    seed: int = 1,
    teachers: Path = ROOT / "mem",
    export_network: bool = True,
) -> dict[str, Any]:
    """Train, quantise and write `out_dir`; returns the figures that `network.json` gets.

    teachers: the folder that holds the teacher's. Until the end nothing is written.
    """
    started = time.monotonic()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    teacher = load_teacher(recipe, teachers, device)
    everything, dataset = load_split("train", device)
    expected = (*network.input_shape, network.classes)
    if (*everything.pixels.shape[1:], 10) != expected:
        raise UserError(
            f"{network.name} takes {network.input_shape} and has {network.classes} classes; only "
            "networks for 1x28x28 images of 10 digits can be trained here"
        )
    training, validation = hold_out(everything)

    with Display() as display:
        model, float_stage, float_validation = train_float(
            network, training, validation, recipe, seed=seed, teacher=teacher, progress=display
        )
        tuned, exponents, int8_stage, int8_validation = tune_int8(
            model, training, validation, recipe, progress=display
        )
    quantised = to_integers(tuned, exponents)

    test, _ = load_split("test", device)
    float_test = evaluate(model, test)[1]
    logits = predict(quantised, test.pixels.cpu().numpy())
    int8_test = accuracy(torch.from_numpy(logits), test.labels.cpu())
    metrics = {
        "dataset": dataset.removesuffix(" train"),
        "float_accuracy": round(float_test, 3),
        "int8_accuracy": round(int8_test, 3),
        "float_validation_accuracy": round(float_validation, 3),
        "int8_validation_accuracy": round(int8_validation, 3),
        "seed": seed,
        "epochs": recipe.epochs,
        "tune_epochs": recipe.tune_epochs,
        "seconds": round(time.monotonic() - started, 1),
        "device": device.type,
        "torch": torch.__version__,
        "recipe": dataclasses.asdict(recipe),
    }
    title = (
        f"{network.name}: float {float_test:.2f} %, int8 {int8_test:.2f} % on {test_name(metrics)}"
    )
    write(quantised, model, [float_stage, int8_stage], title, metrics, out_dir, export_network)
    return metrics


def test_name(metrics: dict[str, Any]) -> str:
    """What the test accuracies are of."""
    return f"the test images of {metrics['dataset']}"


def write(
    quantised: QuantisedNetwork,
    model: TorchNetwork,
    stages: list[Stage],
    title: str,
    metrics: dict[str, Any],
    out_dir: Path,
    export_network: bool,
) -> None:
    """Make every file in a temporary sibling folder, then put all in place."""
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{out_dir.name}.train.", dir=out_dir.parent))
    try:
        arrays = {key: value.cpu().numpy() for key, value in model.state_dict().items()}
        arrays["layer_names"] = np.array(model.network.layer_names)
        np.savez_compressed(staging / "float.npz", **arrays)
        draw_curve(stages, title, staging / "training.png")
        write_onnx(quantised, staging / "network.onnx")
        # `export` puts its files in place together; ours follow at once.
        if export_network:
            export(quantised, out_dir, onnx=staging / "network.onnx", training=metrics)
            names = ("float.npz", "training.png")
        else:
            out_dir.mkdir(exist_ok=True)
            names = ("network.onnx", "float.npz", "training.png")
        for name in names:
            os.replace(staging / name, out_dir / name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def parse_setting(recipe: Recipe, text: str) -> Recipe:
    """`recipe` with one `field=value` changed."""
    fields = {field.name: getattr(Recipe(), field.name) for field in dataclasses.fields(Recipe)}
    key, found, value = text.partition("=")
    if not found or key not in fields:
        raise UserError(
            f"--set {text}: expected FIELD=VALUE with one of the fields {', '.join(fields)}"
        )
    if key == "teacher":
        return dataclasses.replace(recipe, teacher=None if value in ("", "none") else value)
    kind = type(fields[key])
    try:
        return dataclasses.replace(recipe, **{key: kind(value)})
    except ValueError:
        raise UserError(f"--set {text}: {value!r} is no {kind.__name__}") from None


def main(arguments: list[str] | None = None) -> int:
    """The command line. Returns 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", metavar="NET", help=f"one of {_names()}")
    parser.add_argument("--seed", type=int, default=1, help="of all randomness (default 1)")
    parser.add_argument("--epochs", type=int, help="of float training; default: the recipe's")
    parser.add_argument("--tune-epochs", type=int, help="of quantisation-aware fine-tuning")
    parser.add_argument("--threads", type=int, help="processors to use; default: all")
    parser.add_argument("--out", type=Path, help="folder to write; default mem/NET")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="change the recipe"
    )
    options = parser.parse_args(arguments)
    if options.network not in NETWORKS:
        raise UserError(f"unknown network {options.network!r}; expected one of {_names()}")
    recipe = RECIPES.get(options.network, Recipe())
    for setting in options.set:
        recipe = parse_setting(recipe, setting)
    if options.epochs is not None:
        recipe = dataclasses.replace(recipe, epochs=options.epochs)
    if options.tune_epochs is not None:
        recipe = dataclasses.replace(recipe, tune_epochs=options.tune_epochs)
    if min(recipe.epochs, recipe.batch, recipe.restarts, recipe.restart_epochs) < 1:
        raise UserError("epochs, batch, restarts and restart_epochs must be at least 1")
    if min(recipe.tune_epochs, recipe.copies) < 0 or not 0 <= recipe.average < 1:
        raise UserError("tune_epochs and copies must be at least 0, average at least 0 and below 1")
    if recipe.interpolation not in INTERPOLATIONS:
        raise UserError(
            f"interpolation {recipe.interpolation!r}: expected {' or '.join(INTERPOLATIONS)}"
        )
    if options.threads is not None:
        if options.threads < 1:
            raise UserError(f"--threads {options.threads}: expected at least 1")
        torch.set_num_threads(options.threads)
    network = NETWORKS[options.network]
    out_dir = options.out or ROOT / "mem" / network.name
    check_folder(out_dir, network.name)
    metrics = train(network, recipe, out_dir, seed=options.seed)
    print(
        f"{network.name}: float {metrics['float_accuracy']:.2f} %, int8 "
        f"{metrics['int8_accuracy']:.2f} % on {test_name(metrics)} "
        f"(validation {metrics['float_validation_accuracy']:.2f} and "
        f"{metrics['int8_validation_accuracy']:.2f} %), {metrics['seconds']:.0f} s; "
        f"written to {out_dir}"
    )
    return 0


def _names() -> str:
    return ", ".join(NETWORKS)


if __name__ == "__main__":
    errors.run(main)
