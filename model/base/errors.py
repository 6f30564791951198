"""Errors that end a command in one line instead of a traceback."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

# Errors of the system that no change of the program mends.
SURROUNDINGS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.ENAMETOOLONG,
}


class UserError(Exception):
    """A user's mistake: one line that says what is wrong, what was expected and how to fix it."""


class ToolError(Exception):
    """A simulator, compiler or synthesiser failed; the message is the tool's own."""


def run(main: Callable[[], int | None]) -> None:
    """Run a command's `main` and exit: 2 on a `UserError`, 1 on a `ToolError`, 130 on Ctrl-C.

    A disk that is full, or a folder that may not be written, is a user's mistake, too.
    """
    try:
        sys.exit(main() or 0)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except ToolError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        # Whoever read the output has seen enough; what is left of it goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno not in SURROUNDINGS:
            raise
        place = f"{error.filename}: " if error.filename else ""
        remedy = "make room there, or choose a place that can be written"
        print(f"error: {place}{error.strerror}; {remedy}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
