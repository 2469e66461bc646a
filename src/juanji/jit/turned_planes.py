"""The depthwise tile for planes: those of a vector of channels are turned into pixels, computed, and turned back.

Small planes fill vectors badly along their rows, and windows between columns cross cache lines. With lanes along the channels every
vector is full and lies in one line. So the planes of as many channels as a vector has lanes are turned into pixels in scratch, as numbers
of the sum's type; the depthwise tile computes from these to other scratch, without a thought for what lies in planes; and what it made
is turned back, activated and rounded. Both turn runs of neighbours as long as a vector, whatever rows they belong to.

The sums are the depthwise tile's own, in its order.
"""

from __future__ import annotations

from dataclasses import dataclass

from juanji.exact import Narrowing
from juanji.jit.arguments import HEAD, Arguments, each_item, kernel
from juanji.jit.depthwise import border_of, emit_tiles, own_of, vector_outside
from juanji.jit.depthwise_window import DepthwiseCode
from juanji.jit.elements import SCALARS, finish, read, transpose
from juanji.jit.emit import Emitter, Type, Value
from juanji.jit.lanes import turned
from juanji.jit.target import Target


@dataclass(frozen=True)
class TurnedCode:
    """Everything that the code depends on. tile: from pixels of one vector of channels to pixels, both numbers of the sum's type."""

    tile: DepthwiseCode
    x: str
    y: str
    activation: str | None
    narrowing: Narrowing
    partial: bool  # the last vector of channels is not full

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order. xs, ys: of pixels in scratch; share: vectors of channels of an item; length: elements of a plane that
        are turned; made: of one of the output; pixels: bytes before those of the output."""
        return (
            *HEAD, "constants", "outside", "parameter", "size_d", "size_h", "size_w", "low_d", "low_h", "low_w", "out_d", "out_h", "out_w",
            "xs_d", "xs_h", "xs_w", "ys_d", "ys_h", "ys_w", "planes_n", "planes_c", "goals_n", "goals_c", "length", "made", "pixels",
            "shares", "share", "channels", "stream",
        )  # fmt: skip


def emit_turned(code: TurnedCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    with kernel(e, target, code.names) as a:
        outside = vector_outside(e, code.tile, a)
        with each_item(e, a) as item:
            _item(e, code, a, item, outside)
    return e.text()


def _item(e: Emitter, code: TurnedCode, a: Arguments, item: Value, outside: Value) -> None:
    """One item of work: image, share of the channels."""
    image, share = e.divide(item, a["shares"])
    lanes = e.vector(SCALARS[code.tile.total]).lanes
    first = share * a["share"]
    last = e.least(first + a["share"], (a["channels"] + (lanes - 1)) // lanes)
    border = border_of(e, code.tile, a, outside, first, last)
    pixels = a["scratch"] + a["pixels"]
    x, y = a["x"] + image * a["planes_n"], a["y"] + image * a["goals_n"]
    with e.loop(first, last) as v:
        channel = v * lanes
        _to_pixels(e, code, a, x, channel)
        own = own_of(e, code.tile, a, v, a["scratch"], pixels, None)
        with e.loop(0, a["out_d"]) as d:
            emit_tiles(e, code.tile, a, own, d, (0, a["out_h"]), border)
        _to_planes(e, code, a, pixels, y, channel)


def _to_pixels(e: Emitter, code: TurnedCode, a: Arguments, x: Value, channel: Value) -> None:
    """The planes from a channel on as pixels; beyond the last channel, that once more."""
    total = Type(SCALARS[code.tile.total])
    vector, size = e.vector(total.scalar), Type(SCALARS[code.x]).bytes
    planes = [x + channel * a["planes_c"] + lane * a["planes_c"] for lane in range(vector.lanes)]
    if code.partial:
        planes = [x + e.least(channel + lane, a["channels"] - 1) * a["planes_c"] for lane in range(vector.lanes)]
    with e.loop(0, a["length"], vector.lanes) as following:
        at = e.least(following, a["length"] - vector.lanes)
        if code.x == code.tile.total:
            found = turned(e, vector, lambda lane, i: planes[lane] + (at + i) * size)
        else:
            found = transpose(e, [read(e, plane + at * size, code.x, vector) for plane in planes])
        for i, pixel in enumerate(found):
            e.store(pixel, a["scratch"] + (at + i) * vector.bytes)


def _to_planes(e: Emitter, code: TurnedCode, a: Arguments, pixels: Value, y: Value, channel: Value) -> None:
    """Finished sums in the planes from a channel on."""
    total, size = Type(SCALARS[code.tile.total]), Type(SCALARS[code.y]).bytes
    vector = e.vector(total.scalar)
    parameter = e.load(total, a["constants"] + a["parameter"])
    with e.loop(0, a["made"], vector.lanes) as following:
        at = e.least(following, a["made"] - vector.lanes)
        for lane in range(vector.lanes):
            e.prefetch(y + (channel + lane) * a["goals_c"] + (at + vector.lanes) * size, 1)
        found = turned(e, vector, lambda i, lane: pixels + (at + i) * vector.bytes + lane * total.bytes)
        for lane, sums in enumerate(found):
            done = finish(e, sums, code.y, code.activation, parameter, code.narrowing)
            goal = y + (channel + lane) * a["goals_c"] + at * size
            if code.partial and lane:
                with e.when(e.compare("slt", channel + lane, a["channels"])):
                    e.store(done, goal)
            else:
                e.store(done, goal)
