"""run_control: images, those that differ and clocks are counted; a run ends done or failed."""

from __future__ import annotations

import json
import random
from pathlib import Path

import cocotb
from cocotb.triggers import RisingEdge
from cocotb.utils import get_sim_time
from runner import on_simulators
from testbench import start_clock

EVENTS = ("pixels_taken", "image_done", "image_differs", "fault", "watchdog_expired")


class Bench:
    """The module, clock by clock."""

    def __init__(self, dut) -> None:
        self.dut = dut
        self.rng = random.Random(json.loads(Path("case.json").read_text())["seed"])
        for name in ("rst", "start", "single", "images", *EVENTS):
            getattr(dut, name).value = 0
        self.edge = start_clock(dut)

    async def clock(self, *, run: int = 0, done: int = 0, failed: int = 0, **events: int) -> None:
        """One clock; run, done, failed: the outputs in it. events: high inputs."""
        for name in ("rst", "start", *EVENTS):
            getattr(self.dut, name).value = events.get(name, 0)
        await self.edge
        restart = any(events.get(name) for name in ("image_done", "fault", "watchdog_expired"))
        wanted = f"{run}{done}{failed}{int(restart)}"
        names = ("run", "done", "failed", "watchdog_restart")
        got = "".join(str(getattr(self.dut, name).value) for name in names)
        assert got == wanted, f"run_control: {', '.join(names)}: {got}, expected {wanted}"

    def some(self, *names: str) -> dict[str, int]:
        """Each of the inputs `names` high or low."""
        return {name: self.rng.getrandbits(1) for name in names}

    async def idle(self, **first: int) -> None:
        """A few clocks without a run, whatever comes in; first: outputs in the first of them."""
        for _ in range(self.rng.randrange(1, 5)):
            await self.clock(**self.some(*EVENTS), **first)
            first = {}

    async def start(self, images: int, single: int = 0, **first: int) -> None:
        """Start a run. What `images` holds is of no interest to a single one."""
        self.dut.single.value = single
        self.dut.images.value = self.rng.randrange(1, 1 << 16) if single else images
        await self.clock(start=1, **self.some(*EVENTS), **first)

    async def image(self, clocks: int, differs: int, **end: int) -> None:
        """The clocks of an image up to that in which it is done; end: other inputs in that."""
        for _ in range(clocks - 1):
            await self.clock(run=1, **self.some("pixels_taken", "image_differs"))
        pixels = self.some("pixels_taken")
        await self.clock(run=1, image_done=1, image_differs=differs, **pixels, **end)

    def check(self, cycles: int, differing: int) -> None:
        """Compare what was counted."""
        got = str(self.dut.cycles.value), str(self.dut.differing.value)
        wanted = f"{cycles:032b}", f"{differing:016b}"
        assert got == wanted, f"run_control: (cycles, differing) = {got}, expected {wanted}"


@cocotb.test()
async def runs(dut) -> None:
    """Runs of one image and of several, back to back and apart, without a reset before."""
    bench = Bench(dut)
    rng = bench.rng
    await bench.idle()
    ended: dict[str, int] = {}
    for attempt in range(60):
        single = rng.getrandbits(1)
        images = 1 if single else rng.randrange(1, 7)
        await bench.start(images, single, **ended)
        for _ in range(rng.randrange(4)):
            await bench.clock(run=1, **bench.some("image_differs"))
        await bench.clock(run=1, pixels_taken=1)
        lengths = [rng.choice([1, 2, 9]) for _ in range(images)]
        differ = [rng.getrandbits(1) for _ in range(images)]
        for length, differs in zip(lengths, differ, strict=True):
            await bench.image(length, differs)
        ended = dict(done=1)
        if attempt % 3:
            await bench.idle(**ended)
            ended = {}
            # From the first pixel to the last logits, a clock before the image is done.
            bench.check(sum(lengths) - 1, sum(differ))


@cocotb.test()
async def failures(dut) -> None:
    """A fault or the watchdog ends a run at any moment, even with the last image; so does rst."""
    bench = Bench(dut)
    rng = bench.rng
    await bench.idle()
    for _ in range(60):
        images = rng.randrange(1, 4)
        await bench.start(images)
        for _ in range(rng.randrange(images)):
            await bench.image(rng.randrange(1, 4), rng.getrandbits(1))
        end = rng.choice([dict(fault=1), dict(watchdog_expired=1), dict(rst=1)])
        if rng.getrandbits(1):
            await bench.image(2, 0, **end)
        else:
            await bench.clock(run=1, **end, **bench.some("pixels_taken", "image_differs"))
        await bench.idle(failed=1 - end.get("rst", 0))
        # Nothing of it is left.
        await bench.start(1)
        await bench.clock(run=1)
        await bench.clock(run=1, pixels_taken=1)
        await bench.image(3, 1)
        await bench.idle(done=1)
        bench.check(2, 1)


@cocotb.test()
async def resets_at_the_end(dut) -> None:
    """A reset in the clock of done or failed, or of the start, leaves nothing."""
    bench = Bench(dut)
    await bench.idle()
    for end in (dict(), dict(fault=1)):
        await bench.start(1)
        await bench.image(2, 0, rst=1, **end)
        await bench.idle()
    await bench.clock(start=1, rst=1)
    await bench.idle()


@cocotb.test()
async def many_images(dut) -> None:
    """Tens of thousands of images, one each clock."""
    bench = Bench(dut)
    await bench.idle()
    for images in (*(1 << bit for bit in range(8, 16)), bench.rng.randrange(256, 65536)):
        await bench.start(images)
        dut.start.value = 0
        dut.fault.value = dut.watchdog_expired.value = 0
        dut.pixels_taken.value = dut.image_done.value = dut.image_differs.value = 1
        started = get_sim_time("step")
        await RisingEdge(dut.done)
        await bench.edge
        clocks = round((get_sim_time("step") - started) / 10_000)
        assert clocks == images + 1, f"run_control: {images} images took {clocks} clocks"
        bench.check(images - 2, images)
        await bench.idle()


@cocotb.test()
async def many_clocks(dut) -> None:
    """cycles and differing count on from any number, to which the bench sets them."""
    bench = Bench(dut)
    await bench.idle()
    for bit in range(3, 32):
        await bench.start(1)
        await bench.clock(run=1, pixels_taken=1)
        dut.cycles.value = (1 << bit) - 4 + bench.rng.randrange(4)
        dut.differing.value = bench.rng.getrandbits(16)
        await bench.clock(run=1)
        begun, differing = int(dut.cycles.value), int(dut.differing.value)
        await bench.image(8, 1)
        await bench.idle(done=1)
        bench.check(begun + 8, (differing + 1) % (1 << 16))


@on_simulators({"images": {}})
def test_run_control(simulate, simulator, name, parameters):
    simulate(
        "run_control",
        simulator=simulator,
        name=name,
        parameters=parameters,
        tests="test_run_control",
    )
