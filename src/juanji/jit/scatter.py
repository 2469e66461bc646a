"""Values sent to their places: the gradient of a maximum, and unpooling.

A plane of the output starts as zeros; then every value, in row order, is added to or put at the element that its place names. One
item of work owns whole planes, so that no two threads meet and the order, which rounding depends on, is always the same. Some places
at a time are looked at before anything is sent there: if one of them lies outside its plane, nothing is, and the caller is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from juanji.jit.arguments import HEAD, Arguments
from juanji.jit.emit import I64, PTR, Emitter, Type, Value
from juanji.jit.ieee import ieee_mode
from juanji.jit.target import Target
from juanji.jit.windowed import PLACES, greater, strays, tell

UNROLLED = 4  # values of a plane that are sent in one round of the loop
LOOKED_AT = 512  # places that are looked at together: they are still in the first cache when they are used
SCALARS = {"float16": "f16", "float32": "f32", "float64": "f64", "uint8": "i8", "uint16": "i16", "uint32": "i32", "uint64": "i64"}


@dataclass(frozen=True)
class ScatterCode:
    """Everything that the code depends on. last: channels lie innermost, and an item owns some of them."""

    dtype: str
    add: bool
    last: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order. `x` points to the values."""
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
    first, end = item * a["places"], (item + 1) * a["places"]
    _clear(e, element, goal, a["pixels"])
    with e.loop(first, end, LOOKED_AT) as start:
        stop = e.least(start + LOOKED_AT, end)

        def send(low: Value, high: Value, step: int) -> None:
            with e.loop(low, high, step) as p:
                for i in range(step):
                    place = e.load(I64, a[PLACES] + (p + i) * 8)
                    _send(e, code, a["x"] + (p + i) * element.bytes, goal + place * element.bytes)

        whole = stop - (stop - start) % UNROLLED
        with _sound(e, a, a[PLACES] + start * 8, stop - start):
            send(start, whole, UNROLLED)
            send(whole, stop, 1)


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
        values, places = a["x"] + number * element.bytes, a[PLACES] + number * 8
        with _sound(e, a, places, count), e.loop(0, count) as c:
            place = e.load(I64, places + c * 8)
            _send(e, code, values + c * element.bytes, goal + (place * a["channels"] + c) * element.bytes)


@contextmanager
def _sound(e: Emitter, a: Arguments, places: Value, count: Value) -> Iterator[None]:
    """Runs the body if all of some places lie inside a plane; if not, the caller is told."""
    vector = e.vector("i64")
    whole = count - count % vector.lanes
    many, single = e.var(vector, e.zero(vector)), e.var(I64, e.integer(0))
    for greatest, low, high in ((many, e.integer(0), whole), (single, whole, count)):
        with e.loop(low, high, max(greatest.type.lanes, 1)) as i:
            greatest.set(greater(e, e.load(greatest.type, places + i * 8), greatest.get()))
    fault = e.arith("or", strays(e, many.get(), a["pixels"]), strays(e, single.get(), a["pixels"]))
    tell(e, a, fault)
    with e.otherwise(fault):
        yield


def _clear(e: Emitter, element: Type, goal: Value, count: Value) -> None:
    """Zeros, a vector at a time, the last one over the one before."""
    vector = e.vector(element.scalar)
    wide = e.compare("sge", count, e.integer(vector.lanes))
    with e.when(wide), e.loop(0, count, vector.lanes) as i:
        e.store(e.zero(vector), goal + e.least(i, count - vector.lanes) * element.bytes)
    with e.otherwise(wide), e.loop(0, count) as i:
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
