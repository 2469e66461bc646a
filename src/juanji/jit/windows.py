"""Windows of single output positions: gathered into scratch, and added back where they came from.

What a kernel for weights with sites (local.py) needs to know about the input is here: its boundary, layout and element type. A
window's elements lie in the order of the weights. Where the taps of the last axis are neighbours they move as one run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from juanji.exact import Narrowing
from juanji.jit.arguments import HEAD
from juanji.jit.elements import plus, read
from juanji.jit.emit import I64, PTR, Int, Type, Value
from juanji.jit.panels import outer_step
from juanji.jit.rows import (
    HELD_ARGUMENTS,
    SITE_ARGUMENTS,
    Kernel,
    Part,
    axis_arguments,
    within,
)

STRAIGHT = 4  # elements that a loop over single ones takes at a time


@dataclass(frozen=True)
class WindowCode:
    """Everything that the code depends on."""

    produces: str
    x: str  # element types: of the input or its gradient,
    w: str  # of the weights or theirs,
    total: str
    y: str  # of the output or its gradient
    axes: int
    channels_last: bool
    along_window: bool  # whether a window's elements, not features, are neighbours in the weights
    channel_inner: bool  # whether they follow each other tap by tap, not channel by channel
    bias: bool
    activation: str | None
    narrowing: Narrowing
    rows: int
    across: int
    runs: bool  # whether the taps of the last axis lie side by side, in the array as in the window,
    short: int  # lanes of the vector that has room for all of them; 0 if none has
    asks: int  # lines, or vectors, of weights `ahead` bytes further on that each tile asks for
    square: int  # elements and sites of the squares in which neighbouring sites' windows are gathered together; 0 where each is by itself
    apart: int  # elements from one of these windows to the next

    @property
    def inner(self) -> bool:
        """Whether lanes lie along the sum."""
        return self.produces == "y" and self.along_window

    @property
    def turned(self) -> bool:
        """Whether a tile's weights are turned beforehand, so that lanes lie along the result."""
        return self.produces == "x" and not self.along_window

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order."""
        above = ("above", "above_pitch", "above_site")
        own: dict[str, tuple[str, ...]] = {
            "y": ("block", "chunks", "biases", "sums", "sums_pitch", "sums_site"),
            "w": ("block", "shares", "share", "sums", "sums_pitch", "sums_site", "stream", *above),
            "x": (*HELD_ARGUMENTS, *above, "blocks_c", "block_c", "segments", "unit", "w_c", "w_segment", "turned"),
        }
        lines = () if self.produces == "x" else ("channel_pitch", "line", "phase", "reach", "map_elements")
        together = ("stretch", "stretches", "patch", *lines) if self.square else ()
        return (
            *HEAD, *SITE_ARGUMENTS, *axis_arguments(self.axes), *own[self.produces], *together,
            "kernel", "depth", "chunk", "windows", "window_pitch", "site_pitch", "table", "runs", "run", "w_group", "w_step", "ahead",
        )  # fmt: skip


@dataclass(frozen=True)
class WindowKernel(Kernel):
    """Inside the kernel: the emitter, the arguments, what the code depends on."""

    code: WindowCode

    @property
    def width(self) -> int:
        """Results across a tile."""
        return self.code.across if self.code.inner else self.code.across * self.vector.lanes


# Between the arrays and scratch ---------------------------------------------------------------------------------------------

Move = Callable[[Value, Type], None]  # the element, or the vector of elements, from a number on


def _each(k: WindowKernel, count: Value, neighbours: bool, move: Move) -> None:
    """All elements below `count`: as vectors where they are neighbours, and single ones."""
    e = k.e
    step = k.vector.lanes if neighbours else STRAIGHT
    whole = count - count % step
    with e.loop(0, whole, step) as i:
        if neighbours:
            move(i, k.vector)
        else:
            for j in range(step):
                move(i + j, k.total)
    with e.loop(whole, count) as i:
        move(i, k.total)


def gather_window(k: WindowKernel, positions: list[Value], image: Value, images: Value, goal: Value) -> None:
    """Gather the windows of an output position out of some images' groups of channels."""
    e, code, a, size = k.e, k.code, k.a, k.total.bytes
    tap_step, channel_step = (a["channels"] * size, size) if code.channel_inner else (size, a["kernel"] * size)
    neighbours = code.channel_inner and code.channels_last
    null = Value(e, PTR, "null")
    places = k.places(positions)

    inside = _inside(k, places[-1]) if code.runs else None

    def walk(axis: int, tap: Int, source: Value, outside: Value) -> None:
        if axis < code.axes:
            if axis == code.axes - 1 and inside is not None:
                near = e.arith("and", inside, e.compare("eq", outside, null))
                with e.when(near):
                    first = source + (places[axis] - a["low_w"]) * a[f"xs{axis}"]
                    copy_runs(first, goal + tap * a[f"taps{axis}"] * tap_step)
                with e.otherwise(near):
                    taps(axis, tap, source, outside)
            else:
                taps(axis, tap, source, outside)
            return
        start = goal + tap * tap_step
        here = e.compare("eq", outside, null)

        def copy(n: Value, i: Value, type: Type) -> None:
            at = source + n * a["xs_n"] + i * (k.size("x") if code.channels_last else a["xs_c"])
            e.store(read(e, at, code.x, type), start + n * a["window_pitch"] + i * channel_step, size)

        with e.when(here), e.loop(0, images) as n:
            _each(k, a["channels"], neighbours, partial(copy, n))
        with e.otherwise(here):
            number = e.load(k.total, outside)
            with e.loop(0, images) as n, e.loop(0, a["channels"]) as i:
                e.store(number, start + n * a["window_pitch"] + i * channel_step)

    def taps(axis: int, tap: Int, source: Value, outside: Value) -> None:
        with e.loop(0, a[f"taps{axis}"]) as j:
            at, constant = places[axis] + j * a[f"step{axis}"], a["constants"] + axis * size
            inner = outer_step(e, a, f"map{axis}", f"xs{axis}", at, constant, source, outside)
            walk(axis + 1, tap * a[f"taps{axis}"] + j, *inner)

    def copy_runs(source: Value, start: Value) -> None:
        def copy(n: Value, run: Value, at: Value, count: Value | None) -> None:
            value = read(e, source + n * a["xs_n"] + run * a["xs_c"] + at * k.size("x"), code.x, _part(k), count)
            _store(k, value, start + n * a["window_pitch"] + run * channel_step + at * size, count)

        with e.loop(0, images) as n:
            _each_run(k, partial(copy, n))

    walk(0, e.integer(0), image, null)


def _inside(k: WindowKernel, place: Value) -> Value:
    """Whether the taps from a place of the last axis on, side by side, are all inside the array."""
    e, a, last = k.e, k.a, k.code.axes - 1
    begins = e.compare("sge", place, a["low_w"])
    return e.arith("and", begins, e.compare("sle", place + a[f"taps{last}"], a["low_w"] + a["size_w"]))


def _part(k: WindowKernel) -> Type:
    """What moves of a run at a time: no more than it needs, because fewer short vectors cross a cache line."""
    return Type(k.total.scalar, k.code.short or k.vector.lanes)


def _each_run(k: WindowKernel, move: Callable[[Value, Value, Value | None], None]) -> None:
    """The runs of neighbours under one row of taps, vector by vector: their number, the first element, how many there are, if not all."""
    e, run, lanes = k.e, k.a["run"], k.vector.lanes
    with e.loop(0, k.a["runs"]) as number:
        if k.code.short:
            move(number, e.integer(0), run)
            return
        whole = run - run % lanes
        with e.loop(0, whole, lanes) as at:
            move(number, at, None)
        with e.when(e.compare("slt", whole, run)):
            move(number, whole, run - whole)


def _store(k: WindowKernel, value: Value, goal: Value, count: Value | None) -> None:
    """The first `count` lanes, or all."""
    if count is None:
        k.e.store(value, goal, k.total.bytes)
    else:
        k.e.store_first(value, goal, count)


def gather_above(k: WindowKernel, source: Value, images: Value, dtype: str, count: Value, goal: Value) -> None:
    """Gather neighbouring features of one output position in some images."""
    e, a = k.e, k.a

    def copy(n: Value, i: Value, type: Type) -> None:
        at = source + n * a["ys_n"] + i * (k.size("y") if k.code.channels_last else a["ys_c"])
        e.store(read(e, at, dtype, type), goal + n * a["above_pitch"] + i * k.total.bytes, k.total.bytes)

    with e.loop(0, images) as n:
        _each(k, count, k.code.channels_last, partial(copy, n))


def add_window(k: WindowKernel, positions: list[Value], part: Part, image: Value, images: Value, window: Value) -> None:
    """Add the gradients of some images' windows to the elements of the part that these were gathered from."""
    e, code, a, size = k.e, k.code, k.a, k.total.bytes
    tap_step, channel_step = (part.channels * size, size) if code.channel_inner else (size, a["kernel"] * size)
    places = k.places(positions)

    inside = _inside(k, places[-1]) if code.runs else None
    if inside is not None and code.axes == 1:
        first = places[0] - a["low_w"]
        owned = e.arith("and", e.compare("sge", first, part.low), e.compare("sle", first + a["taps0"], part.high))
        inside = e.arith("and", inside, owned)

    def walk(axis: int, tap: Int, goal: Value) -> None:
        if axis < code.axes:
            if axis == code.axes - 1 and inside is not None:
                with e.when(inside):
                    first = places[axis] - a["low_w"] - (0 if axis else part.low)
                    add_runs(goal + first * a[f"xs{axis}"], window + tap * a[f"taps{axis}"] * tap_step)
                with e.otherwise(inside):
                    taps(axis, tap, goal)
            else:
                taps(axis, tap, goal)
            return
        start = window + tap * tap_step

        def add(n: Value, i: Value, type: Type) -> None:
            at = goal + n * a["xs_n"] + i * (size if code.channels_last else a["xs_c"])
            more = e.load(type, start + n * a["window_pitch"] + i * channel_step, size)
            e.store(plus(e, e.load(type, at, size), more), at, size)

        with e.loop(0, images) as n:
            _each(k, part.channels, code.channel_inner and code.channels_last, partial(add, n))

    def taps(axis: int, tap: Int, goal: Value) -> None:
        with e.loop(0, a[f"taps{axis}"]) as j:
            where = e.load(I64, a[f"map{axis}"] + (places[axis] + j * a[f"step{axis}"]) * 8, 8)
            known = e.compare("sge", where, e.integer(0)) if axis else within(k, where, part)
            with e.when(known):
                walk(axis + 1, tap * a[f"taps{axis}"] + j, goal + (where - (0 if axis else part.low)) * a[f"xs{axis}"])

    def add_runs(goal: Value, start: Value) -> None:
        def add(n: Value, run: Value, at: Value, count: Value | None) -> None:
            place = goal + n * a["xs_n"] + run * a["xs_c"] + at * size
            more = e.load(_part(k), start + n * a["window_pitch"] + run * channel_step + at * size, size)
            _store(k, plus(e, e.load(_part(k), place, size), more), place, count)

        with e.loop(0, images) as n:
            _each_run(k, partial(add, n))

    walk(0, e.integer(0), image)
