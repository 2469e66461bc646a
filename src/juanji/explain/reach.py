"""Sparse interaction: which outputs an input element reaches, and which inputs an output sees, through layers one after another."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import SupportsIndex

import numpy as np
import numpy.typing as npt

from juanji.describe import Padding, PerAxis, parse_padding, per_axis
from juanji.errors import ArgumentError, ShapeError
from juanji.explain.arguments import Index, by, runs, sizes
from juanji.spec import span

Tables = list[Index]  # per axis, the element of the input that output p and tap k meet; outside it where none is


@dataclass(frozen=True)
class Window:
    """A layer as far as reach goes: a convolution or a pooling, one value for all axes or one for each."""

    kernel: PerAxis
    stride: PerAxis = 1
    padding: Padding = 0
    dilation: PerAxis = 1

    def tables(self, size: tuple[int, ...]) -> Tables:
        """What meets what on an input of this size; ShapeError where the kernel does not fit."""
        n = len(size)
        kernel, stride, dilation = (
            per_axis("kernel", self.kernel, n, 1),
            per_axis("stride", self.stride, n, 1),
            per_axis("dilation", self.dilation, n, 1),
        )
        pads = parse_padding(self.padding, size, kernel, stride, dilation)
        found = []
        for axis, (s, k, step, d, (low, high)) in enumerate(zip(size, kernel, stride, dilation, pads, strict=True)):
            room = low + s + high - span(k, d)
            if room < 0:
                raise ShapeError(
                    f"kernel of size {k} spans {span(k, d)}, but axis {axis} is {s} + {low} + {high} padding = {low + s + high}"
                )
            found.append(np.arange(room // step + 1)[:, None] * step + np.arange(k) * d - low)
        return found


@dataclass(frozen=True, eq=False)
class Reach:
    """Elements reached, layer by layer; prints itself.

    sizes: of the input and of every layer's output. elements: as many, each the indices reached along every axis; the elements are
    all combinations of them.
    """

    direction: str
    sizes: tuple[tuple[int, ...], ...]
    elements: tuple[tuple[Index, ...], ...]

    @property
    def count(self) -> tuple[int, ...]:
        """How many elements are reached in the input and in each layer."""
        return tuple(math.prod(map(len, along)) for along in self.elements)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        order = range(len(self.sizes)) if self.direction == "reaches" else range(len(self.sizes) - 1, -1, -1)
        for turn, layer in enumerate(order):
            name = f"layer {layer} ({by(self.sizes[layer])})" if layer else f"input ({by(self.sizes[0])})"
            where = " × ".join(runs(along.tolist()) or "none" for along in self.elements[layer])
            verb = "" if turn == 0 else f"{self.direction} {self.count[layer]} of "
            yield f"{verb}{name}: {where}"


def outputs_of(position: Sequence[int], x_size: Iterable[SupportsIndex], layers: Sequence[Window]) -> Reach:
    """Which elements of every layer the input element at `position` reaches; sizes and position are over the spatial axes.

    >>> print(outputs_of((4,), (9,), [Window(3, padding=1), Window(3, padding=1)]))
    input (9): 4
    reaches 3 of layer 1 (9): 3…5
    reaches 5 of layer 2 (9): 2…6
    """
    size, tables = _stack(x_size, layers)
    elements = [_start(position, size[0])]
    for table in tables:
        elements.append(tuple(np.flatnonzero(np.isin(met, from_).any(axis=1)) for met, from_ in zip(table, elements[-1], strict=True)))
    return Reach("reaches", size, tuple(elements))


def inputs_of(position: Sequence[int], x_size: Iterable[SupportsIndex], layers: Sequence[Window]) -> Reach:
    """Which elements of the layers before, and of the input, the last layer's output at `position` sees.

    >>> print(inputs_of((3, 3), (7, 7), [Window(3, padding=1), Window(3, padding=1)]))
    layer 2 (7×7): 3 × 3
    sees 9 of layer 1 (7×7): 2…4 × 2…4
    sees 25 of input (7×7): 1…5 × 1…5
    """
    size, tables = _stack(x_size, layers)
    elements = [_start(position, size[-1])]
    for table, before in zip(reversed(tables), reversed(size[:-1]), strict=True):
        seen = [np.unique(met[to]) for met, to in zip(table, elements[-1], strict=True)]
        elements.append(tuple(met[(met >= 0) & (met < s)] for met, s in zip(seen, before, strict=True)))
    return Reach("sees", size, tuple(reversed(elements)))


def _stack(x_size: Iterable[SupportsIndex], layers: Sequence[Window]) -> tuple[tuple[tuple[int, ...], ...], list[Tables]]:
    """The size of the input and of each output, and each layer's tables."""
    size, tables = [sizes("x_size", x_size)], []
    for layer in layers:
        tables.append(layer.tables(size[-1]))
        size.append(tuple(len(table) for table in tables[-1]))
    return tuple(size), tables


def _start(position: Sequence[int], size: tuple[int, ...]) -> tuple[npt.NDArray[np.int64], ...]:
    given = sizes("position", position)
    if len(given) != len(size) or any(not 0 <= i < s for i, s in zip(given, size, strict=True)):
        raise ArgumentError(f"position (={given}) must lie inside {by(size)}")
    return tuple(np.array([i]) for i in given)
