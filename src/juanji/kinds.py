"""Plans for the kinds of numbers that the algorithms do not sum themselves: integers by a carrier, complex numbers as pairs.

`plan_for` is the planner's for all kinds: what it returns is called, bound and printed like a `Plan`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from juanji import complexes, exact, planner, winners
from juanji import machine as machines
from juanji.errors import DtypeError, NotBuiltError, ShapeError
from juanji.extents import extent
from juanji.plans import READ, Bound, Plan, readable
from juanji.spec import Convolution, Dtypes, itemsize

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


Extent = tuple[int, int]  # the least and the largest of an array
_Run = Callable[[Plan, Array, Array | None, int | None], Array]


class _Types(NamedTuple):
    """Machine types that hold the sums of some arrays, and for each operand one that holds its elements."""

    sums: tuple[str, ...]
    read: tuple[str, ...]


class Integers:
    """Exact sums of integers, in the fastest machine type that holds those of the arrays at hand; or results that must fit.

    Operands that fit a narrower type than their own are read as such where that is expected to be faster, the conversion included.
    """

    narrowed = 1 << 20  # multiply-adds from which on that may pay

    def __init__(self, spec: Convolution, algorithm: str, precision: str, produces: str):
        self.spec, self.produces, self._choice = spec, produces, (algorithm, precision)
        self._read, self._plans = READ[produces], dict[tuple[_Types, str], Plan]()
        self._own = tuple(str(getattr(spec.dtypes, name)) for name in self._read)
        self._may_narrow = algorithm == "auto" and produces == "y" and spec.macs >= self.narrowed
        self._settled = exact.carrier_of(spec, produces) == next(iter(exact.CARRIERS))  # whatever the arrays hold
        self.least = self.plan(dict.fromkeys((*self._read, "bias"), (0, 0)))  # refuses what no algorithm accepts

    def plan(self, extents: Mapping[str, Extent], overflow: str = "saturate") -> Plan:
        """The plan for arrays that lie within these bounds; overflow takes the place of "raise"."""
        key = self._types(extents), overflow
        found = self._plans.get(key)
        if found is None:
            found = self._plans[key] = self._fastest(key[0], overflow if self.spec.overflow == "raise" else self.spec.overflow)
        return found

    def _types(self, extents: Mapping[str, Extent]) -> _Types:
        most = {name: max(-least, most) for name, (least, most) in extents.items()}
        return _Types(exact.carriers_of(self.spec, self.produces, **most), self._narrowest(extents))

    def _narrowest(self, extents: Mapping[str, Extent]) -> tuple[str, ...]:
        """The types that operands may be read as: of both the narrowest, since instructions for such numbers want both, or their own.
        An algorithm that is asked for by name reads what it is given."""
        if not self._may_narrow or "x" not in extents or "w" not in extents:
            return self._own
        numbers = {"x": [*extents["x"], *(int(b.value) for b in self.spec.boundary)], "w": extents["w"]}
        found = tuple(exact.narrowest(own, min(numbers[name]), max(numbers[name])) for name, own in zip(self._read, self._own, strict=True))
        return found if set(found) <= set(exact.NARROW) else self._own

    def _fastest(self, types: _Types, overflow: str) -> Plan:
        """Of the plans for these types the one that is expected to be fastest: all of them are exact."""
        plans, refused = dict[Plan, float](), list[NotBuiltError]()
        for read in dict.fromkeys((self._own, types.read)):
            for carrier in types.sums:
                dtypes = self.spec.dtypes._replace(**dict(zip(self._read, read, strict=True)), sum=carrier)
                spec = replace(self.spec, dtypes=dtypes, overflow=overflow)
                try:
                    plan = planner.plan_for(spec, *self._choice, self.produces)
                except NotBuiltError as reason:
                    refused.append(reason)
                else:
                    plans[plan] = plan.seconds + self._converting(read)
        if not plans:
            raise refused[0]
        return min(plans, key=plans.__getitem__)

    def _converting(self, read: Sequence[str]) -> float:
        """Seconds to convert the operands to these types; of the second, weights that are often bound, a share."""
        moved = 0.0
        for name, own, new, times in zip(self._read, self._own, read, (1.0, planner.PREPARED[self.produces]), strict=True):
            shape: tuple[int, ...] = getattr(self.spec, f"{name}_shape")
            moved += times * math.prod(shape) * (itemsize(own) + itemsize(new)) * (own != new)
        return moved / machines.probe().bandwidth

    @property
    def _as_output(self) -> Convolution:
        """A description whose input, weights and output have the types of the operands that are read and of the result."""
        first, second = (getattr(self.spec.dtypes, name) for name in self._read)
        return replace(self.spec, dtypes=Dtypes(first, second, self.spec.dtypes.sum, _result(self.spec, self.produces).name))

    def _extents(self, arrays: Mapping[str, Array | None], threads: int | None = None) -> dict[str, Extent]:
        """Between what the arrays lie, where their types do not already allow the fastest carrier."""
        if self._settled or self.spec.dtypes.sum != "int64":
            return {}
        return {name: extent(a, threads) for name, a in arrays.items() if a is not None and a.dtype.kind in "biu"}

    def _as_read(self, plan: Plan, name: str, array: Array) -> Array:
        """An operand in the type that a plan reads."""
        own, new = getattr(self.spec.dtypes, name), getattr(plan.spec.dtypes, name)
        if own == new:
            return array
        if array.dtype.newbyteorder("=") != own:
            raise DtypeError(f"{name} has dtype {array.dtype}, but the plan is for {own}")
        return array.astype(new)

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
        known, packed = self._extents({second: w, "bias": bias}), dict[Plan, Bound]()

        def call(x: npt.ArrayLike, *, out: Array | None = None, threads: int | None = None) -> Array:
            x = np.asarray(x)
            return self._run(x, {**known, **self._extents({first: x}, threads)}, run, out, threads)

        def run(plan: Plan, x: Array, out: Array | None, threads: int | None) -> Array:
            if plan not in packed:
                packed[plan] = plan.borrow(self._as_read(plan, second, w), bias)
            return packed[plan](self._as_read(plan, first, x), out=out, threads=threads)

        return call

    def _run(self, x: Array, extents: Mapping[str, Extent], run: _Run, out: Array | None, threads: int | None) -> Array:
        """The product by plans that `run` runs. Where sums must fit, a second plan flags those that may not have."""
        plan = self.plan(extents)
        if self.spec.overflow != "raise":
            return run(plan, x, out, threads)
        y = run(plan, x, None, threads)
        if exact.doubtful(self._as_output, y):
            exact.refuse(run(self.plan(extents, "raise"), x, None, threads), y.dtype.name)
        if out is None:
            return y
        np.copyto(self.least.checked_out(out), y)
        return out

    def explain(self) -> dict[str, Any]:
        """The plan for arrays of small numbers, and what converting them takes."""
        seconds, buffers = self.least.seconds + self._converting(self._as_least), self.least.buffers + self._converted
        return {**self.least.explain(), "dtypes": self._declared.dtypes._asdict(), "seconds": seconds, "buffers": buffers}

    @property
    def _converted(self) -> int:
        """Bytes of both operands in the types that they are read as, where these are not their own."""
        shapes = (getattr(self.spec, f"{name}_shape") for name in self._read)
        types = zip(shapes, self._own, self._as_least, strict=True)
        return sum(math.prod(shape) * itemsize(new) for shape, own, new in types if own != new)

    @property
    def _as_least(self) -> tuple[str, ...]:
        """The types that the operands of that plan are read as."""
        return tuple(getattr(self.least.spec.dtypes, name) for name in self._read)

    @property
    def _declared(self) -> Convolution:
        """What the plan for small numbers computes, with operands of their own types."""
        own = dict(zip(self._read, self._own, strict=True))
        return replace(self.least.spec, dtypes=self.least.spec.dtypes._replace(**own))

    def __str__(self) -> str:
        of = self.least.spec
        lines = [str(self.least).replace(str(of), str(self._declared), 1)]
        if of != self._declared:
            types, seconds = " and ".join(self._as_least), readable(self._converting(self._as_least))
            more = f"{seconds} and {self._converted:,} bytes more"
            lines.append(f"read    as {types}, {more}; in their own types where values do not fit these")
        lines.append(f"sum     exact; in a wider type than {of.dtypes.sum} where the arrays' values need it")
        return "\n".join(lines)


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
            goal = None if out is None or self.produces == "w" else complexes.real_out(spec, self._check("out", out))
            parts = bound(complexes.real_x(spec, x) if first == "x" else complexes.real_channels(spec, x), out=goal, threads=threads)
            if goal is not None and out is not None:
                return out
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
