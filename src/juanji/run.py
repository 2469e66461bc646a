"""Running a program's items, on the caller's thread and on those of the crew.

Items are independent and each computes its outputs in the same way whoever runs it, so the bits do not depend on the
number of threads. Long work goes in slices, between which Ctrl-C is heard; small work stays on the caller's thread.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from juanji.crew import MOST_THREADS, share_out
from juanji.errors import ArgumentError
from juanji.jit.arguments import HEAD, Row
from juanji.jit.memory import zeroed
from juanji.jit.store import Code

Array = npt.NDArray[Any]

END, SCRATCH = HEAD.index("end"), HEAD.index("scratch")
SLICE_CYCLES = 60e6  # a slice between two looks at the stop flag: some 20 ms
THREAD_CYCLES = 100e3  # work that is worth a hand-over to another thread, which takes a microsecond, or ten where that one sleeps
TURN_CYCLES = 10e3  # of a slice at least: a kernel takes some hundred cycles to begin
TURNS = 16  # slices of a thread, at least, where there are as many items: whoever is slower leaves more of them to others
MOST_LENGTHS = 64  # that are looked at
BRIEF_CYCLES = 15e3  # work that is over sooner than the interpreter's lock may be had back, some microseconds
KEPT_SCRATCH = 256 << 20  # bytes that a thread keeps for its next call, and for those who help with it
PAGE = 4096  # no two threads' scratch memory shares one


class _Room(NamedTuple):
    """Bytes from an address on, and the array that must outlive their use."""

    size: int
    memory: tuple[int, Array | None]


NO_ROOM = _Room(0, (0, None))


class _Thread(threading.local):
    """What each thread keeps: scratch memory for its calls, and the number of threads of the block it is in."""

    room = NO_ROOM
    count: int | None = None

    def scratch(self, size: int) -> tuple[int, Array | None]:
        """The address of as many bytes at the start of a cache line, and the array that must outlive their use."""
        room = self.room
        if size > room.size:
            room = _Room(size, zeroed(size))
            if size <= KEPT_SCRATCH:
                self.room = room
        return room.memory


_thread = _Thread()
_default: int | None = None


def scratch_memory(size: int) -> tuple[int, Array | None]:
    """As many bytes of this thread's, at the start of a cache line: their address, and the array that must outlive their use."""
    return _thread.scratch(size)


def set_threads(count: int) -> None:
    """How many threads calls use that do not say it themselves; the start value is JUANJI_NUM_THREADS or all cores."""
    global _default
    _default = _count(count)


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """A number of threads for the calls that this thread makes inside the block.

    >>> with threads(1):
    ...     thread_count(None)
    1
    """
    before = _thread.count
    _thread.count = _count(count)
    try:
        yield
    finally:
        _thread.count = before


def thread_count(asked: int | None) -> int:
    """The number of threads for a call: what it asks for, else the block's, else the process's setting."""
    global _default
    if asked is not None:
        return _count(asked)
    if _thread.count is not None:
        return _thread.count
    if _default is None:
        text = os.environ.get("JUANJI_NUM_THREADS", "")
        if text and not (text.isdecimal() and int(text) > 0):
            raise ArgumentError(f"JUANJI_NUM_THREADS (={text!r}) must be an integer of at least 1")
        try:
            cores = len(os.sched_getaffinity(0))
        except AttributeError:
            cores = os.cpu_count() or 1
        _default = int(text) if text else cores
    return _default


def workers(items: int, cycles: float, asked: int | None) -> int:
    """How many threads take part: no more than there are items, or than have work that is worth the hand-over."""
    if cycles < 2 * THREAD_CYCLES and (_default is not None if asked is None else type(asked) is int and asked > 0):
        return 1  # once the setting has been looked at
    return min(thread_count(asked), max(items, 1), int(cycles / THREAD_CYCLES) or 1)


@lru_cache(maxsize=4096)
def slice_length(items: int, cycles: float, count: int) -> int:
    """Items of the slices that threads take in turn, as they come to the end of their last.

    Ctrl-C is heard between slices, so none is long; a kernel has to begin anew with each, so none is very short, unless that leaves too
    few. Of the lengths between, the one with which equally fast threads are done first.
    """
    longest = min(max(int(SLICE_CYCLES * items / max(cycles, 1.0)), 1), max(items // (TURNS * count), 1) if count > 1 else items)
    shortest = min(max(int(TURN_CYCLES * items / max(cycles, 1.0)), 1), longest)
    lengths = range(longest, shortest - 1, -max((longest - shortest) // MOST_LENGTHS, 1))
    return min(lengths, key=lambda length: longest_share(items, length, count))


def longest_share(items: int, length: int, count: int) -> int:
    """Items of the thread that gets most, where all are equally fast: one slice more than others, perhaps the last and shorter one."""
    turns, last = divmod(items, length)
    whole, over = divmod(turns, count)
    return whole * length + (length if over else last)


def run_items(code: Code, row: Row, items: int, scratch: int, cycles: float, asked: int | None) -> None:
    """Run items 0 … items − 1 with the arguments of `row`, whose begin, end and scratch are filled in here."""
    count = min(workers(items, cycles, asked), MOST_THREADS)
    if count <= 1 and cycles <= SLICE_CYCLES:
        row[SCRATCH], _kept = _thread.scratch(scratch)
        row[END] = items
        (code.call_briefly if cycles <= BRIEF_CYCLES else code.call)(row)
        return
    length = slice_length(items, cycles, count)
    patience = max(int(SLICE_CYCLES * items / (cycles * length)), 1)
    stride = -(-scratch // PAGE) * PAGE
    start, _kept = _thread.scratch(stride * (count - 1) + scratch)
    room, _thread.room = _thread.room, NO_ROOM  # for others now: what a signal's handler calls here takes memory of its own
    try:
        share_out(code, row, items, length, count, patience, start, stride)
    finally:
        _thread.room = room


class Ready:
    """`run_items` with all of its arguments, as a call; arrays: what the row points to. Not for two threads at a time."""

    __slots__ = ("arrays", "code", "cycles", "items", "row", "scratch", "threads")

    def __init__(self, code: Code, row: Row, items: int, scratch: int, cycles: float, threads: int | None, arrays: tuple[Any, ...]):
        self.code, self.row, self.items, self.scratch, self.cycles, self.threads = code, row, items, scratch, cycles, threads
        self.arrays = arrays

    def __call__(self) -> None:
        run_items(self.code, self.row, self.items, self.scratch, self.cycles, self.threads)


def _count(count: Any) -> int:
    if not isinstance(count, int | np.integer) or isinstance(count, bool) or count < 1:
        raise ArgumentError(f"threads (={count!r}) must be an integer of at least 1")
    return int(count)
