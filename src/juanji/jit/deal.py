"""Weights of several tiles that lie among each other, those of the phases of a stride, put in order in one pass.

Of as many features as a vector has lanes, as many neighbours are loaded, the square is turned in registers as in `pack`, and each of its
columns goes where two tables say: one has the weight's place inside a block of its tile, the other where that block begins for these
features.
"""

from __future__ import annotations

from juanji.jit.arguments import HEAD, Arguments
from juanji.jit.elements import SCALARS
from juanji.jit.emit import I64, PTR, Emitter, Int, Value
from juanji.jit.pack import Runs, turn_run
from juanji.jit.target import Target

NAMES = (*HEAD, "map_runs", "map_starts", "map_places", "map_blocks", "runs", "run", "features", "ws_g", "vectors", "shares", "share")


def emit_deal(code: Runs, target: Target) -> str:
    """The IR of one kernel: w to y. An item is a group and a share of the features.

    map_runs: bytes to each run of a feature; map_starts: to each feature, behind the last one to that again; map_places: of each weight
    of each run, bytes inside a block; map_blocks: of each vector of features and each weight of a run, where the block begins. vectors:
    of features; share: those of an item.
    """
    e = Emitter(target.vector_bits, target.masks)
    lanes = e.vector(SCALARS[code.total]).lanes
    with e.function("kernel", PTR) as (row,):
        a = Arguments(e, row, NAMES)
        with e.loop(a["begin"], a["end"]) as item:
            group, share = e.divide(item, a["shares"])
            first = share * a["share"]
            with e.loop(0, a["runs"]) as run, e.loop(first, e.least(first + a["share"], a["vectors"])) as vector:
                near = a["w"] + group * a["ws_g"] + e.load(I64, a["map_runs"] + run * 8, 8)
                starts = [near + e.load(I64, a["map_starts"] + (vector * lanes + lane) * 8, 8) for lane in range(lanes)]
                places = a["map_places"] + run * a["run"] * 8
                blocks = a["map_blocks"] + (group * a["vectors"] + vector) * a["run"] * 8

                def put(value: Value, j: Int, beside: int, places: Value = places, blocks: Value = blocks) -> None:
                    offset = e.load(I64, places + j * 8, 8) + e.load(I64, blocks + j * 8, 8)
                    e.store(value, a["y"] + offset + beside)

                turn_run(e, code, a["run"], starts, a["features"] - vector * lanes, put)
    return e.text()
