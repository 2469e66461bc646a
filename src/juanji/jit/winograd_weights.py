"""Weights transformed for Winograd's convolution: G along each axis of the kernel, lanes along the features."""

from __future__ import annotations

import math
from dataclasses import dataclass

from juanji.jit.arguments import HEAD, Arguments, kernel
from juanji.jit.elements import SCALARS
from juanji.jit.emit import Emitter, Int, Type, Value
from juanji.jit.pack import BLOCK_ARGUMENTS, PackCode, pack_run
from juanji.jit.target import Target
from juanji.jit.toom import apply, transforms


@dataclass(frozen=True)
class WeightsCode:
    """Everything that the code depends on."""

    total: str
    sizes: tuple[tuple[int, int], ...]  # per axis the outputs of a tile and the taps
    packs: PackCode | None  # how weights are put in order first; None if they are

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order. width: bytes of a block's features; step: bytes from one point to the next; block: so many channels
        are put in order at a time."""
        return (*HEAD, "channels", "width", "step", *((*BLOCK_ARGUMENTS, "ws_c", "block", "blocks", "features") if self.packs else ()))


def emit_winograd_weights(code: WeightsCode, target: Target) -> str:
    """The IR of one kernel, to y[item][point][channel][feature]: from w[item][channel][tap][feature], or from weights as they lie."""
    e = Emitter(target.vector_bits, target.masks)
    element = Type(SCALARS[code.total]).bytes
    taps, points = math.prod(r for _, r in code.sizes), math.prod(m + r - 1 for m, r in code.sizes)
    with kernel(e, target, code.names) as a:
        width, step = a["width"], a["step"]
        with e.loop(a["begin"], a["end"]) as item:
            goal = a["y"] + item * step * points
            if code.packs is None:
                transform(e, code, (a["w"] + item * a["channels"] * width * taps, goal), a["channels"], width, step)
            else:
                group, block = e.divide(item, a["blocks"])
                f = block * (width // element)
                with e.loop(0, a["channels"], a["block"]) as c:
                    source = a["w"] + group * a["ws_g"] + f * a["ws_f"] + c * a["ws_c"]
                    order_and_transform(e, code, a, (source, a["scratch"], goal + c * width), a["features"] - f, width)
    return e.text()


def order_and_transform(
    e: Emitter, code: WeightsCode, a: Arguments, pointers: tuple[Value, Value, Value], features: Value, width: Int
) -> None:
    """A block of channels and features, of `width` bytes, from weights as they lie. pointers: where its first weight does, room for it in
    order, and where its first point goes; features: so many exist from the first on."""
    assert code.packs is not None
    source, room, goal = pointers
    with e.loop(0, a["runs"]) as run:
        pack_run(e, code.packs, a, run, (source, room), features, width // Type(SCALARS[code.total]).bytes)
    transform(e, code, (room, goal), a["block"], width, a["step"])


def transform(e: Emitter, code: WeightsCode, pointers: tuple[Value, Value], channels: Value, width: Int, step: Value) -> None:
    """From [channel][tap][feature] to [point][channel][feature], of `width` bytes of features; step: bytes from one point to the next."""
    source, goal = pointers
    vector = e.vector(SCALARS[code.total])
    matrices = [transforms(m, r).weights for m, r in code.sizes]
    taps = math.prod(r for _, r in code.sizes)
    with e.loop(0, channels) as c, e.loop(0, width, vector.bytes) as lane:
        start, end = source + c * width * taps + lane, goal + c * width + lane
        apply(
            e,
            matrices,
            lambda tap: e.load(vector, start + tap * width),
            lambda point, value: e.store(value, end + point * step),
        )
