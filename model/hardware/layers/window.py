"""Stages with a sliding window: streams, geometry, and the timing of `sliding_window`."""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, cast

from convstream.model.base.errors import UserError
from convstream.model.hardware.settings import Setting, Wiring
from convstream.model.hardware.stage import Stage
from convstream.model.hardware.timing import Compute, Edge, Pipeline, Process, Times
from convstream.model.network.graph import Node
from convstream.model.network.layers.windows import Window, Windowed


def uneven(sizes: Sequence[int]) -> bool:
    """Whether sizes differ from direction to direction."""
    return len(set(sizes)) > 1


def banks_for(taps: int, dilation: int) -> int:
    """The fewest banks, at least `taps`, that hold rows `dilation` apart side by side."""
    return next(
        banks
        for banks in itertools.count(taps)
        if all(tap * dilation % banks for tap in range(1, taps))
    )


def _window(node: Node) -> Window:
    return cast(Windowed, node.layer).window


def _sizes(name: str, sizes: tuple[int, int], default: int | None = None) -> list[Setting]:
    """One parameter, or one for rows and one for columns where these differ."""
    if not uneven(sizes):
        return [Setting(name, sizes[0], default=default)]
    return [
        Setting(f"{name}_{way}", size, default=default)
        for way, size in zip("HW", sizes, strict=True)
    ]


class WindowStage(Stage):
    """A convolution or a pool."""

    # Clocks from a read of rtl/sliding_window.v to the load that takes the column: READER there. It
    # is one less if the window's registers follow their commands by a clock (LATE).
    reader: ClassVar[int] = 3

    @property
    def geometric(self) -> Window:
        """The layer's window."""
        return _window(self.node)

    @property
    def stride(self) -> int:
        return self.geometric.stride[0]

    @classmethod
    def pixels_out(cls, node: Node, pixels: int) -> int:
        stride = _window(node).stride[1]
        if pixels % stride and stride % pixels:
            raise UserError(
                f"{node.name} takes {pixels} of them a beat, which its stride {stride} does not fit"
            )
        after = max(1, pixels // stride)
        if node.out_shape[2] % after:
            raise UserError(
                f"{node.name} would give {after} pixels a beat, which do not divide its "
                f"{node.out_shape[2]} output columns"
            )
        return after

    @property
    def geometry(self) -> str:
        return str(self.geometric)

    @property
    def attributes(self) -> dict[str, Any]:
        window = self.geometric
        sizes: dict[str, tuple[int, ...]] = {
            "kernel": window.kernel,
            "stride": window.stride,
            "padding": window.padding,
        }
        if window.dilation != (1, 1):
            sizes["dilation"] = window.dilation
        return {name: list(size) if uneven(size) else size[0] for name, size in sizes.items()}

    @property
    def kernel_settings(self) -> list[Setting]:
        """KERNEL, or one for rows and one for columns."""
        return _sizes("KERNEL", self.geometric.kernel)

    def placing_settings(self, pad_code: int = 0, usual_stride: int | None = None) -> list[Setting]:
        """The window's other parameters. usual_stride: the module's default."""
        window = self.geometric
        padding = [Setting("PADDING", window.padding[0], default=0)]
        if uneven(window.padding):
            names = ("PAD_TOP", "PAD_LEFT", "PAD_BOTTOM", "PAD_RIGHT")
            padding = [
                Setting(name, size, default=0)
                for name, size in zip(names, window.padding, strict=True)
            ]
        if any(window.padding) and pad_code:
            padding.append(Setting("PAD_CODE", pad_code, default=0))
        dilation = [
            Setting(f"DILATION_{way}", size, default=1)
            for way, size in zip("HW", window.dilation, strict=True)
            if window.dilation != (1, 1)
        ]
        return [*_sizes("STRIDE", window.stride, usual_stride), *padding, *dilation]

    # Columns of a window, in groups of `pixels`; the names are those of rtl/sliding_window.v.

    @property
    def slide(self) -> int:
        """Columns by which an output beat moves on."""
        return self.out_pixels * self.geometric.stride[1] // self.pixels

    @property
    def first(self) -> int:
        """Columns that are read for the first output beat of a row."""
        return min(self._right + 1, self._groups)

    @property
    def slides(self) -> int:
        """Output beats of a row for which `slide` more are read; the others see padding."""
        steps = self.out_shape[2] // self.out_pixels
        return min(steps - 1, math.ceil(max(self._groups - self._right - 1, 0) / self.slide))

    @property
    def sweep(self) -> int:
        """Columns that are read for a row of windows."""
        return self.first + self.slides * self.slide

    @property
    def _groups(self) -> int:
        return self.in_shape[2] // self.pixels

    @property
    def _right(self) -> int:
        window = self.geometric
        last = (self.out_pixels - 1) * window.stride[1] + window.span[1] - 1
        return (last - window.padding[1]) // self.pixels

    @property
    def columns(self) -> int:
        return self.out_shape[1] * self.sweep

    @abstractmethod
    def pipeline(self, sink: Edge) -> Compute | Pipeline:
        """The pipeline that computes on its windows."""

    def window_processes(self, source: Edge, sink: Edge, images: int) -> Iterator[Process]:
        """`sliding_window` and the pipeline behind it."""
        rows = Rows(self)
        # Whole slots, one row of each bank: ROWS of rtl/sliding_window.v.
        banks = banks_for(self.geometric.kernel[0], self.geometric.dilation[0])
        rows.rows = banks * math.ceil(rows.rows / banks)
        yield write_rows(rows, source, images)
        yield _windows(rows, self, sink, images)


class PoolStage(WindowStage):
    """A pool: it passes its lanes on, and waits for its input instead of multipliers."""

    def spaced(self, cycles: int) -> int:
        """A lower bound on the clocks between its windows.

        A pool waits for its input, whose beats complete a window `stride` times as often as on
        average in the rows that complete any. A convolution has no such bound: it may be catching
        up.
        """
        return max(1, cycles // (self.output_groups * self.stride))

    def pool_settings(self, wiring: Wiring) -> list[Setting]:
        """The parameters of all pools."""
        channels, height, width = self.in_shape
        return [
            Setting("HEIGHT", height),
            Setting("WIDTH", width),
            Setting("CHANNELS", channels),
            *self.kernel_settings,
            Setting("LANES", wiring.lanes),
        ]

    def pipeline(self, sink: Edge) -> Pipeline:
        """A tree over the window's taps, one level per clock: LEVELS of rtl/pool_tree.v."""
        return Pipeline(max(1, (self.geometric.taps - 1).bit_length()), self.behind(sink))

    def behind(self, sink: Edge) -> Edge | Pipeline:
        """What takes the results of windows."""
        return sink


class Rows:
    """Geometry and times shared by the row writer and the window reader of a stage."""

    def __init__(self, stage: WindowStage) -> None:
        window, pixels = stage.geometric, stage.pixels
        _, self.height, width = stage.in_shape
        _, self.out_height, out_width = stage.out_shape
        kernel, self.stride, self.span = window.kernel[0], window.stride[0], window.span[0]
        self.padding, _, below, _ = window.padding  # above the image
        self.groups = width // pixels
        self.beats = math.ceil(stage.in_shape[0] / stage.lanes)
        self.steps = out_width // stage.out_pixels
        # The names from here on are those of rtl/sliding_window.v.
        self.slide, self.first, self.slides = stage.slide, stage.first, stage.slides
        most, pace = max(self.first, self.slide), stage.pace
        reader = stage.reader
        # Clocks to read a column, and columns that are read ahead; None: of no later window.
        self.rows_read = kernel if pace >= kernel * most + reader else 1
        # While a row's last windows take none, the columns of the next row's first ones are read.
        between = min(self.steps, stage.sweep) - self.slides
        self.queue = None if pace >= most + reader else max(most, between) + reader
        # Rows that fit into the line memories: ROWS of rtl/pixel_reader.v.
        padding = self.padding + below
        unused = (self.height + padding - self.span) % self.stride
        self.rows = max(self.span + self.stride, 2 * self.span - padding + unused)
        self.written: Times = []  # of each group of columns, row by row
        self.freed: list[tuple[int, int]] = []  # (rows before this one, are free from this clock)


def write_rows(rows: Rows, edge: Edge, images: int) -> Process:
    """The row writer: accepts beats as long as they overwrite no row in use."""
    oldest, free, seen = 0, 0, 0
    for row in range(images * rows.height):
        while oldest <= row - rows.rows:
            while len(rows.freed) <= seen:
                yield
            oldest, free = rows.freed[seen]
            seen += 1
        end = (row + 1) * rows.groups * rows.beats
        while len(edge.read) < end:
            while edge.empty:
                yield
            edge.take(free, end - len(edge.read))
            rows.written.extend(
                edge.read[len(rows.written) * rows.beats + rows.beats - 1 :: rows.beats]
            )


def _windows(rows: Rows, stage: WindowStage, sink: Edge, images: int) -> Process:
    """Column reader, column queue, window register and the pipeline behind them."""
    pipeline = stage.pipeline(sink)
    channel_folds, window_folds = stage.channel_folds, stage.window_folds
    first, slide, slides, groups = rows.first, rows.slide, rows.slides, rows.groups
    queue, written, reader, unbounded = rows.queue, rows.written, stage.reader, sink.depth is None
    taken: deque[int] = deque()  # loads that took the columns for which others wait
    count = 0  # columns read
    granted = -1  # load of the window before
    column_read = used = -1
    for image in range(images):
        for sweep in range(rows.out_height):
            top = sweep * rows.stride - rows.padding
            newest = image * rows.height + min(top + rows.span, rows.height) - 1
            column = 0
            for step in range(rows.steps):
                wanted = first if step == 0 else slide
                if step > slides:
                    wanted = 0
                load = used
                for _ in range(wanted):
                    clock = column_read + 1
                    if column < groups:
                        index = newest * groups + column
                        while len(written) <= index:
                            yield
                        clock = max(clock, written[index] + 1)
                    if queue is None:
                        clock = max(clock, granted + 1)
                    elif count >= queue:
                        clock = max(clock, taken.popleft() + 1)
                    column_read = clock + rows.rows_read - 1
                    column += 1
                    count += 1
                if wanted:
                    load = max(load, column_read + reader)
                granted = load
                if queue is not None:
                    taken.extend([load] * wanted)
                if step == slides:
                    last = sweep == rows.out_height - 1
                    oldest = rows.height if last else max(top + rows.stride, 0)
                    rows.freed.append((image * rows.height + oldest, column_read + 1))
                # The window is there a clock after its load, until its last beat has entered.
                for _ in range(channel_folds):
                    while not unbounded and sink.full:
                        yield
                    pipeline.enter(load + 1, window_folds)
                    pipeline.leave()
                used = pipeline.entered
