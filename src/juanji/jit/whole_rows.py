"""The row tile, for depthwise layers with channels first whose rows are short: whole rows of outputs, from planes where they lie.

Copying a plane into a panel takes as long as half of its sums where kernels are small. A tile that makes whole rows of outputs needs no
panel: what its vectors read beside the array is known when the plan is made, a few lanes at the ends of rows (`padded_rows`).

The sum of each output runs over outer tap, kernel row, kernel column, in one chain of fused multiply-adds that starts from the bias,
as in the other tiles.
"""

from __future__ import annotations

from dataclasses import dataclass

from juanji.exact import Narrowing
from juanji.jit.arguments import HEAD, Arguments, each_item, kernel
from juanji.jit.elements import SCALARS, multiply_add
from juanji.jit.emit import Emitter, Type, Value
from juanji.jit.padded_rows import NAMES, Mask, Plane, clear_line, inside, padded, seen_by
from juanji.jit.planes import Sums, store_rows
from juanji.jit.target import Target


@dataclass(frozen=True)
class RowsCode:
    """Everything that the code depends on; triples are outer axis, rows and columns. The input has the sum's type."""

    total: str
    y: str
    kernel: tuple[int, int, int]
    stride: tuple[int, int, int]
    dilation: tuple[int, int, int]
    bias: bool
    activation: str | None
    narrowing: Narrowing
    held: bool  # the weights of an outer tap are held in registers
    rows: int
    vectors: int  # of a row of outputs; the last may not be full
    masked: tuple[int, ...]  # places of the padded row at which vectors begin that are partly outside

    step = 1  # elements from one output of a row to the next

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order. share: planes of an item."""
        return (
            *HEAD, *NAMES, "constants", "parameter", "out_d", "out_h", "out_w", "ys_n", "ys_c", "ys_d", "ys_h", "shares", "share",
            "planes", "filters", "stream",
        )  # fmt: skip


def emit_rows(code: RowsCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    with kernel(e, target, code.names) as a:
        clear_line(e, code, a)
        lanes, stride = e.vector(SCALARS[code.total]).lanes, code.stride[2]
        masks = {place: inside(e, a, place, lanes) for place in code.masked}

        def mask(v: int, place: int, k: int) -> Value | None:
            return masks.get(place + (v * stride + k) * lanes)

        with each_item(e, a) as item:
            _item(e, code, a, item, mask)
    return e.text()


def _item(e: Emitter, code: RowsCode, a: Arguments, item: Value, mask: Mask) -> None:
    """One item of work: image, share of the planes."""
    image, share = e.divide(item, a["shares"])
    first = share * a["share"]
    with e.loop(first, e.least(first + a["share"], a["planes"])) as plane:
        x = padded(a, code, a["x"] + image * a["xs_n"] + plane * a["xs_c"])
        with e.loop(plane * a["filters"], (plane + 1) * a["filters"]) as feature:
            _outputs(e, code, a, feature, x, a["y"] + image * a["ys_n"] + feature * a["ys_c"], mask)


def _outputs(e: Emitter, code: RowsCode, a: Arguments, feature: Value, x: Value, goal: Value, mask: Mask) -> None:
    """All outputs of one filter."""
    total = Type(SCALARS[code.total])
    vector, (deep, high, wide) = e.vector(total.scalar), code.kernel
    weights = a["w"] + feature * (deep * high * wide * total.bytes)
    bias = e.splat(e.load(total, a["bias"] + feature * total.bytes), vector.lanes) if code.bias else e.zero(vector)

    def splats(at: Value) -> list[Value]:
        """The weights of an outer tap."""
        return [e.splat(e.load(total, at + tap * total.bytes), vector.lanes) for tap in range(high * wide)]

    held = splats(weights) if code.held and deep == 1 else None
    with e.loop(0, a["out_d"]) as d, e.loop(0, a["out_h"], code.rows) as following:
        h = e.least(following, a["out_h"] - code.rows)
        sums = {(r, v): e.var(vector, bias) for r in range(code.rows) for v in range(code.vectors)}
        with e.loop(0, deep) as tap:
            plane = Plane(e, code, a, x, d * code.stride[0] + tap * code.dilation[0], mask)
            near = e.unknown(weights + tap * (high * wide * total.bytes))
            _reduce(e, code, plane, h * code.stride[1], near, splats(near) if code.held and held is None else held, sums)
        store_rows(e, code, a, goal + d * a["ys_d"] + h * a["ys_h"], sums)


def _reduce(e: Emitter, code: RowsCode, plane: Plane, top: Value, weights: Value, held: list[Value] | None, sums: Sums) -> None:
    """acc[row, vector] += Σ x[window row, column] · w[kernel row, kernel column], row by row of the window that begins at `top`."""
    total = Type(SCALARS[code.total])
    for j, pairs in seen_by(code.rows, code.kernel[1], code.stride[1], code.dilation[1]):
        row = plane.row(top + j)
        near = e.unknown(weights)  # else weights would stay in registers for the next row and drive sums out of theirs
        for column in range(code.kernel[2]):
            xs = [row.column(column, v) for v in range(code.vectors)]
            for r, kh in pairs:
                tap = kh * code.kernel[2] + column
                one = held[tap] if held else e.splat(e.load(total, near + tap * total.bytes), xs[0].type.lanes)
                for v, x in enumerate(xs):
                    sums[r, v].set(multiply_add(e, x, one, sums[r, v].get()))
