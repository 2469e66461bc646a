"""From a description to a way of computing it: the table of algorithms, and the `Plan` that prints its reasons."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from juanji import machine as machines
from juanji import reference, winners
from juanji.algorithms import box, direct, fft, matrix, separable, winograd
from juanji.algorithms.costs import FMA_PER_CYCLE
from juanji.algorithms.direct import Job, Work
from juanji.errors import ArgumentError, DtypeError, NotBuiltError, ShapeError
from juanji.exact import Narrowing, narrowed
from juanji.jit.memory import empty_aligned
from juanji.jit.program import Program
from juanji.jit.store import Code
from juanji.machine import Machine
from juanji.parts import Operands, Part
from juanji.recall import recalled
from juanji.run import workers
from juanji.spec import Convolution
from juanji.winners import Winner

Array = npt.NDArray[Any]
Choice = tuple[Any, float]  # a schedule and its expected cycles


class Algorithm(NamedTuple):
    """accepts: None or why it does not compute that product of a description; work: the jobs that make it.

    accurate: whether its rounding errors are no larger than the direct sum's.
    strict: whether that holds of all numbers, the smallest, infinities and NaN included.
    same_bits: whether every schedule of a description gives the same bits, so that `tune` may choose among them.
    """

    accepts: Callable[[Convolution, str], str | None]
    work: Callable[[Convolution, str, Machine], Work]
    accurate: bool
    strict: bool
    same_bits: bool = False

    @property
    def margin(self) -> float:
        """What its expected time counts, times itself, where it is compared with others."""
        return 1.0 if self.accurate else MARGIN


def _direct(spec: Convolution, produces: str, machine: Machine) -> Work:
    if spec.shared:
        return direct.work(spec, produces, machine)
    from juanji.algorithms import tiled  # the tiles of sites take as long to import as those of shared weights

    return tiled.work(spec, produces, machine)


ALGORITHMS = {
    "direct": Algorithm(direct.accepts, _direct, accurate=True, strict=True, same_bits=True),
    "winograd": Algorithm(winograd.accepts, winograd.work, accurate=False, strict=False, same_bits=True),
    "fft": Algorithm(fft.accepts, fft.work, accurate=False, strict=False),
    "separable": Algorithm(partial(separable.accepts, low_rank=False), separable.work, accurate=True, strict=True, same_bits=True),
    "box": Algorithm(box.accepts, box.work, accurate=True, strict=True, same_bits=True),
    "low_rank": Algorithm(partial(separable.accepts, low_rank=True), separable.work, accurate=False, strict=False, same_bits=True),
    "matrix": Algorithm(matrix.accepts, matrix.work, accurate=True, strict=False, same_bits=True),
}
PRECISIONS = ("default", "strict")
SMALL_PART = 100e3  # cycles below which a part may take a tile that is not its best
NAMES = {"y": "convolution", "x": "gradient of the input", "w": "gradient of the weights"}
WAITING = 1e-12  # seconds that count for a cycle while bytes move: of algorithms that wait for them, the one with least to do is taken
MARGIN = 1.1  # by which an algorithm of larger error must be faster
PREPARED = {"y": 0.2, "x": 1.0, "w": 0.0}  # of preparing weights, what is counted to a call: outputs are often computed with bound ones
IMAGES = {"y": 1, "x": 4, "w": 1}  # that algorithms are compared for, whatever the batch: gradients of inputs are those of batches
READ = {"y": ("x", "w"), "x": ("y", "w"), "w": ("x", "y")}  # the operands that each product reads; the first may be any view


def plan_for(spec: Convolution, algorithm: str = "auto", precision: str = "default", produces: str = "y") -> Plan:
    """The plan of a description; the same object for equal descriptions.

    produces: "y" the output, "x" the gradient of the input, "w" that of the weights.
    Raises ArgumentError for an unknown algorithm, NotBuiltError where none accepts the description.
    """
    for name, value, valid in (("algorithm", algorithm, ("auto", *ALGORITHMS)), ("precision", precision, PRECISIONS)):
        if not isinstance(value, str) or value not in valid:
            raise ArgumentError(f"{name} (={value!r}) must be one of {', '.join(valid)}")
    return _plan_for(spec, algorithm, precision, produces)


@lru_cache(maxsize=1024)
def _plan_for(spec: Convolution, algorithm: str, precision: str, produces: str) -> Plan:
    machine = machines.probe()
    refused = {name: reason for name in ALGORITHMS if (reason := refusal(spec, algorithm, precision, produces, name))}
    accepting = [name for name in ALGORITHMS if name not in refused]
    if not accepting:
        raise NotBuiltError("; ".join(f"{name}: {reason}" for name, reason in refused.items()))
    chosen = accepting[0]
    if len(accepting) > 1:
        seconds = _compared(spec, produces, tuple(accepting))
        chosen = min(seconds, key=lambda name: seconds[name] * ALGORITHMS[name].margin)
        tuned = winners.algorithm(spec, produces, precision) if algorithm == "auto" else None
        if tuned is not None and tuned in accepting:
            chosen = tuned
        refused |= {
            name: f"{_time(seconds[name])} expected for one image in either layout, and {_time(seconds[chosen])} for {chosen}"
            + (", which was faster when tuned" if tuned == chosen else "")
            for name in accepting
            if name != chosen
        }
    work = ALGORITHMS[chosen].work(spec, produces, machine)
    won = winners.winner(spec, produces, chosen)
    remembered = None if won is None else _named(work.jobs, won.schedules)
    return Plan(spec, produces, chosen, work, remembered or choose(work.jobs), machine, refused, won if remembered is not None else None)


winners.EMPTY_PLANS.append(_plan_for.cache_clear)


def refusal(spec: Convolution, algorithm: str, precision: str, produces: str, name: str) -> str | None:
    """Why an algorithm is not considered."""
    if algorithm not in ("auto", name):
        return "another algorithm was asked for"
    if precision == "strict" and not ALGORITHMS[name].strict:
        return "its error is larger than the direct sum's, and precision is strict"
    return ALGORITHMS[name].accepts(spec, produces)


def _compared(spec: Convolution, produces: str, names: tuple[str, ...]) -> dict[str, float]:
    """What algorithms are compared by: the expected seconds of so many images, one by one, and of both layouts the geometric mean.

    Neither batch nor layout may show in the bits, so the choice is the same for all.
    """
    images = IMAGES[produces]
    last, first = (expected(replace(one, batch=images), produces, names) for one in winners.one_image(spec))
    return {name: math.sqrt(last[name] * first[name]) / images for name in names}


@lru_cache(maxsize=1024)
def expected(spec: Convolution, produces: str, names: tuple[str, ...]) -> dict[str, float]:
    """The expected seconds of some algorithms, each with its share of what preparing the weights takes."""
    machine = machines.probe()
    return recalled(("expected", spec, produces, names, machine), lambda: _expected(spec, produces, names, machine))


def _expected(spec: Convolution, produces: str, names: Sequence[str], machine: Machine) -> dict[str, float]:
    found = {}
    for name in names:
        work = ALGORITHMS[name].work(spec, produces, machine)
        cycles = sum(cycles for _, cycles in choose(work.jobs)) + PREPARED[produces] * work.preparing
        found[name] = seconds_of(spec, cycles, machine) + WAITING * cycles
    return found


def seconds_of(spec: Convolution, cycles: float, machine: Machine) -> float:
    """The expected time of so many cycles on one core, which has to move all bytes as well."""
    lanes = machine.vector_bits // (64 if spec.dtypes.sum == "float64" else 32)
    clock = machine.peak(spec.dtypes.sum) / (2 * lanes * FMA_PER_CYCLE)
    return max(cycles / clock, spec.bytes_moved / machine.bandwidth)


def choose(jobs: Sequence[Job]) -> list[Choice]:
    """The schedule of least expected cycles for each job; small ones share a tile with the others where that costs little, so that
    the many pieces of a gradient do not each compile a kernel of their own."""
    found = [list(job.candidates()) for job in jobs]
    chosen = [min(candidates, key=lambda choice: choice[1]) for candidates in found]
    tiles: set[Any] = set()
    for i in sorted(range(len(chosen)), key=lambda i: -chosen[i][1]):
        if tiles and chosen[i][1] < SMALL_PART:
            most = chosen[i][1] + SMALL_PART
            alike = [(schedule, cycles) for schedule, cycles in found[i] if cycles < most and schedule.tile in tiles]
            chosen[i] = min(alike, key=lambda choice: choice[1], default=chosen[i])
        if len(chosen) > 1:
            tiles.add(chosen[i][0].tile)
    return chosen


def _named(jobs: Sequence[Job], names: Sequence[str]) -> list[Choice] | None:
    """The schedules that print so; no names leave the choice as it is. None where a job has no such schedule."""
    if not names:
        return []
    if len(names) != len(jobs):
        return None
    found = [next((choice for choice in job.candidates() if repr(choice[0]) == name), None) for job, name in zip(jobs, names, strict=True)]
    named = [choice for choice in found if choice is not None]
    return named if len(named) == len(jobs) else None


class Limit(NamedTuple):
    """What one core cannot beat, unless it multiplies less than the definition does."""

    seconds: float
    name: str


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
        self._simple = len(self.parts) == 1 and work.before is work.after is None and work.finished

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
        """The larger of what multiply-adds take on one core, by the matrix unit if it has these numbers, and what moving all bytes once."""
        of, machine = self.spec.dtypes, self.machine
        unit = machine.peak_of_products(of.x, of.w)
        arithmetic = 2 * self.spec.macs / (unit or machine.peak(of.sum))
        copying = self.spec.bytes_moved / machine.bandwidth
        return Limit(arithmetic, "matrix unit" if unit else "multiply-add") if arithmetic > copying else Limit(copying, "copying")

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
        share = f"{self.share(self.seconds):.0%} of its {self.limit.name} limit ({_time(self.limit.seconds)})"
        lines += [
            f"count   {self.spec.macs:,} MACs, {self.spec.bytes_moved:,} bytes",
            *(f"plan    {self.algorithm}: {schedule}" for schedule in self._schedules()),
            f"expect  {_time(self.seconds)} on one core, {share}",
            f"work    {self.items:,} items, {self.scratch:,} bytes of scratch per thread",
        ]
        if self.tuned is not None:
            on = "1 thread" if self.tuned.threads == 1 else f"{self.tuned.threads} threads"
            lines.append(f"tuned   {_time(self.tuned.seconds)} measured on {on}, {_time(self.tuned.before)} before")
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
        return tuple([(part.once if once else part).pack(w, inside, threads) for part in self.parts]), bias

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
        if y.size and self._simple and x.size:
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
        self.checked_out(out)
        flags, apart = out.flags, not np.may_share_memory(out, x)
        for packed in operands:
            apart = apart and not np.may_share_memory(out, packed.w)
        if apart and flags.c_contiguous and flags.aligned and out.dtype.isnative:
            return out
        return empty_aligned(self._result.shape, self._result.dtype)


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
        if plan._simple and x.size and out.size and plan._check_first(x) is x and plan._check_out(out, x, self.operands) is out:
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


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.1f} µs"
