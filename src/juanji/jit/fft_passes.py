"""Transforms of n = n1·n2 elements as two loops of codelets, each of which fits the registers.

With t = i + n1·s and k = r + n2·j (0 <= i, j < n1, 0 <= s, r < n2), e^(−2πi·k·t/n) is a product of three factors:

    X[r + n2·j] = Σ_i e^(−2πi·i·j/n1) · e^(−2πi·i·r/n) · Σ_s x[i + n1·s]·e^(−2πi·r·s/n2)

The inner sums are the first loop, over i; the outer ones the second, over r, with the factors between from a table. At frequencies
k + ½ the same holds with r + ½ for r; there r runs over half of its values, and what lies beyond the middle is stored as the
conjugate of its mirror image. Inverse transforms run the loops in the other order.

Unrolled as a whole such a transform would be larger than the first cache of instructions, slower to compile and no faster.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.jit.emit import Emitter, Int, Type, Value
from juanji.jit.fft_codelets import Codelets, Complex, Real

FIRST_REAL = {32: 2, 64: 4, 96: 8, 128: 8, 192: 8, 256: 16}  # n1 of the real transforms by n
FIRST_COMPLEX = {32: 4, 64: 8, 96: 8, 128: 8, 192: 16, 256: 16}
SIZES = tuple(FIRST_REAL)


@lru_cache(maxsize=32)
def twiddles(n: int, real: bool, dtype: str) -> npt.NDArray[Any]:
    """cos and sin of the factors between both loops: [r, i, 2] of e^(2πi·i·r/n), or with r + ½."""
    n1 = (FIRST_REAL if real else FIRST_COMPLEX)[n]
    r = np.arange(n // n1 // 2) + 0.5 if real else np.arange(n // n1)
    angles = 2 * np.pi * np.outer(r, np.arange(n1)) / n
    found = np.stack([np.cos(angles), np.sin(angles)], -1).astype(dtype)
    found.flags.writeable = False
    return found


class Passes:
    """Emits the loops. Vectors lie one behind the other, complex numbers as two of them."""

    def __init__(self, e: Emitter, vector: Type):
        self.e, self.vector, self.codelets = e, vector, Codelets(e, vector)
        self.pair = 2 * vector.bytes

    def take(self, pointer: Value) -> Complex:
        """A complex number from memory."""
        re, im = (self.e.load(self.vector, pointer + part) for part in (0, self.vector.bytes))
        return (1.0, re), (1.0, im)

    def put(self, number: Complex, pointer: Value) -> None:
        """A complex number to memory."""
        for part, place in zip(number, (0, self.vector.bytes), strict=True):
            self.e.store(self.codelets.value(part), pointer + place)

    def vectors(self, pointer: Value) -> tuple[Value, Value]:
        """Two vectors from memory: a factor for `Codelets.product`."""
        return self.e.load(self.vector, pointer), self.e.load(self.vector, pointer + self.vector.bytes)

    def turned(self, x: list[Complex], table: Value, sign: int) -> list[Complex]:
        """x[i] times the table's factor of i; that of 0 is 1."""
        scalar = Type(self.vector.scalar)
        step = 2 * scalar.bytes

        def factor(i: int, part: int) -> Value:
            return self.e.splat(self.e.load(scalar, table + (i * step + part * scalar.bytes)), self.vector.lanes)

        later = (self.codelets.product(value, factor(i, 0), factor(i, 1), sign) for i, value in enumerate(x) if i)
        return [x[0], *later]

    # real, at frequencies k + ½ ---------------------------------------------------------------------------------------------

    def real(self, n: int, load: Callable[[Int, int], Value], table: Value, tmp: Value, goal: Value) -> None:
        """n vectors, load(i, n1·s) the one of t = i + n1·s, to n/2 complex ones at `goal`."""
        n1 = FIRST_REAL[n]
        half = n // n1 // 2
        row = half * self.pair
        with self.e.loop(0, n1) as i:
            found = self.codelets.skew([(1.0, load(i, s)) for s in range(0, n, n1)])
            for s, value in enumerate(found):
                self.put(value, tmp + i * row + s * self.pair)
        with self.e.loop(0, half) as r:
            x = [self.take(tmp + r * self.pair + j * row) for j in range(n1)]
            found = self.codelets.fourier(self.turned(x, table + r * (n1 * 2 * self._size), -1), -1)
            for j, (value, place) in enumerate(zip(found, self._mirrored(goal, n, n1, r), strict=True)):
                self.put(value if j < n1 // 2 else self.codelets.conjugate(value), place)

    def real_inverse(self, n: int, source: Value, table: Value, tmp: Value, store: Callable[[Int, list[tuple[int, Real]]], None]) -> None:
        """Back to n real vectors, times n: store(i, [(n1·s, vector)]) gets those of t = i + n1·s."""
        n1 = FIRST_REAL[n]
        half = n // n1 // 2
        row = half * self.pair
        with self.e.loop(0, half) as r:
            x = [self.take(place) for place in self._mirrored(source, n, n1, r)]
            x = [value if j < n1 // 2 else self.codelets.conjugate(value) for j, value in enumerate(x)]
            found = self.turned(self.codelets.fourier(x, 1), table + r * (n1 * 2 * self._size), 1)
            for j, value in enumerate(found):
                self.put(value, tmp + r * self.pair + j * row)
        with self.e.loop(0, n1) as i:
            x = [self.take(tmp + i * row + s * self.pair) for s in range(half)]
            store(i, list(zip(range(0, n, n1), self.codelets.skew_inverse(x, n // n1), strict=True)))

    def _mirrored(self, base: Value, n: int, n1: int, r: Value) -> list[Value]:
        """Where the frequencies r + n2·j lie, those beyond the middle at their mirror images."""
        step = n // n1 * self.pair
        low, high = base + r * self.pair, base + (n // 2 - 1 - r) * self.pair
        return [low + j * step if j < n1 // 2 else high + (n1 // 2 - j) * step for j in range(n1)]

    # complex ----------------------------------------------------------------------------------------------------------------

    def inner(self, n: int, load: Callable[[Int, int], Complex], tmp: Value) -> None:
        """The first loop: load(i, n1·s) is x[i + n1·s]."""
        n1 = FIRST_COMPLEX[n]
        n2 = n // n1
        with self.e.loop(0, n1) as i:
            for r, value in enumerate(self.codelets.fourier([load(i, s) for s in range(0, n, n1)], -1)):
                self.put(value, tmp + i * (n2 * self.pair) + r * self.pair)

    def outer(self, n: int, table: Value, tmp: Value, each: Callable[[Value, list[Complex]], list[Complex] | None]) -> None:
        """The second loop: each(r, X) gets X[r + n2·j] for all j, and may return Y[r + n2·j], whose inverse then begins in place."""
        n1 = FIRST_COMPLEX[n]
        n2 = n // n1
        with self.e.loop(0, n2) as r:
            factors, places = table + r * (n1 * 2 * self._size), [tmp + r * self.pair + i * (n2 * self.pair) for i in range(n1)]
            x = self.turned([self.take(place) for place in places], factors, -1)
            y = each(r, self.codelets.fourier(x, -1))
            if y is not None:
                self._begin_inverse(y, factors, places)

    def outer_inverse(self, n: int, table: Value, tmp: Value, load: Callable[[Value, int], Complex]) -> None:
        """The first loop of an inverse: load(r, n2·j) is Y[r + n2·j]."""
        n1 = FIRST_COMPLEX[n]
        n2 = n // n1
        with self.e.loop(0, n2) as r:
            places = [tmp + r * self.pair + i * (n2 * self.pair) for i in range(n1)]
            self._begin_inverse([load(r, n2 * j) for j in range(n1)], table + r * (n1 * 2 * self._size), places)

    def _begin_inverse(self, y: list[Complex], factors: Value, places: list[Value]) -> None:
        for value, place in zip(self.turned(self.codelets.fourier(y, 1), factors, 1), places, strict=True):
            self.put(value, place)

    def inner_inverse(self, n: int, tmp: Value, store: Callable[[Int, int, Complex], None]) -> None:
        """The second loop of an inverse: store(i, n1·s, n times x[i + n1·s])."""
        n1 = FIRST_COMPLEX[n]
        n2 = n // n1
        with self.e.loop(0, n1) as i:
            x = [self.take(tmp + i * (n2 * self.pair) + r * self.pair) for r in range(n2)]
            for s, value in enumerate(self.codelets.fourier(x, 1)):
                store(i, s * n1, value)

    @property
    def _size(self) -> int:
        return Type(self.vector.scalar).bytes
