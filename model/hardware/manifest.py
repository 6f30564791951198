"""`network.json`: the description of an exported network, with the SHA-256 of every file."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from convstream.model.base import places
from convstream.model.base.errors import UserError
from convstream.model.base.files import one_line, read_bytes
from convstream.model.hardware.folding import FoldedNetwork
from convstream.model.hardware.schedule import Buffers
from convstream.model.network.examples import NETWORKS
from convstream.model.network.exponents import shifts_of
from convstream.model.network.graph import IMAGE
from convstream.model.network.pixels import Normalisation
from convstream.model.network.quantised import QuantisedNetwork

FILE_NAME = "network.json"
_KEYS = ("name", "input_shape", "classes", "pixels_per_beat", "layers", "cycles", "files")
_REMEDY = "run convstream export for this network"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
MAX_FILE_BYTES = 4 << 20


def sha256(path: str | Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def to_text(manifest: dict[str, Any]) -> str:
    """Text of `network.json`: the manifest, followed by the SHA-256 of the manifest itself."""
    content = {key: value for key, value in manifest.items() if key != "sha256"}
    content["sha256"] = hashlib.sha256(json.dumps(content, indent=2).encode()).hexdigest()
    return json.dumps(content, indent=2) + "\n"


def read(folder: str | Path) -> dict[str, Any]:
    """The manifest of an exported network.

    Raises `UserError` if it is missing or altered, or names a file outside its folder.
    """
    path = Path(folder) / FILE_NAME
    try:
        content = read_bytes(path, MAX_FILE_BYTES)
    except UserError as error:
        raise UserError(f"{error}; {_REMEDY}") from None
    return parse(content, path)


def find(network: str) -> Path:
    """Folder of a network: the one of that name in mem/, or `network` itself if it is exported."""
    for folder in (*places.folders_of(network), Path(network)):
        if network and (folder / FILE_NAME).is_file():
            return folder
    if network in NETWORKS:
        raise UserError(
            f"mem/{network} holds no exported network; make it with: convstream train {network}"
        )
    known = ", ".join(places.networks(FILE_NAME)) or "(none)"
    raise UserError(f"unknown network {network!r}; expected all, or one of: {known}")


def label(network: str) -> str:
    """What the folders in build/ of the network that `find` finds are called."""
    folder = find(network)
    return places.label(folder, read(folder)["name"])


def parse(content: bytes, path: Path) -> dict[str, Any]:
    """The manifest in the content of the file `path`; see `read`."""
    try:
        manifest = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is truncated or altered ({one_line(error)}); {_REMEDY}") from None
    if not isinstance(manifest, dict):
        raise UserError(f"{path} is no description of a network; {_REMEDY}")
    missing = [key for key in (*_KEYS, "sha256") if key not in manifest]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}; {_REMEDY}")
    if to_text(manifest).encode() != content:
        raise UserError(
            f"{path} is truncated or altered: it is not what its SHA-256 says; {_REMEDY}"
        )
    files = manifest["files"]
    if not isinstance(files, dict) or not all(map(_FILE.fullmatch, files)):
        raise UserError(f"{path} names files outside its folder; {_REMEDY}")
    if not isinstance(manifest["name"], str) or not _NAME.fullmatch(manifest["name"]):
        raise UserError(f"{path} gives the network a name that no module can have; {_REMEDY}")
    del manifest["sha256"]
    return manifest


def verify(folder: str | Path, manifest: dict[str, Any] | None = None) -> dict[str, Any]:
    """The manifest, once every file that it names has proved to be present and unaltered.

    Raises `UserError` on the first file that is missing, truncated or altered.
    """
    folder = Path(folder)
    manifest = read(folder) if manifest is None else manifest
    for name, expected in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path} is missing; restore it or run convstream export again")
        if sha256(path) != expected:
            raise UserError(
                f"{path} is truncated or altered: its SHA-256 is not the one in "
                f"{folder / FILE_NAME}; restore it or run convstream export again"
            )
    return manifest


def modules(manifest: dict[str, Any]) -> list[str]:
    """File names of the network's own Verilog, its top among them."""
    return [name for name in manifest["files"] if name.endswith(".v")]


def _scales(quantised: QuantisedNetwork, name: str) -> dict[str, Any]:
    """Exponents where they say all, else scales and zero points, of the uint8 codes."""
    shifts = shifts_of(quantised)
    if shifts is not None:
        rounding = quantised.rounding(name)
        return {
            "input_exponent": shifts[name].input_exponent,
            "weight_exponent": shifts[name].weight_exponent,
            "output_exponent": shifts[name].output_exponent,
            "shift": None if rounding is None else rounding.shift,
        }
    site = quantised.site(name)
    output = site.output
    return {
        "input_scale": site.inputs[0].scale,
        "input_zero_point": site.zero_point,
        "weight_scale": None if site.weight_scale is None else site.weight_scale.tolist(),
        "output_scale": None if output is None else output.scale,
        "output_zero_point": None if output is None else output.zero_point,
        "output_range": None if output is None else [output.low, output.high],
    }


# How a product with a scale is rounded: see rtl/scale_round.v.
ROUNDINGS = ("half up", "float32", "float32, closed")


def fifo_depths(manifest: dict[str, Any]) -> dict[str, int]:
    """Beats of each FIFO, by stream: see `schedule.Buffers`."""
    own = {layer["name"]: layer["fifo_depth"] for layer in manifest["layers"]}
    return own | manifest.get("branch_fifo_depths", {})


def normalisation(manifest: dict[str, Any]) -> Normalisation | None:
    """Of the pixels that a network takes; None: it takes the codes of its own file."""
    found = manifest.get("normalisation")
    return None if found is None else Normalisation(tuple(found["mean"]), tuple(found["std"]))


def describe(
    quantised: QuantisedNetwork, folded: FoldedNetwork, buffering: Buffers
) -> dict[str, Any]:
    """The content of `network.json`, without the hashes and the training metrics."""
    network = quantised.network
    layers = []
    before = IMAGE
    for stage in folded.stages:
        depth = buffering.fifo_depths[stage.name]
        bits = 8
        if stage is folded.output and quantised.gives_sums:
            bits = quantised.accumulator_width(stage.name)
        layer: dict[str, Any] = {
            "name": stage.name,
            "kind": stage.node.layer.kind,
            "in_shape": list(stage.in_shape),
            "out_shape": list(stage.out_shape),
            **stage.attributes,
        }
        if stage.node.inputs != (before,):
            layer["inputs"] = list(stage.node.inputs)
        before = stage.name
        if stage.node.layer.accumulates:
            layer |= _scales(quantised, stage.name)
            layer["accumulator_width"] = quantised.accumulator_width(stage.name)
        if stage.scaling is not None:
            layer |= {
                "multiplier_bits": stage.scaling.width,
                "multiplier_shift": stage.scaling.shift,
                "multiplier_rounding": ROUNDINGS[stage.scaling.exact],
                "multiplier_clocks": stage.scale_clocks,
                "multiplier_products": stage.scale_multipliers,
            }
        if stage.folding is not None:
            layer |= asdict(stage.folding)
        layer |= {
            "lanes": stage.lanes,
            "pixels": stage.pixels,
            "out_lanes": stage.out_lanes,
            "out_pixels": stage.out_pixels,
            "input_beats": stage.input_beats,
            "output_beats": stage.output_beats,
            "multipliers": stage.multipliers,
            "cycles": stage.cycles,
            "utilisation": round(folded.utilisation_of(stage), 4),
            "rom_bits": stage.rom_bits,
            "fifo_depth": depth,
            "fifo_bits": depth * stage.out_pixels * stage.out_lanes * bits,
        }
        layers.append(layer)
    branches = [branch for fork in folded.streams.forks.values() for branch in fork]
    depths = {branch: buffering.fifo_depths[branch] for branch in branches}
    pixels = quantised.normalisation
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
        **({} if quantised.gives_sums else {"output_bits": quantised.output_bits}),
        **({} if pixels is None else {"normalisation": asdict(pixels)}),
        "flag_fifo_depth": buffering.flag_depth,
        **({"branch_fifo_depths": depths} if depths else {}),
        "layers": layers,
    }
