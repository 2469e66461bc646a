"""Our own side of a row, by the public names: planned and bound beforehand, like the peers."""

from typing import Any

import numpy as np

import juanji as jj
from bench.peers import Contestant
from bench.rows import Array, Row

LIBRARY = "juanji"


def contestant(row: Row, x: Array, w: Array, threads: int, allocate: bool = False) -> tuple[Contestant, Any]:
    """Ours, and the plan it runs. With `allocate` each call makes its own result, as torch's must."""
    arguments = row.arguments
    if row.kind == "picture":
        x, w = x[None, None], w[None, None]
        arguments = {"padding": [(k // 2, k - 1 - k // 2) for k in w.shape[2:]], "boundary": row.boundary, "out_dtype": row.dtype}
    plan = jj.plan(x.shape, w, dtype=row.dtype, **arguments)
    call = plan.bind(w, None)

    def read(y: Any) -> Array:
        return np.asarray(y)[0, 0] if row.kind == "picture" else np.asarray(y)

    out = None if allocate else call(x, threads=threads)  # a result of an earlier call, as a user's loop would have

    def run() -> Any:
        return call(x, out=out, threads=threads)

    return Contestant(LIBRARY, "", run, read), plan
