"""The cost of starting: small calls, the first call of a problem ever, the first call in a later process."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any

import numpy as np

import juanji as jj
from bench import ours
from bench.measure import interleave
from bench.peers import Peer
from bench.problems import AnyRow, PoolRow, Row
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
    """Microseconds of calls on a channel of 8×8 with a 3×3 kernel or a 2×2 window, ours and the peers', by what is called.

    The last lines are one call on a thousand such pictures, for each of them; a call each costs what the first lines say.
    """
    timed: dict[str, tuple[Callable[[], Any], int]] = {}
    for row, pictures, mine in _small_calls():
        first, second = row.arrays()
        timed |= {name: (run, pictures) for name, run in mine.items()}
        others = [other for peer in peers for other in peer.contestants(row, first, second)]
        timed |= {f"{row.name}: {other.label}": (other.run, pictures) for other in others}
    turns = interleave([run for run, _ in timed.values()], rounds)
    return {name: median(times) / pictures * 1e6 for (name, (_, pictures)), times in zip(timed.items(), turns, strict=True)}


def _small_calls() -> Iterator[tuple[AnyRow, int, dict[str, Callable[[], Any]]]]:
    """Rows that the peers can run, how many pictures each has, and our calls."""
    x_shape, w_shape = (1, 1, 8, 8), (1, 1, 3, 3)
    row = problem(SMALL)
    x, w = row.arrays()
    plan, bound = jj.plan(x_shape, w_shape, padding=1), ours.contestant(row, x, w, 1)
    yield row, 1, {
        "jj.conv(x, w, padding=1)": lambda: jj.conv(x, w, padding=1),
        "jj.correlate(a, k, 'same')": lambda: jj.correlate(x[0, 0], w[0, 0], "same"),
        "plan(x, w)": lambda: plan(x, w),
        "bound(x)": ours.contestant(row, x, w, 1, allocate=True).contestant.run,
        "bound(x, out=y)": bound.contestant.run,
    }
    yield Row("gradient of the input", "calls", "conv", x_shape, w_shape, padding=1, product="x"), 1, {
        "jj.conv_grad_input(dy, w, shape, padding=1)": lambda: jj.conv_grad_input(x, w, x_shape, padding=1)
    }
    yield Row("gradient of the weights", "calls", "conv", x_shape, w_shape, padding=1, product="w"), 1, {
        "jj.conv_grad_weight(x, dy, shape, padding=1)": lambda: jj.conv_grad_weight(x, x, w_shape, padding=1)
    }
    yield PoolRow("max pooling", "calls", "max", x_shape, 2), 1, {"jj.pool(x, 2)": lambda: jj.pool(x, 2)}
    picture = (x[0, 0] * 50).astype(np.uint8)
    yield Row("picture of bytes", "calls", "picture", (8, 8), (3, 3), "uint8", padding="same", boundary="reflect"), 1, {
        "jj.image.filter(picture, k)": lambda: jj.image.filter(picture, w[0, 0]),
        "jj.image.filter(picture, 'mean')": lambda: jj.image.filter(picture, "mean"),
    }
    many = Row("one of 1000 in a call", "calls", "conv", (1000, 1, 8, 8), w_shape, padding=1)
    pictures, kernel = many.arrays()
    yield many, 1000, {"jj.conv(pictures, w, padding=1), of 1000": lambda: jj.conv(pictures, kernel, padding=1)}


def first(names: Sequence[str] = SAMPLED, rounds: int = 3) -> dict[str, dict[str, float]]:
    """Milliseconds until the first result, less a warm call; each the median of several processes, with new cache folders.

    "first ever": nothing is cached, so the compiler is imported and the machine probed. "compiled": nothing is cached, but
    another problem came before it in the process. "loaded": in a new process, from the cache that the first one left.
    """
    table = {}
    with _bytecode() as environment:
        for name in names:
            figures: dict[str, list[float]] = {}
            for _ in range(rounds):
                with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
                    for stage, folder, more in (("first ever", one, []), ("loaded", one, []), ("compiled", other, ["--warm-up"])):
                        beginning, warm = _process([name, *more], {**environment, "JUANJI_CACHE_DIR": folder})
                        figures.setdefault(stage, []).append(beginning)
                        figures.setdefault("warm call", []).append(warm)
            table[name] = {stage: median(figures[stage]) for stage in ("first ever", "compiled", "loaded", "warm call")}
    return table


def import_time(rounds: int = 5) -> float:
    """Milliseconds that `import juanji` and the first use of a name take after `import numpy`, in a new process."""
    program = "import time, numpy; start = time.perf_counter(); import juanji; juanji.plan; print(time.perf_counter() - start)"
    with _bytecode() as environment:
        return median(float(_python(["-c", program], environment)) for _ in range(rounds)) * 1e3


@contextmanager
def _bytecode() -> Iterator[dict[str, str]]:
    """An environment in which Python finds all modules compiled, as those of an installed package are, whatever it was told here."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = one
        _process([WARM_UP], {**environment, "JUANJI_CACHE_DIR": other})
        yield environment


def _process(arguments: Sequence[str], environment: dict[str, str]) -> tuple[float, float]:
    beginning, warm = json.loads(_python(["-m", "bench.startup", *arguments], environment))
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
