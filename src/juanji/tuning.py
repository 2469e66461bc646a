"""`tune`: the candidates of a plan measured against each other, the fastest remembered.

A champion meets challengers one after the other, both in turns, so that a disturbance of the machine meets both and no more than two
sets of packed weights exist. Challengers come in the order of their expected times: first the best schedule of every kernel, then,
since they compile nothing, other blocks of the kernel that has won. What differs by less than noise leaves the champion where it is.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from juanji import exact, planner, winners
from juanji import machine as machines
from juanji.calls import plain
from juanji.convolution import plan
from juanji.describe import describe
from juanji.errors import ArgumentError
from juanji.kinds import AnyPlan, Complexes, Integers, plan_for
from juanji.planner import ALGORITHMS, PREPARED, Choice
from juanji.plans import READ, Plan
from juanji.run import thread_count
from juanji.spec import Convolution
from juanji.winners import Winner

Array = npt.NDArray[Any]

TURN = 0.5e-3  # seconds that a turn takes at least
SLACK = (1.2, 1.1, 1.05, 1.03, 1.03)  # after each turn of both: times the champion's time beyond which a challenger gives up
LEAST_GAIN = 0.02  # that is no noise
PROMISING = 2.0  # times the least expectation beyond which nothing is measured
MOST_SCHEDULES = 64  # that are looked at, of each job
MOST_BLOCKS = 12  # of one kernel
SMALL_SHARE = 0.05  # of a plan's expected cycles below which a job keeps its schedule


def tune(
    x: tuple[int, ...] | Array,
    w: tuple[int, ...] | Array,
    *,
    seconds: float = 3.0,
    threads: int | None = None,
    same_bits: bool = True,
    algorithm: str = "auto",
    precision: str = "default",
    **options: Any,
) -> AnyPlan:
    """Measure the candidates of a problem, remember the fastest in this process and on disk, and return the plan that they give.

    x, w: arrays as `conv` takes them, batched, or a shape and weights as `plan` takes them; options: those of `plan`. Afterwards every
    call and plan of the same description, in this process and in later ones of this user, runs what was fastest; `print` of the plan
    tells the measured time. Plans and networks that exist already stay as they are.

    seconds: how long the search may take, compiling included; the last candidate may exceed it.
    threads: with how many to measure; the schedules that win are used with any number.
    same_bits: only schedules that leave the result's bits as they are. False measures the other algorithms too, as far as `algorithm`
        and `precision` admit them: these add in another order, so the bits may change, and they do for every batch and layout alike,
        whichever was measured.

    Raises what `plan` raises, and ArgumentError for seconds that are not positive.

    >>> import juanji as jj
    >>> tuned = tune((1, 8, 12, 12), (8, 8, 3, 3), seconds=0.05, algorithm="direct")
    >>> "measured on" in str(jj.plan((1, 8, 12, 12), (8, 8, 3, 3), algorithm="direct"))
    True
    >>> forget_tuning()
    """
    if not isinstance(seconds, int | float) or not seconds > 0:
        raise ArgumentError(f"seconds (={seconds!r}) must be a positive number")
    count = thread_count(threads)

    def planned() -> AnyPlan:
        return _planned(x, w, algorithm, precision, dict(options))

    found = of_floats(planned(), x, w)
    _tune(found, algorithm, precision, seconds, count, same_bits)
    return planned()


def forget_tuning() -> None:
    """Forget whatever `tune` remembered, in this process and on disk."""
    winners.forget()


def _planned(x: Any, w: Any, algorithm: str, precision: str, options: dict[str, Any]) -> AnyPlan:
    """The plan of a call on arrays, or of shapes."""
    if isinstance(x, np.ndarray):
        if "dtype" in options:
            raise ArgumentError(f"dtype (={options['dtype']!r}) belongs to a shape; x is an array of {x.dtype}")
        if isinstance(w, np.ndarray) and options.get("gradient") is None:
            of = {name: plain(value) for name, value in options.items() if name != "gradient"}
            return plan_for(describe(x.shape, w.shape, dtype=x.dtype, w_dtype=w.dtype, **of), algorithm, precision)
        options["dtype"], x, w = x.dtype, x.shape, np.shape(w) if isinstance(w, np.ndarray) else w
    return plan(x, w, algorithm=algorithm, precision=precision, **options)


def of_floats(found: AnyPlan, x: Any, w: Any) -> Plan:
    """The plan whose schedules run: of the carrier of integer sums, of the pairs of complex numbers."""
    match found:
        case Complexes():
            return found.plan
        case Integers():
            given = {name: a for name, a in (("x", x), ("w", w)) if isinstance(a, np.ndarray) and name in READ[found.produces]}
            return found.plan({name: exact.extent(a) for name, a in given.items()}) if given else found.least
        case Plan():
            return found
        case _:
            raise TypeError(type(found).__name__)


# The search -----------------------------------------------------------------------------------------------------------------


def _tune(current: Plan, algorithm: str, precision: str, seconds: float, threads: int, same_bits: bool) -> None:
    """Measure, and remember what won."""
    spec, produces, first_name = current.spec, current.produces, current.algorithm
    if not current.items:
        return  # there is nothing to compute
    track, end = Track(spec, produces, threads), time.perf_counter() + seconds
    names = [first_name] if same_bits else [first_name, *_rivals(current, algorithm, precision)]
    first = champion = track.enter(by_expectation(spec, produces, first_name))
    for left, name in zip(range(len(names), 0, -1), names, strict=True):
        challenger = first if name == first_name else track.enter(by_expectation(spec, produces, name))
        if ALGORITHMS[name].same_bits:
            now = time.perf_counter()
            challenger = _search(track, challenger, now + (end - now) / left)
        if challenger is not champion and track.beats(challenger, champion, end):
            champion = challenger
    after, before = track.costs(champion, first, end)
    if after >= before:  # small gains of one meeting each, which were noise
        champion, after = first, before
    won = champion.plan
    if algorithm == "auto" and not same_bits:
        winners.remember_algorithm(spec, produces, precision, won.algorithm)
    schedules = tuple(repr(part.schedule) for part in won.parts) if ALGORITHMS[won.algorithm].same_bits else ()
    winners.remember(spec, produces, won.algorithm, Winner(schedules, after, before, threads))


def _rivals(current: Plan, algorithm: str, precision: str) -> list[str]:
    """The other algorithms that are admitted and worth a look, the most promising first."""
    spec, produces = current.spec, current.produces
    admitted = tuple(name for name in ALGORITHMS if planner.refusal(spec, algorithm, precision, produces, name) is None)
    seconds = planner.expected(spec, produces, admitted)
    most = 2 * PROMISING * min(seconds.values())
    return sorted((name for name in admitted if name != current.algorithm and seconds[name] <= most), key=seconds.__getitem__)


def by_expectation(spec: Convolution, produces: str, name: str) -> Plan:
    """The plan of an algorithm with the schedules of the least expected times."""
    machine = machines.probe()
    work = ALGORITHMS[name].work(spec, produces, machine)
    return Plan(spec, produces, name, work, planner.choose(work.jobs), machine, {})


def _search(track: Track, champion: Entrant, end: float) -> Entrant:
    """The best schedules of every job that matters, the longest job first."""
    parts = champion.plan.parts
    matter = [i for i in range(len(parts)) if parts[i].cycles >= SMALL_SHARE * champion.plan.cycles]
    for left, i in zip(range(len(matter), 0, -1), sorted(matter, key=lambda i: -parts[i].cycles), strict=True):
        now = time.perf_counter()
        champion = _search_job(track, champion, i, now + (end - now) / left)
    return champion


def _search_job(track: Track, champion: Entrant, i: int, end: float) -> Entrant:
    """The best schedule of one job: first of all kernels, then of the blocks of the kernel that has won."""
    kernels = kernels_of(champion.plan, i)
    champion = _meet(track, champion, i, [choices[0] for choices in kernels.values()], end)
    return _meet(track, champion, i, kernels.get(champion.plan.parts[i].program.code, [])[1:MOST_BLOCKS], end)


def kernels_of(plan: Plan, i: int) -> dict[Any, list[Choice]]:
    """The promising schedules of a job by the code they run, the best expectations first."""
    job = plan.work.jobs[i]
    choices = sorted(job.candidates(), key=lambda choice: choice[1])[:MOST_SCHEDULES]
    found: dict[Any, list[Choice]] = {}
    for schedule, cycles in choices:
        if cycles <= PROMISING * choices[0][1]:
            found.setdefault(job.program(schedule).code, []).append((schedule, cycles))
    return found


def _meet(track: Track, champion: Entrant, i: int, choices: Iterable[Choice], end: float) -> Entrant:
    """Who is left when the champion has met its plan with each of these schedules of a job."""
    for choice in choices:
        if time.perf_counter() > end:
            break
        plan = champion.plan
        if choice[0] == plan.parts[i].schedule:
            continue
        chosen = [(part.schedule, part.cycles) for part in plan.parts]
        chosen[i] = choice
        challenger = track.enter(Plan(plan.spec, plan.produces, plan.algorithm, plan.work, chosen, plan.machine, {}))
        if track.beats(challenger, champion, end):
            champion = challenger
    return champion


# The measuring --------------------------------------------------------------------------------------------------------------


class Entrant(NamedTuple):
    """A plan with its weights packed, ready to run; preparing: what counts to a call of the seconds that packing takes."""

    plan: Plan
    call: Callable[[], Any]
    preparing: float


class Track:
    """The arrays of a product, on which its plans run. What they hold makes no difference to the time; that they lie in memory does."""

    def __init__(self, spec: Convolution, produces: str, threads: int):
        first, second = (self._filled(spec, name) for name in READ[produces])
        bias = np.zeros(spec.bias_shape if produces == "y" else (spec.channels,), np.int64 if spec.dtypes.integers else np.float32)
        self.x, self.w, self.bias, self.y = first, second, bias if spec.epilogue.bias else None, self._filled(spec, produces)
        self.threads, self.clock, self.prepared = threads, clock(threads), PREPARED[produces]

    @staticmethod
    def _filled(spec: Convolution, name: str) -> Array:
        """An operand of zeros, which weights may be at any tap. Written, because untouched pages would all be one."""
        shape = {"x": spec.x_shape, "w": spec.w_shape, "y": spec.y_shape}[name]
        return np.full(shape, 0, getattr(spec.dtypes, name))

    def enter(self, plan: Plan) -> Entrant:
        """A plan ready to run, compiled."""
        bound = plan.bind(self.w, self.bias)
        call = bound.ready(self.x, self.y, threads=self.threads)
        call()
        preparing = self.turn(lambda: plan.bind(self.w, self.bias)) if self.prepared else 0.0
        return Entrant(plan, call, self.prepared * preparing)

    def turn(self, call: Callable[[], Any]) -> float:
        """Seconds of a call, after one that is not timed and brings the caches back."""
        call()
        repeats, begin = 0, self.clock()
        while (now := self.clock()) - begin < TURN or not repeats:
            call()
            repeats += 1
        return (now - begin) / repeats

    def duel(self, first: Entrant, second: Entrant, end: float) -> tuple[float, float]:
        """The least seconds of a call of each, in turns; until the first is clearly slower, or time is up."""
        a = b = math.inf
        for slack in SLACK:
            b, a = min(b, self.turn(second.call)), min(a, self.turn(first.call))
            if a > slack * b or time.perf_counter() > end:
                break
        return a, b

    def costs(self, first: Entrant, second: Entrant, end: float) -> tuple[float, float]:
        """The seconds of a call of each, preparing included, which schedules of one algorithm have in common."""
        (a, b), prepared = self.duel(first, second, end), (first.preparing, second.preparing)
        p, q = prepared if first.plan.algorithm != second.plan.algorithm else (min(prepared),) * 2
        return a + p, b + q

    def beats(self, challenger: Entrant, champion: Entrant, end: float) -> bool:
        """Whether the challenger is faster by more than noise."""
        a, b = self.costs(challenger, champion, end)
        return a < (1 - LEAST_GAIN) * b


def clock(threads: int) -> Callable[[], float]:
    """A thread's own time where there is but one, which other processes do not disturb; else, or if it is coarse, the clock on the wall."""
    fine = time.get_clock_info("thread_time").resolution < 1e-6
    return time.thread_time if threads == 1 and fine else time.perf_counter
