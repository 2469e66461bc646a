"""What pooling looks at: `Pooling`, the frozen description, and the windows along each of its axes as tables.

Pooling treats every axis alike and every channel alone, so a description is a row of axes. Output p of an axis meets the elements

    first[p] + step·j,    0 <= j < count[p]

of the array, none of which lies outside: what padding adds is already clipped away. `Sliding` windows follow one another at equal
distances; `Bins` cut an axis of any size into a given number of windows. A window in n dimensions is the product of its n windows.

The transpose of such tables has the same form: element v is met by the outputs first'[v] + step'·j (`Windows.transpose`). So the
gradient of a sum over windows is again a sum over windows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from juanji.errors import ArgumentError, ShapeError
from juanji.kept import kept
from juanji.spec import LAYOUTS, MOST_ELEMENTS, span

Index = npt.NDArray[np.int64]

KINDS = ("max", "avg", "lp", "weighted")


@dataclass(frozen=True)
class Slide:
    """Windows before clipping: output p meets p·stride − low + dilation·k for every k below `window`."""

    window: int
    stride: int
    dilation: int
    low: int


@dataclass(frozen=True)
class Spread:
    """The transpose of a slide: element v is met by every output p with 0 <= v + low − p·stride < window."""

    window: int
    stride: int
    low: int


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows along one axis, as tables over the outputs; what they are the clipped form of, if it is regular."""

    size: int
    first: Index
    count: Index
    step: int
    regular: Slide | Spread | None

    @property
    def out(self) -> int:
        """How many windows there are."""
        return len(self.first)

    def transpose(self) -> Windows:
        """Which outputs meet each element.

        >>> met = Sliding(5, window=3, stride=2).windows.transpose()
        >>> met.first.tolist(), met.count.tolist()
        ([0, 0, 0, 1, 1], [1, 1, 2, 1, 1])
        """
        elements = np.arange(self.size, dtype=np.int64)
        if self.step == 1:
            first = np.searchsorted(self.first + self.count, elements, "right")
            count = np.maximum(np.searchsorted(self.first, elements, "right") - first, 0)
        else:
            first, count = np.full_like(elements, self.out), np.zeros_like(elements)
            for j in range(int(self.count.max())):
                (outputs,) = np.nonzero(self.count > j)
                met = self.first[outputs] + self.step * j
                np.minimum.at(first, met, outputs)
                np.add.at(count, met, 1)
        regular: Slide | Spread | None = None
        step = 1
        if isinstance(self.regular, Slide):
            s = self.regular
            step = s.dilation // math.gcd(s.stride, s.dilation)
            if s.stride == 1:
                regular = Slide(s.window, 1, s.dilation, s.dilation * (s.window - 1) - s.low)
            elif s.dilation == 1:
                regular = Spread(s.window, s.stride, s.low)
        return Windows(self.out, first.astype(np.int64), count.astype(np.int64), step, regular)


@dataclass(frozen=True)
class Sliding:
    """An axis under windows at equal distances.

    Outputs: floor((low + size + high − dilation·(window − 1) − 1) / stride) + 1, or with `ceil` the ceiling, less one if the last
    window would start beyond the array and its low padding.
    """

    size: int
    window: int
    stride: int = 1
    dilation: int = 1
    low: int = 0
    high: int = 0
    ceil: bool = False

    @kept
    def out(self) -> int:
        """How many windows there are."""
        room = self.low + self.size + self.high - span(self.window, self.dilation)
        if not self.ceil:
            return room // self.stride + 1
        out = -(-room // self.stride) + 1
        return out - 1 if (out - 1) * self.stride >= self.size + self.low else out

    @property
    def windows(self) -> Windows:
        """The windows, clipped to the array; made anew, because tables of long axes are large."""
        start = np.arange(self.out, dtype=np.int64) * self.stride - self.low
        skipped = -(-np.maximum(-start, 0) // self.dilation)
        met = -(-np.maximum(self.size - start, 0) // self.dilation)
        count = np.minimum(met, self.window) - skipped
        slide = Slide(self.window, self.stride, self.dilation, self.low)
        return Windows(self.size, start + skipped * self.dilation, count, self.dilation, slide)

    def divisor(self, padded: bool) -> Index:
        """How many elements of each window count: those inside, or also those of the padding that was asked for."""
        if not padded:
            return self.windows.count
        start = np.arange(self.out, dtype=np.int64) * self.stride - self.low
        return np.minimum(-(-(self.size + self.high - start) // self.dilation), self.window)


@dataclass(frozen=True)
class Bins:
    """An axis cut into `out` windows: from floor(p·size / out) up to ceil((p + 1)·size / out)."""

    size: int
    out: int

    @property
    def windows(self) -> Windows:
        """The windows."""
        p = np.arange(self.out, dtype=np.int64)
        first = p * self.size // self.out
        return Windows(self.size, first, -(-(p + 1) * self.size // self.out) - first, 1, None)

    def divisor(self, padded: bool) -> Index:
        """How many elements each window has."""
        return self.windows.count


Axis = Sliding | Bins


@dataclass(frozen=True)
class Pooling:
    """A pooling over n spatial axes: everything about it but the numbers. Canonical values only, so that equal ones are equal keys."""

    axes: tuple[Axis, ...]
    kind: str = "max"
    batch: int = 1
    channels: int = 1
    layout: str = "channels_first"
    dtype: str = "float32"
    padding_counts: bool = False  # whether averages count the padding
    p: float = 2.0

    def __post_init__(self) -> None:
        _check(self)

    @property
    def n(self) -> int:
        """How many spatial axes."""
        return len(self.axes)

    @kept
    def output(self) -> tuple[int, ...]:
        """The output's spatial shape."""
        return tuple(axis.out for axis in self.axes)

    @kept
    def size(self) -> tuple[int, ...]:
        """The input's spatial shape."""
        return tuple(axis.size for axis in self.axes)

    @kept
    def x_shape(self) -> tuple[int, ...]:
        """The input's shape, batch included."""
        return self._shape(self.size)

    @kept
    def y_shape(self) -> tuple[int, ...]:
        """The output's shape, batch included."""
        return self._shape(self.output)

    @kept
    def y_dtype(self) -> str:
        """The output's element type: that of the input, but float64 for means of integers."""
        whole = np.dtype(self.dtype).kind in "iub"
        return "float64" if whole and self.kind != "max" else self.dtype

    def _shape(self, spatial: tuple[int, ...]) -> tuple[int, ...]:
        if self.layout == "channels_first":
            return (self.batch, self.channels, *spatial)
        return (self.batch, *spatial, self.channels)


def sliding(
    size: tuple[int, ...],
    window: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    ceil: bool,
) -> tuple[Sliding, ...]:
    """The axes of pooling with a window that slides along all of them."""
    per_axis = zip(size, window, stride, dilation, padding, strict=True)
    return tuple(Sliding(n, k, s, d, low, high, ceil) for n, k, s, d, (low, high) in per_axis)


def bins(size: tuple[int, ...], output: tuple[int, ...]) -> tuple[Axis, ...]:
    """The axes of pooling to a fixed size. Where that divides the input's, they are axes with a sliding window.

    >>> bins((6, 5), (2, 2))
    (Sliding(size=6, window=3, stride=3, dilation=1, low=0, high=0, ceil=False), Bins(size=5, out=2))
    """
    return tuple(Bins(n, out) if n % out else Sliding(n, n // out, n // out) for n, out in zip(size, output, strict=True))


def _check(pooling: Pooling) -> None:
    if not pooling.axes:
        raise ShapeError("x needs at least one spatial axis, it has none")
    for name, value, valid in (("kind", pooling.kind, KINDS), ("layout", pooling.layout, LAYOUTS)):
        if value not in valid:
            raise ArgumentError(f"{name} (={value!r}) must be one of {', '.join(valid)}")
    if not pooling.p >= 1:
        raise ArgumentError(f"p (={pooling.p!r}) must be a number of at least 1")
    if pooling.channels < 1:
        raise ShapeError(f"channels (={pooling.channels}) must be at least 1")
    for number, axis in enumerate(pooling.axes):
        if axis.size < 1:
            raise ShapeError(f"x (size {axis.size}) must have at least one element along spatial axis {number}")
        if isinstance(axis, Sliding):
            _check_windows(number, axis)
    for name, shape in (("x", pooling.x_shape), ("output", pooling.y_shape)):
        if math.prod(shape) > MOST_ELEMENTS:
            raise ShapeError(f"{name} of shape {'×'.join(map(str, shape))} has more elements than a 64-bit address reaches")


def _check_windows(number: int, axis: Sliding) -> None:
    padded = f"axis {number} is {axis.size} + {axis.low} + {axis.high} padding = {axis.low + axis.size + axis.high}"
    if axis.out < 1:
        covers = f"window of size {axis.window}"
        if axis.dilation > 1:
            covers += f" with dilation {axis.dilation} spans {span(axis.window, axis.dilation)}"
        raise ShapeError(f"{covers}, but {padded}")
    if axis.low < axis.window and axis.high < axis.window and axis.dilation == 1 and not axis.ceil:
        return  # the usual case, seen without making the tables
    empty = np.flatnonzero(axis.windows.count < 1)
    if len(empty):
        start = int(empty[0]) * axis.stride - axis.low
        taps = f"from {start} in steps of {axis.dilation}" if axis.dilation > 1 else f"from {start} to {start + axis.window - 1}"
        raise ShapeError(f"window {empty[0]} of axis {number} ({taps}) meets only padding: {padded}")
