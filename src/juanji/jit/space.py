"""The space tile: lanes along the innermost spatial axis, for pictures, signals and few channels.

For one band of output rows and one block of columns, `rows` output rows at a time:

    lines      every input row that these output rows need, for every channel and outer tap, either where it lies in
               the input or in a line buffer (panels.py; turned_lines.py of channels-last pixels), behind a table of pointers;
               what one tile has filled is there for the one below. Zeros beside short rows are lanes that are not loaded; of
               long rows only the ends go through line buffers, as blocks of their own
    tile       acc[row, feature, vector] over `rows` × `features` × `vectors`; a loaded vector of the input serves every
               (output row, kernel row) pair that meets it, and every feature; weights are broadcast from memory

The sum of each output runs over channel block, outer taps, kernel row, kernel column, channel, in this order, in one chain of
fused multiply-adds that starts from the bias: neither the tile's shape nor its blocks of rows and columns show in the bits, and
the channel tile gives the same ones.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from juanji.exact import Narrowing
from juanji.jit.arguments import HEAD, Arguments, each_item, kernel
from juanji.jit.elements import SCALARS, finish_each, finish_line, multiply_add
from juanji.jit.emit import I1, I64, PTR, Emitter, Int, Type, Value, Var
from juanji.jit.lanes import interleaved
from juanji.jit.panels import LINE_ARGUMENTS, Line, line_filler, outer_step
from juanji.jit.target import Target
from juanji.jit.turned_lines import TURNED_ARGUMENTS, turned_filler

MOST_UNROLLED = 320  # multiply-adds in one straight piece of code: more cost compile time and run no faster
FIRST = 1  # the cache that rows are asked into
MOST_CHANNELS = 4  # channels of a block that are written one after the other


@dataclass(frozen=True)
class SpaceCode:
    """Everything that the code depends on; sizes, strides, paddings, boundaries and channel counts are arguments."""

    x: str
    total: str
    y: str
    outer: int  # spatial axes before the last two
    kernel: tuple[int, int]  # rows, columns
    stride: tuple[int, int]
    dilation: tuple[int, int]
    unit_x: bool
    unit_y: bool
    turned: bool  # the lines of all channels are made at once, out of channels-last pixels
    few: int  # how many channels these have if they are taken apart as they lie, else 0
    masks: tuple[int, int] | None  # how many of the first and of the last tap columns meet zeros outside rows that are read where they lie
    ahead: bool  # while a tile computes, the rows that the one below it reads are asked for: those of tall pictures come from afar
    moved: bool  # every other tap of a single row meets vectors that are made in registers out of neighbours, not loaded
    pixelwise: bool  # a tile has all features of channels-last pixels, which are stored as they lie
    bias: bool
    activation: str | None
    narrowing: Narrowing
    block: int  # channels of a block
    taps: tuple[tuple[int, int], ...] | None  # the taps that are kept, None for all
    rows: int
    features: int
    vectors: int
    features_inside: bool  # all features for one block of columns before the next: where their weights stay in the first cache

    @property
    def window(self) -> int:
        """Input rows that one tile's output rows reach over."""
        return (self.rows - 1) * self.stride[0] + (self.kernel[0] - 1) * self.dilation[0] + 1

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order."""
        outer = tuple(f"{name}{axis}" for axis in range(self.outer) for name in ("out", "taps", "stride", "dilation", "map", "xs", "ys"))
        return (
            *HEAD, *LINE_ARGUMENTS, *TURNED_ARGUMENTS, *outer,
            "groups", "channels", "blocks_f", "count_f", "xs_n", "xs_c", "ys_n", "ys_c", "ys_h", "ys_w",
            "bands", "band", "out_h", "map_h", "xs_h", "blocks_w", "block_w", "lead", "tail", "out_w", "depth", "blocks", "outer", "stream",
        )  # fmt: skip


def emit_space(code: SpaceCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    with kernel(e, target, code.names) as a, each_item(e, a) as item:
        _item(e, code, a, item)
    line = Line(code.x, SCALARS[code.total], code.stride[1], code.unit_x, code.outer + 2)
    if code.turned:
        turned_filler(e, line, code.names, code.few)
    else:
        line_filler(e, line, code.names)
    return e.text()


def _item(e: Emitter, code: SpaceCode, a: Arguments, item: Value) -> None:
    """One item of work: image, group, outer output position, band of rows, block of columns."""
    rest, block = e.divide(item, a["blocks_w"])
    rest, band = e.divide(rest, a["bands"])
    outer: list[Value] = []
    for axis in reversed(range(code.outer)):
        rest, place = e.divide(rest, a[f"out{axis}"])
        outer.insert(0, place)
    image, group = e.divide(rest, a["groups"])

    total = Type(SCALARS[code.total])
    vector = e.vector(total.scalar)
    width = vector.lanes * code.vectors
    kh, kw = code.kernel
    first = _first(e, a, block)
    columns = e.select(e.compare("eq", block + 1, a["blocks_w"]), a["out_w"], _first(e, a, block + 1)) - first
    v_first = first * code.stride[1]
    count = (columns - 1) * code.stride[1] + ((kw - 1) * code.dilation[1] + 1)
    xs = a["x"] + image * a["xs_n"] + group * a["channels"] * a["xs_c"]
    ys = a["y"] + image * a["ys_n"] + group * a["count_f"] * a["ys_c"] + first * a["ys_w"]
    for axis, place in enumerate(outer):
        ys = ys + place * a[f"ys{axis}"]
    weights = a["w"] + group * a["blocks_f"] * a["depth"] * (kh * kw * code.features * total.bytes)
    bias = a["bias"] + group * a["count_f"] * total.bytes

    # A row that needs no padding, conversion or phases is used where it lies, unless a tile would reach past its end.
    plain = code.unit_x and code.stride[1] == 1 and code.x == code.total
    inside = e.compare("sge", v_first, a["low_w"])
    inside = e.arith("and", inside, e.compare("sle", v_first + count, a["low_w"] + a["size_w"]))
    inside = e.arith("and", inside, e.compare("eq", a["slack"], e.integer(0)))
    if code.masks is not None:
        inside = e.const(I1, 1)

    h_from = band * a["band"]
    h_to = e.least(h_from + a["band"], a["out_h"])
    filled = e.var(I64, e.integer(0))
    with e.loop(h_from, h_to, code.rows) as h_next:
        h = e.least(h_next, a["out_h"] - code.rows)
        if code.turned:
            _turned_lines(e, code, a, outer, xs, h, (v_first, count), filled.get())
        else:
            _lines(e, code, a, outer, xs, h, (v_first, count), filled.get(), inside if plain else None)
        filled.set(h * code.stride[0] + code.window)
        f_range, c_range = (e.integer(0), a["blocks_f"], 1), (e.integer(0), columns, width)
        first_range, second_range = (c_range, f_range) if code.features_inside else (f_range, c_range)
        with e.loop(*first_range) as i, e.loop(*second_range) as j:
            block_f, c_next = (j, i) if code.features_inside else (i, j)
            f = e.least(block_f * code.features, a["count_f"] - code.features)
            w = weights + block_f * a["depth"] * (kh * kw * code.features * total.bytes)
            goal = ys + h * a["ys_h"] + f * a["ys_c"]
            c = e.most(e.least(c_next, columns - width), 0)
            sums = _start(e, code, bias + f * total.bytes, vector)
            if code.masks is not None:
                begin = v_first + c - a["low_w"]
                end = begin + (width + (kw - 1) * code.dilation[1])
                whole = e.arith("and", e.compare("sge", begin, e.integer(0)), e.compare("sle", end, a["size_w"]))
                with e.when(whole):
                    _reduce(e, code, a, w, c, sums, None)
                with e.otherwise(whole):
                    _reduce(e, code, a, w, c, sums, begin)
            else:
                _reduce(e, code, a, w, c, sums, None)
            _finish(e, code, a, goal + c * a["ys_w"], columns - c, sums)


def _first(e: Emitter, a: Arguments, block: Value) -> Value:
    """The first column of a block: the first block is `lead` shorter than others, the last one begins `tail` before the end."""
    return e.least(e.most(block * a["block_w"] - a["lead"], 0), a["out_w"] - a["tail"])


def _lines(
    e: Emitter,
    code: SpaceCode,
    a: Arguments,
    outer: list[Value],
    xs: Value,
    h: Value,
    span: tuple[Value, Value],
    filled: Value,
    inside: Value | None,
) -> None:
    """Point the table at every input row of the tile, filling line buffers where rows cannot be used as they are. filled: from which
    padded row on that has not been done by the tile above; inside: whether the columns can be used, None if none can."""
    null, lines = Value(e, PTR, "null"), a["scratch"] + a["depth"] * (code.window * 8)
    shift = (span[0] - a["low_w"]) * a["xs_w"]
    with e.loop(0, a["channels"]) as channel:

        def line(outer_tap: Value, j: Value, row: Value, constant: Value) -> None:
            at = h * code.stride[0] + j
            buffer = lines + _slot(code, a, channel, outer_tap, at % code.window) * a["line"]
            entry = a["scratch"] + _slot(code, a, channel, outer_tap, j) * 8
            fill = e.compare("eq", e.integer(0), e.integer(0))
            if inside is not None:
                direct = e.arith("and", inside, e.compare("eq", constant, null))
                e.store(row + shift, entry, 8)
                fill = e.emit(direct.type, f"xor {direct}, true")
            with e.when(fill):
                e.store(buffer, entry, 8)
                with e.when(e.compare("sge", at, filled)):
                    e.call("fill_line", a.row, buffer, row, constant, *span)

        def rows(outer_tap: Value, source: Value, outside: Value) -> None:
            if inside is None:
                _each_row(e, code, a, h, source, outside, partial(line, outer_tap))
                return
            # The map's steps are at most 1, so rows lie one behind the other if the last one does.
            first, last = (e.load(I64, a["map_h"] + (h * code.stride[0] + j) * 8, 8) for j in (0, code.window - 1))
            whole = e.arith("and", inside, e.compare("eq", outside, null))
            whole = e.arith("and", whole, e.compare("sge", first, e.integer(0)))
            whole = e.arith("and", whole, e.compare("eq", last - first, e.integer(code.window - 1)))
            with e.when(whole):
                place, entry = source + first * a["xs_h"] + shift, a["scratch"] + _slot(code, a, channel, outer_tap, e.integer(0)) * 8
                with e.loop(0, code.window) as j:
                    e.store(place + j * a["xs_h"], entry + j * 8, 8)
            with e.otherwise(whole):
                _each_row(e, code, a, h, source, outside, partial(line, outer_tap))

        _outer_taps(e, code, a, outer, xs + channel * a["xs_c"], rows)


def _turned_lines(
    e: Emitter, code: SpaceCode, a: Arguments, outer: list[Value], xs: Value, h: Value, span: tuple[Value, Value], filled: Value
) -> None:
    """The same where each row of the input has the lines of all channels."""
    lines = a["scratch"] + a["depth"] * (code.window * 8)

    def line(outer_tap: Value, j: Value, row: Value, constant: Value) -> None:
        at = h * code.stride[0] + j
        buffer = lines + (outer_tap * code.window + at % code.window) * a["line"]
        with e.when(e.compare("sge", at, filled)):
            e.call("fill_line", a.row, buffer, row, constant, *span)
        with e.loop(0, a["channels"]) as channel:
            e.store(buffer + channel * a["line_c"], a["scratch"] + _slot(code, a, channel, outer_tap, j) * 8, 8)

    def rows(outer_tap: Value, source: Value, outside: Value) -> None:
        _each_row(e, code, a, h, source, outside, partial(line, outer_tap))

    _outer_taps(e, code, a, outer, xs, rows)


def _slot(code: SpaceCode, a: Arguments, channel: Value, outer_tap: Value, j: Value) -> Value:
    """The place of a line in the table."""
    return ((channel // code.block * a["outer"] + outer_tap) * code.block + channel % code.block) * code.window + j


def _outer_taps(
    e: Emitter, code: SpaceCode, a: Arguments, outer: list[Value], xs: Value, use: Callable[[Value, Value, Value], None]
) -> None:
    """Call `use` for every tap of the outer axes, with its number, where the input continues, and the constant that all of its rows
    consist of, or null; later axes decide which constant stands outside."""
    number = e.var(I64, e.integer(0))

    def walk(axis: int, source: Value, outside: Value) -> None:
        if axis == code.outer:
            use(number.get(), source, outside)
            number.set(number.get() + 1)
            return
        with e.loop(0, a[f"taps{axis}"]) as tap:
            at = outer[axis] * a[f"stride{axis}"] + tap * a[f"dilation{axis}"]
            walk(axis + 1, *outer_step(e, a, f"map{axis}", f"xs{axis}", at, _constant(code, a, axis), source, outside))

    walk(0, xs, Value(e, PTR, "null"))


def _each_row(
    e: Emitter, code: SpaceCode, a: Arguments, h: Value, source: Value, outside: Value, use: Callable[[Value, Value, Value], None]
) -> None:
    """Call `use` for every row under the tile, with its number, where it lies and the constant that it consists of, or null."""
    with e.loop(0, code.window) as j:
        use(j, *outer_step(e, a, "map_h", "xs_h", h * code.stride[0] + j, _constant(code, a, code.outer), source, outside))


def _constant(code: SpaceCode, a: Arguments, axis: int) -> Value:
    """Where the number lies that stands outside an axis."""
    return a["constants"] + axis * Type(SCALARS[code.total]).bytes


Sums = dict[tuple[int, int, int], Var]
Pairs = list[tuple[int, Int]]  # output row of the tile, kernel row


def _start(e: Emitter, code: SpaceCode, bias: Value, vector: Type) -> Sums:
    sums = {}
    for f in range(code.features):
        initial = e.zero(vector)
        if code.bias:
            initial = e.splat(e.load(Type(vector.scalar), bias + f * Type(vector.scalar).bytes), vector.lanes)
        for r in range(code.rows):
            for v in range(code.vectors):
                sums[r, f, v] = e.var(vector, initial)
    return sums


def _reduce(e: Emitter, code: SpaceCode, a: Arguments, weights: Value, c: Value, sums: Sums, begin: Value | None) -> None:
    """acc[row, feature, vector] += Σ x[line, column + kw·dilation] · w[kh, kw, channel, feature], line by line of the window."""
    total = Type(SCALARS[code.total])
    vector = e.vector(total.scalar)
    kh_all, kw_all = code.kernel
    per_channel = code.features * total.bytes
    per_tap = code.block * per_channel
    left = c * total.bytes
    few = code.block <= MOST_CHANNELS
    before, behind = (0, 0) if begin is None or code.masks is None else code.masks  # tap columns

    def kept(kh: int, kw: int) -> bool:
        return code.taps is None or (kh, kw) in code.taps

    def load(place: Value, column: Int, v: int, masked: tuple[bool, bool]) -> Value:
        """A vector of a line: where it may begin before the row or end behind it, the lanes inside, and zeros."""
        left, right = masked[0] and v == 0, masked[1] and v == code.vectors - 1
        if begin is None or not (left or right):
            return e.load(vector, place, total.bytes)
        at = begin + column * code.dilation[1] + v * vector.lanes
        masks = [e.lanes_before(vector.lanes, a["size_w"] - at)] if right else []
        if left:
            masks.append(e.lanes_from(vector.lanes, 0 - at))
        return e.load_where(vector, place, masks[0] if len(masks) == 1 else e.arith("and", *masks))

    def meet(line: Value, column: Int, pairs: list[tuple[int, Value]], masked: tuple[bool, bool]) -> None:
        """One tap column of one channel's line; pairs: the output rows that want it, with their weights; masked: whether it may reach
        outside on either side."""
        if code.stride[1] == 1:
            start = line + column * (code.dilation[1] * total.bytes)
        else:
            at = column * code.dilation[1]
            start = line + (at % code.stride[1]) * a["phase"] + (at // code.stride[1]) * total.bytes
        xs = [load(start + v * vector.bytes, column, v, masked) for v in range(code.vectors)]
        for r, w in pairs:
            for f in range(code.features):
                one = e.splat(e.load(total, w + f * total.bytes), vector.lanes)
                for v in range(code.vectors):
                    acc = sums[r, f, v]
                    acc.set(multiply_add(e, xs[v], one, acc.get()))

    def columns(table: Value, w: Value, pairs: Pairs) -> None:
        """All tap columns of one line of the window; pairs: output rows and the kernel rows that they see this line through."""

        def line(channel: Int) -> Value:
            return e.load(PTR, table + channel * (code.window * 8), 8) + left

        lines = [line(channel) for channel in range(code.block)] if few else []

        def channels(column: Int, meeting: list[tuple[int, Value]], masked: tuple[bool, bool]) -> None:
            for channel, one in enumerate(lines):
                meet(one, column, [(r, w + channel * per_channel) for r, w in meeting], masked)
            if not few:
                with e.loop(0, code.block) as each:
                    meet(line(each), column, [(r, w + each * per_channel) for r, w in meeting], masked)

        if unrolled or len(pairs) * code.features * code.vectors * kw_all * len(lines) <= MOST_UNROLLED // 8:
            for kw in range(kw_all):
                meeting = [(r, w + (kh * kw_all + kw) * per_tap) for r, kh in pairs if not isinstance(kh, int) or kept(kh, kw)]
                if meeting:
                    channels(kw, meeting, (kw < before, kw >= kw_all - behind))
        else:
            for low, high in itertools.pairwise(sorted({0, before, kw_all})):
                with e.loop(low, high) as column:
                    channels(column, [(r, w + (kh * kw_all + column) * per_tap) for r, kh in pairs], (low < before, high > kw_all - behind))

    def ask(entry: Value) -> None:
        """For what the tile below reads of the row that is as far down in its window as this one here."""
        row = e.load(PTR, entry, 8) + left + a["xs_h"] * (code.rows * code.stride[0])
        for v in range(code.vectors):
            e.prefetch(row + v * vector.bytes, FIRST)

    def moved(line: Value, w: Value) -> None:
        """All tap columns of the only line, as many at a time as a vector has lanes."""
        whole = kw_all - kw_all % vector.lanes
        if unrolled:
            for first in range(0, whole, vector.lanes):
                _moved(e, code, line, w, first, vector.lanes, sums)
        else:
            with e.loop(0, whole, vector.lanes) as at:
                _moved(e, code, line, w, at, vector.lanes, sums)
        if whole < kw_all:
            _moved(e, code, line, w, whole, kw_all - whole, sums)

    taps = kh_all * kw_all if code.taps is None else len(code.taps)
    straight = code.rows * code.features * code.vectors * taps * (code.block if few else 1)
    unrolled = straight <= MOST_UNROLLED or code.taps is not None
    s, d = code.stride[0], code.dilation[0]
    with e.loop(0, a["blocks"]) as block:
        table = a["scratch"] + block * (code.block * code.window * 8)
        w = weights + block * (kh_all * kw_all * per_tap)
        if code.moved:
            moved(e.load(PTR, table, 8) + left, w)
            return
        if code.rows == 1 and not unrolled:
            with e.loop(0, kh_all) as kh:
                columns(table + kh * (d * 8), w, [(0, kh)])
            return
        steady = range(code.rows - 1, kh_all) if s == d == 1 and not unrolled and kh_all > code.rows else range(0)
        for j in range(code.window):
            if code.ahead and j >= code.window - code.rows * s:
                ask(table + j * 8)
            if j in steady:
                if j == steady.start:
                    with e.loop(steady.start, steady.stop) as middle:
                        columns(table + middle * 8, w, [(r, middle - r) for r in range(code.rows)])
                continue
            pairs = [(r, (j - r * s) // d) for r in range(code.rows) if (j - r * s) % d == 0 and 0 <= (j - r * s) // d < kh_all]
            used: Pairs = [(r, kh) for r, kh in pairs if any(kept(kh, kw) for kw in range(kw_all))]
            if used:  # a weight meets several lines; kept in a register for the next one it would drive a sum out of its own
                columns(table + j * 8, e.unknown(w), used)


def _moved(e: Emitter, code: SpaceCode, line: Value, w: Value, first: Int, count: int, sums: Sums) -> None:
    """`count` taps from the first on, of one row and one feature.

    Nearly every load crosses a cache line, which takes the two that a cycle has room for. So half of the taps meet vectors that are moved
    together out of those of the first of them, on a unit beside; all but the last, whose neighbour may lie past the end of the line.
    """
    total = Type(SCALARS[code.total])
    vector, last = e.vector(total.scalar), code.vectors - 1
    start = e.unknown(line + first * total.bytes)  # else what other taps have loaded would be kept for these, in memory
    weights = w + first * total.bytes
    held = [e.load(vector.of(f"i{vector.bits}"), start + v * vector.bytes, total.bytes) for v in range(code.vectors)]
    for tap in range(count):
        xs = [e.convert("bitcast", words, vector.scalar) for words in held]
        if tap % 2:
            xs[:last] = [e.convert("bitcast", words, vector.scalar) for words in e.moved(held, tap)]
        for v in range(last if tap % 2 else 0, code.vectors):
            if tap:
                xs[v] = e.load(vector, start + (v * vector.bytes + tap * total.bytes), total.bytes)
        one = e.splat(e.load(total, weights + tap * total.bytes), vector.lanes)
        for v, x in enumerate(xs):
            acc = sums[0, 0, v]
            acc.set(multiply_add(e, x, one, acc.get()))


def _finish(e: Emitter, code: SpaceCode, a: Arguments, goal: Value, left: Value, sums: Sums) -> None:
    """Store the finished sums; where fewer columns than lanes are left, the first ones only.

    A large output is stored past the caches, which would else read every line before it is overwritten.
    """
    total = Type(SCALARS[code.total])
    out = Type(SCALARS[code.y])
    parameter = e.load(total, a["constants"] + (code.outer + 2) * total.bytes)
    finished: dict[tuple[int, int, int], Value] = {}
    line_of = finish_each if code.pixelwise else finish_line
    for r, f in itertools.product(range(code.rows), range(code.features)):
        line = line_of(e, [sums[r, f, v].get() for v in range(code.vectors)], code.y, code.activation, parameter, code.narrowing)
        finished |= {(r, f, v): value for v, value in enumerate(line)}
    lanes = finished[0, 0, 0].type.lanes

    def place(r: int, f: int, v: int) -> Value:
        return goal + r * a["ys_h"] + f * a["ys_c"] + (v * lanes) * a["ys_w"]

    if code.pixelwise:
        _store_pixels(e, code, a, goal, left, finished)
        return
    if not code.unit_y:
        buffer = e.stack(Type(out.scalar, lanes))
        for (r, f, v), value in finished.items():
            e.store(value, buffer)
            with e.loop(0, e.least(left - v * lanes, lanes)) as lane:
                e.store(e.load(out, buffer + lane * out.bytes), place(r, f, v) + lane * a["ys_w"])
        return
    width = e.vector(total.scalar).lanes * code.vectors
    whole = e.compare("sge", left, e.integer(width))
    with e.when(whole):
        past = e.streamable(width * out.bytes, a["stream"], goal, a["ys_h"], a["ys_c"])
        for condition, put in ((e.when(past), e.stream), (e.otherwise(past), e.store)):
            with condition:
                for (r, f, v), value in finished.items():
                    put(value, place(r, f, v))
    with e.otherwise(whole):
        for (r, f, v), value in finished.items():
            e.store_first(value, place(r, f, v), e.most(e.least(left - v * lanes, lanes), 0))


def _store_pixels(e: Emitter, code: SpaceCode, a: Arguments, goal: Value, left: Value, finished: dict[tuple[int, int, int], Value]) -> None:
    """Store finished sums of all features of `left` neighbouring pixels, or of as many as the tile has, pixel by pixel."""
    lanes, scalar = finished[0, 0, 0].type.lanes, Type(finished[0, 0, 0].type.scalar)
    elements, most = left * code.features, lanes * code.features * code.vectors
    placed = []
    for r, v in itertools.product(range(code.rows), range(code.vectors)):
        for i, pixels in enumerate(interleaved(e, [finished[r, f, v] for f in range(code.features)])):
            first = (v * code.features + i) * lanes
            placed.append((pixels, goal + r * a["ys_h"] + first * scalar.bytes, first))
    whole = e.compare("sge", elements, e.integer(most))
    with e.when(whole):
        past = e.streamable(most * scalar.bytes, a["stream"], goal, a["ys_h"])
        for condition, put in ((e.when(past), e.stream), (e.otherwise(past), e.store)):
            with condition:
                for pixels, place, _ in placed:
                    put(pixels, place)
    with e.otherwise(whole):
        for pixels, place, first in placed:
            e.store_first(pixels, place, e.most(e.least(elements - first, lanes), 0))
