"""How a convolution is built.

`conv2d`; `pixel_conv2d`, which reads windows by the pixel; `constant_conv2d`, of shared sums.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, cast

import numpy as np

from convstream.model.hardware.draws import Choices, Limits
from convstream.model.hardware.layers.window import Rows, WindowStage, write_rows
from convstream.model.hardware.settings import Setting, Wiring
from convstream.model.hardware.stage import ComputeStage
from convstream.model.hardware.sums import latency
from convstream.model.hardware.timing import Compute, Edge, Process
from convstream.model.network.layers import Conv, Layer, Shape
from convstream.model.network.layers.windows import Window

CONSTANT = "constant_conv2d"


class ConvStage(ComputeStage, WindowStage):
    """A convolution."""

    modules: ClassVar[tuple[str, ...]] = ("conv2d", "pixel_conv2d", CONSTANT)
    reader = 2

    @property
    def pixelwise(self) -> bool:
        """Whether it reads its windows pixel by pixel: see rtl/pixel_conv2d.v."""
        return self.pixels == 1 and self.folding.simd == self.in_shape[0] and not self.sums

    @property
    def sums(self) -> int:
        constant = self.rom_words == 1 and self.folding.fabric == self.window
        return latency(self.window) if constant and CONSTANT in self.modules else 0

    @property
    def attributes(self) -> dict[str, Any]:
        groups = cast(Conv, self.node.layer).groups
        return super().attributes | ({"groups": groups} if groups > 1 else {})

    @property
    def columns(self) -> int:
        return 0 if self.pixelwise else super().columns

    @property
    def module(self) -> str:
        return CONSTANT if self.sums else self.modules[self.pixelwise]

    def settings(self, wiring: Wiring) -> list[Setting]:
        _, height, width = self.in_shape
        folding = [
            Setting("LANES", wiring.lanes),
            Setting("PE", self.folding.pe, named=True),
        ]
        if not self.pixelwise:
            folding.insert(1, Setting("PIXELS", self.pixels, default=1))
        if self.sums:
            folding.append(Setting("LATENCY", self.sums))
        elif not self.pixelwise:
            folding.append(Setting("SIMD", self.folding.simd, named=True))
        return [
            Setting("HEIGHT", height),
            Setting("WIDTH", width),
            *self.channel_settings(),
            *self.kernel_settings,
            *self.placing_settings(wiring.pad_code, usual_stride=1),
            *folding,
            *self.compute_settings(wiring),
        ]

    def channel_settings(self) -> list[Setting]:
        """The parameters that say how many channels there are."""
        outputs = [] if self.sums else [Setting("OUT_CHANNELS", self.out_shape[0])]
        return [Setting("IN_CHANNELS", self.in_shape[0]), *outputs]

    # Order of ROM words

    def weight_matrix(self, weight: np.ndarray) -> np.ndarray:
        """(OC, IC/groups, KH, KW) to (OC, window), ordered by (ky, kx, ic) with ic fastest.

        Weights of other groups' channels are zeros.
        """
        shape = len(weight), self.window_channels, *weight.shape[2:]
        dense = np.zeros(shape, weight.dtype)
        np.put_along_axis(dense, self._channels, weight, 1)
        return dense.transpose(0, 2, 3, 1).reshape(len(weight), -1)

    def matrix_weight(self, matrix: np.ndarray) -> np.ndarray:
        kernel = self.geometric.kernel
        dense = matrix.reshape(len(matrix), *kernel, -1).transpose(0, 3, 1, 2)
        return np.ascontiguousarray(np.take_along_axis(dense, self._channels, 1))

    @property
    def _channels(self) -> np.ndarray:
        """The channel of each weight in the window, (OC, IC/groups, 1, 1)."""
        channels, group, *_ = self._weight_shape
        groups = self.in_shape[0] // group
        first = np.arange(channels) // (channels // groups) * group
        return (first[:, None] + np.arange(group))[:, :, None, None] % self.window_channels

    @property
    def window_channels(self) -> int:
        """Input channels of an output channel's window."""
        return self.in_shape[0]

    @property
    def window(self) -> int:
        return self.window_channels * self.geometric.taps

    # Timing

    def pipeline(self, sink: Edge) -> Compute:
        return self.compute(sink)

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
        window = self.geometric
        across, span, left = window.stride[1], window.span[1], window.padding[1]
        channel_folds, window_folds = self.channel_folds, self.window_folds
        for image in range(images):
            for sweep in range(rows.out_height):
                top = sweep * rows.stride - rows.padding
                newest = image * rows.height + min(top + rows.span, rows.height) - 1
                for step in range(rows.steps):
                    right = min(step * across - left + span, width) - 1
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
        channels, (window, macs) = shape[0], cls.draw_window(choices, shape, limits)
        groups = 1
        if choices.now_and_then(8):
            groups = choices.of(
                [groups for groups in range(1, max(2, channels)) if not channels % groups]
            )
        each = math.ceil(limits.channels(choices, macs) / groups)
        return cls.convolution(each * groups, window, groups)

    @staticmethod
    def convolution(channels: int, window: Window, groups: int) -> Conv:
        """The convolution to so many channels."""
        sizes = window.kernel, window.stride, window.padding, window.dilation
        return Conv(channels, *sizes, groups)

    @staticmethod
    def draw_window(choices: Choices, shape: Shape, limits: Limits) -> tuple[Window, int]:
        """A window, and the multiply-accumulates of each input channel once."""
        window = limits.window(choices, shape, range(1, 8), dilated=True)

        def macs(window: Window) -> int:
            return shape[0] * window.taps * math.prod(window.positions(shape))

        while macs(window) > limits.macs:
            window = replace(window, stride=(window.stride[0] + 1, window.stride[1] + 1))
        return window, macs(window)
