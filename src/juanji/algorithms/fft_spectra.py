"""The spectra of a problem's kernels, packed as the Fourier tile multiplies them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji import machine as machines
from juanji.algorithms.fft_tiles import Axes, Fft
from juanji.algorithms.packing import BYTE_CYCLES
from juanji.algorithms.problem import Problem, aligned
from juanji.jit.arguments import HEAD, pack
from juanji.jit.fft_codes import SpectraCode
from juanji.jit.fft_passes import twiddles
from juanji.jit.fft_spectra import emit_spectra
from juanji.jit.load import load
from juanji.jit.memory import address, empty_aligned
from juanji.run import run_items

Array = npt.NDArray[Any]


class Spectra:
    """packed[group, block of features, row, frequency, depth entry, feature, re or im, lane] = the spectra of w, over the tile's size.

    A call of it packs an array of weights.
    """

    def __init__(self, problem: Problem, axes: Axes, schedule: Fft):
        self.problem, self.axes, self.schedule = problem, axes, schedule
        self.width = max(schedule.features, 1)
        self.blocks = -(-problem.features // self.width)
        self.pair = 2 * problem.lanes * problem.bytes
        self.groups = schedule.high // 2 // problem.lanes  # rows of a spectrum
        self.depth = problem.channels * axes.planes * math.prod(schedule.parts)
        self.step = self.groups * schedule.wide * self.depth * self.width * self.pair  # bytes of a block
        self.shape = (problem.groups, self.blocks, self.groups, schedule.wide, self.depth, self.width, 2, problem.lanes)

    def __call__(self, w: Array) -> Array:
        """The packed spectra, a new array."""
        problem, s = self.problem, self.schedule
        w = np.require(w, problem.dtypes.w, ["C", "A"])
        packed = empty_aligned(self.shape, problem.dtypes.sum)
        code = SpectraCode(problem.dtypes.w, problem.dtypes.sum, s.high, s.wide, s.line)
        words, scratch, tables = self._words(w.itemsize)
        row = pack(code.names, words)
        start = problem.contraction.w.offset * w.itemsize
        row[HEAD.index("w")], row[HEAD.index("y")] = address(w) + start, address(packed)
        kernel = load(code, emit_spectra, problem.machine.target, machines.identity())
        run_items(kernel, row, math.prod(self.shape[:2]), scratch, packed.nbytes * BYTE_CYCLES, None)
        del tables  # which the row points into
        return packed

    def _words(self, size: int) -> tuple[dict[str, int], int, list[Array]]:
        problem, s, c = self.problem, self.schedule, self.problem.contraction
        *strides_outer, stride_h, stride_w = (stride * size for stride in self._strides)
        columns = s.wide if s.line else -(-s.part[1] // problem.lanes) * problem.lanes
        pitch, panel = (s.wide + 1) * self.pair, columns * problem.bytes
        tables = [
            np.array([1 / (s.high * s.wide)], problem.dtypes.sum),
            self._entries(c.w.stride("c") * size, strides_outer, stride_h, stride_w),
            np.arange(columns, dtype=np.int64) * self.pair,
            twiddles(s.high, True, problem.dtypes.sum),
            twiddles(s.wide, False, problem.dtypes.sum),
            line_factors(s.high, s.wide, problem.lanes, problem.dtypes.sum) if s.line else np.empty(0),
        ]
        pointers = ("constants", "map_entries", "map_places", "map_column", "map_row", "map_line")
        words = dict(zip(pointers, (table.ctypes.data for table in tables), strict=True))
        words |= {
            "features": problem.features, "width": self.width, "blocks": self.blocks, "depth": self.depth, "columns": columns,
            "ws_g": c.w.stride("g") * size, "ws_f": c.w.stride("o") * size, "ws_h": stride_h, "ws_w": stride_w, "step": self.step,
            "step_q": self.step // self.groups, "step_e": self.width * self.pair, "step_f": self.pair,
            "apart": self.depth * self.width * self.pair, "pitch": pitch, "panel": panel,
        }  # fmt: skip
        end = 0
        buffers = (s.high * 8, panel, self.pair * max(s.high, s.wide), self.groups * pitch, s.high * panel)
        for name, count in zip(("rows", "zeros", "tmp", "f", "panel"), buffers, strict=True):
            words[f"at_{name}"] = end
            end = aligned(end + count) + 64
        return words, end, tables

    @property
    def _strides(self) -> list[int]:
        """Elements from tap to tap of w along the outer axes and the plane's; 0 for an axis with one tap."""
        c = self.problem.contraction
        found = iter([c.w.stride(f"k{i}") for i in range(c.n) if c.extent(f"k{i}") > 1])
        return [next(found) if axis.kernel > 1 else 0 for axis in (*self.axes.outer, self.axes.high, self.axes.wide)]

    def _entries(self, channel: int, outer: Sequence[int], down: int, across: int) -> npt.NDArray[np.int64]:
        """For each depth entry the bytes to its first tap, its rows and its columns; what follows are bytes from tap to tap."""
        s, high, wide = self.schedule, self.axes.high, self.axes.wide
        starts: npt.NDArray[np.int64] = np.arange(self.problem.channels, dtype=np.int64) * channel
        for axis, step in zip(self.axes.outer, outer, strict=True):
            starts = np.add.outer(starts, np.arange(axis.kernel) * step)
        entries = np.empty((*starts.shape, *s.parts, 3), np.int64)
        rows, columns = (np.arange(count) * size for count, size in zip(s.parts, s.part, strict=True))
        entries[..., 0] = starts[..., None, None] + (rows * down)[:, None] + columns * across
        entries[..., 1] = np.minimum(high.kernel - rows, s.part[0])[:, None]
        entries[..., 2] = np.minimum(wide.kernel - columns, s.part[1])
        return entries


@lru_cache(maxsize=16)
def line_factors(high: int, wide: int, lanes: int, dtype: str) -> Array:
    """e^(2πi·(k + ½)·s/N) of vertical frequency k and place s, as the rows of a spectrum lie: [row, s, re or im, lane]."""
    angles = 2 * np.pi / (high * wide) * np.outer(np.arange(high // 2) + 0.5, np.arange(wide))
    parts = np.stack([np.cos(angles), np.sin(angles)]).astype(dtype)
    found = np.ascontiguousarray(parts.reshape(2, -1, lanes, wide).transpose(1, 3, 0, 2))
    found.flags.writeable = False
    return found
