"""How a board identifies itself: the identity block, which is the content of `identity.mem`.

Little endian: board and network, 16 bytes of zero-padded ASCII each; the first 8 bytes of the
SHA-256 of the network's file; the build id, 8 bytes; clock in Hz and cycles an image, u32; height,
width and channels of an image, classes, layers with weights, u16. The board appends the signature
of each of those layers, u32, computed from the actual content of its ROMs.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path

from convstream.model.base.errors import UserError

FILE_NAME = "identity.mem"
HASH_BYTES = 8
LONGEST_IMAGE = 2**16 - 1  # a frame's length is 16 bits
_BLOCK = struct.Struct("<16s16s8s8sII5H")
BLOCK_BYTES = _BLOCK.size
_SIGNATURE_BYTES = 4


@dataclass(frozen=True)
class Identity:
    """The fields of an identity block.

    network_hash, build_id: 8 bytes. input_shape: (channels, height, width). layers: those with
    weights. Raises `UserError` if a name or a number does not fit the block.
    """

    board: str
    network: str
    network_hash: bytes
    build_id: bytes
    clock_hz: int
    cycles_per_image: int
    input_shape: tuple[int, int, int]
    classes: int
    layers: int

    def __post_init__(self) -> None:
        for name in (self.board, self.network):
            if not (name.isascii() and name.isprintable() and 1 <= len(name) <= 16):
                raise UserError(f"{name!r} cannot stand in an identity: expected 1 to 16 letters")
        for digest in (self.network_hash, self.build_id):
            if len(digest) != HASH_BYTES:
                raise UserError(f"a hash of {len(digest)} bytes; an identity holds {HASH_BYTES}")
        for value, bits in (
            *((value, 32) for value in (self.clock_hz, self.cycles_per_image)),
            *((value, 16) for value in (*self.input_shape, self.classes)),
        ):
            if not 1 <= value < 2**bits:
                raise UserError(f"{value} cannot stand in an identity: expected {bits} bits, not 0")
        if self.image_bytes > LONGEST_IMAGE:
            raise UserError(
                f"images of {self.image_bytes:,} bytes: the link takes up to {LONGEST_IMAGE:,}"
            )

    @property
    def image_bytes(self) -> int:
        """Bytes of an image."""
        channels, height, width = self.input_shape
        return channels * height * width

    def pack(self) -> bytes:
        """The block: `BLOCK_BYTES` bytes."""
        channels, height, width = self.input_shape
        return _BLOCK.pack(
            self.board.encode(),
            self.network.encode(),
            self.network_hash,
            self.build_id,
            self.clock_hz,
            self.cycles_per_image,
            *(height, width, channels, self.classes, self.layers),
        )

    def to_mem(self) -> str:
        """Text of `identity.mem` for `$readmemh`: one byte per line."""
        return "".join(f"{byte:02x}\n" for byte in self.pack())


def network_hash(path: str | Path) -> bytes:
    """The hash that identifies a network: the first 8 bytes of the SHA-256 of its own file."""
    return hashlib.sha256(Path(path).read_bytes()).digest()[:HASH_BYTES]


def unpack(data: bytes) -> Identity:
    """The inverse of `Identity.pack`. Raises `UserError` if `data` is not an identity block."""
    if len(data) != BLOCK_BYTES:
        raise UserError(f"an identity of {len(data)} bytes; expected {BLOCK_BYTES}")
    board, network, onnx, build, clock, cycles, *rest = _BLOCK.unpack(data)
    height, width, channels, classes, layers = rest
    return Identity(
        board=_name(board),
        network=_name(network),
        network_hash=onnx,
        build_id=build,
        clock_hz=clock,
        cycles_per_image=cycles,
        input_shape=(channels, height, width),
        classes=classes,
        layers=layers,
    )


def _name(field: bytes) -> str:
    return field.rstrip(b"\0").decode("ascii", "replace")


def unpack_reply(data: bytes) -> tuple[Identity, tuple[int, ...]]:
    """The identity and the signature of each layer with weights, from a board's answer.

    Raises `UserError` if they do not add up to `data`.
    """
    identity = unpack(data[:BLOCK_BYTES])
    rest = data[BLOCK_BYTES:]
    if len(rest) != _SIGNATURE_BYTES * identity.layers:
        raise UserError(
            f"{len(rest)} bytes of signatures for {identity.layers} layers; expected "
            f"{_SIGNATURE_BYTES} each: the board speaks another version"
        )
    return identity, struct.unpack(f"<{identity.layers}I", rest)


def read_mem(path: str | Path) -> Identity:
    """The identity in an `identity.mem`. Raises `UserError` if it is missing or damaged."""
    try:
        return unpack(bytes.fromhex(Path(path).read_text(encoding="ascii")))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: no identity of a board ({error}); build it again") from None
