"""frame_receive and frame_send: frames from bytes, bytes from frames, clock by clock.

The other end of the wire, the CRC and the timer are played in Python. A bit takes two or three
clocks here, less than any UART needs.
"""

from __future__ import annotations

import json
import random
import struct
import zlib
from pathlib import Path

import cocotb
import frames
from cocotb.triggers import Timer
from frames import CRC_BYTES, HEADER_BYTES, frame, resealed, sealed
from runner import on_simulators
from serial_line import CLOCK_PS
from testbench import start_clock

TIMEOUT = 40  # clocks of silence
START = 0xC5
IMAGES = {f"bytes{size}": dict(IMAGE_BYTES=size) for size in (6, 300)}
LENGTHS = {f"bits{width}": dict(LENGTH_WIDTH=width) for width in (7, 16)}


class Crc:
    """What crc32 says, by zlib: bits go in, and those of the check value come out."""

    def __init__(self) -> None:
        self.bits: list[int] = []
        self.drained = 0

    def clock(self, init: bool, step: bool, drain: bool, bit: int) -> None:
        if init:
            self.__init__()
        elif step and drain:
            self.drained += 1
        elif step:
            self.bits.append(bit)

    def value(self) -> int:
        """The next 8 bits."""
        number = sum(bit << place for place, bit in enumerate(self.bits))
        data = number.to_bytes(-(-len(self.bits) // 8), "little")
        return zlib.crc32(data) >> self.drained & 0xFF


class Bench:
    """What both modules' benches share."""

    def __init__(self, dut) -> None:
        case = json.loads(Path("case.json").read_text())
        self.dut = dut
        self.parameters = case["parameters"]
        self.rng = random.Random(case["seed"])
        self.crc = Crc()
        self.driven: dict[str, int] = {}
        self.edge = start_clock(dut, CLOCK_PS)

    def drive(self, **values: int) -> None:
        """Set inputs, those that change: it costs time."""
        for name, value in values.items():
            if self.driven.get(name) != value:
                self.driven[name] = value
                getattr(self.dut, name).value = value

    def check(self, where: str, **values: int | None) -> None:
        """Compare outputs; None for those nobody looks at."""
        for name, value in values.items():
            if value is not None:
                signal = getattr(self.dut, name)
                got, wanted = str(signal.value), f"{value:0{len(signal)}b}"
                assert got == wanted, f"{where}: {name} is {got}, expected {wanted}"

    def clock_crc(self, bit: int | None) -> None:
        """What the module has the CRC do in this clock."""
        names = ("crc_init", "crc_step", "crc_drain")
        init, step, drain = (str(getattr(self.dut, name).value) for name in names)
        assert init in "01" and step in "01" and (step == "0" or drain in "01")
        self.crc.clock(init == "1", step == "1", drain == "1", bit)

    async def skip(self, clocks: int) -> None:
        """So many clocks, in which nothing is looked at."""
        await Timer(clocks * CLOCK_PS - CLOCK_PS // 2, "ps")
        await self.edge


class Receiver(Bench):
    """frame_receive.

    state: `hunt`, `frame`, `hold` or `drain`; the tests know what follows what.
    """

    def __init__(self, dut) -> None:
        super().__init__(dut)
        self.size = self.parameters["IMAGE_BYTES"]
        self.state = "hunt"
        self.silent = 0  # clocks since the timer was restarted
        self.expired = 0
        self.fields: dict[str, int] = {}  # that hold
        self.payload = bytearray()
        self.image = bytearray()

    async def clock(self, line: int = 1, bit: int | None = None, **events: int) -> None:
        """One clock. events: rst, rx_valid with rx_data, rx_framing_error, resume with drain."""
        dut, rng = self.dut, self.rng
        self.expired = int(self.silent > TIMEOUT)
        drained = self.crc.value() & 1 if str(dut.crc_drain.value) == "1" else rng.getrandbits(1)
        values = dict(
            rst=0,
            rx_line=line,
            rx_bit=rng.getrandbits(1) if bit is None else bit,
            rx_bit_valid=int(bit is not None),
            rx_data=rng.getrandbits(8),
            rx_valid=0,
            rx_framing_error=0,
            silence_expired=self.expired,
            crc_bit=drained,
            resume=0,
            drain=rng.getrandbits(1),
        )
        self.drive(**values | events)
        await self.edge
        idle, valid = int(self.state == "hunt"), int(self.state == "hold")
        restart = int(not line or idle or valid)
        where = f"frame_receive in {self.state}"
        self.check(where, idle=idle, frame_valid=valid, silence_restart=restart)
        if valid:
            self.check(where, **self.fields)
        if str(dut.payload_valid.value) == "1":
            assert events.get("rx_valid"), f"{where}: payload_valid without a byte"
            self.payload.append(events["rx_data"])
        if str(dut.image_valid.value) == "1":
            self.image.append(events["rx_data"])
        self.silent = 0 if restart else self.silent + 1
        self.clock_crc(bit)

    async def byte(self, value: int, framing: int = 0) -> None:
        """A byte over the wire; framing: without its stop bit."""
        rng = self.rng
        for _ in range(rng.choice([0, 0, 0, 0, 1, 15])):
            await self.clock()
        for _ in range(2):
            await self.clock(line=0)
        for shift in range(8):
            bit = value >> shift & 1
            if rng.getrandbits(1):
                await self.clock(line=bit)
            await self.clock(line=bit, bit=bit)
        await self.clock()
        if framing:
            await self.clock(line=0, rx_framing_error=1, rx_data=value)
        else:
            await self.clock(rx_valid=1, rx_data=value)

    async def put(self, data: bytes) -> None:
        """The bytes of a frame, or of what began as one."""
        self.payload.clear()
        self.image.clear()
        for byte in data:
            await self.byte(byte)
            self.state = "frame"

    async def garbage(self) -> None:
        """Bytes and halves of them that nobody listens to, starts of frames among them."""
        rng = self.rng
        for _ in range(rng.randrange(3)):
            framing = int(rng.random() < 0.3)
            await self.byte(rng.choice([START, 1, rng.randrange(256)]), framing)

    def hold(self, data: bytes, code: int) -> None:
        """From now on a frame is there, of which `data` was received."""
        command = data[2] if len(data) > 2 else 0
        tag = data[3] if len(data) > 3 else 0
        kinds = ("identify", "classify", "repeating", "status")
        decoded = {kind: int(command == number) for number, kind in enumerate(kinds, 1)}
        self.state = "hold"
        self.fields = dict(code=code, command=command, tag=tag, **decoded)

    async def resume(self, drain: int) -> None:
        """Some clocks later the frame is answered. drain: it was wrong."""
        await self.clock()
        await self.garbage()
        await self.clock(resume=1, drain=drain)
        if drain:
            self.state = "drain"
            await self.garbage()
            await self.silence()
        self.state = "hunt"
        await self.clock()

    async def silence(self) -> None:
        """Until the timer expires."""
        await self.clock()
        while not self.expired:
            await self.clock()

    async def good(self, command: int | None = None) -> None:
        """A frame without any fault."""
        rng = self.rng
        command = command or rng.choice([frames.IDENTIFY, frames.REPEAT, frames.STATUS])
        sizes = {frames.CLASSIFY: self.size, frames.REPEAT: 2}
        payload = rng.randbytes(sizes.get(command, 0))
        data = frame(command, payload, tag=rng.randrange(256))
        await self.put(data)
        self.hold(data, frames.OK)
        assert self.payload == payload, f"frame_receive: payload {self.payload}, not {payload}"
        image = payload if command == frames.CLASSIFY else b""
        assert self.image == image, f"frame_receive: image {self.image}, not {image}"
        await self.resume(drain=0)

    async def wrong(self, data: bytes, code: int) -> None:
        """A frame, whole, with something wrong."""
        await self.put(data)
        self.hold(data, code)
        assert not self.image or len(self.image) == self.size
        await self.resume(drain=1)


@cocotb.test()
async def receives(dut) -> None:
    """Each command, bytes before the start byte; no reset before the first."""
    bench = Receiver(dut)
    await bench.clock()
    commands = frames.IDENTIFY, frames.REPEAT, frames.STATUS
    for command in (*commands, frames.CLASSIFY, *commands):
        for _ in range(2):
            await bench.byte(bench.rng.choice([0, 0x5C, START]), framing=1)
        await bench.good(command)
    for bit in range(8):
        await bench.byte(START ^ 1 << bit)
    await bench.good()


@cocotb.test()
async def judges(dut) -> None:
    """Codes, the first of them where several things are wrong."""
    bench = Receiver(dut)
    await bench.clock(rst=1)
    for bit in range(8):
        tag = bench.rng.randrange(256)
        await bench.wrong(frame(frames.STATUS, version=1 ^ 1 << bit, tag=tag), frames.VERSION)
        for command in range(1, 5):
            if (command ^ 1 << bit) not in range(1, 5):
                await bench.wrong(frame(command ^ 1 << bit), frames.COMMAND)
    await bench.wrong(frame(5, b"\1", version=0), frames.VERSION)
    for command, lengths in {1: (1, 2, 3), 2: (0, 1, 5, 7), 3: (0, 1, 3, 10), 4: (1, 8)}.items():
        for length in lengths:
            await bench.wrong(frame(command, bytes(length)), frames.LENGTH)
    await bench.good()


@cocotb.test()
async def checks(dut) -> None:
    """A wrong bit anywhere in the check value, and in the rest."""
    bench = Receiver(dut)
    await bench.clock(rst=1)
    for bit in range(8 * CRC_BYTES):
        data = bytearray(frame(bench.rng.choice([1, 4, 9]), version=bench.rng.choice([1, 1, 2])))
        data[HEADER_BYTES + bit // 8] ^= 1 << bit % 8
        await bench.wrong(bytes(data), frames.WRONG_CRC)
    for place in (1, 2, 3, 6, 7):
        data = bytearray(frame(frames.REPEAT, b"\1\2"))
        data[place] ^= 1 << bench.rng.randrange(8)
        await bench.wrong(bytes(data), frames.WRONG_CRC)
    await bench.good()


@cocotb.test()
async def breaks_off(dut) -> None:
    """Silence or a byte without its stop bit, or a reset, after any byte of a frame."""
    bench = Receiver(dut)
    await bench.clock(rst=1)
    data = frame(frames.REPEAT, b"\3\4", tag=0xA7)
    for count in range(1, len(data)):
        await bench.put(data[:count])
        await bench.silence()
        bench.hold(data[:count], frames.GAP)
        await bench.resume(drain=1)

        await bench.put(data[:count])
        await bench.byte(data[count], framing=1)
        bench.hold(data[:count], frames.FRAMING)
        await bench.resume(drain=1)

        await bench.put(data[:count])
        await bench.clock(rst=1)
        bench.state = "hunt"
        await bench.good()


@cocotb.test()
async def resets(dut) -> None:
    """A reset while a frame is held, and during the silence after it."""
    bench = Receiver(dut)
    for _ in range(3):
        data = resealed(frame(7, b"\1\2\3"))
        await bench.put(data)
        bench.hold(data, frames.COMMAND)
        await bench.clock(rst=1)
        bench.state = "hunt"
        await bench.good()
        await bench.put(data)
        bench.hold(data, frames.COMMAND)
        await bench.clock(resume=1, drain=1)
        bench.state = "drain"
        await bench.byte(START)
        await bench.clock(rst=1)
        bench.state = "hunt"
        await bench.good()


@cocotb.test()
async def long_payloads(dut) -> None:
    """Payloads of all lengths, a byte each clock, without the bits: these are for the CRC alone."""
    bench = Receiver(dut)
    await bench.clock(rst=1)
    lengths = [bench.size, *(bench.size ^ 1 << bit for bit in range(16)), 65535]
    for command, length in [(frames.CLASSIFY, length) for length in lengths] + [(1, bench.size)]:
        data = sealed(bytes([START]), struct.pack("<BBBH", 1, command, 0x99, length))
        await bench.put(data[:HEADER_BYTES])
        right = command == frames.CLASSIFY and length == bench.size
        bench.drive(rst=0, rx_line=0, rx_bit_valid=0, rx_valid=1, rx_framing_error=0)
        await bench.skip(length - 1)
        where = f"frame_receive: {length} bytes"
        bench.check(where, payload_valid=1, image_valid=int(right), crc_drain=0)
        await bench.clock(line=0, rx_valid=1, rx_data=0)
        bench.check(where, payload_valid=1, image_valid=int(right), crc_drain=0)
        for byte in data[HEADER_BYTES:]:
            await bench.byte(byte)
        bench.hold(data, frames.OK if right else frames.LENGTH)
        await bench.resume(drain=1)


class Sender(Bench):
    """frame_send, and a UART that takes its bytes."""

    def __init__(self, dut) -> None:
        super().__init__(dut)
        self.most = (1 << self.parameters["LENGTH_WIDTH"]) - 1
        self.data = b""  # to be sent
        self.sent = 0
        self.wire: list[int | None] = []  # the next clocks: None, or a bit is over
        self.age = 0  # clocks since a byte was taken

    async def clock(self, *, start: int = 0, rst: int = 0, ready: int | None = None) -> None:
        """One clock; all outputs must be right. ready: of a UART beyond all haste."""
        rng = self.rng
        ready = int(not self.wire) if ready is None else ready
        bit = self.wire.pop(0) if self.wire else None
        values = dict(start=start, rst=rst, tx_ready=ready, tx_bit_valid=int(bit is not None))
        values["crc_byte"] = self.crc.value() if ready else rng.getrandbits(8)
        place, size = self.sent - HEADER_BYTES, len(self.data)
        payload = HEADER_BYTES <= self.sent < size - CRC_BYTES
        self.age += 1
        # Whatever stores the payload may take a start bit's time.
        settled = payload and (self.age > 8 or ready)
        values["payload_data"] = self.data[self.sent] if settled else rng.getrandbits(8)
        self.drive(**values)
        await self.edge
        byte = self.data[self.sent] if self.sent < size and ready else None
        self.check(
            f"frame_send: byte {self.sent} of {size}",
            tx_valid=int(self.sent < size),
            tx_data=byte,
            payload_taken=int(payload and ready),
            payload_index=place if payload else None,
            done=int(bool(size) and self.sent == size and ready),
        )
        self.clock_crc(bit)
        if byte is not None:
            self.sent += 1
            self.age = 0
            self.wire = self._bits(byte)
        elif ready and self.sent == size:
            self.data, self.sent = b"", 0
        if rst:
            self.data, self.sent, self.wire = b"", 0, []

    def _bits(self, byte: int) -> list[int | None]:
        """A byte on the wire: start bit, 8 data bits, stop bit."""
        clocks: list[int | None] = [None] * 10
        for shift in range(8):
            clocks += [None] * self.rng.randrange(3) + [byte >> shift & 1]
        return [*clocks, None, None]

    async def begin(self, payload: bytes) -> None:
        """Start a frame; whatever the fields are without one."""
        rng = self.rng
        for _ in range(rng.randrange(3)):
            self.drive(command=rng.randrange(256), tag=rng.randrange(256))
            self.drive(length=rng.randrange(self.most + 1))
            await self.clock()
        command, tag = rng.randrange(256), rng.randrange(256)
        self.drive(command=command, tag=tag, length=len(payload))
        await self.clock(start=1)
        self.data = frames.answer(command, payload, tag=tag)

    async def send(self, payload: bytes) -> None:
        """A whole frame."""
        await self.begin(payload)
        while self.data:
            await self.clock()


@cocotb.test()
async def sends(dut) -> None:
    """Frames of any length, one after the other, without a reset before."""
    bench = Sender(dut)
    rng = bench.rng
    most = min(bench.most, 70)
    for length in (1, 2, 3, 4, 7, 8, 9, most, *(rng.randrange(1, most + 1) for _ in range(6))):
        await bench.send(rng.randbytes(length))


@cocotb.test()
async def forgets(dut) -> None:
    """A reset at any moment of a frame: the next one is whole."""
    bench = Sender(dut)
    for sent in range(HEADER_BYTES + 3 + CRC_BYTES + 1):
        await bench.begin(bench.rng.randbytes(3))
        while bench.data and bench.sent < sent:
            await bench.clock()
        for _ in range(bench.rng.randrange(20) if bench.data else 0):
            await bench.clock()
        await bench.clock(rst=1)
        await bench.clock()
        await bench.send(bench.rng.randbytes(2))


@cocotb.test()
async def long_frames(dut) -> None:
    """Long frames, at a byte each clock."""
    bench = Sender(dut)
    for length in (*(1 << bit for bit in range(2, bench.most.bit_length())), bench.most):
        payload = bench.rng.randbytes(1) * length
        await bench.begin(payload)
        for _ in range(HEADER_BYTES):
            await bench.clock(ready=1)
            bench.wire = []
        bench.drive(tx_ready=1, payload_data=payload[0])
        await bench.skip(length - 1)
        bench.sent += length - 1
        await bench.clock(ready=1)
        bench.wire = []
        bench.drive(rst=1, tx_ready=1)
        await bench.edge
        bench.check(f"frame_send: {length} bytes", payload_taken=0, tx_valid=1)
        bench.data, bench.sent = b"", 0


@on_simulators(IMAGES)
def test_frame_receive(simulate, simulator, name, parameters):
    only = "receives|judges|checks|breaks_off|resets|long_payloads"
    case = dict(simulator=simulator, name=name, parameters=parameters)
    simulate("frame_receive", tests="test_frames", only=only, **case)


@on_simulators(LENGTHS)
def test_frame_send(simulate, simulator, name, parameters):
    only = "sends|forgets|long_frames"
    case = dict(simulator=simulator, name=name, parameters=parameters)
    simulate("frame_send", tests="test_frames", only=only, **case)
