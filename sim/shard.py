"""One shard: some images through one process of a simulator."""

from __future__ import annotations

import os
import pickle
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from model.base.errors import ToolError
from sim import tools
from sim.build import build, executable
from sim.collect import Collected, Mismatch
from sim.design import Design

# The first image is alone, the second fills the pipeline; it takes two more to see an interval.
FEWEST_IMAGES = 4
POLL_S = 0.1


@dataclass(frozen=True)
class Options:
    """How to simulate: which simulator, whether to record waves, percentages of stalled cycles."""

    simulator: str = "verilator"
    waves: bool = False
    stall_in: int = 0
    stall_out: int = 0
    seed: int = 1


@dataclass(frozen=True, eq=False)
class Shard:
    """images: uint8 (N, C, H, W), which are images `start` to `start + N - 1` of the run.

    build_root: folder of the network's builds on the machine that made the shard.
    """

    index: int
    start: int
    images: np.ndarray
    options: Options
    build_root: str


@dataclass(frozen=True, eq=False)
class Job:
    """What the cocotb test in the simulator must know."""

    design: Design
    folder: Path
    scratch: Path
    images: np.ndarray
    parent: int

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.images)


@dataclass
class Outcome:
    """What the cocotb test has found.

    expected: int32 (N, classes), the reference's logits. stalls: cycles in which a side of the
    network was ready and the harness held back. seconds: wall time of the streaming alone.
    """

    collected: Collected
    expected: np.ndarray
    mismatches: list[Mismatch]
    stalls: int
    seconds: float


@dataclass
class Result:
    """A shard's part of a run: int32 (N, classes) logits of both sides, int64 (N,) classes.

    Mismatches and problems name images by their number in the run. cycles, seconds: simulated time
    and the wall time of that, without starting and comparing; stalls: as in `Outcome`.
    """

    start: int
    logits: np.ndarray
    expected: np.ndarray
    classes: np.ndarray
    latency: int | None
    interval: float | None
    cycles: int
    stalls: int
    seconds: float
    mismatches: list[Mismatch] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def run(design: Design, shard: Shard, report: Callable[[int], None] | None = None) -> Result:
    """Simulate a shard on this machine; `report` is told the number of images done so far.

    A machine that has neither the network's files nor the build makes its own copy and build in its
    temporary folder. Raises `ToolError` where the simulator itself fails.
    """
    options = shard.options
    tools.check(options.simulator)
    home = Path(tempfile.gettempdir()) / f"convstream-{os.getuid()}"
    program = executable(design, options.simulator, options.waves, Path(shard.build_root))
    if not program.is_file():
        root = home / "sim" / design.name
        program = build(design, options.simulator, options.waves, root)
    with tempfile.TemporaryDirectory(prefix="convstream-") as scratch:
        folder = design.place(Path(scratch) / "mem")
        return _run(design, shard, program, folder, Path(scratch), report)


def _run(
    design: Design,
    shard: Shard,
    program: Path,
    folder: Path,
    scratch: Path,
    report: Callable[[int], None] | None,
) -> Result:
    count = len(shard.images)
    # A few images more where there are too few to measure; they are compared like all others.
    padded = np.resize(shard.images, (max(count, FEWEST_IMAGES), *shard.images.shape[1:]))
    job = Job(design, folder, scratch, padded, os.getpid())
    # The lowest byte of a beat is the last that $fread reads.
    design.beats(padded)[:, ::-1].tofile(scratch / "images")
    with (scratch / "job").open("wb") as file:
        pickle.dump(job, file)
    status, log = _simulate(job, program, shard, report)
    if not (scratch / "outcome").is_file():
        tail = "\n".join(log.splitlines()[-15:])
        raise ToolError(f"simulating {design.name} failed (exit status {status}):\n{tail}")
    with (scratch / "outcome").open("rb") as file:
        outcome: Outcome = pickle.load(file)
    collected = outcome.collected
    for mismatch in outcome.mismatches:
        # Padding repeats the images in turn.
        mismatch.image = shard.start + mismatch.image % count
    return Result(
        start=shard.start,
        logits=collected.logits[:count],
        expected=outcome.expected[:count],
        classes=collected.classes[:count],
        latency=collected.latency,
        interval=collected.interval,
        cycles=max(0, int(collected.ends.max())),
        stalls=outcome.stalls,
        seconds=outcome.seconds,
        mismatches=outcome.mismatches,
        problems=[
            f"images {shard.start} to {shard.start + count - 1}: {problem}"
            for problem in collected.problems
        ],
    )


def _simulate(
    job: Job, program: Path, shard: Shard, report: Callable[[int], None] | None
) -> tuple[int, str]:
    from cocotb_tools import config

    scratch, options = job.scratch, shard.options
    plusargs = {
        "images": scratch / "images",
        "logits": scratch / "logits",
        "starts": scratch / "starts",
        "count": job.count,
        # Some ten events a second at most, whatever the size of the network.
        "notify": max(1, job.count // 50),
        "watchdog": 100_000 + 20 * job.design.cycles,
        "stall_in": options.stall_in,
        "stall_out": options.stall_out,
        "seed": options.seed + shard.index,
    }
    waves = Path(shard.build_root).resolve() / "waves"
    if options.simulator == "icarus":
        library = config.lib_name_path("vpi", "icarus")
        command = ["vvp", "-n", "-m", str(library), str(program)]
        command.append("-fst" if options.waves else "-none")
        if options.waves:
            plusargs["waves"] = waves.with_suffix(".fst")
    else:
        command = [str(program)]
        if options.waves:
            command += ["--trace", "--trace-file", str(waves.with_suffix(".vcd"))]
    command += [f"+{name}={value}" for name, value in plusargs.items()]
    environment = tools.cocotb_environment("sim.stream", "harness", scratch / "results.xml")
    environment["CONVSTREAM_JOB"] = str(scratch / "job")
    progress = scratch / "progress"
    told = 0
    with (scratch / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=job.folder,
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
                done = _read_number(progress)
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
