"""A whole network under bad input: resets, pauses, tlast in the wrong place, no reset at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cocotb
import numpy as np
import pytest
from testbench import Layout, Stream, Testbench
from traffic import Traffic

from convstream.model.formats.onnx import read_onnx
from convstream.model.hardware import manifest
from convstream.model.network import reference
from convstream.model.network.examples import NETWORKS
from convstream.sim.design import Design

NAME = next(iter(NETWORKS))
SOME = 10  # resets in the default run
DRAIN = 200  # clocks from an image's last pixel to its last logit, and more
PAUSE = 3000


class Logits(Traffic):
    """Images in, logits out; tuser is the class so far."""

    module = NAME

    def __init__(self, parameters: dict, seed: str) -> None:
        super().__init__(parameters, seed)
        self.parameters = {}  # the network has none: the case's are the bench's
        self.folder = manifest.find(NAME)
        self.quantised = read_onnx(self.folder / "network.onnx", NAME)
        design = Design.read(self.folder)
        self.source = Layout(*design.input_shape, design.input_shape[0])
        self.sink = Layout(design.classes, 1, 1, design.output_lanes, bits=32)
        self.interval = design.cycles

    def write_memories(self, folder: Path) -> None:
        for name in json.loads((self.folder / manifest.FILE_NAME).read_text())["files"]:
            shutil.copyfile(self.folder / name, folder / name)

    def compute(self, images: np.ndarray) -> np.ndarray:
        return reference.predict(self.quantised, images)[:, :, None, None]

    def users(self, image: np.ndarray) -> list[int | None]:
        logits, lanes = image.reshape(1, -1), self.sink.lanes
        ends = range(lanes, self.sink.beats * lanes + 1, lanes)
        return [int(reference.argmax(logits[:, :end])[0]) for end in ends]


TRAFFIC = Logits


class Bench(Testbench):
    """A testbench of the network, which counts what it flags."""

    def __init__(self, dut) -> None:
        self.case = json.loads(Path("case.json").read_text())
        super().__init__(dut, self.case["seed"])
        self.traffic = Logits({}, self.case["seed"])
        self.input = self.source(Stream.axis(dut, "s_axis"))
        self.output = self.sink(Stream.axis(dut, "m_axis", user=True))
        self.monitors.append(self._count_errors)
        self.errors = 0
        self.expected: list[np.ndarray] = []

    def _count_errors(self) -> None:
        assert str(self.dut.frame_error.value) in "01", f"{NAME}: frame_error is X"
        self.errors += int(self.dut.frame_error.value)

    async def start(self) -> None:
        """A reset of one clock; forget what was sent."""
        await self.reset(1)
        self.expected, self.errors = [], 0

    def send(self, length: int | None = None) -> None:
        """Queue an image; one of another length than its own must be dropped."""
        image = self.traffic.images(1, self.traffic.rng)
        beats = self.traffic.source.pack(image[0])
        if length in (None, len(beats)):
            self.expected.extend(self.traffic.compute(image))
        else:
            beats = (beats * -(-length // len(beats)))[:length]
        self.input.send(beats)

    async def finish(self, errors: int = 0) -> None:
        """Run until all is out, compare, and see that nothing follows."""
        wanted = len(self.expected) * self.traffic.sink.beats
        await self.until(
            lambda: len(self.output.beats) >= wanted and not self.input.queue, 4 * PAUSE
        )
        await self.silence(DRAIN)
        self.traffic.check(self.output.beats, self.expected)
        assert len(self.output.beats) == wanted, f"{NAME}: {len(self.output.beats)} beats came out"
        assert self.errors == errors, f"{NAME}: {self.errors} images flagged, expected {errors}"


@cocotb.test()
async def power_up(dut) -> None:
    """Before any reset, the initial values do: the first of all tests."""
    bench = Bench(dut)
    bench.power_up()
    bench.send()
    bench.send()
    await bench.finish()


@cocotb.test()
async def resets(dut) -> None:
    """A reset of one clock after so many beats of an image, then one that must be right.

    The image before that one is still inside, where it has not left before the reset comes.
    """
    bench = Bench(dut)
    await bench.start()
    for clock in bench.case["parameters"]["resets"]:
        bench.send()
        if clock < DRAIN:
            await bench.finish()
        whole = bench.input.taken + len(bench.input.queue)
        bench.input.send(bench.traffic.source.pack(bench.traffic.images(1, bench.traffic.rng)[0]))
        await bench.until(lambda end=whole + clock: bench.input.taken == end, PAUSE)
        bench.traffic.check(bench.output.beats, bench.expected)
        count = len(bench.output.beats)
        assert count == bench.traffic.sink.beats, f"{NAME}: {count} beats before clock {clock}"
        await bench.start()
    bench.send()
    await bench.finish()


@cocotb.test()
async def pauses(dut) -> None:
    """tvalid stays away for long in the middle of images, one of them too short."""
    bench = Bench(dut)
    await bench.start()
    size = bench.traffic.source.beats
    for place in (1, bench.traffic.source.width, size // 2, size - 1):
        for length in (size, size - 1):
            before = len(bench.input.queue)
            bench.send(length)
            rest = [bench.input.queue.pop() for _ in range(length - place)]
            taken = bench.input.taken + before + place
            await bench.until(lambda end=taken: bench.input.taken == end, PAUSE)
            for _ in range(PAUSE):
                await bench.step()
            bench.input.queue.extend(reversed(rest))
    await bench.finish(errors=4)


@cocotb.test()
async def misplaced_tlast(dut) -> None:
    """Early and late by one beat, a row, an image and more; each time the next image is right."""
    bench = Bench(dut)
    await bench.start()
    size, width = bench.traffic.source.beats, bench.traffic.source.width
    lengths = [1, 2, width, width + 1, size // 2, size - width, size - 1]
    lengths += [size + 1, size + width, 2 * size - 1, 2 * size, 2 * size + 1]
    for length in lengths:
        bench.send(length)
        bench.send()
    bench.send(lengths[0])
    bench.send(lengths[-1])
    bench.send()
    await bench.finish(errors=len(lengths) + 2)


def _clocks(seed: str) -> list[int]:
    """The first clock of an image, the last one, and others in between."""
    rng = np.random.default_rng(int(seed))
    size = Design.read(manifest.find(NAME)).input_beats
    return [0, *map(int, rng.choice(np.arange(1, size - 1), SOME - 2, replace=False)), size - 1]


def _simulate(simulate, simulator: str, name: str, clocks: list[int]) -> None:
    case = dict(simulator=simulator, name=name, parameters=dict(resets=clocks))
    simulate(NAME, tests="test_network_faults", **case)


def test_bad_input(simulate, seed):
    _simulate(simulate, "icarus", "some", _clocks(seed))


@pytest.mark.slow
def test_bad_input_with_random_initial_values(simulate, seed):
    _simulate(simulate, "verilator", "some", _clocks(seed))


@pytest.mark.slow
def test_reset_at_every_clock(simulate):
    """Each clock of an image in turn."""
    _simulate(simulate, "icarus", "all", list(range(Design.read(manifest.find(NAME)).input_beats)))
