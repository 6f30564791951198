"""Files that no reader may stumble over: damaged ones of any kind, and those made to do harm."""

from __future__ import annotations

import gzip
import io
import resource
import signal
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from convstream.model.base.errors import UserError

MOST_MEMORY = 1 << 30
MOST_SECONDS = 10


def refuses_or_reads(read: Callable[[Path], object], path: Path) -> UserError | None:
    """Run a reader on a file within limits: what it complains about, if it does.

    Any other error is the test's; so are complaints of several lines, or that do not name the file.
    """
    try:
        with _limits():
            read(path)
    except UserError as error:
        assert str(error).isprintable(), repr(str(error))
        assert path.name in str(error), str(error)
        return error
    return None


@contextmanager
def _limits() -> Iterator[None]:
    """At most 1 GiB more than now, 10 seconds of work, and 60 of waiting on a busy machine."""

    def too_long(*_: object) -> None:
        raise TimeoutError(f"more than {MOST_SECONDS} s")

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    timers = {
        signal.SIGPROF: (signal.ITIMER_PROF, MOST_SECONDS),
        signal.SIGALRM: (signal.ITIMER_REAL, 6 * MOST_SECONDS),
    }
    before = {number: signal.signal(number, too_long) for number in timers}
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MOST_MEMORY, hard))
    try:
        for timer, seconds in timers.values():
            signal.setitimer(timer, seconds)
        yield
    finally:
        for timer, _ in timers.values():
            signal.setitimer(timer, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        for number, handler in before.items():
            signal.signal(number, handler)


@st.composite
def damaged(draw: Callable, content: bytes) -> bytes:
    """`content` cut, with bits flipped, or with bytes put in, left out or in disorder."""
    place = st.integers(0, len(content))
    kind = draw(st.sampled_from(["flip", "cut", "put in", "leave out", "swap", "other"]))
    if kind == "flip":
        copy = bytearray(content)
        for bit in draw(st.lists(st.integers(0, 8 * len(content) - 1), min_size=1, max_size=4)):
            copy[bit // 8] ^= 1 << bit % 8
        return bytes(copy)
    if kind == "cut":
        return content[: draw(place)]
    if kind == "put in":
        at = draw(place)
        return content[:at] + draw(st.binary(max_size=20)) + content[at:]
    first, second = sorted((draw(place), draw(place)))
    if kind == "leave out":
        return content[:first] + content[second:]
    if kind == "swap":
        return content[second:] + content[first:second] + content[:first]
    return draw(st.binary(max_size=60))


SIZES = st.one_of(st.integers(0, 5), st.sampled_from([28, 255, 2**16, 2**31, 2**32 - 1]))


@st.composite
def idx_files(draw: Callable) -> bytes:
    """IDX files of any type and sizes, some gzipped."""
    shape = draw(st.lists(SIZES, max_size=5))
    dimensions = draw(st.sampled_from([len(shape), len(shape), 64, 255]))
    kind = draw(st.sampled_from([8, 8, 9, 0x0D, 0x0E, 0x0A]))
    content = bytes([0, 0, kind, dimensions]) + struct.pack(f">{len(shape)}I", *shape)
    content += draw(st.binary(max_size=200))
    return gzip.compress(content, mtime=0) if draw(st.booleans()) else content


@st.composite
def npy_files(draw: Callable) -> bytes:
    """.npy files with headers of any version, type and shape."""
    shape = tuple(draw(st.lists(st.one_of(SIZES, st.integers(-5, 2**70)), max_size=70)))
    dtype = draw(st.sampled_from(["|u1", "|u1", "<f8", "|O", "<U4000000", "|V0", "(3,)u1", "nan"]))
    header = repr({"descr": dtype, "fortran_order": draw(st.booleans()), "shape": shape})
    header = draw(
        st.sampled_from([header, header, header.replace("}", ""), "(" * 9000, "9L", "\0"])
    )
    version = draw(st.sampled_from([(1, 0), (2, 0), (3, 0), (9, 9)]))
    size = struct.pack("<H" if version == (1, 0) else "<I", len(header))
    body = draw(st.binary(max_size=100))
    return b"\x93NUMPY" + bytes(version) + size + header.encode() + body


@st.composite
def png_files(draw: Callable) -> bytes:
    """PNGs whose checksums are right and whose header and chunks are anything."""
    width, height = draw(SIZES), draw(SIZES)
    header = struct.pack(
        ">IIBBBBB",
        width,
        height,
        draw(st.sampled_from([8, 8, 1, 16, 0, 99])),
        draw(st.sampled_from([0, 2, 3, 4, 6, 7])),
        0,
        0,
        draw(st.integers(0, 2)),
    )
    chunks = [(b"IHDR", header)]
    names = st.sampled_from(
        [b"IDAT", b"PLTE", b"tRNS", b"zTXt", b"iCCP", b"acTL", b"fcTL", b"eXIf"]
    )
    for name in draw(st.lists(names, max_size=4)):
        body = draw(st.binary(max_size=60))
        chunks.append((name, zlib.compress(body) if name == b"IDAT" else body))
    return png(chunks + [(b"IEND", b"")])


def png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG of these chunks."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def bombs() -> dict[str, tuple[bytes, str]]:
    """Small files that unpack, or say that they do, to more memory than there may be.

    By name: the content, and words that show that a limit has met it, not the end of the memory.
    """
    zeros = bytes(1 << 20)
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(zeros) for _ in range(1200)) + packer.flush()
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=1) as file:
        file.write(b"\0\0\x08\x03" + struct.pack(">III", 1200, 1024, 1024))
        for _ in range(1200):
            file.write(zeros)
    header = struct.pack(">IIBBBBB", 12_000, 12_000, 8, 6, 0, 0, 0)
    small = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    text = (b"zTXt", b"text\0\0" + rows)
    array = np.lib.format.magic(1, 0) + struct.pack("<H", 118)
    array += b"{'descr': '|u1', 'fortran_order': False, 'shape': (2000000, 28, 28), }".ljust(118)
    return {
        "images.gz": (stream.getvalue(), "unpacks to more than"),
        "pixels.png": (
            png([(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]),
            "12000x12000, more than",
        ),
        "text.png": (
            png([(b"IHDR", small), text, (b"IDAT", zlib.compress(b"\0\0")), (b"IEND", b"")]),
            "too large",
        ),
        "shape.npy": (array, "are not 0 bytes"),
    }
