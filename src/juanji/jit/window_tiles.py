"""The tiles that multiply gathered windows, or gathered gradients, by the weights of a site, and what they read the weights through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from juanji.jit.elements import SCALARS, multiply_add, plus, read, transpose
from juanji.jit.emit import I64, PTR, Emitter, Int, Type, Value, Var
from juanji.jit.lanes import turned
from juanji.jit.windows import WindowKernel

Sums = list[list[Value]]  # by row, then across


def inner_tile(k: WindowKernel, rows: list[Value], lines: list[Value], wanted: list[Value], dtype: str, length: Value) -> Sums:
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
class Factor:
    """One factor of an outer tile: where it lies, the bytes from one term of the sum to the next, its element type."""

    at: Value
    step: Value
    dtype: str


def outer_tile(
    k: WindowKernel, rows: list[Value], step: Int, across: Factor, terms: Value, left: Value | None, acc: list[list[Var]]
) -> None:
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


def wanted_lines(k: WindowKernel, next_line: Value, row: Value) -> list[Value]:
    """The lines of the next tile that this one asks for at a row: all together ask for each once."""
    first = next_line + (row // k.code.rows) * k.code.asks * k.a["w_step"]
    return [first + j * k.a["w_step"] for j in range(k.code.asks)]


def tile_rows(k: WindowKernel, first: Value, count: Value) -> list[Value]:
    """The rows of a tile; past the end the last one is computed again."""
    return [k.e.least(first + i, count - 1) for i in range(k.code.rows)]


def turned_lines(k: WindowKernel, lines: Value, count: Value) -> Factor:
    """The first `count` neighbouring lines of weights, as many as a tile takes, turned in scratch: term by term, lanes along the lines."""
    e, a, vector, size = k.e, k.a, k.vector, k.size("w")
    goal, step = a["scratch"] + a["turned"], k.code.across * vector.bytes
    whole = a["features"] - a["features"] % vector.lanes

    def turn(rows: list[Value], place: Value, term: Value, terms: Value | None) -> None:
        for row in rows:
            e.prefetch(row + a["ahead"] + term * size, 1)
        if terms is None and SCALARS[k.code.w] == vector.scalar:
            columns = turned(e, vector, lambda line, i: rows[line] + (term + i) * size)
        else:
            columns = transpose(e, [read(e, row + term * size, k.code.w, vector, terms) for row in rows])
        for i, column in enumerate(columns):
            e.store(column, place + (term + i) * step, k.total.bytes)

    with e.loop(0, e.least(count, k.width), vector.lanes) as first:
        rows = [lines + e.least(first + line, count - 1) * a["w_step"] for line in range(vector.lanes)]
        place = goal + first * k.total.bytes
        with e.loop(0, whole, vector.lanes) as term:
            turn(rows, place, term, None)
        with e.when(e.compare("slt", whole, a["features"])):
            turn(rows, place, whole, a["features"] - whole)
    return Factor(goal, e.integer(step), k.code.total)
