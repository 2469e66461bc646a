"""From a description to a way of computing it: the table of algorithms, and the `Plan` that prints its reasons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from juanji import machine as machines
from juanji.algorithms import direct
from juanji.algorithms.costs import FMA_PER_CYCLE
from juanji.algorithms.problem import contiguous_strides
from juanji.errors import ArgumentError, DtypeError, NotBuiltError, ShapeError
from juanji.jit.arguments import HEAD
from juanji.jit.load import load
from juanji.jit.memory import address, empty_aligned
from juanji.jit.program import Program, Row
from juanji.jit.store import Code
from juanji.kept import kept
from juanji.machine import Machine
from juanji.run import run_items, workers
from juanji.spec import Convolution

Array = npt.NDArray[Any]

X, W, BIAS, Y = (HEAD.index(name) for name in ("x", "w", "bias", "y"))


class Algorithm(NamedTuple):
    """accepts: None or why not; choose: the best schedule and its expected cycles; build: the schedule's program."""

    accepts: Callable[[Convolution], str | None]
    choose: Callable[[Convolution, Machine], tuple[Any, float]]
    build: Callable[[Convolution, Any, Machine], Program]


ALGORITHMS = {"direct": Algorithm(direct.accepts, direct.choose, direct.build)}
PRECISIONS = ("default", "strict")
MOST_ROWS = 64  # rows of arguments that a plan keeps, one for each way an input may lie


def plan_for(spec: Convolution, algorithm: str = "auto", precision: str = "default") -> Plan:
    """The plan of a description; the same object for equal descriptions.

    Raises ArgumentError for an unknown algorithm, NotBuiltError where none accepts the description.
    """
    for name, value, valid in (("algorithm", algorithm, ("auto", *ALGORITHMS)), ("precision", precision, PRECISIONS)):
        if not isinstance(value, str) or value not in valid:
            raise ArgumentError(f"{name} (={value!r}) must be one of {', '.join(valid)}")
    return _plan_for(spec, algorithm)


@lru_cache(maxsize=1024)
def _plan_for(spec: Convolution, algorithm: str) -> Plan:
    machine = machines.probe()
    refused, found = {}, {}
    for name, entry in ALGORITHMS.items():
        reason = entry.accepts(spec) if algorithm in ("auto", name) else "another algorithm was asked for"
        if reason is None:
            found[name] = entry.choose(spec, machine)
        else:
            refused[name] = reason
    if not found:
        raise NotBuiltError("; ".join(f"{name}: {reason}" for name, reason in refused.items()))
    name = min(found, key=lambda n: found[n][1])
    schedule, cycles = found[name]
    return Plan(spec, name, schedule, cycles, machine, ALGORITHMS[name].build(spec, schedule, machine), refused)


class Limit(NamedTuple):
    """What the machine cannot beat on one core."""

    seconds: float
    name: str


class Plan:
    """How one description is computed. Prints itself; `plan(x, w, bias)` runs it, `plan.bind(w, bias)` keeps packed weights."""

    def __init__(
        self,
        spec: Convolution,
        algorithm: str,
        schedule: Any,
        cycles: float,
        machine: Machine,
        program: Program,
        refused: dict[str, str],
    ):
        self.spec, self.algorithm, self.schedule = spec, algorithm, schedule
        self.cycles, self.machine, self.program, self.refused = cycles, machine, program, refused
        self._rows: dict[tuple[int, ...], Row] = {}
        self._x_shape, self._x_dtype = spec.x_shape, np.dtype(spec.dtypes.x)
        self._skipped = _skipped(spec)
        self._y_shape, self._y_dtype = spec.y_shape, np.dtype(spec.dtypes.y)

    @kept
    def code(self) -> Code:
        """The machine code, compiled or read from disk when it is first wanted."""
        return load(self.program.code, self.program.emit, self.machine.target, machines.identity())

    @property
    def seconds(self) -> float:
        """The expected time on one core."""
        lanes = self.machine.vector_bits // (64 if self.spec.dtypes.sum == "float64" else 32)
        clock = self.machine.peak(self.spec.dtypes.sum) / (2 * lanes * FMA_PER_CYCLE)
        return max(self.cycles / clock, self.spec.bytes_moved / self.machine.bandwidth)

    @property
    def limit(self) -> Limit:
        """The larger of what multiply-adds and what moving every byte once take on one core."""
        arithmetic = 2 * self.spec.macs / self.machine.peak(self.spec.dtypes.sum)
        copying = self.spec.bytes_moved / self.machine.bandwidth
        return Limit(arithmetic, "multiply-add") if arithmetic > copying else Limit(copying, "copying")

    @property
    def scratch(self) -> int:
        """Bytes of scratch memory per thread."""
        return self.program.scratch

    def share(self, seconds: float) -> float:
        """Which part of one core's limit a run of this many seconds reached; above 1 with several threads, or within the caches."""
        return self.limit.seconds / seconds if seconds > 0 else 0.0

    def workers(self, threads: int | None = None) -> int:
        """How many threads a run takes that may take as many."""
        return workers(self.program.items, self.cycles, threads)

    def explain(self) -> dict[str, Any]:
        """The plan as a structure: shapes, counts, algorithm, schedule, expectation, refusals."""
        return {
            "input": self.spec.x_shape,
            "weights": self.spec.w_shape,
            "output": self.spec.y_shape,
            "dtypes": self.spec.dtypes._asdict(),
            "macs": self.spec.macs,
            "bytes": self.spec.bytes_moved,
            "algorithm": self.algorithm,
            "schedule": str(self.schedule),
            "seconds": self.seconds,
            "limit": self.limit._asdict(),
            "items": self.program.items,
            "scratch": self.scratch,
            "refused": self.refused,
        }

    def __str__(self) -> str:
        lines = str(self.spec).splitlines()
        share = f"{self.share(self.seconds):.0%} of its {self.limit.name} limit ({_time(self.limit.seconds)})"
        lines += [
            f"count   {self.spec.macs:,} MACs, {self.spec.bytes_moved:,} bytes",
            f"plan    {self.algorithm}: {self.schedule}",
            f"expect  {_time(self.seconds)} on one core, {share}",
            f"work    {self.program.items:,} items, {self.scratch:,} bytes of scratch per thread",
        ]
        lines += [f"not     {name}: {reason}" for name, reason in self.refused.items()]
        return "\n".join(lines)

    def bind(self, w: npt.ArrayLike, bias: npt.ArrayLike | None = None) -> Bound:
        """This plan with its weights packed once: a callable on x."""
        weights, biases = self._check_weights(np.asarray(w), None if bias is None else np.asarray(bias))
        packed = self.program.pack_weights(weights)
        return Bound(self, _Operands.of(packed, None if biases is None else self.program.pack_bias(biases)))

    def __call__(
        self, x: npt.ArrayLike, w: npt.ArrayLike, bias: npt.ArrayLike | None = None, *, out: Array | None = None, threads: int | None = None
    ) -> Array:
        """The convolution of x with w. Views with any strides are read where they lie, save innermost gaps, which are closed by a copy."""
        weights, biases = self._check_weights(np.asarray(w), None if bias is None else np.asarray(bias))
        packed = self.program.pack_weights(weights)
        operands = _Operands.of(packed, None if biases is None else self.program.pack_bias(biases))
        return self._run(np.asarray(x), operands, out, threads)

    def _check_weights(self, w: Array, bias: Array | None) -> tuple[Array, Array | None]:
        spec = self.spec
        if w.shape != spec.w_shape:
            raise ShapeError(f"w has shape {w.shape}, but the plan is for {spec.w_shape}")
        if w.dtype.kind not in "fbiu":
            raise DtypeError(f"w has dtype {w.dtype}, but the plan is for {spec.dtypes.w}")
        if (bias is not None) != spec.epilogue.bias:
            given, wanted = ("missing", "with") if spec.epilogue.bias else ("given", "without")
            raise ArgumentError(f"bias is {given}, but the plan is {wanted} one")
        if bias is not None and bias.shape != spec.bias_shape:
            raise ShapeError(f"bias has shape {bias.shape}, but must have {spec.bias_shape}: one per output channel")
        if self._skipped is not None and np.any(w[self._skipped]):
            raise ArgumentError(f"w has weights other than zero at taps that this plan skips; it was made for {len(spec.taps or ())} taps")
        if bias is not None and bias.dtype.kind not in "fbiu":
            raise DtypeError(f"bias has dtype {bias.dtype}, but must be real numbers")
        return w, bias

    def _run(self, x: Array, operands: _Operands, out: Array | None, threads: int | None) -> Array:
        x = self._check_x(x)
        y = empty_aligned(self._y_shape, self._y_dtype) if out is None else self._check_out(out, x)
        if y.size == 0:
            return y
        row = self._rows.get(x.strides) or self._new_row(x)
        row = type(row).from_buffer_copy(row)
        row[X], row[W], row[BIAS], row[Y] = address(x), operands.w_at, operands.bias_at, address(y)
        run_items(self.code, row, self.program.items, self.program.scratch, self.cycles, threads)
        if out is not None and y is not out:
            np.copyto(out, y)
            return out
        return y

    def _check_x(self, x: Array) -> Array:
        """The input as it can be read: native, aligned, and close together where the program wants that."""
        if x.shape != self._x_shape:
            raise ShapeError(f"x has shape {x.shape}, but the plan is for {self._x_shape}")
        if x.dtype != self._x_dtype:
            if x.dtype.newbyteorder("=") != self._x_dtype:
                raise DtypeError(f"x has dtype {x.dtype}, but the plan is for {self._x_dtype}")
            x = x.astype(self._x_dtype)
        flags = x.flags
        if flags.c_contiguous and flags.aligned:
            return x
        return x if flags.aligned and self.program.fits(x.shape, x.strides, x.itemsize) else np.ascontiguousarray(x)

    def _new_row(self, x: Array) -> Row:
        # An axis of one element may have any stride; the one of a close array is what the addresses are reckoned with.
        close = contiguous_strides(x.shape, x.itemsize)
        strides = (c if length == 1 else s for length, s, c in zip(x.shape, x.strides, close, strict=True))
        row = self.program.row(tuple(strides))
        if len(self._rows) < MOST_ROWS:
            self._rows[x.strides] = row
        return row

    def _check_out(self, out: Array, x: Array) -> Array:
        """The array to compute into: `out` itself, or another where it has gaps or shares memory with the input."""
        spec = self.spec
        if not isinstance(out, np.ndarray) or out.shape != spec.y_shape:
            raise ShapeError(f"out has shape {np.shape(out)}, but the result has {spec.y_shape}")
        if out.dtype.name != spec.dtypes.y:
            raise DtypeError(f"out has dtype {out.dtype}, but the result has {spec.dtypes.y}")
        if not out.flags.writeable:
            raise ArgumentError("out is read-only")
        usable = out.flags.c_contiguous and out.flags.aligned and out.dtype.isnative
        if usable and not np.may_share_memory(out, x):
            return out
        return empty_aligned(spec.y_shape, spec.dtypes.y)


class _Operands(NamedTuple):
    """Packed weights and biases, and where they lie."""

    w: Array
    bias: Array | None
    w_at: int
    bias_at: int

    @classmethod
    def of(cls, w: Array, bias: Array | None) -> _Operands:
        return cls(w, bias, address(w), 0 if bias is None else address(bias))


@dataclass(frozen=True, eq=False)
class Bound:
    """A plan with its weights: a callable on x."""

    plan: Plan
    operands: _Operands

    def __call__(self, x: npt.ArrayLike, *, out: Array | None = None, threads: int | None = None) -> Array:
        """The convolution of x with the bound weights."""
        return self.plan._run(np.asarray(x), self.operands, out, threads)


def _skipped(spec: Convolution) -> tuple[Any, ...] | None:
    """An index of the weights that a plan does not read."""
    if spec.taps is None:
        return None
    mask = np.ones(spec.kernel, np.bool_)
    mask[tuple(np.array(spec.taps).T)] = False
    return (slice(None), mask) if spec.weight_layout == "O*I" else (mask,) if spec.weight_layout == "*IO" else (..., mask)


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.1f} µs"
