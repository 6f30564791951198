"""The boards: their chips, clocks and pins. The only place that knows a board by name.

A board is an entry in `BOARDS` and a folder `fpga/boards/<name>/` with a `top.v` and the pin
constraints, and nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from convstream.model.base import places
from convstream.model.base.errors import UserError

FOLDER = places.FPGA / "boards"
BAUDS = (3_000_000, 2_000_000, 1_000_000, 500_000, 115_200)
BAUD_ERROR = 0.02  # after the ten bits of a byte it adds up to a fifth of a bit
FEWEST_CLOCKS_A_BIT = 8


@dataclass(frozen=True)
class Family:
    """What the flow has to know of a family of chips.

    bram_cell, dsp_cell: their names in Yosys' netlists. bram_shapes: possible (words, bits) of a
    block RAM. products: 8x8 products per DSP. spare_luts: lookup tables are plentiful, so products
    with constant weights, which are shifts and additions, take no DSPs, and max-pools are built
    fast rather than small. dsp_share: share of the DSPs that a folding uses by default; with more,
    routing takes too long. rom_columns: ROMs are cut into columns of bits, one block RAM each.
    """

    name: str
    bram_cell: str
    dsp_cell: str
    bram_shapes: tuple[tuple[int, int], ...]
    products: int
    spare_luts: bool
    dsp_share: float
    rom_columns: bool

    @property
    def bram_bits(self) -> int:
        """Bits of a block RAM."""
        return max(words * bits for words, bits in self.bram_shapes)

    def rom_brams(self, words: int, bits: int) -> int:
        """Block RAMs of a ROM."""
        shapes = (self.column(words),) if self.rom_columns else self.bram_shapes
        return min(math.ceil(words / depth) * math.ceil(bits / width) for depth, width in shapes)

    def column(self, words: int) -> tuple[int, int]:
        """The widest shape of a block RAM that holds `words`; if none does, the deepest."""
        deep = [shape for shape in self.bram_shapes if shape[0] >= words]
        return min(deep) if deep else max(self.bram_shapes)


ICE40 = Family(
    "ice40",
    "SB_RAM40_4K",
    "SB_MAC16",
    ((256, 16), (512, 8), (1024, 4), (2048, 2)),
    products=2,
    spare_luts=False,
    dsp_share=1,
    rom_columns=False,
)
ECP5 = Family(
    "ecp5",
    "DP16KD",
    "MULT18X18D",
    ((512, 36), (1024, 18), (2048, 9), (4096, 4), (8192, 2), (16384, 1)),
    products=1,
    spare_luts=True,
    dsp_share=0.68,
    rom_columns=True,
)


@dataclass(frozen=True)
class Device:
    """A chip: nextpnr's option for it, and its lookup tables, DSPs and block RAMs."""

    name: str
    option: str
    luts: int
    dsps: int
    brams: int


UP5K = Device("up5k", "--up5k", luts=5280, dsps=8, brams=30)
LFE5U_25F = Device("25f", "--25k", luts=24_288, dsps=28, brams=56)
LFE5U_45F = Device("45f", "--45k", luts=43_848, dsps=72, brams=108)
LFE5U_85F = Device("85f", "--85k", luts=83_640, dsps=156, brams=208)


@dataclass(frozen=True)
class Pll:
    """Parameters of a top module's PLL, and the resulting clock in Hz."""

    parameters: dict[str, int]
    hz: int


@dataclass(frozen=True)
class Board:
    """A board. name: on the command line and of its folder. title: for people.

    devices: the chips it comes with, the usual one first. package, speed: of every chip.
    oscillator_mhz: on the board. clock_mhz: of the network, by default. loader: options of
    openFPGALoader.
    """

    name: str
    title: str
    family: Family
    devices: tuple[Device, ...]
    package: str
    speed: str
    oscillator_mhz: float
    clock_mhz: float
    loader: tuple[str, ...]

    @property
    def top(self) -> Path:
        """Its top module."""
        return FOLDER / self.name / "top.v"

    @property
    def constraints(self) -> Path:
        """Its pins."""
        suffix = "pcf" if self.family is ICE40 else "lpf"
        return FOLDER / self.name / f"{self.name}.{suffix}"

    def device(self, name: str | None = None) -> Device:
        """One of its chips, by name; the usual one by default."""
        for device in self.devices:
            if name in (None, device.name):
                return device
        known = ", ".join(device.name for device in self.devices)
        raise UserError(f"{self.name} with device {name!r}: expected one of {known}")

    def pll(self, mhz: float) -> Pll:
        """The settings closest to a clock of `mhz`. Raises `UserError` if none is within 1 %."""
        solve = _ice40_pll if self.family is ICE40 else _ecp5_pll
        found = min(
            solve(self.oscillator_mhz), key=lambda pll: abs(pll.hz - mhz * 1e6), default=None
        )
        if found is None or not math.isclose(found.hz, mhz * 1e6, rel_tol=0.01):
            near = "" if found is None else f"; the nearest is {found.hz / 1e6:.6g} MHz"
            raise UserError(
                f"CLOCK={mhz:g}: the PLL of {self.name} cannot make that from "
                f"{self.oscillator_mhz:g} MHz{near}"
            )
        return found

    def uart(self, hz: int) -> tuple[int, int]:
        """Baud rate and clocks per bit, for the fastest rate that `hz` can produce accurately."""
        for baud in BAUDS:
            divisor = max(1, round(hz / baud))
            if divisor >= FEWEST_CLOCKS_A_BIT and abs(hz / divisor / baud - 1) <= BAUD_ERROR:
                return baud, divisor
        raise UserError(
            f"a clock of {hz / 1e6:g} MHz is too slow for a UART; choose a higher CLOCK"
        )


def _ice40_pll(mhz: float) -> list[Pll]:
    """The settings of SB_PLL40_PAD with FEEDBACK_PATH "SIMPLE", within the limits of icepll."""
    found = []
    for divr in range(16):
        reference = mhz / (divr + 1)
        if not 10 <= reference <= 133:
            continue
        # The loop filter depends on the reference: icepll's table.
        bounds = (17, 26, 44, 66, 101)
        filter_range = 1 + sum(reference >= bound for bound in bounds)
        for divf in range(128):
            oscillator = reference * (divf + 1)
            if 533 <= oscillator <= 1066:
                # An output below 16 MHz is out of range.
                for divq in range(1, int(math.log2(oscillator / 16)) + 1):
                    names = {"DIVR": divr, "DIVF": divf, "DIVQ": divq, "FILTER_RANGE": filter_range}
                    found.append(Pll(names, round(oscillator * 1e6 / 2**divq)))
    return found


def _ecp5_pll(mhz: float) -> list[Pll]:
    """The settings of EHXPLLL with CLKOP as feedback, within the limits of ecppll."""
    found = []
    for clki in range(1, 129):
        reference = mhz / clki
        if reference < 3.125:
            break
        for clkfb in range(1, 81):
            clock = reference * clkfb
            # Bring the oscillator as close to 600 MHz, the middle of its range, as possible.
            clkop = min(max(1, math.ceil(600 / clock - 0.5)), 128)
            if 400 <= clock * clkop <= 800:
                names = {"CLKI_DIV": clki, "CLKFB_DIV": clkfb, "CLKOP_DIV": clkop}
                found.append(Pll(names, round(clock * 1e6)))
    return found


BOARDS = {
    board.name: board
    for board in (
        Board(
            name="ulx3s",
            title="ULX3S",
            family=ECP5,
            devices=(LFE5U_85F, LFE5U_45F, LFE5U_25F),
            package="CABGA381",
            speed="6",
            oscillator_mhz=25,
            clock_mhz=80,
            loader=("-b", "ulx3s"),
        ),
        Board(
            name="icebreaker",
            title="iCEBreaker",
            family=ICE40,
            devices=(UP5K,),
            package="sg48",
            speed="",
            oscillator_mhz=12,
            clock_mhz=30,
            loader=("-b", "ice40_generic"),
        ),
        Board(
            name="orangecrab",
            title="OrangeCrab r0.2",
            family=ECP5,
            devices=(LFE5U_85F, LFE5U_25F),
            package="CSFBGA285",
            speed="8",
            oscillator_mhz=48,
            clock_mhz=80,
            loader=("-b", "orangeCrab"),
        ),
    )
}


def find(name: str) -> Board:
    """The board of that name. Raises `UserError` if there is none."""
    if name not in BOARDS:
        raise UserError(f"unknown board {name!r}; expected one of: {', '.join(BOARDS)}")
    return BOARDS[name]
