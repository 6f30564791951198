"""How a max-pool is built: `maxpool2d`, or `running_max`."""

from __future__ import annotations

from convstream.model.hardware.draws import Choices, Limits
from convstream.model.hardware.layers.running import RunningStage
from convstream.model.hardware.settings import Setting, Wiring
from convstream.model.network.layers import Layer, MaxPool, Shape


class MaxPoolStage(RunningStage):
    """A max-pool."""

    modules = ("maxpool2d", "running_max")

    @property
    def module(self) -> str:
        return self.modules[self.running]

    def settings(self, wiring: Wiring) -> list[Setting]:
        settings = self.pool_settings(wiring)
        if not self.running:
            settings += [
                *self.placing_settings(),
                Setting("PIXELS", self.pixels, default=1),
                Setting("PACE", self.pace),
            ]
        return [*settings, Setting("FIFO_DEPTH", wiring.fifo_depth, named=True)]

    # Fuzz

    frequency = 3

    @classmethod
    def draw(cls, choices: Choices, shape: Shape, limits: Limits) -> Layer:
        window = limits.window(choices, shape, range(2, 5))
        (rows, columns), (_, height, width) = window.kernel, shape
        if rows <= height and columns <= width and choices.now_and_then(2):
            # Windows that do not overlap, as in most networks.
            return MaxPool(window.kernel, window.kernel)
        return MaxPool(window.kernel, window.stride, window.padding)
