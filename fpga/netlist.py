"""Simulate the synthesised netlist of a network against the reference.

    convstream netlist convnet --board icebreaker -n 20

The network is folded and synthesised as for a bitstream, but without the rest of the board. Its
netlist then replaces the RTL in the simulation of `convstream sim`. The models of the board's cells
are Yosys' own, and those in fpga/sim/ for the cells that are black boxes to Yosys.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import shutil
from pathlib import Path

from convstream.fpga import build, flow, target
from convstream.fpga.boards import Board, Family, find
from convstream.model.base import errors, places
from convstream.model.base.commands import command
from convstream.model.hardware import manifest
from convstream.model.learning.options import data_options
from convstream.model.learning.own_data import DataFiles
from convstream.sim import options, report, run, tools
from convstream.sim.build import once
from convstream.sim.design import Design

BUILD = places.BUILD / "netlist"
YOSYS_MODELS = {"ice40": ("cells_sim.v",), "ecp5": ("common_sim.vh", "ccu2c_sim.vh")}
IMAGES = 20


def models(family: Family) -> dict[str, str]:
    """The models of a family's cells: file name to text."""
    models = flow.yosys_models(family)
    texts = {}
    for path in (*(models / name for name in YOSYS_MODELS[family.name]), *_own(family)):
        # Icarus rejects $error in a generate block.
        text = re.sub(r"\$error\(.*\);", "", path.read_text(encoding="utf-8"))
        # The included files hold cells that Yosys never emits.
        texts[f"{path.stem}.v"] = "`define NO_INCLUDES\n" + text
    return texts


def _own(family: Family) -> list[Path]:
    return sorted((places.FPGA / "sim" / family.name).glob("*.v"))


def folder_of(net: str, board: Board) -> Path:
    """Where the netlist of a network and what comes of it go."""
    return BUILD / board.name / manifest.label(net)


def synthesise(
    net: str, board: Board, *, device: str | None = None, cycles: int | None = None
) -> Design:
    """A network folded for a board, with its netlist and cell models in place of the RTL."""
    root = folder_of(net, board)
    exported = root / "network"
    build.prepare(net, board, exported, device=device, cycles=cycles)
    plain = Design.read(exported)
    top = f"{plain.name}.v"
    files = [*flow.sources(board.family)]
    files += [exported / name for name in manifest.modules(plain.manifest)]
    content = [*flow.versions(), *(path.read_text(encoding="utf-8") for path in files)]
    content += [path.read_text(encoding="utf-8") for path in sorted(exported.glob("*.mem"))]
    stamp = hashlib.sha256("\0".join(content).encode()).hexdigest()[:16]

    def make(folder: Path) -> Path:
        for path in exported.glob("*.mem"):
            shutil.copy(path, folder)
        flow.synthesise(
            board.family, files, plain.name, folder, network=plain.name, netlist="netlist.v"
        )
        (folder / "yosys.log").rename(folder / "log.txt")
        return folder / "netlist.v"

    with report.console().status(f"synthesising {plain.name} for {board.title}"):
        netlist = once(root / "netlist" / stamp / "netlist.v", make)
    sources = {"harness.v": plain.sources["harness.v"], top: netlist.read_text(encoding="utf-8")}
    return dataclasses.replace(plain, sources=sources | models(board.family), optimised=False)


@command("netlist", __doc__)
@options.networks
@target.board
@target.folding
@options.count
@data_options()
def main(
    networks: list[str],
    board: str,
    device: str | None,
    cycles: int | None,
    n: int | None,
    given: DataFiles,
) -> int:
    """The command line: 0 where every logit is equal, 1 where one is not."""
    flow.check_tools()
    tools.check("verilator")
    chosen = find(board)
    net = options.only(networks)
    found = synthesise(net, chosen, device=device, cycles=cycles)
    root = folder_of(net, chosen)
    return run.stream([found], run.Options(n=n or IMAGES, given=given), [root])


if __name__ == "__main__":
    errors.run(main)
