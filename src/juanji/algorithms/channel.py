"""Schedules of the channel tile, and of its lane-wise kin: tile, blocks of the reduction, chunks of pixels."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from juanji.algorithms import costs
from juanji.algorithms.packing import BiasPacking, GroupPacking, Packing, pack_weights
from juanji.algorithms.problem import Problem, Tables, aligned, contiguous_strides
from juanji.algorithms.splitting import shared, smaller
from juanji.algorithms.weights import aligned_to
from juanji.algorithms.words import WordPacking, WordProblem
from juanji.jit.channel import ChannelCode, emit_channel
from juanji.jit.program import Program

# Cycles, measured as those of `costs` and on the same machine.
TILE_CYCLES, WINDOW_CYCLES = 18.0, 3.2  # to start a tile, and to find the window of each of its pixels
LOOP_CYCLES = 6.5  # to start the innermost loop of a reduction
STORE_CYCLES = 1.5  # per vector of sums that is put down or taken up
JOIN = 2.1  # per vector of a plane that is joined with others in words
EVEN_LOADS = 1.9  # per cycle, where windows lie equally far apart: one register finds them all
FEWEST_EVEN = 7  # of their pixels: fewer have registers of their own anyway
MOVE, FAR_MOVE = 0.9, 1.9  # multiply-adds that a move within a vector counts for: within 16 bytes, and further


@dataclass(frozen=True)
class Channel:
    """Lanes along the output channels; lanewise: along the channels of a depthwise layer. A tile of pixels × vectors."""

    pixels: int
    vectors: int
    block: int  # channels whose weights stay in the first cache
    box: tuple[int, ...]  # output positions of a chunk
    splits: int  # shares of the features
    panel: bool
    planar: bool  # x is seen plane by plane
    lanewise: bool
    prefetch: bool
    packs: bool = False  # the kernel puts the weights in order itself
    word: int = 1  # channels that one element holds, as dot-product instructions take them
    even: bool = False  # rows of outputs are whole tiles, whose windows lie equally far apart

    @property
    def tile(self) -> tuple[object, ...]:
        """Schedules with equal tiles share their code, whatever the kernel."""
        return "channel", self.word, self.pixels, self.vectors, self.panel, self.planar, self.lanewise, self.even

    def __str__(self) -> str:
        kind = "lane-wise tile" if self.lanewise else "channel tile"
        words = f" in words of {self.word}" if self.word > 1 else ""
        source = ("through planes" if self.planar else "through a panel") if self.panel else "read in place"
        pixels = "pixels of a row" if self.even else "pixels"
        return (
            f"{kind} {self.pixels} {pixels} × {self.vectors} vectors, {self.block * self.word} channels{words} at a time, "
            f"chunks of {'×'.join(map(str, self.box))} pixels {source}, {self.splits} shares of the features"
            + (", weights put in order by the way" if self.packs else "")
        )


class _Roles(NamedTuple):
    """What stands for what: lane-wise, the features of all groups are those of one, which holds all channels."""

    groups: int
    features: int
    channels: int  # in the reduction
    held: int  # in a panel


def _roles(problem: Problem, lanewise: bool) -> _Roles:
    if lanewise:
        return _Roles(1, problem.groups * problem.features, problem.channels, problem.groups * problem.channels)
    return _Roles(problem.groups, problem.features, problem.channels, problem.channels)


def candidates(problem: Problem) -> Iterator[tuple[Channel, float]]:
    """Every tile that fits the registers, with blocks for the caches, and its expected cycles."""
    for lanewise in {False, problem.lanewise > 0}:
        yield from _candidates(problem, lanewise)


def _candidates(problem: Problem, lanewise: bool) -> Iterator[tuple[Channel, float]]:
    machine, spatial = problem.machine, problem.loops.spatial
    groups, features, channels, held = _roles(problem, lanewise)
    steps = problem.kernel * channels
    must_copy = problem.converted or any(s.padded for s in spatial)
    prefetch = steps * features * problem.bytes > machine.l2 // 4
    for vectors in range(1, 5):
        width = vectors * problem.lanes
        if width - problem.lanes >= features or (lanewise and channels > 1 and features % width):
            continue
        blocks_f = -(-features // width)
        box, chunks = _box(problem, width, held)
        chunk, reach = math.prod(box), _reach(problem, box)
        splits = _splits(groups, chunks, blocks_f, steps * features * chunk)
        rows = _whole_rows(problem, box) if not lanewise else []
        blocks = {channels} if lanewise else _blocks(problem, width * problem.bytes)
        for block, panel, planar in itertools.product(blocks, (False, True), (False, True)):
            if planar and (problem.last or lanewise):
                continue
            if not panel and (must_copy or planar == problem.last or (lanewise and held % width)):
                continue
            turned = panel and not problem.last and not planar
            if turned and not lanewise and block % problem.lanes:
                continue
            # What one reduction step costs beside its multiply-adds: weights that the first cache does not hold, x from afar.
            crowded = (block * problem.kernel * width * problem.bytes / machine.l1 - 0.6) / 0.3
            far = costs.SECOND_CACHE_WEIGHTS * vectors * min(max(crowded, 0.0), 1.0)
            if planar and panel:
                far += costs.PLANE
            elif planar:
                far += costs.FAR_PLANE if block <= costs.NEAR_PLANES else 4 * costs.FAR_PLANE
            wide = spatial[-1]
            inner = wide.kernel if lanewise else block if planar or wide.dilation > 1 else block * wide.kernel
            fill = _fill(problem, reach, held, planar, turned) if panel else 0.0
            move = 0.0 if not lanewise or channels == 1 else MOVE if channels * problem.bytes <= 16 else FAR_MOVE
            tiles = [(n, False) for n in range(2, 13)] + [(n, True) for n in rows if panel]  # else each layer had a code of its own
            for pixels, even in tiles:
                sums = pixels * vectors
                if pixels > max(chunk, 2) or sums + vectors + (not lanewise) > machine.registers:
                    continue
                if sums < costs.FEWEST_SUMS and pixels < min(chunk, 12):
                    continue
                loads = pixels * (vectors if lanewise else 1) + vectors
                moves = move * sums  # by one of the units that multiply
                rate = EVEN_LOADS if even else costs.LOADS_PER_CYCLE
                step = max((sums + moves) / problem.products_per_cycle, loads / rate, costs.FMA_LATENCY)
                step += far + costs.SECOND_CACHE_PIXELS * pixels / problem.lanes
                tile = steps * step + steps / inner * LOOP_CYCLES + (1 if even else pixels) * WINDOW_CYCLES
                tile += channels // block * (sums * STORE_CYCLES + TILE_CYCLES)
                if not problem.last:
                    tile += sums * (costs.SCATTER_CYCLES * problem.lanes / 2 if problem.gaps else costs.TURNED_STORE_CYCLES)
                cycles = problem.batch * groups * chunks * (blocks_f * -(-chunk // pixels) * tile + fill)
                if lanewise and turned and problem.far:
                    cycles *= costs.TURNED_AFAR
                yield Channel(pixels, vectors, block, box, splits, panel, planar, lanewise, prefetch, word=problem.word, even=even), cycles


def _whole_rows(problem: Problem, box: Sequence[int]) -> list[int]:
    """Pixels of tiles that fill rows of outputs, which a chunk has whole."""
    out = problem.loops.spatial[-1].out
    return [n for n in range(FEWEST_EVEN, problem.machine.registers) if out % n == 0] if box[-1] == out else []


def _fill(problem: Problem, reach: Sequence[int], held: int, planar: bool, turned: bool) -> float:
    """Cycles to fill the panel of one chunk."""
    across = min(problem.lanes, reach[-1]) if planar or turned else min(problem.lanes, held)
    vectors = math.prod(reach) * held / across
    lines = math.prod(reach[:-1]) * (held if planar else 1)
    join = JOIN * problem.word if planar and problem.word > 1 else 0.0
    return vectors * (costs.TURN_CYCLES if turned else 2 * costs.COPY_CYCLES + join) + lines * costs.LINE_CYCLES


def _reach(problem: Problem, box: Sequence[int]) -> list[int]:
    """How much of the padded input a chunk reaches over, per axis."""
    return [(b - 1) * s.stride + s.reach for b, s in zip(box, problem.loops.spatial, strict=True)]


def _blocks(problem: Problem, step: int) -> set[int]:
    """Channels of a block. Without taps to come between them the order of the sum is the same for any block, and any may be tried:
    all channels; as many as keep their weights in the first cache; for channels-first input no more planes than there are pages in
    the first table of addresses."""
    if problem.kernel > 1:
        return {problem.block}
    divisors = [d for d in range(1, problem.channels + 1) if problem.channels % d == 0]
    fitting = max((d for d in divisors if d * step <= problem.machine.l1 * 3 // 4), default=1)
    near = max(d for d in divisors if d <= min(fitting, costs.NEAR_PLANES))
    return {problem.channels, fitting} if problem.last else {problem.channels, fitting, near}


def _box(problem: Problem, width: int, held: int) -> tuple[tuple[int, ...], int]:
    """Output positions of a chunk, and how many chunks: whole inner axes first, until the panel fills a third of the second
    cache or the sums a quarter; so that a chunk is a run of neighbouring pixels."""
    spatial = problem.loops.spatial
    panel_room, sums_room = problem.machine.l2 // 3, max(problem.machine.l2 // 4 // (width * problem.bytes), 64)
    box = [1] * len(spatial)

    def fits(axis: int, n: int) -> bool:
        trial = [*box[:axis], n, *box[axis + 1 :]]
        pixels = math.prod(trial)
        panel = math.prod(_reach(problem, trial)) * held * problem.bytes
        return pixels <= sums_room and (panel <= panel_room or pixels <= 16)

    for axis in reversed(range(len(spatial))):
        out = spatial[axis].out
        low, high = 1, out  # the largest n that fits lies between; what fits gets no worse with a smaller n
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if fits(axis, middle) else (low, middle - 1)
        box[axis] = -(-out // -(-out // low))
        if box[axis] < out:
            break
    return tuple(box), math.prod(-(-s.out // b) for s, b in zip(spatial, box, strict=True))


def _splits(groups: int, chunks: int, blocks_f: int, macs: int) -> int:
    """Shares of the features, so that one image has at least eight items of work where it is worth that."""
    wanted = -(-8 // max(chunks * groups, 1))
    return max(min(wanted, macs // costs.ITEM_MACS, blocks_f), 1)


def finer(problem: Problem, schedule: Channel, items: int) -> Channel:
    """The schedule in about so many items: first what there is more of is shared out, the weights or the input of a chunk."""
    groups, features, channels, held = _roles(problem, schedule.lanewise)
    spatial, width = problem.loops.spatial, schedule.vectors * problem.lanes
    blocks = -(-features // width)
    outs = [s.out for s in spatial]
    chunks = problem.batch * groups * math.prod(-(-out // b) for out, b in zip(outs, schedule.box, strict=True))
    panel, weights = math.prod(_reach(problem, schedule.box)) * held, problem.kernel * channels * features
    most = min(blocks, -(-items // max(chunks, 1))) if weights > panel else schedule.splits
    splits = max(most, schedule.splits)
    if schedule.packs:  # by the only item that needs them
        return replace(schedule, splits=splits)
    times = -(-items // max(chunks * -(-blocks // shared(blocks, splits)), 1))
    *outer, inner = smaller(schedule.box, outs, times, schedule.pixels)
    if schedule.even:
        inner = aligned_to(inner, schedule.pixels)
    return replace(schedule, splits=splits, box=(*outer, inner))


def once(problem: Problem, schedule: Channel) -> Channel | None:
    """The schedule for weights that come with a single call: they are put in order just before they are used. None where that does not
    pay, because several chunks use the same or because all of them fit the second cache."""
    groups, features, channels, _ = _roles(problem, schedule.lanewise)
    chunks = problem.batch * math.prod(-(-s.out // b) for s, b in zip(problem.loops.spatial, schedule.box, strict=True))
    large = problem.kernel * channels * features * groups * problem.bytes > problem.machine.l2 // 2
    packing = _packing(problem, schedule.vectors * problem.lanes, schedule)
    if schedule.lanewise or chunks > 1 or not large or not isinstance(packing, Packing) or not packing.by_code:
        return None
    return replace(schedule, packs=True, prefetch=packing.code.beside or packing.runs_follow, splits=1)


def _packing(problem: Problem, width: int, schedule: Channel) -> Packing | GroupPacking | WordPacking:
    """Weights in the order of the sum."""
    if isinstance(problem, WordProblem):
        return WordPacking(problem, width, schedule.block)
    return pack_weights(problem, width, schedule.block, across=schedule.lanewise)


class _Panel(NamedTuple):
    """Bytes between neighbours where a tile reads x: along each axis, between channels, between blocks of channels."""

    axes: list[int]
    channel: int
    block: int
    blocks: int
    bytes: int


def _panel(problem: Problem, schedule: Channel, held: int, block: int) -> _Panel:
    """Where the panel's elements lie, or the input's where it is read in place. block: channels of a block."""
    spatial, size = problem.loops.spatial, problem.bytes
    if not schedule.panel:
        strides = contiguous_strides(problem.x_shape, size)
        channel = strides[problem.channel_dimension]
        return _Panel([strides[s.x] for s in spatial], channel, channel * block, 1, 0)
    reach = _reach(problem, schedule.box)
    step = size if schedule.planar else block * size
    axes: list[int] = []
    for length in reversed(reach):
        axes.insert(0, step)
        step *= length
        if schedule.planar and len(axes) == 1:
            step = aligned(step)  # rows of a plane start at cache lines
    if schedule.planar:
        plane = step + 64  # not a power of two apart
        return _Panel(axes, plane, plane * block, held, plane * held)
    blocks = -(-held // block)
    return _Panel(axes, size, step, blocks, step * blocks)


def program(problem: Problem, schedule: Channel) -> Program:
    """The kernel of a schedule, and its arguments."""
    dtypes, epilogue, spatial, size = problem.dtypes, problem.epilogue, problem.loops.spatial, problem.bytes
    groups, features, channels, held = _roles(problem, schedule.lanewise)
    width = schedule.vectors * problem.lanes
    last = len(spatial) - 1
    panel_c = width if schedule.lanewise else schedule.block
    panel = _panel(problem, schedule, held, panel_c)
    blocks_f, blocks_c = -(-features // width), channels // schedule.block
    share = -(-blocks_f // schedule.splits)
    splits = -(-blocks_f // share)

    # The innermost loop: channels, or (tap, channel) pairs where they are neighbours, or taps lane by lane.
    wide = spatial[last]
    taps, tap = [s.kernel for s in spatial], [s.dilation * p for s, p in zip(spatial, panel.axes, strict=True)]
    inner, step_c = schedule.block, panel.channel
    if schedule.lanewise:
        inner, taps[last], step_c = wide.kernel, 1, tap[last]
    elif not schedule.planar and wide.dilation == 1 and panel.axes[last] == schedule.block * size:
        inner, taps[last] = wide.kernel * schedule.block, 1
    straight = inner <= (costs.MOST_STRAIGHT // 3 if schedule.planar else costs.MOST_STRAIGHT)

    packing = _packing(problem, width, schedule)
    packs = packing if schedule.packs and isinstance(packing, Packing) else None
    packed = packing.step if isinstance(packing, WordPacking) else problem.kernel * channels * width * size
    code = ChannelCode(
        x=dtypes.x,
        total=dtypes.sum,
        y=dtypes.y,
        axes=len(spatial),
        planar=schedule.planar,
        planar_x=not problem.last,
        panel=schedule.panel,
        channels_last_y=problem.last,
        gaps=problem.gaps,
        step=problem.apart,
        lanewise=problem.channels if schedule.lanewise else 0,
        bias=epilogue.bias,
        activation=epilogue.activation,
        narrowing=problem.narrowing,
        pixels=schedule.pixels,
        vectors=schedule.vectors,
        pitch=wide.stride * panel.axes[last] if schedule.even else 0,
        prefetch=schedule.prefetch,
        steps=inner if straight else 0,
        packs=packs.code if packs else None,
        beside=packs is not None and packs.code.beside,
        words=problem.words if isinstance(problem, WordProblem) else None,
    )
    ys = problem.y_strides
    goals = offsets(schedule.box, [problem.y_step(s) for s in spatial]) if code.gaps else None
    windows = offsets(schedule.box, [s.stride * step for s, step in zip(spatial, panel.axes, strict=True)])
    tables = Tables(problem, spatial, windows, goals)
    chunk = math.prod(schedule.box)
    steps = problem.kernel * schedule.block
    sums = aligned(panel.bytes) + 64
    whole = problem.last and panel.blocks == 1 and held == problem.groups * problem.channels == panel_c
    words = {
        "constants": tables.constants, "map_w": tables.maps[-1], "size_w": wide.size, "low_w": wide.low,
        "phase": 0, "line": 0, "slack": 0, "map_offsets": tables.offsets, "map_goals": tables.goals, "groups": groups,
        "channels": problem.contraction.extent("c"), "blocks_c": blocks_c, "steps": steps, "panels": panel.blocks, "panel_c": panel_c,
        "split": share, "splits": splits,
        "blocks_f": blocks_f, "count_f": features, "ps_b": panel.block, "ps_c": step_c, "ys_n": ys[0],
        "ys_c": ys[problem.channel_dimension], "ys_p": ys[wide.y], "sums": sums, "step": packed,
        "inner": inner, "channels_all": held, "whole": int(whole),
        "stream": int(problem.stream),
    }  # fmt: skip
    for i, s in enumerate(spatial):
        words |= {f"out{i}": s.out, f"box{i}": schedule.box[i], f"taps{i}": taps[i], f"tap{i}": tap[i], f"reach{i}": s.reach}
        words |= {f"stride{i}": s.stride, f"map{i}": tables.maps[i], f"ps{i}": panel.axes[i]}
        words[f"ys{i}"] = problem.y_step(s)
    room = aligned((chunk + schedule.pixels + problem.lanes) * width * size)  # of the sums of a block of features
    scratch = sums + room + 64
    tables_w: tuple[npt.NDArray[np.int64], ...] = ()
    if packs:
        of_packs, tables_w, packed = _packs(problem, packs, _Blocks(share, blocks_c, steps, width), room)
        words |= {**of_packs, "packed": aligned(sums + of_packs["packed_f"] * room), "sums_f": room}
        scratch = words["packed"] + packed + 64
    return Program(
        code=code,
        emit=emit_channel,
        names=code.names,
        words=words,
        x_axes={"xs_n": 0, "xs_c": problem.channel_dimension, "xs_w": wide.x, **{f"xs{i}": s.x for i, s in enumerate(spatial)}},
        close=problem.close_in_chunks(bool(schedule.panel and not whole)),
        items=problem.batch * groups * math.prod(-(-s.out // b) for s, b in zip(spatial, schedule.box, strict=True)) * splits,
        scratch=scratch,
        pack_weights=packs.as_it_lies if packs else packing,
        pack_bias=BiasPacking(dtypes.sum, groups, width),
        tables=(*tables.arrays, *tables_w),
        x_skipped=problem.loops.skipped,
        y_start=problem.y_start,
        goal=problem.goal,
    )


class _Blocks(NamedTuple):
    """Blocks of features of an item, and of the reduction; steps and features of one."""

    features: int
    reduction: int
    steps: int
    width: int


def _packs(
    problem: Problem, packs: Packing, blocks: _Blocks, room: int
) -> tuple[dict[str, int], tuple[npt.NDArray[np.int64], ...], int]:
    """Which weights are put in order at a time: arguments, tables that these point into, and bytes of what is in order.

    room: of the sums of a block of features, of as many blocks as stay in the second cache.
    """
    l2, runs = problem.machine.l2, packs.words["runs"]
    near = min(blocks.features, max(l2 // 4 // room, 1))
    block = blocks.steps * blocks.width * problem.bytes
    if packs.code.beside:  # each block as it is used; what is asked for meanwhile stays in that cache, too
        times = -(-blocks.features // min(near, max(l2 // 6 // block, 1)))
        count = -(-blocks.features // times)
        steps = packs.steps(count * blocks.width)
        return {**packs.words, "map_runs": steps.ctypes.data, "packed_f": count, "packed_c": 1, "packed_runs": 0}, (steps,), block
    count, deep = (near, 1) if packs.blocks_follow else (1, blocks.reduction)
    words = {**packs.words, "packed_f": count, "packed_c": deep, "packed_runs": runs * deep // blocks.reduction}
    return words, packs.tables, count * deep * block


def offsets(box: Sequence[int], steps: Sequence[int]) -> npt.NDArray[np.int64]:
    """Bytes from what belongs to the first pixel of a chunk to what belongs to each."""
    offsets = np.zeros((), np.int64)
    for b, step in zip(box, steps, strict=True):
        offsets = offsets[..., None] + np.arange(b, dtype=np.int64) * step
    return offsets.reshape(-1)
