"""Weights turned into the order in which a tile reads them: all of them once, or a block at a time inside the tile's own kernel.

Each feature's weights lie in runs of neighbours. Of as many features as a vector has lanes, as many neighbours are loaded,
the square is turned in registers, and each of its columns, one weight of all these features, is stored where a table says.
Where features lie side by side, vectors of them are copied there as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

from juanji.jit.arguments import HEAD, Arguments
from juanji.jit.elements import SCALARS, read, transpose
from juanji.jit.emit import I32, I64, PTR, Emitter, Int, Type, Value
from juanji.jit.target import Target

BLOCK_ARGUMENTS = ("map_runs", "map_places", "runs", "run", "ws_g", "ws_f")


@dataclass(frozen=True)
class PackCode:
    """Everything that the code depends on."""

    w: str
    total: str
    holes: bool  # whether some weights of a run are not wanted: their goal is below zero
    whole: bool  # whether a run has whole vectors of neighbours
    rest: int  # neighbours beyond these
    beside: bool  # whether features lie side by side; a run is then a single weight

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order.

        map_runs: bytes to each run of a feature; map_places: bytes to where each weight of each run goes.
        """
        return (*HEAD, *BLOCK_ARGUMENTS, "groups", "blocks", "features", "width", "step")


def emit_pack(code: PackCode, target: Target) -> str:
    """The IR of one kernel: w to y. An item is a group and a block of features."""
    e = Emitter(target.vector_bits, target.masks)
    with e.function("kernel", PTR) as (row,):
        a = Arguments(e, row, code.names)
        with e.loop(a["begin"], a["end"]) as item:
            group, block = e.divide(item, a["blocks"])
            f = block * a["width"]
            w, goal = a["w"] + group * a["ws_g"] + f * a["ws_f"], a["y"] + item * a["step"]
            with e.loop(0, a["runs"]) as run:
                pack_run(e, code, a, run, (w, goal), a["features"] - f, a["width"])
    return e.text()


def pack_run(
    e: Emitter, code: PackCode, a: Arguments, run: Value, pointers: tuple[Value, Value], features: Value, width: Int
) -> None:
    """Put one run of a block of features in order: of `width` features, with zeros for those that do not exist.

    pointers: where the weights of the block's first feature begin, and where the block does. features: from the first on.
    """
    w, goal = pointers
    vector, size = e.vector(SCALARS[code.total]), Type(SCALARS[code.w]).bytes
    lanes, element = vector.lanes, vector.bytes // vector.lanes
    at = e.load(I64, a["map_runs"] + run * 8, 8)
    if code.beside:
        offset = e.load(I64, a["map_places"] + run * 8, 8)
        with e.loop(0, width, lanes) as lane:
            count = features - lane if e.masks else None  # without masks all features of a block exist
            e.store(read(e, w + at + lane * size, code.w, vector, count), goal + offset + lane * element, element)
        return

    def squares(r: Value, columns: int) -> None:
        """Turn as many neighbours of all features."""
        goals = a["map_places"] + (run * a["run"] + r) * 8
        with e.loop(0, width, lanes) as lane:
            # Past the last feature its own weights are read once more.
            starts = [w + (at + r * size + e.least(lane + which, features - 1) * a["ws_f"]) for which in range(lanes)]
            left = e.splat(e.emit(I32, f"trunc {features - lane} to i32"), lanes)
            known = e.compare("slt", e.lane_numbers(left.type), left)
            _turn(e, code, starts, columns, (goals, goal + lane * element), known)

    whole = a["run"] // lanes * lanes
    if code.whole:
        with e.loop(0, whole, lanes) as r:
            squares(r, lanes)
    if code.rest:
        squares(whole, code.rest)


def _turn(e: Emitter, code: PackCode, starts: list[Value], columns: int, goal: tuple[Value, Value], known: Value) -> None:
    """Neighbours of as many features as there are lanes. known: which of these exist."""
    vector, size = e.vector(SCALARS[code.total]), Type(SCALARS[code.w]).bytes
    element = vector.bytes // vector.lanes
    goals, place = goal

    def put(value: Value, j: Int, beside: int = 0) -> None:
        """Store one of the neighbours at its goal."""
        offset = e.load(I64, goals + j * 8, 8)
        if code.holes:
            with e.when(e.compare("sge", offset, e.integer(0))):
                e.store(value, place + offset + beside, element)
        else:
            e.store(value, place + offset + beside, element)

    if columns == vector.lanes or e.masks:
        count = None if columns == vector.lanes else e.integer(columns)
        turned = transpose(e, [read(e, start, code.w, vector, count) for start in starts])
        for number, column in enumerate(turned[:columns]):
            put(e.select(known, column, e.zero(vector)), number)
        return
    for lane, start in enumerate(starts):
        exists = e.emit(Type("i1"), f"extractelement {known}, i32 {lane}")
        with e.loop(0, columns) as j:
            value = read(e, start + j * size, code.w, Type(vector.scalar))
            put(e.select(exists, value, e.zero(value.type)), j, lane * element)
