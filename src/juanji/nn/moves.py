"""Operators that move values about and compute nothing, or take each output from a few inputs with fixed weights.

All are linear, y = A·x, so the way back is Aᵀ: what was copied is summed, what was cut off gets zeros.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from juanji import boundary as boundaries
from juanji.describe import BoundaryLike, PerAxis, parse_boundaries, per_axis
from juanji.errors import ArgumentError, ShapeError
from juanji.nn.initial import Given
from juanji.nn.operator import Array, Back, Box, Operator, Parameter, Parameters, Run, Shape, one_of, spatial, whole


@dataclass(frozen=True, eq=False)
class Constant(Operator):
    """A value of its own, with no inputs: a stored array, trained or not."""

    stem: ClassVar[str] = "constant"
    value: Any = field(default=None, metadata={"saved": False}, repr=False)
    trained: bool = False
    size: Shape | None = None

    def __post_init__(self) -> None:
        if self.value is not None:
            object.__setattr__(self, "size", np.shape(self.value))

    def parameters(self, *shapes: Shape) -> dict[str, Parameter]:
        assert self.size is not None
        return {"value": Parameter(tuple(self.size), Given(self.value))}

    def trains(self, parameter: str) -> bool:
        return self.trained

    def shape(self, *shapes: Shape) -> Shape:
        assert self.size is not None
        return tuple(self.size)

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        return p["value"], None

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        return Back((), {"value": dy} if self.trained else {})

    def sees(self, box: Box, *shapes: Shape) -> tuple[Box, ...]:
        return ()


@dataclass(frozen=True, eq=False)
class _Reshaped(Operator):
    """The same values in the shape that the subclass's `shape` says."""

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        return inputs[0].reshape(self.shape(inputs[0].shape)), inputs[0].shape

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        return Back((dy.reshape(saved),))

    def sees(self, box: Box, *shapes: Shape) -> tuple[Box, ...]:
        return (whole(shapes[0]),)


@dataclass(frozen=True, eq=False)
class Flatten(_Reshaped):
    """(N, C, *S) to (N, C·ΠS)."""

    stem: ClassVar[str] = "flatten"

    def shape(self, *shapes: Shape) -> Shape:
        return (shapes[0][0], math.prod(shapes[0][1:]))


@dataclass(frozen=True, eq=False)
class Reshape(_Reshaped):
    """Each sample in another shape; one length may be −1."""

    stem: ClassVar[str] = "reshape"
    to: Sequence[int]

    def shape(self, *shapes: Shape) -> Shape:
        size, to = math.prod(shapes[0][1:]), tuple(self.to)
        known = math.prod(length for length in to if length != -1)
        if to.count(-1) > 1 or (-1 in to and (not known or size % known)) or (-1 not in to and known != size):
            raise ShapeError(f"{self} cannot take {shapes[0]}: {size} values per sample")
        return (shapes[0][0], *(size // known if length == -1 else length for length in to))


@dataclass(frozen=True, eq=False)
class Pad(Operator):
    """More elements around each spatial axis: an int, one per axis, or (low, high) pairs; boundary as for `jj.conv`."""

    stem: ClassVar[str] = "pad"
    padding: Any
    boundary: BoundaryLike = "zero"

    def _sides(self, shape: Shape) -> tuple[tuple[int, int], ...]:
        return sides_of("padding", self.padding, spatial(self, shape))

    def shape(self, *shapes: Shape) -> Shape:
        sides = self._sides(shapes[0])
        return (*shapes[0][:2], *(low + size + high for size, (low, high) in zip(shapes[0][2:], sides, strict=True)))

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        (x,) = inputs
        y = x
        for axis, ((low, high), mode) in enumerate(zip(self._sides(x.shape), self._modes(x.shape), strict=True), start=2):
            y = boundaries.pad(y, axis, low, high, mode)
        return y, x.shape

    def _modes(self, shape: Shape) -> tuple[boundaries.Boundary, ...]:
        return parse_boundaries(self.boundary, len(shape) - 2)

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        sides = list(enumerate(zip(self._sides(saved), self._modes(saved), strict=True), start=2))
        for axis, ((low, high), mode) in reversed(sides):
            dy = boundaries.fold(dy, axis, low, high, mode)
        return Back((dy,))

    def sees(self, box: Box, *shapes: Shape) -> tuple[Box, ...]:
        return (tuple((a - low, b - low) for (a, b), (low, _) in zip(box, self._sides(shapes[0]), strict=True)),)


@dataclass(frozen=True, eq=False)
class Crop(Operator):
    """Fewer elements at the ends of each spatial axis: an int, one per axis, or (low, high) pairs.

    With a second input, and no margins, the middle of the first in the second's size.
    """

    stem: ClassVar[str] = "crop"
    margins: Any = None

    def _sides(self, shapes: tuple[Shape, ...]) -> tuple[tuple[int, int], ...]:
        n = spatial(self, shapes[0])
        if self.margins is not None:
            return sides_of("margins", self.margins, n)
        if len(shapes) != 2:
            raise ArgumentError(f"{self} takes margins, or a second input whose size it cuts to")
        gaps = [size - like for size, like in zip(shapes[0][2:], shapes[1][2:], strict=True)]
        return tuple((gap // 2, gap - gap // 2) for gap in gaps)

    def shape(self, *shapes: Shape) -> Shape:
        sides = self._sides(shapes)
        found = tuple(size - low - high for size, (low, high) in zip(shapes[0][2:], sides, strict=True))
        if min(found) < 1 or min(map(min, sides)) < 0:
            raise ShapeError(f"{self} cannot cut {sides} from an input {shapes[0]}")
        return (*shapes[0][:2], *found)

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        shapes = tuple(x.shape for x in inputs)
        self.shape(*shapes)
        index = self._index(shapes)
        return inputs[0][index], (shapes[0], index)

    def _index(self, shapes: tuple[Shape, ...]) -> tuple[slice, ...]:
        sides = zip(shapes[0][2:], self._sides(shapes), strict=True)
        return (slice(None), slice(None), *(slice(low, size - high) for size, (low, high) in sides))

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        shape, index = saved
        dx = np.zeros(shape, dy.dtype)
        dx[index] = dy
        return Back((dx, *(None,) * (len(wanted) - 1)))

    def sees(self, box: Box, *shapes: Shape) -> tuple[Box, ...]:
        own = tuple((a + low, b + low) for (a, b), (low, _) in zip(box, self._sides(shapes), strict=True))
        return (own, *(((0, -1),) * len(box) for _ in shapes[1:]))


@dataclass(frozen=True, eq=False)
class Resize(Operator):
    """Spatial axes in another size: size or scale, each one for all axes or one for each; or, with neither, that of a second input.

    mode: "nearest" or "linear" (bilinear for pictures), along each axis. Output element o lies at i = (o + ½)·S/S' − ½ of the input;
    with align_corners at o·(S − 1)/(S' − 1). "nearest" takes floor(o·S/S'), as PyTorch does. Linear weights: 1 − t and t of the two
    neighbours, t the fraction of i, which is kept inside.
    """

    stem: ClassVar[str] = "resize"
    size: PerAxis | None = None
    scale: float | Sequence[float] | None = None
    mode: str = "nearest"
    align_corners: bool = False

    def __post_init__(self) -> None:
        one_of("mode", self.mode, ("nearest", "linear"))
        if self.size is not None and self.scale is not None:
            raise ArgumentError(f"size (={self.size!r}) or scale (={self.scale!r}) must be given, not both")

    def shape(self, *shapes: Shape) -> Shape:
        n = spatial(self, shapes[0])
        if self.size is not None:
            return (*shapes[0][:2], *per_axis("size", self.size, n, 1))
        if self.scale is None:
            if len(shapes) != 2:
                raise ArgumentError(f"{self} takes a size, a scale, or a second input whose size it takes")
            return (*shapes[0][:2], *shapes[1][2:])
        scales = self.scale if isinstance(self.scale, Sequence) else (self.scale,) * n
        found = tuple(math.floor(size * float(scale)) for size, scale in zip(shapes[0][2:], scales, strict=True))
        if min(found) < 1:
            raise ShapeError(f"{self} leaves nothing of an input {shapes[0]}")
        return (*shapes[0][:2], *found)

    def _along(self, size: int, to: int) -> tuple[Array, Array, Array]:
        return sampled(size, to, self.mode, self.align_corners)

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        x = y = inputs[0]
        for axis, to in enumerate(self.shape(*(value.shape for value in inputs))[2:], start=2):
            low, high, t = self._along(x.shape[axis], to)
            if to == x.shape[axis] and not t.any() and (low == np.arange(to)).all():
                continue
            below = np.take(y, low, axis=axis)
            if t.any():
                weight = t.astype(x.dtype).reshape(-1, *(1,) * (x.ndim - 1 - axis))
                below += weight * (np.take(y, high, axis=axis) - below)
            y = below
        return y, x.shape

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        for axis in reversed(range(2, dy.ndim)):
            low, high, t = self._along(saved[axis], dy.shape[axis])
            matrix = np.zeros((saved[axis], dy.shape[axis]), dy.dtype)
            outputs = np.arange(dy.shape[axis])
            np.add.at(matrix, (low, outputs), 1 - t)
            np.add.at(matrix, (high, outputs), t)
            dy = np.moveaxis(np.moveaxis(dy, axis, -1) @ matrix.T, -1, axis)
        return Back((dy, *(None,) * (len(wanted) - 1)))

    def sees(self, box: Box, *shapes: Shape) -> tuple[Box, ...]:
        found = []
        for (first, last), size, to in zip(box, shapes[0][2:], self.shape(*shapes)[2:], strict=True):
            low, high, t = self._along(size, to)
            a, b = max(first, 0), min(last, to - 1)
            found.append((int(low[a]), int(high[b] if t[b] else low[b])))
        return (tuple(found), *(((0, -1),) * len(box) for _ in shapes[1:]))


@lru_cache(maxsize=256)
def sampled(size: int, to: int, mode: str, align_corners: bool) -> tuple[Array, Array, Array]:
    """For each output element of an axis the two input elements it lies between, and how far towards the second."""
    outputs = np.arange(to)
    if mode == "nearest":
        low = outputs * size // to
        return low, low, np.zeros(to)
    at = outputs * ((size - 1) / (to - 1) if to > 1 else 0.0) if align_corners else (outputs + 0.5) * (size / to) - 0.5
    at = np.clip(at, 0, size - 1)
    low = np.minimum(at.astype(np.int64), max(size - 2, 0))
    return low, np.minimum(low + 1, size - 1), at - low


def sides_of(name: str, value: Any, n: int) -> tuple[tuple[int, int], ...]:
    """(low, high) for each axis from an int, one per axis, or pairs."""
    values = [value] * n if isinstance(value, int) else list(value)
    if len(values) != n:
        raise ArgumentError(f"{name} (={value!r}) must be an integer, or have one entry for each of {n} axes")
    found = tuple((v, v) if isinstance(v, int) else (int(v[0]), int(v[1])) for v in values)
    if any(side < 0 for pair in found for side in pair):
        raise ArgumentError(f"{name} (={value!r}) must not be negative")
    return found
