"""The same images through every implementation of a network, side by side: `make compare`.

python -m sim.compare --net convnet
python -m sim.compare --net simplecnn --n 2000 --slow 20

Two networks are compared. The int8 one of `network.onnx` is computed by all six: NumPy, slow and
fast, and PyTorch in floating point that rounds as int8 does, the int8 reference, ONNX Runtime, and
the RTL in Verilator; their logits are the same integers. The float one of `float.npz`, from which
it was made, is computed by the first three, whose logits are equal but for float32's rounding.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model.learning import data
from model.base import errors, pictures
from model.network import reference
from model.base.errors import UserError
from model.network.exponents import Exponents
from model.network.floats import FloatNetwork
from model.network.graph import Network
from model.network.quantised import QuantisedNetwork
from sim import report, run, shard, tools
from sim.design import ROOT, Design, read_all

BUILD = ROOT / "build" / "compare"
IMAGES = 1000
SLOW_IMAGES = 50
BATCH = 250
# Of the largest logit: what sums of float32 in another order may differ by.
FLOAT_TOLERANCE = 1e-4
CLOCK_HZ = 100e6

Predict = Callable[[np.ndarray], np.ndarray]
"""Logits (N, classes) of images, uint8 (N, C, H, W)."""


@dataclass(frozen=True, eq=False)
class Row:
    """What one implementation made of the first images.

    kind: `int8` or `float`, the network it computed. logits: (images, classes), in integers for
    int8. seconds: that took. wrong: what an implementation found wrong by itself.
    """

    name: str
    kind: str
    logits: np.ndarray
    seconds: float
    wrong: tuple[str, ...] = ()

    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.logits)

    @property
    def speed(self) -> float:
        """Images a second."""
        return self.images / max(self.seconds, 1e-9)


@dataclass(frozen=True)
class Verdict:
    """A row against the one that its network is judged by.

    classes: images whose class differs. difference: the largest of two logits. allowed: as large as
    that may be.
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


def float_predictors(
    model: FloatNetwork, exponents: Exponents | None = None
) -> Iterator[tuple[str, Predict]]:
    """NumPy slow and fast, and PyTorch where it is installed."""
    for convolution in ("slow", "fast"):

        def predict(images: np.ndarray, convolution: str = convolution) -> np.ndarray:
            return model.predict(images, exponents, convolution=convolution, batch=len(images))

        yield f"NumPy, {convolution}", predict
    try:
        import torch

        from model.learning.torch_network import TorchNetwork
    except ImportError:
        return
    twin = TorchNetwork(model.network)
    # First the type, then the weights: in float32 they might lose bits.
    twin.to(torch.float64 if model.dtype == np.float64 else torch.float32)
    twin.load_state_dict({k: torch.from_numpy(v) for k, v in model.parameters.items()})

    @torch.no_grad()
    def predict_torch(images: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(images.astype(model.dtype))
        return twin(pixels, exponents).numpy()

    yield "PyTorch", predict_torch


def int8_predictors(quantised: QuantisedNetwork, folder: Path) -> Iterator[tuple[str, Predict]]:
    """All that compute the integers of the int8 network, but for the RTL."""
    # float32 where every sum is exact in it.
    exact = all(p is None or p.accumulator_bound < 2**24 for p in quantised.parameters)
    model, exponents = FloatNetwork.from_integers(quantised, np.float32 if exact else np.float64)
    for name, predict in float_predictors(model, exponents):
        yield name, lambda images, predict=predict: np.ldexp(predict(images), exponents.logits)
    yield "int8 reference", lambda images: reference.predict(quantised, images)

    import onnxruntime

    session = onnxruntime.InferenceSession(
        str(folder / "network.onnx"), providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name

    def predict_onnx(images: np.ndarray) -> np.ndarray:
        logits = session.run(None, {name: images})[0].reshape(len(images), -1)
        return np.ldexp(logits.astype(np.float64), exponents.logits)

    yield "ONNX Runtime", predict_onnx


def measure(
    name: str, kind: str, predict: Predict, images: np.ndarray, tell: Callable[[int], None]
) -> Row:
    """Run `predict` on all images, a batch at a time; the slow one, image by image.

    The time counted is that of the fastest batch, so that what else the machine does matters less.
    """
    slow = name.endswith("slow")
    batch = 1 if slow else BATCH
    if not slow:
        predict(images[:2])  # what comes once is not counted
    logits = []
    fastest = math.inf
    for start in range(0, len(images), batch):
        started = time.perf_counter()
        logits.append(predict(images[start : start + batch]))
        seconds = time.perf_counter() - started
        fastest = min(fastest, seconds / len(logits[-1]))
        tell(start + len(logits[-1]))
    return Row(name, kind, np.concatenate(logits), fastest * len(images))


def simulate(design: Design, images: np.ndarray, tell: Callable[[int], None]) -> Row:
    """The RTL in Verilator, in one process; it must have been compiled."""
    root = str(run.BUILD / design.name)
    result = shard.run(design, shard.Shard(0, 0, images, shard.Options(), root), tell)
    # A shard of very few images is filled up.
    seconds = result.seconds * len(images) / max(len(images), shard.FEWEST_IMAGES)
    wrong = tuple(report.shorten(report.complaints([result])))
    return Row("RTL in Verilator", "int8", result.logits, seconds, wrong)


def compare(
    design: Design,
    images: np.ndarray,
    slow_images: int,
    *,
    rtl: bool = True,
) -> list[Row]:
    """All rows, under a progress bar. The slow ones do the first `slow_images` alone."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    folder = Path(design.folder)
    quantised = design.read_network(folder)
    if rtl:
        run.compile_one(design, shard.Options(), run.BUILD / design.name, report.console())
    tasks = [("int8", *one) for one in int8_predictors(quantised, folder)]
    if (folder / "float.npz").is_file():
        model = FloatNetwork.load(quantised.network, folder / "float.npz")
        tasks += [("float", *one) for one in float_predictors(model)]
    columns = (
        TextColumn("{task.description:25}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("images"),
        TimeElapsedColumn(),
    )
    rows = []
    with Progress(*columns, console=report.console()) as progress:

        def work(kind: str, name: str, count: int, job: Callable[..., Row]) -> None:
            task = progress.add_task(f"{kind}: {name}", total=count)
            rows.append(job(lambda done: progress.update(task, completed=done)))
            progress.update(task, completed=count)

        for kind, name, predict in tasks:
            own = images[:slow_images] if name.endswith("slow") else images
            work(
                kind,
                name,
                len(own),
                lambda tell, o=own, a=(name, kind, predict): measure(*a, o, tell),
            )
        if rtl:
            work(
                "int8", "RTL in Verilator", len(images), lambda tell: simulate(design, images, tell)
            )
    return sorted(rows, key=lambda row: row.kind, reverse=True)


def standards(rows: list[Row]) -> dict[str, Row]:
    """What each kind is judged by: the int8 reference, and PyTorch, or else fast NumPy."""
    found = {row.kind: row for row in rows if row.kind == "float"}
    found |= {row.kind: row for row in rows if row.name == "int8 reference"}
    return found


def summarise(
    design: Design, rows: list[Row], labels: np.ndarray | None, dataset: str
) -> dict[str, Any]:
    """The content of `report.json`. Accuracies are percentages, null without labels."""
    by_kind = standards(rows)
    exact = all(p is None or p.accumulator_bound < 2**24 for p in _parameters(design))
    lines = []
    for row in rows:
        # ONNX Runtime sums the last layer in float32, whatever the size of the sums.
        rounds = row.kind == "float" or (row.name == "ONNX Runtime" and not exact)
        verdict = judge(row, by_kind[row.kind], not rounds)
        classes = row.logits.argmax(axis=1)
        lines.append(
            {
                "name": row.name,
                "kind": row.kind,
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
    if len(by_kind) == 2:
        one, other = (row.logits.argmax(axis=1) for row in by_kind.values())
        same = int((one == other).sum())
    return {
        "network": design.name,
        "dataset": dataset,
        "images": max(row.images for row in rows),
        "cores": os.cpu_count(),
        "rows": lines,
        "images_of_equal_class_in_float_and_int8": same,
        "hardware_images_per_second": round(CLOCK_HZ / design.cycles, 1),
    }


def _parameters(design: Design) -> tuple:
    return design.read_network(Path(design.folder)).parameters


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
    if "PyTorch" not in [row["name"] for row in summary["rows"]]:
        console.print("PyTorch is not installed: pip install -e '.[train]'", highlight=False)


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


def _images(
    network: Network, source: str | None, count: int | None
) -> tuple[np.ndarray, np.ndarray | None, str]:
    """uint8 (N, C, H, W), int64 (N,) labels if known, and what a report calls them."""
    if source is not None:
        images, labels, name = data.load_user_images(source, network.input_shape), None, source
        count = count or len(images)
    else:
        dataset = data.load_images("test")
        images, labels, name = dataset.images[:, None], dataset.labels, dataset.name
        if images.shape[1:] != network.input_shape:
            raise UserError(
                f"{network.name} takes images of {network.input_shape}, {name} holds "
                f"{images.shape[1:]} (channels, height, width); use IMAGES=file"
            )
        count = count or IMAGES
    if count > len(images):
        raise UserError(f"N={count}: {name} holds {len(images):,} images; ask for no more")
    return images[:count], None if labels is None else labels[:count], name


def main(arguments: list[str] | None = None) -> int:
    """The command line: 0 where every prediction agrees, 1 where one does not."""
    parser = argparse.ArgumentParser(
        prog="make compare", description="Run every implementation of a network side by side."
    )
    parser.add_argument("--net", default="all", help="names or folders of networks, or all")
    parser.add_argument("--n", type=_count, help=f"number of images (default {IMAGES:,})")
    parser.add_argument(
        "--slow", type=_count, default=SLOW_IMAGES, help="images of slow NumPy, at most"
    )
    parser.add_argument("--images", help="IDX (.gz), .npy, a PNG, or a folder of PNGs")
    options = parser.parse_args(arguments)
    tools.check("verilator")
    return max(_compare_one(design, options) for design in read_all(options.net))


def _compare_one(design: Design, options: argparse.Namespace) -> int:
    network = design.read_network(Path(design.folder)).network
    images, labels, dataset = _images(network, options.images, options.n)
    rows = compare(design, images, options.slow)
    summary = summarise(design, rows, labels, dataset)
    folder = BUILD / design.name
    report.write_json(folder / "report.json", summary)
    draw(summary, folder / "compare.png")
    print_summary(summary)
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


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"{text!r} images: expected a whole number of at least 1")
    return int(text)


if __name__ == "__main__":
    errors.run(main)
