"""Weights with sites, tiled and locally connected: each site's weights meet the few windows that use them.

The output positions p ≡ t (mod T) of all images are the rows of site t. With r = (channel, tap) in the order in which the
weights lie in memory, win[row][r] the window under a row and dy[row][o] the gradient above it, the three products are

    forward                  y[row][o]    = bias[t][o] + Σ_r  win[row][r] · w[t][o][r]
    gradient of the input    dwin[row][r] = Σ_o  dy[row][o] · w[t][o][r],      added to dx where the windows came from
    gradient of the weights  dw[t][o][r]  = Σ_row  dy[row][o] · win[row][r]

Weights are the bulk of the memory. They are read once, in place, in their own order, as vectors of whatever lies together in
them; every vector serves several rows. Windows and gradients of a handful of rows lie in scratch, in the sum's type: the
boundary, the layout and the element type are dealt with as they are gathered; where channels lie in planes, those of neighbouring
sites together (neighbours.py). Each tile asks memory for the next one's weights: the processor foresees nothing past the end of a
page. Two tiles make all three products:

    inner    lanes along the sum; acc[row][line] over `rows` × `across` lines of weights, whose lanes are added in a fixed
             tree at the end: lane l to lane l + L/2, then l + L/4 ...
    outer    lanes along the result; acc[row][vector] over `rows` × `across` vectors, one chain in rising order of the sum

Adding windows into dx through the boundary's index map is the exact adjoint of gathering them through it. An item of that
work owns the part of dx that it adds to (some images, channels, places along the first axis) as an array in scratch.
So no result depends on the batch or on the threads, but the gradient of the weights on the batch, which it sums over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from juanji.jit.arguments import kernel
from juanji.jit.elements import SCALARS, multiply_add, plus, read
from juanji.jit.emit import I64, LINE, PTR, Emitter, Int, Type, Value, Var
from juanji.jit.neighbours import await_outputs, each_stretch, gather_errors, gather_windows, store_outputs
from juanji.jit.rows import Part, Rows, each_site_touching, own_part, put, touches
from juanji.jit.target import Target
from juanji.jit.windows import WindowCode, WindowKernel, add_window, gather_above, gather_window


def emit_local(code: WindowCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    with kernel(e, target, code.names) as a:
        types = code.x, code.w, code.y, code.total
        k = WindowKernel(e, a, *types, code.axes, code.channels_last, code.narrowing, code)
        with e.loop(k.a["begin"], k.a["end"]) as item:
            {"y": _forward, "x": _grad_input, "w": _grad_weight}[code.produces](k, item)
        if code.produces == "w":
            with e.when(e.compare("ne", k.a["stream"], e.integer(0))):
                e.fence()
    return e.text()


# The two tiles --------------------------------------------------------------------------------------------------------------

Sums = list[list[Value]]  # by row, then across


def _inner(k: WindowKernel, rows: list[Value], lines: list[Value], wanted: list[Value], dtype: str, length: Value) -> Sums:
    """Σ over `length` neighbours of row·line: per row one vector whose lanes are the lines. wanted: lines to ask memory for meanwhile."""
    e, vector, total = k.e, k.vector, k.total
    size = Type(SCALARS[dtype]).bytes
    acc = [[e.var(vector, e.zero(vector)) for _ in lines] for _ in rows]
    whole = length - length % vector.lanes

    def meet(at: Value, count: Value | None) -> None:
        seen = [read(e, row + at * total.bytes, k.code.total, vector, count) for row in rows]
        for line in wanted:
            e.prefetch(line + at * size, 1)
        for j, line in enumerate(lines):
            weights = read(e, line + at * size, dtype, vector, count)
            for i, one in enumerate(seen):
                acc[i][j].set(multiply_add(e, one, weights, acc[i][j].get()))

    with e.loop(0, whole, vector.lanes) as at:
        meet(at, None)
    with e.when(e.compare("slt", whole, length)):
        meet(whole, length - whole)
    return [[lane_sums(e, [one.get() for one in line])] for line in acc]


def lane_sums(e: Emitter, vectors: list[Value]) -> Value:
    """The sums over the lanes of a power of two of vectors, in the lanes of one: halves are added to halves, until one is left."""
    parts = vectors[0].type.lanes
    while parts > 1:
        half = parts // 2
        pairs = list(zip(vectors[::2], vectors[1::2], strict=True)) if len(vectors) > 1 else [(vectors[0],)]
        vectors = []
        for pair in pairs:
            lanes = range(0, len(pair) * pair[0].type.lanes, parts)
            low, high = ([begin + place + lane for begin in lanes for lane in range(half)] for place in (0, half))
            a, b = pair[0], pair[-1]
            vectors.append(plus(e, e.shuffle(a, b, low), e.shuffle(a, b, high)))
        parts = half
    return vectors[0]


@dataclass(frozen=True)
class _Factor:
    """One factor of an outer tile: where it lies, the bytes from one term of the sum to the next, its element type."""

    at: Value
    step: Value
    dtype: str


def _outer(k: WindowKernel, rows: list[Value], step: Int, across: _Factor, terms: Value, left: Value | None, acc: list[list[Var]]) -> None:
    """acc[row][vector] += Σ over `terms` of the element at a row times the vectors across.

    left: how many elements there are across, where no more may be read.
    """
    e, vector, total = k.e, k.vector, k.total
    element = Type(SCALARS[across.dtype]).bytes

    def loop(counts: Sequence[Value] | None) -> None:
        place, shift = e.var(PTR, across.at), e.var(I64, e.integer(0))
        with e.loop(0, terms):
            at, along = place.get(), shift.get()
            loaded = []
            for v in range(k.code.across):
                start = at + v * vector.lanes * element
                if v < k.code.asks and left is not None:
                    e.prefetch(start + k.a["ahead"], 1)
                loaded.append(read(e, start, across.dtype, vector, counts[v] if counts else None))
            for i, row in enumerate(rows):
                one = e.splat(e.load(total, row + along), vector.lanes)
                for v, values in enumerate(loaded):
                    acc[i][v].set(multiply_add(e, one, values, acc[i][v].get()))
            place.set(at + across.step)
            shift.set(along + step)

    if left is None:
        loop(None)
        return
    whole = e.compare("sge", left, e.integer(k.width))
    with e.when(whole):
        loop(None)
    with e.otherwise(whole):
        loop([e.most(e.least(left - v * vector.lanes, vector.lanes), 0) for v in range(k.code.across)])


def _wanted(k: WindowKernel, next_line: Value, row: Value) -> list[Value]:
    """The lines of the next tile that this one asks for at a row: all together ask for each once."""
    first = next_line + (row // k.code.rows) * k.code.asks * k.a["w_step"]
    return [first + j * k.a["w_step"] for j in range(k.code.asks)]


def _clamped(k: WindowKernel, first: Value, count: Value) -> list[Value]:
    """The rows of a tile; past the end the last one is computed again."""
    return [k.e.least(first + i, count - 1) for i in range(k.code.rows)]


# Forward --------------------------------------------------------------------------------------------------------------------


def _forward(k: WindowKernel, item: Value) -> None:
    """One item of work: block of sites, group, chunk of rows."""
    e, code, a, size = k.e, k.code, k.a, k.total.bytes
    rest, chunk = e.divide(item, a["chunks"])
    block, group = e.divide(rest, a["groups"])
    source = a["x"] + group * a["channels"] * a["xs_c"]
    goal = a["y"] + group * a["features"] * a["ys_c"]
    windows, table = a["scratch"] + a["windows"], a["scratch"] + a["table"]
    with each_stretch(k, block * a["block"], e.least((block + 1) * a["block"], a["all_sites"])) as (first_site, t, sites):
        rows = Rows(k, t, a["batch"])
        first = chunk * a["chunk"]
        count = e.least(rows.count - first, a["chunk"])
        rows.start(first)
        with e.loop(0, count) as i:
            positions = rows.positions
            _gather(k, rows, source, sites, windows + i * a["window_pitch"])
            place = goal + rows.image * a["ys_n"] + k.offset("ys", *positions)
            e.store(place, table + i * 8)
            if code.square:
                await_outputs(k, sites, place)
            rows.advance()
        kept = a["scratch"] + a["sums"]
        with e.loop(0, sites) as s:
            site = first_site + s
            weights = a["w"] + site * a["w_site"] + group * a["w_group"]
            bias = a["bias"] + (site * a["biases"] + group * a["features"]) * size
            leave = partial(_keep, k, kept + s * a["sums_site"]) if code.square else partial(_store, k, table)
            _site_forward(k, weights, bias, windows + s * a["site_pitch"], count, leave)
        if code.square:
            with e.loop(0, count) as i:
                store_outputs(k, kept + i * a["sums_pitch"], sites, e.load(PTR, table + i * 8, 8))


def _gather(k: WindowKernel, rows: Rows, source: Value, sites: Value, goal: Value) -> None:
    """Gather the window, or those of neighbouring sites, of the row that a walk is at."""
    image = source + rows.image * k.a["xs_n"]
    if k.code.square:
        gather_windows(k, rows.positions, image, sites, goal)
    else:
        gather_window(k, rows.positions, image, goal)


Leave = Callable[[Value, Value, list[Value]], None]  # a row, the first of some features, vectors of their sums


def _site_forward(k: WindowKernel, weights: Value, bias: Value, windows: Value, count: Value, leave: Leave) -> None:
    """All features of some rows of one site."""
    e, a, code, size = k.e, k.a, k.code, k.total.bytes
    features = a["features"]
    used = e.select(e.compare("sgt", count, e.integer(0)), features, e.integer(0))
    with e.loop(0, used, k.width) as f, e.loop(0, count, code.rows) as i:
        clamped = _clamped(k, i, count)
        seen = [windows + row * a["window_pitch"] for row in clamped]
        left = features - f
        if code.inner:
            lines = [weights + e.least(f + j, features - 1) * a["w_step"] for j in range(code.across)]
            sums = _inner(k, seen, lines, _wanted(k, weights + f * a["w_step"] + a["ahead"], i), code.w, a["depth"])
            if code.bias:
                known = _biases(k, bias + f * size, sums[0][0].type, left)
                sums = [[plus(e, line[0], known)] for line in sums]
        else:
            start = [_zero_or_bias(k, bias + (f + v * k.vector.lanes) * size, left - v * k.vector.lanes) for v in range(code.across)]
            acc = [[e.var(k.vector, value) for value in start] for _ in seen]
            across = _Factor(weights + f * k.size("w"), a["w_step"], code.w)
            _outer(k, seen, e.integer(size), across, a["depth"], left, acc)
            sums = [[one.get() for one in line] for line in acc]
        for row, line in zip(clamped, sums, strict=True):
            leave(row, f, line)


def _store(k: WindowKernel, table: Value, row: Value, first: Value, sums: list[Value]) -> None:
    """Finished, where the output lies."""
    a = k.a
    place = k.e.load(PTR, table + row * 8, 8) + first * a["ys_c"]
    for v, value in enumerate(sums):
        lanes = v * value.type.lanes
        stored = k.finish(value, "y", k.code.activation)
        put(k, stored, place + lanes * a["ys_c"], None if k.code.channels_last else a["ys_c"], a["features"] - first - lanes)


def _keep(k: WindowKernel, sums_at: Value, row: Value, first: Value, sums: list[Value]) -> None:
    """As they are, in scratch, beside those of the neighbouring sites."""
    size = k.total.bytes
    for v, value in enumerate(sums):
        k.e.store(value, sums_at + row * k.a["sums_pitch"] + (first + v * value.type.lanes) * size, size)


def _biases(k: WindowKernel, pointer: Value, type: Type, count: Value) -> Value:
    return k.e.load_first(type, pointer, k.e.most(k.e.least(count, type.lanes), 0))


def _zero_or_bias(k: WindowKernel, pointer: Value, count: Value) -> Value:
    return _biases(k, pointer, k.vector, count) if k.code.bias else k.e.zero(k.vector)


# Gradient of the weights ----------------------------------------------------------------------------------------------------


def _grad_weight(k: WindowKernel, item: Value) -> None:
    """One item of work: block of sites, group, share of the features; chunks of rows one after the other."""
    e, code, a = k.e, k.code, k.a
    rest, share = e.divide(item, a["shares"])
    block, group = e.divide(rest, a["groups"])
    feature = group * a["features"] + share * a["share"]
    features = e.least(a["share"], a["features"] - share * a["share"])
    source = a["x"] + group * a["channels"] * a["xs_c"]
    dy = a["w"] + feature * a["ys_c"]
    windows, above = a["scratch"] + a["windows"], a["scratch"] + a["above"]
    with each_stretch(k, block * a["block"], e.least((block + 1) * a["block"], a["all_sites"])) as (first_site, t, sites):
        rows = Rows(k, t, a["batch"])
        dw = a["y"] + first_site * a["w_site"] + group * a["w_group"]
        dw = dw + share * a["share"] * (a["w_step"] if code.along_window else k.size("w"))
        with e.loop(0, e.most(rows.count, 1), a["chunk"]) as first:  # of no rows the gradient is zero
            count = e.least(rows.count - first, a["chunk"])
            rows.start(first)
            with e.loop(0, count) as i:
                positions = rows.positions
                _gather(k, rows, source, sites, windows + i * a["window_pitch"])
                place = dy + rows.image * a["ys_n"] + k.offset("ys", *positions)
                if code.square:
                    gather_errors(k, place, features, sites, above + i * a["above_pitch"])
                else:
                    gather_above(k, place, code.y, features, above + i * a["above_pitch"])
                rows.advance()
            chunk = _Chunk(count, features, e.compare("eq", first, e.integer(0)), e.compare("sge", first + count, rows.count))
            with e.loop(0, sites) as s:
                window = _Factor(windows + s * a["site_pitch"], a["window_pitch"], code.total)
                gradient = _Factor(above + s * a["above_site"], a["above_pitch"], code.total)
                _site_grad_weight(k, chunk, window, gradient, a["scratch"] + a["sums"] + s * a["sums_site"], dw + s * a["w_site"])


class _Chunk(NamedTuple):
    """Rows that a site sums over at a time, for how many features; whether sums begin with these, and whether they end."""

    rows: Value
    features: Value
    begins: Value
    ends: Value


def _site_grad_weight(k: WindowKernel, chunk: _Chunk, window: _Factor, gradient: _Factor, sums_at: Value, dw: Value) -> None:
    """A chunk of the rows of one site."""
    e, code, a, size = k.e, k.code, k.a, k.total.bytes
    count, features, begins, ends = chunk
    (line, across), (lines, length) = (
        ((gradient, window), (features, a["depth"])) if code.along_window else ((window, gradient), (a["depth"], features))
    )
    loops = ((lines, code.rows), (length, k.width))  # the outer one is over the windows, which may be more than the first cache holds
    with e.loop(0, *loops[code.along_window]) as outer, e.loop(0, *loops[not code.along_window]) as inner:
        i, j = (inner, outer) if code.along_window else (outer, inner)
        clamped = _clamped(k, i, lines)
        acc = [[e.var(k.vector, e.zero(k.vector)) for _ in range(code.across)] for _ in clamped]
        sums = [[sums_at + row * a["sums_pitch"] + (j + v * k.vector.lanes) * size for v in range(code.across)] for row in clamped]
        places = [(one, at) for ones, ats in zip(acc, sums, strict=True) for one, at in zip(ones, ats, strict=True)]
        with e.otherwise(begins):
            for one, at in places:
                one.set(e.load(k.vector, at, size))
        part = _Factor(across.at + j * size, across.step, across.dtype)
        _outer(k, [line.at + row * size for row in clamped], line.step, part, count, None, acc)
        with e.otherwise(ends):
            for one, at in places:
                e.store(one.get(), at, size)
        with e.when(ends):
            stored = [[k.finish(one.get(), "w") for one in ones] for ones in acc]
            _store_weights(k, dw + j * k.size("w"), clamped, length - j, stored)


def _store_weights(k: WindowKernel, goal: Value, rows: list[Value], left: Value, stored: Sums) -> None:
    """Store a tile of finished gradients, past the caches where they are many and fill whole lines of them."""
    e, a, across = k.e, k.a, k.code.across
    lanes, step = stored[0][0].type.lanes, stored[0][0].type.bytes
    places = [goal + row * a["w_step"] for row in rows]
    alone = step % LINE == 0
    past = e.streamable(step if alone else step * across, a["stream"], goal, a["w_step"])
    wholes = [e.arith("and", past, e.compare("sge", left, e.integer(lanes * (v + 1 if alone else across)))) for v in range(across)]
    for place, line in zip(places, stored, strict=True):
        for v, (whole, value) in enumerate(zip(wholes, line, strict=True)):
            with e.when(whole):
                e.stream(value, place + v * step)
            with e.otherwise(whole):
                put(k, value, place + v * step, None, left - v * lanes)


# Gradient of the input ------------------------------------------------------------------------------------------------------


def _grad_input(k: WindowKernel, item: Value) -> None:
    """One item of work: some images, group, block of channels, band of places along the first axis."""
    e, a = k.e, k.a
    rest, band = e.divide(item, a["bands"])
    rest, block = e.divide(rest, a["blocks_c"])
    share, group = e.divide(rest, a["groups"])
    image, channel = share * a["images"], block * a["block_c"]
    with own_part(k, image, group * a["channels"] + channel, e.least(a["block_c"], a["channels"] - channel), band) as part:
        dy = a["x"] + image * a["ys_n"] + group * a["features"] * a["ys_c"]
        weights = a["w"] + group * a["w_group"] + channel * a["w_c"]
        with each_site_touching(k, part, k.grid) as (site, t):
            _site_grad_input(k, Rows(k, t, part.images), dy, weights + site * a["w_site"], part)


def _site_grad_input(k: WindowKernel, rows: Rows, dy: Value, weights: Value, part: Part) -> None:
    """The rows of one site that touch the part, chunk by chunk: gather what is above them, multiply, add their windows."""
    e, a, code, size = k.e, k.a, k.code, k.total.bytes
    above, windows, table = (a["scratch"] + a[name] for name in ("above", "windows", "table"))
    entry = 8 * (1 + code.axes)
    length = part.channels * a["unit"]
    with e.loop(0, rows.count, a["chunk"]) as first:
        met = e.var(I64, e.integer(0))
        rows.start(first)
        with e.loop(first, e.least(first + a["chunk"], rows.count)):
            positions = rows.positions
            with e.when(e.compare("ne", touches(k, positions[0], part), e.integer(0))):
                slot = met.get()
                place = dy + rows.image * a["ys_n"] + k.offset("ys", *positions)
                gather_above(k, place, code.y, a["features"], above + slot * a["above_pitch"])
                for word, value in enumerate([rows.image * a["xs_n"], *positions]):
                    e.store(value, table + slot * entry + 8 * word)
                met.set(slot + 1)
            rows.advance()
        count = met.get()
        with e.loop(0, a["segments"]) as segment, e.loop(0, length, k.width) as j, e.loop(0, count, code.rows) as i:
            clamped = _clamped(k, i, count)
            seen = [above + row * a["above_pitch"] for row in clamped]
            start = weights + segment * a["w_segment"]
            if code.inner:
                lines = [start + e.least(j + one, length - 1) * a["w_step"] for one in range(code.across)]
                sums = _inner(k, seen, lines, _wanted(k, start + j * a["w_step"] + a["ahead"], i), code.w, a["features"])
            else:
                acc = [[e.var(k.vector, e.zero(k.vector)) for _ in range(code.across)] for _ in seen]
                _outer(k, seen, e.integer(size), _Factor(start + j * k.size("w"), a["w_step"], code.w), a["features"], length - j, acc)
                sums = [[one.get() for one in line] for line in acc]
            for row, line in zip(clamped, sums, strict=True):
                for v, value in enumerate(line):  # what lies behind a segment's end is overwritten by the next, or padding
                    at = segment * length + j + v * value.type.lanes
                    e.store(value, windows + row * a["window_pitch"] + at * size, size)
        with e.loop(0, count) as row:
            words = [e.load(I64, table + row * entry + 8 * i) for i in range(1 + code.axes)]
            add_window(k, words[1:], part, part.at + words[0], windows + row * a["window_pitch"])
