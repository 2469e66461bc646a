"""What every schedule of a tile looks at: a contraction that gathers, its loops, and where its arrays lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.algorithms.costs import FAR, FEWEST_STEPS, FMA_PER_CYCLE, MOST_STEP, MOST_TAPS
from juanji.algorithms.loops import Spatial, loops
from juanji.contraction import Contraction
from juanji.exact import Narrowing, in_words
from juanji.jit.elements import SCALARS, together
from juanji.kept import kept
from juanji.machine import Machine
from juanji.spec import WORDS, Dtypes, Epilogue, itemsize

Array = npt.NDArray[Any]


class Problem:
    """A forward-like contraction of shared weights on a machine: a convolution, or a piece of the gradient of its input.

    dtypes and epilogue are those of the contraction's own x, w and y. features and channels are those of one group.
    """

    def __init__(
        self,
        contraction: Contraction,
        dtypes: Dtypes,
        epilogue: Epilogue,
        machine: Machine,
        goal: int = 0,
        overflow: str = "saturate",
    ):
        self.contraction, self.dtypes, self.epilogue, self.machine, self.goal = contraction, dtypes, epilogue, machine, goal
        self.narrowing = Narrowing(overflow, dtypes.integers)
        self.loops = loops(self.contraction)
        self.x_shape, self.y_shape = contraction.x.shape, contraction.y.shape
        self.channel_dimension = contraction.x.dimensions.index(contraction.x.along("c"))
        extent = self.contraction.extent
        self.batch, self.groups, self.features, self.channels = extent("n"), extent("g"), extent("o"), extent("c")
        self.kernel = math.prod(s.kernel for s in self.loops.spatial)
        self.word = 1  # channels that an element holds
        self.bytes = itemsize(dtypes.sum)
        self.lanes = 1 if dtypes.sum in WORDS else machine.vector_bits // 8 // self.bytes
        self.last = self.channel_dimension > 1
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

    @kept
    def lanewise(self) -> int:
        """Channels of a group if lanes can be channels of input and output alike, else 0.

        1 for a depthwise layer, whose lanes meet lanes; a power of two where a vector holds whole groups, whose channels change
        places within it.
        """
        m = self.channels
        if self.groups == 1 or self.features != m or (m > 1 and self.block != m):
            return 0
        return m if m == 1 or (m < self.lanes and m & (m - 1) == 0 and self.groups * m % self.lanes == 0) else 0

    @kept
    def y_strides(self) -> list[int]:
        """Bytes between neighbours of the output along each of its dimensions."""
        return contiguous_strides(self.y_shape, np.dtype(self.dtypes.y).itemsize)

    @property
    def y_start(self) -> int:
        """Bytes before the first output."""
        return self.contraction.y.offset * np.dtype(self.dtypes.y).itemsize

    def y_step(self, axis: Spatial) -> int:
        """Bytes from one output to the next along an axis."""
        return self.y_strides[axis.y] * axis.step if axis.y >= 0 else 0

    @kept
    def gaps(self) -> bool:
        """Whether the outputs of an image and feature do not lie one behind the other."""
        step = self.y_strides[self.loops.spatial[-1].y]
        for axis in reversed(self.loops.spatial):
            if self.y_step(axis) != step and axis.out > 1:
                return True
            step *= axis.out
        return False

    @property
    def together(self) -> int:
        """How many neighbouring vectors of sums are stored as one."""
        return together(SCALARS[self.dtypes.sum], self.dtypes.y, self.narrowing)

    @property
    def apart(self) -> int:
        """Elements from one output to the next in a row of planes with gaps, if a vector can be spread over them, else 0."""
        step = self.loops.spatial[-1].step
        return step if self.gaps and not self.last and step <= MOST_STEP else 0

    @property
    def converted(self) -> bool:
        """Whether the input's elements are not what sums are made of."""
        return self.dtypes.x != self.dtypes.sum

    @property
    def products_per_cycle(self) -> float:
        """Vectors that are multiplied and added."""
        return FMA_PER_CYCLE

    def constants(self, outside: npt.NDArray[np.float64], parameter: float) -> Array:
        """What stands outside each axis, and the activation's parameter, as a kernel finds them in memory."""
        with np.errstate(over="ignore"):  # a constant too large for float32 is infinity there
            return as_sums(np.array([*outside, parameter]), self.dtypes.sum)

    @property
    def stream(self) -> bool:
        """Whether the output is so large that the second cache would have forgotten it before anyone reads it."""
        return not self.gaps and math.prod(self.y_shape) * np.dtype(self.dtypes.y).itemsize > 2 * self.machine.l2

    @kept
    def far(self) -> bool:
        """Whether input and output together are more than may be expected in the second cache."""
        return (math.prod(self.x_shape) + math.prod(self.y_shape)) * self.bytes > FAR * self.machine.l2

    def close(self, unit: bool) -> tuple[int, ...]:
        """The input's dimensions that must lie close together, innermost first.

        unit: neighbours along the innermost spatial axis are read as vectors. Merged axes must lie close in any case.
        """
        dimensions = tuple(reversed(range(len(self.x_shape))))
        spatial = dimensions[1:-1] if self.last else dimensions[:-2]
        if self.loops.merged:
            return dimensions[:-1] if self.last else spatial
        if not unit:
            return ()
        return spatial[:1] if not self.last else dimensions[:2]


    def close_in_chunks(self, lines: bool) -> tuple[int, ...]:
        """The same for a tile that reads chunks: all dimensions where it reads them whole, in place or in one run, else their lines."""
        dimensions = tuple(reversed(range(len(self.x_shape))))
        if not lines:
            return dimensions
        return (dimensions[0], *self.close(unit=False)) if self.last else self.close(unit=True)


class Tables:
    """Index maps, constants and offsets, and the addresses where generated code finds them."""

    def __init__(
        self,
        problem: Problem,
        axes: Sequence[Spatial],
        offsets: npt.NDArray[np.int64] | None = None,
        goals: npt.NDArray[np.int64] | None = None,
    ):
        outside = [axis.boundary.value if axis.boundary.constant else 0.0 for axis in axes]
        constants = problem.constants(np.array(outside), problem.epilogue.parameter)
        maps = [axis.table for axis in axes[:-1]] + [axes[-1].border]  # lines are long, and only their ends need a map
        self.arrays: tuple[Array, ...] = (constants, *maps, *(table for table in (offsets, goals) if table is not None))
        self.constants = constants.ctypes.data
        self.maps = [table.ctypes.data for table in maps]
        self.offsets = 0 if offsets is None else offsets.ctypes.data
        self.goals = 0 if goals is None else goals.ctypes.data


def as_sums(numbers: Array, dtype: str) -> Array:
    """Numbers in the type of a sum, as generated code finds them in memory."""
    return in_words(numbers.astype(np.int64), dtype) if dtype in WORDS else numbers.astype(dtype)


def contiguous_strides(shape: Sequence[int], itemsize: int) -> list[int]:
    """Bytes between neighbours along each dimension of a C-contiguous array."""
    return [math.prod(shape[i + 1 :]) * itemsize for i in range(len(shape))]


def aligned(count: int) -> int:
    """The next multiple of a cache line.

    >>> aligned(65)
    128
    """
    return -(-count // 64) * 64
