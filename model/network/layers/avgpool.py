"""2-D average pool: exact sums, divided when they are requantised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from convstream.model.base.errors import UserError
from convstream.model.network.codes import Codes
from convstream.model.network.layers import base, windows
from convstream.model.network.layers.base import (
    FAST,
    Arrays,
    Layer,
    Passes,
    Shape,
    Site,
    Way,
)
from convstream.model.network.layers.windows import Padding, Pair, Window, Windowed
from convstream.model.network.rounding import Rounding

if TYPE_CHECKING:
    from torch import Tensor


WHOLE_IMAGES = "onnxruntime global"

INT8_ZERO = 128
"""The uint8 code of an int8 0."""


@dataclass(frozen=True, init=False)
class AvgPool(Windowed, Layer):
    """2-D average pool.

    Its accumulators are the sums of the windows, padding included: KH*KW times the mean, at a scale
    KH*KW times as fine. count_include_pad: the padding counts as pixels; otherwise each mean is of
    the pixels inside the image alone, of which `counts` says how many there are. rule: whose
    rounding it has: `onnxruntime` rounds the real mean to the nearest code, halves to even ones;
    `onnxruntime global`, its kernel for whole images, multiplies in float32; `litert`, where codes
    go out as they came in, rounds the mean of int8 codes half away from 0.
    """

    window: Window
    count_include_pad: bool
    rule: str

    kind = "avgpool"
    stem = "pool"

    def __init__(
        self,
        kernel: Pair,
        stride: Pair,
        padding: Padding = 0,
        count_include_pad: bool = False,
        rule: str = "onnxruntime",
    ) -> None:
        object.__setattr__(self, "window", Window.of(kernel, stride, padding))
        object.__setattr__(self, "rule", rule)
        # Without padding the two are the same layer.
        object.__setattr__(
            self, "count_include_pad", count_include_pad and any(self.window.padding)
        )

    def out_shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        return (shape[0], *self.window.positions(shape))

    @property
    def sum_exponent(self) -> int | None:
        taps = self.window.taps
        return None if taps & (taps - 1) else taps.bit_length() - 1

    def counts(self, shape: Shape) -> np.ndarray:
        """By how many pixels each sum is divided: int64 (OH, OW)."""
        _, height, width = shape
        pixels = np.ones((1, 1, height, width), np.int64)
        padded = windows.pad(pixels, self.window, int(self.count_include_pad))
        return windows.reduce_windows(padded, self.window, np.add)[0, 0]

    def sum_scale(self, site: Site) -> np.ndarray:
        counts = np.unique(self.counts(site.shape))
        if len(counts) > 1:
            raise UserError(
                "the sums of an average pool whose windows hold different numbers of pixels have "
                "no single scale; quantise its output, or export it with count_include_pad=True"
            )
        return np.array([site.inputs[0].scale / counts[0]])

    def rounding(self, site: Site) -> Rounding | None:
        assert site.output is not None
        scale = np.array([site.inputs[0].scale])
        if self.rule == "litert":
            if not site.inputs[0].same_values(site.output):
                raise UserError("an average pool whose output has another scale than its input")
            centred = replace(site.output, zero_point=INT8_ZERO)
            return Rounding.real(scale, centred, self.counts(site.shape), half_away=True)
        counts = self.counts(site.shape)
        if self.rule == WHOLE_IMAGES:
            count = np.float32(counts[0, 0])
            multiplier = scale.astype(np.float32) / (np.float32(site.output.scale) * count)
            output = site.output
            return Rounding(multiplier, output.zero_point, output.low, output.high)
        return Rounding.real(scale, site.output, counts, zero_first=True)

    def near_ties(self, site: Site) -> int:
        """Of windows of an even number of pixels where input and output have one scale, many."""
        rounding = None if site.output is None else self.rounding(site)
        if rounding is None or site.output is None or self.rule != "onnxruntime":
            return 0
        if rounding.shift is not None and site.inputs[0].exponent is not None:
            return 0
        scale, zero = site.inputs[0].scale, site.zero_point
        found = 0
        for count in np.unique(self.counts(site.shape)):
            sums = np.arange(-zero * count, (255 - zero) * count + 1)
            codes = sums * (scale / (count * site.output.scale)) + site.output.zero_point
            inside = (codes > 0) & (codes < 255)
            error = 2.0**-24 * ((count + 3) * 255 * scale / site.output.scale + 256)
            found += int((inside & (np.abs(codes - np.floor(codes) - 0.5) < error)).sum())
        return found

    def pad_code(self, site: Site) -> int:
        """The code that adds nothing to a sum."""
        return INT8_ZERO if self.rule == "litert" else site.zero_point

    def accumulator_bound(self, site: Site) -> int:
        zero = self.pad_code(site)
        return self.window.taps * max(zero, 255 - zero)

    def accumulator_range(self, site: Site) -> tuple[np.ndarray, np.ndarray]:
        least = np.full(1, -self.window.taps * site.zero_point)
        return least, least + 255 * self.window.taps

    def operands(self, site: Site) -> tuple[np.ndarray, ...]:
        """The share of a sum that is none of the values', and the code of the padding."""
        zero = self.pad_code(site)
        return np.array(self.window.taps * zero), np.array(zero, np.uint8)

    def integers(self, inputs: Arrays, operands: Arrays) -> np.ndarray:
        (x,), (share, pad_code) = inputs, operands
        dtype = base.exact_dtype(255 * self.window.taps)
        return self._sums(x.astype(dtype), int(pad_code)) - dtype(share)

    def _sums(self, x: np.ndarray, pad_value: float) -> np.ndarray:
        padded = windows.pad(x, self.window, pad_value)
        return windows.reduce_windows(padded, self.window, np.add)

    def forward(self, inputs: Arrays, weights: Arrays, way: Way = FAST) -> Passes:
        (x,) = inputs
        y = self._sums(x, 0) / self.counts(x.shape[1:]).astype(x.dtype)
        return y, lambda dy: ((avgpool2d_backward(self, dy, x),), ())

    def torch_forward(self, inputs: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
        import torch
        from torch.nn import functional

        (x,), window = inputs, self.window
        _, channels, height, width = x.shape
        padded = windows.pad_tensor(x, window, 0)
        sums = functional.avg_pool2d(padded, window.kernel, window.stride, divisor_override=1)
        return sums / torch.from_numpy(self.counts((channels, height, width))).to(x)


def avgpool2d(
    x: np.ndarray, kernel: Pair, stride: Pair, padding: Padding = 0, pad_code: int = 0
) -> np.ndarray:
    """Sums of the windows, KH*KW times the means (`rtl/avgpool2d.v`, OUT_WIDTH = 32).

    x: uint8 N x C x H x W; pad_code: the code of the padding. Returns int32 N x C x OH x OW. Raises
    `UserError` on another type or shape.
    """
    base.check_integers(x, "uint8", 4, "the input of avgpool2d, N x C x H x W")
    layer = AvgPool(kernel, stride, padding)
    layer.out_shape(x.shape[1:])  # refuses a window that does not fit
    site = Site(inputs=(Codes(1.0, pad_code),))
    sums = layer.integers([x], layer.operands(site))
    return base.int32(sums + layer.window.taps * pad_code)


def avgpool2d_backward(layer: AvgPool, dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    """dx: every pixel of a window gets its share of dy. dy: N x C x OH x OW.

    Returns dx, shaped as x.
    """
    out_shape = layer.out_shape(x.shape[1:])
    base.check_gradient(dy, (len(x), *out_shape), x.dtype)
    dpadded = np.zeros_like(windows.pad(x, layer.window, 0))
    share = dy / layer.counts(x.shape[1:]).astype(x.dtype)
    for ky, kx in np.ndindex(layer.window.kernel):
        dpadded[windows.tap(layer.window, out_shape, ky, kx)] += share
    return windows.crop(dpadded, layer.window)
