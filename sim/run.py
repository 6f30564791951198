"""Stream images through the RTL of networks in a simulator and compare every logit.

    convstream sim                            # the example networks, on MNIST
    convstream sim lenet5 -n 100 --sim icarus
    convstream sim hw/my --data photos/       # an exported folder, your own images
    convstream sim hw/my --data x.npy --labels y.npy --classes names.txt

Leaves report.json and logits.npy (int32, images x classes) in build/sim/NET/. Exit code 1: a logit
differs.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from convstream.model.base import errors, places
from convstream.model.base.commands import COUNT, PERCENTAGE, command
from convstream.model.base.errors import UserError
from convstream.model.learning import data
from convstream.model.learning.image_files import times
from convstream.model.learning.options import data_options
from convstream.model.learning.own_data import DataFiles
from convstream.model.network import reference
from convstream.sim import cluster, options, report, tools
from convstream.sim.build import build, executable
from convstream.sim.collect import Result
from convstream.sim.design import Design, read_all
from convstream.sim.shard import FEWEST_IMAGES, WAVES, Shard
from convstream.sim.shard import run as run_shard

if TYPE_CHECKING:
    from distributed import Client
    from rich.console import Console

BUILD = places.BUILD / "sim"
DEFAULT_IMAGES = {"verilator": 1000, "icarus": 10}
DEFAULT_WAVES = 4
# Roughly the seconds per multiplier and clock cycle: is the run worth the start of a cluster?
SECONDS_A_STEP = {"verilator": 2e-9, "icarus": 1e-6}
OVERHEAD_MULTIPLIERS = 150
WORTH_A_CLUSTER_S = 4.0
SHARD_S = 10.0
MOST_SHARDS_A_WORKER = 8


@dataclass(frozen=True)
class Options:
    """How to simulate.

    n: number of images. given: where they are; by default the test set. sim: verilator or icarus.
    waves: whether to record them. scheduler: address of a Dask cluster. workers: local processes.
    stall_in, stall_out: percentages of the cycles in which the harness holds back. seed: of these.
    """

    n: int | None = None
    given: DataFiles = DataFiles()
    sim: str = "verilator"
    waves: bool = False
    scheduler: str | None = None
    workers: int = field(default_factory=cluster.cores)
    stall_in: int = 0
    stall_out: int = 0
    seed: int = 1


@command("sim", __doc__)
@options.networks
@options.count
@options.simulator
@data_options()
@click.option("--waves", is_flag=True, help="Record waves, on one core.")
@click.option("--scheduler", metavar="ADDRESS", help="tcp://host:port of a Dask cluster.")
@click.option(
    "--workers",
    type=COUNT,
    default=cluster.cores,
    show_default="one for each processor",
    help="Local processes.",
)
@click.option("--stall-in", type=PERCENTAGE, default=0, help="Percent of cycles without input.")
@click.option("--stall-out", type=PERCENTAGE, default=0, help="Percent of cycles without output.")
@click.option("--seed", type=int, default=1, help="Of the stalls.")
def main(networks: list[str], **given: Any) -> int:
    """The command line: 0 where every logit is equal, 1 where one is not."""
    chosen = Options(**given)
    tools.check(chosen.sim)
    designs = read_all(networks)
    return stream(designs, chosen, [BUILD / design.label for design in designs])


def stream(designs: list[Design], chosen: Options, roots: list[Path]) -> int:
    """Simulate `designs` as `chosen` says, and report: 0 where every logit is equal, else 1.

    roots: the folder of each for builds and reports.
    """
    shape = designs[0].input_shape
    for design in designs:
        if design.input_shape != shape:
            raise UserError(
                f"{design.name} takes images of {times(design.input_shape)}, "
                f"{designs[0].name} of {times(shape)}; simulate them one by one"
            )
    count = chosen.n
    if count is None and chosen.given.images is None:
        count = DEFAULT_WAVES if chosen.waves else DEFAULT_IMAGES[chosen.sim]
    found = data.load_for(designs[0].takes, chosen.given, count)

    console = report.console()
    shards = [
        Shard(
            found.images,
            str(root.resolve()),
            simulator=chosen.sim,
            waves=chosen.waves,
            stall_in=chosen.stall_in,
            stall_out=chosen.stall_out,
            seed=chosen.seed,
        )
        for root in roots
    ]
    for design, whole in zip(designs, shards, strict=True):
        compile_one(design, whole, console)

    failed = False
    summaries = []
    classes = []
    with Session(chosen.scheduler, chosen.workers) as session:
        for design, whole in zip(designs, shards, strict=True):
            summary, logits, wrong = simulate(session, design, whole, found.labels, found.name)
            summaries.append(summary)
            if found.names is not None and design.classes > 1:
                classes.append(report.classes(design, found, logits))
            failed = failed or bool(wrong)
            for line in report.shorten(wrong):
                print(f"{design.name}: {line}", file=sys.stderr)
    for made in classes:
        console.print(made)
    console.print(report.table(summaries))
    for root in roots:
        console.print(str(places.shown(root / "report.json")), highlight=False, soft_wrap=True)
    if chosen.waves:
        suffix = ".fst" if chosen.sim == "icarus" else ".vcd"
        for root in roots:
            path = places.shown(root / f"{WAVES}{suffix}")
            console.print(f"waves: {path}", highlight=False, soft_wrap=True)
    return int(failed)


def compile_one(design: Design, shard: Shard, console: Console) -> None:
    """Compile the simulation that a shard runs, unless that has been done, and say so meanwhile."""
    root = Path(shard.root)
    if executable(design, shard.simulator, shard.waves, root).is_file():
        return
    what = f"compiling {design.name} ({design.multipliers:,} multipliers) for {shard.simulator}"
    started = time.monotonic()
    if not console.is_terminal:
        console.print(f"{what} ...", highlight=False)
    with console.status(what):
        build(design, shard.simulator, shard.waves, root)
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
        """Results of all shards; `told(first, images)` as in `cluster.run_shards`."""
        if self.scheduler is None and len(shards) == 1:
            return [run_shard(design, shards[0], lambda done: told(0, done))]
        return cluster.run_shards(self.client, design, shards, told)


def split(design: Design, whole: Shard, workers: int) -> list[Shard]:
    """Shards of about equal size: small runs stay whole, large ones feed every worker.

    The stalls of each have a seed of their own.
    """
    count = len(whole.images)
    steps = count * design.cycles * (design.multipliers + OVERHEAD_MULTIPLIERS)
    seconds = steps * SECONDS_A_STEP[whole.simulator]
    number = 1
    if not whole.waves and seconds > WORTH_A_CLUSTER_S:
        # A multiple of the workers, or some idle at the end.
        rounds = min(math.ceil(seconds / SHARD_S / workers), MOST_SHARDS_A_WORKER)
        number = min(workers * rounds, max(1, count // FEWEST_IMAGES))
    bounds = [count * i // number for i in range(number + 1)]
    return [
        replace(whole, images=whole.images[low:high], first=low, seed=whole.seed + index)
        for index, (low, high) in enumerate(pairwise(bounds))
    ]


def simulate(
    session: Session, design: Design, whole: Shard, labels: np.ndarray | None, dataset: str
) -> tuple[dict[str, Any], np.ndarray, list[str]]:
    """Run one network under a progress bar and compare every logit; write its report.

    whole: all images of the run. Returns the report, the logits, int32 (N, classes), and a line for
    each thing that is wrong.
    """
    quantised = design.read_network(Path(design.folder))
    shards = split(design, whole, session.workers)
    done: dict[int, int] = {}
    with report.progress("images") as progress:
        task = progress.add_task(design.name, total=len(whole.images))

        def told(first: int, count: int) -> None:
            done[first] = count
            progress.update(task, completed=sum(done.values()))

        results = session.run(design, shards, told)
        progress.update(task, completed=len(whole.images))
    expected = reference.predict(quantised, whole.images)
    summary = report.summarise(
        design,
        results,
        expected,
        labels,
        simulator=whole.simulator,
        dataset=dataset,
        quantised=quantised,
    )
    logits = np.concatenate([result.logits for result in results])
    report.write(Path(whole.root), summary, logits)
    return summary, logits, report.complaints(design, results, expected)


if __name__ == "__main__":
    errors.run(main)
