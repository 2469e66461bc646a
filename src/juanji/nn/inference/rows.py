"""Stages that can be computed a few rows at a time, with channels last: how far their rows reach, and the call for a few of them.

Output row p reads input rows p·stride − low up to p·stride − low + span − 1, where low is the padding above; those that do not exist
are padding. Some rows of a convolution are a smaller convolution, whose padding is what reaches outside the whole picture. Algorithms
that add in an order which follows from channels and kernel alone, `BY_ROWS`, give it the bits of the whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple, Protocol

from juanji import elementwise
from juanji.nn.operator import Array
from juanji.planner import plan_for
from juanji.plans import Bound, Plan
from juanji.pooling import planned
from juanji.run import Ready
from juanji.spec import Convolution, span
from juanji.windows import Sliding

BY_ROWS = ("direct", "matrix", "dot_product")


class Reach(NamedTuple):
    """How output rows reach into input rows."""

    span: int = 1
    stride: int = 1
    low: int = 0

    def rows(self, first: int, last: int, height: int) -> tuple[int, int]:
        """The input rows, of so many, that output rows first … last − 1 read; none if these are none.

        >>> Reach(span=3, stride=2, low=1).rows(0, 4, 100), Reach(span=3, stride=2, low=1).rows(4, 8, 100)
        ((0, 8), (7, 16))
        """
        begin = min(max(first * self.stride - self.low, 0), height)
        end = (last - 1) * self.stride - self.low + self.span if last > first else begin
        return begin, max(min(end, height), begin)

    def outside(self, first: int, last: int, height: int) -> tuple[int, int]:
        """How many rows of padding they read, above and below.

        >>> Reach(span=3, stride=2, low=1).outside(0, 4, 7)
        (1, 1)
        """
        begin = first * self.stride - self.low
        return max(-begin, 0), max((last - 1) * self.stride - self.low + self.span - height, 0)


class ByRows(Protocol):
    """A stage that can be computed a few rows at a time."""

    @property
    def reach(self) -> Reach:
        """How its rows reach into those of its inputs."""

    @property
    def weights(self) -> int:
        """Bytes of weights that every call reads."""

    def ready(self, inputs: list[Array], y: Array, outside: tuple[int, int]) -> Ready:
        """The call for the rows (1, rows, …, C) of a picture, on one thread; outside: rows of padding above and below the inputs'."""


@dataclass(frozen=True)
class ConvRows:
    """A convolution by an algorithm of `BY_ROWS`."""

    spec: Convolution
    algorithm: str
    weight: Array
    bias: Array | None
    bound: dict[Convolution, Bound] = field(default_factory=dict)

    @property
    def reach(self) -> Reach:
        """How its rows reach into those of its input."""
        spec = self.spec
        return Reach(span(spec.kernel[0], spec.dilation[0]), spec.stride[0], spec.padding[0][0])

    @property
    def weights(self) -> int:
        """Bytes of weights."""
        return self.weight.nbytes

    def ready(self, inputs: list[Array], y: Array, outside: tuple[int, int]) -> Ready:
        """The call for a few rows."""
        (x,) = inputs
        spec = replace(self.spec, batch=1, size=(x.shape[1], *self.spec.size[1:]), padding=(outside, *self.spec.padding[1:]))
        if spec not in self.bound:
            self.bound[spec] = plan_for(spec, self.algorithm).bind(self.weight, self.bias)
        call = self.bound[spec].ready(x, y, threads=1)
        assert isinstance(call, Ready)  # one program, on arrays without gaps
        return call


def conv_rows(plan: Any, weight: Array, bias: Array | None) -> ConvRows | None:
    """A planned convolution by rows, if its bits allow that, and its border above and below needs no rows from afar."""
    if not isinstance(plan, Plan) or plan.algorithm not in BY_ROWS:
        return None
    spec, covered = plan.spec, span(plan.spec.kernel[0], plan.spec.dilation[0])
    near = spec.padding[0] == (0, 0) or (spec.boundary[0].constant and max(spec.padding[0]) < covered)
    fits = spec.n > 1 and spec.shared and spec.layout == "channels_last" and near
    return ConvRows(spec, plan.algorithm, weight, bias) if fits else None


@dataclass(frozen=True)
class MaxPoolRows:
    """The maximum of windows."""

    axes: tuple[Sliding, ...]
    weights: ClassVar[int] = 0

    @property
    def reach(self) -> Reach:
        """How its rows reach into those of its input."""
        rows = self.axes[0]
        return Reach(span(rows.window, rows.dilation), rows.stride, rows.low)

    def ready(self, inputs: list[Array], y: Array, outside: tuple[int, int]) -> Ready:
        """The call for a few rows."""
        (x,) = inputs
        options: dict[str, Any] = {
            "stride": tuple(axis.stride for axis in self.axes),
            "dilation": tuple(axis.dilation for axis in self.axes),
            "padding": (outside, *((axis.low, axis.high) for axis in self.axes[1:])),
        }
        _, _, pooler = planned(x, tuple(axis.window for axis in self.axes), **options, layout="channels_last")
        return pooler.forward.ready(x, y, None, 1)


@dataclass(frozen=True)
class ExpressionRows:
    """An expression of values, element by element."""

    tree: elementwise.Tree
    reach: ClassVar[Reach] = Reach()
    weights: ClassVar[int] = 0

    def ready(self, inputs: list[Array], y: Array, outside: tuple[int, int]) -> Ready:
        """The call for a few rows."""
        return elementwise.ready(self.tree, inputs, y, 1)


def copied(x: Array, y: Array) -> Ready:
    """Rows moved within a window, towards its start."""
    return elementwise.ready(0, [x], y, 1)
