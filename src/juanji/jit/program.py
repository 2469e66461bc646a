"""A contraction and a schedule, made runnable: what a compiled kernel is called with, and how its operands are laid out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from juanji.jit.arguments import Row, pack

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Program:
    """Everything about a kernel but its machine code.

    items: independent pieces of work, numbered; any split of them over calls and threads gives the same bits.
    scratch: bytes that each thread needs.
    words: the fixed arguments by name. x_axes: names of arguments that are strides of the input, and of which dimension.
    tables: arrays that the words point into.
    x_skipped: (dimension, elements) of the input before the first element that is read; y_start: bytes of the output likewise.
    goal: which of the arrays that a plan makes is written: the result, or a strip of border.
    """

    code: Any  # a frozen dataclass that the generated code depends on, and nothing else
    emit: Callable[..., str]
    names: tuple[str, ...]
    words: Mapping[str, int]
    x_axes: Mapping[str, int]
    close: tuple[int, ...]  # the input's dimensions that must lie as in a C-contiguous array, innermost first
    items: int
    scratch: int
    pack_weights: Callable[[Array], Array]
    pack_bias: Callable[[Array], Array]
    tables: tuple[Array, ...] = field(default=())
    x_skipped: tuple[tuple[int, int], ...] = ()
    y_start: int = 0
    goal: int = 0

    def row(self, x_strides: tuple[int, ...]) -> Row:
        """The row of arguments for an input with these strides in bytes."""
        strides = {name: x_strides[dimension] if dimension >= 0 else 0 for name, dimension in self.x_axes.items()}
        return pack(self.names, {**self.words, **strides})

    def x_start(self, x_strides: tuple[int, ...]) -> int:
        """Bytes from the input's first element to the first that is read."""
        return sum(x_strides[dimension] * count for dimension, count in self.x_skipped)

    def fits(self, shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int) -> bool:
        """Whether an array can be read where it lies."""
        step = itemsize
        for dimension in self.close:
            if strides[dimension] != step and shape[dimension] > 1:
                return False
            step *= shape[dimension]
        return True
