"""argmax against model.network.reference.argmax, at every beat."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cocotb
import numpy as np
from runner import on_simulators
from testbench import Layout, Stream, Testbench
from traffic import Traffic

from convstream.model.network import reference

CASES = {
    "lanes_do_not_divide": dict(CLASSES=10, LANES=3),
    "one_lane": dict(CLASSES=10, LANES=1),
    "one_beat": dict(CLASSES=7, LANES=7),
    "one_class": dict(CLASSES=1, LANES=1),
    "lanes_beyond_the_classes": dict(CLASSES=3, LANES=5),
    "many_classes": dict(CLASSES=300, LANES=16),
    "two_lanes": dict(CLASSES=9, LANES=2),
    "codes": dict(CLASSES=19, LANES=4, WIDTH=8, SIGNED=0),
}


class Argmax(Traffic):
    """Logits pass; tuser is the class so far."""

    module = "argmax"
    zero_lanes = drops_lanes = False  # what comes in goes out

    def __init__(self, parameters: dict, seed: str) -> None:
        super().__init__(parameters, seed)
        p = self.parameters
        self.source = self.sink = Layout(p["CLASSES"], 1, 1, p["LANES"], bits=p.get("WIDTH", 32))
        self.interval = self.source.beats

    def streams(self, dut) -> tuple[Stream, Stream]:
        return Stream.axis(dut, "s_axis"), Stream.axis(dut, "m_axis", user=True)

    def images(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Logits of full range, only negative ones, many ties, and some that differ in one bit."""
        shape = (self.source.channels, 1, 1)
        low, high = np.iinfo(np.int32).min, np.iinfo(np.int32).max
        kinds = (
            lambda: rng.integers(low, high, shape, np.int32, endpoint=True),
            lambda: rng.integers(low, 0, shape, np.int32),
            lambda: rng.integers(-2, 2, shape, np.int32),
            lambda: rng.choice(np.array([low, high, -1, 0], np.int32), shape),
            lambda: np.full(shape, low, np.int32),
            lambda: rng.integers(low, high) ^ (1 << rng.integers(0, 31, shape, np.int32)),
            lambda: self._rising(rng).reshape(shape),
        )
        found = [kinds[index % len(kinds)]() for index in range(5 * count)]
        logits = np.stack(found).astype(np.int32)
        return logits if self.parameters.get("SIGNED", 1) else logits & 255

    def _rising(self, rng: np.random.Generator) -> np.ndarray:
        """Each beat holds a new largest one, in lanes side by side; the others are 1 less."""
        info, lanes = np.iinfo(np.int32), self.sink.lanes
        largest = np.sort(rng.integers(info.min + 1, info.max, self.sink.beats))
        logits = np.repeat(largest - 1, lanes)
        for beat in logits.reshape(-1, lanes):
            size = 1 << rng.integers(lanes.bit_length())
            start = rng.integers(lanes) // size * size
            beat[start : start + size] += 1
        return logits[: self.source.channels]

    def compute(self, images: np.ndarray) -> np.ndarray:
        return images

    def users(self, image: np.ndarray) -> list[int | None]:
        logits, lanes = image.reshape(1, -1), self.sink.lanes
        ends = range(lanes, self.sink.beats * lanes + 1, lanes)
        return [int(reference.argmax(logits[:, :end])[0]) for end in ends]


TRAFFIC = Argmax


@cocotb.test()
async def capacity(dut) -> None:
    """With the output stalled it takes a beat a stage; none waits behind an empty stage."""
    case = json.loads(Path("case.json").read_text())
    lanes = case["parameters"]["LANES"]
    stages = 2 + math.ceil(math.log2(lanes))
    bench = Testbench(dut, case["seed"])
    source = bench.source(Stream.axis(dut, "s_axis"))
    for gap in (0, 1, stages):  # clocks between beats
        await bench.reset()
        dut.m_axis_tready.value = 0
        for _ in range(stages + 1):
            source.send([0])
            for _ in range(gap):
                await bench.step()
        for _ in range(2 * stages + 10):
            await bench.step()
        assert source.taken == stages, f"argmax: holds {source.taken} beats, expected {stages}"


@on_simulators(CASES)
def test_argmax(simulate, simulator, name, parameters):
    simulate(
        "argmax",
        simulator=simulator,
        name=name,
        parameters=parameters,
        tests="bench_stream,test_argmax",
    )
