"""Schedules of the depthwise tile for planes that are turned into pixels and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from juanji.algorithms import costs, depthwise
from juanji.algorithms.loops import three_axes
from juanji.algorithms.packing import BiasPacking, pack_weights
from juanji.algorithms.problem import Problem, Tables, aligned, contiguous_strides
from juanji.algorithms.splitting import shared
from juanji.jit.program import Program
from juanji.jit.turned_planes import TurnedCode, emit_turned
from juanji.spec import WORDS, Dtypes, Epilogue

# Cycles, measured as those of `costs`.
TURN_CYCLES = 4.0  # per vector of planes that is turned
CONVERTED_CYCLES = 5.5  # likewise, where its elements are not what sums are made of
FAR_CYCLES = 3.0  # more, per vector of input or output, where these are not expected in the second cache
SPILLED_CYCLES = 0.3  # more, per vector of pixels that the first cache does not hold


@dataclass(frozen=True)
class Turned:
    """Lanes along the channels; a tile of rows × columns of outputs."""

    rows: int  # 0 for strips of columns
    columns: int
    share: int  # vectors of channels of an item

    @property
    def tile(self) -> tuple[object, ...]:
        """Schedules with equal tiles share their code, if the kernels are alike."""
        return "turned", self.rows, self.columns

    def __str__(self) -> str:
        tile = f"{self.rows} rows × {self.columns} columns" if self.rows else f"strips of {self.columns} columns"
        return f"depthwise tile {tile}, planes turned into pixels, {self.share} vectors of channels"


def accepts(problem: Problem) -> bool:
    """Whether channels lie in planes without gaps, each with one filter, under a border of one number."""
    axes, outside = problem.loops.spatial, [s.boundary for s in problem.loops.spatial if s.padded]
    return (
        not problem.last
        and problem.lanewise > 0
        and problem.taps is None
        and problem.dtypes.sum not in WORDS
        and len(axes) <= 3
        and not problem.loops.merged
        and not problem.gaps
        and all(b.constant and b == outside[0] for b in outside)
        and min(_length(problem), problem.loops.pixels) >= problem.lanes
    )


def candidates(problem: Problem) -> Iterator[tuple[Turned, float]]:
    """Every tile that fits the registers, and its expected cycles."""
    if not accepts(problem):
        return
    inner = _pixels(problem)
    vectors = depthwise.vectors(problem)
    length, made = _length(problem), problem.loops.pixels
    turns = -(-length // problem.lanes) + -(-made // problem.lanes)
    turning = turns * problem.lanes * (CONVERTED_CYCLES if problem.converted else TURN_CYCLES)
    turning += (length + made) * (FAR_CYCLES if problem.far else 0.0)
    if (length + made) * problem.lanes * problem.bytes > problem.machine.l1:
        turning += (length + made) * SPILLED_CYCLES
    share = max(costs.ITEM_MACS // (made * problem.kernel * problem.channels * problem.lanes), 1)
    for rows, columns, cycles in depthwise.tiles(inner):
        yield Turned(rows, columns, min(share, vectors)), problem.batch * vectors * (cycles + turning)


def _pixels(problem: Problem) -> Problem:
    """The problem of pixels: numbers of the sum's type in and out, activated later."""
    of = problem.dtypes
    return Problem(problem.contraction, Dtypes(of.sum, of.w, of.sum, of.sum), Epilogue(problem.epilogue.bias), problem.machine)


def _strides(problem: Problem) -> list[int]:
    """Elements of a plane from one place to the next, along each spatial dimension of the input."""
    return contiguous_strides(problem.x_shape[2:], 1)


def _length(problem: Problem) -> int:
    """Elements of a plane from the first that a window reaches to the end."""
    steps = _strides(problem)
    return 1 + sum((axis.size - 1) * steps[axis.x - 2] for axis in problem.loops.spatial)


def finer(problem: Problem, schedule: Turned, items: int) -> Turned:
    """The schedule in about so many items: fewer vectors of channels in each."""
    return replace(schedule, share=min(schedule.share, shared(depthwise.vectors(problem), -(-items // problem.batch))))


def program(problem: Problem, schedule: Turned) -> Program:
    """The kernel of a schedule, and its arguments."""
    axes, of, lanes = three_axes(problem.loops), problem.dtypes, problem.lanes
    pixel, steps, ys = lanes * problem.bytes, _strides(problem), problem.y_strides
    length, made, count = _length(problem), problem.loops.pixels, depthwise.vectors(problem)
    shares, pixels, tables = -(-count // schedule.share), aligned(length * pixel), Tables(problem, axes)
    code = TurnedCode(
        tile=depthwise.tile_code(_pixels(problem), schedule.rows, schedule.columns, channels_inside=False),
        x=of.x,
        y=of.y,
        activation=problem.epilogue.activation,
        narrowing=problem.narrowing,
        partial=problem.groups * problem.channels % lanes != 0,
    )
    words = {
        **depthwise.place_words(problem, tables), "goals_n": ys[0], "goals_c": ys[problem.channel_dimension], "length": length,
        "made": made, "pixels": pixels, "shares": shares, "share": schedule.share, "stream": 0,
    }  # fmt: skip
    for name, axis in zip("dhw", axes, strict=True):
        words[f"xs_{name}"] = pixel * steps[axis.x - 2] if axis.x >= 0 else 0
        words[f"ys_{name}"] = pixel * (problem.y_step(axis) // np.dtype(of.y).itemsize)
    return Program(
        code=code,
        emit=emit_turned,
        names=code.names,
        words=words,
        x_axes={"planes_n": 0, "planes_c": problem.channel_dimension},
        close=tuple(reversed(range(2, len(problem.x_shape)))),
        items=problem.batch * shares,
        scratch=pixels + made * pixel,
        pack_weights=pack_weights(problem, lanes, problem.channels, across=True),
        pack_bias=BiasPacking(of.sum, 1, lanes),
        tables=tables.arrays,
        x_skipped=problem.loops.skipped,
        y_start=problem.y_start,
        goal=problem.goal,
    )
