"""Stages that make of a beat of each input one of the output."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from convstream.model.hardware.stage import Setting, Stage, Wiring
from convstream.model.hardware.timing import Edge, Pipeline, Process
from convstream.model.network.graph import Node


class PointwiseStage(Stage):
    """A stage whose pipeline moves or holds as one, a beat of each input to one of the output."""

    # Of its pipeline.
    registers: ClassVar[int]

    @classmethod
    def pixels_out(cls, node: Node, pixels: int) -> int:
        return pixels

    def size_settings(self, wiring: Wiring) -> list[Setting]:
        """The parameters that all have."""
        channels, height, width = self.in_shape
        return [
            Setting("POSITIONS", height * width),
            Setting("CHANNELS", channels),
            Setting("LANES", wiring.lanes),
            Setting("PIXELS", self.pixels, default=1),
        ]

    def processes(self, sources: Sequence[Edge], sink: Edge, images: int) -> Iterable[Process]:
        yield self._beats(sources, sink, images)

    def _beats(self, sources: Sequence[Edge], sink: Edge, images: int) -> Process:
        pipeline = Pipeline(self.registers, sink)
        for index in range(images * self.input_beats):
            while sink.full or any(source.empty for source in sources):
                yield
            pipeline.enter(max(source.written[index] for source in sources) + 1)
            for source in sources:
                source.read.append(pipeline.entered)
            pipeline.leave()

    # Fuzz

    frequency = 0
