"""Train a network: floats first, then int8, quantisation-aware; write both to `mem/<net>/`.

    python model/train.py lenet5 [--seed 1] [--epochs 60] [--set rate=0.001 ...]
    python model/train.py convnet --backend numpy       # needs no torch

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
import dataclasses  # noqa: E402
import time  # noqa: E402
from types import ModuleType  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

import numpy as np  # noqa: E402

from model.base import errors  # noqa: E402
from model.base.errors import UserError  # noqa: E402
from model.base.folders import put_in_place, staging  # noqa: E402
from model.export import check_folder, export  # noqa: E402
from model.formats.onnx import write_onnx  # noqa: E402
from model.learning.data import ROOT  # noqa: E402
from model.learning.recipes import RECIPES, Recipe  # noqa: E402
from model.learning.training import INTERPOLATIONS, OPTIMISERS, Stage, Trained, hold_out, load_split  # noqa: E402
from model.network.examples import NETWORKS  # noqa: E402
from model.network.floats import FloatNetwork  # noqa: E402
from model.network.graph import Network  # noqa: E402
from model.network.reference import argmax, predict  # noqa: E402

if TYPE_CHECKING:
    from rich.progress import TaskID

BACKENDS = ("torch", "numpy")


def load_backend(name: str) -> ModuleType:
    """`model.torch_train` or `model.numpy_train`; the latter must not need torch."""
    if name == "numpy":
        return numpy_train
    if name != "torch":
        raise UserError(f"unknown backend {name!r}; expected one of {', '.join(BACKENDS)}")
    try:
        from model.learning import torch_backend
    except ImportError as error:
        raise UserError(
            f"the backend torch needs the extra [train] ({error}); "
            "pip install -e '.[train]', or train with --backend numpy"
        ) from None
    return torch_train


def load_teacher(recipe: Recipe, folder: Path) -> FloatNetwork | None:
    """The network that is learned from, None where the recipe has none."""
    if recipe.teacher is None:
        return None
    if recipe.teacher not in NETWORKS:
        raise UserError(f"unknown teacher {recipe.teacher!r}; expected one of {_names()}")
    return FloatNetwork.load(NETWORKS[recipe.teacher], folder / recipe.teacher / "float.npz")


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
    backend: str = "torch",
    threads: int | None = None,
    teachers: Path = ROOT / "mem",
    export_network: bool = True,
) -> dict[str, Any]:
    """Train, quantise and write `out_dir`; returns the figures that `network.json` gets.

    teachers: the folder that holds the teacher's. Until the end nothing is written.
    """
    started = time.monotonic()
    engine = load_backend(backend)
    teacher = load_teacher(recipe, teachers)
    everything, dataset = load_split("train")
    expected = (*network.input_shape, network.classes)
    if (*everything.pixels.shape[1:], 10) != expected:
        raise UserError(
            f"{network.name} takes {network.input_shape} and has {network.classes} classes; only "
            "networks for 1x28x28 images of 10 digits can be trained here"
        )

    with Display() as display:
        trained: Trained = engine.train(
            network,
            *hold_out(everything),
            recipe,
            seed=seed,
            teacher=teacher,
            progress=display,
            threads=threads,
        )

    test, _ = load_split("test")
    logits = FloatNetwork(network, trained.parameters).predict(test.pixels)
    float_test = 100 * float((logits.argmax(axis=1) == test.labels).mean())
    classes = argmax(predict(trained.quantised, test.pixels, threads=threads))
    int8_test = 100 * float((classes == test.labels).mean())
    metrics = {
        "dataset": dataset.removesuffix(" train"),
        "float_accuracy": round(float_test, 3),
        "int8_accuracy": round(int8_test, 3),
        "float_validation_accuracy": round(trained.float_validation, 3),
        "int8_validation_accuracy": round(trained.int8_validation, 3),
        "seed": seed,
        "epochs": recipe.epochs,
        "tune_epochs": recipe.tune_epochs,
        "seconds": round(time.monotonic() - started, 1),
        **trained.about,
        "recipe": dataclasses.asdict(recipe),
    }
    title = (
        f"{network.name}: float {float_test:.2f} %, int8 {int8_test:.2f} % on {test_name(metrics)}"
    )
    write(trained, title, metrics, out_dir, export_network)
    return metrics


def test_name(metrics: dict[str, Any]) -> str:
    """What the test accuracies are of."""
    return f"the test images of {metrics['dataset']}"


def write(
    trained: Trained,
    title: str,
    metrics: dict[str, Any],
    out_dir: Path,
    export_network: bool,
) -> None:
    """Make every file in a temporary sibling folder, then put all in place."""
    with staging(out_dir) as folder:
        layers = np.array(trained.quantised.network.layer_names)
        np.savez_compressed(folder / "float.npz", **trained.parameters, layer_names=layers)
        draw_curve(trained.stages, title, folder / "training.png")
        write_onnx(trained.quantised, folder / "network.onnx")
        extra = [folder / "float.npz", folder / "training.png"]
        if export_network:
            onnx = folder / "network.onnx"
            export(trained.quantised, out_dir, onnx=onnx, training=metrics, extra=extra)
        else:
            put_in_place(folder, out_dir, ["network.onnx", "float.npz", "training.png"])


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
    parser.add_argument("--backend", default="torch", help="torch (default) or numpy")
    parser.add_argument("--optimiser", help="adam (default) or sgd, with momentum")
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
    if options.optimiser is not None:
        recipe = dataclasses.replace(recipe, optimiser=options.optimiser)
    if recipe.optimiser not in OPTIMISERS:
        raise UserError(
            f"unknown optimiser {recipe.optimiser!r}; expected one of {', '.join(OPTIMISERS)}"
        )
    if not 0 <= recipe.momentum < 1:
        raise UserError(f"momentum {recipe.momentum}: expected at least 0 and below 1")
    if min(recipe.epochs, recipe.batch, recipe.restarts, recipe.restart_epochs) < 1:
        raise UserError("epochs, batch, restarts and restart_epochs must be at least 1")
    if min(recipe.tune_epochs, recipe.copies) < 0 or not 0 <= recipe.average < 1:
        raise UserError("tune_epochs and copies must be at least 0, average at least 0 and below 1")
    if recipe.interpolation not in INTERPOLATIONS:
        raise UserError(
            f"interpolation {recipe.interpolation!r}: expected {' or '.join(INTERPOLATIONS)}"
        )
    if options.threads is not None and options.threads < 1:
        raise UserError(f"--threads {options.threads}: expected at least 1")
    load_backend(options.backend)
    network = NETWORKS[options.network]
    out_dir = options.out or ROOT / "mem" / network.name
    check_folder(out_dir, network.name)
    metrics = train(
        network,
        recipe,
        out_dir,
        seed=options.seed,
        backend=options.backend,
        threads=options.threads,
    )
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
