"""How a convolution is built: `conv2d`, or `pixel_conv2d`, which reads windows by the pixel."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from convstream.model.hardware.draws import Choices, Limits
from convstream.model.hardware.layers.window import Rows, WindowStage, write_rows
from convstream.model.hardware.stage import ComputeStage, Setting, Wiring
from convstream.model.hardware.timing import Compute, Edge, Process
from convstream.model.network.layers import Conv, Layer, Shape


class ConvStage(ComputeStage, WindowStage):
    """A convolution."""

    reader = 2

    @property
    def pixelwise(self) -> bool:
        """Whether it reads its windows pixel by pixel: see rtl/pixel_conv2d.v."""
        return self.pixels == 1 and self.folding.simd == self.in_shape[0]

    @property
    def columns(self) -> int:
        return 0 if self.pixelwise else super().columns

    @property
    def module(self) -> str:
        return "pixel_conv2d" if self.pixelwise else "conv2d"

    def settings(self, wiring: Wiring) -> list[Setting]:
        window = self.window_layer
        _, height, width = self.in_shape
        folding = [
            Setting("LANES", wiring.lanes),
            Setting("PE", self.folding.pe, named=True),
        ]
        if not self.pixelwise:
            folding.insert(1, Setting("PIXELS", self.pixels, default=1))
            folding.append(Setting("SIMD", self.folding.simd, named=True))
        return [
            Setting("HEIGHT", height),
            Setting("WIDTH", width),
            *self.channel_settings(),
            Setting("KERNEL", window.kernel),
            Setting("STRIDE", window.stride, default=1),
            Setting("PADDING", window.padding, default=0),
            *folding,
            *self.compute_settings(wiring),
        ]

    def channel_settings(self) -> list[Setting]:
        """The parameters that say how many channels there are."""
        return [
            Setting("IN_CHANNELS", self.in_shape[0]),
            Setting("OUT_CHANNELS", self.out_shape[0]),
        ]

    # Order of ROM words

    def weight_matrix(self, weight: np.ndarray) -> np.ndarray:
        """(OC, IC, K, K) to (OC, window), ordered by (ky, kx, ic) with ic fastest."""
        return weight.transpose(0, 2, 3, 1).reshape(len(weight), -1)

    def matrix_weight(self, matrix: np.ndarray) -> np.ndarray:
        channels, in_channels, kernel, _ = self._weight_shape
        matrix = matrix.reshape(channels, kernel, kernel, in_channels)
        return np.ascontiguousarray(matrix.transpose(0, 3, 1, 2))

    # Timing

    def pipeline(self, sink: Edge) -> Compute:
        return Compute(self.folding.simd, sink)

    def processes(self, sources: Sequence[Edge], sink: Edge, images: int) -> Iterable[Process]:
        (source,) = sources
        if not self.pixelwise:
            yield from self.window_processes(source, sink, images)
            return
        rows = Rows(self)
        yield write_rows(rows, source, images)
        yield self._pixels(rows, sink, images)

    def _pixels(self, rows: Rows, sink: Edge, images: int) -> Process:
        """`pixel_reader` and the pipeline behind it."""
        compute = self.pipeline(sink)
        width = self.in_shape[2]
        channel_folds, window_folds = self.channel_folds, self.window_folds
        for image in range(images):
            for sweep in range(rows.out_height):
                top = sweep * rows.stride - rows.padding
                newest = image * rows.height + min(top + rows.kernel, rows.height) - 1
                for step in range(rows.steps):
                    right = min(step * rows.stride - rows.padding + rows.kernel, width) - 1
                    index = newest * width + right
                    while len(rows.written) <= index:
                        yield
                    for _ in range(channel_folds):
                        while sink.full:
                            yield
                        compute.enter(rows.written[index] + 1, window_folds)
                        compute.leave()
                last = sweep == rows.out_height - 1
                oldest = rows.height if last else max(top + rows.stride, 0)
                rows.freed.append((image * rows.height + oldest, compute.entered + 1))

    # Fuzz

    frequency = 5

    @classmethod
    def draw(cls, choices: Choices, shape: Shape, limits: Limits) -> Layer:
        window, macs = cls.draw_window(choices, shape, limits)
        return Conv(limits.channels(choices, macs), *window)

    @staticmethod
    def draw_window(
        choices: Choices, shape: Shape, limits: Limits
    ) -> tuple[tuple[int, int, int], int]:
        """Kernel, stride and padding, and the multiply-accumulates of each input channel once."""
        kernel, padding = limits.window(choices, shape, range(1, 8))
        stride = choices.integer(1, 4)

        def macs(stride: int) -> int:
            positions = Conv(1, kernel, stride, padding).out_shape(shape)[1:]
            return shape[0] * kernel**2 * math.prod(positions)

        while macs(stride) > limits.macs:
            stride += 1
        return (kernel, stride, padding), macs(stride)
