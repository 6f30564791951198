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
    "rectangular": case(6, 7, 2, 2, KERNEL_W=4, STRIDE_H=2, LANES=1),
    "signal": case(1, 19, 2, 1, KERNEL_W=5, STRIDE_W=2, PAD_LEFT=1, PAD_RIGHT=3, PAD_CODE=3),
    "column": case(17, 1, 1, 1, KERNEL_H=4, STRIDE_H=3, PAD_TOP=1, PAD_BOTTOM=2),
    "four_paddings": case(5, 6, 1, 3, PAD_TOP=2, PAD_RIGHT=1, PAD_CODE=200),
    "dilated": case(7, 8, 1, 3, DILATION_H=2, DILATION_W=2, PADDING=2, PAD_CODE=77),
    "dilated_far": case(11, 9, 2, 3, KERNEL_W=2, DILATION_H=3, DILATION_W=4, STRIDE=2, REPEATS=2),
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
        self.repeats = self.parameters.get("REPEATS", 1)
        self.channels = self.source.channels
        pixels = self.sink.width * self.repeats * self.layer.window.taps
        self.sink = Layout(self.channels, self.sink.height, pixels, self.channels)
        window, lanes = self.layer.window, self.parameters["LANES"]
        layer = Conv(self.repeats, window.kernel, window.stride, window.padding, window.dilation)
        folding = Folding(1, self.channels)
        node = lone_stage(layer, self.stage.in_shape, folding, lanes).node
        self.stage = Pixels(node, lanes, 1, folding)
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
