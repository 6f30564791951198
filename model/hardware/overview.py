"""Show a folding as a table for the terminal."""

from __future__ import annotations

from typing import Any


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
    columns = [
        ("layer", "total"),
        ("PE", ""),
        ("SIMD", ""),
        ("multipliers", f"{description['multipliers']:,}"),
        ("cycles", f"{description['cycles']:,}"),
        ("utilisation", f"{description['utilisation']:.1%}"),
        ("ROM bits", f"{sum(layer['rom_bits'] for layer in layers):,}"),
        ("FIFO depth", f"{sum(layer['fifo_depth'] for layer in layers):,}"),
    ]
    scaled = any("multiplier_bits" in layer for layer in layers)
    if scaled:
        columns.append(("requantising", ""))
    for index, (title, footer) in enumerate(columns):
        table.add_column(title, footer, justify="right" if index else "left")
    for layer in layers:
        folded = "pe" in layer
        table.add_row(
            layer["name"],
            f"{layer['pe']:,}" if folded else "",
            f"{layer['simd']:,}" if folded else "",
            f"{layer['multipliers']:,}" if folded else "",
            f"{max(layer['cycles'], layer['input_beats']):,}",
            f"{layer['utilisation']:.1%}" if folded else "",
            f"{layer['rom_bits']:,}" if folded else "",
            f"{layer['fifo_depth']:,}",
            *[requantising(layer)] * scaled,
        )
    console = Console()
    if not console.is_terminal:
        console = Console(width=100)
    console.print(table)


def requantising(layer: dict[str, Any]) -> str:
    """A layer's multiplier of scales, as `24 bits in 8 clocks, float32`; empty: it has none."""
    if "multiplier_bits" not in layer:
        return ""
    clocks = layer["multiplier_clocks"]
    pace = "at once" if clocks == 1 else f"in {clocks} clocks"
    return f"{layer['multiplier_bits']} bits {pace}, {layer['multiplier_rounding']}"
