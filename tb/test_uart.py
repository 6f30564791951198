"""uart_rx, uart_tx and crc32: bytes survive the wire, and what is no byte does not become one."""

from __future__ import annotations

import json
import random
import zlib
from pathlib import Path

import cocotb
from cocotb.triggers import RisingEdge, Timer
from runner import on_simulators, refuse
from serial_line import CLOCK_PS, Listener, drive, levels
from testbench import start_clock

CASES = {
    "divisor8": dict(BAUD_DIVISOR=8),
    "divisor9": dict(BAUD_DIVISOR=9),
    "divisor104": dict(BAUD_DIVISOR=104),
}


def _case(dut) -> tuple[int, random.Random]:
    case = json.loads(Path("case.json").read_text())
    start_clock(dut, CLOCK_PS)
    return case["parameters"].get("BAUD_DIVISOR", 0), random.Random(case["seed"])


class Receiver:
    """What uart_rx says: bytes, None for a framing error; and its bits."""

    def __init__(self, dut) -> None:
        self.dut = dut
        self.heard: list[int | None] = []
        self.bits: list[int] = []
        dut.rx.value = 1
        dut.rst.value = 0
        cocotb.start_soon(self._watch())

    async def _watch(self) -> None:
        dut = self.dut
        while True:
            await RisingEdge(dut.clk)
            for signal in (dut.valid, dut.framing_error, dut.data_bit_valid, dut.line):
                assert str(signal.value) in "01", f"uart_rx: {signal._name} is {signal.value}"
            if int(dut.data_bit_valid.value):
                self.bits.append(int(dut.data_bit.value))
            if int(dut.valid.value):
                self.heard.append(int(dut.data.value))
            if int(dut.framing_error.value):
                self.heard.append(None)

    def take(self) -> list[int | None]:
        """What was heard since the last call."""
        heard, self.heard = self.heard, []
        return heard


async def _idle(clocks: int) -> None:
    await Timer(clocks * CLOCK_PS, "ps")


@cocotb.test()
async def receives(dut) -> None:
    """Bytes back to back and apart, at any phase, two per cent fast and slow."""
    divisor, rng = _case(dut)
    receiver = Receiver(dut)
    await _idle(20)
    for factor in (1, 0.98, 1.02):
        for _ in range(4):
            await Timer(rng.randrange(1, 3 * CLOCK_PS), "ps")
            data = bytes([0x00, 0xFF, 0x55, 0xAA, *rng.randbytes(28)])
            receiver.bits.clear()
            await drive(dut.rx, levels(data), factor * divisor)
            await _idle(2 * divisor)
            assert receiver.take() == list(data), f"uart_rx: bit length {factor} of nominal"
            expected = [byte >> shift & 1 for byte in data for shift in range(8)]
            assert receiver.bits == expected, "uart_rx: bits"


@cocotb.test()
async def refuses(dut) -> None:
    """Stop bits that are low, a line that stays low, spikes; the next byte is right."""
    divisor, rng = _case(dut)
    receiver = Receiver(dut)
    await _idle(20)
    for _ in range(20):
        good = rng.randrange(256)
        kind = rng.choice(["framing", "break", "spike"])
        expected: list[int | None] = [None]
        if kind == "framing":
            bits = [*levels(rng.randbytes(1))[:-1], 0]
        elif kind == "break":
            bits = [0] * rng.randrange(10, 100)
        else:
            bits, expected = [], []
            dut.rx.value = 0
            await Timer(rng.randrange(1, (divisor // 2 - 2) * CLOCK_PS), "ps")
        await drive(dut.rx, [*bits, 1, 1, *levels(bytes([good]))], divisor)
        await _idle(2 * divisor)
        assert receiver.take() == [*expected, good], f"uart_rx: after a {kind}"


@cocotb.test()
async def resets(dut) -> None:
    """A reset within a byte leaves nothing of it."""
    divisor, rng = _case(dut)
    receiver = Receiver(dut)
    for _ in range(20):
        sending = cocotb.start_soon(drive(dut.rx, levels(b"\0"), divisor))
        await Timer(rng.randrange(1, 9 * divisor * CLOCK_PS), "ps")
        sending.cancel()
        dut.rst.value = 1
        dut.rx.value = 1
        await _idle(4)
        dut.rst.value = 0
        await _idle(20 * divisor)
        assert receiver.take() == [], "uart_rx: a byte out of nothing"
        await drive(dut.rx, levels(b"\xa7"), divisor)
        await _idle(2 * divisor)
        assert receiver.take() == [0xA7]


@cocotb.test()
async def sends(dut) -> None:
    """Bytes come out as they went in, one bit every divisor clocks; the line rests high."""
    divisor, rng = _case(dut)
    dut.rst.value = 0
    dut.valid.value = 0
    await RisingEdge(dut.clk)
    listener = Listener(dut.tx, divisor)
    bits: list[int] = []

    async def watch() -> None:
        while True:
            await RisingEdge(dut.clk)
            if int(dut.data_bit_valid.value):
                bits.append(int(dut.data_bit.value))

    cocotb.start_soon(watch())
    data = bytes([0x00, 0xFF, 0x55, *rng.randbytes(20)])
    for byte in data:
        dut.valid.value = 1
        dut.data.value = byte
        clocks = 1
        await RisingEdge(dut.clk)
        while not int(dut.ready.value):
            clocks += 1
            await RisingEdge(dut.clk)
        assert clocks <= 10 * divisor + 1, f"uart_tx: ready after {clocks} clocks"
        if rng.random() < 0.3:
            dut.valid.value = 0
            dut.data.value = rng.randrange(256)
            for _ in range(rng.randrange(1, 15 * divisor)):
                await RisingEdge(dut.clk)
    dut.valid.value = 0
    await _idle(12 * divisor)
    assert bytes(listener.data) == data
    assert bits == [byte >> shift & 1 for byte in data for shift in range(8)]
    assert str(dut.tx.value) == "1"


@cocotb.test()
async def check_values(dut) -> None:
    """The CRC is that of zlib, with pauses between the bits."""
    _, rng = _case(dut)

    async def clock(**values: int) -> None:
        for name in ("init", "step", "drain"):
            getattr(dut, name).value = values.get(name, 0)
        dut.data_bit.value = values.get("data_bit", rng.getrandbits(1))
        await RisingEdge(dut.clk)

    for length in (0, 1, 2, 9, 100):
        data = rng.randbytes(length)
        await clock(init=1, step=1)
        for byte in data:
            for shift in range(8):
                await clock(step=1, data_bit=byte >> shift & 1)
                if rng.random() < 0.3:
                    await clock(drain=rng.getrandbits(1))
        got = b""
        for _ in range(4):
            await clock()
            got += bytes([int(dut.value.value)])
            for _ in range(8):
                await clock(step=1, drain=1)
        assert got == zlib.crc32(data).to_bytes(4, "little"), f"crc32: {length} bytes"


@on_simulators(CASES)
def test_uart_rx(simulate, simulator, name, parameters):
    only = "receives|refuses|resets"
    case = dict(simulator=simulator, name=name, parameters=parameters)
    simulate("uart_rx", tests="test_uart", only=only, **case)


@on_simulators(CASES)
def test_uart_tx(simulate, simulator, name, parameters):
    case = dict(simulator=simulator, name=name, parameters=parameters)
    simulate("uart_tx", tests="test_uart", only="sends", **case)


@on_simulators({"zlib": {}})
def test_crc32(simulate, simulator, name, parameters):
    case = dict(simulator=simulator, name=name, parameters=parameters)
    simulate("crc32", tests="test_uart", only="check_values", **case)


def test_divisor_too_small():
    refuse("uart_rx", {"BAUD_DIVISOR": 7}, "error_BAUD_DIVISOR_must_be_at_least_8")
