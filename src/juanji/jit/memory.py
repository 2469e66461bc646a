"""Where arrays lie: addresses, and arrays that start at a cache line, so that no vector of theirs crosses one."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

LINE = 64
SMALL = 1 << 14  # bytes below which a crossing costs less than its avoidance


def address(array: npt.NDArray[Any]) -> int:
    """Where the first element lies."""
    where: int = array.__array_interface__["data"][0]
    return where


def empty_aligned(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An uninitialised C-contiguous array, at a multiple of 64 bytes unless it is small.

    >>> address(empty_aligned((100, 100), "float32")) % 64
    0
    """
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    if size < SMALL:
        return np.empty(shape, kind)
    room = np.empty(size + LINE, np.uint8)
    return np.ndarray(shape, kind, room, -address(room) % LINE)
