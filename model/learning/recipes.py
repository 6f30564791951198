"""How each network of the table of networks is trained."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from convstream.model.base.errors import UserError

OPTIMISERS = ("adam", "sgd")
INTERPOLATIONS = ("bilinear", "bicubic")


@dataclass(frozen=True)
class Recipe:
    """How `convstream train` trains a network; the defaults suit an unknown one.

    epochs, tune_epochs: of the float training and of the quantisation-aware fine-tuning.
    optimiser: adam (AdamW) or sgd, with momentum. batch, rate, tune_rate, decay: images a step,
    peak learning rates (warm-up, then a cosine), weight decay.
    average: decay a step of the moving average of the weights that is validated and kept.
    normalise: 1 for batch normalisation in the float training, folded into the weights at the end.
    restarts, restart_epochs: initialisations that are tried first; the best quarter of them go on
    for four times as long at half the rate, and so on until one is left.
    teacher: network of `mem/` whose float logits are learned from, or None; teacher_weight: their
    share of the loss; temperature: of both in that share; smoothing: of the labels in the rest.
    rotate (degrees), scale, shear (fractions), shift, elastic (pixels): augmentation, at most or,
    for elastic, standard deviation. clean: share of images left as they are. interpolation:
    bilinear or bicubic. copies: augmented copies of the training set that are made and then taken
    in turns; 0: always new ones. solve: penalty under which the last layer's weights are brought to
    their optimum at the end; 0: left as they are.
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
    normalise: int = 0
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
        for name in ("momentum", "average"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"{name} {getattr(self, name)}: expected at least 0 and below 1")

    def with_setting(self, text: str) -> Recipe:
        """The same with one `field=value` changed. Raises `UserError` for anything else."""
        kinds = {field.name: type(getattr(Recipe(), field.name)) for field in fields(self)}
        name, found, value = text.partition("=")
        if not found or name not in kinds:
            raise UserError(
                f"--set {text}: expected FIELD=VALUE with one of the fields {', '.join(kinds)}"
            )
        if name == "teacher":
            return replace(self, teacher=None if value in ("", "none") else value)
        try:
            changed = kinds[name](value)
        except ValueError:
            raise UserError(f"--set {text}: {value!r} is no {kinds[name].__name__}") from None
        return replace(self, **{name: changed})


_FEW_FILTERS = Recipe(
    tune_epochs=2,
    batch=128,
    average=0.999,
    restarts=16,
    rotate=3,
    scale=0.03,
    shear=0.03,
    shift=0.3,
    elastic=0.3,
    clean=0.4,
    interpolation="bicubic",
    copies=6,
)

RECIPES: dict[str, Recipe] = {
    "convnet": replace(_FEW_FILTERS, epochs=20, rate=0.1, decay=0.1, solve=4e-5),
    "cnn7x7": replace(_FEW_FILTERS, epochs=30, rate=0.05, decay=0.05, solve=2e-5),
    "simplecnn": Recipe(
        epochs=40,
        tune_epochs=4,
        rate=2e-3,
        decay=0.05,
        rotate=12,
        scale=0.12,
        shear=0.15,
        shift=2,
        elastic=0.6,
    ),
    "cnn5x5": replace(
        _FEW_FILTERS,
        epochs=36,
        rate=0.03,
        decay=3e-3,
        rotate=7,
        scale=0.07,
        shear=0.07,
        shift=0.8,
        elastic=0.5,
        clean=0.2,
        copies=10,
        solve=1e-6,
    ),
    "lenet5": Recipe(
        epochs=60,
        tune_epochs=4,
        rate=4e-3,
        decay=0.03,
        teacher="simplecnn",
        copies=12,
        shear=0.12,
    ),
    "dsnet": Recipe(
        epochs=36,
        tune_epochs=6,
        rate=1e-2,
        decay=0.02,
        normalise=1,
        teacher="simplecnn",
        copies=12,
        shear=0.12,
    ),
}
