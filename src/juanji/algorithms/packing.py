"""Weights and biases in the order in which a tile reads them: one copy, from a view whose strides are known beforehand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from juanji import machine as machines
from juanji.algorithms.problem import Problem, contiguous_strides
from juanji.entry import Entry
from juanji.exact import in_words
from juanji.jit.arguments import pack
from juanji.jit.load import load
from juanji.jit.memory import SMALL, empty_aligned
from juanji.jit.pack import PackCode, emit_pack
from juanji.kept import kept
from juanji.spec import WORDS, itemsize

Array = npt.NDArray[Any]

MOST_HOLES = 3  # between two weights of a run
FEW_WEIGHTS = 1 << 14  # that NumPy copies as fast as generated code
BYTE_CYCLES = 0.25  # per byte of what generated code makes


class Piece(NamedTuple):
    """Weights that one assignment copies: packed[goal] = the view of w with this shape, start and strides in bytes."""

    goal: tuple[Any, ...]
    shape: tuple[int, ...]
    start: int
    strides: tuple[int, ...]


class Packing:
    """packed[group, block, *inner, lane] = w, where a block is `width` features and `inner` the tile's order of the reduction.

    The features of a group may not fill the last block. Then it overlaps the block before (`overlap`), or ends in zeros.

    inner: per axis its extent and its stride in elements of w. across: the groups, of one feature each, are seen as features.
    """

    def __init__(self, problem: Problem, width: int, inner: Sequence[tuple[int, int]], across: bool, overlap: bool):
        contraction, self.machine = problem.contraction, problem.machine
        axis = "g" if across else "o"
        groups = 1 if across else contraction.extent("g")
        self.features, self.feature_stride = contraction.extent(axis), contraction.w.stride(axis)
        blocks = -(-self.features // width)
        self.w_dtype, self.dtype, self.width, self.inner = problem.dtypes.w, problem.dtypes.sum, width, tuple(inner)
        self.offset = contraction.w.offset
        self.shape = (groups, blocks, *(extent for extent, _ in inner), width)
        self.strides = (contraction.w.stride("g"), width * self.feature_stride, *(stride for _, stride in inner), self.feature_stride)
        self.last = self.features - width if overlap else (blocks - 1) * width
        self.lanes = min(self.features - self.last, width)
        self.even = self.features % width == 0
        self.in_squares = abs(self.feature_stride) != 1 and width % problem.lanes == 0
        self.in_squares = self.in_squares and self.dtype not in WORDS and (self.even or not overlap)
        self.turned = self.in_squares and math.prod(self.shape) > FEW_WEIGHTS
        in_order = self.even and not self.offset and self.w_dtype == self.dtype and _contiguous(self.shape, self.strides)
        self.in_order = np.dtype(self.dtype) if in_order else None
        self.small = 0 if across else SMALL  # where groups are lanes, each multiply-add may read a vector of weights

    def __call__(self, w: Array) -> Array:
        """The packed weights: w itself, if they lie in this order already."""
        if self.in_order and w.dtype == self.in_order and w.flags.c_contiguous and w.flags.aligned:
            return w
        w = np.ascontiguousarray(w)
        packed = empty_aligned(self.shape, w.dtype if self.dtype in WORDS else self.dtype, self.small)
        if self.turned and w.dtype == np.dtype(self.w_dtype):
            self._turn(None, w, None, packed, None)
            return packed
        if self.lanes < self.width:
            packed[:, -1, ..., self.lanes :] = 0
        for goal, shape, start, strides in self._pieces:
            packed[goal] = np.ndarray(shape, w.dtype, w, start, strides)
        return in_words(packed, self.dtype) if self.dtype in WORDS else packed

    @kept
    def _pieces(self) -> list[Piece]:
        """The whole blocks, and the one that is not."""
        groups, blocks, *inner, width = self.shape
        size, whole = np.dtype(self.w_dtype).itemsize, blocks if self.even else blocks - 1
        strides, start = tuple(stride * size for stride in self.strides), self.offset * size
        pieces = [Piece((slice(None), slice(whole)), (groups, whole, *inner, width), start, strides)] if whole else []
        if not self.even:
            start += self.last * self.feature_stride * size
            goal = (slice(None), whole, ..., slice(self.lanes))
            pieces.append(Piece(goal, (groups, *inner, self.lanes), start, (strides[0], *strides[2:])))
        return pieces

    @kept
    def code(self) -> PackCode:
        """What the generated code depends on."""
        goals = self._runs[1]
        beside = self.feature_stride == 1
        whole, rest = divmod(goals.shape[1], self.machine.vector_bits // 8 // itemsize(self.dtype))
        return PackCode(self.w_dtype, self.dtype, whole > 0, 0 if beside else rest, bool((goals < 0).any()), beside)

    @kept
    def _turn(self) -> Entry:
        """By generated code: features and their neighbours in squares."""
        groups, blocks = self.shape[:2]
        step = math.prod(self.shape[2:]) * np.dtype(self.dtype).itemsize
        sizes = {"groups": groups, "blocks": blocks, "features": self.features, "width": self.width, "step": step}
        code = load(self.code, emit_pack, self.machine.target, machines.identity())
        return Entry(code, pack(self.code.names, {**self.words, **sizes}), groups * blocks, 0, groups * blocks * step * BYTE_CYCLES)

    @property
    def words(self) -> dict[str, int]:
        """The arguments of a block, which point into `tables`."""
        (starts, goals), size = self._runs, np.dtype(self.w_dtype).itemsize
        return {
            "map_runs": starts.ctypes.data, "map_places": goals.ctypes.data, "runs": len(starts), "run": goals.shape[1],
            "ws_g": self.strides[0] * size, "ws_f": self.feature_stride * size,
        }  # fmt: skip

    @property
    def tables(self) -> tuple[Array, ...]:
        """What the arguments of a block point into."""
        return self._runs

    @property
    def by_code(self) -> bool:
        """Whether generated code can put the weights in order, where they are not."""
        if self.dtype in WORDS or self.in_order:
            return False
        return self.turned or (self.feature_stride == 1 and (self.even or self.machine.target.masks))

    @property
    def blocks_follow(self) -> bool:
        """Whether blocks of the reduction, the outermost of `inner`, lie one behind the other, each with weights of all features."""
        (_, block), *inside = self.inner
        follow = sum((extent - 1) * abs(stride) for extent, stride in inside) < block
        whole = len(self._runs[0]) % self.shape[2] == 0  # no run goes on in the next
        return follow and whole and self.features * abs(self.feature_stride) <= inside[-1][1]

    @property
    def places(self) -> Array:
        """Elements from the start of w to each weight of the first feature, in the order of `inner`."""
        places: Array = np.full((), self.offset, np.int64)
        for extent, stride in self.inner:
            places = places[..., None] + np.arange(extent, dtype=np.int64) * stride
        return places.reshape(-1)

    def steps(self, following: int) -> Array:
        """Bytes from the start of w to the first feature's weights of each step, in the order of `inner`; behind them those of as many
        steps as a block of the reduction has, `following` features on."""
        places, block = self.places, math.prod(self.shape[3:-1])
        return np.append(places, places[:block] + following * self.feature_stride) * np.dtype(self.w_dtype).itemsize

    @property
    def runs_follow(self) -> bool:
        """Whether a feature's weights are one run without holes, and those of features lie one behind the other."""
        return self.feature_stride == len(self.places) == self._runs[1].size

    @property
    def beside(self) -> bool:
        """Whether whole blocks of features lie side by side in w, as numbers of the sum's type, one block behind the other."""
        return self.alone and self.feature_stride == 1

    @property
    def alone(self) -> bool:
        """Whether weights are of one group, numbers of the sum's type, and fill all blocks."""
        return self.shape[0] == 1 and self.w_dtype == self.dtype and self.even

    def as_it_lies(self, w: Array) -> Array:
        """The weights for a kernel that puts them in order itself."""
        return np.require(w, self.w_dtype, ["C", "A"])

    @kept
    def _runs(self) -> tuple[Array, Array]:
        """Bytes to each run of neighbours of a feature's weights, and to where each weight of each run goes in a block.

        The taps of one phase of a stride are near neighbours only: a run has all that lie between, whose goal is -1.
        """
        places = self.places
        order = np.argsort(places)
        places = places[order]
        breaks = np.flatnonzero(np.diff(places) > MOST_HOLES + 1)
        members = int(breaks[0]) + 1 if breaks.size else len(places)
        if self.feature_stride == 1:
            members = 1  # what lies side by side are features
        starts = places[::members]
        goals = np.full((len(starts), int(places[members - 1] - places[0]) + 1), -1, np.int64)
        goals[np.arange(len(places)) // members, places - np.repeat(starts, members)] = order * (self.width * np.dtype(self.dtype).itemsize)
        return starts * np.dtype(self.w_dtype).itemsize, goals


class TransformedPacking:
    """What generated code makes of packed weights, an item for each block of features of each group.

    shape, dtype: of an item. words: the code's arguments; tables: arrays that they point into. in_place: whether the code finds the
    weights where they lie. scratch: bytes that the code needs.
    """

    def __init__(
        self, packing: Packing, code: Any, emit: Callable[..., str], words: Mapping[str, int], shape: tuple[int, ...], dtype: npt.DTypeLike,
        tables: tuple[Array, ...] = (), in_place: bool = False, scratch: int = 0,
    ):  # fmt: skip
        self.packing, self.code, self.emit, self.words, self.tables, self.in_place = packing, code, emit, words, tables, in_place
        self.scratch = scratch
        self.shape, self.dtype = (math.prod(packing.shape[:2]), *shape), dtype

    def __call__(self, w: Array, into: Array | None = None) -> Array:
        """The transformed weights; into: an array for them, else a new one."""
        return self.transformed(self.packing.as_it_lies(w) if self.in_place else self.packing(w), into)

    def transformed(self, packed: Array, into: Array | None = None) -> Array:
        """The same of packed weights."""
        found = empty_aligned(self.shape, self.dtype) if into is None else into
        self._kernel(None, packed, None, found, None)
        return found

    @kept
    def _kernel(self) -> Entry:
        code, size = load(self.code, self.emit, self.packing.machine.target, machines.identity()), math.prod(self.shape)
        row, cycles = pack(self.code.names, self.words), size * np.dtype(self.dtype).itemsize * BYTE_CYCLES
        return Entry(code, row, self.shape[0], self.scratch, cycles)


class GroupPacking:
    """packed[block, *inner, group, feature] = w, where a block is as many whole groups as have `width` features."""

    def __init__(self, problem: Problem, width: int, inner: Sequence[tuple[int, int]]):
        c = problem.contraction
        groups, features = width // c.extent("o"), c.extent("o")
        self.dtype, self.offset = problem.dtypes.sum, c.w.offset
        self.shape = (c.extent("g") // groups, *(extent for extent, _ in inner), groups, features)
        self.strides = (groups * c.w.stride("g"), *(stride for _, stride in inner), c.w.stride("g"), c.w.stride("o"))

    def __call__(self, w: Array) -> Array:
        """The packed weights, a new array."""
        w = np.ascontiguousarray(w)
        strides = tuple(stride * w.itemsize for stride in self.strides)
        packed = empty_aligned(self.shape, w.dtype if self.dtype in WORDS else self.dtype, 0)
        packed[...] = np.ndarray(self.shape, w.dtype, w, self.offset * w.itemsize, strides)
        return in_words(packed, self.dtype) if self.dtype in WORDS else packed


def _contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether elements with these strides, in elements, lie one after another."""
    return all(length == 1 or s == c for length, s, c in zip(shape, strides, contiguous_strides(shape, 1), strict=True))


def pack_weights(problem: Problem, width: int, block: int, across: bool = False, overlap: bool = False) -> Packing | GroupPacking:
    """Weights as [group][feature block][channel block][taps][channel of the block][feature of the block], the order of the sum."""
    c = problem.contraction
    taps = [(c.extent(f"k{i}"), c.w.stride(f"k{i}")) for i in range(c.n)]
    step = c.w.stride("c")
    inner = [(problem.channels // block, block * step), *taps, (block, step)]
    if across and problem.features > 1:
        return GroupPacking(problem, width, inner)
    return Packing(problem, width, inner, across, overlap)


class BiasPacking:
    """packed[group, feature] = bias, zeros up to a multiple of `width`."""

    def __init__(self, dtype: str, groups: int, width: int):
        self.dtype, self.groups, self.width = dtype, groups, width

    def __call__(self, bias: Array) -> Array:
        """The packed biases, a new array."""
        features = bias.size // self.groups
        packed = np.zeros((self.groups, -(-features // self.width) * self.width), bias.dtype if self.dtype in WORDS else self.dtype)
        packed[:, :features] = bias.reshape(self.groups, features)
        return in_words(packed, self.dtype) if self.dtype in WORDS else packed
