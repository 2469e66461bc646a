"""Operators that move values along any axes, the batch among them: what networks from files do between layers.

All are linear, y = A·x, so the way back is Aᵀ: what was copied is summed, what was left out gets zeros.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from juanji import boundary as boundaries
from juanji.describe import BoundaryLike, parse_boundaries
from juanji.errors import ArgumentError, ShapeError
from juanji.nn.joins import broadcast, unrepeated
from juanji.nn.operator import Array, Back, Box, Operator, Parameters, Run, Shape, one_of, whole


@dataclass(frozen=True, eq=False)
class _Layout(Operator):
    """An operator whose outputs may depend on any place of its input."""

    def sees(self, box: Box, *shapes: Shape) -> tuple[Box, ...]:
        return (whole(shapes[0]),)


@dataclass(frozen=True, eq=False)
class ToFloat(Operator):
    """Integers as float32."""

    stem: ClassVar[str] = "to_float"

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        return inputs[0].astype(np.float32), None

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        return Back((None,))


@dataclass(frozen=True, eq=False)
class Rearrange(_Layout):
    """All values, the batch included, in another shape: a length may be −1, and 0 keeps the length that stands there."""

    stem: ClassVar[str] = "rearrange"
    to: Sequence[int]

    def shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        if any(length == 0 and i >= len(shape) for i, length in enumerate(self.to)):
            raise ShapeError(f"{self} keeps an axis that {shape} has not")
        to = tuple(shape[i] if length == 0 else length for i, length in enumerate(self.to))
        size, known = math.prod(shape), math.prod(length for length in to if length != -1)
        if to.count(-1) > 1 or (-1 in to and (not known or size % known)) or (-1 not in to and known != size):
            raise ShapeError(f"{self} cannot take {shape}: {size} values")
        return tuple(size // known if length == -1 else length for length in to)

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        return inputs[0].reshape(self.shape(inputs[0].shape)), inputs[0].shape

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        return Back((dy.reshape(saved),))


@dataclass(frozen=True, eq=False)
class Transpose(_Layout):
    """Axes in another order: output axis i is input axis axes[i]; all reversed if None."""

    stem: ClassVar[str] = "transpose"
    axes: Sequence[int] | None = None

    def _axes(self, ndim: int) -> tuple[int, ...]:
        axes = tuple(reversed(range(ndim))) if self.axes is None else tuple(self.axes)
        if sorted(axes) != list(range(ndim)):
            raise ShapeError(f"{self} cannot order {ndim} axes")
        return axes

    def shape(self, *shapes: Shape) -> Shape:
        return tuple(shapes[0][axis] for axis in self._axes(len(shapes[0])))

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        axes = self._axes(inputs[0].ndim)
        return inputs[0].transpose(axes), axes

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        return Back((dy.transpose(tuple(np.argsort(saved))),))


@dataclass(frozen=True, eq=False)
class AddAxes(_Layout):
    """New axes of length 1, at these places of the result."""

    stem: ClassVar[str] = "add_axes"
    axes: Sequence[int]

    def shape(self, *shapes: Shape) -> Shape:
        ndim = len(shapes[0]) + len(self.axes)
        new, sizes = {axis % ndim for axis in self.axes}, iter(shapes[0])
        if len(new) != len(self.axes):
            raise ArgumentError(f"{self} names an axis twice")
        return tuple(1 if i in new else next(sizes) for i in range(ndim))

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        return inputs[0].reshape(self.shape(inputs[0].shape)), inputs[0].shape

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        return Back((dy.reshape(saved),))


@dataclass(frozen=True, eq=False)
class DropAxes(_Layout):
    """Without these axes, which have length 1; without all of length 1 if None."""

    stem: ClassVar[str] = "drop_axes"
    axes: Sequence[int] | None = None

    def shape(self, *shapes: Shape) -> Shape:
        (shape,) = shapes
        drop = {i for i, size in enumerate(shape) if size == 1} if self.axes is None else {axis % len(shape) for axis in self.axes}
        if any(shape[axis] != 1 for axis in drop):
            raise ShapeError(f"{self} cannot take {shape}: axes that are dropped must have length 1")
        return tuple(size for i, size in enumerate(shape) if i not in drop)

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        return inputs[0].reshape(self.shape(inputs[0].shape)), inputs[0].shape

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        return Back((dy.reshape(saved),))


@dataclass(frozen=True, eq=False)
class Slice(Operator):
    """start:end:step along some axes, as in Python."""

    stem: ClassVar[str] = "slice"
    starts: Sequence[int]
    ends: Sequence[int]
    axes: Sequence[int]
    steps: Sequence[int]

    def __post_init__(self) -> None:
        if 0 in self.steps:
            raise ArgumentError(f"steps (={self.steps!r}) must not be 0")

    def _index(self, ndim: int) -> tuple[slice, ...]:
        index = [slice(None)] * ndim
        for start, end, axis, step in zip(self.starts, self.ends, self.axes, self.steps, strict=True):
            index[axis] = slice(start, end, step)
        return tuple(index)

    def shape(self, *shapes: Shape) -> Shape:
        return tuple(len(range(*cut.indices(size))) for cut, size in zip(self._index(len(shapes[0])), shapes[0], strict=True))

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        index = self._index(inputs[0].ndim)
        return inputs[0][index], (inputs[0].shape, index)

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        dx = np.zeros(saved[0], dy.dtype)
        dx[saved[1]] = dy
        return Back((dx,))

    def sees(self, box: Box, *shapes: Shape) -> tuple[Box, ...]:
        found = []
        for cut, size, (first, last) in zip(self._index(len(shapes[0]))[2:], shapes[0][2:], box, strict=True):
            start, _, step = cut.indices(size)
            ends = (start + step * first, start + step * last)
            found.append((min(ends), max(ends)))
        return (tuple(found),)


@dataclass(frozen=True, eq=False)
class Split(_Layout):
    """Pieces along an axis: of these sizes, or so many parts, of which the last may be shorter."""

    stem: ClassVar[str] = "split"
    axis: int = 1
    sizes: Sequence[int] | None = None
    parts: int = 0

    @property
    def outputs(self) -> int:  # type: ignore[override]
        return self.parts if self.sizes is None else len(self.sizes)

    def _sizes(self, size: int) -> list[int]:
        part = -(-size // max(self.parts, 1))
        sizes = [min(part, size - part * i) for i in range(self.parts)] if self.sizes is None else list(self.sizes)
        if sum(sizes) != size or min(sizes, default=-1) < 0:
            raise ShapeError(f"{self} cannot cut an axis of {size}")
        return sizes

    def shape(self, *shapes: Shape) -> Shape:
        return self.shapes(*shapes)[0]

    def shapes(self, *shapes: Shape) -> tuple[Shape, ...]:
        axis = self.axis % len(shapes[0])
        return tuple((*shapes[0][:axis], size, *shapes[0][axis + 1 :]) for size in self._sizes(shapes[0][axis]))

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Any, Any]:
        sizes = self._sizes(inputs[0].shape[self.axis])
        pieces = tuple(np.split(inputs[0], np.cumsum(sizes)[:-1], axis=self.axis))
        return (pieces if len(pieces) > 1 else pieces[0]), [piece.shape for piece in pieces]

    def backward(self, p: Parameters, saved: Any, dy: Any, wanted: tuple[bool, ...]) -> Back:
        if len(saved) == 1:
            return Back((dy,))
        like = next(piece for piece in dy if piece is not None)
        pieces = [np.zeros(shape, like.dtype) if piece is None else piece for piece, shape in zip(dy, saved, strict=True)]
        return Back((np.concatenate(pieces, axis=self.axis),))


@dataclass(frozen=True, eq=False)
class Expand(Operator):
    """Axes of length 1 repeated, and axes added in front, so that the input and `to` have one shape."""

    stem: ClassVar[str] = "expand"
    to: Sequence[int]

    def shape(self, *shapes: Shape) -> Shape:
        return broadcast(self, (shapes[0], tuple(self.to)))

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        return np.ascontiguousarray(np.broadcast_to(inputs[0], self.shape(inputs[0].shape))), inputs[0].shape

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        return Back((unrepeated(dy, saved),))

    def sees(self, box: Box, *shapes: Shape) -> tuple[Box, ...]:
        return (whole(shapes[0]),)


@dataclass(frozen=True, eq=False)
class Tile(_Layout):
    """The input repeated so many times along each axis."""

    stem: ClassVar[str] = "tile"
    repeats: Sequence[int]

    def shape(self, *shapes: Shape) -> Shape:
        if len(shapes[0]) != len(self.repeats):
            raise ShapeError(f"{self} cannot take {shapes[0]}: one number is needed for each axis")
        return tuple(size * times for size, times in zip(shapes[0], self.repeats, strict=True))

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        self.shape(inputs[0].shape)
        return np.tile(inputs[0], tuple(self.repeats)), inputs[0].shape

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        apart = dy.reshape([length for pair in zip(self.repeats, saved, strict=True) for length in pair])
        return Back((apart.sum(axis=tuple(range(0, apart.ndim, 2))),))


@dataclass(frozen=True, eq=False)
class Take(_Layout):
    """Elements of an axis by their places, in any order, repeated or not; one integer drops the axis."""

    stem: ClassVar[str] = "take"
    places: Any
    axis: int = 0

    def shape(self, *shapes: Shape) -> Shape:
        axis = self.axis % len(shapes[0])
        return (*shapes[0][:axis], *np.shape(self.places), *shapes[0][axis + 1 :])

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        size, places = inputs[0].shape[self.axis], np.asarray(self.places, np.int64)
        if places.size and not -size <= places.min() <= places.max() < size:
            raise ShapeError(f"{self} takes places that an axis of {size} has not")
        return np.take(inputs[0], places, axis=self.axis), inputs[0].shape

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        axis, places = self.axis % len(saved), np.asarray(self.places, np.int64)
        dx = np.zeros(saved, dy.dtype)
        flat = dy.reshape(*saved[:axis], places.size, *saved[axis + 1 :])
        np.add.at(np.moveaxis(dx, axis, 0), places.reshape(-1), np.moveaxis(flat, axis, 0))
        return Back((dx,))


@dataclass(frozen=True, eq=False)
class PadAxes(Operator):
    """More elements at the ends of any axes: (low, high) for each axis, the batch first; boundary as for `jj.conv`."""

    stem: ClassVar[str] = "pad"
    sides: Sequence[tuple[int, int]]
    boundary: BoundaryLike = "zero"

    def shape(self, *shapes: Shape) -> Shape:
        if len(shapes[0]) != len(self.sides):
            raise ShapeError(f"{self} cannot take {shapes[0]}: (low, high) are needed for each axis")
        return tuple(low + size + high for size, (low, high) in zip(shapes[0], self.sides, strict=True))

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        self.shape(inputs[0].shape)
        (mode,) = parse_boundaries(self.boundary, 1)
        y = inputs[0]
        for axis, (low, high) in enumerate(self.sides):
            if low or high:
                y = boundaries.pad(y, axis, low, high, mode)
        return y, None

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        (mode,) = parse_boundaries(self.boundary, 1)
        for axis, (low, high) in reversed(list(enumerate(self.sides))):
            if low or high:
                dy = boundaries.fold(dy, axis, low, high, mode)
        return Back((dy,))

    def sees(self, box: Box, *shapes: Shape) -> tuple[Box, ...]:
        return (tuple((a - low, b - low) for (a, b), (low, _) in zip(box, self.sides[2:], strict=True)),)


@dataclass(frozen=True, eq=False)
class DepthToSpace(_Layout):
    """Blocks of block × block pixels from channels: (N, C·block², H, W) to (N, C, H·block, W·block).

    order: "DCR" if the place in the block is the outer part of the channel number, "CRD" if it is the inner (PyTorch's pixel shuffle).
    """

    stem: ClassVar[str] = "depth_to_space"
    block: int
    order: str = "CRD"

    def __post_init__(self) -> None:
        one_of("order", self.order, ("DCR", "CRD"))

    def shape(self, *shapes: Shape) -> Shape:
        n, c, h, w = _picture(self, shapes[0])
        if self.block < 1 or c % self.block**2:
            raise ShapeError(f"{self} cannot take {shapes[0]}: channels must be a multiple of block²")
        return n, c // self.block**2, h * self.block, w * self.block

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        n, c, h, w = self.shape(inputs[0].shape)
        b, (height, width) = self.block, inputs[0].shape[2:]
        parts, axes = ((n, b, b, c, height, width), (0, 3, 4, 1, 5, 2)) if self.order == "DCR" else (
            (n, c, b, b, height, width), (0, 1, 4, 2, 5, 3)
        )  # fmt: skip
        return inputs[0].reshape(parts).transpose(axes).reshape(n, c, h, w), None

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        return Back((_blocks_to_channels(dy, self.block, self.order),))


@dataclass(frozen=True, eq=False)
class SpaceToDepth(_Layout):
    """Channels from blocks of pixels: the inverse of `DepthToSpace`."""

    stem: ClassVar[str] = "space_to_depth"
    block: int
    order: str = "DCR"

    def __post_init__(self) -> None:
        one_of("order", self.order, ("DCR", "CRD"))

    def shape(self, *shapes: Shape) -> Shape:
        n, c, h, w = _picture(self, shapes[0])
        if self.block < 1 or h % self.block or w % self.block:
            raise ShapeError(f"{self} cannot take {shapes[0]}: height and width must be multiples of the block")
        return n, c * self.block**2, h // self.block, w // self.block

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        self.shape(inputs[0].shape)
        return _blocks_to_channels(inputs[0], self.block, self.order), None

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        return Back((DepthToSpace(self.block, self.order).forward({}, dy, run=Run())[0],))


def _picture(op: Operator, shape: Shape) -> tuple[int, int, int, int]:
    if len(shape) != 4:
        raise ShapeError(f"{op} takes (N, C, H, W), not {shape}")
    return shape[0], shape[1], shape[2], shape[3]


def _blocks_to_channels(x: Array, b: int, order: str) -> Array:
    n, c, h, w = x.shape
    axes = (0, 3, 5, 1, 2, 4) if order == "DCR" else (0, 1, 3, 5, 2, 4)
    return x.reshape(n, c, h // b, b, w // b, b).transpose(axes).reshape(n, c * b * b, h // b, w // b)
