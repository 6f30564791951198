"""Simulate a board: its real top module in Verilator, its UART on a pseudo-terminal.

python -m convstream.fpga.board_sim --board ulx3s --net lenet5

Prints the path of a port for `python -m convstream.fpga.host --port PATH` and runs until Ctrl-C.
Two times are shorter than on the board, counted in clocks: a UART bit, and the silence that ends a
frame.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import platform
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from convstream.fpga import boards, flow
from convstream.fpga.build import BUILD, Project, prepare
from convstream.model.base import errors
from convstream.model.base.arguments import positive
from convstream.model.base.errors import ToolError, UserError
from convstream.model.hardware import manifest
from convstream.sim import design, report, tools
from convstream.sim.build import MAKE_FLAGS, once, simulator_version, verilate

FOLDER = Path(__file__).parent
MAIN = FOLDER / "board_sim.cpp"
MODELS = FOLDER / "sim"
FLAGS = (
    "--cc --exe --no-timing --default-language 1364-2005 -O3 --x-assign fast --x-initial fast "
    "--noassert -Wno-fatal --prefix Vtop -o simulator -CFLAGS -std=c++20"
).split()
CLOCKS_A_BIT = 8  # the fewest that the receiver supports
# Longer than the gaps that a busy computer leaves between bytes, and than an image takes.
TIMEOUT_CLOCKS = 20_000
LATENCIES = 2
STOP_S = 5.0


@dataclass(frozen=True)
class Simulator:
    """A compiled simulation: the executable and the build behind it."""

    executable: Path
    project: Project


def build(
    net: str,
    board: boards.Board,
    folder: Path | None = None,
    *,
    device: str | None = None,
    cycles: int | None = None,
    clock_mhz: float | None = None,
) -> Simulator:
    """Fold a network as `fpga.build` does and compile the board, unless that has been done.

    folder: for the build; by default build/fpga/<board>/<net>.sim. Raises `UserError` if the
    network does not fit, `ToolError` if compilation fails.
    """
    flow.check_tools()
    name = manifest.read(design.find(net))["name"]
    folder = folder or BUILD / board.name / f"{name}.sim"
    project = prepare(net, board, folder, device=device, cycles=cycles, clock_mhz=clock_mhz)
    flow.write_columns(board.family, folder)
    settings, files = reading(project)
    content = [simulator_version("verilator"), platform.machine(), FLAGS, MAKE_FLAGS, settings]
    content += [flow.versions(), MAIN.read_text(encoding="utf-8")]
    content += [path.read_text(encoding="utf-8") for path in files]
    key = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def make(work: Path) -> Path:
        tools.check("verilator")
        arguments = [*settings, *(str(path.resolve()) for path in (MAIN, *files))]
        return verilate(FLAGS, arguments, work, BUILD, f"{name} on {board.name}", None)

    return Simulator(once(folder / "simulator" / key / "simulator", make), project)


def reading(project: Project) -> tuple[list[str], list[Path]]:
    """Verilator's options and files for a board, including its shortened times."""
    family = project.board.family
    latency = manifest.read(project.folder)["latency"]
    parameters = project.parameters | {
        "BAUD_DIVISOR": CLOCKS_A_BIT,
        "TIMEOUT": max(TIMEOUT_CLOCKS, LATENCIES * latency),
    }
    settings = [f"-DNETWORK={project.name}", "--top-module", project.board.top.stem]
    for name, value in parameters.items():
        settings.append(f'-G{name}="{value}"' if isinstance(value, str) else f"-G{name}={value}")
    files = [FOLDER / "board_sim.vlt", *project.sources]
    for folder in (MODELS, MODELS / family.name):
        files += sorted(folder.glob("*.v"))
    if family is boards.ICE40:
        # Yosys models all cells of the iCE40; for the ECP5, fpga/sim/ has those it lacks.
        settings += ["-v", str(flow.yosys_models(family) / "cells_sim.v")]
    return settings, files


class Running:
    """A running simulated board; a context manager. port: the path of its pseudo-terminal."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        # $readmemh resolves paths from the simulator's working directory.
        self.process = subprocess.Popen(
            [str(simulator.executable.resolve()), str(CLOCKS_A_BIT), str(simulator.project.baud)],
            cwd=simulator.project.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self._output = self.process.stdout
        line = self._output.readline()
        if not line.startswith("port: "):
            self.stop()
            raise ToolError(f"the simulated board did not start: {line or 'it says nothing'}")
        self.port = line.removeprefix("port: ").strip()

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> int:
        """Disconnect and stop the simulator; its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            self._output.close()


def main(arguments: list[str] | None = None) -> int:
    """The command line: run until interrupted."""
    parser = argparse.ArgumentParser(
        prog="make board-sim", description="Simulate a board with its UART on a pseudo-terminal."
    )
    parser.add_argument("--net", required=True, help="name or folder of a network")
    parser.add_argument("--board", required=True, help=", ".join(boards.BOARDS))
    parser.add_argument("--device", help="another chip than the usual one, such as 25f")
    parser.add_argument("--cycles", type=positive("CYCLES"), help="cycles an image")
    parser.add_argument("--clock", type=positive("CLOCK", float), help="MHz")
    options = parser.parse_args(arguments)
    board = boards.find(options.board)
    if options.net == "all":
        raise UserError("a board holds one network; choose it with NET=")
    console = report.console()
    started = time.monotonic()
    with console.status(f"compiling {options.net} on {board.title}"):
        simulator = build(
            options.net,
            board,
            device=options.device,
            cycles=options.cycles,
            clock_mhz=options.clock,
        )
    console.print(f"compiled in {time.monotonic() - started:.0f} s", highlight=False)

    def interrupt(*_: int | FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    with contextlib.suppress(KeyboardInterrupt), Running(simulator) as running:
        project = simulator.project
        print(f"{project.name} on {board.title} at {running.port}; end it with Ctrl-C. Try:")
        print(
            f"  {sys.executable} -m convstream.fpga.host --port {running.port} identify", flush=True
        )
        running.process.wait()
        raise ToolError("the simulated board ended by itself")
    return 0


if __name__ == "__main__":
    errors.run(main)
