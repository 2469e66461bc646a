"""Weights transformed for Winograd's convolution: G along each axis of the kernel, lanes along the features."""

from __future__ import annotations

import math
from dataclasses import dataclass

from juanji.jit.arguments import HEAD, Arguments
from juanji.jit.elements import SCALARS
from juanji.jit.emit import PTR, Emitter
from juanji.jit.ieee import ieee_mode
from juanji.jit.target import Target
from juanji.jit.toom import apply, transforms


@dataclass(frozen=True)
class WeightsCode:
    """Everything that the code depends on."""

    total: str
    sizes: tuple[tuple[int, int], ...]  # per axis the outputs of a tile and the taps

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order. width: bytes of a block's features; step: bytes from one point to the next."""
        return (*HEAD, "channels", "width", "step")


def emit_winograd_weights(code: WeightsCode, target: Target) -> str:
    """The IR of one kernel, from w[item][channel][tap][feature] to y[item][point][channel][feature]."""
    e = Emitter(target.vector_bits, target.masks)
    vector = e.vector(SCALARS[code.total])
    matrices = [transforms(m, r).weights for m, r in code.sizes]
    taps, points = math.prod(r for _, r in code.sizes), math.prod(m + r - 1 for m, r in code.sizes)
    with e.function("kernel", PTR) as (row,), ieee_mode(e, target):
        a = Arguments(e, row, code.names)
        with e.loop(a["begin"], a["end"]) as item:
            source, goal = a["w"] + item * a["channels"] * a["width"] * taps, a["y"] + item * a["step"] * points
            with e.loop(0, a["channels"]) as c, e.loop(0, a["width"], vector.bytes) as lane:
                start, end = source + c * a["width"] * taps + lane, goal + c * a["width"] + lane
                apply(
                    e,
                    matrices,
                    lambda tap: e.load(vector, start + tap * a["width"]),
                    lambda point, value: e.store(value, end + point * a["step"]),
                )
    return e.text()
