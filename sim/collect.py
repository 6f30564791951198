"""From the harness's text files to logits, cycle counts and complaints."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from model.network.reference import argmax
from sim.design import Design

UNKNOWN = np.iinfo(np.int32).min
"""Stands for a logit that is X, or that never came, among the integers."""


@dataclass
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


@dataclass
class Collected:
    """What came out of one simulation.

    logits: int32 (N, classes) in (C, H, W) order, UNKNOWN where there is none. classes: int64 (N,),
    -1 where unknown. starts, ends: int64 (N,), the cycles that move an image's first beat in and
    its last logit out, -1 where that never happened. problems: what is wrong beside the values.
    """

    logits: np.ndarray
    classes: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    problems: list[str] = field(default_factory=list)

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


def collect(design: Design, count: int, logits_path: Path, starts_path: Path) -> Collected:
    """Read what the harness wrote for `count` images."""
    collected = Collected(
        logits=np.full((count, design.classes), UNKNOWN, np.int32),
        classes=np.full(count, -1, np.int64),
        starts=np.full(count, -1, np.int64),
        ends=np.full(count, -1, np.int64),
    )
    starts = np.array(starts_path.read_text().split(), np.int64)[:count]
    collected.starts[: len(starts)] = starts
    beats = [line.split() for line in logits_path.read_text().splitlines()]
    expected = count * design.output_beats
    if len(beats) != expected:
        collected.problems.append(f"{len(beats)} output beats, expected {expected}")
    order = design.arrival
    for image in range(min(count, len(beats) // design.output_beats)):
        own = beats[image * design.output_beats :][: design.output_beats]
        last = [flags[-1] for *_, flags in own]
        if last != ["0"] * (len(own) - 1) + ["1"]:
            collected.problems.append(f"image {image}: tlast is not on its last beat alone")
        if any(flags[0] != "1" for *_, flags in own):
            collected.problems.append(f"image {image}: tvalid is X")
        collected.logits[image, order] = _logits(design, [data for _, data, *_ in own])
        collected.classes[image] = _class(design, own[-1][2])
        collected.ends[image] = int(own[-1][0])
    return collected


def _logits(design: Design, words: list[str]) -> np.ndarray:
    """int32 (classes,) in order of arrival; UNKNOWN for each with an X or Z bit in it."""
    # The first lane is the lowest, hence the last in the text of a beat.
    lanes = [word[i : i + 8] for word in words for i in range(len(word) - 8, -1, -8)]
    values = [_integer(lanes[lane]) for lane in design.arrival_lanes]
    return np.array(values, np.int64).astype(np.int32)


def _integer(digits: str) -> int:
    try:
        value = int(digits, 16)
    except ValueError:
        return int(UNKNOWN)
    return value - (1 << 32) if value >> 31 else value


def _class(design: Design, digits: str) -> int:
    """Class that `tuser` names, in (C, H, W) order; -1 where it is X or out of range."""
    try:
        return int(design.arrival[int(digits, 16)])
    except (ValueError, IndexError):
        return -1


def compare(design: Design, collected: Collected, reference: np.ndarray) -> list[Mismatch]:
    """Every logit and class that differs from int32 (N, classes) `reference`."""
    found = []
    for image, index in zip(*np.nonzero(collected.logits != reference), strict=True):
        value = int(collected.logits[image, index])
        rtl = None if value == UNKNOWN else value
        found.append(Mismatch(int(image), int(index), rtl, int(reference[image, index])))
    # Among equal logits the first to arrive wins.
    expected = design.arrival[argmax(np.ascontiguousarray(reference[:, design.arrival]))]
    for image in np.nonzero(collected.classes != expected)[0]:
        value = int(collected.classes[image])
        rtl = None if value < 0 else value
        found.append(Mismatch(int(image), None, rtl, int(expected[image])))
    return found
