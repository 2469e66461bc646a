"""Weights in the matrix unit's order: groups of neighbours of the reduction side by side, as numbers of the unit."""

from __future__ import annotations

from dataclasses import dataclass

from juanji.jit import tiles
from juanji.jit.arguments import HEAD, Arguments, kernel
from juanji.jit.elements import transpose
from juanji.jit.emit import I64, LINE, Emitter, Value
from juanji.jit.target import Target
from juanji.jit.words import words


@dataclass(frozen=True)
class MatrixWeightsCode:
    """Everything that the code depends on."""

    parts: int  # 0 for bytes
    columns: int
    turned: bool  # tiles have features as rows
    along: bool  # the numbers of a step lie side by side in w, for each feature

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order. map_rows: bytes to each row of the reduction, below zero where there is none, or to each step; item:
        of the weights of an item; feature: from a feature to the next."""
        return (*HEAD, "map_rows", "steps", "item", "feature")

    @property
    def group(self) -> int:
        """Neighbours of the reduction that lie side by side."""
        return 2 if self.parts else 4


def emit_matrix_weights(code: MatrixWeightsCode, target: Target) -> str:
    """The IR of one kernel, from float32 w[item][row][feature] or, along the reduction, w[item][feature][step] to
    y[item][step][part][column][row of a tile][feature][neighbour]."""
    e = Emitter(target.vector_bits, target.masks)
    with kernel(e, target, code.names) as a:
        count = max(code.parts, 1) * code.columns
        with e.loop(a["begin"], a["end"]) as item, e.loop(0, a["steps"]) as step:
            source, goal = a["w"] + item * a["item"], a["y"] + (item * a["steps"] + step) * (count * tiles.TILE)
            (_features if code.along else _neighbours)(e, code, a, step, (source, goal))
            if code.turned != code.along:
                with e.loop(0, count) as tile:
                    _turn(e, goal + tile * tiles.TILE)
    return e.text()


def _neighbours(e: Emitter, code: MatrixWeightsCode, a: Arguments, step: Value, pointers: tuple[Value, Value]) -> None:
    """A step's tiles with its rows as theirs."""
    source, goal = pointers
    vector, group = e.vector("f32"), code.group
    with e.loop(0, tiles.ROWS) as place:
        rows = []
        for k in range(group):
            at = e.load(I64, a["map_rows"] + ((step * tiles.ROWS + place) * group + k) * 8, 8)
            rows.append((e.compare("sge", at, e.integer(0)), source + e.most(at, 0)))
        for offset in range(0, tiles.ROWS * code.columns * 4, vector.bytes):
            numbers = [e.select(known, e.load(vector, start + offset), e.zero(vector)) for known, start in rows]
            if not code.parts:
                numbers = [e.convert("trunc", e.convert("fptosi", number, "i32"), "i8") for number in numbers]
            column, lane = divmod(offset, LINE)
            for part, value in enumerate(words(e, numbers, code.parts)):
                e.store(value, goal + place * LINE + (part * code.columns + column) * tiles.TILE + lane)


def _features(e: Emitter, code: MatrixWeightsCode, a: Arguments, step: Value, pointers: tuple[Value, Value]) -> None:
    """The same with features as rows, whose two halves of a step are the neighbours of its words."""
    source, goal = pointers
    vector = e.vector("f32")
    at = source + e.load(I64, a["map_rows"] + step * 8, 8)
    for column in range(code.columns):
        with e.loop(0, tiles.ROWS) as row:
            start = at + (row + column * tiles.ROWS) * a["feature"]
            for offset in range(0, LINE, vector.bytes):
                numbers = [e.load(vector, start + offset + half) for half in (0, LINE)]
                for part, value in enumerate(words(e, numbers, code.parts)):
                    e.store(value, goal + row * LINE + (part * code.columns + column) * tiles.TILE + offset)


def _turn(e: Emitter, tile: Value) -> None:
    """Transpose a tile's words where they lie."""
    vector = e.vector("i32")
    lanes = vector.lanes
    squares = {
        (down, right): transpose(e, [e.load(vector, tile + (down + i) * LINE + right * 4) for i in range(lanes)])
        for down in range(0, tiles.ROWS, lanes)
        for right in range(0, tiles.ROWS, lanes)
    }
    for (down, right), columns in squares.items():
        for i, column in enumerate(columns):
            e.store(column, tile + (right + i) * LINE + down * 4)
