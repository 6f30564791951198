"""pixel_conv2d against model.network.layers.conv.conv2d and requantise."""

from __future__ import annotations

import random

import pytest
import test_conv2d
from runner import on_simulators, refuse
from test_conv2d import Conv2d

from convstream.model.hardware.layers.conv import ConvStage


def case(height, width, ic, oc, kernel, pe=1, **others) -> dict:
    """Parameters of a pixel_conv2d, the usual ones by position."""
    parameters = test_conv2d.case(height, width, ic, oc, kernel, pe, **others)
    del parameters["SIMD"]
    return parameters


CASES = {
    "lanes_do_not_divide": case(5, 6, 3, 5, 3, 2, LANES=2, PADDING=1),
    "stride2": case(7, 6, 2, 3, 3, 3, STRIDE=2),
    "kernel5_one_channel": case(6, 7, 1, 2, 5, PADDING=2),
    "raw_accumulators": case(5, 5, 3, 7, 3, 3, OUT_WIDTH=32),
    "kernel1": case(4, 5, 5, 3, 1, 2, LANES=2),
    "kernel1_stride3": case(7, 8, 1, 2, 1, 2, STRIDE=3),
    "stride_beyond_kernel": case(8, 10, 3, 2, 2, 2, STRIDE=3, LANES=1),
    "many_channels": case(3, 4, 19, 17, 3, 5, LANES=7, PADDING=1),
    "single_pixel": case(1, 1, 3, 2, 3, 2, PADDING=1),
    "rectangular": case(6, 7, 2, 3, 2, 2, KERNEL_W=4, STRIDE_H=2, PAD_BOTTOM=1, PAD_CODE=130),
    "dilated_signal": case(1, 23, 3, 4, 1, 2, KERNEL_W=3, DILATION_W=4, PAD_LEFT=8, PAD_CODE=9),
}


def draw(rng: random.Random) -> dict:
    """Random parameters of a small pixel_conv2d that obey its rules."""
    while True:
        parameters = test_conv2d.draw(rng)
        if parameters.pop("PIXELS") == 1:
            del parameters["SIMD"]
            return parameters


class PixelConv2d(Conv2d):
    """A conv2d whose SIMD is its input channels."""

    module = "pixel_conv2d"
    kind = ConvStage

    def __init__(self, parameters: dict, seed: str) -> None:
        super().__init__(parameters | {"SIMD": parameters["IN_CHANNELS"]}, seed)
        del self.parameters["SIMD"]


TRAFFIC = PixelConv2d


@on_simulators(CASES)
def test_pixel_conv2d(simulate, simulator, name, parameters):
    simulate("pixel_conv2d", simulator=simulator, name=name, parameters=parameters)


@pytest.mark.parametrize("number", range(4))
def test_random_parameters(simulate, seed, number):
    parameters = draw(random.Random(f"{seed}/{number}"))
    simulate("pixel_conv2d", simulator="icarus", name=f"random{number}", parameters=parameters)


def test_refused_parameters():
    refuse("pixel_conv2d", case(4, 4, 2, 3, 2, 4), "error_PE_must_be_at_most")
