"""How a depthwise convolution is built: `depthwise_conv2d`."""

from __future__ import annotations

from typing import cast

from convstream.model.hardware.draws import Choices, Limits
from convstream.model.hardware.layers.conv import ConvStage
from convstream.model.hardware.settings import Setting
from convstream.model.network.graph import Node
from convstream.model.network.layers import Conv, Layer, Shape


class DepthwiseStage(ConvStage):
    """A convolution of several channels, each of which is a group.

    With a `simd` of 1 it reads the taps of `pe` channels from memory. Otherwise the windows of all
    channels are in registers, which pays where all channels are computed at once.
    """

    modules = ("depthwise_conv2d",)
    cuts_pixels = True

    @classmethod
    def builds(cls, node: Node) -> bool:
        return cast(Conv, node.layer).groups == node.in_shape[0] > 1

    @property
    def window_channels(self) -> int:
        return 1

    @property
    def pixelwise(self) -> bool:
        return self.pixels == 1 and self.folding.simd == 1

    @property
    def pays(self) -> bool:
        return self.folding.simd == 1 or self.folding.pe == self.out_shape[0]

    @property
    def module(self) -> str:
        return self.modules[0]

    def channel_settings(self) -> list[Setting]:
        channels = self.in_shape[0]
        return [
            Setting("CHANNELS", channels),
            Setting("MULTIPLIER", self.out_shape[0] // channels, default=1),
        ]

    # Fuzz

    frequency = 2

    @classmethod
    def draw(cls, choices: Choices, shape: Shape, limits: Limits) -> Layer:
        channels = shape[0]
        most = max(1, min(4, limits.most_channels // channels))
        window, macs = cls.draw_window(choices, shape, limits)
        multiplier = choices.integer(1, int(max(1, min(most, limits.macs // macs))))
        return cls.convolution(channels * multiplier, window, channels)
