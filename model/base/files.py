"""Read files that may be damaged, endless or hostile; write files that are complete or absent.

Any fault is a `UserError` in one line that names the file.
"""

from __future__ import annotations

import gzip
import io
import math
import warnings
import zipfile
from pathlib import Path

import numpy as np

from convstream.model.base.errors import UserError
from convstream.model.base.folders import scratch

MAX_BYTES = 256 << 20  # far more than any data set of small images
MAX_NPZ_BYTES = 32 << 20


def read_bytes(path: str | Path, most: int = MAX_BYTES) -> bytes:
    """The content of a regular file of at most `most` bytes."""
    path = Path(path)
    try:
        if not path.is_file():
            raise UserError(f"{path} is missing, or no regular file")
        size = path.stat().st_size
        if size > most:
            raise UserError(f"{path}: {size >> 20} MiB, expected at most {most >> 20} MiB")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: cannot be read ({one_line(getattr(error, 'strerror', error))})"
        ) from None


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write a file and create its folder; the old file stays until the new one is complete."""
    path = Path(path)
    try:
        with scratch(path.parent, f".convstream-{path.name}-") as folder:
            (folder / path.name).write_bytes(content)
            (folder / path.name).replace(path)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); choose another place, or make room"
        ) from None


def gunzip(content: bytes, path: str | Path) -> bytes:
    """The content of a gzip file, at most MAX_BYTES."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            unpacked = file.read(MAX_BYTES + 1)
    except Exception as error:  # zlib's own, EOFError, OSError, ...
        raise UserError(f"{path}: broken gzip file ({one_line(error)}); fetch it again") from None
    if len(unpacked) > MAX_BYTES:
        raise UserError(f"{path}: unpacks to more than {MAX_BYTES >> 20} MiB")
    return unpacked


def parse_npy(content: bytes) -> np.ndarray:
    """The array of a .npy file without Python objects.

    Raises `ValueError` for anything else, before allocating what a false header claims.
    """
    file = io.BytesIO(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            version = np.lib.format.read_magic(file)
            readers = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }
            shape, fortran, dtype = readers[version](file)
            values = memoryview(content)[file.tell() :]
            if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(values):
                raise ValueError(f"{dtype} values of shape {shape} are not {len(values)} bytes")
            array = np.frombuffer(values, dtype)
            return array.reshape(shape, order="F" if fortran else "C").copy()
    except Exception as error:  # NumPy evaluates the header as Python: all sorts of them
        raise ValueError(one_line(error)) from None


def read_npz(path: str | Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The arrays of a .npz file with these names and shapes; all values must be finite."""
    content = read_bytes(path, MAX_NPZ_BYTES)
    arrays = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name, shape in shapes.items():
                # Eight bytes a value, and the header.
                most = 8 * math.prod(shape) + 65_536
                with archive.open(f"{name}.npy") as file:
                    array = parse_npy(file.read(most))
                if array.shape != shape or array.dtype.kind != "f":
                    raise ValueError(
                        f"{name} is {array.dtype} {array.shape}, expected floats {shape}"
                    )
                if not np.isfinite(array).all():
                    raise ValueError(f"{name} holds numbers that are not finite")
                arrays[name] = array
    except Exception as error:  # of zipfile, of each way to pack, of parse_npy
        raise UserError(f"{path}: {one_line(error)}") from None
    return arrays


def open_npz(path: str | Path, most: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """All arrays of a .npz file, of `most` bytes together."""
    arrays: dict[str, np.ndarray] = {}
    content = read_bytes(path, most)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > most:
                raise ValueError(f"more than {most >> 20} MiB of arrays")
            for name in archive.namelist():
                arrays[name.removesuffix(".npy")] = parse_npy(archive.read(name))
    except Exception as error:  # of zipfile, of each way to pack, of parse_npy
        raise UserError(f"{path}: no .npz of arrays ({one_line(error)})") from None
    return arrays


def one_line(text: object) -> str:
    """A message as one printable line of at most 200 characters."""
    line = " ".join(str(text).split())
    line = line if line.isprintable() else ascii(line)[1:-1]
    return line if len(line) <= 200 else f"{line[:197]}..."
