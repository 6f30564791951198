"""Figures drawn without a display, saved as PNG files that are complete or absent."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from convstream.model.base.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure(width: float, height: float) -> Figure:
    """An empty figure with automatic layout; width and height in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    return made


def save(made: Figure, path: Path) -> None:
    """Write a PNG; the same figure always gives the same bytes."""
    content = io.BytesIO()
    made.savefig(content, format="png", dpi=110, metadata={"Software": None})
    write_atomically(path, content.getvalue())


def png(pixels: np.ndarray) -> bytes:
    """A PNG of `pixels`, uint8 (H, W) in grey or (H, W, 3 or 4)."""
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG", optimize=True)
    return content.getvalue()


def pixels(image: np.ndarray) -> np.ndarray:
    """An image, uint8 (C, H, W), to be looked at: (H, W, 3) of three channels.

    Of any other number its channels side by side, in grey: (H, W).
    """
    if len(image) == 3:
        return image.transpose(1, 2, 0)
    tiled = mosaic(image, math.ceil(math.sqrt(len(image))))
    return np.nan_to_num(tiled, nan=255).astype(np.uint8)


def mosaic(maps: np.ndarray, columns: int) -> np.ndarray:
    """Arrange maps (C, H, W) in rows of `columns`: float64, NaN where there is no map.

    A gap of one cell separates them, except for maps of a single cell.
    """
    count, height, width = maps.shape
    rows = -(-count // columns)
    gap = 0 if height == width == 1 else 1
    tiled = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap), np.nan)
    for index, one in enumerate(maps):
        y, x = divmod(index, columns)
        y, x = y * (height + gap), x * (width + gap)
        tiled[y : y + height, x : x + width] = one
    return tiled
