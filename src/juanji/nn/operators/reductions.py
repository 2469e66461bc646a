"""One number from many along any axes.

    mean    y = Σ x / n      dx = dy / n             l1    y = Σ |x|       dx = dy·sign x
    sum     y = Σ x          dx = dy                 l2    y = √Σ x²       dx = dy·x / y
    max, min                 dx = dy where x = y, in equal parts
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from juanji.nn.operator import Array, Back, Box, Operator, Parameters, Run, Shape, one_of, whole

KINDS = ("mean", "sum", "max", "min", "l1", "l2")


@dataclass(frozen=True, eq=False)
class Reduce(Operator):
    """Axes reduced to one number each: kind "mean", "sum", "max", "min", "l1" or "l2" over axes, all of them if None.

    keep: whether the axes stay, with length 1.
    """

    stem: ClassVar[str] = "reduce"
    kind: str = "mean"
    axes: Sequence[int] | None = None
    keep: bool = True

    def __post_init__(self) -> None:
        one_of("kind", self.kind, KINDS)

    def _axes(self, ndim: int) -> tuple[int, ...]:
        return tuple(range(ndim)) if self.axes is None else tuple(axis % ndim for axis in self.axes)

    def shape(self, *shapes: Shape) -> Shape:
        axes = self._axes(len(shapes[0]))
        return tuple(1 if i in axes else size for i, size in enumerate(shapes[0]) if self.keep or i not in axes)

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        (x,) = inputs
        axes = self._axes(x.ndim)
        match self.kind:
            case "l1":
                y = np.abs(x).sum(axis=axes, keepdims=True)
            case "l2":
                y = np.sqrt(np.square(x).sum(axis=axes, keepdims=True))
            case _:
                y = getattr(np, self.kind)(x, axis=axes, keepdims=True)
        return (y if self.keep else y.reshape(self.shape(x.shape))), (x, y)

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        x, y = saved
        dy = dy.reshape(y.shape)
        match self.kind:
            case "mean":
                return Back((np.broadcast_to(dy * np.asarray(y.size / x.size, dy.dtype), x.shape),))
            case "sum":
                return Back((np.broadcast_to(dy, x.shape),))
            case "l1":
                return Back((dy * np.sign(x),))
            case "l2":
                return Back((dy * np.divide(x, y, where=y != 0, out=np.zeros_like(x)),))
        chosen = x == y
        return Back((chosen * (dy / chosen.sum(axis=self._axes(x.ndim), keepdims=True, dtype=dy.dtype)),))

    def sees(self, box: Box, *shapes: Shape) -> tuple[Box, ...]:
        return (whole(shapes[0]),)
