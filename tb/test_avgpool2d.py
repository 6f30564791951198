"""avgpool2d against model.network.layers.avgpool.avgpool2d, requantised or not."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from runner import on_simulators, refuse
from stages import lone_stage
from test_maxpool2d import TESTS, MaxPool2d, case
from testbench import Layout

from convstream.model.hardware import scaling
from convstream.model.network.layers import AvgPool
from convstream.model.network.layers.avgpool import avgpool2d
from convstream.model.network.rounding import Rounding


def running(height, width, channels, rows, columns, **others) -> dict:
    """The same for windows that do not overlap."""
    sizes = dict(HEIGHT=height, WIDTH=width, CHANNELS=channels, KERNEL=rows, KERNEL_W=columns)
    return dict(LANES=channels) | sizes | dict(RUNNING=1) | others


CASES = {
    "lanes_do_not_divide": case(6, 7, 5, 2, 2, LANES=2, SHIFT=2),
    "usual": case(6, 8, 3, 2, 2, SHIFT=2),
    "kernel4": case(8, 9, 2, 4, 4, SHIFT=4),
    "global": case(4, 4, 3, 4, 4, LANES=1, SHIFT=4),
    "global8": case(8, 8, 2, 8, 1, SHIFT=5),
    "larger_scale": case(4, 6, 3, 2, 2, SHIFT=0),
    "smaller_scale": case(4, 6, 3, 2, 2, LANES=2, SHIFT=5),
    "shift_beyond_the_sum": case(4, 6, 2, 2, 2, SHIFT=12),
    "sums": case(6, 7, 5, 2, 2, LANES=3, OUT_WIDTH=32),
    "sums_global": case(4, 4, 2, 4, 1, OUT_WIDTH=32, FIFO_DEPTH=1),
    "overlapping": case(5, 6, 2, 2, 1, SHIFT=3),
    "overlapping_kernel4": case(7, 8, 1, 4, 2, SHIFT=3),
    "stride_beyond_kernel": case(8, 11, 2, 2, 3, SHIFT=2),
    "kernel1": case(4, 5, 3, 1, 1, LANES=2, SHIFT=1),
    "kernel1_stride2": case(5, 7, 2, 1, 2, OUT_WIDTH=32),
    "single_pixel": case(1, 1, 5, 1, 1, LANES=2, SHIFT=0),
    "many_channels": case(4, 4, 33, 2, 2, LANES=8, SHIFT=1),
    "deep_fifo": case(5, 6, 2, 2, 1, SHIFT=2, FIFO_DEPTH=9),
    "pixels2": case(6, 8, 2, 2, 2, PIXELS=2, SHIFT=2),
    "pixels2_channels_split": case(4, 6, 6, 2, 2, PIXELS=2, LANES=3, OUT_WIDTH=32),
    "pixels4": case(4, 16, 1, 2, 2, PIXELS=4, SHIFT=2),
    "pixels4_stride4": case(8, 16, 2, 4, 4, PIXELS=4, SHIFT=3),
    "sums_of_nine": case(5, 7, 2, 3, 2, OUT_WIDTH=32, PADDING=1, PAD_CODE=128),
    "rectangular": case(6, 7, 3, 2, 2, KERNEL_W=4, STRIDE_W=1, LANES=2, SHIFT=3),
    "signal": case(1, 17, 2, 1, 1, KERNEL_W=4, STRIDE_W=2, PAD_RIGHT=3, PAD_CODE=17, SHIFT=2),
    "running": running(6, 8, 3, 2, 2, SHIFT=2),
    "running_lanes_do_not_divide": running(6, 9, 5, 2, 3, LANES=2, SHIFT=3),
    "running_left_over": running(8, 11, 2, 3, 4, SHIFT=4),
    "running_sums": running(9, 7, 5, 4, 3, LANES=3, OUT_WIDTH=32),
    "running_global": running(5, 7, 6, 5, 7, LANES=2, SHIFT=5),
    "running_global_one_beat": running(6, 4, 3, 6, 4, SHIFT=4, FIFO_DEPTH=1),
    "running_global_sums": running(16, 16, 2, 16, 16, LANES=1, OUT_WIDTH=32),
    "running_global_left_over": running(7, 5, 3, 5, 4, LANES=1, SHIFT=4),
    "running_one_row": running(1, 12, 4, 1, 3, LANES=2, SHIFT=1, FIFO_DEPTH=5),
    "running_one_column": running(12, 1, 4, 4, 1, SHIFT=2),
    "running_pixels": running(4, 3, 5, 1, 1, LANES=2, SHIFT=0),
    "scaled": case(6, 7, 3, 3, 2, LANES=2, SCALE_EXACT=0, PADDING=1),
    "scaled_fifo_of_one": case(6, 8, 3, 2, 2, SCALE_EXACT=0, FIFO_DEPTH=1),
    "scaled_pixels2": case(6, 8, 2, 2, 2, PIXELS=2, SCALE_EXACT=0),
    "scaled_running": running(6, 9, 5, 2, 3, LANES=2, SCALE_EXACT=0),
    "scaled_global": running(5, 7, 6, 5, 7, LANES=2, SCALE_EXACT=0),
    "zero_point": running(4, 6, 3, 2, 2, SHIFT=2, OFFSET=4 * 100, ZERO_POINT=90, LOW=90, HIGH=140),
    "zero_point_of_sums": running(4, 6, 3, 2, 3, OUT_WIDTH=32, OFFSET=6 * 200),
    "running_many_channels": running(4, 4, 33, 2, 4, LANES=8, SHIFT=2),
}


def draw(rng: random.Random) -> dict:
    """Random parameters of a small avgpool2d that obey its rules."""
    kernel, stride, channels = rng.choice([1, 2, 2, 4]), rng.randint(1, 4), rng.randint(1, 7)
    height, width = rng.randint(kernel, 10), rng.randint(kernel, 10)
    output = dict(SHIFT=rng.randint(0, 6)) if rng.randrange(4) else dict(OUT_WIDTH=32)
    parameters = case(height, width, channels, kernel, stride)
    if rng.randrange(2):
        rows, columns = rng.randint(1, height), rng.randint(1, width)
        parameters = running(height, width, channels, rows, columns)
    return parameters | dict(LANES=rng.randint(1, channels), FIFO_DEPTH=rng.randint(2, 5), **output)


class AvgPool2d(MaxPool2d):
    """Sums, which a shift or a scale takes to uint8 unless they leave as they are.

    A case with SCALE_EXACT has a random scale, of the form that export finds for it.
    """

    module = "avgpool2d"

    def __init__(self, parameters: dict, seed: str) -> None:
        super().__init__(parameters, seed)
        p, window, stage = self.parameters, self.layer.window, self.stage
        taps = window.taps
        if "SCALE_EXACT" in p:
            # Without a scale it has the clocks of a max-pool.
            pool = AvgPool(window.kernel, window.stride, window.padding)
            alone = lone_stage(pool, stage.in_shape, None, stage.lanes, stage.pixels)
            self.stage = replace(alone, compact=stage.compact)
            self._scale(int(self.rng.integers(256)), taps)
        elif "SHIFT" in p:
            multiplier = np.array([2.0 ** -p["SHIFT"]], np.float32)
            range_ = p.get("ZERO_POINT", 0), p.get("LOW", 0), p.get("HIGH", 255)
            self.rounding = Rounding(multiplier, *range_)
        # A lane without a channel has a sum of 0, which need not be code 0.
        self.zero_lanes = not any(
            self.parameters.get(key) for key in ("OFFSET", "ZERO_POINT", "LOW")
        )
        self.shift = p.get("SHIFT")
        if self.shift is None:
            layout = self.sink
            sizes = layout.channels, layout.height, layout.width
            self.sink = Layout(*sizes, layout.lanes, layout.pixels, bits=32)

    def _scale(self, zero_point: int, taps: int) -> None:
        """A random scale of the sums, and the parameters that export finds for it."""
        low, high = sorted(self.rng.integers(0, 256, 2).tolist())
        multiplier = np.array([self.rng.uniform(0.3, 2) / taps], np.float32)
        self.rounding = Rounding(multiplier, int(self.rng.integers(256)), low, high)
        least = np.array([-taps * zero_point])
        found = scaling.find(self.rounding, least, least + 255 * taps)
        self.stage = replace(self.stage, scaling=found)
        self.parameters |= dict(
            PAD_CODE=zero_point if "RUNNING" not in self.parameters else 0,
            OFFSET=taps * zero_point,
            SHIFT=found.shift,
            ZERO_POINT=self.rounding.zero_point,
            LOW=low,
            HIGH=high,
            SCALE_WIDTH=found.width,
            SCALE_EXACT=found.exact,
            SCALE=int(found.multiplier[0]),
        )

    def images(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """As of a max-pool, but the fourth image has the largest values.

        The brightness of others spreads the results over 0..255 and beyond, as far as SHIFT allows.
        """
        images = super().images(count, rng)
        images[3:4] = 255
        brightest = 255
        if self.shift is not None:
            brightest = min(255, 600 * 2**self.shift // self.layer.window.taps)
        for image in images[5::2]:
            image[:] = rng.integers(0, rng.integers(1, brightest, endpoint=True), image.shape)
        return images

    def compute(self, images: np.ndarray) -> np.ndarray:
        window, pad_code = self.layer.window, self.parameters.get("PAD_CODE", 0)
        sums = avgpool2d(images, window.kernel, window.stride, window.padding, pad_code)
        sums -= self.parameters.get("OFFSET", 0)
        return sums if self.shift is None else self.rounding.codes(sums.astype(np.float64))


TRAFFIC = AvgPool2d


@on_simulators(CASES)
def test_avgpool2d(simulate, simulator, name, parameters):
    simulate("avgpool2d", simulator=simulator, name=name, parameters=parameters, tests=TESTS)


@pytest.mark.parametrize("number", range(4))
def test_random_parameters(simulate, seed, number):
    parameters = draw(random.Random(f"{seed}/{number}"))
    simulate(
        "avgpool2d", simulator="icarus", name=f"random{number}", parameters=parameters, tests=TESTS
    )


def test_refused_parameters():
    refuse("avgpool2d", running(6, 6, 1, 2, 2, PIXELS=2), "error_PIXELS_must_be_1_where_RUNNING")
    refuse("avgpool2d", case(6, 6, 1, 2, 2, OUT_WIDTH=16), "error_OUT_WIDTH_must_be_8_or_32")
