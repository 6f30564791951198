"""Random networks through all of the system, and each that fails brought down to its core.

python tb/fuzz.py --n 500 --seed 7

Each case is written as ONNX, read, exported with its folding, and simulated in Icarus under its
stalls. Outputs and classes must equal those of the reference, every tensor of the reference that of
PyTorch, and the outputs those of ONNX Runtime with its default optimisations, where it computes in
integers; without stalls every image must end in the predicted clock.
A case that fails is shrunk by hypothesis and saved in tb/regressions/, which `make test` runs from
then on.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import redirect_stderr
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import hypothesis
import numpy as np
import torch
from onnx_graphs import assert_equal_networks
from oracles import exact_in_runtime, run_torch
from random_graphs import cases
from random_networks import STALLS, Case
from rich.console import Console
from rich.table import Table

from convstream.model.base import folders
from convstream.model.base.errors import ToolError, UserError, run
from convstream.model.export import export
from convstream.model.formats.onnx import read_onnx, write_onnx
from convstream.model.formats.onnx.notes import notes
from convstream.model.formats.onnx.predictor import predictor
from convstream.model.hardware import manifest, schedule
from convstream.model.hardware.folding import PIXELS_PER_BEAT, FoldedNetwork
from convstream.model.hardware.scaling import scalings
from convstream.model.hardware.stage import Folding, Stage
from convstream.model.network import reference
from convstream.model.network.quantised import QuantisedNetwork
from convstream.sim import cluster, report
from convstream.sim.build import build
from convstream.sim.collect import collect, compare
from convstream.sim.design import Design

TB = Path(__file__).resolve().parent

RTL = TB.parent / "rtl"
REGRESSIONS = TB / "regressions"
REPORT = TB.parent / "build" / "fuzz" / "report.json"
TIMEOUT_S = 300
TOLD = 100  # cases from one message to the next


# One case


def check(case: Case, rtl: Path = RTL) -> None:
    """Raise `AssertionError` with what is wrong first, should anything be."""
    with folders.scratch(folders.temporary(), "convstream-fuzz-") as scratch:
        wrong = list(_complaints(case, rtl, scratch))
    # In one place: hypothesis takes failures of different lines for different ones.
    assert not wrong, f"{wrong[0]}: {case!r}"


def _complaints(case: Case, rtl: Path, folder: Path) -> Iterable[str]:
    name, images = case.quantised.network.name, case.images
    onnx = folder / f"{name}.onnx"
    write_onnx(case.quantised, onnx)
    quantised = read_onnx(onnx)
    try:
        assert_equal_networks(quantised, case.quantised)
    except AssertionError as error:
        yield f"read otherwise than written: {' '.join(str(error).split())}"
        return
    features = reference.features(quantised, images, threads=1)
    for node, found in run_torch(quantised, images).items():
        wanted = features[node]
        for place in np.argwhere(found != wanted)[:1]:
            index = tuple(place.tolist())
            yield f"{node}{list(index)}: PyTorch {found[index]}, reference {wanted[index]}"
    expected = features[quantised.network.output.name].reshape(len(images), -1).astype(np.int32)
    if compared_with_runtime(quantised, onnx):
        found = predictor(onnx, quantised, threads=1)(images)
        for image, index in np.argwhere(found != expected)[:1]:
            yield (
                f"image {image}: output {index}: ONNX Runtime {found[image, index]:.0f}, "
                f"reference {expected[image, index]}"
            )
    folded = replace(case.folded, network=quantised.network, scalings=scalings(quantised))
    with redirect_stderr(io.StringIO()):  # which may say that float32 is not exact
        export(quantised, folder / name, folded=folded, source=onnx)
    design = Design.read(folder / name, rtl)
    log = simulate(design, case, folder)
    if log != "stuck 0, frame errors 0":
        yield log
    collected = collect(design, len(images), folder / "logits", folder / "starts")
    yield from collected.problems
    yield from map(str, compare(design, collected, expected))
    if not case.stall_in and not case.stall_out:
        depths = manifest.fifo_depths(design.manifest)
        timing = schedule.simulate(folded, depths, len(images))
        predicted = np.array(timing.last_out) - timing.first_in[0]
        found = collected.ends - collected.starts[0]
        for image in np.flatnonzero(found != predicted)[:1]:
            yield f"image {image} ends in clock {found[image]}, predicted {predicted[image]}"


def compared_with_runtime(quantised: QuantisedNetwork, path: Path) -> bool:
    """Whether ONNX Runtime computes a network's file in integers, so that nothing may differ."""
    return exact_in_runtime(quantised) and not list(notes(path, quantised))


def simulate(design: Design, case: Case, folder: Path) -> str:
    """Stream the images of a case through its RTL into `logits` and `starts`; what Icarus says."""
    program = build(design, "icarus", False, folder / "build")
    design.beats(case.images)[:, ::-1].tofile(folder / "images")
    plusargs = {
        "images": folder / "images",
        "logits": folder / "logits",
        "starts": folder / "starts",
        "count": len(case.images),
        "watchdog": 2000 + 20 * design.cycles,
        "stall_in": case.stall_in,
        "stall_out": case.stall_out,
        "seed": case.seed,
    }
    command = ["vvp", "-n", str(program), "-none", "+finish", "+together"]
    command += [f"+{key}={value}" for key, value in plusargs.items()]
    done = subprocess.run(
        command,
        cwd=design.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TIMEOUT_S,
        text=True,
        check=False,
    )
    return done.stdout.strip()


# Regressions


def save(case: Case, message: str, folder: Path = REGRESSIONS) -> Path:
    """Write a case as <name>.onnx and <name>.json, the name from its content; the latter's path."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{os.getpid()}.onnx"
    write_onnx(case.quantised, temporary)
    description = {
        "pixels": case.folded.pixels,
        "compact": case.folded.compact,
        "foldings": {name: asdict(folding) for name, folding in case.folded.foldings.items()},
        "stall_in": case.stall_in,
        "stall_out": case.stall_out,
        "seed": case.seed,
        "found": message,
    }
    text = json.dumps(description, indent=2) + "\n"
    name = hashlib.sha256(temporary.read_bytes() + text.encode()).hexdigest()[:8]
    path = folder / f"{name}.json"
    temporary.replace(path.with_suffix(".onnx"))
    path.write_text(text, encoding="utf-8")
    return path


def load(path: Path) -> Case:
    """The case that `save` has written to `path`."""
    description = json.loads(path.read_text(encoding="utf-8"))
    quantised = read_onnx(path.with_suffix(".onnx"))
    foldings = {name: Folding(**fold) for name, fold in description["foldings"].items()}
    folded = FoldedNetwork(
        quantised.network, foldings, description["pixels"], description["compact"]
    )
    stalls = description["stall_in"], description["stall_out"]
    return Case(quantised, folded, *stalls, description["seed"])


# Many cases


@dataclass(frozen=True)
class Failure:
    """The smallest case that fails, and how."""

    case: Case
    message: str


def hunt(seed: str, check: Callable[[Case], None], *, shrink: bool = True) -> Case | Failure:
    """Check the case that follows from `seed`: the case, or its failure.

    shrink: bring a case that fails down to the smallest.
    """
    drawn: list[Case] = []
    failed: list[Failure] = []
    phases = [hypothesis.Phase.generate, *([hypothesis.Phase.shrink] if shrink else [])]

    # Hypothesis begins with the simplest of all cases. Of more than two, most would be mutations of
    # each other: it looks for bugs where values repeat.
    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=2,
        phases=phases,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(cases())
    def every_case(case: Case) -> None:
        drawn.append(case)
        if len(drawn) > 1:
            try:
                check(case)
            except Exception as error:
                failed.append(Failure(case, str(error).splitlines()[0]))
                raise

    try:
        every_case()
    except Exception:
        if not failed:
            raise
        # What hypothesis ran last is the smallest.
        return failed[-1]
    return drawn[-1]


def _hunt(seed: str, rtl: Path) -> Coverage | None:
    found = hunt(seed, partial(check, rtl=rtl), shrink=False)
    return None if isinstance(found, Failure) else Coverage([found])


# What has been covered

FOLDS = ("even", "PE", "SIMD", "both")  # what does not divide
PADDINGS = ("p 0", "p small", "p large")  # small: the output is no larger than the input


class Coverage:
    """Counts what cases consist of."""

    def __init__(self, drawn: Iterable[Case] = ()) -> None:
        self.windows: Counter[tuple] = Counter()  # kind, kernel, stride, padding, fold
        self.orders: Counter[tuple] = Counter()  # order of loops, fold
        self.other: Counter[tuple] = Counter()
        for case in drawn:
            self._count(case)

    def _count(self, case: Case) -> None:
        self.other["cases"] += 1
        with tempfile.TemporaryDirectory(prefix="convstream-") as folder:
            path = Path(folder) / "network.onnx"
            write_onnx(case.quantised, path)
            self.other["ONNX Runtime"] += compared_with_runtime(case.quantised, path)
        codes = case.quantised.codes.values()
        scales = [own.weight_scale for own in case.quantised.parameters.values()]
        for kind, drawn in (
            ("joins", any(len(node.inputs) > 1 for node in case.quantised.network.nodes)),
            ("scales that are no powers of two", any(one.exponent is None for one in codes)),
            ("zero points", any(one.zero_point for one in codes)),
            ("int8 codes", any(one.signed for one in codes)),
            ("scales by channel", any(len(scale) > 1 for scale in scales)),
            ("codes that leave", not case.quantised.gives_sums),
            ("signals", case.quantised.network.input_shape[1] == 1),
        ):
            self.other["with", kind] += drawn
        self.other["layers", len(case.folded.stages)] += 1
        self.other["pixels", case.folded.pixels] += 1
        self.other["stall_in", case.stall_in] += 1
        self.other["stall_out", case.stall_out] += 1
        for stage in case.folded.stages:
            self.other["module", stage.module] += 1
            fold = _fold(stage) if stage.foldable else None
            window = stage.attributes
            sizes = [window[name] for name in ("kernel", "stride", "padding") if name in window]
            if any(isinstance(size, list) for size in sizes) or "dilation" in window:
                self.other["uneven"] += 1
            elif sizes:
                kernel, stride, padding = sizes
                amount = PADDINGS[(padding > 0) + (padding > (kernel - 1) / 2)]
                self.windows[stage.node.layer.kind, kernel, stride, amount, fold] += 1
            else:
                self.orders[stage.geometry, fold] += 1
            own = case.quantised.parameters.get(stage.name)
            if own is None:
                continue
            rounding = case.quantised.rounding(stage.name)
            self.other["shift 0"] += rounding is not None and rounding.shift == 0
            bound = case.quantised.accumulator_bound(stage.name)
            self.other["largest bias"] += bound >= 2**31 - 1
            weights = np.unique(own.weight)
            if len(weights) == 1 and weights[0] in (-128, 0, 127):
                self.other["weights", int(weights[0])] += 1

    def add(self, other: Coverage) -> None:
        """Add what another has counted."""
        self.windows += other.windows
        self.orders += other.orders
        self.other += other.other

    def summary(self, seed: str, started: float, failed: list[str]) -> dict[str, object]:
        """The content of `report.json`. started: of `time.monotonic`. failed: seeds of cases."""
        return {
            "seed": seed,
            "networks": self.other["cases"],
            "layers": sum(number for key, number in self.other.items() if key[0] == "module"),
            "onnx_runtime": self.other["ONNX Runtime"],
            "failed": failed,
            "seconds": round(time.monotonic() - started, 1),
            "cores": cluster.cores(),
        }

    def print(self, console: Console) -> None:
        """Tables of how often each combination came."""
        self._print_windows(console, "conv", range(1, 8), FOLDS)
        self._print_windows(console, "maxpool", range(2, 5), (None,))
        self._print_windows(console, "avgpool", (1, 2, 4), (None,))
        table = Table(title="fully connected: order of loops x folding")
        table.add_column("order")
        for fold in FOLDS:
            table.add_column(fold, justify="right")
        for order in ("output-major", "input-major"):
            table.add_row(order, *(str(self.orders[order, fold] or "-") for fold in FOLDS))
        console.print(table)
        count = self.other
        for title, key, values in (
            ("layers", "layers", range(1, 11)),
            ("pixels a beat", "pixels", PIXELS_PER_BEAT),
            ("input stalls, %", "stall_in", dict.fromkeys(STALLS)),
            ("output stalls, %", "stall_out", dict.fromkeys(STALLS)),
            ("layers whose weights are all", "weights", (-128, 0, 127)),
        ):
            shown = ", ".join(f"{value}: {count[key, value]:,}" for value in values)
            console.print(f"{title}: {shown}", highlight=False)
        modules = [f"{key[1]}: {number:,}" for key, number in count.items() if key[0] == "module"]
        with_ = ", ".join(f"{k[1]}: {n:,}" for k, n in count.items() if k[0] == "with")
        console.print(
            f"cases with {with_}\n"
            f"windows that are dilated or not the same both ways: {count['uneven']:,}\n"
            f"layers with the largest biases: {count['largest bias']:,}, "
            f"with a shift of 0: {count['shift 0']:,}\n"
            f"modules: {', '.join(modules)}\n"
            f"equal to PyTorch: {count['cases']:,} cases, to ONNX Runtime: "
            f"{count['ONNX Runtime']:,}; it adds rounded floats in the others",
            highlight=False,
        )

    def _print_windows(
        self, console: Console, kind: str, kernels: Sequence[int], folds: tuple[str | None, ...]
    ) -> None:
        table = Table(title=f"{kind}: kernel and stride x padding{' x folding' * (len(folds) > 1)}")
        columns = [(padding, fold) for padding in PADDINGS for fold in folds]
        for header in ("K", "S", *(f"{p}\n{f}" if f else p for p, f in columns)):
            table.add_column(header, justify="right")
        for kernel in kernels:
            for stride in range(1, 5):
                cells = [
                    str(self.windows[kind, kernel, stride, *column] or "-") for column in columns
                ]
                table.add_row(str(kernel), str(stride), *cells, end_section=stride == 4)
        console.print(table)


def _fold(stage: Stage) -> str:
    """Whether PE and SIMD divide what they share out."""
    ragged_pe = stage.out_shape[0] % stage.folding.pe != 0
    return FOLDS[ragged_pe + 2 * (stage.window % stage.folding.simd != 0)]


# The command line


def main(arguments: list[str] | None = None) -> int:
    """0 where every case is right, 1 where one is not."""
    parser = argparse.ArgumentParser(prog="make fuzz", description="Check random networks.")
    parser.add_argument("--n", default="500", help="number of cases (500)")
    parser.add_argument("--seed", help="of all that is random; default: a fresh one")
    parser.add_argument("--rtl", type=Path, default=RTL, help="folder of the Verilog (rtl)")
    parser.add_argument(
        "--save", type=Path, default=REGRESSIONS, help="where a failure goes (tb/regressions)"
    )
    options = parser.parse_args(arguments)
    if not options.n.isdecimal() or not int(options.n):
        raise UserError(f"N={options.n}: expected a whole number of at least 1")
    number, seed = int(options.n), options.seed or str(secrets.randbelow(10**6))
    console = Console() if sys.stdout.isatty() else Console(width=120)
    console.print(f"{number:,} random networks, SEED={seed}", highlight=False)
    coverage, started = Coverage(), time.monotonic()
    single = {"initializer": torch.set_num_threads, "initargs": (1,)}
    with ProcessPoolExecutor(cluster.cores(), **single) as pool:
        seeds = [f"{seed}/{index}" for index in range(number)]
        futures = {pool.submit(_hunt, seed, options.rtl): seed for seed in seeds}
        for done, future in enumerate(as_completed(futures), 1):
            found = future.result()
            if found is None:
                pool.shutdown(wait=True, cancel_futures=True)
                report.write_json(REPORT, coverage.summary(seed, started, [futures[future]]))
                return _report(futures[future], options.rtl, options.save)
            coverage.add(found)
            if done % TOLD == 0:
                seconds = time.monotonic() - started
                console.print(f"{done:,} cases in {seconds:.0f} s", highlight=False)
    report.write_json(REPORT, coverage.summary(seed, started, []))
    coverage.print(console)
    return 0


def _report(seed: str, rtl: Path, folder: Path) -> int:
    print(f"case {seed} fails; looking for a smaller one, 5 minutes at most", file=sys.stderr)
    failure = hunt(seed, partial(check, rtl=rtl))
    if not isinstance(failure, Failure):
        raise ToolError(f"case {seed} fails now and then")
    path = save(failure.case, failure.message, folder)
    print(f"{failure.message}\nsaved as {path}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    run(main)
