"""Running a program's items on threads: plain Python threads around calls that release the interpreter lock.

Items are independent and each computes its outputs in the same way whoever runs it, so the bits do not depend on the
number of threads. Long work goes in slices, between which Ctrl-C is heard; small work stays on the caller's thread.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.crew import beside
from juanji.errors import ArgumentError
from juanji.jit.arguments import HEAD, Row
from juanji.jit.store import Code

Array = npt.NDArray[Any]

BEGIN, END, SCRATCH = HEAD.index("begin"), HEAD.index("end"), HEAD.index("scratch")
SLICE_CYCLES = 60e6  # a slice between two looks at the stop flag: some 20 ms
THREAD_CYCLES = 200e3  # work that is worth the hand-over to another thread, some tens of microseconds
TURN_CYCLES = 10e3  # of a slice, for each thread: the interpreter stands between slices for one microsecond
TURNS = 4  # slices of a thread, at least, where there are as many items
MOST_LENGTHS = 64  # that are looked at
BRIEF_CYCLES = 15e3  # work that is over sooner than the interpreter's lock may be had back, some microseconds
KEPT_SCRATCH = 64 << 20  # bytes that a thread keeps for its next call


class _Thread(threading.local):
    """What each thread keeps: its scratch memory, and the number of threads of the block it is in."""

    size = 0
    address = 0
    buffer: Array | None = None
    count: int | None = None

    def scratch(self, size: int) -> tuple[int, Array | None]:
        """The address of as many bytes at the start of a cache line, and the array that must outlive their use."""
        if size <= self.size:
            return self.address, self.buffer
        buffer = np.zeros(size + 64, np.uint8)
        start = buffer.ctypes.data
        address = start + -start % 64
        if size <= KEPT_SCRATCH:
            self.size, self.address, self.buffer = size, address, buffer
        return address, buffer


_thread = _Thread()
_default: int | None = None


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
    if asked is None and cycles < 2 * THREAD_CYCLES and _default is not None:  # once the setting has been looked at
        return 1
    return min(thread_count(asked), max(items, 1), int(cycles / THREAD_CYCLES) or 1)


def scratch(size: int) -> tuple[int, Array | None]:
    """The calling thread's scratch memory: the address of as many bytes, and what keeps them. The next kernel gets the same."""
    return _thread.scratch(size)


@lru_cache(maxsize=4096)
def slice_length(items: int, cycles: float, count: int) -> int:
    """Items of the slices that threads take in turn, as they come to the end of their last.

    Ctrl-C is heard between slices, so none is long; the interpreter is needed between them, so they are the longer the more threads
    want it, unless that leaves too few. Of the lengths between, the one with which equally fast threads are done first.
    """
    longest = min(max(int(SLICE_CYCLES * items / max(cycles, 1.0)), 1), max(items // (TURNS * count), 1) if count > 1 else items)
    shortest = min(max(int(TURN_CYCLES * count * items / max(cycles, 1.0)), 1), longest)
    lengths = range(longest, shortest - 1, -max((longest - shortest) // MOST_LENGTHS, 1))
    return min(lengths, key=lambda length: longest_share(items, length, count))


def longest_share(items: int, length: int, count: int) -> int:
    """Items of the thread that gets most, where all are equally fast: one slice more than others, perhaps the last and shorter one."""
    turns, last = divmod(items, length)
    whole, over = divmod(turns, count)
    return whole * length + (length if over else last)


def run_items(code: Code, row: Row, items: int, scratch: int, cycles: float, asked: int | None) -> None:
    """Run items 0 … items − 1 with the arguments of `row`, whose begin, end and scratch are filled in here."""
    count = workers(items, cycles, asked)
    if count <= 1 and cycles <= SLICE_CYCLES:
        row[SCRATCH], _kept = _thread.scratch(scratch)
        row[END] = items
        (code.call_briefly if cycles <= BRIEF_CYCLES else code.call)(row)
        return
    length = slice_length(items, cycles, count)
    slices = -(-items // length)
    shares = [iter(range(slices * who // count * length, slices * (who + 1) // count * length, length)) for who in range(count)]
    stop = threading.Event()

    def work(who: int) -> None:
        own = type(row).from_buffer_copy(row)
        own[SCRATCH], _kept = _thread.scratch(scratch)
        for start in itertools.chain(*shares[who:], *shares[:who]):  # its own share, and then what others have left
            if stop.is_set():
                return
            own[BEGIN], own[END] = start, min(start + length, items)
            code.call(own)

    beside(work, count, stop)


def together(lists: Sequence[Sequence[Callable[[], Any]]], threads: int) -> None:
    """Lists of calls beside each other on no more than so many threads, each list in its order."""
    turns = itertools.count()
    stop = threading.Event()

    def work(_: int) -> None:
        while (turn := next(turns)) < len(lists):
            for call in lists[turn]:
                if stop.is_set():
                    return
                call()

    beside(work, min(threads, len(lists)), stop)


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
