"""Where arrays lie: addresses, arrays that start at a cache line, so that no vector of theirs crosses one, and memory used again."""

import contextlib
import math
import threading
from collections.abc import Iterable, Iterator
from ctypes import c_size_t
from typing import Any

import numpy as np
import numpy.typing as npt

LINE = 64
SMALL = 1 << 14  # bytes below which a crossing costs less than its avoidance
OWN = object.__basicsize__  # bytes of the interpreter's own words, with which each object begins


def address(array: npt.NDArray[Any]) -> int:
    """Where the first element lies: an array's first word behind its own, in every version of NumPy."""
    return c_size_t.from_address(id(array) + OWN).value  # a fifth of the time that `__array_interface__` takes


def apart(one: npt.NDArray[Any], others: Iterable[npt.NDArray[Any]]) -> bool:
    """Whether an array shares no memory with any of the others; seen at once of arrays that have memory of their own."""
    own = one.flags.owndata
    for other in others:  # noqa: SIM110 - a generator would take as long as all else here
        if (not own or not other.flags.owndata or other is one) and np.may_share_memory(one, other):
            return False
    return True


def empty_aligned(shape: tuple[int, ...], dtype: npt.DTypeLike, small: int = SMALL) -> npt.NDArray[Any]:
    """An uninitialised C-contiguous array, at a multiple of 64 bytes unless it has fewer bytes than `small`.

    >>> address(empty_aligned((100, 100), "float32")) % 64
    0
    """
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    if size < small:
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
