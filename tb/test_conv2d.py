"""conv2d against model.network.layers.conv.conv2d and requantise."""

from __future__ import annotations

import random

import numpy as np
import pytest
from runner import on_simulators, refuse
from stages import lone_stage, window_of
from testbench import Layout
from traffic import Weighted

from convstream.model.hardware.layers.conv import ConvStage
from convstream.model.hardware.stage import Folding
from convstream.model.network.layers import Conv
from convstream.model.network.layers.conv import conv2d


def case(height, width, ic, oc, kernel, pe=1, simd=1, **others) -> dict:
    """Parameters of a conv2d, the usual ones by position."""
    sizes = dict(HEIGHT=height, WIDTH=width, IN_CHANNELS=ic, OUT_CHANNELS=oc, KERNEL=kernel)
    return dict(LANES=ic) | sizes | dict(PE=pe, SIMD=simd) | others


CASES = {
    # Folding: the whole window and all channels at once, none, and such as do not divide.
    "nothing_divides": case(5, 6, 3, 5, 3, 2, 4, LANES=2),
    "a_window_a_clock": case(6, 7, 1, 3, 3, 3, 9, PADDING=1),
    "a_product_a_clock": case(4, 5, 2, 2, 2),
    "simd_of_a_channel_part": case(4, 5, 5, 3, 3, 3, 2, PADDING=1),
    "simd_of_a_row_part": case(5, 4, 4, 4, 3, 3, 7, LANES=3),
    "all_at_once": case(4, 4, 2, 3, 2, 3, 8),
    "many_channels": case(3, 4, 19, 17, 3, 5, 24, LANES=7, PADDING=1),
    "raw_accumulators": case(5, 5, 3, 7, 3, 3, 9, OUT_WIDTH=32),
    "no_shift": case(4, 5, 1, 3, 2, 3, 4, SHIFT=0),
    "all_shifted_out": case(4, 5, 1, 3, 2, 3, 2, SHIFT=23),
    # Kernels, strides and padding.
    "kernel1": case(4, 5, 5, 3, 1, 2, 3, LANES=2),
    "kernel1_stride2": case(5, 7, 2, 3, 1, 3, 2, STRIDE=2),
    "kernel1_stride3": case(7, 8, 1, 2, 1, 2, 1, STRIDE=3),
    "kernel5_padded": case(7, 6, 2, 4, 5, 4, 25, PADDING=2),
    "kernel7_unpadded": case(9, 8, 1, 3, 7, 3, 25),
    "kernel4_stride3": case(9, 10, 2, 3, 4, 3, 32, STRIDE=3, PADDING=1),
    "stride2": case(9, 7, 4, 6, 3, 4, 12, STRIDE=2, PADDING=1, LANES=3),
    "stride2_leftover": case(8, 8, 3, 4, 3, 2, 27, STRIDE=2),
    "stride_beyond_kernel": case(8, 10, 3, 2, 2, 2, 3, STRIDE=3, LANES=1),
    "stride_beyond_kernel_padded": case(9, 11, 1, 2, 2, 2, 4, STRIDE=5, PADDING=1),
    "padding_k_minus_1": case(4, 4, 2, 3, 3, 3, 9, PADDING=2),
    "padding_k_minus_1_stride2": case(5, 6, 1, 2, 4, 2, 16, PADDING=3, STRIDE=2),
    # Extreme images.
    "single_row": case(1, 9, 2, 3, 3, 3, 18, PADDING=1),
    "single_column": case(9, 1, 2, 3, 3, 2, 9, PADDING=1),
    "single_pixel": case(1, 1, 3, 2, 3, 2, 9, PADDING=1),
    "single_pixel_kernel1": case(1, 1, 5, 4, 1, 2, 2, LANES=3),
    "kernel_as_large_as_image": case(5, 5, 1, 3, 5, 3, 25),
    "image_smaller_than_kernel": case(2, 3, 2, 3, 5, 3, 10, PADDING=3),
    # Windows that differ both ways.
    "rectangular": case(6, 7, 2, 3, 2, 3, 5, KERNEL_W=3, STRIDE_H=2, LANES=1),
    "signal": case(1, 21, 3, 4, 1, 4, 15, KERNEL_W=5, STRIDE_W=2, PAD_LEFT=2, PAD_RIGHT=1),
    "four_paddings": case(5, 6, 2, 3, 3, 3, 18, PAD_TOP=1, PAD_LEFT=2, PAD_RIGHT=1, PAD_CODE=130),
    "dilated": case(7, 8, 2, 3, 3, 3, 18, DILATION_H=2, DILATION_W=2, PADDING=2, PAD_CODE=7),
    "dilated_row_by_row": case(6, 7, 1, 3, 2, 1, 1, DILATION_H=3, DILATION_W=2, PAD_TOP=2),
    # Several pixels a beat.
    "pixels2": case(5, 8, 2, 4, 3, 2, 6, PIXELS=2, PADDING=1),
    "pixels2_channels_split": case(4, 6, 4, 2, 3, 2, 36, PIXELS=2, PADDING=1, LANES=2),
    "pixels2_kernel1": case(3, 6, 3, 4, 1, 4, 3, PIXELS=2),
    "pixels2_stride2": case(6, 8, 1, 3, 3, 2, 9, PIXELS=2, STRIDE=2, PADDING=1),
    "pixels2_stride4": case(9, 12, 1, 3, 5, 3, 25, PIXELS=2, STRIDE=4, PADDING=2),
    "pixels2_padding_k_minus_1": case(3, 6, 1, 2, 3, 2, 9, PIXELS=2, PADDING=2, OUT_WIDTH=32),
    "pixels2_even_kernel": case(4, 6, 1, 3, 2, 1, 4, PIXELS=2, STRIDE=2, PADDING=1)
    | dict(WIDTH=6, HEIGHT=5),
    "pixels4": case(5, 12, 1, 2, 3, 2, 9, PIXELS=4, PADDING=1),
    "pixels4_kernel5": case(6, 8, 2, 2, 5, 1, 50, PIXELS=4, PADDING=2),
    "pixels4_stride2": case(7, 16, 1, 2, 3, 1, 5, PIXELS=4, STRIDE=2, PADDING=1),
    "pixels4_single_row": case(1, 8, 1, 3, 3, 3, 9, PIXELS=4, PADDING=1),
}


def draw(rng: random.Random) -> dict:
    """Random parameters of a small conv2d that obey its rules."""
    while True:
        pixels = rng.choice([1, 1, 1, 2, 4])
        height, width = rng.randint(1, 9), pixels * rng.randint(1, 12 // pixels)
        kernel, stride = rng.randint(1, 5), rng.randint(1, 4)
        padding = rng.randrange(kernel)
        ic, oc = rng.randint(1, 6), rng.randint(1, 7)
        out_height, out_width = (
            (size + 2 * padding - kernel) // stride + 1 for size in (height, width)
        )
        out_pixels = max(1, pixels // stride)
        if min(out_height, out_width) < 1 or out_width % out_pixels:
            continue
        if pixels % stride and stride % pixels:
            continue
        lanes = [n for n in range(1, ic + 1) if pixels == 1 or ic % n == 0]
        pes = [n for n in range(1, oc + 1) if out_pixels == 1 or oc % n == 0]
        pe, simd = rng.choice(pes), rng.randint(1, kernel * kernel * ic)
        folds = -(-oc // pe) * -(-kernel * kernel * ic // simd)
        if out_height * out_width * folds > 600:
            continue
        return case(height, width, ic, oc, kernel, pe, simd) | dict(
            STRIDE=stride, PADDING=padding, PIXELS=pixels, LANES=rng.choice(lanes)
        )


class WindowedStage(ConvStage):
    """A convolution as conv2d builds it, where export would take a pixel_conv2d too."""

    pixelwise = False


class Conv2d(Weighted):
    """Random weights; expected values from the reference."""

    module = "conv2d"
    kind: type[ConvStage] = WindowedStage

    def __init__(self, parameters: dict, seed: str) -> None:
        super().__init__(parameters, seed)
        p = dict(PIXELS=1) | self.parameters
        window = window_of(p)
        layer = Conv(
            p["OUT_CHANNELS"], window.kernel, window.stride, window.padding, window.dilation
        )
        in_shape = (p["IN_CHANNELS"], p["HEIGHT"], p["WIDTH"])
        out_shape = layer.out_shape(in_shape)
        out_pixels = max(1, p["PIXELS"] // window.stride[1])
        folding = Folding(p["PE"], p["SIMD"], fabric=p.get("FABRIC", 0))
        node = lone_stage(layer, in_shape, folding, p["LANES"], p["PIXELS"]).node
        self.stage = self.kind(node, p["LANES"], p["PIXELS"], folding)
        self.source = Layout(*in_shape, p["LANES"], p["PIXELS"])
        self.make_weights()
        bits = self.parameters["OUT_WIDTH"]
        self.sink = Layout(*out_shape, p["PE"], out_pixels, bits)
        self.interval = max(self.stage.cycles, self.source.beats)

    def accumulators(self, images: np.ndarray) -> np.ndarray:
        window, pad_code = self.stage.node.layer.window, self.parameters.get("PAD_CODE", 0)
        geometry = window.stride, window.padding, window.dilation
        return conv2d(images, self.weight, self.bias, *geometry, pad_code=pad_code)


TRAFFIC = Conv2d

REFUSED = {
    "error_SIMD_must_be_at_most": case(4, 4, 2, 3, 2, 2, 9),
    "error_PE_must_be_at_most": case(4, 4, 2, 3, 2, 4, 3),
    "error_PADDING_must_be_less": case(4, 4, 2, 3, 2, PADDING=2),
    "error_PE_must_divide_OUT_CHANNELS": case(4, 4, 2, 3, 3, 2, 3, PADDING=1, PIXELS=2),
    "error_LANES_must_divide": case(4, 4, 3, 2, 3, PADDING=1, PIXELS=2, LANES=2),
    "error_WIDTH_must_be": case(4, 5, 1, 2, 3, PADDING=1, PIXELS=2),
    "error_STRIDE_must_be": case(5, 8, 1, 2, 3, STRIDE=3, PIXELS=2),
    "error_the_windows_of_a_row": case(5, 8, 1, 2, 2, PIXELS=2),
}


@on_simulators(CASES)
def test_conv2d(simulate, simulator, name, parameters):
    simulate("conv2d", simulator=simulator, name=name, parameters=parameters)


@pytest.mark.parametrize("number", range(4))
def test_random_parameters(simulate, seed, number):
    parameters = draw(random.Random(f"{seed}/{number}"))
    simulate("conv2d", simulator="icarus", name=f"random{number}", parameters=parameters)


@pytest.mark.parametrize(("error", "parameters"), REFUSED.items(), ids=list(REFUSED))
def test_refused_parameters(error, parameters):
    refuse("conv2d", parameters, error)
