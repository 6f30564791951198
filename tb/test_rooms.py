"""The house: imports point down, files are short, only a layer's own place asks what it is."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PYTHON = sorted(path for room in ("model", "sim", "fpga") for path in (ROOT / room).rglob("*.py"))
VERILOG = sorted(path for room in ("rtl", "fpga/rtl") for path in (ROOT / room).glob("*.v"))
# From the ground up; rooms on one floor do not know each other.
FLOORS = (
    ("convstream.model.base",),
    ("convstream.model.network",),
    ("convstream.model.learning", "convstream.model.formats", "convstream.model.hardware"),
    ("convstream.model",),
    ("convstream.sim",),
    ("convstream.fpga",),
)
# Where a layer is read, written, computed or built.
PLACES = ("model/network/layers/", "model/hardware/layers/", "model/formats/")
ASKS = re.compile(
    r"isinstance\([^()]*,\s*\(?(?:\w+\.)*(?:Conv|Linear|MaxPool|AvgPool|Add|Concat|Table|Upsample)\b|(?<!dtype)\.kind\s*(?:==|!=|in\b)"
)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    return ".".join(("convstream", *path.relative_to(ROOT).with_suffix("").parts))


def room(module: str) -> str:
    rooms = [room for floor in FLOORS for room in floor]
    return max((r for r in rooms if f"{module}.".startswith(f"{r}.")), key=len, default="")


def imports(path: Path) -> Iterator[str]:
    """Modules of this project that a file imports, at any place in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                folder = ROOT / whole.replace(".", "/")
                yield (
                    whole if folder.is_dir() or folder.with_suffix(".py").is_file() else node.module
                )


@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_imports_point_down(path: Path) -> None:
    floor_of = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
    own = room(module_of(path))
    for module in imports(path):
        other = room(module)
        if other and other != own:
            assert floor_of[other] < floor_of[own], f"{name(path)} imports {module}"


def test_no_circle() -> None:
    modules = {module_of(path): path for path in PYTHON}
    graph = {module: set(imports(path)) & modules.keys() for module, path in modules.items()}
    while graph:
        free = [module for module, wanted in graph.items() if not wanted & graph.keys()]
        assert free, f"a circle among {', '.join(sorted(graph))}"
        for module in free:
            del graph[module]


@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_nobody_else_asks_which_layer_it_is(path: Path) -> None:
    if not name(path).startswith(PLACES):
        assert not ASKS.findall(path.read_text()), name(path)


@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_no_module_has_the_name_of_one_of_python(path: Path) -> None:
    """A script's folder is searched first."""
    assert path.stem not in sys.stdlib_module_names


@pytest.mark.parametrize("path", [*PYTHON, *VERILOG], ids=name)
def test_files_are_short(path: Path) -> None:
    most = 300 if path.suffix == ".v" else 400
    lines = len(path.read_text().splitlines())
    assert lines <= most, f"{name(path)} has {lines} lines"
