"""`Plan`: how one product of a description is computed. It prints itself, checks its operands, and runs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from juanji import reference
from juanji.algorithms.costs import FMA_PER_CYCLE
from juanji.algorithms.dealing import Dealing
from juanji.algorithms.direct import Work
from juanji.errors import ArgumentError, DtypeError, ShapeError
from juanji.exact import Narrowing, narrowed
from juanji.jit.memory import apart, empty_aligned
from juanji.jit.program import Program
from juanji.jit.store import Code
from juanji.kept import kept
from juanji.machine import Machine
from juanji.parts import Operands, Part, in_order
from juanji.run import workers
from juanji.spec import Convolution
from juanji.winners import Winner

Array = npt.NDArray[Any]

NAMES = {"y": "convolution", "x": "gradient of the input", "w": "gradient of the weights"}
READ = {"y": ("x", "w"), "x": ("y", "w"), "w": ("x", "y")}  # the operands that each product reads; the first may be any view


class Limit(NamedTuple):
    """What one core cannot beat, unless it multiplies less than the definition does."""

    seconds: float
    name: str


def seconds_of(spec: Convolution, cycles: float, machine: Machine) -> float:
    """The expected time of so many cycles on one core, which has to move all bytes as well."""
    lanes = machine.vector_bits // (64 if spec.dtypes.sum == "float64" else 32)
    clock = machine.peak(spec.dtypes.sum) / (2 * lanes * FMA_PER_CYCLE)
    return max(cycles / clock, spec.bytes_moved / machine.bandwidth)


class Plan:
    """How one product of a description is computed. Prints itself; `plan(x, w, bias)` runs it, `plan.bind(w, bias)` keeps packed weights.

    The gradient of the input takes (dy, w), that of the weights (x, dy).
    """

    def __init__(
        self,
        spec: Convolution,
        produces: str,
        algorithm: str,
        work: Work,
        chosen: Sequence[tuple[Any, float]],
        machine: Machine,
        refused: dict[str, str],
        tuned: Winner | None = None,
    ):
        self.spec, self.produces, self.algorithm, self.machine, self.refused = spec, produces, algorithm, machine, refused
        self.work, self.tuned = work, tuned
        self.parts = tuple(
            Part(schedule, cycles, job, machine.target)
            for job, (schedule, cycles) in zip(work.jobs, chosen, strict=True)
        )
        self.cycles = sum(part.cycles for part in self.parts)
        self._first, self._second, self._result = (_Array.of(spec, name, produces) for name in (*READ[produces], produces))
        self._skipped = _skipped(spec) if produces == "y" else None
        whole = len(self.parts) == 1 and work.before is work.after is None and work.finished
        self._simple = whole and 0 not in (*self._first.shape, *self._result.shape)

    @property
    def program(self) -> Program:
        """The program of a plan that has one part."""
        (part,) = self.parts
        return part.program

    @property
    def schedule(self) -> Any:
        """The schedule of a plan that has one part."""
        (part,) = self.parts
        return part.schedule

    @property
    def code(self) -> Code:
        """The machine code of a plan that has one part."""
        (part,) = self.parts
        return part.code

    @property
    def seconds(self) -> float:
        """The expected time on one core."""
        return seconds_of(self.spec, self.cycles, self.machine)

    @property
    def limit(self) -> Limit:
        """The larger of what the sums take on one core, by the fastest instructions for such numbers, and what moving all bytes once."""
        of, machine = self.spec.dtypes, self.machine
        peaks = {
            "multiply-add": machine.peak(of.sum),
            "dot-product": machine.peak_of_dots(of.x, of.w),
            "matrix unit": machine.peak_of_products(of.x, of.w),
        }
        name = max(peaks, key=lambda name: peaks[name])
        arithmetic, copying = 2 * self.spec.macs / peaks[name], self.spec.bytes_moved / machine.bandwidth
        return Limit(arithmetic, name) if arithmetic > copying else Limit(copying, "copying")

    @property
    def scratch(self) -> int:
        """Bytes of scratch memory per thread."""
        return max((part.program.scratch for part in self.parts), default=0)

    @property
    def buffers(self) -> int:
        """Bytes of scratch that all threads share: strips of border, or sums of segments."""
        return sum(math.prod(shape) for shape in self.work.more) * np.dtype(self.work.dtype).itemsize

    @property
    def items(self) -> int:
        """Pieces of work that threads can share."""
        return sum(part.program.items for part in self.parts)

    def share(self, seconds: float) -> float:
        """Which part of one core's limit a run of this many seconds reached; above 1 with several threads, fewer products, or in caches."""
        return self.limit.seconds / seconds if seconds > 0 else 0.0

    def workers(self, threads: int | None = None) -> int:
        """How many threads a run takes that may take as many."""
        return max((workers(part.for_threads(threads).program.items, part.cycles, threads) for part in self.parts), default=1)

    def explain(self) -> dict[str, Any]:
        """The plan as a structure: shapes, counts, algorithm, schedule, expectation, refusals."""
        return {
            "produces": NAMES[self.produces],
            "input": self.spec.x_shape,
            "weights": self.spec.w_shape,
            "output": self.spec.y_shape,
            "dtypes": self.spec.dtypes._asdict(),
            "macs": self.spec.macs,
            "bytes": self.spec.bytes_moved,
            "algorithm": self.algorithm,
            "schedule": self._schedules(),
            "seconds": self.seconds,
            "tuned": None if self.tuned is None else self.tuned._asdict(),
            "limit": self.limit._asdict(),
            "items": self.items,
            "scratch": self.scratch,
            "buffers": self.buffers,
            "refused": self.refused,
        }

    def __str__(self) -> str:
        lines = str(self.spec).splitlines()
        share = f"{self.share(self.seconds):.0%} of its {self.limit.name} limit ({readable(self.limit.seconds)})"
        lines += [
            f"count   {self.spec.macs:,} MACs, {self.spec.bytes_moved:,} bytes",
            *(f"plan    {self.algorithm}: {schedule}" for schedule in self._schedules()),
            f"expect  {readable(self.seconds)} on one core, {share}",
            f"work    {self.items:,} items, {self.scratch:,} bytes of scratch per thread",
        ]
        if self.tuned is not None:
            on = "1 thread" if self.tuned.threads == 1 else f"{self.tuned.threads} threads"
            lines.append(f"tuned   {readable(self.tuned.seconds)} measured on {on}, {readable(self.tuned.before)} before")
        if self.produces != "y":
            lines.insert(0, NAMES[self.produces])
        if self.buffers:
            lines.append(f"buffers {self.buffers:,} bytes for {self.work.purpose}")
        lines += [f"not     {name}: {reason}" for name, reason in self.refused.items()]
        return "\n".join(lines)

    def _schedules(self) -> list[str]:
        """Each schedule once, with how many parts have it."""
        counts = Counter(str(part.schedule) for part in self.parts)
        return [f"{count} × {schedule}" if count > 1 else schedule for schedule, count in counts.items()]

    def bind(self, w: npt.ArrayLike, bias: npt.ArrayLike | None = None) -> Bound:
        """This plan with its weights packed once: a callable on x. It does not see what becomes of the arrays."""
        return self.borrow(np.array(w), None if bias is None else np.array(bias))

    def borrow(self, w: Array, bias: Array | None = None) -> Bound:
        """`bind` to arrays that nobody changes as long as it is used: weights in the order of a program are read where they lie."""
        return Bound(self, *self._pack(w, bias, None))

    def __call__(
        self, x: npt.ArrayLike, w: npt.ArrayLike, bias: npt.ArrayLike | None = None, *, out: Array | None = None, threads: int | None = None
    ) -> Array:
        """The convolution of x with w. Views with any strides are read where they lie, save innermost gaps, which are closed by a copy."""
        operands, bias = self._pack(np.asarray(w), None if bias is None else np.asarray(bias), threads, once=True)
        return self._run(np.asarray(x), operands, bias, out, threads)

    def _pack(
        self, w: Array, bias: Array | None, threads: int | None, once: bool = False
    ) -> tuple[tuple[Operands, ...], Array | None]:
        w = self._check_second(w)
        self._check_bias(bias)
        inside = bias if self.work.finished else None
        if self._dealing is not None:
            packed = in_order(self._dealing, w, threads)
            return tuple([part.packed(own, inside) for part, own in zip(self.parts, packed, strict=True)]), bias
        return tuple([(part.once if once else part).pack(w, inside, threads) for part in self.parts]), bias

    @kept
    def _dealing(self) -> Dealing | None:
        """What puts the weights of all parts in order, if one pass does."""
        return Dealing.of([part.program.pack_weights for part in self.parts])

    def _check_second(self, w: Array) -> Array:
        """The weights, or the error, as the programs read them: in the plan's type and this machine's byte order."""
        second = self._second
        if w.shape != second.shape:
            raise ShapeError(f"{second.name} has shape {w.shape}, but the plan is for {second.shape}")
        same = w.dtype == second.dtype
        if not same and w.dtype.newbyteorder("=") != second.dtype and (w.dtype.kind not in "fbiu" or self.spec.dtypes.integers):
            raise DtypeError(f"{second.name} has dtype {w.dtype}, but the plan is for {second.dtype}")
        if self._skipped is not None and np.any(w[self._skipped]):
            kept_taps = len(self.spec.taps or ())
            raise ArgumentError(f"w has weights other than zero at taps that this plan skips; it was made for {kept_taps} taps")
        return w if same else w.astype(second.dtype)

    def _check_bias(self, bias: Array | None) -> None:
        spec = self.spec
        if (bias is not None) != spec.epilogue.bias:
            given, wanted = ("missing", "with") if spec.epilogue.bias else ("given", "without")
            raise ArgumentError(f"bias is {given}, but the plan is {wanted} one")
        if bias is None:
            return
        shape = spec.bias_shape if self.produces == "y" else (spec.channels,)
        if bias.shape != shape:
            raise ShapeError(f"bias has shape {bias.shape}, but must have {shape}: one per output channel")
        if spec.dtypes.sum == "int64" and not np.can_cast(bias.dtype, np.int64):
            raise DtypeError(f"bias has dtype {bias.dtype}, but must be int64 as the sum is")
        if bias.dtype.kind not in "fbiu" and bias.dtype.name not in (spec.dtypes.sum, "bfloat16"):  # which has no kind of its own
            raise DtypeError(f"bias has dtype {bias.dtype}, but must be real numbers")

    def _run(
        self, x: Array, operands: Sequence[Operands], bias: Array | None, out: Array | None, threads: int | None
    ) -> Array:
        x = self._check_first(x)
        result, whole = self._result, self.work.finished
        if out is None or not whole:
            y = empty_aligned(result.shape, result.dtype if whole else self.work.dtype)
        else:
            y = self._check_out(out, x, operands)
        if self._simple:
            self.parts[0].run(x, operands[0], y, threads)
        elif y.size:
            self._run_parts(x, operands, y, threads)
        if not whole:
            y = self._finish(y, bias)
        if out is not None and y is not out:
            np.copyto(out if whole else self.checked_out(out), y)
            return out
        return y

    def _run_parts(self, x: Array, operands: Sequence[Operands], y: Array, threads: int | None) -> None:
        arrays = [y, *(empty_aligned(shape, self.work.dtype) for shape in self.work.more)]
        if x.size == 0:
            y[...] = 0
            return
        if self.work.before:
            self.work.before(arrays)
        for part, packed in zip(self.parts, operands, strict=True):
            part.run(x, packed, arrays[part.program.goal], threads)
        if self.work.after:
            self.work.after(arrays)

    def _finish(self, total: Array, bias: Array | None) -> Array:
        """The epilogue of what the jobs left as sums."""
        spec = self.spec
        if bias is not None:
            with np.errstate(over="ignore", invalid="ignore"):  # infinities pass, as in the kernels
                total += bias.reshape(-1, *(1,) * spec.n) if spec.layout == "channels_first" else bias
        total, dtype = reference.activate(spec, total), self._result.dtype
        if dtype.kind in "biu":
            return narrowed(total, dtype.name, Narrowing(spec.overflow, spec.dtypes.integers))
        with np.errstate(over="ignore"):  # beyond the largest float16 stands infinity
            return total.astype(dtype, copy=False)

    def _check_first(self, x: Array) -> Array:
        """The input as it can be read: native, aligned, and close together where the programs want that."""
        first = self._first
        if x.shape != first.shape:
            raise ShapeError(f"{first.name} has shape {x.shape}, but the plan is for {first.shape}")
        if x.dtype != first.dtype:
            if x.dtype.newbyteorder("=") != first.dtype:
                raise DtypeError(f"{first.name} has dtype {x.dtype}, but the plan is for {first.dtype}")
            x = x.astype(first.dtype)
        flags = x.flags
        if flags.c_contiguous and flags.aligned:
            return x
        fits = flags.aligned and all(part.program.fits(x.shape, x.strides, x.itemsize) for part in self.parts)
        return x if fits else np.ascontiguousarray(x)

    def checked_out(self, out: Array) -> Array:
        """`out`, if it can hold the result."""
        result = self._result
        if not isinstance(out, np.ndarray) or out.shape != result.shape:
            raise ShapeError(f"out has shape {np.shape(out)}, but the result has {result.shape}")
        if out.dtype != result.dtype and out.dtype.newbyteorder("=") != result.dtype:
            raise DtypeError(f"out has dtype {out.dtype}, but the result has {result.dtype}")
        if not out.flags.writeable:
            raise ArgumentError("out is read-only")
        return out

    def _check_out(self, out: Array, x: Array, operands: Sequence[Operands]) -> Array:
        """The array to compute into: `out` itself, or another where it has gaps or shares memory with what is read."""
        result = self._result
        usual = isinstance(out, np.ndarray) and out.shape == result.shape and out.dtype == result.dtype and out.flags.carray
        if usual and apart(out, (x, operands[0].w) if self._simple else [x, *[packed.w for packed in operands]]):
            return out
        self.checked_out(out)
        return empty_aligned(result.shape, result.dtype)


class _Array(NamedTuple):
    """What an operand must be, and what its owner calls it."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, spec: Convolution, name: str, produces: str) -> _Array:
        shape = {"x": spec.x_shape, "w": spec.w_shape, "y": spec.y_shape}[name]
        return cls("dy" if name == "y" != produces else name, shape, np.dtype(getattr(spec.dtypes, name)))


@dataclass(frozen=True, eq=False)
class Bound:
    """A plan with its weights: a callable on x."""

    plan: Plan
    operands: tuple[Operands, ...]
    bias: Array | None

    def ready(self, x: Array, out: Array, *, threads: int | None = None) -> Callable[[], Any]:
        """The call on arrays that stay where they are, with as little as possible left to do; not for two threads at a time."""
        plan = self.plan
        if plan._simple and plan._check_first(x) is x and plan._check_out(out, x, self.operands) is out:
            return plan.parts[0].ready(x, self.operands[0], out, threads)
        return partial(self, x, out=out, threads=threads)

    def __call__(self, x: npt.ArrayLike, *, out: Array | None = None, threads: int | None = None) -> Array:
        """The convolution of x with the bound weights."""
        return self.plan._run(np.asarray(x), self.operands, self.bias, out, threads)


def _skipped(spec: Convolution) -> tuple[Any, ...] | None:
    """An index of the weights that a plan does not read."""
    if spec.taps is None:
        return None
    mask = np.ones(spec.kernel, np.bool_)
    mask[tuple(np.array(spec.taps).T)] = False
    return (slice(None), mask) if spec.weight_layout == "O*I" else (mask,) if spec.weight_layout == "*IO" else (..., mask)


def readable(seconds: float) -> str:
    """A time with its unit."""
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.1f} µs"
