"""Separable and low-rank kernels: one pass along each axis instead of a sum over the window."""

# A kernel that is known to be a sum of r outer products of one vector per axis (`factors.structure`) takes r·(kh + kw) products per
# output instead of kh·kw:
#
#     y[p, q] = Σ_t Σ_v b_t[v] · ( Σ_u a_t[u] · x[p + u, q + v] )
#
# The passes run behind each other on a few rows at a time, from lines in the first cache to lines in the first cache, so that the
# picture moves once from memory and once to it. Outer axes are summed first, into a ring of lines that all output rows share, then the
# rows of the window, then its columns. What lies outside commutes with the passes: a row outside is another row or a line of a
# constant, and a column outside is a copy of a column that the vertical pass has made.
#
# Errors. With one term every weight is the product of its factors to within a few roundings (factors.py), and two chains of kh and kw
# multiply-adds round kh + kw times where the direct sum rounds kh·kw times; where the factors are exact so is every sum that the direct
# one has exactly. No partial sum exceeds what the terms of the definition add up to, and an infinity or NaN reaches the outputs whose
# window holds it, and no others. Terms of a kernel of higher rank cancel: their error is that of their own sizes (strict keeps them out).
# Measured in float32 against float64 on pictures of numbers from 0 to 1, in ε of the largest output, root mean square and largest:
#
#                 Gaussian 3×3     9×9           21×21          41×41          unsharp 25×25 (two terms)
#     direct      0.24    1.3      0.82   4.8    2.4    12      6.1    29      2.3    16
#     passes      0.20    0.9      0.33   1.7    0.56   3.0     0.85   4.1     0.95   6.2
#
# Folding symmetric kernels, (x[i] + x[k − 1 − i])·w, saves no instruction: an addition takes as long as the multiply-add that it saves,
# and as many vectors are loaded. Horizontally it took 0.99 to 1.08 of the time, from 5 to 31 taps. Vectors put together of two neighbours
# in registers took, for all taps in place of unaligned loads, 0.95 to 1.04; for every other tap, both passes together, 0.78 to 0.95.

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.algorithms import costs
from juanji.algorithms.direct import Job, Work
from juanji.algorithms.loops import loops
from juanji.algorithms.problem import Problem
from juanji.algorithms.splitting import shorter
from juanji.algorithms.strips import Strips, axes, even, refusal, spans
from juanji.contraction import lower
from juanji.errors import ArgumentError
from juanji.factors import factors
from juanji.jit.emit import LINE
from juanji.jit.memory import empty_aligned
from juanji.jit.program import Program
from juanji.jit.separable import SUMMED, SeparableCode, Taps, emit_separable
from juanji.machine import Machine
from juanji.spec import Convolution

Array = npt.NDArray[Any]

WIDE = 8  # vectors of a row from which small tiles are not worth a look
MOST_NAMED = 9  # taps of an axis that are written out one by one; a longer axis is a loop, whatever its length
SHORT_BLOCK = 640  # columns of a block that is not made shorter for the first cache: what neighbouring blocks both convert would count
LONG_BANDS = 3  # times the kernel's height that a band should have, where lines are made for it
MOST_STRAIGHT = 320  # multiply-adds of a vertical pass in one piece of code
# Cycles, measured as those of `costs`, on pictures of 3840×2160 floats and bytes with kernels of 3×3 to 61×61.
STAGED_CYCLES, DOWN_CYCLES = 0.6, 15.0  # per vector that is staged, and to begin some of them
FAR_CYCLES = 0.5  # per vector of a line that was converted and has left the first cache
STORED_CYCLES, ALONG_CYCLES = 1.0, 10.0  # per vector that leaves, likewise
CONVERTED_CYCLES = 1.2  # per vector of a line
PLANE_CYCLES = 3.5  # per vector of a sum over outer axes, and tap: most come from beyond the second cache
BORDER_CYCLES = 3.0  # per element beside a staged line


@dataclass(frozen=True)
class Separable:
    """Steps of `rows` output rows; `vectors` and `across` vectors at a time of the vertical and the horizontal pass."""

    rows: int
    vectors: int
    across: int
    block: int  # columns
    band: int  # rows of an item
    in_place: bool  # whether rows are read where they lie
    lone: bool  # whether the block holds all columns of the array, so that any of them can stand outside

    @property
    def tile(self) -> tuple[object, ...]:
        """Schedules with equal tiles share their code, if the kernels are alike."""
        return "separable", self.rows, self.vectors, self.across, self.in_place

    def __str__(self) -> str:
        source = "read in place" if self.in_place else "through line buffers"
        return (
            f"passes of {self.rows} rows, {self.vectors} vectors down and {self.across} across, "
            f"blocks of {self.block} columns {source}, bands of {self.band} rows"
        )


def accepts(spec: Convolution, produces: str, low_rank: bool) -> str | None:
    """None, or why this algorithm does not compute the product of the description. low_rank: of kernels with several terms."""
    if spec.rank is None:
        return "its kernel is not known to be a sum of a few outer products"
    if (spec.rank > 1) != low_rank:
        return f"its kernel is of rank {spec.rank}"
    if low_rank and spec.dtypes.integers:
        return "terms of integers are not exact"
    if spec.taps is not None and math.prod(len(set(places)) for places in zip(*spec.taps, strict=True)) != len(spec.taps):
        return "taps that are skipped fill no whole rows and columns"
    *outer, _, _ = axes(loops(lower(spec)).spatial)
    if low_rank and any(axis.kernel > 1 for axis in outer):
        return "terms of a kernel over outer axes are not built"
    return refusal(spec, produces)


def work(spec: Convolution, produces: str, machine: Machine) -> Work:
    """What computes the output."""
    assert spec.rank is not None
    problem = Problem(lower(spec), spec.dtypes, spec.epilogue, machine, overflow=spec.overflow)
    job = Job(partial(candidates, problem, spec.rank), partial(program, problem, spec.rank), partial(finer, problem))
    return Work((job,), spec.dtypes.y)


def _patterns(problem: Problem) -> tuple[Taps, Taps]:
    """The taps of rows and of columns where some are skipped, and what is left are not too many to be written out."""
    taps, spatial = problem.loops.taps, problem.loops.spatial
    if taps is None:
        return None, None
    found = [tuple(sorted(set(places))) for places in zip(*taps, strict=True)]
    kept = [places if len(places) < min(s.kernel, costs.MOST_TAPS) else None for places, s in zip(found, spatial, strict=True)]
    high, wide = [None, *kept][-2:]
    return high, wide


def _named_rows(problem: Problem, rows: int) -> Taps:
    """The taps of the vertical pass that are written out one by one: a loop over them serves several output rows only where these are
    neighbours."""
    *_, high, _ = axes(problem.loops.spatial)
    return _named(high.kernel, _patterns(problem)[0], always=rows > 1 and (high.stride, high.dilation) != (1, 1))


def _named(kernel: int, pattern: Taps, always: bool = False) -> Taps:
    """The taps that are written out one by one, where they are few, or some are skipped."""
    if pattern is None and kernel > MOST_NAMED and not always:
        return None
    return tuple(range(kernel)) if pattern is None else pattern


# Schedules ------------------------------------------------------------------------------------------------------------------


def candidates(problem: Problem, terms: int) -> Iterator[tuple[Separable, float]]:
    """Every tile that fits the registers, its blocks, and its expected cycles."""
    *outer, high, wide = axes(problem.loops.spatial)
    planes = math.prod(s.kernel for s in outer)
    repeats = problem.batch * math.prod(s.out for s in outer)
    narrow = wide.out < WIDE * problem.lanes
    for rows, vectors, across in itertools.product((1, 2, 3, 4, 6, 8), (1, 2, 4) if narrow else (2, 3, 4), (2, 4) if narrow else (4, 8)):
        straight = rows * vectors * len(_named_rows(problem, rows) or ())
        if rows > high.out or rows * vectors + vectors + 1 > problem.machine.registers or (rows > 1 and straight > MOST_STRAIGHT):
            continue
        schedule = _blocked(problem, rows, vectors, across, terms)
        cycles = _step(problem, schedule, terms, planes)
        yield schedule, repeats * -(-high.out // rows) * -(-wide.out // schedule.block) * cycles


def _blocked(problem: Problem, rows: int, vectors: int, across: int, terms: int) -> Separable:
    """Blocks whose staged lines fill a third of the first cache, and whose ring of lines half of the second; or, where lines are
    converted, both three quarters of the first, if that does not make blocks too short."""
    machine, (*outer, high, wide) = problem.machine, axes(problem.loops.spatial)
    width, summed = across * problem.lanes, any(s.kernel > 1 for s in outer)
    window = (rows - 1) * high.stride + high.reach
    ring = window if summed or problem.dtypes.x != problem.dtypes.sum else 0
    columns = min(machine.l1 // 3 // (rows * terms * problem.bytes), machine.l2 // 2 // (ring * problem.bytes or 1))
    if problem.dtypes.x != problem.dtypes.sum:
        columns = min(columns, max(machine.l1 * 3 // 4 // ((rows * terms + ring) * problem.bytes), SHORT_BLOCK))
    columns -= wide.reach
    block = even(wide, columns, width)
    lone = block >= wide.out
    narrowest = wide.size if lone else min(stop - start for _, start, stop, _ in spans(wide, block))
    in_place = problem.dtypes.x == problem.dtypes.sum and narrowest >= max(vectors, SUMMED if summed else 0) * problem.lanes
    macs = block * rows * (high.kernel + wide.kernel) * terms
    band = rows * max(costs.ITEM_MACS // max(macs, 1), 1)
    if ring:  # whose first lines are made anew in every band
        band = max(band, LONG_BANDS * high.reach // rows * rows)
    band = min(band, high.out)
    return Separable(rows, vectors, across, block, band, in_place, lone)


def finer(problem: Problem, schedule: Separable, items: int) -> Separable:
    """The schedule in about so many items: bands of fewer rows."""
    *outer, high, wide = axes(problem.loops.spatial)
    others = problem.batch * math.prod(s.out for s in outer) * -(-wide.out // schedule.block)
    return replace(schedule, band=shorter(schedule.band, schedule.rows, high.out, items, others))


def _step(problem: Problem, schedule: Separable, terms: int, planes: int) -> float:
    """Cycles of one step of one block: its lines, and both passes."""
    *_, high, wide = axes(problem.loops.spatial)
    s, lanes = schedule, problem.lanes
    window = (s.rows - 1) * high.stride + high.reach
    met = len({r * high.stride + k * high.dilation for r in range(s.rows) for k in range(high.kernel)})
    columns = min(s.block, wide.out) + wide.reach
    vectors = columns / lanes

    sums = s.rows * s.vectors
    loads = met * s.vectors + s.rows * high.kernel
    tile = max(sums * high.kernel / costs.FMA_PER_CYCLE, loads / costs.LOADS_PER_CYCLE, high.kernel * costs.FMA_LATENCY)
    tile += sums * STAGED_CYCLES + DOWN_CYCLES + met
    if problem.dtypes.x != problem.dtypes.sum and (s.rows * terms + window) * columns * problem.bytes > problem.machine.l1:
        tile += met * s.vectors * FAR_CYCLES
    down = -(-vectors // s.vectors) * tile

    pairs = wide.kernel // 2 if lanes * problem.bytes == LINE and wide.dilation < lanes else 0
    read = s.across * wide.kernel - (s.across - 1) * pairs
    row = max(s.across * (wide.kernel + pairs) / costs.FMA_PER_CYCLE, (read * costs.CROSSING + wide.kernel) / costs.LOADS_PER_CYCLE)
    row = max(row, wide.kernel * costs.FMA_LATENCY) * terms + s.across * STORED_CYCLES + ALONG_CYCLES
    along = s.rows * -(-s.block // (s.across * lanes)) * row

    lines = window * costs.PLACE_CYCLES
    new = s.rows * high.stride + (high.reach * s.rows / s.band if s.band < high.out else 0)
    if not s.in_place:
        lines += new * planes * (costs.LINE_CYCLES + vectors * CONVERTED_CYCLES)
    if planes > 1:
        lines += new * (costs.LINE_CYCLES + vectors * (planes * PLANE_CYCLES + STAGED_CYCLES))
    if s.block < wide.out:  # the border is shared out among the blocks
        return terms * down + along + lines + BORDER_CYCLES * s.rows * terms * wide.reach * s.block / wide.out
    return terms * down + along + lines + BORDER_CYCLES * s.rows * terms * (wide.reach if wide.padded else 0)


# The kernel -------------------------------------------------------------------------------------------------------------------


class FactorPacking:
    """packed[term] = the factors of the outer axes multiplied out, then those of the rows, then those of the columns."""

    def __init__(self, problem: Problem, terms: int):
        c, spatial = problem.contraction, axes(problem.loops.spatial)
        self.of, self.offset, self.terms = "int64" if problem.dtypes.integers else problem.dtypes.sum, c.w.offset, terms
        self.dtype = problem.dtypes.sum
        self.full = tuple(c.extent(f"k{i}") for i in range(c.n))
        self.steps = tuple(c.w.stride(f"k{i}") for i in range(c.n))
        self.shape = tuple(s.kernel for s in spatial)

    def __call__(self, w: Array) -> Array:
        """The factors of a kernel, a new array. Raises ArgumentError where the kernel is not of that rank."""
        w = np.ascontiguousarray(w)
        strides = tuple(step * w.itemsize for step in self.steps)
        kernel = np.ndarray(self.full, w.dtype, w, self.offset * w.itemsize, strides).reshape(self.shape)
        found = factors(kernel, self.terms, self.of)
        if found is None:
            raise ArgumentError(f"w is not of rank {self.terms}, as the weights that this plan was made for")
        packed = empty_aligned((self.terms, math.prod(self.shape[:-2]) + sum(self.shape[-2:])), self.dtype)
        packed[...] = 0
        for term, vectors in zip(packed, found, strict=False):  # a kernel of lower rank has fewer
            planes = np.ones(1)
            for vector in vectors[:-2]:
                planes = np.multiply.outer(planes, vector).reshape(-1)
            term[...] = np.concatenate([planes, *vectors[-2:]])
        return packed


def program(problem: Problem, terms: int, schedule: Separable) -> Program:
    """The kernel of a schedule, and its arguments."""
    dtypes, epilogue, s = problem.dtypes, problem.epilogue, schedule
    *outer, high, wide = axes(problem.loops.spatial)
    planes, summed = math.prod(axis.kernel for axis in outer), any(axis.kernel > 1 for axis in outer)
    named = _named_rows(problem, s.rows)
    window = (s.rows - 1) * high.stride + high.reach
    code = SeparableCode(
        x=dtypes.x,
        total=dtypes.sum,
        y=dtypes.y,
        outer=len(outer),
        summed=summed,
        in_place=s.in_place,
        high=named,
        wide=_named(wide.kernel, _patterns(problem)[1]),
        window=0 if named is None else window,
        stride_h=high.stride,
        dilation_h=high.dilation,
        dilation=wide.dilation,
        bias=epilogue.bias,
        activation=epilogue.activation,
        narrowing=problem.narrowing,
        rows=s.rows,
        vectors=s.vectors,
        across=s.across,
    )
    strips = Strips(problem, s.block, s.band, slack=(2 + max(s.vectors, s.across, SUMMED)) * problem.lanes)
    ring = window if summed or not s.in_place else 0
    strips.words |= {"terms": terms, "window": window}
    scratch = strips.scratch(
        table=window * 8, at_planes=planes * 8, at_constants=(len(outer) + 1) * strips.line, at_ring=ring * strips.line,
        at_converted=planes * strips.line if summed and not s.in_place else 0, at_stage=terms * s.rows * strips.stage,
    )  # fmt: skip
    return strips.program(code, emit_separable, scratch, FactorPacking(problem, terms))
