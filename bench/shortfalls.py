"""What falls short of its target, and why: groups by their geometric means, rows by their own ratio against the peer's best setting."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from rich.markup import escape
from rich.table import Table

from bench.causes import CAUSES, Cause
from bench.measure import Record
from bench.report import groups, summarise, titled
from bench.targets import TARGETS, WEAK, WEAK_TARGET, Target, least


class Shortfall(NamedTuple):
    """What was reached and what was to be: same / best of a group, one ratio of a row. No cause where nobody knows one."""

    name: str
    reached: str
    target: str
    cause: Cause | None


def shortfalls(records: Iterable[Record]) -> list[Shortfall]:
    """Groups below their target, each followed by its rows below the least of a row; then all groups of weak cases together."""
    timed, found = [record for record in records if not record.fault], list[Shortfall]()
    for group, members in groups(timed).items():
        if group in TARGETS:
            found += [*_of_means(group, members, TARGETS[group]), *_of_rows(members, TARGETS[group])]
    weak = [record for record in timed if record.group in WEAK]
    return found + (_of_means("all weak cases", weak, WEAK_TARGET) if weak else [])


def _of_means(group: str, members: list[Record], target: Target) -> list[Shortfall]:
    same, best = (_mean(members, target, which) for which in ("same", "best"))
    if same >= target.same and best >= target.best:
        return []
    return [Shortfall(group, f"{same:.2f} / {best:.2f}", f"{target.same:g} / {target.best:g}", CAUSES.get(group))]


def _mean(members: list[Record], target: Target, which: str) -> float:
    """The geometric mean against the library that comes nearest."""
    sums = (summarise(members, f"{library} {which}") for library in target.libraries)
    return min((found.mean for found in sums if found), default=math.inf)


def _of_rows(members: list[Record], target: Target) -> list[Shortfall]:
    return [
        Shortfall(record.name, f"{ratio:.2f}", f"{target.worst:g}", CAUSES.get(record.name, CAUSES.get(record.group)))
        for record in members
        if (ratio := least(record.ratios, target)) < target.worst
    ]


def table(records: Iterable[Record]) -> Table:
    """All of it, for the terminal."""
    made = titled("what falls short, and why")
    for column in ("rows", "reached", "target"):
        made.add_column(column, no_wrap=True)
    made.add_column("limited by", overflow="fold", style="dim")
    for line in shortfalls(records):
        made.add_row(line.name, line.reached, line.target, escape(line.cause.limit) if line.cause else "")
    return made


def markdown(records: Iterable[Record]) -> str:
    """All of it, with what was tried and what would come next, for the documents."""
    lines = ["| rows | reached | target | limited by | tried | next |", "|---|---|---|---|---|---|"]
    for name, reached, target, known in shortfalls(records):
        lines.append("| " + " | ".join((name, reached, target, *(known or Cause("")))) + " |")
    return "\n".join(lines)
