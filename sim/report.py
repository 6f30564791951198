"""What a run of a network comes to: the report, the table in the terminal, the files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from model.network.reference import argmax
from sim.design import Design
from sim.shard import Result

SHOWN = 5


def summarise(
    design: Design,
    results: list[Result],
    labels: np.ndarray | None,
    *,
    simulator: str,
    dataset: str,
    macs: int,
) -> dict[str, Any]:
    """The content of `report.json`. Accuracies are percentages, null without labels."""
    logits = np.concatenate([result.logits for result in results])
    expected = np.concatenate([result.expected for result in results])
    classes = np.concatenate([result.classes for result in results])
    intervals = [result.interval for result in results if result.interval is not None]
    latencies = [result.latency for result in results if result.latency is not None]
    return {
        "network": design.name,
        "simulator": simulator,
        "images": len(logits),
        "logits": int(logits.size),
        "mismatches": int((logits != expected).sum()),
        "accuracy_rtl": _accuracy(classes, labels),
        "accuracy_reference": _accuracy(argmax(expected), labels),
        "cycles_per_image": round(max(intervals), 3) if intervals else None,
        "latency_cycles": max(latencies) if latencies else None,
        "multipliers": design.multipliers,
        "macs_per_image": macs,
        "dataset": dataset,
    }


def _accuracy(classes: np.ndarray, labels: np.ndarray | None) -> float | None:
    if labels is None:
        return None
    return round(100 * float((classes == labels).mean()), 4)


def complaints(results: list[Result]) -> list[str]:
    """All that is wrong with a run, a line each: every mismatch, and what is wrong beside them."""
    # Images that pad a short shard repeat its mismatches.
    mismatches = {str(mismatch): None for result in results for mismatch in result.mismatches}
    return [*mismatches, *(problem for result in results for problem in result.problems)]


def shorten(lines: list[str]) -> list[str]:
    """The first few of `lines`, and how many there are beyond."""
    if len(lines) <= SHOWN:
        return lines
    return [*lines[:SHOWN], f"... and {len(lines) - SHOWN} more"]


def write(folder: Path, report: dict[str, Any], logits: np.ndarray) -> None:
    """`report.json` and `logits.npy` (int32 N x classes) into `folder`, each file whole or not."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".logits.{os.getpid()}.npy"
    np.save(temporary, logits)
    temporary.replace(folder / "logits.npy")
    write_json(folder / "report.json", report)


def write_json(path: Path, content: Any) -> None:
    """JSON into a file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


def print_table(reports: list[dict[str, Any]]) -> None:
    """One row a network."""
    from rich.table import Table

    table = Table(title=f"{reports[0]['simulator']} against the int8 reference")
    table.add_column("network")
    for title in (
        "images",
        "logits compared",
        "mismatches",
        "accuracy RTL",
        "accuracy ref.",
        "cycles/image",
        "latency",
        "multipliers",
    ):
        table.add_column(title, justify="right")
    for report in reports:
        wrong = report["mismatches"]
        table.add_row(
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
    console().print(table)


def console() -> Any:
    """A rich console that keeps its tables whole where there is no terminal."""
    from rich.console import Console

    found = Console()
    return found if found.is_terminal else Console(width=120)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.6g}" if value != int(value) else f"{int(value):,}"
