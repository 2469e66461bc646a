"""python -m bench: the rows beside the peers, in one run."""

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from bench import heldout, roofline, shortfalls, startup
from bench import report as reports
from bench.measure import ROUNDS, Record, measure
from bench.peers import Peer, find
from bench.problems import AnyRow
from bench.report import Report
from bench.rows import ROWS, select
from juanji import machine

RESULTS = Path("bench/results/results.json")
EXAMPLES = """examples:
  python -m bench --only "one channel"
  python -m bench --rows --first --calls --json bench/results/results.json --roofline bench/results/roofline.png
  python -m bench --held-out --json bench/results/heldout.json
  python -m bench --from bench/results/results.json --write-docs README.md --write-causes bench/results/README.md
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the bench; 0 when every row was right, 1 when one was wrong, 2 when the arguments are."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.cpu and arguments.threads > 1:
        parser.error("--cpu adds up what all threads take; it needs --threads 1")
    talk, out = Console(stderr=True), Console(width=None if sys.stdout.isatty() else 160)
    rows = select(arguments.only, heldout.ROWS if arguments.held_out else ROWS)
    if not rows:
        talk.print(f"no row and no group contains {' or '.join(arguments.only)}; --list shows them all", highlight=False, markup=False)
        return 2
    if arguments.list:
        for row in rows:
            print(f"{row.group}: {row.name}")
        return 0
    report = Report.read(arguments.source) if arguments.source else _run(arguments, rows, talk)
    reports.show(report, out)
    if len(report.records) > 1:
        out.print(shortfalls.table(report.records))
    if arguments.held_out and arguments.beside.exists():
        reports.show_beside(report, Report.read(arguments.beside), out)
    if arguments.json:
        report.write(arguments.json)
    if arguments.roofline:
        try:
            roofline.draw(report, arguments.roofline)
        except ImportError:
            talk.print("no picture: matplotlib is not installed (pip install juanji[show])")
    for option, path, made in (
        ("--write-docs", arguments.write_docs, reports.markdown(report)),
        ("--write-causes", arguments.write_causes, shortfalls.markdown(report.records)),
    ):
        try:
            if path:
                reports.write_into(path, made)
        except (OSError, ValueError) as error:
            talk.print(f"{option}: {error}", highlight=False)
            return 2
    return int(any(record.wrong for record in report.records))


def _run(arguments: argparse.Namespace, rows: Sequence[AnyRow], talk: Console) -> Report:
    peers, missing = find()
    if missing:
        talk.print(f"not installed, so left out: {', '.join(missing)}", highlight=False)
    probed, clock = machine.probe(), "cpu" if arguments.cpu else "wall"
    report = Report(reports.describe_machine(probed), reports.versions(), arguments.threads, arguments.rounds, clock=clock)
    with ExitStack() as sessions:
        for peer in peers:
            sessions.enter_context(peer.session(arguments.threads))
        if not (arguments.calls or arguments.first) or arguments.rows:
            report.records = _measure_all(arguments, rows, peers, probed, talk)
        if arguments.calls:
            report.calls = startup.calls(peers, arguments.rounds)
    if arguments.first:
        report.import_ms = startup.import_time()
        report.first = startup.first()
    return report


def _measure_all(
    arguments: argparse.Namespace, rows: Sequence[AnyRow], peers: Sequence[Peer], probed: machine.Machine, talk: Console
) -> list[Record]:
    records, clock = [], time.process_time if arguments.cpu else time.perf_counter
    with Progress(console=talk, disable=not talk.is_terminal, transient=True) as progress:
        task = progress.add_task("", total=len(rows))
        for row in rows:
            progress.update(task, description=f"{row.group}: {row.name}")
            record = measure(
                row, peers, probed, threads=arguments.threads, rounds=arguments.rounds, allocate=arguments.allocate, clock=clock
            )
            if record.wrong:
                talk.print(reports.complaint(record), highlight=False)
            records.append(record)
            progress.advance(task)
    return records


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Time every row of the table beside the peers: right results first, then interleaved rounds, medians.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="rows whose name or group contains this; may be repeated"
    )
    parser.add_argument("--threads", type=_positive, default=1, metavar="N", help="of everyone (default 1)")
    parser.add_argument("--rounds", type=_positive, default=ROUNDS, metavar="N", help=f"of which the median counts (default {ROUNDS})")
    parser.add_argument("--cpu", action="store_true", help="CPU time of the process, for one thread on a machine that others use too")
    parser.add_argument("--allocate", action="store_true", help="our calls make their results anew, as torch's do")
    parser.add_argument("--calls", action="store_true", help="the overhead of a small call, instead of the rows")
    parser.add_argument("--first", action="store_true", help="the time of first calls in new processes, instead of the rows")
    parser.add_argument("--rows", action="store_true", help="the rows too, with --calls or --first")
    parser.add_argument("--held-out", action="store_true", help="rows drawn at random, on which nothing was tuned, instead of the table's")
    parser.add_argument("--beside", type=Path, default=RESULTS, metavar="FILE", help="results to show them beside (default %(default)s)")
    parser.add_argument("--list", action="store_true", help="name the rows and stop")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results")
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE", help="show results that --json wrote, instead of measuring")
    parser.add_argument("--roofline", type=Path, metavar="PNG", help="draw the rows under the machine's limits")
    parser.add_argument("--write-docs", type=Path, metavar="FILE", help=f"put a short table between {reports.BEGIN} and {reports.END}")
    parser.add_argument("--write-causes", type=Path, metavar="FILE", help="put what falls short, and why, there in the same way")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
