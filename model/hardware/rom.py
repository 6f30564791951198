"""The order of weights and biases in ROM words, defined here and nowhere else.

A weight word holds the `PE * SIMD` int8 weights of one cycle, lane (pe, simd) at bits
`8*(pe*SIMD + simd)`: output channel `nf*PE + pe`, element `sf*SIMD + simd` of the flattened window.
Its address is `nf*SF + sf`, or `sf*NF + nf` in an input-major fc. A bias word holds `PE` int32,
lane pe at bits `32*pe`, at address nf; a word of scales `PE` of SCALE_WIDTH bits each, likewise,
unless all are the same, which then is the only word. Lanes beyond the last channel or element are
zero.
"""

from __future__ import annotations

import math

import numpy as np

from convstream.model.hardware.folding import FoldedNetwork
from convstream.model.hardware.stage import ComputeStage
from convstream.model.network.quantised import QuantisedNetwork


def pack_weights(weight: np.ndarray, stage: ComputeStage) -> np.ndarray:
    """Pack a layer's int8 weights into ROM words: int8 (words, pe * simd), lane 0 first."""
    matrix = stage.weight_matrix(weight)
    pe, simd = stage.folding.pe, stage.folding.simd
    groups, chunks = stage.channel_folds, stage.window_folds
    padded = np.zeros((groups * pe, chunks * simd), np.int8)
    padded[: matrix.shape[0], : matrix.shape[1]] = matrix
    words = padded.reshape(groups, pe, chunks, simd)
    order = (2, 0, 1, 3) if stage.folding.input_major else (0, 2, 1, 3)
    return np.ascontiguousarray(words.transpose(order)).reshape(groups * chunks, pe * simd)


def unpack_weights(words: np.ndarray, stage: ComputeStage) -> np.ndarray:
    """The inverse of `pack_weights`: int8, in the shape of the layer's weights."""
    pe, simd = stage.folding.pe, stage.folding.simd
    groups, chunks = stage.channel_folds, stage.window_folds
    if stage.folding.input_major:
        lanes = words.reshape(chunks, groups, pe, simd).transpose(1, 2, 0, 3)
    else:
        lanes = words.reshape(groups, chunks, pe, simd).transpose(0, 2, 1, 3)
    matrix = lanes.reshape(groups * pe, chunks * simd)
    return stage.matrix_weight(matrix[: stage.out_shape[0], : stage.window])


def pack_bias(bias: np.ndarray, stage: ComputeStage) -> np.ndarray:
    """Pack a layer's biases into ROM words: int32 (NF, pe), lane 0 first.

    bias: int64 (OC,), as `QuantisedNetwork.bias` gives it. Of one beyond int32 the low 32 bits are
    enough: the accumulator, which fits, is the same modulo 2**32.
    """
    words = np.zeros((stage.channel_folds, stage.folding.pe), np.int32)
    words.reshape(-1)[: len(bias)] = bias.astype(np.int32)
    return words


def unpack_bias(words: np.ndarray, stage: ComputeStage) -> np.ndarray:
    """The inverse of `pack_bias`: int32 (OC,)."""
    return words.reshape(-1)[: stage.out_shape[0]].copy()


def scale_hex(stage: ComputeStage) -> str:
    """A layer's scales as the text of their ROM, words of any number of bits."""
    scaling = stage.scaling
    assert scaling is not None
    lanes = 1 if scaling.shared else stage.folding.pe
    digits = math.ceil(scaling.width * lanes / 4)
    scales = [int(scale) for scale in scaling.multiplier]
    words = (scales[first : first + lanes] for first in range(0, len(scales), lanes))
    return "".join(
        f"{sum(scale << scaling.width * lane for lane, scale in enumerate(word)):0{digits}x}\n"
        for word in words
    )


def to_hex(words: np.ndarray) -> str:
    """Text for `$readmemh`: one word per line, lane 0 in the lowest bits, hence rightmost."""
    big_endian = words.astype(words.dtype.newbyteorder(">"))[:, ::-1]
    digits = np.ascontiguousarray(big_endian).tobytes().hex()
    width = 2 * words.shape[1] * words.dtype.itemsize
    return "".join(digits[i : i + width] + "\n" for i in range(0, len(digits), width))


def from_hex(text: str, dtype: type[np.int8 | np.int32]) -> np.ndarray:
    """The words of a `.mem` file: `dtype` (words, lanes), lane 0 first."""
    lines = text.split()
    words = np.frombuffer(bytes.fromhex("".join(lines)), np.dtype(dtype).newbyteorder(">"))
    return np.ascontiguousarray(words.reshape(len(lines), -1)[:, ::-1]).astype(dtype)


def signature(weights: str, biases: str, scales: str = "") -> int:
    """The hash that rtl/rom_signature.v computes of a layer's ROMs, from the texts of the files.

    The upper 16 bits are those of the biases, each word with its scales above it, the lower 16
    those of the weights. Each is a CRC register (left shift, polynomial 0x1021, initially 0xFFFF)
    that absorbs each word as the exclusive or of its 16-bit slices.
    """
    lines = biases.split()
    above = scales.split() or ["0"]
    above *= len(lines) // len(above)
    others = (f"{scale}{bias}" for scale, bias in zip(above, lines, strict=True))
    halves = []
    for words in (others, weights.split()):
        state = 0xFFFF
        for line in words:
            state <<= 1
            if state >> 16:
                state ^= 0x11021
            word = int(line, 16)
            while word:
                state ^= word & 0xFFFF
                word >>= 16
        halves.append(state)
    return halves[0] << 16 | halves[1]


def prefix(network: str, layer: str) -> str:
    """Of the names of a layer's files, unique across networks."""
    return f"{network}_{layer}"


def names(network: str, layer: str) -> tuple[str, str, str]:
    """File names of a layer's weights, biases and scales."""
    start = prefix(network, layer)
    weight, bias, scale = (f"{start}_{what}.mem" for what in ("weight", "bias", "scale"))
    return weight, bias, scale


def rom_files(quantised: QuantisedNetwork, folded: FoldedNetwork) -> dict[str, str]:
    """Every ROM of a network: file name to text."""
    files = {}
    for stage in folded.stages:
        start = prefix(quantised.network.name, stage.name)
        for kind, words in stage.roms(quantised.site(stage.name)).items():
            files[f"{start}_{kind}.mem"] = to_hex(words)
        if isinstance(stage, ComputeStage):
            weight = quantised.parameters[stage.name].weight
            weight_file, bias_file, scale_file = names(quantised.network.name, stage.name)
            files[weight_file] = to_hex(pack_weights(weight, stage))
            files[bias_file] = to_hex(pack_bias(quantised.bias(stage.name), stage))
            if stage.scaling is not None:
                files[scale_file] = scale_hex(stage)
    return files
