"""The cocotb test: lets the harness stream the images of a shard, and hands on what it counted.

The simulation drives and records by itself. This test is woken a few times in a shard, to report
progress; at the end it reads the harness's counters. All of its files lie in the folder that the
environment variable CONVSTREAM_SCRATCH names. CONVSTREAM_PARENT is the process to work for.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import cocotb
from cocotb.triggers import ValueChange


@cocotb.test()
async def stream(dut: Any) -> None:
    """Every image goes in, and comes out."""
    scratch = Path(os.environ["CONVSTREAM_SCRATCH"])
    parent = int(os.environ["CONVSTREAM_PARENT"])
    started = time.monotonic()
    while True:
        await ValueChange(dut.progress)
        if os.getppid() != parent:
            raise RuntimeError("the process that started this simulation is gone")
        if not dut.images_out.value.is_resolvable:
            continue
        (scratch / "progress").write_text(str(int(dut.images_out.value)))
        if str(dut.done.value) == "1":
            break
    counters = {
        "seconds": time.monotonic() - started,
        "images_out": int(dut.images_out.value),
        "stuck": str(dut.stuck.value) == "1",
        # The harness counts an X as an error, too.
        "frame_errors": int(dut.frame_errors.value),
        "stalls": int(dut.stalls.value) if dut.stalls.value.is_resolvable else 0,
    }
    (scratch / "counters").write_text(json.dumps(counters))
    assert not counters["stuck"] and not counters["frame_errors"], counters
