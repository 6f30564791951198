"""Fold a quantised network and write what hardware needs: ROM contents and a top module.

    convstream export my.onnx --out hw/my --multipliers 100
    convstream export my.onnx --mean 0.5 --std 0.5
    convstream export net.onnx --calibrate images.npz --out hw/net
    convstream export mynet.py:MyNet --weights net.pt --calibrate images.npz --out hw/mynet
    convstream export lenet5 --cycles 1568 --dry-run

The name of the folder becomes that of the network and of its module. With --mean or --std the
network takes pixels: a table in front of it turns them into the codes that the file makes of
normalised floats. Without, it takes these codes.

With --calibrate the network is a float one, which becomes int8 first, as convstream quantise does
it: an ONNX file or a PyTorch module. FILE.py:NAME is the module's class, with literal arguments
where it takes some, or a function that returns a module, or a module.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from convstream.model import quantise
from convstream.model.base import places
from convstream.model.base.commands import COUNT, command
from convstream.model.base.errors import UserError, run
from convstream.model.base.folders import put_in_place, staging
from convstream.model.base.patience import patience
from convstream.model.calibrated import FLOATS
from convstream.model.formats import files as formats
from convstream.model.formats import text
from convstream.model.formats.onnx import write_onnx
from convstream.model.formats.torch import source as torch_source
from convstream.model.hardware import manifest, names, overview, rom, verilog
from convstream.model.hardware.folding import PIXELS_PER_BEAT, FoldedNetwork
from convstream.model.hardware.scaling import scalings
from convstream.model.hardware.schedule import buffers
from convstream.model.hardware.solver import solve
from convstream.model.network.examples import NETWORKS
from convstream.model.network.layers.base import EXACT_IN_FLOAT32
from convstream.model.network.pixels import Normalisation
from convstream.model.network.quantised import QuantisedNetwork

BUILD = places.BUILD / "export"
# What training and calibrating leave beside the network that they made.
TRAINED = {"float.npz", "training.png", FLOATS}


def export(
    quantised: QuantisedNetwork,
    out_dir: str | Path,
    *,
    cycles: int | None = None,
    multipliers: int | None = None,
    pixels: int = 1,
    folded: FoldedNetwork | None = None,
    source: str | Path | None = None,
    latency: int | None = None,
    training: dict[str, Any] | None = None,
    extra: Sequence[Path] = (),
    force: bool = False,
) -> dict[str, Any]:
    """Write ROM contents, `<net>.v` and `network.json` into `out_dir`; returns the manifest.

    cycles, multipliers, pixels, latency: the folding's target, see `solver.solve`; by default full
    rate.
    folded: a folding of the caller's own instead. source: the network's own file, which goes there
    as it is, as `network.onnx` or `network.tflite`; by default an ONNX file is written. training:
    metrics for the manifest; by default those of the present manifest, as long as the network's
    file is the one they belong to. extra: other files that go there, which the manifest does not
    name. force: replace another network that is there.

    Either every file changes or, on an error, an interrupt or a kill, none. Raises `UserError` on a
    target out of reach, a name that no module can have, or a folder that holds another network.
    """
    out_dir = Path(out_dir)
    name = quantised.network.name
    check_name(name)
    if not force:
        check_folder(out_dir, name)
    if folded is None:
        with patience(f"{name}: choosing a folding"):
            folded = solve(
                quantised.network,
                cycles=cycles,
                multipliers=multipliers,
                pixels=pixels,
                latency=latency,
                scalings=scalings(quantised),
            )
    elif not folded.scalings:
        folded = replace(folded, scalings=scalings(quantised))
    with patience(f"{name}: finding the depths of FIFOs"):
        buffering = buffers(folded)
    warn_inexact(quantised)
    files = rom.rom_files(quantised, folded)
    with patience(f"{name}: sharing the sums of weights that never change"):
        files |= verilog.sources(quantised, folded, buffering)

    with staging(out_dir) as folder:
        if source is None:
            # The table for pixels, if there is one, is part of that file.
            quantised = replace(quantised, normalisation=None)
            write_onnx(quantised, folder / "network.onnx")
        else:
            suffix = Path(source).suffix.lower()
            kept = f"network{suffix if suffix in formats.SUFFIXES else '.onnx'}"
            shutil.copyfile(source, folder / kept)
        own = formats.own(folder).name
        for file, content in files.items():
            (folder / file).write_text(content, encoding="ascii")
        hashes = {path.name: manifest.sha256(path) for path in sorted(folder.iterdir())}
        previous = _previous(out_dir)
        stale = previous.get("files", {}).keys() - hashes.keys()
        if previous and previous["files"].get(own) != hashes[own]:
            stale |= TRAINED
        elif training is None:
            training = previous.get("training")
        description = manifest.describe(quantised, folded, buffering)
        description["files"] = hashes
        if training is not None:
            description["training"] = training
        (folder / manifest.FILE_NAME).write_text(manifest.to_text(description), encoding="utf-8")
        for path in extra:
            shutil.copyfile(path, folder / path.name)
        written = [*hashes, manifest.FILE_NAME, *(path.name for path in extra)]
        put_in_place(folder, out_dir, written, stale - set(written))
    return description


def warn_inexact(quantised: QuantisedNetwork) -> None:
    """Say so where the logits can be too large for a float32 runtime to be exact."""
    name = quantised.network.output.name
    bound = quantised.accumulator_bound(name)
    if quantised.gives_sums and bound >= EXACT_IN_FLOAT32:
        print(
            f"warning: {name}: logits can reach {bound}, 2^24 or more; "
            "ONNX Runtime, which sums in float32, may differ; the reference and the RTL are exact",
            file=sys.stderr,
        )


def check_name(name: str) -> None:
    """Raise `UserError` where a network's name cannot be that of its module."""
    modules = (path.stem for room in (places.RTL, places.FPGA) for path in room.rglob("*.v"))
    names.check_name(name, frozenset(modules))


def check_folder(out_dir: Path, name: str, source: Path | None = None) -> None:
    """Raise `UserError` where `out_dir` is no folder, or not one that an export may change.

    It may hold an older export of the network `name`; otherwise no network but this very file.
    """
    if out_dir.exists() and not out_dir.is_dir():
        raise UserError(f"{out_dir} is no folder; choose another --out")
    remedy = "choose another --out, or replace it with --force"
    previous = _previous(out_dir)
    if previous.get("name", name) != name:
        raise UserError(f"{out_dir} already holds another network, {previous['name']}; {remedy}")
    present = formats.present(out_dir)
    if source is None or previous or present is None:
        return
    if present.read_bytes() != source.read_bytes():
        raise UserError(f"{out_dir} already holds another {present.name} than {source}; {remedy}")


def _previous(out_dir: Path) -> dict[str, Any]:
    """The manifest in a folder, or {} where there is none that can be read."""
    try:
        return manifest.read(out_dir)
    except UserError:
        return {}


def _training(path: Path) -> dict[str, Any] | None:
    """What the manifest beside a network's file says of its training."""
    beside = _previous(path.parent)
    own = beside.get("files", {}).get(path.name) == manifest.sha256(path)
    return beside.get("training") if own else None


def write_format(
    quantised: QuantisedNetwork, style: str, float_path: Path, out_dir: Path
) -> list[str]:
    """Write the weights in another format, `c` or `hex`, into `out_dir`; returns the file names."""
    if (out_dir / manifest.FILE_NAME).exists() or formats.present(out_dir) is not None:
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


def _normalisation(path: Path, chosen: quantise.Options) -> Normalisation | None:
    """Of the pixels that a network is to take; by default as the export that the file is part of.

    None: it takes the codes of its own file.
    """
    if chosen.mean is None and chosen.std is None:
        return manifest.normalisation(_previous(path.parent))
    return chosen.normalisation


def find_network(source: str, out: Path | None) -> tuple[Path, Path, str]:
    """The file, output folder and name that the command line's NET or FILE stands for."""
    if torch_source.is_torch(source):
        raise UserError(torch_source.what_to_type(source))
    if source.lower().endswith(formats.SUFFIXES) or Path(source).is_file():
        path = Path(source)
        if not path.is_file():
            raise UserError(
                f"{path}: no such file; give a .onnx or .tflite file, or a network's name"
            )
        # A folder that an earlier export made is changed in place, any other left alone.
        made = path.stem == "network" and _previous(path.resolve().parent)
        out = out or (path.resolve().parent if made else places.MEM / path.stem)
        return path, out, out.resolve().name
    for folder in places.folders_of(source):
        found = formats.present(folder)
        if found is not None:
            return found, out or places.MEM / source, source
    if source in NETWORKS:
        raise UserError(f"mem/{source}/network.onnx is missing; run convstream train {source}")
    known = ", ".join(sorted({*places.networks("network.onnx"), *NETWORKS}))
    raise UserError(f"unknown network {source!r}; expected {known}, or a .onnx or .tflite file")


@command("export", __doc__)
@click.argument("network", metavar="NET|FILE|FILE.py:NAME")
@quantise.options()
@click.option("--cycles", type=COUNT, help="Cycles an image.  [default: full rate]")
@click.option("--multipliers", type=COUNT, help="As fast as so many multipliers allow.")
@click.option("--latency", type=COUNT, help="Add multipliers until an image takes so many cycles.")
@click.option(
    "--pixels-per-beat",
    type=click.Choice(PIXELS_PER_BEAT),
    default=1,
    help="Pixels that come in at once.",
)
@click.option("--out", type=Path, metavar="DIR", help="Folder to write.  [default: mem/NET]")
@click.option("--force", is_flag=True, help="Replace another network in that folder.")
@click.option("--dry-run", is_flag=True, help="Only show the folding.")
@click.option(
    "--format",
    type=click.Choice(["c", "hex"]),
    help="Only write the weights, as C initialisers or hex tables.  [to: build/export/NET/]",
)
def main(
    network: str,
    cycles: int | None,
    multipliers: int | None,
    latency: int | None,
    pixels_per_beat: int,
    out: Path | None,
    force: bool,
    dry_run: bool,
    format: str | None,
    **floats: Any,
) -> int:
    """The command line. Returns 0."""
    if cycles and multipliers:
        raise UserError("--cycles and --multipliers exclude each other; give one of them")
    chosen = quantise.Options(**floats)
    path: Path | None = None
    if chosen.given.images is None:
        path, out_dir, name = find_network(network, out)
        if replace(chosen, mean=None, std=None) != quantise.Options():
            raise UserError("--calibrate is missing, without which nothing becomes int8")
    else:
        out_dir = out or places.MEM / quantise.name_of(network)
        name = out_dir.resolve().name
    if format is None:
        check_name(name)
        if not (force or dry_run):
            check_folder(out_dir, name, path)
    with tempfile.TemporaryDirectory(prefix="convstream-") as scratch:
        beside: list[Path] = []
        if path is None:
            made = quantise.quantise(network, name, chosen)
            made.print_report()
            path, *beside = made.write(Path(scratch))
        if format:
            out_dir = out or BUILD / name / format
            quantised = formats.read(path, name)
            files = write_format(quantised, format, path.with_name("float.npz"), out_dir)
            print(f"{len(files)} file(s) in {places.shown(out_dir)}")
            return 0
        quantised = formats.read(path, name, _normalisation(path, chosen))
        for note in formats.notes(path, quantised):
            print(f"note: {note}", file=sys.stderr)
        with patience(f"{name}: choosing a folding"):
            folded = solve(
                quantised.network,
                cycles=cycles,
                multipliers=multipliers,
                pixels=pixels_per_beat,
                latency=latency,
                scalings=scalings(quantised),
            )
        if dry_run:
            warn_inexact(quantised)
            with patience(f"{name}: finding the depths of FIFOs"):
                buffering = buffers(folded)
            overview.print_table(manifest.describe(quantised, folded, buffering))
            return 0
        description = export(
            quantised,
            out_dir,
            folded=folded,
            source=path,
            training=_training(path),
            extra=beside,
            force=force,
        )
    overview.print_table(description)
    print(f"{len(description['files']) + 1 + len(beside)} files in {places.shown(out_dir)}")
    return 0


if __name__ == "__main__":
    run(main)
