"""frame_drop: images flagged 1 vanish whole, the others pass unchanged."""

from __future__ import annotations

import json
from pathlib import Path

import cocotb
from runner import on_simulators
from testbench import Stall, Stream, Testbench

CASES = {
    "word": dict(WIDTH=32),
    "bit": dict(WIDTH=1),
    "wide": dict(WIDTH=176),
}


class Bench(Testbench):
    """A testbench that sends images of 1 to 5 beats and their flags."""

    def __init__(self, dut, stall: Stall = Stall.NONE) -> None:
        case = json.loads(Path("case.json").read_text())
        super().__init__(dut, case["seed"], stall)
        self.width = case["parameters"]["WIDTH"]
        self.input = self.source(Stream.axis(dut, "s_axis"))
        self.flags = self.source(Stream.axis(dut, "s_flag"), pace=5)
        self.output = self.sink(Stream.axis(dut, "m_axis"))
        self.expected: list[tuple[int, int]] = []

    async def start(self, cycles: int = 2) -> None:
        """Reset; forget the images sent so far."""
        await self.reset(cycles)
        self.expected = []

    def send_image(self, flag: int) -> None:
        """Queue an image, not yet its flag."""
        size = self.rng.randrange(1, 6)
        image = [self.rng.getrandbits(self.width) for _ in range(size)]
        self.input.send(image)
        if not flag:
            self.expected += [(data, int(i == size - 1)) for i, data in enumerate(image)]

    def check(self) -> None:
        """Compare what came out with the start of what must come."""
        got = [(beat.data, beat.last) for beat in self.output.beats]
        for index, (beat, wanted) in enumerate(zip(got, self.expected, strict=False)):
            assert beat == wanted, (
                f"frame_drop: beat {index}: (tdata, tlast) = {beat}, expected {wanted}"
            )

    async def finish(self) -> None:
        """Run until all is out and compare."""
        await self.until(lambda: False, patience=100)
        self.check()
        sizes = len(self.output.beats), len(self.input.queue), len(self.flags.queue)
        assert sizes == (len(self.expected), 0, 0), (
            f"frame_drop: {sizes[0]} of {len(self.expected)} beats came out, {sizes[1]} beats and "
            f"{sizes[2]} flags were not taken"
        )


@cocotb.test()
@cocotb.parametrize(stall=list(Stall))
async def drops_flagged(dut, stall: Stall) -> None:
    """Single flags, runs of them, and none."""
    bench = Bench(dut, stall)
    await bench.start()
    flags = [0, 1, 0, 0, 1, 1, 1, 0, 1, 0, 0] + [bench.rng.getrandbits(1) for _ in range(30)]
    for flag in flags:
        bench.send_image(flag)
        bench.flags.send([flag])
    await bench.finish()


@cocotb.test()
async def flag_after_image(dut) -> None:
    """Nothing of an image passes before its flag is there."""
    bench = Bench(dut)
    await bench.start()
    for flag in (0, 1, 1, 0, 0):
        bench.send_image(flag)
        await bench.silence(12)
        bench.flags.send([flag])
        await bench.finish()


@cocotb.test()
async def flag_before_image(dut) -> None:
    """A flag waits for its image, however late that comes."""
    bench = Bench(dut)
    await bench.start()
    for flag in (1, 0, 0, 1, 0):
        bench.flags.send([flag])
        await bench.silence(12)
        bench.send_image(flag)
        await bench.finish()


@on_simulators(CASES)
def test_frame_drop(simulate, simulator, name, parameters):
    simulate(
        "frame_drop", simulator=simulator, name=name, parameters=parameters, tests="test_frame_drop"
    )
