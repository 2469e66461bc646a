"""Arrays that start at a cache line, so that no vector of theirs crosses one."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

LINE = 64


def empty_aligned(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An uninitialised C-contiguous array at a multiple of 64 bytes.

    >>> empty_aligned((3, 5), "float32").ctypes.data % 64
    0
    """
    kind = np.dtype(dtype)
    room = np.empty(math.prod(shape) * kind.itemsize + LINE, np.uint8)
    start = -room.__array_interface__["data"][0] % LINE
    return np.ndarray(shape, kind, room, start)
