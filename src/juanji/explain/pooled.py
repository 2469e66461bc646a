"""The arithmetic of one pooled element."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from juanji import reference_pooling
from juanji.describe import PerAxis
from juanji.explain.arguments import Array, PoolingArguments, checked, runs
from juanji.explain.arithmetic import added, factor, few, number_of, products_of
from juanji.explain.tracing import index_of
from juanji.pooling import Weights, planned, window_weights
from juanji.windows import Pooling


@dataclass(frozen=True, eq=False)
class PoolTrace:
    """How one pooled element came about; prints itself.

    values: the elements of the window that lie in x. places: where, over the spatial axes. weights: of those, for "weighted".
    divisor: what an average divides by. winner: which of the values won, for "max".
    """

    pooling: Pooling
    index: tuple[int, ...]
    values: Array
    places: tuple[tuple[int, ...], ...]
    weights: Array | None
    divisor: int
    winner: int | None
    result: Any

    def __str__(self) -> str:
        return f"{self.head}\n{self.arithmetic}"

    @property
    def head(self) -> str:
        """The element, and the part of x that it sees: sample, channel, places."""
        seen = (runs(sorted({place[axis] for place in self.places})) for axis in range(self.pooling.n))
        return f"y[{', '.join(map(str, self.index))}] ← x[{', '.join([*map(str, self.index[:2]), *seen])}]"

    @property
    def arithmetic(self) -> str:
        """The reduction, and for "max" where the maximum stands."""
        where = "" if self.winner is None else f" = x[{', '.join(map(str, (*self.index[:2], *self.places[self.winner])))}]"
        return f"{self._reduction()} = {number_of(self.result)}{where}"

    def _reduction(self) -> str:
        p = self.pooling.p
        match self.pooling.kind:
            case "max":
                return f"max({', '.join(few(map(number_of, self.values)))})"
            case "avg":
                return f"({' + '.join(few(map(factor, self.values)))}) / {self.divisor}"
            case "lp" if math.isinf(p):
                return f"max({', '.join(few(f'|{number_of(v)}|' for v in self.values))})"
            case "lp":
                powers = " + ".join(few(f"|{number_of(v)}|^{p:g}" for v in self.values))
                return f"({powers})^(1/{p:g})"
        assert self.weights is not None
        return f"({products_of(self.weights, self.values)}) / {number_of(added(self.weights))}"


def trace_pool(
    x: npt.ArrayLike, size: PerAxis, position: Sequence[int], *, weights: Weights = None, **arguments: Unpack[PoolingArguments]
) -> PoolTrace:
    """The arithmetic of one element of `pool(x, size, **arguments)`, of any kind.

    >>> x = np.array([[[[1.0, 3], [4, 2]]]])
    >>> print(trace_pool(x, 2, (0, 0)))
    y[0, 0, 0, 0] ← x[0, 0, 0…1, 0…1]
    max(1, 3, 4, 2) = 4 = x[0, 0, 1, 0]
    >>> print(trace_pool(x, 2, (0, 0), kind="avg"))
    y[0, 0, 0, 0] ← x[0, 0, 0…1, 0…1]
    (1 + 3 + 4 + 2) / 4 = 2.5
    """
    array, single, plan = planned(x, size, **checked(arguments, PoolingArguments))
    pooling = plan.pooling
    each = window_weights(weights, pooling)
    index = index_of(position, pooling.y_shape, single, pooling.layout)
    window = reference_pooling.Window(pooling, index[2:])
    plane = np.moveaxis(array, -1, 1) if pooling.layout == "channels_last" else array
    seen = plane[index[:2]].reshape(-1)[window.inside]
    at = zip(*(along.tolist() for along in np.unravel_index(window.inside, pooling.size)), strict=True)
    return PoolTrace(
        pooling,
        index,
        seen,
        tuple(at),
        None if each is None else each.reshape(-1)[window.taps],
        window.divisor,
        int(reference_pooling.winner(seen)) if pooling.kind == "max" else None,
        reference_pooling.reduced(pooling, window, seen, each).astype(pooling.y_dtype)[()],
    )
