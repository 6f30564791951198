"""Draw what each layer of a network makes of an image, and how well int8 holds its values.

    convstream draw lenet5 --image 7              # of the test images, counted from 0
    convstream draw lenet5 --image digit.png --rtl
    convstream draw hw/my --data photos/ --image 7

Writes two pictures to build/draw/NET/: the image, every layer's feature maps and the logits; and
histograms of weights and activations. The maps are the integers of the int8 reference; with --rtl
those of the simulated hardware, where each cell that differs from the reference is marked.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from convstream.model.base import errors, pictures, places
from convstream.model.base.commands import command
from convstream.model.hardware import manifest as manifests
from convstream.model.learning import data
from convstream.model.learning.options import data_options
from convstream.model.learning.own_data import DataFiles, Takes, load_own, title
from convstream.model.network import reference
from convstream.model.network.codes import exponent_of
from convstream.model.network.graph import IMAGE, Node
from convstream.model.network.quantised import QuantisedNetwork
from convstream.sim import options, tools
from convstream.sim.design import Design
from convstream.sim.probe import layer_outputs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Maps = dict[str, np.ndarray]
"""Integers (C, H, W) by layer."""

BUILD = places.BUILD / "draw"
SAMPLE = 256
WIDTH_INCHES = 11.0
# A row of maps may be so many times as wide as high.
ASPECT = 9.0
MARK = "#ff0000"


@dataclass(frozen=True, eq=False)
class Subject:
    """An image to look at.

    image: uint8 (C, H, W). name: what a title calls it; label: its class, or None. sample: uint8
    (N, C, H, W), images that the histograms of activations are of. classes: their names, or None.
    """

    image: np.ndarray
    name: str
    label: int | None
    sample: np.ndarray
    classes: tuple[str, ...] | None = None


def choose(takes: Takes, source: str, given: DataFiles) -> Subject:
    """The image of number `source` of the `given` ones, or the first in the file of that name."""
    numbered = source.lstrip("-").isdecimal()
    if numbered:
        found = data.load_for(takes, given, remedy="name a file with --image")
        index = int(source)
        data.check_number(index, found.images, found.name)
        name, sample = f"image {index} of {found.name}", found
    else:
        found = sample = load_own(given._replace(images=source, labels=None), takes)
        index, name = 0, Path(source).name
        if given.images is not None:
            sample = load_own(given, takes)
        elif len(found.images) == 1 and takes.shape == data.DIGIT:
            sample = found._replace(images=data.load_images("test").images[:, None], labels=None)
            sample = sample._replace(names=None)
    return Subject(
        found.images[index],
        name,
        None if found.labels is None else int(found.labels[index]),
        sample.first(min(SAMPLE, len(sample.images))).images,
        found.classes,
    )


def features_of(quantised: QuantisedNetwork, image: np.ndarray) -> Maps:
    """int64 (C, H, W) by layer, of the int8 reference: uint8 values, int32 ones of the last."""
    outputs = reference.features(quantised, image[None])
    return {name: output[0].astype(np.int64) for name, output in outputs.items()}


def scale_text(scales: np.ndarray | float) -> str:
    """Scales as powers of two where they are, each beside the other."""
    texts = []
    for scale in np.unique(scales)[[0, -1]].tolist():
        exponent = exponent_of(scale)
        texts.append(f"{scale:.3g}" if exponent is None else f"2^{-exponent}")
    return " to ".join(dict.fromkeys(texts))


def saturation(quantised: QuantisedNetwork, node: Node, inputs: list[np.ndarray]) -> float:
    """Share of a layer's outputs that are clamped from above. inputs: uint8 (N, C, H, W)."""
    rounding = quantised.rounding(node.name)
    assert rounding is not None
    sums = node.layer.integers(inputs, node.layer.operands(quantised.site(node.name)))
    return float((rounding.unclamped(sums) > rounding.high).mean())


def draw_features(
    quantised: QuantisedNetwork,
    subject: Subject,
    features: Maps,
    rtl: Maps | None,
    path: Path,
) -> dict[str, int]:
    """The image, the maps of each hidden layer and the logits, as a PNG.

    features: of the reference; rtl: of the simulation, drawn in their stead if
    given, with a mark on each cell that differs. Returns the number of such cells of each layer.
    """
    network = quantised.network
    shown = features if rtl is None else rtl
    differs = {name: maps != shown[name] for name, maps in features.items()}
    last = network.output.name
    hidden = [(name, maps, differs[name]) for name, maps in shown.items() if name != last]
    # What is unknown in the simulation is left blank.
    known = [np.where(maps < 0, np.nan, maps) for _, maps, _ in hidden]
    drawn = [pictures.mosaic(maps, columns_of(maps)) for maps in known]
    heights = [_inches(picture) for picture in drawn]
    made = pictures.figure(WIDTH_INCHES, 3.0 + sum(heights) + 0.35 * len(heights))
    grid = made.add_gridspec(len(hidden) + 1, 1, height_ratios=[2.6, *heights])
    top = grid[0].subgridspec(1, 2, width_ratios=[1, 2.5])
    _draw_image(made.add_subplot(top[0]), subject)
    _draw_logits(made.add_subplot(top[1]), quantised, shown[last], differs[last], subject)
    for row, ((name, maps, wrong), picture) in enumerate(zip(hidden, drawn, strict=True), 1):
        axes = made.add_subplot(grid[row])
        axes.imshow(picture, cmap="viridis", vmin=0, vmax=255, interpolation="nearest")
        axes.set_axis_off()
        y, x = np.nonzero(pictures.mosaic(wrong, columns_of(wrong)) == 1)
        axes.plot(x, y, "s", color=MARK, markerfacecolor="none", markersize=4)
        size = "x".join(map(str, maps.shape))
        title = f"{name}: {size}, largest {maps.max()}, {np.mean(maps == 0):.0%} zeros"
        if rtl is not None:
            title += f", {wrong.sum():,} of {wrong.size:,} cells differ from the reference"
        axes.set_title(title, fontsize=9, loc="left", color=MARK if wrong.any() else "black")
    source = "the int8 reference" if rtl is None else "the simulated RTL"
    made.suptitle(f"{network.name}, {subject.name}: integers of {source}")
    pictures.save(made, path)
    return {name: int(wrong.sum()) for name, wrong in differs.items()}


def columns_of(maps: np.ndarray) -> int:
    """How many of the maps (C, H, W) to lay side by side: rows fill the width, none is too high."""
    count, height, width = maps.shape
    return min(count, max(1, round(math.sqrt(count * ASPECT * (height + 1) / (width + 1)))))


def _inches(picture: np.ndarray) -> float:
    return min(5.0, max(0.3, 0.95 * WIDTH_INCHES * picture.shape[0] / picture.shape[1]))


def _draw_image(axes: Axes, subject: Subject) -> None:
    image = subject.image
    axes.imshow(pictures.pixels(image), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_axis_off()
    label = ""
    if subject.label is not None:
        label = f", label {title(subject.label, subject.classes)}"
    axes.set_title(f"image: {'x'.join(map(str, image.shape))}{label}", fontsize=9, loc="left")


def _draw_logits(
    axes: Axes,
    quantised: QuantisedNetwork,
    logits: np.ndarray,
    wrong: np.ndarray,
    subject: Subject,
) -> None:
    values, wrong = logits.ravel(), wrong.ravel()
    known = np.where(values == np.iinfo(np.int32).min, 0, values)
    winner = int(known.argmax())
    colours = ["C1" if index == winner else "C0" for index in range(len(known))]
    axes.bar(range(len(known)), known, color=colours)
    axes.plot(
        np.nonzero(wrong)[0], known[wrong], "s", color=MARK, markerfacecolor="none", markersize=9
    )
    if len(known) <= 20:
        axes.set_xticks(range(len(known)), subject.classes)
    axes.axhline(0, color="black", lw=0.6)
    name = quantised.network.output.name
    label, classes = subject.label, subject.classes
    verdict = f"class {title(winner, classes)}"
    if label is not None:
        verdict += ", right" if winner == label else f", but the label is {title(label, classes)}"
    marked = f"; {wrong.sum()} differ from the reference" if wrong.any() else ""
    axes.set_title(f"{name}: logits (int32), {verdict}{marked}", fontsize=9, loc="left")
    axes.grid(axis="y", alpha=0.3)


def draw_histograms(
    quantised: QuantisedNetwork, sample: np.ndarray, path: Path
) -> list[dict[str, Any]]:
    """Weights and activations of each layer against the int8 range, as a PNG.

    sample: uint8 (N, C, H, W). Returns a row a layer: `name`; `weights_at_the_ends`, the share of
    weights that are -128 or 127; `saturated` and `zeros`, the shares of outputs that are clamped to
    255, and 0 (None for the logits).
    """
    network = quantised.network
    outputs = {IMAGE: sample, **reference.features(quantised, sample)}
    weighted = network.weighted
    made = pictures.figure(WIDTH_INCHES, 2.2 * len(weighted) + 0.5)
    panels = made.subplots(len(weighted), 2, squeeze=False)
    rows = []
    for (left, right), node in zip(panels, weighted, strict=True):
        name, own = node.name, quantised.parameters[node.name]
        weights = own.weight.ravel()
        ends = float(((weights == -128) | (weights == 127)).mean())
        _histogram(left, weights, np.arange(-128.5, 128.5), "C0")
        left.axvspan(-133, -128.5, color="red", alpha=0.2)
        left.axvspan(127.5, 132, color="red", alpha=0.2)
        left.set_xlim(-133, 132)
        left.set_title(
            f"{name}: {weights.size:,} weights, scale {scale_text(own.weight_scale)}, "
            f"{ends:.2%} at the ends",
            fontsize=9,
            loc="left",
        )
        saturated = zeros = None
        values = outputs[name].ravel()
        codes = quantised.codes_of(name)
        if codes is None:
            _histogram(right, values, 60, "C2")
            right.set_title(f"{name}: logits, int32", fontsize=9, loc="left")
        else:
            saturated = saturation(quantised, node, [outputs[source] for source in node.inputs])
            zeros = float((values == codes.zero_point).mean())
            _histogram(right, values, np.arange(-0.5, 256.5), "C1")
            right.axvspan(255.5, 262, color="red", alpha=0.2)
            right.set_xlim(-4, 262)
            right.set_title(
                f"{name}: activations, scale {scale_text(codes.scale)}, "
                f"{saturated:.2%} saturate, {zeros:.0%} are 0",
                fontsize=9,
                loc="left",
            )
        rows.append(
            {
                "name": name,
                "weights_at_the_ends": ends,
                "saturated": saturated,
                "zeros": zeros,
            }
        )
    made.suptitle(f"{network.name}: weights and activations in int8, {len(sample):,} images")
    pictures.save(made, path)
    return rows


def _histogram(axes: Axes, values: np.ndarray, bins: np.ndarray | int, colour: str) -> None:
    counts, edges = np.histogram(values, bins)
    axes.stairs(counts, edges, fill=True, color=colour)
    axes.set_yscale("log")
    axes.set_ylim(0.7, None)


@command("draw", __doc__)
@click.argument("network", metavar="NET")
@click.option(
    "--image", default="0", metavar="FILE|INDEX", help="A file of images, or a number in the data."
)
@click.option("--rtl", is_flag=True, help="Take the maps from the simulation.")
@options.simulator
@data_options()
@click.option("--out", type=Path, metavar="DIR", help="Folder to write.  [default: build/draw/NET]")
def main(network: str, image: str, rtl: bool, sim: str, given: DataFiles, out: Path | None) -> int:
    """The command line: 0, or 1 where a cell of the RTL differs from the reference."""
    design = Design.read(manifests.find(network))
    quantised = design.read_network(Path(design.folder))
    subject = choose(design.takes, image, given)
    out = out or BUILD / design.label
    simulated = None
    if rtl:
        tools.check(sim)
        simulated = layer_outputs(design, subject.image, BUILD / design.label / "rtl", sim)
    features = features_of(quantised, subject.image)
    stem = Path(image).stem
    wrong = draw_features(quantised, subject, features, simulated, out / f"{stem}.png")
    rows = draw_histograms(quantised, subject.sample, out / "histograms.png")
    for row in rows:
        line = f"{row['name']}: {row['weights_at_the_ends']:.2%} of the weights at the ends"
        if row["saturated"] is not None:
            line += f", {row['saturated']:.2%} of the activations saturate"
        print(line)
    print(f"{out / f'{stem}.png'}\n{out / 'histograms.png'}")
    for name, count in wrong.items():
        if count:
            print(f"{name}: {count:,} cells of the RTL differ from the reference", file=sys.stderr)
    return int(any(wrong.values()))


if __name__ == "__main__":
    errors.run(main)
