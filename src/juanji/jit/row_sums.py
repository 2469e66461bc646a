"""The row tile of gradients of weights, for depthwise layers with channels first whose rows are short: planes where they lie.

    dw[o, i] = Σ_p x[place of (p, i)] · dy[p, o],      i a tap, p an output position of any image

Lanes are neighbours along the innermost spatial axis. The vectors of a few rows of dy are held in registers, and each vector of x that
taps see (`padded_rows`) meets those of them that see it, so that a filter's gradient is in registers from its first image to its last: a
vector of partial sums for each tap of rows and columns, each summed at the end in a fixed tree of halves. Beyond the last column stand
zeros on both sides, so that nothing but products of neighbours enters.

The partial sums of a lane run over image, outer place, row, vector in one chain of fused multiply-adds, however many rows are held.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from juanji.jit.arguments import HEAD, Arguments, kernel
from juanji.jit.elements import SCALARS, across, multiply_add
from juanji.jit.emit import I64, Emitter, Type, Value, Var
from juanji.jit.padded_rows import NAMES, Mask, Plane, clear_line, inside, padded, seen_by
from juanji.jit.target import Target


@dataclass(frozen=True)
class RowSumsCode:
    """Everything that the code depends on; triples are outer axis, rows and columns. x and dy have the sum's type."""

    total: str
    kernel: tuple[int, int, int]
    stride: tuple[int, int, int]
    dilation: tuple[int, int, int]
    rows: int  # of dy that are held
    vectors: int  # of a row
    full: bool  # the last of these
    masked: tuple[tuple[int, int, int], ...]  # the vectors of x with lanes that are outside or meet none, as `Mask` is asked for them

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order. map_goals: bytes from a filter's first weight to that of each tap; filters: of a plane of x."""
        return (
            *HEAD, *NAMES, "map_goals", "out_d", "out_h", "out_w", "gs_n", "gs_c", "gs_d", "gs_h", "ws_g", "ws_f", "ws_s", "images",
            "segments", "features", "filters",
        )  # fmt: skip


def emit_row_sums(code: RowSumsCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    with kernel(e, target, code.names) as a:
        clear_line(e, code, a)
        masks = {key: _wanted(e, code, a, *key) for key in code.masked}
        with e.loop(a["begin"], a["end"]) as item:
            _item(e, code, a, item, lambda v, place, k: masks.get((v, place, k)))
    return e.text()


def _wanted(e: Emitter, code: RowSumsCode, a: Arguments, v: int, place: int, k: int) -> Value:
    """Which lanes of a vector of x are inside the array and meet a place of dy."""
    lanes, stride = e.vector(SCALARS[code.total]).lanes, code.stride[2]
    within = inside(e, a, place + (v * stride + k) * lanes, lanes)
    return e.arith("and", within, e.lanes_before(lanes, (a["out_w"] - v * lanes) * stride - k * lanes))


def _item(e: Emitter, code: RowSumsCode, a: Arguments, item: Value, mask: Mask) -> None:
    """One item of work: segment of the images, filter."""
    total, (deep, high, wide) = Type(SCALARS[code.total]), code.kernel
    vector = e.vector(total.scalar)
    segment, feature = e.divide(item, a["features"])
    group, own = e.divide(feature, a["filters"])
    begin, end = segment * a["images"] // a["segments"], (segment + 1) * a["images"] // a["segments"]
    goal = a["y"] + segment * a["ws_s"] + group * a["ws_g"] + own * a["ws_f"]
    full = None if code.full else e.lanes_before(vector.lanes, a["out_w"] - (code.vectors - 1) * vector.lanes)
    with e.loop(0, deep) as tap:
        sums = [e.var(vector, e.zero(vector)) for _ in range(high * wide)]
        with e.loop(begin, end) as image, e.loop(0, a["out_d"]) as d:
            x = padded(a, code, a["x"] + image * a["xs_n"] + group * a["xs_c"])
            plane = Plane(e, code, a, x, d * code.stride[0] + tap * code.dilation[0], mask)
            errors = Errors(a["w"] + image * a["gs_n"] + feature * a["gs_c"] + d * a["gs_d"], a["gs_h"], full)
            whole = a["out_h"] // code.rows * code.rows
            with e.loop(0, whole, code.rows) as h:
                _rows(e, code, plane, errors, h, code.rows, sums)
            if code.rows > 1:
                with e.loop(whole, a["out_h"]) as h:
                    _rows(e, code, plane, errors, h, 1, sums)
        for i, acc in enumerate(sums):
            place = e.load(I64, a["map_goals"] + (tap * (high * wide) + i) * 8, 8)
            e.store(across(e, acc.get()), goal + place)


class Errors(NamedTuple):
    """A plane of dy: where it begins, bytes from row to row, and the lanes of a row's last vector; None: all."""

    begin: Value
    pitch: Value
    full: Value | None


def _rows(e: Emitter, code: RowSumsCode, plane: Plane, errors: Errors, h: Value, rows: int, sums: list[Var]) -> None:
    """acc[tap] += Σ x[window row, column] · dy[row] for some rows of dy from h on."""
    vector = plane.vector

    def error(r: int, v: int) -> Value:
        at = errors.begin + (h + r) * errors.pitch + v * vector.bytes
        return e.load(vector, at) if errors.full is None or v < code.vectors - 1 else e.load_where(vector, at, errors.full)

    dys = {(r, v): error(r, v) for r in range(rows) for v in range(code.vectors)}
    for j, pairs in seen_by(rows, code.kernel[1], code.stride[1], code.dilation[1]):
        row = plane.row(h * code.stride[1] + j)
        for column in range(code.kernel[2]):
            xs = [row.column(column, v) for v in range(code.vectors)]
            for r, kh in pairs:
                acc = sums[kh * code.kernel[2] + column]
                for v, x in enumerate(xs):
                    acc.set(multiply_add(e, x, dys[r, v], acc.get()))
