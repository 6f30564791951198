"""Stream images through the RTL of a network in a simulator and compare every logit: `make sim`.

python -m sim.run --net lenet5 --n 1000
python -m sim.run --net all --sim icarus --n 20
python -m sim.run --net lenet5 --images photos/ --waves
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from model.learning import data
from model.base import errors
from model.base.errors import UserError
from sim import cluster, report, shard, tools
from sim.build import build, executable
from sim.design import ROOT, Design, read_all
from sim.shard import Options, Result, Shard

if TYPE_CHECKING:
    from distributed import Client

BUILD = ROOT / "build" / "sim"
DEFAULT_IMAGES = {"verilator": 1000, "icarus": 10}
DEFAULT_WAVES = 4
# Rough seconds a multiplier and clock cycle, to tell whether sharding is worth a cluster's start.
SECONDS_A_STEP = {"verilator": 2e-9, "icarus": 1e-6}
OVERHEAD_MULTIPLIERS = 150
WORTH_A_CLUSTER_S = 4.0
SHARD_S = 10.0
MOST_SHARDS_A_WORKER = 8


def main(arguments: list[str] | None = None) -> int:
    """The command line: 0 where every logit is equal, 1 where one is not."""
    options = parse(arguments)
    tools.check(options.sim)
    return stream(read_all(options.net), options, BUILD)


def stream(designs: list[Design], options: argparse.Namespace, root: Path) -> int:
    """Simulate `designs` as `options` say, and report: 0 where every logit is equal, else 1.

    root: the folder that has, or gets, one of each network for builds and reports.
    """
    count = options.n
    if count is None:
        count = DEFAULT_WAVES if options.waves else DEFAULT_IMAGES[options.sim]
    images, labels, dataset = _images(options, count, designs)

    settings = Options(
        options.sim, options.waves, options.stall_in, options.stall_out, options.seed
    )
    console = report.console()
    for design in designs:
        compile_one(design, settings, root / design.name, console)

    failed = False
    reports = []
    with Session(options.scheduler, options.workers) as session:
        for design in designs:
            results, summary = simulate(
                session, design, images, labels, dataset, settings, root / design.name
            )
            reports.append(summary)
            wrong = report.complaints(results)
            if wrong:
                failed = True
                for line in report.shorten(wrong):
                    print(f"{design.name}: {line}", file=sys.stderr)
    report.print_table(reports)
    console.print(f"images: {dataset}", highlight=False)
    if options.waves:
        suffix = ".fst" if options.sim == "icarus" else ".vcd"
        for design in designs:
            console.print(f"waves: {root / design.name / 'waves'}{suffix}", highlight=False)
    return int(failed)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        prog="make sim", description="Simulate networks and compare every logit."
    )
    parser.add_argument("--net", default="all", help="names or folders of networks, or all")
    parser.add_argument("--n", type=_count, help="number of images")
    parser.add_argument("--sim", default="verilator", help="verilator or icarus")
    parser.add_argument("--images", help="IDX (.gz), .npy, a PNG, or a folder of PNGs")
    parser.add_argument("--waves", action="store_true", help="record waves, on one core")
    parser.add_argument("--scheduler", help="tcp://host:port of a Dask cluster")
    parser.add_argument("--workers", type=_count, default=cluster.cores(), help="local processes")
    parser.add_argument("--stall-in", type=_percentage, default=0, help="%% of cycles")
    parser.add_argument("--stall-out", type=_percentage, default=0, help="%% of cycles")
    parser.add_argument("--seed", type=int, default=1, help="of the stalls")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise UserError(f"N={text}: expected a whole number of at least 1")
    return value


def _percentage(text: str) -> int:
    value = int(text)
    if not 0 <= value < 100:
        raise UserError(f"stalls of {text} %: expected 0 to 99")
    return value


def _images(
    options: argparse.Namespace, count: int, designs: list[Design]
) -> tuple[np.ndarray, np.ndarray | None, str]:
    """uint8 (N, C, H, W), int64 (N,) labels if known, and what a report calls them."""
    shape = designs[0].input_shape
    for design in designs:
        if design.input_shape != shape:
            raise UserError(
                f"{design.name} takes images of {_times(design.input_shape)}, {designs[0].name} of "
                f"{_times(shape)}; simulate them one by one"
            )
    if options.images:
        images = data.load_user_images(options.images, shape)
        if options.n is None:
            count = len(images)
        labels, name = None, str(options.images)
    else:
        dataset = data.load_images("test")
        images, labels, name = dataset.images[:, None], dataset.labels, dataset.name
        if images.shape[1:] != shape:
            raise UserError(
                f"{designs[0].name} takes images of {_times(shape)}, {name} holds "
                f"{_times(images.shape[1:])} (channels x height x width); use IMAGES=file"
            )
    if count > len(images):
        raise UserError(
            f"N={count}: {name} holds {len(images):,} images; ask for no more than that"
        )
    return images[:count], None if labels is None else labels[:count], name


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def compile_one(design: Design, settings: Options, root: Path, console: Any) -> None:
    """Build a network's simulation, unless that has been done, and say so while it lasts."""
    if executable(design, settings.simulator, settings.waves, root).is_file():
        return
    what = f"compiling {design.name} ({design.multipliers:,} multipliers) for {settings.simulator}"
    started = time.monotonic()
    if not console.is_terminal:
        console.print(f"{what} ...", highlight=False)
    with console.status(what):
        build(design, settings.simulator, settings.waves, root)
    console.print(f"{what}: {time.monotonic() - started:.0f} s", highlight=False)


class Session:
    """Worker processes for several runs, started once a run is large enough to need them."""

    def __init__(self, scheduler: str | None, workers: int) -> None:
        self.scheduler = scheduler
        self._workers = workers
        self._client: Client | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def client(self) -> Client:
        """The cluster; started, or connected to, when first asked for."""
        if self._client is None:
            self._client = self._stack.enter_context(cluster.connect(self.scheduler, self._workers))
        return self._client

    @property
    def workers(self) -> int:
        """Shards that can run at a time. Raises `UserError` where a cluster has no workers."""
        if self.scheduler is None:
            return self._workers
        workers = sum(self.client.ncores().values())
        if not workers:
            raise UserError(
                f"the Dask scheduler at {self.scheduler} has no workers; "
                f"add this machine's with: make worker SCHEDULER={self.scheduler}"
            )
        return workers

    def run(
        self, design: Design, shards: list[Shard], told: Callable[[int, int], None]
    ) -> list[Result]:
        """Results of all shards; `told(shard, images)` as in `cluster.run_shards`."""
        if self.scheduler is None and len(shards) == 1:
            return [shard.run(design, shards[0], lambda done: told(0, done))]
        return cluster.run_shards(self.client, design, shards, told)


def split(
    design: Design, images: np.ndarray, settings: Options, workers: int, root: Path
) -> list[Shard]:
    """Shards of about equal size: small runs stay whole, large ones feed every worker."""
    steps = len(images) * design.cycles * (design.multipliers + OVERHEAD_MULTIPLIERS)
    seconds = steps * SECONDS_A_STEP[settings.simulator]
    number = 1
    if not settings.waves and seconds > WORTH_A_CLUSTER_S:
        # A multiple of the workers, or some idle at the end.
        rounds = min(math.ceil(seconds / SHARD_S / workers), MOST_SHARDS_A_WORKER)
        number = min(workers * rounds, max(1, len(images) // shard.FEWEST_IMAGES))
    bounds = [len(images) * i // number for i in range(number + 1)]
    return [
        Shard(index, low, images[low:high], settings, str(root.resolve()))
        for index, (low, high) in enumerate(zip(bounds, bounds[1:], strict=False))
    ]


def simulate(
    session: Session,
    design: Design,
    images: np.ndarray,
    labels: np.ndarray | None,
    dataset: str,
    settings: Options,
    root: Path,
) -> tuple[list[Result], dict[str, Any]]:
    """Run one network over all shards under a progress bar; write and return its report."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    macs = design.read_network(Path(design.folder)).network.macs
    shards = split(design, images, settings, session.workers, root)
    done = [0] * len(shards)
    columns = (
        TextColumn("{task.description:10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("images"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=report.console()) as progress:
        task = progress.add_task(design.name, total=len(images))

        def told(index: int, count: int) -> None:
            done[index] = count
            progress.update(task, completed=sum(done))

        results = session.run(design, shards, told)
        progress.update(task, completed=len(images))
    summary = report.summarise(
        design,
        results,
        labels,
        simulator=settings.simulator,
        dataset=dataset,
        macs=macs,
    )
    report.write(root, summary, np.concatenate([result.logits for result in results]))
    return results, summary


if __name__ == "__main__":
    errors.run(main)
