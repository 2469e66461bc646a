"""What makes one array of several: sums, products, concatenation, each with its forward and its backward side by side.

    add       y = a + b          da = db = dy (summed over axes along which one was repeated)
    multiply  y = a·b            da = dy·b    db = dy·a
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from juanji.errors import ArgumentError, ShapeError
from juanji.jit.memory import empty_aligned
from juanji.nn.operator import Array, Back, Box, Operator, Parameters, Run, Shape, same_shape, whole


def unrepeated(gradient: Array, shape: Shape) -> Array:
    """The sum over the axes along which an input of this shape was repeated."""
    if gradient.shape == shape:
        return gradient
    extra = gradient.ndim - len(shape)
    axes = (*range(extra), *(i + extra for i, size in enumerate(shape) if size == 1 != gradient.shape[i + extra]))
    total: Array = gradient.sum(axis=axes, keepdims=True)
    return total.reshape(shape)


def broadcast(op: Operator, shapes: tuple[Shape, ...]) -> Shape:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise ShapeError(f"{op} takes inputs of shapes that can be repeated to one, not {' and '.join(map(str, shapes))}") from None


@dataclass(frozen=True, eq=False)
class Add(Operator):
    """The sum of its inputs; axes of length 1 are repeated."""

    stem: ClassVar[str] = "add"

    def shape(self, *shapes: Shape) -> Shape:
        return broadcast(self, shapes)

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        y = inputs[0] + inputs[1] if len(inputs) > 1 else inputs[0]
        for other in inputs[2:]:
            y = y + other
        return y, tuple(x.shape for x in inputs)

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        return Back(tuple(unrepeated(dy, shape) if want else None for shape, want in zip(saved, wanted, strict=True)))

    def sees(self, box: Box, *shapes: Shape) -> tuple[Box, ...]:
        return repeated_sees(box, shapes)


@dataclass(frozen=True, eq=False)
class Multiply(Operator):
    """The product of two inputs; axes of length 1 are repeated."""

    stem: ClassVar[str] = "multiply"

    def shape(self, *shapes: Shape) -> Shape:
        if len(shapes) != 2:
            raise ArgumentError(f"{self} takes two inputs, not {len(shapes)}")
        return broadcast(self, shapes)

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        a, b = inputs
        return a * b, (a, b)

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        a, b = saved
        return Back((unrepeated(dy * b, a.shape) if wanted[0] else None, unrepeated(dy * a, b.shape) if wanted[1] else None))

    def macs(self, *shapes: Shape) -> int:
        return math.prod(broadcast(self, shapes))

    def sees(self, box: Box, *shapes: Shape) -> tuple[Box, ...]:
        return repeated_sees(box, shapes)


def repeated_sees(box: Box, shapes: tuple[Shape, ...]) -> tuple[Box, ...]:
    """Along repeated axes every element depends on the one there is."""
    longest = max(shapes, key=len)

    def of(shape: Shape) -> Box:
        if len(shape) != len(longest):
            return whole(shape)
        return tuple((0, 0) if size == 1 != most else side for size, most, side in zip(shape[2:], longest[2:], box, strict=True))

    return tuple(map(of, shapes))


@dataclass(frozen=True, eq=False)
class Concatenate(Operator):
    """Its inputs one behind the other along an axis, the channels."""

    stem: ClassVar[str] = "concatenate"
    axis: int = 1

    def shape(self, *shapes: Shape) -> Shape:
        axis = self.axis % len(shapes[0])
        same_shape(self, (tuple(0 if i == axis else size for i, size in enumerate(shape)) for shape in shapes))
        return tuple(sum(shape[i] for shape in shapes) if i == axis else size for i, size in enumerate(shapes[0]))

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        y = empty_aligned(self.shape(*(x.shape for x in inputs)), np.result_type(*inputs))
        return np.concatenate(inputs, axis=self.axis, out=y), [x.shape[self.axis] for x in inputs]

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        return Back(tuple(np.split(dy, np.cumsum(saved)[:-1], axis=self.axis)))

    def sees(self, box: Box, *shapes: Shape) -> tuple[Box, ...]:
        if self.axis % len(shapes[0]) < 2:
            return (box,) * len(shapes)
        axis, found, start = self.axis % len(shapes[0]) - 2, [], 0
        for shape in shapes:
            first, last = box[axis]
            found.append((*box[:axis], (first - start, last - start), *box[axis + 1 :]))
            start += shape[axis + 2]
        return tuple(found)
