"""frame_check: images of BEATS beats go out whatever comes in; the faulty ones are flagged."""

from __future__ import annotations

import json
from pathlib import Path

import cocotb
from runner import on_simulators
from testbench import Stall, Stream, Testbench

CASES = {
    "seven_beats": dict(BEATS=7, WIDTH=8),
    "power_of_two": dict(BEATS=8, WIDTH=24),
    "two_beats": dict(BEATS=2, WIDTH=1),
    "one_beat": dict(BEATS=1, WIDTH=8),
    "many_beats": dict(BEATS=37, WIDTH=32),
}


class Bench(Testbench):
    """A testbench that sends images of any length and knows what must come of them."""

    def __init__(self, dut, stall: Stall = Stall.NONE) -> None:
        case = json.loads(Path("case.json").read_text())
        super().__init__(dut, case["seed"], stall)
        self.beats, self.width = case["parameters"]["BEATS"], case["parameters"]["WIDTH"]
        self.input = self.source(Stream.axis(dut, "s_axis"))
        self.output = self.sink(Stream.axis(dut, "m_axis"))
        self.flags = self.sink(Stream.axis(dut, "m_flag"), pace=self.beats)
        self.monitors += [self._count_errors, self._hurry]
        self.expected: list[tuple[int, int]] = []
        self.expected_flags: list[int] = []
        self.errors = 0

    def _count_errors(self) -> None:
        assert str(self.dut.frame_error.value) in "01", "frame_check: frame_error is X"
        self.errors += int(self.dut.frame_error.value)

    def _hurry(self) -> None:
        """A beat moves in each clock in which only a flag that nobody takes could prevent it."""
        dut = self.dut
        offered = dut.s_axis_tvalid.value == 1 and dut.m_axis_tready.value == 1
        held = dut.m_flag_tvalid.value == 1 and dut.m_flag_tready.value == 0
        moved = [*self.input.takes[-1:], *(beat.cycle for beat in self.output.beats[-1:])]
        assert held or not offered or self.cycle in moved, (
            f"frame_check: nothing moves in clock {self.cycle}"
        )

    async def start(self, cycles: int = 2) -> None:
        """Reset; forget the images sent so far."""
        await self.reset(cycles)
        self.expected, self.expected_flags, self.errors = [], [], 0

    def send(self, *lengths: int) -> None:
        """Queue images of so many beats each."""
        for length in lengths:
            image = [self.rng.getrandbits(self.width) for _ in range(length)]
            self.input.send(image)
            whole = (image + [0] * self.beats)[: self.beats]
            self.expected += [(data, int(i == self.beats - 1)) for i, data in enumerate(whole)]
            self.expected_flags.append(int(length != self.beats))

    def check(self) -> None:
        """Compare what came out with the start of what must come."""
        got = [(beat.data, beat.last) for beat in self.output.beats]
        for index, (beat, wanted) in enumerate(zip(got, self.expected, strict=False)):
            image, position = divmod(index, self.beats)
            assert beat == wanted, (
                f"frame_check: image {image}, beat {position}: (tdata, tlast) = {beat}, "
                f"expected {wanted}"
            )
        flags = [beat.data for beat in self.flags.beats]
        assert flags == self.expected_flags[: len(flags)], (
            f"frame_check: flags {flags}, expected {self.expected_flags}"
        )

    async def finish(self) -> None:
        """Run until all is out and compare."""
        await self.until(lambda: False, patience=4 * self.beats + 100)
        self.check()
        sizes = len(self.output.beats), len(self.flags.beats), len(self.input.queue)
        assert sizes == (len(self.expected), len(self.expected_flags), 0), (
            f"frame_check: {sizes[0]} of {len(self.expected)} beats and {sizes[1]} of "
            f"{len(self.expected_flags)} flags came out, {sizes[2]} beats were not taken"
        )
        assert self.errors == sum(self.expected_flags), (
            f"frame_check: frame_error was high for {self.errors} clocks, "
            f"expected {sum(self.expected_flags)}"
        )

    def lengths(self, count: int) -> list[int]:
        """Lengths of random images, most of them faulty, the last one good."""
        size = self.beats
        faulty = [1, max(1, size - 1), size + 1, 2 * size, 2 * size + 1, 3 * size + 2]
        return [self.rng.choice([size, size, *faulty]) for _ in range(count)] + [size]


@cocotb.test()
async def power_up(dut) -> None:
    """Before any reset, the initial values do: the first of all tests."""
    bench = Bench(dut)
    bench.power_up()
    bench.send(bench.beats, bench.beats + 1, bench.beats)
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(stall=list(Stall))
async def faulty_images(dut, stall: Stall) -> None:
    """Each kind of fault, several in a row, good images between and after them."""
    bench = Bench(dut, stall)
    await bench.start()
    size = bench.beats
    early, late = max(1, size - 1), size + 1
    bench.send(size, early, size, late, size, size, early, early, 1, 1, size, late, late)
    bench.send(3 * size + 1, early, late, 1, 2 * size, size, *bench.lengths(20))
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(stall=[Stall.NONE, Stall.PATIENT])
async def flags_stalled(dut, stall: Stall) -> None:
    """A flag that is not taken holds back the last beat of the next image alone; it is not lost."""
    bench = Bench(dut, stall)
    await bench.start()
    bench.flags._go = iter([False] * (5 * bench.beats + 50) + [True] * 1000)
    bench.send(bench.beats, bench.beats + 1, bench.beats, 1, bench.beats)
    await bench.until(lambda: False, patience=2 * bench.beats)
    assert not bench.flags.beats
    passed, wanted = len(bench.output.beats), 2 * bench.beats - 1
    assert passed == wanted, f"frame_check: {passed} beats passed, expected {wanted}"
    await bench.finish()


@cocotb.test()
async def reset_mid_image(dut) -> None:
    """Resets at any moment, in whatever kind of image, leave nothing behind."""
    bench = Bench(dut, Stall.BOTH)
    await bench.start()
    for attempt in range(40):
        bench.send(*bench.lengths(5))
        for _ in range(bench.rng.randrange(1, 12 * bench.beats)):
            await bench.step()
        if attempt % 4:  # at or about the end of an image
            await bench.until(lambda: len(bench.output.beats) % bench.beats == bench.beats - 1, 20)
            for _ in range(bench.rng.randrange(3)):
                await bench.step()
        bench.check()
        await bench.start(bench.rng.choice([1, 1, 2, 3]))
        if attempt % 2:
            await bench.silence(bench.rng.randrange(20))
    bench.send(*bench.lengths(5))
    await bench.finish()


@cocotb.test()
async def throughput(dut) -> None:
    """Good images pass at a beat a clock."""
    bench = Bench(dut)
    await bench.start()
    bench.send(*[bench.beats] * 5)
    await bench.finish()
    cycles = bench.output.beats[-1].cycle - bench.output.beats[0].cycle + 1
    assert cycles <= 5 * bench.beats + 1, (
        f"frame_check: {cycles} clocks for {5 * bench.beats} beats"
    )


@on_simulators(CASES)
def test_frame_check(simulate, simulator, name, parameters):
    simulate(
        "frame_check",
        simulator=simulator,
        name=name,
        parameters=parameters,
        tests="test_frame_check",
    )
