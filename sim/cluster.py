"""Shards over worker processes with Dask: of this machine, or of any cluster by its address."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING

from convstream.model.base.errors import UserError
from convstream.sim.collect import Result
from convstream.sim.design import Design
from convstream.sim.shard import Shard, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distributed import Client

TOPIC = "convstream-progress"
CONNECT_TIMEOUT_S = 10
# How many workers may die under one shard before the shard itself is to blame.
ALLOWED_FAILURES = 3


@contextmanager
def connect(scheduler: str | None, workers: int) -> Iterator[Client]:
    """A client of the cluster at `scheduler`, or of one made here with `workers` processes.

    Raises `UserError` where nothing answers at that address.
    """
    import dask
    from distributed import Client, LocalCluster

    dask.config.set(
        {
            "distributed.scheduler.allowed-failures": ALLOWED_FAILURES,
            # Neither a busy machine nor a large shard is a reason for a warning.
            "distributed.admin.tick.limit": "1h",
            "distributed.admin.large-graph-warning-threshold": "1GB",
        }
    )
    if scheduler:
        try:
            client = Client(scheduler, timeout=CONNECT_TIMEOUT_S)
        except (OSError, ValueError, TimeoutError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"no Dask scheduler answers at {scheduler} ({first}); "
                "start one with: dask scheduler"
            ) from None
        with client:
            yield client
        return
    with _deaf_to_interrupts():
        cluster = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
        )
    with cluster, Client(cluster) as client:
        yield client


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes started meanwhile ignore Ctrl-C, which ends this process; it then ends them."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def run_shards(
    client: Client,
    design: Design,
    shards: list[Shard],
    report: Callable[[int, int], None],
) -> list[Result]:
    """Results of all shards, in their order.

    `report(first, images)` is told, from another thread, how many images are done of the shard that
    begins with image `first`; 0 again where its worker died and it starts anew. Raises what a shard
    raised.
    """
    from distributed import as_completed

    client.subscribe_topic(TOPIC, lambda event: report(*event[1]))
    # The design is the same for all, so it travels once to each worker, not with each shard. Unlike
    # scattered data, the result of a task is made again should every worker that holds it die.
    remote = client.submit(_itself, design, pure=False)
    futures = [client.submit(_run, remote, shard, pure=False) for shard in shards]
    try:
        for future in as_completed(futures):
            report(shards[futures.index(future)].first, len(future.result().logits))
    except BaseException:
        client.cancel(futures, force=True)
        raise
    finally:
        client.unsubscribe_topic(TOPIC)
    return [future.result() for future in futures]


def _itself(design: Design) -> Design:
    return design


def _run(design: Design, shard: Shard) -> Result:
    from distributed import get_worker

    worker = get_worker()
    worker.log_event(TOPIC, (shard.first, 0))
    return run(design, shard, lambda done: worker.log_event(TOPIC, (shard.first, done)))


def cores() -> int:
    """Processor cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
