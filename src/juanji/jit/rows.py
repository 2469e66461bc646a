"""The sites of weights, the rows of a site, and the part of the input's gradient that an item of work owns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from juanji.exact import Narrowing
from juanji.jit.arguments import Arguments
from juanji.jit.elements import SCALARS, finish
from juanji.jit.emit import I64, Emitter, Type, Value

SITE_ARGUMENTS = (
    "constants", "batch", "groups", "all_sites", "channels", "features", "low_w", "size_w", "xs_n", "xs_c", "ys_n", "ys_c", "w_site",
)  # fmt: skip
HELD_ARGUMENTS = ("images", "bands", "band", "size0", "places", "merged", "part", "part_bytes", "part_p", "dx_n", "dx_c", "dx_p", "dx_0")


def axis_arguments(axes: int) -> tuple[str, ...]:
    """The arguments of every spatial axis, each name with the axis' number behind."""
    fields = ("sites", "turns", "rest", "out", "taps", "stride", "step", "start", "map", "xs", "ys")
    return tuple(f"{name}{axis}" for axis in range(axes) for name in fields)


@dataclass(frozen=True)
class Kernel:
    """Inside a kernel for weights with sites: the emitter, the arguments, the element types of x, w, y and the sum."""

    e: Emitter
    a: Arguments
    x: str
    w: str
    y: str
    sum: str
    axes: int
    channels_last: bool
    narrowing: Narrowing

    @property
    def total(self) -> Type:
        """The type of the sum."""
        return Type(SCALARS[self.sum])

    @property
    def vector(self) -> Type:
        """As many sums as a register holds."""
        return self.e.vector(self.total.scalar)

    def size(self, operand: str) -> int:
        """Bytes of an element of "x", "w" or "y"."""
        return Type(SCALARS[getattr(self, operand)]).bytes

    def finish(self, total: Value, operand: str, activation: str | None = None) -> Value:
        """The stored form of sums as elements of "x", "w" or "y". The activation's parameter stands behind the constants."""
        parameter = self.e.load(self.total, self.a["constants"] + self.axes * self.total.bytes) if activation else self.e.zero(self.total)
        return finish(self.e, total, getattr(self, operand), activation, parameter, self.narrowing)

    def offset(self, name: str, *indices: Value) -> Value:
        """Bytes to the place of an operand "xs" or "ys" with these spatial indices."""
        total = self.e.integer(0)
        for axis, index in enumerate(indices):
            total = total + index * self.a[f"{name}{axis}"]
        return total

    @property
    def grid(self) -> list[Value]:
        """How many sites there are along each axis."""
        return [self.a[f"sites{axis}"] for axis in range(self.axes)]

    def places(self, positions: list[Value]) -> list[Value]:
        """Where in the padded extent the first tap of an output position lies, along each axis."""
        return [p * self.a[f"stride{i}"] + self.a[f"start{i}"] for i, p in enumerate(positions)]


# Sites and rows -------------------------------------------------------------------------------------------------------------


class Counter:
    """Walks over the places of a grid, the last axis fastest."""

    def __init__(self, e: Emitter, extents: list[Value]):
        self.e, self.extents = e, extents
        self.places = [e.var(I64, e.integer(0)) for _ in extents]

    def start(self, number: Value) -> None:
        """Go to a place by its number."""
        for place in self.places:
            place.set(self.e.integer(0))
        with self.e.when(self.e.compare("ne", number, self.e.integer(0))):
            for place, extent in zip(reversed(self.places[1:]), reversed(self.extents[1:]), strict=True):
                number, rest = self.e.divide(number, extent)
                place.set(rest)
            self.places[0].set(number)

    def advance(self, axis: int = -1) -> None:
        """Go to the next place."""
        axis %= len(self.places)
        following = self.places[axis].get() + 1
        self.places[axis].set(following)
        if axis:
            with self.e.when(self.e.compare("eq", following, self.extents[axis])):
                self.places[axis].set(self.e.integer(0))
                self.advance(axis - 1)


class Rows(Counter):
    """Walks over images and over the positions p = t + T·q of a site. together: all images of a position after each other."""

    def __init__(self, k: Kernel, site: list[Value], images: Value, together: bool = False):
        e, a = k.e, k.a
        more = [e.select(e.compare("slt", t, a[f"rest{i}"]), e.integer(1), e.integer(0)) for i, t in enumerate(site)]
        turns = [a[f"turns{i}"] + one for i, one in enumerate(more)]
        super().__init__(e, [*turns, images] if together else [images, *turns])
        self.k, self.site, self.together = k, site, together
        self.count = images
        for extent in turns:
            self.count = self.count * extent

    @property
    def image(self) -> Value:
        """The image that the walk is in."""
        return self.places[-1 if self.together else 0].get()

    @property
    def positions(self) -> list[Value]:
        """The output position that the walk is at."""
        turns = self.places[:-1] if self.together else self.places[1:]
        return [t + q.get() * self.k.a[f"sites{i}"] for i, (t, q) in enumerate(zip(self.site, turns, strict=True))]


@contextmanager
def each_position(rows: Rows, first: Value, count: Value) -> Iterator[tuple[Value, Value]]:
    """`count` rows from one on by their number: rows that are images of a single position together, with how many they are."""
    e = rows.k.e
    rows.start(first)
    alike = e.compare("eq", rows.count, rows.extents[0])
    images = e.select(alike, count, e.integer(1))
    with e.loop(0, e.select(alike, e.least(count, 1), count)) as row:
        yield row, images
        rows.advance()


@contextmanager
def each_site(k: Kernel, grid: list[Value], first: Value, end: Value) -> Iterator[tuple[Value, list[Value]]]:
    """Sites of a grid by number and by place."""
    sites = Counter(k.e, grid)
    sites.start(first)
    with k.e.loop(first, end) as site:
        yield site, [place.get() for place in sites.places]
        sites.advance()


# The part of the input's gradient -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """What an item owns of dx, in scratch: some images and channels, places low … high of the first axis."""

    at: Value
    images: Value
    channels: Value
    low: Value
    high: Value


@contextmanager
def own_part(k: Kernel, image: Value, channel: Value, channels: Value, band: Value) -> Iterator[Part]:
    """A part of zeros for the body to add to, which is then stored."""
    e, a = k.e, k.a
    low = band * a["band"]
    high = e.least(low + a["band"], a["size0"])
    part = Part(a["scratch"] + a["part"], e.least(a["images"], a["batch"] - image), channels, low, high)
    with e.loop(0, a["part_bytes"], k.vector.bytes) as at:
        e.store(e.zero(k.vector), part.at + at, k.total.bytes)
    yield part
    run, count = (high - low) * a["places"], channels
    if k.channels_last:
        merged = e.compare("ne", a["merged"], e.integer(0))
        run, count = e.select(merged, run * channels, channels), e.select(merged, e.integer(1), run)
    goal = a["y"] + image * a["dx_n"] + channel * a["dx_c"] + low * a["dx_0"]
    between, apart = (a["dx_p"], a["part_p"]) if k.channels_last else (a["dx_c"], a["xs_c"])
    with e.loop(0, part.images) as n, e.loop(0, count) as i, e.loop(0, run, k.vector.lanes) as at:
        value = e.load(k.vector, part.at + n * a["xs_n"] + i * apart + at * k.total.bytes, k.total.bytes)
        stored = k.finish(value, "x")
        put(k, stored, goal + n * a["dx_n"] + i * between + at * k.size("x"), None, run - at)


@contextmanager
def touching(k: Kernel, part: Part, inner: Value) -> Iterator[tuple[Value, Value]]:
    """The sites, `inner` at each place of the first axis, of whose windows some lead into the part along it: the first and the end."""
    e, a = k.e, k.a
    with e.loop(0, a["sites0"]) as t:
        found = e.var(I64, e.integer(0))
        with e.loop(t, a["out0"], a["sites0"]) as p:
            found.set(found.get() + touches(k, p, part))
        with e.when(e.compare("ne", found.get(), e.integer(0))):
            yield t * inner, (t + 1) * inner


def touches(k: Kernel, p: Value, part: Part) -> Value:
    """How many taps of the first axis lead from output position p into the part."""
    e, a = k.e, k.a
    found = e.var(I64, e.integer(0))
    with e.loop(0, a["taps0"]) as j:
        where = e.load(I64, a["map0"] + (p * a["stride0"] + a["start0"] + j * a["step0"]) * 8, 8)
        found.set(found.get() + e.convert("zext", within(k, where, part), "i64"))
    return found.get()


def within(k: Kernel, where: Value, part: Part) -> Value:
    """Whether a place of the first axis is in the part."""
    return k.e.arith("and", k.e.compare("sge", where, part.low), k.e.compare("slt", where, part.high))


# Storing --------------------------------------------------------------------------------------------------------------------


def put(k: Kernel, value: Value, goal: Value, step: Value | None, count: Value) -> None:
    """Store the first `count` lanes: side by side, or `step` bytes apart."""
    e, lanes = k.e, value.type.lanes
    if step is None:
        whole = e.compare("sge", count, e.integer(lanes))
        with e.when(whole):
            e.store(value, goal)
        with e.otherwise(whole):
            e.store_first(value, goal, e.most(count, 0))
        return
    scalar, buffer = Type(value.type.scalar), e.stack(value.type)
    e.store(value, buffer)
    with e.loop(0, e.least(count, lanes)) as lane:
        e.store(e.load(scalar, buffer + lane * scalar.bytes), goal + lane * step)
