"""axis_concat against model.network.layers.concat.Concat."""

from __future__ import annotations

import numpy as np
import pytest
from runner import on_simulators, refuse
from stages import lone_stage
from testbench import Layout
from traffic import Join

from convstream.model.network.layers import Concat

# BEATS has 16 bits for each input, the first one lowest.
CASES = {
    "three_inputs": dict(INPUTS=3, WIDTH=16, GROUPS=7, BEATS="48'h000300010002"),
    "usual": dict(INPUTS=2, WIDTH=16, GROUPS=12, BEATS="32'h00030002"),
    "one_beat_each": dict(INPUTS=2, WIDTH=24, GROUPS=5, BEATS="32'h00010001", FIFO_DEPTH=5),
    "one_group": dict(INPUTS=3, WIDTH=8, GROUPS=1, BEATS="48'h000100010001", FIFO_DEPTH=1),
    "four_inputs": dict(INPUTS=4, WIDTH=8, GROUPS=6, BEATS="64'h0001000400010002"),
    "many_beats": dict(INPUTS=2, WIDTH=8, GROUPS=3, BEATS="32'h00140011"),
}


class AxisConcat(Join):
    """A group is a pixel, and a beat all that it holds."""

    module = "axis_concat"

    def __init__(self, parameters: dict, seed: str) -> None:
        super().__init__(parameters, seed)
        p = self.parameters
        lanes, fields = p["WIDTH"] // 8, int(p["BEATS"].split("h")[1], 16)
        beats = [fields >> 16 * index & 0xFFFF for index in range(p["INPUTS"])]
        self.sources = [Layout(lanes * count, 1, p["GROUPS"], lanes) for count in beats]
        self.sink = Layout(lanes * sum(beats), 1, p["GROUPS"], lanes)
        shapes = [(layout.channels, 1, p["GROUPS"]) for layout in self.sources]
        self.stage = lone_stage(Concat(), shapes, None, lanes)
        self.interval = self.sink.beats
        if p.get("FIFO_DEPTH") == 1:
            self.interval *= 2  # a sole place cannot be filled while it is emptied

    def compute(self, *images: np.ndarray) -> np.ndarray:
        return Concat().integers(images, ())


TRAFFIC = AxisConcat


@on_simulators(CASES)
def test_axis_concat(simulate, simulator, name, parameters):
    simulate(
        "axis_concat",
        simulator=simulator,
        name=name,
        parameters=parameters,
        tests="bench_stream,bench_pool",
    )


@pytest.mark.parametrize("inputs", [0, 1])
def test_bad_inputs(inputs):
    refuse("axis_concat", dict(INPUTS=inputs), "error_INPUTS_must_be_at_least_2")
