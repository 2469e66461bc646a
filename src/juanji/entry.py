"""Kernels with all of their arguments but the arrays, which are called with those. How they get there: `jit/entry.py`."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji import machine as machines
from juanji.jit.arguments import HEAD, Row
from juanji.jit.entry import FUNCTIONS, MOST_WORDS, EntryCode, emit_entry
from juanji.jit.memory import OWN, address
from juanji.jit.store import Code
from juanji.run import BRIEF_CYCLES, SLICE_CYCLES, run_items, scratch_memory, workers

Array = npt.NDArray[Any]

X, W, BIAS, Y, END = (HEAD.index(name) for name in ("x", "w", "bias", "y", "end"))
FAST = 0x0080  # METH_FASTCALL: a function that is called with (self, arguments, count)


class Entry:
    """A kernel and the row of its arguments, in which the words of x and y are what is added to where these lie.

    items, scratch, cycles: as for `run_items`.
    """

    __slots__ = ("code", "cycles", "enter", "entered", "items", "row", "scratch", "template")

    def __init__(self, code: Code, row: Row, items: int, scratch: int, cycles: float):
        self.code, self.row, self.items, self.scratch, self.cycles = code, row, items, scratch, cycles
        self.entered = cycles <= SLICE_CYCLES and len(row) <= MOST_WORDS  # where one thread runs it all
        row[END] = items
        self.template = np.array([code.address, cycles > BRIEF_CYCLES, len(row), *row], np.int64)
        self.enter = _entering()

    def __call__(self, x: Array | None, w: Array | None, bias: Array | None, y: Array, threads: int | None) -> None:
        """Run all items on as many threads as are worth it."""
        if self.entered and workers(self.items, self.cycles, threads) == 1:
            scratch, _kept = scratch_memory(self.scratch)
            self.enter(self.template, scratch, x, w, bias, y)
        else:
            run_items(self.code, self.filled(x, w, bias, y), self.items, self.scratch, self.cycles, threads)

    def filled(self, x: Array | None, w: Array | None, bias: Array | None, y: Array) -> Row:
        """The row for these arrays, which must outlive its use."""
        row = type(self.row).from_buffer_copy(self.row)
        for place, array in ((X, x), (W, w), (BIAS, bias), (Y, y)):
            if array is not None:
                row[place] += address(array)
        return row


class _Function(ctypes.Structure):
    """PyMethodDef."""

    _fields_ = (("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("kind", ctypes.c_int), ("doc", ctypes.c_char_p))


@lru_cache(maxsize=1)
def _entering() -> Callable[[Array, int, Array | None, Array | None, Array | None, Array], None]:
    """The function `enter` of jit/entry.py."""
    code = machines.loaded(EntryCode(OWN), emit_entry)
    function = _Function(b"enter", code.address, FAST, None)
    facts = np.array([id(None), *(ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value for name in FUNCTIONS)], np.int64)
    new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.py_object)(("PyCFunction_NewEx", ctypes.pythonapi))
    enter: Callable[..., None] = new(ctypes.addressof(function), facts, (code, function))  # the last is kept as long as the result
    return enter
