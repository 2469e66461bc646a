"""The direct sum over the window, by the space tile or the channel tile, whichever is expected to be faster.

The cost of a schedule is counted in cycles of one core: multiply-adds and loads that two ports each share, stores, and
what it costs to fill lines and panels. `bench/calibrate.py` measured the constants.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.algorithms.loops import NO_AXIS, Loops, Spatial, loops
from juanji.contraction import Contraction, lower
from juanji.jit.channel import ChannelCode, emit_channel
from juanji.jit.memory import empty_aligned
from juanji.jit.program import Program
from juanji.jit.space import SpaceCode, emit_space
from juanji.machine import Machine
from juanji.spec import Convolution

Array = npt.NDArray[Any]

FMA_PER_CYCLE = 2.0
LOADS_PER_CYCLE = 2.0
FMA_LATENCY = 4.0
CROSSING = 1.6  # an unaligned vector load costs this much, because many cross a cache line
COPY_CYCLES = 2.5  # per vector that passes through a line buffer
LINE_CYCLES = 25.0  # to start a line
TILE_CYCLES = 25.0  # to start a tile
SECOND_CACHE = 0.5  # per vector of weights that comes from the second cache
X_LINE = 1.5  # per line of x that a step takes from the second cache
PLANE, FAR_PLANE = 0.3, 1.0  # per reduction step whose elements of x lie planes apart, in a panel and in the input
NEAR_PLANES = 64  # planes whose pages the first table of addresses holds
ITEM_MACS = 1 << 20  # an item of work should not be smaller: a thread takes several
MOST_TAPS = 64  # kernels with a pattern of zeros are unrolled tap by tap up to this many


@dataclass(frozen=True)
class Space:
    """Lanes along the innermost spatial axis."""

    rows: int
    features: int
    vectors: int
    block: int  # columns
    band: int  # rows of an item

    def __str__(self) -> str:
        tile = f"{self.rows} rows × {self.features} features × {self.vectors} vectors"
        return f"space tile {tile}, blocks of {self.block} columns, bands of {self.band} rows"


@dataclass(frozen=True)
class Channel:
    """Lanes along the output channels; lanewise: along the channels of a depthwise layer."""

    pixels: int
    vectors: int
    block: int  # channels whose weights stay in the first cache
    box: tuple[int, ...]  # output positions of a chunk
    splits: int  # shares of the features
    panel: bool
    lanewise: bool
    prefetch: bool

    def __str__(self) -> str:
        kind = "lane-wise tile" if self.lanewise else "channel tile"
        source = "through a panel" if self.panel else "read in place"
        return (
            f"{kind} {self.pixels} pixels × {self.vectors} vectors, {self.block} channels at a time, "
            f"chunks of {'×'.join(map(str, self.box))} pixels {source}, {self.splits} shares of the features"
        )


Schedule = Space | Channel


def accepts(spec: Convolution) -> str | None:
    """None, or why this algorithm does not compute the description yet."""
    if not spec.shared:
        return "tiled and locally connected weights are not built yet"
    return None


def choose(spec: Convolution, machine: Machine) -> tuple[Schedule, float]:
    """The schedule with the least expected cycles, and these."""
    best = min(candidates(spec, machine), key=lambda found: found[1])
    return best


def candidates(spec: Convolution, machine: Machine) -> Iterator[tuple[Schedule, float]]:
    """Every schedule that fits the machine's registers, with its expected cycles on one core."""
    problem = Problem(spec, machine)
    yield from _spaces(problem)
    if problem.taps is None:
        yield from _channels(problem)


class Problem:
    """A description with what the schedules look at."""

    def __init__(self, spec: Convolution, machine: Machine):
        self.spec, self.machine = spec, machine
        self.contraction: Contraction = lower(spec)
        self.loops: Loops = loops(self.contraction)
        c = self.contraction
        self.batch, self.groups, self.features, self.channels = (c.extent(axis) for axis in ("n", "g", "o", "c"))
        self.bytes = 8 if spec.dtypes.sum == "float64" else 4
        self.lanes = machine.vector_bits // 8 // self.bytes
        self.last = spec.layout == "channels_last"
        self.kernel = math.prod(s.kernel for s in self.loops.spatial)
        taps = self.loops.taps
        self.taps = taps if taps is not None and len(taps) <= MOST_TAPS else None


# The space tile ---------------------------------------------------------------------------------------------------------


def _space_axes(problem: Problem) -> tuple[Spatial, ...]:
    spatial = problem.loops.spatial
    return (NO_AXIS, *spatial) if len(spatial) == 1 else spatial


def _spaces(problem: Problem) -> Iterator[tuple[Space, float]]:
    spec, machine = problem.spec, problem.machine
    *outer, high, wide = _space_axes(problem)
    depth = problem.channels * math.prod(s.kernel for s in outer)
    taps = high.kernel * wide.kernel if problem.taps is None else len(problem.taps)
    repeats = problem.batch * problem.groups * math.prod(s.out for s in outer)
    direct = spec.dtypes.x == spec.dtypes.sum and wide.stride == 1 and not (problem.last and problem.spec.channels > 1)
    unit_y = not (problem.last and spec.features > 1)
    for rows, features, vectors in itertools.product((1, 2, 3, 4, 5, 6, 8), (1, 2, 3, 4, 6, 8), (1, 2, 3, 4)):
        if rows > high.out or features > problem.features or rows * features * vectors + vectors + 1 > machine.registers:
            continue
        width = vectors * problem.lanes
        window = (rows - 1) * high.stride + (high.kernel - 1) * high.dilation + 1
        block, blocks = _block(wide, width, window * depth * problem.bytes, problem)
        met = len({r * high.stride + k * high.dilation for r in range(rows) for k in range(high.kernel)})
        fma = rows * features * vectors * taps * depth
        loads = depth * (met * wide.kernel * vectors * CROSSING + rows * features * taps)
        busy = max(fma / FMA_PER_CYCLE, loads / LOADS_PER_CYCLE, taps * depth * FMA_LATENCY)
        stores = rows * features * vectors * (2 if unit_y else 3 * problem.lanes)
        tile = busy + stores + TILE_CYCLES + depth * met * 2
        tiles = -(-block // width) * -(-problem.features // features)
        elements = block * wide.stride + wide.reach
        scalar = (problem.last and spec.channels > 1) or wide.stride > 1
        line = LINE_CYCLES + elements / problem.lanes * (COPY_CYCLES if not scalar else 1.2 * problem.lanes)
        if direct and (blocks > 2 or not wide.padded) and block >= width:
            line = 8.0
        cycles = repeats * -(-high.out // rows) * blocks * (tiles * tile + depth * window * line)
        macs = block * rows * problem.features * taps * depth
        band = min(rows * max(ITEM_MACS // macs, 1), high.out)
        yield Space(rows, features, vectors, block, band), cycles


def _block(wide: Spatial, width: int, window: int, problem: Problem) -> tuple[int, int]:
    """Columns of a block, and how many blocks: the lines of a window stay in the first cache, or in half of the second."""
    room = problem.machine.l1 // 2 if window * 8 * width < problem.machine.l1 else problem.machine.l2 // 2
    most = max(room // window // width, 4) * width
    blocks = -(-wide.out // most)
    even = -(-wide.out // blocks)
    if wide.out >= width:
        even = min(-(-even // width) * width, wide.out)
    return even, -(-wide.out // even)


def _space_program(problem: Problem, schedule: Space) -> Program:
    spec, dtypes = problem.spec, problem.spec.dtypes
    axes = _space_axes(problem)
    *outer, high, wide = axes
    kernel = (high.kernel, wide.kernel)
    taps = problem.taps
    code = SpaceCode(
        x=dtypes.x,
        total=dtypes.sum,
        y=dtypes.y,
        outer=len(outer),
        kernel=kernel,
        stride=(high.stride, wide.stride),
        dilation=(high.dilation, wide.dilation),
        unit_x=not (problem.last and spec.channels > 1),
        unit_y=not (problem.last and spec.features > 1),
        bias=spec.epilogue.bias,
        activation=spec.epilogue.activation,
        taps=taps and tuple((0, *tap)[-2:] for tap in taps) if taps is None or not outer else None,
        rows=schedule.rows,
        features=schedule.features,
        vectors=schedule.vectors,
    )
    depth = problem.channels * math.prod(s.kernel for s in outer)
    blocks_f = -(-problem.features // schedule.features)
    blocks_w = -(-wide.out // schedule.block)
    bands = -(-high.out // schedule.band)
    width = schedule.vectors * problem.lanes
    reach = (schedule.block - 1) * wide.stride + wide.reach
    slack = schedule.block < width
    need = max(reach, (width - 1) * wide.stride + wide.reach) if slack else reach
    phase = _aligned(-(-need // wide.stride) * problem.bytes)
    line = phase * wide.stride
    slots = depth * code.window
    ys = _strides(spec.y_shape, _itemsize(dtypes.y))
    tables = _Tables(problem, axes)
    words = {
        "constants": tables.constants, "map_w": tables.maps[-1], "size_w": wide.size, "low_w": wide.low,
        "phase": phase, "line": line, "slack": int(slack), "groups": problem.groups, "channels": problem.channels,
        "blocks_f": blocks_f, "count_f": problem.features, "ys_n": ys[0], "ys_c": ys[_channel_dimension(problem)],
        "ys_h": ys[high.y] if high.y >= 0 else 0, "ys_w": ys[wide.y], "bands": bands, "band": schedule.band,
        "out_h": high.out, "map_h": tables.maps[-2], "blocks_w": blocks_w, "block_w": schedule.block, "out_w": wide.out,
        "depth": depth, "parameter": 0,
    }  # fmt: skip
    for i, axis in enumerate(outer):
        words |= {f"out{i}": axis.out, f"taps{i}": axis.kernel, f"stride{i}": axis.stride, f"dilation{i}": axis.dilation}
        words |= {f"map{i}": tables.maps[i], f"ys{i}": ys[axis.y]}
    x_axes = {"xs_n": 0, "xs_c": _channel_dimension(problem), "xs_h": high.x, "xs_w": wide.x}
    x_axes |= {f"xs{i}": axis.x for i, axis in enumerate(outer)}
    starts = [min(block * schedule.features, problem.features - schedule.features) for block in range(blocks_f)]
    order = np.array(starts)[:, None] + np.arange(schedule.features)
    return Program(
        code=code,
        emit=emit_space,
        names=code.names,
        words=words,
        x_axes=x_axes,
        contiguous=_contiguous(problem, wide if code.unit_x else None),
        items=problem.batch * problem.groups * math.prod(s.out for s in outer) * bands * blocks_w,
        scratch=_aligned(slots * 8) + slots * line + 64,
        pack_weights=partial(_pack_space, problem.contraction, dtypes.sum, order),
        pack_bias=partial(np.ascontiguousarray, dtype=dtypes.sum),
        tables=tables.arrays,
    )


def _pack_space(contraction: Contraction, dtype: str, order: npt.NDArray[np.int64], w: Array) -> Array:
    """Weights as [group][feature block][channel and taps][feature of the block]."""
    view = _canonical(contraction, w)
    groups, features = view.shape[:2]
    flat = view.reshape(groups, features, -1)
    chosen = flat[:, order].transpose(0, 1, 3, 2)
    packed = empty_aligned(chosen.shape, dtype)
    packed[...] = chosen
    return packed


# The channel tile -------------------------------------------------------------------------------------------------------


def _channels(problem: Problem) -> Iterator[tuple[Channel, float]]:
    spec, machine = problem.spec, problem.machine
    spatial = problem.loops.spatial
    lanewise = problem.last and spec.groups == spec.channels == spec.features and spec.groups > 1
    if lanewise:
        groups, features, channels = 1, spec.features, 1
    else:
        groups, features, channels = problem.groups, problem.features, problem.channels
    steps = problem.kernel * channels
    must_copy = spec.dtypes.x != spec.dtypes.sum or any(s.padded for s in spatial)
    for vectors in range(1, 5):
        width = vectors * problem.lanes
        if vectors > 1 and (vectors - 1) * problem.lanes >= features:
            continue
        blocks_f = -(-features // width)
        blocks = (1,) if lanewise else _channel_blocks(problem, width * problem.bytes)
        box, chunks = _box(problem, width, spec.channels if lanewise else channels)
        chunk = math.prod(box)
        splits = _splits(groups, chunks, blocks_f, steps * features * chunk)
        inside = math.prod((b - 1) * s.stride + s.reach for b, s in zip(box, spatial, strict=True)) * spec.channels / groups
        lines = inside / (problem.lanes if problem.last else min(problem.lanes, box[-1] * spatial[-1].stride))
        for block, panel in itertools.product(blocks, (False, True)):
            if not panel and (must_copy or (lanewise and spec.channels % width)):
                continue
            prefetch = steps * features * problem.bytes > machine.l2 // 4
            # What one reduction step costs beside its multiply-adds: weights that the first cache does not hold, x from afar.
            far = SECOND_CACHE * vectors if block * problem.kernel * width * problem.bytes > machine.l1 * 3 // 4 else 0.0
            if not problem.last:
                far += PLANE if panel else FAR_PLANE if block <= NEAR_PLANES else 4 * FAR_PLANE
            rows = inside / ((box[-1] - 1) * spatial[-1].stride + spatial[-1].reach) / (channels if problem.last else 1)
            fill = chunks * splits * (lines * COPY_CYCLES * 2 + rows * LINE_CYCLES) if panel else 0.0
            for pixels in range(2, 13):
                if pixels > max(chunk, 2) or pixels * vectors + vectors + (not lanewise) > machine.registers:
                    continue
                tiles = -(-chunk // pixels)
                loads = pixels * (vectors if lanewise else 1) + vectors
                step = max(pixels * vectors / FMA_PER_CYCLE, loads / LOADS_PER_CYCLE, FMA_LATENCY) + far
                step += X_LINE * pixels / problem.lanes
                tile = steps * step + channels // block * (pixels * vectors * 2 + TILE_CYCLES) + pixels * 4
                if not problem.last:
                    tile += pixels * vectors * 8  # transposed on the way out
                cycles = problem.batch * groups * (chunks * blocks_f * tiles * tile + fill)
                yield Channel(pixels, vectors, block, box, splits, panel, lanewise, prefetch), cycles


def _channel_blocks(problem: Problem, step: int) -> tuple[int, ...]:
    """Divisors of the channel count worth trying: all channels at once; as many as keep their weights in the first cache; for
    channels-first input, no more planes than there are pages in the first table of addresses."""
    divisors = [d for d in range(1, problem.channels + 1) if problem.channels % d == 0]
    room = problem.machine.l1 * 3 // 4
    fitting = max((d for d in divisors if d * problem.kernel * step <= room), default=1)
    near = max(d for d in divisors if d <= min(fitting, NEAR_PLANES))
    return tuple({problem.channels, fitting, near} if not problem.last else {problem.channels, fitting})


def _box(problem: Problem, width: int, held: int) -> tuple[tuple[int, ...], int]:
    """Output positions of a chunk, whole inner axes first: its panel stays in a third of the second cache, its sums in a quarter."""
    spatial = problem.loops.spatial
    room = problem.machine.l2 // 3
    most = max(problem.machine.l2 // 4 // (width * problem.bytes), 64)
    box = [1] * len(spatial)
    for i in reversed(range(len(spatial))):
        def fits(n: int, i: int = i) -> bool:
            trial = [*box[:i], n, *box[i + 1 :]]
            panel = math.prod((b - 1) * s.stride + s.reach for b, s in zip(trial, spatial, strict=True)) * held * problem.bytes
            return math.prod(trial) <= most and (panel <= room or math.prod(trial) <= 16)
        n = spatial[i].out
        if not fits(n):
            n = next((n for n in range(spatial[i].out, 0, -1) if fits(n)), 1)
            pieces = -(-spatial[i].out // n)
            box[i] = -(-spatial[i].out // pieces)
            break
        box[i] = n
    return tuple(box), math.prod(-(-s.out // b) for s, b in zip(spatial, box, strict=True))


def _splits(groups: int, chunks: int, blocks_f: int, macs: int) -> int:
    """Shares of the features, so that one image has at least eight items of work where it is worth that."""
    wanted = -(-8 // max(chunks * groups, 1))
    affordable = max(macs // ITEM_MACS, 1)
    return max(min(wanted, affordable, blocks_f), 1)


def _channel_program(problem: Problem, schedule: Channel) -> Program:
    spec, dtypes = problem.spec, problem.spec.dtypes
    spatial = problem.loops.spatial
    size = problem.bytes
    width = schedule.vectors * problem.lanes
    if schedule.lanewise:
        groups, features, channels = 1, spec.features, 1
    else:
        groups, features, channels = problem.groups, problem.features, problem.channels
    planar = not problem.last
    held = spec.channels if schedule.lanewise else channels
    blocks_f, blocks_c = -(-features // width), channels // schedule.block
    panel_c = width if schedule.lanewise else schedule.block
    last = len(spatial) - 1
    reach = [(b - 1) * s.stride + s.reach for b, s in zip(schedule.box, spatial, strict=True)]
    element = _itemsize(dtypes.x) if not schedule.panel else size
    x_strides = _strides(spec.x_shape, element)

    # Bytes in the panel between neighbours along each axis, between channels, and between blocks of channels.
    ps = [0] * len(spatial)
    if schedule.panel:
        step = size if planar else panel_c * size
        for i in reversed(range(len(spatial))):
            ps[i] = step
            step *= reach[i]
            if i == last and planar:
                step = _aligned(step)
        plane = step + (64 if planar else 0)
        panels = -(-held // panel_c) if not planar else held
        ps_c, ps_b = (plane, plane * schedule.block) if planar else (size, plane)
        panel_bytes = plane * panels
    else:
        ps = [x_strides[s.x] for s in spatial]
        channel = x_strides[_channel_dimension(problem)]
        ps_c, ps_b, panels, panel_bytes = channel, channel * panel_c, 1, 0

    # The innermost loop: channels, or (tap, channel) pairs where they are neighbours, or taps lane by lane.
    wide = spatial[last]
    pixel = ps[last]
    taps = [s.kernel for s in spatial]
    tap = [s.dilation * p for s, p in zip(spatial, ps, strict=True)]
    inner = schedule.block
    if schedule.lanewise:
        inner, taps[last], ps_c = wide.kernel, 1, tap[last]
    elif not planar and wide.dilation == 1 and pixel == schedule.block * size:
        inner, taps[last] = wide.kernel * schedule.block, 1
    straight = inner if inner * schedule.pixels * schedule.vectors <= 320 and inner <= 32 else 0

    code = ChannelCode(
        x=dtypes.x,
        total=dtypes.sum,
        y=dtypes.y,
        axes=len(spatial),
        planar=planar,
        panel=schedule.panel,
        unit_x=True,
        channels_last_y=problem.last,
        lanewise=schedule.lanewise,
        bias=spec.epilogue.bias,
        activation=spec.epilogue.activation,
        pixels=schedule.pixels,
        vectors=schedule.vectors,
        prefetch=schedule.prefetch,
        steps=straight,
    )
    chunk = math.prod(schedule.box)
    offsets = sum(
        np.arange(b).reshape([-1 if i == j else 1 for j in range(len(spatial))]) * (s.stride * p)
        for i, (b, s, p) in enumerate(zip(schedule.box, spatial, ps, strict=True))
    )
    tables = _Tables(problem, spatial, np.ascontiguousarray(np.broadcast_to(offsets, schedule.box).reshape(-1), np.int64))
    ys = _strides(spec.y_shape, _itemsize(dtypes.y))
    linear = [math.prod(s.out for s in spatial[i + 1 :]) for i in range(len(spatial))]
    sums = _aligned(panel_bytes) + 64
    rounded = -(-chunk // schedule.pixels) * schedule.pixels + problem.lanes
    steps = problem.kernel * schedule.block
    share = -(-blocks_f // schedule.splits)
    splits = -(-blocks_f // share)
    words = {
        "constants": tables.constants, "map_w": tables.maps[-1], "size_w": wide.size, "low_w": wide.low,
        "phase": 0, "line": 0, "slack": 0, "map_offsets": tables.extra,
        "groups": groups, "channels": channels, "blocks_c": blocks_c, "steps": steps, "panels": panels, "panel_c": panel_c,
        "split": share, "splits": splits, "blocks_f": blocks_f, "count_f": features, "ps_b": ps_b, "ps_c": ps_c,
        "ys_n": ys[0], "ys_c": ys[_channel_dimension(problem)], "ys_p": ys[wide.y], "sums": sums,
        "step": blocks_c * steps * width * size, "inner": inner, "channels_all": held,
        "whole": int(not planar and panels == 1 and held == spec.channels == panel_c),
    }  # fmt: skip
    for i, s in enumerate(spatial):
        words |= {f"out{i}": s.out, f"box{i}": schedule.box[i], f"taps{i}": taps[i], f"tap{i}": tap[i], f"reach{i}": s.reach}
        words |= {f"stride{i}": s.stride, f"map{i}": tables.maps[i], f"ps{i}": ps[i], f"lin{i}": linear[i]}
    x_axes = {"xs_n": 0, "xs_c": _channel_dimension(problem), "xs_w": wide.x, **{f"xs{i}": s.x for i, s in enumerate(spatial)}}
    contiguous: Sequence[int]
    if not schedule.panel or (not planar and words["whole"]):
        contiguous = tuple(reversed(range(len(spec.x_shape))))
    else:
        contiguous = _contiguous(problem, wide if planar else None)
        if not planar:
            contiguous = (len(spec.x_shape) - 1, *contiguous)
    return Program(
        code=code,
        emit=emit_channel,
        names=code.names,
        words=words,
        x_axes=x_axes,
        contiguous=tuple(contiguous),
        items=problem.batch * groups * math.prod(-(-s.out // b) for s, b in zip(spatial, schedule.box, strict=True)) * splits,
        scratch=sums + rounded * width * size + 64,
        pack_weights=partial(_pack_channel, problem.contraction, dtypes.sum, schedule, width),
        pack_bias=partial(_pack_bias, groups, width, dtypes.sum),
        tables=tables.arrays,
    )


def _pack_channel(contraction: Contraction, dtype: str, schedule: Channel, width: int, w: Array) -> Array:
    """Weights as [group][feature block][channel block][taps][channel][lanes of the tile], zeros in the lanes that are no feature."""
    view = _canonical(contraction, w)  # g, o, c, taps
    if schedule.lanewise:
        view = np.moveaxis(view, 0, 1)
    groups, features, channels = view.shape[:3]
    blocks = -(-features // width)
    seen = view.reshape(groups, features, channels // schedule.block, schedule.block, -1).transpose(0, 2, 4, 3, 1)
    packed = empty_aligned((groups, blocks, *seen.shape[1:4], width), dtype)
    whole = features // width
    for block in range(blocks):
        lanes = width if block < whole else features - whole * width
        packed[:, block, ..., :lanes] = seen[..., block * width : block * width + lanes]
        packed[:, block, ..., lanes:] = 0
    return packed


def _pack_bias(groups: int, width: int, dtype: str, bias: Array) -> Array:
    features = bias.size // groups
    packed = np.zeros((groups, -(-features // width) * width), dtype)
    packed[:, :features] = bias.reshape(groups, features)
    return packed


# Shared -----------------------------------------------------------------------------------------------------------------


class _Tables:
    """Index maps and constants, kept alive beside the addresses that point to them."""

    def __init__(self, problem: Problem, axes: Sequence[Spatial], extra: npt.NDArray[np.int64] | None = None):
        values = [axis.boundary.value if axis.boundary.constant else 0.0 for axis in axes]
        constants = np.array([*values, problem.spec.epilogue.parameter], problem.spec.dtypes.sum)
        tables = [axis.table for axis in axes]
        self.arrays: tuple[Array, ...] = (constants, *tables, *((extra,) if extra is not None else ()))
        self.constants = constants.ctypes.data
        self.maps = [table.ctypes.data for table in tables]
        self.extra = extra.ctypes.data if extra is not None else 0


def _canonical(contraction: Contraction, w: Array) -> Array:
    """Weights seen as [group][feature][channel][k0][k1]..., flipped if the contraction reads them backwards; a view."""
    w = np.ascontiguousarray(w)
    names = ("g", "o", "c", *(f"k{i}" for i in range(contraction.n)))
    strides = [contraction.w.stride(axis) * w.itemsize for axis in names]
    start = w.reshape(-1)[contraction.w.offset :]
    return np.lib.stride_tricks.as_strided(start, [contraction.extent(axis) for axis in names], strides, writeable=False)


def _channel_dimension(problem: Problem) -> int:
    return len(problem.spec.x_shape) - 1 if problem.last else 1


def _contiguous(problem: Problem, wide: Spatial | None) -> tuple[int, ...]:
    """The dimensions that must lie close together: the innermost one, or all spatial ones where some were merged."""
    if wide is None and not problem.loops.merged:
        return ()
    dimensions = tuple(reversed(range(len(problem.spec.x_shape))))
    spatial = dimensions[1:-1] if problem.last else dimensions[:-2]
    if problem.loops.merged:
        return dimensions[:-1] if problem.last else spatial
    return spatial[:1] if not problem.last or problem.spec.channels > 1 else dimensions[:2]


def _strides(shape: tuple[int, ...], itemsize: int) -> list[int]:
    return [math.prod(shape[i + 1 :]) * itemsize for i in range(len(shape))]


def _itemsize(dtype: str) -> int:
    return np.dtype(dtype).itemsize


def _aligned(count: int) -> int:
    return -(-count // 64) * 64


def build(spec: Convolution, schedule: Schedule, machine: Machine) -> Program:
    """The program of a schedule."""
    problem = Problem(spec, machine)
    if isinstance(schedule, Space):
        return _space_program(problem, schedule)
    return _channel_program(problem, schedule)
