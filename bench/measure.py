"""One row: every contestant is checked against ours, then all are timed in turns; the figures of a report."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from bench import ours
from bench.peers import Contestant, Peer
from bench.problems import AnyRow, Array
from juanji.errors import NotBuiltError
from juanji.machine import Machine

Call = Callable[[], Any]
Clock = Callable[[], float]

ROUNDS = 7
FEWEST_ROUNDS = 3  # of a contestant that is too slow for all of them
TURN = 2e-3  # seconds that a turn should take at least
BUDGET = 1.0  # seconds that the turns of one contestant may take together
SLOW = 20e-3  # seconds of a call that needs no untimed one before it: the caches hold nothing for so long
BFLOAT16_EPS = 2.0**-7  # which NumPy does not know


@dataclass
class Record:
    """What is known of a row afterwards; everything that the reports show, and what the file of results holds.

    ms: the median of each contestant, by its label. best_ms: its fastest turn.
    ratios: peer's time over ours, by "library best" (its best setting) and "library same" (its best in the row's layout).
    expected_ms: of ours, as the planner's costs predict it, shared evenly by the threads; 0 where nothing is predicted.
    share: of the machine's limit, the longer of arithmetic at its peak and traffic at its bandwidth, in our time.
    macs: 0 where nothing is multiplied and added, as in pooling.
    fault: why there are no figures, or why they must not be believed.
    """

    name: str
    group: str
    dtype: str
    layout: str
    macs: int = 0
    bytes_moved: int = 0
    limit_ms: float = 0.0
    algorithm: str = ""
    schedule: str = ""
    agrees_with: list[str] = field(default_factory=list)
    ms: dict[str, float] = field(default_factory=dict)
    best_ms: dict[str, float] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    gflops: float = 0.0
    share: float = 0.0
    fault: str = ""
    wrong: bool = False
    product: str = "y"
    expected_ms: float = 0.0


def measure(
    row: AnyRow,
    peers: Sequence[Peer],
    machine: Machine,
    *,
    threads: int,
    rounds: int = ROUNDS,
    allocate: bool = False,
    clock: Clock = time.perf_counter,
) -> Record:
    """The record of a row. A wrong result or an error is a fault, and nothing is timed; so is a row that is not built yet."""
    record = Record(row.name, row.group, row.dtype, row.layout, product=row.product)
    try:
        record.macs, record.bytes_moved, record.limit_ms = row.macs, row.bytes_moved, row.limit(machine) / threads * 1e3
        _fill(record, row, peers, threads, partial(interleave, rounds=rounds, clock=clock), allocate)
    except NotBuiltError as error:
        record.fault = f"not built: {error}"
    except ImportError as error:
        record.fault = f"not installed: {error.name}"
    except Exception as error:  # one broken row must not cost the others their figures
        record.fault, record.wrong = f"{type(error).__name__}: {error}", True
    return record


def _fill(
    record: Record, row: AnyRow, peers: Sequence[Peer], threads: int, timed: Callable[[Sequence[Call]], list[list[float]]], allocate: bool
) -> None:
    first, second = row.arrays()
    mine, record.algorithm, record.schedule, expected = ours.contestant(row, first, second, threads, allocate)
    record.expected_ms = expected / threads * 1e3
    others = [contestant for peer in peers for contestant in peer.contestants(row, first, second)]
    faults = list(_disagreements(row, mine, others))
    if faults:
        record.fault, record.wrong = f"WRONG: {'; '.join(faults)}", True
        return
    record.agrees_with = [other.label for other in others]
    contestants = [mine, *others]
    for contestant, times in zip(contestants, timed([c.run for c in contestants]), strict=True):
        record.ms[contestant.label] = median(times) * 1e3
        record.best_ms[contestant.label] = min(times) * 1e3
    own = record.ms[mine.label]
    record.ratios = ratios(own, [(c.library, c.same, record.ms[c.label]) for c in others])
    record.gflops, record.share = 2 * record.macs / own / 1e6, record.limit_ms / own


def interleave(
    calls: Sequence[Call], rounds: int, *, clock: Clock = time.perf_counter, budget: float = BUDGET
) -> list[list[float]]:
    """Seconds per call, one figure for each turn of each callable.

    All take their turns in every round, so that a disturbance of the machine meets everyone; every other round runs backwards, so
    that nobody always follows the same neighbour. A turn calls as often as fills `TURN`, after one call that is not timed and
    brings the caches back. A callable for whose turns the budget is too short sits out the last rounds, but has `FEWEST_ROUNDS`.
    """
    for call in calls:
        call()  # compiles, allocates, starts threads
    pace = [_time(call, 1, clock) for call in calls]
    repeats = [max(1, math.ceil(TURN / max(seconds, 1e-9))) for seconds in pace]
    turns = [min(rounds, max(FEWEST_ROUNDS, int(budget / max(n * seconds, TURN)))) for n, seconds in zip(repeats, pace, strict=True)]
    times: list[list[float]] = [[] for _ in calls]
    for number in range(rounds):
        order = range(len(calls)) if number % 2 == 0 else reversed(range(len(calls)))
        for i in order:
            if number >= turns[i]:
                continue
            if pace[i] < SLOW:
                calls[i]()
            times[i].append(_time(calls[i], repeats[i], clock) / repeats[i])
    return times


def _time(call: Call, repeats: int, clock: Clock) -> float:
    start = clock()
    for _ in range(repeats):
        call()
    return clock() - start


def ratios(own: float, others: Sequence[tuple[str, bool, float]]) -> dict[str, float]:
    """Peer's time over ours from (library, whether in the row's layout, time).

    >>> ratios(2.0, [("torch", True, 6.0), ("torch", False, 4.0)])
    {'torch best': 2.0, 'torch same': 3.0}
    """
    found: dict[str, float] = {}
    for library, same, theirs in others:
        for key in (f"{library} best", f"{library} same") if same else (f"{library} best",):
            found[key] = min(theirs / own, found.get(key, math.inf))
    return dict(sorted(found.items()))


def _disagreements(row: AnyRow, mine: Contestant, others: Sequence[Contestant]) -> Iterator[str]:
    got = np.array(mine.read(mine.run()))
    allowed = tolerance(got.dtype, row.terms)
    for other in others:
        complaint = disagreement(got, other.read(other.run()), allowed, other.truncates)
        if complaint:
            yield f"differs from {other.label}: {complaint}"


def tolerance(dtype: npt.DTypeLike, count: int) -> float:
    """How far two right sums of `count` products may lie apart, as a share of the largest; 0 for integers.

    Rounding errors of a sum grow with the square root of its length; the 8 leaves room for transforms (Winograd, FFT).
    """
    kind = np.dtype(dtype)
    if kind.kind in "iu":
        return 0.0
    return 8.0 * (BFLOAT16_EPS if kind.name == "bfloat16" else float(np.finfo(kind).eps)) * math.sqrt(max(count, 9))


def disagreement(got: Array, want: Array, allowed: float, truncates: bool = False) -> str:
    """What is wrong with a result, or nothing. Bytes may differ by one: one in 500, whose sums lie halfway, or all if a peer truncates."""
    if got.shape != want.shape or got.dtype != want.dtype:
        return f"{got.dtype} of shape {got.shape} instead of {want.dtype} of {want.shape}"
    wide = np.complex128 if got.dtype.kind == "c" else np.float64
    off = np.abs(got.astype(wide) - want.astype(wide))
    worst = float(off.max())
    where = tuple(map(int, np.unravel_index(int(off.argmax()), off.shape)))
    at = f"{got[where]} instead of {want[where]} at {where}"
    if got.dtype == np.uint8:
        many = np.count_nonzero(off) / off.size
        return "" if worst <= 1 and (truncates or many <= 1 / 500) else f"{at}, {many:.2%} of all differ"
    bound = allowed * float(np.abs(want.astype(wide)).max())
    return "" if worst <= bound else f"{at}, off by {worst:.3g} where {bound:.3g} is allowed"
