"""What a network is: a chain of convolution, max-pool and fully connected layers.

Every convolution and every fully connected layer but the last ends in a ReLU; max-pool commutes
with it, so one description serves whichever of the two comes first. The five example networks are
values of `Network` and stand in `NETWORKS`, the only place that knows a network by name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

from model.errors import UserError

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Conv:
    """2-D convolution, square kernel, zero padding, same stride both ways; with bias."""

    out_channels: int
    kernel: int
    stride: int = 1
    padding: int = 0

    kind = "conv"

    def out_shape(self, shape: Shape) -> Shape:
        """Shape (channels, height, width) of the output for an input of `shape`."""
        return (self.out_channels, *_window_positions(self, shape))

    def weight_shape(self, shape: Shape) -> tuple[int, ...]:
        """Shape of the weights (out_channels, in_channels, kernel, kernel)."""
        return (self.out_channels, shape[0], self.kernel, self.kernel)


@dataclass(frozen=True)
class MaxPool:
    """2-D max-pool, square window. Padding never wins: every window has at least one pixel."""

    kernel: int
    stride: int
    padding: int = 0

    kind = "maxpool"

    def out_shape(self, shape: Shape) -> Shape:
        """Shape (channels, height, width) of the output for an input of `shape`."""
        return (shape[0], *_window_positions(self, shape))


@dataclass(frozen=True)
class Linear:
    """Fully connected layer on the flattened (channels, height, width) input; with bias."""

    out_features: int

    kind = "fc"

    def out_shape(self, shape: Shape) -> Shape:
        """Shape (out_features, 1, 1)."""
        return (self.out_features, 1, 1)

    def weight_shape(self, shape: Shape) -> tuple[int, ...]:
        """Shape of the weights (out_features, in_features)."""
        return (self.out_features, math.prod(shape))


Layer = Conv | MaxPool | Linear


def _window_positions(layer: Conv | MaxPool, shape: Shape) -> tuple[int, int]:
    _, height, width = shape
    if not 0 <= layer.padding < layer.kernel or layer.stride < 1:
        raise UserError(
            f"{layer}: expected 0 <= padding < kernel and stride >= 1; choose such values"
        )
    if min(height, width) + 2 * layer.padding < layer.kernel:
        raise UserError(
            f"{layer}: its window is larger than the {height}x{width} input with its padding; "
            "use a smaller kernel or a larger input"
        )
    positions = [
        (size + 2 * layer.padding - layer.kernel) // layer.stride + 1 for size in (height, width)
    ]
    return positions[0], positions[1]


@dataclass(frozen=True)
class Network:
    """A chain of layers on uint8 images of `input_shape` (channels, height, width).

    The last layer is a `Conv` or `Linear`; its int32 accumulators are the logits.
    Raises `UserError` where the layers do not fit each other.
    """

    name: str
    layers: tuple[Layer, ...]
    input_shape: Shape = (1, 28, 28)

    def __post_init__(self) -> None:
        if not self.layers or isinstance(self.layers[-1], MaxPool):
            raise UserError(
                f"network {self.name}: the last layer must be a convolution or fully connected, "
                "as its accumulators are the logits"
            )
        _ = self.shapes

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """Shape at the input and after each layer: len(layers) + 1 of them."""
        shapes = [self.input_shape]
        for layer in self.layers:
            shapes.append(layer.out_shape(shapes[-1]))
        return tuple(shapes)

    @cached_property
    def layer_names(self) -> tuple[str, ...]:
        """`conv1`, `pool1`, `conv2`, ..., `fc1`, ...: the names of modules and `.mem` files.

        A sole fully connected layer is `fc`.
        """
        count: dict[str, int] = {}
        names = []
        sole_fc = sum(layer.kind == "fc" for layer in self.layers) == 1
        for layer in self.layers:
            count[layer.kind] = count.get(layer.kind, 0) + 1
            stem = "pool" if layer.kind == "maxpool" else layer.kind
            names.append("fc" if stem == "fc" and sole_fc else f"{stem}{count[layer.kind]}")
        return tuple(names)

    @property
    def classes(self) -> int:
        """Number of logits an image."""
        return math.prod(self.shapes[-1])

    @property
    def macs(self) -> int:
        """Multiply-accumulates an image, taps in the padding included."""
        return sum(
            math.prod(layer.weight_shape(in_shape)) * out_shape[1] * out_shape[2]
            for layer, in_shape, out_shape in zip(
                self.layers, self.shapes, self.shapes[1:], strict=False
            )
            if not isinstance(layer, MaxPool)
        )

    @property
    def parameters(self) -> int:
        """Number of weights and biases."""
        return sum(
            math.prod(layer.weight_shape(shape)) + layer.weight_shape(shape)[0]
            for layer, shape in zip(self.layers, self.shapes, strict=False)
            if not isinstance(layer, MaxPool)
        )


NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        Network("convnet", (Conv(3, 3, padding=1), MaxPool(2, 2), Linear(10))),
        Network("cnn7x7", (Conv(3, 7), MaxPool(2, 2), Linear(10))),
        Network(
            "simplecnn",
            (
                Conv(32, 3, stride=2, padding=1),
                Conv(64, 3, stride=2, padding=1),
                Conv(128, 3, stride=2, padding=1),
                Linear(250),
                Linear(10),
            ),
        ),
        Network("cnn5x5", (Conv(3, 5), MaxPool(2, 2), Conv(3, 5), MaxPool(2, 2), Linear(10))),
        Network(
            "lenet5",
            (
                Conv(6, 5, padding=2),
                MaxPool(2, 2),
                Conv(16, 5),
                MaxPool(2, 2),
                Linear(120),
                Linear(84),
                Linear(10),
            ),
        ),
    )
}


# Training: how each network is trained. Everything that is not training ignores this section.


@dataclass(frozen=True)
class Recipe:
    """How `model/train.py` trains a network; the defaults suit an unknown one.

    epochs, tune_epochs: of the float training and of the quantisation-aware fine-tuning.
    optimiser: adam (AdamW) or sgd, with momentum. batch, rate, tune_rate, decay: images a step,
    peak learning rates (warm-up, then a cosine), weight decay.
    average: decay a step of the moving average of the weights that is validated and kept.
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
        epochs=50,
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
}
