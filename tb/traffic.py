"""What a module under test takes and gives: the part of a bench that differs among modules."""

from __future__ import annotations

import functools
import itertools
import math
import operator
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from outlet import Outlet
from testbench import Beat, Layout, Stream

from convstream.model.hardware import rom, scaling
from convstream.model.hardware.stage import ComputeStage, Stage
from convstream.model.hardware.timing import Edge, Process
from convstream.model.network.layers.base import Site
from convstream.model.network.rounding import Rounding


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
    stage: what the schedule knows the module as, if it does.
    fifo_depth: of the FIFO at its end, unless there is a FIFO_DEPTH; None if it has no FIFO.
    memories: name and text of the files that the module reads with $readmemh.
    hashes: its signature has a hash of each of `hashed`, of words as such texts, the first one in
    the lower bits.
    """

    module: str
    source: Layout
    sink: Layout
    interval: int
    zero_lanes = True
    drops_lanes = True
    hashes = False
    stage: Stage | None = None
    fifo_depth: int | None = 2

    def __init__(self, parameters: dict, seed: str) -> None:
        self.parameters = dict(parameters)
        self.rng = np.random.default_rng(zlib.crc32(seed.encode()))
        self.memories: dict[str, str] = {}
        self.hashed: list[str] = []

    def write_memories(self, folder: Path) -> None:
        """Write the files that the module reads with $readmemh."""
        for name, text in self.memories.items():
            (folder / name).write_text(text)

    def streams(self, dut) -> tuple[Stream, Stream]:
        """The input and the output stream."""
        return Stream.axis(dut, "s_axis"), Stream.axis(dut, "m_axis")

    async def surround(self, dut) -> None:
        """What stands beside the module and works while it does; mostly nothing."""

    def all_streams(self, dut) -> tuple[list[Stream], list[Stream]]:
        """All input and output streams, of which most modules have one each."""
        source, sink = self.streams(dut)
        return [source], [sink]

    @property
    def sources(self) -> list[Layout]:
        """Layouts of the images of all inputs."""
        return [self.source]

    def inputs(self, count: int, rng: np.random.Generator) -> list[np.ndarray]:
        """`count` images for each input."""
        return [self.images(count, rng)]

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

    def processes(self, sources: Sequence[Edge], sink: Outlet, images: int) -> Iterable[Process]:
        """How the schedule moves the beats of `images` images; none if it has no such module."""
        return () if self.stage is None else self.stage.processes(sources, sink, images)

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


class Join(Traffic):
    """A module with several inputs, whose ports are packed; `sources` are set in its constructor.

    `compute` takes the images of each.
    """

    sources: list[Layout] = []

    @property
    def source(self) -> Layout:
        """Layout of the first input."""
        return self.sources[0]

    def all_streams(self, dut) -> tuple[list[Stream], list[Stream]]:
        return Stream.packed(dut, "s_axis", len(self.sources)), [Stream.axis(dut, "m_axis")]

    def inputs(self, count: int, rng: np.random.Generator) -> list[np.ndarray]:
        shapes = [(count, x.channels, x.height, x.width) for x in self.sources]
        return [rng.integers(0, 256, shape, np.uint8) for shape in shapes]


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


def _signature_changes(words: str) -> bool:
    """Whether each bit of a ROM's signature is once 0; a long ROM sees to that by itself."""
    lines = words.split()
    if not 1 < len(lines) < 16:
        return True
    states = [rom.signature("\n".join(lines[: n + 1]), "") for n in range(len(lines))]
    return not functools.reduce(operator.and_, states) & 0xFFFF


class Weighted(Traffic):
    """A convolution or fully connected layer with random weights and ROM files.

    Where a ROM has several words, its bits are now 0, now 1, and those of the signatures as well.
    Some weights take the sums of every lane to both ends of their range; of the others every second
    channel has extremes alone, and the rest full range. Biases leave sums on both sides of zero to
    each channel. The shift spreads the results over 0..255 and beyond both ends, unless the case
    has a SHIFT; ACC_WIDTH is as narrow as the weights allow, as export makes it. A case with a
    SCALE_EXACT has random scales that need this form, one for all channels if it has a ONE_SCALE.
    """

    stage: ComputeStage
    fifo_depth = 16
    hashes = True

    def make_weights(self) -> None:
        """Set weights, biases and the parameters that depend on them; `stage` must be set."""
        for _ in range(100):
            self._draw()
            weights = rom.to_hex(rom.pack_weights(self.weight, self.stage))
            biases = rom.to_hex(rom.pack_bias(self.bias, self.stage))
            if _signature_changes(weights) and _signature_changes(biases):
                break
        sample = self.accumulators(super().images(4, self.rng)[2:])
        deviation = np.median(sample.std(axis=(0, 2, 3)))
        shift = max(0, round(math.log2(max(1, deviation) / 100)))
        out_width = self.parameters.setdefault("OUT_WIDTH", 8)
        self.shift = self.parameters.get("SHIFT", shift if out_width == 8 else 0)
        bound = self.stage.node.layer.accumulator_bound(Site(weight=self.weight, bias=self.bias))
        self.parameters["ACC_WIDTH"] = bound.bit_length() + 1
        self.parameters["WEIGHT_FILE"] = "weight.mem"
        self.parameters["BIAS_FILE"] = "bias.mem"
        self.memories = {"weight.mem": weights, "bias.mem": biases}
        self.hashed = [weights, biases]
        self.rounding = self._rounding(np.array([2.0**-self.shift], np.float32))
        if "SCALE_EXACT" in self.parameters:
            self._draw_scales()
        else:
            self.parameters["SHIFT"] = self.shift
        self._windows = itertools.cycle(self._telling_windows())

    def _rounding(self, multiplier: np.ndarray) -> Rounding:
        codes = {"ZERO_POINT": 0, "LOW": 0, "HIGH": 255}
        return Rounding(multiplier, *(self.parameters.get(key, codes[key]) for key in codes))

    @property
    def zero_lanes(self) -> bool:
        """Not where sums of nothing have another code."""
        return self.rounding.zero_point == self.rounding.low == 0

    def _draw_scales(self) -> None:
        """Set scales of the form that the case wants, which need neither all bits nor none."""
        wanted = self.parameters["SCALE_EXACT"]
        shared = self.parameters.get("ONE_SCALE", 0)
        channels = 1 if shared else len(self.weight)
        site = Site(weight=self.weight, bias=self.bias)
        ends = self.stage.node.layer.accumulator_range(site)
        for _ in range(1000):
            scales = 2.0 ** (self.rng.uniform(0, 2, channels) - self.shift)
            self.rounding = self._rounding(scales.astype(np.float32))
            found = scaling.find(self.rounding, *ends)
            self.stage = replace(self.stage, scaling=found)
            text = rom.scale_hex(self.stage)
            biases = self.memories["bias.mem"].split()
            scales = text.split() * (len(biases) if shared else 1)
            both = "\n".join(f"{scale}{bias}" for scale, bias in zip(scales, biases, strict=True))
            if found.exact == wanted and found.shared == bool(shared) and _signature_changes(both):
                break
        self.parameters |= {"SCALE_WIDTH": found.width, "SHIFT": found.shift}
        self.parameters["SCALE_FILE"] = "scale.mem"
        self.memories["scale.mem"] = text
        self.hashed[1] = both

    def _draw(self) -> None:
        stage = self.stage
        pe, simd = stage.folding.pe, stage.folding.simd
        groups, chunks = stage.channel_folds, stage.window_folds
        rows = self.rng.integers(-128, 128, (groups * pe, chunks * simd), np.int8)
        rows[::2] = self.rng.choice(np.array([-128, -1, 127], np.int8), rows.shape)[::2]
        # As far as any: steps of 1 in the last column reach every sum.
        for group, value in ((2, 127), (3, -128)):
            rows[group * pe : (group + 1) * pe] = value
            rows[group * pe : (group + 1) * pe, stage.window - 1] = np.sign(value)
        largest = np.where(np.arange(pe) % 2, 127, -128).astype(np.int8)[:, None]
        if chunks > 1:
            rows[:pe, :simd], rows[:pe, simd : 2 * simd] = largest, ~largest
        elif groups > 1:
            rows[:pe], rows[pe : 2 * pe] = largest, ~largest
            rows[:pe, stage.window - 1] = np.sign(largest[:, 0])
            rows[pe : 2 * pe, stage.window - 1] = np.sign(~largest[:, 0])
        shape = stage.node.weight_shape
        order = stage.weight_matrix(np.arange(math.prod(shape)).reshape(shape))
        self.weight = np.empty(shape, np.int8)
        self.weight.reshape(-1)[order] = rows[: len(order), : stage.window]
        spread = 100 * 74 * max(1, round(math.sqrt(stage.window)))
        sums = 255 * self.weight.reshape(len(self.weight), -1).astype(np.int64)
        lowest, highest = np.minimum(sums, 0).sum(axis=1), np.maximum(sums, 0).sum(axis=1)
        low, high = np.maximum(-spread, 3 * lowest // 4), np.minimum(spread, 3 * highest // 4)
        # Rows of the first word of biases, and those below them of the second.
        pairs = max(0, min(pe, len(low) - pe))
        first, second = slice(0, pairs), slice(pe, pe + pairs)
        low[first] = np.maximum(low[first], -high[second])
        high[first] = np.minimum(high[first], -low[second])
        self.bias = -self.rng.integers(low, high + 1).astype(np.int32)
        self.bias[second] = ~self.bias[first]

    def _telling_windows(self) -> list[np.ndarray]:
        """Windows, flattened, that take accumulators to where each of their bits shows.

        That is at the ends of their range, halfway between two results and beside that, and where a
        single bit is set above those of the result. The single bits need one channel of a PE lane.
        """
        weight = self.weight.reshape(len(self.weight), -1).astype(np.int64)
        half, width = 1 << self.shift >> 1, self.parameters["ACC_WIDTH"]
        bits = [half + (1 << bit) for bit in range(1, max(1, self.shift - 1))]
        bits += [sign << bit for bit in range(self.shift + 8, width - 1) for sign in (1, -1)]
        sums = np.array([half - 1, half, half + 1, half + (1 << self.shift), *bits])
        ties = len(sums) - len(bits)
        windows = []
        for lane in range(self.stage.folding.pe):
            missing = np.full(len(sums), True)
            for channel in range(lane, len(weight), self.stage.folding.pe):
                own = weight[channel]
                windows += [(sign * own > 0) * 255 for sign in (-1, 1)]
                most = np.where(sums >> self.shift + 8, 7, 127)
                half_result = self.rng.integers(most + 1)
                wanted = sums + (2 * half_result << self.shift) - self.bias[channel]
                reached = self._reach(own, wanted)
                missing[:ties] = True
                windows += [*reached[missing]]
                missing &= reached @ own != wanted
                # Each bit of the results is now 0, now 1.
                change = (most - 2 * half_result)[:ties]
                windows += [*self._reach(own, wanted[:ties] + (2 * change << self.shift))]
        return [windows[index].astype(np.uint8) for index in self.rng.permutation(len(windows))]

    def _reach(self, weight: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """For each sum that is wanted, a window that gives it or one near: int64 (sums, window)."""
        best = np.zeros((len(wanted), len(weight)), np.int64)
        for _ in range(3 + 100 // len(weight)):
            window = self.rng.integers(0, 256, best.shape) * self.rng.integers(0, 2, len(weight))
            for element in np.argsort(-np.abs(weight) + self.rng.uniform(0, 16, len(weight))):
                if weight[element]:
                    window[:, element] = 0
                    rest = (wanted - window @ weight) / weight[element]
                    nearer = self.rng.choice([np.rint, np.trunc])(rest)
                    window[:, element] = np.clip(nearer, 0, 255)
            better = np.abs(wanted - window @ weight) < np.abs(wanted - best @ weight)
            best[better] = window[better]
        return best

    def images(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """As usual, but of the third image on, three of four are made of telling windows."""
        images = super().images(count, rng)
        kernel = self.weight.shape[1:] if self.weight.ndim == 4 else self.stage.in_shape
        padding = getattr(self.stage.node.layer, "padding", 0)
        _, _, height, width = images.shape
        for image in (image for number, image in enumerate(images) if number > 1 and number % 4):
            columns = range(-(-(width + padding) // kernel[2]))
            rows = range(-(-(height + padding) // kernel[1]))
            windows = np.block(
                [[next(self._windows).reshape(kernel) for _ in columns] for _ in rows]
            )
            image[:] = windows[:, padding : padding + height, padding : padding + width]
        return images

    def accumulators(self, images: np.ndarray) -> np.ndarray:
        """int32 accumulators, count x channels x height x width."""
        raise NotImplementedError

    def compute(self, images: np.ndarray) -> np.ndarray:
        acc = self.accumulators(images)
        if self.parameters["OUT_WIDTH"] == 32:
            return acc
        return self.rounding.codes(acc.astype(np.float64))
