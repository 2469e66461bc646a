"""The gradient of shared weights: what its tiles have in common, and which of them computes a description."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.algorithms import costs
from juanji.algorithms.loops import Spatial
from juanji.algorithms.problem import Problem
from juanji.algorithms.whole_rows import readable

Array = npt.NDArray[Any]

FEWEST_TAPS, MOST_TAPS = 6, 25  # of rows and columns, whose sums are held in registers while rows are read in place
SHORT_ROWS = 48  # columns below which planes of a depthwise layer are turned to pixels
# How fast the dot tile is beside the outer one, both with full vectors: its loads are not aligned, but it need not turn dy to pixels,
# which takes as long as so many rows of the outer tile with one vector of features. Short rows are loops of one round.
EASE, TURNED_ROWS, SHORT_LOOPS = 0.8, 80, 0.85


class Weights:
    """The gradient of shared weights of a forward problem, as sums over all positions of products of x and dy.

    i runs over channel and tap in the order in which the weights of a feature lie. lanewise: channels of a group where lanes are
    channels of x and dy alike, else 0; beyond 1, i runs over taps, then channels. dot, in_rows: lanes are neighbours along the
    innermost spatial axis; in the second case rows are read where they lie. box: output positions of a chunk, of which there are
    `chunks` in an image; `segments` sums are computed apart and added in order, so that several threads find work where the features
    are few. All these are part of the bits, so they follow from the description and the machine alone.
    """

    def __init__(self, problem: Problem, weight_layout: str):
        self.problem = problem
        self.spatial, self.images = self._axes()
        self.turned, self.channels_first = weight_layout != "*IO", weight_layout == "OI*"
        across = problem.groups * problem.features
        self.in_rows = self._in_rows()
        self.lanewise = 0 if self.in_rows else self._lanewise(across)
        self.groups, self.features = (1, across) if self.lanewise else (problem.groups, problem.features)
        self.count = problem.channels * problem.kernel
        self.dot = not self.lanewise and not self.in_rows and self._dot()
        moved = self.dot or (self.lanewise > 0 and not problem.last)
        self.panel = moved or problem.dtypes.x != problem.dtypes.sum or any(s.padded for s in self.spatial)
        self.panel |= self.lanewise > 0 and self.features % problem.lanes > 0  # the last vector would reach past the input's end
        self.held = across if self.lanewise else problem.channels  # channels under a chunk
        self.box = tuple(s.out for s in self.spatial) if self.in_rows else self._box()
        self.chunks = math.prod(-(-s.out // b) for s, b in zip(self.spatial, self.box, strict=True))
        self.segments = self._segments()

    def _in_rows(self) -> bool:
        """Whether planes of a depthwise layer are read row by row, where they lie, and registers hold the sums of a filter. Rows of no
        more than half a vector are turned to pixels, if there are channels enough."""
        problem, wide = self.problem, self.spatial[-1]
        taps = math.prod(axis.kernel for axis in self.spatial[-2:])
        same = problem.groups > 1 and problem.dtypes.y == problem.dtypes.sum and wide.step == 1
        long = wide.size > problem.lanes // 2 or problem.groups * problem.features < problem.lanes
        return same and long and FEWEST_TAPS <= taps <= min(MOST_TAPS, problem.machine.registers - 7) and readable(problem)

    def _axes(self) -> tuple[tuple[Spatial, ...], int]:
        """The axes along which outputs are summed, and how many images one after the other."""
        return self.problem.loops.spatial, self.problem.batch

    def _lanewise(self, across: int) -> int:
        """Channels of a group where lanes are better those of x and dy alike, else 0."""
        turned = self.spatial[-1].out < SHORT_ROWS and across >= self.problem.lanes
        return self.problem.lanewise if self.problem.last or turned else 0

    def _dot(self) -> bool:
        """Whether the innermost axis fills vectors better than the features do, and dy lies in vectors along it."""
        problem = self.problem
        if self.spatial[-1].step > 1:
            return False
        if problem.last and (problem.x_shape[-1], problem.y_shape[-1]) != (1, 1):
            return False
        out, lanes = self.spatial[-1].out, problem.lanes
        ease = EASE * (SHORT_LOOPS if out <= lanes else 1) * (1 if self.features > lanes else 1 + TURNED_ROWS / self.count)
        return out / aligned_to(out, lanes) * ease > self.features / aligned_to(self.features, lanes)

    def _box(self) -> tuple[int, ...]:
        """Whole inner axes first, until the panel takes a share of the second cache, less of it if tiles read vectors."""
        machine, size = self.problem.machine, self.problem.bytes
        outer = costs.OUTER_PIXELS
        if self.problem.last:
            outer = costs.OUTER_PIXELS_LAST if self.panel else costs.OUTER_PIXELS_IN_PLACE
        if self.lanewise and self.panel:
            outer = costs.OUTER_PIXELS_LANEWISE
        room, most_pixels = (machine.l2 // 16, 1 << 14) if self.dot else (machine.l2 // 4, outer)
        box = [1] * len(self.spatial)
        for axis in reversed(range(len(self.spatial))):
            most = max(most_pixels // math.prod(box), 1)
            while most > 1 and math.prod(self.reach([*box[:axis], most, *box[axis + 1 :]])) * self.held * size > room:
                most = (most + 1) // 2
            out = self.spatial[axis].out
            box[axis] = -(-out // -(-out // most))
            if box[axis] < out:
                break
        return tuple(box)

    def reach(self, box: Sequence[int]) -> list[int]:
        """How much of the padded input the positions of a box reach over, per axis."""
        return [(b - 1) * s.stride + s.reach for b, s in zip(box, self.spatial, strict=True)]

    def _segments(self) -> int:
        problem = self.problem
        blocks = self.groups * (1 if self.dot or self.in_rows else -(-self.features // (2 * problem.lanes)))
        macs = self.count * self.features * self.groups * math.prod(s.out for s in self.spatial) * self.images
        moved = (math.prod(problem.x_shape) + math.prod(problem.y_shape)) * problem.bytes
        room = max(moved // 10, problem.machine.l2 // 4) // (math.prod(problem.contraction.w.shape) * problem.bytes)
        return max(min(-(-8 // blocks), self.chunks * self.images, macs // costs.ITEM_MACS, room), 1)

    def rows(self, taps: Sequence[npt.NDArray[np.int64]], channel: int, multiple: int) -> npt.NDArray[np.int64]:
        """Bytes from the window of a position to what meets each i, the last one repeated up to a multiple.

        taps: per axis the bytes to each tap. channel: bytes from one channel to the next.
        """
        turned = self.problem.contraction.w.offset > 0  # a kernel turned by 180° lies from its last tap to its first
        channels = np.arange(self.problem.channels, dtype=np.int64) * channel
        found = np.zeros((), np.int64)
        for along in taps:
            found = found[..., None] + (along[::-1] if turned and self.lanewise < 2 else along)
        places = found.reshape(-1)
        first = self.channels_first and self.lanewise < 2
        pairs = (np.add.outer(channels, places) if first else np.add.outer(places, channels)).reshape(-1)
        return np.concatenate([pairs, np.repeat(pairs[-1:], -len(pairs) % multiple)])

    def errors(self, dy: Array) -> Array:
        """dy as the tiles read it: in its own type, close together; itself if it lies so."""
        return np.require(dy, self.problem.dtypes.y, ["C", "A"])

    @property
    def goals(self) -> npt.NDArray[np.int64]:
        """Bytes from the first weight of a feature to each i, where i runs over taps, then channels."""
        w = self.problem.contraction.w
        found = np.full((), w.offset, np.int64)
        for axis in (*(f"k{i}" for i in range(self.problem.contraction.n)), "c"):
            found = found[..., None] + np.arange(self.problem.contraction.extent(axis), dtype=np.int64) * w.stride(axis)
        return found.reshape(-1) * self.problem.bytes

    @property
    def words(self) -> dict[str, int]:
        """The arguments that both tiles have."""
        problem, w = self.problem, self.problem.contraction.w
        size, wide, gs = problem.bytes, self.spatial[-1], problem.y_strides
        words = {
            "size_w": wide.size, "low_w": wide.low, "count_i": self.count, "groups": self.groups, "channels": problem.channels,
            "chunks": self.chunks * self.images, "chunks_n": self.chunks, "segments": self.segments, "count_f": self.features,
            "gs_n": gs[0], "gs_c": gs[problem.channel_dimension], "ws_g": 0 if self.lanewise == 1 else w.stride("g") * size,
            "ws_f": w.stride("g" if self.lanewise == 1 else "o") * size, "ws_i": size * (1 if self.turned else w.stride("c")),
            "ws_s": math.prod(w.shape) * size,
        }  # fmt: skip
        for i, s in enumerate(self.spatial):
            words |= {f"out{i}": s.out, f"box{i}": self.box[i], f"reach{i}": s.reach, f"stride{i}": s.stride, f"gs{i}": problem.y_step(s)}
        return words

    @property
    def x_axes(self) -> dict[str, int]:
        """The arguments that are strides of x."""
        axes = {f"xs{i}": s.x for i, s in enumerate(self.spatial)}
        return {"xs_n": 0, "xs_c": self.problem.channel_dimension, "xs_w": self.spatial[-1].x, **axes}


def aligned_to(count: int, multiple: int) -> int:
    """The next multiple."""
    return -(-count // multiple) * multiple


def steps(axis: Spatial, step: int) -> npt.NDArray[np.int64]:
    """Bytes to each tap of an axis whose neighbours lie `step` bytes apart."""
    return np.arange(axis.kernel, dtype=np.int64) * (axis.dilation * step)
