"""Random networks through all of the system; those that once failed; how those are found.

`make fuzz` does the same with many more: see fuzz.py.
"""

from __future__ import annotations

import itertools
import math
import re
import shutil
from functools import partial
from pathlib import Path

import pytest
from fuzz import REGRESSIONS, RTL, Failure, check, hunt, load, save
from random_networks import Case

from convstream.model.network.layers import Conv

CASES = 25


@pytest.mark.parametrize("index", range(CASES))
def test_random_network(index: int, fresh_seed: str) -> None:
    seed = f"{fresh_seed}/{index}"
    found = hunt(seed, check, shrink=False)
    if isinstance(found, Failure):
        pytest.fail(
            f"{found.message}\nto find the smallest such network: make fuzz N={CASES} "
            f"SEED={fresh_seed}",
            pytrace=False,
        )


@pytest.mark.parametrize("path", sorted(REGRESSIONS.glob("*.json")), ids=lambda path: path.stem)
def test_regression(path: Path) -> None:
    check(load(path))


def test_a_failure_is_shrunk() -> None:
    """A fault that only shows with some layer: what is left is that layer and what it needs.

    Hypothesis ends where no single change makes a case smaller. A block of a graph is a join and
    what it joins, so two layers more may stay.
    """

    def faulty(case: Case) -> None:
        layers = case.quantised.network.layers
        assert not any(
            isinstance(layer, Conv) and layer.window.kernel[0] >= 3 for layer in layers
        ), "wrong"

    found = (hunt(f"1/{index}", faulty) for index in range(60))
    failures = itertools.islice((case for case in found if isinstance(case, Failure)), 6)
    shrunk = [failure.case for failure in failures]
    assert all(len(case.quantised.network.layers) <= 3 for case in shrunk)
    smallest = [
        case
        for case in shrunk
        if case.quantised.network.layers == (Conv(1, 3, 1, 1),)
        and math.prod(case.quantised.network.input_shape) <= 2
        and case.folded.multipliers == 1
    ]
    assert len(smallest) >= 2


def test_a_failure_becomes_a_regression(tmp_path: Path) -> None:
    """A fault planted in the Verilog fails again, and only there, when read from the file."""
    rtl = tmp_path / "rtl"
    shutil.copytree(RTL, rtl)
    clamp = (rtl / "clamp_code.v").read_text()
    assert "? HIGH[7:0]" in clamp
    (rtl / "clamp_code.v").write_text(clamp.replace("? HIGH[7:0]", "? 8'd254"))
    found = (hunt(f"1/{index}", partial(check, rtl=rtl), shrink=False) for index in range(20))
    failure = next(failure for failure in found if isinstance(failure, Failure))
    path = save(failure.case, failure.message, tmp_path / "regressions")
    check(load(path))
    with pytest.raises(AssertionError) as again:
        check(load(path), rtl)
    assert str(again.value).splitlines()[0] == failure.message
    assert re.match(r"image \d: (logit of class \d+|class): RTL -?\d", failure.message)
