"""Schedules of the site tile: where it can be used, and what an item of work owns."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from juanji.algorithms import costs
from juanji.algorithms.sited import LEAST_ITEM, NO_AXIS, OVERLAP, Axis, BiasInPlace, Room, Sited, fewest_items, halves
from juanji.jit.program import Program
from juanji.jit.sites import SiteCode, emit_sites

TURN_CYCLES = 8.0  # per vector of a square that is turned in registers
FAR_WEIGHTS = 1.6  # times as long, where turned weights leave the first cache
VECTOR_CYCLES = 60.0  # to start a vector of sites
LEAST_STEP = 1.5  # cycles of a step of a single sum: another row's begins before it ends
TAP_CYCLES = 12.0  # to find where a tap's vector lies


@dataclass(frozen=True)
class Sites:
    """Lanes along neighbouring sites; an item owns vectors of sites, or images and a band of the input's gradient."""

    across: int
    block: int = 0
    images: int = 0
    band: int = 0

    def __str__(self) -> str:
        owned = f"{self.block} vectors of sites" if self.block else f"{self.images} images × {self.band} places"
        return f"site tile {self.across} across, lanes along the last axis, items of {owned}"


def accepts(s: Sited) -> bool:
    """Whether neighbouring sites have neighbouring inputs and outputs, and the weights of a vector of them stay in the second cache."""
    planes = not s.last or s.spec.channels == s.spec.features == 1
    scratch = (s.spec.features * s.depth + s.spec.channels * s.kernel + s.spec.features) * s.lanes * s.total
    return planes and 2 * s.sites[-1] > s.lanes and scratch <= s.machine.l2 // 2


def candidates(s: Sited) -> Iterator[tuple[Sites, float]]:
    """Every schedule, with its expected cycles; none where the tile is no use."""
    if not accepts(s):
        return
    axes = _axes(s)
    number = s.all_sites // s.sites[-1] * -(-s.sites[-1] // s.lanes)
    row, vector = _cycles(s)
    far = FAR_WEIGHTS if s.spec.features * s.depth * s.lanes * s.total > s.machine.l1 else 1.0
    for across in (1, 2, 4, 8):
        product = far * _product_cycles(s, across)
        sites = number * (vector + s.most_rows * (row + product))
        memory = s.w_bytes / s.machine.bandwidth * s.clock
        if s.produces != "x":
            enough = max(LEAST_ITEM * number // max(s.spec.macs, 1), 1)
            yield Sites(across, block=min(enough, max(number // fewest_items(s.machine), 1))), max(sites, memory) + OVERLAP * sites
            continue
        wanted = min(fewest_items(s.machine), max(s.spec.macs // LEAST_ITEM, 1))
        for images, band in itertools.product(halves(s.spec.batch), halves(axes[0].size)):
            bands = -(-axes[0].size // band)
            items = -(-s.spec.batch // images) * bands
            fits = images * s.spec.channels * band * math.prod(axis.size for axis in axes[1:]) * s.total <= s.machine.l2 // 2
            if (fits and wanted <= items <= 4 * wanted) or images == band == 1:
                again = min(1 + (bands - 1) * axes[0].reach / axes[0].size, bands)
                work = sites + (-(-s.spec.batch // images) - 1) * number * vector  # every share of the images turns the weights
                yield Sites(across, images=images, band=band), again * (max(work, memory) + OVERLAP * work)


def _cycles(s: Sited) -> tuple[float, float]:
    """Of one row of a vector of sites, its products apart; of the vector, once for all rows."""
    tap = TAP_CYCLES + s.spec.channels * (costs.COPY_CYCLES if s.spec.stride[-1] == 1 else s.lanes * costs.SCALAR_CYCLES * 2)
    row = s.kernel * tap + s.spec.features * costs.STORE_CYCLES + costs.TILE_CYCLES
    squares = -(-s.spec.features * s.depth // s.lanes)
    return row, VECTOR_CYCLES + squares * s.lanes * TURN_CYCLES


def _product_cycles(s: Sited, across: int) -> float:
    """Of the products of one row of a vector of sites, their weights in the first cache. A tile's last results may be computed twice."""
    if s.produces == "w":
        return 3.0 * s.spec.features * s.depth
    results, terms = (s.features, s.depth) if s.produces == "y" else (s.depth, s.features)
    loads = (1 + across) / across / costs.LOADS_PER_CYCLE
    return s.spec.groups * terms * -(-results // across) * across * max(loads, LEAST_STEP / across)


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
        neighbours=axes[-1].stride == 1,
        bias=produces == "y" and spec.epilogue.bias,
        activation=spec.epilogue.activation if produces == "y" else None,
        narrowing=s.narrowing,
        across=schedule.across,
    )
    tables, room, vector = s.tables(axes), Room(), s.lanes * s.total
    weights, vectors = spec.features * s.depth, -(-s.sites[-1] // s.lanes)
    by_tap = s.channel_inner and s.channels > 1
    words = s.words(axes, tables) | {
        "vectors": vectors, "all_weights": weights, "all_features": spec.features, "depth": s.depth,
        "turned": room.take(-(-weights // s.lanes) * s.lanes * vector), "windows": room.take(spec.channels * s.kernel * vector),
        "above": room.take(spec.features * vector), "blocks_c": spec.groups if by_tap else 1,
        "block_c": s.channels if by_tap else spec.channels, "tap_step": (s.channels if by_tap else 1) * vector,
        "channel_step": (1 if by_tap else s.kernel) * vector, "o_step": s.feature_step * vector, "r_step": s.window_step * vector,
        "group_step": s.features * s.feature_step * vector, "reach": axes[-1].reach,
    }  # fmt: skip
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
    """At least two axes: the items of the input's gradient own bands of the first, the lanes lie along the last."""
    return [NO_AXIS, *s.axes] if len(s.axes) == 1 else s.axes
