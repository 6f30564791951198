"""How a network is trained: its recipe."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from convstream.model.base.errors import UserError

OPTIMISERS = ("adam", "sgd")
INTERPOLATIONS = ("bilinear", "bicubic")
# What stands for a value of a type.
TAKEN: dict[type, tuple[type, ...]] = {
    bool: (bool, int),
    int: (int,),
    float: (int, float),
    str: (str,),
}


@dataclass(frozen=True)
class Recipe:
    """How `convstream train` trains a network; the defaults suit an unknown one.

    epochs, tune_epochs: of the float training and of the quantisation-aware fine-tuning.
    optimiser: adam (AdamW) or sgd, with momentum. batch, rate, tune_rate, decay: images a step,
    peak learning rates (warm-up, then a cosine), weight decay.
    average: decay a step of the moving average of the weights that is validated and kept.
    normalise: batch normalisation in the float training, folded into the weights at the end.
    restarts, restart_epochs: initialisations that are tried first; the best quarter of them go on
    for four times as long at half the rate, and so on until one is left.
    teacher: network of `mem/` whose float logits are learned from, or None; teacher_weight: their
    share of the loss; temperature: of both in that share; smoothing: of the labels in the rest.
    rotate (degrees), scale, shear (fractions), shift, elastic (pixels): augmentation, at most or,
    for elastic, standard deviation. clean: share of images that have none of it; 1 turns it off.
    interpolation: bilinear or bicubic. flip: mirror half of the images. copies: augmented copies of
    the training set that are made and then taken in turns; 0: always new ones. solve: penalty under
    which the last layer's weights are brought to their optimum at the end; 0: left as they are.
    """

    epochs: int = 60
    tune_epochs: int = 15
    optimiser: str = "adam"
    momentum: float = 0.9
    batch: int = 256
    rate: float = 3e-3
    tune_rate: float = 3e-4
    decay: float = 1e-2
    average: float = 0.998
    normalise: bool = False
    restarts: int = 1
    restart_epochs: int = 1
    teacher: str | None = None
    teacher_weight: float = 0.9
    temperature: float = 3.0
    smoothing: float = 0.0
    rotate: float = 10.0
    scale: float = 0.1
    shear: float = 0.1
    shift: float = 1.5
    elastic: float = 0.5
    clean: float = 0.0
    interpolation: str = "bilinear"
    flip: bool = False
    copies: int = 0
    solve: float = 0.0

    def __post_init__(self) -> None:
        for field, choices in (("optimiser", OPTIMISERS), ("interpolation", INTERPOLATIONS)):
            value = getattr(self, field)
            if value not in choices:
                raise UserError(f"unknown {field} {value!r}; expected one of {', '.join(choices)}")
        for least, names in (
            (1, ("epochs", "batch", "restarts", "restart_epochs")),
            (0, ("tune_epochs", "copies")),
        ):
            for name in names:
                if getattr(self, name) < least:
                    raise UserError(f"{name} {getattr(self, name)}: expected at least {least}")
        for name, value in vars(self).items():
            if isinstance(value, float) and not 0 <= value < math.inf:
                raise UserError(f"{name} {value}: expected 0 or more")
        for name in ("clean", "smoothing", "teacher_weight"):
            if getattr(self, name) > 1:
                raise UserError(f"{name} {getattr(self, name)}: expected a share from 0 to 1")
        for name in ("momentum", "average"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"{name} {getattr(self, name)}: expected at least 0 and below 1")

    def changed(self, settings: Mapping[str, Any], source: object) -> Recipe:
        """The same with other values of some fields, as TOML has them.

        Raises `UserError` that begins with `source` for anything else.
        """
        kinds = {field.name: type(getattr(Recipe(), field.name)) for field in fields(self)}
        values: dict[str, Any] = {}
        for name, value in settings.items():
            if name not in kinds:
                raise UserError(
                    f"{source}: unknown recipe field {name!r}; expected one of {', '.join(kinds)}"
                )
            kind = kinds[name]
            if name == "teacher":
                values[name] = None if value in ("", "none") else value
            elif not isinstance(value, TAKEN[kind]) or (kind is int and value is True):
                raise UserError(f"{source}: {name} = {value!r} is no {kind.__name__}")
            else:
                values[name] = kind(value)
        try:
            return replace(self, **values)
        except UserError as error:
            raise UserError(f"{source}: {error}") from None

    def with_setting(self, text: str) -> Recipe:
        """The same with one `field=value` changed. Raises `UserError` for anything else."""
        name, found, value = text.partition("=")
        if not found:
            raise UserError(f"--set {text}: expected FIELD=VALUE")
        try:
            known = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            known = value
        return self.changed({name: known}, f"--set {text}")
