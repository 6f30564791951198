"""How channels of several tensors come together: `axis_concat`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from convstream.model.base.errors import UserError
from convstream.model.hardware.draws import Choices, Limits
from convstream.model.hardware.settings import Setting, Wiring
from convstream.model.hardware.stage import Stage
from convstream.model.hardware.timing import Edge, Process
from convstream.model.network.graph import Node
from convstream.model.network.layers import Concat, Layer, Shape


class ConcatStage(Stage):
    """The inputs' beats of each group of pixels in turn."""

    modules = ("axis_concat",)

    @classmethod
    def pixels_out(cls, node: Node, pixels: int) -> int:
        return pixels

    @classmethod
    def multiples(cls, node: Node) -> Sequence[int]:
        """Those of all inputs but the last one, behind whose beats others follow."""
        return [shape[0] for shape in node.in_shapes[:-1]]

    @property
    def _turns(self) -> list[int]:
        """Beats of a group, of each input."""
        return [math.ceil(shape[0] / self.lanes) for shape in self.node.in_shapes]

    @property
    def geometry(self) -> str:
        return "concat"

    def check(self) -> None:
        super().check()
        for channels in self.multiples(self.node):
            if channels % self.lanes:
                raise UserError(
                    f"{self.name}: {self.lanes} channels a beat do not divide the {channels} of an "
                    "input that others follow; choose a divisor"
                )

    def settings(self, wiring: Wiring) -> list[Setting]:
        turns = ", ".join(f"16'd{turn}" for turn in reversed(self._turns))
        width = f"8*{self.pixels}*{wiring.lanes}" if self.pixels > 1 else f"8*{wiring.lanes}"
        return [
            Setting("INPUTS", len(self._turns), default=2),
            Setting("WIDTH", width),
            Setting("GROUPS", self.output_groups),
            Setting("BEATS", f"{{{turns}}}"),
            Setting("FIFO_DEPTH", wiring.fifo_depth, named=True),
        ]

    # Timing

    def processes(self, sources: Sequence[Edge], sink: Edge, images: int) -> Iterable[Process]:
        yield self._beats(sources, sink, images)

    def _beats(self, sources: Sequence[Edge], sink: Edge, images: int) -> Process:
        for _ in range(images * self.output_groups):
            for source, turn in zip(sources, self._turns, strict=True):
                for _ in range(turn):
                    while source.empty or sink.full:
                        yield
                    sink.pass_on(source)

    # Fuzz

    frequency = 0

    @classmethod
    def draw(cls, choices: Choices, shape: Shape, limits: Limits) -> Layer:
        return Concat()
