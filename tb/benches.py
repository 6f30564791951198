"""What the benches simulate, without simulating it: for linting and planting faults.

Their tests run in pytest as usual, but what `simulate` is told is written down and goes no further.
"""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import pytest
from runner import TB

from convstream.model.base.errors import ToolError

SEED = "1"  # of the benches, as `make test` has it


@dataclass(frozen=True)
class Bench:
    """A case of a bench, with all that `runner.simulate` is told of it.

    tests: Python modules with cocotb tests. chosen: regular expressions for their names.
    """

    file: str
    top: str
    name: str
    parameters: dict
    macros: dict
    sources: tuple[Path, ...]
    files: dict[str, str]
    tests: str
    chosen: tuple[str, ...]

    @property
    def case(self) -> dict:
        """What the simulator's process is told of it."""
        return {
            "bench": self.file,
            "parameters": self.parameters,
            "macros": self.macros,
            "seed": f"{SEED}/{self.top}/{self.name}",
        }


class _Recorder:
    """A pytest plugin: the benches say what they would simulate, and do not."""

    def __init__(self) -> None:
        self.benches: dict[str, Bench] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if "simulate" in getattr(item, "fixturenames", ())]

    def simulate(self, module: str, bench: str, *, simulator: str, name: str, **others) -> None:
        """Stands in for `runner.simulate`; tests of the same netlist are brought together."""
        others = {"macros": {}, "sources": (), "files": {}, "tests": "bench_stream"} | others
        for unused in ("seed", "facts"):
            others.pop(unused, None)
        chosen = (others.pop("only", ""),)
        key = json.dumps([module, others["parameters"], others["macros"]])
        if key in self.benches:
            found = self.benches[key]
            self.benches[key] = replace(found, chosen=(*{*found.chosen, *chosen},))
        else:
            self.benches[key] = Bench(bench, module, name, chosen=chosen, **others)


def find() -> list[Bench]:
    """What the tests in tb/ simulate, but for the slow ones and random parameters."""
    files = [path for path in sorted(TB.glob("test_*.py")) if "simulate(" in path.read_text()]
    recorder = _Recorder()
    arguments = ["-q", "-m", "not slow", "-k", "not random", "-p", "no:cacheprovider"]
    arguments += ["--assert=plain"]
    words = io.StringIO()
    with mock.patch("runner.simulate", recorder.simulate), contextlib.redirect_stdout(words):
        status = pytest.main([*arguments, "--seed", SEED, *map(str, files)], plugins=[recorder])
    if status:
        raise ToolError(f"cannot collect the benches:\n{words.getvalue()[-2000:]}")
    return list(recorder.benches.values())
