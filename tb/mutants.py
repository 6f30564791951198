"""Runs a bench on one mutant after the other, in one start of the simulator.

The first of cocotb's test modules: it holds no test itself. When it is imported, at time 0, the
simulator's process forks for each mutant; the child runs the tests of the modules that follow.
The netlist (tb/mutate.py) has the input `mutant`: the number of the fault that is switched on.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
from pathlib import Path

import cocotb

# CPU time that a mutant may take: what the sound netlist takes, so many times, and seconds more.
# One that needs longer hangs.
PATIENCE, LEAST_S = 4, 2


def _run_all(count: int) -> None:
    """Fork for mutants 0 (no fault) to `count`; returns in the children alone."""
    limit = 0.0
    for mutant in range(count + 1):
        child = os.fork()
        if not child:
            os.environ["COCOTB_RESULTS_FILE"] = f"{mutant}.xml"
            signal.signal(signal.SIGPROF, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_PROF, limit)
            cocotb.top.mutant.value = mutant
            return
        _, status, usage = os.wait4(child, 0)
        if mutant == 0:
            limit = PATIENCE * (usage.ru_utime + usage.ru_stime) + LEAST_S
        elif os.WIFSIGNALED(status):
            Path(f"{mutant}.xml").write_text("")
    os._exit(0)


# What the children share is imported once.
for name in os.environ["COCOTB_TEST_MODULES"].split(",")[1:]:
    importlib.import_module(name)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
_run_all(json.loads(Path("mutants.json").read_text()))
