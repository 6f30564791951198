"""From the harness's text files to logits, cycle counts and complaints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from convstream.sim.design import Design

UNKNOWN = int(np.iinfo(np.int32).min)
"""Stands for a value that is X, or that never came, among the integers."""


@dataclass(frozen=True)
class Mismatch:
    """A logit or a class that is not what the reference says. class_index is None for a class."""

    image: int
    class_index: int | None
    rtl: int | None
    reference: int

    def __str__(self) -> str:
        rtl = "X or missing" if self.rtl is None else self.rtl
        what = "class" if self.class_index is None else f"logit of class {self.class_index}"
        return f"image {self.image}: {what}: RTL {rtl}, reference {self.reference}"


@dataclass(eq=False)
class Result:
    """What came out of a simulation.

    logits: int32 (N, classes) in (C, H, W) order, UNKNOWN where there is none. classes: int64 (N,),
    -1 where unknown. starts, ends: int64, for each image that was streamed the cycles that move its
    first beat in and its last logit out, -1 where that never happened. problems: what is wrong
    beside the values. stalls: cycles in which a side of the network was ready and the harness held
    back. seconds: wall time of the streaming alone.
    """

    logits: np.ndarray
    classes: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    problems: list[str] = field(default_factory=list)
    stalls: int = 0
    seconds: float = 0.0

    @property
    def latency(self) -> int | None:
        """Cycles from the first beat in to the last logit out, of the image that is alone."""
        if self.starts[0] < 0 or self.ends[0] < 0:
            return None
        return int(self.ends[0] - self.starts[0])

    @property
    def interval(self) -> float | None:
        """Mean cycles from image to image, from the third on: by then the pipeline is full."""
        ends = self.ends[2:]
        if len(ends) < 2 or (ends < 0).any():
            return None
        return float(ends[-1] - ends[0]) / (len(ends) - 1)

    @property
    def cycles(self) -> int:
        """Cycles until the last logit of all."""
        return max(0, int(self.ends.max()))


def collect(design: Design, count: int, logits_path: Path, starts_path: Path) -> Result:
    """Read what the harness wrote for `count` images."""
    result = Result(
        logits=np.full((count, design.classes), UNKNOWN, np.int32),
        classes=np.full(count, -1, np.int64),
        starts=np.full(count, -1, np.int64),
        ends=np.full(count, -1, np.int64),
    )
    starts = np.array(starts_path.read_text().split(), np.int64)[:count]
    result.starts[: len(starts)] = starts
    beats = [line.split() for line in logits_path.read_text().splitlines()]
    per_image = len(design.slots)
    if len(beats) != count * per_image:
        result.problems.append(f"{len(beats)} output beats, expected {count * per_image}")
    for image in range(min(count, len(beats) // per_image)):
        own = beats[image * per_image :][:per_image]
        last = [flags[-1] for *_, flags in own]
        if last != ["0"] * (len(own) - 1) + ["1"]:
            result.problems.append(f"image {image}: tlast is not on its last beat alone")
        if any(flags[0] != "1" for *_, flags in own):
            result.problems.append(f"image {image}: tvalid is X")
        result.logits[image] = unpack(
            (data for _, data, *_ in own), design.slots, design.output_bits
        )
        result.classes[image] = _class(design, own[-1][2])
        result.ends[image] = int(own[-1][0])
    return result


def unpack(words: Iterable[str], slots: np.ndarray, bits: int) -> np.ndarray:
    """The values of a tensor from the hexadecimal `words` of its beats, one a beat.

    slots: int64 (beats, lanes), of `stream_order.slots`. bits: of a value, 32 if it is signed.
    Returns int64 (elements,), flattened from (C, H, W), UNKNOWN where a bit is X or Z or the beat
    is missing; words beyond the last beat do not count.
    """
    digits = bits // 4
    # The first lane is the lowest, hence the last in the text of a beat.
    lanes = [word[i : i + digits] for word in words for i in range(len(word) - digits, -1, -digits)]
    values = [UNKNOWN] * int((slots >= 0).sum())
    for element, lane in zip(slots.ravel().tolist(), lanes, strict=False):
        if element >= 0:
            values[element] = _integer(lane, signed=bits == 32)
    return np.array(values, np.int64)


def _integer(digits: str, signed: bool) -> int:
    try:
        value = int(digits, 16)
    except ValueError:
        return UNKNOWN
    return value - (1 << 32) if signed and value >> 31 else value


def _class(design: Design, digits: str) -> int:
    """Class that `tuser` names, in (C, H, W) order; -1 where it is X or out of range."""
    try:
        return int(design.arrival[int(digits, 16)])
    except (ValueError, IndexError):
        return -1


def compare(
    design: Design, result: Result, reference: np.ndarray, first: int = 0
) -> list[Mismatch]:
    """Every logit and class that differs from those of int32 (N, classes) `reference`.

    first: number of the first image in the run.
    """
    found = []
    for image, index in np.argwhere(result.logits != reference).tolist():
        value = int(result.logits[image, index])
        rtl = None if value == UNKNOWN else value
        found.append(Mismatch(first + image, index, rtl, int(reference[image, index])))
    expected = design.classify(reference)
    for image in np.flatnonzero(result.classes != expected).tolist():
        value = int(result.classes[image])
        rtl = None if value < 0 else value
        found.append(Mismatch(first + image, None, rtl, int(expected[image])))
    return found
