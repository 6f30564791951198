"""One shard: some images through one process of a simulator."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convstream.model.base import folders
from convstream.model.base.errors import ToolError
from convstream.sim import tools
from convstream.sim.build import build, executable
from convstream.sim.collect import Result, collect
from convstream.sim.design import Design

# The first image is alone, the second fills the pipeline; it takes two more to see an interval.
FEWEST_IMAGES = 4
POLL_S = 0.1
# What stays of a simulation, beside its results: waves, and what a harness of another kind writes.
WAVES = "waves"
BEATS = ".beats"


@dataclass(frozen=True, eq=False)
class Shard:
    """Images for a network, and how to simulate them.

    images: uint8 (N, C, H, W), of the run those from number `first` on. root: folder of the
    network's builds on the machine that made the shard. waves: whether to record waves. stall_in,
    stall_out: percentages of the cycles in which the harness holds back. seed: of these stalls.
    """

    images: np.ndarray
    root: str
    first: int = 0
    simulator: str = "verilator"
    waves: bool = False
    stall_in: int = 0
    stall_out: int = 0
    seed: int = 1


def run(design: Design, shard: Shard, report: Callable[[int], None] | None = None) -> Result:
    """Simulate a shard on this machine; `report` is told the number of images done so far.

    A machine that has neither the network's files nor the build makes its own copy and build in its
    temporary folder. Raises `ToolError` where the simulator itself fails.
    """
    tools.check(shard.simulator)
    home = folders.temporary() / f"convstream-{os.getuid()}"
    program = executable(design, shard.simulator, shard.waves, Path(shard.root))
    if not program.is_file():
        program = build(design, shard.simulator, shard.waves, home / "sim" / design.label)
    room = Path(shard.root) if shard.waves else home.parent
    with folders.scratch(room, "convstream-run-") as scratch:
        # The simulator sees names without folders: Icarus opens no path that is not ASCII.
        folder = design.place(scratch / "mem").resolve()
        for name in design.files:
            (scratch / name).symlink_to(folder / name)
        # A few images more where there are too few to measure.
        count = len(shard.images)
        streamed = max(count, FEWEST_IMAGES)
        images = np.resize(shard.images, (streamed, *shard.images.shape[1:]))
        # The lowest byte of a beat is the last that $fread reads.
        (scratch / "images").write_bytes(design.beats(images)[:, ::-1].tobytes())
        try:
            status, log = _simulate(design, shard, streamed, program, scratch, report)
        finally:
            for made in (*scratch.glob(f"{WAVES}.*"), *scratch.glob(f"*{BEATS}")):
                shutil.move(made, Path(shard.root) / made.name)
        folders.check_room(scratch)
        if not (scratch / "counters").is_file():
            tail = "\n".join(log.splitlines()[-15:])
            raise ToolError(f"simulating {design.name} failed (exit status {status}):\n{tail}")
        counters = json.loads((scratch / "counters").read_text())
        result = collect(design, streamed, scratch / "logits", scratch / "starts")
    if counters["stuck"]:
        result.problems.append(
            f"the pipeline stands still after {counters['images_out']} of {streamed} images"
        )
    if counters["frame_errors"]:
        result.problems.append(f"frame_error on {counters['frame_errors']} cycles")
    for what, values in (("other logits", result.logits), ("another class", result.classes)):
        if not np.array_equal(values, np.resize(values[:count], values.shape)):
            result.problems.append(f"the same image, streamed again, gave {what}")
    result.logits, result.classes = result.logits[:count], result.classes[:count]
    last = shard.first + count - 1
    result.problems = [f"images {shard.first} to {last}: {line}" for line in result.problems]
    result.stalls, result.seconds = counters["stalls"], counters["seconds"]
    return result


def _simulate(
    design: Design,
    shard: Shard,
    count: int,
    program: Path,
    scratch: Path,
    report: Callable[[int], None] | None,
) -> tuple[int, str]:
    """Run the simulator on `count` images in `scratch`; its exit status and its words."""
    from cocotb_tools import config

    plusargs: dict[str, object] = {
        "images": "images",
        "logits": "logits",
        "starts": "starts",
        "count": count,
        # Some fifty events at most, whatever the size of the network.
        "notify": max(1, count // 50),
        "watchdog": 100_000 + 20 * design.cycles,
        "stall_in": shard.stall_in,
        "stall_out": shard.stall_out,
        "seed": shard.seed,
    }
    if shard.simulator == "icarus":
        library = config.lib_name_path("vpi", "icarus")
        command = ["vvp", "-n", "-m", str(library), str(program.resolve())]
        command.append("-fst" if shard.waves else "-none")
        if shard.waves:
            plusargs["waves"] = f"{WAVES}.fst"
    else:
        command = [str(program.resolve())]
        if shard.waves:
            command += ["--trace", "--trace-file", f"{WAVES}.vcd"]
    command += [f"+{name}={value}" for name, value in plusargs.items()]
    environment = tools.cocotb_environment(
        "convstream.sim.stream", "harness", scratch / "results.xml"
    )
    environment["CONVSTREAM_SCRATCH"] = str(scratch)
    environment["CONVSTREAM_PARENT"] = str(os.getpid())
    told = 0
    with (scratch / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=scratch,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            while True:
                try:
                    process.wait(POLL_S)
                    break
                except subprocess.TimeoutExpired:
                    pass
                done = _read_number(scratch / "progress")
                if report is not None and done > told:
                    told = done
                    report(min(done, len(shard.images)))
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    return process.returncode, (scratch / "log").read_text(errors="replace")


def _read_number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0
