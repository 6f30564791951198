"""How a fully connected layer is built: `fc`, whose order of loops is a choice."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from convstream.model.hardware.draws import Choices, Limits
from convstream.model.hardware.settings import Setting, Wiring
from convstream.model.hardware.stage import ComputeStage
from convstream.model.hardware.stream_order import arrival_order
from convstream.model.hardware.timing import Edge, Process, Times
from convstream.model.network.graph import Node
from convstream.model.network.layers import Layer, Linear, Shape


class LinearStage(ComputeStage):
    """A fully connected layer."""

    modules = ("fc",)
    ordered = True
    converts = True

    @property
    def takes_all(self) -> bool:
        return True

    @classmethod
    def pixels_out(cls, node: Node, pixels: int) -> int:
        return 1

    @property
    def geometry(self) -> str:
        return "input-major" if self.folding.input_major else "output-major"

    def settings(self, wiring: Wiring) -> list[Setting]:
        channels, height, width = self.in_shape
        return [
            Setting("POSITIONS", height * width),
            Setting("CHANNELS", channels),
            Setting("LANES", wiring.lanes),
            Setting("PIXELS", self.pixels, default=1),
            Setting("OUT_FEATURES", self.out_shape[0]),
            Setting("PE", self.folding.pe, named=True),
            Setting("SIMD", self.folding.simd, named=True),
            Setting("INPUT_MAJOR", int(self.folding.input_major), default=0),
            *self.compute_settings(wiring),
        ]

    # Order of ROM words

    @property
    def _arrival(self) -> np.ndarray:
        return arrival_order(self.in_shape, self.lanes, self.pixels)

    def weight_matrix(self, weight: np.ndarray) -> np.ndarray:
        """(OUT, IN) to the order in which the input arrives."""
        return weight[:, self._arrival]

    def matrix_weight(self, matrix: np.ndarray) -> np.ndarray:
        weight = np.empty_like(matrix)
        weight[:, self._arrival] = matrix
        return weight

    # Timing

    def processes(self, sources: Sequence[Edge], sink: Edge, images: int) -> Iterable[Process]:
        (source,) = sources
        converter = _Converter(self)
        yield _pack(converter, source, images)
        if self.folding.input_major:
            yield self._input_major(source, sink, converter, images)
        else:
            kept: Times = []
            freed: Times = []
            yield self._keep(source, converter, kept, freed, images)
            yield self._output_major(sink, kept, freed, images)

    def _input_major(self, source: Edge, sink: Edge, converter: _Converter, images: int) -> Process:
        """Uses each chunk for all outputs as it comes."""
        chunks = _Chunks(converter, source)
        compute = self.compute(sink)
        groups = self.channel_folds
        for _ in range(images):
            for chunk in range(converter.chunks):
                yield from chunks.next()
                earliest = converter.given[-1] + 1
                whole = chunk < converter.chunks - 1
                for _ in range(1 if whole else groups):
                    while sink.full:
                        yield
                    compute.enter(earliest, groups if whole else 1)
                    if not whole:
                        compute.leave()
                chunks.taken = compute.entered

    def _keep(
        self, source: Edge, converter: _Converter, kept: Times, freed: Times, images: int
    ) -> Process:
        """The input side of `vector_buffer`, which holds two vectors."""
        chunks = _Chunks(converter, source)
        for image in range(images):
            for _ in range(converter.chunks):
                yield from chunks.next()
                clock = converter.given[-1] + 1
                if kept:
                    clock = max(clock, kept[-1] + 1)
                if image >= 2:
                    while len(freed) < image - 1:
                        yield
                    clock = max(clock, freed[image - 2] + 1)
                kept.append(clock)
                chunks.taken = clock

    def _output_major(self, sink: Edge, kept: Times, freed: Times, images: int) -> Process:
        """Goes through its whole vector once for each group of outputs."""
        compute = self.compute(sink)
        chunks, groups = self.window_folds, self.channel_folds
        fetched = -1
        for image in range(images):
            for group in range(groups):
                while sink.full:
                    yield
                if group == 0:
                    for index in range(image * chunks, (image + 1) * chunks):
                        while len(kept) <= index:
                            yield
                        fetched = max(fetched + 1, compute.entered, kept[index] + 1)
                        compute.enter(fetched + 1)
                else:
                    if chunks > 1:
                        compute.enter(compute.entered + 1, chunks - 1)
                    fetched = compute.entered
                    compute.enter(fetched + 1)
                compute.leave()
            freed.append(fetched)

    # Fuzz

    frequency = 2

    @classmethod
    def draw(cls, choices: Choices, shape: Shape, limits: Limits) -> Layer:
        return Linear(limits.channels(choices, math.prod(shape)))


class _Converter:
    """`width_converter` of one stage: what comes in and goes out, in units of bytes."""

    def __init__(self, stage: LinearStage) -> None:
        channels, height, width = stage.in_shape
        simd = stage.folding.simd
        self.beats = math.ceil(channels / stage.lanes)
        self.groups = height * width // stage.pixels
        self.chunks = stage.window_folds
        full = stage.pixels * stage.lanes
        short = stage.pixels * (channels - (self.beats - 1) * stage.lanes)
        unit = math.gcd(full, short, simd)
        final = short + self.chunks * simd - stage.window
        self.full, self.short, self.final = full // unit, short // unit, final // unit
        self.chunk = simd // unit
        self.accept = 2 * self.chunk  # units that may be held where a beat is accepted
        self.units: list[int] = []  # in all, after each input beat
        self.given: Times = []  # of each chunk, into the output register


def _pack(converter: _Converter, edge: Edge, images: int) -> Process:
    """The converter's input side."""
    units = 0
    for _ in range(images):
        for group in range(converter.groups):
            for beat in range(converter.beats):
                earliest = 0
                needed = math.ceil((units - converter.accept) / converter.chunk)
                if needed > 0:
                    while len(converter.given) < needed:
                        yield
                    earliest = converter.given[needed - 1] + 1
                while edge.empty:
                    yield
                edge.take(earliest)
                if beat < converter.beats - 1:
                    units += converter.full
                elif group < converter.groups - 1:
                    units += converter.short
                else:
                    units += converter.final
                converter.units.append(units)


class _Chunks:
    """The converter's output side: names the clock at which the next chunk is there."""

    def __init__(self, converter: _Converter, edge: Edge) -> None:
        self.converter = converter
        self.edge = edge
        self.beat = 0
        self.taken = 0  # clock at which the chunk before was taken

    def next(self) -> Process:
        converter = self.converter
        wanted = converter.chunk * (len(converter.given) + 1)
        while True:
            while len(converter.units) <= self.beat:
                yield
            if converter.units[self.beat] >= wanted:
                break
            self.beat += 1
        clock = max(self.edge.read[self.beat] + 1, self.taken)
        if converter.given:
            clock = max(clock, converter.given[-1] + 1)
        converter.given.append(clock)
