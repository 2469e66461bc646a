"""Our own side of a row, by the public names: planned and bound beforehand, like the peers."""

from typing import Any

import numpy as np

import juanji as jj
from bench.peers import Contestant
from bench.rows import Array, Row

LIBRARY = "juanji"


def contestant(row: Row, x: Array, w: Array, threads: int, allocate: bool = False) -> tuple[Contestant, Any]:
    """Ours, and the plan it runs. With `allocate` each call makes its own result, as torch's must."""
    plan: Any
    if row.kind == "picture":
        call = jj.image.plan_filter(x.shape, row.dtype, w, boundary=row.boundary)
        plan, shape = call.plan, x.shape
    else:
        plan = jj.plan(x.shape, w.shape, dtype=row.dtype, **row.arguments)
        call, shape = plan.bind(w, None), plan.spec.y_shape
    out = None if allocate else np.empty(shape, row.dtype)

    def run() -> Any:
        return call(x, out=out, threads=threads)

    return Contestant(LIBRARY, "", run, np.asarray), plan
