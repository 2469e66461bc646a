"""Sums of equal taps: each output costs four additions for any height of the kernel, and log₂ k for a width of k.

The sums are derived in jit/box.py. An output is the sum of its window's elements and of nothing else, in an order that follows from the
description: an infinity or NaN reaches the outputs whose window holds it, and no others; integers are exact, and of floats the error
grows with the height and with the logarithm of the width, not with their product.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.algorithms import costs, running
from juanji.algorithms.direct import Job, Work
from juanji.algorithms.loops import loops
from juanji.algorithms.problem import Problem
from juanji.algorithms.running import the_weight
from juanji.algorithms.strips import Strips, axes, even, refusal
from juanji.contraction import lower
from juanji.jit.box import VECTORS, BoxCode, emit_box
from juanji.jit.memory import empty_aligned
from juanji.jit.program import Program
from juanji.machine import Machine
from juanji.spec import Convolution

Array = npt.NDArray[Any]

# Cycles, measured as those of `costs`, on pictures of 3840×2160 floats and bytes with kernels of 3×3 to 151×151.
ADD_CYCLES = 1.1  # per vector that is added to a line
CONVERTED_CYCLES, READ_CYCLES = 0.4, 3.0  # more where it is converted, and where it is not: as many bytes then come from the second cache
DOUBLE_CYCLES, PART_CYCLES = 1.5, 1.2  # per vector of a doubling, and more where a digit of the width is 1
LAST_CYCLES = 2.5  # per vector of the last doubling, and to store it
LOOP_CYCLES = 15.0  # to begin a line
BORDER_CYCLES = 3.0  # per element beside a line


@dataclass(frozen=True)
class Box:
    """Blocks of columns, bands of as many whole runs of rows; `across` vectors at a time of the last step."""

    across: int
    block: int
    band: int

    @property
    def tile(self) -> tuple[object, ...]:
        """Schedules with equal tiles share their code, if the kernels are alike."""
        return "box", self.across

    def __str__(self) -> str:
        tile = f"sums of runs of rows and of 2^m columns, {self.across} vectors at a time"
        return f"{tile}, blocks of {self.block} columns, bands of {self.band} rows"


def accepts(spec: Convolution, produces: str) -> str | None:
    """None, or why this algorithm does not compute the product of the description."""
    if not spec.equal or spec.taps is not None:
        return "its weights are not known to be equal"
    reason = refusal(spec, produces)
    if reason is None:
        *_, high, _ = axes(loops(lower(spec)).spatial)
        if (high.stride, high.dilation) != (1, 1):
            return "its rows are neighbours: stride and dilation 1 along the last axis but one"
    return reason


def work(spec: Convolution, produces: str, machine: Machine) -> Work:
    """What computes the output: integers that words hold are summed by adding and taking off, which floats must not be."""
    problem = Problem(lower(spec), spec.dtypes, spec.epilogue, machine, overflow=spec.overflow)
    if running.accepts(problem):
        job = Job(partial(running.candidates, problem), partial(running.program, problem), partial(running.finer, problem))
    else:
        job = Job(partial(candidates, problem), partial(program, problem))
    return Work((job,), spec.dtypes.y)


def candidates(problem: Problem) -> Iterator[tuple[Box, float]]:
    """Lines in the first cache, ends of runs in the second, and expected cycles."""
    machine, (*outer, high, wide) = problem.machine, axes(problem.loops.spatial)
    planes = math.prod(s.kernel for s in outer)
    most = max(min(machine.l1 // 14, machine.l2 // 2 // (high.kernel + 1)) // problem.bytes, 2 * wide.reach)
    for across in (2, 4):
        width = across * problem.lanes
        block = even(wide, most, width)
        macs = block * high.kernel * (planes + wide.kernel.bit_length() + 2)
        band = high.kernel * max(min(costs.ITEM_MACS // max(macs, 1), -(-high.out // high.kernel)), 1)
        vectors = (block + wide.reach) / problem.lanes
        add = ADD_CYCLES + (CONVERTED_CYCLES if problem.dtypes.x != problem.dtypes.sum else READ_CYCLES)
        row = (2 * planes * add + ADD_CYCLES) * vectors
        row += (_doublings(wide.kernel) * DOUBLE_CYCLES + wide.kernel.bit_count() * PART_CYCLES) * vectors
        row += -(-block // width) * across * LAST_CYCLES
        row += (2 * planes + 2 + _doublings(wide.kernel)) * LOOP_CYCLES
        blocks = -(-wide.out // block)
        border = BORDER_CYCLES * wide.reach if wide.padded else 0.0
        repeats = problem.batch * math.prod(s.out for s in outer) * high.out
        yield Box(across, block, band), repeats * (blocks * row + border)


def _doublings(width: int) -> int:
    """How often sums are doubled before the last time, which is on the way to the output."""
    return max(width.bit_length() - 2, 0)


class WeightPacking:
    """packed = what the elements are multiplied by, and their sums: the weight for floats and for sums of integers, and 1."""

    def __init__(self, problem: Problem):
        self.dtype, self.last = problem.dtypes.sum, np.dtype(problem.dtypes.x).kind in "biu"

    def __call__(self, w: Array) -> Array:
        """The two factors, a new array. Raises ArgumentError where the weights are not equal."""
        weight = the_weight(w)
        packed = empty_aligned((2,), self.dtype)
        packed[...] = (1, weight) if self.last else (weight, 1)
        return packed


def program(problem: Problem, schedule: Box) -> Program:
    """The kernel of a schedule, and its arguments."""
    dtypes, epilogue = problem.dtypes, problem.epilogue
    *outer, high, wide = axes(problem.loops.spatial)
    k, doublings = wide.kernel, _doublings(wide.kernel)
    code = BoxCode(
        x=dtypes.x,
        total=dtypes.sum,
        y=dtypes.y,
        outer=len(outer),
        dilation=wide.dilation,
        bias=epilogue.bias,
        activation=epilogue.activation,
        narrowing=problem.narrowing,
        across=schedule.across,
        single=k == 1,
        parts=k % (1 << doublings) != 0,
        before_last=k > 1 and bool(k >> doublings & 1),
    )
    slack = (2 + max(VECTORS, schedule.across)) * problem.lanes
    strips = Strips(problem, schedule.block, schedule.band, slack, room=wide.reach + problem.lanes)
    strips.words["doublings"] = doublings
    scratch = strips.scratch(at_stage=3 * strips.stage, at_ends=(high.kernel + 1) * strips.line)
    return strips.program(code, emit_box, scratch, WeightPacking(problem))
