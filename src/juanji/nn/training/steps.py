"""Steps of optimisers by generated code: all parameters in one call, one pass through memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji import machine as machines
from juanji.channelwise import NAMES, TOTALS
from juanji.errors import ArgumentError, DtypeError, ShapeError
from juanji.jit.arguments import HEAD, pack
from juanji.jit.memory import address
from juanji.jit.steps import COLUMNS, NUMBERS, StepCode, emit_step
from juanji.run import run_items

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]

PIECE = 1 << 14  # elements of an item
CYCLES = 1.0  # per element
BIAS = HEAD.index("bias")


def take_step(
    kind: str, parameters: Arrays, gradients: Arrays, memories: tuple[Arrays, ...], numbers: Mapping[str, float], **terms: bool
) -> None:
    """Change parameters and memories in place. numbers: those of the formula in jit/steps.py, by name; terms: what of it takes part."""
    pieces: dict[str, list[list[int]]] = {}  # by type
    copied: list[Array] = []  # gradients that must outlive the call
    for name, p in parameters.items():
        if p.dtype not in NAMES:
            raise DtypeError(f"{name} has dtype {p.dtype}, but must be {', '.join(TOTALS)} to be trained")
        kept = [memory[name] for memory in memories]
        for array in (p, *kept):
            _check(name, array, p)
        g = gradients[name]
        if not (g.flags.carray and g.dtype == p.dtype):
            g = np.require(g, p.dtype, ["C", "A"])
            copied.append(g)
        if g.shape != p.shape:
            raise ShapeError(f"the gradient of {name} has shape {g.shape}, but must have {p.shape}")
        places = [address(array) for array in (p, g, *kept)]
        places += [0] * (COLUMNS - 1 - len(places))
        rows, size = pieces.setdefault(NAMES[p.dtype], []), p.itemsize
        for start in range(0, p.size, PIECE):
            rows.append([*(place + start * size for place in places), min(PIECE, p.size - start)])
    for dtype, rows in pieces.items():
        total = TOTALS[dtype]
        code = StepCode(kind, dtype, total, **terms)
        table, scalars = np.array(rows, np.int64), np.array([numbers[name] for name in NUMBERS[kind]], total)
        row = pack(code.names, {"map_pieces": address(table)})
        row[BIAS] = address(scalars)
        run_items(machines.loaded(code, emit_step), row, len(rows), 0, CYCLES * int(table[:, -1].sum()), None)


def _check(name: str, array: Array, p: Array) -> None:
    """Refuse what generated code cannot change where it lies."""
    if array.shape != p.shape or array.dtype != p.dtype:
        raise ShapeError(f"what is remembered of {name} is {array.dtype} {array.shape}, but must be {p.dtype} {p.shape}")
    if not array.flags.carray:
        raise ArgumentError(f"{name} must be contiguous, aligned and writeable to be changed in place")
