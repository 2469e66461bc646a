"""The kernel of Winograd's convolution: its schedule, its arguments and scratch memory, and its weights, transformed once."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy.typing as npt

from juanji.algorithms.packing import BiasPacking, Packing, TransformedPacking
from juanji.algorithms.problem import Problem, Tables, aligned
from juanji.algorithms.weights import aligned_to
from juanji.jit.emit import LINE
from juanji.jit.program import Program
from juanji.jit.winograd import WinogradCode, emit_winograd
from juanji.jit.winograd_axes import Axis, axes
from juanji.jit.winograd_weights import WeightsCode, emit_winograd_weights
from juanji.spec import itemsize

Array = npt.NDArray[Any]
AT_A_TIME = 64  # channels whose weights are put in order and then transformed, at most
Sizes = tuple[tuple[int, int], ...]  # per axis the outputs of a tile and the taps


@dataclass(frozen=True)
class Winograd:
    """A register tile of tiles × vectors of features; chunks of `box` tiles of some images; items of `share` blocks of features."""

    sizes: Sizes
    tiles: int
    vectors: int
    images: int
    box: tuple[int, ...]
    block: int  # channels whose weights stay in the first cache
    share: int
    slice: int  # channels of a panel; 0 where the input is read in place
    ahead: int  # bytes of the next weights that each step asks for
    packs: bool = False  # whether the kernel transforms the weights, a block of channels and features at a time

    @property
    def prefetch(self) -> int:
        """Lines of the next weights that each step asks for."""
        return -(-self.ahead // LINE)

    @property
    def tile(self) -> tuple[object, ...]:
        """Schedules with equal tiles share their code."""
        return "winograd", self.sizes, self.tiles, self.vectors, self.slice > 0, self.prefetch, self.packs

    def __str__(self) -> str:
        by = "×".join
        source = f"through a panel of {self.slice} channels" if self.slice else "read in place"
        return (
            f"F({by(str(m) for m, _ in self.sizes)}, {by(str(r) for _, r in self.sizes)}), "
            f"tile {self.tiles} tiles × {self.vectors} vectors, {self.block} channels at a time, "
            f"chunks of {by(map(str, (self.images, *self.box)))} tiles {source}, {self.share} blocks of features"
            f"{', weights transformed on the way' if self.packs else ''}"
        )


class WeightsPacking(TransformedPacking):
    """packed[group, block, point, channel, lane] = (G g G') of the channel and feature; a line between points keeps them off one set.

    Weights are read where they lie, put in order some channels at a time and transformed while these are near; few of them, all at once.
    """

    def __init__(self, problem: Problem, sizes: Sizes, width: int):
        size, channels, dtype = problem.bytes, problem.channels, problem.dtypes.sum
        points = math.prod(m + r - 1 for m, r in sizes)
        self.step = channels * width * size + LINE
        words = {"channels": channels, "width": width * size, "step": self.step}
        shape = (points, self.step // size)
        block = max(c for c in range(1, AT_A_TIME + 1) if channels % c == 0)
        some = ordered(problem, width, block)
        if some.by_code:
            words |= {**pack_words(problem, some), "block": block, "blocks": -(-problem.features // width), "features": problem.features}
            code, scratch = WeightsCode(dtype, sizes, some.code), block * problem.kernel * width * size
            super().__init__(some, code, emit_winograd_weights, words, shape, dtype, some.tables, in_place=True, scratch=scratch)
            return
        super().__init__(ordered(problem, width, channels), WeightsCode(dtype, sizes, None), emit_winograd_weights, words, shape, dtype)


def pack_words(problem: Problem, some: Packing) -> dict[str, int]:
    """The arguments of a kernel that puts weights of some channels in order."""
    return {**some.words, "ws_c": problem.contraction.w.stride("c") * itemsize(problem.dtypes.w)}


def ordered(problem: Problem, width: int, channels: int) -> Packing:
    """Weights of so many channels as [group][feature block][channel][tap][feature of the block]."""
    contraction = problem.contraction
    taps = [(contraction.extent(f"k{i}"), contraction.w.stride(f"k{i}")) for i in range(contraction.n)]
    return Packing(problem, width, [(channels, contraction.w.stride("c")), *taps], across=False, overlap=False)


def tiled(problem: Problem, sizes: Sizes) -> tuple[Axis, ...]:
    """Where tiles of these sizes stand along the axes of a problem."""
    return axes(sizes, tuple(s.dilation for s in problem.loops.spatial))


def program(problem: Problem, schedule: Winograd) -> Program:
    """The kernel of a schedule, and its arguments."""
    dtypes, epilogue, size = problem.dtypes, problem.epilogue, problem.bytes
    sizes, panel = schedule.sizes, schedule.slice > 0
    along = tiled(problem, sizes)
    grid = [axis.tiles(s.out) for axis, s in zip(along, problem.loops.spatial, strict=True)]
    spatial = [replace(s, out=axis.padded(s.out)) for axis, s in zip(along, problem.loops.spatial, strict=True)]
    width = schedule.vectors * problem.lanes
    packs = ordered(problem, width, schedule.block) if schedule.packs else None
    code = WinogradCode(
        x=dtypes.x,
        total=dtypes.sum,
        y=dtypes.y,
        sizes=sizes,
        dilations=tuple(axis.dilation for axis in along),
        panel=panel,
        planar_x=not problem.last,
        channels_last_y=problem.last,
        bias=epilogue.bias,
        activation=epilogue.activation,
        narrowing=problem.narrowing,
        tiles=schedule.tiles,
        vectors=schedule.vectors,
        prefetch=schedule.prefetch,
        packs=packs.code if packs else None,
    )
    wide = spatial[-1]
    tables = Tables(problem, spatial, wide.table)
    maps = [*tables.maps[:-1], tables.offsets]
    packing = WeightsPacking(problem, sizes, width)
    held = problem.groups * problem.channels
    blocks = -(-problem.features // width)

    # Scratch: the panel, V, M, pixels of constants, and what stores need.
    places, steps = _panel(problem, schedule) if panel else (0, [0] * len(along))
    tiles = schedule.images * math.prod(schedule.box)
    slices = held // schedule.slice if panel else 1
    slice = aligned_to(schedule.slice, problem.lanes) if panel else held
    v_point = aligned(slices * slice * size)
    v_tile = aligned(code.points * v_point) | 64  # an odd number of lines, so that tiles do not meet in one set of a cache
    m_tile = aligned(code.points * width * size) | 64
    outside_pitch = aligned(held * size)
    values = aligned(places)
    products = values + tiles * v_tile
    outside = products + schedule.share * tiles * m_tile
    pixels = outside + len(along) * outside_pitch
    outputs = 0 if problem.last else math.prod(axis.outputs(b) for axis, b in zip(along, schedule.box, strict=True))
    end = pixels + (1 + outputs + problem.lanes) * problem.lanes * size + width * size

    ys = problem.y_strides
    words = {
        "constants": tables.constants, "map_w": tables.maps[-1], "size_w": wide.size, "low_w": wide.low, "phase": 0, "line": 0, "slack": 0,
        "batch": problem.batch, "images": schedule.images, "groups": problem.groups, "channels": problem.channels,
        "count_f": problem.features, "blocks_f": blocks, "split": schedule.share, "splits": -(-blocks // schedule.share),
        "ys_n": ys[0], "ys_c": ys[problem.channel_dimension], "ps_b": 0, "panels": 1, "panel_c": slice,
        "channels_all": schedule.slice, "whole": 0, "slices": slices, "slice": slice, "block": schedule.block,
        "step": packing.step, "values": values, "v_point": v_point,
        "v_tile": v_tile, "products": products, "m_tile": m_tile, "m_block": tiles * m_tile, "outside": outside,
        "outside_pitch": outside_pitch, "pixels": pixels, "stream": int(problem.stream), "ahead": schedule.ahead,
    }  # fmt: skip
    if packs:
        step = schedule.block * width * size + LINE  # a line between points keeps them off one set of a cache
        packed = aligned(end)
        transformed = aligned(packed + schedule.block * problem.kernel * width * size)
        end = transformed + code.points * step
        words |= {**pack_words(problem, packs), "packed": packed, "transformed": transformed, "step": step}
    for i, s in enumerate(problem.loops.spatial):
        words |= {f"out{i}": s.out, f"grid{i}": grid[i], f"box{i}": schedule.box[i]}
        words |= {f"map{i}": maps[i], f"ps{i}": steps[i], f"ys{i}": problem.y_step(s)}
    chunks = -(-problem.batch // schedule.images) * math.prod(-(-g // b) for g, b in zip(grid, schedule.box, strict=True))
    return Program(
        code=code,
        emit=emit_winograd,
        names=code.names,
        words=words,
        x_axes={"xs_n": 0, "xs_c": problem.channel_dimension, "xs_w": wide.x, **{f"xs{i}": s.x for i, s in enumerate(spatial)}},
        close=problem.close_in_chunks(True),
        items=chunks * problem.groups * words["splits"],
        scratch=end,
        pack_weights=packs.as_it_lies if packs else packing,
        pack_bias=BiasPacking(dtypes.sum, problem.groups, width),
        tables=(*tables.arrays, *(packs.tables if packs else ())),
        x_skipped=problem.loops.skipped,
        y_start=problem.y_start,
        goal=problem.goal,
    )


def _panel(problem: Problem, schedule: Winograd) -> tuple[int, list[int]]:
    """Bytes of a panel, and between its neighbours along each axis."""
    step = aligned_to(schedule.slice, problem.lanes) * problem.bytes
    steps: list[int] = []
    for axis, b in reversed(list(zip(tiled(problem, schedule.sizes), schedule.box, strict=True))):
        steps.insert(0, step)
        step *= axis.lines(b)
    return step, steps
