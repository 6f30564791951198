"""How a max-pool is built: `maxpool2d`, or `running_max` if its windows do not overlap."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from convstream.model.hardware.draws import Choices, Limits
from convstream.model.hardware.layers.window import PoolStage
from convstream.model.hardware.stage import Setting, Wiring
from convstream.model.hardware.timing import Edge, Pipeline, Process
from convstream.model.network.layers import Layer, MaxPool, Shape


class MaxPoolStage(PoolStage):
    """A max-pool."""

    @property
    def running(self) -> bool:
        """Whether it stores maxima instead of pixels: see rtl/running_max.v."""
        window = self.geometric
        side_by_side = window.stride == window.kernel and not any(window.padding)
        return self.compact and self.pixels == 1 and side_by_side

    @property
    def module(self) -> str:
        return "running_max" if self.running else "maxpool2d"

    def settings(self, wiring: Wiring) -> list[Setting]:
        settings = self.pool_settings(wiring)
        if not self.running:
            settings += [
                *self.placing_settings(pad_code=0),
                Setting("PIXELS", self.pixels, default=1),
                Setting("PACE", self.pace),
            ]
        return [*settings, Setting("FIFO_DEPTH", wiring.fifo_depth, named=True)]

    # Timing

    def processes(self, sources: Sequence[Edge], sink: Edge, images: int) -> Iterable[Process]:
        (source,) = sources
        if self.running:
            yield self._maxima(source, sink, images)
        else:
            yield from self.window_processes(source, sink, images)

    def _maxima(self, source: Edge, sink: Edge, images: int) -> Process:
        """`running_max`, which accepts a beat whenever its pipeline moves."""
        pipeline = Pipeline(2, sink)
        _, height, width = self.in_shape
        (below, across), folds = self.geometric.kernel, self.channel_folds
        for _ in range(images):
            for row, column in itertools.product(range(height), range(width)):
                for _ in range(folds):
                    while source.empty or sink.full:
                        yield
                    pipeline.enter(source.written[len(source.read)] + 1)
                    source.read.append(pipeline.entered)
                    if row % below == below - 1 and column % across == across - 1:
                        pipeline.leave()

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
