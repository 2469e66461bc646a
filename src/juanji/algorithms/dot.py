"""Schedules of the dot tile: the gradient of shared weights, lanes along the innermost spatial axis."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from juanji.algorithms import costs
from juanji.algorithms.problem import Tables, aligned
from juanji.algorithms.weights import Weights, steps
from juanji.jit.dot import DotCode, emit_dot
from juanji.jit.program import Program

MOST_PLACES = 10  # rows and features whose addresses stay in registers


@dataclass(frozen=True)
class Dot:
    """A tile of features × rows (pairs of channel and tap)."""

    features: int
    rows: int

    @property
    def tile(self) -> tuple[object, ...]:
        """Schedules with equal tiles share their code, if the kernels are alike."""
        return "dot", self.features, self.rows

    def __str__(self) -> str:
        return f"dot tile {self.features} features × {self.rows} rows, input through lines"


def candidates(weights: Weights) -> Iterator[tuple[Dot, float]]:
    """Every tile that fits the registers, and its expected cycles."""
    problem, box = weights.problem, weights.box
    vectors = math.prod(box[:-1]) * -(-box[-1] // problem.lanes)
    many = problem.batch * weights.chunks * weights.groups
    *outer, wide = weights.reach(box)
    panel = math.prod(outer) * weights.held * (costs.LINE_CYCLES + wide / problem.lanes * costs.COPY_CYCLES)
    for features in range(1, min(weights.features, 6) + 1):
        for rows in range(1, min(weights.count, MOST_PLACES - features) + 1):
            sums = features * rows
            if sums + features + 2 > problem.machine.registers:
                continue
            loads = features + rows * costs.CROSSING
            step = max(sums / costs.FMA_PER_CYCLE, loads / costs.LOADS_PER_CYCLE, costs.FMA_LATENCY)
            tile = vectors * step + math.prod(box[:-1]) * costs.LOOP_CYCLES + sums * 2 * costs.STORE_CYCLES + costs.TILE_CYCLES
            tiles = -(-weights.features // features) * -(-weights.count // rows)
            yield Dot(features, rows), many * (tiles * tile + panel)


def program(weights: Weights, schedule: Dot) -> Program:
    """The kernel of a schedule, and its arguments."""
    problem, spatial, box, size = weights.problem, weights.spatial, weights.box, weights.problem.bytes
    dtypes, wide = problem.dtypes, weights.spatial[-1]
    code = DotCode(
        x=dtypes.x,
        dy=dtypes.y,
        total=dtypes.sum,
        axes=len(spatial),
        stride=wide.stride,
        rows=schedule.rows,
        features=schedule.features,
    )
    # A line holds the residues of its places modulo the stride one behind the other, each with room for a last, half empty vector.
    *outer, along = weights.reach(box)
    phase = aligned((-(-along // wide.stride) + problem.lanes) * size)
    line = phase * wide.stride
    ps = [line * math.prod(outer[i + 1 :]) for i in range(len(outer))]
    plane = line * math.prod(outer) + 64
    places = np.arange(wide.kernel, dtype=np.int64) * wide.dilation
    taps = [*(steps(s, p) for s, p in zip(spatial[:-1], ps, strict=True)), places % wide.stride * phase + places // wide.stride * size]
    rows = weights.rows(taps, plane, schedule.rows)
    tables = Tables(problem, spatial, rows)
    vector = problem.lanes * size
    features = -(-weights.features // schedule.features) * schedule.features
    sums = aligned(plane * weights.held) + 64
    words = {
        **weights.words, "constants": tables.constants, "map_w": tables.maps[-1], "map_rows": tables.offsets, "phase": phase, "line": line,
        "slack": 0, "ps_c": plane, "sums": sums, "step_f": len(rows) * vector,
    }  # fmt: skip
    for i, step in enumerate([*ps, 0]):  # along the innermost axis vectors follow each other
        words |= {f"map{i}": tables.maps[i], f"ps{i}": step}
    return Program(
        code=code,
        emit=emit_dot,
        names=code.names,
        words=words,
        x_axes=weights.x_axes,
        close=problem.close(unit=True),
        items=weights.segments * weights.groups,
        scratch=sums + features * len(rows) * vector + 64,
        pack_weights=weights.errors,
        pack_bias=np.ascontiguousarray,
        tables=tables.arrays,
        x_skipped=problem.loops.skipped,
        goal=problem.goal,
    )
