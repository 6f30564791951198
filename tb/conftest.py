"""Options, markers and the `simulate` fixture of the test benches."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

import runner  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", default=os.environ.get("SEED", "1"), help="seed of all random tests")


def pytest_report_header(config: pytest.Config) -> str:
    return f"seed: {config.getoption('seed')} (change it with --seed or SEED)"


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> str:
    """The seed of the run, a string."""
    return request.config.getoption("seed")


@pytest.fixture
def simulate(request: pytest.FixtureRequest, seed: str):
    """`runner.simulate` with the seed of the run and the calling test file filled in."""

    def call(module: str, **arguments) -> None:
        runner.simulate(module, request.module.__name__, seed=seed, **arguments)

    return call
