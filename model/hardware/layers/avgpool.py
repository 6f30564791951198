"""How an average pool is built: `avgpool2d`."""

from __future__ import annotations

from convstream.model.hardware.draws import Choices, Limits
from convstream.model.hardware.layers.running import RunningStage
from convstream.model.hardware.stage import Setting, Wiring, requantise
from convstream.model.network.layers import AvgPool, Layer, Shape


class AvgPoolStage(RunningStage):
    """An average pool."""

    most_at_once = 4

    @property
    def module(self) -> str:
        return "avgpool2d"

    def settings(self, wiring: Wiring) -> list[Setting]:
        if self.running:
            reading = [Setting("RUNNING", 1)]
        else:
            reading = [
                *self.placing_settings(wiring.pad_code),
                Setting("PIXELS", self.pixels, default=1),
                Setting("PACE", self.pace),
            ]
        return [
            *self.pool_settings(wiring),
            *reading,
            *requantise(wiring.rounding),
            Setting("OUT_WIDTH", wiring.out_bits, default=8),
            Setting("FIFO_DEPTH", wiring.fifo_depth, named=True),
        ]

    # Fuzz

    frequency = 2

    @classmethod
    def draw(cls, choices: Choices, shape: Shape, limits: Limits) -> Layer:
        if choices.now_and_then(3):
            # Windows of any size that do not overlap, up to that of a global pool.
            rows, columns = (2 ** choices.integer(0, size.bit_length() - 1) for size in shape[1:])
            return AvgPool((rows, columns), (rows, columns))
        window = limits.window(choices, shape, (2, 4, 1))
        (rows, columns), (_, height, width) = window.kernel, shape
        if rows <= height and columns <= width and choices.now_and_then(2):
            return AvgPool(window.kernel, window.kernel)
        return AvgPool(window.kernel, window.stride, window.padding, count_include_pad=True)
