"""board_core: right answers over the wire, and after whatever fault, right answers again.

The network is stand_in.v, whose logits a line of Python gives, and which fails where an image asks
for it.
"""

from __future__ import annotations

import json
import random
import struct
import zlib
from pathlib import Path

import cocotb
import pytest
from cocotb.triggers import FallingEdge, RisingEdge, Timer, ValueChange
from frames import (
    CLASSIFY,
    COMMAND,
    CRC_BYTES,
    FRAMING,
    GAP,
    HEADER_BYTES,
    IDENTIFY,
    LENGTH,
    NO_ANSWER,
    NO_IMAGE,
    OK,
    REPEAT,
    STATUS,
    VERSION,
    WRONG_CRC,
    frame,
    parse,
    resealed,
)
from runner import TB, on_simulators, refuse
from serial_line import CLOCK_PS, Listener, drive, levels
from testbench import start_clock

from convstream.model.formats.onnx import read_onnx
from convstream.model.hardware import manifest
from convstream.model.hardware.rom import signature
from convstream.model.learning.data import load_images
from convstream.model.network.reference import predict
from convstream.sim.design import Design

# Orders to the stand-in: the first byte of an image.
SILENT, FLAG, OTHER, LONG, STUCK = 0xF0, 0xF1, 0xF2, 0xF3, 0xF4

SMALL = dict(
    IMAGE_BYTES=6,
    BEAT_BYTES=1,
    CLASSES=3,
    LOGIT_LANES=2,
    LAYERS=2,
    IDENTITY_FILE="identity.mem",
    IDENTITY_BYTES=9,
    BAUD_DIVISOR=8,
    TIMEOUT=150,
)
CASES = {
    "small": (SMALL, 0),
    "wide": (
        SMALL
        | dict(IMAGE_BYTES=12, BEAT_BYTES=3, CLASSES=10, LOGIT_LANES=10)
        | dict(IDENTITY_BYTES=66, BAUD_DIVISOR=11, TIMEOUT=200),
        1,
    ),
    "one_logit": (SMALL | dict(IMAGE_BYTES=8, BEAT_BYTES=2, CLASSES=1, LAYERS=1), 0),
    "logits_after_logits": (SMALL | dict(CLASSES=19, LOGIT_LANES=1, IDENTITY_BYTES=7), 0),
    # The self-test takes longer than a frame, and a frame waits for it.
    "slow": (SMALL | dict(IMAGE_BYTES=4, TIMEOUT=2000), 2),
}

# Every case runs the first ones; one case the others, too, and all of them where slow tests run.
COMMANDS = (
    "without_reset identity results differences large_numbers counters network_faults resets"
).split()
FAULTS = (
    "wrong_requests flipped_bits broken_off gaps silence bytes_too_many lengths_that_lie busy "
    "framing breaks baud random_faults"
).split()


class Board:
    """The module, the wire, and what a host knows about it."""

    def __init__(self, dut, start: bool = True) -> None:
        case = json.loads(Path("case.json").read_text())
        self.dut = dut
        self.parameters = case["parameters"]
        self.stall = case["macros"].get("STAND_IN_STALL", 0)
        self.rng = random.Random(case["seed"])
        self.identity = bytes.fromhex(Path("identity.mem").read_text())
        self.divisor = self.parameters["BAUD_DIVISOR"]
        self.timeout = self.parameters["TIMEOUT"]
        self.image_bytes = self.parameters["IMAGE_BYTES"]
        self.beats = self.image_bytes // self.parameters["BEAT_BYTES"]
        self.words = -(-self.parameters["CLASSES"] // self.parameters["LOGIT_LANES"])
        self.stored: bytes | None = None
        dut.rst.value = 0
        dut.uart_rx.value = 1
        start_clock(dut, CLOCK_PS)
        self.listener = Listener(dut.uart_tx, self.divisor)
        for signal in (dut.uart_tx, dut.digit, dut.digit_valid, dut.active):
            cocotb.start_soon(self._known(signal))

    async def _known(self, signal) -> None:
        await RisingEdge(self.dut.clk)
        while True:
            assert set(str(signal.value)) <= set("01"), f"{signal._name} is {signal.value}"
            await ValueChange(signal)

    async def clocks(self, count: int) -> None:
        await Timer(count * CLOCK_PS, "ps")

    async def bytes_of_time(self, count: int) -> None:
        await self.clocks(10 * self.divisor * count)

    async def reset(self) -> None:
        """One clock of reset."""
        self.dut.rst.value = 1
        await RisingEdge(self.dut.clk)
        self.listener.stop()
        self.dut.rst.value = 0
        await RisingEdge(self.dut.clk)
        self.listener.start()
        self.stored = None

    async def put(self, data: bytes, factor: float = 1) -> None:
        """Send bytes."""
        await drive(self.dut.uart_rx, levels(data), factor * self.divisor)

    async def settle(self, frames: int = 1, most: int = 0) -> list[tuple[int, int, int, bytes]]:
        """What the board answers until it is ready again, which must be soon.

        frames: that it may answer. most: clocks that it may take beside.
        """
        longest = (
            HEADER_BYTES
            + CRC_BYTES
            + max(
                1 + len(self.identity) + 4 * self.parameters["LAYERS"],
                7 + 4 * self.parameters["CLASSES"],
            )
        )
        limit = frames * (10 * self.divisor * longest + 3 * self.timeout) + most
        waited = 0
        await self.clocks(4)
        while int(self.dut.active.value):
            assert waited < limit, f"not ready after {waited} clocks"
            await self.clocks(self.divisor)
            waited += self.divisor
        await self.bytes_of_time(1)
        replies = parse(bytes(self.listener.data))
        self.listener.data.clear()
        return replies

    async def request(
        self, command: int, payload: bytes = b"", factor: float = 1, most: int = 0
    ) -> tuple[int, bytes]:
        """Send a frame, return the code and the content of the answer."""
        tag = self.rng.randrange(256)
        await self.put(frame(command, payload, tag=tag), factor)
        (reply,) = await self.settle(most=most)
        assert reply[:2] == (command, tag), f"answer {reply} to command {command}, tag {tag}"
        return reply[2:]

    def image(self, order: int = 0) -> bytes:
        """A random image; order: what the stand-in shall do, 0 for nothing special."""
        first = order or self.rng.randrange(0xF0)
        return bytes([first]) + self.rng.randbytes(self.image_bytes - 1)

    def logits(self, image: bytes) -> list[int]:
        """What the stand-in makes of an image: signed."""
        total = 1
        for byte in image:
            total = (31 * total + byte) & 0xFFFFFFFF
        values = [total ^ (c * 0x9E3779B9 & 0xFFFFFFFF) for c in range(self.parameters["CLASSES"])]
        return [value - (value >> 31 << 32) for value in values]

    async def classify(self, factor: float = 1) -> None:
        """Classify a random image: all must be right."""
        image = self.image()
        code, content = await self.request(CLASSIFY, image, factor)
        self.check_result(image, code, content)
        self.stored = image
        logits = self.logits(image)
        digit = logits.index(max(logits)) % 16
        assert int(self.dut.digit_valid.value) and int(self.dut.digit.value) == digit

    def check_result(self, image: bytes, code: int, content: bytes) -> None:
        """Compare the answer to `classify`."""
        assert code == OK, f"classify: code {code}"
        logits = self.logits(image)
        index, cycles, *got = struct.unpack(f"<HI{len(logits)}i", content)
        assert got == logits, f"logits {got}, expected {logits}"
        assert index == logits.index(max(logits)), f"class {index} of logits {logits}"
        # The stand-in gives the first logits a clock after it has taken the last pixel.
        fewest = self.beats - 1 + self.words
        assert cycles == fewest if self.stall == 0 else cycles >= fewest, f"{cycles} cycles"

    async def repeat(self, count: int) -> tuple[int, int, int]:
        """Class, cycles and images that differ."""
        code, content = await self.request(
            REPEAT, struct.pack("<H", count), most=count * 300 * (self.beats + self.words)
        )
        assert code == OK, f"repeat: code {code}"
        return struct.unpack("<HIH", content)

    async def identify(self) -> None:
        """Identity and signatures, those of a network that has seen an image, must be right."""
        layers = self.parameters["LAYERS"]
        signatures = struct.pack(f"<{layers}I", *(0xC0DE0000 + layer for layer in range(layers)))
        assert await self.request(IDENTIFY) == (OK, self.identity + signatures)

    async def fault(self, *codes: int, frames: int = 1, most: int = 0) -> None:
        """What was sent was wrong: the board says no more than `codes`, then works again."""
        replies = await self.settle(frames, most)
        self.stored = None if replies else self.stored
        for reply in replies:
            assert reply[2] in codes, f"code {reply[2]} where {codes} were expected"
            assert reply[3] == b""
        await self.classify()


@cocotb.test()
async def without_reset(dut) -> None:
    """Initial values are enough: the board works though rst was never high."""
    board = Board(dut)
    await board.settle(most=300 * board.beats)
    assert board.listener.data == b""
    await board.classify()


@cocotb.test()
async def identity(dut) -> None:
    """The identity comes with the final signatures, even if asked for during the self-test."""
    board = Board(dut)
    for _ in range(3):
        await board.reset()
        await board.identify()


@cocotb.test()
async def results(dut) -> None:
    """Images one after the other, each repeated; nothing differs from itself."""
    board = Board(dut)
    await board.reset()
    for count in (1, 2, 3, 300) if board.stall < 2 else (1, 2):
        await board.classify()
        logits = board.logits(board.stored)
        for _ in range(2):
            index, cycles, differing = await board.repeat(count)
            assert (index, differing) == (logits.index(max(logits)), 0)
            # A beat a clock; the stand-in holds the last one back while logits leave.
            each = max(board.beats, board.words + 1)
            fewest = (count - 1) * each + board.beats - 1 + board.words
            if board.stall == 0:
                assert cycles == fewest, f"{count} images in {cycles} clocks, not {fewest}"
            assert cycles >= fewest


@cocotb.test()
async def differences(dut) -> None:
    """`repeat` counts the images whose logits are not those of `classify`."""
    board = Board(dut)
    await board.reset()
    for count in (1, 2, 7):
        image = board.image(OTHER)
        code, content = await board.request(CLASSIFY, image)
        assert code == OK
        # Every other image gives other logits, the first repeated one among them.
        index, _, differing = await board.repeat(count)
        assert differing == (count + 1) // 2
        first = struct.unpack_from("<H", content)[0]
        inverse = [~value for value in board.logits(image)]
        both = {values.index(max(values)) for values in (inverse, board.logits(image))}
        assert {first, index} <= both
        await board.repeat(1 - count % 2 or 2)


@cocotb.test()
async def large_numbers(dut) -> None:
    """All bits of cycles and differing are in the answer: the bench sets both during `repeat`."""
    board = Board(dut)
    await board.reset()
    await board.classify()
    some = board.rng.getrandbits(31)
    for begun, differing in ((some, some & 0xFFFF), (~some & 0x7FFFFFFF, ~some & 0xFFFF)):
        repeating = cocotb.start_soon(board.repeat(2))
        await RisingEdge(dut.run_control.run)
        await FallingEdge(dut.clk)
        dut.run_control.cycles.value = begun
        dut.run_control.differing.value = differing
        _, cycles, got = await repeating
        assert got == differing, f"{got:#x} images differ, not {differing:#x}"
        assert begun < cycles < begun + 300 * 2 * (board.beats + board.words), f"{cycles} cycles"


@cocotb.test()
async def counters(dut) -> None:
    """`status` counts the frames answered, the errors, and says what there is."""
    board = Board(dut)
    await board.reset()
    frames = errors = last = 0

    async def check(stored: int) -> None:
        nonlocal frames
        code, content = await board.request(STATUS)
        assert code == OK
        counts = frames % 65536, errors % 65536
        assert struct.unpack("<HHBB", content) == (*counts, last, 2 | stored)
        frames += 1

    await check(0)
    for _ in range(2):
        await board.classify()
        frames += 1
        await check(1)
        # Carries through all bits.
        frames, errors = (1 << board.rng.randrange(8, 17)) - 1, (1 << board.rng.randrange(17)) - 1
        dut.frames_reg.value, dut.errors_reg.value = frames, errors
        for payload, expected in ((b"\0\0", LENGTH), (b"\1", LENGTH), (b"\1\0", NO_IMAGE)):
            code, _ = await board.request(REPEAT, payload)
            assert code == expected
            errors, last = errors + 1, expected
            await check(0)
    await board.put(frame(STATUS)[:-1])
    await board.settle()
    errors, last = errors + 1, GAP
    await check(0)


@cocotb.test()
async def wrong_requests(dut) -> None:
    """Frames that came as they were sent, but ask for what there is not."""
    board = Board(dut)
    await board.reset()
    cases = [(frame(command, tag=9), command, COMMAND) for command in (0, 5, 0x82)]
    cases += [(frame(9, board.image()), 9, COMMAND), (frame(9, b"", version=3), 9, VERSION)]
    cases.append((frame(CLASSIFY, board.image(), version=0), CLASSIFY, VERSION))
    size = board.image_bytes
    for length in (0, size - 1, size + 1):
        cases.append((frame(CLASSIFY, bytes(length)), CLASSIFY, LENGTH))
    cases += [(frame(command, b"\1"), command, LENGTH) for command in (IDENTIFY, STATUS, REPEAT)]
    cases += [(frame(REPEAT, data), REPEAT, LENGTH) for data in (b"", b"\0\0", b"\1\0\0")]
    for data, command, code in cases:
        await board.classify()
        await board.put(data)
        replies = await board.settle()
        assert replies == [(command, data[3], code, b"")], f"{data.hex()}: {replies}"
        # Whatever was wrong: the image is gone.
        assert await board.request(REPEAT, b"\1\0") == (NO_IMAGE, b"")
        assert not int(dut.digit_valid.value)
    await board.classify()


@cocotb.test()
async def network_faults(dut) -> None:
    """A network that is silent, stuck, or flags the image is reset, in `repeat` too."""
    board = Board(dut)
    await board.reset()
    for order in (SILENT, FLAG, LONG, STUCK):
        await board.classify()
        code, content = await board.request(CLASSIFY, board.image(order))
        assert (code, content) == (NO_ANSWER, b""), f"order {order:#x}: code {code}"
        assert await board.request(REPEAT, b"\1\0") == (NO_IMAGE, b"")
        # The network has been reset, but the self-test was made again.
        await board.identify()
        assert (await board.request(STATUS))[1][-1] == 2
    await board.classify()


@cocotb.test()
async def flipped_bits(dut) -> None:
    """A wrong bit at every third byte of a frame."""
    board = Board(dut)
    await board.reset()
    for payload, command in ((board.image(), CLASSIFY), (b"\3\0", REPEAT), (b"", IDENTIFY)):
        length = HEADER_BYTES + len(payload) + CRC_BYTES
        for position in range(board.rng.randrange(3), length, 3):
            data = bytearray(frame(command, payload))
            data[position] ^= 1 << board.rng.randrange(8)
            await board.put(data)
            # A length that lies long ends in a gap; without a start there is no frame, unless one
            # seems to begin within it.
            codes = (WRONG_CRC, GAP) if position in (0, 4, 5) else (WRONG_CRC,)
            await board.fault(*codes)


@cocotb.test()
async def broken_off(dut) -> None:
    """Frames that end early, at any byte."""
    board = Board(dut)
    await board.reset()
    data = frame(CLASSIFY, board.image(), tag=0x77)
    for length in range(1, len(data)):
        await board.put(data[:length])
        (reply,) = await board.settle()
        command = data[2] if length > 2 else 0
        tag = data[3] if length > 3 else 0
        assert reply == (command, tag, GAP, b""), f"{length} bytes: {reply}"
        assert await board.request(REPEAT, b"\1\0") == (NO_IMAGE, b"")
        await board.classify()


@cocotb.test()
async def gaps(dut) -> None:
    """Gaps up to the timeout do no harm; the board answers soon after longer ones."""
    board = Board(dut)
    await board.reset()
    image = board.image()
    data = frame(CLASSIFY, image)
    for position in range(1, len(data), 3):
        await board.put(data[:position])
        # High bits at the end of a byte count as silence, too.
        await board.clocks(board.timeout - 11 * board.divisor)
        await board.put(data[position:])
        ((*_, code, content),) = await board.settle()
        board.check_result(image, code, content)

        await board.put(data[:position])
        await board.clocks(board.timeout + 2 * board.divisor)
        await board.put(data[position:])
        await board.fault(GAP)


@cocotb.test()
async def silence(dut) -> None:
    """After an error nothing is heard until the line has been silent for long enough."""
    board = Board(dut)
    await board.reset()
    for _ in range(5):
        await board.put(frame(9))
        while len(board.listener.data) < HEADER_BYTES + 1 + CRC_BYTES:
            await board.bytes_of_time(1)
        for _ in range(board.rng.randrange(1, 4)):
            await board.clocks(board.rng.randrange(1, board.timeout - 12 * board.divisor))
            await board.put(frame(CLASSIFY, board.image()))
        await board.clocks(board.timeout - 12 * board.divisor)
        assert int(dut.active.value)
        await board.fault(COMMAND)


@cocotb.test()
async def bytes_too_many(dut) -> None:
    """Bytes lost and doubled in the image; bytes behind the frame; garbage before it."""
    board = Board(dut)
    await board.reset()
    for _ in range(3):
        data = frame(CLASSIFY, board.image())
        place = board.rng.randrange(HEADER_BYTES, HEADER_BYTES + board.image_bytes)
        await board.put(data[:place] + data[place + 1 :])
        await board.fault(GAP)
        await board.put(data[:place] + data[place : place + 1] + data[place:])
        await board.fault(WRONG_CRC)

        # Behind a whole frame the board is busy: it does not hear what comes.
        image = board.image()
        await board.put(frame(CLASSIFY, image) + b"\xc5\1\2")
        ((*_, code, content),) = await board.settle(most=board.timeout)
        board.check_result(image, code, content)
        await board.classify()

        garbage = bytes(board.rng.choice([0, 1, 0x5C, 0xFF, 0x35]) for _ in range(9))
        await board.put(garbage + frame(CLASSIFY, image))
        ((*_, code, content),) = await board.settle()
        board.check_result(image, code, content)


@cocotb.test()
async def lengths_that_lie(dut) -> None:
    """Any length in the header, the CRC that of the frame before or after the lie."""
    board = Board(dut)
    await board.reset()
    size = board.image_bytes
    for length in (0, 1, size - 1, size + 1, 256 + size, 1024 + size, 65535):
        for seal in (bytes, resealed):
            data = bytearray(frame(CLASSIFY, board.image()))
            struct.pack_into("<H", data, 4, length)
            await board.put(seal(bytes(data)))
            await board.fault(WRONG_CRC, GAP)
    # The wrong length and the right CRC where it says, more behind.
    body = struct.pack("<BBBH", 1, CLASSIFY, 1, 0)
    await board.put(b"\xc5" + body + struct.pack("<I", zlib.crc32(body)) + board.image())
    await board.fault(LENGTH)


@cocotb.test()
async def busy(dut) -> None:
    """While the board answers it does not listen, and the answer stays whole."""
    board = Board(dut)
    await board.reset()
    for _ in range(3):
        image = board.image()
        await board.put(frame(CLASSIFY, image))
        # Most of it during the answer; what is heard of it afterwards makes no answer but an error.
        await board.put(b"".join(frame(CLASSIFY, board.image()) for _ in range(3)))
        replies = await board.settle(frames=4)
        board.check_result(image, *replies[0][2:])
        for reply in replies[1:]:
            assert reply[2] in (OK, WRONG_CRC, GAP, FRAMING)
        await board.classify()


@cocotb.test()
async def framing(dut) -> None:
    """A stop bit that is low, in any byte; outside a frame it is nothing."""
    board = Board(dut)
    await board.reset()
    data = frame(CLASSIFY, board.image())
    for position in range(len(data)):
        bits = levels(data)
        bits[10 * position + 9] = 0
        await drive(dut.uart_rx, [*bits, 1], board.divisor)
        # A byte that ends in a one holds no edge that could start the next.
        codes = (FRAMING,) if position else (FRAMING, WRONG_CRC, GAP)
        await board.fault(*codes)


@cocotb.test()
async def breaks(dut) -> None:
    """The line low for long: between frames, in one, and while the board answers."""
    board = Board(dut)
    await board.reset()
    data = frame(CLASSIFY, board.image())
    for bits in (5, 11, 40, 400):
        for before in (b"", data[:1], data[:9], data):
            await drive(dut.uart_rx, [*levels(before), *[0] * bits, 1], board.divisor)
            replies = await board.settle(frames=2)
            assert all(reply[2] in (OK, GAP, FRAMING, WRONG_CRC) for reply in replies)
            await board.classify()


@cocotb.test()
async def baud(dut) -> None:
    """A host two per cent fast or slow is understood; one at half the rate is not."""
    board = Board(dut)
    await board.reset()
    for factor in (0.98, 1.02, 0.99, 1.01):
        await board.classify(factor)
    for factor in (0.5, 2, 3.3):
        await board.put(frame(CLASSIFY, board.image()), factor)
        await board.fault(WRONG_CRC, GAP, FRAMING, frames=4)


@cocotb.test()
async def resets(dut) -> None:
    """Resets at any moment of a request leave nothing behind."""
    board = Board(dut)
    await board.reset()
    whole = (HEADER_BYTES + board.image_bytes + CRC_BYTES) * 10 * board.divisor
    for attempt in range(12):
        data = frame(CLASSIFY, board.image())
        sending = cocotb.start_soon(board.put(data))
        if attempt % 3:
            late = attempt % 3 == 2 and whole - 20
            await board.clocks(late + board.rng.randrange(1, whole))
        else:
            # While the image is in the network.
            await RisingEdge(dut.run_control.run)
            await board.clocks(board.rng.randrange(1, board.beats + board.words))
        sending.cancel()
        dut.uart_rx.value = 1
        await board.reset()
        # The start of a byte may have been cut: let it end.
        await board.settle(most=300 * board.beats)
        assert await board.request(REPEAT, b"\1\0") == (NO_IMAGE, b"")
        await board.classify()


@cocotb.test()
async def random_faults(dut) -> None:
    """Whatever happens to frames on the wire: never a wrong answer that says it is right."""
    board = Board(dut)
    await board.reset()
    rng = board.rng
    for attempt in range(30):
        image = board.image(rng.choice([0, 0, 0, SILENT, FLAG, LONG, STUCK]))
        data = bytearray(frame(CLASSIFY, image))
        what = []
        for _ in range(rng.randrange(4)):
            place = rng.randrange(len(data) + 1)
            what.append(rng.choice(["flip", "lose", "add", "cut", "swap", "zero"]))
            match what[-1]:
                case "flip":
                    data[place % len(data)] ^= 1 << rng.randrange(8)
                case "lose":
                    del data[place : place + rng.randrange(1, 4)]
                case "add":
                    data[place:place] = rng.randbytes(rng.randrange(1, 4))
                case "cut":
                    del data[place:]
                case "swap":
                    data[place : place + 2] = data[place : place + 2][::-1]
                case _:
                    data[place : place + 2] = bytes(len(data[place : place + 2]))
            data = data or bytearray(1)
        bits = levels(bytes(data))
        if rng.random() < 0.3:
            what.append("noise")
            place = rng.randrange(len(bits))
            bits[place : place + rng.randrange(1, 15)] = [rng.getrandbits(1)] * rng.randrange(9)
        await drive(dut.uart_rx, [*bits, 1], rng.uniform(0.985, 1.015) * board.divisor)
        replies = await board.settle(frames=4)
        for _, _, code, content in replies:
            if code == OK:
                try:
                    assert image[0] < 0xF0
                    board.check_result(image, code, content)
                except AssertionError as error:
                    raise AssertionError(f"attempt {attempt}, {what}: {error}") from None
            else:
                assert code <= FRAMING and content == b"", f"attempt {attempt}: {code}"
        if attempt % 3 == 0:
            await board.classify()
    await board.classify()


@cocotb.test()
async def network(dut) -> None:
    """A real network behind the link: its signatures, logits and clocks, between faults."""
    board = Board(dut)
    await board.reset()
    expected = json.loads(Path("expected.json").read_text())
    latency, interval = expected["latency"], expected["cycles"]
    signatures = struct.pack(f"<{len(expected['signatures'])}I", *expected["signatures"])
    assert await board.request(IDENTIFY) == (OK, board.identity + signatures)
    for pixels, logits in zip(expected["images"], expected["logits"], strict=True):
        image = bytes(pixels)
        broken = frame(CLASSIFY, image)[: board.rng.randrange(10, 700)]
        await board.put(broken)
        assert [reply[2] for reply in await board.settle()] == [GAP]

        code, content = await board.request(CLASSIFY, image, most=2 * latency)
        assert code == OK
        index, cycles, *got = struct.unpack(f"<HI{len(logits)}i", content)
        assert (got, index, cycles) == (logits, logits.index(max(logits)), latency)

        count = board.rng.randrange(4, 9)
        again, cycles, differing = await board.repeat(count)
        assert (again, differing) == (index, 0)
        fewest = latency + (count - 1) * interval
        assert fewest <= cycles <= 1.01 * fewest, f"{count} images in {cycles} clocks"


def _macros(parameters: dict, stall: int) -> dict:
    names = ("IMAGE_BYTES", "BEAT_BYTES", "CLASSES", "LOGIT_LANES", "LAYERS")
    values = {f"STAND_IN_{name}": parameters[name] for name in names}
    return {"NETWORK": "stand_in", **values, "STAND_IN_STALL": stall}


def _simulate(simulate, seed, case: str, tests: list[str], **arguments) -> None:
    parameters, stall = CASES[case]
    identity = random.Random(seed).randbytes(parameters["IDENTITY_BYTES"])
    simulate(
        "board_core",
        parameters=parameters,
        tests="test_board_core",
        only="|".join(f"{test}$" for test in tests),
        macros=_macros(parameters, stall),
        sources=(TB / "stand_in.v",),
        files={"identity.mem": "".join(f"{byte:02x}\n" for byte in identity)},
        **arguments,
    )


@on_simulators({name: {} for name in CASES})
def test_commands(simulate, seed, simulator, name, parameters):
    _simulate(simulate, seed, name, COMMANDS, simulator=simulator, name=name)


def test_faults(simulate, seed):
    _simulate(simulate, seed, "small", FAULTS, simulator="verilator", name="faults")


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_all_faults(simulate, seed, case):
    _simulate(simulate, seed, case, FAULTS, simulator="icarus", name=f"{case}-faults")


@pytest.mark.slow
def test_network(simulate, seed):
    """convnet as it stands in mem/, in Icarus, where an X would show."""
    design = Design.read(manifest.find("convnet"))
    channels, height, width = design.input_shape
    images = load_images().images[:2, None]
    texts = {name: data.decode() for name, data in design.files.items() if name.endswith(".mem")}
    layers = [layer["name"] for layer in design.manifest["layers"] if layer["rom_bits"]]
    expected = {
        "images": images.transpose(0, 2, 3, 1).reshape(len(images), -1).tolist(),
        "logits": predict(read_onnx(manifest.find("convnet") / "network.onnx"), images).tolist(),
        "signatures": [signature(*(texts[file] for file in design.roms(name))) for name in layers],
        **{key: design.manifest[key] for key in ("latency", "cycles")},
    }
    simulate(
        "board_core",
        simulator="icarus",
        name="convnet",
        parameters=SMALL
        | dict(
            IMAGE_BYTES=channels * height * width,
            BEAT_BYTES=design.input_bytes,
            CLASSES=design.classes,
            LOGIT_LANES=design.output_lanes,
            LAYERS=len(layers),
            TIMEOUT=4000,
        ),
        tests="test_board_core",
        only="network$",
        macros={"NETWORK": design.name},
        sources=(manifest.find("convnet") / "convnet.v",),
        files=texts
        | {
            "identity.mem": "".join(f"{byte:02x}\n" for byte in range(66)),
            "expected.json": json.dumps(expected),
        },
    )


def test_timeout_too_short():
    error = "error_TIMEOUT_must_be_longer_than_a_byte"
    refuse("board_core", {"TIMEOUT": 80}, error, macros={"NETWORK": "stand_in"})
