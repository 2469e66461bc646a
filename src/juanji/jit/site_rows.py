"""What the site tile is made of: vectors of neighbouring sites with their weights turned, and the rows of positions that meet them."""

from __future__ import annotations

from dataclasses import dataclass

from juanji.exact import Narrowing
from juanji.jit.arguments import HEAD
from juanji.jit.elements import plus, read, transpose
from juanji.jit.emit import I64, PTR, Int, Value
from juanji.jit.rows import HELD_ARGUMENTS, SITE_ARGUMENTS, Kernel, Rows, axis_arguments, put


@dataclass(frozen=True)
class SiteCode:
    """Everything that the code depends on. There are at least two axes."""

    produces: str
    x: str
    w: str
    total: str
    y: str
    axes: int
    apart: int  # elements from one site's window to the next
    in_place: bool  # whether windows that are inside the array are read where they lie
    bias: bool
    activation: str | None
    narrowing: Narrowing
    rows: int  # of a tile; of the gradient of the weights elements of a window
    across: int  # features of a tile; of the gradient of the input elements of a window

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order."""
        own = HELD_ARGUMENTS if self.produces == "x" else ("block",)
        lines = ("offsets", "square", "map_elements", "line", "phase", "channel_pitch")
        inner = ("blocks_c", "block_c") if self.produces == "x" else lines
        return (
            *HEAD, *SITE_ARGUMENTS, *axis_arguments(self.axes), *own, "vectors", "all_weights", "all_features", "depth", "reach",
            "turned", "windows", "windows_pitch", "above", "above_pitch", "notes", "chunk", "period", "stretch",
            "tap_step", "channel_step", "o_step", "r_step", "group_step", *inner,
            *(f"{name}{axis}" for axis in range(self.axes) for name in ("first", "final")),
        )  # fmt: skip

    @property
    def note(self) -> int:
        """Bytes of what is noted of a row: where its input and its output lie, how many lanes it has, its image, its position."""
        return 8 * (4 + self.axes)


@dataclass(frozen=True)
class SiteKernel(Kernel):
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


# Turning weights ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sites:
    """A vector of neighbouring sites: the first one's place along the last axis, the number of the row's first, how many there are."""

    first: Value
    row: Value
    count: Value

    @classmethod
    def at(cls, k: SiteKernel, outer: list[Value], vector: Value) -> Sites:
        """The sites of a vector by its number in the row of sites."""
        sites = k.a[f"sites{k.axes - 1}"]
        first = vector * k.vector.lanes
        number = k.e.integer(0)
        for axis, place in enumerate(outer):
            number = number * k.a[f"sites{axis}"] + place
        return cls(first, number * k.a["period"], k.e.least(sites - first, k.vector.lanes))

    def number(self, lane: Int) -> Value:
        """The number of the site of one of the first `period` lanes."""
        return self.row + self.first + lane

    def numbers(self, k: SiteKernel) -> list[Value]:
        """The numbers of all lanes' sites, `period` of which are repeated along the row. Past the last one it is that again."""
        e, found = k.e, [self.first]
        for lane in range(1, k.vector.lanes):
            place = found[-1]
            following = e.select(e.compare("eq", place + 1, k.a["period"]), e.integer(0), place + 1)
            found.append(e.select(e.compare("slt", e.integer(lane), self.count), following, place))
        return [self.row + place for place in found]


def turn_weights(k: SiteKernel, site: Sites) -> None:
    """wt[weight][lane] from the weights of each site; past the last site it is read again."""
    e, a, lanes = k.e, k.a, k.vector.lanes
    sources = [a["w"] + number * a["w_site"] for number in site.numbers(k)]
    with e.loop(0, a["all_weights"], lanes) as first:
        count = e.least(a["all_weights"] - first, lanes)
        rows = [read(e, source + first * k.size("w"), k.w, k.vector, count) for source in sources]
        for i, column in enumerate(transpose(e, rows)):
            k.store(column, k.turned + (first + i) * k.vector.bytes)


def turn_back(k: SiteKernel, site: Sites) -> None:
    """The gradients of each site's weights from dwt[weight][lane], those of a site that is repeated added up."""
    e, a, lanes, width = k.e, k.a, k.vector.lanes, k.vector.bytes
    square = a["scratch"] + a["square"]
    with e.loop(0, a["all_weights"], lanes) as first:
        columns = transpose(e, [k.load(k.turned + (first + i) * width) for i in range(lanes)])
        for number, column in enumerate(columns):
            k.store(column, square + number * width)
        with e.loop(0, e.least(site.count, a["period"])) as lane:
            total = e.var(k.vector, k.load(square + lane * width))
            with e.loop(lane + a["period"], site.count, a["period"]) as again:
                total.set(plus(e, total.get(), k.load(square + again * width)))
            goal = a["y"] + site.number(lane) * a["w_site"] + first * k.size("w")
            put(k, k.finish(total.get(), "w"), goal, None, a["all_weights"] - first)


def turn_biases(k: SiteKernel, site: Sites) -> None:
    """bt[feature][lane] from the biases of each site."""
    e, a, size = k.e, k.a, k.total.bytes
    sources = [a["bias"] + number * a["all_features"] * size for number in site.numbers(k)]
    with e.loop(0, a["all_features"]) as o:
        for lane, source in enumerate(sources):
            e.store(e.load(k.total, source + o * size), k.above + o * k.vector.bytes + lane * size)


# Rows -----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Note:
    """What is noted of a row: its input, its output or what lies above it, the lanes that it has, its image, its position."""

    input: Value
    output: Value
    lanes: Value
    image: Value
    positions: list[Value]

    @classmethod
    def of(cls, k: SiteKernel, row: Value) -> Note:
        """What was noted of a row by its number."""
        at = k.a["scratch"] + k.a["notes"] + row * k.code.note
        input, output = (k.e.load(PTR, at + 8 * i, 8) for i in range(2))
        lanes, image, *positions = (k.e.load(I64, at + 8 * i, 8) for i in range(2, 4 + k.axes))
        return cls(input, output, lanes, image, positions)


def note_rows(k: SiteKernel, rows: Rows, site: Sites, count: Value, first_image: Int = 0) -> Value:
    """Note the next `count` rows, and copy what is above them where a gradient is wanted; whether all their windows are inside."""
    e, a, code, last = k.e, k.a, k.code, k.axes - 1
    inside = e.var(I64, e.integer(0))
    with e.loop(0, count) as row:
        positions, image = rows.positions, rows.image
        places = [p * a[f"stride{axis}"] for axis, p in enumerate(positions)]
        lanes = e.least(site.count, a[f"out{last}"] - positions[-1])
        source = a["x"] + image * a["xs_n"]
        near = e.compare("eq", lanes, site.count)
        for axis, place in enumerate(places):
            source = source + (place - a[f"first{axis}"]) * a[f"xs{axis}"]
            for order, end in (("sge", "first"), ("sle", "final")):
                near = e.arith("and", near, e.compare(order, place, a[f"{end}{axis}"]))
        inside.set(inside.get() + e.convert("zext", near, "i64"))
        output = a[code.produces] + (image + first_image) * a["ys_n"] + k.offset("ys", *positions)
        at = a["scratch"] + a["notes"] + row * code.note
        for word, value in enumerate([source, output, lanes, image, *positions]):
            e.store(value, at + 8 * word)
        if code.produces != "y":
            _above(k, output, lanes, k.above + row * a["above_pitch"])
        rows.advance()
    return e.compare("eq", inside.get(), count)


def fill_offsets(k: SiteKernel) -> None:
    """Where each element of a group's windows lies from the first place that it sees on, in the order of the weights."""
    e, a = k.e, k.a

    def walk(axis: int, tap: Int, offset: Value) -> None:
        if axis == k.axes:
            with e.loop(0, a["channels"]) as c:
                place = (tap * a["tap_step"] + c * a["channel_step"]) // (k.vector.bytes // 8)
                e.store(offset + c * a["xs_c"], a["scratch"] + a["offsets"] + place)
            return
        with e.loop(0, a[f"taps{axis}"]) as j:
            along = (a[f"start{axis}"] + j * a[f"step{axis}"]) * a[f"xs{axis}"]
            walk(axis + 1, tap * a[f"taps{axis}"] + j, offset + along)

    walk(0, e.integer(0), e.integer(0))


def _above(k: SiteKernel, source: Value, count: Value, goal: Value) -> None:
    """dyt[feature][lane] of `count` neighbouring positions, zeros in the other lanes."""
    with k.e.loop(0, k.a["all_features"]) as o:
        k.store(read(k.e, source + o * k.a["ys_c"], k.y, k.vector, count), goal + o * k.vector.bytes)
