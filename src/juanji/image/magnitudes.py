"""The magnitude of pairs of derivatives: one pass over both, to pixels."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji import machine as machines
from juanji.jit.arguments import HEAD, pack
from juanji.jit.magnitude import MagnitudeCode, emit_magnitude
from juanji.jit.memory import address, empty_aligned
from juanji.run import run_items

Array = npt.NDArray[Any]

PIECE = 1 << 14  # pixels of an item
CYCLES = 1.0  # per pixel
X, Y = HEAD.index("x"), HEAD.index("y")


def magnitude(pairs: Array, dtype: np.dtype[Any], threads: int | None = None) -> Array:
    """√(x² + y²) of C-contiguous floats (batch, 2, rows, ...) as pixels (batch, 1, rows, ...).

    >>> magnitude(np.array([[[[3.0]], [[4.0]]]]), np.dtype("uint8"))
    array([[[[5]]]], dtype=uint8)
    """
    result = empty_aligned((pairs.shape[0], 1, *pairs.shape[2:]), dtype)
    code = MagnitudeCode(pairs.dtype.name, dtype.name)
    plane = math.prod(pairs.shape[2:])
    pieces = -(-plane // PIECE)
    beyond = result.nbytes > 2 * machines.probe().l2  # the second cache would have forgotten it before anyone reads it
    row = pack(code.names, {"plane": plane, "piece": PIECE, "pieces": pieces, "stream": int(beyond)})
    row[X], row[Y] = address(pairs), address(result)
    run_items(machines.loaded(code, emit_magnitude), row, pairs.shape[0] * pieces, 0, CYCLES * result.size, threads)
    return result
