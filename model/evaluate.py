"""Measure the accuracy of a network before training, in floats and in int8.

    convstream evaluate lenet5

Prints the accuracies and writes two pictures to build/evaluate/NET/: the confusion matrix of the
int8 network, and its 25 worst mistakes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from convstream.model.base import errors, pictures, places
from convstream.model.base.commands import command
from convstream.model.formats import files
from convstream.model.hardware import manifest as manifests
from convstream.model.learning.initial import initial_network
from convstream.model.learning.source import Split, hold_out, load_split
from convstream.model.learning.training import CALIBRATION
from convstream.model.network import reference
from convstream.model.network.floats import FloatNetwork, log_softmax
from convstream.model.network.quantised import QuantisedNetwork

BUILD = places.BUILD / "evaluate"
WORST = 25


@dataclass(frozen=True, eq=False)
class Result:
    """Accuracies in percent: of random weights, of the float network (None: not at hand), of int8.

    classes: int64 (N,), those of int8; doubt: float64 (N,), minus the logarithm of the probability
    that int8 gives to the label.
    """

    untrained: float
    trained: float | None
    int8: float
    classes: np.ndarray
    doubt: np.ndarray


def evaluate(
    quantised: QuantisedNetwork, trained: FloatNetwork | None, seed: int, train: Split, test: Split
) -> Result:
    """Classify the test images. seed: of the training, whose initial weights it gives."""
    test.check(quantised.network)
    sample = hold_out(train)[0].pixels[:CALIBRATION]
    start = initial_network(quantised.network, sample, np.random.default_rng(seed))
    logits = reference.predict(quantised, test.pixels)
    classes = reference.argmax(logits)
    doubt = -log_softmax(quantised.real(logits))
    return Result(
        untrained=_accuracy(start.predict(test.pixels).argmax(axis=1), test),
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


def draw_confusion(matrix: np.ndarray, title: str, path: Path) -> None:
    """The matrix with its numbers, coloured by the mistakes, as a PNG."""
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
    axes.set(xticks=range(count), yticks=range(count), xlabel="class given", ylabel="label")
    axes.set_title(title, fontsize=10)
    pictures.save(made, path)


def worst_mistakes(result: Result, test: Split, count: int = WORST) -> np.ndarray:
    """Numbers of the wrongly classified images, the one least expected first; `count` at most."""
    wrong = np.nonzero(result.classes != test.labels)[0]
    return wrong[np.argsort(-result.doubt[wrong], kind="stable")][:count]


def draw_mistakes(numbers: np.ndarray, result: Result, test: Split, title: str, path: Path) -> None:
    """Images `numbers`, each with its label and the class it was given, as a PNG."""
    side = 5
    rows = max(1, -(-len(numbers) // side))
    made = pictures.figure(7.5, 1.7 * rows + 0.5)
    panels = made.subplots(rows, side, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, number in zip(panels, numbers, strict=False):
        axes.imshow(test.pixels[number, 0], cmap="gray_r", vmin=0, vmax=255)
        axes.set_title(
            f"{test.labels[number]} taken for {result.classes[number]}\nimage {number}", fontsize=8
        )
    made.suptitle(title, fontsize=10)
    pictures.save(made, path)


@command("evaluate", __doc__)
@click.argument("net", metavar="NET")
@click.option(
    "--out", type=Path, metavar="DIR", help="Folder to write.  [default: build/evaluate/NET]"
)
def main(net: str, out: Path | None) -> int:
    """The command line. Returns 0."""
    folder = manifests.find(net)
    manifest = manifests.verify(folder)
    quantised = files.read(files.own(folder), manifest["name"], manifests.normalisation(manifest))
    name, network = manifest["name"], quantised.network
    weights = folder / "float.npz"
    trained = FloatNetwork.load(network, weights) if weights.is_file() else None
    seed = (manifest.get("training") or {}).get("seed", 1)
    test, dataset = load_split("test")
    test.check(network)
    result = evaluate(quantised, trained, seed, load_split("train")[0], test)

    out = out or BUILD / places.label(folder, name)
    numbers = worst_mistakes(result, test)
    mistakes = int((result.classes != test.labels).sum())
    title = f"{name}, int8: {result.int8:.2f} % of {len(test):,} images of {dataset}"
    draw_confusion(
        confusion(test.labels, result.classes, network.classes),
        title,
        out / "confusion.png",
    )
    draw_mistakes(
        numbers,
        result,
        test,
        f"{name}, int8: the {len(numbers)} worst of {mistakes:,} mistakes",
        out / "mistakes.png",
    )
    trained_text = "no float.npz" if result.trained is None else f"{result.trained:.2f} %"
    print(f"{name} on {len(test):,} images of {dataset}:")
    print(f"  before training  {result.untrained:.2f} %")
    print(f"  float            {trained_text}")
    print(f"  int8             {result.int8:.2f} %  ({mistakes:,} mistakes)")
    print(f"{out / 'confusion.png'}\n{out / 'mistakes.png'}")
    return 0


if __name__ == "__main__":
    errors.run(main)
