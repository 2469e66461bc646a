"""Leaving out taps that meet only zeros outside the array, where nobody can tell.

Where padding is zeros, many taps of a kernel as large as the picture add 0·w and nothing else. If w is finite that is +0 or −0, and adding
a zero changes no sum but −0, which +0 makes +0. So a filter with a weight that is not finite is summed with all taps; and a tile with a
sum that came out as −0, which is rare, is summed again with all taps. With both, leaving taps out shows in no bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from juanji.jit.emit import I1, Emitter, Int, Type, Value, Var


def finite(e: Emitter, weights: Value, count: Int, vector: Type) -> Value:
    """Whether as many weights, of which there are enough for a vector, are finite."""
    bad = e.var(vector.of("i1"), e.zero(vector.of("i1")))
    with e.loop(0, count, vector.lanes) as i:
        w = e.load(vector, weights + e.least(i, count - vector.lanes) * (vector.bytes // vector.lanes))
        gone = e.arith("fsub", w, w)
        bad.set(e.arith("or", bad.get(), e.compare("uno", gone, gone)))
    return _not(e, _some(e, bad.get()))


def leaving_out(e: Emitter, sums: Sequence[Var], start: Value, allowed: Value | None, reduce: Callable[[bool], None]) -> None:
    """Sums that begin with `start`, by `reduce`, which is told whether to leave out taps.

    allowed: whether that may be tried, as `finite` says of weights; None where no tap is ever left out.
    """
    if allowed is None:
        reduce(False)
        return
    with e.when(allowed):
        reduce(True)
    with e.when(e.arith("or", _not(e, allowed), _negative_zero(e, sums))):
        for acc in sums:
            acc.set(start)
        reduce(False)


def _negative_zero(e: Emitter, sums: Sequence[Var]) -> Value:
    """Whether some sum came out as −0."""
    bits = sums[0].type.bits
    sign = e.const(sums[0].type.of(f"i{bits}"), -1 << (bits - 1))
    found, *others = (e.compare("eq", e.convert("bitcast", acc.get(), f"i{bits}"), sign) for acc in sums)
    for other in others:
        found = e.arith("or", found, other)
    return _some(e, found)


def _some(e: Emitter, lanes: Value) -> Value:
    """Whether a condition holds in any lane."""
    word = Type(f"i{lanes.type.lanes}")
    return e.compare("ne", e.emit(word, f"bitcast {lanes} to {word}"), e.integer(0, word))


def _not(e: Emitter, condition: Value) -> Value:
    return e.emit(I1, f"xor {condition}, true")
