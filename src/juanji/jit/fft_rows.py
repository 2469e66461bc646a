"""Where the rows of a Fourier tile come from and where its outputs go: tables of pointers, and buffers where neither lies as wanted.

A row of the input is used where it lies if it needs no border, no conversion and no gathering; otherwise it is a line of the panel.
Outputs that do not fill their tile, or that lie apart, go to a stage first, which is copied as far as it counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from juanji.jit.arguments import Arguments
from juanji.jit.elements import SCALARS
from juanji.jit.emit import PTR, Emitter, Int, Type, Value
from juanji.jit.fft_codes import FftCode
from juanji.jit.panels import outer_step


def source_rows(e: Emitter, code: FftCode, a: Arguments, source: Value, outside: Value, h: Value, w: Value, start: Value) -> None:
    """Point the table at the rows of a tile whose first place is (h, w), from its column `start` on.

    source, outside: as far as outer axes have led: where the plane or line begins, and the constant that it consists of, or null.
    """
    total = Type(SCALARS[code.total])
    lanes = e.vector(total.scalar).lanes
    wanted = a["columns"] - start
    width = (wanted + (lanes - 1)) // lanes * lanes
    null, always = Value(e, PTR, "null"), e.compare("eq", e.integer(0), e.integer(0))
    plain = code.unit_x and code.x == code.total
    zeros = a["scratch"] + a["at_zeros"]
    with e.loop(0, code.high) as j:
        entry, panel = a["scratch"] + a["at_rows"] + j * 8, a["scratch"] + a["at_panel"] + j * a["line"]
        first, line, constant = w + start, source, outside
        if code.line:
            first, exists = first + j * code.wide, always
        else:
            at = h + j * a["phases_h"]
            exists = e.compare("slt", at, a["extent_h"])
            beyond = a["constants"] + code.outer * total.bytes
            line, constant = outer_step(e, a, "map_h", "xs_h", e.least(at, a["extent_h"] - 1), beyond, source, outside)
            exists = e.arith("and", exists, _anything(e, code, a, constant))
        count = e.least(wanted, a["extent_w"] - first)
        exists = e.arith("and", exists, e.compare("sgt", count, e.integer(0)))
        e.store(zeros, entry, 8)
        with e.when(exists):
            fill = always
            if plain:
                inside = e.arith("and", e.compare("sge", first, a["low_w"]), e.compare("sle", first + width, a["low_w"] + a["size_w"]))
                inside = e.arith("and", inside, e.compare("eq", constant, null))
                e.store(line + (first - a["low_w"]) * a["xs_w"], entry, 8)
                fill = e.emit(inside.type, f"xor {inside}, true")
            with e.when(fill):
                e.store(panel, entry, 8)
                e.call("fill_line", a.row, panel, line, constant, first, count)
                with e.loop(count, width) as i:
                    e.store(e.zero(total), panel + i * total.bytes)


def _anything(e: Emitter, code: FftCode, a: Arguments, constant: Value) -> Value:
    """Whether a row is more than zeros: one of the array's, or outside it where the constant there, or that of its ends, is not zero."""
    total, null = Type(SCALARS[code.total]), Value(e, PTR, "null")
    end = a["constants"] + (code.axes - 1) * total.bytes
    here = e.compare("eq", constant, null)
    number = e.load(total, e.select(here, end, constant))
    zero = e.zero(total)
    empty = e.arith("and", e.compare("oeq", number, zero), e.compare("oeq", e.load(total, end), zero))
    return e.arith("or", here, e.emit(empty.type, f"xor {empty}, true"))


@contextmanager
def stored_rows(e: Emitter, code: FftCode, a: Arguments, ys: Value, h: Value, w: Value) -> Iterator[Value]:
    """Around the store of a tile: points the table of goals at its rows, and copies what went to the stage.

    Yields whether to store past the caches.
    """
    out = Type(SCALARS[code.y])
    vector = e.vector(SCALARS[code.total])
    stage = a["scratch"] + a["at_stage"]
    goal = ys + w * a["ys_w"]
    if code.line:
        step, columns = a["ys_w"] * code.wide, e.integer(code.wide)
        left = a["out_w"] - w
        rows = e.least((left + (code.wide - 1)) // code.wide, a["tile_h"])
        whole = e.compare("sge", left, a["tile_h"] * code.wide)
    else:
        step, columns = a["ys_h"] * a["phases_h"], e.least(a["tile_w"], a["out_w"] - w)
        rows = e.least((a["out_h"] - h + (a["phases_h"] - 1)) // a["phases_h"], a["tile_h"])
        whole = e.compare("eq", rows, a["tile_h"])
        whole = e.arith("and", whole, e.compare("eq", columns, a["tile_w"]))
    if not code.unit_y:
        whole = e.compare("ne", e.integer(0), e.integer(0))
    with e.loop(0, a["tile_h"]) as j:
        e.store(e.select(whole, goal + j * step, stage + j * a["stage"]), a["scratch"] + a["at_goals"] + j * 8, 8)
    past = e.streamable(vector.lanes * out.bytes, a["stream"], goal, step)
    yield e.convert("zext", e.arith("and", past, whole), "i64")
    with e.otherwise(whole), e.loop(0, rows) as j:
        count = e.least(columns, a["out_w"] - w - j * code.wide) if code.line else columns
        _copy(e, a, stage + j * a["stage"], goal + j * step, count, Type(out.scalar, vector.lanes), code.unit_y)


def _copy(e: Emitter, a: Arguments, source: Value, goal: Value, count: Int, vector: Type, unit: bool) -> None:
    element = Type(vector.scalar)
    if unit:
        with e.loop(0, count, vector.lanes) as i:
            e.store_first(e.load(vector, source + i * element.bytes), goal + i * element.bytes, e.integer(count) - i)
    else:
        with e.loop(0, count) as i:
            e.store(e.load(element, source + i * element.bytes), goal + i * a["ys_w"])
