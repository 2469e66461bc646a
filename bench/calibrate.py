"""python -m bench.calibrate: what the planner expects of every algorithm beside what was measured, and constants that fit better.

For each row the algorithms that accept it and are promising run some of their schedules, the most promising ones and a few more. It
shows by how much expectations are off, how well they rank schedules, what the planner's choice costs beside the best that was measured,
and every row where another choice was more than 5% faster. With --fit the constants of the cost models are fitted (bench/constants.py
has the algebra): first on every second row and judged on the others, then on all rows, which is what is printed, and with --write put
into the source. Times are those of one thread.
"""

import argparse
import itertools
import json
import math
import random
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import Progress

from bench import constants, heldout, rows
from bench.problems import Row
from bench.report import geometric_mean, titled
from juanji import planner
from juanji.kinds import plan_for
from juanji.planner import ALGORITHMS, PREPARED
from juanji.plans import Plan, seconds_of
from juanji.tuning import Track, by_expectation, kernels_of, of_floats

SCHEDULES = 6  # of each algorithm and row, the most promising one of so many kernels
MORE = 2  # drawn from the others
PROMISING = 3.0  # times the least expectation beyond which an algorithm is not measured
TURNS = 5  # of each in turn, of which the fastest counts
FINALISTS = 3  # that are measured again where the choice seems to be wrong
WRONG = 1.05  # times the best that a choice may take


@dataclass(frozen=True)
class Sample:
    """A schedule of an algorithm on a row. Seconds: expected and measured of a call, and as they count where algorithms are compared.

    Costs include the share of preparing weights that counts to a call.
    """

    row: str
    algorithm: str
    kind: str
    schedule: str
    expected: float
    expected_cost: float
    measured: float
    cost: float

    @property
    def merit(self) -> float:
        """What the planner compares: the expected cost, and a margin if the algorithm's error is the larger."""
        return self.expected_cost * ALGORITHMS[self.algorithm].margin


# Measuring ------------------------------------------------------------------------------------------------------------------


def measure(row: Row) -> Iterator[Sample]:
    """The samples of a row."""
    plan = of_floats(plan_for(row.describe(), row.algorithm, produces=row.product), None, None)
    spec, produces = plan.spec, plan.produces
    track = Track(spec, produces, threads=1)
    names = tuple(name for name in ALGORITHMS if planner.refusal(spec, row.algorithm, "default", produces, name) is None)
    expected = planner.expected(spec, produces, names)
    promising = [name for name in names if expected[name] <= PROMISING * min(expected.values())]
    tried = [varied for name in promising for varied in _variations(row, by_expectation(spec, produces, name))]
    entrants = [track.enter(varied.plan) for varied in tried]
    least = [math.inf] * len(tried)

    def samples() -> list[Sample]:
        return [
            Sample(row.name, plan.algorithm, type(schedule).__name__, repr(schedule), *expected, t, t + e.preparing)
            for (plan, schedule, expected), e, t in zip(tried, entrants, least, strict=True)
        ]

    def turns(indices: Iterable[int]) -> None:
        for _, i in itertools.product(range(TURNS), indices):
            least[i] = min(least[i], track.turn(entrants[i].call))

    turns(range(len(tried)))
    (verdict,), found = verdicts(samples()), samples()
    if verdict.loss > WRONG:  # of many, one is fast by chance
        turns([found.index(verdict.chosen), *sorted(range(len(found)), key=lambda i: found[i].cost)[:FINALISTS]])
    yield from samples()


def expectations(plan: Plan) -> dict[str, tuple[float, float]]:
    """Expected seconds of a plan's algorithm, of a call and as they count, by the schedule of its longest job."""
    spec, produces, machine = plan.spec, plan.produces, plan.machine
    work = ALGORITHMS[plan.algorithm].work(spec, produces, machine)
    longest, usual = longest_job(plan), [cycles for _, cycles in planner.choose(work.jobs)]
    rest, preparing = sum(usual) - usual[longest], PREPARED[produces] * work.preparing
    return {
        repr(schedule): (
            seconds_of(spec, rest + cycles, machine),
            seconds_of(spec, rest + cycles + preparing, machine),
        )
        for schedule, cycles in work.jobs[longest].candidates()
    }


def longest_job(plan: Plan) -> int:
    """The job of a plan whose schedules are varied; the others keep theirs."""
    return max(range(len(plan.parts)), key=lambda i: plan.parts[i].cycles)


class _Varied(NamedTuple):
    """A plan whose longest job has another schedule, and its expected seconds as `expectations` gives them."""

    plan: Plan
    schedule: Any
    expected: tuple[float, float]


def _variations(row: Row, usual: Plan) -> Iterator[_Varied]:
    """Plans with other schedules of the longest job: the usual one, the best of the most promising kernels, and some others."""
    longest, expected = longest_job(usual), expectations(usual)
    parts = [(part.schedule, part.cycles) for part in usual.parts]
    kernels = list(kernels_of(usual, longest).values())
    more = [choice for choices in kernels for choice in choices[1:]] + [choices[0] for choices in kernels[SCHEDULES:]]
    random.Random(zlib.crc32(row.name.encode())).shuffle(more)
    for choice in dict.fromkeys((parts[longest], *(choices[0] for choices in kernels[:SCHEDULES]), *more[:MORE])):
        chosen = [*parts[:longest], choice, *parts[longest + 1 :]]
        plan = Plan(usual.spec, usual.produces, usual.algorithm, usual.work, chosen, usual.machine, {})
        yield _Varied(plan, choice[0], expected[repr(choice[0])])


# Judging --------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """A row: what would be chosen, what was best, and how many times as long the choice takes."""

    row: str
    chosen: Sample
    best: Sample

    @property
    def loss(self) -> float:
        return self.chosen.cost / self.best.cost


def by_row(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    """Samples by their rows."""
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        found.setdefault(sample.row, []).append(sample)
    return found


def verdicts(samples: Iterable[Sample]) -> list[Verdict]:
    """Of every row, by the expectations that its samples have, as if batch and layout might count in the choice of an algorithm too."""
    return [
        Verdict(row, min(own, key=lambda sample: sample.merit), min(own, key=lambda sample: sample.cost))
        for row, own in by_row(samples).items()
    ]


def rank_correlation(samples: Iterable[Sample]) -> float:
    """Spearman's, of expected and measured times within each row and algorithm, averaged; nan where none has three samples."""
    found = []
    for own in by_row(samples).values():
        for name in {sample.algorithm for sample in own}:
            times = np.array([(s.expected, s.measured) for s in own if s.algorithm == name])
            if len(times) >= 3 and np.ptp(times, axis=0).all():
                ranks = times.argsort(axis=0).argsort(axis=0)
                found.append(float(np.asarray(np.corrcoef(ranks.T))[0, 1]))
    return float(np.mean(found)) if found else math.nan


# Fitting --------------------------------------------------------------------------------------------------------------------


def model(samples: Sequence[Sample], table: Sequence[Row]) -> Callable[[], list[Sample]]:
    """A function that gives the samples with the expectations of the constants as they stand when it is called."""
    known, plans = {row.name: row for row in table}, dict[tuple[str, str], Plan]()
    for row, name in dict.fromkeys((s.row, s.algorithm) for s in samples):
        spec = known[row].describe()
        plans[row, name] = of_floats(plan_for(spec, name, produces=known[row].product), None, None)

    def expected() -> list[Sample]:
        found = {key: expectations(plan) for key, plan in plans.items()}
        return [
            replace(s, expected=seconds[0], expected_cost=seconds[1]) if (seconds := found[s.row, s.algorithm].get(s.schedule)) else s
            for s in samples
        ]

    return expected


def fitted(samples: Sequence[Sample], table: Sequence[Row], talk: Callable[[str], Any]) -> dict[constants.Constant, float]:
    """The constants that explain the samples best."""
    expected, rows_of = model(samples, table), by_row(samples)
    best = {row: min(s.measured for s in own) for row, own in rows_of.items()}
    number = {row: i for i, row in enumerate(rows_of)}
    return constants.fit(
        lambda: np.array([s.expected for s in expected()]),
        np.array([s.measured for s in samples]),
        np.array([best[s.row] / s.measured for s in samples]),
        np.array([number[s.row] for s in samples]),
        constants.constants(),
        talk,
    )


# Showing --------------------------------------------------------------------------------------------------------------------


def show(samples: Sequence[Sample], out: Console) -> None:
    """Factors of every kind of schedule, and what the choice costs."""
    table = titled("measured over expected")
    for column in ("algorithm", "schedule", "samples", "factor", "spread", "rank correlation"):
        table.add_column(column, justify="left" if column in ("algorithm", "schedule") else "right")
    for name, kind in sorted({(s.algorithm, s.kind) for s in samples}):
        own = [s for s in samples if (s.algorithm, s.kind) == (name, kind)]
        factors = [s.measured / s.expected for s in own]
        spread = math.exp(float(np.std(np.log(factors))))
        table.add_row(name, kind, str(len(own)), f"{geometric_mean(factors):.2f}", f"×{spread:.2f}", f"{rank_correlation(own):.2f}")
    out.print(table)
    out.print(summary(samples), highlight=False)
    wrong = sorted((v for v in verdicts(samples) if v.loss > WRONG), key=lambda v: -v.loss)
    table = titled(f"choices that lost more than {WRONG - 1:.0%}")
    for column in ("row", "chosen", "better", "times as long"):
        table.add_column(column, overflow="fold")
    for v in wrong:
        table.add_row(v.row, *(f"{s.algorithm}: {s.schedule}" for s in (v.chosen, v.best)), f"{v.loss:.2f}")
    out.print(table)


def summary(samples: Sequence[Sample]) -> str:
    """One line of how good expectations are."""
    found = verdicts(samples)
    worst = max(found, key=lambda v: v.loss)
    mean = geometric_mean([v.loss for v in found])
    return (
        f"{len(found)} rows, {len(samples)} samples: the choice takes {mean:.3f} times the best that was measured, "
        f"at most {worst.loss:.2f} times ({worst.row}); rank correlation {rank_correlation(samples):.2f}"
    )


def _show_fit(samples: Sequence[Sample], table: Sequence[Row], out: Console, talk: Callable[[str], Any], writes: bool) -> None:
    """Fit on every second row and judge on the others; then fit on all."""
    names = list(by_row(samples))
    known, others = ([s for s in samples if s.row in half] for half in (set(names[::2]), set(names[1::2])))
    found = fitted(known, table, talk)
    with constants.changed(found):
        after = model(others, table)()
    out.print(f"rows that were not fitted, before: {summary(model(others, table)())}", highlight=False)
    out.print(f"rows that were not fitted, after:  {summary(after)}", highlight=False)
    found = fitted(samples, table, talk)
    for constant, value in found.items():
        if constants.rounded(value) != constants.rounded(constant.value):
            module = constant.module.rpartition(".")[2]
            out.print(f"{module}.py: {constant.name} = {constants.rounded(value)}  # was {constant.value}", highlight=False)
    if writes:
        out.print(f"written: {', '.join(constants.write(found))}", highlight=False)


# The command ----------------------------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; 0, or 2 when the arguments are wrong."""
    arguments = _parser().parse_args(argv)
    talk, out = Console(stderr=True), Console(width=None if sys.stdout.isatty() else 160)
    table = [row for row in (*rows.ROWS, *heldout.ROWS) if isinstance(row, Row)]
    if arguments.source:
        samples = [Sample(**sample) for sample in json.loads(arguments.source.read_text(encoding="utf-8"))]
    else:
        chosen = [row for row in rows.select(arguments.only, heldout.ROWS if arguments.held_out else rows.ROWS) if isinstance(row, Row)]
        samples = _measure_all(chosen[:: arguments.every], talk)
    if not samples:
        talk.print("no row was measured", highlight=False)
        return 2
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(sample) for sample in samples], indent=0), encoding="utf-8")
    show(samples, out)
    if arguments.fit:
        _show_fit(samples, table, out, lambda line: talk.print(line, highlight=False), arguments.write)
    return 0


def _measure_all(chosen: Sequence[Row], talk: Console) -> list[Sample]:
    found: list[Sample] = []
    with Progress(console=talk, disable=not talk.is_terminal, transient=True) as progress:
        task = progress.add_task("", total=len(chosen))
        for row in chosen:
            progress.update(task, description=f"{row.group}: {row.name}")
            try:
                found += measure(row)
            except (ImportError, NotImplementedError) as error:
                talk.print(f"{row.name}: {error}", highlight=False)
            progress.advance(task)
    return found


def _parser() -> argparse.ArgumentParser:
    what = "Expected times beside measured ones, and constants that fit better."
    parser = argparse.ArgumentParser(prog="python -m bench.calibrate", description=what)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="rows whose name or group contains this")
    parser.add_argument("--held-out", action="store_true", help="rows drawn at random instead of the table's")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every n-th of these rows")
    parser.add_argument("--fit", action="store_true", help="fit the constants of the cost models, and print them")
    parser.add_argument("--write", action="store_true", help="with --fit: put them into the source")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured")
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE", help="use what --json wrote, instead of measuring")
    return parser


if __name__ == "__main__":
    sys.exit(main())
