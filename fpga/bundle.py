"""Write a folder that brings a network into any design: Verilog, ROMs, scripts, a test bench.

    convstream bundle lenet5 --out ip/lenet5
    make -C ip/lenet5                        # Icarus alone: PASS or FAIL
    convstream bundle hw/my --data photos/ --out ip/my

Its README says the rest. All modules and files carry the network's name.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import click

from convstream import versions
from convstream.fpga.bundling import texts, vectors
from convstream.fpga.bundling.modules import renamed, rooted, used
from convstream.model.base import errors, places
from convstream.model.base.commands import command
from convstream.model.base.errors import UserError
from convstream.model.base.folders import put_in_place, staging
from convstream.model.formats.files import present
from convstream.model.hardware import manifest as manifests
from convstream.model.learning.options import data_options
from convstream.model.learning.own_data import DataFiles
from convstream.sim.design import Design

BUILD = places.BUILD / "bundle"
FILE_NAME = "bundle.json"
UNROOTED = "The .mem files are looked up in the working directory."


def bundle(
    design: Design, out_dir: Path, given: DataFiles | None = None, *, force: bool = False
) -> int:
    """Write the bundle of a network; the number of its files.

    given: where the test bench's images are; by default in the test set, or random ones where it
    does not fit. force: replace whatever the folder holds. Either every file changes or none.
    Raises `UserError` where the folder is another's.
    """
    previous = check_folder(out_dir, design.name, force)
    files = contents(design, vectors.choose(design, given or DataFiles()))
    description = {
        "name": design.name,
        "convstream": versions.package("convstream"),
        "files": {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()},
    }
    files[FILE_NAME] = json.dumps(description, indent=2) + "\n"
    with staging(out_dir) as folder:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        tops = {name.split("/")[0] for name in files}
        stale = {name for name in previous.get("files", {}) if "/" not in name} - tops
        put_in_place(folder, out_dir, sorted(tops), stale)
    return len(files)


def check_folder(out_dir: Path, name: str, force: bool) -> dict[str, Any]:
    """The description of the bundle in `out_dir`, {} where there is none.

    Raises `UserError` where the folder holds an exported network, or, without `force`, anything but
    an older bundle of the network `name`.
    """
    if out_dir.exists() and not out_dir.is_dir():
        raise UserError(f"{out_dir} is no folder; choose another --out")
    if (out_dir / manifests.FILE_NAME).exists() or present(out_dir) is not None:
        raise UserError(f"{out_dir} holds an exported network; choose another --out")
    try:
        previous = json.loads((out_dir / FILE_NAME).read_text(encoding="utf-8"))
        found = str(previous["name"])
        names = [str(file) for file in previous["files"]]
    except (OSError, ValueError, KeyError, TypeError):
        previous, found, names = {}, "", []
    remedy = "choose another --out, or replace it with --force"
    if found and found != name and not force:
        raise UserError(f"{out_dir} already holds another bundle, that of {found}; {remedy}")
    if not found and not force and out_dir.is_dir() and any(out_dir.iterdir()):
        raise UserError(f"{out_dir} holds files that are no bundle; {remedy}")
    return {"files": names}


def contents(design: Design, chosen: vectors.Vectors) -> dict[str, str]:
    """Every file of a bundle but its description: path to text."""
    name = design.name
    rtl = sources(design)
    mem = {path: text.decode() for path, text in design.files.items() if path.endswith(".mem")}
    listed = sorted([*rtl, f"{name}_axis.v"])
    values = texts.values(design, listed, sorted(mem), chosen)
    files = {f"rtl/{path}": text for path, text in rtl.items()}
    files |= {f"mem/{path}": text for path, text in mem.items()}
    files |= {f"sim/{name}_tb_{kind}.hex": text for kind, text in chosen.files.items()}
    for path, template in texts.FILES.items():
        files[path.format(name=name)] = texts.fill(template, values)
    files["LICENSE"] = (texts.TEMPLATES / "LICENSE").read_text(encoding="utf-8")
    files[f"{name}.f"] = "".join(f"rtl/{path}\n" for path in listed)
    return files


def sources(design: Design) -> dict[str, str]:
    """The RTL that a network uses, under names of its own: file name to text."""
    name, top = design.name, f"{design.name}.v"
    library = {
        path.removesuffix(".v"): text
        for path, text in design.sources.items()
        if path not in (*design.files, "harness.v")
    }
    own = {path: text.decode() for path, text in design.files.items() if path.endswith(".v")}
    needed = sorted(set().union(*(used(text, library) for text in own.values())))
    names = {module: f"{name}__{module}" for module in needed}
    origin = f"of convstream {versions.package('convstream')}"
    made = {path: renamed(text, names) for path, text in own.items()}
    for module in needed:
        text = renamed(library[module], names)
        licence, rest = text.split("\n", 1)
        made[f"{names[module]}.v"] = f"{licence}\n// For {name}: {module} {origin}.\n{rest}"
    made[top] = _with_folder(made[top], design)
    made[f"{name}__rom_file.v"] = texts.fill("network_rom_file.v", texts.names(name))
    return made


def _with_folder(text: str, design: Design) -> str:
    """The top module with a parameter that says where its ROMs are, each of which must be there."""
    name, known = design.name, texts.names(design.name)
    roms = [path for path in design.files if path.endswith(".mem")]
    checks = "".join(
        f'    {name}__rom_file #(.FILE({{ROM_DIR, "{path}"}})) {path.removesuffix(".mem")} ();\n'
        for path in roms
    )
    text = rooted(text, roms, "ROM_DIR")
    for old, new in (
        (UNROOTED, "The .mem files are in ROM_DIR."),
        ("`default_nettype none\n", f"{known['default']}\n`default_nettype none\n"),
        (
            f"module {name} (\n",
            f"module {name} #(\n"
            f"    parameter ROM_DIR = `{known['macro']}_ROM_DIR  // of the .mem files\n"
            ") (\n",
        ),
        ("\nendmodule\n", f"\n`ifndef SYNTHESIS\n{checks}`endif\n\nendmodule\n"),
    ):
        before, found, after = text.partition(old)
        assert found, f"{name}.v has no {old!r}"
        text = f"{before}{new}{after}"
    return text


@command("bundle", __doc__)
@click.argument("network", metavar="NET")
@click.option(
    "--out", type=Path, metavar="DIR", help="Folder to write.  [default: build/bundle/NET]"
)
@data_options()
@click.option("--force", is_flag=True, help="Replace what is in that folder.")
def main(network: str, out: Path | None, force: bool, given: DataFiles) -> int:
    """The command line. Returns 0."""
    design = Design.read(manifests.find(network))
    out = out or BUILD / design.label
    count = bundle(design, out, given, force=force)
    print(f"{count} files in {places.shown(out)}; try them with: make -C {places.shown(out)}")
    return 0


if __name__ == "__main__":
    errors.run(main)
