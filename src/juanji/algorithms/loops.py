"""A contraction as the loops that a tile walks: its spatial axes, simplified."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from juanji.boundary import Boundary, border_map, index_map
from juanji.contraction import Contraction
from juanji.kept import kept


@dataclass(frozen=True)
class Spatial:
    """One spatial axis of a contraction whose weights are shared.

    grain: how many neighbouring elements the boundary moves together; more than 1 after an axis without kernel (the
        colours of a pixel) was merged into this one. Sizes count elements.
    x, y: the storage dimension of the operand whose stride is that of a step along the axis; -1 for an axis made up.
    step: elements of that dimension of y from one output to the next: 1, or more where outputs leave gaps.
    """

    size: int
    out: int
    kernel: int
    stride: int
    dilation: int
    low: int
    boundary: Boundary
    x: int
    y: int
    grain: int = 1
    step: int = 1

    @property
    def reach(self) -> int:
        """Elements from the first tap to the last."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def extent(self) -> int:
        """How much of the padded axis is used."""
        return (self.out - 1) * self.stride + self.reach

    @property
    def padded(self) -> bool:
        """Whether any window leaves the array."""
        return self.low > 0 or self.extent - self.low > self.size

    @kept
    def seen(self) -> float:
        """The part of all taps of all outputs that is inside the array."""
        first = self.low - np.arange(self.kernel) * self.dilation  # an output of stride 1 whose tap is at place 0
        begin, end = (np.clip(-(-place // self.stride), 0, self.out) for place in (first, first + self.size))
        return float((end - begin).sum()) / (self.kernel * self.out)

    @property
    def table(self) -> npt.NDArray[np.int64]:
        """Where each place of the padded extent comes from, -1 for the constant."""
        return self._elements(index_map(*self._padded, self.boundary.mode))

    @property
    def border(self) -> npt.NDArray[np.int64]:
        """The table's two ends, without the places inside the array."""
        return self._elements(border_map(*self._padded, self.boundary.mode))

    @property
    def _padded(self) -> tuple[int, int, int]:
        """Size, low and high in grains."""
        size, low = self.size // self.grain, self.low // self.grain
        return size, low, max(-(-self.extent // self.grain) - low - size, 0)

    def _elements(self, table: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        if self.grain == 1:
            return table
        inside = np.arange(self.grain)
        return np.where(table[:, None] < 0, -1, table[:, None] * self.grain + inside).reshape(-1)


NO_AXIS = Spatial(1, 1, 1, 1, 1, 0, Boundary(), -1, -1)


@dataclass(frozen=True)
class Loops:
    """The spatial axes in order, the innermost last, and the kernel taps over them that are kept (None: all)."""

    spatial: tuple[Spatial, ...]
    taps: tuple[tuple[int, ...], ...] | None
    merged: bool  # whether some axis stands for several: the input must then be contiguous in them
    skipped: tuple[tuple[int, int], ...] = ()  # (storage dimension of x, elements) before the first that any window reaches

    @property
    def pixels(self) -> int:
        """Output positions of one image and feature."""
        return math.prod(s.out for s in self.spatial)


def loops(contraction: Contraction) -> Loops:
    """The loops of a forward-like contraction, axes without a kernel merged into their outer neighbours.

    An axis with one tap, stride 1 and no padding moves through input and output alike. Its outer neighbour, if it has
    stride 1, then has the longer axis' elements as its own, with dilation and padding in units of the inner size: a row of
    interleaved colours becomes one long row, an image under a 1×1 kernel one long line.
    """
    axes: list[Spatial] = []
    names: list[int] = []
    skipped: list[tuple[int, int]] = []
    merged = False
    for i in range(contraction.n):
        x, y = contraction.x.along(f"q{i}"), contraction.y.along(f"q{i}")
        skip = max(x.offset, 0)
        axis = Spatial(
            size=x.size - skip,
            out=contraction.extent(f"q{i}"),
            kernel=contraction.extent(f"k{i}"),
            stride=x.coefficient(f"q{i}") if contraction.extent(f"q{i}") > 1 else 1,  # a step that nobody takes
            dilation=x.coefficient(f"k{i}") if contraction.extent(f"k{i}") > 1 else 1,
            low=skip - x.offset,
            boundary=x.boundary or Boundary(),
            x=contraction.x.dimensions.index(x),
            y=contraction.y.dimensions.index(y),
            step=y.coefficient(f"q{i}"),
        )
        through = axis.kernel == axis.stride == axis.step == 1 and axis.low == 0 and axis.out == x.size == y.size
        if axes and through and axes[-1].stride == axes[-1].step == 1:
            outer, n = axes[-1], axis.size
            merged = True
            axes[-1] = replace(
                outer,
                size=outer.size * n,
                out=outer.out * n,
                dilation=outer.dilation * n,
                low=outer.low * n,
                grain=outer.grain * n,
                x=axis.x,
                y=axis.y,
            )
        else:
            axes.append(axis)
            names.append(i)
        if skip:
            skipped.append((contraction.x.dimensions.index(x), skip))
    taps = contraction.taps and tuple(tuple(tap[i] for i in names) for tap in contraction.taps)
    return Loops(tuple(axes), taps, merged, tuple(skipped))


def three_axes(loops: Loops) -> tuple[Spatial, Spatial, Spatial]:
    """Outer axis, rows and columns of loops over up to three."""
    *outer, wide = loops.spatial
    deep, high = (*[NO_AXIS] * (2 - len(outer)), *outer)
    return deep, high, wide
