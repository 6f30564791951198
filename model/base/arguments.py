"""Numbers on the command line; an invalid one is a `UserError` that names its option."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

from convstream.model.base.errors import UserError

Number = TypeVar("Number", int, float)


def positive(option: str, kind: type[Number] = int) -> Callable[[str], Number]:
    """The `type` of an argparse option that takes a positive, finite number.

    option: its name in messages. kind: `int` or `float`.
    """

    def read(text: str) -> Number:
        try:
            value = kind(text)
        except ValueError:
            value = kind()
        if not 0 < value < math.inf:
            expected = "a whole number of at least 1" if kind is int else "a number above 0"
            raise UserError(f"{option}={text}: expected {expected}")
        return value

    return read
