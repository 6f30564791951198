"""axis_fifo: every beat comes out once, in order; it holds DEPTH of them."""

from __future__ import annotations

import json
from pathlib import Path

import cocotb
from runner import on_simulators
from testbench import Stream, Testbench
from traffic import Passage

CASES = {
    "depth5": dict(WIDTH=8, DEPTH=5),
    "depth1": dict(WIDTH=3, DEPTH=1),
    "depth2": dict(WIDTH=1, DEPTH=2),
    "depth16": dict(WIDTH=70, DEPTH=16),
    "depth33": dict(WIDTH=8, DEPTH=33),
    "blocks2": dict(WIDTH=9, DEPTH=2, IN_BLOCKS=1),
    "blocks1": dict(WIDTH=2, DEPTH=1, IN_BLOCKS=1),
    "blocks7": dict(WIDTH=5, DEPTH=7, IN_BLOCKS=1),
    "registers40": dict(WIDTH=3, DEPTH=40, IN_BLOCKS=0),
}


class Fifo(Passage):
    module = "axis_fifo"

    def __init__(self, parameters: dict, seed: str) -> None:
        super().__init__(parameters, seed)
        if parameters["DEPTH"] == 1:
            self.interval *= 2  # a sole place cannot be filled while it is emptied


TRAFFIC = Fifo


@cocotb.test()
async def capacity(dut) -> None:
    """With the output stalled it takes DEPTH beats, and again after a reset."""
    case = json.loads(Path("case.json").read_text())
    depth = case["parameters"]["DEPTH"]
    bench = Testbench(dut, case["seed"])
    source = bench.source(Stream.axis(dut, "s_axis"))
    await bench.reset()
    dut.m_axis_tready.value = 0
    for _ in range(2):
        source.send([1] * (3 * depth + 5))
        for _ in range(2 * depth + 20):
            await bench.step()
        assert source.taken == depth, f"axis_fifo: holds {source.taken} beats, expected {depth}"
        await bench.reset()


@on_simulators(CASES)
def test_axis_fifo(simulate, simulator, name, parameters):
    simulate(
        "axis_fifo",
        simulator=simulator,
        name=name,
        parameters=parameters,
        tests="bench_stream,test_axis_fifo",
    )
