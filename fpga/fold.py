"""Fold a network for a board: as fast as its DSPs and block RAMs allow, or as requested."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from convstream.fpga.boards import Board, Device, Family
from convstream.model.base.errors import UserError
from convstream.model.hardware.folding import FoldedNetwork
from convstream.model.hardware.scaling import Scaling
from convstream.model.hardware.sharing import share
from convstream.model.hardware.solver import solve
from convstream.model.hardware.stage import ComputeStage, Folding, Stage
from convstream.model.network.graph import Network, Node

LINK_BRAMS = 3  # of the UART link: the stored image and the identity
CONSTANT_LUTS = 32  # per product whose weight never changes, where sums are not shared
FEWEST_LUTS = 8  # per product, where they are
LUTS_A_DSP = 1024  # of such products, at the price of one DSP
PRODUCT_LUTS = 100  # per product whose weight changes
SCALE_DSPS = 2  # of a product with a scale: an accumulator has up to 36 bits
LOGIC_WORDS = 16  # the largest ROM built from lookup tables: see rtl/weight_rom.v


def dsps(family: Family, folding: Folding) -> int:
    """DSPs of a layer that computes one pixel at a time; only products of one sum share a DSP."""
    return folding.pe * math.ceil((folding.simd - folding.fabric) / family.products)


def dsps_of(family: Family, folded: FoldedNetwork) -> int:
    """DSPs of all layers."""
    return sum(
        stage.out_pixels * dsps(family, stage.folding) + SCALE_DSPS * stage.scale_multipliers
        for stage in folded.stages
        if stage.folding
    )


def brams(family: Family, folded: FoldedNetwork) -> int:
    """Block RAMs of a network's ROMs, plus one per layer for its input data."""
    return sum(_rom_brams(family, stage) + 1 for stage in folded.stages)


def _rom_brams(family: Family, stage: Stage) -> int:
    if stage.folding is None:
        return 0
    roms: tuple[tuple[int, int], ...] = (
        (stage.rom_words, 8 * stage.folding.pe * stage.folding.simd),
        (stage.channel_folds, 32 * stage.folding.pe),
    )
    if stage.scaling is not None and not stage.scaling.shared:
        roms += ((stage.channel_folds, stage.scaling.width * stage.folding.pe),)
    return sum(family.rom_brams(words, bits) for words, bits in roms if words > LOGIC_WORDS)


def _weights(node: Node) -> tuple[int, ...]:
    shape = node.weight_shape
    assert shape is not None
    return shape


def check_memory(network: Network, board: Board, device: Device) -> None:
    """Raise `UserError` if the weights exceed the block RAMs that remain for them."""
    bits = sum(8 * math.prod(shape) + 32 * shape[0] for shape in map(_weights, network.weighted))
    held = (device.brams - LINK_BRAMS - len(network.weighted)) * board.family.bram_bits
    if bits > held:
        raise UserError(
            f"{network.name} needs {bits / 1e6:.1f} Mbit of weights; {board.name} holds "
            f"{held / 1e6:.1f} Mbit; choose a smaller network or a larger device"
        )


def fold(
    network: Network,
    board: Board,
    device: Device,
    cycles: int | None,
    scalings: Mapping[str, Scaling] | None = None,
    weights: Mapping[str, np.ndarray] | None = None,
) -> FoldedNetwork:
    """Fold `network` for `device`: as fast as its DSPs allow, or at `cycles` an image.

    By default it uses the family's share of the DSPs. If `cycles` are given, lookup tables compute
    the products that find no DSP. scalings: see `FoldedNetwork`. weights: int8, by node, whose
    shared sums are counted; without them they are estimated. Raises `UserError` if the network does
    not fit.
    """
    check_memory(network, board, device)
    constants = _Constants(board, device, weights or {})

    def price(stage: ComputeStage) -> int:
        luts = constants.luts(stage)
        if luts is None:
            return dsps(board.family, replace(stage.folding, fabric=0))
        return math.ceil(luts / LUTS_A_DSP)

    if cycles is not None:
        folded = _whole_beats(solve(network, cycles=cycles, price=price, scalings=scalings))
        return _relieve(_with_luts(folded, constants), board.family, device.dsps)
    # Slower foldings have narrower ROM words, which waste less of each block RAM.
    for budget in range(int(device.dsps * board.family.dsp_share), 0, -1):
        try:
            folded = solve(network, multipliers=budget, price=price, scalings=scalings)
        except UserError:
            break
        folded = _whole_beats(folded)
        if LINK_BRAMS + brams(board.family, folded) <= device.brams:
            return _relieve(_with_luts(folded, constants), board.family, device.dsps)
    raise UserError(
        f"{network.name} does not fit {board.name} ({device.name}): no folding is within its "
        f"{device.dsps} DSPs and {device.brams} block RAMs; choose a smaller network or a larger "
        "device"
    )


@dataclass(frozen=True)
class _Constants:
    """What layers whose weights never change take of a device."""

    board: Board
    device: Device
    weights: Mapping[str, np.ndarray]
    counted: dict[str, int] = field(default_factory=dict)

    def luts(self, stage: ComputeStage) -> int | None:
        """Lookup tables of a layer, for one pixel; None where they are better spent otherwise."""
        products = stage.folding.pe * stage.folding.simd
        most = self.device.luts // 16
        if not self.board.family.spare_luts or stage.rom_words > 1:
            return None
        luts = CONSTANT_LUTS * products
        if stage.sums and stage.name in self.weights and FEWEST_LUTS * products <= most:
            if stage.name not in self.counted:
                matrix = stage.weight_matrix(self.weights[stage.name])
                self.counted[stage.name] = share(matrix).luts
            luts = self.counted[stage.name]
        return luts if luts <= most else None


def _whole_beats(folded: FoldedNetwork) -> FoldedNetwork:
    """Widen SIMD of fully connected layers to whole beats where that costs less than the shifter.

    If SIMD and the bytes of a beat do not divide each other, every byte of rtl/width_converter.v
    needs a multiplexer over all places in a beat.
    """
    changes = {}
    for stage in folded.stages:
        folding = stage.folding
        if folding is None or not stage.converts:
            continue
        beat, simd = stage.lanes * stage.pixels, folding.simd
        whole = beat * math.ceil(simd / beat)
        unit = math.gcd(beat, simd)
        shifter = 8 * beat // unit * (2 * simd + beat)
        products = folding.pe * (whole - simd)
        if unit < min(beat, simd) and whole <= stage.window and PRODUCT_LUTS * products < shifter:
            changes[stage.name] = replace(folding, simd=whole)
    return folded.refolded(changes)


def _with_luts(folded: FoldedNetwork, constants: _Constants) -> FoldedNetwork:
    """Use lookup tables for products where they suffice; build compact pools if they are scarce."""
    changes = {}
    for stage in folded.stages:
        if isinstance(stage, ComputeStage):
            constant = constants.luts(stage) is not None
            fabric = stage.folding.simd if constant else 0
            changes[stage.name] = replace(stage.folding, fabric=fabric)
    return replace(folded.refolded(changes), compact=not constants.board.family.spare_luts)


def _relieve(folded: FoldedNetwork, family: Family, available: int) -> FoldedNetwork:
    """Move the products that find no DSP to lookup tables.

    Constant weights go first, since shifts and additions suffice for them. The other layers follow,
    largest first.
    """
    stages = [stage for stage in folded.stages if stage.folding is not None]
    for stage in sorted(stages, key=lambda stage: (stage.rom_words > 1, -stage.macs)):
        excess = dsps_of(family, folded) - available
        if excess <= 0:
            break
        folding = folded.foldings[stage.name]
        blocks = math.ceil(folding.simd / family.products)  # DSPs of a sum
        blocks -= math.ceil(excess / (stage.out_pixels * folding.pe))
        fabric = folding.simd - max(0, blocks) * family.products
        folded = folded.refolded({stage.name: replace(folding, fabric=fabric)})
    return folded
