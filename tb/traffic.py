"""What a module under test takes and gives: the part of a bench that differs among modules."""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import numpy as np
from testbench import Beat, Layout, Stream

from model import memory, reference
from model.folding import Stage
from model.quantised import Parameters


class Traffic:
    """One parametrisation of a module with a stream of images in and one out.

    A subclass sets `module`, `source`, `sink` and `interval` in its constructor, and computes the
    expected output with functions of `model.reference`. Whatever is random in it follows from
    `seed`, so that the simulator's process rebuilds the same object.

    parameters: Verilog parameters of the module.
    source, sink: layouts of the images that go in and come out.
    interval: clocks an image takes in the steady state, with no stalls.
    zero_lanes: lanes beyond the last channel must be zero at the output.
    drops_lanes: those at the input may hold X.
    memories: name and text of the files that the module reads with $readmemh. Its signature is a
        hash of each, that of the first one in the lower bits.
    """

    module: str
    source: Layout
    sink: Layout
    interval: int
    zero_lanes = True
    drops_lanes = True

    def __init__(self, parameters: dict, seed: str) -> None:
        self.parameters = dict(parameters)
        self.rng = np.random.default_rng(zlib.crc32(seed.encode()))
        self.memories: dict[str, str] = {}

    def write_memories(self, folder: Path) -> None:
        """Write the files that the module reads with $readmemh."""
        for name, text in self.memories.items():
            (folder / name).write_text(text)

    def streams(self, dut) -> tuple[Stream, Stream]:
        """The input and the output stream."""
        return Stream.axis(dut, "s_axis"), Stream.axis(dut, "m_axis")

    def images(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Input images, count x channels x height x width; the second has the largest values."""
        layout = self.source
        shape = (count, layout.channels, layout.height, layout.width)
        images = rng.integers(0, 256, shape, np.uint8)
        images[1:2] = 255
        return images

    def compute(self, images: np.ndarray) -> np.ndarray:
        """Expected output images, count x channels x height x width."""
        raise NotImplementedError

    def users(self, image: np.ndarray) -> list[int | None]:
        """Expected tuser of each beat of an output image."""
        return [None] * self.sink.beats

    def check(self, beats: list[Beat], expected: np.ndarray) -> None:
        """Compare `beats` with as many beats of the images `expected`; name the first mismatch."""
        size = self.sink.beats
        wanted = [(self.sink.pack(image), self.users(image)) for image in expected]
        for count, beat in enumerate(beats):
            number, index = divmod(count, size)
            where = f"{self.module}: image {number}"
            assert number < len(expected), f"{where}, beat {index}: nothing was expected any more"
            data, user = (part[index] for part in wanted[number])
            got = beat.data if self.zero_lanes else beat.data & self.sink.used(index)
            if got != data:
                raise AssertionError(f"{where}, {self.sink.difference(index, got, data)}")
            last = int(index == size - 1)
            assert beat.last == last, f"{where}, beat {index}: tlast {beat.last}, expected {last}"
            assert beat.user == user, f"{where}, beat {index}: tuser {beat.user}, expected {user}"


class Passage(Traffic):
    """A module of WIDTH bits through which 37 beats an image go unchanged, one a clock."""

    def __init__(self, parameters: dict, seed: str) -> None:
        super().__init__(parameters, seed)
        self.interval = 37
        width = parameters["WIDTH"]
        self.source = self.sink = Layout(width, 1, self.interval, width, bits=1)

    def images(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Random bits."""
        return rng.integers(0, 2, (count, self.source.channels, 1, self.source.width), np.uint8)

    def compute(self, images: np.ndarray) -> np.ndarray:
        """The same images."""
        return images


class Weighted(Traffic):
    """A convolution or fully connected layer with random weights and ROM files.

    Where a ROM has two words, each of its bits is once 0 and once 1, and the weights of the first
    two take the sums of products to both ends of their range; every other one of the rest has
    extremes alone, the others have weights of full range. Biases leave sums on both sides of zero
    to each channel. The shift spreads the results over 0..255 and beyond both
    ends, unless the case has a SHIFT; ACC_WIDTH is as narrow as the weights allow, as export makes
    it.
    """

    stage: Stage

    def make_weights(self) -> None:
        """Set weights, biases and the parameters that depend on them; `stage` must be set."""
        stage = self.stage
        pe, simd = stage.folding.pe, stage.folding.simd
        shape = stage.channel_folds * stage.window_folds, pe * simd
        words = self.rng.integers(-128, 128, shape, np.int8)
        words[::2] = self.rng.choice(np.array([-128, -1, 127], np.int8), shape)[::2]
        if len(words) > 1:
            words[0] = np.where(np.arange(pe * simd) // simd % 2, 127, -128)
            words[1] = ~words[0]
        self.weight = memory.unpack_weights(words, stage)
        spread = 100 * 74 * max(1, round(math.sqrt(self.stage.window)))
        sums = 255 * self.weight.reshape(len(self.weight), -1).astype(np.int64)
        lowest, highest = np.minimum(sums, 0).sum(axis=1), np.maximum(sums, 0).sum(axis=1)
        low, high = np.maximum(-spread, 3 * lowest // 4), np.minimum(spread, 3 * highest // 4)
        second = slice(pe, min(2 * pe, len(low)))  # rows of the second word, and those of the first
        first = slice(0, second.stop - second.start)
        low[first] = np.maximum(low[first], -high[second])
        high[first] = np.minimum(high[first], -low[second])
        self.bias = -self.rng.integers(low, high + 1).astype(np.int32)
        self.bias[second] = ~self.bias[first]

        sample = self.accumulators(super().images(4, self.rng)[2:])
        shift = max(0, round(math.log2(max(1, np.std(sample)) / 100)))
        out_width = self.parameters.setdefault("OUT_WIDTH", 8)
        self.shift = self.parameters.setdefault("SHIFT", shift if out_width == 8 else 0)
        layer = Parameters(self.weight, self.bias, self.shift, 0, 0)
        self.parameters["ACC_WIDTH"] = layer.accumulator_width
        self.parameters["WEIGHT_FILE"] = "weight.mem"
        self.parameters["BIAS_FILE"] = "bias.mem"
        self.memories = {
            "weight.mem": memory.to_hex(memory.pack_weights(self.weight, self.stage)),
            "bias.mem": memory.to_hex(memory.pack_bias(self.bias, self.stage)),
        }

    def images(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """As usual, but every second image drives sums to the ends of their range, and between.

        It is made of windows that repeat the weights of some channel: a value where these have one
        sign, zeros elsewhere.
        """
        images = super().images(count, rng)
        kernel = self.weight.shape[1:] if self.weight.ndim == 4 else self.stage.in_shape
        padding = getattr(self.stage.layer, "padding", 0)
        _, _, height, width = images.shape

        def window() -> np.ndarray:
            weight = rng.choice([-1, 1]) * rng.choice(self.weight).reshape(kernel).astype(int)
            return rng.choice([255, rng.integers(256)]) * (weight > 0)

        for image in images[2::2]:
            columns = range(-(-(width + padding) // kernel[2]))
            rows = range(-(-(height + padding) // kernel[1]))
            windows = np.block([[window() for _ in columns] for _ in rows])
            image[:] = windows[:, padding : padding + height, padding : padding + width]
        return images

    def accumulators(self, images: np.ndarray) -> np.ndarray:
        """int32 accumulators, count x channels x height x width."""
        raise NotImplementedError

    def compute(self, images: np.ndarray) -> np.ndarray:
        acc = self.accumulators(images)
        return acc if self.parameters["OUT_WIDTH"] == 32 else reference.requantise(acc, self.shift)
