"""One clear line for a user's mistake, exit code 2, never a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable


class UserError(Exception):
    """What is wrong, what was expected and how to mend it, in one line."""


def run(main: Callable[[], int | None]) -> None:
    """Run a command's `main` and exit: its return value, 2 on a `UserError`, 130 on Ctrl-C."""
    try:
        sys.exit(main() or 0)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
