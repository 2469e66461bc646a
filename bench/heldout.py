"""The held-out table: problems drawn at random, never used to choose a constant or a schedule, reported beside the table that is.

Layers have channels and features that are multiples of 8, 8·2^u rounded, u uniform; sizes are drawn in the same way from the powers of a
range, so that every octave is as likely as another. Kernels, strides, batches and layouts are drawn from lists in which what networks
have most stands most often. Pictures have sides between 400 and those of the table's. A problem of fewer than a million or more than
1.5 thousand million multiply-adds is drawn again, as is one that the other table has. The seed is part of the table: another one makes
another table, and whoever looks at a row to improve it should take another one afterwards. Seeds 0 to 99 are for looking and fitting.
"""

import math
import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

from bench.problems import FIRST, LAST, AnyRow, Row
from bench.rows import ROWS as TUNED
from bench.rows import _conv, _picture

SEED = 20261123
LEAST_MACS, MOST_MACS = 10**6, 15 * 10**8
KERNELS = (1, 1, 3, 3, 3, 3, 5, 7)
STRIDES = (1, 1, 1, 2)
BATCHES = (1, 1, 8)
FEWEST_FEATURES, LEAST_SIZE, MOST_SIZE = 8, 64, 256  # of layers with few channels


def _octaves(draw: random.Random, least: float, most: float) -> int:
    """An integer whose logarithm is evenly distributed."""
    return round(least * math.pow(most / least, draw.random()))


def _dense(draw: random.Random, group: str) -> Iterator[Row]:
    channels, features, size = 8 * _octaves(draw, 2, 64), 8 * _octaves(draw, 2, 64), _octaves(draw, 7, 112)
    yield from _layer(draw, group, channels, size, features, draw.choice(KERNELS), draw.choice(BATCHES))


def _depthwise(draw: random.Random, group: str) -> Iterator[Row]:
    channels, size = 8 * _octaves(draw, 4, 128), _octaves(draw, 7, 112)
    yield from _layer(draw, group, channels, size, channels, draw.choice((3, 3, 5, 7)), draw.choice(BATCHES), channels)


def _grouped(draw: random.Random, group: str) -> Iterator[Row]:
    groups, each = draw.choice((2, 4, 8, 32)), draw.choice((4, 8, 16, 32))
    yield from _layer(draw, group, groups * each, _octaves(draw, 7, 56), groups * each, draw.choice((1, 3, 3, 5)), 1, groups)


def _few_channels(draw: random.Random, group: str) -> Iterator[Row]:
    features, kernel = FEWEST_FEATURES * _octaves(draw, 1, 12), draw.choice((3, 3, 5, 7, 11))
    size = _octaves(draw, LEAST_SIZE, MOST_SIZE)
    yield from _layer(draw, group, draw.choice((1, 3, 3, 4)), size, features, kernel, draw.choice(BATCHES))


def _layer(
    draw: random.Random, group: str, channels: int, size: int, features: int, kernel: int, batch: int, groups: int = 1
) -> Iterator[Row]:
    layout, stride = draw.choice((FIRST, LAST)), draw.choice(STRIDES)
    yield from _conv(
        group, channels, (size, size), features, (kernel, kernel), batch=batch, stride=stride, groups=groups, layouts=(layout,)
    )


def _pictures(dtype: str, kernels: tuple[int, ...]) -> Callable[[random.Random, str], Iterator[Row]]:
    def drawn(draw: random.Random, group: str) -> Iterator[Row]:
        yield _picture(_octaves(draw, 400, 2160), _octaves(draw, 400, 3840), draw.choice(kernels), dtype, group)

    return drawn


def _may_be_few_channels(row: Row) -> bool:
    """Whether a row is one that `_few_channels` could draw but for its numbers: not a picture, whose one feature no layer has."""
    spec = row.describe()
    return spec.features >= FEWEST_FEATURES and all(LEAST_SIZE <= size <= MOST_SIZE for size in spec.size)


class Group(NamedTuple):
    """How many rows a group has, the groups of the other table that it stands beside, what draws one of its rows, and which rows of
    those other groups are of its kind."""

    rows: int
    beside: tuple[str, ...]
    draw: Callable[[random.Random, str], Iterator[Row]]
    like: Callable[[Row], bool] = lambda row: True

    @property
    def unlike(self) -> set[str]:
        """The names of rows in these other groups that are not of its kind, and say nothing about it."""
        return {row.name for row in TUNED if isinstance(row, Row) and row.group in self.beside and not self.like(row)}


GROUPS = {
    "held out: dense": Group(24, ("dense, batch 8", "ResNet-50", "VGG-16"), _dense),
    "held out: depthwise": Group(12, ("depthwise",), _depthwise),
    "held out: grouped": Group(6, ("dilated, grouped, edges",), _grouped),
    "held out: few channels": Group(8, ("few channels", "one channel"), _few_channels, _may_be_few_channels),
    "held out: pictures float32": Group(8, ("pictures float32",), _pictures("float32", (3, 5, 7, 9))),
    "held out: pictures uint8": Group(8, ("pictures uint8",), _pictures("uint8", (3, 5, 7, 9))),
    "held out: large kernels": Group(8, ("pictures, large kernels",), _pictures("float32", tuple(range(11, 63, 2)))),
}


def table(seed: int = SEED) -> Iterator[Row]:
    """The rows of a seed, a group after the other."""
    draw, taken = random.Random(seed), {row.name for row in TUNED}
    for name, group in GROUPS.items():
        found = 0
        while found < group.rows:
            for row in group.draw(draw, name):
                if row.name not in taken and LEAST_MACS <= row.macs <= MOST_MACS:
                    taken.add(row.name)
                    found += 1
                    yield row


ROWS: tuple[AnyRow, ...] = tuple(table())
