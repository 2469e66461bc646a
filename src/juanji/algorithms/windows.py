"""Schedules of the window tiles: tiles, how many rows are gathered at a time, and what one item of work owns.

No choice made here shows in the bits: which way the lanes lie follows from the layout of the weights, and the order of every sum
from the description.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from juanji.algorithms import costs, neighbours
from juanji.algorithms.problem import aligned
from juanji.algorithms.sited import LEAST_ITEM, OVERLAP, BiasInPlace, Room, Sited, fewest_items, halves
from juanji.jit.local import emit_local
from juanji.jit.program import Program
from juanji.jit.windows import WindowCode

SHORTEST = 16  # bytes of the shortest vector
AHEAD = 2048  # bytes of weights that are asked for beforehand, about
AGAIN = 0.5  # of the time to read weights again that does not hide behind arithmetic
BEST_CUTS = 3  # that every tile is tried with
TURN_CYCLES = 5.0  # per vector of weights that is turned into scratch
PIECE = 128.0  # bytes of a run of weights that cost as much as starting it


@dataclass(frozen=True)
class Cut:
    """What an item of work owns: sites and features of the output or the weights; images, channels and band of the input's gradient."""

    sites: int = 0
    features: int = 0
    images: int = 0
    channels: int = 0
    band: int = 0

    def __str__(self) -> str:
        if self.sites:
            return f"{self.sites} sites × {self.features} features"
        return f"{self.images} images × {self.channels} channels × {self.band} places"


@dataclass(frozen=True)
class Windows:
    """A tile of rows × lines or vectors of weights, `chunk` rows of a stretch of sites gathered at a time, and what an item owns."""

    inner: bool
    rows: int
    across: int
    stretch: int
    chunk: int
    cut: Cut

    def __str__(self) -> str:
        across = "lines, lanes along the sum" if self.inner else "vectors, lanes along the result"
        gathered = f"{self.chunk} rows{f' of {self.stretch} sites' if self.stretch > 1 else ''} gathered"
        return f"local tile {self.rows} rows × {self.across} {across}, {gathered}, items of {self.cut}"


def candidates(s: Sited) -> Iterator[tuple[Windows, float]]:
    """Every tile that fits the registers, with every sensible cut of the work, and its expected cycles."""
    inner = lanes_along_sum(s)
    stretches = neighbours.stretches(s)
    cuts = sorted(_input_cuts(s), key=lambda cut: _cycles(s, cut, 4, 2, stretches[0]))[:BEST_CUTS] if s.produces == "x" else [Cut()]
    for rows, across in itertools.product((1, 2, 3, 4, 6, 8), (1, 2, 4, 8) if inner else (1, 2, 3, 4, 6)):
        if (across > s.lanes and inner) or rows * across + min(rows, across) + 1 > s.machine.registers:
            continue
        for cut, stretch in itertools.product(cuts, stretches):
            if s.produces != "x":
                cut = _site_cut(s, across, stretch)
            yield Windows(inner, rows, across, stretch, _chunk(s, cut, across, stretch), cut), _cycles(s, cut, rows, across, stretch)


def _cycles(s: Sited, cut: Cut, rows: int, across: int, stretch: int) -> float:
    """Multiplying, gathering, adding back and walking; or reading the weights, behind which most of it hides."""
    spec, inner, again, reads, parts = s.spec, lanes_along_sum(s), 1.0, 1.0, 1
    if s.produces == "x":
        bands = -(-spec.size[0] // cut.band)
        again = min(1 + (bands - 1) * (s.axes[0].reach - 1) / spec.size[0], bands)  # rows that two bands compute
        parts = -(-spec.batch // max(cut.images, 1))
        shares = -(-s.channels // cut.channels)
        reads = again * (parts if s.w_bytes > s.machine.l2 else 1)
        if cut.channels < s.channels:  # the items of other channels read what lies between
            reads *= 1 + PIECE / (cut.channels * s.w * (s.kernel if s.along_window and not s.channel_inner else 1))
        lines, results, terms = cut.images * s.turns, cut.channels * s.kernel, s.features
        if stretch > 1:
            row = neighbours.turn_cycles(s, s.features, stretch) + neighbours.adding_cycles(s, cut.channels, stretch)
        else:
            row = row_cycles(s, cut.channels) + s.features * costs.SCALAR_CYCLES + costs.FMA_LATENCY * spec.kernel[0]
        row += costs.LINE_CYCLES / stretch
    elif s.produces == "y":
        shares, lines, results, terms = 1, s.most_rows, s.features, s.depth
        row = row_cycles(s, s.channels, stretch)
    else:
        shares = -(-s.features // cut.features)
        lines, results, terms = (cut.features, s.depth, s.most_rows) if s.along_window else (s.depth, cut.features, s.most_rows)
        row = row_cycles(s, s.channels, stretch)
        row += neighbours.turn_cycles(s, cut.features, stretch) if stretch > 1 else cut.features * costs.SCALAR_CYCLES
    steps = -(-terms // s.lanes) if inner else terms
    loads = rows + across
    step = max(rows * across / costs.FMA_PER_CYCLE, loads / costs.LOADS_PER_CYCLE, costs.FMA_LATENCY) + (0.5 if inner else 2.0)
    if s.produces != "w" and lines > rows:
        seen = lines * terms * s.total
        if seen + 2 * width(s, across) * terms * s.w > s.machine.l1:  # the next tile's weights come beside this one's
            step += costs.SECOND_CACHE_WEIGHTS * (across + (rows if inner and seen > s.machine.l1 else 0))
    finish = rows * across * (3.0 if inner else costs.STORE_CYCLES)
    if stretch > 1 and s.produces == "y":
        row += neighbours.turn_cycles(s, s.features, stretch)
    elif s.produces == "y" and not s.last:
        finish += rows * min(width(s, across), results) * costs.SCATTER_CYCLES
    turn = across * -(-terms // s.lanes) * s.lanes * TURN_CYCLES if weights_turned(s) else 0.0
    segments = s.kernel if s.produces == "x" and segmented(s, cut) else 1
    tiles = -(-lines // rows) * (step * steps + finish + costs.TILE_CYCLES) + turn
    tiles *= segments * -(-results // segments // width(s, across))
    times = s.all_sites * spec.groups * again * shares
    compute = times * (parts * tiles + s.most_rows * row + costs.LINE_CYCLES)
    memory = s.w_bytes / s.machine.bandwidth * s.clock
    return max(compute, reads * memory) + OVERLAP * compute + AGAIN * (reads - 1) * memory


def _chunk(s: Sited, cut: Cut, across: int, stretch: int) -> int:
    """Rows gathered at a time: as many as leave room in the second cache for the weights they meet."""
    rows, channels = (cut.images * s.turns, cut.channels) if s.produces == "x" else (s.most_rows, s.channels)
    pitch, above = window_pitch(s, across, channels * s.kernel), above_pitch(s, across, s.features)
    if stretch > 1:
        return max(min(s.machine.l2 // 2 // (stretch * (pitch + above)), rows), 1)
    return max(min(s.machine.l2 // 4 // (pitch + (0 if s.produces == "y" else above)), rows), 1)


def _site_cut(s: Sited, across: int, stretch: int) -> Cut:
    """Blocks of sites. The features are shared out where sums wait in scratch between chunks of rows, or sites are few."""
    features, chunk = s.features, _chunk(s, Cut(), across, stretch)
    if s.produces == "w":
        step = 1 if s.along_window else width(s, across)
        if chunk < s.most_rows:
            features = min(features, max(s.machine.l2 // 4 // ((s.depth + width(s, across)) * s.total * stretch) // step, 1) * step)
        wanted = -(-fewest_items(s.machine) // (s.all_sites * s.spec.groups))
        features = min(features, -(-s.features // wanted // step) * step)
    items = s.spec.groups * (-(-s.most_rows // chunk) if s.produces == "y" else -(-s.features // features))
    macs = s.depth * (s.features * chunk if s.produces == "y" else features * s.most_rows)
    enough = max(LEAST_ITEM // max(macs, 1), 1)
    sites = min(enough, max(s.all_sites * items // fewest_items(s.machine), 1), s.all_sites)
    return Cut(sites=-(-sites // stretch) * stretch, features=features)


def _input_cuts(s: Sited) -> Iterator[Cut]:
    """Images, channels and bands of places, so that a part of the gradient fits the second cache and there are items to share.

    All items together read the weights once where they own channels; where they own images, as often as there are items, which
    is free if the weights stay in the second cache; bands read and compute twice what lies where two of them meet.
    """
    spec, places = s.spec, math.prod(s.spec.size[1:])
    wanted = min(fewest_items(s.machine), max(spec.macs // LEAST_ITEM, 1))
    found = False
    for images, channels, band in itertools.product(halves(spec.batch), halves(s.channels), halves(spec.size[0])):
        items = -(-spec.batch // images) * -(-s.channels // channels) * -(-spec.size[0] // band) * spec.groups
        fits = images * channels * band * places * s.total <= s.machine.l2 // 2
        least = images == channels == band == 1
        if (fits and wanted <= items <= 4 * wanted) or (least and not found):
            found = True
            yield Cut(images=images, channels=channels, band=band)


def program(s: Sited, schedule: Windows) -> Program:
    """The kernel of a schedule, and its arguments."""
    spec, produces = s.spec, s.produces
    step = (s.feature_step if s.along_window else s.window_step) * s.w
    lines = schedule.inner or weights_turned(s)
    ahead = step * (width(s, schedule.across) if lines else -(-AHEAD // step))  # the next tile, or some steps of this one
    number, run = runs(s, schedule.cut.channels or s.channels)
    code = WindowCode(
        produces=produces,
        x=spec.dtypes.x,
        w=spec.dtypes.w,
        total=spec.dtypes.sum,
        y=spec.dtypes.y,
        axes=spec.n,
        channels_last=s.last,
        along_window=s.along_window,
        channel_inner=s.channel_inner,
        bias=produces == "y" and spec.epilogue.bias,
        activation=spec.epilogue.activation if produces == "y" else None,
        narrowing=s.narrowing,
        rows=schedule.rows,
        across=schedule.across,
        runs=number > 0,
        short=max(1 << (run - 1).bit_length(), SHORTEST // s.total) if 0 < run <= s.lanes else 0,
        asks=_asks(s, schedule),
        square=neighbours.square(s, schedule.stretch) if schedule.stretch > 1 else 0,
        apart=spec.stride[-1] if schedule.stretch > 1 else 1,
    )
    tables = s.tables(s.axes)
    own, room, items = (_input_words if produces == "x" else _site_words)(s, schedule)
    if "map_elements" in code.names:
        tables = (*tables, neighbours.elements(s, schedule.stretch))
        own["map_elements"] = tables[-1].ctypes.data
    words = s.words(s.axes, tables) | {
        "kernel": s.kernel, "depth": s.depth, "chunk": schedule.chunk, "runs": number, "run": run,
        "w_group": s.features * s.feature_step * s.w, "w_step": step, "ahead": ahead, **own,
    }  # fmt: skip
    return Program(
        code=code,
        emit=emit_local,
        names=code.names,
        words=words,
        x_axes=s.views(s.axes),
        close=close(s, number > 0, schedule.stretch),
        items=items,
        scratch=room,
        pack_weights=np.ascontiguousarray,
        pack_bias=BiasInPlace(spec.dtypes.sum),
        tables=tables,
    )


def _asks(s: Sited, schedule: Windows) -> int:
    """Lines, or vectors, of weights that a tile asks for beforehand, so that the tiles that read the same weights ask for all."""
    passes = max(-(-min(schedule.chunk, s.most_rows) // schedule.rows), 1)
    if s.produces == "w" or weights_turned(s) or (passes > 1 and not schedule.inner):
        return 0  # what is turned is asked for line by line
    return -(-schedule.across // passes)


def _site_words(s: Sited, schedule: Windows) -> tuple[dict[str, int], int, int]:
    """The words of the products whose items own sites; bytes of scratch; items."""
    cut, chunk, stretch, room = schedule.cut, schedule.chunk, schedule.stretch, Room()
    pitch, above = window_pitch(s, schedule.across, s.depth), above_pitch(s, schedule.across, cut.features)
    site_pitch, above_site = chunk * pitch | 64, chunk * above | 64
    words = {
        "block": cut.sites // stretch, "all_sites": neighbours.all_stretches(s, stretch),
        "window_pitch": pitch, "site_pitch": site_pitch, "windows": room.take(stretch * site_pitch), "table": room.take(chunk * 8),
    }  # fmt: skip
    if stretch > 1:
        words |= neighbours.words(s, stretch) | neighbours.lines(s, stretch) | {"patch": room.take(neighbours.patch(s, stretch).bytes)}
    blocks, chunks = -(-words["all_sites"] // words["block"]), -(-s.most_rows // chunk)
    if s.produces == "y":
        words |= {"chunks": chunks, "biases": s.spec.features, "sums_pitch": above, "sums_site": above_site}
        words["sums"] = room.take(stretch * above_site if stretch > 1 else 0)
        return words, room.bytes, blocks * s.spec.groups * chunks
    shares = -(-s.features // cut.features)
    lines, results = (cut.features, s.depth) if s.along_window else (s.depth, cut.features)
    pitch = aligned((results + width(s, schedule.across)) * s.total)
    words |= {
        "shares": shares, "share": cut.features, "sums_pitch": pitch, "sums_site": lines * pitch,
        "sums": room.take(stretch * lines * pitch if chunks > 1 else 0),
        "above_pitch": above, "above_site": above_site, "above": room.take(stretch * above_site),
        "stream": int(s.w_bytes > 2 * s.machine.l2),
    }  # fmt: skip
    return words, room.bytes, blocks * s.spec.groups * shares


def _input_words(s: Sited, schedule: Windows) -> tuple[dict[str, int], int, int]:
    """The words of the gradient of the input; bytes of scratch; items."""
    spec, cut, chunk, stretch, room = s.spec, schedule.cut, schedule.chunk, schedule.stretch, Room()
    pitch, above = window_pitch(s, schedule.across, cut.channels * s.kernel), above_pitch(s, schedule.across, s.features)
    words = {
        "blocks_c": -(-s.channels // cut.channels), "block_c": cut.channels,
        "segments": s.kernel if segmented(s, cut) else 1, "unit": 1 if segmented(s, cut) else s.kernel,
        "w_c": (1 if s.channel_inner else s.kernel) * s.window_step * s.w, "w_segment": s.channels * s.window_step * s.w,
        "windows": room.take(stretch * (chunk * pitch | 64)), "window_pitch": pitch, "site_pitch": chunk * pitch | 64,
        "above": room.take(stretch * (chunk * above | 64)), "above_pitch": above, "above_site": chunk * above | 64,
        "all_sites": neighbours.all_stretches(s, stretch),
        "turned": room.take(turned_bytes(s, schedule.across)), "table": room.take(chunk * 8 * (1 + spec.n)),
        **s.held(s.axes, room, cut.images, cut.channels, cut.band),
    }  # fmt: skip
    if stretch > 1:
        words |= neighbours.words(s, stretch) | {"patch": room.take(neighbours.turned_bytes(s, cut.channels, stretch))}
    items = -(-spec.batch // cut.images) * -(-s.channels // cut.channels) * -(-spec.size[0] // cut.band) * spec.groups
    return words, room.bytes, items


# How windows lie ------------------------------------------------------------------------------------------------------------


def lanes_along_sum(s: Sited) -> bool:
    """Whether a tile's lanes lie along the sum: where the weights that are neighbours meet in it."""
    return s.produces == "y" and s.along_window


def segmented(s: Sited, cut: Cut) -> bool:
    """Whether the weights of an item's channels lie apart, tap by tap."""
    return s.channel_inner and cut.channels < s.channels


def weights_turned(s: Sited) -> bool:
    """Whether a tile's weights are turned beforehand: those of the gradient of the input, where they lie along its sum."""
    return s.produces == "x" and not s.along_window


def width(s: Sited, across: int) -> int:
    """Results across a tile."""
    return across if lanes_along_sum(s) else across * s.lanes


def turned_bytes(s: Sited, across: int) -> int:
    """Room for a tile's weights, turned."""
    return -(-s.features // s.lanes) * s.lanes * width(s, across) * s.total if weights_turned(s) else 0


def window_pitch(s: Sited, across: int, depth: int) -> int:
    """Bytes from one gathered window to the next: an odd number of cache lines, room for the last tile's overhang."""
    return aligned((depth + max(width(s, across), s.lanes)) * s.total) | 64


def above_pitch(s: Sited, across: int, features: int) -> int:
    """Bytes from what is gathered above one row to the next."""
    return window_pitch(s, across, features)


def runs(s: Sited, channels: int) -> tuple[int, int]:
    """How many runs of neighbours a row of taps is, in the input as in the window, and their length; no runs where it is none.

    Runs are a few elements long: only machines with masks move them as vectors.
    """
    taps = s.spec.kernel[-1]
    forward = taps == 1 or (s.spec.dilation[-1] == 1 and not s.spec.flip)
    if not forward or not s.machine.target.masks:
        return 0, 0
    if s.last:
        return (1, taps * channels) if s.channel_inner and channels == s.spec.channels else (0, 0)
    return (channels, taps) if taps > 1 and (channels == 1 or not s.channel_inner) else (0, 0)


def close(s: Sited, in_runs: bool, stretch: int) -> tuple[int, ...]:
    """The first operand's dimensions that must lie close together, innermost first."""
    last = s.spec.n + 1
    side_by_side = stretch > 1 or (in_runs and s.produces != "x")
    if s.last:
        return (last, last - 1) if side_by_side else (last,)
    return (last,) if side_by_side else ()


def row_cycles(s: Sited, channels: int, stretch: int = 1) -> float:
    """To gather, or to add back, the window of one row."""
    if stretch > 1:
        return neighbours.window_cycles(s, stretch)
    number, run = runs(s, channels)
    if number:
        return s.kernel / s.spec.kernel[-1] * (2 * costs.PLACE_CYCLES + number * -(-run // s.lanes) * costs.COPY_CYCLES)
    vectors = s.last and s.channel_inner
    per_tap = channels / s.lanes * costs.COPY_CYCLES if vectors else channels * costs.SCALAR_CYCLES
    return s.kernel * (costs.PLACE_CYCLES + per_tap)
