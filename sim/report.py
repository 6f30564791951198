"""The outcome of a run: the report, the table in the terminal, the files."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convstream.model.base.files import write_atomically
from convstream.model.learning.own_data import Images, title
from convstream.model.network.quantised import QuantisedNetwork
from convstream.model.network.reference import argmax
from convstream.sim.collect import Result, compare
from convstream.sim.design import Design

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

SHOWN = 5
SHOWN_IMAGES = 100


def summarise(
    design: Design,
    results: list[Result],
    expected: np.ndarray,
    labels: np.ndarray | None,
    *,
    simulator: str,
    dataset: str,
    quantised: QuantisedNetwork,
) -> dict[str, Any]:
    """The content of `report.json`. Accuracies are percentages, null without labels.

    expected: int32 (N, classes), the reference's logits of all images. (logits - output_zero_point)
    * output_scale, of each channel or of all, is what the network's own file gives.
    """
    logits = np.concatenate([result.logits for result in results])
    classes = np.concatenate([result.classes for result in results])
    intervals = [result.interval for result in results if result.interval is not None]
    latencies = [result.latency for result in results if result.latency is not None]
    return {
        "network": design.name,
        "sha256": design.sha256,
        "simulator": simulator,
        "images": len(logits),
        "logits": int(logits.size),
        "mismatches": int((logits != expected).sum()),
        "accuracy_rtl": _accuracy(classes, labels),
        "accuracy_reference": _accuracy(argmax(expected), labels),
        "cycles_per_image": round(max(intervals), 3) if intervals else None,
        "latency_cycles": max(latencies) if latencies else None,
        "multipliers": design.multipliers,
        "macs_per_image": quantised.network.macs,
        "output_scale": quantised.output_scale.tolist(),
        "output_zero_point": quantised.output_zero_point,
        "dataset": dataset,
    }


def _accuracy(classes: np.ndarray, labels: np.ndarray | None) -> float | None:
    if labels is None:
        return None
    return round(100 * float((classes == labels).mean()), 4)


def complaints(design: Design, results: list[Result], expected: np.ndarray) -> list[str]:
    """A line for everything wrong with a run: first the mismatches, then all other problems."""
    lines: list[str] = []
    first = 0
    for result in results:
        end = first + len(result.logits)
        lines += map(str, compare(design, result, expected[first:end], first))
        first = end
    return [*lines, *(problem for result in results for problem in result.problems)]


def shorten(lines: list[str]) -> list[str]:
    """The first few of `lines`, and how many there are beyond."""
    if len(lines) <= SHOWN:
        return lines
    return [*lines[:SHOWN], f"... and {len(lines) - SHOWN} more"]


def write(folder: Path, report: dict[str, Any], logits: np.ndarray) -> None:
    """`report.json` and `logits.npy` (int32 N x classes) into `folder`."""
    content = io.BytesIO()
    np.save(content, logits)
    write_atomically(folder / "logits.npy", content.getvalue())
    write_json(folder / "report.json", report)


def write_json(path: Path, content: Any) -> None:
    """JSON into a file, whole or not at all."""
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


def table(reports: list[dict[str, Any]]) -> Table:
    """One row a network."""
    from rich.table import Table

    title = f"{reports[0]['simulator']} against the int8 reference, on {reports[0]['dataset']}"
    made = Table(title=title)
    made.add_column("network")
    for title in (
        "images",
        "logits\ncompared",
        "mismatches",
        "accuracy\nRTL",
        "accuracy\nreference",
        "cycles/\nimage",
        "latency",
        "multipliers",
    ):
        made.add_column(title, justify="right")
    for report in reports:
        wrong = report["mismatches"]
        made.add_row(
            report["network"],
            f"{report['images']:,}",
            f"{report['logits']:,}",
            f"[bold red]{wrong:,}[/]" if wrong else "[green]0[/]",
            _percent(report["accuracy_rtl"]),
            _percent(report["accuracy_reference"]),
            _number(report["cycles_per_image"]),
            _number(report["latency_cycles"]),
            _number(report["multipliers"]),
        )
    return made


def classes(design: Design, images: Images, logits: np.ndarray) -> Table:
    """Class, runner-up and the margin between their logits of each image, the first ones.

    With labels, also those.
    """
    from rich.markup import escape
    from rich.table import Table

    best = design.classify(logits)
    rest = logits.copy()
    rest[np.arange(len(rest)), best] = np.iinfo(np.int32).min
    second = design.classify(rest)
    margins = logits.max(axis=1).astype(np.int64) - rest.max(axis=1)
    made = Table(title=f"What {design.name} sees")
    made.add_column("image", overflow="fold")
    labels = images.labels
    for column in ("class", "runner-up", "margin", *([] if labels is None else ["label"])):
        made.add_column(column, justify="right")
    names = images.names or []
    for at, name in enumerate(names[:SHOWN_IMAGES]):
        row = [escape(title(int(numbers[at]), images.classes)) for numbers in (best, second)]
        cells = [f"[bold]{row[0]}[/]", row[1], f"{margins[at]:,}"]
        if labels is not None:
            colour = "green" if labels[at] == best[at] else "red"
            cells.append(f"[{colour}]{escape(title(int(labels[at]), images.classes))}[/]")
        made.add_row(escape(name), *cells)
    if len(names) > SHOWN_IMAGES:
        made.caption = f"and {len(names) - SHOWN_IMAGES:,} more, all in logits.npy"
    return made


def console() -> Console:
    """A rich console that keeps its tables whole where there is no terminal."""
    from rich.console import Console

    found = Console()
    return found if found.is_terminal else Console(width=120)


def progress(of: str) -> Progress:
    """Progress bars: a title, how many are done and `of` what, the time taken and left."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description:10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(of),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console(),
    )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.6g}" if value != int(value) else f"{int(value):,}"
