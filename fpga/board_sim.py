"""Simulate a board: its real top module in Verilator, its UART on a pseudo-terminal.

    convstream board-sim lenet5 --board ulx3s

Prints the path of a port for `convstream host --port PATH` and runs until Ctrl-C. Two times are
shorter than on the board, counted in clocks: a UART bit, and the silence that ends a frame.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from convstream.fpga import boards, flow, target
from convstream.fpga.build import BUILD, Project, prepare
from convstream.model.base import errors, places
from convstream.model.base.commands import command
from convstream.model.base.errors import ToolError
from convstream.model.hardware import manifest
from convstream.sim import options, report, tools
from convstream.sim.build import MAKE_FLAGS, once, simulator_version, verilate

MAIN = places.FPGA / "board_sim.cpp"
MODELS = places.FPGA / "sim"
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
    name = manifest.read(manifest.find(net))["name"]
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
        arguments = [*settings, *(str(path.resolve()) for path in files)]
        return verilate(FLAGS, arguments, MAIN, work, BUILD, f"{name} on {board.name}")

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
    files = [places.FPGA / "board_sim.vlt", *project.sources]
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


@command("board-sim", __doc__)
@options.networks
@target.board
@target.folding
@target.clock
def main(
    networks: list[str],
    board: str,
    device: str | None,
    cycles: int | None,
    clock: float | None,
) -> int:
    """The command line: run until interrupted."""
    chosen, net = boards.find(board), options.only(networks)
    console = report.console()
    started = time.monotonic()
    with console.status(f"compiling {net} on {chosen.title}"):
        simulator = build(net, chosen, device=device, cycles=cycles, clock_mhz=clock)
    console.print(f"compiled in {time.monotonic() - started:.0f} s", highlight=False)

    def interrupt(*_: int | FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    with contextlib.suppress(KeyboardInterrupt), Running(simulator) as running:
        project = simulator.project
        print(f"{project.name} on {chosen.title} at {running.port}; end it with Ctrl-C. Try:")
        print(f"  convstream host --port {running.port} identify", flush=True)
        running.process.wait()
        raise ToolError("the simulated board ended by itself")
    return 0


if __name__ == "__main__":
    errors.run(main)
