"""Frames of the link as fpga/README.md has them, built with zlib's CRC."""

from __future__ import annotations

import struct
import zlib

IDENTIFY, CLASSIFY, REPEAT, STATUS = 1, 2, 3, 4
OK, WRONG_CRC, VERSION, COMMAND, LENGTH, GAP, NO_IMAGE, NO_ANSWER, FRAMING = range(9)
HEADER_BYTES, CRC_BYTES = 6, 4


def sealed(start: bytes, body: bytes) -> bytes:
    """A frame with the right CRC for its body, version to payload."""
    return start + body + struct.pack("<I", zlib.crc32(body))


def frame(command: int, payload: bytes = b"", *, tag: int = 0x42, version: int = 1) -> bytes:
    """A frame from the host."""
    return sealed(b"\xc5", struct.pack("<BBBH", version, command, tag, len(payload)) + payload)


def resealed(data: bytes) -> bytes:
    """A frame with its CRC made right for what it holds now."""
    return sealed(data[:1], data[1:-CRC_BYTES])


def answer(command: int, payload: bytes, *, tag: int) -> bytes:
    """A frame from the board."""
    return sealed(b"\x5c", struct.pack("<BBBH", 1, command, tag, len(payload)) + payload)


def parse(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """(command, tag, code, rest of the payload) of answers that must make up `data` wholly."""
    replies = []
    while data:
        assert len(data) >= HEADER_BYTES + 1 + CRC_BYTES, f"half a reply: {data.hex()}"
        _, _, command, tag, length = struct.unpack_from("<BBBBH", data)
        end = HEADER_BYTES + length
        payload = data[HEADER_BYTES:end]
        whole = data[: end + CRC_BYTES]
        assert payload and whole == answer(command, payload, tag=tag), f"no reply: {data.hex()}"
        replies.append((command, tag, payload[0], payload[1:]))
        data = data[end + CRC_BYTES :]
    return replies
