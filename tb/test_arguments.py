"""Numbers on the command line, and scripts that start from it."""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
from pathlib import Path

import pytest

from convstream.model.base.arguments import positive
from convstream.model.base.errors import UserError

MODEL = Path(__file__).resolve().parents[1] / "model"
SCRIPTS = sorted(path.name for path in MODEL.glob("*.py") if "__main__" in path.read_text())


@pytest.mark.parametrize(("text", "value"), [("1", 1), ("10000", 10_000)])
def test_whole_numbers(text, value):
    found = positive("N")(text)
    assert found == value and type(found) is int


@pytest.mark.parametrize(("text", "value"), [("2", 2.0), ("0.25", 0.25), ("1e3", 1000.0)])
def test_other_numbers(text, value):
    found = positive("CLOCK", float)(text)
    assert found == value and type(found) is float


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "", "inf", "nan", "0x10"])
def test_no_whole_number_above_0(text):
    with pytest.raises(UserError) as caught:
        positive("N")(text)
    assert str(caught.value) == f"N={text}: expected a whole number of at least 1"


@pytest.mark.parametrize("text", ["0", "-0.5", "fast", "", str(math.inf), str(math.nan)])
def test_no_number_above_0(text):
    with pytest.raises(UserError) as caught:
        positive("--timeout", float)(text)
    assert str(caught.value) == f"--timeout={text}: expected a number above 0"


def test_argparse_passes_the_line_on(capsys):
    """Neither the usage nor argparse's own words come before it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=positive("--n"), default=7)
    assert parser.parse_args([]).n == 7
    assert parser.parse_args(["--n", "3"]).n == 3
    with pytest.raises(UserError, match="--n=0: expected"):
        parser.parse_args(["--n", "0"])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_script_takes_a_module_of_its_folder_for_one_of_python(script):
    """Python puts a script's folder first, where names such as inspect.py would shadow its own."""
    command = [sys.executable, str(MODEL / script), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout
