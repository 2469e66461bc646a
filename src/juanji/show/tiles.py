"""Small pictures in rows and columns, as arrays: maps, kernels, patches and projections before they are drawn or written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.data.pictures import resized

Array = npt.NDArray[Any]

BRIGHT = 99.5  # percentile of magnitudes that is shown in full


def stitched(tiles: Sequence[Array] | Array, columns: int, margin: int = 2, fill: float = np.nan) -> Array:
    """Tiles (h, w) or (h, w, C) of one shape in so many columns, with a margin between; what is left over holds `fill`.

    >>> stitched(np.ones((3, 4, 4)), columns=2, margin=1, fill=0).shape
    (9, 9)
    """
    height, width, *channels = tiles[0].shape
    rows = math.ceil(len(tiles) / columns)
    sides = rows * (height + margin) - margin, min(columns, len(tiles)) * (width + margin) - margin
    page = np.full((*sides, *channels), fill, np.result_type(tiles[0], np.float32) if np.isnan(fill) else tiles[0].dtype)
    for number, tile in enumerate(tiles):
        top, left = number // columns * (height + margin), number % columns * (width + margin)
        page[top : top + height, left : left + width] = tile
    return page


def sized(tile: Array, side: int) -> Array:
    """A tile (h, w) or (h, w, C) as (side, side, …), its longer side filling it: pixels are repeated to enlarge, averaged to shrink.

    What the shorter side leaves is the middle of the tile's range: grey in pictures of bytes, 0 in floats.
    """
    height, width = tile.shape[:2]
    high, wide = (max(1, round(length * side / max(height, width))) for length in (height, width))
    layers = tile[None] if tile.ndim == 2 else np.moveaxis(tile, -1, 0)
    new = resized(layers, (high, wide), nearest=max(height, width) < side)
    page = np.full((len(layers), side, side), 128 if tile.dtype.kind in "ui" else 0, new.dtype)
    top, left = (side - high) // 2, (side - wide) // 2
    page[:, top : top + high, left : left + wide] = new
    return page[0] if tile.ndim == 2 else np.moveaxis(page, 0, -1)


def around_grey(values: Array) -> Array:
    """Signed numbers (h, w) or (h, w, C) as bytes: 128 is 0, black and white are the largest magnitude."""
    largest = float(np.abs(values).max(initial=0)) or 1.0
    return np.rint(127.5 + 127.5 * values / largest).astype(np.uint8)


def coloured(picture: Array) -> Array:
    """A picture of bytes as (H, W, 3)."""
    layers = picture[..., None] if picture.ndim == 2 else picture
    return np.ascontiguousarray(np.broadcast_to(layers, (*layers.shape[:2], 3)))


def liveliest(maps: Array, most: int) -> list[int]:
    """The numbers of the maps (C, h, w) that vary most, in order."""
    order = np.argsort(-maps.reshape(len(maps), -1).std(axis=1), kind="stable")
    return sorted(int(i) for i in order[:most])


def in_colour(w: Array) -> Array:
    """Kernels (O, 3, h, w) as pictures of bytes (O, h, w, 3): grey is 0, full colour the largest weight of the kernel."""
    largest = np.abs(w).max(axis=(1, 2, 3), keepdims=True)
    shares = w / np.where(largest > 0, largest, 1)
    return np.rint(127.5 + 127.5 * np.moveaxis(shares, 1, -1)).astype(np.uint8)


def bright(values: Array) -> float:
    """The magnitude to show in full, so that single pixels don't hide the rest: one that few are above."""
    return float(np.percentile(np.abs(values), BRIGHT)) or float(np.abs(values).max(initial=0))


def clipped(values: Array) -> Array:
    """Numbers cut at that magnitude."""
    most = bright(values)
    return np.clip(values, -most, most)
