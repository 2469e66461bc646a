"""The site tile: lanes along neighbouring sites of the last axis, for few channels and few features.

Where a site has few weights, one site after the other is mostly overhead. Here `lanes` neighbours go together:

    weights  of each site lie together; squares of sites × weights are turned in registers, and wait in scratch as
             wt[weight][lane]: they are read once, in their own order, whichever that is
    windows  of neighbouring sites are neighbours: xt[channel, tap][lane] is a vector of the input where it lies, or element by
             element where the boundary or a stride comes between
    products y[o] = bias[o] + Σ_r xt[r]·wt[o, r],   dxt[r] = Σ_o dyt[o]·wt[o, r],   dwt[o, r] = Σ_rows dyt[o]·xt[r],
             each one chain of fused multiply-adds in rising order; dwt is turned back as it is stored

Rows, and the part of dx that an item owns, are those of the window tiles (rows.py). Lanes beyond the last site compute with
zeros, or with the last site's weights, and are not stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from juanji.exact import Narrowing
from juanji.jit.arguments import HEAD, kernel
from juanji.jit.elements import multiply_add, plus, read, transpose
from juanji.jit.emit import I64, PTR, Emitter, Int, Value
from juanji.jit.panels import outer_step
from juanji.jit.rows import (
    HELD_ARGUMENTS,
    SITE_ARGUMENTS,
    Counter,
    Kernel,
    Part,
    Rows,
    axis_arguments,
    each_site_touching,
    own_part,
    put,
    within,
)
from juanji.jit.target import Target


@dataclass(frozen=True)
class SiteCode:
    """Everything that the code depends on. There are at least two axes."""

    produces: str
    x: str
    w: str
    total: str
    y: str
    axes: int
    neighbours: bool  # whether the windows of neighbouring sites lie side by side
    bias: bool
    activation: str | None
    narrowing: Narrowing
    across: int  # features, or elements of a window, that a vector of the other operand serves

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order."""
        own = HELD_ARGUMENTS if self.produces == "x" else ("block",)
        return (
            *HEAD, *SITE_ARGUMENTS, *axis_arguments(self.axes), *own, "vectors", "all_weights", "all_features", "depth",
            "reach", "turned", "windows", "above", "blocks_c", "block_c", "tap_step", "channel_step", "o_step", "r_step", "group_step",
        )  # fmt: skip


@dataclass(frozen=True)
class _Kernel(Kernel):
    """Inside the kernel: what the code depends on as well."""

    code: SiteCode

    @property
    def turned(self) -> Value:
        """Where wt or dwt lies."""
        return self.a["scratch"] + self.a["turned"]

    @property
    def windows(self) -> Value:
        """Where xt or dxt lies."""
        return self.a["scratch"] + self.a["windows"]

    @property
    def above(self) -> Value:
        """Where dyt, or the biases, lie."""
        return self.a["scratch"] + self.a["above"]

    def load(self, at: Value) -> Value:
        """A vector of sums."""
        return self.e.load(self.vector, at, self.total.bytes)

    def store(self, value: Value, at: Value) -> None:
        """Put a vector of sums down."""
        self.e.store(value, at, self.total.bytes)


def emit_sites(code: SiteCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    with kernel(e, target, code.names) as a:
        k = _Kernel(e, a, code.x, code.w, code.y, code.total, code.axes, False, code.narrowing, code)
        with e.loop(k.a["begin"], k.a["end"]) as item:
            (_grad_input if code.produces == "x" else _own_sites)(k, item)
    return e.text()


def _own_sites(k: _Kernel, item: Value) -> None:
    """One item of work: a block of vectors of sites."""
    e, a, code = k.e, k.a, k.code
    last = k.axes - 1
    grid = Counter(e, [*(a[f"sites{axis}"] for axis in range(last)), a["vectors"]])
    first = item * a["block"]
    grid.start(first)
    with e.loop(first, e.least(first + a["block"], a["all_sites"])):
        *outer, vector = (place.get() for place in grid.places)
        site = _Sites.at(k, outer, vector)
        if code.produces == "y":
            _turn_weights(k, site)
            if code.bias:
                _turn_biases(k, site)
        else:
            with e.loop(0, a["all_weights"]) as weight:
                k.store(e.zero(k.vector), k.turned + weight * k.vector.bytes)
        rows = Rows(k, [*outer, site.first], a["batch"])
        with e.loop(0, rows.count):
            positions = rows.positions
            count = e.least(site.count, a[f"out{last}"] - positions[-1])
            _windows(k, a["x"] + rows.image * a["xs_n"], positions, count)
            if code.produces == "y":
                _forward(k, a["y"] + rows.image * a["ys_n"] + k.offset("ys", *positions), count)
            else:
                _above(k, a["w"] + rows.image * a["ys_n"] + k.offset("ys", *positions), count)
                _grad_weight(k)
            rows.advance()
        if code.produces == "w":
            _turn_back(k, site)
        grid.advance()


def _grad_input(k: _Kernel, item: Value) -> None:
    """One item of work: some images, band of places along the first axis."""
    e, a = k.e, k.a
    last = k.axes - 1
    grid = [*(a[f"sites{axis}"] for axis in range(last)), a["vectors"]]
    share, band = e.divide(item, a["bands"])
    image = share * a["images"]
    channels = a["groups"] * a["channels"]
    with own_part(k, image, e.integer(0), channels, band) as part, each_site_touching(k, part, grid) as (_, (*outer, vector)):
        site = _Sites.at(k, outer, vector)
        _turn_weights(k, site)
        rows = Rows(k, [*outer, site.first], part.images)
        with e.loop(0, rows.count):
            positions = rows.positions
            count = e.least(site.count, a[f"out{last}"] - positions[-1])
            _above(k, a["x"] + (image + rows.image) * a["ys_n"] + k.offset("ys", *positions), count)
            _grad_windows(k)
            _add_windows(k, part, part.at + rows.image * a["xs_n"], positions, count)
            rows.advance()


# Turning weights ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Sites:
    """A vector of neighbouring sites: the first one's place along the last axis, its number, how many there are."""

    first: Value
    number: Value
    count: Value

    @classmethod
    def at(cls, k: _Kernel, outer: list[Value], vector: Value) -> _Sites:
        """The sites of a vector by its number in the row of sites."""
        sites = k.a[f"sites{k.axes - 1}"]
        first = vector * k.vector.lanes
        number = k.e.integer(0)
        for axis, place in enumerate(outer):
            number = number * k.a[f"sites{axis}"] + place
        return cls(first, number * sites + first, k.e.least(sites - first, k.vector.lanes))


def _turn_weights(k: _Kernel, site: _Sites) -> None:
    """wt[weight][lane] from the weights of each site; past the last site it is read again."""
    e, a, lanes = k.e, k.a, k.vector.lanes
    sources = [a["w"] + (site.number + e.least(lane, site.count - 1)) * a["w_site"] for lane in range(lanes)]
    with e.loop(0, a["all_weights"], lanes) as first:
        count = e.least(a["all_weights"] - first, lanes)
        rows = [read(e, source + first * k.size("w"), k.w, k.vector, count) for source in sources]
        for i, column in enumerate(transpose(e, rows)):
            k.store(column, k.turned + (first + i) * k.vector.bytes)


def _turn_back(k: _Kernel, site: _Sites) -> None:
    """The gradients of each site's weights from dwt[weight][lane]."""
    e, a, lanes = k.e, k.a, k.vector.lanes
    with e.loop(0, a["all_weights"], lanes) as first:
        columns = transpose(e, [k.load(k.turned + (first + i) * k.vector.bytes) for i in range(lanes)])
        for lane, column in enumerate(columns):
            with e.when(e.compare("slt", e.integer(lane), site.count)):
                stored = k.finish(column, "w")
                goal = a["y"] + (site.number + lane) * a["w_site"] + first * k.size("w")
                put(k, stored, goal, None, a["all_weights"] - first)


def _turn_biases(k: _Kernel, site: _Sites) -> None:
    """bt[feature][lane] from the biases of each site."""
    e, a, size = k.e, k.a, k.total.bytes
    with e.loop(0, a["all_features"]) as o:
        goal = k.above + o * k.vector.bytes
        k.store(e.zero(k.vector), goal)
        with e.loop(0, site.count) as lane:
            e.store(e.load(k.total, a["bias"] + ((site.number + lane) * a["all_features"] + o) * size), goal + lane * size)


# Vectors of the input, of its gradient, of the output's ---------------------------------------------------------------------


def _windows(k: _Kernel, image: Value, positions: list[Value], count: Value) -> None:
    """xt[channel, tap][lane] for `count` neighbouring windows from a position on, zeros in the other lanes."""
    e, a, size = k.e, k.a, k.total.bytes
    last, null = k.axes - 1, Value(e, PTR, "null")
    places = k.places(positions)

    def walk(axis: int, tap: Int, source: Value, outside: Value) -> None:
        if axis < last:
            with e.loop(0, a[f"taps{axis}"]) as j:
                at, constant = places[axis] + j * a[f"step{axis}"], a["constants"] + axis * size
                inner = outer_step(e, a, f"map{axis}", f"xs{axis}", at, constant, source, outside)
                walk(axis + 1, tap * a[f"taps{axis}"] + j, *inner)
            return
        here = e.compare("eq", outside, null)
        goal = k.windows + tap * a[f"taps{last}"] * a["tap_step"]
        inside = e.arith("and", here, _near(k, positions[last], a["reach"] + count - 1))
        with e.when(inside):
            first = source + (places[last] - a["low_w"]) * k.size("x")
            with _each_channel(k, goal) as (channel, at), e.loop(0, a[f"taps{last}"]) as j:
                value = read(e, first + channel * a["xs_c"] + j * a[f"step{last}"] * k.size("x"), k.x, k.vector, count)
                k.store(value, at + j * a["tap_step"])
        with e.otherwise(inside), e.loop(0, a[f"taps{last}"]) as j:
            one_tap(source, outside, here, places[last] + j * a[f"step{last}"], goal + j * a["tap_step"])

    def one_tap(source: Value, outside: Value, here: Value, place: Value, goal: Value) -> None:
        near = e.arith("and", here, _near(k, place, count))
        with e.when(near):
            first = source + (place - a["low_w"]) * k.size("x")
            with _each_channel(k, goal) as (channel, at):
                k.store(read(e, first + channel * a["xs_c"], k.x, k.vector, count), at)
        with e.otherwise(near), _each_channel(k, goal) as (channel, at):
            k.store(e.zero(k.vector), at)
            with e.loop(0, count) as lane:
                where = e.load(I64, a[f"map{last}"] + (place + lane * a[f"stride{last}"]) * 8, 8)
                known = e.compare("sge", where, e.integer(0))
                one = e.var(k.total, e.load(k.total, a["constants"] + last * size))
                with e.when(known):
                    with e.when(here):
                        one.set(read(e, source + channel * a["xs_c"] + where * k.size("x"), k.x, k.total))
                    with e.otherwise(here):
                        one.set(e.load(k.total, outside))
                e.store(one.get(), at + lane * size)

    walk(0, e.integer(0), image, null)


def _near(k: _Kernel, place: Value, count: Value) -> Value:
    """Whether `count` neighbours from a place of the last axis on are neighbours in the array."""
    e, a = k.e, k.a
    if not k.code.neighbours:
        return e.compare("ne", e.integer(0), e.integer(0))
    return e.arith("and", e.compare("sge", place, a["low_w"]), e.compare("sle", place + count, a["low_w"] + a["size_w"]))


@contextmanager
def _each_channel(k: _Kernel, goal: Value) -> Iterator[tuple[Value, Value]]:
    """All channels by number, and where their vector of one tap lies."""
    e, a = k.e, k.a
    with e.loop(0, a["blocks_c"]) as block, e.loop(0, a["block_c"]) as c:
        yield block * a["block_c"] + c, goal + block * a["depth"] * k.vector.bytes + c * a["channel_step"]


def _above(k: _Kernel, source: Value, count: Value) -> None:
    """dyt[feature][lane] of `count` neighbouring positions, zeros in the other lanes."""
    with k.e.loop(0, k.a["all_features"]) as o:
        k.store(read(k.e, source + o * k.a["ys_c"], k.y, k.vector, count), k.above + o * k.vector.bytes)


def _add_windows(k: _Kernel, part: Part, image: Value, positions: list[Value], count: Value) -> None:
    """Add dxt[channel, tap][lane] to the elements of the part that the windows were gathered from."""
    e, a, size = k.e, k.a, k.total.bytes
    last = k.axes - 1
    places = k.places(positions)

    def walk(axis: int, tap: Int, goal: Value) -> None:
        if axis < last:
            with e.loop(0, a[f"taps{axis}"]) as j:
                where = e.load(I64, a[f"map{axis}"] + (places[axis] + j * a[f"step{axis}"]) * 8, 8)
                known = e.compare("sge", where, e.integer(0)) if axis else within(k, where, part)
                with e.when(known):
                    walk(axis + 1, tap * a[f"taps{axis}"] + j, goal + (where - (0 if axis else part.low)) * a[f"xs{axis}"])
            return
        with e.loop(0, a[f"taps{last}"]) as j:
            place, source = places[last] + j * a[f"step{last}"], k.windows + (tap * a[f"taps{last}"] + j) * a["tap_step"]
            near = _near(k, place, count)
            with e.when(near), _each_channel(k, source) as (channel, at):
                to = goal + (place - a["low_w"]) * size + channel * a["xs_c"]
                put(k, plus(e, k.load(to), k.load(at)), to, None, count)
            with e.otherwise(near), _each_channel(k, source) as (channel, at), e.loop(0, count) as lane:
                where = e.load(I64, a[f"map{last}"] + (place + lane * a[f"stride{last}"]) * 8, 8)
                with e.when(e.compare("sge", where, e.integer(0))):
                    to = goal + where * size + channel * a["xs_c"]
                    e.store(plus(e, e.load(k.total, to), e.load(k.total, at + lane * size)), to)

    walk(0, e.integer(0), image)


# Products -------------------------------------------------------------------------------------------------------------------


def _clamped(k: _Kernel, first: Value, count: Value) -> list[Value]:
    """As many numbers as a tile takes; past the end the last one again."""
    return [k.e.least(first + i, count - 1) for i in range(k.code.across)]


def _forward(k: _Kernel, goal: Value, count: Value) -> None:
    """y[o] = bias[o] + Σ_r xt[r]·wt[o, r], stored where `count` neighbouring outputs lie."""
    e, a, width = k.e, k.a, k.vector.bytes
    with e.loop(0, a["groups"]) as group, e.loop(0, a["features"], k.code.across) as first:
        features = _clamped(k, first, a["features"])
        numbers = [group * a["features"] + o for o in features]
        weights = [k.turned + group * a["group_step"] + o * a["o_step"] for o in features]
        acc = [e.var(k.vector, k.load(k.above + number * width) if k.code.bias else e.zero(k.vector)) for number in numbers]
        window = k.windows + group * a["depth"] * width
        with e.loop(0, a["depth"]) as r:
            seen = k.load(window + r * width)
            for one, weight in zip(acc, weights, strict=True):
                one.set(multiply_add(e, seen, k.load(weight + r * a["r_step"]), one.get()))
        for one, number in zip(acc, numbers, strict=True):
            put(k, k.finish(one.get(), "y", k.code.activation), goal + number * a["ys_c"], None, count)


def _grad_windows(k: _Kernel) -> None:
    """dxt[r] = Σ_o dyt[o]·wt[o, r]."""
    e, a, width = k.e, k.a, k.vector.bytes
    with e.loop(0, a["groups"]) as group, e.loop(0, a["depth"], k.code.across) as first:
        elements = _clamped(k, first, a["depth"])
        weights = [k.turned + group * a["group_step"] + r * a["r_step"] for r in elements]
        acc = [e.var(k.vector, e.zero(k.vector)) for _ in elements]
        above = k.above + group * a["features"] * width
        with e.loop(0, a["features"]) as o:
            gradient = k.load(above + o * width)
            for one, weight in zip(acc, weights, strict=True):
                one.set(multiply_add(e, gradient, k.load(weight + o * a["o_step"]), one.get()))
        for one, r in zip(acc, elements, strict=True):
            k.store(one.get(), k.windows + (group * a["depth"] + r) * width)


def _grad_weight(k: _Kernel) -> None:
    """dwt[o, r] += dyt[o]·xt[r]."""
    e, a, width = k.e, k.a, k.vector.bytes
    with e.loop(0, a["groups"]) as group, e.loop(0, a["features"]) as o:
        gradient = k.load(k.above + (group * a["features"] + o) * width)
        window, weights = k.windows + group * a["depth"] * width, k.turned + group * a["group_step"] + o * a["o_step"]
        with e.loop(0, a["depth"]) as r:
            at = weights + r * a["r_step"]
            k.store(multiply_add(e, gradient, k.load(window + r * width), k.load(at)), at)
