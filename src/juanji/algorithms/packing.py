"""Weights and biases in the order in which a tile reads them: one copy, from a view whose strides are known beforehand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.algorithms.problem import Problem
from juanji.contraction import Contraction
from juanji.jit.memory import empty_aligned

Array = npt.NDArray[Any]


class Packing:
    """packed[group, block, *inner, lane] = w, where a block is `width` features and `inner` the tile's order of the reduction.

    The features of a group may not fill the last block. Then it overlaps the block before (`overlap`), or ends in zeros.

    inner: per axis its extent and its stride in elements of w.
    """

    def __init__(self, contraction: Contraction, dtype: str, width: int, inner: Sequence[tuple[int, int]], axis: str, overlap: bool):
        groups = 1 if axis == "g" else contraction.extent("g")
        features, self.feature_stride = contraction.extent(axis), contraction.w.stride(axis)
        blocks = -(-features // width)
        self.dtype, self.width = dtype, width
        self.offset = contraction.w.offset
        self.shape = (groups, blocks, *(extent for extent, _ in inner), width)
        self.strides = (contraction.w.stride("g"), width * self.feature_stride, *(stride for _, stride in inner), self.feature_stride)
        self.last = features - width if overlap else (blocks - 1) * width
        self.lanes = min(features - self.last, width)
        self.even = features % width == 0

    def __call__(self, w: Array) -> Array:
        """The packed weights, a new array."""
        w = np.ascontiguousarray(w)
        packed = empty_aligned(self.shape, self.dtype)
        groups, blocks, *inner, width = self.shape
        whole = blocks if self.even else blocks - 1
        packed[:, :whole] = self._view(w, 0, (groups, whole, *inner, width), self.strides)
        if not self.even:
            packed[:, whole, ..., self.lanes :] = 0
            strides = (self.strides[0], *self.strides[2:])
            packed[:, whole, ..., : self.lanes] = self._view(w, self.last * self.feature_stride, (groups, *inner, self.lanes), strides)
        return packed

    def _view(self, w: Array, start: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Array:
        if not math.prod(shape):
            return np.empty(shape, w.dtype)
        return np.ndarray(shape, w.dtype, w, (self.offset + start) * w.itemsize, tuple(stride * w.itemsize for stride in strides))


def pack_weights(problem: Problem, width: int, block: int, axis: str, overlap: bool) -> Packing:
    """Weights as [group][feature block][channel block][taps][channel of the block][feature of the block], the order of the sum."""
    c = problem.contraction
    taps = [(c.extent(f"k{i}"), c.w.stride(f"k{i}")) for i in range(c.n)]
    step = c.w.stride("c")
    inner = [(problem.channels // block, block * step), *taps, (block, step)]
    return Packing(c, problem.dtypes.sum, width, inner, axis, overlap)


class BiasPacking:
    """packed[group, feature] = bias, zeros up to a multiple of `width`."""

    def __init__(self, dtype: str, groups: int, width: int):
        self.dtype, self.groups, self.width = dtype, groups, width

    def __call__(self, bias: Array) -> Array:
        """The packed biases, a new array."""
        features = bias.size // self.groups
        packed = np.zeros((self.groups, -(-features // self.width) * self.width), self.dtype)
        packed[:, :features] = bias.reshape(self.groups, features)
        return packed
