"""Weights turned into the order in which a tile reads them, where the features of a tile lie far apart.

Each feature's weights lie in runs of neighbours. Of as many features as a vector has lanes, as many neighbours are loaded,
the square is turned in registers, and each of its columns, one weight of all these features, is stored where a table says.
"""

from __future__ import annotations

from dataclasses import dataclass

from juanji.jit.arguments import HEAD, Arguments
from juanji.jit.elements import SCALARS, read, transpose
from juanji.jit.emit import I32, I64, PTR, Emitter, Int, Type, Value
from juanji.jit.target import Target


@dataclass(frozen=True)
class PackCode:
    """Everything that the code depends on."""

    w: str
    total: str
    holes: bool  # whether some weights of a run are not wanted: their goal is below zero

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order.

        map_starts: bytes to each run of a feature; map_goals: bytes to where each weight of each run goes.
        """
        return (*HEAD, "map_starts", "map_goals", "runs", "run", "groups", "blocks", "features", "width", "ws_g", "ws_f", "step")


def emit_pack(code: PackCode, target: Target) -> str:
    """The IR of one kernel: w to y. An item is a group and a block of features."""
    e = Emitter(target.vector_bits, target.masks)
    vector, size = e.vector(SCALARS[code.total]), Type(SCALARS[code.w]).bytes
    lanes, element = vector.lanes, vector.bytes // vector.lanes
    with e.function("kernel", PTR) as (row,):
        a = Arguments(e, row, code.names)
        buffer = e.stack(vector, lanes)

        def rows(source: Value, f: Value) -> list[Value]:
            """Where the weights of `lanes` features begin; past the last feature, its own once more."""
            return [source + e.least(f + lane, a["features"] - 1) * a["ws_f"] for lane in range(lanes)]

        def put(value: Value, goals: Value, j: Int, goal: Value) -> None:
            """Store one weight at its goal."""
            offset = e.load(I64, goals + j * 8, 8)
            if code.holes:
                with e.when(e.compare("sge", offset, e.integer(0))):
                    e.store(value, goal + offset, element)
            else:
                e.store(value, goal + offset, element)

        def put_all(columns: list[Value], goals: Value, goal: Value, known: Value) -> None:
            """Store weights of all features, zeros in lanes that no feature has."""
            for number, column in enumerate(columns):
                put(e.select(known, column, e.zero(vector)), goals, number, goal)

        def put_first(columns: list[Value], goals: Value, goal: Value, count: Value, known: Value) -> None:
            for number, column in enumerate(columns):
                e.store(column, buffer + number * vector.bytes)
            with e.loop(0, count) as j:
                put(e.select(known, e.load(vector, buffer + j * vector.bytes), e.zero(vector)), goals, j, goal)

        with e.loop(a["begin"], a["end"]) as item:
            group, block = e.divide(item, a["blocks"])
            source, goal = a["w"] + group * a["ws_g"], a["y"] + item * a["step"]
            with e.loop(0, a["width"], lanes) as lane:
                f = block * a["width"] + lane
                left = e.splat(e.emit(I32, f"trunc {a['features'] - f} to i32"), lanes)
                known = e.compare("slt", e.lane_numbers(left.type), left)
                starts = rows(source, f)
                with e.loop(0, a["runs"]) as run:
                    at = e.load(I64, a["map_starts"] + run * 8, 8)
                    goals = a["map_goals"] + run * a["run"] * 8
                    whole = a["run"] // lanes * lanes
                    with e.loop(0, whole, lanes) as r:
                        columns = transpose(e, [read(e, start + at + r * size, code.w, vector) for start in starts])
                        put_all(columns, goals + r * 8, goal + lane * element, known)
                    rest = a["run"] - whole
                    with e.when(e.compare("sgt", rest, e.integer(0))):
                        heads = [start + at + whole * size for start in starts]
                        if e.masks:
                            columns = transpose(e, [read(e, head, code.w, vector, rest) for head in heads])
                            put_first(columns, goals + whole * 8, goal + lane * element, rest, known)
                        else:
                            for which, head in enumerate(heads):
                                exists = e.compare("slt", f + which, a["features"])
                                with e.loop(0, rest) as j:
                                    value = read(e, head + j * size, code.w, Type(vector.scalar))
                                    kept = e.select(exists, value, e.zero(value.type))
                                    put(kept, goals + whole * 8, j, goal + (lane + which) * element)
    return e.text()
