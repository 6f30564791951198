"""Talk to a board and compare its every logit with the int8 reference.

python -m convstream.fpga.host --port /dev/ttyUSB0 identify
python -m convstream.fpga.host --port /dev/ttyUSB0 classify digit.png 7  # a file, test image 7
python -m convstream.fpga.host --port /dev/ttyUSB0 mnist --count 1000
python -m convstream.fpga.host --port /dev/ttyUSB0 bench
python -m convstream.fpga.host --port /dev/ttyUSB0 status

Exit code 1: a logit differs. 2: the board cannot be reached, or is not the one to compare with.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from convstream.fpga.client import Board, Repeated
from convstream.fpga.link import TIMEOUT_S, Link, describe
from convstream.fpga.verify import check, classify_all, rate_on_chip, repeat_on_chip
from convstream.model.base import errors
from convstream.model.base.arguments import positive
from convstream.model.learning import data
from convstream.sim import report

if TYPE_CHECKING:
    from rich.table import Table

BAUD = 3_000_000
BENCH_IMAGES = 200
OTHER_IMAGES = "use: classify FILE"


def main(arguments: list[str] | None = None) -> int:
    """The command line: 0, or 1 if a logit differs from the reference."""
    options = _parse(arguments)
    with Link(options.port, options.baud, options.timeout) as link:
        return options.run(Board(link), options)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m convstream.fpga.host", description="Talk to a board."
    )
    parser.add_argument("--port", required=True, help="serial port, such as /dev/ttyUSB0")
    parser.add_argument(
        "--baud", type=positive("--baud"), default=BAUD, help="default: %(default)s"
    )
    parser.add_argument(
        "--timeout",
        type=positive("--timeout", float),
        default=TIMEOUT_S,
        help="seconds for an answer",
    )
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
            command.add_argument(
                "--count", type=positive("--count"), default=1000, help="of images"
            )
    return parser.parse_args(arguments)


def _read_images(
    shape: tuple[int, int, int], sources: list[str]
) -> tuple[np.ndarray, list[str], list[str]]:
    """Images as uint8 (N, C, H, W), their names, and their labels ("-" if unknown)."""
    pixels, names, labels = [], [], []
    for source in sources:
        if source.isdecimal():
            images, known, name = data.load_for(shape, remedy=OTHER_IMAGES)
            number = int(source)
            data.check_number(number, images, name)
            pixels.append(images[number : number + 1])
            names.append(f"{name} {number}")
            labels.append("-" if known is None else str(known[number]))
            continue
        images = data.load_user_images(source, shape)
        pixels.append(images)
        several = len(images) > 1
        names += [f"{source} {i}" if several else source for i in range(len(images))]
        labels += ["-"] * len(images)
    return np.concatenate(pixels), names, labels


def _complain(lines: list[str]) -> int:
    """Print what is wrong on stderr; the exit code."""
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
        ("image", f"{data.times(said.input_shape)} (channels x height x width)"),
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
    pixels, names, labels = _read_images(board.identity.input_shape, options.images)
    outcome = classify_all(board, subject, pixels)
    table = _table(f"{subject.name} on {board.identity.board}", "image", "class", "label", "cycles")
    table.add_column("logits", no_wrap=True)
    for name, label, result in zip(names, labels, outcome.results, strict=True):
        table.add_row(
            name,
            f"[bold]{result.label}[/]",
            label,
            f"{result.cycles:,}",
            " ".join(map(str, result.logits)),
        )
    report.console().print(table)
    return _complain(outcome.complaints(names))


def _mnist(board: Board, options: argparse.Namespace) -> int:
    subject = check(board, options.net, options.build)
    count = options.count
    shape = board.identity.input_shape
    images, labels, dataset = data.load_for(shape, count=count, remedy=OTHER_IMAGES)
    outcome = classify_all(board, subject, images)
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
        f"{rate_on_chip(board, repeated):,.0f}",
        f"{board.link.retries:,}",
    )
    console = report.console()
    console.print(table)
    console.print(f"images: {dataset}", highlight=False)
    names = [f"image {number}" for number in range(count)]
    return _complain(outcome.complaints(names) + _complain_of_repeats(repeated))


def _bench(board: Board, options: argparse.Namespace) -> int:
    subject = check(board, options.net, options.build)
    said = board.identity
    image = np.random.default_rng(1).integers(0, 256, said.input_shape, np.uint8)
    outcome = classify_all(board, subject, image[None].repeat(BENCH_IMAGES, 0))
    repeated = repeat_on_chip(board)
    alone = outcome.results[-1].cycles
    interval: float = repeated.cycles
    if repeated.count > 1:
        interval = (repeated.cycles - alone) / (repeated.count - 1)
    rows = [
        ("clock", f"{said.clock_hz / 1e6:g} MHz"),
        ("latency", f"{alone:,} cycles, {1e6 * alone / said.clock_hz:,.1f} us"),
        ("cycles an image", f"{interval:,.1f} (built for {said.cycles_per_image:,})"),
        ("images a second on chip", f"{rate_on_chip(board, repeated):,.0f}"),
        ("measured over", f"{repeated.count:,} images, {repeated.cycles:,} cycles"),
        ("images a second over the wire", f"{BENCH_IMAGES / outcome.seconds:,.1f}"),
        ("a request over the wire", f"{1e3 * outcome.seconds / BENCH_IMAGES:,.2f} ms"),
        ("retries", f"{board.link.retries:,}"),
    ]
    _print_pairs(f"{subject.name} on {said.board}", rows)
    names = [f"image {number}" for number in range(BENCH_IMAGES)]
    return _complain(outcome.complaints(names) + _complain_of_repeats(repeated))


def _table(title: str, first: str, *others: str) -> Table:
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
