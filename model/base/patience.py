"""A sign of life on a terminal while something takes longer than a moment."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

MOMENT_S = 2.0


@contextmanager
def patience(text: str) -> Iterator[None]:
    """Show `text` and that work goes on, on stderr if it is a terminal, from two seconds on."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    status = console.status(text)
    timer = threading.Timer(MOMENT_S, status.start)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        status.stop()
