"""The cocotb tests of every module that turns a stream of images into another.

Runs inside the simulator. `case.json` in its working directory says which test file holds the
`TRAFFIC` class to use, and with which parameters and seed.
"""

from __future__ import annotations

import importlib
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path

import cocotb
import numpy as np
from outlet import Outlet
from testbench import Sink, Source, Stall, Testbench

from convstream.model.hardware import rom
from convstream.model.hardware.timing import Edge, run

CASE = json.loads(Path("case.json").read_text())
TRAFFIC = importlib.import_module(CASE["bench"]).TRAFFIC(CASE["parameters"], CASE["seed"])


class Bench(Testbench):
    """A testbench with the input and the output streams of TRAFFIC."""

    def __init__(self, dut, stall: Stall = Stall.NONE) -> None:
        super().__init__(dut, CASE["seed"], stall)
        self.images_rng = np.random.default_rng(self.rng.getrandbits(32))
        sources, sinks = TRAFFIC.all_streams(dut)
        self.inputs = [
            self.source(source, pace=math.ceil(TRAFFIC.interval / layout.beats))
            for source, layout in zip(sources, TRAFFIC.sources, strict=True)
        ]
        pace = math.ceil(TRAFFIC.interval / TRAFFIC.sink.beats)
        self.outputs = [self.sink(sink, pace=pace) for sink in sinks]
        self.input, self.output = self.inputs[0], self.outputs[0]
        self.expected: list[np.ndarray] = []
        cocotb.start_soon(TRAFFIC.surround(dut))

    async def start(self, cycles: int = 2) -> None:
        """Reset; forget the images sent so far."""
        self.expected = []
        await self.reset(cycles)

    def send(self, count: int) -> None:
        """Queue `count` random images."""
        inputs = TRAFFIC.inputs(count, self.images_rng)
        self.expected.extend(TRAFFIC.compute(*inputs))
        for source, layout, images in zip(self.inputs, TRAFFIC.sources, inputs, strict=True):
            for image in images:
                unused = layout.unused if TRAFFIC.drops_lanes else None
                source.send(layout.pack(image, self.rng), unused=unused)

    def check(self) -> None:
        """Compare what has come out with the images sent."""
        for sink in self.outputs:
            TRAFFIC.check(sink.beats, self.expected)

    def sides(self) -> list[tuple[Source | Sink, int, Callable[[], int]]]:
        """Of each stream, outputs first: its end, beats an image, and how many have moved."""
        return [
            *(
                (sink, TRAFFIC.sink.beats, lambda sink=sink: len(sink.beats))
                for sink in self.outputs
            ),
            *(
                (source, layout.beats, lambda source=source: source.taken)
                for source, layout in zip(self.inputs, TRAFFIC.sources, strict=True)
            ),
        ]

    async def finish(self) -> None:
        """Run until all is out, compare data and clocks, and see that nothing follows."""
        wanted = len(self.expected) * TRAFFIC.sink.beats
        # No pause of a sound module or of the stall patterns is longer than this.
        patience = 8 * TRAFFIC.interval + 1000

        def done() -> bool:
            counts = [len(sink.beats) for sink in self.outputs]
            sent = not any(source.queue for source in self.inputs)
            return max(counts) > wanted or (min(counts) == wanted and sent)

        ended = await self.until(done, patience)
        self.check()
        came = ", ".join(str(len(sink.beats)) for sink in self.outputs)
        left = ", ".join(str(len(source.queue)) for source in self.inputs)
        assert ended, (
            f"{TRAFFIC.module}: nothing moves any more; {came} of {wanted} beats came out, "
            f"{left} beats were not taken"
        )
        self.compare_clocks()
        await self.silence(20)

    def compare_clocks(self) -> None:
        """Every beat since the reset moved when the schedule says, given when the bench stalled."""
        images = len(self.expected)
        sources = [Edge(None, [clock - 1 for clock in source.offers]) for source in self.inputs]
        depth = TRAFFIC.parameters.get("FIFO_DEPTH", TRAFFIC.fifo_depth)
        sink = Outlet(depth, chances=self.output.chances)
        processes = [*TRAFFIC.processes(sources, sink, images)]
        if not processes:
            return
        run([*processes, sink.leave(images * TRAFFIC.sink.beats)], [*sources, sink])
        out = [beat.cycle for beat in self.output.beats]
        for name, clocks, expected in (
            *(
                (f"input {number}", source.takes, edge.read)
                for number, (source, edge) in enumerate(zip(self.inputs, sources, strict=True))
            ),
            ("output", out, sink.read),
        ):
            for index, (clock, wanted) in enumerate(zip(clocks, expected, strict=True)):
                assert clock == wanted, (
                    f"{TRAFFIC.module}: {name} beat {index} moved at clock {clock}, "
                    f"expected {wanted}"
                )


@cocotb.test()
async def power_up(dut) -> None:
    """Before any reset, the initial values do: the first of all tests."""
    bench = Bench(dut)
    bench.power_up()
    bench.send(2)
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(stall=list(Stall))
async def images(dut, stall: Stall) -> None:
    """Images one after the other, then silence: the last one needs no input after it."""
    bench = Bench(dut, stall)
    await bench.start()
    # Many short images, so that all that may coincide does.
    bench.send(max(4, min(150, 600 // TRAFFIC.interval)))
    await bench.finish()


@cocotb.test()
async def long_stalls(dut) -> None:
    """Each side stops anywhere and before the last beat, until all is full or empty."""
    bench = Bench(dut)
    await bench.start()
    for side, beats, moved in bench.sides():
        most = 30 if isinstance(side, Sink) else 0
        anywhere = bench.rng.randrange(beats)
        for phase in sorted({anywhere, beats - 1})[-1 if TRAFFIC.interval > 200 else 0 :]:
            bench.send(2 + most // beats)
            end = moved() + beats - (moved() - phase) % beats
            await bench.until(lambda moved=moved, end=end: moved() >= end, 8 * TRAFFIC.interval)
            side.go(itertools.repeat(False))
            for _ in range(min(TRAFFIC.interval, 300) + 100):
                await bench.step()
            side.go(itertools.repeat(True))
    await bench.finish()


@cocotb.test()
async def isolated_image(dut) -> None:
    """An image by itself comes out whole; so does one after a long silence."""
    bench = Bench(dut)
    await bench.start()
    for _ in range(2):
        bench.send(1)
        await bench.finish()
        await bench.silence(2 * TRAFFIC.interval)


@cocotb.test()
async def reset_mid_image(dut) -> None:
    """Resets at any moment leave nothing behind, whether input follows at once or not."""
    bench = Bench(dut, Stall.BOTH)
    await bench.start()
    for attempt in range(min(24, 4 + 500 // TRAFFIC.interval)):
        bench.send(3)
        ending = attempt % 4 > 1  # at or about the end of an image on either side
        for _ in range(bench.rng.randrange(1, (2 - ending) * 3 * TRAFFIC.interval // 2 + 10)):
            await bench.step()
        if ending:
            _, beats, moved = bench.rng.choice(bench.sides())
            await bench.until(lambda side=moved, n=beats: side() % n == n - 1, TRAFFIC.interval)
            for _ in range(bench.rng.randrange(3)):
                await bench.step()
        bench.check()
        await bench.start(cycles=bench.rng.choice([1, 1, 2, 3]))
        if attempt % 2:
            await bench.silence(bench.rng.randrange(40))
    bench.send(2)
    await bench.finish()


@cocotb.test()
async def throughput(dut) -> None:
    """With no stalls an image takes `interval` clocks within 1 %."""
    bench = Bench(dut)
    await bench.start()
    bench.send(6)
    await bench.finish()
    ends = [beat.cycle for beat in bench.output.beats[TRAFFIC.sink.beats - 1 :: TRAFFIC.sink.beats]]
    # The first two images fill the buffers inside and come out at another pace.
    measured = (ends[-1] - ends[1]) / (len(ends) - 2)
    limit = max(1.01 * TRAFFIC.interval, TRAFFIC.interval + 1)
    cocotb.log.info("%.1f clocks an image, predicted %d", measured, TRAFFIC.interval)
    assert measured <= limit, (
        f"{TRAFFIC.module}: {measured:.1f} clocks an image, expected {TRAFFIC.interval}"
    )


@cocotb.test(skip=not TRAFFIC.hashes)
@cocotb.parametrize(stall=[Stall.NONE, Stall.BOTH])
async def hashes_its_memories(dut, stall: Stall) -> None:
    """After each reset, `signature` goes through the hashes of their first words, up to all."""
    bench = Bench(dut, stall)
    halves: list[list[int]] = [[], []]

    def look() -> None:
        signature = int(str(dut.signature.value), 2)
        for seen, half in zip(halves, (signature & 0xFFFF, signature >> 16), strict=True):
            if half not in seen[-1:]:
                seen.append(half)

    await bench.start()
    bench.send(1)
    for _ in range(bench.rng.randrange(TRAFFIC.interval)):
        await bench.step()
    await bench.start()
    bench.monitors.append(look)
    bench.send(2)
    await bench.finish()
    for number, (text, seen) in enumerate(zip(TRAFFIC.hashed, halves, strict=True)):
        words = text.split()
        hashes = [rom.signature("\n".join(words[:n]), "") for n in range(len(words) + 1)]
        expected = [state for state, _ in itertools.groupby(half & 0xFFFF for half in hashes)]
        assert seen == expected, (
            f"{TRAFFIC.module}: half {number} of the signature {seen}, expected {expected}"
        )
