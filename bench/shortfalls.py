"""What falls short of its target, and why: groups by their geometric means, rows by their own ratio against the peer's best setting."""

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

from rich.markup import escape
from rich.table import Table

from bench.causes import CAUSES, Cause
from bench.measure import Record
from bench.report import groups, summarise, titled
from bench.targets import SMALL_SHARE, TARGETS, WEAK, WEAK_TARGET, Target, least

SMALL = re.compile(r"1x\d+x7x7 ")


class Shortfall(NamedTuple):
    """What was reached and what was to be: same / best of a group; of a row its ratio, or its share of the limit. No cause where nobody
    knows one."""

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
    found = []
    for record in members:
        known, ratio = CAUSES.get(record.name, CAUSES.get(record.group)), least(record.ratios, target)
        share = min(target.share, SMALL_SHARE) if SMALL.match(record.name) else target.share
        if ratio < target.worst:
            found.append(Shortfall(record.name, f"{ratio:.2f}", f"{target.worst:g}", known))
        if record.share < share:
            found.append(Shortfall(record.name, f"{record.share:.0%} of the limit", f"{share:.0%}", known))
    return found


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
