"""Weights of the phases of a gradient in the order of their tiles: where they lie among each other, in one pass over them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji import machine as machines
from juanji.algorithms.packing import BYTE_CYCLES, FEW_WEIGHTS, Packing, TransformedPacking
from juanji.algorithms.problem import aligned
from juanji.entry import Entry
from juanji.jit.arguments import pack
from juanji.jit.deal import NAMES, emit_deal
from juanji.jit.load import load
from juanji.jit.memory import empty_aligned
from juanji.jit.pack import Runs
from juanji.kept import kept
from juanji.spec import itemsize

Array = npt.NDArray[Any]
Pack = Callable[[Array], Array]

SHARE = 8  # vectors of features of an item, whose neighbours are read one behind the other


class Dealing:
    """What several packings make of the same weights; each weight goes to one of them.

    Kernel axes are innermost, so that several phases want neighbours: read by each, lines would come from memory as often.
    """

    def __init__(self, packs: Sequence[Packing | TransformedPacking]):
        self.packs = packs
        self.packings = [_before(pack) for pack in packs]
        self.one = self.packings[0]
        self.places = np.concatenate([packing.places for packing in self.packings])
        self.order = np.argsort(self.places)
        breaks = np.flatnonzero(np.diff(self.places[self.order]) != 1)
        self.run = int(breaks[0]) + 1 if breaks.size else len(self.places)

    @classmethod
    def of(cls, packs: Sequence[Pack]) -> Dealing | None:
        """What deals weights out to all of these; None where they do not lie so."""
        found = [pack for pack in packs if isinstance(pack, Packing) or (isinstance(pack, TransformedPacking) and not pack.in_place)]
        packings = [_before(pack) for pack in found]
        if len(packs) < 2 or len(found) < len(packs) or not all(packing.in_squares for packing in packings):
            return None
        if sum(math.prod(packing.shape) for packing in packings) <= FEW_WEIGHTS:
            return None
        dealing = cls(found)
        return dealing if dealing._mixed else None

    @property
    def _mixed(self) -> bool:
        """Whether the weights of a feature are runs of neighbours, all alike, which go to more than one tile."""
        if len(self.places) % self.run:
            return False
        runs = self.places[self.order].reshape(-1, self.run)
        numbers = np.repeat(np.arange(len(self.packings)), [len(packing.places) for packing in self.packings])
        whose = numbers[self.order].reshape(-1, self.run)
        alike = (np.diff(runs, axis=1) == 1).all() and (np.diff(runs[:, 0]) >= self.run).all() and (whose == whose[0]).all()
        return bool(alike and (whose[0] != whose[0, 0]).any())

    def __call__(self, w: Array, into: Sequence[Array] | None = None) -> list[Array]:
        """The packed weights of each; into: arrays for those that are transformed."""
        w = np.require(w, self.one.w_dtype, ["C", "A"])
        room = empty_aligned((self._starts[-1],), np.uint8)
        packed = []
        for packing, start in zip(self.packings, self._starts[:-1], strict=True):
            array = np.ndarray(packing.shape, packing.dtype, room, start)
            array[:, -1, ..., -(-packing.lanes // self._lanes) * self._lanes :] = 0
            packed.append(array)
        self._kernel(None, w, None, room, None)
        goals: Sequence[Array | None] = into or [None] * len(packed)
        return [
            pack.transformed(array, goal) if isinstance(pack, TransformedPacking) else array
            for pack, array, goal in zip(self.packs, packed, goals, strict=True)
        ]

    @property
    def _lanes(self) -> int:
        return self.one.machine.vector_bits // 8 // itemsize(self.one.dtype)

    @property
    def _vectors(self) -> int:
        """Vectors that hold the features of a group."""
        return -(-self.one.features // self._lanes)

    @property
    def _shares(self) -> int:
        return -(-self._vectors // SHARE)

    @kept
    def _starts(self) -> list[int]:
        """Where what each packing makes begins, and the end."""
        starts = [0]
        for packing in self.packings:
            starts.append(starts[-1] + aligned(math.prod(packing.shape) * itemsize(packing.dtype)))
        return starts

    @kept
    def _kernel(self) -> Entry:
        one, tables = self.one, self._tables
        words = {
            **{name: table.ctypes.data for name, table in tables.items()}, "runs": len(tables["map_runs"]), "run": self.run,
            "features": one.features, "ws_g": one.strides[0] * itemsize(one.w_dtype), "vectors": self._vectors, "shares": self._shares,
            "share": SHARE,
        }  # fmt: skip
        runs = Runs(one.w_dtype, one.dtype, self.run >= self._lanes, self.run % self._lanes)
        code = load(runs, emit_deal, one.machine.target, machines.identity())
        return Entry(code, pack(NAMES, words), one.shape[0] * self._shares, 0, self._starts[-1] * BYTE_CYCLES)

    @kept
    def _tables(self) -> dict[str, Array]:
        """In bytes: to each run, to each feature, where each weight of each run goes in a block, where blocks begin."""
        one, size = self.one, itemsize(self.one.w_dtype)
        inside, begins = [], []
        first = np.arange(self._vectors) * self._lanes
        for packing, start in zip(self.packings, self._starts[:-1], strict=True):
            count, bytes_each = len(packing.places), itemsize(packing.dtype)
            inside.append(np.arange(count) * (packing.width * bytes_each))
            blocks = np.arange(packing.shape[0])[:, None] * packing.shape[1] + first // packing.width
            begin = start + blocks * (count * packing.width * bytes_each) + first % packing.width * bytes_each
            begins.append(np.broadcast_to(begin[..., None], (*begin.shape, count)))
        of_first_run = self.order[: self.run]
        return {
            "map_runs": self.places[self.order][:: self.run] * size,
            "map_starts": np.minimum(np.arange(self._vectors * self._lanes), one.features - 1) * one.feature_stride * size,
            "map_places": np.concatenate(inside)[self.order],
            "map_blocks": np.ascontiguousarray(np.concatenate(begins, axis=-1)[..., of_first_run]),
        }


def _before(pack: Packing | TransformedPacking) -> Packing:
    """What is done before a transformation."""
    return pack.packing if isinstance(pack, TransformedPacking) else pack
