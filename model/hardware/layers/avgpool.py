"""How an average pool is built: `avgpool2d`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from convstream.model.hardware.draws import Choices, Limits
from convstream.model.hardware.layers.window import PoolStage
from convstream.model.hardware.stage import Setting, Wiring, requantise
from convstream.model.hardware.timing import Edge, Process
from convstream.model.network.layers import AvgPool, Layer, Shape


class AvgPoolStage(PoolStage):
    """An average pool."""

    @property
    def module(self) -> str:
        return "avgpool2d"

    def settings(self, wiring: Wiring) -> list[Setting]:
        return [
            *self.pool_settings(wiring),
            Setting("STRIDE", self.window_layer.stride),
            Setting("PIXELS", self.pixels, default=1),
            Setting("PACE", self.pace),
            *requantise(wiring.rounding),
            Setting("OUT_WIDTH", wiring.out_bits, default=8),
            Setting("FIFO_DEPTH", wiring.fifo_depth, named=True),
        ]

    def processes(self, sources: Sequence[Edge], sink: Edge, images: int) -> Iterable[Process]:
        (source,) = sources
        yield from self.window_processes(source, sink, images)

    # Fuzz

    frequency = 2

    @classmethod
    def draw(cls, choices: Choices, shape: Shape, limits: Limits) -> Layer:
        kernel = choices.of([kernel for kernel in (2, 4, 1) if kernel <= min(shape[1:])])
        stride = kernel if choices.now_and_then(2) else choices.integer(1, 4)
        return AvgPool(kernel, stride)
