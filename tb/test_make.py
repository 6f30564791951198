"""What `make` does with its variables."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def make(*arguments: str, dry: bool = True, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    command = ["make", "--no-print-directory", *(["--dry-run"] if dry else []), *arguments]
    # As typed, not as a part of the `make` that may have started these tests.
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", ["LABEL", "IMAGE", "net"])
def test_an_unknown_variable_is_refused(name: str) -> None:
    done = make("sim", f"{name}=x")
    assert done.returncode == 2
    assert f"unknown variable {name}=; expected one of NET " in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("value", ["it's/", 'a "b" c', "a b", "x;y"])
def test_values_reach_the_command_as_they_are(value: str) -> None:
    done = make("sim", f"IMAGES={value}", "N=5")
    assert done.returncode == 0
    line = next(line for line in done.stdout.splitlines() if "--images" in line)
    shown = line.split("--images", 1)[1].rstrip("\\ ")
    said = subprocess.run(
        ["bash", "-c", f"printf %s {shown}"], capture_output=True, text=True, check=True
    )
    assert said.stdout == value


@pytest.mark.parametrize("target", ["test", "mutate", "coverage"])
def test_tests_in_a_path_with_spaces_are_refused_before_the_set_up(target, tmp_path) -> None:
    place = tmp_path / "My Projects"
    place.mkdir()
    (place / "Makefile").write_text((ROOT / "Makefile").read_text())
    done = make(target, dry=False, cwd=place)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {place}: the tests need a checkout without spaces")
    assert [path.name for path in place.iterdir()] == ["Makefile"]


def test_environment_variables_of_other_names_do_no_harm(monkeypatch) -> None:
    monkeypatch.setenv("LABEL", "x")
    monkeypatch.setenv("DATA", "/somewhere")
    done = make("sim")
    assert done.returncode == 0
    assert "/somewhere" not in done.stdout


@pytest.mark.parametrize("target", ["sim", "compare", "report", "sim-netlist"])
def test_data_of_ones_own(target: str) -> None:
    options = {"DATA": "my data", "LABELS": "y.npy", "CLASSES": "names.txt", "LAYOUT": "nhwc"}
    done = make(target, *(f"{name}={value}" for name, value in options.items()))
    assert done.returncode == 0
    for name, value in options.items():
        assert f"--{name.lower()} '{value}'" in done.stdout
