"""Plans for the kinds of numbers that the algorithms do not sum themselves: integers by a carrier, complex numbers as pairs.

`plan_for` is the planner's for all kinds: what it returns is called, bound and printed like a `Plan`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from juanji import complexes, exact, planner, winners
from juanji.errors import DtypeError, NotBuiltError, ShapeError
from juanji.plans import READ, Bound, Plan
from juanji.spec import Convolution, Dtypes

Array = npt.NDArray[Any]


class AnyPlan(Protocol):
    """What plans of all kinds of numbers can do."""

    spec: Convolution
    produces: str

    def __call__(
        self, x: npt.ArrayLike, w: npt.ArrayLike, bias: npt.ArrayLike | None = None, *, out: Array | None = None, threads: int | None = None
    ) -> Array:
        """The product of the operands."""
        ...

    def bind(self, w: npt.ArrayLike, bias: npt.ArrayLike | None = None) -> Callable[..., Array]:
        """The plan with its weights: a callable on the other operand."""
        ...

    def explain(self) -> dict[str, Any]:
        """The plan as a structure."""
        ...


def plan_for(spec: Convolution, algorithm: str = "auto", precision: str = "default", produces: str = "y") -> AnyPlan:
    """The plan of a description of any kind of numbers; the same object for equal descriptions. Errors as `planner.plan_for`.

    >>> from juanji.describe import describe
    >>> plan_for(describe((1, 1, 3), (1, 1, 2), dtype="int64"))([[[1, 2, 3]]], [[[10, 1]]])
    array([[[12, 23]]])
    """
    if spec.dtypes.sum in complexes.PARTS:
        return _complexes(spec, algorithm, precision, produces)
    if spec.dtypes.sum == "int64" or (spec.overflow == "raise" and _result(spec, produces).kind in "biu"):
        return _integers(spec, algorithm, precision, produces)
    return planner.plan_for(spec, algorithm, precision, produces)


def _result(spec: Convolution, produces: str) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(getattr(spec.dtypes, produces))
    return dtype


class Integers:
    """Exact sums of integers, in the fastest machine type that holds those of the arrays at hand; or results that must fit."""

    def __init__(self, spec: Convolution, algorithm: str, precision: str, produces: str):
        self.spec, self.produces, self._choice = spec, produces, (algorithm, precision)
        self._read, self._plans = READ[produces], dict[tuple[tuple[str, ...], str], Plan]()
        self._settled = exact.carrier_of(spec, produces) == next(iter(exact.CARRIERS))  # whatever the arrays hold
        self.least = self.plan(dict.fromkeys((*self._read, "bias"), 0))  # refuses what no algorithm accepts

    def plan(self, most: Mapping[str, int], overflow: str = "saturate") -> Plan:
        """The plan whose sums hold what arrays of these magnitudes give; overflow takes the place of "raise"."""
        key = exact.carriers_of(self.spec, self.produces, **most), overflow
        found = self._plans.get(key)
        if found is None:
            found = self._plans[key] = self._fastest(key[0], overflow if self.spec.overflow == "raise" else self.spec.overflow)
        return found

    def _fastest(self, carriers: Sequence[str], overflow: str) -> Plan:
        """Of the plans whose sums are of these types the one that is expected to be fastest: all of them are exact."""
        plans, refused = list[Plan](), list[NotBuiltError]()
        for carrier in carriers:
            spec = replace(self.spec, dtypes=self.spec.dtypes._replace(sum=carrier), overflow=overflow)
            try:
                plans.append(planner.plan_for(spec, *self._choice, self.produces))
            except NotBuiltError as reason:
                refused.append(reason)
        if not plans:
            raise refused[0]
        return min(plans, key=lambda plan: plan.seconds)

    @property
    def _as_output(self) -> Convolution:
        """A description whose input, weights and output have the types of the operands that are read and of the result."""
        first, second = (getattr(self.spec.dtypes, name) for name in self._read)
        return replace(self.spec, dtypes=Dtypes(first, second, self.spec.dtypes.sum, _result(self.spec, self.produces).name))

    def _most(self, **arrays: Array | None) -> dict[str, int]:
        """The magnitudes of the arrays, where those of their types do not already allow the fastest carrier."""
        if self._settled or self.spec.dtypes.sum != "int64":
            return {}
        return {name: exact.magnitude(a) for name, a in arrays.items() if a is not None and a.dtype.kind in "biu"}

    def __call__(
        self, x: npt.ArrayLike, w: npt.ArrayLike, bias: npt.ArrayLike | None = None, *, out: Array | None = None, threads: int | None = None
    ) -> Array:
        """The exact product. Raises ArgumentError with the first place that does not fit where overflow is "raise"."""
        return self._bound(np.asarray(w), None if bias is None else np.asarray(bias))(x, out=out, threads=threads)

    def bind(self, w: npt.ArrayLike, bias: npt.ArrayLike | None = None) -> Callable[..., Array]:
        """This plan with its weights: a callable on x. They are packed once for every carrier that the inputs need."""
        weights, biases = np.array(w), None if bias is None else np.array(bias)
        return self._bound(weights, biases)

    def _bound(self, w: Array, bias: Array | None) -> Callable[..., Array]:
        if bias is not None and bias.dtype.kind not in "biu" and self.spec.dtypes.sum == "int64":
            raise DtypeError(f"bias has dtype {bias.dtype}, but the sum is one of integers")
        first, second = self._read
        known, packed = self._most(**{second: w, "bias": bias}), dict[Plan, Bound]()

        def call(x: npt.ArrayLike, *, out: Array | None = None, threads: int | None = None) -> Array:
            x = np.asarray(x)
            return self._run(x, {**known, **self._most(**{first: x})}, bound, out, threads)

        def bound(plan: Plan) -> Bound:
            if plan not in packed:
                packed[plan] = plan.borrow(w, bias)
            return packed[plan]

        return call

    def _run(self, x: Array, most: Mapping[str, int], bound: Callable[[Plan], Bound], out: Array | None, threads: int | None) -> Array:
        """The product by plans that `bound` binds. Where sums must fit, a second plan flags those that may not have."""
        if self.spec.overflow != "raise":
            return bound(self.plan(most))(x, out=out, threads=threads)
        y = bound(self.plan(most))(x, threads=threads)
        if exact.doubtful(self._as_output, y):
            exact.refuse(bound(self.plan(most, "raise"))(x, threads=threads), y.dtype.name)
        if out is None:
            return y
        np.copyto(self.least.checked_out(out), y)
        return out

    def explain(self) -> dict[str, Any]:
        """The plan for arrays of small numbers."""
        return self.least.explain()

    def __str__(self) -> str:
        return f"{self.least}\nsum     exact; in a wider type than {self.least.spec.dtypes.sum} where the arrays' values need it"


class Complexes:
    """Complex sums, as real ones of pairs."""

    def __init__(self, spec: Convolution, algorithm: str, precision: str, produces: str):
        self.spec, self.produces = spec, produces
        self.plan = planner.plan_for(complexes.real(spec, produces), algorithm, precision, produces)

    def __call__(
        self, x: npt.ArrayLike, w: npt.ArrayLike, bias: npt.ArrayLike | None = None, *, out: Array | None = None, threads: int | None = None
    ) -> Array:
        """The complex product; gradients are Hermitian adjoints."""
        return self.bind(w, bias)(x, out=out, threads=threads)

    def bind(self, w: npt.ArrayLike, bias: npt.ArrayLike | None = None) -> Callable[..., Array]:
        """This plan with its weights: a callable on x."""
        spec, (first, second) = self.spec, READ[self.produces]
        w = self._check(second, np.asarray(w))
        pairs = None if bias is None else complexes.real_bias(spec, np.asarray(bias))
        bound = self.plan.bind(complexes.real_channels(spec, w) if second == "y" else complexes.real_w(spec, w, self.produces), pairs)

        def call(x: npt.ArrayLike, *, out: Array | None = None, threads: int | None = None) -> Array:
            x = self._check(first, np.asarray(x))
            parts = bound(complexes.real_x(spec, x) if first == "x" else complexes.real_channels(spec, x), threads=threads)
            y = complexes.complex_w(spec, parts) if self.produces == "w" else complexes.complex_channels(spec, parts)
            y = np.ascontiguousarray(y, _result(spec, self.produces))
            if out is None:
                return y
            np.copyto(self._check("out", out), y)
            return out

        return call

    def _check(self, name: str, array: Array) -> Array:
        spec, role = self.spec, self.produces if name == "out" else name
        shape = {"x": spec.x_shape, "w": spec.w_shape, "y": spec.y_shape}[role]
        shown = "dy" if name == "y" else name
        if array.shape != shape:
            raise ShapeError(f"{shown} has shape {array.shape}, but the plan is for {shape}")
        dtype = np.dtype(getattr(spec.dtypes, role))
        if array.dtype.newbyteorder("=") != dtype:
            raise DtypeError(f"{shown} has dtype {array.dtype}, but the plan is for {dtype}")
        return array

    def explain(self) -> dict[str, Any]:
        """The plan of the real problem."""
        return self.plan.explain()

    def __str__(self) -> str:
        return f"{self.plan}\nsum     complex, as pairs of real channels"


_integers = lru_cache(maxsize=1024)(Integers)
_complexes = lru_cache(maxsize=1024)(Complexes)
winners.EMPTY_PLANS += [_integers.cache_clear, _complexes.cache_clear]
