"""Compare a board with the int8 reference, and measure its speed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np

from convstream.fpga import identity
from convstream.fpga.client import MOST_REPEATS, Board, Repeated, Result
from convstream.model.base import places
from convstream.model.base.errors import UserError
from convstream.model.formats.onnx import read_onnx
from convstream.model.hardware import manifest, rom
from convstream.model.network import reference
from convstream.model.network.quantised import QuantisedNetwork
from convstream.sim import report
from convstream.sim.design import Design

BUILD = places.BUILD / "fpga"
# The shortest measurement, unless a counter of the board limits it.
ENOUGH_S = 0.3
GROWTH = 8
MOST_CYCLES = 2**31


@dataclass(frozen=True, eq=False)
class Subject:
    """What a board is compared with: the network, and its build, which knows the logit order."""

    quantised: QuantisedNetwork
    design: Design

    @property
    def name(self) -> str:
        """The network's name."""
        return self.quantised.network.name

    def ordered(self, result: Result) -> Result:
        """A result with class and logits numbered as in the reference; class -1 if out of range."""
        arrival = self.design.arrival
        logits = np.empty_like(result.logits)
        logits[arrival] = result.logits
        known = result.label < len(arrival)
        return Result(int(arrival[result.label]) if known else -1, result.cycles, logits)


def check(board: Board, net: str | None, build: Path | None) -> Subject:
    """Find the network and build of a board. Raises `UserError` unless the board runs them.

    net: the network to compare with. build: the folder of its build. By default both are those that
    the board reports.
    """
    said = board.identity
    onnx = manifest.find(net or said.network) / "network.onnx"
    if not onnx.is_file():
        raise UserError(f"{onnx} is missing; restore it, or choose a network with --net")
    present = identity.network_hash(onnx)
    if present != said.network_hash:
        raise UserError(
            f"the board runs {said.network} with hash {said.network_hash.hex()}, but {onnx} has "
            f"{present.hex()}; load that one (convstream build --prog), or choose with --net"
        )
    folder = build or _build_of(said)
    if not (folder / manifest.FILE_NAME).is_file():
        raise UserError(
            f"{folder} holds no build, so what the ROMs should hold is unknown; make it with: "
            f"convstream build {said.network} --board {said.board}, or name its folder with --build"
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
            f"{built.build_id.hex()}, with other ROMs; load that one (convstream build --prog), or "
            "name the board's with --build"
        )
    if wrong:
        raise UserError(
            f"the board's ROMs of {', '.join(wrong)} do not hold what {folder} says (their "
            "signatures differ); load the bitstream again (convstream build --prog)"
        )
    return Subject(read_onnx(onnx, said.network), design)


def _build_of(said: identity.Identity) -> Path:
    """The folder of the exact build that a board holds, or else that of its bitstream."""
    for path in sorted((BUILD / said.board).glob(f"{said.network}*/{identity.FILE_NAME}")):
        if identity.read_mem(path).build_id == said.build_id:
            return path.parent
    return BUILD / said.board / said.network


def signatures(design: Design) -> list[tuple[str, int]]:
    """Name and expected ROM signature of each layer with weights."""
    return [
        (
            layer["name"],
            rom.signature(*(design.files[name].decode() for name in design.roms(layer["name"]))),
        )
        for layer in design.manifest["layers"]
        if design.roms(layer["name"])
    ]


@dataclass(frozen=True, eq=False)
class Outcome:
    """The result of images sent over the wire.

    results: the board's, in the reference's order. expected: int32 (N, classes), the reference's
    logits. labels: int64 (N,), the reference's classes. seconds: of the exchange alone.
    """

    results: list[Result]
    expected: np.ndarray
    labels: np.ndarray
    seconds: float

    @property
    def logits(self) -> np.ndarray:
        """The board's logits: int32 (N, classes)."""
        return np.stack([result.logits for result in self.results])

    @property
    def classes(self) -> np.ndarray:
        """The board's classes: int64 (N,)."""
        return np.array([result.label for result in self.results])

    def complaints(self, names: list[str]) -> list[str]:
        """A line for each logit and class that differs from the reference."""
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
    """Classify uint8 (N, C, H, W) images on the board one by one, with a progress bar."""
    expected = reference.predict(subject.quantised, pixels)
    results = []
    with report.progress("images") as progress:
        task = progress.add_task(subject.name, total=len(pixels))
        started = time.monotonic()
        for image in pixels.transpose(0, 2, 3, 1):
            result = board.classify(image.tobytes())
            results.append(subject.ordered(result))
            progress.advance(task)
        seconds = time.monotonic() - started
    return Outcome(results, expected, subject.design.classify(expected), seconds)


def repeat_on_chip(board: Board) -> Repeated:
    """Repeat the stored image, more often each time, until the run is long enough to measure."""
    most = min(MOST_REPEATS, max(1, MOST_CYCLES // board.identity.cycles_per_image))
    count, seconds = 1, 0.0
    while True:
        started = time.monotonic()
        repeated = board.repeat(count, 2 * GROWTH * seconds)
        seconds = time.monotonic() - started
        if seconds >= ENOUGH_S or count == most or repeated.differing:
            return repeated
        count = min(most, GROWTH * count)


def rate_on_chip(board: Board, repeated: Repeated) -> float:
    """Images a second at the board's own clock."""
    return repeated.count * board.identity.clock_hz / repeated.cycles
