"""Both ends of a UART in cocotb: bits on a wire, and bytes from one. Times are in picoseconds."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import cocotb
from cocotb.triggers import FallingEdge, Timer

CLOCK_PS = 10_000


def levels(data: bytes) -> list[int]:
    """The levels of the line, a bit each, that send `data`."""
    return [level for byte in data for level in (0, *(byte >> shift & 1 for shift in range(8)), 1)]


async def drive(line, bits: Iterable[int], divisor: float) -> None:
    """Put bits on the line, `divisor` clocks each, which need not be an integer."""
    elapsed = sent = 0
    for level, run in itertools.groupby(bits):
        line.value = level
        sent += len(list(run))
        until = round(sent * divisor * CLOCK_PS)
        await Timer(until - elapsed, "ps")
        elapsed = until


class Listener:
    """Collects the bytes that come over a line; fails at a stop bit that is none."""

    def __init__(self, line, divisor: int) -> None:
        self.data = bytearray()
        self._line = line
        self._bit = divisor * CLOCK_PS
        self._task = cocotb.start_soon(self._listen())

    def stop(self) -> None:
        """Forget what came and a byte that is under way: the sender is being reset."""
        self._task.cancel()
        self.data.clear()

    def start(self) -> None:
        """Listen again."""
        self._task = cocotb.start_soon(self._listen())

    def _level(self) -> int:
        bits = str(self._line.value)
        assert bits in ("0", "1"), f"the line is {bits}"
        return int(bits)

    async def _listen(self) -> None:
        while True:
            await FallingEdge(self._line)
            await Timer(self._bit * 3 // 2, "ps")
            byte = 0
            for shift in range(8):
                byte |= self._level() << shift
                await Timer(self._bit, "ps")
            assert self._level() == 1, f"byte {byte:#04x} has no stop bit"
            self.data.append(byte)
