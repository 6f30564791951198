"""Arrays in files: IDX, .npy, PNG and JPEG, which may be damaged or be something else.

Needs NumPy and Pillow alone.
"""

from __future__ import annotations

import io
import struct
import sys
import warnings
from pathlib import Path

import numpy as np

from convstream.model.base import files
from convstream.model.base.errors import UserError

IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
PICTURES = (".png", ".jpg", ".jpeg")
MAX_PIXELS = 1 << 24  # of a picture
# How files begin that are called so, whatever they are: those that are read, and others.
READ = {b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG"}
OTHERS = {
    b"GIF8": "a GIF",
    b"RIFF": "a WebP",
    b"\0\5\x16\7": "what macOS keeps beside a file",
}


def check_shape(images: np.ndarray, shape: tuple[int, int, int], source: str, remedy: str) -> None:
    """Raise `UserError` unless `images` (N, C, H, W) have the `shape` that a network takes."""
    if images.shape[1:] != tuple(shape):
        raise UserError(
            f"{source} holds images of {times(images.shape[1:])}, the network takes {times(shape)} "
            f"(channels x height x width); {remedy}"
        )


def read_idx(path: str | Path) -> np.ndarray:
    """The array of an IDX file, gzipped or not, in the machine's byte order.

    Raises `UserError` where the file is missing, no IDX file, or shorter or longer than it says.
    """
    path = Path(path)
    data = files.read_bytes(path)
    if data[:2] == b"\x1f\x8b":
        data = files.gunzip(data, path)
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in IDX_TYPES or not 1 <= data[3] <= 4:
        raise UserError(
            f"{path}: not an IDX file; its first bytes should be 0, 0, type, 1 to 4 dimensions"
        )
    header = 4 + 4 * data[3]
    if len(data) < header:
        raise UserError(f"{path}: truncated IDX file, it ends in its header; fetch it again")
    shape = struct.unpack(f">{data[3]}I", data[4:header])
    dtype = np.dtype(IDX_TYPES[data[2]])
    expected = header + dtype.itemsize * int(np.prod(shape, dtype=object))
    if len(data) != expected:
        raise UserError(
            f"{path}: IDX file of {len(data)} bytes, its header asks for {expected}; fetch it again"
        )
    try:
        array = np.frombuffer(data, dtype, offset=header).reshape(shape)
    except ValueError:  # of no values, but of sizes beyond those that an array can have
        raise UserError(f"{path}: IDX file of shape {shape}; fetch it again") from None
    return array.astype(dtype.newbyteorder("="))


def read_npy(path: Path) -> np.ndarray:
    """The array of a .npy file. Raises `UserError` where it holds none."""
    try:
        return files.parse_npy(files.read_bytes(path))
    except ValueError as error:
        raise UserError(f"{path}: not a .npy array ({error}); write it with numpy.save") from None


def is_picture(path: Path) -> bool:
    """Whether a file has a name that pictures have."""
    return path.suffix.lower() in PICTURES


def read_pictures(
    paths: list[Path], source: str, channels: int | None = None, *, all_of_them: bool = False
) -> tuple[np.ndarray, list[Path]]:
    """PNGs and JPEGs of one size as uint8 (N, C, H, W), and those of the `paths` that they are.

    source: what messages call them all. channels: 1 for grey, 3 for red, green and blue; any other
    number: 1 where all are grey or look it, else 3. One that cannot be used is left out and named
    on stderr, unless it is the only one or `all_of_them` are needed: then it is a `UserError`.
    """
    images: list[np.ndarray] = []
    used: list[Path] = []
    size = 0
    for path in paths:
        try:
            images.append(_read_picture(path, channels))
        except UserError as error:
            if all_of_them or len(paths) == 1:
                raise
            print(f"{error}; left out", file=sys.stderr)
            continue
        used.append(path)
        size += 3 * images[-1][0].size
        if size > files.MAX_BYTES:
            raise UserError(f"{source}: more than {files.MAX_BYTES >> 20} MiB of pixels; use fewer")
    if not images:
        raise UserError(f"{source}: none of its {len(paths)} pictures can be used; see above")
    if any(len(image) == 3 for image in images):
        images = [np.repeat(image, 3, axis=0) if len(image) == 1 else image for image in images]
    for path, image in zip(used, images, strict=True):
        if image.shape != images[0].shape:
            raise UserError(
                f"{path}: {times(image.shape)}, but {used[0]} is {times(images[0].shape)}; "
                "all images must have one size"
            )
    return np.stack(images), used


def times(shape: tuple[int, ...]) -> str:
    """A shape in words: 1x28x28."""
    return "x".join(map(str, shape))


def _read_picture(path: Path, channels: int | None) -> np.ndarray:
    """One PNG or JPEG as uint8 (C, H, W)."""
    from PIL import Image, UnidentifiedImageError

    content = files.read_bytes(path)
    kind = next((kind for start, kind in READ.items() if content.startswith(start)), None)
    if kind is None:
        found = next((k for start, k in OTHERS.items() if content.startswith(start)), None)
        found = (found or "something else") if content else "an empty file"
        expected = "PNG" if path.suffix.lower() == ".png" else "JPEG"
        raise UserError(f"{path}: not a readable {expected}, but {found}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, about sizes that are refused below
            with Image.open(io.BytesIO(content), formats=[kind]) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise ValueError(f"{image.width}x{image.height}, more than {MAX_PIXELS} pixels")
                image.load()
            if image.mode.startswith(("I", "F")):
                raise UserError(f"{path}: more than 8 bits a channel; save it as an 8-bit PNG")
            rgba = image.convert("RGBA")
            grey = np.asarray(rgba.convert("L"))[None]
    except UserError:
        raise
    except UnidentifiedImageError:
        raise UserError(f"{path}: not a readable {kind}, but a damaged one") from None
    except Exception as error:  # a damaged file makes Pillow stumble in any way
        raise UserError(f"{path}: not a readable {kind} ({files.one_line(error)})") from None
    planes = np.moveaxis(np.asarray(rgba), -1, 0)
    if (planes[3] != 255).any():
        raise UserError(f"{path}: has transparent pixels; flatten it on a background first")
    looks_grey = (planes[:3] == grey).all()
    return grey if channels == 1 or (channels != 3 and looks_grey) else planes[:3].copy()
