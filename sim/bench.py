"""Measure networks at many foldings against what the folding predicts.

    convstream bench
    convstream bench lenet5 convnet --targets 5

Leaves report.json and bench.png in build/bench/. Exit code 1: a pipeline is slower than predicted.
"""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from convstream.model.base import errors, pictures, places
from convstream.model.base.commands import COUNT, command
from convstream.model.base.errors import ToolError, UserError
from convstream.model.export import export
from convstream.model.formats.onnx.predictor import predictor
from convstream.model.hardware.folding import PIXELS_PER_BEAT, FoldedNetwork
from convstream.model.hardware.solver import solve
from convstream.model.learning import data
from convstream.model.network import reference
from convstream.model.network.quantised import QuantisedNetwork
from convstream.sim import options, report, shard, tools
from convstream.sim.build import build
from convstream.sim.cluster import cores
from convstream.sim.design import Design, read_all
from convstream.sim.shard import Shard

BUILD = places.BUILD / "bench"
CLOCK_HZ = 100e6
SLOWEST = 200_000
MOST_RATIO = 1.01
# Enough images to see a rhythm, few enough that a folding takes seconds.
FEWEST_IMAGES = 8
MOST_IMAGES = 200
CYCLES = 400_000
# Beyond this many, Verilator and g++ take many minutes.
MOST_MULTIPLIERS = 4000
REFERENCE_IMAGES = 10_000
REFERENCE_TRIES = 4


@dataclass(frozen=True, eq=False)
class Case:
    """A network, folded one way."""

    quantised: QuantisedNetwork
    folded: FoldedNetwork

    @property
    def folder(self) -> Path:
        """Where this case is exported and built."""
        name = self.quantised.network.name
        return BUILD / name / f"{self.folded.pixels}px-{self.folded.cycles}"


def cases(quantised: QuantisedNetwork, targets: int) -> list[Case]:
    """Foldings of a network: `targets` from full rate to 200,000 cycles, and several pixels a beat.

    Targets are spaced evenly on a logarithmic scale, so most of them fall where nothing divides.
    """
    network = quantised.network
    fastest = solve(network)
    slowest = solve(network, cycles=max(SLOWEST, fastest.cycles))
    found = {}
    for pixels in PIXELS_PER_BEAT[1:]:
        try:
            folded = solve(network, pixels=pixels)
        except UserError:
            continue
        if folded.cycles < fastest.cycles and folded.multipliers <= MOST_MULTIPLIERS:
            found[pixels, folded.cycles] = folded
    # More targets than asked for, as neighbours can share a folding.
    wanted = np.geomspace(fastest.cycles, slowest.cycles, 4 * targets).astype(int)
    single = {}
    for target in wanted.tolist():
        folded = solve(network, cycles=max(target, fastest.cycles))
        single[folded.cycles] = folded
    single = dict(sorted(single.items()))
    chosen = np.unique(np.linspace(0, len(single) - 1, targets).round().astype(int))
    keys = list(single)
    for index in chosen.tolist():
        found[1, keys[index]] = single[keys[index]]
    return [Case(quantised, folded) for _, folded in sorted(found.items(), key=lambda i: i[0][1])]


def measure(case: Case, images: np.ndarray) -> dict[str, Any]:
    """Export, build and simulate a case: a row of the report. `ToolError` on a mismatch."""
    quantised, folded = case.quantised, case.folded
    folder = case.folder
    export(quantised, folder / quantised.network.name, folded=folded)
    design = Design.read(folder / quantised.network.name)
    build(design, "verilator", False, folder, jobs=1, shared=BUILD)
    count = int(np.clip(CYCLES // folded.cycles, FEWEST_IMAGES, MOST_IMAGES))
    chosen = np.resize(images, (count, *images.shape[1:]))
    result = shard.run(design, Shard(chosen, str(folder)))
    wrong = report.complaints(design, [result], reference.predict(quantised, chosen, threads=1))
    measured = result.interval
    if wrong or measured is None:
        raise ToolError(f"{folder}: {'; '.join(report.shorten(wrong))}")
    fifo_bits = sum(layer["fifo_bits"] for layer in design.manifest["layers"])
    return {
        "network": design.name,
        "pixels_per_beat": folded.pixels,
        "cycles_predicted": folded.cycles,
        "cycles_measured": round(measured, 3),
        "ratio": round(measured / folded.cycles, 5),
        "multipliers": folded.multipliers,
        "utilisation": round(quantised.network.macs / (folded.multipliers * measured), 4),
        "latency_cycles": result.latency,
        "latency_predicted": design.manifest["latency"],
        "fifo_bits": fifo_bits,
        "images_per_second": round(CLOCK_HZ / measured, 1),
        "simulated_cycles_per_second": round(result.cycles / result.seconds),
    }


@command("bench", __doc__)
@options.networks
@click.option("--targets", type=COUNT, default=14, help="Foldings a network, at 1 pixel a beat.")
def main(networks: list[str], targets: int) -> int:
    """The command line: 1 where a pipeline is more than 1 % slower than predicted."""
    tools.check("verilator")
    designs = {design.name: design for design in read_all(networks)}
    read = {name: one.read_network(Path(one.folder)) for name, one in designs.items()}
    images = {name: _images(quantised) for name, quantised in read.items()}
    started = time.perf_counter()
    todo = [case for quantised in read.values() for case in cases(quantised, targets)]
    print(f"{len(todo)} foldings solved in {time.perf_counter() - started:.1f} s")
    rows = _measure_all(todo, images)
    speeds = [
        row
        for name, design in designs.items()
        for row in race(read[name], Path(design.folder), images[name])
    ]
    report.write_json(BUILD / "report.json", {"rows": rows, "reference": speeds})
    _print_table(rows)
    _print_race(speeds)
    draw(rows, {name: quantised.network.macs for name, quantised in read.items()})
    print(f"{BUILD / 'report.json'}\n{BUILD / 'bench.png'}")
    slow = [row for row in rows if row["ratio"] > MOST_RATIO]
    for row in slow:
        print(
            f"{row['network']}: {row['cycles_measured']} cycles an image, "
            f"predicted {row['cycles_predicted']}: {row['ratio']} times as many",
            file=sys.stderr,
        )
    return int(bool(slow))


def _images(quantised: QuantisedNetwork) -> np.ndarray:
    """uint8 (N, C, H, W): the data set, or noise where a network takes other images."""
    images = data.load_images("test").images[:MOST_IMAGES, None]
    if images.shape[1:] == quantised.network.input_shape:
        return images
    shape = (MOST_IMAGES, *quantised.network.input_shape)
    return np.random.default_rng(1).integers(0, 256, shape, np.uint8)


def _measure_all(todo: list[Case], images: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Rows of all cases, in their order; one case per core at a time."""
    # The first case compiles what all builds share before the others start.
    shared = threading.Event()
    with report.progress("foldings") as progress:
        task = progress.add_task("measuring", total=len(todo))

        def run(case: Case) -> dict[str, Any]:
            if case is not todo[0]:
                shared.wait()
            try:
                return measure(case, images[case.quantised.network.name])
            finally:
                shared.set()
                progress.advance(task)

        with ThreadPoolExecutor(cores()) as executor:
            return list(executor.map(run, todo))


def race(quantised: QuantisedNetwork, folder: Path, images: np.ndarray) -> list[dict[str, Any]]:
    """Seconds that the reference and ONNX Runtime take for the same images on the same threads.

    The best of several tries in turn, so that a busy machine hampers both alike.
    """
    name = quantised.network.name
    images = np.resize(images, (REFERENCE_IMAGES, *images.shape[1:]))
    rows = []
    for threads in sorted({1, cores()}):
        runtime = predictor(folder / "network.onnx", quantised, threads)
        runs = {
            "reference_s": lambda t=threads: reference.predict(quantised, images, threads=t),
            "onnxruntime_s": lambda predict=runtime: predict(images),
        }
        best = dict.fromkeys(runs, float("inf"))
        for _ in range(REFERENCE_TRIES):
            for key, call in runs.items():
                start = time.perf_counter()
                call()
                best[key] = min(best[key], time.perf_counter() - start)
        row = {"network": name, "images": len(images), "threads": threads}
        row |= {key: round(seconds, 4) for key, seconds in best.items()}
        rows.append(row | {"ratio": round(best["reference_s"] / best["onnxruntime_s"], 3)})
    return rows


def _print_race(speeds: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(title=f"Seconds for {REFERENCE_IMAGES:,} images in software")
    table.add_column("network")
    for title in ["threads", "int8 reference", "ONNX Runtime", "ratio"]:
        table.add_column(title, justify="right")
    for row in speeds:
        table.add_row(
            row["network"],
            f"{row['threads']}",
            f"{row['reference_s']:.3f}",
            f"{row['onnxruntime_s']:.3f}",
            f"{row['ratio']:.2f}",
        )
    report.console().print(table)


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(title="Predicted and measured; images/s at 100 MHz, simulated Mcycles/s")
    table.add_column("network")
    titles = ["pixels", "predicted", "measured", "ratio", "mult.", "utilised", "latency"]
    for title in [*titles, "FIFO bits", "images/s", "Mcyc/s"]:
        table.add_column(title, justify="right")
    last = None
    for row in rows:
        table.add_row(
            row["network"] if row["network"] != last else "",
            f"{row['pixels_per_beat']}",
            f"{row['cycles_predicted']:,}",
            f"{row['cycles_measured']:,.10g}",
            f"{row['ratio']:.4f}" + (" !" if row["ratio"] > MOST_RATIO else ""),
            f"{row['multipliers']:,}",
            f"{row['utilisation']:.1%}",
            f"{row['latency_cycles']:,}",
            f"{row['fifo_bits']:,}",
            f"{row['images_per_second']:,.0f}",
            f"{row['simulated_cycles_per_second'] / 1e6:.2f}",
        )
        last = row["network"]
    report.console().print(table)


def draw(rows: list[dict[str, Any]], macs: dict[str, int]) -> None:
    """Multipliers against images a second at 100 MHz; dashed: every multiplier busy every clock."""
    figure = pictures.figure(8, 5.5)
    axes = figure.subplots()
    for index, name in enumerate(dict.fromkeys(row["network"] for row in rows)):
        own = sorted(
            (row["multipliers"], row["images_per_second"]) for row in rows if row["network"] == name
        )
        multipliers = np.array([m for m, _ in own])
        colour = f"C{index}"
        axes.plot(multipliers, [rate for _, rate in own], "o-", color=colour, label=name, ms=4)
        axes.plot(multipliers, CLOCK_HZ * multipliers / macs[name], "--", color=colour, lw=0.8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("8x8 multipliers")
    axes.set_ylabel("images a second at 100 MHz")
    axes.set_title("Measured in simulation; dashed: every multiplier busy every clock")
    axes.grid(True, which="both", lw=0.3)
    axes.legend()
    pictures.save(figure, BUILD / "bench.png")


if __name__ == "__main__":
    errors.run(main)
