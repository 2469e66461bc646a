"""Where arrays lie: addresses, arrays that start at a cache line, so that no vector of theirs crosses one, and memory used again."""

import contextlib
import math
import threading
from collections.abc import Callable, Iterator
from ctypes import addressof, c_char
from typing import Any

import numpy as np
import numpy.typing as npt

LINE = 64
SMALL = 1 << 14  # bytes below which a crossing costs less than its avoidance

_first_byte: Callable[[Any], c_char] = c_char.from_buffer


def address(array: npt.NDArray[Any]) -> int:
    """Where the first element lies."""
    try:
        return addressof(_first_byte(array))  # a quarter of the time, and most arrays can be had so
    except (TypeError, ValueError):  # read-only, with gaps, empty, or of a type that buffers do not know
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
    recycler = _thread.recycler
    room = np.empty(size + LINE, np.uint8) if recycler is None else recycler.room(size + LINE)
    return np.ndarray(shape, kind, room, -address(room) % LINE)


def zeroed(size: int) -> tuple[int, npt.NDArray[np.uint8]]:
    """Zero bytes at the start of a cache line: their address, and the array that must outlive their use."""
    room = np.zeros(size + LINE, np.uint8)
    start = address(room)
    return start + -start % LINE, room


# Memory used again -------------------------------------------------------------------------------------------------------


class _Thread(threading.local):
    recycler: "Recycler | None" = None


_thread = _Thread()


@contextlib.contextmanager
def recycled() -> Iterator[None]:
    """Inside the block, what this thread's arrays leave behind serves its next ones of the same size.

    For work that makes the same arrays over and over: memory that goes back to the system comes again page by page, each cleared, which
    can take as long as filling it. An array may outlive the block.
    """
    before, own = _thread.recycler, Recycler()
    _thread.recycler = own
    try:
        yield
    finally:
        _thread.recycler = before
        own.close()


class Recycler:
    """Memory that is waiting, by size: no more than twice what was ever in use at a time."""

    def __init__(self) -> None:
        self.waiting: dict[int, list[bytearray]] = {}
        self.used = self.most = self.free = 0
        self.closed = False

    def room(self, size: int) -> "_Room":
        """As many bytes, which come back here by themselves when no array lies in them any more."""
        same = self.waiting.get(size)
        if same:
            memory = same.pop()
            self.free -= size
        else:
            memory = bytearray(size)
        self.used += size
        self.most = max(self.most, self.used)
        room = _Room(size, np.uint8, memory)
        room.memory, room.recycler = memory, self
        return room

    def take_back(self, memory: bytearray) -> None:
        """Keep the memory for the next array; what is waiting is let go when it becomes too much."""
        size = len(memory)
        self.used -= size
        if self.closed:
            return
        if self.free + size > 2 * self.most:
            self.waiting, self.free = {}, 0
        self.waiting.setdefault(size, []).append(memory)
        self.free += size

    def close(self) -> None:
        """Let go of what is waiting, and of what comes back later."""
        self.closed, self.waiting, self.free = True, {}, 0


class _Room(np.ndarray[Any, Any]):
    """Bytes of a recycler. Arrays made in them hold on to this object and not, as NumPy would else have it, to the memory behind."""

    memory: bytearray
    recycler: Recycler

    def __del__(self) -> None:
        if hasattr(self, "memory"):  # a view of it has none
            self.recycler.take_back(self.memory)
