"""The docs site, as a hook of MkDocs: `make docs`.

Pages keep their paths in the repository, so links between them work there and on the site. Beside
them stand a page for each Verilog module and one for the modules of each Python package. A link to
source leads to its place in these; a link to any other file of the repository becomes plain text.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from scripts import verilog_reference

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("*.md", "docs/*.md", "docs/*.svg", "docs/*.png", "docs/*.css", "*/README.md")
VERILOG = ("rtl", "fpga/rtl")
# Packages by the title of their pages.
PACKAGES = {
    "model/network": "Networks: graph, layers, exact integers",
    "model/formats": "File formats: ONNX, TFLite, text",
    "model/hardware": "Hardware: stages, folding, schedule, Verilog",
    "model/learning": "Learning: data, recipes, training",
    "model/base": "Common ground: errors, files, folders, pictures",
    "model": "Commands: train, quantise, export, evaluate",
    "sim": "Simulation",
    "fpga": "Boards",
}
LINK = re.compile(r"\[([^\[\]]*)\]\(([^()#:\s]+)\)")
REGION = re.compile(r"^<!--.*?-->\n|<!--.*?-->", re.MULTILINE)


class References:
    """The generated pages: Markdown by path of the page, and where each source file stands."""

    @cached_property
    def modules(self) -> dict[str, list[verilog_reference.Module]]:
        """Verilog modules by folder."""
        return {
            folder: [verilog_reference.read(path) for path in sorted((ROOT / folder).glob("*.v"))]
            for folder in VERILOG
        }

    @cached_property
    def packages(self) -> dict[str, list[str]]:
        """Python files by package, those of its subpackages included."""
        files: dict[str, list[str]] = {package: [] for package in PACKAGES}
        for room in ("model", "sim", "fpga"):
            for path in sorted((ROOT / room).rglob("*.py")):
                name = path.relative_to(ROOT).as_posix()
                package = max((p for p in PACKAGES if name.startswith(f"{p}/")), key=len)
                if path.name != "__init__.py":
                    files[package].append(name)
        return files

    @cached_property
    def places(self) -> dict[str, str]:
        """Where a file or folder stands on the site: a page's path, maybe with an anchor."""
        verilog = {
            f"{folder}/{module.name}.v": f"{folder}/{module.name}.md"
            for folder, modules in self.modules.items()
            for module in modules
        }
        python = {
            file: f"{package}/python.md#{identifier(file)}"
            for package, files in self.packages.items()
            for file in files
        }
        folders = {f"{package}/": f"{package}/python.md" for package in PACKAGES}
        return verilog | python | folders | {"fpga/rtl/": "fpga/rtl/modules.md"}

    def link(self, source: str, target: str) -> str:
        """The link from the page of `source` to what stands for `target`, or ""."""
        place = self.places.get(target, "")
        return place and posixpath.relpath(place, posixpath.dirname(source))

    @cached_property
    def pages(self) -> dict[str, str]:
        """Markdown by path."""
        everything = [module for modules in self.modules.values() for module in modules]
        found: dict[str, str] = {}
        for folder, modules in self.modules.items():
            pages = verilog_reference.Pages(
                everything, ROOT, partial(self.link, f"{folder}/modules.md")
            )
            found |= {f"{folder}/{module.name}.md": pages.page(module) for module in modules}
            found[f"{folder}/modules.md"] = f"# {folder}\n\n{pages.summary(modules)}\n"
        for package, files in self.packages.items():
            parts = [f"# {PACKAGES[package]}", *(contents(file, package) for file in files)]
            found[f"{package}/python.md"] = "\n\n".join(parts)
        return found

    def under(self, folder: str) -> list[str]:
        """The generated pages of a folder, in order; the overview is the first."""
        own = [page for page in self.pages if posixpath.dirname(page) == folder.rstrip("/")]
        wanted = [page for page in own if not page.endswith("python.md")]
        overview = f"{folder}modules.md"
        return sorted(wanted or own, key=lambda page: (page != overview, page))


REFERENCES = References()


def identifier(file: str) -> str:
    """A Python file's name for imports."""
    return "convstream." + file.removesuffix(".py").replace("/", ".")


def contents(file: str, package: str) -> str:
    """What mkdocstrings replaces with the docstrings of a Python file."""
    name = identifier(file)
    label = name.removeprefix(f"{identifier(package)}.")
    return f"::: {name}\n    options: {{heading: {name}, toc_label: {label}}}"


def on_config(config: MkDocsConfig) -> None:
    """Expand folders in the nav."""
    config.nav = [expanded(item) for item in config.nav or []]


def expanded(item: Any) -> Any:
    """A nav entry with, in place of a folder, its generated pages."""
    if isinstance(item, list):
        return [expanded(one) for one in item]
    if isinstance(item, dict):
        return {title: expanded(value) for title, value in item.items()}
    if not item.endswith("/"):
        return item
    pages = REFERENCES.under(item)
    return pages if len(pages) > 1 else pages[0]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Pages of the repository and generated ones, and the theme's own files."""
    own = [*repository(config), *generated(config)]
    return Files([*own, *(file for file in files if file.src_dir != config.docs_dir)])


def repository(config: MkDocsConfig) -> Iterable[File]:
    """Pages and pictures as they are; those of docs/ stand at the top of the site."""
    for path in sorted({path for pattern in SOURCES for path in ROOT.glob(pattern)}):
        source = path.relative_to(ROOT).as_posix()
        at_top = {"README.md": "overview.md"}.get(source, source.removeprefix("docs/"))
        placed = File(at_top, str(ROOT), config.site_dir, config.use_directory_urls)
        yield File(
            source,
            str(ROOT),
            config.site_dir,
            config.use_directory_urls,
            dest_uri=placed.dest_uri,
        )


def generated(config: MkDocsConfig) -> Iterable[File]:
    """The references."""
    for source, text in REFERENCES.pages.items():
        yield File.generated(config, source, content=text)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """A page of the repository as the site shows it."""
    source = page.file.src_uri
    if source in REFERENCES.pages:
        return markdown

    def led(found: re.Match[str]) -> str:
        text, link = found.groups()
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
        if files.get_file_from_path(target):
            return found[0]
        target += "/" * (ROOT / target).is_dir()
        place = REFERENCES.link(source, target)
        if place:
            return f"[{text}]({place})"
        # A link that leads nowhere stays, for MkDocs to refuse.
        return text if (ROOT / target).exists() else found[0]

    return LINK.sub(led, REGION.sub("", markdown))
