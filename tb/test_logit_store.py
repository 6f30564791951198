"""logit_store: keeps the logits of an image, or says whether another one's differ from them."""

from __future__ import annotations

import json
import random
from pathlib import Path

import cocotb
from runner import on_simulators
from testbench import start_clock

CASES = {
    "last_beat_short": dict(CLASSES=19, LOGIT_LANES=4),
    "one_lane": dict(CLASSES=10, LOGIT_LANES=1),
    "one_beat": dict(CLASSES=5, LOGIT_LANES=5),
    "two_lanes": dict(CLASSES=4, LOGIT_LANES=2),
    "one_logit": dict(CLASSES=1, LOGIT_LANES=1),
}


class Bench:
    """The module, clock by clock, and the logits that it must hold."""

    def __init__(self, dut) -> None:
        case = json.loads(Path("case.json").read_text())
        self.dut = dut
        self.rng = random.Random(case["seed"])
        self.classes = case["parameters"]["CLASSES"]
        self.lanes = case["parameters"]["LOGIT_LANES"]
        self.words = -(-self.classes // self.lanes)
        self.kept = [0] * self.classes
        self.running = 0
        self.index: int | None = None  # class of the last image, whatever came before this test
        # What must follow a clock later: image_done, misplaced, image_differs beside image_done.
        self.next = (0, 0, None)
        dut.read.value = dut.read_next.value = 0
        self.edge = start_clock(dut)

    async def clock(self, beat: int | None = None, user: int = 0, last: int = 0) -> None:
        """One clock, with a beat or without; what came with the clock before must be answered."""
        dut = self.dut
        valid = beat is not None
        # Outside a run nobody looks at the stream.
        dut.s_axis_tvalid.value = int(valid) if self.running else self.rng.getrandbits(1)
        dut.run.value = self.running
        dut.s_axis_tdata.value = beat if valid else self.rng.getrandbits(32 * self.lanes)
        dut.s_axis_tuser.value = user if valid else self.rng.getrandbits(len(dut.s_axis_tuser))
        dut.s_axis_tlast.value = last if valid else self.rng.getrandbits(1)
        await self.edge
        done, misplaced, differs = self.next
        got = f"{dut.image_done.value}{dut.misplaced.value}"
        assert got == f"{done}{misplaced}", (
            f"logit_store: image_done, misplaced: {got}, expected {done}{misplaced}"
        )
        if done and differs is not None:
            got = str(dut.image_differs.value)
            assert got == str(differs), f"logit_store: image_differs: {got}, expected {differs}"
        if self.index is None:
            self.index = int(dut.class_index.value)
        got, wanted = str(dut.class_index.value), f"{self.index:0{len(dut.class_index)}b}"
        assert got == wanted, f"logit_store: class_index: {got}, expected {wanted}"
        self.next = (0, 0, None)

    async def rest(self) -> None:
        """Some clocks between runs: the next image begins with its first beat."""
        self.running = 0
        for _ in range(self.rng.randrange(2, 5)):
            await self.clock()

    async def run(self, compare: int) -> None:
        """Begin a run."""
        await self.rest()
        self.running = 1
        self.dut.compare.value = compare

    async def image(self, logits: list[int], *, last: int | None = None, differs=None) -> None:
        """Beats of an image up to that with tlast, which ought to be the last one, and gaps."""
        end = self.words - 1
        last = end if last is None else last
        user = self.rng.getrandbits(len(self.dut.s_axis_tuser))
        for word in range(last + 1):
            while self.rng.random() < 0.3:
                await self.clock()
            # A lane beyond the last logit holds whatever it likes.
            part = logits[word * self.lanes : (word + 1) * self.lanes]
            part += [self.rng.getrandbits(32) for _ in range(self.lanes - len(part))]
            beat = sum(value << 32 * lane for lane, value in enumerate(part))
            await self.clock(beat, user, int(word == last))
            self.next = (int(word == last), int((word == last) != (word == end)), differs)
            if word == last:
                self.index = user
            if self.next[1]:
                return

    async def keep(self) -> None:
        """A run of one image, whose logits are kept."""
        self.kept = [self.rng.getrandbits(32) for _ in range(self.classes)]
        await self.run(compare=0)
        await self.image(self.kept, differs=0)
        await self.clock()

    async def read_back(self) -> None:
        """Read the logits one after the other, and compare them with those kept."""
        await self.rest()
        for number, wanted in enumerate(self.kept):
            self.dut.read.value = 1
            if number:
                self.dut.read_next.value = 1
                await self.clock()
                self.dut.read_next.value = 0
                await self.clock()
            for _ in range(self.rng.randrange(1, 4)):
                await self.clock()
                got = str(self.dut.read_logit.value)
                assert got == f"{wanted:032b}", (
                    f"logit_store: logit {number}: got {got}, expected {wanted:032b}"
                )
        self.dut.read.value = 0

    def different(self) -> list[int]:
        """The logits kept, but a bit of one of them."""
        logits = list(self.kept)
        logits[self.rng.randrange(self.classes)] ^= 1 << self.rng.randrange(32)
        return logits


@cocotb.test()
async def keeps(dut) -> None:
    """Logits that were kept are read as often as one likes; tlast and class come along."""
    bench = Bench(dut)
    await bench.rest()
    assert bench.index == 0, f"logit_store: class_index starts at {bench.index}"
    for _ in range(8):
        await bench.keep()
        for _ in range(bench.rng.randrange(1, 3)):
            await bench.read_back()


@cocotb.test()
async def compares(dut) -> None:
    """Of images back to back those differ in which any bit of any logit does; nothing is kept."""
    bench = Bench(dut)
    for _ in range(4):
        await bench.keep()
        await bench.run(compare=1)
        for _ in range(40):
            differs = bench.rng.getrandbits(1)
            await bench.image(bench.different() if differs else bench.kept, differs=differs)
        await bench.clock()
        await bench.read_back()


@cocotb.test()
async def finds_every_lane(dut) -> None:
    """A single logit that differs, each in turn."""
    bench = Bench(dut)
    await bench.keep()
    await bench.run(compare=1)
    for number in range(bench.classes):
        logits = list(bench.kept)
        logits[number] ^= 1 << bench.rng.randrange(32)
        await bench.image(logits, differs=1)
        await bench.image(bench.kept, differs=0)
    await bench.clock()


@cocotb.test()
async def misplaced_ends(dut) -> None:
    """A tlast out of its place is told, and leaves nothing behind; nor does a run broken off."""
    bench = Bench(dut)
    for _ in range(12):
        await bench.keep()
        await bench.run(compare=1)
        for last in (bench.rng.randrange(bench.words + 1), *range(bench.words - 1)):
            await bench.image(bench.different(), last=last)
            await bench.run(compare=1)
        # Broken off in the middle, after a beat that differs.
        for count in range(bench.words):
            for word in range(count):
                part = bench.kept[word * bench.lanes : (word + 1) * bench.lanes]
                beat = sum((value ^ 1) << 32 * lane for lane, value in enumerate(part))
                await bench.clock(beat)
            await bench.run(compare=1)
            await bench.image(bench.kept, differs=0)
            await bench.run(compare=1)
        await bench.read_back()


@on_simulators(CASES)
def test_logit_store(simulate, simulator, name, parameters):
    simulate(
        "logit_store",
        simulator=simulator,
        name=name,
        parameters=parameters,
        tests="test_logit_store",
    )
