"""Calls joined: those that stay on one thread become one call of machine code, in which no interpreter stands between kernels."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from juanji import machine as machines
from juanji.jit.arguments import HEAD, pack
from juanji.jit.memory import address
from juanji.jit.sequence import SequenceCode, emit_sequence
from juanji.run import SLICE_CYCLES, Ready, workers

Call = Callable[[], Any]
BEGIN, END = HEAD.index("begin"), HEAD.index("end")


class Joined(Ready):
    """Lists of calls as one: each list in its order on one thread, beside each other on several. Not for two threads at a time."""

    __slots__ = ()

    def __init__(self, lists: Sequence[Sequence[Ready]], threads: int):
        code = SequenceCode()
        for call in (call for calls in lists for call in calls):
            call.row[BEGIN], call.row[END] = 0, call.items
        tables = [np.array([(call.code.address, ctypes.addressof(call.row)) for call in calls], np.int64) for calls in lists]
        table = np.array([(address(calls), len(calls)) for calls in tables], np.int64)
        row = pack(code.names, {"map_lists": address(table)})
        scratch = max(call.scratch for calls in lists for call in calls)
        cycles = sum(call.cycles for calls in lists for call in calls)
        kept = (table, tables, lists)
        super().__init__(machines.loaded(code, emit_sequence), row, len(lists), scratch, cycles, threads, kept)


class Lanes:
    """Lists of calls that may run beside each other, each list in its order."""

    __slots__ = ("lists",)

    def __init__(self, lists: Sequence[Sequence[Ready]]):
        self.lists = tuple(lists)


def joined(calls: Iterable[Call | Lanes], threads: int) -> list[Call]:
    """The same calls for a number of threads; neighbours that stay on one thread are joined, for no longer than Ctrl-C may wait."""
    found: list[Call] = []
    waiting: list[Ready] = []

    def flush() -> None:
        found.extend(Joined([piece], 1) if len(piece) > 1 else piece[0] for piece in pieces(waiting))
        waiting.clear()

    for call in calls:
        if isinstance(call, Lanes) and len(call.lists) > 1 and threads > 1:
            flush()
            stages = itertools.zip_longest(*map(pieces, call.lists))  # the first pieces of all lists, then their second ones
            found.extend(Joined([piece for piece in stage if piece], threads) for stage in stages)
            continue
        for one in itertools.chain(*call.lists) if isinstance(call, Lanes) else (call,):
            if isinstance(one, Ready) and one.cycles <= SLICE_CYCLES and workers(one.items, one.cycles, threads) == 1:
                waiting.append(one)
            else:
                flush()
                found.append(one)
    flush()
    return found


def pieces(calls: Sequence[Ready]) -> Iterator[list[Ready]]:
    """Runs of calls, each no longer than Ctrl-C may wait unless it is a single one."""
    piece: list[Ready] = []
    cycles = 0.0
    for call in calls:
        if piece and cycles + call.cycles > SLICE_CYCLES:
            yield piece
            piece, cycles = [], 0.0
        piece.append(call)
        cycles += call.cycles
    if piece:
        yield piece
