"""What the algorithms have in common that pass over rows and then over columns of a picture: its axes, blocks of columns, arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.algorithms.loops import NO_AXIS, Spatial
from juanji.algorithms.packing import BiasPacking
from juanji.algorithms.problem import Problem, Tables, aligned
from juanji.jit.passes import PassCode
from juanji.jit.program import Program
from juanji.spec import Convolution

Array = npt.NDArray[Any]


def refusal(spec: Convolution, produces: str) -> str | None:
    """Why a kernel of one pass per axis does not compute the product of a description, whatever its weights."""
    if produces != "y":
        return "it computes outputs only"
    if not spec.shared or (spec.channels, spec.features) != (1, 1):
        return "it has one channel, one feature and one kernel; channels that are treated alike are a batch or an axis"
    if spec.dtypes.sum not in ("float32", "float64"):
        return f"no sums in {spec.dtypes.sum}"
    if spec.stride[-1] != 1:
        return "its columns are neighbours: stride 1 along the last axis"
    return None


def axes(spatial: tuple[Spatial, ...]) -> tuple[Spatial, ...]:
    """At least two axes: rows and columns."""
    return (NO_AXIS, *spatial) if len(spatial) == 1 else spatial


def spans(wide: Spatial, block: int) -> Iterator[tuple[int, int, int, int]]:
    """For every block its first column, and of its part of the padded row where the array starts and stops, and its length."""
    for first in range(0, wide.out, block):
        count = min(block, wide.out - first) + wide.reach - 1
        start = min(max(wide.low - first, 0), count)
        yield first, start, max(min(wide.low + wide.size - first, count), start), count


def within(wide: Spatial, block: int) -> bool:
    """Whether what stands outside each block's part of the array is in that part."""
    if wide.boundary.constant:
        return True
    table = wide.border
    for first, start, stop, count in spans(wide, block):
        places = np.concatenate([table[first : first + start], table[first + stop - wide.size : first + count - wide.size]])
        columns = places - (first - wide.low)
        if columns.size and not (start <= columns.min() and columns.max() < stop):
            return False
    return True


def even(wide: Spatial, most: int, width: int) -> int:
    """Columns of a block: equal shares of at most so many, whole tiles of `width` where there are several, or all columns where what
    stands outside a block may come from another."""
    most = max(most // width, 4) * width
    block = -(-wide.out // -(-wide.out // most))
    if wide.out >= width:
        block = min(-(-block // width) * width, wide.out)
    return block if within(wide, block) else wide.out


class Strips:
    """The arguments that blocks of columns need. slack: elements that vectors may read or write past the end of a line; room: elements
    in front of a staged line, besides those that stand outside."""

    def __init__(self, problem: Problem, block: int, band: int, slack: int, room: int = 0):
        self.problem, size, (*outer, high, wide) = problem, problem.bytes, axes(problem.loops.spatial)
        whole = wide.low + wide.size if block >= wide.out else 0
        longest = max(whole, block + wide.reach - 1)
        self.line = aligned((longest + slack) * size) + 64  # not a power of two apart
        left = aligned((min(wide.low, longest) + room) * size)
        self.stage = left + aligned((longest + wide.reach + slack) * size) + 64
        self.tables = tables = Tables(problem, [*outer, high, wide])
        blocks, bands = -(-wide.out // block), -(-high.out // band)
        self.items = problem.batch * math.prod(axis.out for axis in outer) * bands * blocks
        self.words = {
            "constants": tables.constants, "map_w": tables.maps[-1], "size_w": wide.size, "low_w": wide.low, "map_h": tables.maps[-2],
            "ys_n": problem.y_strides[0], "ys_h": problem.y_step(high), "bands": bands, "band": band, "out_h": high.out,
            "blocks_w": blocks, "block_w": block, "out_w": wide.out, "whole": whole, "taps_h": high.kernel, "taps_w": wide.kernel,
            "outer": math.prod(axis.kernel for axis in outer), "line": self.line, "stage": self.stage, "left": left,
            "stream": int(problem.stream),
        }  # fmt: skip
        self.x_axes = {"xs_n": 0, "xs_h": high.x}
        for i, axis in enumerate(outer):
            self.words |= {f"out{i}": axis.out, f"taps{i}": axis.kernel, f"stride{i}": axis.stride, f"dilation{i}": axis.dilation}
            self.words |= {f"map{i}": tables.maps[i], f"ys{i}": problem.y_step(axis)}
            self.x_axes[f"xs{i}"] = axis.x

    def program(self, code: PassCode, emit: Callable[..., str], scratch: int, pack_weights: Callable[[Array], Array]) -> Program:
        """The kernel of these blocks; scratch: what `scratch` gave."""
        problem = self.problem
        return Program(
            code=code,
            emit=emit,
            names=code.names,
            words=self.words,
            x_axes=self.x_axes,
            close=problem.close(unit=True),
            items=self.items,
            scratch=scratch,
            pack_weights=pack_weights,
            pack_bias=BiasPacking(problem.dtypes.sum, 1, 1),
            tables=self.tables.arrays,
            x_skipped=problem.loops.skipped,
            y_start=problem.y_start,
            goal=problem.goal,
        )

    def scratch(self, **sizes: int) -> int:
        """Room for buffers one behind the other, each an argument by its name; the bytes of all."""
        end = 0
        for name, size in sizes.items():
            self.words[name], end = end, end + aligned(size)
        return end
