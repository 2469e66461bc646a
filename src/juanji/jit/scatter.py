"""Values sent to their places: the gradient of a maximum, and unpooling.

A plane of the output starts as zeros; then every value, in row order, is added to or put at the element that its place names. One
item of work owns whole planes, so that no two threads meet and the order, which rounding depends on, is always the same. Some places
at a time are looked at before anything is sent there: if one of them lies outside its plane, nothing is, and the caller is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from juanji.jit.arguments import HEAD, Arguments, kernel
from juanji.jit.emit import I64, Emitter, Type, Value
from juanji.jit.target import Target
from juanji.jit.windowed import AHEAD, PLACES, greater, strays, tell

UNROLLED = 4  # values of a plane that are sent in one round of the loop
LOOKED_AT = 512  # places that are looked at together: they are still in the first cache when they are used
SCALARS = {"float32": "f32", "float64": "f64", "uint8": "i8", "uint16": "i16", "uint32": "i32", "uint64": "i64"}


@dataclass(frozen=True)
class ScatterCode:
    """Everything that the code depends on. last: channels lie innermost, and an item owns some of them; else planes, so many beside each
    other. far: these come from beyond the second cache, so what is used next is asked for, and the plane that is cleared next."""

    dtype: str
    add: bool
    last: bool
    beside: int = 1
    far: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order. `x` points to the values. share: channels of an item, or bytes of the next plane to ask for with each
        value."""
        return (*HEAD, "places", "pixels", "channels", "share", "shares", "planes")


def emit_scatter(code: ScatterCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    with kernel(e, target, code.names) as a, e.loop(a["begin"], a["end"]) as item:
        if code.last:
            _channels(e, code, a, item)
        else:
            first = item * code.beside
            whole = e.compare("sle", first + code.beside, a["planes"])
            with e.when(whole):
                _planes(e, code, a, first, code.beside)
            if code.beside > 1:
                with e.otherwise(whole), e.loop(first, a["planes"]) as plane:
                    _planes(e, code, a, plane, 1)
    return e.text()


def _planes(e: Emitter, code: ScatterCode, a: Arguments, first: Value, beside: int) -> None:
    """Some planes, a value of each in turn: sums at one place, which often follow one another in a plane, wait for each other."""
    element = Type(SCALARS[code.dtype])
    planes = [first + i for i in range(beside)]
    values, places = ([base + plane * a["places"] * size for plane in planes] for base, size in ((a["x"], element.bytes), (a[PLACES], 8)))
    goals = [a["y"] + plane * a["pixels"] * element.bytes for plane in planes]
    for goal in goals:
        _clear(e, element, goal, a["pixels"])
    with e.loop(0, a["places"], LOOKED_AT) as begin:
        end = e.least(begin + LOOKED_AT, a["places"])

        def send(low: Value, high: Value, step: int) -> None:
            with e.loop(low, high, step) as p:
                for sent, goal in zip(values, goals, strict=True):
                    if code.far:
                        e.prefetch(sent + p * element.bytes + AHEAD, 1)
                        e.prefetch(goal + beside * a["pixels"] * element.bytes + p * a["share"], 2)
                for i in range(step):
                    for sent, named, goal in zip(values, places, goals, strict=True):
                        place = e.load(I64, named + p * 8 + i * 8)
                        _send(e, code, sent + p * element.bytes + i * element.bytes, goal + place * element.bytes)

        whole = end - (end - begin) % UNROLLED
        with _sound(e, a, [run + begin * 8 for run in places], end - begin, code.far):
            send(begin, whole, UNROLLED)
            send(whole, end, 1)


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

        def send(low: int | Value, high: Value, step: int, number: Value = number, values: Value = values, places: Value = places) -> None:
            with e.loop(low, high, step) as c:
                for i in range(step):
                    place = e.load(I64, places + (c + i) * 8)
                    _send(e, code, values + (c + i) * element.bytes, goal + (place * a["channels"] + (c + i)) * element.bytes)

        whole = count - count % UNROLLED
        with _sound(e, a, [places], count):
            send(0, whole, UNROLLED)
            send(whole, count, 1)


@contextmanager
def _sound(e: Emitter, a: Arguments, runs: list[Value], count: Value, far: bool = False) -> Iterator[None]:
    """Runs the body if all of some runs of places lie inside a plane; if not, the caller is told. far: those that follow are asked for."""
    vector = e.vector("i64")
    whole = count - count % vector.lanes
    many, single = e.var(vector, e.zero(vector)), e.var(I64, e.integer(0))
    for greatest, low, high in ((many, e.integer(0), whole), (single, whole, count)):
        with e.loop(low, high, max(greatest.type.lanes, 1)) as i:
            for places in runs:
                if far:
                    e.prefetch(places + i * 8 + AHEAD, 1)
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
    e.store(e.arith("fadd", e.load(element, goal), sent) if code.add else sent, goal)
