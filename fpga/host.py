"""Talk to a board, and compare every logit it gives with the int8 reference.

python -m fpga.host --port /dev/ttyUSB0 identify
python -m fpga.host --port /dev/ttyUSB0 classify digit.png 7    # a file, test image number 7
python -m fpga.host --port /dev/ttyUSB0 mnist --count 1000
python -m fpga.host --port /dev/ttyUSB0 bench
python -m fpga.host --port /dev/ttyUSB0 status

Exit code 1: a logit differs. 2: the board cannot be reached, or is not the one to compare with.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from fpga import identity
from fpga.client import MOST_REPEATS, Board, Repeated, Result
from fpga.link import TIMEOUT_S, Link, describe
from model.learning import data
from model.base import errors
from model.hardware import rom
from model.network import reference
from model.base.errors import UserError
from model.hardware.manifest import FILE_NAME
from model.formats.onnx import read_onnx
from model.network.quantised import QuantisedNetwork
from sim import report
from sim.design import ROOT, Design, find

BUILD = ROOT / "build" / "fpga"
BAUD = 3_000_000
# A measurement lasts that long at least, unless a counter of the board ends it.
ENOUGH_S = 0.3
GROWTH = 8
BENCH_IMAGES = 200
MOST_CYCLES = 2**31


def main(arguments: list[str] | None = None) -> int:
    """The command line: 0, or 1 where a logit differs from the reference's."""
    options = _parse(arguments)
    with Link(options.port, options.baud, options.timeout) as link:
        return options.run(Board(link), options)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fpga.host", description="Talk to a board.")
    parser.add_argument("--port", required=True, help="serial port, such as /dev/ttyUSB0")
    parser.add_argument("--baud", type=_positive, default=BAUD, help="default: %(default)s")
    parser.add_argument("--timeout", type=_seconds, default=TIMEOUT_S, help="for an answer")
    parser.add_argument("--net", help="network to compare with; default: the one the board names")
    parser.add_argument("--build", type=Path, help="its build; default: in build/fpga/<board>/")
    commands = parser.add_subparsers(required=True, metavar="command")
    for name, run, text in (
        ("identify", _identify, "what the board is and which network it runs"),
        ("classify", _classify, "classify images of your own"),
        ("mnist", _mnist, "classify MNIST's test images and compare every logit"),
        ("bench", _bench, "measure images a second, over the wire and on chip"),
        ("status", _status, "the board's counters and its last error"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        if name == "classify":
            text = "PNG, folder of PNGs, IDX or .npy; or the number of a test image"
            command.add_argument("images", nargs="+", metavar="IMG", help=text)
        if name == "mnist":
            command.add_argument("--count", type=_positive, default=1000, help="of images")
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise UserError(f"{text}: expected a whole number of at least 1")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < math.inf:
        raise UserError(f"--timeout {text}: expected seconds, more than 0")
    return value


# What is compared


@dataclass(frozen=True, eq=False)
class Images:
    """uint8 (N, C, H, W) `pixels`, their `names`, and int64 (N,) `labels`, -1 where unknown."""

    pixels: np.ndarray
    names: list[str]
    labels: np.ndarray


@dataclass(frozen=True, eq=False)
class Subject:
    """What a board is compared with: the network, and the order in which its logits arrive.

    arrival: int64 (classes,), which of the reference's logits the n-th one is.
    """

    quantised: QuantisedNetwork
    arrival: np.ndarray

    @property
    def name(self) -> str:
        """The network's."""
        return self.quantised.network.name

    def ordered(self, result: Result) -> Result:
        """With class and logits as the reference counts them; class -1 where there is none such."""
        logits = np.empty_like(result.logits)
        logits[self.arrival] = result.logits
        known = result.label < len(self.arrival)
        return Result(int(self.arrival[result.label]) if known else -1, result.cycles, logits)

    def classes(self, logits: np.ndarray) -> np.ndarray:
        """int64 (N,) of the reference's int32 (N, classes): of equals the first to arrive wins."""
        return self.arrival[reference.argmax(np.ascontiguousarray(logits[:, self.arrival]))]


def check(board: Board, net: str | None, build: Path | None) -> Subject:
    """What to compare the board with. Raises `UserError` unless that is what it runs.

    net: network to compare with, build: folder of its build; by default those that the board names.
    """
    said = board.identity
    onnx = find(net or said.network) / "network.onnx"
    if not onnx.is_file():
        raise UserError(f"{onnx} is missing; restore it, or choose a network with --net")
    present = identity.network_hash(onnx)
    if present != said.network_hash:
        raise UserError(
            f"the board runs {said.network} with hash {said.network_hash.hex()}, but {onnx} has "
            f"{present.hex()}; load that one (make prog), or choose another with --net"
        )
    folder = build or _build_of(said)
    if not (folder / FILE_NAME).is_file():
        raise UserError(
            f"{folder} holds no build, so what the ROMs should hold is unknown; make it with: "
            f"make bitstream BOARD={said.board} NET={said.network}, or name its folder with --build"
        )
    design = Design.read(folder)
    wrong = [
        expected[0]
        for expected, found in zip_longest(signatures(design), board.signatures, fillvalue=("?", 0))
        if expected[1] != found
    ]
    built = identity.read_mem(folder / identity.FILE_NAME)
    if wrong and built.build_id != said.build_id:
        raise UserError(
            f"the board holds build {said.build_id.hex()}, {folder} is build "
            f"{built.build_id.hex()}, with other ROMs; load that one (make prog), or name the "
            "board's with --build"
        )
    if wrong:
        raise UserError(
            f"the board's ROMs of {', '.join(wrong)} do not hold what {folder} says (their "
            "signatures differ); load the bitstream again (make prog)"
        )
    return Subject(read_onnx(onnx, said.network), design.arrival)


def _build_of(said: identity.Identity) -> Path:
    """The folder of the very build that a board holds; else where its bitstream would lie."""
    for path in sorted((BUILD / said.board).glob(f"{said.network}*/{identity.FILE_NAME}")):
        if identity.read_mem(path).build_id == said.build_id:
            return path.parent
    return BUILD / said.board / said.network


def signatures(design: Design) -> list[tuple[str, int]]:
    """Name and signature of each layer with weights, of what its ROMs should hold."""
    return [
        (
            layer["name"],
            memory.signature(
                *(design.files[f"{layer['name']}_{rom}.mem"].decode() for rom in ("weight", "bias"))
            ),
        )
        for layer in design.manifest["layers"]
        if layer["kind"] != "maxpool"
    ]


def _test_images(board: Board) -> data.Dataset:
    dataset = data.load_images("test")
    shape = (1, *dataset.images.shape[1:])
    if shape != board.identity.input_shape:
        raise UserError(
            f"{board.identity.network} takes images of {_times(board.identity.input_shape)}, "
            f"{dataset.name} holds {_times(shape)} (channels x height x width); "
            "use: classify FILE"
        )
    return dataset


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _read_images(board: Board, sources: list[str]) -> Images:
    pixels, names, labels = [], [], []
    for source in sources:
        if source.isdecimal():
            dataset = _test_images(board)
            number = int(source)
            if number >= len(dataset.images):
                raise UserError(
                    f"{source}: {dataset.name} holds images 0 to {len(dataset.images) - 1}; "
                    "choose of those"
                )
            pixels.append(dataset.images[number][None, None])
            names.append(f"{dataset.name} {number}")
            labels.append(int(dataset.labels[number]))
            continue
        found = data.load_user_images(source, board.identity.input_shape)
        pixels.append(found)
        several = len(found) > 1
        names += [f"{source} {i}" if several else source for i in range(len(found))]
        labels += [-1] * len(found)
    return Images(np.concatenate(pixels), names, np.array(labels))


# What is measured


@dataclass(frozen=True, eq=False)
class Outcome:
    """Images that went over the wire.

    results: what the board said, as the reference counts it. expected: int32 (N, classes), the
    reference's logits; labels: int64 (N,), its classes. seconds: of the exchange alone.
    """

    results: list[Result]
    expected: np.ndarray
    labels: np.ndarray
    seconds: float

    @property
    def logits(self) -> np.ndarray:
        """int32 (N, classes) of the board."""
        return np.stack([result.logits for result in self.results])

    @property
    def classes(self) -> np.ndarray:
        """int64 (N,) of the board."""
        return np.array([result.label for result in self.results])

    def complaints(self, names: list[str]) -> list[str]:
        """A line for each logit and class that is not the reference's."""
        lines = [
            f"{names[n]}: logit of class {c}: board {self.logits[n, c]}, "
            f"reference {self.expected[n, c]}"
            for n, c in np.argwhere(self.logits != self.expected)
        ]
        return lines + [
            f"{names[n]}: class: board {self.classes[n]}, reference {self.labels[n]}"
            for (n,) in np.argwhere(self.classes != self.labels)
        ]


def classify_all(board: Board, subject: Subject, pixels: np.ndarray) -> Outcome:
    """uint8 (N, C, H, W) images one by one through the board, under a progress bar."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    expected = reference.predict(subject.quantised, pixels)
    columns = (
        TextColumn("{task.description:10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("images"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    results = []
    with Progress(*columns, console=report.console()) as progress:
        task = progress.add_task(subject.name, total=len(pixels))
        started = time.monotonic()
        for image in pixels.transpose(0, 2, 3, 1):
            result = board.classify(image.tobytes())
            results.append(subject.ordered(result))
            progress.advance(task)
        seconds = time.monotonic() - started
    return Outcome(results, expected, subject.classes(expected), seconds)


def repeat_on_chip(board: Board) -> Repeated:
    """The stored image again and again, more and more often, until the time can be measured."""
    most = min(MOST_REPEATS, max(1, MOST_CYCLES // board.identity.cycles_per_image))
    count, seconds = 1, 0.0
    while True:
        started = time.monotonic()
        repeated = board.repeat(count, 2 * GROWTH * seconds)
        seconds = time.monotonic() - started
        if seconds >= ENOUGH_S or count == most or repeated.differing:
            return repeated
        count = min(most, GROWTH * count)


def _rate_on_chip(board: Board, repeated: Repeated) -> float:
    """Images a second at the board's own clock."""
    return repeated.count * board.identity.clock_hz / repeated.cycles


def _complain(lines: list[str]) -> int:
    """Say on stderr what is wrong; the exit code."""
    for line in report.shorten(lines):
        print(line, file=sys.stderr)
    return int(bool(lines))


def _complain_of_repeats(repeated: Repeated) -> list[str]:
    if not repeated.differing:
        return []
    return [
        f"repeat: {repeated.differing} of {repeated.count} times the same image gave other logits"
    ]


# The commands


def _identify(board: Board, _: argparse.Namespace) -> int:
    said = board.identity
    rows = [
        ("board", said.board),
        ("network", said.network),
        ("network's hash", said.network_hash.hex()),
        ("build", said.build_id.hex()),
        ("image", f"{_times(said.input_shape)} (channels x height x width)"),
        ("classes", f"{said.classes:,}"),
        ("clock", f"{said.clock_hz / 1e6:g} MHz"),
        ("cycles an image", f"{said.cycles_per_image:,}"),
        ("images a second", f"{said.clock_hz / said.cycles_per_image:,.0f}"),
        ("ROM signatures", " ".join(f"{value:08x}" for value in board.signatures)),
    ]
    _print_pairs(board.link.port, rows)
    return 0


def _status(board: Board, _: argparse.Namespace) -> int:
    status = board.status()
    rows = [
        ("frames answered", f"{status.frames:,}"),
        ("errors", f"{status.errors:,}"),
        ("last error", describe(status.last_error) if status.last_error else "none"),
        ("image stored", "yes" if status.image_stored else "no"),
        ("self-test", "done" if status.self_test_done else "not done"),
    ]
    _print_pairs(board.link.port, rows)
    return 0


def _classify(board: Board, options: argparse.Namespace) -> int:
    subject = check(board, options.net, options.build)
    images = _read_images(board, options.images)
    outcome = classify_all(board, subject, images.pixels)
    table = _table(f"{subject.name} on {board.identity.board}", "image", "class", "label", "cycles")
    table.add_column("logits", no_wrap=True)
    for name, label, result in zip(images.names, images.labels, outcome.results, strict=True):
        table.add_row(
            name,
            f"[bold]{result.label}[/]",
            "-" if label < 0 else str(label),
            f"{result.cycles:,}",
            " ".join(map(str, result.logits)),
        )
    report.console().print(table)
    return _complain(outcome.complaints(images.names))


def _mnist(board: Board, options: argparse.Namespace) -> int:
    subject = check(board, options.net, options.build)
    dataset = _test_images(board)
    count = options.count
    if count > len(dataset.images):
        raise UserError(
            f"--count {count}: {dataset.name} holds {len(dataset.images):,} images; ask for no "
            "more than that"
        )
    labels = dataset.labels[:count]
    outcome = classify_all(board, subject, dataset.images[:count, None])
    repeated = repeat_on_chip(board)
    wrong = int((outcome.logits != outcome.expected).sum())
    table = _table(
        f"{subject.name} on {board.identity.board} against the int8 reference",
        *("images", "logits compared", "mismatches", "accuracy board", "accuracy ref."),
        *("images/s wire", "images/s chip", "retries"),
    )
    table.add_row(
        f"{count:,}",
        f"{outcome.logits.size:,}",
        f"[bold red]{wrong:,}[/]" if wrong else "[green]0[/]",
        f"{100 * (outcome.classes == labels).mean():.2f} %",
        f"{100 * (outcome.labels == labels).mean():.2f} %",
        f"{count / outcome.seconds:,.1f}",
        f"{_rate_on_chip(board, repeated):,.0f}",
        f"{board.link.retries:,}",
    )
    console = report.console()
    console.print(table)
    console.print(f"images: {dataset.name}", highlight=False)
    names = [f"image {number}" for number in range(count)]
    return _complain(outcome.complaints(names) + _complain_of_repeats(repeated))


def _bench(board: Board, options: argparse.Namespace) -> int:
    subject = check(board, options.net, options.build)
    said = board.identity
    image = np.random.default_rng(1).integers(0, 256, said.input_shape, np.uint8)
    outcome = classify_all(board, subject, image[None].repeat(BENCH_IMAGES, 0))
    repeated = repeat_on_chip(board)
    alone = outcome.results[-1].cycles
    interval = repeated.cycles
    if repeated.count > 1:
        interval = (repeated.cycles - alone) / (repeated.count - 1)
    rows = [
        ("clock", f"{said.clock_hz / 1e6:g} MHz"),
        ("latency", f"{alone:,} cycles, {1e6 * alone / said.clock_hz:,.1f} us"),
        ("cycles an image", f"{interval:,.1f} (built for {said.cycles_per_image:,})"),
        ("images a second on chip", f"{_rate_on_chip(board, repeated):,.0f}"),
        ("measured over", f"{repeated.count:,} images, {repeated.cycles:,} cycles"),
        ("images a second over the wire", f"{BENCH_IMAGES / outcome.seconds:,.1f}"),
        ("a request over the wire", f"{1e3 * outcome.seconds / BENCH_IMAGES:,.2f} ms"),
        ("retries", f"{board.link.retries:,}"),
    ]
    _print_pairs(f"{subject.name} on {said.board}", rows)
    names = [f"image {number}" for number in range(BENCH_IMAGES)]
    return _complain(outcome.complaints(names) + _complain_of_repeats(repeated))


def _table(title: str, first: str, *others: str) -> Any:
    from rich.table import Table

    table = Table(title=title)
    table.add_column(first, overflow="fold")
    for name in others:
        table.add_column(name, justify="right")
    return table


def _print_pairs(title: str, rows: list[tuple[str, str]]) -> None:
    from rich.table import Table

    table = Table(title=title, show_header=False)
    for row in rows:
        table.add_row(*row)
    report.console().print(table)


if __name__ == "__main__":
    errors.run(main)
