"""The link to a board: frames over a serial port, matched by tag and repeated if lost.

A frame, little endian: start byte (0xC5 from the host, 0x5C from the board), version, command, tag,
length of the payload u16, payload, CRC-32 of all but the start byte. The board answers each frame
that it understands with a frame of the same command and tag, whose payload starts with a `Status`.
Any other input makes it answer with an error, or not at all, and then wait for a silent line.
"""

from __future__ import annotations

import contextlib
import errno
import random
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import serial
from serial.tools import list_ports

from convstream.model.base.errors import UserError

HOST_START = 0xC5
BOARD_START = 0x5C
VERSION = 1
ATTEMPTS = 3
# Allowed for an answer, beside the time on the wire.
TIMEOUT_S = 2.0
# How many times longer per byte than the slowest answer so far: a simulated board is slow.
PATIENCE = 4
# Twice the silence that a board waits for.
SILENCE_S = 0.1
SETTLE_S = 1.0
POLL_S = 0.02

_HEADER = struct.Struct("<BBBBH")
_CRC = struct.Struct("<I")
OVERHEAD_BYTES = _HEADER.size + _CRC.size


class Command(IntEnum):
    """The requests of a host."""

    IDENTIFY = 1
    CLASSIFY = 2
    REPEAT = 3
    STATUS = 4


class Status(IntEnum):
    """The first byte of an answer."""

    OK = 0
    WRONG_CRC = 1
    UNKNOWN_VERSION = 2
    UNKNOWN_COMMAND = 3
    WRONG_LENGTH = 4
    TIMEOUT = 5
    NO_IMAGE = 6
    NO_RESULT = 7
    FRAMING = 8


MEANINGS: dict[int, str] = {
    Status.OK: "no error",
    Status.WRONG_CRC: "wrong CRC",
    Status.UNKNOWN_VERSION: "unknown version of the protocol",
    Status.UNKNOWN_COMMAND: "unknown command",
    Status.WRONG_LENGTH: "wrong length for the command",
    Status.TIMEOUT: "the frame broke off",
    Status.NO_IMAGE: "no image stored",
    Status.NO_RESULT: "the network did not answer",
    Status.FRAMING: "a byte without its stop bit",
}
# Errors for which a retry cannot help.
_FINAL = (Status.NO_IMAGE,)


def describe(code: int) -> str:
    """A status code in words."""
    return f"{MEANINGS.get(code, 'unknown error')} (code {code})"


class LinkError(UserError):
    """The board cannot be reached or understood."""


class _NoAnswerError(Exception):
    """An attempt has failed; a retry may succeed."""


@dataclass(frozen=True)
class Frame:
    """A frame with a correct CRC."""

    command: int
    tag: int
    payload: bytes


def build_frame(start: int, command: int, tag: int, payload: bytes = b"") -> bytes:
    """The bytes of a frame; `start` tells the sender."""
    header = _HEADER.pack(start, VERSION, command, tag, len(payload))
    return header + payload + _CRC.pack(zlib.crc32(header[1:] + payload))


class Parser:
    """Finds complete frames in a stream that may hold anything else between them.

    start: the sender's start byte. longest: the most bytes of payload that a valid header claims.
    A false start does not hide the frames behind it.
    """

    def __init__(self, start: int, longest: int) -> None:
        self._start = start
        self._longest = longest
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes."""
        self._buffer += data
        found = []
        unfinished = None  # where an incomplete frame may begin
        at = self._buffer.find(self._start)
        while at >= 0:
            size = self._size(at)
            if at + size > len(self._buffer):
                unfinished = at if unfinished is None else unfinished
                size = 0
            frame = self._frame(at, size) if size else None
            if frame is not None:
                found.append(frame)
                unfinished = None
            at = self._buffer.find(self._start, at + (1 if frame is None else size))
        del self._buffer[: len(self._buffer) if unfinished is None else unfinished]
        return found

    def _size(self, at: int) -> int:
        """Bytes of the frame that begins at `at`, as far as known; 0 if none does."""
        if len(self._buffer) - at < _HEADER.size:
            return _HEADER.size
        _, version, _, _, length = _HEADER.unpack_from(self._buffer, at)
        return OVERHEAD_BYTES + length if version == VERSION and length <= self._longest else 0

    def _frame(self, at: int, size: int) -> Frame | None:
        """The frame of `size` bytes at `at`, if its CRC is correct."""
        _, _, command, tag, _ = _HEADER.unpack_from(self._buffer, at)
        end = at + size - _CRC.size
        if _CRC.unpack_from(self._buffer, end) != (zlib.crc32(self._buffer[at + 1 : end]),):
            return None
        return Frame(command, tag, bytes(self._buffer[at + _HEADER.size : end]))


class Link:
    """A serial port with a board at its other end; a context manager.

    port, baud: of the cable. timeout: seconds for an answer, beside the time on the wire. retries:
    requests repeated so far. Raises `LinkError` if the port cannot be used.
    """

    def __init__(self, port: str, baud: int, timeout: float = TIMEOUT_S) -> None:
        self.port = port
        self.baud = baud
        self.timeout = timeout
        self.retries = 0
        self._heard = 0
        self._pace = 10 / baud  # seconds per byte, the slowest so far
        # Random, so that an answer meant for an earlier host is not taken for ours.
        self._tag = random.randrange(256)
        self._serial = _open(port, baud, timeout)
        self._settle()

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *_: object) -> None:
        self._serial.close()

    def request(
        self, command: Command, payload: bytes = b"", *, longest: int, patience: float = 0.0
    ) -> bytes:
        """The payload of the board's answer, without its status.

        longest: the most bytes expected. patience: seconds to wait beyond `timeout`. An unanswered
        request is repeated under another tag. Raises `LinkError` after `ATTEMPTS`.
        """
        size = 2 * OVERHEAD_BYTES + len(payload) + 1 + longest
        seconds = self.timeout + PATIENCE * size * self._pace + patience
        self._heard = 0
        failure = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                self.retries += 1
                self._settle()
            started = time.monotonic()
            try:
                answer = self._ask(command, payload, longest, seconds)
            except _NoAnswerError as error:
                failure = str(error) or failure
                continue
            if not patience:
                exchanged = 2 * OVERHEAD_BYTES + len(payload) + 1 + len(answer)
                self._pace = max(self._pace, (time.monotonic() - started) / exchanged)
            return answer
        if not failure and self._heard:
            failure = (
                f"{self._heard} bytes came, but no answer to {command.name.lower()} among them; "
                f"is {self.baud} the board's baud rate?"
            )
        raise LinkError(
            f"{self.port}: "
            + (
                failure
                or "the board is silent; is it powered, loaded with a bitstream, and on this port?"
            )
        )

    def _ask(self, command: Command, payload: bytes, longest: int, seconds: float) -> bytes:
        self._tag = self._tag % 255 + 1  # never 0, which stands for an unknown tag
        parser = Parser(BOARD_START, 1 + longest)
        self._write(build_frame(HOST_START, command, self._tag, payload))
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for frame in parser.feed(self._read()):
                mine = (frame.command, frame.tag) == (command, self._tag)
                # Tag 0: the board lost our frame before its tag had arrived.
                if not frame.payload or not (mine or frame.tag == 0):
                    continue
                status, content = frame.payload[0], frame.payload[1:]
                if mine and status == Status.OK:
                    return content
                if mine and status in _FINAL:
                    raise LinkError(f"{self.port}: the board says: {describe(status)}")
                if status != Status.OK:
                    raise _NoAnswerError(
                        f"the board answers {command.name.lower()} with: {describe(status)}, "
                        f"even at attempt {ATTEMPTS}; check the cable"
                    )
        raise _NoAnswerError

    def _settle(self) -> None:
        """Discard input until the line is silent: then the board listens again."""
        now = time.monotonic()
        end, quiet = now + SETTLE_S, now + SILENCE_S
        while (now := time.monotonic()) < min(end, quiet):
            if self._read():
                quiet = now + SILENCE_S

    def _read(self) -> bytes:
        """The bytes that have arrived, or arrive within `POLL_S`."""
        with _connected(self.port):
            data = self._serial.read(max(1, self._serial.in_waiting))
        self._heard += len(data)
        return data

    def _write(self, data: bytes) -> None:
        with _connected(self.port):
            try:
                self._serial.write(data)
            except serial.SerialTimeoutException:
                raise LinkError(f"{self.port}: takes no bytes; is a board behind it?") from None


def _open(port: str, baud: int, timeout: float) -> serial.Serial:
    try:
        # Exclusive: two hosts would steal each other's answers.
        opened = serial.Serial(port, baud, timeout=POLL_S, write_timeout=timeout, exclusive=True)
    except ValueError as error:
        raise LinkError(f"{port}: cannot be set to {baud} baud ({error}); choose another") from None
    except (serial.SerialException, OSError) as error:
        raise LinkError(f"{port}: {_why_not(error)}") from None
    # Otherwise an FTDI chip holds short answers back for 16 ms; other ports lack the option.
    with contextlib.suppress(ValueError, OSError, AttributeError, NotImplementedError):
        opened.set_low_latency_mode(True)
    return opened


def _why_not(error: OSError) -> str:
    match error.errno:
        case errno.ENOENT | errno.ENXIO | errno.ENODEV:
            ports = ", ".join(sorted(found.device for found in list_ports.comports())) or "none"
            return f"no such port; plug in the board, or choose one of those present: {ports}"
        case errno.EACCES | errno.EPERM:
            return (
                "permission denied; let yourself use serial ports (sudo usermod -aG dialout $USER) "
                "and log in again"
            )
        case errno.EAGAIN | errno.EBUSY:
            return "in use by another program; end that one first"
    return f"cannot be opened as a serial port ({error}); choose another"


@contextlib.contextmanager
def _connected(port: str) -> Iterator[None]:
    """Turn the loss of the port into one line."""
    try:
        yield
    except serial.SerialTimeoutException:
        raise
    except OSError:
        raise LinkError(
            f"{port}: the connection broke; plug the board in again and start over"
        ) from None
