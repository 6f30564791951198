"""The timing of rtl/fc.v: vectors cut into chunks, kept, and used for each group of outputs."""

from __future__ import annotations

import math
from collections.abc import Iterable

from convstream.model.hardware.stage import ComputeStage
from convstream.model.hardware.timing import Edge, Process, Times


def vector_processes(
    stage: ComputeStage, source: Edge, sink: Edge, vectors: int, groups: int
) -> Iterable[Process]:
    """`fc` on so many vectors, of `groups` groups of pixels each."""
    converter = _Converter(stage, groups)
    yield _pack(converter, source, vectors)
    if stage.folding.input_major:
        yield _input_major(stage, source, sink, converter, vectors)
    else:
        kept: Times = []
        freed: Times = []
        yield _keep(source, converter, kept, freed, vectors)
        yield _output_major(stage, sink, kept, freed, vectors)


def _input_major(
    stage: ComputeStage, source: Edge, sink: Edge, converter: _Converter, vectors: int
) -> Process:
    """Uses each chunk for all outputs as it comes."""
    chunks = _Chunks(converter, source)
    compute = stage.compute(sink)
    groups = stage.channel_folds
    for _ in range(vectors):
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


def _keep(source: Edge, converter: _Converter, kept: Times, freed: Times, vectors: int) -> Process:
    """The input side of `vector_buffer`, which holds two vectors."""
    chunks = _Chunks(converter, source)
    for vector in range(vectors):
        for _ in range(converter.chunks):
            yield from chunks.next()
            clock = converter.given[-1] + 1
            if kept:
                clock = max(clock, kept[-1] + 1)
            if vector >= 2:
                while len(freed) < vector - 1:
                    yield
                clock = max(clock, freed[vector - 2] + 1)
            kept.append(clock)
            chunks.taken = clock


def _output_major(
    stage: ComputeStage, sink: Edge, kept: Times, freed: Times, vectors: int
) -> Process:
    """Goes through its whole vector once for each group of outputs."""
    compute = stage.compute(sink)
    chunks, groups = stage.window_folds, stage.channel_folds
    fetched = -1
    for vector in range(vectors):
        for group in range(groups):
            while sink.full:
                yield
            if group == 0:
                for index in range(vector * chunks, (vector + 1) * chunks):
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


class _Converter:
    """`width_converter` of one stage: what comes in and goes out, in units of bytes."""

    def __init__(self, stage: ComputeStage, groups: int) -> None:
        channels = stage.in_shape[0]
        simd = stage.folding.simd
        self.beats = math.ceil(channels / stage.lanes)
        self.groups = groups
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


def _pack(converter: _Converter, edge: Edge, vectors: int) -> Process:
    """The converter's input side."""
    units = 0
    for _ in range(vectors):
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
