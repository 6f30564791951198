"""Show a folding: a table for the terminal, a chart of how busy each stage is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convstream.model.base import pictures


def print_table(description: dict[str, Any]) -> None:
    """Print a network's layers as a table. description: the content of `network.json`."""
    from rich.console import Console
    from rich.table import Table

    layers = description["layers"]
    table = Table(
        title=f"{description['name']}: an image every {description['cycles']:,} cycles, "
        f"latency {description['latency']:,}",
        show_footer=True,
    )
    columns = (
        ("layer", "total"),
        ("PE", ""),
        ("SIMD", ""),
        ("multipliers", f"{description['multipliers']:,}"),
        ("cycles", f"{description['cycles']:,}"),
        ("utilisation", f"{description['utilisation']:.1%}"),
        ("ROM bits", f"{sum(layer['rom_bits'] for layer in layers):,}"),
        ("FIFO depth", f"{sum(layer['fifo_depth'] for layer in layers):,}"),
    )
    for index, (title, footer) in enumerate(columns):
        table.add_column(title, footer, justify="right" if index else "left")
    for layer in layers:
        folded = "pe" in layer
        table.add_row(
            layer["name"],
            f"{layer['pe']:,}" if folded else "",
            f"{layer['simd']:,}" if folded else "",
            f"{layer['multipliers']:,}" if folded else "",
            f"{_interval(layer):,}",
            f"{layer['utilisation']:.1%}" if folded else "",
            f"{layer['rom_bits']:,}" if folded else "",
            f"{layer['fifo_depth']:,}",
        )
    console = Console()
    if not console.is_terminal:
        console = Console(width=100)
    console.print(table)


def draw_occupancy(description: dict[str, Any], path: Path) -> None:
    """Draw the share of time that each stage is busy, as a bar chart (PNG)."""
    layers, cycles = description["layers"], description["cycles"]
    names = ["input", *(layer["name"] for layer in layers)]
    busy = [description["input_beats"], *map(_interval, layers)]
    colours = ["tab:gray", *("tab:blue" if "pe" in layer else "tab:gray" for layer in layers)]
    figure = pictures.figure(8, 1.2 + 0.4 * len(names))
    axes = figure.subplots()
    bars = axes.barh(names, [100 * value / cycles for value in busy], color=colours)
    axes.bar_label(bars, [f"{value:,}" for value in busy], padding=3)
    axes.invert_yaxis()
    axes.set_xlim(0, 112)
    axes.set_xlabel(f"busy, % of the {cycles:,} cycles between images (bars: cycles)")
    axes.set_title(
        f"{description['name']}: {description['multipliers']:,} multipliers, "
        f"{description['utilisation']:.1%} utilised"
    )
    pictures.save(figure, path)


def _interval(layer: dict[str, Any]) -> int:
    """The initiation interval of this layer alone, in cycles."""
    return max(layer["cycles"], layer["input_beats"])
