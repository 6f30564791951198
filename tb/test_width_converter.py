"""width_converter: the bytes of an image in order of arrival, in dense chunks."""

from __future__ import annotations

import numpy as np
from runner import on_simulators
from testbench import Layout
from traffic import Traffic

from convstream.model.hardware.stream_order import arrival_order


def case(positions, channels, lanes, simd, pixels=1) -> dict:
    """Parameters of a width_converter."""
    return dict(POSITIONS=positions, CHANNELS=channels, LANES=lanes, SIMD=simd, PIXELS=pixels)


CASES = {
    "nothing_divides": case(6, 5, 2, 4),
    "equal": case(5, 3, 3, 3),
    "to_bytes": case(4, 3, 2, 1),
    "from_bytes": case(7, 3, 1, 5),
    "wider": case(7, 2, 2, 9),
    "much_wider_than_the_image": case(2, 3, 2, 11),
    "narrower": case(3, 7, 7, 3),
    "multiple": case(8, 4, 4, 8),
    "divisor": case(3, 8, 8, 4),
    "one_byte": case(1, 1, 1, 1),
    "one_byte_wide_lanes": case(1, 1, 1, 3),
    "vector": case(1, 11, 3, 5),
    "pixels2": case(6, 4, 2, 3, 2),
    "pixels2_wide": case(6, 2, 2, 7, 2),
    "pixels4": case(8, 1, 1, 3, 4),
    "pixels4_channels_split": case(4, 6, 3, 5, 4),
}


class WidthConverter(Traffic):
    """The output image is the vector, its elements channels of a single pixel."""

    module = "width_converter"

    def __init__(self, parameters: dict, seed: str) -> None:
        super().__init__(parameters, seed)
        p = self.parameters
        in_shape = (p["CHANNELS"], 1, p["POSITIONS"])
        self.order = arrival_order(in_shape, p["LANES"], p["PIXELS"])
        self.source = Layout(*in_shape, p["LANES"], p["PIXELS"])
        self.sink = Layout(len(self.order), 1, 1, p["SIMD"])
        self.interval = max(self.source.beats, self.sink.beats)

    def compute(self, images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1)[:, self.order, None, None]


TRAFFIC = WidthConverter


@on_simulators(CASES)
def test_width_converter(simulate, simulator, name, parameters):
    simulate("width_converter", simulator=simulator, name=name, parameters=parameters)
