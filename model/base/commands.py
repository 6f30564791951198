"""Commands of the command line, by click: a module's `main` is one, and its docstring the help.

Called with a list of arguments, or with None for those of the process, a command returns its exit
code. What is wrong with them is a `UserError`.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from convstream.model.base.errors import UserError

COUNT = click.IntRange(min=1)
PERCENTAGE = click.IntRange(0, 99)
SETTINGS = {"help_option_names": ["-h", "--help"], "show_default": True}


class Positive(click.FloatRange):
    """A finite number above 0."""

    name = "number"

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Raises click's error where `value` is none."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no finite number.", param, ctx)
        return number


class Command(click.Command):
    """A command that returns its exit code, and whose mistakes are `UserError`."""

    def __call__(self, arguments: Sequence[str] | None = None) -> int:
        """Run it. arguments: by default those of the process."""
        given = sys.argv[1:] if arguments is None else arguments
        try:
            with self.make_context(self.path, list(given)) as context:
                return self.invoke(context) or 0
        except click.exceptions.Exit as end:
            return end.exit_code
        except click.ClickException as error:
            raise UserError(_shorten(error.format_message())) from None

    @property
    def path(self) -> str:
        """What the user types."""
        return self.name if self.name == "convstream" else f"convstream {self.name}"

    def parse(self, arguments: Sequence[str]) -> dict[str, Any]:
        """The values of all options, by name."""
        return self.make_context(self.path, list(arguments)).params


class Group(Command, click.Group):
    """A command with commands of its own."""


def command(name: str, text: str) -> Callable[[Callable[..., Any]], Command]:
    """Make a function the command `convstream NAME`. text: the module's docstring, its help."""
    return click.command(name, cls=Command, help=help_of(text), context_settings=SETTINGS)


def group(name: str, text: str) -> Callable[[Callable[..., Any]], Group]:
    """Make a function that runs before each command of a group."""
    return click.group(name, cls=Group, help=help_of(text), context_settings=SETTINGS)


def help_of(text: str) -> str:
    """A docstring for click, which fills all paragraphs but those it is told to leave alone."""
    return re.sub(r"\n\n(?=    )", "\n\n\b\n", text)


def _shorten(message: str) -> str:
    """click's message without a full stop, in one line."""
    return " ".join(message.split()).rstrip(".")
