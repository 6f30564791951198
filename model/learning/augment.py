"""Randomly distorted copies of training images."""

from __future__ import annotations

import functools
import math

import numpy as np

from convstream.model.learning.recipes import Recipe

ELASTIC_GRID = 5
FRAME = 3  # zero pixels around an image, enough for the taps of a bicubic sample
CACHED_PIXELS = 2**13  # sampled at once, so few that all that is made of them stays in the cache


def augment(pixels: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> np.ndarray:
    """Randomly distorted copies of `pixels`, uint8 (N, C, H, W).

    Each image gets a random affine map and a smooth random field of displacements; if the recipe
    says so, every other is mirrored. Bilinear
    sampling blurs strokes, which costs accuracy in networks with few filters; their recipes sample
    bicubically and leave a share of the images as they are.
    """
    count, _, height, width = pixels.shape
    distorted = pixels.copy()
    moved = np.flatnonzero(rng.random(count) >= recipe.clean)
    weights = _weights(len(moved), height, width, recipe, rng)
    basis = _basis(height, width)
    batch = max(1, CACHED_PIXELS // (height * width))
    for start in range(0, len(moved), batch):
        part = slice(start, start + batch)
        positions = weights[:, part] @ basis
        distorted[moved[part]] = _sample(pixels[moved[part]], positions, recipe.interpolation)
    if recipe.flip:
        mirrored = rng.random(count) < 0.5
        distorted[mirrored] = distorted[mirrored, :, :, ::-1]
    return distorted


def _weights(
    count: int, height: int, width: int, recipe: Recipe, rng: np.random.Generator
) -> np.ndarray:
    """float32 (2, N, 3 + ELASTIC_GRID**2): with `_basis`, each pixel's column and row to sample."""

    def uniform(limit: float) -> np.ndarray:
        return rng.uniform(-limit, limit, count)

    angle = uniform(math.radians(recipe.rotate))
    cosine, sine = np.cos(angle), np.sin(angle)
    wide, high = 1 + uniform(recipe.scale), 1 + uniform(recipe.scale)
    shear = uniform(recipe.shear)
    # Coordinates run from -1 to 1, and become pixels below.
    shift_x, shift_y = (uniform(recipe.shift) * 2 / size for size in (width, height))
    weights = np.empty((2, count, 3 + ELASTIC_GRID**2))
    weights[0, :, :3] = np.stack([cosine * wide, (shear - sine) * high, shift_x], axis=1)
    weights[1, :, :3] = np.stack([sine * wide, cosine * high, shift_y], axis=1)
    bumps = rng.standard_normal((2, count, ELASTIC_GRID**2))
    weights[:, :, 3:] = bumps * (recipe.elastic * 2 / width)
    size = np.array([width, height])[:, None]
    weights *= size[..., None] / 2
    weights[:, :, 2] += (size - 1) / 2
    return weights.astype(np.float32)


def _sample(pixels: np.ndarray, positions: np.ndarray, interpolation: str) -> np.ndarray:
    """uint8 (N, C, H, W): `pixels` at the columns and rows `positions`, float32 (2, N, H*W)."""
    count, channels, height, width = pixels.shape
    framed = np.pad(pixels.astype(np.float32), ((0, 0), (0, 0), *[(FRAME, FRAME + 1)] * 2))
    line, area = framed.shape[3], framed[0, 0].size
    # Further out than this all is zero.
    for axis, size in enumerate((width, height)):
        np.clip(positions[axis], -2, size + 1, out=positions[axis])
    before = np.floor(positions)
    columns, rows = (_shares(interpolation, beyond) for beyond in positions - before)
    before[1] *= line
    corner = (before[0] + before[1]).astype(np.intp)
    # Of the first tap of a bicubic sample, one pixel before `before` on both axes.
    corner += (np.arange(count) * (channels * area) + (FRAME - 1) * (line + 1))[:, None]
    sampled = np.empty(pixels.shape, np.uint8)
    for channel in range(channels):
        flat = framed.ravel()[channel * area :]
        value = np.zeros(corner.shape, np.float32)
        for down, row_share in rows.items():
            across = np.zeros(corner.shape, np.float32)
            for right, share in columns.items():
                tap = flat[(down + 1) * line + right + 1 :].take(corner)
                tap *= share
                across += tap
            across *= row_share
            value += across
        np.rint(value, out=value)
        sampled[:, channel] = value.clip(0, 255, out=value).reshape(count, height, width)
    return sampled


def _shares(interpolation: str, beyond: np.ndarray) -> dict[int, np.ndarray]:
    """By pixel that a sample is made of, counted from the one before it: its share.

    beyond: how far past that one the sample is, 0 to 1.
    """
    if interpolation == "bilinear":
        return {0: 1 - beyond, 1: beyond}
    ahead = 1 - beyond
    return {-1: _far(beyond), 0: _near(beyond), 1: _near(ahead), 2: _far(ahead)}


# A pixel's share in a cubic interpolation with a = -0.75, by its distance d from the sample:


def _near(d: np.ndarray) -> np.ndarray:
    """For d of 0 to 1."""
    return (1.25 * d - 2.25) * (d * d) + 1


def _far(d: np.ndarray) -> np.ndarray:
    """For 1 + d, that is 1 to 2."""
    return ((1.5 - 0.75 * d) * d - 0.75) * d


@functools.cache
def _basis(height: int, width: int) -> np.ndarray:
    """float32 (3 + ELASTIC_GRID**2, H*W): x, y, 1 and the smooth bump of each grid point."""
    y, x = ((2 * np.arange(size) + 1) / size - 1 for size in (height, width))
    bumps = np.einsum("yi,xj->ijyx", _bumps(height), _bumps(width))
    rows = [np.tile(x, height), np.repeat(y, width), np.ones(height * width)]
    return np.stack([*rows, *bumps.reshape(-1, height * width)]).astype(np.float32)


def _bumps(size: int) -> np.ndarray:
    """(size, ELASTIC_GRID): weight of each grid point in a cubic interpolation, ends aligned."""
    matrix = np.zeros((size, ELASTIC_GRID))
    position = np.arange(size) * (ELASTIC_GRID - 1) / max(1, size - 1)
    first = np.floor(position)
    for tap, share in _shares("bicubic", position - first).items():
        point = np.clip(first.astype(int) + tap, 0, ELASTIC_GRID - 1)
        np.add.at(matrix, (np.arange(size), point), share)
    return matrix
