"""When every beat moves: the pipeline's interval, latency and FIFO depths, without a simulator.

A model of the handshakes in rtl/, beat by beat and exact to the clock. Every transfer happens at
the latest of the transfers it waits for (data there, room behind, the stage's own pace), each of
which is an earlier event; so there is no clock to step, only maxima to take. Each process below is
a generator that appends the times of its transfers to lists, and yields while a time that it needs
is not known yet.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from model.hardware.folding import FoldedNetwork, Folding, Stage

TOLERANCE = 1.005  # an interval this much above the bound still counts as full rate
FLAGS = 16  # images that may at least be in the pipeline while its output is stalled
# Clocks from a read of `sliding_window` until the load that takes the column, for `maxpool2d`; the
# registers of a convolution's window follow their commands by a clock (LATE).
READER = {"conv": 2, "maxpool": 3}
MOST_ORDERS = 4  # fully connected layers whose loop orders are tried in every combination

Times = list[int]
Process = Iterator[None]


@dataclass
class _Link:
    """A stream through a FIFO of `depth` beats (None: no end of room)."""

    depth: int | None
    written: Times = field(default_factory=list)
    read: Times = field(default_factory=list)


@dataclass(frozen=True)
class Timing:
    """Clocks at which images come in and logits go out, input always valid, output always ready.

    first_in, last_in, last_out: of each image, its first and last input beat and its last logits.
    occupancy: of each FIFO, the most beats that it held.
    """

    first_in: Times
    last_in: Times
    last_out: Times
    occupancy: Times

    @property
    def latency(self) -> int:
        """Clocks from an image's first pixel to its last logits; for an isolated image if alone."""
        return self.last_out[0] - self.first_in[0]

    @property
    def interval(self) -> float:
        """Clocks from image to image once the pipeline is full."""
        half = len(self.last_out) // 2
        return (self.last_out[-1] - self.last_out[half - 1]) / (len(self.last_out) - half)

    @property
    def in_flight(self) -> int:
        """Most images that are in the pipeline at once after their last pixel."""
        most = oldest = 0
        for newest, entered in enumerate(self.last_in):
            while self.last_out[oldest] < entered:
                oldest += 1
            most = max(most, newest - oldest + 1)
        return most


class _Compute:
    """`matrix_vector`: a pipeline that never holds, with a FIFO at its end.

    A beat enters only while there is credit for its result: fewer than the FIFO's depth are between
    here and the FIFO's output.
    """

    def __init__(self, folding: Folding, link: _Link) -> None:
        # From a result's last beat until the FIFO takes it.
        self.length = 5 + (folding.simd - 1).bit_length()
        self.link = link
        self.entered = -1

    def enter(self, earliest: int, beats: int = 1) -> Process:
        """Take `beats` successive beats, the first not before; `entered` is when the last came."""
        link = self.link
        clock = max(earliest, self.entered + 1)
        if link.depth is not None:
            before = len(link.written) - link.depth
            if before >= 0:
                while len(link.read) <= before:
                    yield
                clock = max(clock, link.read[before] + 1)
        self.entered = clock + beats - 1

    def leave(self) -> Process:
        """Write the result of the beat that entered last."""
        self.link.written.append(self.entered + self.length)
        yield from ()


class _Pipeline:
    """A pipeline of `length` registers that moves or holds as one, like maxpool2d's.

    It holds while a result waits at its end. Results are written to `link` as soon as their
    operands enter, since nothing that enters later can change when they leave.
    """

    def __init__(self, length: int, link: _Link) -> None:
        self.length = length
        self.link = link
        self.holds: deque[tuple[int, int]] = deque()  # clocks [from, to) in which it holds
        self.entered = -1

    def enter(self, earliest: int, beats: int = 1) -> Process:
        """Take `beats` successive beats, the first not before; `entered` is when the last came."""
        clock = max(earliest, self.entered + 1)
        while self.holds and self.holds[0][1] <= clock:
            self.holds.popleft()
        if self.holds:
            clock = self._moving(clock)
            clock = self._after(clock, beats - 1)
        else:
            clock += beats - 1
        self.entered = clock
        yield from ()

    def leave(self) -> Process:
        """Write the result of the beat that entered last."""
        link = self.link
        ready = self._after(self.entered, self.length - 1) + 1
        clock = ready
        if link.depth is not None:
            before = len(link.written) - link.depth
            if before >= 0:
                while len(link.read) <= before:
                    yield
                clock = max(clock, link.read[before] + 1)
        if clock > ready:
            self.holds.append((ready, clock))
        link.written.append(clock)

    def _moving(self, clock: int) -> int:
        for start, end in self.holds:
            if start <= clock < end:
                clock = end
        return clock

    def _after(self, clock: int, beats: int) -> int:
        """The clock `beats` moving clocks after a moving one."""
        clock += beats
        for start, end in self.holds:
            if clock - beats < end and start <= clock:
                clock += end - max(start, clock - beats)
        return clock


def _read(link: _Link, earliest: int) -> Process:
    """Read the next beat of `link`, not before `earliest`."""
    index = len(link.read)
    while len(link.written) <= index:
        yield
    clock = max(earliest, link.written[index] + 1)
    if index:
        clock = max(clock, link.read[-1] + 1)
    link.read.append(clock)


class _Window:
    """`sliding_window` of one stage: the geometry, and the times that its two sides share."""

    def __init__(self, stage: Stage) -> None:
        layer, pixels = stage.layer, stage.pixels
        _, self.height, width = stage.in_shape
        _, self.out_height, out_width = stage.out_shape
        self.padding, self.stride, self.kernel = layer.padding, layer.stride, layer.kernel
        self.groups = width // pixels
        self.beats = math.ceil(stage.in_shape[0] / stage.lanes)
        self.steps = out_width // stage.out_pixels
        self.slide = stage.out_pixels * layer.stride // pixels
        right = ((stage.out_pixels - 1) * layer.stride + layer.kernel - 1 - layer.padding) // pixels
        self.first = min(right + 1, self.groups)
        self.slides = min(self.steps - 1, math.ceil(max(self.groups - right - 1, 0) / self.slide))
        most, pace = max(self.first, self.slide), stage.pace
        self.reader = reader = READER[stage.kind]
        # Clocks to read a column, and columns that are read ahead; None: of no later window.
        self.rows_read = layer.kernel if pace >= layer.kernel * most + reader else 1
        self.queue = None if pace >= most + reader else most + reader
        unused = (self.height + 2 * layer.padding - layer.kernel) % layer.stride
        wanted = max(layer.kernel + layer.stride, 2 * layer.kernel - 2 * layer.padding + unused)
        self.rows = layer.kernel * math.ceil(wanted / layer.kernel)
        if stage.pixelwise:
            self.rows = wanted
        self.written: Times = []  # of each group of columns, row by row
        self.freed: list[tuple[int, int]] = []  # (rows before this one, are free from this clock)


def _write_rows(window: _Window, link: _Link, images: int) -> Process:
    """The row writer: takes beats as long as no row in use is overwritten."""
    oldest, free, seen = 0, 0, 0
    for row in range(images * window.height):
        while oldest <= row - window.rows:
            while len(window.freed) <= seen:
                yield
            oldest, free = window.freed[seen]
            seen += 1
        for _ in range(window.groups):
            for _ in range(window.beats):
                yield from _read(link, free)
            window.written.append(link.read[-1])


def _windows(window: _Window, stage: Stage, link: _Link, images: int) -> Process:
    """Column reader, column queue, window register and what computes on the windows."""
    if stage.kind == "conv":
        pipeline = _Compute(stage.folding, link)
    else:
        # A tree of the window's taps, a level a clock.
        pipeline = _Pipeline(max(1, (stage.layer.kernel**2 - 1).bit_length()), link)
    taken: deque[int] = deque()  # loads that took the last `queue` columns
    granted = -1  # load of the window before
    column_read = used = -1
    for image in range(images):
        for sweep in range(window.out_height):
            top = sweep * window.stride - window.padding
            newest = image * window.height + min(top + window.kernel, window.height) - 1
            column = 0
            for step in range(window.steps):
                wanted = window.first if step == 0 else window.slide
                if step > window.slides:
                    wanted = 0
                load = used
                for _ in range(wanted):
                    clock = column_read + 1
                    if column < window.groups:
                        index = newest * window.groups + column
                        while len(window.written) <= index:
                            yield
                        clock = max(clock, window.written[index] + 1)
                    if window.queue is None:
                        clock = max(clock, granted + 1)
                    elif len(taken) == window.queue:
                        clock = max(clock, taken.popleft() + 1)
                    column_read = clock + window.rows_read - 1
                    column += 1
                if wanted:
                    load = max(load, column_read + window.reader)
                granted = load
                if window.queue is not None:
                    taken.extend([load] * wanted)
                    while len(taken) > window.queue:
                        taken.popleft()
                if step == window.slides:
                    last = sweep == window.out_height - 1
                    oldest = window.height if last else max(top + window.stride, 0)
                    window.freed.append((image * window.height + oldest, column_read + 1))
                # The window is there a clock after its load, until its last beat has entered.
                for _ in range(stage.channel_folds):
                    yield from pipeline.enter(load + 1, stage.window_folds)
                    yield from pipeline.leave()
                    used = pipeline.entered


def _pixels(window: _Window, stage: Stage, link: _Link, images: int) -> Process:
    """`pixel_reader` and what computes on its pixels."""
    compute = _Compute(stage.folding, link)
    width = stage.in_shape[2]
    for image in range(images):
        for sweep in range(window.out_height):
            top = sweep * window.stride - window.padding
            newest = image * window.height + min(top + window.kernel, window.height) - 1
            for step in range(window.steps):
                right = min(step * window.stride - window.padding + window.kernel, width) - 1
                index = newest * width + right
                while len(window.written) <= index:
                    yield
                for _ in range(stage.channel_folds):
                    yield from compute.enter(window.written[index] + 1, stage.window_folds)
                    yield from compute.leave()
            last = sweep == window.out_height - 1
            oldest = window.height if last else max(top + window.stride, 0)
            window.freed.append((image * window.height + oldest, compute.entered + 1))


def _maxima(stage: Stage, source: _Link, sink: _Link, images: int) -> Process:
    """`running_max`: takes a beat whenever its pipeline moves."""
    pipeline = _Pipeline(2, sink)
    _, height, width = stage.in_shape
    kernel = stage.layer.kernel
    for _ in range(images):
        for row, column in itertools.product(range(height), range(width)):
            for _ in range(stage.channel_folds):
                index = len(source.read)
                while len(source.written) <= index:
                    yield
                yield from pipeline.enter(source.written[index] + 1)
                source.read.append(pipeline.entered)
                if row % kernel == column % kernel == kernel - 1:
                    yield from pipeline.leave()


class _Converter:
    """`width_converter` of one stage: what comes in and goes out, in units of bytes."""

    def __init__(self, stage: Stage) -> None:
        channels, height, width = stage.in_shape
        simd = stage.folding.simd
        self.beats = math.ceil(channels / stage.lanes)
        self.groups = height * width // stage.pixels
        self.chunks = stage.window_folds
        full = stage.pixels * stage.lanes
        short = stage.pixels * (channels - (self.beats - 1) * stage.lanes)
        unit = math.gcd(full, short, simd)
        final = short + self.chunks * simd - stage.window
        self.full, self.short, self.final = full // unit, short // unit, final // unit
        self.chunk = simd // unit
        self.accept = 2 * self.chunk  # units that may be held where a beat is accepted
        self.units: list[int] = []  # in all, after each input beat
        self.given: Times = []  # of each chunk, into the output register


def _pack(converter: _Converter, link: _Link, images: int) -> Process:
    """The converter's input side."""
    units = 0
    for _ in range(images):
        for group in range(converter.groups):
            for beat in range(converter.beats):
                earliest = 0
                needed = math.ceil((units - converter.accept) / converter.chunk)
                if needed > 0:
                    while len(converter.given) < needed:
                        yield
                    earliest = converter.given[needed - 1] + 1
                yield from _read(link, earliest)
                if beat < converter.beats - 1:
                    units += converter.full
                elif group < converter.groups - 1:
                    units += converter.short
                else:
                    units += converter.final
                converter.units.append(units)


class _Chunks:
    """The converter's output side: names the clock at which the next chunk is there."""

    def __init__(self, converter: _Converter, link: _Link) -> None:
        self.converter = converter
        self.link = link
        self.beat = 0
        self.taken = 0  # clock at which the chunk before was taken

    def next(self) -> Process:
        converter = self.converter
        wanted = converter.chunk * (len(converter.given) + 1)
        while True:
            while len(converter.units) <= self.beat:
                yield
            if converter.units[self.beat] >= wanted:
                break
            self.beat += 1
        clock = max(self.link.read[self.beat] + 1, self.taken)
        if converter.given:
            clock = max(clock, converter.given[-1] + 1)
        converter.given.append(clock)


def _input_major(stage: Stage, source: _Link, sink: _Link, converter: _Converter, images: int):
    """An fc that uses each chunk for all outputs as it comes."""
    chunks = _Chunks(converter, source)
    compute = _Compute(stage.folding, sink)
    for _ in range(images):
        for chunk in range(converter.chunks):
            yield from chunks.next()
            earliest = converter.given[-1] + 1
            if chunk < converter.chunks - 1:
                yield from compute.enter(earliest, stage.channel_folds)
            else:
                for _ in range(stage.channel_folds):
                    yield from compute.enter(earliest)
                    yield from compute.leave()
            chunks.taken = compute.entered


def _keep(
    stage: Stage, source: _Link, converter: _Converter, kept: Times, freed: Times, images: int
) -> Process:
    """The input side of an output-major fc's `vector_buffer`."""
    chunks = _Chunks(converter, source)
    for image in range(images):
        for _ in range(converter.chunks):
            yield from chunks.next()
            clock = converter.given[-1] + 1
            if kept:
                clock = max(clock, kept[-1] + 1)
            if image >= 2:
                while len(freed) < image - 1:
                    yield
                clock = max(clock, freed[image - 2] + 1)
            kept.append(clock)
            chunks.taken = clock


def _output_major(stage: Stage, sink: _Link, kept: Times, freed: Times, images: int) -> Process:
    """An fc that goes through its whole vector once for each group of outputs."""
    compute = _Compute(stage.folding, sink)
    chunks, groups = stage.window_folds, stage.channel_folds
    fetched = -1
    for image in range(images):
        for chunk in range(chunks):
            index = image * chunks + chunk
            while len(kept) <= index:
                yield
            fetched = max(fetched + 1, compute.entered, kept[index] + 1)
            yield from compute.enter(fetched + 1)
        yield from compute.leave()
        for _ in range(groups - 1):
            if chunks > 1:
                yield from compute.enter(compute.entered + 1, chunks - 1)
            fetched = compute.entered
            yield from compute.enter(fetched + 1)
            yield from compute.leave()
        freed.append(fetched)


def simulate(folded: FoldedNetwork, depths: list[int] | None, images: int) -> Timing:
    """Times of `images` images in succession through FIFOs of `depths` (None: no end of room)."""
    stages = folded.stages
    links = [_Link(None)] + [
        _Link(None if depths is None else depth or None) for depth in depths or [0] * len(stages)
    ]
    # Every beat of the input is there from the start.
    links[0].written = [-1] * (images * folded.input_beats)
    processes: list[Process] = []
    for stage, source, sink in zip(stages, links, links[1:], strict=False):
        if stage.running:
            processes.append(_maxima(stage, source, sink, images))
            continue
        if stage.kind != "fc":
            window = _Window(stage)
            reader = _pixels if stage.pixelwise else _windows
            processes.append(_write_rows(window, source, images))
            processes.append(reader(window, stage, sink, images))
            continue
        converter = _Converter(stage)
        processes.append(_pack(converter, source, images))
        if stage.folding.input_major:
            processes.append(_input_major(stage, source, sink, converter, images))
        else:
            kept: Times = []
            freed: Times = []
            processes.append(_keep(stage, source, converter, kept, freed, images))
            processes.append(_output_major(stage, sink, kept, freed, images))
    logits: Times = []
    processes.append(_classify(folded, links, logits, images))
    _run(processes)

    beats = folded.input_beats
    taken = links[0].read
    return Timing(
        first_in=taken[::beats],
        last_in=taken[beats - 1 :: beats],
        last_out=logits[stages[-1].output_beats - 1 :: stages[-1].output_beats],
        occupancy=[_most_held(link) for link in links[1:]],
    )


def _classify(folded: FoldedNetwork, links: list[_Link], logits: Times, images: int) -> Process:
    """`argmax`, whose registers move on one by one, and `frame_drop`, which waits for the flag."""
    stage, link = folded.stages[-1], links[-1]
    beats, last_in = stage.output_beats, links[0].read
    # The clocks at which the beat before left each of argmax's registers.
    left = [0] * (2 + (stage.out_lanes * stage.out_pixels - 1).bit_length())
    for image in range(images):
        for _ in range(beats):
            index = len(link.read)
            while len(link.written) <= index:
                yield
            clock = max(link.written[index] + 1, left[0])
            link.read.append(clock)
            for register in range(1, len(left)):
                clock = max(clock + 1, left[register])
                left[register - 1] = clock
            final = (image + 1) * folded.input_beats - 1
            while len(last_in) <= final:
                yield
            left[-1] = max(clock + 1, last_in[final] + 2)
            logits.append(left[-1])


def _run(processes: list[Process]) -> None:
    """Run the processes in turn until all have ended."""
    waiting = processes
    while waiting:
        # A process yields None; an ended one gives the default.
        waiting = [process for process in waiting if next(process, waiting) is None]


def _most_held(link: _Link) -> int:
    most = gone = 0
    for index, clock in enumerate(link.written):
        while gone < index and link.read[gone] < clock:
            gone += 1
        most = max(most, index - gone + 1)
    return most


@dataclass(frozen=True)
class Buffers:
    """What the FIFOs of a network must hold, and the timing that they give it.

    fifo_depths: beats of the FIFO at the end of each layer. flag_depth: images whose flags wait for
    their logits. latency: clocks from the first pixel to the last logits of an isolated image.
    interval: clocks from image to image.
    """

    fifo_depths: list[int]
    flag_depth: int
    latency: int
    interval: float


def buffers(folded: FoldedNetwork) -> Buffers:
    """The smallest FIFOs that cost no time.

    That is: a network takes images as fast as its slowest stage, and an isolated image leaves as
    soon as it would with no end of room. A FIFO of 2 beats does where results are far apart; a
    convolution or fc that gives one a clock needs as many as its pipeline is long, and a burst that
    meets a stage that is busy for longer needs more. Bisection finds how many.
    """
    images = _images(folded)
    stages = folded.stages
    least = [2] * len(stages)
    if all(stage.kind != "fc" for stage in stages):
        # The first logits leave before the last pixel has come in: they wait until the length of
        # the whole image is known.
        least[-1] = stages[-1].output_beats
    soonest = latency(folded)
    enough = TOLERANCE * folded.cycles

    def suffices(depths: list[int]) -> bool:
        return (
            simulate(folded, depths, 1).latency <= soonest
            and simulate(folded, depths, images).interval <= enough
        )

    depths = list(least)
    if not suffices(depths):
        enough = max(enough, simulate(folded, None, images).interval)
        while not suffices(depths) and max(depths) < 1 << 16:
            depths = [2 * depth for depth in depths]
        # The widest streams first: there a beat saved saves most.
        for index in sorted(
            range(len(stages)), key=lambda i: -stages[i].out_lanes * stages[i].out_pixels
        ):
            low, high = least[index], depths[index]
            while low < high:
                # Most need no more than the least, so that is tried first.
                depths[index] = low if low == least[index] else (low + high) // 2
                if suffices(depths):
                    high = depths[index]
                else:
                    low = depths[index] + 1
            depths[index] = high
    timing = simulate(folded, depths, images)
    return Buffers(
        fifo_depths=depths,
        flag_depth=max(FLAGS, timing.in_flight + 2),
        latency=simulate(folded, depths, 1).latency,
        interval=timing.interval,
    )


def order_loops(folded: FoldedNetwork) -> FoldedNetwork:
    """Choose each fc's loop order for the shortest latency of an isolated image.

    An input-major fc overlaps with the layer before it, as it takes inputs as they come, but gives
    its outputs in one burst at the end; an output-major one starts after that burst, and overlaps
    with the layer after it. So alternating lets every second fc hide; another order is taken only
    where it is shorter by more than a fiftieth.
    """
    indices = [index for index, stage in enumerate(folded.stages) if stage.kind == "fc"]
    if not indices:
        return folded
    alternate = []
    for index in indices:
        follows_fc = index > 0 and folded.stages[index - 1].kind == "fc"
        alternate.append(not (follows_fc and alternate[-1]))

    def ordered(orders: tuple[bool, ...]) -> FoldedNetwork:
        foldings = list(folded.foldings)
        for index, input_major in zip(indices, orders, strict=True):
            foldings[index] = replace(foldings[index], input_major=input_major)
        return replace(folded, foldings=tuple(foldings))

    first = ordered(tuple(alternate))
    if len(indices) > MOST_ORDERS:
        return first
    others = map(ordered, itertools.product((True, False), repeat=len(indices)))
    best = min(others, key=latency)
    return best if latency(best) < 0.98 * latency(first) else first


def latency(folded: FoldedNetwork) -> int:
    """Clocks from the first pixel to the last logits of an isolated image."""
    return simulate(folded, None, 1).latency


def _images(folded: FoldedNetwork) -> int:
    """Images to simulate: more than are ever in the pipeline, at a bearable effort."""
    beats = sum(stage.input_beats + stage.output_beats for stage in folded.stages)
    return max(6, min(400, 40_000 // beats))
