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

The output has the one that its weights' order asks for. The gradient of the input always has the outer one: its sums are short, so
that weights which lie along them are turned in registers, a tile's at a time, and serve all rows from scratch.

Adding windows into dx through the boundary's index map is the exact adjoint of gathering them through it. An item of that
work owns the part of dx that it adds to (some images, channels, places along the first axis) as an array in scratch.
So no result depends on the batch or on the threads, but the gradient of the weights on the batch, which it sums over.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from juanji.jit.arguments import kernel
from juanji.jit.elements import plus
from juanji.jit.emit import I64, LINE, PTR, Emitter, Type, Value
from juanji.jit.neighbours import add_windows, await_outputs, each_stretch, gather_errors, gather_windows, store_outputs
from juanji.jit.rows import Part, Rows, each_position, own_part, put, touches, touching
from juanji.jit.target import Target
from juanji.jit.window_tiles import Factor, Sums, inner_tile, outer_tile, tile_rows, turned_lines, wanted_lines
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
        with each_position(rows, first, count) as (i, images):
            place = goal + rows.image * a["ys_n"] + k.offset("ys", *rows.positions)
            with e.loop(0, images) as n:
                e.store(place + n * a["ys_n"], table + (i + n) * 8)
            _gather(k, rows, source, sites, images, windows + i * a["window_pitch"], place)
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


def _gather(k: WindowKernel, rows: Rows, source: Value, sites: Value, images: Value, goal: Value, place: Value | None = None) -> None:
    """Gather the windows, or those of neighbouring sites, of the row that a walk is at, and of more images there.

    place: where the outputs will be stored, which between two images are asked for.
    """
    image = source + rows.image * k.a["xs_n"]
    if not k.code.square:
        gather_window(k, rows.positions, image, images, goal)
        return
    with k.e.loop(0, images) as n:
        gather_windows(k, rows.positions, image + n * k.a["xs_n"], sites, goal + n * k.a["window_pitch"])
        if place is not None:
            await_outputs(k, sites, place + n * k.a["ys_n"])


def _gather_above(k: WindowKernel, rows: Rows, source: Value, sites: Value, features: Value, images: Value, goal: Value) -> None:
    """Gather the gradients above the row, or those of neighbouring sites, that a walk is at, and of more images there."""
    e, a = k.e, k.a
    place = source + rows.image * a["ys_n"] + k.offset("ys", *rows.positions)
    if not k.code.square:
        gather_above(k, place, images, k.code.y, features, goal)
        return
    with e.loop(0, images) as n:
        gather_errors(k, place + n * a["ys_n"], features, sites, goal + n * a["above_pitch"])


Leave = Callable[[Value, Value, list[Value]], None]  # a row, the first of some features, vectors of their sums


def _site_forward(k: WindowKernel, weights: Value, bias: Value, windows: Value, count: Value, leave: Leave) -> None:
    """All features of some rows of one site."""
    e, a, code, size = k.e, k.a, k.code, k.total.bytes
    features = a["features"]
    used = e.select(e.compare("sgt", count, e.integer(0)), features, e.integer(0))
    with e.loop(0, used, k.width) as f, e.loop(0, count, code.rows) as i:
        clamped = tile_rows(k, i, count)
        seen = [windows + row * a["window_pitch"] for row in clamped]
        left = features - f
        if code.inner:
            lines = [weights + e.least(f + j, features - 1) * a["w_step"] for j in range(code.across)]
            sums = inner_tile(k, seen, lines, wanted_lines(k, weights + f * a["w_step"] + a["ahead"], i), code.w, a["depth"])
            if code.bias:
                known = _biases(k, bias + f * size, sums[0][0].type, left)
                sums = [[plus(e, line[0], known)] for line in sums]
        else:
            start = [_zero_or_bias(k, bias + (f + v * k.vector.lanes) * size, left - v * k.vector.lanes) for v in range(code.across)]
            acc = [[e.var(k.vector, value) for value in start] for _ in seen]
            across = Factor(weights + f * k.size("w"), a["w_step"], code.w)
            outer_tile(k, seen, e.integer(size), across, a["depth"], left, acc)
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
            with each_position(rows, first, count) as (i, images):
                _gather(k, rows, source, sites, images, windows + i * a["window_pitch"])
                _gather_above(k, rows, dy, sites, features, images, above + i * a["above_pitch"])
            chunk = _Chunk(count, features, e.compare("eq", first, e.integer(0)), e.compare("sge", first + count, rows.count))
            with e.loop(0, sites) as s:
                window = Factor(windows + s * a["site_pitch"], a["window_pitch"], code.total)
                gradient = Factor(above + s * a["above_site"], a["above_pitch"], code.total)
                _site_grad_weight(k, chunk, window, gradient, a["scratch"] + a["sums"] + s * a["sums_site"], dw + s * a["w_site"])


class _Chunk(NamedTuple):
    """Rows that a site sums over at a time, for how many features; whether sums begin with these, and whether they end."""

    rows: Value
    features: Value
    begins: Value
    ends: Value


def _site_grad_weight(k: WindowKernel, chunk: _Chunk, window: Factor, gradient: Factor, sums_at: Value, dw: Value) -> None:
    """A chunk of the rows of one site."""
    e, code, a, size = k.e, k.code, k.a, k.total.bytes
    count, features, begins, ends = chunk
    (line, across), (lines, length) = (
        ((gradient, window), (features, a["depth"])) if code.along_window else ((window, gradient), (a["depth"], features))
    )
    loops = ((lines, code.rows), (length, k.width))  # the outer one is over the windows, which may be more than the first cache holds
    with e.loop(0, *loops[code.along_window]) as outer, e.loop(0, *loops[not code.along_window]) as inner:
        i, j = (inner, outer) if code.along_window else (outer, inner)
        clamped = tile_rows(k, i, lines)
        acc = [[e.var(k.vector, e.zero(k.vector)) for _ in range(code.across)] for _ in clamped]
        sums = [[sums_at + row * a["sums_pitch"] + (j + v * k.vector.lanes) * size for v in range(code.across)] for row in clamped]
        places = [(one, at) for ones, ats in zip(acc, sums, strict=True) for one, at in zip(ones, ats, strict=True)]
        with e.otherwise(begins):
            for one, at in places:
                one.set(e.load(k.vector, at, size))
        part = Factor(across.at + j * size, across.step, across.dtype)
        outer_tile(k, [line.at + row * size for row in clamped], line.step, part, count, None, acc)
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
        inner = a["all_sites"] // a["sites0"]
        with touching(k, part, inner) as (first, end), each_stretch(k, first, end) as (site, t, sites):
            _stretch_grad_input(k, Rows(k, t, part.images), sites, dy, weights + site * a["w_site"], part)


def _stretch_grad_input(k: WindowKernel, rows: Rows, sites: Value, dy: Value, weights: Value, part: Part) -> None:
    """The rows of neighbouring sites that touch the part, chunk by chunk: gather what is above them, multiply, add their windows."""
    e, a, code = k.e, k.a, k.code
    above, windows, table = (a["scratch"] + a[name] for name in ("above", "windows", "table"))
    entry = 8 * (1 + code.axes)
    with e.loop(0, rows.count, a["chunk"]) as first:
        met, together = e.var(I64, e.integer(0)), e.var(I64, e.integer(1))
        with each_position(rows, first, e.least(rows.count - first, a["chunk"])) as (_, images):
            positions = rows.positions
            with e.when(e.compare("ne", touches(k, positions[0], part), e.integer(0))):
                slot = met.get()
                _gather_above(k, rows, dy, sites, a["features"], images, above + slot * a["above_pitch"])
                for word, value in enumerate([rows.image * a["xs_n"], *positions]):
                    e.store(value, table + slot * entry + 8 * word)
                met.set(slot + 1)
                together.set(images)
        positions_met, images = met.get(), together.get()
        with e.loop(0, sites) as s:
            seen, goal = above + s * a["above_site"], windows + s * a["site_pitch"]
            _site_grad_input(k, weights + s * a["w_site"], seen, positions_met * images, part, goal)
        with e.loop(0, positions_met) as row:
            image, *place = (e.load(I64, table + row * entry + 8 * i) for i in range(1 + code.axes))
            found = windows + row * a["window_pitch"]
            if code.square:
                with e.loop(0, images) as n:
                    add_windows(k, place, part, part.at + image + n * a["xs_n"], sites, found + n * a["window_pitch"])
            else:
                add_window(k, place, part, part.at + image, images, found)


def _site_grad_input(k: WindowKernel, weights: Value, above: Value, count: Value, part: Part, windows: Value) -> None:
    """The gradients of the windows of one site, under `count` rows of what is above them."""
    e, a, code, size = k.e, k.a, k.code, k.total.bytes
    length = part.channels * a["unit"]
    used = e.select(e.compare("sgt", count, e.integer(0)), length, e.integer(0))
    with e.loop(0, a["segments"]) as segment, e.loop(0, used, k.width) as j:
        start = weights + segment * a["w_segment"]
        left: Value | None = length - j
        if code.turned:
            across, left = turned_lines(k, start + j * a["w_step"], length - j), None
        else:
            across = Factor(start + j * k.size("w"), a["w_step"], code.w)
        with e.loop(0, count, code.rows) as i:
            clamped = tile_rows(k, i, count)
            acc = [[e.var(k.vector, e.zero(k.vector)) for _ in range(code.across)] for _ in clamped]
            outer_tile(k, [above + row * a["above_pitch"] for row in clamped], e.integer(size), across, a["features"], left, acc)
            for row, line in zip(clamped, acc, strict=True):
                for v, one in enumerate(line):  # what lies behind a segment's end is overwritten by the next, or padding
                    at = segment * length + j + v * k.vector.lanes
                    e.store(one.get(), windows + row * a["window_pitch"] + at * size, size)
