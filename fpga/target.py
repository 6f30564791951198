"""Options that say for which board, and how, a network is folded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from convstream.fpga.boards import BOARDS
from convstream.model.base.commands import COUNT, Positive

board = click.option("--board", required=True, help=", ".join(BOARDS) + ".")
clock = click.option("--clock", type=Positive(), metavar="MHZ", help="Of the network.")
_device = click.option("--device", help="Another chip than the usual one, such as 25f.")
_cycles = click.option("--cycles", type=COUNT, help="Cycles an image.  [default: the fewest]")


def folding(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options `device` and `cycles`."""
    return _device(_cycles(function))
