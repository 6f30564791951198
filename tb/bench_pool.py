"""What benches of layers without weights add to bench_stream: results that wait leave in a row."""

from __future__ import annotations

import random

import cocotb
import numpy as np
from bench_stream import CASE, TRAFFIC
from testbench import Testbench

MOST_STALLS, LEAST_STALLS = 30, 5
CLOCKS = 2500  # spent waiting in stalls, about


@cocotb.test()
async def takes_up_results(dut) -> None:
    """After a long stall, as many results as the FIFO holds leave in a row, and one more."""
    depth = TRAFFIC.parameters.get("FIFO_DEPTH", 2)
    wanted = depth + 1 if depth > 1 else 1  # a sole place cannot be filled while it is emptied
    bench = Testbench(dut, CASE["seed"])
    sources = [bench.source(stream) for stream in TRAFFIC.all_streams(dut)[0]]
    valid: list[str] = []
    bench.monitors.append(lambda: valid.append(str(dut.m_axis_tvalid.value)))
    dut.m_axis_tready.value = 0
    await bench.reset()
    wait = TRAFFIC.interval * (2 + (depth + 8) // TRAFFIC.sink.beats) + 20
    stalls = max(LEAST_STALLS, min(MOST_STALLS, CLOCKS // wait))
    images = stalls * (3 + (depth + 8) // TRAFFIC.sink.beats)
    inputs = TRAFFIC.inputs(images, np.random.default_rng(bench.rng.getrandbits(32)))
    for source, layout, own in zip(sources, TRAFFIC.sources, inputs, strict=True):
        for image in own:
            source.send(layout.pack(image, random.Random(0)))
    for _ in range(stalls):
        for _ in range(wait):
            await bench.step()
        dut.m_axis_tready.value = 1
        valid.clear()
        # And some more, so that stalls begin everywhere in an image, and what waits inside is gone.
        for _ in range(wanted + bench.rng.randrange(2 * TRAFFIC.interval)):
            await bench.step()
        dut.m_axis_tready.value = 0
        assert valid[:wanted] == ["1"] * wanted, (
            f"{TRAFFIC.module}: tvalid {valid} after a stall, expected {wanted} beats at once"
        )
