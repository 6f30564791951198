"""Write a page about a network to send to a colleague: one HTML file that needs nothing else.

    convstream report lenet5
    convstream report hw/my --data photos/          # a folder for each class
    convstream report hw/my --data x.npy --labels y.npy --classes names.txt --out my.html

Layers, accuracy, mistakes, folding, timing, resources, checks and the feature maps of one image.
The int8 reference classifies the images; all else is from the export and from what earlier runs
have left in build/. By default the page is build/report/NET.html.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import click
import numpy as np

from convstream import versions
from convstream.model.base import errors, pictures, places
from convstream.model.base.commands import command
from convstream.model.base.files import write_atomically
from convstream.model.evaluate import confusion
from convstream.model.formats import files
from convstream.model.hardware import manifest as manifests
from convstream.model.hardware.overview import requantising
from convstream.model.learning import data
from convstream.model.learning.options import data_options
from convstream.model.learning.own_data import LAYOUTS, DataFiles, Images, title
from convstream.model.network import reference
from convstream.model.network.graph import IMAGE
from convstream.model.network.quantised import QuantisedNetwork
from convstream.sim.design import Design
from convstream.sim.draw import Maps, columns_of, features_of, scale_text
from convstream.sim.records import Records, counted, known

BUILD = places.BUILD / "report"
TEMPLATE = "report.html.jinja"
WORST = 12  # images shown
MOST_CLASSES = 20  # of a confusion matrix; of more, the commonest mistakes are listed
COMMONEST = 15
MOST_LOGITS = 10  # of the image whose feature maps are shown
WIDTH = 880  # CSS pixels of a picture of feature maps, at most
LARGEST_CELL = 24

Row = dict[str, Any]


@dataclass(frozen=True)
class Picture:
    """A picture within the page. url: its content. width: CSS pixels. text: for who sees none."""

    url: str
    width: int
    text: str

    @classmethod
    def of(cls, pixels: np.ndarray, width: int, text: str) -> Picture:
        """pixels: uint8 (H, W), or (H, W, 3 or 4). width: of the longer side, about."""
        content = base64.b64encode(pictures.png(pixels)).decode()
        cell = max(1, min(LARGEST_CELL, width // max(pixels.shape[:2])))
        return cls(f"data:image/png;base64,{content}", cell * pixels.shape[1], text)


@dataclass(frozen=True, eq=False)
class Judgement:
    """Classes that the reference gives to images with labels.

    classes: int64 (N,). margins: int64 (N,), the logit of the label minus the largest other one,
    negative of a mistake. names: of the classes.
    """

    images: Images
    labels: np.ndarray
    classes: np.ndarray
    margins: np.ndarray
    names: list[str]

    @classmethod
    def of(cls, quantised: QuantisedNetwork, images: Images) -> Judgement | None:
        """None: there are no labels, or nothing to choose from."""
        count = quantised.network.classes
        if images.labels is None or count < 2:
            return None
        logits = reference.predict(quantised, images.images)
        own = np.arange(len(logits)), images.labels
        others = logits.astype(np.int64)
        others[own] = np.iinfo(np.int64).min
        return cls(
            images,
            images.labels,
            reference.argmax(logits),
            logits[own] - others.max(axis=1),
            [title(number, images.classes) for number in range(count)],
        )

    @property
    def right(self) -> int:
        """Number of images given their label."""
        return int((self.classes == self.labels).sum())

    @property
    def accuracy(self) -> float:
        """In percent."""
        return 100 * self.right / len(self.labels)

    @cached_property
    def matrix(self) -> np.ndarray:
        """int64 (classes, classes): images by label and class given."""
        return confusion(self.labels, self.classes, len(self.names))

    @property
    def most_mistaken(self) -> int:
        """The largest number of mistakes in a cell of the matrix, at least 1."""
        return max(1, int((self.matrix * (1 - np.eye(len(self.matrix), dtype=np.int64))).max()))

    @property
    def commonest(self) -> list[Row]:
        """The commonest mistakes, where the matrix is too large to be shown."""
        mistakes = self.matrix.copy()
        np.fill_diagonal(mistakes, 0)
        order = np.argsort(-mistakes, axis=None, kind="stable")[:COMMONEST]
        pairs = zip(*np.unravel_index(order, mistakes.shape), strict=True)
        return [
            {
                "label": self.names[label],
                "given": self.names[given],
                "count": mistakes[label, given],
            }
            for label, given in pairs
            if mistakes[label, given]
        ]

    @property
    def worst(self) -> list[Row]:
        """The images of least margin."""
        numbers = np.argsort(self.margins, kind="stable")[:WORST].tolist()
        return [self._shown(number) for number in numbers]

    def _shown(self, number: int) -> Row:
        label, given = (self.names[int(of[number])] for of in (self.labels, self.classes))
        row = {
            "image": named(self.images, number),
            "label": label,
            "given": given,
            "right": bool(self.classes[number] == self.labels[number]),
            "margin": int(self.margins[number]),
        }
        pixels = pictures.pixels(self.images.images[number])
        row["picture"] = Picture.of(pixels, 140, f"{row['image']}, label {label}")
        return row


def images_for(design: Design, given: DataFiles) -> Images | None:
    """The images `given`, or else the test set of what the network learned; None: there is none."""
    takes = design.takes
    learned = takes.shape == data.DIGIT and (takes.trained or "").startswith(data.OURS)
    if given.images is None and not learned:
        return None
    return data.load_for(takes, given)


def stages_of(design: Design, quantised: QuantisedNetwork) -> list[Row]:
    """What the manifest says of each layer, with what the network adds to it."""
    rows = []
    for layer in design.manifest["layers"]:
        node = quantised.network[layer["name"]]
        own = quantised.parameters.get(node.name)
        busy = max(layer["cycles"], layer["input_beats"], layer["output_beats"])
        rows.append(
            layer
            | {
                "window": _window(layer),
                "parameters": node.parameters,
                "macs": node.macs,
                "weights": "" if own is None else scale_text(own.weight_scale),
                "requantising": requantising(layer),
                "busy": busy,
                "occupancy": busy / design.cycles,
            }
            | coding(quantised, node.name)
        )
    return rows


def coding(quantised: QuantisedNetwork, name: str) -> Row:
    """Scale and zero point of a tensor; of raw sums no zero point."""
    codes = quantised.codes_of(name)
    if codes is None:
        return {"codes": "", "zero": None}
    return {"codes": scale_text(codes.scale), "zero": codes.zero_point}


def _window(layer: Row) -> str:
    """Kernel, stride and so on, as far as a layer has them."""
    parts = []
    if "kernel" in layer:
        sizes = layer["kernel"]
        rows, columns = (sizes, sizes) if isinstance(sizes, int) else sizes
        parts.append(f"{rows}×{columns}")
    for name, usual in (("stride", 1), ("padding", 0), ("dilation", 1), ("groups", 1)):
        sizes = layer.get(name, usual)
        if sizes != usual:
            text = str(sizes) if isinstance(sizes, int) else " ".join(map(str, sizes))
            parts.append(f"{name} {text}")
    return ", ".join(parts)


def drawn(quantised: QuantisedNetwork, maps: Maps) -> list[Row]:
    """A picture of the feature maps of each layer but the last."""
    import matplotlib

    colours = matplotlib.colormaps["viridis"]
    rows = []
    for name, own in maps.items():
        if name == quantised.network.output.name:
            continue
        codes = quantised.codes_of(name)
        assert codes is not None
        tiled = pictures.mosaic(own, columns_of(own))
        # What lies between the maps is transparent.
        pixels = colours(np.ma.masked_invalid(tiled) / 255, bytes=True)
        count, height, width = own.shape
        size = f"{count} × {height} × {width}"
        zeros = float((own == codes.zero_point).mean())
        row = {"name": name, "size": size, "largest": int(own.max()), "zeros": zeros}
        rows.append(row | {"picture": Picture.of(pixels, WIDTH, f"{count} feature maps of {name}")})
    return rows


def logits_of(quantised: QuantisedNetwork, maps: Maps, classes: tuple[str, ...] | None) -> Row:
    """The largest outputs, each with its share of the range of all."""
    values = maps[quantised.network.output.name].reshape(-1)
    least, most = min(0, int(values.min())), int(values.max())
    order = np.argsort(-values, kind="stable")[:MOST_LOGITS].tolist()
    shown = sorted(order) if len(values) <= MOST_LOGITS else order
    return {
        "count": len(values),
        "rows": [
            {
                "name": title(number, classes),
                "value": int(values[number]),
                "share": (int(values[number]) - least) / max(1, most - least),
                "largest": number == order[0],
            }
            for number in shown
        ],
    }


def named(images: Images, number: int) -> str:
    """What the page calls an image."""
    if images.names is None:
        return f"image {number} of {known(images.name)}"
    return Path(images.names[number]).name


def observed(quantised: QuantisedNetwork, images: Images | None) -> Row | None:
    """The first image, and what each layer makes of it."""
    if images is None:
        return None
    image = images.images[0]
    maps = features_of(quantised, image)
    name = named(images, 0)
    label = None if images.labels is None else title(int(images.labels[0]), images.classes)
    return {
        "name": name,
        "label": label,
        "picture": Picture.of(pictures.pixels(image), 220, f"the input: {name}"),
        "maps": drawn(quantised, maps),
        "logits": logits_of(quantised, maps, images.classes),
    }


def render(design: Design, records: Records, given: DataFiles) -> str:
    """The page. given: images to judge the network by; it shows what becomes of the first."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader(__package__, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {f.__name__: f for f in (commas, counted, known, percent, powers, shape)}
    quantised = design.read_network(Path(design.folder))
    images = images_for(design, given)
    options = zip(("--data", "--labels", "--classes"), given, strict=False)
    arguments = [text for name, value in options if value is not None for text in (name, value)]
    if given.layout != LAYOUTS[0]:
        arguments += ["--layout", given.layout]
    return environment.get_template(TEMPLATE).render(
        net=design.manifest,
        file=files.own(Path(design.folder)).name,
        input=coding(quantised, IMAGE),
        stages=stages_of(design, quantised),
        gives_sums=quantised.gives_sums,
        judged=None if images is None else Judgement.of(quantised, images),
        images=images,
        observed=observed(quantised, images),
        records=records,
        written_by=records.command("report", *arguments),
        most_classes=MOST_CLASSES,
        version=versions.package("convstream"),
    )


def commas(number: float) -> str:
    """A number with commas, its decimals only where it has some."""
    return f"{number:,.0f}" if number == int(number) else f"{number:,.2f}"


def shape(sizes: list[int]) -> str:
    """Channels, height and width."""
    return " × ".join(map(str, sizes))


def percent(share: float, digits: int = 1) -> str:
    """A share of 1; 100 % only of the whole."""
    shown = min(100 * share, 100 - 10.0**-digits) if share < 1 else 100 * share
    return f"{shown:.{digits}f} %"


def powers(text: str) -> str:
    """2^-6 in a text as HTML."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"2\^(-?)(\d+)", _superscript, str(escape(text))))


def _superscript(found: re.Match[str]) -> str:
    return f"2<sup>{'−' if found[1] else ''}{found[2]}</sup>"


@command("report", __doc__)
@click.argument("net", metavar="NET")
@data_options()
@click.option(
    "--out", type=Path, metavar="FILE", help="Page to write.  [default: build/report/NET.html]"
)
def main(net: str, given: DataFiles, out: Path | None) -> int:
    """The command line. Returns 0."""
    design = Design.read(manifests.find(net))
    page = render(design, Records(design, net), given)
    out = out or BUILD / f"{design.label}.html"
    write_atomically(out, page.encode())
    print(places.shown(out))
    return 0


if __name__ == "__main__":
    errors.run(main)
