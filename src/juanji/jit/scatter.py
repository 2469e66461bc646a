"""Values sent to their places: the gradient of a maximum, and unpooling.

A plane of the output starts as zeros; then every value, in row order, is added to or put at the element that its place names. One
item of work owns whole planes, so that no two threads meet and the order, which rounding depends on, is always the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from juanji.jit.arguments import HEAD, Arguments
from juanji.jit.emit import I64, PTR, Emitter, Type, Value
from juanji.jit.ieee import ieee_mode
from juanji.jit.target import Target

UNROLLED = 4  # values of a plane that are sent in one round of the loop
SCALARS = {"float16": "f16", "float32": "f32", "float64": "f64", "uint8": "i8", "uint16": "i16", "uint32": "i32", "uint64": "i64"}


@dataclass(frozen=True)
class ScatterCode:
    """Everything that the code depends on. last: channels lie innermost, and an item owns some of them."""

    dtype: str
    add: bool
    last: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order. `x` points to the values, `w` to their places, int64."""
        return (*HEAD, "places", "pixels", "channels", "share", "shares")


def emit_scatter(code: ScatterCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    with e.function("kernel", PTR) as (row,), ieee_mode(e, target):
        a = Arguments(e, row, code.names)
        with e.loop(a["begin"], a["end"]) as item:
            if code.last:
                _channels(e, code, a, item)
            else:
                _plane(e, code, a, item)
    return e.text()


def _plane(e: Emitter, code: ScatterCode, a: Arguments, item: Value) -> None:
    element = Type(SCALARS[code.dtype])
    goal = a["y"] + item * a["pixels"] * element.bytes
    values = a["x"] + item * a["places"] * element.bytes
    places = a["w"] + item * a["places"] * 8
    _clear(e, element, goal, a["pixels"])
    whole = a["places"] - a["places"] % UNROLLED
    for low, high, step in ((e.integer(0), whole, UNROLLED), (whole, a["places"], 1)):
        with e.loop(low, high, step) as p:
            for i in range(step):
                place = e.load(I64, places + (p + i) * 8)
                _send(e, code, values + (p + i) * element.bytes, goal + place * element.bytes)


def _channels(e: Emitter, code: ScatterCode, a: Arguments, item: Value) -> None:
    element = Type(SCALARS[code.dtype])
    image, share = e.divide(item, a["shares"])
    first = share * a["share"]
    count = e.least(a["share"], a["channels"] - first)
    goal = a["y"] + (image * a["pixels"] * a["channels"] + first) * element.bytes
    with e.loop(0, a["pixels"]) as pixel:
        _clear(e, element, goal + pixel * a["channels"] * element.bytes, count)
    with e.loop(0, a["places"]) as p:
        number = (image * a["places"] + p) * a["channels"] + first
        values, places = a["x"] + number * element.bytes, a["w"] + number * 8
        with e.loop(0, count) as c:
            place = e.load(I64, places + c * 8)
            _send(e, code, values + c * element.bytes, goal + (place * a["channels"] + c) * element.bytes)


def _clear(e: Emitter, element: Type, goal: Value, count: Value) -> None:
    """Zeros, a vector at a time."""
    vector = e.vector(element.scalar)
    whole = count - count % vector.lanes
    with e.loop(0, whole, vector.lanes) as i:
        e.store(e.zero(vector), goal + i * element.bytes)
    with e.loop(whole, count) as i:
        e.store(e.zero(element), goal + i * element.bytes)


def _send(e: Emitter, code: ScatterCode, value: Value, goal: Value) -> None:
    element = Type(SCALARS[code.dtype])
    sent = e.load(element, value)
    if code.add:
        before = e.load(element, goal)
        if code.dtype == "float16":
            total = e.arith("fadd", e.convert("fpext", before, "f32"), e.convert("fpext", sent, "f32"))
            sent = e.convert("fptrunc", total, "f16")
        else:
            sent = e.arith("fadd", before, sent)
    e.store(sent, goal)
