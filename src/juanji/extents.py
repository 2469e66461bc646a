"""Between what an array of integers lies: what decides in which machine type its sums are exact."""

from typing import Any

import numpy as np
import numpy.typing as npt

from juanji import exact
from juanji import machine as machines
from juanji.jit.arguments import HEAD, pack
from juanji.jit.extents import ExtentsCode, emit_extents
from juanji.jit.memory import address
from juanji.run import run_items

Array = npt.NDArray[Any]

PIECE = 1 << 17  # elements of an item
FEW = 1 << 20  # bytes of which NumPy's two passes take no longer
BYTES = 20.0  # per cycle
X, Y = HEAD.index("x"), HEAD.index("y")


def extent(array: Array, threads: int | None = None) -> tuple[int, int]:
    """The least and the largest of an array of integers, or 0 and 0; in one pass where it is long and lies without gaps.

    >>> extent(np.arange(-5, 200_000)), extent(np.array([3], np.uint8))
    ((-5, 199999), (3, 3))
    """
    if array.nbytes <= FEW or not array.flags.c_contiguous or not array.flags.aligned or not array.dtype.isnative:
        return exact.extent(array)
    code, items = ExtentsCode(array.dtype.name), -(-array.size // PIECE)
    ends = np.empty((items, 2), array.dtype)
    row = pack(code.names, {"count": array.size, "piece": PIECE})
    row[X], row[Y] = address(array), address(ends)
    run_items(machines.loaded(code, emit_extents), row, items, 0, array.nbytes / BYTES, threads)
    least, largest = zip(*ends.tolist(), strict=True)
    return int(min(least)), int(max(largest))
