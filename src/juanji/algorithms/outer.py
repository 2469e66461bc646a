"""Schedules of the outer tile: the gradient of shared weights, lanes along the features."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from juanji.algorithms import costs
from juanji.algorithms.problem import Tables, aligned, contiguous_strides
from juanji.algorithms.weights import Weights, steps
from juanji.jit.outer import OuterCode, emit_outer
from juanji.jit.program import Program

MOST_PLACES = 10  # whose addresses stay in registers
ACROSS = 2.5  # loads that a vector of dy counts for where it lies, beside those that broadcast x


@dataclass(frozen=True)
class Outer:
    """A tile of rows (pairs of channel and tap) × vectors of features; lanewise: × vectors of channels."""

    rows: int
    vectors: int
    splits: int  # shares of the features
    panel: bool
    lanewise: bool

    @property
    def tile(self) -> tuple[object, ...]:
        """Schedules with equal tiles share their code, if the kernels are alike."""
        return "outer", self.rows, self.vectors, self.panel, self.lanewise

    def __str__(self) -> str:
        kind = "lane-wise outer tile" if self.lanewise else "outer tile"
        source = "through a panel" if self.panel else "read in place"
        return f"{kind} {self.rows} rows × {self.vectors} vectors, input {source}, {self.splits} shares of the features"


def candidates(weights: Weights) -> Iterator[tuple[Outer, float]]:
    """Every tile that fits the registers, and its expected cycles."""
    problem, box = weights.problem, weights.box
    pixels = math.prod(box)
    many = problem.batch * weights.chunks * weights.groups
    panel = math.prod(weights.reach(box)) * weights.held / problem.lanes * costs.COPY_CYCLES if weights.panel else 0.0
    group = max(weights.lanewise, 1)  # rows that see the same place
    for vectors in range(1, 5):
        width = vectors * problem.lanes
        blocks = -(-weights.features // width)
        tail = weights.features % width > 0
        if width - problem.lanes >= weights.features or (weights.lanewise and tail and (weights.lanewise > 1 or not weights.panel)):
            continue
        splits = 1 if weights.lanewise else _splits(weights, blocks, width)
        in_place = _errors_in_place(weights, width)
        for rows in range(1, 13):
            sums = rows * vectors
            if sums + vectors + (not weights.lanewise) > problem.machine.registers or rows > weights.count:
                continue
            if rows % group or rows // group > MOST_PLACES:
                continue
            loads = rows * (vectors if weights.lanewise else 1) + vectors * (ACROSS if in_place and not weights.lanewise else 1)
            moves = sums if weights.lanewise > 1 else 0
            step = max((sums + moves) / costs.FMA_PER_CYCLE, loads / costs.LOADS_PER_CYCLE, costs.FMA_LATENCY)
            tile = pixels * step + math.prod(box[:-1]) * costs.LOOP_CYCLES + sums * 2 * costs.STORE_CYCLES + costs.TILE_CYCLES
            one = vectors * costs.COPY_CYCLES + costs.PIXEL_CYCLES if problem.last else vectors * costs.TURN_CYCLES
            errors = 0.0 if in_place else pixels * one
            cycles = many * (blocks * (-(-weights.count // rows) * tile + errors) + panel * splits)
            cycles += weights.groups * blocks * weights.count * vectors * costs.TURNED_STORE_CYCLES
            yield Outer(rows, vectors, splits, weights.panel, weights.lanewise > 0), cycles


def _errors_in_place(weights: Weights, width: int) -> bool:
    """Whether dy is read where it lies: pixels that are as wide as a tile, one behind the other."""
    problem = weights.problem
    return problem.last and problem.dtypes.y == problem.dtypes.sum and weights.features == problem.y_shape[-1] == width


def _splits(weights: Weights, blocks: int, width: int) -> int:
    """Shares of the features: the sums of a share stay in the second cache, and threads find work."""
    sums = weights.count * width * weights.problem.bytes
    share = max(weights.problem.machine.l2 // 2 // sums, 1)
    return min(max(-(-blocks // share), -(-8 // (weights.groups * weights.segments))), blocks)


def program(weights: Weights, schedule: Outer) -> Program:
    """The kernel of a schedule, and its arguments."""
    problem, spatial, box, size = weights.problem, weights.spatial, weights.box, weights.problem.bytes
    dtypes, last = problem.dtypes, len(weights.spatial) - 1
    width = schedule.vectors * problem.lanes
    blocks_f = -(-weights.features // width)
    share = -(-blocks_f // schedule.splits)
    splits = -(-blocks_f // share)
    code = OuterCode(
        x=dtypes.x,
        dy=dtypes.y,
        total=dtypes.sum,
        axes=len(spatial),
        planar=not problem.last and not weights.lanewise,
        planar_x=not problem.last,
        panel=schedule.panel,
        errors=not _errors_in_place(weights, width),
        step=1 if problem.last else spatial[last].step,
        turned=weights.turned,
        lanewise=weights.lanewise,
        rows=schedule.rows,
        vectors=schedule.vectors,
        ahead=problem.last and not weights.lanewise,
    )
    panel_c = width if weights.lanewise else problem.channels
    panels = -(-weights.held // panel_c)
    ps, channel, block, panel = _panel(weights, schedule, panel_c)
    rows = weights.rows([steps(s, p) for s, p in zip(spatial, ps, strict=True)], 0 if weights.lanewise else channel, schedule.rows)
    tables = Tables(problem, spatial, rows, weights.goals if weights.lanewise > 1 else None)
    errors = aligned(panel) + 64
    sums = errors + (aligned(math.prod(box) * width * size) if code.errors else 0) + 64
    whole = problem.last and panels == 1 and weights.held == problem.groups * problem.channels == panel_c
    words = {
        **weights.words, "constants": tables.constants, "map_w": tables.maps[-1], "map_rows": tables.offsets, "map_goals": tables.goals,
        "phase": 0, "line": 0, "slack": 0, "blocks_f": blocks_f, "split": share, "splits": splits,
        "gs_p": problem.y_step(spatial[last]), "errors": errors,
        "sums": sums, "stream": int(math.prod(problem.contraction.w.shape) * size > problem.machine.l2), "step_f": len(rows) * width * size,
        "ps_c": channel, "ps_b": block, "panels": panels, "panel_c": panel_c,
        "channels_all": weights.held, "whole": int(whole), **_ahead(weights, ps),
    }  # fmt: skip
    for i, s in enumerate(spatial):
        pitch = math.prod(box[i + 1 :]) * width * size if code.errors else problem.y_step(s)
        words |= {f"map{i}": tables.maps[i], f"ps{i}": ps[i], f"gp{i}": pitch}
    return Program(
        code=code,
        emit=emit_outer,
        names=code.names,
        words=words,
        x_axes=weights.x_axes,
        close=problem.close_in_chunks(bool(schedule.panel and not whole)),
        items=weights.segments * weights.groups * splits,
        scratch=sums + (share * len(rows) + problem.lanes) * width * size + 64,  # the last square is read whole
        pack_weights=weights.errors,
        pack_bias=np.ascontiguousarray,
        tables=tables.arrays,
        x_skipped=problem.loops.skipped,
        goal=problem.goal,
    )


def _ahead(weights: Weights, ps: Sequence[int]) -> dict[str, int]:
    """Bytes from what a chunk reads to what the next one does: both are whole along the axes inside the one that is cut."""
    problem = weights.problem
    for b, s, step in reversed(list(zip(weights.box, weights.spatial, ps, strict=True))):
        if b < s.out:
            return {"ahead_x": b * s.stride * step, "ahead_dy": b * problem.y_step(s)}
    return {"ahead_x": contiguous_strides(problem.x_shape, problem.bytes)[0], "ahead_dy": problem.y_strides[0]}


def _panel(weights: Weights, schedule: Outer, panel_c: int) -> tuple[list[int], int, int, int]:
    """Bytes between neighbours where a tile reads x: along each axis, between channels, between blocks of channels; bytes in all."""
    problem, size = weights.problem, weights.problem.bytes
    if not schedule.panel:
        strides = contiguous_strides(problem.x_shape, size)
        channel = strides[problem.channel_dimension]
        return [strides[s.x] for s in weights.spatial], channel, channel * panel_c, 0
    planar = not problem.last and not weights.lanewise
    step = size if planar else panel_c * size
    axes: list[int] = []
    for length in reversed(weights.reach(weights.box)):
        axes.insert(0, step)
        step *= length
        if planar and len(axes) == 1:
            step = aligned(step)
    if not planar:
        return axes, size, step, step * -(-weights.held // panel_c)
    plane = step + 64  # not a power of two apart
    return axes, plane, plane * weights.held, plane * weights.held
