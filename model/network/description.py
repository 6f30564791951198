"""A network described in a TOML file: its layers, its image, and the recipe of its training."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from convstream.model.base.errors import UserError
from convstream.model.base.files import one_line, read_bytes
from convstream.model.network.graph import IMAGE, Network, names_of
from convstream.model.network.layers import (
    Add,
    AvgPool,
    Concat,
    Conv,
    Layer,
    Linear,
    MaxPool,
    Shape,
    Upsample,
)
from convstream.model.network.layers.windows import Padding, Pair

MAX_BYTES = 1 << 20
KEYS = ("input", "layers", "recipe")
# How many whole numbers an option takes, if not one for rows and one for columns.
NUMBERS = {"channels": (1,), "features": (1,), "groups": (1,), "padding": (1, 4)}
FROM_0 = ("padding",)


# The kinds of layers. Their parameters are the options that a file may give.


def _conv(
    channels: int,
    kernel: Pair,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Layer:
    return Conv(channels, kernel, stride, padding, dilation, groups)


def _maxpool(kernel: Pair, stride: Pair | None = None, padding: Padding = 0) -> Layer:
    return MaxPool(kernel, stride or kernel, padding)


def _avgpool(kernel: Pair, stride: Pair | None = None, padding: Padding = 0) -> Layer:
    return AvgPool(kernel, stride or kernel, padding)


def _upsample(factor: Pair) -> Layer:
    return Upsample(*((factor, factor) if isinstance(factor, int) else factor))


KINDS: dict[str, Callable[..., Layer]] = {
    "conv": _conv,
    "linear": lambda features: Linear(features),
    "maxpool": _maxpool,
    "avgpool": _avgpool,
    "add": lambda: Add(),
    "concat": lambda: Concat(),
    "upsample": _upsample,
}


@dataclass(frozen=True)
class Description:
    """What a file says. name: the file's. input_shape: None where the data decide."""

    path: Path
    layers: tuple[Mapping[str, Any], ...]
    recipe: Mapping[str, Any]
    input_shape: Shape | None

    @property
    def name(self) -> str:
        """Name of the network."""
        return self.path.stem

    @property
    def classes(self) -> int | None:
        """Number of logits, None where the data or the shape of the image decide."""
        features = self.layers[-1].get("features")
        return features if type(features) is int else None

    def network(self, input_shape: Shape | None = None, classes: int | None = None) -> Network:
        """The network. input_shape, classes: what the data have, where the file does not say.

        Raises `UserError` naming the file and the layer where that makes no network.
        """
        shape = self.input_shape or input_shape
        if shape is None:
            raise self._error("lacks input, such as [1, 28, 28]: channels, height, width")
        built = [self._build(number, classes) for number in range(len(self.layers))]
        names = names_of(built)
        places = {IMAGE: -1}
        shapes = {-1: shape}
        graph = []
        for at, (layer, name) in enumerate(zip(built, names, strict=True)):
            sources = self.layers[at].get("inputs", [names[at - 1] if at else IMAGE])
            if not isinstance(sources, list) or any(one not in places for one in sources):
                raise self._error(
                    f"inputs = {sources!r}; expected a list of layers before it: "
                    f"{', '.join(places)}",
                    at,
                )
            taken = [places[source] for source in sources]
            try:
                shapes[at] = layer.out_shape(*(shapes[place] for place in taken))
            except UserError as error:
                raise self._error(str(error), at) from None
            except ValueError:
                raise self._error(f"inputs = {sources!r}; expected one", at) from None
            places[name] = at
            graph.append((layer, taken))
        try:
            return Network.graph(self.name, graph, shape)
        except UserError as error:
            raise self._error(str(error)) from None

    def _build(self, at: int, classes: int | None) -> Layer:
        options = {k: v for k, v in self.layers[at].items() if k not in ("kind", "inputs")}
        kind = self.layers[at].get("kind")
        if not isinstance(kind, str) or kind not in KINDS:
            raise self._error(f"kind = {kind!r}; expected one of {', '.join(KINDS)}", at)
        if kind == "linear" and at == len(self.layers) - 1 and classes is not None:
            options.setdefault("features", classes)
        parameters = inspect.signature(KINDS[kind]).parameters
        for name in options:
            if name not in parameters:
                known = ", ".join(["inputs", *parameters])
                raise self._error(f"unknown option {name}; expected {known}", at)
        for name, parameter in parameters.items():
            if name in options:
                options[name] = self._numbers(name, options[name], at)
            elif parameter.default is parameter.empty:
                raise self._error(f"lacks {name}", at)
        return KINDS[kind](**options)

    def _numbers(self, name: str, value: Any, at: int) -> int | tuple[int, ...]:
        counts = NUMBERS.get(name, (1, 2))
        least = int(name not in FROM_0)
        numbers = value if isinstance(value, list) else [value]
        whole = all(type(number) is int and number >= least for number in numbers)
        if not whole or len(numbers) not in counts:
            some = " or ".join(map(str, counts))
            raise self._error(
                f"{name} = {value!r}; expected {some} whole numbers from {least} on", at
            )
        return numbers[0] if len(numbers) == 1 else tuple(numbers)

    def _error(self, text: str, at: int | None = None) -> UserError:
        if at is None:
            return UserError(f"{self.path}: {text}")
        return UserError(f"{self.path}: layer {at + 1} ({self.layers[at].get('kind')}): {text}")


def read(path: str | Path) -> Description:
    """What a TOML file says. Raises `UserError` naming it where it is none, or says other things.

    input: channels, height and width of an image. layers: a table for each, with its `kind` of
    `KINDS` and the options of that. A layer that does not take what the one before it gives names
    its `inputs`: conv1, pool1, ..., as the network calls them, or image. The last `linear` may
    leave its features to the data. recipe: see `learning.recipes`.
    """
    path = Path(path)
    try:
        content = tomllib.loads(read_bytes(path, MAX_BYTES).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path}: no TOML file ({one_line(error)})") from None
    for key in content:
        if key not in KEYS:
            raise UserError(f"{path}: unknown key {key}; expected {', '.join(KEYS)}")
    layers, recipe, shape = (content.get(key) for key in ("layers", "recipe", "input"))
    if not isinstance(layers, list) or not layers or not all(isinstance(x, dict) for x in layers):
        raise UserError(
            f'{path}: lacks layers; expected such as layers = [{{kind = "linear", features = 10}}]'
        )
    if not isinstance(recipe or {}, dict):
        raise UserError(f"{path}: recipe = {recipe!r}; expected a table [recipe]")
    if shape is not None and not (
        isinstance(shape, list) and len(shape) == 3 and all(type(n) is int and n > 0 for n in shape)
    ):
        raise UserError(f"{path}: input = {shape!r}; expected [channels, height, width]")
    return Description(path, tuple(layers), recipe or {}, tuple(shape) if shape else None)
