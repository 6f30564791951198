"""One clear line for a user's mistake, or a failing tool's own words; never a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable


class UserError(Exception):
    """What is wrong, what was expected and how to mend it, in one line."""


class ToolError(Exception):
    """A simulator, compiler or synthesiser failed: its own words."""


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
