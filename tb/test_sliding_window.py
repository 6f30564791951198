"""sliding_window against the reference's convolution, each kernel picking out one element."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from outlet import Direct, Outlet
from runner import on_simulators
from stages import lone_stage, window_of
from testbench import Layout, Stream
from traffic import Traffic

from convstream.model.hardware.layers.conv import ConvStage
from convstream.model.hardware.stage import Folding
from convstream.model.network import reference
from convstream.model.network.layers import Conv
from convstream.model.network.layers.conv import conv2d


def case(height, width, channels, kernel, **others) -> dict:
    """Parameters of a sliding_window, the usual ones by position."""
    sizes = dict(HEIGHT=height, WIDTH=width, CHANNELS=channels, KERNEL=kernel)
    return dict(LANES=channels) | sizes | others


CASES = {
    "lanes_do_not_divide": case(5, 6, 3, 3, LANES=2, PADDING=1),
    "unpadded": case(6, 7, 1, 3),
    "padded": case(6, 5, 2, 5, PADDING=2),
    "padding_k_minus_1": case(4, 3, 1, 4, PADDING=3),
    "image_smaller_than_kernel": case(2, 3, 2, 5, PADDING=3),
    "stride2": case(7, 9, 1, 3, STRIDE=2, PADDING=1),
    "stride2_leftover": case(8, 8, 2, 3, STRIDE=2),
    "stride3": case(9, 8, 1, 5, STRIDE=3, PADDING=4),
    "stride_beyond_kernel": case(9, 11, 2, 2, STRIDE=4, PADDING=1),
    "stride2_ends_in_padding": case(2, 13, 1, 5, STRIDE=2, PADDING=4),
    "kernel1": case(4, 5, 3, 1, LANES=1),
    "kernel1_stride2": case(4, 7, 1, 1, STRIDE=2),
    "kernel2": case(4, 5, 1, 2, PADDING=1),
    "late": case(6, 5, 2, 5, PADDING=2, LATE=1),
    "late_stride3": case(9, 8, 1, 5, STRIDE=3, PADDING=4, LATE=1),
    "late_pixels4": case(4, 12, 1, 5, PIXELS=4, PADDING=2, LATE=1),
    "late_unhurried": case(6, 7, 2, 3, PACE=5, LATE=1),
    "late_row_by_row": case(6, 7, 2, 3, PACE=11, LATE=1),
    "single_row": case(1, 9, 2, 3, PADDING=1),
    "single_column": case(9, 1, 2, 3, PADDING=1),
    "single_pixel": case(1, 1, 1, 3, PADDING=2),
    "unhurried": case(6, 7, 2, 3, PACE=6),
    "unhurried_padded": case(4, 6, 1, 5, PADDING=2, PACE=6),
    "unhurried_stride3": case(7, 11, 2, 2, STRIDE=3, PACE=6),
    "unhurried_pixels2": case(4, 8, 1, 3, PIXELS=2, PADDING=1, PACE=5),
    "row_by_row": case(6, 7, 2, 3, PACE=12),
    "row_by_row_padded": case(5, 6, 1, 3, PADDING=1, PACE=9),
    "row_by_row_padding_k_minus_1": case(3, 4, 3, 4, LANES=2, PADDING=3, PACE=20),
    "row_by_row_stride2": case(7, 9, 2, 3, STRIDE=2, PADDING=2, PACE=12),
    "row_by_row_pixels4": case(3, 8, 1, 3, PIXELS=4, PADDING=1, PACE=30),
    "pixels2": case(5, 8, 2, 3, PIXELS=2, PADDING=1, LANES=1),
    "pixels2_unpadded": case(5, 8, 1, 5, PIXELS=2),
    "pixels2_stride2": case(6, 8, 2, 3, PIXELS=2, STRIDE=2, PADDING=1),
    "pixels2_stride4": case(9, 12, 1, 5, PIXELS=2, STRIDE=4, PADDING=2),
    "pixels4": case(4, 12, 1, 5, PIXELS=4, PADDING=2),
    "pixels4_padding1": case(4, 8, 1, 3, PIXELS=4, PADDING=1),
    "pixels4_stride2": case(7, 16, 2, 3, PIXELS=4, STRIDE=2, PADDING=1),
    "pixels4_one_transfer_a_row": case(3, 4, 1, 3, PIXELS=4, PADDING=1),
    "rectangular": case(6, 7, 2, 2, KERNEL_W=4, STRIDE_H=2, LANES=1),
    "signal": case(1, 19, 2, 1, KERNEL_W=5, STRIDE_W=2, PAD_LEFT=2, PAD_RIGHT=2),
    "column": case(17, 1, 2, 1, KERNEL_H=4, STRIDE_H=3, PAD_TOP=1, PAD_BOTTOM=2, LATE=1),
    "four_paddings": case(5, 6, 1, 3, PAD_TOP=2, PAD_RIGHT=1, PAD_CODE=200),
    "pad_code": case(4, 5, 2, 3, PADDING=1, PAD_CODE=131, LATE=1),
    "padded_ends_pixels2": case(4, 6, 1, 4, PIXELS=2, PAD_LEFT=3, PAD_BOTTOM=2, PAD_CODE=1),
    "dilated": case(7, 8, 1, 3, DILATION_H=2, DILATION_W=2, PADDING=2, PAD_CODE=77),
    "dilated_clashing": case(7, 6, 2, 2, DILATION_H=2, DILATION_W=3, STRIDE_W=2, LATE=1),
    "dilated_far": case(11, 9, 1, 3, KERNEL_W=2, DILATION_H=3, DILATION_W=4, PADDING=3),
    "dilated_pixels2": case(5, 8, 1, 3, DILATION_H=2, DILATION_W=2, PIXELS=2, PADDING=2),
    "dilated_row_by_row": case(7, 6, 1, 3, DILATION_H=2, PADDING=1, PACE=12, PAD_CODE=9),
}


@dataclass(frozen=True)
class Windows(ConvStage):
    """A convolution without what follows its windows."""

    channel_folds = window_folds = 1
    reader: int = 3

    def pipeline(self, sink: Outlet) -> Direct:
        return Direct(sink)


class SlidingWindow(Traffic):
    """A window is an output image of K*K*C channels, element (ky, kx, c) in channel order."""

    module = "sliding_window"
    fifo_depth = None

    def __init__(self, parameters: dict, seed: str) -> None:
        super().__init__(parameters, seed)
        p = dict(PIXELS=1, PACE=1, LATE=0) | self.parameters
        window, channels = window_of(p), p["CHANNELS"]
        elements = window.taps * channels
        self.layer = Conv(elements, window.kernel, window.stride, window.padding, window.dilation)
        one_hot = np.eye(elements, dtype=np.int8).reshape(elements, *window.kernel, channels)
        self.weight = one_hot.transpose(0, 3, 1, 2)
        in_shape = (channels, p["HEIGHT"], p["WIDTH"])
        self.source = Layout(*in_shape, p["LANES"], p["PIXELS"])
        out_pixels = max(1, p["PIXELS"] // window.stride[1])
        self.sink = Layout(*self.layer.out_shape(in_shape), elements, out_pixels)
        self.late = bool(p["LATE"])
        folding = Folding(1, channels + 1)  # with which no convolution is pixelwise
        node = lone_stage(self.layer, in_shape, folding, p["LANES"], p["PIXELS"]).node
        reader = 2 if self.late else 3
        self.stage = Windows(
            node, p["LANES"], p["PIXELS"], folding, spacing=p["PACE"], reader=reader
        )
        self.interval = max(self.source.beats, self.sink.beats * p["PACE"], self.stage.columns)

    def streams(self, dut) -> tuple[Stream, Stream]:
        names = ("m_window", "m_window_valid", "m_window_ready", "m_window_last")
        return Stream.axis(dut, "s_axis"), Stream(dut, *names, late=self.late)

    def compute(self, images: np.ndarray) -> np.ndarray:
        bias = np.zeros(len(self.weight), np.int32)
        window, pad_code = self.layer.window, self.parameters.get("PAD_CODE", 0)
        acc = conv2d(
            images,
            self.weight,
            bias,
            window.stride,
            window.padding,
            window.dilation,
            pad_code=pad_code,
        )
        return reference.requantise(acc, 0)


TRAFFIC = SlidingWindow


@on_simulators(CASES)
def test_sliding_window(simulate, simulator, name, parameters):
    simulate("sliding_window", simulator=simulator, name=name, parameters=parameters)
