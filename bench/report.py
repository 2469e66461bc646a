"""What a reader gets: tables on the terminal, a file of results, a short table in the documents."""

import json
import math
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.causes import cause
from bench.heldout import GROUPS as HELD_OUT
from bench.measure import Record
from bench.targets import TARGETS, WEAK, WEAK_TARGET, Target
from juanji.machine import Machine

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
PACKAGES = ("juanji", "numpy", "llvmlite", "torch", "jax", "opencv-python-headless", "scipy")
TITLES = {"torch": "torch", "torch-packed": "packed", "jax": "JAX", "opencv": "OpenCV", "scipy": "SciPy"}


@dataclass
class Report:
    """One run of the bench. No hostnames and no paths: it is published.

    calls: microseconds of a small call, by what is called. first: milliseconds of starting, by row and stage.
    import_ms: of `import juanji` and the first use of a name, after `import numpy`. clock: "wall", or "cpu" for the time that the process
    itself took.
    """

    machine: dict[str, Any]
    versions: dict[str, str]
    threads: int
    rounds: int
    records: list[Record] = field(default_factory=list)
    calls: dict[str, float] = field(default_factory=dict)
    import_ms: float = 0.0
    first: dict[str, dict[str, float]] = field(default_factory=dict)
    clock: str = "wall"

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Report":
        stored = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**stored, "records": [Record(**record) for record in stored["records"]]})


def describe_machine(machine: Machine) -> dict[str, Any]:
    """The machine in units that people read."""
    return {
        "cpu": machine.name,
        "cores": machine.cores,
        "vector_bits": machine.vector_bits,
        "l1_kib": machine.l1 / 1024,
        "l2_kib": machine.l2 / 1024,
        "peak_f32_gflops": machine.peak_f32 / 1e9,
        "peak_f64_gflops": machine.peak_f64 / 1e9,
        "bandwidth_gbs": machine.bandwidth / 1e9,
        "system": platform.system(),
    }


def versions() -> dict[str, str]:
    """Of Python and of every package that takes part and is here."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


class Summary(NamedTuple):
    """Ratios of several rows."""

    mean: float
    worst: float
    worst_row: str
    rows: int


def summarise(records: Iterable[Record], key: str) -> Summary | None:
    """The geometric mean and the worst of one ratio, over the rows that have it."""
    having = [(record.ratios[key], record.name) for record in records if key in record.ratios]
    if not having:
        return None
    worst, name = min(having)
    return Summary(geometric_mean([ratio for ratio, _ in having]), worst, name, len(having))


def geometric_mean(values: Sequence[float]) -> float:
    """The mean of ratios: that of x and 1/x is 1.

    >>> geometric_mean([0.5, 2.0, 8.0])
    2.0
    """
    return math.exp(math.fsum(map(math.log, values)) / len(values))


def groups(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records by group, in the order of the table."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.group, []).append(record)
    return found


def keys(records: Iterable[Record]) -> list[str]:
    """The ratios that some record has, torch first; "same" only where a peer has several settings, of which it is not always the best."""
    records = list(records)
    present = {key for record in records for key in record.ratios}
    order = [f"{library} {which}" for library in TITLES for which in ("same", "best")]
    plain = {f"{library} same" for library in TITLES if library != "torch"}
    return [key for key in order if key in present and key not in plain]


def heading(key: str) -> str:
    """A ratio's column: "torch, best"; a library without settings is just named."""
    library, which = key.split()
    return f"{TITLES[library]}, {which}" if library == "torch" else TITLES[library]


def show(report: Report, console: Console) -> None:
    """Every table of the report, a group each, with its mean and worst row below."""
    console.print(caption(report), highlight=False)
    for group, records in groups(report.records).items():
        console.print(_group_table(group, records))
    if len(report.records) > 1:
        console.print(_summary_table(report.records))
    _show_startup(report, console)
    for record in report.records:
        if record.wrong:
            console.print(complaint(record), highlight=False)


def complaint(record: Record) -> str:
    """A row whose figures nobody may believe, loudly."""
    return f"[bold white on red] FAILED [/] {escape(record.name)}: {escape(record.fault)}"


def caption(report: Report) -> str:
    """One line of where the figures come from."""
    machine = report.machine
    threads = "1 thread" if report.threads == 1 else f"{report.threads} threads"
    median = "median CPU time" if report.clock == "cpu" else "median"
    here = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    return (
        f"{machine['cpu']}, {machine['cores']} cores; per core {machine['peak_f32_gflops']:.0f} GFLOP/s float32, "
        f"{machine['bandwidth_gbs']:.1f} GB/s; {threads}, {median} of {report.rounds} interleaved rounds; {here}"
    )


def _group_table(group: str, records: list[Record]) -> Table:
    table = titled(f"{group}, {TARGETS[group]}" if group in TARGETS else group)
    table.add_column("row", no_wrap=True)
    for column in ("ms", "expected", "GFLOP/s", "of limit"):
        table.add_column(column, justify="right", no_wrap=True)
    present = keys(records)
    for key in present:
        table.add_column(heading(key), justify="right", no_wrap=True)
    table.add_column("how", overflow="fold", style="dim")
    for record in records:
        if record.fault:
            blank = [""] * (4 + len(present))
            table.add_row(record.name, *blank, f"[{'bold red' if record.wrong else 'yellow'}]{escape(record.fault)}[/]")
            continue
        expected = _time(record.expected_ms) if record.expected_ms else ""
        shares = [_time(record.ms["juanji"]), expected, f"{record.gflops:.1f}" if record.macs else "", f"{record.share:.0%}"]
        why = cause(record.name, record.group, record.ratios)
        how = f"{record.algorithm}: {why}" if why else record.algorithm
        table.add_row(record.name, *shares, *(_coloured(record.ratios.get(key)) for key in present), escape(how))
    if len(records) > 1:
        table.add_section()
        sums = [summarise(records, key) for key in present]
        share = [f"{geometric_mean([r.share for r in records if r.share]):.0%}"] if any(r.share for r in records) else [""]
        table.add_row("geometric mean", "", _deviation(records), "", *share, *(_coloured(s.mean if s else None) for s in sums), "")
        table.add_row("worst row", "", "", "", "", *(_coloured(s.worst if s else None) for s in sums), "")
    return table


def _deviation(records: list[Record]) -> str:
    """The geometric mean of measured times over expected ones."""
    factors = [record.ms["juanji"] / record.expected_ms for record in records if record.expected_ms and not record.fault]
    return f"×{geometric_mean(factors):.2f}" if factors else ""


def _summary_table(records: list[Record]) -> Table:
    """A line for each group, and one for all the groups of weak cases together."""
    table = titled("all groups: geometric mean (worst)")
    present = keys(records)
    table.add_column("group", no_wrap=True)
    table.add_column("rows", justify="right")
    for key in present:
        table.add_column(heading(key), justify="right", no_wrap=True)
    table.add_column("same / best (worst)", no_wrap=True, style="dim")

    def line(name: str, members: list[Record], target: Target | None) -> None:
        sums = (summarise(members, key) for key in present)
        cells = (f"{_coloured(s.mean)} ({_coloured(s.worst)})" if s else "" for s in sums)
        table.add_row(name, f"{sum(not r.fault for r in members)}/{len(members)}", *cells, str(target or ""))

    for group, members in groups(records).items():
        line(group, members, TARGETS.get(group))
    weak = [record for record in records if record.group in WEAK]
    if weak:
        table.add_section()
        line("all weak cases", weak, WEAK_TARGET)
    return table


class Beside(NamedTuple):
    """A group of the held-out table beside what it stands for in the tuned one: geometric means of the ratios against one peer."""

    group: str
    rows: int
    held_out: float
    tuned: float

    @property
    def ratio(self) -> float:
        """Held out over tuned: below 1 where problems that nobody looked at do worse."""
        return self.held_out / self.tuned


def beside(report: Report, tuned: Report) -> list[Beside]:
    """The groups of a held-out report beside those of a tuned one, like beside like, as far as both have figures, and all, each group
    weighing the same."""
    drawn, known, found = groups(report.records), groups(tuned.records), []
    for name, group in HELD_OUT.items():
        key = "opencv best" if any("pictures" in other for other in group.beside) else "torch best"
        mine = summarise(drawn.get(name, []), key)
        theirs = summarise([record for other in group.beside for record in known.get(other, []) if record.name not in group.unlike], key)
        if mine and theirs:
            found.append(Beside(f"{name}, {heading(key)}", mine.rows, mine.mean, theirs.mean))
    if not found:
        return []
    means = (geometric_mean([line.held_out for line in found]), geometric_mean([line.tuned for line in found]))
    return [*found, Beside("all, each group once", sum(line.rows for line in found), *means)]


def show_beside(report: Report, tuned: Report, console: Console) -> None:
    """How problems that were drawn at random do beside those that the planner was tuned on."""
    table = titled("held out beside tuned: geometric means of the peer's time over ours")
    table.add_column("group", no_wrap=True)
    for column in ("rows", "held out", "tuned", "ratio"):
        table.add_column(column, justify="right")
    for line in beside(report, tuned):
        table.add_row(line.group, str(line.rows), _ratio(line.held_out), _ratio(line.tuned), f"{line.ratio:.2f}")
    console.print(table)


def _show_startup(report: Report, console: Console) -> None:
    if report.calls:
        table = titled("small calls")
        table.add_column("a call on 8×8, kernel 3×3", no_wrap=True)
        table.add_column("µs", justify="right")
        for name, microseconds in report.calls.items():
            table.add_row(name, f"{microseconds:.1f}")
        console.print(table)
    if report.first:
        table = titled(f"first calls, ms (import juanji and its first name, after numpy: {report.import_ms:.1f})")
        table.add_column("row", no_wrap=True)
        stages = list(dict.fromkeys(stage for stages in report.first.values() for stage in stages))
        for stage in stages:
            table.add_column(stage, justify="right")
        for name, figures in report.first.items():
            table.add_row(name, *(f"{figures[stage]:.1f}" if stage in figures else "" for stage in stages))
        console.print(table)


def titled(title: str) -> Table:
    """An empty table in the style of all reports."""
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)


def _time(ms: float) -> str:
    return f"{ms:.3f}" if ms < 1 else f"{ms:.2f}" if ms < 100 else f"{ms:.0f}"


def _coloured(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"[{'green' if ratio >= 1 else 'red'}]{_ratio(ratio)}[/]"


def _ratio(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def markdown(report: Report) -> str:
    """The table for the documents: a group a line, its geometric mean and worst row against each peer."""
    present = keys(report.records)
    lines = [
        "| rows | share of the limit | " + " | ".join(heading(key) for key in present) + " |",
        "|---|---|" + "---|" * len(present),
    ]
    pooled = {"all weak cases": [record for record in report.records if record.group in WEAK]}
    for group, members in {**groups(report.records), **pooled}.items():
        timed = [record for record in members if not record.fault]
        if not timed:
            continue
        cells = [f"{group} ({len(timed)})", f"{geometric_mean([record.share for record in timed]):.0%}"]
        for key in present:
            summary = summarise(timed, key)
            cells.append(f"{_ratio(summary.mean)} ({_ratio(summary.worst)})" if summary else "")
        lines.append("| " + " | ".join(cells) + " |")
    note = (
        "Each cell: the peer's time over ours, geometric mean of the rows (worst row). *Same*: the peer in the layout of the row; "
        "*best*: the faster of its layouts; *packed*: torch with weights packed beforehand. "
        f"Made by `python -m bench` on: {caption(report)}."
    )
    return "\n".join([*lines, "", note])


def write_into(path: Path, text: str) -> None:
    """Put a text between the markers of a document, which must be there."""
    document = path.read_text(encoding="utf-8")
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path.name} has no lines {BEGIN} and {END} to write between")
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
