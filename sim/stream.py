"""The cocotb test: lets the harness stream a shard of images and compares every logit.

The simulation drives and records by itself. This test is woken a few times in a shard, to report
progress, and at the end reads what was recorded. Its job is the pickled `Job` that the environment
variable CONVSTREAM_JOB names.
"""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path

import cocotb
from cocotb.triggers import ValueChange

from model.network import reference
from sim.collect import collect, compare
from sim.shard import Job, Outcome


@cocotb.test()
async def stream(dut) -> None:
    """Every logit and class of the shard equals the reference's."""
    with Path(os.environ["CONVSTREAM_JOB"]).open("rb") as file:
        job: Job = pickle.load(file)
    progress = job.scratch / "progress"
    started = time.monotonic()
    while True:
        await ValueChange(dut.progress)
        if os.getppid() != job.parent:
            raise RuntimeError("the process that started this simulation is gone")
        if not dut.images_out.value.is_resolvable:
            continue
        progress.write_text(str(int(dut.images_out.value)))
        if str(dut.done.value) == "1":
            break
    seconds = time.monotonic() - started

    collected = collect(job.design, job.count, job.scratch / "logits", job.scratch / "starts")
    if str(dut.stuck.value) == "1":
        collected.problems.append(
            f"the pipeline stands still after {int(dut.images_out.value)} of {job.count} images"
        )
    # The harness counts an X as an error, too.
    if int(dut.frame_errors.value):
        collected.problems.append(f"frame_error on {int(dut.frame_errors.value)} cycles")
    expected = reference.predict(job.design.read_network(job.folder), job.images, threads=1)
    mismatches = compare(job.design, collected, expected)
    with (job.scratch / "outcome").open("wb") as file:
        stalls = int(dut.stalls.value) if dut.stalls.value.is_resolvable else 0
        pickle.dump(Outcome(collected, expected, mismatches, stalls, seconds), file)
    complaints = [*collected.problems, *map(str, mismatches[:3])]
    assert not complaints, "; ".join(complaints)
