"""Plans that run with everything they read and write beside protected pages."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from guarded import beside, guarded, scratch
from juanji import run
from juanji.plans import Plan

Array = npt.NDArray[Any]


def planned_beside_pages(plan: Plan, first: Array, w: Array, bias: Array | None, at_end: bool) -> Array:
    """What a plan makes of operands beside pages, with its packed weights, its scratch memory and its result beside others."""
    shape, dtype = getattr(plan.spec, f"{plan.produces}_shape"), getattr(plan.spec.dtypes, plan.produces)
    for part in plan.parts:
        pack_w, pack_bias = part.program.pack_weights, part.program.pack_bias
        part.program = dataclasses.replace(
            part.program,
            pack_weights=lambda array, pack=pack_w: beside(pack(array), at_end),  # type: ignore[misc]
            pack_bias=lambda array, pack=pack_bias: beside(pack(array), at_end),  # type: ignore[misc]
        )
    used = []

    def beside_pages(self: object, size: int) -> tuple[int, object]:
        used.append(size)
        return scratch(size, at_end)

    kept = type(run._thread).scratch
    type(run._thread).scratch = beside_pages  # type: ignore[method-assign,assignment]
    try:
        y = guarded(shape, dtype, at_end)
        y[...] = plan(beside(first, at_end), beside(w, at_end), None if bias is None else beside(bias, at_end), out=y, threads=1)
    finally:
        type(run._thread).scratch = kept  # type: ignore[method-assign]
    assert used or not plan.parts  # where nothing reaches the input there is nothing to run
    return np.array(y)
