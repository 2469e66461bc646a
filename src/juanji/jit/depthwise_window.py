"""What all parts of the depthwise tile look at: the facts of its code, what belongs to a vector of channels, where a tile stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from juanji.exact import Narrowing
from juanji.jit.arguments import HEAD
from juanji.jit.emit import Emitter, Value, Var


@dataclass(frozen=True)
class DepthwiseCode:
    """Everything that the code depends on; triples are outer axis, rows and columns."""

    x: str
    total: str
    y: str
    kernel: tuple[int, int, int]
    stride: tuple[int, int, int]
    dilation: tuple[int, int, int]
    group: int  # channels that meet each other; of a depthwise layer 1
    padded: bool
    partial: bool  # the last vector of channels is not full
    bias: bool
    activation: str | None
    narrowing: Narrowing
    rows: int  # of a tile; 0 for strips of columns, which run through all rows (`strips`)
    columns: int
    rolled: bool  # rows of the window in a loop; else the weights of kernel rows and columns are held, if groups have one channel
    looped: bool  # if so: the columns of the window that meet every output of a row are a loop as well
    clipped: bool  # taps that meet only zeros outside are left out, where that changes nothing
    down: bool  # a column of tiles before the next, else a row of tiles
    channels_inside: bool  # all channels at one place before the next: memory is read as it lies; else their weights are read once

    @property
    def window(self) -> tuple[int, int]:
        """Rows and columns of the input under a tile."""
        _, rows, columns = (
            (count - 1) * stride + (kernel - 1) * dilation + 1
            for count, stride, kernel, dilation in zip((1, self.rows, self.columns), self.stride, self.kernel, self.dilation, strict=True)
        )
        return rows, columns

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order. band: output rows of an item; share: vectors of channels of an item."""
        return (
            *HEAD, "constants", "outside", "parameter", "size_d", "size_h", "size_w", "low_d", "low_h", "low_w", "out_d", "out_h", "out_w",
            "xs_n", "xs_d", "xs_h", "xs_w", "ys_n", "ys_d", "ys_h", "ys_w", "bands", "band", "shares", "share", "channels", "stream",
        )  # fmt: skip


class Border(NamedTuple):
    """The vector that is read outside the array, and whether taps there may be left out, in code that may ask."""

    outside: Value
    clipped: Value | None


class Own(NamedTuple):
    """What belongs to a vector of channels: where its input and output begin, its weights, the sums' beginning, its lanes if not all."""

    x: Value
    y: Value
    weights: Value
    held: list[Value] | None
    start: Value
    lanes: Value | None


class Place(NamedTuple):
    """Where a tile stands: the first place of its window; bytes to that row and column, and to the first output."""

    deep: Value
    row: Value
    column: Value
    corner: Value
    goal: Value


Sums = dict[tuple[int, int], Var]  # by row and column of the tile


def between(e: Emitter, place: Value, size: Value) -> Value:
    """0 <= place < size."""
    return e.compare("ult", place, size)


def met_at(place: int, count: int, stride: int, kernel: int, dilation: int) -> list[tuple[int, int]]:
    """The outputs that see a place of the window along one axis, each with the tap that it sees it through."""
    taps = [(p, place - p * stride) for p in range(count)]
    return [(p, at // dilation) for p, at in taps if at >= 0 and at % dilation == 0 and at // dilation < kernel]
