"""Our own side of a row: planned beforehand, like the peers, and bound where they may pack weights too."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import juanji as jj
from bench.peers import Contestant
from bench.problems import AnyRow, Array, PoolRow
from juanji.kinds import plan_for

LIBRARY = "juanji"


class Ours(NamedTuple):
    """How a row is run, by which algorithm with which schedule, and the seconds that the planner expects on one core; 0 of pooling."""

    contestant: Contestant
    algorithm: str
    schedule: str
    expected: float = 0.0


def contestant(row: AnyRow, first: Array, second: Array, threads: int, allocate: bool = False) -> Ours:
    """Ours. With `allocate` each call makes its own result, as torch's must; otherwise it has that of an earlier call, as in a loop.

    A gradient gets both of its operands anew in every call, so pays for packing them.
    """
    if isinstance(row, PoolRow):
        return Ours(Contestant(LIBRARY, "", _pooling(row, first, second, threads, allocate), np.asarray), "windows", "")
    if row.kind == "picture":
        first, second = first[None, None], second[None, None]
    plan = plan_for(row.describe(), row.algorithm, produces=row.product)
    bound = plan.bind(second) if row.product == "y" or row.kind == "transposed" else None

    def call(out: Array | None) -> Array:
        if bound is not None:
            return bound(first, out=out, threads=threads)
        return plan(first, second, out=out, threads=threads)

    out = None if allocate else call(None)

    def read(y: Any) -> Array:
        return np.asarray(y)[0, 0] if row.kind == "picture" else np.asarray(y)

    explained = plan.explain()
    schedule = "; ".join(explained["schedule"])
    return Ours(Contestant(LIBRARY, "", lambda: call(out), read), explained["algorithm"], schedule, explained["seconds"])


def _pooling(row: PoolRow, x: Array, dy: Array, threads: int, allocate: bool) -> Callable[[], Any]:
    """The public functions; backward has what its forward pass left: the places of the maxima, the norms."""
    options: dict[str, Any] = {"kind": row.op, "layout": row.layout}
    forward, backward = (jj.adaptive_pool, jj.adaptive_pool_grad) if row.adaptive else (jj.pool, jj.pool_grad)
    if not row.adaptive:
        options |= {"stride": row.stride, "padding": row.padding}
    if row.product == "y":
        out = None if allocate else forward(x, row.size, **options)
        return lambda: forward(x, row.size, **options, out=out, threads=threads)
    match row.op:
        case "max":
            left = {"indices": forward(x, row.size, **options, return_indices=True)[1]}
        case "lp":
            left = {"y": forward(x, row.size, **options)}
        case _:
            left = {}
    return lambda: backward(x, dy, row.size, **options, **left, threads=threads)
