"""The phased plane tile, for the gradient of a depthwise layer's input with channels first: all phases of rows and columns at once.

With a stride s the gradient of the input is s × s convolutions over the errors, each of which makes every s-th row and column
(`phases`). They see the same errors through different taps. So a plane of errors is copied into a panel once, as in `planes`, and one
loaded vector meets the taps of all phases; what the phases of a row sum is interleaved in registers and leaves as whole vectors.

The sum of each output runs over outer tap, kernel row, kernel column, in one chain of fused multiply-adds that starts from the bias, as
in the other tiles.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple

from juanji.exact import Narrowing
from juanji.jit.arguments import HEAD, Arguments, each_item, kernel
from juanji.jit.elements import SCALARS, finish, multiply_add
from juanji.jit.emit import Emitter, Type, Value, Var
from juanji.jit.lanes import interleaved
from juanji.jit.planes import clear_panel, fill_panel, panel_row
from juanji.jit.target import Target

Places = tuple[tuple[int, ...], ...]  # of each phase: where its taps lie, counted from the first place that any phase sees


@dataclass(frozen=True)
class PhasedCode:
    """Everything that the code depends on."""

    x: str
    total: str
    y: str
    deep: tuple[int, int]  # taps of the outer axis, and from each to the next
    high: Places
    wide: Places
    bias: bool
    activation: str | None
    narrowing: Narrowing
    held: bool  # the weights of a filter are held in registers
    uneven: bool  # the last places of rows have not all phases
    rows: int
    vectors: int  # of each phase; the last one of a row shorter than the tile is not full

    stride = (1, 1, 1)  # of what is copied
    copied = False  # outside lie zeros

    @property
    def taps(self) -> dict[tuple[int, int], int]:
        """Of each phase of rows and columns, how many taps of a filter come before its own."""
        sizes = {phase: self.deep[0] * len(self.high[phase[0]]) * len(self.wide[phase[1]]) for phase in self.phases}
        return dict(zip(sizes, itertools.accumulate(sizes.values(), initial=0), strict=False))

    @property
    def phases(self) -> list[tuple[int, int]]:
        """Phases of rows and columns."""
        return list(itertools.product(range(len(self.high)), range(len(self.wide))))

    @property
    def filter(self) -> int:
        """Taps of a filter."""
        return self.deep[0] * sum(map(len, self.high)) * sum(map(len, self.wide))

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order. band: places of rows of an item; share: planes of an item; deep, high: of the panel; rows, columns: of
        the output."""
        return (
            *HEAD, "constants", "outside", "parameter", "map_d", "map_h", "map_w", "deep", "high", "size_w", "low_w", "extent_w",
            "out_d", "out_h", "out_w", "rows", "columns", "xs_n", "xs_c", "xs_d", "xs_h", "ys_n", "ys_c", "ys_d", "ys_h", "phase", "line",
            "start", "panel", "bands", "band", "shares", "share", "planes", "filters", "stream",
        )  # fmt: skip


def emit_phased(code: PhasedCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    with kernel(e, target, code.names) as a, each_item(e, a) as item:
        _item(e, code, a, item)
    return e.text()


def _item(e: Emitter, code: PhasedCode, a: Arguments, item: Value) -> None:
    """One item of work: image, band of rows, share of the planes."""
    rest, share = e.divide(item, a["shares"])
    image, band = e.divide(rest, a["bands"])
    h = e.least(band * a["band"], a["out_h"] - a["band"])
    first = share * a["share"]
    clear_panel(e, code, a)
    with e.loop(first, e.least(first + a["share"], a["planes"])) as plane:
        fill_panel(e, code, a, a["x"] + image * a["xs_n"] + plane * a["xs_c"], h)
        with e.loop(plane * a["filters"], (plane + 1) * a["filters"]) as feature:
            _outputs(e, code, a, feature, h, a["y"] + image * a["ys_n"] + feature * a["ys_c"])


Sums = dict[tuple[int, int, int, int], Var]  # by row of the tile, phase of rows, phase of columns, vector


def _outputs(e: Emitter, code: PhasedCode, a: Arguments, feature: Value, first: Value, goal: Value) -> None:
    """All outputs of the panel for one filter. first: the place of rows that the panel begins with."""
    total = Type(SCALARS[code.total])
    vector = e.vector(total.scalar)
    weights = a["w"] + feature * (code.filter * total.bytes)
    held = None
    if code.held:
        held = [e.splat(e.load(total, weights + tap * total.bytes), vector.lanes) for tap in range(code.filter)]
    bias = e.splat(e.load(total, a["bias"] + feature * total.bytes), vector.lanes) if code.bias else e.zero(vector)
    width = vector.lanes * code.vectors
    with e.loop(0, a["out_d"]) as d, e.loop(0, a["band"], code.rows) as h_next, e.loop(0, a["out_w"], width) as w_next:
        h = e.least(h_next, a["band"] - code.rows)
        w = e.most(e.least(w_next, a["out_w"] - width), 0)
        sums = {(r, *phase, v): e.var(vector, bias) for r in range(code.rows) for phase in code.phases for v in range(code.vectors)}
        corner = panel_row(a, d, h) + w * total.bytes
        with e.loop(0, code.deep[0]) as tap:
            near = e.unknown(weights)  # else weights would stay in registers and drive sums out of theirs
            _reduce(e, code, a, Window(corner + tap * (code.deep[1] * a["high"] * a["line"]), near, tap, held), sums)
        _finish(e, code, a, goal + d * a["ys_d"], (first + h, w), sums)


class Window(NamedTuple):
    """Where a tile's window begins in the panel; its filter, in memory and in registers; and which outer tap."""

    corner: Value
    weights: Value
    tap: Value
    held: list[Value] | None


def _reduce(e: Emitter, code: PhasedCode, a: Arguments, window: Window, sums: Sums) -> None:
    """Row by row of the panel: each vector meets the taps through which phases see it."""
    total = Type(SCALARS[code.total])
    vector = e.vector(total.scalar)
    columns = sorted({column for places in code.wide for column in places})
    lines = range(code.rows + max(map(max, code.high)))

    def weight(tap: int, each: int) -> Value:
        """A tap of the first outer tap, which lies so many before that of the next."""
        if window.held is not None:
            return window.held[tap]
        return e.splat(e.load(total, window.weights + (window.tap * each + tap) * total.bytes), vector.lanes)

    for line, column in itertools.product(lines, columns):
        met = [
            (r, high, wide, code.taps[high, wide] + code.high[high].index(line - r) * len(code.wide[wide]) + code.wide[wide].index(column))
            for r in range(code.rows)
            for high, wide in code.phases
            if line - r in code.high[high] and column in code.wide[wide]
        ]
        if met:
            start = window.corner + line * a["line"] + column * total.bytes
            xs = [e.load(vector, start + v * vector.bytes) for v in range(code.vectors)]
        for r, high, wide, tap in met:
            one = weight(tap, len(code.high[high]) * len(code.wide[wide]))
            for v, x in enumerate(xs):
                sums[r, high, wide, v].set(multiply_add(e, x, one, sums[r, high, wide, v].get()))


def _finish(e: Emitter, code: PhasedCode, a: Arguments, goal: Value, place: tuple[Value, Value], sums: Sums) -> None:
    """Interleave the finished sums of a row's phases and store them, past the caches where the output is large."""
    total, out = Type(SCALARS[code.total]), Type(SCALARS[code.y])
    lanes, steps, step = e.vector(total.scalar).lanes, len(code.high), len(code.wide)
    parameter = e.load(total, a["constants"] + a["parameter"])
    finished = {key: finish(e, acc.get(), code.y, code.activation, parameter, code.narrowing) for key, acc in sums.items()}
    first, column = place
    width = lanes * step * code.vectors
    left = a["columns"] - column * step
    whole = e.compare("sge", left, e.integer(width))
    past = e.streamable(width * out.bytes, a["stream"], goal + column * (step * out.bytes), a["ys_h"])
    for r, high in itertools.product(range(code.rows), range(steps)):
        row = (first + r) * steps + high
        line = [
            vector
            for v in range(code.vectors)
            for vector in interleaved(e, [finished[r, high, wide, v] for wide in range(step)])
        ]
        start = goal + row * a["ys_h"] + column * (step * out.bytes)

        def store(line: list[Value] = line, start: Value = start) -> None:
            with e.when(whole):
                for condition, put in ((e.when(past), e.stream), (e.otherwise(past), e.store)):
                    with condition:
                        for number, vector in enumerate(line):
                            put(vector, start + number * vector.type.bytes)
            with e.otherwise(whole):
                for number, vector in enumerate(line):
                    e.store_first(vector, start + number * vector.type.bytes, e.most(e.least(left - number * lanes, lanes), 0))

        if code.uneven and high:
            with e.when(e.compare("slt", row, a["rows"])):
                store()
        else:
            store()
