"""What an item of the channel tile and of the matrix tile is: a box of output pixels of one image and group, a share of the features."""

from __future__ import annotations

from typing import NamedTuple

from juanji.jit.arguments import Arguments
from juanji.jit.emit import I64, Emitter, Value, Var


class Chunk(NamedTuple):
    """number: of the box; items that share one come one after the other. split: the share of the features.

    origin, extent: the box along each axis; pixels: in it. xs: the group's channels of the image; ys: the group's features of the box's
    first pixel.
    """

    number: Value
    split: Value
    group: Value
    origin: list[Value]
    extent: list[Value]
    pixels: Value
    xs: Value
    ys: Value

    def in_place(self, a: Arguments) -> Value:
        """Where the first pixel's window begins in the input itself."""
        base = self.xs
        for axis, place in enumerate(self.origin):
            base = base + place * a[f"stride{axis}"] * a[f"xs{axis}"]
        return base


def chunk_behind(e: Emitter, a: Arguments, *items: Value) -> Var:
    """The number of the chunk that a call before this one left in scratch memory, −1 if there is none; items: of a chunk, as factors."""
    number = e.most(a["behind"] - 1, 0)
    for factor in items:
        number = number // factor
    return e.var(I64, e.select(e.compare("sgt", a["behind"], e.integer(0)), number, e.integer(-1)))


def chunk_of(e: Emitter, axes: int, a: Arguments, item: Value) -> Chunk:
    """What an item stands for."""
    number, split = e.divide(item, a["splits"])
    rest = number
    origin: list[Value] = []
    for axis in reversed(range(axes)):
        rest, place = e.divide(rest, e.integer((a[f"out{axis}"] + a[f"box{axis}"] - 1) // a[f"box{axis}"]))
        origin.insert(0, place * a[f"box{axis}"])
    image, group = e.divide(rest, a["groups"])
    extent = [e.least(a[f"box{axis}"], a[f"out{axis}"] - origin[axis]) for axis in range(axes)]
    pixels = extent[0]
    for length in extent[1:]:
        pixels = pixels * length
    xs = a["x"] + image * a["xs_n"] + group * a["channels"] * a["xs_c"]
    ys = a["y"] + image * a["ys_n"] + group * a["count_f"] * a["ys_c"]
    for axis, place in enumerate(origin):
        ys = ys + place * a[f"ys{axis}"]
    return Chunk(number, split, group, origin, extent, pixels, xs, ys)
