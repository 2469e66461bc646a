"""Arrays beside memory that nobody may touch: one byte read or written past their end, or before their start, ends the process."""

import ctypes
import mmap
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

PAGE = mmap.PAGESIZE
_libc = ctypes.CDLL(None, use_errno=True)


class Room:
    """Readable, writable pages of at least `size` bytes between two that are neither."""

    def __init__(self, size: int):
        self.size = -(-max(size, 1) // PAGE) * PAGE
        self.pages = mmap.mmap(-1, self.size + 2 * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE)
        first = ctypes.addressof(ctypes.c_char.from_buffer(self.pages))
        for guard in (first, first + PAGE + self.size):
            if _libc.mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(PAGE), 0):
                raise OSError(ctypes.get_errno(), "mprotect")
        self.start = first + PAGE


def guarded(shape: Sequence[int], dtype: npt.DTypeLike, at_end: bool, strides: Sequence[int] | None = None) -> Array:
    """An array of zeros whose last byte is the last before a protected page, or whose first is the first after one.

    strides: in bytes, of any sign; without them the array is C-contiguous.
    """
    kind = np.dtype(dtype)
    if strides is None:
        strides = [int(np.prod(shape[i + 1 :], dtype=np.int64)) * kind.itemsize for i in range(len(shape))]
    ends = [(length - 1) * stride for length, stride in zip(shape, strides, strict=True)]
    low, high = sum(min(end, 0) for end in ends), sum(max(end, 0) for end in ends) + kind.itemsize
    room = Room(high - low)
    offset = PAGE - low + (room.size - (high - low) if at_end else 0)
    buffer = np.frombuffer(room.pages, np.uint8)
    return np.ndarray(shape, kind, buffer, offset, strides)


def beside(array: Array, at_end: bool) -> Array:
    """A contiguous copy of the array beside a protected page."""
    copy = guarded(array.shape, array.dtype, at_end)
    copy[...] = array
    return copy


def scratch(size: int, at_end: bool) -> tuple[int, Room]:
    """The address of `size` bytes at a multiple of 64, as near to a protected page as that allows, all NaN; and what keeps them."""
    room = Room(size)
    np.frombuffer(room.pages, np.uint8)[PAGE : PAGE + room.size] = 255
    return room.start + ((room.size - size) // 64 * 64 if at_end else 0), room
