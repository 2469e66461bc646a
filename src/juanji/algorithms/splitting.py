"""More pieces of work, for more threads: the same schedule in smaller items.

How work is cut into items shows in no kernel's code, in no packed weight and in no bit of the result, so each call may have it as it
suits its threads. On one thread large items are best: what they share, a panel or transformed tiles, is made once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def shared(blocks: int, times: int) -> int:
    """Blocks of a share, if there are to be as many shares; no share is empty.

    >>> shared(11, 4), shared(11, 100)
    (3, 1)
    """
    return -(-blocks // min(times, blocks))


def shorter(band: int, rows: int, out: int, items: int, others: int) -> int:
    """Rows of a band, of which there are so many items with as many `others` beside each, none shorter than a tile of `rows`.

    >>> shorter(296, 8, 2160, 256, 10), shorter(5, 8, 2160, 2, 10)
    (84, 5)
    """
    return max(min(band, shared(out, -(-items // max(others, 1)))), min(rows, band))


def smaller(box: Sequence[int], grid: Sequence[int], times: int, least: int) -> tuple[int, ...]:
    """A box of which as many times more cover the grid, as near as equal boxes of at least so many places come to it.

    Outer axes are cut first, inner ones only where the outer ones are down to one place, so that a box stays a run of neighbours.

    >>> smaller((8, 14), (14, 14), 4, 16), smaller((1, 49), (1, 49), 3, 10), smaller((8, 14), (14, 14), 100, 16)
    ((2, 14), (1, 17), (2, 14))
    """
    found = list(box)
    for axis, length in enumerate(grid):
        before = -(-length // found[axis])
        shortest = min(-(-least * found[axis] // math.prod(found)), found[axis])
        found[axis] = max(-(-length // min(before * times, length)), shortest)
        times = -(-times * before // -(-length // found[axis]))
        if found[axis] > 1:
            break
    return tuple(found)
