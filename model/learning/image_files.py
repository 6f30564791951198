"""Images in files: IDX, .npy and PNG, which may be damaged or be something else.

Needs NumPy and Pillow alone.
"""

from __future__ import annotations

import glob
import io
import struct
import sys
import warnings
from pathlib import Path

import numpy as np

from convstream.model.base import files
from convstream.model.base.errors import UserError
from convstream.model.network.codes import Codes

IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_PIXELS = 1 << 24  # of a PNG
# What begins so and is often called .png.
KINDS = {
    b"\xff\xd8\xff": "a JPEG",
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


def load_user_images(path: str | Path, shape: tuple[int, int, int] | None = None) -> np.ndarray:
    """The images of `read_user_images`."""
    return read_user_images(path, shape)[0]


def read_user_images(
    path: str | Path, shape: tuple[int, int, int] | None = None, codes: Codes | None = None
) -> tuple[np.ndarray, list[str]]:
    """A user's images, uint8 (N, C, H, W), and what to call each.

    `path`: IDX (also .gz) or .npy, both uint8 (N, H, W) or (N, C, H, W); a PNG; a folder of PNGs or
    a glob pattern, taken in order of name. PNGs hold 8 bits a channel: one channel where they are
    grey (or look it), else three. Of several PNGs, one that cannot be used is left out and named
    on stderr. `shape`, if given, is the (C, H, W) that the images must have; `codes`, what float
    .npy images are quantised to, as the network's own file does it. Raises `UserError` naming the
    file for anything else.
    """
    text = str(path)
    images, names = read_arrays(path)
    if codes is not None and images.dtype in (np.float32, np.float64):
        if not np.isfinite(images).all():
            raise UserError(f"{text}: holds numbers that are not finite; leave them out")
        images = codes.of_real(images)
    if images.dtype != np.uint8:
        raise UserError(f"{text}: holds {images.dtype}, expected uint8 pixels 0 to 255; convert it")
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4:
        raise UserError(
            f"{text}: array of shape {images.shape}, expected (N, H, W) or (N, C, H, W)"
        )
    if not len(images):
        raise UserError(f"{text}: holds no image; expected at least one")
    if shape is not None:
        check_shape(images, shape, text, "bring them to that size")
    names = names or [f"{text} {number}" for number in range(len(images))]
    return np.ascontiguousarray(images), names


def read_arrays(path: str | Path) -> tuple[np.ndarray, list[str] | None]:
    """What the files of `read_user_images` hold, of any type and shape; names of PNGs alone.

    Raises `UserError` naming the file that cannot be read.
    """
    text = str(path)
    path = Path(path)
    try:
        found = path.exists()
        folder = sorted(path.iterdir()) if path.is_dir() else None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    if folder is not None:
        pngs = [p for p in folder if p.suffix.lower() == ".png"]
        return _read_pngs(pngs, f"folder {path}")
    if not found and glob.has_magic(text):
        return _read_pngs(sorted(map(Path, glob.glob(text))), f"pattern {text}")
    if not found:
        raise UserError(f"{path}: no such file or folder; expected images (IDX, .npy or PNG)")
    if path.suffix.lower() == ".png":
        return _read_pngs([path], text)
    return _read_npy(path) if path.suffix.lower() == ".npy" else read_idx(path), None


def times(shape: tuple[int, ...]) -> str:
    """A shape in words: 1x28x28."""
    return "x".join(map(str, shape))


def _read_npy(path: Path) -> np.ndarray:
    try:
        return files.parse_npy(files.read_bytes(path))
    except ValueError as error:
        raise UserError(f"{path}: not a .npy array ({error}); write it with numpy.save") from None


def _read_pngs(paths: list[Path], source: str) -> tuple[np.ndarray, list[str]]:
    if not paths:
        raise UserError(f"{source}: holds no PNG; expected at least one .png file")
    images: list[np.ndarray] = []
    names: list[str] = []
    for path in paths:
        try:
            images.append(_read_png(path))
        except UserError as error:
            if len(paths) == 1:
                raise
            print(f"{error}; left out", file=sys.stderr)
            continue
        names.append(str(path))
        if 3 * sum(image[0].size for image in images) > files.MAX_BYTES:
            raise UserError(f"{source}: more than {files.MAX_BYTES >> 20} MiB of pixels; use fewer")
    if not images:
        raise UserError(f"{source}: none of its {len(paths)} PNGs can be used; see above")
    if any(image.shape[0] == 3 for image in images):
        images = [np.repeat(image, 3, axis=0) if len(image) == 1 else image for image in images]
    for name, image in zip(names, images, strict=True):
        if image.shape != images[0].shape:
            raise UserError(
                f"{name}: {times(image.shape)}, but {names[0]} is {times(images[0].shape)}; "
                "all images must have one size"
            )
    return np.stack(images), names


def _read_png(path: Path) -> np.ndarray:
    """One PNG as uint8 (C, H, W); C = 1 where red, green and blue are equal."""
    from PIL import Image, UnidentifiedImageError

    content = files.read_bytes(path)
    if not content.startswith(b"\x89PNG"):
        kinds = (kind for start, kind in KINDS.items() if content.startswith(start))
        kind = next(kinds, "something else") if content else "an empty file"
        raise UserError(f"{path}: not a readable PNG, but {kind}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, about sizes that are refused below
            with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise ValueError(f"{image.width}x{image.height}, more than {MAX_PIXELS} pixels")
                image.load()
            if image.mode.startswith(("I", "F")):
                raise UserError(f"{path}: more than 8 bits a channel; save it as an 8-bit PNG")
            rgba = np.asarray(image.convert("RGBA"))
    except UserError:
        raise
    except UnidentifiedImageError:
        raise UserError(f"{path}: not a readable PNG, but a damaged one") from None
    except Exception as error:  # a damaged file makes Pillow stumble in any way
        raise UserError(f"{path}: not a readable PNG ({files.one_line(error)})") from None
    if (rgba[..., 3] != 255).any():
        raise UserError(f"{path}: has transparent pixels; flatten it on a background first")
    rgb = np.moveaxis(rgba[..., :3], -1, 0)
    return rgb[:1].copy() if (rgb == rgb[:1]).all() else rgb
