"""python -m bench.threads: what a second thread gains, beside what it gains for loops of multiply-adds in registers.

The cores of a machine may be shared with others, slow each other down or be two halves of one. So the same is timed for bare loops, in
turns with a row on one and on two threads, and the row's gain is told as a share of theirs; of all turns the shortest count, which met
the fewest others. Where others load the cores all the time that says little; `work`, the CPU time of both threads together over that of
one, shows even then what the cut itself costs. A system with much to do may also leave two threads on one core though another is free;
`--apart` gives each a core of its own. Rows that memory limits gain less and say nothing about threads: `moving` is the part of a row's
expected time in which its bytes alone can be moved.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from bench import ours
from bench.problems import Row
from bench.rows import select
from juanji import machine as machines
from juanji.jit.compile import compile_ir
from juanji.jit.store import Code
from juanji.kinds import plan_for
from juanji.run import longest_share, slice_length, workers

ROWS = (
    "1x64x224x224 64 3x3",
    "1x128x112x112 128 3x3 last",
    "1x64x56x56 64 3x3",
    "1x256x14x14 256 3x3",
    "1x512x7x7 512 3x3",
    "1x2048x7x7 512 1x1",
    "3840x2160 9x9 float32",
    "3840x2160 31x31 float32",
)
COUNTS = (4, 8, 16, 32, 64)
TURN = 0.004  # seconds of the loops, so short that they may find both cores free
ROUNDS = 1 << 20  # of the loops, at first
TARGET = 0.9


@dataclass
class Record:
    """A row's gain, and that of the loops; work: the CPU seconds of both threads over those of one.

    shares: the mean over the largest share of each of `COUNTS` threads, by the cut alone.
    """

    name: str
    algorithm: str
    items: int
    gain: float
    loops: float
    work: float
    bound: float
    shares: dict[int, float]

    @property
    def ratio(self) -> float:
        """The gain over that of the loops."""
        return self.gain / self.loops


class Loops:
    """Multiply-adds in registers, so many rounds on each of some threads."""

    def __init__(self, rounds: int):
        probed = machines.probe()
        self.code = Code(compile_ir(machines.peak_loop(probed.target, "f32"), probed.target))
        self.rooms = [np.zeros(1 + machines.CHAINS * probed.vector_bits // 64, np.int64) for _ in range(2)]
        self.argument = [ctypes.c_void_p(room.ctypes.data) for room in self.rooms]
        self.rounds = rounds

    def run(self, which: int, part: float) -> None:
        """This part of the rounds."""
        room = self.rooms[which]
        room[:] = 0
        room[0] = int(self.rounds * part)
        self.code.call(self.argument[which])


@contextmanager
def apart() -> Iterator[None]:
    """Inside the block this thread has the first core, and every other one that there is by now the second."""
    first, second, *_ = cores = sorted(os.sched_getaffinity(0))
    threads = {thread.native_id or 0: second for thread in threading.enumerate()} | {threading.get_native_id(): first}
    for thread, core in threads.items():
        os.sched_setaffinity(thread, {core})
    try:
        yield
    finally:
        for thread in threads:
            os.sched_setaffinity(thread, cores)


def gains(rows: Sequence[Row], rounds: int, placed: Callable[[], AbstractContextManager[None]] = nullcontext) -> list[Record]:
    """The gain of two threads over one for each row, beside that of the loops in the same turns; placed: where the threads are."""
    loops, records = Loops(ROUNDS), list[Record]()
    loops.rounds = int(ROUNDS * TURN / _seconds(lambda: loops.run(0, 1.0))[0])
    with ThreadPoolExecutor(1) as other:

        def together() -> None:
            second = other.submit(loops.run, 1, 0.5)
            loops.run(0, 0.5)
            second.result()

        for row in rows:
            x, w = row.arrays()
            one, two = (ours.contestant(row, x, w, threads) for threads in (1, 2))
            timed = one.contestant.run, two.contestant.run, lambda: loops.run(0, 1.0), together
            for run in timed:
                run()  # now all threads are there
            with placed():
                turns = [[_seconds(run) for run in timed] for _ in range(rounds)]
            alone, both, loop, loops_both = (min(wall for wall, _ in times) for times in zip(*turns, strict=True))
            work = [median(cpu for _, cpu in times) for times in zip(*turns, strict=True)][:2]
            plan: Any = plan_for(row.describe(), row.algorithm)
            shares = {count: mean_over_largest(plan, count) for count in COUNTS}
            more = work[1] / work[0]
            records.append(Record(row.name, one.algorithm, plan.items, alone / both, loop / loops_both, more, _bound(plan), shares))
    return records


def mean_over_largest(plan: Any, threads: int) -> float:
    """The mean share of a thread over the largest, of equally fast ones; fewer take part where there is no work for all."""
    largest = mean = 0.0
    for part in plan.parts:
        items = part.for_threads(threads).program.items
        count = workers(items, part.cycles, threads)
        largest += part.cycles * longest_share(items, slice_length(items, part.cycles, count), count) / items
        mean += part.cycles / workers(1 << 30, part.cycles, threads)
    return mean / largest


def _bound(plan: Any) -> float:
    """The part of the expected time in which the bytes alone can be moved."""
    return float(plan.spec.bytes_moved / plan.machine.bandwidth / plan.seconds)


def _seconds(run: Callable[[], Any]) -> tuple[float, float]:
    """Of a call after another: on the wall, and of the process's threads together."""
    run()
    start, began = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - start, time.process_time() - began


def main(argv: Sequence[str] | None = None) -> int:
    """Print the gain of a second thread, row by row."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.threads", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="rows of the table whose name or group contains this")
    parser.add_argument("--rounds", type=int, default=40, metavar="N", help="of which the shortest count (default 40)")
    parser.add_argument("--apart", action="store_true", help="each thread on a core of its own (Linux)")
    given = parser.parse_args(argv)
    chosen = select(given.only) if given.only else [row for name in ROWS for row in select([name])[:1]]
    rows = [row for row in chosen if isinstance(row, Row)]
    records = gains(rows, given.rounds, apart if given.apart else nullcontext)
    heads = " ".join(f"{head:>6}" for head in ("items", "gain", "loops", "ratio", "work", "moving"))
    print(f"{'row':30} {'algorithm':10} {heads}   even shares: {', '.join(map(str, COUNTS))} threads")
    for r in records:
        shares = " ".join(f"{share:.2f}" for share in r.shares.values())
        figures = f"{r.items:6} {r.gain:6.2f} {r.loops:6.2f} {r.ratio:6.2f} {r.work:6.2f} {r.bound:6.0%}"
        print(f"{r.name:30} {r.algorithm:10} {figures}   {shares}")
    mean = math.exp(sum(math.log(r.ratio) for r in records) / len(records)) if records else math.nan
    print(f"geometric mean of the ratios {mean:.2f} (target {TARGET})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
