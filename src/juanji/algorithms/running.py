"""Sums of equal taps over bytes and short integers, by running sums: which problems, schedules, and division by a product.

The sums are derived in jit/running.py. They are exact, so that blocks and bands cannot show in the bits.

Division. A sum s of a box of bytes becomes the byte t(s) = round(s·w), w the weight of all taps, rounded as the definition says: the
float s times the float w, rounded, then to the nearest integer, ties to even. t grows with s, so it is known from where each of its values
begins: s_j, the least s with t(s) ≥ j. A product of 16-bit words q(s) = ⌊(s + a)·m / 2^(16 + b)⌋ is t(s) for every s from 0 to the largest
exactly where each of its values begins there too, and none comes after its last,

    (s_j − 1 + a)·m < j·2^(16 + b) ≤ (s_j + a)·m    for j = 1 … t(largest)        (largest + a)·m < (t(largest) + 1)·2^(16 + b)

which are bounds of m. An integer m that keeps them all exists where w is nearly 1/k with k odd, as of means over 3×3 to 15×15, and a is
about k/2. Where none does, as for k even, whose ties q cannot round to even, the float is what is stored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from juanji.algorithms import costs
from juanji.algorithms.problem import Problem
from juanji.algorithms.splitting import shorter
from juanji.algorithms.strips import Strips, axes, even
from juanji.errors import ArgumentError
from juanji.exact import SATURATING, SIGNED, UNSIGNED, limits
from juanji.jit.program import Program
from juanji.jit.running import VECTORS, RunningCode, emit_running

Array = npt.NDArray[Any]

NARROW = 8  # taps of a row up to which each is added: running sums take as long as so many loads
LONG_BANDS = 8  # times the kernel's height that a band should have, whose first windows are summed row by row
# Cycles per vector, measured as those of `costs`, on pictures of 3840×2160 bytes with kernels of 3×3 to 151×151.
UPDATE_CYCLES = 3.0  # to move sums of columns on by a row
ADD_CYCLES, RUN_CYCLES = 1.0, 1.8  # of windows: for each tap that is added; for each doubling of running sums, with their differences
DIVIDED_CYCLES, FLOAT_CYCLES = 3.0, 3.5  # of what is stored: quotients, and floats
LOOP_CYCLES = 60.0  # to begin a row
BORDER_CYCLES = 3.0  # per element beside a line
WIDTH = 4  # vectors of floats that leave at a time: they make one of bytes


@dataclass(frozen=True)
class Running:
    """Blocks of columns, bands of rows."""

    block: int
    band: int

    @property
    def tile(self) -> tuple[object, ...]:
        """All schedules share their code, if the kernels are alike."""
        return ("running",)

    def __str__(self) -> str:
        return f"running sums of integers, blocks of {self.block} columns, bands of {self.band} rows"


class _Words(NamedTuple):
    """The types of sums of columns and of windows."""

    column: str
    window: str

    @classmethod
    def of(cls, problem: Problem) -> _Words | None:
        """The shortest that hold them, None where a word is too short."""
        *outer, high, wide = axes(problem.loops.spatial)
        rows = high.kernel * math.prod(s.kernel for s in outer)
        words = [_word(problem.dtypes.x, taps) for taps in (rows, rows * wide.kernel)]
        return None if None in words else cls(*filter(None, words))


def _word(dtype: str, taps: int) -> str | None:
    """The scalar type for sums of so many elements."""
    least, most = limits(dtype)
    if taps * most < (2**15 if least else 2**16) and taps * -least <= 2**15:
        return "i16"
    return "i32" if taps * max(most, -least) < 2**31 else None


def accepts(problem: Problem) -> bool:
    """Whether the sums of a box are integers that fit into words."""
    dtype, spatial = problem.dtypes.x, axes(problem.loops.spatial)
    if dtype not in (*SIGNED, *UNSIGNED):
        return False
    words = _Words.of(problem)
    if words is None or _dilation(problem) > _lanes(problem, words.window):
        return False
    least, most = limits(dtype)
    outside = [s.boundary.value for s in spatial if s.boundary.constant]
    return all(least <= value <= most and value % 1 == 0 for value in outside)


def _dilation(problem: Problem) -> int:
    """Of the columns, between which there may be colours; 1 where there is one tap, whatever the axes were merged to."""
    wide = axes(problem.loops.spatial)[-1]
    return wide.dilation if wide.kernel > 1 else 1


def _lanes(problem: Problem, word: str) -> int:
    """Words in a vector."""
    return problem.machine.vector_bits // int(word[1:])


# Schedules ------------------------------------------------------------------------------------------------------------------


def candidates(problem: Problem) -> Iterator[tuple[Running, float]]:
    """Lines in the first cache, rows that leave in the second, and expected cycles."""
    machine, (*outer, high, wide) = problem.machine, axes(problem.loops.spatial)
    words, planes = _words(problem), math.prod(s.kernel for s in outer)
    lanes, narrow = _lanes(problem, words.window), _narrow(problem, words)
    size = np.dtype(problem.dtypes.x).itemsize
    lines = _bytes(words.column) + (0 if narrow else _bytes(words.window)) + 2 * size * planes
    most = min(machine.l1 // lines, machine.l2 // 2 // (high.kernel * planes * size))
    block = even(wide, most, WIDTH * problem.lanes)
    vectors = block / lanes
    row = UPDATE_CYCLES * planes * (block + wide.reach) / _lanes(problem, words.column)
    row += vectors * (narrow * ADD_CYCLES if narrow else math.log2(lanes) * RUN_CYCLES)
    row += vectors * (DIVIDED_CYCLES if _divides(problem, words) else FLOAT_CYCLES * lanes / problem.lanes)
    row += LOOP_CYCLES + (BORDER_CYCLES * wide.reach if wide.padded else 0.0)
    band = min(max(costs.ITEM_MACS // (block * (2 * planes + NARROW)), LONG_BANDS * high.kernel), high.out)
    repeats = problem.batch * math.prod(s.out for s in outer) * high.out * -(-wide.out // block)
    yield Running(block, band), repeats * row


def finer(problem: Problem, schedule: Running, items: int) -> Running:
    """The schedule in about so many items: bands of fewer rows."""
    *outer, high, wide = axes(problem.loops.spatial)
    others = problem.batch * math.prod(s.out for s in outer) * -(-wide.out // schedule.block)
    return replace(schedule, band=shorter(schedule.band, high.kernel, high.out, items, others))


def _words(problem: Problem) -> _Words:
    """The types of the sums of a problem that is accepted."""
    words = _Words.of(problem)
    assert words is not None
    return words


def _bytes(word: str) -> int:
    return int(word[1:]) // 8


def _narrow(problem: Problem, words: _Words) -> int:
    """The taps of a row, if each is to be added."""
    taps = axes(problem.loops.spatial)[-1].kernel
    return taps if taps <= NARROW and words.window == words.column else 0


def _divides(problem: Problem, words: _Words) -> bool:
    """Whether bytes are what goes in and out, and nothing is done to a sum but to multiply it."""
    dtypes, plain = problem.dtypes, not problem.epilogue.bias and problem.epilogue.activation is None
    return (dtypes.x, dtypes.y, words.window) == ("uint8", "uint8", "i16") and plain and problem.narrowing == SATURATING


# The kernel -------------------------------------------------------------------------------------------------------------------


class WeightPacking:
    """packed = the weight of all taps, in 8 bytes; then 16-bit words: the m, a and b of a quotient, where there is one, or zeros."""

    def __init__(self, problem: Problem, divides: bool):
        self.dtype, self.divides = problem.dtypes.sum, divides
        self.largest = problem.kernel * limits(problem.dtypes.x)[1]

    def __call__(self, w: Array) -> Array:
        """The factors, a new array. Raises ArgumentError where the weights are not equal."""
        weight = the_weight(w)
        packed = np.zeros(2, np.int64)
        packed[:1].view(self.dtype)[0] = weight
        found = quotient(float(weight), self.largest, self.dtype) if self.divides else None
        if found is not None:
            packed[1:].view(np.uint16)[:3] = found
        return packed


def the_weight(w: Array) -> Any:
    """The weight of all taps. Raises ArgumentError where they are not equal."""
    weight = w.flat[0]
    if (w != weight).any():
        raise ArgumentError("w has weights that differ, but the plan was made for equal ones")
    return weight


@lru_cache(maxsize=256)
def quotient(weight: float, largest: int, dtype: str) -> tuple[int, int, int] | None:
    """m, a and b for which ⌊(s + a)·m / 2^(16 + b)⌋ is the byte that s·weight is stored as, for each sum s up to the largest.

    >>> quotient(1 / 9, 9 * 255, "float32"), quotient(1 / 4, 4 * 255, "float32")
    ((58255, 4, 3), None)
    """
    if not 2**-16 < weight <= 0.5 or weight * largest >= 255.5:
        return None
    bits = math.ceil(-math.log2(weight)) - 1
    stored = np.rint(np.arange(largest + 1).astype(dtype) * np.dtype(dtype).type(weight))
    ends = np.arange(1, int(stored[-1]) + 2) << (16 + bits)
    begins = np.append(np.searchsorted(stored, np.arange(1, int(stored[-1]) + 1)), largest + 1)
    half = int(0.5 / weight)
    for more in range(max(half - 1, 0), half + 2):
        least, most = -(-ends // (begins + more)), -(-ends // np.maximum(begins + more - 1, 1)) - 1
        times = int(least[:-1].max(initial=1))
        if times <= min(int(most.min()), 2**16 - 1) and largest + more < 2**16:
            return times, more, bits
    return None


def program(problem: Problem, schedule: Running) -> Program:
    """The kernel of a schedule, and its arguments."""
    dtypes, epilogue, words = problem.dtypes, problem.epilogue, _words(problem)
    *outer, _, _ = axes(problem.loops.spatial)
    planes = math.prod(s.kernel for s in outer)
    code = RunningCode(
        x=dtypes.x,
        total=dtypes.sum,
        y=dtypes.y,
        outer=len(outer),
        dilation=_dilation(problem),
        bias=epilogue.bias,
        activation=epilogue.activation,
        narrowing=problem.narrowing,
        across=WIDTH * problem.lanes // _lanes(problem, words.window),
        column=words.column,
        window=words.window,
        narrow=_narrow(problem, words),
        divides=_divides(problem, words),
    )
    strips = Strips(problem, schedule.block, schedule.band, slack=(2 + VECTORS) * problem.lanes, room=problem.lanes)
    scratch = strips.scratch(
        at_stage=strips.stage, at_constants=(len(outer) + 2) * strips.line, at_rows=2 * planes * 8, at_running=strips.stage
    )
    return strips.program(code, emit_running, scratch, WeightPacking(problem, _divides(problem, words)))
