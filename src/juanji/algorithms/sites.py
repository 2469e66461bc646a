"""Schedules of the site tile: where it can be used, and what an item of work owns."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from juanji.algorithms import costs, neighbours
from juanji.algorithms.sited import LEAST_ITEM, NO_AXIS, OVERLAP, Axis, BiasInPlace, Room, Sited, fewest_items, halves
from juanji.jit.emit import LINE
from juanji.jit.program import Program
from juanji.jit.site_rows import SiteCode
from juanji.jit.sites import emit_sites

TURN_CYCLES = 8.0  # per vector of a square that is turned in registers
FAR_WEIGHTS = 1.0  # more per vector of weights that a step reads, where the first cache does not hold all
FAR_WINDOWS = 0.6  # likewise per row, where it does not hold what a tile meets
VECTOR_CYCLES = 60.0  # to start a vector of sites
ROW_CYCLES = 15.0  # to note a row
TAP_CYCLES = 12.0  # to find where a tap's vector lies
ADD_CYCLES = 4.0  # to add a vector to the input's gradient
FEW_FEATURES = 2  # that windows are read in place for
MOST_ROWS = 32  # that a sum over rows takes at a time


@dataclass(frozen=True)
class Sites:
    """A tile of rows × features, or of elements of a window × either, with lanes along neighbouring sites; `chunk` rows of positions
    at a time. An item owns vectors of sites, or images and a band of the input's gradient."""

    rows: int
    across: int
    chunk: int
    block: int = 0
    images: int = 0
    band: int = 0

    def __str__(self) -> str:
        owned = f"{self.block} vectors of sites" if self.block else f"{self.images} images × {self.band} places"
        return f"site tile {self.rows} × {self.across}, lanes along the last axis, {self.chunk} rows at a time, items of {owned}"


def accepts(s: Sited) -> bool:
    """Whether neighbouring sites have neighbouring inputs and outputs, and the weights of a vector of them stay in the second cache."""
    planes = (not s.last or s.spec.channels == s.spec.features == 1) and s.spec.stride[-1] in neighbours.PARTED
    scratch = (s.spec.features * s.depth + s.spec.channels * s.kernel + s.spec.features) * s.lanes * s.total
    return planes and 2 * _sites(s) > s.lanes and scratch <= s.machine.l2 // 2


def _sites(s: Sited) -> int:
    """Sites along the last axis: fewer than half a vector are repeated, until they nearly fill it."""
    sites = s.sites[-1]
    return sites if 2 * sites > s.lanes else s.lanes // sites * sites


def _in_place(s: Sited) -> bool:
    """Whether windows inside the array are read where they lie: as often as there are features, and from planes that may share sets of
    the first cache."""
    return s.produces != "x" and s.spec.stride[-1] == 1 and s.spec.dtypes.x == s.spec.dtypes.sum and s.features <= FEW_FEATURES


def _window_bytes(s: Sited) -> int:
    """From the windows of one row to the next, or their gradients."""
    if s.produces == "x":
        return s.spec.channels * s.kernel * s.lanes * s.total | LINE
    return s.spec.groups * neighbours.patch(s, s.lanes).bytes | LINE


def _chunk(s: Sited, rows: int, every: int) -> int:
    """Rows at a time: no more than leave room for the weights in the second cache."""
    return max(min(rows, every, s.machine.l2 // 4 // _window_bytes(s)), 1)


def _rows(s: Sited, images: int) -> int:
    """Rows of a vector of sites."""
    *outer, last = _axes(s)
    return images * math.prod(axis.turns for axis in outer) * -(-last.out // last.sites)


def candidates(s: Sited) -> Iterator[tuple[Sites, float]]:
    """Every schedule, with its expected cycles; none where the tile is no use."""
    if not accepts(s):
        return
    axes = _axes(s)
    number = math.prod(axis.sites for axis in axes[:-1]) * -(-axes[-1].sites // s.lanes)
    row, vector = _cycles(s)
    memory = s.w_bytes / s.machine.bandwidth * s.clock
    few = (1, 2, 3, 4, 6)
    taps, others = (*few, 9), (*few, 8)  # nine of them are a common kernel
    for rows, across in itertools.product(taps if s.produces == "w" else others, taps if s.produces == "x" else few):
        if rows * across + (rows if s.produces == "w" else across) + 1 > s.machine.registers:
            continue
        if s.produces != "x":
            every = _rows(s, s.spec.batch)
            chunk = _chunk(s, rows if s.produces == "y" else MOST_ROWS, every)
            sites = number * (vector + every * row + _product_cycles(s, rows, across, every))
            enough = max(LEAST_ITEM * number // max(s.spec.macs, 1), 1)
            yield Sites(rows, across, chunk, min(enough, max(number // fewest_items(s.machine), 1))), max(sites, memory) + OVERLAP * sites
            continue
        wanted = min(fewest_items(s.machine), max(s.spec.macs // LEAST_ITEM, 1))
        for images, band in itertools.product(halves(s.spec.batch), halves(axes[0].size)):
            bands, shares = -(-axes[0].size // band), -(-s.spec.batch // images)
            fits = images * s.spec.channels * band * math.prod(axis.size for axis in axes[1:]) * s.total <= s.machine.l2 // 2
            if (fits and wanted <= 2 * shares * bands <= 8 * wanted) or images == band == 1:
                again, every = min(1 + (bands - 1) * (axes[0].reach - 1) / axes[0].size, bands), _rows(s, images)
                touched = min(bands, -(-axes[0].out // axes[0].sites) + 1)  # bands that meet a site
                work = shares * number * (touched * vector + again * (every * row + _product_cycles(s, rows, across, every)))
                schedule = Sites(rows, across, _chunk(s, rows, every), images=images, band=band)
                yield schedule, max(work, again * memory) + OVERLAP * work


def _cycles(s: Sited) -> tuple[float, float]:
    """Of one row of a vector of sites, its products apart; of the vector, once for all rows."""
    axis, lines = s.axes[-1], s.spec.channels * s.kernel // s.spec.kernel[-1]
    if s.produces == "x":
        window = s.kernel * (TAP_CYCLES + s.spec.channels * ADD_CYCLES)
    else:
        vectors = -(-(s.lanes + (axis.reach - 1) // axis.stride) // s.lanes) * axis.stride
        window = lines * vectors * costs.COPY_CYCLES + s.kernel * TAP_CYCLES
        if _in_place(s):
            window *= min((axis.reach - 1 + s.lanes) / axis.out, 1.0)  # of those at the ends alone
    squares = -(-s.spec.features * s.depth // s.lanes)
    return window + s.spec.features * costs.STORE_CYCLES + ROW_CYCLES, VECTOR_CYCLES + squares * s.lanes * TURN_CYCLES


def _product_cycles(s: Sited, rows: int, across: int, every: int) -> float:
    """Of the products of all rows of a vector of sites. A tile's last results may be computed twice."""
    crossing = costs.CROSSING if s.produces != "x" and s.spec.kernel[-1] > 1 else 1.0
    loads = (rows * crossing + across) / costs.LOADS_PER_CYCLE
    step = max(rows * across / costs.FMA_PER_CYCLE, loads, costs.FMA_LATENCY)
    vector = s.lanes * s.total
    if s.produces == "w":
        seen, finish = min(every, MOST_ROWS) * neighbours.patch(s, s.lanes).bytes, rows * across * 2 * costs.STORE_CYCLES
        tiles, terms = -(-s.features // across) * -(-s.depth // rows), every
        finish *= -(-every // MOST_ROWS)
    else:
        results, terms = (s.features, s.depth) if s.produces == "y" else (s.depth, s.features)
        tiles, finish = -(-every // rows) * -(-results // across), rows * across * costs.STORE_CYCLES
        held = neighbours.patch(s, s.lanes).bytes if s.produces == "y" else (results + terms) * vector
        seen = rows * held + across * terms * vector
        step += FAR_WEIGHTS * across * (s.features * s.depth * vector > s.machine.l1)
    if seen > s.machine.l1:
        step += FAR_WINDOWS * rows
    return s.spec.groups * tiles * (terms * step + finish + costs.TILE_CYCLES)


def program(s: Sited, schedule: Sites) -> Program:
    """The kernel of a schedule, and its arguments."""
    spec, produces, axes = s.spec, s.produces, _axes(s)
    code = SiteCode(
        produces=produces,
        x=spec.dtypes.x,
        w=spec.dtypes.w,
        total=spec.dtypes.sum,
        y=spec.dtypes.y,
        axes=len(axes),
        apart=axes[-1].stride,
        in_place=_in_place(s),
        bias=produces == "y" and spec.epilogue.bias,
        activation=spec.epilogue.activation if produces == "y" else None,
        narrowing=s.narrowing,
        rows=schedule.rows,
        across=schedule.across,
    )
    tables, room, vector = s.tables(axes), Room(), s.lanes * s.total
    weights, vectors, chunk = spec.features * s.depth, -(-axes[-1].sites // s.lanes), schedule.chunk
    by_tap = s.channel_inner and s.channels > 1
    words = s.words(axes, tables) | {
        "vectors": vectors, "all_weights": weights, "all_features": spec.features, "depth": s.depth,
        "turned": room.take(-(-weights // s.lanes) * s.lanes * vector), "chunk": chunk, "period": s.sites[-1], "stretch": s.lanes,
        "above": room.take((1 if produces == "y" else chunk) * spec.features * vector), "above_pitch": spec.features * vector,
        "notes": room.take(chunk * code.note), "tap_step": (s.channels if by_tap else 1) * vector,
        "channel_step": (1 if by_tap else s.kernel) * vector, "o_step": s.feature_step * vector, "r_step": s.window_step * vector,
        "group_step": s.features * s.feature_step * vector, "reach": axes[-1].reach,
    }  # fmt: skip
    for i, axis in enumerate(axes):
        more = s.lanes - 1 if i == len(axes) - 1 else 0
        words |= {f"first{i}": axis.low, f"final{i}": axis.low + axis.size - axis.reach - more}
    if produces == "x":
        words |= {"blocks_c": spec.groups if by_tap else 1, "block_c": s.channels if by_tap else spec.channels}
    else:
        tables = (*tables, neighbours.elements(s, s.lanes))
        words |= neighbours.lines(s, s.lanes) | {"map_elements": tables[-1].ctypes.data}
        words |= {"offsets": room.take(8 * s.depth), "square": room.take(s.lanes * vector)}
    words |= {"windows": room.take(chunk * _window_bytes(s)), "windows_pitch": _window_bytes(s)}
    if produces == "x":
        words |= s.held(axes, room, schedule.images, spec.channels, schedule.band)
        items = -(-spec.batch // schedule.images) * -(-axes[0].size // schedule.band)
    else:
        words["block"], words["all_sites"] = schedule.block, s.all_sites // s.sites[-1] * vectors
        items = -(-words["all_sites"] // schedule.block)
    last = spec.n + 1
    return Program(
        code=code,
        emit=emit_sites,
        names=code.names,
        words=words,
        x_axes=s.views(axes),
        close=(last, last - 1) if s.last else (last,),
        items=items,
        scratch=room.bytes,
        pack_weights=np.ascontiguousarray,
        pack_bias=BiasInPlace(spec.dtypes.sum),
        tables=tables,
    )


def _axes(s: Sited) -> Sequence[Axis]:
    """At least two axes: the items of the input's gradient own bands of the first, the lanes lie along the last, whose sites repeat."""
    *outer, last = s.axes
    return [*(outer or [NO_AXIS]), replace(last, sites=_sites(s))]
