"""pixel_reader against the reference's convolution, each kernel picking out one element."""

from __future__ import annotations

import numpy as np
from outlet import Direct, Outlet
from runner import on_simulators, refuse
from stages import lone_stage
from test_sliding_window import SlidingWindow, case
from testbench import Layout, Stream

from convstream.model.hardware.layers.conv import ConvStage
from convstream.model.hardware.stage import Folding
from convstream.model.network.layers import Conv

CASES = {
    "lanes_do_not_divide": case(5, 6, 3, 3, LANES=2, PADDING=1, REPEATS=2),
    "unpadded": case(6, 7, 1, 3),
    "padded": case(6, 5, 2, 5, PADDING=2, LANES=1),
    "padding_k_minus_1": case(4, 3, 1, 4, PADDING=3, REPEATS=3),
    "image_smaller_than_kernel": case(2, 3, 2, 5, PADDING=3),
    "stride2": case(7, 9, 1, 3, STRIDE=2, PADDING=1),
    "stride2_leftover": case(8, 8, 2, 3, STRIDE=2, LANES=1),
    "stride3": case(9, 8, 1, 5, STRIDE=3, PADDING=4),
    "stride_beyond_kernel": case(9, 11, 2, 2, STRIDE=4, PADDING=1, REPEATS=5),
    "stride_beyond_kernel_leftover": case(9, 8, 2, 2, STRIDE=5),
    "kernel1": case(4, 5, 3, 1, LANES=1),
    "kernel1_stride2": case(4, 7, 1, 1, STRIDE=2, REPEATS=2),
    "kernel2": case(4, 5, 1, 2, PADDING=1),
    "single_row": case(1, 9, 2, 3, PADDING=1),
    "single_column": case(9, 1, 2, 3, PADDING=1),
    "single_pixel": case(1, 1, 1, 3, PADDING=2),
    "single_pixel_kernel1": case(1, 1, 5, 1, LANES=2),
}


class Pixels(ConvStage):
    """A convolution without what follows its pixels."""

    def pipeline(self, sink: Outlet) -> Direct:
        return Direct(sink)


class PixelReader(SlidingWindow):
    """A row of windows is an output row of C channels: its windows' pixels, each REPEATS times."""

    module = "pixel_reader"

    def __init__(self, parameters: dict, seed: str) -> None:
        super().__init__(parameters, seed)
        p = dict(STRIDE=1, PADDING=0) | self.parameters
        self.repeats = p.get("REPEATS", 1)
        self.channels = self.source.channels
        in_shape = (self.channels, p["HEIGHT"], p["WIDTH"])
        pixels = self.sink.width * self.repeats * p["KERNEL"] ** 2
        self.sink = Layout(self.channels, self.sink.height, pixels, self.channels)
        layer = Conv(self.repeats, p["KERNEL"], p["STRIDE"], p["PADDING"])
        folding = Folding(1, self.channels)
        node = lone_stage(layer, in_shape, folding, p["LANES"]).node
        self.stage = Pixels(node, p["LANES"], 1, folding)
        self.interval = max(self.source.beats, self.sink.beats)

    def streams(self, dut) -> tuple[Stream, Stream]:
        names = ("m_pixel", "m_pixel_valid", "m_pixel_ready", "m_pixel_last")
        return Stream.axis(dut, "s_axis"), Stream(dut, *names, late=True)

    def compute(self, images: np.ndarray) -> np.ndarray:
        windows = super().compute(images).transpose(0, 2, 3, 1)  # image, row, window, element
        windows = np.repeat(windows, self.repeats, axis=2)
        return windows.reshape(*windows.shape[:2], -1, self.channels).transpose(0, 3, 1, 2)


TRAFFIC = PixelReader


@on_simulators(CASES)
def test_pixel_reader(simulate, simulator, name, parameters):
    simulate("pixel_reader", simulator=simulator, name=name, parameters=parameters)


def test_refused_parameters():
    refuse("pixel_reader", case(4, 4, 1, 3, PADDING=3), "error_PADDING_must_be_less")
