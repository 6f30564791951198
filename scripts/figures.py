"""Put measured figures into the README and the pages of docs/: `make figures`.

python -m scripts.figures            refresh docs/figures/ from build/, then rewrite the pages
python -m scripts.figures --check    only list what differs from docs/figures/

A page marks a region with `<!-- figures: NAME -->` and `<!-- end -->`. The text between them is the
block NAME of docs/figures/regions.md.jinja, filled in from docs/figures/*.json. Those files are
copies of the reports that runs leave in build/. A newer report replaces a copy if its run was
complete: the same network or board, no fewer images or cases, no module left out. Foldings need no
run and are computed here; the table of layers comes from the code itself.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.console import Console

from convstream.model import export
from convstream.model.base import errors
from convstream.model.base.errors import UserError
from convstream.model.formats.onnx import read_onnx
from convstream.model.hardware.schedule import buffers
from convstream.model.hardware.solver import solve
from convstream.sim import report
from scripts import layers

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "docs/*.md")
REGION = re.compile(r"<!-- figures: (\w+) -->(.*?)<!-- end -->", re.DOTALL)
COLUMNS = 110

Report = dict[str, Any]


# The copies in docs/figures/


@dataclass(frozen=True)
class Copy:
    """A file in docs/figures/: a report, or several by name.

    pattern: finds the reports in build/. fits: whether a new report may replace the old one.
    reduce: what is kept of it. picture: a file beside the report that goes to docs/ with it.
    """

    pattern: str
    fits: Callable[[Report, Report], bool]
    reduce: Callable[[Report], Report] = dict
    several: bool = False
    picture: str = ""

    def refresh(self, root: Path, kept: Path) -> None:
        """Replace in the file `kept` whatever a later run in `root`/build has measured again."""
        content = json.loads(kept.read_text(encoding="utf-8"))
        reports = content if self.several else {"": content}
        times = {path: path.stat().st_mtime for path in (root / "build").glob(self.pattern)}
        for path in sorted(times, key=lambda path: times[path]):
            if times[path] <= kept.stat().st_mtime:
                continue
            new = self.reduce(json.loads(path.read_text(encoding="utf-8")))
            fitting = [name for name, old in reports.items() if self.fits(new, old)]
            reports |= dict.fromkeys(fitting, new)
            if fitting and self.picture:
                shutil.copyfile(path.with_name(self.picture), root / "docs" / self.picture)
        new_content = reports if self.several else reports[""]
        if new_content != json.loads(kept.read_text(encoding="utf-8")):
            report.write_json(kept, new_content)


def same(*keys: str) -> Callable[[Report, Report], bool]:
    """Reports that agree in these keys fit."""
    return lambda new, old: all(new[key] == old[key] for key in keys)


def no_less(count: str, *keys: str) -> Callable[[Report, Report], bool]:
    """Reports fit that agree in `keys` and are over no smaller `count`."""
    return lambda new, old: same(*keys)(new, old) and new[count] >= old[count]


def all_modules(new: Report, old: Report) -> bool:
    """Whether no module is missing that still exists."""
    present = {path.stem for folder in ("rtl", "fpga/rtl") for path in (ROOT / folder).glob("*.v")}
    before, after = ({row["module"] for row in one["modules"]} for one in (old, new))
    return after >= before & present


def reduce_bench(new: Report) -> Report:
    """The extremes over all foldings, and over the software's speeds."""
    rows, races = new["rows"], new["reference"]
    groups = [[race for race in races if (race["ratio"] < 1) == faster] for faster in (True, False)]
    return {
        "networks": list(dict.fromkeys(row["network"] for row in rows)),
        "foldings": len(rows),
        "largest_ratio": max(row["ratio"] for row in rows),
        "latencies_off": sum(row["latency_cycles"] != row["latency_predicted"] for row in rows),
        "software": [
            {
                "networks": list(dict.fromkeys(race["network"] for race in group)),
                "ratio": [choose(race["ratio"] for race in group) for choose in (min, max)],
            }
            for group in groups
            if group
        ],
    }


def reduce_compare(new: Report) -> Report:
    """Without accuracies and differences."""
    keys = ("name", "kind", "images", "agrees", "images_per_second")
    rows = [{key: row[key] for key in keys} for row in new["rows"]]
    return {key: new[key] for key in ("network", "images", "cores")} | {"rows": rows}


def reduce_mutate(new: Report) -> Report:
    """Without the single faults."""
    return {key: new[key] for key in ("seed", "modules")}


COPIES = {
    "sim": Copy(
        "sim/*/report.json", no_less("images", "network", "simulator", "dataset"), several=True
    ),
    "bitstreams": Copy(
        "fpga/*/*/report.json", same("network", "board", "device", "clock_mhz"), several=True
    ),
    "compare": Copy(
        "compare/*/report.json",
        no_less("images", "network"),
        reduce_compare,
        picture="compare.png",
    ),
    "bench": Copy(
        "bench/report.json",
        lambda new, old: set(new["networks"]) >= set(old["networks"]),
        reduce_bench,
        picture="bench.png",
    ),
    "fuzz": Copy("fuzz/report.json", no_less("networks")),
    "formal": Copy("formal/report.json", same()),
    "mutate": Copy("mutate/report.json", all_modules, reduce_mutate),
    "coverage": Copy("coverage/report.json", same("chosen")),
}


def fold(command: str) -> Report:
    """Cycles, multipliers and latency of what `convstream export ...` exports."""
    options = export.main.parse(command.split()[2:])
    onnx, _, name = export.find_network(options["network"], options["out"])
    folded = solve(
        read_onnx(onnx, name).network,
        cycles=options["cycles"],
        multipliers=options["multipliers"],
        pixels=options["pixels_per_beat"],
        latency=options["latency"],
    )
    return {
        "cycles": folded.cycles,
        "multipliers": folded.multipliers,
        "latency": buffers(folded).latency,
    }


def refresh(root: Path) -> None:
    """Bring docs/figures/ up to date with build/ and with the model of the hardware."""
    folder = root / "docs" / "figures"
    for name, copy in COPIES.items():
        copy.refresh(root, folder / f"{name}.json")
    foldings = folder / "foldings.json"
    commands = json.loads(foldings.read_text(encoding="utf-8"))
    report.write_json(foldings, {command: fold(command) for command in commands})


# The regions of the pages


def read(root: Path) -> dict[str, Any]:
    """Figures by file name, `networks` from mem/, what several regions derive from them, and what
    the code's own tables of layers say.
    """
    folder = root / "docs" / "figures"
    figures = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    runs, modules = figures["sim"], figures["mutate"]["modules"]
    command, built = max(
        figures["bitstreams"].items(), key=lambda item: int(item[1]["multipliers"])
    )
    return figures | {
        "networks": {
            name: json.loads((root / "mem" / name / "network.json").read_text()) for name in runs
        },
        "logits": sum(run["logits"] for run in runs.values()),
        "mismatches": sum(run["mismatches"] for run in runs.values()),
        "faults": sum(row["mutants"] for row in modules),
        "survived": sum(row["survived"] for row in modules),
        "ecp5": built,
        "ecp5_command": command,
        "main": runs[built["network"]],
        "supported": layers.supported(),
        "refused": layers.refused(),
    }


def commas(number: float) -> str:
    """A number as a whole one with commas."""
    return f"{number:,.0f}"


def none(number: int | list[str]) -> str:
    """A number, or that of a list's items; zero as a word."""
    number = number if isinstance(number, int) else len(number)
    return f"{number:,}" if number else "none"


def percent(figure: tuple[float, float]) -> str:
    """A share (part, all); 100 % only where nothing is missing."""
    part, whole = figure
    return "100 %" if part == whole else f"{min(100 * part / whole, 99.9):.1f} %"


def minutes(seconds: float) -> str:
    """A duration."""
    return f"{max(1, round(seconds / 60))} min"


def printed(reports: Iterable[Report]) -> str:
    """The table of `make sim`, without its frame."""
    console = Console(width=COLUMNS, file=io.StringIO(), color_system=None)
    with console.capture() as capture:
        console.print(report.table(list(reports)))
    return "\n".join(line.rstrip() for line in capture.get().splitlines()[2:-1])


def regions(root: Path) -> dict[str, str]:
    """The text of every region by name."""
    environment = Environment(
        loader=FileSystemLoader(root / "docs" / "figures"), undefined=StrictUndefined
    )
    environment.filters |= {f.__name__: f for f in (commas, none, percent, minutes, printed)}
    template = environment.get_template("regions.md.jinja")
    context = template.new_context(read(root))
    return {name: "".join(block(context)) for name, block in template.blocks.items()}


def pages(root: Path) -> list[Path]:
    """The pages that may hold regions."""
    return sorted(path for pattern in PAGES for path in root.glob(pattern))


def fill(text: str, texts: dict[str, str]) -> str:
    """A page with its regions filled. Raises `UserError` on an unknown one."""

    def filled(found: re.Match[str]) -> str:
        name = found[1]
        if name not in texts:
            raise UserError(f"no figures {name!r}; expected one of {', '.join(texts)}")
        return f"<!-- figures: {name} -->{texts[name]}<!-- end -->"

    return REGION.sub(filled, text)


def differences(root: Path) -> list[str]:
    """A line for each region of a page that differs from docs/figures/ or from the code."""
    texts = regions(root)
    return [
        f"{path.relative_to(root)}: figures {name} are out of date; run: make figures"
        for path in pages(root)
        for name, text in REGION.findall(path.read_text(encoding="utf-8"))
        if texts.get(name) != text
    ]


def main(arguments: list[str] | None = None) -> int:
    """The command line: 1 where --check finds a difference."""
    parser = argparse.ArgumentParser(
        prog="make figures", description="Put measured figures into the README and docs/."
    )
    parser.add_argument("--check", action="store_true", help="only list what differs")
    options = parser.parse_args(arguments)
    if options.check:
        lines = differences(ROOT)
        print(*lines, sep="\n", file=sys.stderr)
        return int(bool(lines))
    refresh(ROOT)
    texts = regions(ROOT)
    for path in pages(ROOT):
        old = path.read_text(encoding="utf-8")
        new = fill(old, texts)
        if new != old:
            path.write_text(new, encoding="utf-8")
            print(f"{path.relative_to(ROOT)} rewritten")
    return 0


if __name__ == "__main__":
    errors.run(main)
