"""Schedules of the outer tile: the gradient of shared weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.algorithms import costs
from juanji.algorithms.loops import Spatial
from juanji.algorithms.problem import Problem, Tables, aligned, contiguous_strides
from juanji.jit.outer import OuterCode, emit_outer
from juanji.jit.program import Program

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Outer:
    """A tile of rows (pairs of channel and tap) × vectors of features; lanewise: of taps × vectors of channels."""

    rows: int
    vectors: int
    box: tuple[int, ...]  # output positions of a chunk
    splits: int  # shares of the features
    panel: bool
    lanewise: bool

    def __str__(self) -> str:
        kind = "lane-wise outer tile" if self.lanewise else "outer tile"
        source = "through a panel" if self.panel else "read in place"
        return f"{kind} {self.rows} rows × {self.vectors} vectors, chunks of {'×'.join(map(str, self.box))} pixels {source}, {self.splits} shares"


class Weights:
    """The gradient of shared weights: a forward problem, read as the pairs (x, dy) that meet in each weight.

    i runs over channel and tap in the order in which the weights lie.
    """

    def __init__(self, problem: Problem, weight_layout: str):
        self.problem, self.spatial = problem, problem.loops.spatial
        self.lanewise = problem.last and problem.groups > 1 and problem.features == problem.channels == 1
        self.turned = weight_layout != "*IO"
        self.groups, self.features = (1, problem.groups) if self.lanewise else (problem.groups, problem.features)
        self.channels_first = weight_layout == "OI*"
        self.count = problem.channels * problem.kernel

    @property
    def panel(self) -> bool:
        """Whether x has to be copied under a chunk, for its border or its type."""
        return self.problem.dtypes.x != self.problem.dtypes.sum or any(s.padded for s in self.spatial)

    def box(self) -> tuple[tuple[int, ...], int]:
        """Output positions of a chunk, and chunks of an image: whole inner axes first, as many as fill a share of the second cache.

        The chunk is a block of the sum, so it follows from the description and the machine alone.
        """
        room = self.problem.machine.l2 // 4
        held = (self.problem.groups if self.lanewise else 1) * self.problem.channels
        box = [1] * len(self.spatial)
        for axis in reversed(range(len(self.spatial))):
            inside = math.prod(box)
            most = max(costs.OUTER_PIXELS // inside, 1)
            while most > 1 and _reach(self.spatial, [*box[:axis], most, *box[axis + 1 :]]) * held * self.problem.bytes > room:
                most = (most + 1) // 2
            out = self.spatial[axis].out
            box[axis] = -(-out // -(-out // most))
            if box[axis] < out:
                break
        return tuple(box), math.prod(-(-s.out // b) for s, b in zip(self.spatial, box, strict=True))

    def segments(self, chunks: int) -> int:
        """How many sums the chunks are cut into, so that several threads find work where the features are few. Part of the bits."""
        blocks = self.groups * -(-self.features // (2 * self.problem.lanes))
        macs = self.count * self.features * self.groups * math.prod(s.out for s in self.spatial) * self.problem.batch
        return max(min(-(-8 // blocks), chunks * self.problem.batch, macs // costs.ITEM_MACS), 1)


def _reach(spatial: Sequence[Spatial], box: Sequence[int]) -> int:
    return math.prod((b - 1) * s.stride + s.reach for b, s in zip(box, spatial, strict=True))


def segments(weights: Weights) -> int:
    """How many arrays the programs write, one after the other."""
    return weights.segments(weights.box()[1])


def candidates(weights: Weights) -> Iterator[tuple[Outer, float]]:
    """Every tile that fits the registers, and its expected cycles."""
    problem = weights.problem
    box, chunks = weights.box()
    pixels = math.prod(box)
    many = problem.batch * chunks * weights.groups
    reach = _reach(weights.spatial, box)
    for vectors in range(1, 5):
        width = vectors * problem.lanes
        blocks = -(-weights.features // width)
        if width - problem.lanes >= weights.features or (weights.lanewise and not weights.panel and weights.features % width):
            continue
        splits = 1 if weights.lanewise else _splits(weights, blocks, width)
        for rows in range(1, 13):
            sums = rows * vectors
            if sums + vectors + (not weights.lanewise) > problem.machine.registers or (rows > weights.count and rows > 1):
                continue
            loads = rows * (vectors if weights.lanewise else 1) + vectors
            step = max(sums / costs.FMA_PER_CYCLE, loads / costs.LOADS_PER_CYCLE, costs.FMA_LATENCY)
            tile = pixels * step + math.prod(box[:-1]) * costs.LOOP_CYCLES + sums * 2 * costs.STORE_CYCLES + costs.TILE_CYCLES
            turn = costs.TURN_CYCLES if not problem.last else costs.COPY_CYCLES
            errors = pixels * vectors * turn
            panel = reach * problem.channels / problem.lanes * costs.COPY_CYCLES * splits if weights.panel else 0.0
            cycles = many * (blocks * (-(-weights.count // rows) * tile + errors) + panel)
            cycles += weights.groups * blocks * weights.count * vectors * costs.TURNED_STORE_CYCLES
            yield Outer(rows, vectors, box, splits, weights.panel, weights.lanewise), cycles


def _splits(weights: Weights, blocks: int, width: int) -> int:
    """Shares of the features: the sums of a share stay in the second cache, and threads find work."""
    sums = weights.count * width * weights.problem.bytes
    share = max(weights.problem.machine.l2 // 2 // sums, 1)
    return min(max(-(-blocks // share), -(-8 // (weights.groups * segments(weights)))), blocks)


def program(weights: Weights, schedule: Outer) -> Program:
    """The kernel of a schedule, and its arguments."""
    problem, spatial, size = weights.problem, weights.spatial, weights.problem.bytes
    contraction, dtypes = problem.contraction, problem.dtypes
    last = len(spatial) - 1
    width = schedule.vectors * problem.lanes
    box, chunks = weights.box()
    pixels = math.prod(box)
    count_segments = weights.segments(chunks)
    blocks_f = -(-weights.features // width)
    share = -(-blocks_f // schedule.splits)
    splits = -(-blocks_f // share)

    held = weights.features if weights.lanewise else problem.channels
    panel_c = width if weights.lanewise else problem.channels
    reach = [(b - 1) * s.stride + s.reach for b, s in zip(box, spatial, strict=True)]
    ps, channel, block, panels, panel = _panel(problem, schedule, reach, held, panel_c)

    code = OuterCode(
        x=dtypes.x,
        dy=dtypes.y,
        total=dtypes.sum,
        axes=len(spatial),
        planar=not problem.last,
        panel=schedule.panel,
        errors=not problem.last or dtypes.y != dtypes.sum or weights.features % width > 0,
        turned=weights.turned,
        lanewise=schedule.lanewise,
        rows=schedule.rows,
        vectors=schedule.vectors,
    )
    gs = problem.y_strides
    along = [problem.y_step(s) for s in spatial]
    gp = [math.prod(box[i + 1 :]) * width * size for i in range(len(box))] if code.errors else along
    rows = _rows(weights, [s.dilation * p for s, p in zip(spatial, ps, strict=True)], 0 if weights.lanewise else channel)
    rows = np.concatenate([rows, np.repeat(rows[-1:], -len(rows) % schedule.rows)])
    tables = Tables(problem, spatial, rows)
    ws = contraction.w
    w_size = math.prod(ws.shape) * size
    padded = len(rows)
    errors = aligned(panel) + 64
    sums = errors + aligned(pixels * width * size if code.errors else 0) + 64
    wide = spatial[last]
    words = {
        "constants": tables.constants, "map_w": tables.maps[-1], "size_w": wide.size, "low_w": wide.low, "phase": 0, "line": 0, "slack": 0,
        "map_rows": tables.offsets, "count_i": weights.count, "groups": weights.groups, "channels": problem.channels,
        "chunks": chunks * problem.batch, "chunks_n": chunks, "segments": count_segments, "blocks_f": blocks_f,
        "count_f": weights.features, "split": share, "splits": splits, "gs_n": gs[0], "gs_c": gs[problem.channel_dimension],
        "gs_p": along[last], "ws_g": 0 if weights.lanewise else ws.stride("g") * size,
        "ws_f": ws.stride("g" if weights.lanewise else "o") * size,
        "ws_i": _weight_step(weights) * size, "ws_s": w_size, "errors": errors, "sums": sums, "step_f": padded * width * size,
        "ps_c": channel, "ps_b": block, "panels": panels, "panel_c": panel_c, "channels_all": held,
        "whole": int(problem.last and panels == 1 and held == problem.groups * problem.channels == panel_c),
    }  # fmt: skip
    for i, s in enumerate(spatial):
        words |= {f"out{i}": s.out, f"box{i}": box[i], f"reach{i}": s.reach, f"stride{i}": s.stride, f"map{i}": tables.maps[i]}
        words |= {f"ps{i}": ps[i], f"gs{i}": along[i], f"gp{i}": gp[i]}
    dimensions = range(len(problem.x_shape))
    if not schedule.panel or words["whole"]:
        close = tuple(reversed(dimensions))
    else:
        close = (dimensions[-1], *problem.close(unit=False)) if problem.last else problem.close(unit=True)
    return Program(
        code=code,
        emit=emit_outer,
        names=code.names,
        words=words,
        x_axes={"xs_n": 0, "xs_c": problem.channel_dimension, "xs_w": wide.x, **{f"xs{i}": s.x for i, s in enumerate(spatial)}},
        close=close,
        items=count_segments * weights.groups * splits,
        scratch=sums + share * padded * width * size + 64,
        pack_weights=np.ascontiguousarray,
        pack_bias=np.ascontiguousarray,
        tables=tables.arrays,
        x_skipped=problem.loops.skipped,
        goal=problem.goal,
    )


def _panel(problem: Problem, schedule: Outer, reach: list[int], held: int, panel_c: int) -> tuple[list[int], int, int, int, int]:
    """Bytes between neighbours where a tile reads x: along each axis, between channels, between blocks; blocks; bytes in all."""
    size = problem.bytes
    if not schedule.panel:
        strides = contiguous_strides(problem.x_shape, size)
        channel = strides[problem.channel_dimension]
        return [strides[s.x] for s in problem.loops.spatial], channel, channel * panel_c, 1, 0
    step = panel_c * size if problem.last else size
    axes: list[int] = []
    for length in reversed(reach):
        axes.insert(0, step)
        step *= length
        if not problem.last and len(axes) == 1:
            step = aligned(step)
    if problem.last:
        blocks = -(-held // panel_c)
        return axes, size, step, blocks, step * blocks
    plane = step + 64
    return axes, plane, plane * held, 1, plane * held


def _rows(weights: Weights, taps: Sequence[int], channel: int) -> npt.NDArray[np.int64]:
    """Bytes from the window of a position to what meets each weight of a feature, in the order in which the weights lie."""
    turned = weights.problem.contraction.w.offset > 0  # a kernel turned by 180° lies from its last tap to its first
    channels = np.arange(weights.problem.channels, dtype=np.int64) * channel
    found = np.zeros((), np.int64)
    for axis, tap in zip(weights.spatial, taps, strict=True):
        along = np.arange(axis.kernel, dtype=np.int64) * tap
        found = found[..., None] + (along[::-1] if turned else along)
    places = found.reshape(-1)
    pairs = np.add.outer(channels, places) if weights.channels_first else np.add.outer(places, channels)
    return pairs.reshape(-1)


def _weight_step(weights: Weights) -> int:
    """Elements from the weight of one i to the next."""
    return weights.problem.contraction.w.stride("c") if not weights.turned else 1
