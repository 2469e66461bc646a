"""Numbers of the matrix unit in words of 32 bits: neighbours of the reduction side by side, floats cut into parts.

A word holds two bfloat16 numbers or four bytes. A float32 number is the sum of up to three bfloat16 numbers, each the nearest one to
what those before it leave: 24 digits are three times 8, so that nothing is left after the third, and its lower half is zero.
"""

from __future__ import annotations

from collections.abc import Sequence

from juanji.jit.emit import Emitter, Type, Value

UPPER = -0x10000  # the bits of a float32 that are a bfloat16


def words(e: Emitter, numbers: Sequence[Value], parts: int) -> list[Value]:
    """In each lane the numbers of all vectors side by side, a vector for each part: two of floats, else as many as fill a word."""
    if not numbers[0].type.floating:
        return [_side_by_side(e, numbers)]
    return [joined(e, even, odd) for even, odd in zip(*(cut(e, number, parts) for number in numbers), strict=True)]


def rows(e: Emitter, numbers: Sequence[Value], parts: int) -> list[Value]:
    """The parts of two vectors of floats that follow each other, each of them one vector."""

    def behind(low: Value, high: Value) -> Value:
        short = Type("i16", 2 * low.type.lanes)
        first, second = (e.emit(short, f"bitcast {number} to {short}") for number in (low, high))
        return e.shuffle(first, second, range(1, 2 * short.lanes, 2))

    return [behind(low, high) for low, high in zip(*(cut(e, number, parts) for number in numbers), strict=True)]


def cut(e: Emitter, number: Value, parts: int) -> list[Value]:
    """The parts of a vector of floats, each in the upper halves of a vector of words, in whose lower halves anything may stand.

    Half a unit is added to a part, and what is below one cut off.
    """
    found = list[Value]()
    for part in range(parts):
        bits = e.convert("bitcast", number, "i32")
        if part < parts - 1:
            bits = e.arith("add", bits, e.const(bits.type, 0x8000))
            number = e.arith("fsub", number, e.convert("bitcast", _upper(e, bits), "f32"))
        found.append(bits)
    return found


def joined(e: Emitter, even: Value, odd: Value) -> Value:
    """The upper halves of two vectors of words side by side."""
    return e.arith("or", e.arith("lshr", even, e.const(even.type, 16)), _upper(e, odd))


def _upper(e: Emitter, bits: Value) -> Value:
    return e.arith("and", bits, e.const(bits.type, UPPER))


def _side_by_side(e: Emitter, numbers: Sequence[Value]) -> Value:
    """Whole numbers shorter than a word."""
    found, *others = (e.convert("zext", number, "i32") for number in numbers)
    for place, part in enumerate(others, start=1):
        found = e.arith("or", found, e.arith("shl", part, e.const(part.type, 32 // len(numbers) * place)))
    return found
