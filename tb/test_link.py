"""Frames in Python: built as the protocol says, found among garbage, asked for again when lost."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import tty

import pytest
from random_networks import generator

from convstream.fpga.link import (
    ATTEMPTS,
    BOARD_START,
    HOST_START,
    Command,
    Frame,
    Link,
    LinkError,
    Parser,
    build_frame,
)


def test_frame_by_hand():
    """Byte for byte; the CRC is what gzip puts behind the same bytes."""
    assert build_frame(HOST_START, Command.REPEAT, 0x7A, b"\x10\x27") == bytes.fromhex(
        "c5 01 03 7a 0200 1027 bb312c4b"
    )
    answer = bytes.fromhex("5c 01 03 7a 0200 1027 bb312c4b")
    assert Parser(BOARD_START, 2).feed(answer) == [Frame(3, 0x7A, b"\x10\x27")]


@pytest.fixture
def rng(seed):
    """Random numbers of this test."""
    return generator(seed, "link")


def frames(rng, count: int) -> list[Frame]:
    """Random ones, some empty."""
    return [
        Frame(int(rng.integers(256)), int(rng.integers(256)), rng.bytes(int(rng.integers(0, 40))))
        for _ in range(count)
    ]


def encode(frame: Frame) -> bytes:
    """As a board sends it."""
    return build_frame(BOARD_START, frame.command, frame.tag, frame.payload)


def test_frames_in_any_pieces(rng):
    """Where the stream is cut does not matter."""
    sent = frames(rng, 50)
    stream = b"".join(map(encode, sent))
    for longest in (1, 3, 200):
        parser, found, at = Parser(BOARD_START, 40), [], 0
        while at < len(stream):
            step = int(rng.integers(1, longest + 1))
            found += parser.feed(stream[at : at + step])
            at += step
        assert found == sent


def test_frames_among_garbage(rng):
    """Bytes that look like headers neither cost a frame nor delay one."""
    for _ in range(200):
        sent = frames(rng, 4)
        stream = b""
        for frame in sent:
            noise = bytes(rng.choice([BOARD_START, 1, 0, 7], int(rng.integers(0, 9))).tolist())
            stream += noise + encode(frame)
        parser = Parser(BOARD_START, 40)
        assert parser.feed(stream) == sent
        parser, found = Parser(BOARD_START, 40), []
        for byte in stream:
            found += parser.feed(bytes([byte]))
        assert found == sent


def test_garbage_is_not_hoarded(rng):
    """However much of it comes."""
    parser = Parser(BOARD_START, 40)
    for _ in range(100):
        parser.feed(rng.choice([BOARD_START, 1, 0, 7], 1000).astype("u1").tobytes())
        assert len(parser._buffer) <= 50


def test_no_damaged_frame_is_believed(rng):
    """Every single bit, and every burst of up to 32 bits."""
    frame = Frame(2, 9, rng.bytes(20))
    encoded = int.from_bytes(encode(frame), "little")
    bits = 8 * len(encode(frame))
    for width in (1, 2, 7, 31):
        for at in range(bits - width + 1):
            burst = 1 if width == 1 else 1 | 1 << width - 1 | int(rng.integers(0, 1 << width))
            damaged = (encoded ^ burst << at).to_bytes(bits // 8, "little")
            parser = Parser(BOARD_START, 40)
            assert parser.feed(damaged + bytes(60)) == []


def test_long_header_is_not_believed():
    """A length that no answer has does not swallow the frame behind it."""
    parser = Parser(BOARD_START, 10)
    real = encode(Frame(1, 2, b"abc"))
    assert parser.feed(b"\x5c\x01\x01\x02\x0b\x00" + real) == [Frame(1, 2, b"abc")]


@pytest.fixture
def terminal():
    """Master descriptor and path of a pseudo-terminal in raw mode."""
    master, slave = os.openpty()
    tty.setraw(slave)
    yield master, os.ttyname(slave)
    os.close(master)
    os.close(slave)


def test_silent_board(terminal):
    """Bounded attempts, each with a tag of its own that is not 0, then one line."""
    master, port = terminal
    started = time.monotonic()
    with Link(port, 3_000_000, timeout=0.05) as link, pytest.raises(LinkError, match="silent"):
        link.request(Command.STATUS, longest=6)
    assert time.monotonic() - started < 5
    sent = os.read(master, 1000)
    assert len(sent) == 10 * ATTEMPTS
    tags = [sent[10 * i + 3] for i in range(ATTEMPTS)]
    assert len(set(tags)) == ATTEMPTS
    assert 0 not in tags
    assert link.retries == ATTEMPTS - 1


def test_tag_goes_round(terminal):
    """After 255 comes 1: 0 stands for no tag."""
    master, port = terminal
    with Link(port, 3_000_000, timeout=0.0) as link:
        link._tag = 254
        for _ in range(2):
            with pytest.raises(LinkError):
                link._settle = lambda: None
                link.request(Command.STATUS, longest=6)
    sent = os.read(master, 1000)
    assert [sent[10 * i + 3] for i in range(2 * ATTEMPTS)] == [255, 1, 2, 3, 4, 5]


def test_garbage_names_the_baud_rate(terminal):
    """Bytes without sense: most likely the rate."""
    master, port = terminal
    with Link(port, 115_200, timeout=0.05) as link:
        os.write(master, b"\x5c\xff" * 200)
        with pytest.raises(LinkError, match=r"bytes came, .* is 115200 the board's baud rate\?"):
            link.request(Command.STATUS, longest=6)


def test_old_bytes_are_dropped(terminal):
    """What came before the port was opened, and until it falls silent, answers nothing."""
    master, port = terminal
    os.write(master, b"old" * 100)
    with Link(port, 3_000_000, timeout=0.05) as link, pytest.raises(LinkError, match="silent"):
        link.request(Command.STATUS, longest=6)


def test_endless_noise_ends(terminal):
    """A port that never falls silent, such as a console, does not hold up the host for ever."""
    _, port = terminal
    chatter = subprocess.Popen(
        [sys.executable, "-c", "import os, time\nwhile True: os.write(1, b'x'); time.sleep(0.01)"],
        stdout=terminal[0],
    )
    try:
        started = time.monotonic()
        with Link(port, 3_000_000, timeout=0.05) as link, pytest.raises(LinkError, match="baud"):
            link.request(Command.STATUS, longest=6)
        assert time.monotonic() - started < 10
    finally:
        chatter.kill()
        chatter.wait()


def test_missing_port():
    """The ports that are there are named."""
    with pytest.raises(
        LinkError, match=r"no such port; plug in the board, or choose one .* none|/dev"
    ):
        Link("/dev/ttyNOT", 3_000_000)


def test_no_serial_port(tmp_path):
    """A plain file."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(LinkError, match="cannot be opened as a serial port"):
        Link(str(tmp_path / "file"), 3_000_000)


def test_permission(monkeypatch):
    """Says which group lets one in. (The tests may run as root, whom nothing is denied.)"""

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(LinkError, match="permission denied; .* usermod -aG dialout"):
        Link("/dev/ttyUSB0", 3_000_000)


def test_port_in_use(terminal):
    """Two hosts at a time: the second one is told."""
    with Link(terminal[1], 3_000_000), pytest.raises(LinkError, match="in use by another program"):
        Link(terminal[1], 3_000_000)


def test_nothing_takes_the_bytes(terminal):
    """A cable that is stuck."""
    with Link(terminal[1], 3_000_000, timeout=0.05) as link:
        with pytest.raises(LinkError, match="takes no bytes"):
            link.request(Command.CLASSIFY, bytes(60_000), longest=6)
        link._serial.reset_output_buffer()


def test_unplugged_while_waiting():
    """The port vanishes."""
    master, slave = os.openpty()
    tty.setraw(slave)
    with Link(os.ttyname(slave), 3_000_000, timeout=0.5) as link:
        os.close(slave)
        os.close(master)
        with pytest.raises(LinkError, match="the connection broke"):
            link.request(Command.STATUS, longest=6)
