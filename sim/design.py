"""Everything needed to simulate an exported network, in a value that can go to other machines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from convstream.model.base import places
from convstream.model.base.errors import UserError
from convstream.model.formats.files import SUFFIXES, own, read
from convstream.model.hardware import manifest as manifests
from convstream.model.hardware import rom
from convstream.model.hardware.stream_order import slots
from convstream.model.learning.own_data import Takes
from convstream.model.network.examples import NETWORKS
from convstream.model.network.graph import IMAGE
from convstream.model.network.quantised import QuantisedNetwork
from convstream.model.network.reference import argmax

HARNESS = Path(__file__).with_name("harness.v")


@dataclass(frozen=True, eq=False)
class Design:
    """A network's folder and the Verilog around it, as they were when read.

    folder: where the files lie on the machine that read them. files: name to content of what the
    manifest lists, and of the manifest. sources: name to text of the network's own Verilog, rtl/*.v
    and harness.v.
    optimised: whether the C++ compiler optimises what Verilator writes; for a few images of a
    netlist that takes longer than it saves.
    """

    folder: str
    files: dict[str, bytes]
    sources: dict[str, str]
    optimised: bool = True

    @classmethod
    def read(cls, folder: Path, rtl: Path = places.RTL) -> Design:
        """Raises `UserError` where a file is missing, truncated or altered: its hash says so."""
        folder = folder.resolve()
        manifest = manifests.verify(folder)
        names = [*manifest["files"], manifests.FILE_NAME]
        top = f"{manifest['name']}.v"
        if top not in names or not any(f"network{end}" in names for end in SUFFIXES):
            raise UserError(
                f"{folder / manifests.FILE_NAME} lists no {top} or no network.onnx; "
                "run convstream export for this network"
            )
        files = {name: (folder / name).read_bytes() for name in names}
        paths = [*sorted(rtl.glob("*.v")), HARNESS]
        sources = {path.name: path.read_text(encoding="utf-8") for path in paths}
        sources |= {name: files[name].decode("utf-8") for name in manifests.modules(manifest)}
        return cls(str(folder), files, sources)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What `network.json` says."""
        return json.loads(self.files[manifests.FILE_NAME])

    @property
    def name(self) -> str:
        """Name of the network and of its top module."""
        return self.manifest["name"]

    @cached_property
    def sha256(self) -> str:
        """Of all files of the export: of what a report is about."""
        return hashlib.sha256(json.dumps(self.manifest["files"]).encode()).hexdigest()

    @property
    def label(self) -> str:
        """What its folders in build/ are called."""
        return places.label(Path(self.folder), self.name)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of an image."""
        channels, height, width = self.manifest["input_shape"]
        return channels, height, width

    @property
    def classes(self) -> int:
        """Logits an image."""
        return self.manifest["classes"]

    @property
    def cycles(self) -> int:
        """Predicted cycles from image to image."""
        return self.manifest["cycles"]

    @property
    def multipliers(self) -> int:
        """Multipliers of all layers."""
        return self.manifest["multipliers"]

    @property
    def input_bytes(self) -> int:
        """Bytes of an input beat."""
        return self.manifest["pixels_per_beat"] * self.input_shape[0]

    @property
    def input_beats(self) -> int:
        """Input beats an image."""
        return self.input_shape[1] * self.input_shape[2] // self.manifest["pixels_per_beat"]

    @cached_property
    def slots(self) -> np.ndarray:
        """int64 (beats, lanes): the logit, of the flattened (C, H, W), in each lane of the output.

        -1 where a lane is beyond the last channel.
        """
        return layer_slots(self.manifest["layers"][-1])

    def roms(self, layer: str) -> tuple[str, ...]:
        """File names of a layer's weights, biases and scales, as far as it has some."""
        return tuple(name for name in rom.names(self.name, layer) if name in self.files)

    @property
    def output_bits(self) -> int:
        """Bits of a logit: of an int32 sum, or of a uint8 code."""
        return self.manifest.get("output_bits", 32)

    @property
    def output_lanes(self) -> int:
        """Logits of an output beat."""
        return self.slots.shape[1]

    @cached_property
    def arrival(self) -> np.ndarray:
        """int64 (classes,): which logit of the flattened (C, H, W) output arrives as the n-th."""
        return self.slots[self.slots >= 0]

    def classify(self, logits: np.ndarray) -> np.ndarray:
        """int64 (N,) classes of int32 (N, classes) `logits`; of equals the first to arrive wins.

        Both are numbered as in the flattened (C, H, W).
        """
        return self.arrival[argmax(np.ascontiguousarray(logits[:, self.arrival]))]

    @property
    def macros(self) -> dict[str, str]:
        """What the harness must know when it is compiled."""
        return {
            "NETWORK": self.name,
            "IN_BYTES": str(self.input_bytes),
            "IN_BEATS": str(self.input_beats),
            "OUT_BITS": str(self.output_bits * self.output_lanes),
        }

    def beats(self, images: np.ndarray) -> np.ndarray:
        """uint8 (N * input_beats, input_bytes) of uint8 (N, C, H, W): lowest channel first."""
        return np.ascontiguousarray(images.transpose(0, 2, 3, 1)).reshape(-1, self.input_bytes)

    def read_network(self, folder: Path) -> QuantisedNetwork:
        """The weights, from the network's own file in `folder`."""
        return read(own(folder), self.name, manifests.normalisation(self.manifest))

    @property
    def takes(self) -> Takes:
        """What images it takes."""
        return Takes.of(self.manifest, self.read_network(Path(self.folder)).codes[IMAGE])

    def place(self, scratch: Path) -> Path:
        """A folder on this machine that holds `files`: the original one, else a copy in `scratch`.

        A file altered since `read` counts as missing, so all shards of a run see the same weights.
        """
        folder = Path(self.folder)
        if all(_holds(folder / name, content) for name, content in self.files.items()):
            return folder
        scratch.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (scratch / name).write_bytes(content)
        return scratch


def layer_slots(layer: dict[str, Any]) -> np.ndarray:
    """`stream_order.slots` of the output of a layer, given as the manifest describes it."""
    return slots(tuple(layer["out_shape"]), layer["out_lanes"], layer["out_pixels"])


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.read_bytes() == content
    except OSError:
        return False


def read_all(networks: Sequence[str]) -> list[Design]:
    """The networks of these names or folders; `all` is every one in the table."""
    names = [name for given in networks for name in (NETWORKS if given == "all" else [given])]
    if not names:
        raise UserError("no network given; expected all, or names of networks")
    return [Design.read(manifests.find(name)) for name in names]
