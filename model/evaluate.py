"""Measure the accuracy of a network before training, in floats and in int8.

    convstream evaluate lenet5
    convstream evaluate hw/my --data photos/      # a folder for each class
    convstream evaluate hw/my --data x.npy --labels y.npy --classes names.txt

Prints the accuracies, also of each class, and writes two pictures to build/evaluate/NET/: the
confusion matrix of the int8 network, and its 25 worst mistakes. On the data that a network was
trained on, those images count that were held out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from convstream.model.base import errors, pictures, places
from convstream.model.base.commands import command
from convstream.model.base.errors import UserError
from convstream.model.formats import files
from convstream.model.hardware import manifest as manifests
from convstream.model.learning.data import load_for
from convstream.model.learning.initial import initial_network
from convstream.model.learning.options import data_options
from convstream.model.learning.own_data import DataFiles, Takes, title
from convstream.model.learning.source import Split, load_course
from convstream.model.learning.training import CALIBRATION
from convstream.model.network import reference
from convstream.model.network.floats import FloatNetwork, log_softmax
from convstream.model.network.graph import IMAGE
from convstream.model.network.quantised import QuantisedNetwork

BUILD = places.BUILD / "evaluate"
WORST = 25


@dataclass(frozen=True, eq=False)
class Result:
    """Accuracies in percent, None where weights are not at hand.

    untrained: of random weights; trained: of the float network; int8: of the int8 one. classes:
    int64 (N,), those of int8; doubt: float64 (N,), minus the logarithm of the probability that int8
    gives to the label.
    """

    untrained: float | None
    trained: float | None
    int8: float
    classes: np.ndarray
    doubt: np.ndarray


def evaluate(
    quantised: QuantisedNetwork,
    trained: FloatNetwork | None,
    seed: int,
    training: Split | None,
    test: Split,
) -> Result:
    """Classify the test images. seed: of the training, whose initial weights it gives.

    training: the images that it was trained on, None if it was not trained here.
    """
    test.check(quantised.network)
    untrained = None
    if training is not None:
        sample = training.pixels[:CALIBRATION]
        start = initial_network(quantised.network, sample, np.random.default_rng(seed))
        untrained = _accuracy(start.predict(test.pixels).argmax(axis=1), test)
    logits = reference.predict(quantised, test.pixels)
    classes = reference.argmax(logits)
    doubt = -log_softmax(quantised.real(logits))
    return Result(
        untrained=untrained,
        trained=None
        if trained is None
        else _accuracy(trained.predict(test.pixels).argmax(1), test),
        int8=_accuracy(classes, test),
        classes=classes,
        doubt=doubt[np.arange(len(test)), test.labels],
    )


def _accuracy(classes: np.ndarray, test: Split) -> float:
    return 100 * float((classes == test.labels).mean())


def confusion(labels: np.ndarray, classes: np.ndarray, count: int) -> np.ndarray:
    """int64 (count, count): how many images of label row were given class column."""
    return np.bincount(labels * count + classes, minlength=count**2).reshape(count, count)


def draw_confusion(
    matrix: np.ndarray, heading: str, path: Path, classes: Sequence[str] | None = None
) -> None:
    """The matrix with its numbers, coloured by the mistakes, as a PNG. classes: their names."""
    count = len(matrix)
    mistakes = matrix.astype(float)
    np.fill_diagonal(mistakes, np.nan)
    made = pictures.figure(1.5 + 0.55 * count, 1.5 + 0.5 * count)
    axes = made.subplots()
    most = max(1.0, np.nanmax(mistakes, initial=0))
    axes.imshow(mistakes, cmap="Reds", vmin=0, vmax=most)
    for row, column in np.ndindex(matrix.shape):
        value = matrix[row, column]
        if value:
            pale = row != column and value > 0.6 * most
            axes.text(
                column,
                row,
                f"{value:,}",
                ha="center",
                va="center",
                fontsize=8,
                weight="bold" if row == column else "normal",
                color="white" if pale else "black",
            )
    axes.set(xlabel="class given", ylabel="label")
    axes.set_xticks(range(count), classes)
    axes.set_yticks(range(count), classes)
    if classes is not None:
        axes.tick_params(axis="x", rotation=90)
    axes.set_title(heading, fontsize=10)
    pictures.save(made, path)


def worst_mistakes(result: Result, test: Split, count: int = WORST) -> np.ndarray:
    """Numbers of the wrongly classified images, the one least expected first; `count` at most."""
    wrong = np.nonzero(result.classes != test.labels)[0]
    return wrong[np.argsort(-result.doubt[wrong], kind="stable")][:count]


def draw_mistakes(
    numbers: np.ndarray,
    result: Result,
    test: Split,
    heading: str,
    path: Path,
    classes: Sequence[str] | None = None,
) -> None:
    """Images `numbers`, each with its label and the class it was given, as a PNG."""
    side = 5
    rows = max(1, -(-len(numbers) // side))
    made = pictures.figure(7.5, 1.7 * rows + 0.5)
    panels = made.subplots(rows, side, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, number in zip(panels, numbers, strict=False):
        axes.imshow(pictures.pixels(test.pixels[number]), cmap="gray_r", vmin=0, vmax=255)
        label, given = (title(int(of[number]), classes) for of in (test.labels, result.classes))
        axes.set_title(f"{label} taken for {given}\nimage {number}", fontsize=8)
    made.suptitle(heading, fontsize=10)
    pictures.save(made, path)


@command("evaluate", __doc__)
@click.argument("net", metavar="NET")
@data_options()
@click.option(
    "--out", type=Path, metavar="DIR", help="Folder to write.  [default: build/evaluate/NET]"
)
def main(net: str, given: DataFiles, out: Path | None) -> int:
    """The command line. Returns 0."""
    folder = manifests.find(net)
    manifest = manifests.verify(folder)
    quantised = files.read(files.own(folder), manifest["name"], manifests.normalisation(manifest))
    name, network = manifest["name"], quantised.network
    weights = folder / "float.npz"
    trained = FloatNetwork.load(network, weights) if weights.is_file() else None
    seed = (manifest.get("training") or {}).get("seed")
    training, test, dataset, classes = _images(given, Takes.of(manifest, quantised.codes[IMAGE]))
    if seed is None:
        training = None
    result = evaluate(quantised, trained, seed or 1, training, test)

    out = out or BUILD / places.label(folder, name)
    numbers = worst_mistakes(result, test)
    mistakes = int((result.classes != test.labels).sum())
    heading = f"{name}, int8: {result.int8:.2f} % of {len(test):,} images of {dataset}"
    draw_confusion(
        confusion(test.labels, result.classes, network.classes),
        heading,
        out / "confusion.png",
        classes,
    )
    draw_mistakes(
        numbers,
        result,
        test,
        f"{name}, int8: the {len(numbers)} worst of {mistakes:,} mistakes",
        out / "mistakes.png",
        classes,
    )
    trained_text = "no float.npz" if result.trained is None else f"{result.trained:.2f} %"
    print(f"{name} on {len(test):,} images of {dataset}:")
    if result.untrained is not None:
        print(f"  before training  {result.untrained:.2f} %")
    print(f"  float            {trained_text}")
    print(f"  int8             {result.int8:.2f} %  ({mistakes:,} mistakes)")
    for label in np.unique(test.labels).tolist():
        own = test.labels == label
        right = 100 * float((result.classes[own] == label).mean())
        print(f"  class {title(label, classes)}: {right:.2f} % of {own.sum():,}")
    print(f"{out / 'confusion.png'}\n{out / 'mistakes.png'}")
    return 0


def _images(
    given: DataFiles, takes: Takes
) -> tuple[Split | None, Split, str, tuple[str, ...] | None]:
    """Training images if they are at hand, test images, the data set's name, names of classes."""
    own = given.images
    if own is None or (takes.trained and Path(takes.trained).resolve() == Path(own).resolve()):
        if own is None:
            load_for(takes, given)  # says what there is to say of MNIST
        course = load_course(given, takes)
        return course.training, course.test, course.name, course.classes
    found = load_for(takes, given)
    if found.labels is None:
        raise UserError(f"{own}: has no labels; give --labels, or a folder for each class")
    return None, Split(found.images, found.labels), found.name, found.classes


if __name__ == "__main__":
    errors.run(main)
