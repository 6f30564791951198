"""Turns `network.onnx` into what hardware needs: ROM contents, the top module, `network.json`.

python model/export.py lenet5
python model/export.py lenet5 --cycles 1568 --dry-run
python model/export.py my.onnx --out mem/my --multipliers 100
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[1]
if __package__ in (None, ""):
    # As a script: find the package, and keep its modules from shadowing the standard library.
    sys.path[0] = str(ROOT)

import numpy as np  # noqa: E402

from model.hardware import manifest, rom, verilog  # noqa: E402
from model.base.errors import UserError, run  # noqa: E402
from model.base.folders import put_in_place, staging  # noqa: E402
from model.hardware.folding import PIXELS_PER_BEAT, FoldedNetwork, solve  # noqa: E402
from model.network.examples import NETWORKS  # noqa: E402
from model.hardware.schedule import Buffers, buffers  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.network.quantised import Parameters, QuantisedNetwork

MEM = ROOT / "mem"
BUILD = ROOT / "build" / "export"
FLOAT32_EXACT = 2**24  # ONNX Runtime sums the last layer in float32


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

    cycles, multipliers, pixels, latency: the folding's target, see `folding.solve`; by default full
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
        folded = solve(
            quantised.network,
            cycles=cycles,
            multipliers=multipliers,
            pixels=pixels,
            latency=latency,
        )
    buffering = buffers(folded)
    warn_inexact(quantised)
    files = memory.rom_files(quantised, folded)
    files[f"{name}.v"] = verilog.top(quantised, folded, buffering)

    with staging(out_dir) as folder:
        if onnx is None:
            from model.formats.onnx import write_onnx

            write_onnx(quantised, folder / "network.onnx")
        else:
            shutil.copyfile(onnx, folder / "network.onnx")
        for file, text in files.items():
            (folder / file).write_text(text, encoding="ascii")
        hashes = {path.name: manifest.sha256(path) for path in sorted(folder.iterdir())}
        previous = _previous(out_dir)
        if training is None and previous.get("files", {}).get("network.onnx") == hashes.get(
            "network.onnx"
        ):
            training = previous.get("training")
        description = describe(quantised, folded, buffering)
        description["files"] = hashes
        if training is not None:
            description["training"] = training
        (folder / manifest.FILE_NAME).write_text(manifest.to_text(description), encoding="utf-8")
        for path in extra:
            shutil.copyfile(path, folder / path.name)
        stale = previous.get("files", {}).keys() - hashes.keys()
        names = [*hashes, manifest.FILE_NAME, *(path.name for path in extra)]
        put_in_place(folder, out_dir, names, stale)
    return description


def describe(
    quantised: QuantisedNetwork, folded: FoldedNetwork, buffering: Buffers
) -> dict[str, Any]:
    """The content of `network.json`, but for the hashes and the training metrics."""
    network = quantised.network
    layers = []
    for stage, parameters, depth in zip(
        folded.stages, quantised.parameters, buffering.fifo_depths, strict=True
    ):
        bits = parameters.accumulator_width if stage is folded.stages[-1] else 8
        layer: dict[str, Any] = {
            "name": stage.name,
            "kind": stage.kind,
            "in_shape": list(stage.in_shape),
            "out_shape": list(stage.out_shape),
        }
        if stage.kind != "fc":
            layer |= {
                "kernel": stage.layer.kernel,
                "stride": stage.layer.stride,
                "padding": stage.layer.padding,
            }
        if parameters is not None:
            layer |= {
                "input_exponent": parameters.input_exponent,
                "weight_exponent": parameters.weight_exponent,
                "output_exponent": parameters.output_exponent,
                "shift": parameters.shift,
                "accumulator_width": parameters.accumulator_width,
                "pe": stage.folding.pe,
                "simd": stage.folding.simd,
                "input_major": stage.folding.input_major,
                "fabric": stage.folding.fabric,
            }
        layer |= {
            "lanes": stage.lanes,
            "pixels": stage.pixels,
            "out_lanes": stage.out_lanes,
            "out_pixels": stage.out_pixels,
            "input_beats": stage.input_beats,
            "output_beats": stage.output_beats,
            "multipliers": stage.multipliers,
            "cycles": stage.cycles,
            "utilisation": round(_utilisation(stage, folded), 4),
            "rom_bits": stage.rom_bits,
            "fifo_depth": depth,
            "fifo_bits": depth * stage.out_pixels * stage.out_lanes * bits,
        }
        layers.append(layer)
    return {
        "name": network.name,
        "input_shape": list(network.input_shape),
        "classes": network.classes,
        "pixels_per_beat": folded.pixels,
        "input_beats": folded.input_beats,
        "cycles": folded.cycles,
        "latency": buffering.latency,
        "multipliers": folded.multipliers,
        "utilisation": round(folded.utilisation, 4),
        "macs": network.macs,
        "parameters": network.parameters,
        "flag_fifo_depth": buffering.flag_depth,
        "layers": layers,
    }


def warn_inexact(quantised: QuantisedNetwork) -> None:
    """Say so where the logits can be too large for a float32 runtime to be exact."""
    bound = quantised.parameters[-1].accumulator_bound
    if bound >= FLOAT32_EXACT:
        layer = quantised.network.layer_names[-1]
        print(
            f"warning: {layer}: logits can reach {bound}, 2^24 or more; "
            "ONNX Runtime, which sums in float32, may differ; the reference and the RTL are exact",
            file=sys.stderr,
        )


def check_name(name: str) -> None:
    """Raise `UserError` where a network's name cannot be that of its module."""
    verilog.check_name(name, frozenset(path.stem for path in (ROOT / "rtl").glob("*.v")))


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


def _utilisation(stage: Any, folded: FoldedNetwork) -> float:
    """Share of the stage's multiplier cycles, at the network's pace, that does useful work."""
    if not stage.multipliers:
        return 0.0
    return stage.macs / (stage.multipliers * folded.cycles)


def print_table(folded: FoldedNetwork, buffering: Buffers) -> None:
    """The folding as a table in the terminal."""
    from rich.console import Console
    from rich.table import Table

    total_rom = sum(stage.rom_bits for stage in folded.stages)
    table = Table(
        title=f"{folded.network.name}: an image every {folded.cycles:,} cycles, "
        f"latency {buffering.latency:,}",
        show_footer=True,
    )
    columns = (
        ("layer", "total"),
        ("PE", ""),
        ("SIMD", ""),
        ("multipliers", f"{folded.multipliers:,}"),
        ("cycles", f"{folded.cycles:,}"),
        ("utilisation", f"{folded.utilisation:.1%}"),
        ("ROM bits", f"{total_rom:,}"),
        ("FIFO depth", f"{sum(buffering.fifo_depths):,}"),
    )
    for index, (title, footer) in enumerate(columns):
        table.add_column(title, footer, justify="right" if index else "left")
    for stage, depth in zip(folded.stages, buffering.fifo_depths, strict=True):
        if stage.folding is None:
            cells = ["", "", "", f"{stage.interval:,}", "", ""]
        else:
            cells = [
                f"{stage.folding.pe:,}",
                f"{stage.folding.simd:,}",
                f"{stage.multipliers:,}",
                f"{stage.interval:,}",
                f"{_utilisation(stage, folded):.1%}",
                f"{stage.rom_bits:,}",
            ]
        table.add_row(stage.name, *cells, f"{depth:,}")
    console = Console()
    if not console.is_terminal:
        console = Console(width=100)
    console.print(table)


def draw_occupancy(folded: FoldedNetwork, path: Path) -> None:
    """Bar chart, as PNG, of the share of the time that each stage is busy."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = ["input", *(stage.name for stage in folded.stages)]
    cycles = [folded.input_beats, *(stage.interval for stage in folded.stages)]
    shares = [100 * value / folded.cycles for value in cycles]
    colours = ["tab:gray"] + [
        "tab:blue" if stage.folding else "tab:gray" for stage in folded.stages
    ]
    figure, axes = pyplot.subplots(figsize=(8, 1.2 + 0.4 * len(names)), layout="constrained")
    bars = axes.barh(names, shares, color=colours)
    axes.bar_label(bars, [f"{value:,}" for value in cycles], padding=3)
    axes.invert_yaxis()
    axes.set_xlim(0, 112)
    axes.set_xlabel(f"busy, % of the {folded.cycles:,} cycles between images (bars: cycles)")
    axes.set_title(
        f"{folded.network.name}: {folded.multipliers:,} multipliers, "
        f"{folded.utilisation:.1%} utilised"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        figure.savefig(temporary, format="png", dpi=120)
        temporary.replace(path)
    finally:
        pyplot.close(figure)
        temporary.unlink(missing_ok=True)


def c_rows(name: str, values: np.ndarray) -> str:
    """A float32 tensor as C initialisers: a line with name and shape, then a row a filter."""
    rows = values.reshape(len(values), -1) if values.ndim > 1 else values.reshape(1, -1)
    lines = [f"{name}, shape: ({', '.join(map(str, values.shape))}{',' * (values.ndim == 1)})"]
    lines += ["{" + ", ".join(map(str, row)) + "}," for row in rows.astype(np.float32)]
    return "\n".join(lines) + "\n"


def c_files(quantised: QuantisedNetwork, float_path: Path) -> dict[str, str]:
    """The float weights as C initialiser rows, in one file.

    Without `float_path` (`float.npz`) they are what the int8 weights stand for, and that is said.
    """
    tensors: dict[str, np.ndarray] = {}
    if float_path.is_file():
        from model.network.floats import FloatNetwork

        tensors |= FloatNetwork.load(quantised.network, float_path).parameters
    else:
        print(
            f"note: no {float_path.name} beside network.onnx: writing what the int8 weights stand "
            "for",
            file=sys.stderr,
        )
        for name, values in _layers_with_weights(quantised).items():
            bias_exponent = values.input_exponent + values.weight_exponent
            tensors[f"{name}.weight"] = np.ldexp(
                values.weight.astype(np.float32), -values.weight_exponent
            )
            tensors[f"{name}.bias"] = np.ldexp(values.bias.astype(np.float32), -bias_exponent)
    return {"weights.txt": "".join(c_rows(name, values) for name, values in tensors.items())}


def hex_files(quantised: QuantisedNetwork) -> dict[str, str]:
    """The int8 network as two's-complement hex tables, in ONNX's order, for `$readmemh`.

    conv: `<layer>_weight_<n>.mem` a filter, n from 1: a line a kernel row, input channels one after
    the other. fc: `<layer>_weight.mem`, a line an output. `<layer>_bias.mem`: a line a channel.
    """
    files = {}
    for name, values in _layers_with_weights(quantised).items():
        if values.weight.ndim == 4:
            for number, kernel in enumerate(values.weight, 1):
                rows = kernel.reshape(-1, kernel.shape[-1])
                files[f"{name}_weight_{number}.mem"] = _hex_rows(rows)
        else:
            files[f"{name}_weight.mem"] = _hex_rows(values.weight)
        files[f"{name}_bias.mem"] = _hex_rows(values.bias.reshape(-1, 1))
    return files


def _hex_rows(rows: np.ndarray) -> str:
    digits = 2 * rows.dtype.itemsize
    mask = (1 << 4 * digits) - 1
    return "".join(
        " ".join(f"{value & mask:0{digits}x}" for value in row) + "\n" for row in rows.tolist()
    )


def _layers_with_weights(quantised: QuantisedNetwork) -> dict[str, Parameters]:
    pairs = zip(quantised.network.layer_names, quantised.parameters, strict=True)
    return {name: values for name, values in pairs if values is not None}


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
    files = c_files(quantised, float_path) if style == "c" else hex_files(quantised)
    with staging(out_dir) as folder:
        for name, text in files.items():
            (folder / name).write_text(text, encoding="ascii")
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


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


_positive.__name__ = "positive number"


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="model/export.py",
        description="Fold a quantised network and write its ROM contents and top module.",
    )
    parser.add_argument("network", metavar="NET|FILE.onnx", help="a folder in mem/, or a file")
    target = parser.add_mutually_exclusive_group()
    target.add_argument(
        "--cycles", type=_positive, metavar="N", help="cycles an image; default: full rate"
    )
    parser.add_argument(
        "--latency",
        type=_positive,
        metavar="N",
        help="add multipliers until an image takes N cycles",
    )
    target.add_argument(
        "--multipliers", type=_positive, metavar="N", help="as fast as N multipliers allow"
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
    options = parser.parse_args(arguments)

    onnx, out_dir, name = find_network(options.network, options.out)
    if options.format:
        if options.out is None:
            name = name if onnx.is_relative_to(MEM) else onnx.stem
            out_dir = BUILD / name / options.format
        return _main_format(onnx, name, options.format, out_dir)
    check_name(name)
    from model.formats.onnx import read_onnx

    quantised = read_onnx(onnx, name)
    folded = solve(
        quantised.network,
        cycles=options.cycles,
        multipliers=options.multipliers,
        pixels=options.pixels_per_beat,
        latency=options.latency,
    )
    if options.dry_run:
        warn_inexact(quantised)
        print_table(folded, buffers(folded))
        chart = BUILD / f"{name}.png"
        draw_occupancy(folded, chart)
        print(f"stage occupancy: {_shown(chart)}")
        return 0
    if options.network.endswith(".onnx"):
        check_folder(out_dir, name, onnx)
    described = export(quantised, out_dir, folded=folded, onnx=onnx)
    print_table(folded, buffers(folded))
    print(f"{len(described['files']) + 1} files in {_shown(out_dir)}")
    return 0


def _main_format(onnx: Path, name: str, style: str, out_dir: Path) -> int:
    from model.formats.onnx import read_onnx

    files = write_format(read_onnx(onnx, name), style, onnx.with_name("float.npz"), out_dir)
    print(f"{len(files)} file(s) in {_shown(out_dir)}")
    return 0


def _shown(path: Path) -> Path:
    """A path as short as the user would write it."""
    path = path.resolve()
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


if __name__ == "__main__":
    run(main)
