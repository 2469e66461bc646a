"""The least and the largest of an array of integers, in one pass over it."""

from __future__ import annotations

from dataclasses import dataclass

from juanji.exact import SIGNED
from juanji.jit.arguments import HEAD, kernel
from juanji.jit.elements import SCALARS
from juanji.jit.emit import Emitter, Type, Value
from juanji.jit.target import Target

VECTORS = 4  # at a time, each with results of its own, which do not wait for each other


@dataclass(frozen=True)
class ExtentsCode:
    """Everything that the code depends on."""

    dtype: str

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order. count: elements; piece: those of an item, which leaves two numbers in y."""
        return (*HEAD, "count", "piece")


def emit_extents(code: ExtentsCode, target: Target) -> str:
    """The IR of one kernel. Where a piece is no longer than some vectors, its elements are met one by one."""
    e = Emitter(target.vector_bits, target.masks)
    scalar = Type(SCALARS[code.dtype])
    vector = e.vector(scalar.scalar)
    width = VECTORS * vector.lanes
    wanted = [f"{'s' if code.dtype in SIGNED else 'u'}{end}" for end in ("min", "max")]
    with kernel(e, target, code.names) as a, e.loop(a["begin"], a["end"]) as item:
        first = item * a["piece"]
        last = e.least(first + a["piece"], a["count"])
        whole = first + (last - first) // width * width
        start = e.load(scalar, a["x"] + first * scalar.bytes)
        found = [[e.var(vector, e.splat(start, vector.lanes)) for _ in range(VECTORS)] for _ in wanted]
        with e.loop(first, whole, width) as i:
            for v in range(VECTORS):
                numbers = e.load(vector, a["x"] + (i + v * vector.lanes) * scalar.bytes, scalar.bytes)
                for name, ends in zip(wanted, found, strict=True):
                    ends[v].set(e.intrinsic(name, vector, ends[v].get(), numbers))
        for place, (name, ends) in enumerate(zip(wanted, found, strict=True)):
            end = e.var(scalar, _of_all(e, name, [found.get() for found in ends]))
            with e.loop(whole, last) as i:
                end.set(e.intrinsic(name, scalar, end.get(), e.load(scalar, a["x"] + i * scalar.bytes)))
            e.store(end.get(), a["y"] + (item * 2 + place) * scalar.bytes)
    return e.text()


def _of_all(e: Emitter, name: str, vectors: list[Value]) -> Value:
    """The least or the largest of all lanes of some vectors."""
    while len(vectors) > 1:
        one, other, *rest = vectors
        vectors = [*rest, e.intrinsic(name, one.type, one, other)]
    (ends,) = vectors
    while ends.type.lanes > 1:
        half = ends.type.lanes // 2
        low, high = e.shuffle(ends, ends, range(half)), e.shuffle(ends, ends, range(half, 2 * half))
        ends = e.intrinsic(name, low.type, low, high)
    return e.emit(Type(ends.type.scalar), f"extractelement {ends}, i32 0")
