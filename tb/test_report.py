"""The page about a network: well-formed, on its own, with the figures of the JSON behind it."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from random_networks import generator, random_images, telling_network

from convstream.model.base.errors import UserError
from convstream.model.base.places import PACKAGE
from convstream.model.export import export
from convstream.model.learning.own_data import DataFiles
from convstream.model.network import reference
from convstream.model.network.graph import Network
from convstream.model.network.layers import Conv, Linear, MaxPool
from convstream.sim import report_page, run
from convstream.sim.design import Design
from convstream.sim.records import Records
from convstream.sim.report import write_json

FIGURES = PACKAGE / "docs" / "figures"
VOID = {"img", "meta", "br"}
MINI = Network.chain("mini", (Conv(3, 3, padding=1), MaxPool(2, 2), Linear(4)), (3, 6, 8))
NAMES = ["ant", "bee", "<b>cat</b>", "dog & co"]


class Page(HTMLParser):
    """A page: its tables by label, as rows of texts; pictures; links; all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.pictures: list[dict[str, str]] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self._label = ""
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        assert len(given) == len(attributes), f"{tag} has an attribute twice"
        assert tag not in ("script", "link", "iframe", "object", "base")
        assert not any(name.startswith("on") for name in given)
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "img":
            self.pictures.append(given)
        if tag == "a":
            self.links.append(given["href"])
        if given.get("role") == "region":
            self._label = given["aria-label"]
            self.tables[self._label] = []
        if tag == "tr":
            self.tables[self._label].append([])
        if tag in ("td", "th"):
            self.tables[self._label][-1].append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            assert "url(" not in data
            assert "@import" not in data
            return
        self.text += data
        if {"td", "th"} & set(self._open):
            self.tables[self._label][-1][-1] += data.strip()

    def row(self, label: str, name: str) -> list[str]:
        """What stands behind `name` in the table of that label."""
        (found,) = (row[1:] for row in self.tables[label] if row[0] == name)
        return found


@pytest.fixture
def folder(seed, tmp_path, monkeypatch) -> Path:
    """A network, exported, with images and labels of two mistakes beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(report_page, "BUILD", tmp_path / "build" / "report")
    quantised = telling_network(seed, MINI)
    export(quantised, tmp_path / "my nets" / "mini")
    images = random_images(generator(seed, "images"), quantised, 30)
    labels = reference.predict(quantised, images).argmax(axis=1)
    labels[[4, 7]] = (labels[[4, 7]] + 1) % 4
    np.save("images.npy", images)
    np.save("labels.npy", labels)
    Path("names.txt").write_text("\n".join(NAMES))
    return tmp_path / "my nets" / "mini"


GIVEN = DataFiles("images.npy", "labels.npy", "names.txt")


def rendered(folder: Path, given: DataFiles = GIVEN) -> Page:
    design = Design.read(folder)
    build = Path("build")
    return Page(report_page.render(design, Records(design, "my nets/mini", build), given))


def leave(path: str, content: object) -> None:
    write_json(Path("build") / path / "report.json", content)


def test_the_command_writes_a_page_that_stands_alone(folder, capsys):
    arguments = ["--data", "images.npy", "--labels", "labels.npy", "--classes", "names.txt"]
    assert report_page.main([str(folder), *arguments, "--out", "new/page.html"]) == 0
    assert capsys.readouterr().out == "new/page.html\n"
    text = Path("new/page.html").read_text(encoding="utf-8")
    page = Page(text)
    assert text.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert len(set(page.ids)) == len(page.ids)
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert all(picture["src"].startswith("data:image/png;base64,") for picture in page.pictures)
    assert all(picture["alt"].strip() for picture in page.pictures)
    assert "--data images.npy --labels labels.npy --classes names.txt, convstream" in page.text
    # The command by itself goes to build/, under the name by which runs go there.
    assert report_page.main([str(folder), *arguments]) == 0
    assert capsys.readouterr().out == f"build/report/{Design.read(folder).label}.html\n"


def test_layers_folding_and_occupancy_are_those_of_the_manifest(folder):
    manifest = json.loads((folder / "network.json").read_text())
    page = rendered(folder)
    for layer in manifest["layers"]:
        name = layer["name"]
        shapes = [" × ".join(map(str, layer[side])) for side in ("in_shape", "out_shape")]
        assert page.row("Layers", name)[0] == layer["kind"]
        assert page.row("Layers", name)[2:4] == shapes
        folding = page.row("Folding", name)
        assert folding[-2:] == [f"{layer['fifo_depth']:,}", f"{layer['fifo_bits']:,}"]
        if "pe" in layer:
            assert folding[:3] == [str(layer[key]) for key in ("pe", "simd", "multipliers")]
            assert folding[4] == f"{layer['rom_bits']:,}"
        busy = max(layer["cycles"], layer["input_beats"], layer["output_beats"])
        share = f"{100 * busy / manifest['cycles']:.1f} %"
        assert page.row("Occupancy", name)[:2] == [f"{busy:,}", share]
    parameters = 3 * (27 + 1) + 4 * (3 * 12 + 1)
    assert page.row("Layers", "all")[-2:] == [f"{parameters}", f"{manifest['macs']:,}"]
    assert page.row("Timing", "interval, clocks") == [str(manifest["cycles"]), "not measured"]
    assert page.row("Timing", "latency, clocks") == [str(manifest["latency"]), "not measured"]


def test_accuracy_confusion_and_mistakes_are_those_of_the_reference(folder):
    quantised = Design.read(folder).read_network(folder)
    logits = reference.predict(quantised, np.load("images.npy")).astype(int)
    labels = np.load("labels.npy")
    page = rendered(folder)
    assert "28 of 30 images of images.npy their label: 93.33 %" in " ".join(page.text.split())
    assert page.tables["Confusion matrix"][0] == ["label", *NAMES]
    for label, name in enumerate(NAMES):
        given = logits[labels == label].argmax(axis=1)
        counts = [str((given == other).sum()) for other in range(4)]
        assert page.row("Confusion matrix", name) == counts
    # Two mistakes, then the right ones of least margin.
    order = np.sort(logits, axis=1)
    margins = order[:, -1] - order[:, -2]
    margins[[4, 7]] = [logits[n, labels[n]] - logits[n].max() for n in (4, 7)]
    shown = re.findall(r"images.npy (\d+)\s*margin (-?[\d,]+)", page.text)
    assert {int(number) for number, _ in shown[:2]} == {4, 7}
    assert [int(margin.replace(",", "")) for _, margin in shown] == sorted(margins)[:12]
    assert page.text.count(" taken for ") == 2


def test_of_many_classes_the_commonest_mistakes_are_listed(folder, monkeypatch):
    monkeypatch.setattr(report_page, "MOST_CLASSES", 3)
    rows = rendered(folder).tables["Commonest mistakes"]
    assert sum(int(row[2]) for row in rows[1:]) == 2


@pytest.mark.parametrize("given", [DataFiles(), DataFiles("images.npy")])
def test_without_labels_there_is_no_accuracy(folder, given):
    page = rendered(folder, given)
    assert "unknown" in page.text
    assert "Confusion matrix" not in page.tables
    assert "To show mistakes takes images with labels" in page.text
    assert ("No test data comes with this network" in page.text) == (given.images is None)
    # Feature maps need an image, but no label.
    assert len(page.pictures) == (0 if given.images is None else 3)
    assert ("Outputs" in page.tables) == (given.images is not None)


def test_a_simulation_counts_until_the_network_is_exported_anew(folder, seed):
    design = Design.read(folder)
    root = Path("build") / "sim" / design.label
    options = run.Options(given=DataFiles("images.npy"), sim="icarus", n=2)
    assert run.stream([design], options, [root]) == 0
    left = json.loads((root / "report.json").read_text())
    page = rendered(folder)
    what, *_ = (row for row in page.tables["This network"] if row[0] == "RTL in simulation")
    assert what[1:3] == [
        "passed",
        "0 of 8 logits differ from the reference, over 2 images of images.npy, in Icarus",
    ]
    assert what[3] == "convstream sim 'my nets/mini' -n 2 --sim icarus --data images.npy"
    assert page.row("Timing", "latency, clocks")[1] == f"{left['latency_cycles']:,}"
    leave(f"sim/{design.label}", left | {"mismatches": 3})
    assert rendered(folder).row("This network", "RTL in simulation")[0] == "failed"

    export(telling_network(seed + "1", MINI), folder)
    assert rendered(folder).row("This network", "RTL in simulation")[0] == "not run"


def test_comparisons_netlists_and_bitstreams_are_found(folder):
    design = Design.read(folder)
    row = {"name": "NumPy, fast", "kind": "int8", "agrees": True}
    other = {"name": "PyTorch", "kind": "int8", "agrees": False}
    compared = {"sha256": design.sha256, "images": 9, "dataset": "images.npy", "rows": [row]}
    leave(f"compare/{design.label}", compared)
    simulated = {"mismatches": 0, "logits": 36, "images": 9, "simulator": "verilator"}
    netlist = f"netlist/ulx3s/{design.label}"
    leave(netlist, simulated | {"dataset": "MNIST test"})
    built = {
        "network": "mini", "board": "ulx3s", "device": "85f", "luts": 5058, "ffs": 3644, "dsps": 7,
        "brams": 23, "fmax_mhz": 39.44, "clock_mhz": 30.0, "cycles_per_image": 2352,
        "images_per_second": 12755, "multipliers": 13, "baud": 3000000,
    }  # fmt: skip
    leave(f"fpga/ulx3s/{design.label}", built)
    page = rendered(folder)
    side = page.row("This network", "software and RTL, side by side")
    assert side[:2] == ["passed", "NumPy, fast; all agree, on 9 images"]
    # Without the export behind it nobody knows what was synthesised.
    assert "Resources of bitstreams" not in page.tables
    assert "synthesised for ulx3s" not in page.text

    leave(f"compare/{design.label}", compared | {"rows": [row, other]})
    for place in (f"fpga/ulx3s/{design.label}", f"{netlist}/network"):
        shutil.copytree(folder, Path("build") / place, dirs_exist_ok=True)
    page = rendered(folder)
    side = page.row("This network", "software and RTL, side by side")
    assert side[:2] == ["failed", "NumPy, fast, PyTorch; different: PyTorch, on 9 images"]
    found = page.row("This network", "netlist as synthesised for ulx3s")
    assert found[0] == "passed"
    assert found[2] == "convstream netlist 'my nets/mini' --board ulx3s -n 9"
    micros = f"{design.manifest['latency'] / 30:.1f}"
    assert page.row("Resources of bitstreams", "ulx3s") == [
        "85f", "13", "5,058", "3,644", "7", "23", "39.4", "30", "2,352", micros, "12,755"
    ]  # fmt: skip
    command = "convstream build 'my nets/mini' --board ulx3s --device 85f --clock 30 --cycles 2352"
    assert command in page.text


@pytest.mark.parametrize("name", json.loads((FIGURES / "sim.json").read_text()))
def test_copies_of_figures_are_of_our_own_networks_as_they_were_measured(name, tmp_path):
    """And of no others of that name."""
    design = Design.read(PACKAGE / "mem" / name)
    copies = json.loads((FIGURES / "sim.json").read_text())
    copies[name]["sha256"] = design.sha256
    kept = tmp_path / "figures"
    shutil.copytree(FIGURES, kept)
    write_json(kept / "sim.json", copies)
    records = Records(design, name, tmp_path, kept)
    assert records.simulation == copies[name]
    assert [check.passed for check in records.library] == [True] * 4
    built = json.loads((kept / "bitstreams.json").read_text())
    routed = {command for command, one in built.items() if one["network"] == name}
    assert {one.command for one in records.bitstreams} == routed
    altered = dataclasses.replace(records, kept=tmp_path / "nowhere")
    assert (altered.simulation, altered.library, altered.bitstreams) == (None, [], [])
    write_json(kept / "sim.json", copies | {name: copies[name] | {"sha256": "0"}})
    altered = Records(design, name, tmp_path, kept)
    assert (altered.simulation, altered.library, altered.bitstreams) == (None, [], [])


def test_a_truncated_report_is_named(folder):
    path = Path("build") / "sim" / Design.read(folder).label / "report.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"network": ')
    with pytest.raises(UserError, match=r"report\.json: truncated or altered .*; delete it, or"):
        rendered(folder)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], "unknown network 'nothing'"),
        (["lenet5", "--data", "nowhere.npy"], "nowhere.npy"),
        (["lenet5", "--labels", "labels.npy"], "of which images"),
        ([], "Missing argument 'NET'"),
    ],
)
def test_refuses_in_one_line_with_status_2(arguments, words):
    command = [sys.executable, "-m", "convstream", "report", *arguments]
    done = subprocess.run(
        command, cwd=PACKAGE, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
