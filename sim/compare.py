"""Race NumPy, PyTorch, ONNX Runtime and the RTL of a network on the same images.

    convstream compare convnet
    convstream compare simplecnn -n 2000 --slow 20
    convstream compare hw/my --data photos/ --classes names.txt

Two networks are compared. The int8 one of `network.onnx` is computed by all six: NumPy, slow and
fast, and PyTorch in floating point that rounds as int8 does (where all scales are powers of two),
the int8 reference, ONNX Runtime, and the RTL in Verilator; their logits are the same integers. The
float one of `float.npz`, from which it was made, is computed by the first three, whose logits are
equal but for float32's rounding.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from convstream.model.base import errors, pictures, places
from convstream.model.base.commands import COUNT, command
from convstream.model.formats import files
from convstream.model.learning import data
from convstream.model.learning.options import data_options
from convstream.model.learning.own_data import DataFiles
from convstream.model.network.floats import FloatNetwork
from convstream.sim import options, report, run, tools
from convstream.sim.design import Design, read_all
from convstream.sim.implementations import (
    ONNX_RUNTIME,
    REFERENCE,
    RTL,
    Row,
    fits_float32,
    float_predictors,
    int8_predictors,
    measure,
    simulate,
)
from convstream.sim.shard import Shard

BUILD = places.BUILD / "compare"
IMAGES = 1000
SLOW_IMAGES = 50
# Of the largest logit: what sums of float32 in another order may differ by.
FLOAT_TOLERANCE = 1e-4
CLOCK_HZ = 100e6


@dataclass(frozen=True)
class Verdict:
    """How a row compares with the one that its network is judged by.

    classes: images whose class differs. difference: the largest between two logits. allowed: the
    largest that still counts as rounding.
    """

    classes: int
    difference: float
    allowed: float

    @property
    def agrees(self) -> bool:
        """Whether they are the same, to rounding."""
        return self.classes == 0 and self.difference <= self.allowed


def judge(row: Row, standard: Row, exact: bool) -> Verdict:
    """Compare the images that both rows have. exact: no logit may differ at all."""
    count = min(row.images, standard.images)
    mine, theirs = (r.logits[:count].astype(np.float64) for r in (row, standard))
    difference = np.abs(mine - theirs)
    allowed = 0.0 if exact else FLOAT_TOLERANCE * float(np.abs(theirs).max(initial=0))
    differ = mine.argmax(1) != theirs.argmax(1)
    if not exact:
        # Two classes may be so close that rounding decides.
        ranked = np.sort(theirs, axis=1)
        differ &= theirs.shape[1] > 1 and ranked[:, -1] - ranked[:, -2:][:, 0] > 2 * allowed
    return Verdict(int(differ.sum()), float(difference.max(initial=0)), allowed)


def compare(
    design: Design,
    images: np.ndarray,
    slow_images: int,
    *,
    rtl: bool = True,
) -> list[Row]:
    """All rows, under a progress bar. The slow ones do the first `slow_images` alone."""
    folder = Path(design.folder)
    quantised = design.read_network(folder)
    part = Shard(images, str(run.BUILD / design.label))
    if rtl:
        run.compile_one(design, part, report.console())
    predictors = [("int8", *one) for one in int8_predictors(quantised, folder)]
    if (folder / "float.npz").is_file():
        model = FloatNetwork.load(quantised.network, folder / "float.npz")
        predictors += [("float", *one) for one in float_predictors(model)]
    rows: list[Row] = []
    with report.progress("images") as progress:

        def work(title: str, count: int, job: Callable[[Callable[[int], None]], Row]) -> None:
            task = progress.add_task(title, total=count)
            rows.append(job(lambda done: progress.update(task, completed=done)))
            progress.update(task, completed=count)

        for numbers, name, predict in predictors:
            own = images[:slow_images] if name.endswith("slow") else images
            work(f"{numbers}: {name}", len(own), partial(measure, name, numbers, predict, own))
        if rtl:
            expected = standards(rows)["int8"].logits
            work(f"int8: {RTL}", len(images), partial(simulate, design, part, expected))
    return sorted(rows, key=lambda row: row.numbers, reverse=True)


def standards(rows: list[Row]) -> dict[str, Row]:
    """What each network is judged by: the int8 reference, and PyTorch, or else fast NumPy."""
    found = {row.numbers: row for row in rows if row.numbers == "float"}
    found |= {row.numbers: row for row in rows if row.name == REFERENCE}
    return found


def summarise(
    design: Design, rows: list[Row], labels: np.ndarray | None, dataset: str
) -> dict[str, Any]:
    """The content of `report.json`. Accuracies are percentages, null without labels."""
    by_numbers = standards(rows)
    exact = fits_float32(design.read_network(Path(design.folder)))
    lines = []
    for row in rows:
        # ONNX Runtime sums the last layer in float32, whatever the size of the sums.
        rounds = row.numbers == "float" or (row.name == ONNX_RUNTIME and not exact)
        verdict = judge(row, by_numbers[row.numbers], not rounds)
        classes = row.logits.argmax(axis=1)
        lines.append(
            {
                "name": row.name,
                "kind": row.numbers,
                "images": row.images,
                "classes_that_differ": verdict.classes,
                "largest_difference": verdict.difference,
                "allowed_difference": verdict.allowed,
                "agrees": verdict.agrees and not row.wrong,
                "accuracy": None
                if labels is None
                else round(100 * float((classes == labels[: row.images]).mean()), 3),
                "images_per_second": float(f"{row.speed:.4g}"),
            }
        )
    same = None
    if len(by_numbers) == 2:
        one, other = (row.logits.argmax(axis=1) for row in by_numbers.values())
        same = int((one == other).sum())
    return {
        "network": design.name,
        "sha256": design.sha256,
        "dataset": dataset,
        "images": max(row.images for row in rows),
        "cores": os.cpu_count(),
        "rows": lines,
        "images_of_equal_class_in_float_and_int8": same,
        "hardware_images_per_second": round(CLOCK_HZ / design.cycles, 1),
    }


def print_summary(summary: dict[str, Any]) -> None:
    """The table, and what it leaves out."""
    from rich.table import Table

    table = Table(title=f"{summary['network']} on {summary['dataset']}")
    table.add_column("network")
    table.add_column("implementation")
    titles = ["images", "classes that differ", "largest difference", "accuracy", "images/s"]
    for title in titles:
        table.add_column(title, justify="right")
    last = None
    for row in summary["rows"]:
        colour = "green" if row["agrees"] else "bold red"
        accuracy = "-" if row["accuracy"] is None else f"{row['accuracy']:.2f} %"
        table.add_row(
            row["kind"] if row["kind"] != last else "",
            row["name"],
            f"{row['images']:,}",
            f"[{colour}]{row['classes_that_differ']}[/]",
            f"[{colour}]{row['largest_difference']:.2g}[/]",
            accuracy,
            f"{row['images_per_second']:,.{0 if row['images_per_second'] >= 100 else 1}f}",
        )
        last = row["kind"]
    console = report.console()
    console.print(table)
    fewest = min(summary["rows"], key=lambda row: row["images"])
    if fewest["images"] < summary["images"]:
        console.print(
            f"{fewest['name']} is slow: it ran the first {fewest['images']:,} of "
            f"{summary['images']:,} images (SLOW= changes that).",
            highlight=False,
        )
    console.print(
        "int8: logits are integers, compared with the int8 reference; float: with PyTorch, or fast "
        f"NumPy without it, to {FLOAT_TOLERANCE:g} of the largest logit.",
        highlight=False,
    )
    same = summary["images_of_equal_class_in_float_and_int8"]
    if same is not None:
        console.print(
            f"float and int8 give {same:,} of {summary['images']:,} images the same class: "
            "the others are what quantising changes.",
            highlight=False,
        )
    names = [row["name"] for row in summary["rows"]]
    if "NumPy, fast" in names and "PyTorch" not in names:
        console.print(f"PyTorch is not installed: {places.extra('train')}", highlight=False)


def draw(summary: dict[str, Any], path: Path) -> None:
    """Images a second as bars on a logarithmic scale, as a PNG."""
    kinds = {"int8": "C0", "float": "C1"}
    bars = [
        (
            row["name"] if "int8" in row["name"] else f"{row['name']} ({row['kind']})",
            row["images_per_second"],
            kinds[row["kind"]],
            "" if row["agrees"] else "  differs!",
        )
        for row in summary["rows"]
    ]
    bars.append(("hardware at 100 MHz", summary["hardware_images_per_second"], "C2", ""))
    names, speeds, colours, remarks = zip(*bars, strict=True)
    figure = pictures.figure(9, 0.42 * len(bars) + 1.2)
    axes = figure.subplots()
    drawn = axes.barh(names, speeds, color=colours)
    labels = [f"{s:,.{0 if s >= 10 else 1}f}{r}" for s, r in zip(speeds, remarks, strict=True)]
    axes.bar_label(drawn, labels, padding=3)
    axes.set_xscale("log")
    # Bars begin at a power of ten, so that their lengths can be compared.
    axes.set_xlim(10 ** np.floor(np.log10(min(speeds)) - 0.3), 6 * max(speeds))
    axes.invert_yaxis()
    axes.set_xlabel(f"images a second on {summary['cores']} cores")
    axes.grid(True, axis="x", alpha=0.3)
    agreed = all(row["agrees"] for row in summary["rows"])
    axes.set_title(
        f"{summary['network']}: "
        + ("every prediction agrees" if agreed else "NOT every prediction agrees")
        + f" on {summary['images']:,} images"
    )
    pictures.save(figure, path)


@command("compare", __doc__)
@options.networks
@click.option("-n", "--n", type=COUNT, metavar="N", help=f"Number of images.  [default: {IMAGES}]")
@click.option("--slow", type=COUNT, default=SLOW_IMAGES, help="Images of slow NumPy, at most.")
@data_options()
def main(networks: list[str], n: int | None, slow: int, given: DataFiles) -> int:
    """The command line: 0 where every prediction agrees, 1 where one does not."""
    tools.check("verilator")
    return max(_compare_one(design, n, slow, given) for design in read_all(networks))


def _compare_one(design: Design, count: int | None, slow: int, given: DataFiles) -> int:
    if count is None and given.images is None:
        count = IMAGES
    found = data.load_for(design.takes, given, count)
    quantised = design.read_network(Path(design.folder))
    rows = compare(design, found.images, slow)
    summary = summarise(design, rows, found.labels, found.name)
    folder = BUILD / design.label
    report.write_json(folder / "report.json", summary)
    draw(summary, folder / "compare.png")
    print_summary(summary)
    for note in files.notes(files.own(Path(design.folder)), quantised):
        print(f"note: {note}", file=sys.stderr)
    print(f"{folder / 'report.json'}\n{folder / 'compare.png'}")
    for row in rows:
        for line in row.wrong:
            print(f"{row.name}: {line}", file=sys.stderr)
    for row in summary["rows"]:
        if not row["agrees"]:
            print(
                f"{design.name}: {row['name']} ({row['kind']}) disagrees: "
                f"{row['classes_that_differ']} classes, logits by up to "
                f"{row['largest_difference']:.6g}",
                file=sys.stderr,
            )
    return int(not all(row["agrees"] for row in summary["rows"]))


if __name__ == "__main__":
    errors.run(main)
