"""Train a network: floats first, then int8, quantisation-aware; write both to `mem/<net>/`.

    convstream train mynet.toml --data photos/ --out hw/mynet   # a folder for each class
    convstream train mynet.toml --data x.npy --labels y.npy
    convstream train lenet5 --seed 2 --epochs 60 --set rate=0.001
    convstream train convnet --backend numpy        # needs no torch

mynet.toml describes a network and the recipe of its training: docs/your-own-network.md has one.
Float training with augmentation, a moving average of the weights and, where the recipe names one,
a teacher network; then the exponents of least error; then fine-tuning through the rounding, led by
the network's own float logits. Checkpoints are chosen on a validation split of the training set;
the test set is looked at once, at the end. Nothing is written before the end.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from convstream.model.base import errors, places
from convstream.model.base.commands import COUNT, command
from convstream.model.base.errors import UserError
from convstream.model.base.folders import put_in_place, staging
from convstream.model.export import check_folder, check_name, export
from convstream.model.formats.onnx import write_onnx
from convstream.model.hardware import manifest
from convstream.model.learning import training
from convstream.model.learning.backend import Backend
from convstream.model.learning.data import OURS
from convstream.model.learning.options import data_options
from convstream.model.learning.own_data import DataFiles, Takes
from convstream.model.learning.recipes import Recipe
from convstream.model.learning.report import Display, draw_curve
from convstream.model.learning.source import Course, load_course
from convstream.model.learning.training import Trained
from convstream.model.network import description
from convstream.model.network.description import Description
from convstream.model.network.examples import DESCRIPTIONS, NETWORKS
from convstream.model.network.floats import FloatNetwork
from convstream.model.network.graph import Network
from convstream.model.network.reference import argmax, predict

BACKENDS = ("torch", "numpy")
KNOWN = ", ".join(NETWORKS)


def load_backend(name: str) -> type[Backend]:
    """The class of a backend; that of NumPy needs no torch."""
    if name == "numpy":
        from convstream.model.learning.numpy_backend import NumpyBackend

        return NumpyBackend
    if name != "torch":
        raise UserError(f"unknown backend {name!r}; expected one of {', '.join(BACKENDS)}")
    try:
        from convstream.model.learning.torch_backend import TorchBackend
    except ImportError as error:
        raise UserError(
            f"the backend torch needs the extra [train] ({error}); "
            f"{places.extra('train')}, or train with --backend numpy"
        ) from None
    return TorchBackend


def load_teacher(recipe: Recipe, network: Network, dataset: str) -> FloatNetwork | None:
    """The network that `network` learns from, None where the recipe has none.

    Raises `UserError` where it has learned from other data than those of this name.
    """
    if recipe.teacher is None:
        return None
    if recipe.teacher not in NETWORKS:
        raise UserError(f"unknown teacher {recipe.teacher!r}; expected one of {KNOWN}")
    teacher = NETWORKS[recipe.teacher]
    if (teacher.input_shape, teacher.classes) != (network.input_shape, network.classes):
        raise UserError(
            f"teacher {recipe.teacher} takes other images or knows other classes than "
            f"{network.name}; leave it out"
        )
    paths = [folder / "float.npz" for folder in places.folders_of(recipe.teacher)]
    path = next(filter(Path.is_file, paths), paths[0])
    if not dataset.startswith(OURS):
        learned = (manifest.read(path.parent).get("training") or {}).get("dataset")
        if learned != dataset:
            raise UserError(
                f"teacher {recipe.teacher} has learned from {learned}, not from {dataset}; use "
                "--set teacher=none"
            )
    return FloatNetwork.load(teacher, path)


def find(source: str) -> Description:
    """The network that the command line's NET or FILE stands for."""
    if source in DESCRIPTIONS:
        return DESCRIPTIONS[source]
    if not source.endswith(".toml"):
        raise UserError(f"unknown network {source!r}; expected one of {KNOWN}, or a .toml file")
    return description.read(source)


def make(found: Description, course: Course) -> Network:
    """The network of a description for the images and classes of a data set.

    Raises `UserError` where its outputs are not the classes that have names.
    """
    _, *shape = course.training.pixels.shape
    network = found.network((shape[0], shape[1], shape[2]), course.outputs)
    if course.classes is not None and len(course.classes) != network.classes:
        raise UserError(
            f"{found.path}: {network.classes} outputs, but {course.name} has "
            f"{len(course.classes)} classes; leave out the features of the last layer"
        )
    course.training.check(network)
    return network


def train(
    network: Network,
    recipe: Recipe,
    out_dir: Path,
    *,
    seed: int = 1,
    backend: str = "torch",
    threads: int | None = None,
    export_network: bool = True,
    course: Course | None = None,
) -> dict[str, Any]:
    """Train, quantise and write `out_dir`; returns the figures that `network.json` gets.

    course: the data, by default MNIST. Until the end nothing is written.
    """
    started = time.monotonic()
    engine = load_backend(backend)(seed)
    course = course or load_course(DataFiles(), Takes())
    teacher = load_teacher(recipe, network, course.name)
    course.training.check(network)
    with Display() as display:
        trained = training.train(
            engine,
            network,
            course.training,
            course.validation,
            recipe,
            teacher=teacher,
            progress=display,
            threads=threads,
        )

    test = course.test
    logits = FloatNetwork(network, trained.parameters).predict(test.pixels)
    classes = argmax(predict(trained.quantised, test.pixels, threads=threads))
    float_test, int8_test = (
        100 * float((found == test.labels).mean()) for found in (logits.argmax(axis=1), classes)
    )
    metrics = {
        "dataset": course.name,
        **({} if course.classes is None else {"classes": list(course.classes)}),
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
    write(trained, metrics, out_dir, export_network)
    return metrics


def summary(network: Network, metrics: dict[str, Any]) -> str:
    """The accuracies on the test set in a line."""
    return (
        f"{network.name}: float {metrics['float_accuracy']:.2f} %, int8 "
        f"{metrics['int8_accuracy']:.2f} % on the test images of {metrics['dataset']}"
    )


def write(trained: Trained, metrics: dict[str, Any], out_dir: Path, export_network: bool) -> None:
    """Make every file in a temporary sibling folder, then put all in place."""
    quantised = trained.quantised
    with staging(out_dir) as folder:
        arrays: dict[str, Any] = trained.parameters
        np.savez_compressed(folder / "float.npz", **arrays)
        draw_curve(trained.stages, summary(quantised.network, metrics), folder / "training.png")
        onnx = folder / "network.onnx"
        write_onnx(quantised, onnx)
        if export_network:
            extra = [folder / "float.npz", folder / "training.png"]
            export(quantised, out_dir, source=onnx, training=metrics, extra=extra)
        else:
            put_in_place(folder, out_dir, ["network.onnx", "float.npz", "training.png"])


@command("train", __doc__)
@click.argument("network", metavar="NET|FILE.toml")
@data_options()
@click.option("--seed", type=int, default=1, help="Of all randomness.")
@click.option("--epochs", type=int, help="Of float training.  [default: the recipe's]")
@click.option("--tune-epochs", type=int, help="Of quantisation-aware fine-tuning.")
@click.option("--backend", default="torch", help="torch or numpy.")
@click.option("--optimiser", help="adam or sgd, with momentum.  [default: adam]")
@click.option("--threads", type=COUNT, help="Processors to use.  [default: all]")
@click.option("--out", type=Path, metavar="DIR", help="Folder to write.  [default: mem/NET]")
@click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="Change the recipe.")
def main(
    network: str,
    given: DataFiles,
    seed: int,
    backend: str,
    threads: int | None,
    out: Path | None,
    settings: tuple[str, ...],
    **changes: Any,
) -> int:
    """The command line. Returns 0."""
    found = find(network)
    recipe = Recipe().changed(found.recipe, found.path)
    for setting in settings:
        recipe = recipe.with_setting(setting)
    options = {name: value for name, value in changes.items() if value is not None}
    recipe = dataclasses.replace(recipe, **options)
    load_backend(backend)
    out_dir = out or places.MEM / found.name
    check_name(found.name)
    check_folder(out_dir, found.name)
    with staging(out_dir):
        pass  # what cannot be written in the end need not be trained
    if given.images is None and found.name not in DESCRIPTIONS:
        print("note: no --data, so it is trained on MNIST", file=sys.stderr)
    takes = Takes(found.input_shape, outputs=found.classes, name=found.name)
    course = load_course(given, takes)
    chosen = make(found, course)
    metrics = train(
        chosen, recipe, out_dir, seed=seed, backend=backend, threads=threads, course=course
    )
    print(
        f"{summary(chosen, metrics)} "
        f"(validation {metrics['float_validation_accuracy']:.2f} and "
        f"{metrics['int8_validation_accuracy']:.2f} %), {metrics['seconds']:.0f} s; "
        f"written to {out_dir}"
    )
    return 0


if __name__ == "__main__":
    errors.run(main)
