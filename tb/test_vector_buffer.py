"""vector_buffer: each vector REPEATS times in a row, from its first beat on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cocotb
import numpy as np
from runner import on_simulators
from testbench import Beat, Layout, Testbench
from traffic import Traffic


def case(width, chunks, repeats) -> dict:
    """Parameters of a vector_buffer."""
    return dict(WIDTH=width, CHUNKS=chunks, REPEATS=repeats)


CASES = {
    "nothing_special": case(24, 5, 3),
    "one_chunk": case(8, 1, 7),
    "one_repeat": case(40, 6, 1),
    "one_of_each": case(8, 1, 1),
    "one_bit": case(1, 3, 2),
    "many": case(16, 13, 10),
}


class VectorBuffer(Traffic):
    """An image is a vector, its beats the columns and their bits the channels."""

    module = "vector_buffer"

    def __init__(self, parameters: dict, seed: str) -> None:
        super().__init__(parameters, seed)
        width, chunks, repeats = (self.parameters[key] for key in ("WIDTH", "CHUNKS", "REPEATS"))
        self.source = Layout(width, 1, chunks, width, bits=1)
        self.sink = Layout(width, 1, chunks * repeats, width, bits=1)
        self.interval = chunks * repeats

    def images(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Random bits."""
        return rng.integers(0, 2, (count, self.source.channels, 1, self.source.width), np.uint8)

    def compute(self, images: np.ndarray) -> np.ndarray:
        return np.tile(images, self.parameters["REPEATS"])

    def check(self, beats: list[Beat], expected: np.ndarray) -> None:
        """As of any stream, but this one has no tlast."""
        size = self.sink.beats
        ends = [int(count % size == size - 1) for count in range(len(beats))]
        beats = [replace(beat, last=end) for beat, end in zip(beats, ends, strict=True)]
        super().check(beats, expected)


TRAFFIC = VectorBuffer


@cocotb.test()
async def follows_arrival(dut) -> None:
    """The first pass does not wait for the whole vector, and the others follow without a pause."""
    case = json.loads(Path("case.json").read_text())
    traffic = VectorBuffer(case["parameters"], case["seed"])
    bench = Testbench(dut, case["seed"])
    streams = traffic.streams(dut)
    source, sink = bench.source(streams[0]), bench.sink(streams[1])
    await bench.reset(2)
    images = traffic.images(1, traffic.rng)
    beats, size = traffic.source.pack(images[0]), traffic.sink.beats
    for count, beat in enumerate(beats):
        source.send([beat])
        assert await bench.until(lambda taken=count + 1: source.taken == taken, 10)
        arrival = bench.cycle
        assert await bench.until(lambda out=count + 1: len(sink.beats) == out, 10), (
            f"vector_buffer: beat {count} does not come out"
        )
        latency = sink.beats[count].cycle - arrival
        assert latency == 2, f"vector_buffer: beat {count} took {latency} clocks, expected 2"
    await bench.until(lambda: len(sink.beats) == size, 10)
    traffic.check(sink.beats, traffic.compute(images))
    pause = sink.beats[-1].cycle - sink.beats[len(beats) - 1].cycle - (size - len(beats))
    assert (len(sink.beats), pause) == (size, 0), (
        f"vector_buffer: {len(sink.beats)} of {size} beats came out, {pause} clocks late"
    )


@on_simulators(CASES)
def test_vector_buffer(simulate, simulator, name, parameters):
    simulate(
        "vector_buffer",
        simulator=simulator,
        name=name,
        parameters=parameters,
        tests="bench_stream,test_vector_buffer",
    )
