"""Compile a network and its harness for a simulator, once: the result is cached by content."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from convstream.model.base.errors import ToolError, UserError
from convstream.model.base.folders import check_room, scratch, temporary
from convstream.sim import tools
from convstream.sim.design import Design

# Verilog's delays run on Verilator's coroutines, hence C++20. Nothing but the harness's own signals
# is public, so all of the network can be optimised.
VERILATOR_FLAGS = (
    "--cc --exe --timing --vpi -O3 --x-assign fast --x-initial fast --noassert -Wno-fatal "
    "--top-module harness --prefix Vtop -o simulator -CFLAGS -std=c++20"
).split()
# The wheel was not configured for any compiler, so it lacks g++'s option for precompiled headers.
MAKE_FLAGS = ["OPT_FAST=-O2", "OPT_SLOW=-O0", "OPT_GLOBAL=-O2", "CFG_CXXFLAGS_PCH_I=-include"]
ICARUS_FLAGS = "-g2005 -s harness".split()
# Objects of Verilator's own library and of cocotb's main loop: the same for every network.
_RUNTIME = re.compile(r"verilat(ed.*|or)\.o")


def simulator_version(simulator: str) -> str:
    """What identifies the tools a build was made with."""
    if simulator == "icarus":
        command = ["iverilog", "-V"]
        text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        return text.splitlines()[0] if text else ""
    packages = ("verilator", "cocotb")
    return " ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)


def key(design: Design, simulator: str, waves: bool) -> str:
    """Hash over all that compiling depends on; the contents of `.mem` files are not among it."""
    flags = ICARUS_FLAGS if simulator == "icarus" else [*VERILATOR_FLAGS, *MAKE_FLAGS]
    content = json.dumps(
        [
            simulator,
            simulator_version(simulator),
            platform.machine(),
            flags,
            waves,
            design.optimised,
            design.macros,
            sorted(design.sources.items()),
        ]
    )
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def executable(design: Design, simulator: str, waves: bool, root: Path) -> Path:
    """Where the compiled simulation lies, or will lie, under `root`."""
    variant = f"{simulator}-waves" if waves else simulator
    folder = root / variant / key(design, simulator, waves)
    return folder / ("simulator.vvp" if simulator == "icarus" else "simulator")


def build(
    design: Design,
    simulator: str,
    waves: bool,
    root: Path,
    *,
    jobs: int | None = None,
    shared: Path | None = None,
) -> Path:
    """Compile, unless that has been done, and return the executable (`.vvp` for Icarus).

    root: the network's folder for builds; only the newest build of each kind stays there.
    shared: where the parts lie that all networks share, by default beside `root`. jobs: compilers
    at once. Raises `UserError` where a tool is missing, `ToolError` with its words where it fails.
    """

    def make(work: Path) -> Path:
        tools.check(simulator)
        source = work / "source"
        source.mkdir()
        for name, text in design.sources.items():
            (source / name).write_text(text, encoding="utf-8")
        if simulator == "icarus":
            return _icarus(design, work, waves)
        return _verilator(design, work, waves, shared or root.parent, jobs)

    return once(executable(design, simulator, waves, root), make)


def once(target: Path, make: Callable[[Path], Path]) -> Path:
    """Make `target` unless it exists, and return it.

    make: builds it, and a `log.txt`, in the folder that it is given, and returns its path.
    `target` lies in a folder of its own; only the newest of these folders stays.
    """
    if target.is_file():
        return target
    shutil.rmtree(target.parent, ignore_errors=True)  # of an interrupted build
    variant = target.parent.parent
    with scratch(variant, ".build-") as work:
        made = make(work)
        finished = work / "finished"
        finished.mkdir()
        made.rename(finished / target.name)
        shutil.copy(work / "log.txt", finished / "log.txt")
        try:
            finished.rename(target.parent)
        except OSError:
            # Another process was quicker; its result is the same.
            if not target.is_file():
                raise
    for other in variant.iterdir():
        if other != target.parent and not other.name.startswith("."):
            shutil.rmtree(other, ignore_errors=True)
    return target


def _icarus(design: Design, work: Path, waves: bool) -> Path:
    macros = [f"-D{name}={value}" for name, value in design.macros.items()]
    made = work / "simulator.vvp"
    if waves:
        macros.append("-DWAVES")
    command = ["iverilog", *ICARUS_FLAGS, *macros, "-o", str(made), *_sources(design, work)]
    _run(command, work, work / "log.txt", f"{design.name} for icarus", {})
    return made


def _verilator(design: Design, work: Path, waves: bool, shared: Path, jobs: int | None) -> Path:
    from cocotb_tools import config

    macros = [f"-D{name}={value}" for name, value in design.macros.items()]
    return verilate(
        [*VERILATOR_FLAGS, *(["--trace"] if waves else [])],
        ["-LDFLAGS", "-L../libraries -lcocotbvpi_verilator", *macros, *_sources(design, work)],
        config.share_dir / "lib" / "verilator" / "verilator.cpp",
        work,
        shared,
        design.name,
        jobs=jobs,
        libraries=config.libs_dir,
        options=[] if design.optimised else ["OPT_FAST=-O0"],
    )


def verilate(
    flags: list[str],
    arguments: list[str],
    main: Path,
    work: Path,
    shared: Path,
    name: str,
    *,
    jobs: int | None = None,
    libraries: Path | None = None,
    options: list[str] | None = None,
) -> Path:
    """Compile with Verilator; returns the executable, in `work`. name: in complaints.

    flags: `-o simulator --prefix Vtop`, and everything that Verilator's own library depends on.
    arguments: the rest of the command line. main: the C++ of the main loop. shared: where that
    library's objects are kept. libraries: a folder that the linker sees as ../libraries. options:
    of make.
    """
    number = str(jobs or os.cpu_count() or 1)
    log, what = work / "log.txt", f"{name} for verilator"
    # What a makefile names must have no space in its path, so all that it sees is relative.
    settings = {"VERILATOR_ROOT": "../verilator"}
    with _without_space(work) as place:
        objects = place / "objects"
        objects.mkdir()
        (place / "verilator").symlink_to(tools.verilator_package())
        if libraries is not None:
            (place / "libraries").symlink_to(libraries)
        shutil.copyfile(main, place / main.name)
        # Nor may it depend on the Verilog, wherever that is: hence no list of dependencies.
        command = [_program(), *flags, "--no-MMD", "--build-jobs", number, "-Mdir", "."]
        _run([*command, f"../{main.name}", *arguments], objects, log, what, settings)
        # The library takes longer to compile than a small network: share its objects.
        runtime = _runtime_folder(shared, flags)
        for made in runtime.glob("*.o"):
            shutil.copyfile(made, objects / made.name)
        command = ["make", "-f", "Vtop.mk", "-j", number, *MAKE_FLAGS, *(options or [])]
        _run(command, objects, log, what, settings)
        _keep_runtime(objects, runtime)
        return Path(shutil.move(objects / "simulator", work / "simulator"))


def _program() -> str:
    """Verilator, without its wrapper where that would call it by a path that a shell splits."""
    return "verilator_bin" if re.search(r"\s", str(tools.verilator_package())) else "verilator"


@contextmanager
def _without_space(work: Path) -> Iterator[Path]:
    """A folder that Verilator's makefile takes: `work`, or else a temporary one."""
    with ExitStack() as stack:
        if re.search(r"\s", str(work.resolve())):
            work = stack.enter_context(scratch(temporary(), "convstream-make-"))
        if re.search(r"\s", str(work.resolve())):
            raise UserError(f"{work}: make takes no path with spaces; set TMPDIR to another folder")
        yield work


def _sources(design: Design, work: Path) -> list[str]:
    # The harness first: the others inherit its time scale.
    names = sorted(design.sources, key=lambda name: (name != "harness.v", name))
    return [str(work / "source" / name) for name in names]


def _runtime_folder(shared: Path, flags: list[str]) -> Path:
    content = [simulator_version("verilator"), platform.machine(), flags, MAKE_FLAGS]
    text = json.dumps(content)
    return shared / f".runtime-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _keep_runtime(objects: Path, runtime: Path) -> None:
    if runtime.is_dir():
        return
    with suppress(OSError), scratch(runtime.parent, ".keep-") as work:
        kept = work / "kept"
        kept.mkdir()
        for made in objects.glob("*.o"):
            if _RUNTIME.fullmatch(made.name):
                shutil.copyfile(made, kept / made.name)
        kept.rename(runtime)


def _run(command: list[str], work: Path, log: Path, what: str, settings: dict[str, str]) -> None:
    """Run a compiler in `work`, with `settings` in its environment; its words go to `log`.

    what: is compiled, and for which simulator.
    """
    environment = tools.build_environment(what.rpartition(" ")[2]) | settings
    program = shutil.which(command[0], path=environment["PATH"]) or command[0]
    with log.open("a", encoding="utf-8") as file:
        done = subprocess.run(
            [program, *command[1:]],
            cwd=work,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        check_room(work, temporary())
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        shown = [line for line in lines if re.search(r"error", line, re.IGNORECASE)][:10]
        tail = "\n".join(shown or lines[-20:])
        raise ToolError(f"compiling {what} failed:\n{tail}")
