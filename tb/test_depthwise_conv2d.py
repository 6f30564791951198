"""depthwise_conv2d against model.network.layers.conv.conv2d, in groups, and requantise."""

from __future__ import annotations

import random

import numpy as np
import pytest
from runner import on_simulators, refuse
from stages import lone_stage, window_of
from testbench import Layout
from traffic import Weighted

from convstream.model.hardware.stage import Folding
from convstream.model.network.layers import Conv
from convstream.model.network.layers.conv import conv2d


def case(height, width, channels, multiplier, kernel, pe=1, simd=1, **others) -> dict:
    """Parameters of a depthwise_conv2d, the usual ones by position."""
    sizes = dict(HEIGHT=height, WIDTH=width, CHANNELS=channels, MULTIPLIER=multiplier)
    return dict(LANES=channels) | sizes | dict(KERNEL=kernel, PE=pe, SIMD=simd) | others


CASES = {
    # Windows in registers: folds that divide nothing, everything at once, and in between.
    "nothing_divides": case(5, 6, 5, 1, 3, 2, 4, LANES=3, PADDING=1),
    "multiplier3_nothing_divides": case(4, 5, 3, 3, 3, 4, 2, LANES=2),
    "all_at_once": case(4, 5, 3, 2, 3, 6, 9, PADDING=1),
    "all_channels": case(5, 4, 4, 1, 3, 4, 3, LANES=2, STRIDE=2, PADDING=1),
    "a_window_a_clock": case(4, 4, 4, 1, 2, 1, 4, LANES=1),
    "one_channel": case(5, 5, 1, 3, 3, 2, 9),
    "pixels2": case(5, 8, 2, 2, 3, 2, 5, PIXELS=2, PADDING=1),
    "pixels2_product_a_clock": case(4, 6, 4, 1, 2, 2, 1, PIXELS=2, STRIDE=2, LANES=2),
    "pixels4_channels_split": case(4, 8, 2, 1, 3, 1, 9, PIXELS=4, PADDING=1, LANES=1),
    # Taps from memory, in words of a beat, of several beats, of whole pixels.
    "word_of_a_beat": case(5, 6, 6, 1, 3, 2, LANES=2, PADDING=1),
    "word_of_two_beats": case(5, 6, 12, 1, 3, 4, LANES=2, PADDING=1),
    "word_for_three_groups": case(4, 5, 6, 1, 3, 1, LANES=3),
    "word_of_two_beats_for_three_groups": case(4, 5, 12, 1, 2, 2, LANES=3),
    "whole_pixels_for_ragged_groups": case(4, 5, 5, 1, 3, 2, LANES=2, PADDING=1),
    "whole_pixels_for_ragged_beats": case(4, 5, 6, 1, 3, 3, LANES=4, STRIDE=2),
    "multiplier_beyond_pe": case(4, 5, 4, 4, 2, 2, LANES=1),
    "multiplier_within_pe": case(4, 5, 6, 2, 2, 4, LANES=1),
    "multiplier3_pe2": case(4, 5, 4, 3, 2, 2, LANES=2, STRIDE=3, PADDING=1),
    "one_channel_a_product_a_clock": case(5, 5, 1, 3, 3, 1),
    "kernel1": case(4, 5, 5, 2, 1, 3, LANES=2),
    "kernel5_padded": case(7, 6, 4, 1, 5, 2, LANES=2, PADDING=4),
    "stride_beyond_kernel": case(8, 10, 4, 1, 2, 4, LANES=1, STRIDE=3),
    "single_pixel": case(1, 1, 6, 1, 3, 3, LANES=3, PADDING=1),
    "many_channels": case(3, 4, 48, 1, 3, 8, LANES=4, PADDING=1),
    "raw_accumulators": case(5, 5, 4, 2, 3, 4, LANES=2, OUT_WIDTH=32),
    # Windows that differ both ways.
    "rectangular": case(5, 7, 4, 1, 2, 4, 8, KERNEL_W=4, STRIDE_H=2, PAD_LEFT=2, PAD_CODE=130),
    "dilated_signal": case(1, 21, 4, 1, 1, 2, KERNEL_W=3, DILATION_W=3, PAD_LEFT=3, PAD_CODE=9),
}


def draw(rng: random.Random) -> dict:
    """Random parameters of a small depthwise_conv2d that obey its rules."""
    while True:
        pixels = rng.choice([1, 1, 1, 2, 4])
        height, width = rng.randint(1, 9), pixels * rng.randint(1, 12 // pixels)
        kernel, stride = rng.randint(1, 5), rng.randint(1, 4)
        padding = rng.randrange(kernel)
        channels, multiplier = rng.choice([1, 2, 3, 4, 5, 6, 8, 12]), rng.choice([1, 1, 1, 2, 3, 4])
        outputs = channels * multiplier
        out_height, out_width = (
            (size + 2 * padding - kernel) // stride + 1 for size in (height, width)
        )
        out_pixels = max(1, pixels // stride)
        if min(out_height, out_width) < 1 or out_width % out_pixels:
            continue
        if pixels % stride and stride % pixels:
            continue
        lanes = [n for n in range(1, channels + 1) if pixels == 1 or channels % n == 0]
        pes = [n for n in range(1, outputs + 1) if out_pixels == 1 or outputs % n == 0]
        pe, simd = rng.choice(pes), rng.choice([1, rng.randint(1, kernel * kernel)])
        if out_height * out_width * -(-outputs // pe) * -(-kernel * kernel // simd) > 600:
            continue
        return case(height, width, channels, multiplier, kernel, pe, simd) | dict(
            STRIDE=stride, PADDING=padding, PIXELS=pixels, LANES=rng.choice(lanes)
        )


class DepthwiseConv2d(Weighted):
    """Random weights; expected values from the reference."""

    module = "depthwise_conv2d"

    def __init__(self, parameters: dict, seed: str) -> None:
        super().__init__(parameters, seed)
        p = dict(PIXELS=1) | self.parameters
        channels, window = p["CHANNELS"], window_of(p)
        geometry = window.kernel, window.stride, window.padding, window.dilation
        layer = Conv(channels * p["MULTIPLIER"], *geometry, groups=channels)
        in_shape = (channels, p["HEIGHT"], p["WIDTH"])
        folding = Folding(p["PE"], p["SIMD"])
        self.stage = lone_stage(layer, in_shape, folding, p["LANES"], p["PIXELS"])
        self.source = Layout(*in_shape, p["LANES"], p["PIXELS"])
        self.make_weights()
        out_pixels = max(1, p["PIXELS"] // window.stride[1])
        bits = self.parameters["OUT_WIDTH"]
        self.sink = Layout(*layer.out_shape(in_shape), p["PE"], out_pixels, bits)
        self.interval = max(self.stage.cycles, self.source.beats)

    def accumulators(self, images: np.ndarray) -> np.ndarray:
        layer = self.stage.node.layer
        window, pad_code = layer.window, self.parameters.get("PAD_CODE", 0)
        geometry = window.stride, window.padding, window.dilation, layer.groups
        return conv2d(images, self.weight, self.bias, *geometry, pad_code=pad_code)


TRAFFIC = DepthwiseConv2d

REFUSED = {
    "error_SIMD_must_be_at_most": case(4, 4, 2, 1, 2, 2, 5),
    "error_PE_must_be_at_most": case(4, 4, 2, 2, 2, 5),
    "error_PADDING_must_be_less": case(4, 4, 2, 1, 2, PADDING=2),
    "error_PE_must_divide": case(4, 4, 3, 1, 3, 2, 3, PADDING=1, PIXELS=2),
}


@on_simulators(CASES)
def test_depthwise_conv2d(simulate, simulator, name, parameters):
    simulate("depthwise_conv2d", simulator=simulator, name=name, parameters=parameters)


@pytest.mark.parametrize("number", range(4))
def test_random_parameters(simulate, seed, number):
    parameters = draw(random.Random(f"{seed}/{number}"))
    simulate("depthwise_conv2d", simulator="icarus", name=f"random{number}", parameters=parameters)


@pytest.mark.parametrize(("error", "parameters"), REFUSED.items(), ids=list(REFUSED))
def test_refused_parameters(error, parameters):
    refuse("depthwise_conv2d", parameters, error)
