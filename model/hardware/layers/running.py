"""Pools that keep results instead of pixels where windows do not overlap: rtl/running_pool.v."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import ClassVar

from convstream.model.hardware.layers.window import PoolStage
from convstream.model.hardware.timing import Edge, Pipeline, Process


class RunningStage(PoolStage):
    """A pool, which may be such a one."""

    # Taps of the largest window that is reduced at once although it need not be, unless `compact`.
    most_at_once: ClassVar[float] = math.inf

    @property
    def running(self) -> bool:
        """Whether it keeps the result so far of each window of a row."""
        small = self.geometric.taps <= self.most_at_once
        return self._side_by_side and (self.compact or not small)

    @property
    def _side_by_side(self) -> bool:
        """Whether windows follow each other without overlap, gap or padding; a single one does."""
        window = self.geometric
        lines = zip(
            window.kernel, window.stride, self.in_shape[1:], self.out_shape[1:], strict=True
        )
        return (
            self.pixels == 1
            and not any(window.padding)
            and all(
                stride == kernel or (count == 1 and size < 2 * kernel)
                for kernel, stride, size, count in lines
            )
        )

    @property
    def takes_all(self) -> bool:
        return self.running and self.geometric.kernel[0] >= self.in_shape[1]

    @property
    def stride(self) -> int:
        return 1 if self.takes_all else super().stride

    @property
    def columns(self) -> int:
        return 0 if self.running else super().columns

    def processes(self, sources: Sequence[Edge], sink: Edge, images: int) -> Iterable[Process]:
        (source,) = sources
        if self.running:
            yield self._running(source, sink, images)
        else:
            yield from self.window_processes(source, sink, images)

    def _running(self, source: Edge, sink: Edge, images: int) -> Process:
        """`running_pool`, which accepts a beat whenever its pipeline moves."""
        pipeline = Pipeline(2, sink)
        _, height, width = self.in_shape
        # An excerpt of an image may have fewer rows than its only window.
        rows, columns = min(self.geometric.kernel[0], height), self.geometric.kernel[1]
        for _ in range(images):
            for row, column in itertools.product(range(height), range(width)):
                for _ in range(self.channel_folds):
                    while source.empty or sink.full:
                        yield
                    pipeline.enter(source.written[len(source.read)] + 1)
                    source.read.append(pipeline.entered)
                    if (row + 1) % rows == (column + 1) % columns == 0:
                        pipeline.leave()
