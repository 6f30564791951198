"""The AXI wrappers of a bundle, driven by cocotbext-axi: whole images, faulty ones, resets."""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Iterator
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

# It sets signals as older versions of cocotb had it.
warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"cocotbext\.axi")
PATIENCE = 2_000  # clocks


class Bench:
    """Both streams of the wrapper, and how often frame_error was seen."""

    def __init__(self, dut) -> None:
        case = json.loads(Path("case.json").read_text())
        self.dut = dut
        self.rng = random.Random(case["seed"])
        facts = case["facts"]
        self.images = [bytes.fromhex(text) for text in facts["images"]]
        self.outputs = [bytes.fromhex(text) for text in facts["outputs"]]
        self.classes: list[int] = facts["classes"]
        self.beats: int = facts["beats"]  # of an image
        cocotb.start_soon(Clock(dut.aclk, 10, unit="ns").start())
        streams = {"reset": dut.aresetn, "reset_active_level": False}
        self.source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), dut.aclk, **streams)
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.aclk, **streams)
        self.bytes = len(dut.s_axis_tdata) // 8
        self.errors = 0
        cocotb.start_soon(self._count())

    async def _count(self) -> None:
        while True:
            await RisingEdge(self.dut.aclk)
            if self.dut.aresetn.value == 1:
                self.errors += int(self.dut.frame_error.value)

    async def reset(self) -> None:
        self.dut.aresetn.value = 0
        await self.clocks(2)
        self.dut.aresetn.value = 1
        await self.clocks(1)
        self.errors = 0

    async def clocks(self, count: int) -> None:
        for _ in range(count):
            await RisingEdge(self.dut.aclk)

    def frame(self, image: bytes, beats: int | None = None) -> AxiStreamFrame:
        """An image, a pixel's bytes in each beat; what else is in a beat is random."""
        own = len(image) // self.beats
        parts = [image[start : start + own] for start in range(0, len(image), own)]
        parts = (parts * 3)[: self.beats if beats is None else beats]
        return AxiStreamFrame(b"".join(p + self.rng.randbytes(self.bytes - own) for p in parts))

    async def check(self, index: int) -> None:
        """The next frame that comes out is that of an image."""
        for _ in range(PATIENCE):
            if not self.sink.empty():
                break
            await RisingEdge(self.dut.aclk)
        frame = self.sink.recv_nowait(compact=False)
        kept = bytes(byte for byte, keep in zip(frame.tdata, frame.tkeep, strict=True) if keep)
        assert kept == self.outputs[index], f"image {index}: {kept.hex()}"
        assert frame.tuser[-1] == self.classes[index], f"image {index}: class {frame.tuser[-1]}"

    async def finish(self, errors: int = 0) -> None:
        """Nothing follows, and so many images were faulty."""
        await self.clocks(200)
        assert self.sink.empty() and self.errors == errors, f"{self.errors} faulty images"

    def pauses(self, often: float) -> Iterator[bool]:
        while True:
            yield self.rng.random() < often


@cocotb.test()
async def images(dut) -> None:
    """Without stalls, and with stalls on either side."""
    bench = Bench(dut)
    await bench.reset()
    for on_input, on_output in ((0, 0), (0.7, 0), (0, 0.7)):
        bench.source.set_pause_generator(bench.pauses(on_input))
        bench.sink.set_pause_generator(bench.pauses(on_output))
        for image in bench.images:
            await bench.source.send(bench.frame(image))
        for index in range(len(bench.images)):
            await bench.check(index)
    await bench.finish()


@cocotb.test()
async def faults(dut) -> None:
    """Images too short and too long are dropped; the ones between are right."""
    bench = Bench(dut)
    await bench.reset()
    lengths = (1, bench.beats - 1, bench.beats + 1, 2 * bench.beats)
    for index, length in enumerate(lengths):
        await bench.source.send(bench.frame(bench.images[0], length))
        await bench.source.send(bench.frame(bench.images[index]))
    for index in range(len(lengths)):
        await bench.check(index)
    await bench.finish(errors=len(lengths))


@cocotb.test()
async def resets(dut) -> None:
    """In the midst of images, also while they come out: nothing of them is left."""
    bench = Bench(dut)
    await bench.reset()
    for index in range(len(bench.images)):
        await bench.source.send(bench.frame(bench.images[0]))
        await bench.clocks(bench.rng.randrange(1, 3 * bench.beats))
        await bench.reset()
        bench.sink.clear()
        await bench.source.send(bench.frame(bench.images[index]))
        await bench.check(index)
    await bench.finish()
