"""One kernel of a plan: its program, its code, the rows of arguments of the inputs that it met, and its packed operands."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy.typing as npt

from juanji import machine as machines
from juanji.algorithms.problem import contiguous_strides
from juanji.jit.arguments import HEAD
from juanji.jit.load import load
from juanji.jit.memory import address
from juanji.jit.program import Program, Row
from juanji.jit.store import Code
from juanji.jit.target import Target
from juanji.kept import kept
from juanji.run import Ready, run_items

Array = npt.NDArray[Any]

X, W, BIAS, Y = (HEAD.index(name) for name in ("x", "w", "bias", "y"))
MOST_ROWS = 64  # rows of arguments that a part keeps, one for each way an input may lie


class Operands(NamedTuple):
    """Packed weights and biases, and where they lie."""

    w: Array
    bias: Array | None
    w_at: int
    bias_at: int

    @classmethod
    def packed(cls, program: Program, w: Array, bias: Array | None) -> Operands:
        w = program.pack_weights(w)
        bias = None if bias is None else program.pack_bias(bias)
        return cls(w, bias, address(w), 0 if bias is None else address(bias))


class Part:
    """One job of a plan with the schedule that was chosen for it: a program, its code, and the rows of arguments of the inputs met."""

    def __init__(self, schedule: Any, cycles: float, program: Program, target: Target):
        self.schedule, self.cycles, self.program, self.target = schedule, cycles, program, target
        self._rows: dict[tuple[int, ...], tuple[Row, int]] = {}

    @kept
    def code(self) -> Code:
        """The machine code, compiled or read from disk when it is first wanted."""
        return load(self.program.code, self.program.emit, self.target, machines.identity())

    def run(self, x: Array, operands: Operands, y: Array, threads: int | None) -> None:
        """Run the program on an input as it lies, packed operands and the array that it writes."""
        run_items(self.code, self._filled(x, operands, y), self.program.items, self.program.scratch, self.cycles, threads)

    def ready(self, x: Array, operands: Operands, y: Array, threads: int | None) -> Ready:
        """`run` for arrays that stay where they are, with nothing left to look up; not for two threads at a time."""
        row, items, scratch = self._filled(x, operands, y), self.program.items, self.program.scratch
        return Ready(self.code, row, items, scratch, self.cycles, threads, (x, operands, y))

    def _filled(self, x: Array, operands: Operands, y: Array) -> Row:
        row, start = self._rows.get(x.strides) or self._new_row(x)
        row = type(row).from_buffer_copy(row)
        row[X], row[W], row[BIAS], row[Y] = address(x) + start, operands.w_at, operands.bias_at, address(y) + self.program.y_start
        return row

    def _new_row(self, x: Array) -> tuple[Row, int]:
        # An axis of one element may have any stride; the one of a close array is what the addresses are reckoned with.
        close = contiguous_strides(x.shape, x.itemsize)
        strides = tuple(c if length == 1 else s for length, s, c in zip(x.shape, x.strides, close, strict=True))
        found = self.program.row(strides), self.program.x_start(strides)
        if len(self._rows) < MOST_ROWS:
            self._rows[x.strides] = found
        return found
