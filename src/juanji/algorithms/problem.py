"""What every schedule looks at: a description, its contraction and its loops, and where its arrays lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.algorithms.costs import FEWEST_STEPS, MOST_TAPS
from juanji.algorithms.loops import Spatial, loops
from juanji.contraction import lower
from juanji.kept import kept
from juanji.machine import Machine
from juanji.spec import Convolution

Array = npt.NDArray[Any]


class Problem:
    """A description on a machine. features and channels are those of one group."""

    def __init__(self, spec: Convolution, machine: Machine):
        self.spec, self.machine = spec, machine
        self.contraction = lower(spec)
        self.loops = loops(self.contraction)
        extent = self.contraction.extent
        self.batch, self.groups, self.features, self.channels = extent("n"), extent("g"), extent("o"), extent("c")
        self.kernel = math.prod(s.kernel for s in self.loops.spatial)
        self.bytes = np.dtype(spec.dtypes.sum).itemsize
        self.lanes = machine.vector_bits // 8 // self.bytes
        self.last = spec.layout == "channels_last"
        taps = self.loops.taps
        self.taps = taps if taps is not None and len(taps) <= MOST_TAPS else None

    @kept
    def block(self) -> int:
        """Channels of a block: the reduction runs over blocks, then taps, then the channels of the block.

        This order is part of the result's bits, so it follows from channels, kernel, element type and machine alone, not from
        stride, padding, sizes, layout or schedule. The weights of a block, for a tile of four vectors, stay in the first cache;
        whole vectors of channels are preferred, and no block is so small that putting sums down and taking them up costs more
        than the sum.
        """
        divisors = [d for d in range(1, self.channels + 1) if self.channels % d == 0]
        room = self.machine.l1 * 4 // 5 // (self.kernel * 4 * self.lanes * self.bytes)
        whole = [d for d in divisors if d % self.lanes == 0]
        if whole:
            return max((d for d in whole if d <= room), default=whole[0])
        large = [d for d in divisors if d * self.kernel >= FEWEST_STEPS] or [self.channels]
        return max((d for d in large if d <= room), default=large[0])

    @property
    def channel_dimension(self) -> int:
        """The dimension of input and output that holds the channels."""
        return len(self.spec.x_shape) - 1 if self.last else 1

    @property
    def y_strides(self) -> list[int]:
        """Bytes between neighbours of the output along each of its dimensions."""
        return contiguous_strides(self.spec.y_shape, np.dtype(self.spec.dtypes.y).itemsize)

    @property
    def stream(self) -> bool:
        """Whether the output is so large that the second cache would have forgotten it before anyone reads it."""
        return math.prod(self.spec.y_shape) * np.dtype(self.spec.dtypes.y).itemsize > 2 * self.machine.l2

    def close(self, unit: bool) -> tuple[int, ...]:
        """The input's dimensions that must lie close together, innermost first.

        unit: neighbours along the innermost spatial axis are read as vectors. Merged axes must lie close in any case.
        """
        dimensions = tuple(reversed(range(len(self.spec.x_shape))))
        spatial = dimensions[1:-1] if self.last else dimensions[:-2]
        if self.loops.merged:
            return dimensions[:-1] if self.last else spatial
        if not unit:
            return ()
        return spatial[:1] if not self.last else dimensions[:2]


class Tables:
    """Index maps, constants and offsets, and the addresses where generated code finds them."""

    def __init__(self, problem: Problem, axes: Sequence[Spatial], offsets: npt.NDArray[np.int64] | None = None):
        outside = [axis.boundary.value if axis.boundary.constant else 0.0 for axis in axes]
        with np.errstate(over="ignore"):  # a constant too large for float32 is infinity there
            constants = np.array([*outside, problem.spec.epilogue.parameter]).astype(problem.spec.dtypes.sum)
        maps = [axis.table for axis in axes[:-1]] + [axes[-1].border]  # lines are long, and only their ends need a map
        self.arrays: tuple[Array, ...] = (constants, *maps, *(() if offsets is None else (offsets,)))
        self.constants = constants.ctypes.data
        self.maps = [table.ctypes.data for table in maps]
        self.offsets = 0 if offsets is None else offsets.ctypes.data


def contiguous_strides(shape: Sequence[int], itemsize: int) -> list[int]:
    """Bytes between neighbours along each dimension of a C-contiguous array."""
    return [math.prod(shape[i + 1 :]) * itemsize for i in range(len(shape))]


def aligned(count: int) -> int:
    """The next multiple of a cache line.

    >>> aligned(65)
    128
    """
    return -(-count // 64) * 64
