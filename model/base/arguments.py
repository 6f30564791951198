"""Values of the command line: what cannot be one is a `UserError` that names its option."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

from model.base.errors import UserError

Number = TypeVar("Number", int, float)


def positive(option: str, kind: type[Number] = int) -> Callable[[str], Number]:
    """A reader of positive numbers, for the `type` of an argparse option.

    option: what messages call it. kind: `int` or `float`; infinity is no number.
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
