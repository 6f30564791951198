"""How pixels become several: `upsample`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, cast

from convstream.model.base.errors import UserError
from convstream.model.hardware.draws import Choices, Limits
from convstream.model.hardware.settings import Setting, Wiring
from convstream.model.hardware.stage import Stage
from convstream.model.hardware.timing import Edge, Process, Times
from convstream.model.network.graph import Node
from convstream.model.network.layers import Layer, Shape, Upsample


class UpsampleStage(Stage):
    """Nearest-neighbour upsampling: it repeats rows, and pixels."""

    modules = ("upsample",)

    @classmethod
    def pixels_out(cls, node: Node, pixels: int) -> int:
        if pixels > 1:
            raise UserError(f"{node.name} takes one of them a beat")
        return 1

    @property
    def _layer(self) -> Upsample:
        return cast(Upsample, self.node.layer)

    @property
    def growth(self) -> Fraction:
        return Fraction(self._layer.rows)

    @property
    def geometry(self) -> str:
        return f"nearest {self._layer.rows}x{self._layer.columns}"

    @property
    def attributes(self) -> dict[str, Any]:
        return {"rows": self._layer.rows, "columns": self._layer.columns}

    def settings(self, wiring: Wiring) -> list[Setting]:
        channels, height, width = self.in_shape
        return [
            Setting("HEIGHT", height),
            Setting("WIDTH", width),
            Setting("CHANNELS", channels),
            Setting("FACTOR_H", self._layer.rows),
            Setting("FACTOR_W", self._layer.columns),
            Setting("LANES", wiring.lanes),
            Setting("FIFO_DEPTH", wiring.fifo_depth, named=True),
        ]

    # Timing

    def processes(self, sources: Sequence[Edge], sink: Edge, images: int) -> Iterable[Process]:
        (stream,) = sources
        _, height, width = self.in_shape
        rows, beats = images * height, self.channel_folds
        for count, chunks, repeats in (
            (rows, width * beats, self._layer.rows),
            (rows * self._layer.rows * width, beats, self._layer.columns),
        ):
            if repeats > 1:
                repeated, freed = Edge(None), Times()
                yield _keep(stream, freed, count, chunks)
                yield _repeat(stream, repeated, freed, count, chunks, repeats)
                stream = repeated
        yield _leave(stream, sink, images * self.output_beats)

    # Fuzz

    frequency = 1

    @classmethod
    def draw(cls, choices: Choices, shape: Shape, limits: Limits) -> Layer:
        most = 3 if math.prod(shape) <= 1000 else 1
        return Upsample(choices.integer(1, most), choices.integer(1, most))


def _keep(source: Edge, freed: Times, vectors: int, chunks: int) -> Process:
    """The input side of rtl/vector_buffer.v, which holds two vectors.

    freed: of each vector, when its last beat was fetched for the last time.
    """
    for vector, _ in itertools.product(range(vectors), range(chunks)):
        while source.empty or len(freed) < vector - 1:
            yield
        source.take(freed[vector - 2] + 1 if vector >= 2 else 0)


def _repeat(
    source: Edge, repeated: Edge, freed: Times, vectors: int, chunks: int, repeats: int
) -> Process:
    """Its output side: fetches a beat as the one before leaves its register."""
    fetched = -1
    for vector in range(vectors):
        for repeat, chunk in itertools.product(range(repeats), range(chunks)):
            left = len(repeated.written)  # beats that must have left
            index = vector * chunks + chunk
            while len(repeated.read) < left or len(source.read) <= index:
                yield
            fetched += 1
            if left:
                fetched = max(fetched, repeated.read[-1])
            if repeat == 0:
                fetched = max(fetched, source.read[index] + 1)
            repeated.written.append(fetched)
        freed.append(fetched)


def _leave(stream: Edge, sink: Edge, beats: int) -> Process:
    """Into the FIFO at the end."""
    for _ in range(beats):
        while stream.empty or sink.full:
            yield
        sink.pass_on(stream)
