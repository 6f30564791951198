"""The command line: one definition of each command, in one line what is wrong, and quick help."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import click
import pytest

from convstream import __main__ as program
from convstream import versions
from convstream.model.base.commands import COUNT, Command, Positive
from convstream.model.base.errors import UserError
from convstream.model.base.places import PACKAGE

SCRIPTS = sorted(
    path.name for path in (PACKAGE / "model").glob("*.py") if "__main__" in path.read_text()
)


def call(*arguments: str, cwd: Path = PACKAGE) -> subprocess.CompletedProcess:
    """The outcome of `python ...`."""
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )


@click.command(cls=Command)
@click.option("--n", type=COUNT)
@click.option("--clock", type=Positive())
def example(n: int | None, clock: float | None) -> int:
    return int(n == 3)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "", "inf", "0x10"])
def test_no_whole_number_above_0(text):
    with pytest.raises(UserError, match="Invalid value for '--n'"):
        example(["--n", text])


@pytest.mark.parametrize("text", ["0", "-0.5", "fast", "", "inf", "nan"])
def test_no_number_above_0(text):
    with pytest.raises(UserError, match="Invalid value for '--clock'"):
        example(["--clock", text])


def test_exit_codes_and_values():
    assert example([]) == 0
    assert example(["--n", "3"]) == 1
    assert example(["--help"]) == 0
    assert example.parse(["--clock", "1e3"]) == {"n": None, "clock": 1000.0}


@pytest.mark.parametrize("name", program.COMMANDS)
def test_each_command_is_that_of_its_module(name, capsys):
    """Its help is the module's docstring with an example, and it is called by its own name."""
    main = importlib.import_module(program.COMMANDS[name]).main
    assert program.cli([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == shown
    assert shown.startswith(f"Usage: convstream {name} ")
    assert f"\n      convstream {name} " in shown or f"\n      convstream {name}\n" in shown


@pytest.mark.parametrize("arguments", [["-m", "convstream"], *([f"model/{s}"] for s in SCRIPTS)])
def test_scripts(arguments):
    """Python puts a script's folder first, where a module could shadow one of Python's own."""
    done = call(*arguments, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: convstream ")


def test_help_imports_no_command():
    code = (
        "import sys; from convstream.__main__ import cli; cli(['--help']); "
        "assert not {'numpy', 'onnx', 'rich'} & sys.modules.keys()"
    )
    done = call("-c", code)
    assert done.returncode == 0, done.stderr
    for name in (*program.COMMANDS, "bug-report"):
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["sim", "--nonsense"], "No such option '--nonsense'"),
        (["sim", "--n", "0"], "0 is not in the range"),
        (["build", "lenet5"], "Missing option '--board'"),
        (["export"], "Missing argument 'NET|FILE|FILE.py:NAME'"),
        (["host", "identify"], "no port given"),
        (["evaluate", "lenet5", "--data", "nowhere/"], "nowhere: no such file or folder"),
        (["train", "nowhere.toml", "--data", "nowhere/"], "nowhere.toml is missing"),
    ],
)
def test_mistakes_are_one_line(arguments, words):
    done = call("-m", "convstream", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert words in done.stderr


def test_a_module_that_is_not_installed(monkeypatch):
    """Boards need an extra; so says a line."""
    monkeypatch.setitem(sys.modules, "serial", None)
    for name in ("convstream.fpga.link", "convstream.fpga.host"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(UserError, match=r"convstream host needs the module serial.*\[fpga\]"):
        program.cli(["host", "--port", "x", "identify"])


def test_versions(capsys):
    """Of every tool, or that it is missing; the block to paste has the system, too."""
    assert program.cli(["--version"]) == 0
    shown = capsys.readouterr().out
    first, *others = shown.splitlines()
    assert first.split() == ["convstream", versions.package("convstream")]
    assert [line.split()[0] for line in others[1:]] == [*versions.PACKAGES, *versions.PROGRAMS]
    assert program.cli(["bug-report"]) == 0
    pasted = capsys.readouterr().out
    assert pasted.startswith(f"```text\n{shown}system ") and pasted.endswith("\n```\n")
    assert versions.package("nonesuch") == versions.program("nonesuch", "-V") == "not installed"
    assert versions.program("make", "--version")[0].isdigit()
