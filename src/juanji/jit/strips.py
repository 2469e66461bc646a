"""Strips of columns: groups of a few channels whose outputs are made row by row downwards, with sums in flight for all that see a row.

Of a vector of groups of channels as many are made as a group has channels, one of which stands in all lanes of its group (`of_group`).
A tile does so for every vector of its window, and windows of neighbouring tiles overlap. In a strip each row of the input is read once
and meets all kernel rows k at once: those of the output rows j − k, whose sums stand in registers. When a row is done, the sums of the
last kernel row are finished, the others move on to the next kernel row, and a new row begins.

Every vector serves kernel rows × kernel columns sums, which do not wait for each other. Of the first rows, which no output sees by all
of the kernel, some sums are made in vain.

Each sum runs over kernel row, kernel column, channel of the group, as in the tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from juanji.jit.elements import multiply_add, of_group
from juanji.jit.emit import Emitter, Value, Var


class Strip(NamedTuple):
    """Kernel rows and columns, channels of a group, output columns of a strip. Stride and dilation are 1."""

    high: int
    wide: int
    group: int
    columns: int


def emit_strip(
    e: Emitter,
    strip: Strip,
    rows: tuple[Value, Value],
    start: Value,
    pixels: Callable[[Value], Callable[[int], Value]],
    weights: Value,
    put: Callable[[Value, list[Var]], None],
) -> None:
    """The outputs of some rows.

    start: of every sum. pixels: the vectors of a row of the window, named by its first output row, by column. weights: vectors in the
    order of the sum. put: what is done with the finished sums of a row.
    """
    high, wide, group, columns = strip
    first, end = rows
    sums = [[e.var(start.type, start) for _ in range(columns)] for _ in range(high)]  # by kernel row that is met next
    with e.loop(first, end + (high - 1)) as row:
        pixel = pixels(row)
        for i in range(columns + wide - 1):
            x = pixel(i)
            near = e.unknown(weights)  # else weights would be kept, and drive sums out of registers
            right = [(c, i - c) for c in range(columns) if 0 <= i - c < wide]
            for channel in range(group):
                one = of_group(e, x, channel, group)
                for kh, met in enumerate(sums):
                    for c, kw in right:
                        at = (kh * wide + kw) * group + channel
                        met[c].set(multiply_add(e, one, e.load(x.type, near + at * x.type.bytes), met[c].get()))
        done = row - (high - 1)
        with e.when(e.compare("sge", done, first)):
            put(done, sums[-1])
        for before, after in zip(reversed(sums[:-1]), reversed(sums[1:]), strict=True):
            for c in range(columns):
                after[c].set(before[c].get())
        for total in sums[0]:
            total.set(start)
