"""The spectra of kernels, in the order in which a Fourier tile multiplies: a kernel is a small picture in the corner of an empty tile."""

from __future__ import annotations

from juanji.jit.arguments import Arguments, kernel
from juanji.jit.elements import read
from juanji.jit.emit import I64, Emitter, Type, Value
from juanji.jit.fft_codes import SpectraCode
from juanji.jit.fft_tile import Forward
from juanji.jit.target import Target


def emit_spectra(code: SpectraCode, target: Target) -> str:
    """The IR of one kernel: w to y. An item is a group and a block of features; features past the last one have zeros."""
    e = Emitter(target.vector_bits, target.masks)
    tile = Forward(e, code)
    with kernel(e, target, code.names) as a:
        f = a["scratch"] + a["at_f"]
        with e.loop(0, a["panel"], tile.vector.bytes) as at:
            e.store(e.zero(tile.vector), a["scratch"] + a["at_zeros"] + at, tile.size)
        with e.loop(0, tile.groups) as q, e.loop(a["columns"], code.wide) as x:
            tile.passes.put((None, None), f + q * a["pitch"] + x * tile.pair)
        # Neighbours in memory follow each other, so that few pages are open at a time.
        with e.loop(a["begin"], a["end"]) as item, e.loop(0, a["depth"]) as entry, e.loop(0, a["width"]) as lane:
            group, block = e.divide(item, a["blocks"])
            feature = block * a["width"] + lane
            source = a["w"] + group * a["ws_g"] + feature * a["ws_f"]
            _kernel_rows(tile, code, a, source, a["map_entries"] + entry * 24, e.compare("slt", feature, a["features"]))
            with e.loop(0, a["columns"], tile.lanes) as c:
                e.call("columns_in", a.row, c * tile.size, a["map_places"] + c * 8)
            goal = a["y"] + item * a["step"] + lane * a["step_f"] + entry * a["step_e"]
            with e.loop(0, tile.groups) as q:
                e.call("rows_in", a.row, f + q * a["pitch"], goal + q * a["step_q"], q)
    tile.columns_in()
    tile.rows_in()
    return e.text()


def _kernel_rows(tile: Forward, code: SpectraCode, a: Arguments, source: Value, entry: Value, exists: Value) -> None:
    """Point the table at the rows of one depth entry: lines of the panel as far as there are taps, zeros elsewhere."""
    e, total = tile.e, Type(tile.vector.scalar)
    first, rows, columns = (e.load(I64, entry + i * 8, 8) for i in range(3))
    factor = e.load(total, a["constants"])
    zeros = a["scratch"] + a["at_zeros"]
    with e.loop(0, code.high) as j:
        panel = a["scratch"] + a["at_panel"] + j * a["panel"]
        if code.line:
            count = e.most(e.least(columns - j * code.wide, code.wide), 0)
            from_ = source + first + j * code.wide * a["ws_w"]
        else:
            count = e.select(e.compare("slt", j, rows), columns, e.integer(0))
            from_ = source + first + j * a["ws_h"]
        filled = e.arith("and", exists, e.compare("sgt", count, e.integer(0)))
        e.store(e.select(filled, panel, zeros), a["scratch"] + a["at_rows"] + j * 8, 8)
        with e.when(filled):
            with e.loop(0, count) as i:
                weight = read(e, from_ + i * a["ws_w"], code.w, total)
                e.store(e.arith("fmul", weight, factor), panel + i * tile.size)
            with e.loop(count, a["panel"] // tile.size) as i:
                e.store(e.zero(total), panel + i * tile.size)
