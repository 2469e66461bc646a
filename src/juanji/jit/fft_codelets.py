"""Small Fourier transforms as straight-line code: every lane of the vectors is a transform of its own.

A number here is symbolic: None for zero, or a scale that is known while generating and a vector. Scales travel along instead of being
multiplied in, so that each a·c + b·d is one addition or one fused multiply-add (Linzer and Feig, 1993); a butterfly of two complex
numbers takes six of them. What the transforms are is derived in `algorithms.fft`.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence

from juanji.jit.emit import Emitter, Type, Value

Real = tuple[float, Value] | None  # scale·vector, or zero
Complex = tuple[Real, Real]
NEGLIGIBLE = 1e-13  # a factor that is zero but for the rounding of cos and sin


class Codelets:
    """Emits the transforms of one vector type."""

    def __init__(self, e: Emitter, vector: Type):
        self.e, self.vector = e, vector

    # numbers -------------------------------------------------------------------------------------------------------------

    def combined(self, a: Real, p: float, b: Real = None, q: float = 0.0) -> Real:
        """a·p + b·q."""
        a, b = (None if abs(p) < NEGLIGIBLE else a), (None if abs(q) < NEGLIGIBLE else b)
        if a is None or b is None:
            one, factor = (b, q) if a is None else (a, p)
            return None if one is None else (one[0] * factor, one[1])
        (first, x), (second, y) = a, b
        first, second = first * p, second * q
        if abs(second) > abs(first) * (1 + 1e-9):
            first, x, second, y = second, y, first, x
        ratio = second / first
        if abs(abs(ratio) - 1) < 1e-12:
            return first, self.e.arith("fadd" if ratio > 0 else "fsub", x, y)
        return first, self.e.fma(y, self.e.const(self.vector, ratio), x)

    def value(self, a: Real) -> Value:
        """The number itself, its scale multiplied in."""
        if a is None:
            return self.e.zero(self.vector)
        scale, value = a
        return value if abs(scale - 1) < 1e-12 else self.e.arith("fmul", value, self.e.const(self.vector, scale))

    def plus(self, a: Complex, b: Complex, q: float = 1.0) -> Complex:
        """a + q·b for a real q."""
        return self.combined(a[0], 1, b[0], q), self.combined(a[1], 1, b[1], q)

    def times(self, a: Complex, factor: complex) -> Complex:
        """a times a number known now."""
        c, d = factor.real, factor.imag
        return self.combined(a[0], c, a[1], -d), self.combined(a[1], c, a[0], d)

    def conjugate(self, a: Complex) -> Complex:
        """Its conjugate, at no cost."""
        return a[0], self.combined(a[1], -1)

    def product(self, a: Complex, re: Value, im: Value, sign: int = 1) -> Complex:
        """a·(re + i·sign·im) for vectors re and im."""
        e, x, y = self.e, self.value(a[0]), self.value(a[1])
        minus = e.emit(self.vector, f"fneg {y if sign > 0 else x}")
        up, down = (minus, x) if sign > 0 else (y, minus)
        return (1.0, e.fma(up, im, e.arith("fmul", x, re))), (1.0, e.fma(down, im, e.arith("fmul", y, re)))

    # transforms ----------------------------------------------------------------------------------------------------------

    def fourier(self, x: Sequence[Complex], sign: int) -> list[Complex]:
        """Σ x[t]·e^(sign·2πi·k·t/n) for k = 0 … n − 1; n is 2^a or 3·2^a."""
        n = len(x)
        if n == 1:
            return list(x)
        if n == 3:
            both, apart = self.plus(x[1], x[2]), self.times(self.plus(x[1], x[2], -1), sign * 1j * math.sqrt(0.75))
            rest = self.plus(x[0], both, -0.5)
            return [self.plus(x[0], both), self.plus(rest, apart), self.plus(rest, apart, -1)]
        even = self.fourier(x[0::2], sign)
        odd = [self.times(value, turn(sign * k / n)) for k, value in enumerate(self.fourier(x[1::2], sign))]
        pairs = list(zip(even, odd, strict=True))
        return [self.plus(a, b) for a, b in pairs] + [self.plus(a, b, -1) for a, b in pairs]

    def skew(self, x: Sequence[Real]) -> list[Complex]:
        """Σ x[t]·e^(−2πi·(k + ½)·t/n) of real numbers, for k = 0 … n/2 − 1; the other half are the conjugates, in reverse."""
        n = len(x)
        if n == 2:
            return [(x[0], self.combined(x[1], -1))]
        if n == 3:
            apart, both = self.combined(x[1], 1, x[2], -1), self.combined(x[1], 1, x[2], 1)
            first = self.combined(x[0], 1, apart, 0.5), self.combined(both, -math.sqrt(0.75))
            return [first, (self.combined(x[0], 1, apart, -1), None)]
        even, odd = self.skew(x[0::2]), self.skew(x[1::2])
        found: list[Complex] = [(None, None)] * (n // 2)
        for k in range((n // 2 + 1) // 2):
            turned = self.times(odd[k], turn(-(k + 0.5) / n))
            found[k] = self.plus(even[k], turned)
            if n // 2 - 1 - k != k:
                found[n // 2 - 1 - k] = self.conjugate(self.plus(even[k], turned, -1))
        return found

    def skew_inverse(self, x: Sequence[Complex], n: int) -> list[Real]:
        """The n real numbers, times n, whose `skew` is x."""
        if n == 2:
            return [self.combined(x[0][0], 2), self.combined(x[0][1], -2)]
        if n == 3:
            (re, im), last = x[0], x[1][0]
            rest = self.combined(re, 1, last, -1)
            high = math.sqrt(3)
            return [
                self.combined(last, 1, re, 2),
                self.combined(rest, 1, im, -high),
                self.combined(self.combined(rest, -1), 1, im, -high),
            ]
        even: list[Complex] = []
        odd: list[Complex] = []
        for k in range((n // 2 + 1) // 2):
            mirrored, middle = self.conjugate(x[n // 2 - 1 - k]), n // 2 - 1 - k == k
            even.append((self.combined(x[k][0], 2), None) if middle else self.plus(x[k], mirrored))
            apart: Complex = (None, self.combined(x[k][1], 2)) if middle else self.plus(x[k], mirrored, -1)
            odd.append(self.times(apart, turn((k + 0.5) / n)))
        found: list[Real] = [None] * n
        found[0::2], found[1::2] = self.skew_inverse(even, n // 2), self.skew_inverse(odd, n // 2)
        return found


def turn(part: float) -> complex:
    """e^(2πi·part)."""
    return cmath.exp(2j * math.pi * part)
