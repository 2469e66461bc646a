"""Weights and biases in the order in which a tile reads them: one copy, from a view whose strides are known beforehand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from juanji import machine as machines
from juanji.algorithms.problem import Problem, contiguous_strides
from juanji.exact import in_words
from juanji.jit.arguments import HEAD, Row, pack
from juanji.jit.load import load
from juanji.jit.memory import address, empty_aligned
from juanji.jit.pack import PackCode, emit_pack
from juanji.jit.store import Code
from juanji.kept import kept
from juanji.run import run_items
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
        self.turned = abs(self.feature_stride) != 1 and width % problem.lanes == 0 and math.prod(self.shape) > FEW_WEIGHTS
        self.turned = self.turned and self.dtype not in WORDS and (self.even or not overlap)
        in_order = self.even and not self.offset and self.w_dtype == self.dtype and _contiguous(self.shape, self.strides)
        self.in_order = np.dtype(self.dtype) if in_order else None

    def __call__(self, w: Array) -> Array:
        """The packed weights: w itself, if they lie in this order already."""
        if self.in_order and w.dtype == self.in_order and w.flags.c_contiguous and w.flags.aligned:
            return w
        w = np.ascontiguousarray(w)
        packed = empty_aligned(self.shape, w.dtype if self.dtype in WORDS else self.dtype)
        if self.turned and w.dtype == np.dtype(self.w_dtype):
            self._turn(w, packed)
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
        return PackCode(self.w_dtype, self.dtype, bool((goals < 0).any()), whole > 0, 0 if beside else rest, beside)

    def _turn(self, w: Array, packed: Array) -> None:
        """By generated code: features and their neighbours in squares."""
        groups, blocks = self.shape[:2]
        words = {
            **self.words, "groups": groups, "blocks": blocks, "features": self.features, "width": self.width,
            "step": math.prod(self.shape[2:]) * packed.itemsize,
        }  # fmt: skip
        row = pack(self.code.names, words)
        row[HEAD.index("w")], row[HEAD.index("y")] = address(w), address(packed)
        code = load(self.code, emit_pack, self.machine.target, machines.identity())
        run_items(code, row, groups * blocks, 0, packed.nbytes * BYTE_CYCLES, None)

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

    @property
    def beside(self) -> bool:
        """Whether whole blocks of features lie side by side in w, as numbers of the sum's type, one block behind the other."""
        alone = self.shape[0] == 1 and self.w_dtype == self.dtype
        return alone and self.feature_stride == 1 and self.even

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
    weights where they lie.
    """

    def __init__(
        self, packing: Packing, code: Any, emit: Callable[..., str], words: Mapping[str, int], shape: tuple[int, ...], dtype: npt.DTypeLike,
        tables: tuple[Array, ...] = (), in_place: bool = False,
    ):  # fmt: skip
        self.packing, self.code, self.emit, self.words, self.tables, self.in_place = packing, code, emit, words, tables, in_place
        self.shape, self.dtype = (math.prod(packing.shape[:2]), *shape), dtype

    def __call__(self, w: Array) -> Array:
        """The transformed weights, a new array."""
        packed, found = self.packing.as_it_lies(w) if self.in_place else self.packing(w), empty_aligned(self.shape, self.dtype)
        row = type(self._row).from_buffer_copy(self._row)
        row[HEAD.index("w")], row[HEAD.index("y")] = address(packed), address(found)
        run_items(self._kernel, row, self.shape[0], 0, found.nbytes * BYTE_CYCLES, None)
        return found

    @kept
    def _kernel(self) -> Code:
        return load(self.code, self.emit, self.packing.machine.target, machines.identity())

    @kept
    def _row(self) -> Row:
        return pack(self.code.names, self.words)


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
        packed = empty_aligned(self.shape, w.dtype if self.dtype in WORDS else self.dtype)
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
