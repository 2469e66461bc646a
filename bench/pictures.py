"""python -m bench.pictures: how long pictures take to make, from numbers to the file: an animation, a page about a network.

Wall time, the median of some rounds. The animation runs as `slide` does for anyone; the page on as many threads as there are cores.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

import juanji as jj
from bench.report import describe_machine
from juanji import machine, nn
from juanji.errors import FileError

ROUNDS = 3
FRAMES = 60  # of the animation, one for each of 10×6 outputs
PHOTO = (224, 224, 3)


@dataclass
class Timing:
    """One kind of picture. seconds: the median; target: the most that it may take; bytes: of the file."""

    name: str
    seconds: float
    target: float
    bytes: int


def animation(path: Path) -> None:
    """A kernel over a padded input."""
    slide = jj.show.slide((10, 12), (3, 3), stride=(1, 2), padding=1)
    if len(slide) != FRAMES:
        raise SystemExit(f"the animation has {len(slide)} frames instead of {FRAMES}")
    slide.save(path)


def page(path: Path) -> None:
    """All that `juanji look` tells of EfficientNet-Lite0; with random weights where its own cannot be had, which take as long."""
    try:
        net = nn.models.get("efficientnet-lite0", weights="pretrained")
    except FileError:
        net = nn.models.get("efficientnet-lite0")
    jj.show.report(net, np.random.default_rng(0).integers(0, 256, PHOTO, np.uint8), path, name="efficientnet-lite0")


PICTURES: tuple[tuple[str, str, Callable[[Path], None], float], ...] = (
    ("animation of 60 frames, GIF", "slide.gif", animation, 5.0),
    ("page about EfficientNet-Lite0", "look.html", page, 60.0),
)


def measure(name: str, file: str, make: Callable[[Path], None], target: float, rounds: int) -> Timing:
    """The time of each round: everything that `make` does."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / file
        seconds = [_timed(partial(make, path)) for _ in range(rounds)]
        return Timing(name, median(seconds), target, path.stat().st_size)


def _timed(call: Callable[[], None]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, and with --json write it; 1 if a picture takes longer than it may."""
    parser = argparse.ArgumentParser(prog="python -m bench.pictures", description="How long pictures take to make.")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results")
    arguments = parser.parse_args(argv)
    found = []
    for name, file, make, target in PICTURES:
        row = measure(name, file, make, target, arguments.rounds)
        found.append(row)
        print(f"{name:32} {row.seconds:6.2f} s  (at most {target:g} s)  {row.bytes / 1e6:5.2f} MB", flush=True)
    if arguments.json:
        record = {"machine": describe_machine(machine.probe()), "rows": [asdict(row) for row in found]}
        arguments.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return int(any(row.seconds > row.target for row in found))


if __name__ == "__main__":
    sys.exit(main())
