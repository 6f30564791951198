"""Turns `network.onnx` into what hardware needs: ROM contents, the top module, `network.json`.

python model/export.py lenet5
python model/export.py lenet5 --cycles 1568 --dry-run
python model/export.py my.onnx --out mem/my --multipliers 100
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from convstream.model.base.arguments import positive
from convstream.model.base.errors import UserError, run
from convstream.model.base.folders import put_in_place, staging
from convstream.model.base.patience import patience
from convstream.model.formats import text
from convstream.model.formats.onnx import read_onnx, write_onnx
from convstream.model.hardware import manifest, names, overview, rom, verilog
from convstream.model.hardware.folding import PIXELS_PER_BEAT, FoldedNetwork
from convstream.model.hardware.schedule import buffers
from convstream.model.hardware.solver import solve
from convstream.model.network.examples import NETWORKS
from convstream.model.network.layers.base import EXACT_IN_FLOAT32
from convstream.model.network.quantised import QuantisedNetwork

ROOT = Path(__file__).resolve().parents[1]
MEM = ROOT / "mem"
BUILD = ROOT / "build" / "export"


def export(
    quantised: QuantisedNetwork,
    out_dir: str | Path,
    *,
    cycles: int | None = None,
    multipliers: int | None = None,
    pixels: int = 1,
    folded: FoldedNetwork | None = None,
    onnx: str | Path | None = None,
    latency: int | None = None,
    training: dict[str, Any] | None = None,
    extra: Sequence[Path] = (),
) -> dict[str, Any]:
    """Write ROM contents, `<net>.v` and `network.json` into `out_dir`; returns the manifest.

    cycles, multipliers, pixels, latency: the folding's target, see `solver.solve`; by default full
    rate.
    folded: a folding of the caller's own instead. onnx: the file to put there as `network.onnx`; by
    default one is written. training: metrics for the manifest; by default those of the present
    manifest, as long as `network.onnx` is the one they belong to. extra: other files that go there,
    which the manifest does not name.

    Either every file changes or, on an error, an interrupt or a kill, none. Raises `UserError` on a
    target out of reach, a name that no module can have, or a folder that holds another network.
    """
    out_dir = Path(out_dir)
    name = quantised.network.name
    check_name(name)
    check_folder(out_dir, name)
    if folded is None:
        with patience(f"{name}: choosing a folding"):
            folded = solve(
                quantised.network,
                cycles=cycles,
                multipliers=multipliers,
                pixels=pixels,
                latency=latency,
            )
    with patience(f"{name}: finding the depths of FIFOs"):
        buffering = buffers(folded)
    warn_inexact(quantised)
    files = rom.rom_files(quantised, folded)
    files[f"{name}.v"] = verilog.top(quantised, folded, buffering)

    with staging(out_dir) as folder:
        if onnx is None:
            write_onnx(quantised, folder / "network.onnx")
        else:
            shutil.copyfile(onnx, folder / "network.onnx")
        for file, content in files.items():
            (folder / file).write_text(content, encoding="ascii")
        hashes = {path.name: manifest.sha256(path) for path in sorted(folder.iterdir())}
        previous = _previous(out_dir)
        if training is None and previous.get("files", {}).get("network.onnx") == hashes.get(
            "network.onnx"
        ):
            training = previous.get("training")
        description = manifest.describe(quantised, folded, buffering)
        description["files"] = hashes
        if training is not None:
            description["training"] = training
        (folder / manifest.FILE_NAME).write_text(manifest.to_text(description), encoding="utf-8")
        for path in extra:
            shutil.copyfile(path, folder / path.name)
        stale = previous.get("files", {}).keys() - hashes.keys()
        written = [*hashes, manifest.FILE_NAME, *(path.name for path in extra)]
        put_in_place(folder, out_dir, written, stale)
    return description


def warn_inexact(quantised: QuantisedNetwork) -> None:
    """Say so where the logits can be too large for a float32 runtime to be exact."""
    name = quantised.network.output.name
    bound = quantised.accumulator_bound(name)
    if bound >= EXACT_IN_FLOAT32:
        print(
            f"warning: {name}: logits can reach {bound}, 2^24 or more; "
            "ONNX Runtime, which sums in float32, may differ; the reference and the RTL are exact",
            file=sys.stderr,
        )


def check_name(name: str) -> None:
    """Raise `UserError` where a network's name cannot be that of its module."""
    modules = (path.stem for room in ("rtl", "fpga") for path in (ROOT / room).rglob("*.v"))
    names.check_name(name, frozenset(modules))


def check_folder(out_dir: Path, name: str, onnx: Path | None = None) -> None:
    """Raise `UserError` where `out_dir` is no folder, or holds another network than `name`.

    onnx: where given, a `network.onnx` in the folder must be this very file.
    """
    remedy = "choose another --out, or delete that folder first"
    if out_dir.exists() and not out_dir.is_dir():
        raise UserError(f"{out_dir} is no folder; choose another --out")
    held = _previous(out_dir).get("name", name)
    if held != name:
        raise UserError(f"{out_dir} already holds another network, {held}; {remedy}")
    present = out_dir / "network.onnx"
    if onnx is not None and present.is_file() and present.read_bytes() != onnx.read_bytes():
        raise UserError(f"{out_dir} already holds another network.onnx than {onnx}; {remedy}")


def _previous(out_dir: Path) -> dict[str, Any]:
    """The manifest in a folder, or {} where there is none that can be read."""
    try:
        return manifest.read(out_dir)
    except UserError:
        return {}


def write_format(
    quantised: QuantisedNetwork, style: str, float_path: Path, out_dir: Path
) -> list[str]:
    """Write the weights in another format, `c` or `hex`, into `out_dir`; returns the file names."""
    if (out_dir / manifest.FILE_NAME).exists() or (out_dir / "network.onnx").exists():
        raise UserError(
            f"{out_dir} holds an exported network, whose .mem files this would overwrite; choose "
            "another --out"
        )
    if out_dir.exists() and not out_dir.is_dir():
        raise UserError(f"{out_dir} is no folder; choose another --out")
    writers = {
        "c": partial(text.c_files, quantised, float_path),
        "hex": partial(text.hex_files, quantised),
    }
    files = writers[style]()
    with staging(out_dir) as folder:
        for name, content in files.items():
            (folder / name).write_text(content, encoding="ascii")
        put_in_place(folder, out_dir, list(files))
    return list(files)


def find_network(source: str, out: Path | None) -> tuple[Path, Path, str]:
    """The ONNX file, output folder and name that the command line's NET or FILE.onnx stands for."""
    if source.lower().endswith(".onnx") or Path(source).is_file():
        onnx = Path(source)
        if not onnx.is_file():
            raise UserError(f"{onnx}: no such file; give a .onnx file or a network's name")
        if out is None:
            held = onnx.name == "network.onnx"
            out = onnx.resolve().parent if held else MEM / onnx.stem
        return onnx, out, out.resolve().name
    onnx = MEM / source / "network.onnx"
    if not onnx.is_file():
        if source in NETWORKS:
            raise UserError(f"mem/{source}/network.onnx is missing; run model/train.py {source}")
        exported = {path.parent.name for path in MEM.glob("*/network.onnx")}
        known = ", ".join(sorted(exported | NETWORKS.keys()))
        raise UserError(f"unknown network {source!r}; expected {known}, or a .onnx file")
    return onnx, out or MEM / source, source


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        prog="model/export.py",
        description="Fold a quantised network and write its ROM contents and top module.",
    )
    parser.add_argument("network", metavar="NET|FILE.onnx", help="a folder in mem/, or a file")
    target = parser.add_mutually_exclusive_group()
    target.add_argument(
        "--cycles",
        type=positive("--cycles"),
        metavar="N",
        help="cycles an image; default: full rate",
    )
    parser.add_argument(
        "--latency",
        type=positive("--latency"),
        metavar="N",
        help="add multipliers until an image takes N cycles",
    )
    target.add_argument(
        "--multipliers",
        type=positive("--multipliers"),
        metavar="N",
        help="as fast as N multipliers allow",
    )
    parser.add_argument(
        "--pixels-per-beat", type=int, choices=PIXELS_PER_BEAT, default=1, help="default: 1"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: mem/NET")
    parser.add_argument(
        "--dry-run", action="store_true", help="only show the folding, as a table and a PNG"
    )
    parser.add_argument(
        "--format",
        choices=("c", "hex"),
        help="only write the weights, as C initialisers or plain hex tables, to build/export/NET/",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    options = parse(arguments)
    onnx, out_dir, name = find_network(options.network, options.out)
    if options.format:
        if options.out is None:
            name = name if onnx.is_relative_to(MEM) else onnx.stem
            out_dir = BUILD / name / options.format
        quantised = read_onnx(onnx, name)
        files = write_format(quantised, options.format, onnx.with_name("float.npz"), out_dir)
        print(f"{len(files)} file(s) in {_shown(out_dir)}")
        return 0
    check_name(name)
    quantised = read_onnx(onnx, name)
    with patience(f"{name}: choosing a folding"):
        folded = solve(
            quantised.network,
            cycles=options.cycles,
            multipliers=options.multipliers,
            pixels=options.pixels_per_beat,
            latency=options.latency,
        )
    if options.dry_run:
        warn_inexact(quantised)
        with patience(f"{name}: finding the depths of FIFOs"):
            buffering = buffers(folded)
        description = manifest.describe(quantised, folded, buffering)
        overview.print_table(description)
        chart = BUILD / f"{name}.png"
        overview.draw_occupancy(description, chart)
        print(f"stage occupancy: {_shown(chart)}")
        return 0
    if options.network.endswith(".onnx"):
        check_folder(out_dir, name, onnx)
    description = export(quantised, out_dir, folded=folded, onnx=onnx)
    overview.print_table(description)
    print(f"{len(description['files']) + 1} files in {_shown(out_dir)}")
    return 0


def _shown(path: Path) -> Path:
    """A path as short as the user would write it."""
    path = path.resolve()
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


if __name__ == "__main__":
    run(main)
