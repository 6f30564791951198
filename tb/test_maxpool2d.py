"""maxpool2d against model.network.layers.maxpool.maxpool2d."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from runner import on_simulators
from stages import lone_stage, window_of
from testbench import Layout
from traffic import Traffic

from convstream.model.network.layers import MaxPool
from convstream.model.network.layers.maxpool import maxpool2d


def case(height, width, channels, kernel, stride, **others) -> dict:
    """Parameters of a maxpool2d, the usual ones by position."""
    sizes = dict(HEIGHT=height, WIDTH=width, CHANNELS=channels, KERNEL=kernel, STRIDE=stride)
    return dict(LANES=channels) | sizes | others


TESTS = "bench_stream,bench_pool"

CASES = {
    "lanes_do_not_divide": case(6, 7, 5, 2, 2, LANES=2),
    "usual": case(6, 8, 3, 2, 2),
    "one_channel_odd": case(7, 9, 1, 2, 2),
    "one_lane": case(4, 6, 3, 2, 2, LANES=1),
    "overlapping": case(6, 7, 2, 3, 2),
    "overlapping_padded": case(7, 6, 3, 3, 2, PADDING=1, LANES=2),
    "stride1": case(5, 6, 2, 3, 1),
    "padding_k_minus_1": case(4, 5, 2, 3, 1, PADDING=2),
    "stride_beyond_kernel": case(8, 11, 2, 2, 3),
    "kernel1": case(4, 5, 3, 1, 1, LANES=2),
    "kernel1_stride2": case(5, 7, 2, 1, 2),
    "kernel5_stride3": case(9, 11, 1, 5, 3, PADDING=2),
    "whole_image": case(4, 4, 3, 4, 4),
    "single_row": case(1, 9, 2, 3, 2, PADDING=1),
    "single_column": case(9, 1, 2, 3, 2, PADDING=1),
    "single_pixel": case(1, 1, 5, 1, 1, LANES=2),
    "many_channels": case(4, 4, 33, 2, 2, LANES=8),
    "deep_fifo": case(6, 8, 3, 2, 2, FIFO_DEPTH=9),
    "fifo_of_one": case(6, 8, 3, 2, 2, FIFO_DEPTH=1),
    "pixels2": case(6, 8, 2, 2, 2, PIXELS=2),
    "pixels2_channels_split": case(4, 6, 6, 2, 2, PIXELS=2, LANES=3),
    "pixels2_stride1": case(5, 8, 1, 3, 1, PIXELS=2, PADDING=1),
    "pixels4": case(4, 16, 1, 2, 2, PIXELS=4),
    "pixels4_stride4": case(8, 16, 2, 4, 4, PIXELS=4),
    "pixels4_overlapping": case(5, 16, 2, 3, 2, PIXELS=4, PADDING=1),
    "rectangular": case(6, 7, 3, 2, 2, KERNEL_W=3, STRIDE_W=1, LANES=2),
    "signal": case(1, 17, 2, 1, 1, KERNEL_W=3, STRIDE_W=2, PAD_LEFT=1),
    "ceil_mode": case(7, 5, 2, 3, 2, PAD_BOTTOM=1, PAD_RIGHT=1),
}


def draw(rng: random.Random) -> dict:
    """Random parameters of a small maxpool2d that obey its rules."""
    while True:
        pixels = rng.choice([1, 1, 2, 4])
        height, width = rng.randint(1, 9), pixels * rng.randint(1, 16 // pixels)
        kernel, stride = rng.randint(1, 4), rng.randint(1, 4)
        padding, channels = rng.randrange(kernel), rng.randint(1, 7)
        out_height, out_width = (
            (size + 2 * padding - kernel) // stride + 1 for size in (height, width)
        )
        if min(out_height, out_width) < 1 or out_width % max(1, pixels // stride):
            continue
        if pixels % stride and stride % pixels:
            continue
        lanes = [n for n in range(1, channels + 1) if pixels == 1 or channels % n == 0]
        return case(height, width, channels, kernel, stride) | dict(
            PADDING=padding,
            PIXELS=pixels,
            LANES=rng.choice(lanes),
            FIFO_DEPTH=rng.randint(2, 5),
        )


class MaxPool2d(Traffic):
    """Expected values from the reference."""

    module = "maxpool2d"

    def __init__(self, parameters: dict, seed: str) -> None:
        super().__init__(parameters, seed)
        p = dict(PIXELS=1) | self.parameters
        window = window_of(p)
        # running_max has no stride of its own.
        stride = window.stride if "STRIDE" in p else window.kernel
        self.layer = MaxPool(window.kernel, stride, window.padding)
        in_shape = (p["CHANNELS"], p["HEIGHT"], p["WIDTH"])
        self.source = Layout(*in_shape, p["LANES"], p["PIXELS"])
        stage = lone_stage(self.layer, in_shape, None, p["LANES"], p["PIXELS"])
        self.stage = replace(stage, compact=bool(p.get("RUNNING", self.module == "running_max")))
        out_pixels = max(1, p["PIXELS"] // self.layer.window.stride[1])
        self.sink = Layout(*self.layer.out_shape(in_shape), p["LANES"], out_pixels)
        self.interval = max(self.source.beats, self.sink.beats)

    def images(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """As usual, but the second image is zero: whatever an image leaves behind shows there.

        Half of the pixels of the third one are equal, the others differ from these in a bit.
        """
        images = super().images(count, rng)
        images[1:2] = 0
        shape = images[2:3].shape
        bits = rng.integers(0, 2, shape) << rng.integers(0, 8, shape)
        images[2:3] = rng.integers(0, 256) ^ bits
        return images

    def compute(self, images: np.ndarray) -> np.ndarray:
        window = self.layer.window
        return maxpool2d(images, window.kernel, window.stride, window.padding)


TRAFFIC = MaxPool2d


@on_simulators(CASES)
def test_maxpool2d(simulate, simulator, name, parameters):
    simulate("maxpool2d", simulator=simulator, name=name, parameters=parameters, tests=TESTS)


@pytest.mark.parametrize("number", range(4))
def test_random_parameters(simulate, seed, number):
    parameters = draw(random.Random(f"{seed}/{number}"))
    simulate(
        "maxpool2d", simulator="icarus", name=f"random{number}", parameters=parameters, tests=TESTS
    )
