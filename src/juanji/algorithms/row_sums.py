"""Schedules of the row tile of gradients of weights: how many rows of dy are held."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from juanji.algorithms import costs
from juanji.algorithms.loops import three_axes
from juanji.algorithms.problem import Problem, Tables, aligned
from juanji.algorithms.weights import Weights
from juanji.algorithms.whole_rows import CROSSING, LINE_CYCLES, ROW_CYCLES, line_length, place_of, places, vectors_of_row
from juanji.jit.emit import LINE
from juanji.jit.lanes import moves
from juanji.jit.planes import MOST_UNROLLED
from juanji.jit.program import Program
from juanji.jit.row_sums import RowSumsCode, emit_row_sums

MOST_HELD = 14  # vectors of dy that are held

# Cycles, measured as those of `costs`.
ADDED_CYCLES = 8.0  # to add up the lanes of a vector


@dataclass(frozen=True)
class RowSums:
    """A tile of so many rows of dy, of so many vectors each."""

    rows: int
    vectors: int

    @property
    def tile(self) -> tuple[object, ...]:
        """Schedules with equal tiles share their code, if the kernels are alike."""
        return "row sums", self.rows, self.vectors

    def __str__(self) -> str:
        return f"row tile {self.rows} rows of {self.vectors} vectors of dy, input read in place"


def candidates(weights: Weights) -> Iterator[tuple[RowSums, float]]:
    """Every tile that fits the registers, and its expected cycles."""
    problem = weights.problem
    deep, high, wide = three_axes(problem.loops)
    vectors, taps = vectors_of_row(problem), high.kernel * wide.kernel
    lines = (deep.size * high.size * wide.size + problem.loops.pixels) * problem.bytes / LINE
    room = min(MOST_HELD, problem.machine.registers - taps - 3)

    def tile(rows: int) -> float:
        met = len({r * high.stride + k * high.dilation for r in range(rows) for k in range(high.kernel)})
        read = met * len(places(problem))
        arithmetic = rows * vectors * taps + (read * moves(wide.stride) if wide.stride > 1 else 0)
        loads = (read + rows * vectors) * CROSSING
        return max(arithmetic / costs.FMA_PER_CYCLE, loads / costs.LOADS_PER_CYCLE, costs.FMA_LATENCY * rows * vectors) + met * ROW_CYCLES

    for rows in range(1, max(room // vectors, 1) + 1):
        if rows == 1 or (rows <= high.out and rows * vectors * taps <= MOST_UNROLLED):
            whole, rest = divmod(high.out, rows)
            once = deep.out * (whole * tile(rows) + rest * tile(1)) * deep.kernel + lines * LINE_CYCLES
            planes = problem.groups * problem.features
            yield RowSums(rows, vectors), planes * (problem.batch * once + deep.kernel * taps * ADDED_CYCLES)


def _masked(problem: Problem) -> tuple[tuple[int, int, int], ...]:
    """The vectors of x with lanes that are outside the array or meet no place of dy."""
    wide, lanes = problem.loops.spatial[-1], problem.lanes
    found = []
    for place, v, k in places(problem):
        at, met = place_of(problem, place, v, k), (wide.out - v * lanes) * wide.stride - k * lanes
        if not wide.low <= at <= wide.low + wide.size - lanes or met < lanes:
            found.append((v, place, k))
    return tuple(found)


def program(weights: Weights, schedule: RowSums) -> Program:
    """The kernel of a schedule, and its arguments."""
    problem, size = weights.problem, weights.problem.bytes
    deep, high, wide = axes = three_axes(problem.loops)
    code = RowSumsCode(
        total=problem.dtypes.sum,
        kernel=(deep.kernel, high.kernel, wide.kernel),
        stride=(deep.stride, high.stride, wide.stride),
        dilation=(deep.dilation, high.dilation, wide.dilation),
        rows=schedule.rows,
        vectors=schedule.vectors,
        full=wide.out % problem.lanes == 0,
        masked=_masked(problem),
    )
    w, gs, channel = problem.contraction.w, problem.y_strides, problem.channel_dimension
    tables, goals = Tables(problem, axes), weights.goals
    zeros = aligned(line_length(problem) * size)
    words = {
        "map_d": tables.maps[0], "map_h": tables.maps[1], "map_goals": goals.ctypes.data, "size_w": wide.size, "low_w": wide.low,
        "zeros": zeros, "out_d": deep.out, "out_h": high.out, "out_w": wide.out, "gs_n": gs[0], "gs_c": gs[channel],
        "gs_d": problem.y_step(deep), "gs_h": problem.y_step(high), "ws_g": w.stride("g") * size, "ws_f": w.stride("o") * size,
        "ws_s": weights.words["ws_s"], "images": problem.batch, "segments": weights.segments,
        "features": problem.groups * problem.features, "filters": problem.features,
    }  # fmt: skip
    return Program(
        code=code,
        emit=emit_row_sums,
        names=code.names,
        words=words,
        x_axes={"xs_n": 0, "xs_c": channel, "xs_d": deep.x, "xs_h": high.x},
        close=problem.close(unit=True),
        items=weights.segments * problem.groups * problem.features,
        scratch=zeros,
        pack_weights=weights.errors,
        pack_bias=np.ascontiguousarray,
        tables=(*tables.arrays, goals),
        x_skipped=problem.loops.skipped,
        goal=problem.goal,
    )
