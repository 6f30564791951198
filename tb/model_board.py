"""A board in Python at the end of a pseudo-terminal, which can be told to misbehave.

It shares no code with `fpga.link`, so that both sides cannot be wrong in the same way.
"""

from __future__ import annotations

import contextlib
import os
import select
import struct
import threading
import tty
import zlib

import numpy as np

from convstream.model.network import reference
from convstream.model.network.quantised import QuantisedNetwork

SILENCE_S = 0.05
FAULTS = {
    "mute": "no answer",
    "other tag": "an answer to another tag",
    "other command": "an answer to another command",
    "damaged": "a bit of the answer flipped, for every bit the next one",
    "late": "the answer to a request before, then the right one",
    "noise": "garbage that looks like the start of an answer, then the right one",
    "cut": "half an answer",
    "pieces": "the answer byte by byte",
    "error 1": "an error",
    "error 5 without tag": "an error of a frame whose header got lost",
    "error 6": "no image stored",
    "hang-up": "half an answer, then the cable is pulled",
    "wrong logit": "an answer whose first logit is one too large",
    "wrong class": "an answer whose class is not that of the logits",
    "too short": "a whole answer, but with a byte too few",
    "other logits": "3 of the repeated images gave other logits",
}


class ModelBoard:
    """A context manager. port: the path of its pseudo-terminal.

    identity: what it says to `identify`, with the signatures. cycles: clocks an image. faults: of
    `FAULTS`, one for each request in the order they come in, None for none.
    """

    def __init__(self, quantised: QuantisedNetwork, identity: bytes, cycles: int = 100) -> None:
        self.faults: list[str | None] = []
        self.requests: list[tuple[int, int]] = []  # command and tag
        self._quantised = quantised
        self._identity = identity
        self._cycles = cycles
        self._logits: np.ndarray | None = None
        self._frames = self._errors = self._last = self._bit = 0
        self._before = b""
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> ModelBoard:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for descriptor in (self._master, self._slave):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _run(self) -> None:
        buffer = b""
        while not self._stop.is_set():
            if select.select([self._master], [], [], SILENCE_S)[0]:
                buffer += os.read(self._master, 4096)
            elif buffer:
                self._error(5)
                buffer = b""
            while buffer and buffer[0] != 0xC5:
                buffer = buffer[1:]
            if len(buffer) < 6:
                continue
            length = int.from_bytes(buffer[4:6], "little")
            if len(buffer) >= 10 + length:
                frame, buffer = buffer[: 10 + length], b""
                if zlib.crc32(frame[1:-4]) != int.from_bytes(frame[-4:], "little"):
                    self._error(1)
                    continue
                self.requests.append((frame[2], frame[3]))
                self._frames += 1
                self._serve(frame[2], frame[3], frame[6:-4])

    def _serve(self, command: int, tag: int, payload: bytes) -> None:
        fault = self.faults.pop(0) if self.faults else None
        assert fault is None or fault in FAULTS
        content = bytearray(self._answer(command, payload, fault))
        answer = _frame(command, tag, bytes(content))
        before, self._before = self._before, answer
        match fault:
            case "mute":
                return
            case "other tag":
                answer = _frame(command, tag + 1 & 0xFF, bytes(content))
            case "other command":
                answer = _frame(command ^ 2, tag, bytes(content))
            case "damaged":
                bit = 8 + self._bit % (8 * len(answer) - 8)
                self._bit += 1
                answer = bytearray(answer)
                answer[bit // 8] ^= 1 << bit % 8
            case "late":
                answer = before + answer
            case "noise":
                answer = b"\x5c\x01\x02\x5c\x5c\x01" + bytes([command, tag, 1, 0]) + answer
            case "cut" | "hang-up":
                answer = answer[: len(answer) // 2]
            case "error 1":
                answer = _frame(command, tag, b"\1")
            case "error 5 without tag":
                answer = _frame(0, 0, b"\5")
            case "error 6":
                answer = _frame(command, tag, b"\6")
            case "too short":
                answer = _frame(command, tag, bytes(content[:-1]))
        if fault == "pieces":
            for byte in answer:
                os.write(self._master, bytes([byte]))
        else:
            os.write(self._master, answer)
        if fault == "hang-up":
            self._stop.set()
            os.close(self._slave)
            os.close(self._master)

    def _answer(self, command: int, payload: bytes, fault: str | None) -> bytes:
        if command == 1:
            return b"\0" + self._identity
        if command == 2:
            channels, height, width = self._quantised.network.input_shape
            image = np.frombuffer(payload, np.uint8).reshape(1, height, width, channels)
            logits = reference.predict(self._quantised, image.transpose(0, 3, 1, 2), threads=1)
            # They leave a network row by row, channel fastest.
            shape = self._quantised.network.output.out_shape
            self._logits = logits.reshape(shape).transpose(1, 2, 0).ravel()
            logits = self._logits.copy()
            label = int(np.argmax(logits)) + (fault == "wrong class")
            logits[0] += fault == "wrong logit"
            return struct.pack("<BHI", 0, label, self._cycles + 50) + logits.astype("<i4").tobytes()
        if command == 3:
            (count,) = struct.unpack("<H", payload)
            label = int(np.argmax(self._logits))
            differing = 3 if fault == "other logits" else 0
            return struct.pack("<BHIH", 0, label, self._cycles * count + 50, differing)
        assert command == 4
        counters = self._frames & 0xFFFF, self._errors & 0xFFFF, self._last
        return struct.pack("<BHHBB", 0, *counters, 2 + (self._logits is not None))

    def _error(self, code: int) -> None:
        self._errors += 1
        self._last = code
        os.write(self._master, _frame(0, 0, bytes([code])))


def _frame(command: int, tag: int, payload: bytes) -> bytes:
    body = bytes([1, command, tag, len(payload) & 255, len(payload) >> 8]) + payload
    return b"\x5c" + body + zlib.crc32(body).to_bytes(4, "little")
