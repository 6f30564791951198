"""Options, markers and the `simulate` fixture of the test benches."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator

import extras
import pytest
import runner


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", default=os.environ.get("SEED"), help="seed of all random tests")


def pytest_configure(config: pytest.Config) -> None:
    # The workers of pytest-xdist get these options from the process that starts them.
    if not hasattr(config.option, "fresh_seed"):
        config.option.fresh_seed = config.option.seed or str(secrets.randbelow(10**6))
        config.option.seed = config.option.seed or "1"


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    with extras.skip_files():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Iterator[None]:
    with extras.skip_tests():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    with extras.skip_tests():
        return (yield)


def pytest_report_header(config: pytest.Config) -> str:
    options = config.option
    return (
        f"seed: {options.seed}, of the random networks: {options.fresh_seed} "
        "(change both with --seed or SEED)"
    )


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> str:
    """The seed of the run, a string."""
    return request.config.getoption("seed")


@pytest.fixture
def fresh_seed(request: pytest.FixtureRequest) -> str:
    """Another one in each run, unless one is given."""
    return request.config.getoption("fresh_seed")


@pytest.fixture
def simulate(request: pytest.FixtureRequest, seed: str):
    """`runner.simulate` with the seed of the run and the calling test file filled in."""

    def call(module: str, **arguments) -> None:
        runner.simulate(module, request.module.__name__, seed=seed, **arguments)

    return call
