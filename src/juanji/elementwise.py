"""An expression of arrays of one shape, element by element, as a call that waits: what stands between the convolutions of a network.

An expression is a tree: the place of an array, a number, ("add" or "multiply", tree, tree), ("ratio", tree, tree), which is 0 where the
second is, or (an activation, tree).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji import machine as machines
from juanji.jit.arguments import HEAD, pack
from juanji.jit.elementwise import ElementwiseCode, emit_elementwise
from juanji.jit.memory import address
from juanji.run import Ready

Array = npt.NDArray[Any]
Tree = int | float | tuple[Any, ...]  # an int is the place of an array, a float is a number

PIECE = 1 << 14  # elements of an item
CYCLES = 0.25  # per element and array
ACTIVATIONS = ("relu", "relu6", "sigmoid", "tanh")
FLOATS = (np.float32, np.float64)
X, W, Y = (HEAD.index(name) for name in ("x", "w", "y"))


def ready(tree: Tree, arrays: Sequence[Array], y: Array, threads: int | None) -> Ready:
    """The expression of one or two arrays, into y: a call on arrays that stay where they are, not for two threads at a time.

    All are C-contiguous, float32 or float64 like y, and as long as y, which may be one of them; or begin before the only one in the same
    memory.

    >>> x, y = np.float32([-1, 2, 7]), np.empty(3, np.float32)
    >>> ready(("relu6", ("add", 0, 1.0)), [x], y, None)()
    >>> y
    array([0., 3., 6.], dtype=float32)
    """
    numbers: list[float] = []
    key = _key(tree, numbers)
    code = ElementwiseCode(y.dtype.name, key, len(numbers))
    table = np.array(numbers or [0.0], y.dtype)
    words = {"map_numbers": table.ctypes.data, "count": y.size, "piece": PIECE}
    row = pack(code.names, words)
    row[X], row[W], row[Y] = address(arrays[0]), address(arrays[-1]), address(y)
    cycles = CYCLES * y.size * (1 + len(arrays))
    return Ready(machines.loaded(code, emit_elementwise), row, -(-y.size // PIECE), 0, cycles, threads, (*arrays, y, table))


def _key(tree: Tree, numbers: list[float]) -> tuple[Any, ...]:
    """The tree as code sees it: numbers are places in memory."""
    if isinstance(tree, tuple):
        return (tree[0], *(_key(part, numbers) for part in tree[1:]))
    if isinstance(tree, int):
        return "array", tree
    if tree not in numbers:
        numbers.append(tree)
    return "number", numbers.index(tree)
