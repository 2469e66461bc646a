"""The pixel tile: channels-last pixels under a kernel of one tap, from many channels to a few features, lanes along the pixels.

Lanes along the features would be few, and along the channels each would need a sum of its own. So squares of pixels × channels are turned
in registers as they are read, and each of their columns, a channel of neighbouring pixels, meets its weight of every feature.

The sum of each output runs over the channels in one chain of fused multiply-adds that starts from the bias, as in the other tiles.
"""

from __future__ import annotations

from dataclasses import dataclass

from juanji.exact import Narrowing
from juanji.jit.arguments import HEAD, Arguments, each_item, kernel
from juanji.jit.elements import SCALARS, finish, multiply_add, read, transpose
from juanji.jit.emit import Emitter, Type, Value
from juanji.jit.lanes import interleaved
from juanji.jit.target import Target


@dataclass(frozen=True)
class PixelCode:
    """Everything that the code depends on."""

    x: str
    total: str
    y: str
    bias: bool
    activation: str | None
    narrowing: Narrowing
    features: int
    rest: int  # channels beyond whole squares

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order. whole: channels of whole squares; share: pixels of an item."""
        return (*HEAD, "constants", "parameter", "xs_n", "xs_w", "ys_n", "out_w", "shares", "share", "whole", "stream")


def emit_pixels(code: PixelCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    with kernel(e, target, code.names) as a, each_item(e, a) as item:
        _item(e, code, a, item)
    return e.text()


def _item(e: Emitter, code: PixelCode, a: Arguments, item: Value) -> None:
    """One item of work: image, run of pixels. The last square of an image overlaps the one before."""
    image, share = e.divide(item, a["shares"])
    lanes, pixel = e.vector(SCALARS[code.total]).lanes, code.features * Type(SCALARS[code.y]).bytes
    first = share * a["share"]
    with e.loop(first, e.least(first + a["share"], a["out_w"]), lanes) as next_p:
        p = e.least(next_p, a["out_w"] - lanes)
        _square(e, code, a, a["x"] + image * a["xs_n"] + p * a["xs_w"], a["y"] + image * a["ys_n"] + p * pixel)


def _square(e: Emitter, code: PixelCode, a: Arguments, source: Value, goal: Value) -> None:
    """The outputs of as many neighbouring pixels as a vector has lanes."""
    total, size = Type(SCALARS[code.total]), Type(SCALARS[code.x]).bytes
    vector = e.vector(total.scalar)
    pixels = [source + lane * a["xs_w"] for lane in range(vector.lanes)]
    sums = []
    for f in range(code.features):
        bias = e.splat(e.load(total, a["bias"] + f * total.bytes), vector.lanes) if code.bias else e.zero(vector)
        sums.append(e.var(vector, bias))

    def meet(c: Value, channels: int) -> None:
        """Some channels from the c-th on, which fill a square or begin one."""
        count = e.integer(channels) if channels < vector.lanes else None
        places = [pixel + c * size for pixel in pixels]
        for place in places:  # the processor does not foresee so many runs side by side
            e.prefetch(place + vector.lanes * a["xs_w"], 1)
        columns = transpose(e, [read(e, place, code.x, vector, count) for place in places])
        weights = a["w"] + c * (code.features * total.bytes)
        for channel, x in enumerate(columns[:channels]):
            for f, acc in enumerate(sums):
                weight = e.load(total, weights + (channel * code.features + f) * total.bytes)
                acc.set(multiply_add(e, x, e.splat(weight, vector.lanes), acc.get()))

    with e.loop(0, a["whole"], vector.lanes) as c:
        meet(c, vector.lanes)
    if code.rest:
        meet(a["whole"], code.rest)

    parameter = e.load(total, a["constants"] + a["parameter"])
    finished = [finish(e, acc.get(), code.y, code.activation, parameter, code.narrowing) for acc in sums]
    for i, run in enumerate(interleaved(e, finished)):
        e.store(run, goal + i * run.type.bytes)
