"""Running a program's items on threads: plain Python threads around calls that release the interpreter lock.

Items are independent and each computes its outputs in the same way whoever runs it, so the bits do not depend on the
number of threads. Long work goes in slices, between which Ctrl-C is heard; small work stays on the caller's thread.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from juanji.errors import ArgumentError
from juanji.jit.arguments import HEAD
from juanji.jit.lock import compiling
from juanji.jit.program import Row
from juanji.jit.store import Code

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

Array = npt.NDArray[Any]

BEGIN, END, SCRATCH = HEAD.index("begin"), HEAD.index("end"), HEAD.index("scratch")
SLICE_CYCLES = 60e6  # a slice between two looks at the stop flag: some 20 ms
THREAD_CYCLES = 200e3  # work that is worth the hand-over to another thread, some tens of microseconds
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
_pool: ThreadPoolExecutor | None = None
_pool_lock = threading.Lock()


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


def run_items(code: Code, row: Row, items: int, scratch: int, cycles: float, asked: int | None) -> None:
    """Run items 0 … items − 1 with the arguments of `row`, whose begin, end and scratch are filled in here."""
    count = workers(items, cycles, asked)
    if count <= 1 and cycles <= SLICE_CYCLES:
        row[SCRATCH], _kept = _thread.scratch(scratch)
        row[END] = items
        code.call(row)
        return
    slices = min(items, max(int(cycles / SLICE_CYCLES) + 1, count * 4 if count > 1 else 1))
    turns = itertools.count()
    stop = threading.Event()

    def work() -> None:
        own = type(row).from_buffer_copy(row)
        own[SCRATCH], _kept = _thread.scratch(scratch)
        while not stop.is_set() and (turn := next(turns)) < slices:
            own[BEGIN], own[END] = items * turn // slices, items * (turn + 1) // slices
            code.call(own)

    others = [_executor().submit(work) for _ in range(count - 1)]
    try:
        work()
        for other in others:
            other.result()
    finally:  # also on Ctrl-C: nobody writes into the arrays once this call has ended
        stop.set()
        if others:
            _finish(others)


class Ready:
    """`run_items` with all of its arguments, as a call; arrays: what the row points to. Not for two threads at a time."""

    __slots__ = ("arguments", "arrays")

    def __init__(self, code: Code, row: Row, items: int, scratch: int, cycles: float, threads: int | None, arrays: tuple[Any, ...]):
        self.arguments, self.arrays = (code, row, items, scratch, cycles, threads), arrays

    def __call__(self) -> None:
        run_items(*self.arguments)


def _finish(others: list[Future[None]]) -> None:
    from concurrent.futures import wait

    wait(others)


def _executor() -> ThreadPoolExecutor:
    """The process's threads, started when they are first wanted; their module is imported no earlier, it is slow to load."""
    global _pool
    with compiling, _pool_lock:
        from concurrent.futures import ThreadPoolExecutor

        if _pool is None:
            _pool = ThreadPoolExecutor(max(32, os.cpu_count() or 1), thread_name_prefix="juanji")
        return _pool


def _forget_pool() -> None:
    """A forked child has none of its parent's threads, and nobody who would release their locks."""
    global _pool, _pool_lock
    _pool, _pool_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def _count(count: Any) -> int:
    if not isinstance(count, int | np.integer) or isinstance(count, bool) or count < 1:
        raise ArgumentError(f"threads (={count!r}) must be an integer of at least 1")
    return int(count)
