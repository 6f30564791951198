"""upsample against model.network.layers.upsample.Upsample."""

from __future__ import annotations

import numpy as np
from runner import on_simulators
from stages import lone_stage
from testbench import Layout
from traffic import Traffic

from convstream.model.network.layers import Upsample


def case(height, width, channels, lanes, rows, columns, **others) -> dict:
    """Parameters of an upsample."""
    sizes = dict(HEIGHT=height, WIDTH=width, CHANNELS=channels, LANES=lanes)
    return sizes | dict(FACTOR_H=rows, FACTOR_W=columns) | others


CASES = {
    "lanes_do_not_divide": case(3, 4, 5, 2, 2, 3),
    "usual": case(4, 5, 2, 2, 2, 2),
    "rows_alone": case(3, 5, 3, 1, 3, 1),
    "columns_alone": case(5, 3, 2, 1, 1, 2),
    "neither": case(2, 3, 2, 2, 1, 1, FIFO_DEPTH=4),
    "one_pixel": case(1, 1, 1, 1, 2, 2),
    "one_pixel_of_beats": case(1, 1, 7, 3, 4, 5, FIFO_DEPTH=1),
    "single_row": case(1, 6, 1, 1, 2, 2),
    "single_column": case(6, 1, 2, 1, 2, 3),
}


class UpsampleTraffic(Traffic):
    """Expected values from the reference; what unused lanes hold comes through."""

    module = "upsample"
    zero_lanes = drops_lanes = False

    def __init__(self, parameters: dict, seed: str) -> None:
        super().__init__(parameters, seed)
        p = self.parameters
        self.layer = Upsample(p["FACTOR_H"], p["FACTOR_W"])
        shape = (p["CHANNELS"], p["HEIGHT"], p["WIDTH"])
        self.source = Layout(*shape, p["LANES"])
        self.sink = Layout(*self.layer.out_shape(shape), p["LANES"])
        self.stage = lone_stage(self.layer, shape, None, p["LANES"])
        self.interval = self.sink.beats
        if p.get("FIFO_DEPTH") == 1:
            self.interval *= 2  # a sole place cannot be filled while it is emptied

    def compute(self, images: np.ndarray) -> np.ndarray:
        return self.layer.integers([images], ())


TRAFFIC = UpsampleTraffic


@on_simulators(CASES)
def test_upsample(simulate, simulator, name, parameters):
    simulate(
        "upsample",
        simulator=simulator,
        name=name,
        parameters=parameters,
        tests="bench_stream,bench_pool",
    )
