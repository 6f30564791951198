"""Options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from convstream.model.base.commands import COUNT
from convstream.model.base.errors import UserError

count = click.option("-n", "--n", type=COUNT, metavar="N", help="Number of images.")
simulator = click.option("--sim", default="verilator", help="verilator or icarus.")


def networks(function: Callable[..., int]) -> Callable[..., int]:
    """Hand on the names as the list `networks`: all of them, where the command line has none."""

    @click.argument("networks", nargs=-1, metavar="[NET]...")
    @click.option("--net", metavar="NETS", help="The same in one word, with commas.")
    @functools.wraps(function)
    def with_names(networks: tuple[str, ...], net: str | None, **options: Any) -> int:
        names = list(networks) or ["all"]
        if net is not None:
            # A folder's name may hold spaces.
            names = [net] if net and Path(net).is_dir() else net.replace(",", " ").split()
        return function(networks=names, **options)

    return with_names


def only(names: list[str]) -> str:
    """The one network of a command that takes one."""
    if len(names) != 1 or names == ["all"]:
        raise UserError("expected one network, such as lenet5")
    return names[0]
