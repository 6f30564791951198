"""Figures of README and docs: they come from docs/figures/, which a complete run refreshes."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from pathlib import Path

import fuzz
import pytest

from convstream.model.base.errors import UserError
from convstream.model.formats.onnx.operators import OF_MICROSOFT, OPERATORS, WAYS_OUT
from convstream.model.formats.tflite import operators as tflite
from convstream.model.hardware.layers import STAGES
from scripts import figures

ROOT = Path(__file__).resolve().parents[1]
MOST_WORDS = 900


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The pages, their figures and mem/ in a folder of their own."""
    for name in ("docs", "mem"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copyfile(ROOT / "README.md", tmp_path / "README.md")
    return tmp_path


def leave(root: Path, path: str, report: dict, age_s: float = 0.0) -> None:
    """Write a report into build/."""
    file = root / "build" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(report))
    written = time.time() - age_s
    os.utime(file, (written, written))


def refreshed(root: Path, name: str) -> dict:
    """docs/figures/<name>.json after a refresh from build/."""
    path = root / "docs" / "figures" / f"{name}.json"
    figures.COPIES[name].refresh(root, path)
    return json.loads(path.read_text())


def test_pages_have_the_figures_of_their_files() -> None:
    assert figures.differences(ROOT) == []


def test_every_region_is_on_a_page() -> None:
    text = "".join(path.read_text() for path in figures.pages(ROOT))
    used = {name for name, _ in figures.REGION.findall(text)}
    assert used == set(figures.regions(ROOT))
    assert text.count("<!-- figures:") == len(figures.REGION.findall(text))


def test_regions_within_a_sentence_do_not_begin_a_line() -> None:
    """Markdown takes a line that begins with a comment for HTML."""
    for path in figures.pages(ROOT):
        for line in path.read_text().splitlines():
            begins = re.match(r"\s*<!-- (figures: \w+|end) -->", line)
            assert not begins or begins[0] == line, f"{path.name}: {line}"


def test_every_layer_and_operator_is_in_the_table() -> None:
    """As the code's tables have them, which `test_pages_have_the_figures` compares row by row."""
    text = figures.regions(ROOT)["layers"]
    rows = [line.strip("| ").split(" | ") for line in text.strip().splitlines()[2:]]
    assert len(rows) == len(STAGES)
    modules = {name for row in rows for name in re.findall(r"\[(\w+)\]", row[1])}
    assert modules == {m for stages in STAGES.values() for one in stages for m in one.modules}
    onnx = {name for row in rows for name in row[2].split(", ")}
    assert {"QLinearConv", "LeakyRelu", "Concat"} <= onnx <= {*OPERATORS, *OF_MICROSOFT}
    for name in (*OPERATORS, *OF_MICROSOFT, *tflite.OPERATORS):
        assert re.search(rf"\b{name}\b", text + figures.regions(ROOT)["between"]), name
    assert not onnx & set(WAYS_OUT)


def test_a_changed_figure_is_told(copy: Path) -> None:
    page = copy / "docs" / "boards.md"
    page.write_text(page.read_text().replace("39.4 MHz", "41.0 MHz"))
    (told,) = figures.differences(copy)
    assert told.startswith("docs/boards.md: figures bitstreams")


def test_an_unknown_region_is_refused() -> None:
    with pytest.raises(UserError, match="no figures 'nothing'; expected one of .*networks"):
        figures.fill("<!-- figures: nothing -->1<!-- end -->", figures.regions(ROOT))


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= MOST_WORDS


def test_links_lead_somewhere() -> None:
    for page in [*figures.pages(ROOT), *ROOT.glob("*.md"), *ROOT.glob("*/README.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_a_run_of_as_many_images_replaces_the_old_one(copy: Path) -> None:
    old = figures.read(copy)["sim"]["lenet5"]
    new = old | {"mismatches": 3}
    leave(copy, "sim/lenet5/report.json", new)
    assert refreshed(copy, "sim")["lenet5"] == new
    assert "docs/verification.md: figures logits are out of date" in "\n".join(
        figures.differences(copy)
    )


@pytest.mark.parametrize("change", [{"images": 200}, {"dataset": "digits"}, {"network": "my"}])
def test_a_smaller_or_another_run_does_not(copy: Path, change: dict) -> None:
    old = figures.read(copy)["sim"]
    leave(copy, "sim/lenet5/report.json", old["lenet5"] | {"mismatches": 3} | change)
    assert refreshed(copy, "sim") == old


def test_an_old_run_does_not(copy: Path) -> None:
    old = figures.read(copy)["sim"]
    leave(copy, "sim/lenet5/report.json", old["lenet5"] | {"mismatches": 3}, age_s=1e6)
    assert refreshed(copy, "sim") == old


def test_a_bitstream_replaces_that_of_its_clock(copy: Path) -> None:
    old = figures.read(copy)["bitstreams"]
    command = "make bitstream BOARD=ulx3s NET=lenet5 CLOCK=100"
    leave(copy, "fpga/ulx3s/lenet5/report.json", old[command] | {"luts": 1})
    assert refreshed(copy, "bitstreams") == old | {command: old[command] | {"luts": 1}}


def test_mutation_of_one_module_replaces_nothing(copy: Path) -> None:
    old = figures.read(copy)["mutate"]
    report = {"seed": "2", "modules": old["modules"], "mutants": []}
    leave(copy, "mutate/report.json", report | {"modules": old["modules"][:1]})
    assert refreshed(copy, "mutate") == old
    leave(copy, "mutate/report.json", report)
    assert refreshed(copy, "mutate") == old | {"seed": "2"}


def test_fuzz_reports_what_is_shown() -> None:
    assert fuzz.Coverage().summary("1", 0.0, []).keys() == figures.read(ROOT)["fuzz"].keys()


def test_bench_is_reduced_to_its_extremes() -> None:
    row = {"network": "one", "ratio": 1.002, "latency_cycles": 7, "latency_predicted": 7}
    rows = [row, row | {"ratio": 0.999}, row | {"network": "two", "latency_cycles": 8}]
    races = [
        {"network": name, "ratio": ratio}
        for name, ratio in (("one", 0.5), ("one", 0.3), ("two", 2))
    ]
    assert figures.reduce_bench({"rows": rows, "reference": races}) == {
        "networks": ["one", "two"],
        "foldings": 3,
        "largest_ratio": 1.002,
        "latencies_off": 1,
        "software": [
            {"networks": ["one"], "ratio": [0.3, 0.5]},
            {"networks": ["two"], "ratio": [2, 2]},
        ],
    }


def test_shares_reach_100_only_where_nothing_is_missing() -> None:
    assert [figures.percent((part, 10_000)) for part in (10_000, 9_999, 1)] == [
        "100 %",
        "99.9 %",
        "0.0 %",
    ]


def test_a_folding_is_that_of_the_export() -> None:
    old = figures.read(ROOT)["foldings"]
    command = min(old, key=lambda command: old[command]["cycles"])
    assert figures.fold(command) == old[command]
