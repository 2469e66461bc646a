"""The cost of starting: small calls, the first call of a problem ever, the first call in a later process."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import juanji as jj
from bench import ours
from bench.measure import interleave
from bench.peers import Peer
from bench.problems import AnyRow, Row
from bench.rows import select

SAMPLED = (
    "1x64x56x56 64 3x3",
    "1x64x56x56 64 3x3 last",
    "1x256x14x14 256 3x3",
    "1x3x224x224 64 7x7 /2",
    "1x256x56x56 64 1x1",
    "1x128x56x56 128 3x3 depthwise last",
    "3840x2160 3x3 float32",
    "3840x2160 15x15 float32",
    "3840x2160 5x5 uint8",
)
SMALL = "1x1x8x8 1 3x3"
WARM_UP = "1x1x28x28 2 3x3"  # in no table: brings in the compiler and the probe, so that a row's own cost is left


def problem(name: str) -> AnyRow:
    """A row of the table, or one of the two small ones that only this module uses."""
    for small, size, features in ((SMALL, 8, 1), (WARM_UP, 28, 2)):
        if name == small:
            return Row(name, "calls", "conv", (1, 1, size, size), (features, 1, 3, 3), padding=1)
    return select([name])[0]


def calls(peers: Sequence[Peer], rounds: int) -> dict[str, float]:
    """Microseconds of a call on one channel of 8×8 with a 3×3 kernel: ours in three ways, and the peers."""
    row = problem(SMALL)
    x, w = row.arrays()
    bound = ours.contestant(row, x, w, 1).contestant
    fresh = ours.contestant(row, x, w, 1, allocate=True).contestant
    plan = jj.plan(x.shape, w.shape, padding=1)
    timed: dict[str, Callable[[], Any]] = {
        "jj.conv(x, w, padding=1)": lambda: jj.conv(x, w, padding=1),
        "plan(x, w)": lambda: plan(x, w),
        "bound(x)": fresh.run,
        "bound(x, out=y)": bound.run,
        **{other.label: other.run for peer in peers for other in peer.contestants(row, x, w)},
    }
    return {name: median(times) * 1e6 for name, times in zip(timed, interleave(list(timed.values()), rounds), strict=True)}


def first(names: Sequence[str] = SAMPLED, rounds: int = 3) -> dict[str, dict[str, float]]:
    """Milliseconds until the first result, less a warm call; each the median of several processes, with new cache folders.

    "first ever": nothing is cached, so the compiler is imported and the machine probed. "compiled": nothing is cached, but
    another problem came before it in the process. "loaded": in a new process, from the cache that the first one left.
    """
    table = {}
    for name in names:
        figures: dict[str, list[float]] = {}
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
                for stage, folder, more in (("first ever", one, []), ("loaded", one, []), ("compiled", other, ["--warm-up"])):
                    beginning, warm = _process([name, *more], folder)
                    figures.setdefault(stage, []).append(beginning)
                    figures.setdefault("warm call", []).append(warm)
        table[name] = {stage: median(figures[stage]) for stage in ("first ever", "compiled", "loaded", "warm call")}
    return table


def import_time(rounds: int = 5) -> float:
    """Milliseconds that `import juanji` and the first use of a name take after `import numpy`, in a new process."""
    program = "import time, numpy; start = time.perf_counter(); import juanji; juanji.plan; print(time.perf_counter() - start)"
    times = [float(_python(["-c", program], dict(os.environ))) for _ in range(rounds)]
    return median(times) * 1e3


def _process(arguments: Sequence[str], folder: str) -> tuple[float, float]:
    beginning, warm = json.loads(_python(["-m", "bench.startup", *arguments], {**os.environ, "JUANJI_CACHE_DIR": folder}))
    return beginning, warm


def _python(arguments: Sequence[str], environment: dict[str, str]) -> str:
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}: {' '.join(done.stderr.strip().splitlines()[-1:])}")
    return done.stdout


def first_call(row: AnyRow) -> tuple[float, float]:
    """Milliseconds from shapes to the first result, less a warm call, and of the warm call. Every call makes its own result."""
    x, w = row.arrays()
    _ = jj.plan  # the import is a figure of its own
    start = time.perf_counter()
    run = ours.contestant(row, x, w, 1, allocate=True).contestant.run
    run()
    total = time.perf_counter() - start
    warm = []
    for _ in range(5):
        start = time.perf_counter()
        run()
        warm.append(time.perf_counter() - start)
    return (total - median(warm)) * 1e3, median(warm) * 1e3


def main(argv: Sequence[str] | None = None) -> int:
    """Print the milliseconds of the first call of a row in this process, and of a warm one; `first` starts it."""
    parser = argparse.ArgumentParser(prog="python -m bench.startup", description=main.__doc__)
    parser.add_argument("name", help="the row")
    parser.add_argument("--warm-up", action="store_true", help="run another problem before it")
    chosen = parser.parse_args(argv)
    if chosen.warm_up:
        first_call(problem(WARM_UP))
    json.dump(first_call(problem(chosen.name)), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
