"""Errors that end a command in one line instead of a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable


class UserError(Exception):
    """A user's mistake: one line that says what is wrong, what was expected and how to fix it."""


class ToolError(Exception):
    """A simulator, compiler or synthesiser failed; the message is the tool's own."""


def run(main: Callable[[], int | None]) -> None:
    """Run a command's `main` and exit: 2 on a `UserError`, 1 on a `ToolError`, 130 on Ctrl-C."""
    try:
        sys.exit(main() or 0)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except ToolError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
