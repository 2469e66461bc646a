"""Weights turned into the order in which a tile reads them: all of them once, or a block at a time inside the tile's own kernel.

Each feature's weights lie in runs of neighbours. Of as many features as a vector has lanes, as many neighbours are loaded,
the square is turned in registers, and each of its columns, one weight of all these features, is stored where a table says.
Where features lie side by side, vectors of them are copied there as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

from juanji.jit.arguments import HEAD, Arguments
from juanji.jit.elements import SCALARS, read, transpose
from juanji.jit.emit import I32, I64, PTR, Emitter, Int, Type, Value
from juanji.jit.target import Target

BLOCK_ARGUMENTS = ("map_runs", "map_places", "runs", "run", "ws_g", "ws_f")


Put = Callable[[Value, Int, int], None]  # a vector of weights, or one; which of a run's neighbours it is; bytes from its place on


@dataclass(frozen=True)
class Runs:
    """What the code depends on that turns neighbours."""

    w: str
    total: str
    whole: bool  # whether a run has whole vectors of neighbours
    rest: int  # neighbours beyond these


@dataclass(frozen=True)
class PackCode(Runs):
    """Everything that the code depends on."""

    holes: bool  # whether some weights of a run are not wanted: their goal is below zero
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

    with e.loop(0, width, lanes) as lane:
        # Past the last feature its own weights are read once more.
        starts = [w + (at + e.least(lane + which, features - 1) * a["ws_f"]) for which in range(lanes)]

        def put(value: Value, j: Int, beside: int, lane: Value = lane) -> None:
            offset = e.load(I64, a["map_places"] + (run * a["run"] + j) * 8, 8)
            place = goal + lane * element + offset + beside
            with e.when(e.compare("sge", offset, e.integer(0))) if code.holes else nullcontext():
                e.store(value, place, element)

        turn_run(e, code, a["run"], starts, features - lane, put)


def turn_run(e: Emitter, code: Runs, run: Value, starts: list[Value], features: Value, put: Put) -> None:
    """Turn a run of neighbours, from these starts on, of as many features as there are lanes; zeros stand for all but the first
    `features` of them."""
    vector, size = e.vector(SCALARS[code.total]), Type(SCALARS[code.w]).bytes
    left = e.splat(e.emit(I32, f"trunc {features} to i32"), vector.lanes)
    known = e.compare("slt", e.lane_numbers(left.type), left)
    whole = run // vector.lanes * vector.lanes
    if code.whole:
        with e.loop(0, whole, vector.lanes) as r:
            _turn(e, code, [start + r * size for start in starts], (r, vector.lanes), put, known)
    if code.rest:
        _turn(e, code, [start + whole * size for start in starts], (whole, code.rest), put, known)


def _turn(e: Emitter, code: Runs, starts: list[Value], columns: tuple[Value, int], put: Put, known: Value) -> None:
    """So many neighbours, by the number of the first, of as many features as there are lanes. known: which of these exist."""
    vector, size = e.vector(SCALARS[code.total]), Type(SCALARS[code.w]).bytes
    first, count = columns
    if count == vector.lanes or e.masks:
        some = None if count == vector.lanes else e.integer(count)
        turned = transpose(e, [read(e, start, code.w, vector, some) for start in starts])
        for number, column in enumerate(turned[:count]):
            put(e.select(known, column, e.zero(vector)), first + number, 0)
        return
    for lane, start in enumerate(starts):
        exists = e.emit(Type("i1"), f"extractelement {known}, i32 {lane}")
        with e.loop(0, count) as j:
            value = read(e, start + j * size, code.w, Type(vector.scalar))
            put(e.select(exists, value, e.zero(value.type)), first + j, lane * (vector.bytes // vector.lanes))
