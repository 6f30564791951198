"""How an average pool is built: `avgpool2d`."""

from __future__ import annotations

from convstream.model.base.errors import UserError
from convstream.model.hardware.draws import Choices, Limits
from convstream.model.hardware.layers.running import RunningStage
from convstream.model.hardware.settings import Setting, Wiring, requantise
from convstream.model.hardware.timing import Edge, Pipeline
from convstream.model.network.layers import AvgPool, Layer, Shape
from convstream.model.network.layers.avgpool import WHOLE_IMAGES


class AvgPoolStage(RunningStage):
    """An average pool."""

    modules = ("avgpool2d",)
    most_at_once = 4

    def check(self) -> None:
        super().check()
        if self.scaling is not None and not self.scaling.shared:
            raise UserError(
                f"{self.name}: its windows hold different numbers of pixels, expected one number "
                "to divide by; export it with count_include_pad=True, or without padding"
            )

    def settings(self, wiring: Wiring) -> list[Setting]:
        if self.running:
            reading = [Setting("RUNNING", 1)]
        else:
            reading = [
                *self.placing_settings(wiring.pad_code),
                Setting("PIXELS", self.pixels, default=1),
                Setting("PACE", self.pace),
            ]
        scale = []
        if self.scaling is not None:
            value = f"{self.scaling.width}'d{self.scaling.multiplier[0]}"
            scale.append(Setting("SCALE", value, named=True))
        return [
            *self.pool_settings(wiring),
            *reading,
            Setting("OFFSET", self.geometric.taps * wiring.pad_code, default=0),
            *requantise(wiring.rounding, self.scaling),
            *scale,
            Setting("OUT_WIDTH", wiring.out_bits, default=8),
            Setting("FIFO_DEPTH", wiring.fifo_depth, named=True),
        ]

    def behind(self, sink: Edge) -> Edge | Pipeline:
        """`scale_requantise`, which holds while a code waits."""
        return sink if self.scaling is None else Pipeline(self.scale_clocks + 2, sink)

    # Fuzz

    frequency = 2

    @classmethod
    def draw(cls, choices: Choices, shape: Shape, limits: Limits) -> Layer:
        if limits.any_scale and choices.now_and_then(4):
            return AvgPool(shape[1:], shape[1:], rule=WHOLE_IMAGES)
        if limits.any_scale and choices.now_and_then(2):
            window = limits.window(choices, shape, range(2, 6))
            return AvgPool(window.kernel, window.stride, window.padding, count_include_pad=True)
        if choices.now_and_then(3):
            # Windows of any size that do not overlap, up to that of a global pool.
            rows, columns = (2 ** choices.integer(0, size.bit_length() - 1) for size in shape[1:])
            return AvgPool((rows, columns), (rows, columns))
        window = limits.window(choices, shape, (2, 4, 1))
        (rows, columns), (_, height, width) = window.kernel, shape
        if rows <= height and columns <= width and choices.now_and_then(2):
            return AvgPool(window.kernel, window.kernel)
        return AvgPool(window.kernel, window.stride, window.padding, count_include_pad=True)
