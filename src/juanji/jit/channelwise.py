"""Passes through memory, row by row, where every row belongs to one channel: what normalisation and activations need.

    sums             Σ x                                                                    of a row
    affine           y = factor·x + offset, of which a relu keeps what is above 0           of a row
    gate             dy where x is above 0, else 0                                          of a row
    normalise        the mean and the variance of x, then affine by them                    of a channel
    normalise_back   Σ g and Σ g·(x − mean), then by them the gradient in x                 of a channel

A row is the positions of one image and channel. x is `x`, dy is `w`; `bias` points to float64 numbers of each channel, side by side,
`map_found` to those that are found, and `y` to the array that is made. An item is a row, or a channel, whose rows the second cache
still holds when they are read again; so neither threads nor strides show in the bits. How sums are spread over lanes follows from the
length of a row; rows are joined in float64, one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from juanji.jit.arguments import HEAD, Arguments, kernel
from juanji.jit.elements import SCALARS, across, finish, read
from juanji.jit.emit import Emitter, Type, Value, Var
from juanji.jit.target import Target

UNROLLED = 4  # vectors of a round of the loop, each with sums of its own: enough to hide the latency of an addition
F64 = Type("f64")
NUMBERS = {
    "sums": (), "affine": ("factor", "offset"), "gate": (), "normalise": ("weight", "bias", "epsilon"),
    "normalise_back": ("mean", "factor", "offset", "slope", "share"),
}  # fmt: skip
FOUND = {"sums": 1, "normalise": 4, "normalise_back": 2}  # numbers that are found of a row or a channel
OF_ROWS = ("sums", "affine", "gate")


@dataclass(frozen=True)
class ChannelwiseCode:
    """Everything that the code depends on."""

    kind: str
    dtype: str
    total: str
    relu: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order. length: elements of a row; xs, ws: bytes from image to image and from channel to channel."""
        return (*HEAD, "map_found", "images", "channels", "length", "xs_n", "xs_c", "ws_n", "ws_c")


class _Row:
    """One row: where it lies, its channel's numbers, and the way along it."""

    def __init__(self, e: Emitter, code: ChannelwiseCode, a: Arguments, image: Value, channel: Value, numbers: Mapping[str, Value]):
        self.e, self.code = e, code
        self.total, self.element = Type(SCALARS[code.total]), Type(SCALARS[code.dtype])
        self.vector, self.length = e.vector(self.total.scalar), a["length"]
        self.x = a["x"] + image * a["xs_n"] + channel * a["xs_c"]
        self.dy = a["w"] + image * a["ws_n"] + channel * a["ws_c"]
        self.made = a["y"] + (image * a["channels"] + channel) * self.length * self.element.bytes
        self.number = {name: self.splat(_sized(e, number, self.total.scalar)) for name, number in numbers.items()}

    def splat(self, number: Value) -> Value:
        return self.e.splat(number, self.vector.lanes)

    def along(self, step: Callable[[Value, int, Value | None], None]) -> None:
        """step(first element, number of the sum to use, how many lanes count or None for all), from the first element to the last."""
        e, lanes = self.e, self.vector.lanes
        rounds, whole = (self.length // (size * lanes) * (size * lanes) for size in (UNROLLED, 1))
        with e.loop(0, rounds, UNROLLED * lanes) as i:
            for slot in range(UNROLLED):
                step(i + slot * lanes, slot, None)
        with e.loop(rounds, whole, lanes) as i:
            step(i, 0, None)
        if e.masks:
            with e.when(e.compare("slt", whole, self.length)):
                step(whole, 0, self.length - whole)
            return
        with e.loop(whole, self.length) as i:
            step(i, 0, e.integer(1))

    def load(self, row: Value, i: Value, count: Value | None) -> Value:
        """A vector of a row, zeros in the lanes that do not count."""
        e, place = self.e, row + i * self.element.bytes
        if count is None or e.masks:
            return read(e, place, self.code.dtype, self.vector, count)
        one = read(e, place, self.code.dtype, self.total)
        return e.emit(self.vector, f"insertelement {e.zero(self.vector)}, {one}, i32 0")

    def store(self, value: Value, i: Value, count: Value | None) -> None:
        """A vector of the array that is made."""
        e, place = self.e, self.made + i * self.element.bytes
        stored = finish(e, value, self.code.dtype, None, value)
        if count is None:
            e.store(stored, place)
        else:
            e.store_first(stored, place, count)

    def sums(self) -> list[Var]:
        """Sums of nothing yet, for as many vectors as a round has."""
        return [self.e.var(self.vector, self.e.zero(self.vector)) for _ in range(UNROLLED)]

    def add(self, sum: Var, value: Value) -> None:
        sum.set(self.e.arith("fadd", sum.get(), value))

    def joined(self, sums: list[Var]) -> Value:
        """The sum of the sums' lanes."""
        e, (a, b, c, d) = self.e, (sum.get() for sum in sums)
        return across(e, e.arith("fadd", e.arith("fadd", a, b), e.arith("fadd", c, d)))

    def sum(self) -> Value:
        """Σ x."""
        sums = self.sums()
        self.along(lambda i, slot, count: self.add(sums[slot], self.load(self.x, i, count)))
        return self.joined(sums)

    def moments(self) -> tuple[Value, Value]:
        """The row's mean μ and Σ (x − μ)²: twice along the row, which the first cache still holds the second time."""
        e = self.e
        mean = e.arith("fdiv", self.sum(), e.convert("sitofp", self.length, self.total.scalar))
        middle, squares = self.splat(mean), self.sums()

        def square(i: Value, slot: int, count: Value | None) -> None:
            away = e.arith("fsub", self.load(self.x, i, count), middle)
            if count is not None:
                narrow = e.splat(e.emit(Type("i32"), f"trunc {count} to i32"), self.vector.lanes)
                away = e.select(e.compare("slt", e.lane_numbers(self.vector.of("i32")), narrow), away, e.zero(self.vector))
            squares[slot].set(e.fma(away, away, squares[slot].get()))

        self.along(square)
        return mean, self.joined(squares)

    def affine(self) -> None:
        """y = factor·x + offset."""
        e = self.e

        def step(i: Value, slot: int, count: Value | None) -> None:
            y = self.mapped(self.load(self.x, i, count))
            if self.code.relu:  # a NaN fails the comparison and passes
                y = e.select(e.compare("olt", y, e.zero(y.type)), e.zero(y.type), y)
            self.store(y, i, count)

        self.along(step)

    def mapped(self, x: Value) -> Value:
        return self.e.fma(x, self.number["factor"], self.number["offset"])

    def gate(self) -> None:
        """dy where x is above 0."""
        self.along(lambda i, slot, count: self.store(self.gated(self.load(self.dy, i, count), self.load(self.x, i, count)), i, count))

    def gated(self, dy: Value, deciding: Value) -> Value:
        return self.e.select(self.e.compare("ogt", deciding, self.e.zero(self.vector)), dy, self.e.zero(self.vector))

    def errors(self, i: Value, count: Value | None) -> tuple[Value, Value]:
        """x − mean, and g: dy, with a relu only where its result is above 0."""
        x, dy = self.load(self.x, i, count), self.load(self.dy, i, count)
        return self.e.arith("fsub", x, self.number["mean"]), self.gated(dy, self.mapped(x)) if self.code.relu else dy

    def error_sums(self) -> tuple[Value, Value]:
        """Σ g and Σ g·(x − mean)."""
        plain, weighted = self.sums(), self.sums()

        def step(i: Value, slot: int, count: Value | None) -> None:
            away, g = self.errors(i, count)
            self.add(plain[slot], g)
            weighted[slot].set(self.e.fma(g, away, weighted[slot].get()))

        self.along(step)
        return self.joined(plain), self.joined(weighted)

    def combined(self) -> None:
        """factor·g + slope·(x − mean) + shift."""
        e, number = self.e, self.number

        def step(i: Value, slot: int, count: Value | None) -> None:
            away, g = self.errors(i, count)
            self.store(e.fma(g, number["factor"], e.fma(away, number["slope"], number["shift"])), i, count)

        self.along(step)


def _sized(e: Emitter, number: Value, scalar: str) -> Value:
    """A float in another size."""
    if number.type.scalar == scalar:
        return number
    return e.convert("fptrunc" if scalar == "f32" else "fpext", number, scalar)


def emit_channelwise(code: ChannelwiseCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    with kernel(e, target, code.names) as a, e.loop(a["begin"], a["end"]) as item:
        image, channel = e.divide(item, a["channels"]) if code.kind in OF_ROWS else (e.integer(0), item)
        names = NUMBERS[code.kind]
        numbers = a["bias"] + channel * (len(names) * F64.bytes)
        given = {name: e.load(F64, numbers + i * F64.bytes) for i, name in enumerate(names)}
        for i, value in enumerate(_KINDS[code.kind](e, code, a, (image, channel), given)):
            e.store(_sized(e, value, F64.scalar), a["map_found"] + (item * FOUND[code.kind] + i) * F64.bytes)
    return e.text()


Place = tuple[Value, Value]  # image and channel
Given = dict[str, Value]  # the numbers of a channel


def _sums(e: Emitter, code: ChannelwiseCode, a: Arguments, place: Place, given: Given) -> list[Value]:
    return [_Row(e, code, a, *place, given).sum()]


def _affine(e: Emitter, code: ChannelwiseCode, a: Arguments, place: Place, given: Given) -> list[Value]:
    _Row(e, code, a, *place, given).affine()
    return []


def _gate(e: Emitter, code: ChannelwiseCode, a: Arguments, place: Place, given: Given) -> list[Value]:
    _Row(e, code, a, *place, given).gate()
    return []


def _normalise(e: Emitter, code: ChannelwiseCode, a: Arguments, place: Place, given: Given) -> list[Value]:
    """With μ and M = Σ (x − μ)² of n rows of length L, and m and s of another, δ = m − μ: μ += δ/(n + 1), M += s + δ²·L·n/(n + 1).

    So a batch is read once from memory, and a mean far from zero costs no digits (Chan, Golub & LeVeque 1983).
    """
    mean, squares = (e.var(F64, e.zero(F64)) for _ in range(2))
    length = e.convert("sitofp", a["length"], "f64")
    with e.loop(0, a["images"]) as image:
        m, s = (_sized(e, value, "f64") for value in _Row(e, code, a, image, place[1], {}).moments())
        before, after = (e.convert("sitofp", number, "f64") for number in (image, image + 1))
        away = e.arith("fsub", m, mean.get())
        share = e.arith("fdiv", away, after)
        mean.set(e.arith("fadd", mean.get(), share))
        between = e.arith("fmul", e.arith("fmul", away, share), e.arith("fmul", length, before))
        squares.set(e.arith("fadd", squares.get(), e.arith("fadd", s, between)))
    count = e.arith("fmul", length, e.convert("sitofp", a["images"], "f64"))
    variance = e.arith("fdiv", squares.get(), count)
    deviation = e.intrinsic("sqrt", F64, e.arith("fadd", variance, given["epsilon"]))
    factor = e.arith("fdiv", given["weight"], deviation)
    offset = e.arith("fsub", given["bias"], e.arith("fmul", mean.get(), factor))
    with e.loop(0, a["images"]) as image:
        _Row(e, code, a, image, place[1], {"factor": factor, "offset": offset}).affine()
    return [mean.get(), variance, factor, offset]


def _normalise_back(e: Emitter, code: ChannelwiseCode, a: Arguments, place: Place, given: Given) -> list[Value]:
    plain, weighted = (e.var(F64, e.zero(F64)) for _ in range(2))
    with e.loop(0, a["images"]) as image:
        found = _Row(e, code, a, image, place[1], given).error_sums()
        for total, part in zip((plain, weighted), found, strict=True):
            total.set(e.arith("fadd", total.get(), _sized(e, part, "f64")))
    numbers = given | {
        "slope": e.arith("fmul", given["slope"], weighted.get()), "shift": e.arith("fmul", given["share"], plain.get())
    }  # fmt: skip
    with e.loop(0, a["images"]) as image:
        _Row(e, code, a, image, place[1], numbers).combined()
    return [plain.get(), weighted.get()]


_KINDS: dict[str, Callable[[Emitter, ChannelwiseCode, Arguments, Place, Given], list[Value]]] = {
    "sums": _sums, "affine": _affine, "gate": _gate, "normalise": _normalise, "normalise_back": _normalise_back
}  # fmt: skip
