"""The functions that a Fourier tile is made of, each a loop or two of codelets; `jit.fft` calls them tile by tile.

A spectrum has a row for each horizontal line of the tile's frequencies, `lanes` lines together: its elements are pairs of vectors, real
and imaginary parts, whose lanes are vertical frequencies. Between columns and rows squares of vectors are turned in registers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from juanji.jit.arguments import Arguments
from juanji.jit.elements import SCALARS, finish, transpose
from juanji.jit.emit import I64, LINE, PTR, Emitter, Int, Type, Value
from juanji.jit.fft_codelets import Complex, Real
from juanji.jit.fft_codes import FftCode, SpectraCode
from juanji.jit.fft_passes import Passes


class Forward:
    """Emits the way into the spectrum, which inputs and kernels share."""

    def __init__(self, e: Emitter, code: FftCode | SpectraCode):
        self.e, self.high, self.wide, self.line, self.names = e, code.high, code.wide, code.line, code.names
        self.vector = e.vector(SCALARS[code.total])
        self.lanes, self.size = self.vector.lanes, Type(self.vector.scalar).bytes
        self.passes = Passes(e, self.vector)
        self.pair = self.passes.pair
        self.row = self.wide * self.pair  # bytes of a row of a spectrum
        self.groups = self.high // 2 // self.lanes  # rows of a spectrum

    def columns_in(self) -> None:
        """columns_in(row, bytes to the columns, the places of these columns in the spectrum): `lanes` neighbouring columns."""
        e = self.e
        with e.function("columns_in", PTR, I64, PTR, internal=True) as (row, offset, places):
            a = Arguments(e, row, self.names)
            rows, tmp = a["scratch"] + a["at_rows"], a["scratch"] + a["at_tmp"]
            columns = tmp + self.high * self.vector.bytes

            def load(i: Int, s: int) -> Value:
                return e.load(self.vector, e.load(PTR, rows + i * 8 + s * 8, 8) + offset, self.size)

            self.passes.real(self.high, load, a["map_column"], tmp, columns)
            with e.loop(0, self.groups) as q, e.loop(0, 2) as part:
                square = columns + q * (self.lanes * self.pair) + part * self.vector.bytes
                turned = transpose(e, [e.load(self.vector, square + r * self.pair) for r in range(self.lanes)])
                goal = a["scratch"] + a["at_f"] + q * a["pitch"] + part * self.vector.bytes
                for j, column in enumerate(turned):
                    e.store(column, goal + e.load(I64, places + j * 8, 8))

    def rows_in(self) -> None:
        """rows_in(row, transformed columns, goal, number of the row): the spectrum, its frequencies `apart` bytes apart."""
        e, passes = self.e, self.passes
        with e.function("rows_in", PTR, PTR, PTR, I64, internal=True) as (row, source, goal, q):
            a = Arguments(e, row, self.names)
            tmp = a["scratch"] + a["at_tmp"]

            def keep(r: Value, x: list[Complex]) -> None:
                for j, value in enumerate(x):
                    passes.put(value, goal + (r + j * (self.wide // len(x))) * a["apart"])

            self.forward(a, source, tmp, q)
            passes.outer(self.wide, a["map_row"], tmp, keep)

    def forward(self, a: Arguments, source: Value, tmp: Value, q: Value) -> None:
        """The first loop of a row's transform."""

        def load(i: Int, s: int) -> Complex:
            number = self.passes.take(source + i * self.pair + s * self.pair)
            return self.passes.codelets.product(number, *self.factor(a, q, i, s), -1) if self.line else number

        self.passes.inner(self.wide, load, tmp)

    def factor(self, a: Arguments, q: Value, i: Int, s: int) -> tuple[Value, Value]:
        """What stands between columns and rows where both are one transform: e^(2πi·(k + ½)·x/n) for place x = i + s."""
        return self.passes.vectors(a["map_line"] + q * self.row + i * self.pair + s * self.pair)


class Tile(Forward):
    """Emits the whole way: into the spectrum, through it, and out."""

    def __init__(self, e: Emitter, code: FftCode):
        super().__init__(e, code)
        self.code, self.out = code, Type(SCALARS[code.y])

    @contextmanager
    def spectrum_rows(self, a: Arguments) -> Iterator[tuple[Value, Value]]:
        """A loop over the rows of a spectrum and over their phases: (bytes to the row, its number)."""
        with self.e.loop(0, self.groups) as q, self.e.loop(0, a["phases_w"]) as phase:
            yield q * a["pitch"] + phase * self.row, q

    def columns_out(self) -> None:
        """columns_out(row, spectra of columns, the places of these columns there, bytes to them in y, bias, whether past the caches)."""
        e, code = self.e, self.code
        with e.function("columns_out", PTR, PTR, PTR, I64, PTR, I64, internal=True) as (row, source, places, offset, bias, past):
            a = Arguments(e, row, self.names)
            goals, tmp = a["scratch"] + a["at_goals"], a["scratch"] + a["at_tmp"]
            columns = tmp + self.high * self.vector.bytes
            with e.loop(0, self.groups) as q, e.loop(0, 2) as part:
                square = source + q * a["pitch"] + part * self.vector.bytes
                turned = transpose(e, [e.load(self.vector, square + e.load(I64, places + j * 8, 8)) for j in range(self.lanes)])
                for r, column in enumerate(turned):
                    e.store(column, columns + q * (self.lanes * self.pair) + r * self.pair + part * self.vector.bytes)
            total = Type(self.vector.scalar)
            parameter = e.load(total, a["constants"] + code.axes * self.size)
            added = e.splat(e.load(total, bias), self.lanes) if code.bias else None
            streamed = e.compare("ne", past, e.integer(0))

            def store(i: Int, found: list[tuple[int, Real]]) -> None:
                finished = []
                for s, number in found[: code.kept]:
                    value = self.passes.codelets.value(number)
                    if added is not None:
                        value = e.arith("fadd", value, added)
                    goal = e.load(PTR, goals + i * 8 + s * 8, 8) + offset
                    finished.append((finish(e, value, code.y, code.activation, parameter, code.narrowing), goal))
                for condition, put in ((e.when(streamed), e.stream), (e.otherwise(streamed), e.store)):
                    with condition:
                        for value, goal in finished:
                            put(value, goal)

            self.passes.real_inverse(self.high, columns, a["map_column"], tmp, store)

    def rows_through(self) -> None:
        """rows_through(row, transformed columns, the kernel's spectrum, goal, number of the row, bytes to the next tile).

        Forward, times the conjugate of the kernel's spectrum, and back, in registers between.
        """
        e, code, passes = self.e, self.code, self.passes
        with e.function("rows_through", PTR, PTR, PTR, PTR, I64, I64, internal=True) as (row, source, spectrum, goal, q, ahead):
            a = Arguments(e, row, self.names)
            tmp = a["scratch"] + a["at_tmp"]

            def times(r: Value, x: list[Complex]) -> list[Complex]:
                if not code.line and code.unit_x and code.x == code.total:
                    self._ask(a, q, r, len(x), ahead)
                at, step = spectrum + r * self.pair, self.wide // len(x) * self.pair
                return [passes.codelets.product(value, *passes.vectors(at + j * step), -1) for j, value in enumerate(x)]

            self.forward(a, source, tmp, q)
            passes.outer(self.wide, a["map_row"], tmp, times)
            self._back(a, tmp, goal, q)

    def product(self) -> None:
        """product(row, spectra of the depth, spectra of the kernels): summed over the depth, for each frequency and feature."""
        e, code, passes = self.e, self.code, self.passes
        with e.function("product", PTR, PTR, PTR, internal=True) as (row, x, w):
            a = Arguments(e, row, self.names)
            y = a["scratch"] + a["at_y"]
            with e.loop(0, self.wide) as k:
                sums = [[e.var(self.vector, e.zero(self.vector)) for _ in range(2)] for _ in range(code.features)]
                with e.loop(0, a["depth"]) as d:
                    at = k * a["depth"] + d
                    re, im = passes.vectors(x + at * self.pair)
                    minus = e.emit(self.vector, f"fneg {re}")
                    for f, (above, below) in enumerate(sums):
                        c, s = passes.vectors(w + at * (code.features * self.pair) + f * self.pair)
                        above.set(e.fma(im, s, e.fma(re, c, above.get())))
                        below.set(e.fma(minus, s, e.fma(im, c, below.get())))
                for f, (above, below) in enumerate(sums):
                    passes.put(((1.0, above.get()), (1.0, below.get())), y + k * self.pair + f * self.row)

    def rows_out(self) -> None:
        """rows_out(row, a row of a spectrum, goal, number of the row): back along the row."""
        e, passes = self.e, self.passes
        with e.function("rows_out", PTR, PTR, PTR, I64, internal=True) as (row, source, goal, q):
            a = Arguments(e, row, self.names)
            tmp = a["scratch"] + a["at_tmp"]
            passes.outer_inverse(self.wide, a["map_row"], tmp, lambda r, j: passes.take(source + (r + j) * self.pair))
            self._back(a, tmp, goal, q)

    def _back(self, a: Arguments, tmp: Value, goal: Value, q: Value) -> None:
        def store(i: Int, s: int, number: Complex) -> None:
            if self.line:
                number = self.passes.codelets.product(number, *self.factor(a, q, i, s), 1)
            self.passes.put(number, goal + i * self.pair + s * self.pair)

        self.passes.inner_inverse(self.wide, tmp, store)

    def _ask(self, a: Arguments, q: Value, r: Value, n1: int, ahead: Value) -> None:
        """Prefetch the columns that the next tile reads first, a few rows at a time: no processor foresees so many rows."""
        e, each = self.e, max(2 * self.lanes * n1 // self.wide, 1)
        for i in range(each):
            entry = a["scratch"] + a["at_rows"] + (q * (2 * self.lanes) + r * each + i) * 8
            line = e.load(PTR, entry, 8) + ahead
            with e.loop(0, a["tile_w"] * self.size, LINE) as at:
                e.prefetch(line + at, 1)
