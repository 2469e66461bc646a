"""Arrays that lie alike, element by element: an expression of one or two of them and of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from juanji.jit.activations import activate
from juanji.jit.arguments import HEAD, kernel
from juanji.jit.elements import SCALARS
from juanji.jit.emit import Emitter, Type, Value
from juanji.jit.target import Target

OPERATIONS = {"add": "fadd", "multiply": "fmul"}


@dataclass(frozen=True)
class ElementwiseCode:
    """Everything that the code depends on.

    tree: ("array", 0 or 1), ("number", place among the numbers), ("add", "multiply" or "ratio", tree, tree), or (an activation without
    a parameter, tree). numbers: how many.
    """

    dtype: str
    tree: tuple[Any, ...]
    numbers: int

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order. x, w: the arrays; map_numbers: the numbers; count: elements; piece: those of an item."""
        return (*HEAD, "map_numbers", "count", "piece")


def emit_elementwise(code: ElementwiseCode, target: Target) -> str:
    """The IR of one kernel. Elements go upwards, so that y may begin before x in the same memory."""
    e = Emitter(target.vector_bits, target.masks)
    scalar = Type(SCALARS[code.dtype])
    vector = e.vector(scalar.scalar)
    with kernel(e, target, code.names) as a:
        numbers = [e.load(scalar, a["map_numbers"] + i * scalar.bytes) for i in range(code.numbers)]
        wide = [e.splat(number, vector.lanes) for number in numbers]
        with e.loop(a["begin"], a["end"]) as item:
            first = item * a["piece"]
            last = e.least(first + a["piece"], a["count"])
            whole = first + (last - first) // vector.lanes * vector.lanes
            for start, end, kind, known in ((first, whole, vector, wide), (whole, last, scalar, numbers)):
                with e.loop(start, end, max(kind.lanes, 1)) as i:
                    place = i * scalar.bytes
                    arrays = [e.load(kind, a[name] + place, scalar.bytes) for name in _read(code.tree)]
                    e.store(_value(e, code.tree, arrays, known, {}), a["y"] + place, scalar.bytes)
    return e.text()


def _read(tree: tuple[Any, ...]) -> tuple[str, ...]:
    """The names of the arrays that a tree reads: the first, or both."""
    return ("x", "w") if ("array", 1) in _nodes(tree) else ("x",)


def _nodes(tree: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    return [tree, *(node for part in tree[1:] if isinstance(part, tuple) for node in _nodes(part))]


def _value(e: Emitter, tree: tuple[Any, ...], arrays: list[Value], numbers: list[Value], known: dict[tuple[Any, ...], Value]) -> Value:
    """The value of a tree; equal parts of it are computed once."""
    if tree not in known:
        match tree:
            case ("array", int(place)):
                known[tree] = arrays[place]
            case ("number", int(place)):
                known[tree] = numbers[place]
            case (str(name), a, b):
                left, right = (_value(e, part, arrays, numbers, known) for part in (a, b))
                known[tree] = _ratio(e, left, right) if name == "ratio" else e.arith(OPERATIONS[name], left, right)
            case (str(name), a):
                value = _value(e, a, arrays, numbers, known)
                known[tree] = activate(e, value, name, e.zero(Type(value.type.scalar)))
    return known[tree]


def _ratio(e: Emitter, one: Value, other: Value) -> Value:
    """One by the other, and zero where that is zero."""
    return e.select(e.compare("oeq", other, e.zero(other.type)), e.zero(one.type), e.arith("fdiv", one, other))
