"""vector_buffer: each vector REPEATS times in a row, from its first beat on."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import cocotb
import numpy as np
from runner import on_simulators
from testbench import Beat, Layout, Stall, Testbench
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
async def no_pauses(dut) -> None:
    """The first pass does not wait for the whole vector, nor any vector for the one before it."""
    case = json.loads(Path("case.json").read_text())
    traffic = VectorBuffer(case["parameters"], case["seed"])
    bench = Testbench(dut, case["seed"])
    streams = traffic.streams(dut)
    source, sink = bench.source(streams[0]), bench.sink(streams[1])
    for vectors in (1, 4):
        await bench.reset(2)
        images = traffic.images(vectors, traffic.rng)
        beats = [beat for image in images for beat in traffic.source.pack(image)]
        first, rest = beats[: traffic.source.beats], beats[traffic.source.beats :]
        if vectors == 1:
            # Beat by beat: each one must leave by itself, 2 clocks after it came.
            for count, beat in enumerate(first):
                source.send([beat])
                assert await bench.until(lambda end=count + 1: source.taken == end, 10)
                arrival = bench.cycle
                await bench.until(lambda end=count + 1: len(sink.beats) == end, 10)
                cycles = [beat.cycle - arrival for beat in sink.beats[count:]]
                assert cycles == [2], (
                    f"vector_buffer: beat {count} came out {cycles} clocks after it came, "
                    "expected [2]"
                )
            start = sink.beats[-1].cycle - len(first) + 1
        else:
            source.send(first + rest)
            await bench.until(lambda: sink.beats, 10)
            start = sink.beats[0].cycle
        size = vectors * traffic.sink.beats
        await bench.until(lambda end=size: len(sink.beats) == end, 10)
        traffic.check(sink.beats, traffic.compute(images))
        taken = sink.beats[-1].cycle - start + 1
        assert (len(sink.beats), taken) == (size, size), (
            f"vector_buffer: {len(sink.beats)} of {size} beats came out in {taken} clocks"
        )


@cocotb.test()
async def holds_two_vectors(dut) -> None:
    """With the output stalled it takes two vectors, also after all that random stalls bring.

    A vector of one beat given once leaves its half for the output register: a third one fits.
    """
    case = json.loads(Path("case.json").read_text())
    traffic = VectorBuffer(case["parameters"], case["seed"])
    bench = Testbench(dut, case["seed"], Stall.BOTH)
    source, sink = (
        end(stream, pace=traffic.sink.beats)
        for end, stream in zip((bench.source, bench.sink), traffic.streams(dut), strict=True)
    )
    await bench.reset()
    count = max(5, 300 // traffic.sink.beats)
    for image in traffic.images(count, traffic.rng):
        source.send(traffic.source.pack(image))
    await bench.until(lambda: len(sink.beats) == count * traffic.sink.beats, 1000)
    taken = source.taken
    source.go(itertools.repeat(True))
    sink.go(itertools.repeat(False))
    source.send([0] * (3 * traffic.source.beats))
    for _ in range(3 * traffic.source.beats + 20):
        await bench.step()
    found, wanted = source.taken - taken, 2 * traffic.source.beats + (traffic.sink.beats == 1)
    assert found == wanted, f"vector_buffer: holds {found} beats, expected {wanted}"


@on_simulators(CASES)
def test_vector_buffer(simulate, simulator, name, parameters):
    simulate(
        "vector_buffer",
        simulator=simulator,
        name=name,
        parameters=parameters,
        tests="bench_stream,test_vector_buffer",
    )
