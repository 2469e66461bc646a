"""The Fourier tile: overlap-save by small transforms, fused from the input's rows to the finished output's.

A tile is `high` × `wide` places of the padded input. For each of its depth entries (channel, tap of the outer axes, part of the kernel):

    rows         a table of pointers to its rows, where they lie in the input or, with borders and conversions, in a panel
    columns_in   `lanes` neighbouring columns at a time: real transforms along the columns, then squares turned in registers, so
                 that the lanes of what follows are vertical frequencies
    rows_in      complex transforms along the rows; the spectrum, one vector pair for each horizontal frequency

then `product` with the kernels' spectra, summed over the depth, `rows_out` and `columns_out`, which are the inverses, and which apply
the epilogue. With one channel in and out, `rows_through` does all between the columns in one go, in registers. Consecutive tiles of
one entry share their transformed columns.

A `line` tile is one transform of high·wide places of a row: they lie in it as rows of `wide` places, and factors between columns
and rows (`map_line`) make one transform of both.
"""

from __future__ import annotations

from juanji.jit.arguments import Arguments, each_item, kernel
from juanji.jit.elements import SCALARS
from juanji.jit.emit import I64, PTR, Emitter, Value
from juanji.jit.fft_codes import FftCode
from juanji.jit.fft_rows import source_rows, stored_rows
from juanji.jit.fft_tile import Tile
from juanji.jit.panels import Line, line_filler, outer_step
from juanji.jit.target import Target


def emit_fft(code: FftCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    tile = Tile(e, code)
    with kernel(e, target, code.names) as a, each_item(e, a) as item:
        _item(tile, a, item)
    tile.columns_in()
    tile.columns_out()
    if code.features:
        tile.rows_in()
        tile.product()
        tile.rows_out()
    else:
        tile.rows_through()
    line_filler(e, Line(code.x, SCALARS[code.total], 1, code.unit_x, code.axes), code.names)
    return e.text()


# The walk over tiles ----------------------------------------------------------------------------------------------------------


def _item(tile: Tile, a: Arguments, item: Value) -> None:
    """One item of work: image, group, outer output position, phase and strip of rows, run of tiles, share of the features."""
    e, code = tile.e, tile.code
    rest, group = (item, e.integer(0)) if code.unit_x else e.divide(item, a["groups"])  # neighbours in memory follow each other
    rest, share = e.divide(rest, a["shares"]) if code.features else (rest, e.integer(0))
    rest, segment = e.divide(rest, a["segments"])
    rest, strip = e.divide(rest, a["strips"])
    rest, phase = e.divide(rest, a["phases_h"])
    outer: list[Value] = []
    for axis in reversed(range(code.outer)):
        rest, place = e.divide(rest, a[f"out{axis}"])
        outer.insert(0, place)
    image, group = e.divide(rest, a["groups"]) if code.unit_x else (rest, group)

    h = strip * a["tile_h"] * a["phases_h"] + phase
    xs = a["x"] + image * a["xs_n"] + group * a["channels"] * a["xs_c"]
    ys = a["y"] + image * a["ys_n"] + group * a["count_f"] * a["ys_c"] + h * a["ys_h"]
    for axis, place in enumerate(outer):
        ys = ys + place * a[f"ys{axis}"]
    weights, bias = a["w"] + group * a["ws_g"], a["bias"] + group * a["count_f"] * tile.size

    f = a["scratch"] + a["at_f"]
    with e.loop(0, a["columns"], tile.lanes) as c:
        e.store(e.zero(tile.vector), a["scratch"] + a["at_zeros"] + c * tile.size, tile.size)
    with tile.spectrum_rows(a) as (place, _), e.loop(a["need_x"], code.wide) as x:
        tile.passes.put((None, None), f + place + x * tile.pair)
    first = segment * a["run"]
    with e.loop(first, e.least(first + a["run"], a["tiles"])) as number:
        w = number * a["tile_w"]
        fresh = e.compare("eq", number, first)
        start = e.select(fresh, e.integer(0), a["kept"])
        with e.otherwise(fresh), tile.spectrum_rows(a) as (place, _), e.loop(0, a["kept"] // a["phases_w"]) as x:
            tile.passes.put(tile.passes.take(f + place + (a["tile_x"] + x) * tile.pair), f + place + x * tile.pair)
        _depth(tile, a, xs, outer, h, w, start)
        if not code.features:
            with tile.spectrum_rows(a) as (place, q):
                ahead = (a["tile_w"] + a["kept"] - start) * tile.size
                e.call("rows_through", a.row, f + place, weights + q * tile.row, a["scratch"] + a["at_g"] + place, q, ahead)
            _store(tile, a, a["scratch"] + a["at_g"], ys, h, w, bias)
        else:
            _features(tile, a, weights, ys, h, w, bias, share)


def _depth(tile: Tile, a: Arguments, xs: Value, outer: list[Value], h: Value, w: Value, start: Value) -> None:
    """The transformed columns, and of several depth entries the spectra, of a tile whose first place is (h, w)."""
    e, code = tile.e, tile.code
    entry = e.var(I64, e.integer(0))
    null = Value(e, PTR, "null")

    def walk(axis: int, source: Value, outside: Value) -> None:
        if axis < code.outer:
            with e.loop(0, a[f"taps{axis}"]) as tap:
                at = outer[axis] * a[f"stride{axis}"] + tap * a[f"dilation{axis}"]
                walk(axis + 1, *outer_step(e, a, f"map{axis}", f"xs{axis}", at, a["constants"] + axis * tile.size, source, outside))
            return
        with e.loop(0, a["parts_h"]) as i, e.loop(0, a["parts_w"]) as j:
            source_rows(e, code, a, source, outside, h + i * a["part_h"], w + j * a["part_w"], start)
            with e.loop(0, a["columns"] - start, tile.lanes) as c:
                e.call("columns_in", a.row, c * tile.size, a["map_places"] + (start + c) * 8)
            if code.features:
                with tile.spectrum_rows(a) as (place, q):
                    goal = a["scratch"] + a["at_x"] + place * a["depth"] + entry.get() * tile.pair
                    e.call("rows_in", a.row, a["scratch"] + a["at_f"] + place, goal, q)
                entry.set(entry.get() + 1)

    with e.loop(0, a["channels"]) as channel:
        walk(0, xs + channel * a["xs_c"], null)


def _features(tile: Tile, a: Arguments, weights: Value, ys: Value, h: Value, w: Value, bias: Value, share: Value) -> None:
    """A share of the features of a tile, from the spectra of its depth."""
    e, code = tile.e, tile.code
    g, per_row = a["scratch"] + a["at_g"], a["depth"] * (code.features * tile.row)
    first = share * a["share"]
    with e.loop(first, e.least(first + a["share"], a["blocks_f"])) as block:
        with tile.spectrum_rows(a) as (place, q):
            spectrum = weights + (block * tile.groups + q) * per_row
            e.call("product", a.row, a["scratch"] + a["at_x"] + place * a["depth"], spectrum)
            for f in range(code.features):
                e.call("rows_out", a.row, a["scratch"] + a["at_y"] + f * tile.row, g + a["pitch"] * (f * tile.groups) + place, q)
        for f in range(code.features):
            feature = block * code.features + f
            with e.when(e.compare("slt", feature, a["count_f"])):
                _store(tile, a, g + a["pitch"] * (f * tile.groups), ys + feature * a["ys_c"], h, w, bias + feature * tile.size)


def _store(tile: Tile, a: Arguments, source: Value, ys: Value, h: Value, w: Value, bias: Value) -> None:
    """The inverse along the columns, to where the outputs lie."""
    e, columns = tile.e, tile.code.wide if tile.code.line else a["tile_w"]
    with stored_rows(e, tile.code, a, ys, h, w) as past, e.loop(0, columns, tile.lanes) as c:
        e.call("columns_out", a.row, source, a["map_places"] + c * 8, c * tile.out.bytes, bias, past)
