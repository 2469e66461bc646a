"""Weights in the matrix unit's order: groups of neighbours of the reduction side by side, as numbers of the unit."""

from __future__ import annotations

from dataclasses import dataclass

from juanji.jit import tiles
from juanji.jit.arguments import HEAD, Arguments
from juanji.jit.emit import I64, LINE, PTR, Emitter, Value
from juanji.jit.ieee import ieee_mode
from juanji.jit.matrix import near_bfloat16
from juanji.jit.target import Target


@dataclass(frozen=True)
class MatrixWeightsCode:
    """Everything that the code depends on."""

    parts: int  # 0 for bytes
    columns: int

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order. map_rows: bytes to each row of the reduction, below zero where there is none; item: of a packed item."""
        return (*HEAD, "map_rows", "steps", "item")

    @property
    def group(self) -> int:
        """Neighbours of the reduction that lie side by side."""
        return 2 if self.parts else 4


def emit_matrix_weights(code: MatrixWeightsCode, target: Target) -> str:
    """The IR of one kernel, from float32 w[item][row][feature] to y[item][step][part][column][row of a tile][feature][neighbour]."""
    e = Emitter(target.vector_bits, target.masks)
    vector, group = e.vector("f32"), code.group
    width = tiles.ROWS * code.columns * 4  # bytes of a row
    with e.function("kernel", PTR) as (row,), ieee_mode(e, target):
        a = Arguments(e, row, code.names)
        with e.loop(a["begin"], a["end"]) as item, e.loop(0, a["steps"]) as step, e.loop(0, tiles.ROWS) as place:
            source = a["w"] + item * a["item"]
            parts = max(code.parts, 1)
            goal = a["y"] + (item * a["steps"] + step) * (parts * code.columns * tiles.TILE) + place * LINE
            rows = []
            for k in range(group):
                at = e.load(I64, a["map_rows"] + ((step * tiles.ROWS + place) * group + k) * 8, 8)
                rows.append((e.compare("sge", at, e.integer(0)), source + e.most(at, 0)))
            for offset in range(0, width, vector.bytes):
                numbers = [e.select(known, e.load(vector, start + offset), e.zero(vector)) for known, start in rows]
                column, lane = divmod(offset, LINE)
                for part, value in enumerate(_bytes(e, numbers) if not code.parts else _pairs(e, numbers, code.parts)):
                    e.store(value, goal + (part * code.columns + column) * tiles.TILE + lane)
    return e.text()


def _bytes(e: Emitter, numbers: list[Value]) -> list[Value]:
    """Four whole numbers side by side in each lane."""
    found = e.zero(numbers[0].type.of("i32"))
    for k, number in enumerate(numbers):
        low = e.arith("and", e.convert("fptosi", number, "i32"), e.const(found.type, 255))
        found = e.arith("or", found, e.arith("shl", low, e.const(found.type, 8 * k)))
    return [found]


def _pairs(e: Emitter, numbers: list[Value], parts: int) -> list[Value]:
    """The parts of two numbers side by side in each lane."""
    found = []
    even, odd = numbers
    for part in range(parts):
        near = [even, odd]
        if part < parts - 1:
            near = [near_bfloat16(e, even), near_bfloat16(e, odd)]
            even, odd = e.arith("fsub", even, near[0]), e.arith("fsub", odd, near[1])
        low, high = (e.convert("bitcast", number, "i32") for number in near)
        low = e.arith("lshr", low, e.const(low.type, 16))
        found.append(e.arith("or", low, e.arith("and", high, e.const(high.type, -0x10000))))
    return found
