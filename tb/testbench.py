"""What every bench shares: clock, reset, sources, sinks, stall patterns, images as beats.

One loop samples all streams at a rising clock edge and then drives them for the next one, so a run
is a function of its seed alone.
"""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from types import SimpleNamespace

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.handle import Immediate
from cocotb.triggers import RisingEdge, Timer
from cocotb.types import LogicArray


class Stall(Enum):
    """What keeps the streams from moving at every clock.

    PATIENT: tready stays low until tvalid is high, so that a module whose tvalid waits for tready
    hangs.
    """

    NONE = "none"
    GAPS = "gaps in the input"
    BACKPRESSURE = "stalls of the output"
    BOTH = "gaps in the input and stalls of the output"
    PATIENT = "an output that waits for tvalid"


@dataclass(frozen=True)
class Beat:
    """One transfer: `data` and `user` as unsigned integers, the clock cycle it took place in."""

    data: int
    last: int | None = None
    user: int | None = None
    cycle: int = 0


@dataclass(frozen=True)
class Layout:
    """How a channels x height x width image becomes beats of `lanes` channels of `pixels` pixels.

    Raster order, lowest channels first; pixel p, lane l of a beat at bits `bits * (p * lanes + l)`.
    """

    channels: int
    height: int
    width: int
    lanes: int
    pixels: int = 1
    bits: int = 8

    @property
    def groups(self) -> int:
        """Beats that a group of `pixels` pixels takes."""
        return -(-self.channels // self.lanes)

    @property
    def beats(self) -> int:
        """Beats an image."""
        return self.height * self.width // self.pixels * self.groups

    def _elements(self, index: int) -> Iterator[tuple[int, int, int, int]]:
        """(bit offset, row, column, channel) of each element of beat `index`."""
        position, group = divmod(index, self.groups)
        row, column = divmod(position * self.pixels, self.width)
        for pixel, lane in itertools.product(range(self.pixels), range(self.lanes)):
            offset = self.bits * (pixel * self.lanes + lane)
            yield offset, row, column + pixel, group * self.lanes + lane

    def pack(self, image: np.ndarray, rng: random.Random | None = None) -> list[int]:
        """Beats of an integer array (channels, height, width).

        Lanes beyond the last channel are zero, or random if `rng` is given.
        """
        mask = (1 << self.bits) - 1
        beats = []
        for index in range(self.beats):
            data = 0
            for offset, row, column, channel in self._elements(index):
                if channel < self.channels:
                    data |= (int(image[channel, row, column]) & mask) << offset
                elif rng is not None:
                    data |= rng.getrandbits(self.bits) << offset
            beats.append(data)
        return beats

    @cached_property
    def unused(self) -> list[int]:
        """For each beat, a mask of the bits that belong to no channel."""
        whole = (1 << self.bits * self.lanes * self.pixels) - 1
        return [whole & ~self.used(index) for index in range(self.beats)]

    def used(self, index: int) -> int:
        """Mask of the bits of beat `index` that belong to a channel."""
        mask = (1 << self.bits) - 1
        return sum(mask << e[0] for e in self._elements(index) if e[3] < self.channels)

    def difference(self, index: int, got: int, expected: int) -> str:
        """Name the first element in which two values of beat `index` differ."""
        for offset, row, column, channel in self._elements(index):
            values = [(data >> offset) & ((1 << self.bits) - 1) for data in (got, expected)]
            if values[0] != values[1]:
                if self.bits == 32:
                    values = [value - (value >> 31 << 32) for value in values]
                unused = " (unused lane)" if channel >= self.channels else ""
                return (
                    f"row {row}, column {column}, channel {channel}{unused}: "
                    f"got {values[0]}, expected {values[1]}"
                )
        return f"beyond the last lane: got {got:#x}, expected {expected:#x}"


def bursts(rng: random.Random, pace: int) -> Iterator[bool]:
    """Runs of True and False of random lengths, from single cycles to a few times `pace`."""
    lengths = (1, 1, 1, 2, 3, pace, 2 * pace + 8)
    for value in itertools.cycle((True, False)):
        yield from itertools.repeat(value, rng.choice(lengths))


def start_clock(dut, period_ps: int = 10_000) -> RisingEdge:
    """Start the clock, low; returns its edge. Call it before anything takes time."""
    # Verilator starts with random values: this one must not rise before the inputs are set.
    dut.clk.value = Immediate(0)
    Clock(dut.clk, period_ps, "ps").start(start_high=False)
    return RisingEdge(dut.clk)


class Shared:
    """A packed port that `count` slices make up, of equal widths."""

    def __init__(self, handle, count: int) -> None:
        self.handle = handle
        self.width = len(handle) // count
        self.driven = ["0" * self.width] * count


class Slice:
    """Part of a port, to read and drive like a port of its own."""

    def __init__(self, shared: Shared, index: int) -> None:
        self._shared = shared
        self._index = index

    def __len__(self) -> int:
        return self._shared.width

    @property
    def value(self) -> str:
        end = len(self._shared.handle) - self._index * len(self)
        return str(self._shared.handle.value)[end - len(self) : end]

    @value.setter
    def value(self, value: int | LogicArray) -> None:
        driven = self._shared.driven
        driven[self._index] = f"{value:0{len(self)}b}" if isinstance(value, int) else str(value)
        self._shared.handle.value = LogicArray("".join(reversed(driven)))


class Stream:
    """The signals of one stream; `last` and `user` may be missing.

    late: the data of a beat stands in the clock after its handshake, and is garbage in others.
    """

    def __init__(
        self, dut, data: str, valid: str, ready: str, last=None, user=None, late: bool = False
    ) -> None:
        self.name = data.removesuffix("_tdata")
        self.data = getattr(dut, data)
        self.valid = getattr(dut, valid)
        self.ready = getattr(dut, ready)
        self.last = getattr(dut, last) if last else None
        self.user = getattr(dut, user) if user else None
        self.late = late

    @classmethod
    def axis(cls, dut, prefix: str, user: bool = False, late: bool = False) -> Stream:
        """The stream of ports `prefix`_tdata, _tvalid, _tready, and _tlast where there is one."""
        last = f"{prefix}_tlast"
        return cls(
            dut,
            *(f"{prefix}_t{name}" for name in ("data", "valid", "ready")),
            last=last if hasattr(dut, last) else None,
            user=f"{prefix}_tuser" if user else None,
            late=late,
        )

    @classmethod
    def packed(cls, dut, prefix: str, count: int) -> list[Stream]:
        """`count` streams whose ports are slices of those of `prefix`, the first one lowest."""
        slices = SimpleNamespace()
        for signal in ("tdata", "tvalid", "tready", "tlast"):
            if hasattr(dut, f"{prefix}_{signal}"):
                shared = Shared(getattr(dut, f"{prefix}_{signal}"), count)
                for index in range(count):
                    setattr(slices, f"{prefix}_{index}_{signal}", Slice(shared, index))
        return [cls.axis(slices, f"{prefix}_{index}") for index in range(count)]

    def read(self, signal: str) -> int | None:
        """Value of a signal of the stream; fails if a bit of it is X or Z."""
        handle = getattr(self, signal)
        if handle is None:
            return None
        bits = str(handle.value)
        try:
            return int(bits, 2)
        except ValueError:
            raise AssertionError(f"{self.name}: t{signal} is {bits[:72]}") from None


class Source:
    """Drives a stream; a beat once offered stays until it is taken, the idle bus holds garbage.

    In Icarus, half of what nobody may look at is X. offers, takes: clock cycles in which each beat
    was first on the bus, and in which it was taken.
    """

    def __init__(self, stream: Stream, rng: random.Random, go: Iterator[bool]) -> None:
        self.stream = stream
        self.queue: deque[tuple[int | LogicArray, int]] = deque()
        self.clear()
        self._rng = rng
        self._go = go
        self._four_states = cocotb.SIM_NAME.startswith("Icarus")
        self._idle()

    def clear(self) -> None:
        """Forget what is queued and what was taken: a reset."""
        self.queue.clear()
        self.offers: list[int] = []
        self.takes: list[int] = []
        self._late: int | LogicArray | None = None
        self._offered = False

    @property
    def taken(self) -> int:
        """How many beats were taken."""
        return len(self.takes)

    def send(self, beats: list[int], last: bool = True, unused: list[int] | None = None) -> None:
        """Queue an image; tlast is on its last beat unless `last` is False.

        unused: for each beat, a mask of the bits that may be X.
        """
        end = len(beats) - 1
        for index, data in enumerate(beats):
            mask = unused[index] if unused else 0
            if mask and self._four_states and self._rng.getrandbits(1):
                data = self._with_unknowns(data, mask)
            self.queue.append((data, last and index == end))

    def go(self, when: Iterator[bool]) -> None:
        """From now on move at the clocks that `when` says."""
        self._go = when

    def sample(self, cycle: int, clean: bool) -> bool:
        if not clean:
            return False
        ready = self.stream.read("ready")
        if self._offered and len(self.offers) == len(self.takes):
            self.offers.append(cycle)
        if not (ready and self._offered):
            return False
        self._offered = False
        data, _ = self.queue.popleft()
        if self.stream.late:
            self._late = data
        self.takes.append(cycle)
        return True

    def drive(self, reset: bool) -> None:
        go = next(self._go)
        if reset:
            # What stands on the bus during a reset must leave no trace.
            self._idle()
            self.stream.valid.value = self._rng.getrandbits(1)
        elif not self._offered:
            if go and self.queue:
                data, last = self.queue[0]
                if not self.stream.late:
                    self.stream.data.value = data
                if self.stream.last is not None:
                    self.stream.last.value = int(last)
                self.stream.valid.value = 1
                self._offered = True
            else:
                self._idle()

        if self.stream.late:
            if self._late is None:
                self._garble(self.stream.data)
            else:
                self.stream.data.value = self._late
            self._late = None

    def _idle(self) -> None:
        self.stream.valid.value = 0
        self._garble(self.stream.data)
        if self.stream.last is not None:
            self._garble(self.stream.last)

    def _garble(self, signal) -> None:
        if self._four_states and self._rng.getrandbits(1):
            signal.value = LogicArray("X" * len(signal))
        else:
            signal.value = self._rng.getrandbits(len(signal))

    def _with_unknowns(self, data: int, mask: int) -> LogicArray:
        width = len(self.stream.data)
        bits = zip(f"{data:0{width}b}", f"{mask:0{width}b}", strict=True)
        return LogicArray("".join("X" if unknown == "1" else bit for bit, unknown in bits))


class Sink:
    """Takes a stream; checks that no beat holds an X, nor a stalled one vanishes or changes.

    chances: clock cycles in which it was ready.
    """

    def __init__(
        self, stream: Stream, rng: random.Random, go: Iterator[bool], patient: bool
    ) -> None:
        self.stream = stream
        self.beats: list[Beat] = []
        self._rng = rng
        self._go = go
        self._patient = patient
        self.clear()

    def clear(self) -> None:
        """Forget the beats: a reset."""
        self.beats = []
        self.chances: list[int] = []
        self._late: Beat | None = None  # its data comes with the next clock
        self._stalled: tuple | None = None
        self._valid = self._ready = 0
        self.stream.ready.value = 0

    def go(self, when: Iterator[bool]) -> None:
        """From now on move at the clocks that `when` says."""
        self._go = when

    def sample(self, cycle: int, clean: bool) -> bool:
        if not clean:
            return False
        name = self.stream.name
        if self._late is not None:
            self.beats.append(replace(self._late, data=self.stream.read("data")))
            self._late = None
        if self._ready:
            self.chances.append(cycle)
        self._valid = self.stream.read("valid")
        assert self._valid or self._stalled is None, f"{name}: tvalid fell before tready came"
        if not self._valid:
            return False
        late = self.stream.late
        beat = (
            0 if late else self.stream.read("data"),
            self.stream.read("last"),
            self.stream.read("user"),
        )
        assert self._stalled in (None, beat), (
            f"{name}: stalled beat changed from (tdata, tlast, tuser) = {self._stalled} to {beat}"
        )
        self._stalled = None if self._ready else beat
        if self._ready and late:
            self._late = Beat(*beat, cycle)
        elif self._ready:
            self.beats.append(Beat(*beat, cycle))
        return bool(self._ready)

    def drive(self, reset: bool) -> None:
        ready = next(self._go)
        if reset:
            # Nor must what the reader does during a reset.
            ready = self._rng.getrandbits(1)
        elif self._patient:
            ready = ready and self._stalled is not None
        self._ready = int(ready)
        self.stream.ready.value = self._ready


class Testbench:
    """Clock, reset and streams of one module; a module without clk and rst is combinational.

    stall: for every source and sink. pace: clocks a beat takes in the long run; the
    longest stalls are a few times as long, so that they fill the buffers inside.
    monitors: called at every clock edge out of reset, with the values from before the edge.
    """

    __test__ = False  # not for pytest to collect

    def __init__(self, dut, seed: str, stall: Stall = Stall.NONE) -> None:
        self.dut = dut
        self.rng = random.Random(f"{seed}/{stall.name}")
        self.stall = stall
        self.cycle = 0
        self.idle = 0  # clocks since any stream moved
        self.sources: list[Source] = []
        self.sinks: list[Sink] = []
        self.monitors: list[Callable[[], None]] = []
        self._in_reset = True
        self._starting = False
        self._clean = False
        self._combinational = not hasattr(dut, "clk")
        if self._combinational:
            self._edge = Timer(10, "ns")
        else:
            dut.rst.value = 1
            self._edge = start_clock(dut)

    def source(self, stream: Stream, pace: int = 1) -> Source:
        """Add a source on `stream`."""
        stalls = self.stall in (Stall.GAPS, Stall.BOTH)
        go = bursts(self.rng, pace) if stalls else itertools.repeat(True)
        self.sources.append(Source(stream, self.rng, go))
        return self.sources[-1]

    def sink(self, stream: Stream, pace: int = 1) -> Sink:
        """Add a sink on `stream`."""
        stalls = self.stall in (Stall.BACKPRESSURE, Stall.BOTH)
        go = bursts(self.rng, pace) if stalls else itertools.repeat(True)
        self.sinks.append(Sink(stream, self.rng, go, self.stall is Stall.PATIENT))
        return self.sinks[-1]

    async def step(self) -> None:
        """One clock cycle."""
        if self._starting:
            self._starting = False
            self._drive()
        await self._edge
        self.cycle += 1
        moved = False
        for endpoint in (*self.sources, *self.sinks):
            moved |= endpoint.sample(self.cycle, self._clean)
        self.idle = 0 if moved else self.idle + 1
        for monitor in self.monitors if self._clean else ():
            monitor()
        # The first edge in reset sets the registers: from the next one on outputs must be known.
        self._clean = not self._in_reset
        self._drive()

    def _drive(self) -> None:
        for endpoint in (*self.sources, *self.sinks):
            endpoint.drive(self._in_reset)

    async def reset(self, cycles: int = 1) -> None:
        """Hold rst for `cycles` clocks; the streams start afresh."""
        self._set_rst(1)
        self._in_reset = True
        for _ in range(cycles):
            self._clean = False
            await self.step()
        self.power_up()

    def power_up(self) -> None:
        """Start afresh without a reset: at time 0 the initial values of the registers must do.

        What is sent before the next `step` is there from the first clock on.
        """
        self._set_rst(0)
        self._in_reset = False
        self._clean = self._starting = True
        self.idle = 0
        for endpoint in (*self.sources, *self.sinks):
            endpoint.clear()

    def _set_rst(self, value: int) -> None:
        if not self._combinational:
            self.dut.rst.value = value

    async def until(self, done: Callable[[], bool], patience: int) -> bool:
        """Run until `done()`; False if no stream moves for `patience` clocks, or no end is near."""
        self.idle = 0
        end = self.cycle + 100 * patience
        while not done():
            if self.idle > patience or self.cycle > end:
                return False
            await self.step()
        return True

    async def silence(self, cycles: int) -> None:
        """Nothing may come out for `cycles` clocks."""
        counts = [len(sink.beats) for sink in self.sinks]
        for _ in range(cycles):
            await self.step()
        for sink, count in zip(self.sinks, counts, strict=True):
            assert len(sink.beats) == count, f"{sink.stream.name}: a beat too many"
