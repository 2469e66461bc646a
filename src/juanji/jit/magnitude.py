"""The length √(x² + y²) of pairs of numbers that lie a plane apart, as the elements of a picture."""

from __future__ import annotations

from dataclasses import dataclass

from juanji.exact import SATURATING
from juanji.jit.arguments import HEAD, kernel
from juanji.jit.elements import SCALARS, finish, finish_line
from juanji.jit.emit import Emitter, Type, Value
from juanji.jit.target import Target

VECTORS = 4  # at a time: of floats, as many as make one of bytes


@dataclass(frozen=True)
class MagnitudeCode:
    """Everything that the code depends on: the types of the pairs and of their lengths."""

    x: str
    y: str

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order. plane: elements of one; piece: those of an item; pieces: of a plane; stream: past the caches."""
        return (*HEAD, "plane", "piece", "pieces", "stream")


def emit_magnitude(code: MagnitudeCode, target: Target) -> str:
    """The IR of one kernel. Squares are rounded before they are added, as NumPy does."""
    e = Emitter(target.vector_bits, target.masks)
    scalar, out = Type(SCALARS[code.x]), Type(SCALARS[code.y])
    vector = e.vector(scalar.scalar)
    width = VECTORS * vector.lanes
    with kernel(e, target, code.names) as a:
        with e.loop(a["begin"], a["end"]) as item:
            image, piece = e.divide(item, a["pieces"])
            first = piece * a["piece"]
            last = e.least(first + a["piece"], a["plane"])
            whole = first + (last - first) // width * width
            xs, ys = a["x"] + image * a["plane"] * (2 * scalar.bytes), a["y"] + image * a["plane"] * out.bytes

            def length(i: Value, kind: Type) -> Value:
                """Of one pair, or of a vector of them."""
                place = xs + i * scalar.bytes
                parts = (e.load(kind, place, scalar.bytes), e.load(kind, place + a["plane"] * scalar.bytes, scalar.bytes))
                squares = [e.arith("fmul", part, part) for part in parts]
                return e.intrinsic("sqrt", kind, e.arith("fadd", *squares))

            with e.loop(first, whole, width) as i:
                goal = ys + i * out.bytes
                lengths = [length(i + v * vector.lanes, vector) for v in range(VECTORS)]
                stored = finish_line(e, lengths, code.y, None, e.zero(scalar), SATURATING)
                past = e.streamable(width * out.bytes, a["stream"], goal)
                for condition, put in ((e.when(past), e.stream), (e.otherwise(past), e.store)):
                    with condition:
                        for v, value in enumerate(stored):
                            put(value, goal + v * value.type.bytes)
            with e.loop(whole, last) as i:
                e.store(finish(e, length(i, scalar), code.y, None, e.zero(scalar)), ys + i * out.bytes)
        e.fence()
    return e.text()
