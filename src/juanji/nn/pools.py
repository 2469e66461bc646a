"""Pooling inside networks: `jj.pool` and its kin as operators, each with its way back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from juanji.describe import Padding, PerAxis, parse_padding, per_axis
from juanji.errors import ShapeError
from juanji.nn.operator import Array, Back, Box, Operator, Parameters, Run, Shape, one_of, spatial, whole
from juanji.pooling import adaptive_pool, adaptive_pool_grad, pool, pool_grad, pyramid_pool, pyramid_pool_grad, unpool
from juanji.spec import span
from juanji.windows import Sliding, bins, sliding


@dataclass(frozen=True, eq=False)
class _Pool(Operator):
    """Windows at equal distances; settings as for `jj.pool`."""

    stem: ClassVar[str] = "pool"
    kind: ClassVar[str] = ""
    size: PerAxis
    stride: PerAxis | None = None
    padding: Padding = 0
    dilation: PerAxis = 1
    ceil_mode: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of `jj.pool` and `jj.pool_grad`."""
        return {
            "kind": self.kind, "stride": self.stride, "padding": self.padding, "dilation": self.dilation, "ceil_mode": self.ceil_mode
        }  # fmt: skip

    def axes(self, shape: Shape) -> tuple[Sliding, ...]:
        """The windows along each axis of an input."""
        n = spatial(self, shape)
        window, dilations = per_axis("size", self.size, n, 1), per_axis("dilation", self.dilation, n, 1)
        strides = window if self.stride is None else per_axis("stride", self.stride, n, 1)
        sides = parse_padding(self.padding, shape[2:], window, strides, dilations)
        return sliding(shape[2:], window, strides, dilations, sides, self.ceil_mode)

    def shape(self, *shapes: Shape) -> Shape:
        return (*shapes[0][:2], *(axis.out for axis in self.axes(shapes[0])))

    def sees(self, box: Box, *shapes: Shape) -> tuple[Box, ...]:
        axes = zip(box, self.axes(shapes[0]), strict=True)
        return (tuple((a * s.stride - s.low, b * s.stride - s.low + span(s.window, s.dilation) - 1) for (a, b), s in axes),)


@dataclass(frozen=True, eq=False)
class MaxPool(_Pool):
    """The largest value of every window. With places=True a second output tells where each came from, for `Unpool`."""

    kind: ClassVar[str] = "max"
    places: bool = False

    @property
    def outputs(self) -> int:  # type: ignore[override]
        return 2 if self.places else 1

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Any, Any]:
        (x,) = inputs
        y, places = pool(x, self.size, return_indices=True, **self.options)
        return ((y, places) if self.places else y), (x, places)

    def backward(self, p: Parameters, saved: Any, dy: Any, wanted: tuple[bool, ...]) -> Back:
        x, places = saved
        dy = dy[0] if self.places else dy
        return Back((pool_grad(x, dy, self.size, indices=places, **self.options),))


@dataclass(frozen=True, eq=False)
class AvgPool(_Pool):
    """The mean of every window; padding counts only with count_include_pad."""

    kind: ClassVar[str] = "avg"
    count_include_pad: bool = False

    @property
    def options(self) -> dict[str, Any]:
        return {**super().options, "count_include_pad": self.count_include_pad}

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        return pool(inputs[0], self.size, **self.options), inputs[0]

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        return Back((pool_grad(saved, dy, self.size, **self.options),))


@dataclass(frozen=True, eq=False)
class LpPool(_Pool):
    """(Σ |x|^p)^(1/p) of every window: p = 2 is its length."""

    kind: ClassVar[str] = "lp"
    p: float = 2

    @property
    def options(self) -> dict[str, Any]:
        return {**super().options, "p": self.p}

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        y = pool(inputs[0], self.size, **self.options)
        return y, (inputs[0], y)

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        x, y = saved
        return Back((pool_grad(x, dy, self.size, y=y, **self.options),))


@dataclass(frozen=True, eq=False)
class WeightedPool(_Pool):
    """The mean of every window, weighted by the distance from its centre: "gaussian", ("gaussian", sigma), "linear" or an array."""

    kind: ClassVar[str] = "weighted"
    weights: str | tuple[str, float] | npt.ArrayLike = field(default="gaussian")

    @property
    def options(self) -> dict[str, Any]:
        return {**super().options, "weights": self.weights}

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        return pool(inputs[0], self.size, **self.options), inputs[0]

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        return Back((pool_grad(saved, dy, self.size, **self.options),))


@dataclass(frozen=True, eq=False)
class AdaptivePool(Operator):
    """Windows that cut an input of any size into a given number along each axis; to 1 it is `GlobalPool`. kind: "max", "avg", "lp"."""

    stem: ClassVar[str] = "pool"
    size: PerAxis
    kind: str = "avg"

    def __post_init__(self) -> None:
        one_of("kind", self.kind, ("max", "avg", "lp"))

    def shape(self, *shapes: Shape) -> Shape:
        return (*shapes[0][:2], *per_axis("size", self.size, spatial(self, shapes[0]), 1))

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        if self.kind == "max":
            y, places = adaptive_pool(inputs[0], self.size, kind="max", return_indices=True)
            return y, (inputs[0], {"indices": places})
        y = adaptive_pool(inputs[0], self.size, kind=self.kind)
        return y, (inputs[0], {"y": y} if self.kind == "lp" else {})

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        x, more = saved
        return Back((adaptive_pool_grad(x, dy, self.size, kind=self.kind, **more),))

    def sees(self, box: Box, *shapes: Shape) -> tuple[Box, ...]:
        axes = bins(shapes[0][2:], self.shape(shapes[0])[2:])
        found = []
        for (first, last), axis in zip(box, axes, strict=True):
            windows = axis.windows
            lo, hi = max(first, 0), min(last, windows.out - 1)
            found.append((int(windows.first[lo]), int(windows.first[hi] + windows.count[hi] - 1)))
        return (tuple(found),)


@dataclass(frozen=True, eq=False)
class GlobalPool(Operator):
    """Every channel reduced to one number: (N, C, *S) to (N, C), or with keep=True to (N, C, 1, …). kind: "max", "avg", "lp"."""

    stem: ClassVar[str] = "pool"
    kind: str = "avg"
    keep: bool = False

    def __post_init__(self) -> None:
        one_of("kind", self.kind, ("max", "avg", "lp"))

    @property
    def _to_one(self) -> AdaptivePool:
        return AdaptivePool(1, self.kind)

    def shape(self, *shapes: Shape) -> Shape:
        y = self._to_one.shape(*shapes)
        return y if self.keep else y[:2]

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        y, saved = self._to_one.forward(p, *inputs, run=run)
        return (y if self.keep else y.reshape(y.shape[:2])), saved

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        return self._to_one.backward(p, saved, dy.reshape(*dy.shape[:2], *(1,) * (saved[0].ndim - 2)), wanted)

    def sees(self, box: Box, *shapes: Shape) -> tuple[Box, ...]:
        return (whole(shapes[0]),)


@dataclass(frozen=True, eq=False)
class PyramidPool(Operator):
    """Spatial pyramid pooling: pictures of every size to (N, C·Σ levelⁿ); 21·C for pictures and levels 1, 2, 4."""

    stem: ClassVar[str] = "pyramid"
    levels: Sequence[int] = (1, 2, 4)
    kind: str = "max"

    def __post_init__(self) -> None:
        one_of("kind", self.kind, ("max", "avg", "lp"))

    def shape(self, *shapes: Shape) -> Shape:
        n = spatial(self, shapes[0])
        return (shapes[0][0], shapes[0][1] * sum(level**n for level in self.levels))

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        return pyramid_pool(inputs[0], self.levels, kind=self.kind), inputs[0]

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        return Back((pyramid_pool_grad(saved, dy, self.levels, kind=self.kind),))

    def sees(self, box: Box, *shapes: Shape) -> tuple[Box, ...]:
        return (whole(shapes[0]),)


@dataclass(frozen=True, eq=False)
class Unpool(Operator):
    """Values put back where a `MaxPool(..., places=True)` found them, zeros elsewhere: Unpool()(y, places, like).

    like: any value of the shape that the pooled one had; or give `size`, the spatial axes of the result.
    """

    stem: ClassVar[str] = "unpool"
    size: PerAxis | None = None

    def shape(self, *shapes: Shape) -> Shape:
        if len(shapes) != 2 + (self.size is None):
            raise ShapeError(f"{self} takes values, places and, where it has no size, a value like the result; not {len(shapes)} inputs")
        if self.size is None:
            return (*shapes[0][:2], *shapes[2][2:])
        return (*shapes[0][:2], *per_axis("size", self.size, spatial(self, shapes[0]), 1))

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        y, places = inputs[:2]
        shape = self.shape(*(x.shape for x in inputs))
        return unpool(y, places, shape[2:]), places

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        flat = dy.reshape(*dy.shape[:2], math.prod(dy.shape[2:]))
        taken = np.take_along_axis(flat, saved.reshape(*saved.shape[:2], -1), axis=2).reshape(saved.shape)
        return Back((taken, *(None,) * (len(wanted) - 1)))

    def sees(self, box: Box, *shapes: Shape) -> tuple[Box, ...]:
        """Where the values came from is known when it runs; by its size alone an output may depend on any value."""
        return (whole(shapes[0]), whole(shapes[1]), *(() if self.size is not None else (((0, -1),) * len(box),)))
