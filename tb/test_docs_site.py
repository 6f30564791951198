"""The docs site: it builds strictly, a dead link fails, the references leave nothing out."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import material  # noqa: F401  the theme
import mkdocstrings  # noqa: F401  the Python API
import pytest

from scripts import docs_site, verilog_reference

ROOT = Path(__file__).resolve().parents[1]
VERILOG = sorted(path for folder in docs_site.VERILOG for path in (ROOT / folder).glob("*.v"))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def build(root: Path, out: Path) -> subprocess.CompletedProcess:
    """`make docs` without its set-up."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", out],
        cwd=root,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONWARNINGS": "default"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it."""
    out = tmp_path_factory.mktemp("site")
    done = build(ROOT, out)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_the_site_has_every_page(site: Path) -> None:
    for page in [*ROOT.glob("docs/*.md"), ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"]:
        folder = "" if page.stem == "index" else page.stem
        assert (site / folder / "index.html").is_file(), page.name
    assert "convstream.model.network.graph.Network.chain" in (
        site / "model" / "network" / "python" / "index.html"
    ).read_text(encoding="utf-8")


def test_pages_fetch_only_what_the_site_has(site: Path) -> None:
    fetch = re.compile(r"<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=\"?([^\" >]+)")
    for page in site.rglob("*.html"):
        for url in fetch.findall(page.read_text(encoding="utf-8")):
            path = site / url[1:] if url.startswith("/") else page.parent / url
            assert path.exists(), f"{page.relative_to(site)}: {url}"


def test_dead_links_fail(tmp_path: Path) -> None:
    """In a site of two pages, without the Python API."""
    dead = ["nonesuch.md", "../rtl/nonesuch.v", "folding.md#nonesuch"]
    files = ("mkdocs.yml", "docs/site.css", "scripts/docs_site.py", "scripts/verilog_reference.py")
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / file, tmp_path / file)
    links = "\n".join(f"[none]({link})" for link in [*dead, "../mkdocs.yml"])
    (tmp_path / "docs" / "index.md").write_text(f"# Start\n\n{links}\n")
    (tmp_path / "docs" / "folding.md").write_text("# Folding\n\n[start](index.md#start)\n")
    config = tmp_path / "mkdocs.yml"
    nav = "nav: [docs/index.md, docs/folding.md]\n"
    config.write_text(
        re.sub(r"^nav:\n(?: .*\n)+", nav, config.read_text(), flags=re.M).replace(
            "omitted_files: warn", "omitted_files: ignore"
        )
    )
    done = build(tmp_path, tmp_path / "out")
    assert done.returncode != 0
    warnings = [line for line in done.stderr.splitlines() if line.startswith("WARNING")]
    assert len(warnings) == len(dead), done.stderr
    for link in dead:
        assert any(f"a link '{link}'" in line for line in warnings), link


@pytest.mark.parametrize("path", VERILOG, ids=name)
def test_a_module_is_in_the_reference_with_all_that_it_declares(path: Path, site: Path) -> None:
    page = (site / path.parent.relative_to(ROOT) / path.stem / "index.html").read_text()
    declarations = page[: page.index('id="source"')]
    text = path.read_text()
    head = text[text.index(f"module {path.stem}") : text.index("\n);")]
    lines = [line.split("//")[0].strip(" ,") for line in head.splitlines()]
    declared = [
        re.sub(r" *=.*", "", line).split()[-1]
        for line in lines
        if line.startswith(("parameter", "input", "output"))
    ]
    assert declared
    for word in declared:
        assert f"<td><code>{word}</code></td>" in declarations, word
    assert declarations.count("<tr>") == len(declared) + declarations.count("<thead>")


def test_a_module_in_another_style_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "odd.v"
    path.write_text("// SPDX\n//\n// Odd.\n\nmodule odd (\n    input a, b\n);\nendmodule\n")
    with pytest.raises(ValueError, match=r"odd.v: input a, b: not in the style of rtl/"):
        verilog_reference.read(path)


def test_comments_of_parameters_and_ports_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "one.v"
    path.write_text(
        "// SPDX\n//\n// One.\n\nmodule one #(\n"
        "    parameter [3:0] A = 4'd1,  // first,\n"
        "                               // and more\n"
        "    parameter B = A + 1\n"
        ") (\n"
        "    // Results.\n"
        "    output reg signed [8*A-1:0] y = 0, // codes\n"
        "    input  wire [B:0] x\n"
        ");\nendmodule\n"
    )
    module = verilog_reference.read(path)
    assert module.parameters == (
        verilog_reference.Parameter("A", "4'd1", "first, and more"),
        verilog_reference.Parameter("B", "A + 1", ""),
    )
    assert module.ports == (
        verilog_reference.Port("y", "output", "8*A", "Results. codes"),
        verilog_reference.Port("x", "input", "B+1", ""),
    )


def test_headers_keep_their_words() -> None:
    """Formulas as they are; names lead to modules and to Python."""
    page = docs_site.REFERENCES.pages["rtl/conv2d.md"]
    assert "\n    y[oc] = requantise(bias[oc] + sum over ic, ky, kx of w" in page
    assert "[model.network.layers.conv.conv2d][convstream.model.network.layers.conv.conv2d]" in page
    assert "see [sliding_window](sliding_window.md)" in page
    assert "Instantiates " in page and "[matrix_vector](matrix_vector.md)" in page
