"""The dot tile: the gradient of the weights, lanes along the innermost spatial axis; for few features, and depthwise planes.

    dw[o, i] = Σ_p x[place of (p, i)] · dy[p, o],      i a pair of channel and tap, p an output position of any image

For each chunk of output positions x goes through line buffers (border, type and stride phases are dealt with there), dy is read
where it lies, and acc[feature, i] holds vectors of partial sums, one position a lane. Behind the last column stand zeros on both
sides, so that nothing but products of neighbours enters. What a chunk gave is added to the vectors of the chunks before;
at the end of an item each vector is summed in a fixed tree of halves.

An item is a segment of the chunks and a group. Chunks and segments follow from the description.
"""

from __future__ import annotations

from dataclasses import dataclass

from juanji.jit.arguments import HEAD, Arguments, kernel
from juanji.jit.channel import fill_panel
from juanji.jit.elements import SCALARS, across, multiply_add, plus, read
from juanji.jit.emit import I64, Emitter, Type, Value
from juanji.jit.outer import chunk_place
from juanji.jit.panels import LINE_ARGUMENTS, Line, line_filler
from juanji.jit.target import Target


@dataclass(frozen=True)
class DotCode:
    """Everything that the code depends on."""

    x: str
    dy: str
    total: str
    axes: int
    stride: int  # along the innermost axis
    rows: int
    features: int

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order."""
        fields = ("out", "box", "reach", "stride", "map", "xs", "ps", "gs")
        axes = tuple(f"{name}{axis}" for axis in range(self.axes) for name in fields)
        return (
            *HEAD, *LINE_ARGUMENTS, *axes, "map_rows", "count_i", "groups", "channels", "chunks", "chunks_n", "segments",
            "count_f", "xs_n", "xs_c", "gs_n", "gs_c", "ws_g", "ws_f", "ws_i", "ws_s", "sums", "step_f", "ps_c",
        )  # fmt: skip


def emit_dot(code: DotCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    with kernel(e, target, code.names) as a, e.loop(a["begin"], a["end"]) as item:
        _item(e, code, a, item)
    line_filler(e, Line(code.x, SCALARS[code.total], code.stride, True, code.axes), code.names)
    return e.text()


def _item(e: Emitter, code: DotCode, a: Arguments, item: Value) -> None:
    """One item of work: segment of the chunks, group."""
    segment, group = e.divide(item, a["groups"])
    begin, end = segment * a["chunks"] // a["segments"], (segment + 1) * a["chunks"] // a["segments"]
    total = Type(SCALARS[code.total])
    vector = e.vector(total.scalar)
    with e.loop(begin, end) as chunk:
        _chunk(e, code, a, chunk, group, e.compare("eq", chunk, begin))
    goal = a["y"] + segment * a["ws_s"] + group * a["ws_g"]
    with e.loop(0, a["count_f"]) as f, e.loop(0, a["count_i"]) as i:
        lanes = e.load(vector, a["scratch"] + a["sums"] + f * a["step_f"] + i * vector.bytes)
        e.store(across(e, lanes), goal + f * a["ws_f"] + i * a["ws_i"])


def _chunk(e: Emitter, code: DotCode, a: Arguments, chunk: Value, group: Value, first: Value) -> None:
    """The products of one chunk of output positions, added to the vectors of sums; the first chunk's begin them."""
    image, origin, extent = chunk_place(e, code.axes, a, chunk)
    total = Type(SCALARS[code.total])
    vector = e.vector(total.scalar)
    dys = a["w"] + image * a["gs_n"] + group * a["count_f"] * a["gs_c"]
    for axis, at in enumerate(origin):
        dys = dys + at * a[f"gs{axis}"]
    fill_panel(e, code.axes, total, True, a, origin, extent, a["x"] + image * a["xs_n"] + group * a["channels"] * a["xs_c"])
    with e.loop(0, a["count_f"], code.features) as f, e.loop(0, a["count_i"], code.rows) as i:
        errors = [dys + e.least(f + j, a["count_f"] - 1) * a["gs_c"] for j in range(code.features)]  # past the end the last once more
        sums = a["scratch"] + a["sums"] + f * a["step_f"] + i * vector.bytes
        _tile(e, code, a, errors, i, sums, extent, first)


def _tile(e: Emitter, code: DotCode, a: Arguments, errors: list[Value], i: Value, sums: Value, extent: list[Value], first: Value) -> None:
    """acc[feature, row] over all positions of the chunk."""
    total = Type(SCALARS[code.total])
    vector, size = e.vector(total.scalar), Type(SCALARS[code.dy]).bytes
    lanes, last = vector.lanes, code.axes - 1
    windows = [a["scratch"] + e.load(I64, a["map_rows"] + (i + r) * 8, 8) for r in range(code.rows)]
    acc = [[e.var(vector, e.zero(vector)) for _ in range(code.rows)] for _ in errors]
    whole = extent[last] // lanes * lanes

    def meet(dys: list[Value], xs: list[Value]) -> None:
        for f, dy in enumerate(dys):
            for r, x in enumerate(xs):
                acc[f][r].set(multiply_add(e, x, dy, acc[f][r].get()))

    def walk(axis: int, at: Value, ahead: Value) -> None:
        if axis < last:
            with e.loop(0, extent[axis]) as j:
                walk(axis + 1, at + j * (a[f"stride{axis}"] * a[f"ps{axis}"]), ahead + j * a[f"gs{axis}"])
            return
        rows = [window + at for window in windows]
        with e.loop(0, whole, lanes) as p:
            dys = [read(e, error + ahead + p * size, code.dy, vector) for error in errors]
            meet(dys, [e.load(vector, row + p * total.bytes, total.bytes) for row in rows])
        left = extent[last] - whole
        with e.when(e.compare("sgt", left, e.integer(0))):
            dys = [_read_first(e, code, error + ahead + whole * size, vector, left) for error in errors]
            mask = e.compare("slt", e.lane_numbers(vector.of("i32")), e.splat(e.emit(Type("i32"), f"trunc {left} to i32"), lanes))
            xs = [e.load(vector, row + whole * total.bytes, total.bytes) for row in rows]
            meet(dys, [e.select(mask, x, e.zero(vector)) for x in xs])

    walk(0, e.integer(0), e.integer(0))
    for condition, begins in ((e.when(first), True), (e.otherwise(first), False)):
        with condition:
            for f in range(code.features):
                for r in range(code.rows):
                    place, value = sums + f * a["step_f"] + r * vector.bytes, acc[f][r].get()
                    e.store(value if begins else plus(e, e.load(vector, place), value), place)


def _read_first(e: Emitter, code: DotCode, pointer: Value, vector: Type, count: Value) -> Value:
    """The first `count` elements, zeros in the other lanes."""
    if e.masks:
        return read(e, pointer, code.dy, vector, count)
    size, one = Type(SCALARS[code.dy]).bytes, Type(vector.scalar)
    buffer = e.stack(vector)
    e.store(e.zero(vector), buffer)
    with e.loop(0, count) as lane:
        e.store(read(e, pointer + lane * size, code.dy, one), buffer + lane * one.bytes)
    return e.load(vector, buffer)
