"""A board's commands as Python methods: each is one request over the link."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from convstream.fpga import identity
from convstream.fpga.identity import Identity
from convstream.fpga.link import Command, Link, LinkError

MOST_LAYERS = 255
MOST_REPEATS = 2**16 - 1
_RESULT = struct.Struct("<HI")
_REPEAT = struct.Struct("<HIH")
_STATUS = struct.Struct("<HHBB")


@dataclass(frozen=True, eq=False)
class Result:
    """An image's class, clock cycles from first pixel to last logit, and logits: int32 (classes,).

    The logits are in the order in which they leave the network.
    """

    label: int
    cycles: int
    logits: np.ndarray


@dataclass(frozen=True)
class Repeated:
    """A run of `count` images: the last class, and the cycles from first pixel to last logit.

    differing: images whose logits differ from those of the last `classify`.
    """

    count: int
    label: int
    cycles: int
    differing: int


@dataclass(frozen=True)
class BoardStatus:
    """The board's counters since reset, modulo 65,536, and its flags.

    frames: answered without an error. errors: answered with one, or unanswered. last_error: a
    `link.Status`.
    """

    frames: int
    errors: int
    last_error: int
    image_stored: bool
    self_test_done: bool


class Board:
    """The board at the other end of a link. Every method raises `LinkError` if the link fails.

    identity: as the board reports it. signatures: the ROM signature of each layer with weights.
    """

    def __init__(self, link: Link) -> None:
        self.link = link
        longest = identity.BLOCK_BYTES + 4 * MOST_LAYERS
        self.identity: Identity
        self.signatures: tuple[int, ...]
        self.identity, self.signatures = identity.unpack_reply(
            link.request(Command.IDENTIFY, longest=longest)
        )

    def classify(self, image: bytes) -> Result:
        """Send an image, `identity.image_bytes` bytes in raster order, channel fastest."""
        classes = self.identity.classes
        data = self._request(Command.CLASSIFY, image, _RESULT.size + 4 * classes)
        label, cycles = _RESULT.unpack_from(data)
        logits = np.frombuffer(data, "<i4", classes, _RESULT.size).astype(np.int32)
        return Result(label, cycles, logits)

    def repeat(self, count: int, patience: float) -> Repeated:
        """Classify the stored image `count` times, 1 to `MOST_REPEATS`, back to back.

        patience: seconds that this may take beyond the usual timeout.
        """
        data = self._request(Command.REPEAT, struct.pack("<H", count), _REPEAT.size, patience)
        return Repeated(count, *_REPEAT.unpack(data))

    def status(self) -> BoardStatus:
        """The board's counters and flags."""
        data = self._request(Command.STATUS, b"", _STATUS.size)
        frames, errors, last, flags = _STATUS.unpack(data)
        return BoardStatus(frames, errors, last, bool(flags & 1), bool(flags & 2))

    def _request(self, command: Command, payload: bytes, size: int, patience: float = 0) -> bytes:
        data = self.link.request(command, payload, longest=size, patience=patience)
        if len(data) != size:
            raise LinkError(
                f"{self.link.port}: {len(data)} bytes in answer to {command.name.lower()}, "
                f"expected {size}; the board speaks another version: load a new bitstream"
            )
        return data
