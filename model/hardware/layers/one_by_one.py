"""How a 1x1 convolution is built: `fc` on one pixel after another, with no window."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

from convstream.model.hardware.draws import Choices, Limits
from convstream.model.hardware.layers.conv import ConvStage
from convstream.model.hardware.layers.vectors import vector_processes
from convstream.model.hardware.settings import Setting, Wiring
from convstream.model.hardware.timing import Edge, Process
from convstream.model.network.graph import Node
from convstream.model.network.layers import Conv, Layer, Shape
from convstream.model.network.layers.windows import Window


class OneByOneStage(ConvStage):
    """A convolution of one pixel; of beats of several, or of constant weights, as any other."""

    modules = ("conv2d", "fc", "constant_conv2d")

    @classmethod
    def builds(cls, node: Node) -> bool:
        layer = cast(Conv, node.layer)
        window = layer.window
        moves = any(window.padding) or window.stride != (1, 1)
        return window.kernel == (1, 1) and layer.groups == 1 and not moves

    @property
    def pixelwise(self) -> bool:
        return self.pixels == 1 and not self.sums

    @property
    def converts(self) -> bool:
        return self.pixelwise

    def settings(self, wiring: Wiring) -> list[Setting]:
        if not self.pixelwise:
            return super().settings(wiring)
        channels, height, width = self.in_shape
        return [
            Setting("VECTORS", height * width),
            Setting("CHANNELS", channels),
            Setting("LANES", wiring.lanes),
            Setting("OUT_FEATURES", self.out_shape[0]),
            Setting("PE", self.folding.pe, named=True),
            Setting("SIMD", self.folding.simd, named=True),
            *self.compute_settings(wiring),
        ]

    def processes(self, sources: Sequence[Edge], sink: Edge, images: int) -> Iterable[Process]:
        if not self.pixelwise:
            return super().processes(sources, sink, images)
        return vector_processes(self, sources[0], sink, images * self.output_groups, 1)

    # Fuzz

    frequency = 1

    @classmethod
    def draw(cls, choices: Choices, shape: Shape, limits: Limits) -> Layer:
        macs = shape[0] * shape[1] * shape[2]
        return cls.convolution(limits.channels(choices, macs), Window((1, 1)), 1)
