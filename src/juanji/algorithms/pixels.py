"""Schedules of the pixel tile: how many pixels an item has."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from juanji.algorithms import costs
from juanji.algorithms.packing import BiasPacking, pack_weights
from juanji.algorithms.problem import Problem, Tables
from juanji.algorithms.splitting import shared
from juanji.jit.pixels import PixelCode, emit_pixels
from juanji.jit.program import Program
from juanji.spec import WORDS

MOST_FEATURES = 8

# Cycles, measured as those of `costs`.
SQUARE_CYCLES = 20.0  # to start a square
READ_CYCLES = 1.0  # per vector of it


@dataclass(frozen=True)
class Pixels:
    """Lanes along the pixels, of which a tile has as many."""

    share: int  # pixels of an item

    @property
    def tile(self) -> tuple[object, ...]:
        """Schedules with equal tiles share their code, if features are alike."""
        return ("pixels",)

    def __str__(self) -> str:
        return f"pixel tile, {self.share} pixels at a time"


def accepts(problem: Problem) -> bool:
    """Whether a kernel of one tap leads from many channels to a few features of channels-last pixels, which lie in one run."""
    (axis, *more), masks = problem.loops.spatial, problem.machine.target.masks
    return (
        problem.last
        and not more
        and problem.kernel == problem.groups == axis.stride == axis.step == 1
        and not axis.padded
        and problem.features <= MOST_FEATURES
        and problem.channels >= problem.lanes
        and (problem.channels % problem.lanes == 0 or masks)
        and axis.out >= problem.lanes
        and problem.dtypes.sum not in WORDS
    )


def candidates(problem: Problem) -> Iterator[tuple[Pixels, float]]:
    """The tile and its expected cycles."""
    if not accepts(problem):
        return
    lanes, pixels, macs = problem.lanes, problem.loops.pixels, problem.channels * problem.features
    squares = -(-problem.channels // lanes)
    step = max(math.log2(lanes) + READ_CYCLES + problem.features / costs.FMA_PER_CYCLE, costs.FMA_LATENCY)
    cycles = problem.batch * -(-pixels // lanes) * squares * (lanes * step + SQUARE_CYCLES)
    yield Pixels(min(max(costs.ITEM_MACS // (lanes * macs), 1) * lanes, pixels)), cycles


def finer(problem: Problem, schedule: Pixels, items: int) -> Pixels:
    """The schedule in about so many items: fewer pixels in each."""
    lanes, pixels = problem.lanes, problem.loops.pixels
    return replace(schedule, share=min(schedule.share, shared(-(-pixels // lanes), -(-items // problem.batch)) * lanes))


def program(problem: Problem, schedule: Pixels) -> Program:
    """The kernel of a schedule, and its arguments."""
    (axis,), dtypes, epilogue = problem.loops.spatial, problem.dtypes, problem.epilogue
    rest = problem.channels % problem.lanes
    code = PixelCode(
        x=dtypes.x,
        total=dtypes.sum,
        y=dtypes.y,
        bias=epilogue.bias,
        activation=epilogue.activation,
        narrowing=problem.narrowing,
        features=problem.features,
        rest=rest,
    )
    shares, tables = -(-axis.out // schedule.share), Tables(problem, (axis,))
    words = {
        "constants": tables.constants, "parameter": problem.bytes, "ys_n": problem.y_strides[0], "out_w": axis.out, "shares": shares,
        "share": schedule.share, "whole": problem.channels - rest, "stream": 0,
    }  # fmt: skip
    return Program(
        code=code,
        emit=emit_pixels,
        names=code.names,
        words=words,
        x_axes={"xs_n": 0, "xs_w": axis.x},
        close=problem.close(unit=True),
        items=problem.batch * shares,
        scratch=0,
        pack_weights=pack_weights(problem, problem.features, 1),
        pack_bias=BiasPacking(dtypes.sum, 1, 1),
        tables=tables.arrays,
        x_skipped=problem.loops.skipped,
        y_start=problem.y_start,
        goal=problem.goal,
    )
