"""lookup against model.network.layers.table.Table."""

from __future__ import annotations

import numpy as np
from runner import on_simulators
from stages import lone_stage
from testbench import Layout
from traffic import Traffic

from convstream.model.hardware import rom
from convstream.model.hardware.stream_order import pack_table
from convstream.model.network.layers import Table


def case(positions, channels, lanes, pixels=1, **others) -> dict:
    """Parameters of a lookup."""
    sizes = dict(POSITIONS=positions, CHANNELS=channels, LANES=lanes, PIXELS=pixels)
    return sizes | others


CASES = {
    "lanes_do_not_divide": case(17, 5, 2, PER_CHANNEL=1),
    "usual": case(20, 3, 3),
    "one_lane": case(9, 3, 1),
    "whole_pixels": case(12, 3, 3, PER_CHANNEL=1),
    "one_code": case(1, 1, 1, FIFO_DEPTH=1),
    "pixels": case(12, 2, 2, 4),
    "pixels_channels_split": case(10, 4, 2, 2, PER_CHANNEL=1, FIFO_DEPTH=6),
}


class Lookup(Traffic):
    """Random tables, and expected values from the reference."""

    module = "lookup"
    zero_lanes = drops_lanes = False

    def __init__(self, parameters: dict, seed: str) -> None:
        super().__init__(parameters, seed)
        p = self.parameters
        count = p["CHANNELS"] if p.get("PER_CHANNEL") else 1
        self.layer = Table.of(self.rng.integers(0, 256, (count, 256), np.uint8))
        self.memories = {"table.mem": rom.to_hex(pack_table(self.layer.values, p["LANES"]))}
        p["TABLE_FILE"] = "table.mem"
        self.source = self.sink = Layout(p["CHANNELS"], 1, p["POSITIONS"], p["LANES"], p["PIXELS"])
        shape = (p["CHANNELS"], 1, p["POSITIONS"])
        self.stage = lone_stage(self.layer, shape, None, p["LANES"], p["PIXELS"])
        self.interval = self.source.beats

    def compute(self, images: np.ndarray) -> np.ndarray:
        return self.layer.integers([images], ())


TRAFFIC = Lookup


@on_simulators(CASES)
def test_lookup(simulate, simulator, name, parameters):
    simulate(
        "lookup",
        simulator=simulator,
        name=name,
        parameters=parameters,
        tests="bench_stream,bench_pool",
    )
