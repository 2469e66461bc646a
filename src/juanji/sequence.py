"""Calls joined: those that stay on one thread become one call of machine code, in which no interpreter stands between kernels."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from juanji import machine as machines
from juanji.jit.arguments import pack
from juanji.jit.sequence import SequenceCode, emit_sequence
from juanji.run import BEGIN, END, SLICE_CYCLES, Ready, scratch, together, workers

Call = Callable[[], Any]
SCRATCH = SequenceCode().names.index("scratch")


class Joined:
    """Calls one after another on the caller's thread, as one. Not for two threads at a time."""

    __slots__ = ("calls", "code", "row", "scratch", "table")

    def __init__(self, calls: Sequence[Ready]):
        code = SequenceCode()
        self.calls = tuple(calls)  # which keep what the table points to
        self.code = machines.loaded(code, emit_sequence)
        self.scratch = max(call.scratch for call in calls)
        for call in calls:
            call.row[BEGIN], call.row[END] = 0, call.items
        self.table = np.array([(call.code.address, ctypes.addressof(call.row)) for call in calls], np.int64)
        words = {"map_calls": self.table.ctypes.data, "count": len(calls), "scratch": 0}
        self.row = pack(code.names, words)

    def __call__(self) -> None:
        self.row[SCRATCH], _kept = scratch(self.scratch)
        self.code.call(self.row)


class Lanes:
    """Lists of calls that may run beside each other, each list in its order."""

    __slots__ = ("lists",)

    def __init__(self, lists: Sequence[Sequence[Ready]]):
        self.lists = tuple(lists)


def joined(calls: Iterable[Call | Lanes], threads: int) -> list[Call]:
    """The same calls for a number of threads; neighbours that stay on one thread are joined, for no longer than Ctrl-C may wait."""
    found: list[Call] = []
    waiting: list[Ready] = []
    cycles = 0.0

    def flush() -> None:
        nonlocal cycles
        if waiting:
            found.append(Joined(waiting) if len(waiting) > 1 else waiting[0])
        waiting.clear()
        cycles = 0.0

    def add(call: Call) -> None:
        nonlocal cycles
        if not isinstance(call, Ready) or call.cycles > SLICE_CYCLES or workers(call.items, call.cycles, threads) > 1:
            flush()
            found.append(call)
            return
        if cycles + call.cycles > SLICE_CYCLES:
            flush()
        waiting.append(call)
        cycles += call.cycles

    for call in calls:
        if not isinstance(call, Lanes):
            add(call)
        elif threads == 1 or len(call.lists) == 1:
            for each in call.lists:
                for one in each:
                    add(one)
        else:
            flush()
            found.append(partial(together, [joined(each, 1) for each in call.lists], threads))
    flush()
    return found
