"""image_store: plays the image that was written as often as asked; the identity lies beside it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import cocotb
from runner import on_simulators, refuse
from testbench import Stall, Stream, Testbench

CASES = {
    "three_a_beat": dict(IMAGE_BYTES=33, BEAT_BYTES=3, IDENTITY_BYTES=5),
    "byte_a_beat": dict(IMAGE_BYTES=20, BEAT_BYTES=1, IDENTITY_BYTES=66),
    "one_beat": dict(IMAGE_BYTES=4, BEAT_BYTES=4, IDENTITY_BYTES=7),
}


class Bench(Testbench):
    """The module, and the image that it must hold."""

    def __init__(self, dut, stall: Stall = Stall.NONE) -> None:
        case = json.loads(Path("case.json").read_text())
        super().__init__(dut, case["seed"], stall)
        self.bytes = case["parameters"]["IMAGE_BYTES"]
        self.lanes = case["parameters"]["BEAT_BYTES"]
        self.beats = self.bytes // self.lanes
        self.identity = bytes.fromhex(Path("identity.mem").read_text())
        self.output = self.sink(Stream.axis(dut, "m_axis"))
        self.image = bytes(self.bytes)
        for name in ("rewind", "write", "start", "stop", "blank", "identity_addr"):
            getattr(dut, name).value = 0

    async def write(self) -> None:
        """Write a random image, after one that broke off; the bytes come when they like."""
        dut, rng = self.dut, self.rng
        self.image = rng.randbytes(self.bytes)
        for part in (rng.randbytes(rng.randrange(self.bytes)), self.image):
            dut.rewind.value = 1
            await self.step()
            dut.rewind.value = 0
            for byte in part:
                while rng.random() < 0.3:
                    dut.write_data.value = rng.getrandbits(8)
                    await self.step()
                dut.write.value = 1
                dut.write_data.value = byte
                await self.step()
                dut.write.value = 0
            dut.write_data.value = rng.getrandbits(8)
        dut.rewind.value = 1

    async def start(self, images: int = 1, blank: int = 0) -> None:
        """Start to play. A single image is asked for by `single`, or by its number."""
        dut = self.dut
        single = int(images == 1) and self.rng.getrandbits(1)
        dut.single.value = single
        dut.images.value = self.rng.getrandbits(16) if single else images
        dut.blank.value = blank
        dut.start.value = 1
        await self.step()
        dut.start.value = 0

    async def finish(self, images: int = 1, blank: int = 0) -> None:
        """Wait for the end, and for silence; all that came must be right, and in time."""
        total = images * self.beats
        await self.until(lambda: len(self.output.beats) >= total, patience=100)
        await self.silence(5)
        image = bytes(self.bytes) if blank else self.image
        wanted = [
            (
                int.from_bytes(image[i * self.lanes : (i + 1) * self.lanes], "little"),
                int(i == self.beats - 1),
            )
            for i in range(self.beats)
        ] * images
        beats = self.output.beats
        for index, (beat, expected) in enumerate(zip(beats, wanted, strict=False)):
            assert (beat.data, beat.last) == expected, (
                f"image_store: beat {index}: (tdata, tlast) = {(beat.data, beat.last)}, "
                f"expected {expected}"
            )
        assert len(beats) == total, f"image_store: {len(beats)} beats, expected {total}"
        if self.stall is Stall.NONE:
            clocks = beats[-1].cycle - beats[0].cycle + 1
            assert clocks == total, f"image_store: {total} beats in {clocks} clocks"
        self.output.beats.clear()

    async def identify(self) -> None:
        """Read the identity, in any order: data two clocks after the address."""
        self.dut.blank.value = 0
        addresses = list(range(1, len(self.identity) + 1))
        self.rng.shuffle(addresses)
        for address in addresses:
            self.dut.identity_addr.value = address
            for _ in range(2):
                await self.step()
            self.dut.identity_addr.value = self.rng.choice(addresses)
            await self.step()
            got = str(self.dut.identity_data.value)
            wanted = f"{self.identity[address - 1]:08b}"
            assert got == wanted, f"image_store: identity {address}: {got}, expected {wanted}"


@cocotb.test()
@cocotb.parametrize(stall=list(Stall))
async def plays(dut, stall: Stall) -> None:
    """Once and several times, blank ones in between; before the first a reset or none."""
    bench = Bench(dut, stall)
    if stall is Stall.NONE:
        bench.power_up()
    else:
        await bench.reset()
    await bench.start(blank=1)
    await bench.finish(blank=1)
    for images in (1, 3, bench.rng.randrange(2, 6)):
        await bench.write()
        for count in (1, images):
            await bench.start(count)
            await bench.finish(count)
        await bench.start(2, blank=1)
        await bench.finish(2, blank=1)
        await bench.identify()
        # The blank ones left it alone.
        await bench.start()
        await bench.finish()


@cocotb.test()
async def writes_beside_blank(dut) -> None:
    """An image is written while blank ones play."""
    bench = Bench(dut, Stall.BACKPRESSURE)
    await bench.reset()
    await bench.start(3, blank=1)
    await bench.write()
    await bench.finish(3, blank=1)
    await bench.start()
    await bench.finish()


@cocotb.test()
@cocotb.parametrize(signal=["stop", "rst"])
async def stops(dut, signal: str) -> None:
    """Nothing comes any more, at once; the next image is whole, and the stored one still there."""
    bench = Bench(dut, Stall.BACKPRESSURE)
    await bench.reset()
    await bench.write()
    for clocks in (0, 1, 2, 3, *(bench.rng.randrange(3 * bench.beats) for _ in range(8))):
        await bench.start(4)
        for _ in range(clocks):
            await bench.step()
        getattr(dut, signal).value = 1
        await bench.step()
        bench.output.clear()
        getattr(dut, signal).value = 0
        await bench.silence(5)
        await bench.start(2)
        await bench.finish(2)


@cocotb.test()
async def many_images(dut) -> None:
    """images has 16 bits: the bench sets how many have been played."""
    bench = Bench(dut)
    await bench.reset()
    await bench.write()
    numbers = [1 << bit for bit in range(4, 16)] + [65535]
    for images in [*numbers, *(bench.rng.randrange(16, 65536) for _ in range(10))]:
        await bench.start(images)
        dut.image_reg.value = images - 4
        await bench.finish(5)


@on_simulators(CASES)
def test_image_store(simulate, seed, simulator, name, parameters):
    identity = random.Random(seed).randbytes(parameters["IDENTITY_BYTES"])
    simulate(
        "image_store",
        simulator=simulator,
        name=name,
        parameters=parameters | dict(IDENTITY_FILE="identity.mem"),
        tests="test_image_store",
        files={"identity.mem": "".join(f"{byte:02x}\n" for byte in identity)},
    )


def test_beats_must_divide_the_image():
    error = "error_BEAT_BYTES_must_divide_IMAGE_BYTES"
    refuse("image_store", {"IMAGE_BYTES": 10, "BEAT_BYTES": 3}, error)
