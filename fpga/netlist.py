"""Simulate the synthesised netlist of a network against the reference: `make sim-netlist`.

python -m convstream.fpga.netlist --net convnet --board icebreaker --n 20

The network is folded and synthesised as for a bitstream, but without the rest of the board. Its
netlist then replaces the RTL in the simulation of `make sim`. The models of the board's cells are
Yosys' own, and those in fpga/sim/ for the cells that are black boxes to Yosys.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import re
import shutil
from pathlib import Path

from convstream.fpga import build, flow
from convstream.fpga.boards import BOARDS, Board, Family, find
from convstream.model.base import errors
from convstream.model.base.arguments import positive
from convstream.model.base.errors import UserError
from convstream.model.hardware import manifest
from convstream.sim import design, report, run, tools
from convstream.sim.build import once
from convstream.sim.design import Design

BUILD = design.ROOT / "build" / "netlist"
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
    return sorted((Path(__file__).parent / "sim" / family.name).glob("*.v"))


def synthesise(
    net: str, board: Board, *, device: str | None = None, cycles: int | None = None
) -> Design:
    """A network folded for a board, with its netlist and cell models in place of the RTL."""
    root = BUILD / board.name / manifest.read(design.find(net))["name"]
    exported = root / "network"
    build.prepare(net, board, exported, device=device, cycles=cycles)
    plain = Design.read(exported)
    top = f"{plain.name}.v"
    files = [*flow.sources(board.family), exported / top]
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


def main(arguments: list[str] | None = None) -> int:
    """The command line: 0 where every logit is equal, 1 where one is not."""
    parser = argparse.ArgumentParser(
        prog="make sim-netlist", description="Simulate the netlist of a network."
    )
    parser.add_argument("--net", required=True, help="names or folders of networks")
    parser.add_argument("--board", required=True, help=", ".join(BOARDS))
    parser.add_argument("--device", help="another chip than the usual one, such as 25f")
    parser.add_argument("--cycles", type=positive("CYCLES"), help="cycles an image")
    parser.add_argument("--n", default=str(IMAGES), help="number of images")
    parser.add_argument("--images", help="IDX (.gz), .npy, a PNG, or a folder of PNGs")
    options = parser.parse_args(arguments)
    flow.check_tools()
    tools.check("verilator")
    board = find(options.board)
    if options.net == "all":
        raise UserError("netlists are made one by one; choose a network, such as NET=convnet")
    settings = ["--n", options.n, *(["--images", options.images] if options.images else [])]
    found = synthesise(options.net, board, device=options.device, cycles=options.cycles)
    return run.stream([found], run.parse(settings), BUILD / board.name)


if __name__ == "__main__":
    errors.run(main)
