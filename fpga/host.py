"""Talk to a board and compare its every logit with the int8 reference.

    convstream host --port /dev/ttyUSB0 identify
    convstream host --port /dev/ttyUSB0 classify digit.png 7   # a file, test image 7
    convstream host --port /dev/ttyUSB0 classify --data photos/ --classes names.txt 0 3
    convstream host --port /dev/ttyUSB0 mnist --count 1000
    convstream host --port /dev/ttyUSB0 test --data photos/
    convstream host --port /dev/ttyUSB0 bench
    convstream host --port /dev/ttyUSB0 status

Exit code 1: a logit differs. 2: the board cannot be reached, or is not the one to compare with.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from rich.markup import escape

from convstream.fpga.client import Board, Repeated
from convstream.fpga.link import TIMEOUT_S, Link, describe
from convstream.fpga.verify import Subject, check, classify_all, rate_on_chip, repeat_on_chip
from convstream.model.base import errors
from convstream.model.base.commands import COUNT, Command, Positive, group
from convstream.model.base.errors import UserError
from convstream.model.learning import data
from convstream.model.learning.image_files import times
from convstream.model.learning.options import data_options
from convstream.model.learning.own_data import DataFiles, Takes, load_own, title
from convstream.sim import report

if TYPE_CHECKING:
    from rich.table import Table

BAUD = 3_000_000
BENCH_IMAGES = 200
TEST_IMAGES = 1000
OTHER_IMAGES = "use: classify FILE"


@dataclass(frozen=True)
class Connection:
    """How to reach a board, and what to compare it with.

    port: of the serial line. timeout: seconds for an answer. net, build: see `verify.check`.
    """

    port: str | None
    baud: int
    timeout: float
    net: str | None
    build: Path | None

    def board(self) -> Board:
        """The board, until the command ends."""
        if self.port is None:
            raise UserError("no port given; expected --port with one such as /dev/ttyUSB0")
        link = Link(self.port, self.baud, self.timeout)
        return Board(click.get_current_context().with_resource(link))

    def subject(self, board: Board) -> Subject:
        """What it is compared with."""
        return check(board, self.net, self.build)


@group("host", __doc__)
@click.option("--port", help="Serial port, such as /dev/ttyUSB0.")
@click.option("--baud", type=COUNT, default=BAUD)
@click.option("--timeout", type=Positive(), default=TIMEOUT_S, help="Seconds for an answer.")
@click.option("--net", help="Network to compare with.  [default: the one the board names]")
@click.option("--build", type=Path, help="Its build.  [default: in build/fpga/BOARD/]")
@click.pass_context
def main(context: click.Context, **options: Any) -> None:
    """The command line: 0, or 1 if a logit differs from the reference."""
    context.obj = Connection(**options)


def _read_images(
    takes: Takes, sources: Sequence[str], given: DataFiles
) -> tuple[np.ndarray, list[str], list[str], tuple[str, ...] | None]:
    """Images as uint8 (N, C, H, W), their names and labels ("-" if unknown); names of the classes.

    sources: files, or numbers of the `given` images.
    """
    pixels, names, labels = [], [], []
    classes = None
    for source in sources:
        numbered = source.isdecimal()
        if numbered:
            found = data.load_for(takes, given, remedy=OTHER_IMAGES)
            number = int(source)
            data.check_number(number, found.images, found.name)
            found = found.of(np.array([number]))
        else:
            found = load_own(given._replace(images=source, labels=None), takes)
        classes = found.classes or classes
        pixels.append(found.images)
        several = len(found.images) > 1
        if found.names is None:
            names.append(f"{found.name} {source}")
        else:
            names += found.names if several or numbered else [source]
        if found.labels is None:
            labels += ["-"] * len(found.images)
        else:
            labels += [title(label, found.classes) for label in found.labels.tolist()]
    return np.concatenate(pixels), names, labels, classes


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


@main.command(cls=Command)
@click.pass_obj
def identify(connection: Connection) -> int:
    """What the board is and which network it runs."""
    board = connection.board()
    said = board.identity
    rows = [
        ("board", said.board),
        ("network", said.network),
        ("network's hash", said.network_hash.hex()),
        ("build", said.build_id.hex()),
        ("image", f"{times(said.input_shape)} (channels x height x width)"),
        ("classes", f"{said.classes:,}"),
        ("clock", f"{said.clock_hz / 1e6:g} MHz"),
        ("cycles an image", f"{said.cycles_per_image:,}"),
        ("images a second", f"{said.clock_hz / said.cycles_per_image:,.0f}"),
        ("ROM signatures", " ".join(f"{value:08x}" for value in board.signatures)),
    ]
    _print_pairs(board.link.port, rows)
    return 0


@main.command(cls=Command)
@click.pass_obj
def status(connection: Connection) -> int:
    """The board's counters and its last error."""
    board = connection.board()
    said = board.status()
    rows = [
        ("frames answered", f"{said.frames:,}"),
        ("errors", f"{said.errors:,}"),
        ("last error", describe(said.last_error) if said.last_error else "none"),
        ("image stored", "yes" if said.image_stored else "no"),
        ("self-test", "done" if said.self_test_done else "not done"),
    ]
    _print_pairs(board.link.port, rows)
    return 0


@main.command(cls=Command)
@click.argument("images", nargs=-1, required=True, metavar="IMG...")
@data_options()
@click.pass_obj
def classify(connection: Connection, images: tuple[str, ...], given: DataFiles) -> int:
    """Classify images of your own, or test images by number.

    An image is what --data takes, or the number of one of these, by default of a test image.
    """
    board = connection.board()
    subject = connection.subject(board)
    pixels, names, labels, classes = _read_images(subject.design.takes, images, given)
    outcome = classify_all(board, subject, pixels)
    table = _table(f"{subject.name} on {board.identity.board}", "image", "class", "label", "cycles")
    table.add_column("logits", no_wrap=True)
    for name, label, result in zip(names, labels, outcome.results, strict=True):
        table.add_row(
            escape(name),
            f"[bold]{escape(title(result.label, classes))}[/]",
            escape(label),
            f"{result.cycles:,}",
            " ".join(map(str, result.logits)),
        )
    report.console().print(table)
    return _complain(outcome.complaints(names))


@main.command(cls=Command)
@click.option("--count", type=COUNT, help="Of images.  [default: 1000 of MNIST, all of --data]")
@data_options()
@click.pass_obj
def test(connection: Connection, count: int | None, given: DataFiles) -> int:
    """Classify labelled images and compare every logit."""
    board = connection.board()
    subject = connection.subject(board)
    if count is None and given.images is None:
        count = TEST_IMAGES
    found = data.load_for(subject.design.takes, given, count, remedy=OTHER_IMAGES)
    labels, count = found.labels, len(found.images)
    outcome = classify_all(board, subject, found.images)
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
        *(
            "-" if labels is None else f"{100 * (classes == labels).mean():.2f} %"
            for classes in (outcome.classes, outcome.labels)
        ),
        f"{count / outcome.seconds:,.1f}",
        f"{rate_on_chip(board, repeated):,.0f}",
        f"{board.link.retries:,}",
    )
    console = report.console()
    console.print(table)
    console.print(f"images: {found.name}", highlight=False)
    names = [f"image {number}" for number in range(count)]
    return _complain(outcome.complaints(names) + _complain_of_repeats(repeated))


main.add_command(test, "mnist")


@main.command(cls=Command)
@click.pass_obj
def bench(connection: Connection) -> int:
    """Measure images a second, over the wire and on chip."""
    board = connection.board()
    subject = connection.subject(board)
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
