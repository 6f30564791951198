"""What runs have left about a network: their JSON in build/, and copies of it in docs/figures/.

The copies are of the networks in mem/, and count as long as those are what was measured. A report
in build/ counts as long as it is about the network's present files.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from convstream.model.base import places
from convstream.model.base.errors import UserError
from convstream.model.base.files import one_line, read_bytes
from convstream.model.formats.files import own
from convstream.model.hardware import manifest as manifests
from convstream.model.learning.data import OURS
from convstream.sim.design import Design

KEPT = places.PACKAGE / "docs" / "figures"

Report = dict[str, Any]


@dataclass(frozen=True)
class Check:
    """What a check found, and the command that repeats it. passed: None, it has not been run."""

    what: str
    found: str
    passed: bool | None
    command: str


@dataclass(frozen=True)
class Bitstream:
    """A bitstream for a board.

    report: that of the build. command: repeats it. latency: predicted for its folding, in clocks;
    None: unknown.
    """

    report: Report
    command: str
    latency: int | None

    @property
    def target(self) -> tuple[Any, ...]:
        """What it was built for."""
        return tuple(self.report[key] for key in ("board", "device", "clock_mhz"))


@dataclass(frozen=True)
class Records:
    """What is known of `design`. net: what its user calls it. build, kept: folders of reports."""

    design: Design
    net: str
    build: Path = places.BUILD
    kept: Path = KEPT

    def command(self, name: str, *arguments: object) -> str:
        """`convstream NAME NET ...`, to be pasted into a shell."""
        return shlex.join(["convstream", name, self.net, *map(str, arguments)])

    @cached_property
    def simulation(self) -> Report | None:
        """The report of the simulation of most images; one with a mismatch comes before."""
        name = self.design.name
        found = [_read(self.build / "sim" / self.design.label / "report.json")]
        found.append(self._copies.get("sim", {}).get(name))
        return max(
            filter(self._is_current, found),
            key=lambda one: (one["mismatches"] > 0, one["images"]),
            default=None,
        )

    @property
    def checks(self) -> list[Check]:
        """Those of the network itself."""
        return [self._simulated(), *self._netlists(), self._compared()]

    def _is_current(self, report: Report | None) -> bool:
        return report is not None and report.get("sha256") == self.design.sha256

    def _simulated(self) -> Check:
        what, run = "RTL in simulation", self.simulation
        if run is None:
            return Check(what, "no report of this export", None, self.command("sim"))
        return _outcome(what, run, self.command("sim", *_repeat(run)))

    def _netlists(self) -> Iterator[Check]:
        pattern = f"netlist/*/{self.design.label}/report.json"
        for path in sorted(self.build.glob(pattern)):
            run = _read(path)
            if run is not None and self._same_weights(path.parent / "network"):
                board = path.parents[1].name
                what = f"netlist as synthesised for {board}"
                arguments = ["--board", board, "-n", run["images"], *_data(run)]
                yield _outcome(what, run, self.command("netlist", *arguments))

    def _compared(self) -> Check:
        what = "software and RTL, side by side"
        run = _read(self.build / "compare" / self.design.label / "report.json")
        if not self._is_current(run):
            run = self._copies.get("compare", {})
            if run.get("network") != self.design.name:
                return Check(what, "no report of this export", None, self.command("compare"))
        assert run is not None
        rows = [row for row in run["rows"] if row["kind"] == "int8"]
        differ = [row["name"] for row in rows if not row["agrees"]]
        verdict = f"different: {', '.join(differ)}" if differ else "all agree"
        names = ", ".join(row["name"] for row in rows)
        arguments = ["-n", run["images"], *_data(run)]
        found = f"{names}; {verdict}, on {counted(run['images'], 'image')}"
        return Check(what, found, not differ, self.command("compare", *arguments))

    @property
    def bitstreams(self) -> list[Bitstream]:
        """Those built of the network, for a board each."""
        found = [
            Bitstream(report, command, None)
            for command, report in self._copies.get("bitstreams", {}).items()
            if report["network"] == self.design.name
        ]
        for path in sorted(self.build.glob(f"fpga/*/{self.design.label}/report.json")):
            built = _read(path)
            if built is not None and self._same_weights(path.parent):
                arguments = ["--board", built["board"], "--device", built["device"]]
                arguments += ["--clock", f"{built['clock_mhz']:g}"]
                arguments += ["--cycles", built["cycles_per_image"]]
                latency = manifests.read(path.parent)["latency"]
                found.append(Bitstream(built, self.command("build", *arguments), latency))
        # What was built here replaces the copy of the same.
        return list({one.target: one for one in found}.values())

    def _same_weights(self, folder: Path) -> bool:
        """Whether the export in `folder`, folded otherwise, is of the same file."""
        if not (folder / manifests.FILE_NAME).is_file():
            return False
        name = own(Path(self.design.folder)).name
        other = manifests.read(folder)["files"].get(name)
        return other == self.design.manifest["files"][name]

    @property
    def library(self) -> list[Check]:
        """Those of the RTL that all networks are made of."""
        copies = self._copies
        if not copies:
            return []
        modules = copies["mutate"]["modules"]
        faults, alive = (sum(row[key] for row in modules) for key in ("mutants", "survived"))
        proofs, fuzz, covered = copies["formal"], copies["fuzz"], copies["coverage"]["rtl"]
        lines, toggles = covered["lines"], covered["toggles"]
        return [
            Check(
                "proofs for all time",
                f"{proofs['proofs']:,} proofs, {len(proofs['failed'])} fail",
                not proofs["failed"],
                "make formal",
            ),
            Check(
                "random networks end to end",
                f"{fuzz['networks']:,} networks, {len(fuzz['failed'])} wrong",
                not fuzz["failed"],
                f"make fuzz N={fuzz['networks']} SEED={fuzz['seed']}",
            ),
            Check(
                "planted faults",
                f"{faults:,} faults in {len(modules)} modules, {alive} survive",
                not alive,
                f"make mutate SEED={copies['mutate']['seed']}",
            ),
            Check(
                "coverage of the RTL",
                f"{lines[0]:,} of {lines[1]:,} lines, {toggles[0]:,} of {toggles[1]:,} toggles",
                lines[0] == lines[1],
                "make coverage",
            ),
        ]

    @cached_property
    def _copies(self) -> dict[str, Any]:
        """docs/figures/ by file; nothing where the network is not the one measured there."""
        runs = _read(self.kept / "sim.json") or {}
        if not self._is_current(runs.get(self.design.name)):
            return {}
        return {path.stem: _read(path) for path in self.kept.glob("*.json")}


def _outcome(what: str, run: Report, command: str) -> Check:
    """Of a simulation against the reference."""
    images = f"{counted(run['images'], 'image')} of {known(run['dataset'])}"
    found = (
        f"{run['mismatches']:,} of {run['logits']:,} logits differ from the reference, over "
        f"{images}, in {run['simulator'].capitalize()}"
    )
    return Check(what, found, run["mismatches"] == 0, command)


def counted(number: int, noun: str) -> str:
    """A number of things."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def known(dataset: str) -> str:
    """What a page calls a data set, of a user's own without the folders that it lies in."""
    return dataset if dataset.startswith(OURS) else Path(dataset).name


def _repeat(run: Report) -> list[object]:
    """Arguments of the simulation that left a report."""
    simulator = [] if run["simulator"] == "verilator" else ["--sim", run["simulator"]]
    return ["-n", run["images"], *simulator, *_data(run)]


def _data(run: Report) -> list[str]:
    """Where its images were."""
    ours = run.get("dataset", OURS[0]).startswith(OURS)
    return [] if ours else ["--data", run["dataset"]]


def _read(path: Path) -> Any:
    """JSON; None where there is no such file."""
    if not path.is_file():
        return None
    try:
        return json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: truncated or altered ({one_line(error)}); delete it, or repeat the run"
        ) from None
