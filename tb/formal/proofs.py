"""What is proved, at which parameters, and the bug that each proof must find."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from convstream.model.hardware import rom
from convstream.model.hardware.stage import Folding
from convstream.model.hardware.stream_order import pack_table
from convstream.model.network.layers import Conv, Linear
from convstream.model.network.layers.windows import Window
from tb.stages import lone_stage, window_of


@dataclass(frozen=True)
class Bug:
    """A change of a module's source."""

    file: str
    old: str  # found exactly once
    new: str


# What the assertions of each harness say.
SAYS = {
    "axis_fifo": "beats leave as they came, in order; room for DEPTH; moves in every clock",
    "frame_check": "images of BEATS beats leave, each with its flag; moves in every clock",
    "frame_drop": "flagged images leave no beat, others leave as they came; moves in every clock",
    "scale_round": "nearest, by float32's idea of a half, for every product",
    "scale_requantise": "the product rounded, clamped, CLOCKS + 2 clocks later; no other",
    "requantise": "half to even, clamped, for every accumulator and shift",
    "vector_buffer": "each chunk is at its place in each pass; moves within 2 clocks",
    "width_converter": "each byte is at its place, zeros behind, tlast; moves within 2 clocks",
    "fold_counter": "the folds come in their order",
    "sliding_window": "each pixel is in its windows, no other; moves within 9 clocks (PACE 12: 13)",
    "conv2d": "each pixel meets its weights, sums leave in order, tlast; moves within PACE + 13",
    "pixel_conv2d": "as conv2d; moves within PACE + 13 clocks",
    "depthwise_conv2d": "as conv2d, each pixel with the outputs of its channel alone",
    "fc": "each input meets its weights, sums leave in order, tlast; moves within 17 clocks",
    "pixel_reader": "each pixel is in its windows, no other; moves within 2 clocks",
    "maxpool2d": "results in raster order, each of its own window; moves within 14 clocks",
    "avgpool2d": "sums in raster order, each of its own window; moves within 14 clocks",
    "running_max": "results in raster order, each of its own window; moves within 3 clocks",
    "axis_fork": "every reader gets each beat once, as it came; moves in every clock",
    "axis_concat": "the inputs' beats in their turns, as they came; tlast; moves in every clock",
    "axis_add": "beats of both together, sums in their places, tlast; moves within 5 clocks",
    "lookup": "each code's own function in its place, tlast; moves within 3 clocks",
    "upsample": "each pixel as often as the factors say, tlast; moves within 6 clocks",
    "argmax": "logits leave as they came, with the largest so far; moves in every clock",
}


@dataclass(frozen=True)
class Proof:
    """The assertions of tb/formal/<module>_formal.v hold at any time, whatever the inputs do.

    method: "z3" for logic without registers; "IC3", whose invariant z3 checks; "states", all of
    which are visited.
    """

    module: str
    method: str
    bug: Bug
    parameters: dict[str, int] = field(default_factory=dict, hash=False)
    quick: bool = False  # part of `make test`

    @property
    def slug(self) -> str:
        """A name for files."""
        return "_".join([self.module, *(f"{k}{v}" for k, v in self.parameters.items())])


def rom_files(proof: Proof) -> dict[str, str]:
    """Names and texts of the ROMs that a harness expects."""
    parameters = proof.parameters
    if proof.module == "lookup":
        channels = parameters.get("CHANNELS", 1) if parameters.get("PER_CHANNEL") else 1
        values = np.arange(256) * np.arange(1, channels + 1)[:, None] % 256
        words = pack_table(values.astype(np.uint8), parameters.get("LANES", channels))
        return {"table.mem": rom.to_hex(words)}
    if proof.module == "fc":
        shape = (parameters["CHANNELS"], 1, parameters.get("POSITIONS", 1))
        layer = Linear(parameters["OUT_FEATURES"])
    elif proof.module in ("conv2d", "pixel_conv2d", "depthwise_conv2d"):
        channels, window = parameters["CHANNELS"], window_of(parameters)
        shape = (channels, parameters["HEIGHT"], parameters["WIDTH"])
        geometry = window.kernel, window.stride, window.padding, window.dilation
        if "MULTIPLIER" in parameters:
            layer = Conv(channels * parameters["MULTIPLIER"], *geometry, groups=channels)
        else:
            layer = Conv(parameters["OUT_CHANNELS"], *geometry)
    else:
        return {}
    simd = parameters.get("SIMD", parameters["CHANNELS"])
    folding = Folding(parameters["PE"], simd, bool(parameters.get("INPUT_MAJOR")))
    lanes, pixels = parameters["LANES"], parameters.get("PIXELS", 1)
    stage = lone_stage(layer, shape, folding, lanes, pixels)
    weight_shape = stage.node.weight_shape
    weight = 1 + np.arange(np.prod(weight_shape), dtype=np.int8).reshape(weight_shape)
    bias = np.arange(weight_shape[0], dtype=np.int32)
    return {
        "weight.mem": rom.to_hex(rom.pack_weights(weight, stage)),
        "bias.mem": rom.to_hex(rom.pack_bias(bias, stage)),
    }


def _each(
    module: str, method: str, bug: Bug, *parameters: dict[str, int], quick: int = 1
) -> list[Proof]:
    """A proof for each set of parameters, the first `quick` of them part of `make test`."""
    return [Proof(module, method, bug, p, i < quick) for i, p in enumerate(parameters)]


def _sizes(kernel: int, largest: int, paddings: Iterable[int]) -> list[dict[str, int]]:
    """All images of up to `largest` rows and columns, at every stride that makes a difference."""
    return [
        {"HEIGHT": height, "WIDTH": width, "KERNEL": kernel, "STRIDE": stride, "PADDING": padding}
        for padding in paddings
        for stride in range(1, max(kernel, 2) + 1)
        for height in range(1, largest + 1)
        for width in range(1, largest + 1)
        if _fits(Window.of(kernel, stride, padding), height, width)
    ]


def _shapes(largest: int, dilated: bool) -> list[dict[str, int]]:
    """All images of up to `largest` rows and columns, under windows that differ both ways."""
    windows = [
        Window((1, 3), (1, 2), (0, 1, 0, 1)),
        Window((3, 1), (2, 1), (1, 0, 2, 0)),
        Window((2, 3), (1, 2), (1, 0, 0, 2)),
        Window((2, 1), (1, 1), (0, 0, 1, 0)),
        Window((1, 2), (2, 1), (0, 1, 0, 0)),
        Window((2, 2), (3, 1), (1, 1, 0, 0)),
    ]
    if dilated:
        windows += [
            Window((2, 2), dilation=(2, 2)),
            Window((2, 2), (1, 2), (1, 0, 2, 1), (2, 1)),
            Window((1, 2), (1, 1), (0, 2, 0, 1), (1, 2)),
            Window((3, 1), (2, 1), (2, 0, 1, 0), (2, 1)),
        ]
    return [
        {"HEIGHT": height, "WIDTH": width} | _parameters(window)
        for window in windows
        for height in range(1, largest + 1)
        for width in range(1, largest + 1)
        if _fits(window, height, width)
    ]


def _fits(window: Window, height: int, width: int) -> bool:
    _, rows, columns = window.padded((1, height, width))
    return rows >= window.span[0] and columns >= window.span[1]


def _parameters(window: Window) -> dict[str, int]:
    """Parameters of a module with this window."""
    (rows, columns), (down, across) = window.kernel, window.stride
    sizes = {"KERNEL_H": rows, "KERNEL_W": columns, "STRIDE_H": down, "STRIDE_W": across}
    sides = ("PAD_TOP", "PAD_LEFT", "PAD_BOTTOM", "PAD_RIGHT")
    sizes |= {name: size for name, size in zip(sides, window.padding, strict=True) if size}
    ways = ("DILATION_H", "DILATION_W")
    return sizes | {n: size for n, size in zip(ways, window.dilation, strict=True) if size > 1}


IMAGE = {"HEIGHT": 3, "WIDTH": 4, "KERNEL": 3, "PADDING": 1}
CONV = {"HEIGHT": 2, "WIDTH": 2, "CHANNELS": 1, "KERNEL": 2, "STRIDE": 1, "PADDING": 1}
CONV |= {"OUT_CHANNELS": 2, "LANES": 1, "PE": 1}
DEPTHWISE = {name: size for name, size in CONV.items() if name != "OUT_CHANNELS"}
DEPTHWISE |= {"MULTIPLIER": 1, "SIMD": 1}
CONV_SIZES = [size for kernel in (1, 2) for size in _sizes(kernel, 2, range(kernel))]

PROOFS = [
    *_each(
        "axis_fifo",
        "IC3",
        Bug("axis_fifo.v", "count_next == COUNT_FULL", "count_reg == COUNT_FULL"),
        *({"DEPTH": depth} for depth in range(1, 10)),
        {"DEPTH": 3, "WIDTH": 8},
        quick=4,
    ),
    *_each(
        "axis_fifo",
        "IC3",
        Bug("axis_fifo.v", "empty_reg || (read && sole_reg)", "empty_reg"),
        *({"DEPTH": depth, "IN_BLOCKS": 1} for depth in range(2, 8)),
        {"DEPTH": 3, "IN_BLOCKS": 1, "WIDTH": 8},
        quick=2,
    ),
    *_each(
        "axis_fork",
        "IC3",
        Bug("axis_fork.v", "{READERS{s_axis_tvalid}} & ~taken_reg", "{READERS{s_axis_tvalid}}"),
        *({"READERS": readers} for readers in range(2, 6)),
        {"READERS": 2, "WIDTH": 8},
    ),
    *_each(
        "axis_concat",
        "IC3",
        Bug("axis_concat.v", "take && |ends", "take"),
        {"BEATS": 2 << 16 | 1, "GROUPS": 2},
        {"BEATS": 1 << 16 | 3, "GROUPS": 1},
        {"BEATS": 2 << 16 | 2, "GROUPS": 3, "FIFO_DEPTH": 2},
        {"BEATS": 3 << 16 | 2, "GROUPS": 2, "FIFO_DEPTH": 3},
    ),
    *_each(
        "axis_add",
        "states",
        Bug("axis_add.v", "{s_axis_tvalid[0], s_axis_tvalid[1]}", "2'b11"),
        *({"POSITIONS": positions, "DYED": dyed} for dyed in (0, 1) for positions in (2, 1, 3)),
        {"CHANNELS": 2, "LANES": 1},
        {"CHANNELS": 3, "LANES": 2, "DYED": 1},
        {"PIXELS": 2, "POSITIONS": 4},
        {"FIFO_DEPTH": 2},
    ),
    *_each(
        "lookup",
        "states",
        Bug("lookup.v", "enable = !valid_reg || ready", "enable = 1'b1"),
        *({"POSITIONS": positions} for positions in (2, 1, 3)),
        {"CHANNELS": 2, "LANES": 1, "PER_CHANNEL": 1},
        {"CHANNELS": 3, "LANES": 2, "PER_CHANNEL": 1},
        {"PIXELS": 2, "POSITIONS": 4},
        {"FIFO_DEPTH": 2},
    ),
    *_each(
        "upsample",
        "states",
        Bug("upsample.v", ".REPEATS(FACTOR_W)", ".REPEATS(1)"),
        *(
            {"HEIGHT": height, "WIDTH": width, "FACTOR_H": rows, "FACTOR_W": columns}
            for rows in (2, 1, 3)
            for columns in (2, 3)
            for height in (2, 1)
            for width in (2, 1, 3)
        ),
        {"CHANNELS": 2, "LANES": 1},
        {"CHANNELS": 3, "LANES": 2},
    ),
    *_each(
        "upsample",
        "states",
        Bug("upsample.v", ".REPEATS(FACTOR_H)", ".REPEATS(1)"),
        *({"WIDTH": width, "FACTOR_W": 1} for width in (1, 2, 3)),
        quick=0,
    ),
    *_each(
        "frame_check",
        "IC3",
        Bug("frame_check.v", "!(last_reg && flag_valid_reg && !m_flag_tready)", "1'b1"),
        *({"BEATS": beats} for beats in range(1, 10)),
        quick=3,
    ),
    *_each("frame_drop", "IC3", Bug("frame_drop.v", "&& s_axis_tlast;", ";"), {"WIDTH": 2}),
    *_each(
        "vector_buffer",
        "states",
        Bug("vector_buffer.v", "s_axis_tready = !full_reg[1]", "s_axis_tready = 1'b1"),
        *(
            {"CHUNKS": chunks, "REPEATS": repeats}
            for chunks in range(1, 6)
            for repeats in range(1, 5)
        ),
    ),
    *_each(
        "width_converter",
        "states",
        Bug(
            "width_converter.v",
            "(!out_valid_reg || m_axis_tready) && fill_reg[CHUNK-1]",
            "fill_reg[CHUNK-1]",
        ),
        {"POSITIONS": 4, "CHANNELS": 2, "LANES": 1, "PIXELS": 2, "SIMD": 3},
        *(
            {"POSITIONS": positions, "CHANNELS": channels, "LANES": lanes, "SIMD": simd}
            for positions in range(1, 4)
            for channels in range(1, 4)
            for lanes in range(1, channels + 1)
            for simd in range(1, positions * channels + 1)
        ),
    ),
    *_each(
        "fold_counter",
        "states",
        Bug("fold_counter.v", "chunk_reg == CHUNK_NEXT_LAST", "chunk_reg == CHUNK_LAST"),
        *(
            {"GROUPS": groups, "CHUNKS": chunks, "GROUP_INNER": inner}
            for inner in (0, 1)
            for groups in range(1, 5)
            for chunks in range(2, 5)
        ),
    ),
    *_each(
        "fold_counter",
        "states",
        Bug("fold_counter.v", "group_reg == GROUP_NEXT_LAST", "group_reg == GROUP_LAST"),
        *({"GROUPS": groups, "CHUNKS": 1} for groups in range(2, 5)),
    ),
    *_each(
        "argmax",
        "states",
        Bug("argmax.v", "logit > best_reg", "logit >= best_reg"),
        *({"CLASSES": classes, "LANES": 1, "WIDTH": 2} for classes in range(2, 5)),
        *({"CLASSES": classes, "LANES": 2, "WIDTH": 1} for classes in range(3, 6)),
    ),
    *_each(
        "sliding_window",
        "states",
        Bug(
            "window_register.v",
            "(!valid_reg || window_ready) && !surplus_reg[FILL_WIDTH-1]",
            "!surplus_reg[FILL_WIDTH-1]",
        ),
        *(size for kernel in (2, 1, 3) for size in _sizes(kernel, 4, [0])),
        # Several beats a pixel, several pixels a beat, windows at once, windows used for long.
        {"CHANNELS": 2, "LANES": 1},
        {"CHANNELS": 3, "LANES": 2},
        {"WIDTH": 4, "PIXELS": 2, "KERNEL": 3},
        {"WIDTH": 4, "PIXELS": 2, "KERNEL": 2, "STRIDE": 2},
        {"LATE": 0},
        *({"KERNEL": kernel, "PACE": pace} for kernel in (2, 3) for pace in (4, 5, 8)),
        {"KERNEL": 3, "PACE": 12, "LIMIT": 12},
        *_shapes(3, dilated=True),
        {"HEIGHT": 3, "WIDTH": 4, "DILATION_H": 2, "PACE": 8, "LIMIT": 12},
    ),
    *_each(
        "sliding_window",
        "states",
        Bug("column_reader.v", "{GROUP_BITS{outside_reg}} & PAD", "{GROUP_BITS{1'b0}}"),
        IMAGE | {"PAD_CODE": 1},
        IMAGE | {"PAD_CODE": 1, "PIXELS": 2},
        quick=0,
    ),
    *_each(
        "sliding_window",
        "states",
        Bug("column_reader.v", "outside ? {KERNEL{1'b0}} : in_image", "{KERNEL{1'b1}}"),
        *_sizes(2, 4, [1]),
        *_sizes(3, 4, [1, 2]),
        IMAGE | {"CHANNELS": 2, "LANES": 1},
        IMAGE | {"PIXELS": 2},
        IMAGE | {"LATE": 0},
        IMAGE | {"PACE": 5},
        quick=0,
    ),
    *_each(
        "sliding_window",
        "states",
        Bug("column_reader.v", "in_image[row_reg] && !outside", "1'b1"),
        *(IMAGE | {"PACE": pace} for pace in (11, 12, 20)),
        quick=0,
    ),
    *_each(
        "pixel_reader",
        "states",
        Bug("pixel_reader.v", "held_reg != ROWS[HELD_WIDTH-1:0]", "1'b1"),
        *(size for kernel in (2, 1, 3) for size in _sizes(kernel, 4, [0])),
        {"CHANNELS": 2, "LANES": 1},
        {"CHANNELS": 3, "LANES": 2},
        {"REPEATS": 3},
        *_shapes(3, dilated=True),
    ),
    *_each(
        "pixel_reader",
        "states",
        Bug("pixel_reader.v", "in_image[ky_reg] && x_reg < WIDTH[X_WIDTH-1:0]", "1'b1"),
        *_sizes(2, 4, [1]),
        *_sizes(3, 4, [1, 2]),
        IMAGE | {"CHANNELS": 2, "LANES": 1},
        IMAGE | {"REPEATS": 2},
        IMAGE | {"PAD_CODE": 1},
        quick=0,
    ),
    *_each(
        "maxpool2d",
        "states",
        Bug("pool_tree.v", "enable = !valid_reg[LEVELS] || m_result_ready", "enable = 1'b1"),
        *_sizes(2, 4, [0, 1]),
        *_sizes(3, 3, [0, 1, 2]),
        *_shapes(3, dilated=False),
        {"HEIGHT": 4, "WIDTH": 4, "CHANNELS": 2, "LANES": 1},
        {"HEIGHT": 4, "WIDTH": 4, "CHANNELS": 2},
        {"HEIGHT": 4, "WIDTH": 4, "PIXELS": 2},
        {"HEIGHT": 3, "WIDTH": 4, "PIXELS": 4},
    ),
    *_each(
        "avgpool2d",
        "states",
        Bug("pool_tree.v", "one + two", "one"),
        *_sizes(2, 4, [0]),
        *(shape for shape in _shapes(2, dilated=False) if shape["HEIGHT"] > 1),
        {"HEIGHT": 4, "WIDTH": 4, "CHANNELS": 2, "LANES": 1},
        {"HEIGHT": 4, "WIDTH": 4, "CHANNELS": 2},
        {"HEIGHT": 4, "WIDTH": 4, "PIXELS": 2},
        {"HEIGHT": 3, "WIDTH": 4, "PIXELS": 4},
        {"HEIGHT": 4, "WIDTH": 4, "KERNEL": 4},
        {"OUT_WIDTH": 32},
    ),
    *_each(
        "running_max",
        "states",
        Bug("running_pool.v", "first_reg || x > so_far", "x > so_far"),
        *(
            {"HEIGHT": height, "WIDTH": width, "KERNEL": kernel}
            for kernel in (2, 3)
            for height in range(kernel, 6)
            for width in range(kernel, 6)
        ),
        {"HEIGHT": 4, "WIDTH": 5, "KERNEL_H": 2, "KERNEL_W": 3},
        {"HEIGHT": 1, "WIDTH": 5, "KERNEL_H": 1, "KERNEL_W": 2},
        {"HEIGHT": 5, "WIDTH": 2, "KERNEL_H": 3, "KERNEL_W": 1},
        {"CHANNELS": 2, "LANES": 1},
        {"CHANNELS": 3, "LANES": 2},
    ),
    *_each(
        "avgpool2d",
        "states",
        Bug("running_pool.v", "first_reg ? {RESULT{1'b0}} : so_far", "so_far"),
        *(
            {"HEIGHT": height, "WIDTH": width, "KERNEL": kernel, "STRIDE": kernel, "RUNNING": 1}
            for kernel in (2, 3)
            for height in range(kernel, 5)
            for width in range(kernel, 5)
        ),
        {"CHANNELS": 2, "LANES": 1, "RUNNING": 1},
        {"CHANNELS": 2, "LANES": 1, "HEIGHT": 2, "WIDTH": 2, "RUNNING": 1},
        {"CHANNELS": 3, "LANES": 2, "RUNNING": 1},
        {"OUT_WIDTH": 32, "RUNNING": 1},
    ),
    *_each(
        "fc",
        "states",
        Bug("row_stream.v", "credit_reg != CREDIT_ONE", "1'b1"),
        *(
            {
                "POSITIONS": positions,
                "CHANNELS": channels,
                "LANES": lanes,
                "PIXELS": pixels,
                "OUT_FEATURES": outputs,
                "PE": pe,
                "SIMD": simd,
                "INPUT_MAJOR": major,
            }
            for positions, channels, lanes, pixels in (
                (1, 1, 1, 1),
                (2, 1, 1, 1),
                (1, 3, 2, 1),
                (2, 1, 1, 2),
            )
            for outputs, pe in ((1, 1), (2, 1), (2, 2), (3, 2))
            for simd in (1, 2)
            for major in (0, 1)
            if simd <= positions * channels
        ),
        *(
            {"VECTORS": 2, "CHANNELS": 3, "LANES": 2, "SIMD": 2, "OUT_FEATURES": 3, "PE": pe}
            for pe in (1, 2, 3)
        ),
    ),
    *_each(
        "conv2d",
        "states",
        Bug("row_stream.v", "credit_reg != CREDIT_ONE", "1'b1"),
        *(CONV | size | {"PE": pe, "SIMD": 1} for pe in (1, 2) for size in CONV_SIZES),
        CONV | {"HEIGHT": 3, "WIDTH": 3, "SIMD": 1},
        CONV | {"HEIGHT": 3, "WIDTH": 3, "SIMD": 1, "STRIDE": 2},
        CONV | {"HEIGHT": 2, "WIDTH": 3, "SIMD": 1, "KERNEL": 3},
        CONV | {"SIMD": 3},
        CONV | {"SIMD": 4, "PE": 2},
        CONV | {"SIMD": 2, "PE": 2, "OUT_CHANNELS": 3},
        CONV | {"SIMD": 3, "CHANNELS": 2},
        CONV | {"SIMD": 1, "CHANNELS": 2, "LANES": 2},
        *(CONV | {"PADDING": 0, "SIMD": 2} | shape for shape in _shapes(2, dilated=True)),
    ),
    *_each(
        "pixel_conv2d",
        "states",
        Bug("row_stream.v", "credit_reg != CREDIT_ONE", "1'b1"),
        *(CONV | size | {"PE": pe} for pe in (1, 2) for size in CONV_SIZES),
        CONV | {"HEIGHT": 3, "WIDTH": 3},
        CONV | {"HEIGHT": 3, "WIDTH": 3, "STRIDE": 2},
        CONV | {"HEIGHT": 2, "WIDTH": 3, "KERNEL": 3},
        CONV | {"PE": 2, "OUT_CHANNELS": 3},
        CONV | {"CHANNELS": 2},
        CONV | {"CHANNELS": 2, "LANES": 2},
        *(CONV | {"PADDING": 0} | shape for shape in _shapes(2, dilated=True)),
    ),
    # Taps from memory, in words of whole pixels, of a beat for one or two groups, of two beats.
    *_each(
        "depthwise_conv2d",
        "states",
        Bug("pixel_reader.v", "part_done && (WORDS == 1 || part_reg == PART_LAST)", "part_done"),
        *(
            DEPTHWISE | {"CHANNELS": 2} | size
            for size in CONV_SIZES
            if size["KERNEL"] > 1 or size["STRIDE"] == 1
        ),
        *(DEPTHWISE | {"CHANNELS": 2, "PADDING": 0} | shape for shape in _shapes(2, dilated=True)),
        DEPTHWISE | {"CHANNELS": 2, "MULTIPLIER": 2},
        DEPTHWISE | {"CHANNELS": 4, "LANES": 2, "KERNEL": 1, "PADDING": 0},
        DEPTHWISE | {"CHANNELS": 4, "PE": 2, "KERNEL": 1, "PADDING": 0},
    ),
    *_each(
        "depthwise_conv2d",
        "states",
        Bug("depthwise_conv2d.v", "CHANNEL % WORD) +:", "0) +:"),
        DEPTHWISE | {"CHANNELS": 3, "PE": 2, "KERNEL": 1, "PADDING": 0},
        DEPTHWISE | {"CHANNELS": 2, "LANES": 2},
        DEPTHWISE | {"CHANNELS": 2, "SIMD": 4},
        DEPTHWISE | {"CHANNELS": 2, "SIMD": 3, "PE": 2},
        DEPTHWISE | {"CHANNELS": 2, "SIMD": 2, "MULTIPLIER": 2, "PE": 3},
        quick=0,
    ),
    # An accumulator of one bit is 0 or -1: rounding always gives 0.
    *_each(
        "requantise",
        "z3",
        Bug("clamp_code.v", "!at_least(quotient, CODE_LOW)", "1'b0"),
        {"ACC_WIDTH": 1},
    ),
    *_each(
        "requantise",
        "z3",
        Bug("requantise.v", "extended[0] && quotient[0]", "extended[0]"),
        *({"ACC_WIDTH": width} for width in range(2, 33)),
        quick=4,
    ),
    *_each(
        "scale_round",
        "z3",
        Bug("scale_round.v", "beyond[POINT-2:LAST+9]", "beyond[POINT-2:LAST+10]"),
        *(
            {"SHIFT": shift, "EXACT": exact}
            for exact in (1, 2)
            for shift in (24, 17, 18, 23, 25, 26, 34, 44)
        ),
    ),
    # The window is finer than the product.
    *_each(
        "scale_round",
        "z3",
        Bug("scale_round.v", "odd    = quotient[0]", "odd    = 1'b0"),
        *({"SHIFT": shift, "EXACT": exact} for exact in (1, 2) for shift in (1, 2, 9, 16)),
    ),
    *_each(
        "scale_round",
        "z3",
        Bug("scale_round.v", "round_up = fraction[POINT-1]", "round_up = 1'b0"),
        *({"SHIFT": shift, "EXACT": 0} for shift in (1, 2, 9, 34)),
        {"SHIFT": 9, "EXACT": 0, "WIDTH": 4},
        {"SHIFT": 9, "EXACT": 0, "WIDTH": 30},
    ),
    *_each(
        "scale_requantise",
        "IC3",
        Bug("digit_sum.v", ".take_b(digit[place])", ".take_b(1'b1)"),
        *({"CLOCKS": clocks} for clocks in (2, 3)),
        {"CLOCKS": 2, "SCALE_WIDTH": 4},
    ),
    *_each(
        "scale_requantise",
        "IC3",
        Bug("digit_sum.v", "{1'b0, digit}", "{digit[DIGIT-1], digit}"),
        {},
        {"SCALE_WIDTH": 2, "ACC_WIDTH": 4},
    ),
    *_each(
        "scale_requantise",
        "IC3",
        Bug("scale_product.v", "total + parts", "parts"),
        {"SCALE_WIDTH": 18, "ACC_WIDTH": 2, "SHIFT": 15},
        quick=0,
    ),
]
