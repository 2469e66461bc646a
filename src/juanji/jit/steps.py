"""A step of an optimiser in one pass: every parameter, its gradient and what is remembered of it are read once and written once.

    sgd     g += λ·p;  v = μ·v + g;  p −= η·v, or with Nesterov's momentum η·(g + μ·v); without momentum p −= η·g
    adam    g += λ·p;  m = β₁·m + (1 − β₁)·g;  s = β₂·s + (1 − β₂)·g²;  p −= η·m / (κ·√s + ε)
    adamw   p −= η·λ·p, then as adam without λ

η, κ and the rest are numbers that `bias` points to, in the order of `NUMBERS`. An item is a piece of one parameter, a row of the table:
where its elements lie, those of its gradient and of its two memories, and how many there are. Elements do not meet, so that neither
pieces nor threads show in the bits.
"""

from __future__ import annotations

from dataclasses import dataclass

from juanji.jit.arguments import HEAD, kernel
from juanji.jit.elements import SCALARS, finish, read
from juanji.jit.emit import I64, PTR, Emitter, Type, Value
from juanji.jit.target import Target

NUMBERS = {
    "sgd": ("rate", "decay", "momentum"),
    "adam": ("rate", "decay", "first", "new_first", "second", "new_second", "scale", "epsilon"),
}  # `rate` and `decay` such that both are added: −η, λ, for adamw −η·λ; `scale` is κ
NUMBERS["adamw"] = NUMBERS["adam"]
COLUMNS = 5  # of the table


@dataclass(frozen=True)
class StepCode:
    """Everything that the code depends on. decayed, momentum, nesterov: what of the formula takes part."""

    kind: str
    dtype: str
    total: str
    decayed: bool
    momentum: bool = False
    nesterov: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The arguments, in order."""
        return (*HEAD, "map_pieces")


class _Elements:
    """Elements of a piece: a vector of them, or one."""

    def __init__(self, e: Emitter, code: StepCode, numbers: dict[str, Value], type: Type):
        self.e, self.code, self.type = e, code, type
        self.number = {name: e.splat(value, type.lanes) if type.lanes else value for name, value in numbers.items()}

    def load(self, place: Value) -> Value:
        return read(self.e, place, self.code.dtype, self.type)

    def store(self, value: Value, place: Value) -> None:
        self.e.store(finish(self.e, value, self.code.dtype, None, value), place)

    def times(self, name: str, value: Value) -> Value:
        return self.e.arith("fmul", self.number[name], value)

    def plus(self, name: str, value: Value, to: Value) -> Value:
        """The number times the value, added."""
        return self.e.fma(self.number[name], value, to)

    def sgd(self, p: Value, g: Value, places: list[Value]) -> Value:
        if self.code.decayed:
            g = self.plus("decay", p, g)
        if self.code.momentum:
            v = self.plus("momentum", self.load(places[0]), g)
            self.store(v, places[0])
            g = self.plus("momentum", v, g) if self.code.nesterov else v
        return self.plus("rate", g, p)

    def adam(self, p: Value, g: Value, places: list[Value]) -> Value:
        e, plain = self.e, p
        if self.code.decayed and self.code.kind == "adamw":
            p = self.plus("decay", plain, p)
        elif self.code.decayed:
            g = self.plus("decay", p, g)
        m = self.plus("new_first", g, self.times("first", self.load(places[0])))
        s = self.plus("new_second", e.arith("fmul", g, g), self.times("second", self.load(places[1])))
        self.store(m, places[0])
        self.store(s, places[1])
        size = e.fma(e.intrinsic("sqrt", s.type, s), self.number["scale"], self.number["epsilon"])
        return self.plus("rate", e.arith("fdiv", m, size), p)


def emit_step(code: StepCode, target: Target) -> str:
    """The IR of one kernel."""
    e = Emitter(target.vector_bits, target.masks)
    with kernel(e, target, code.names) as a:
        total = Type(SCALARS[code.total])
        numbers = {name: e.load(total, a["bias"] + i * total.bytes) for i, name in enumerate(NUMBERS[code.kind])}
        with e.loop(a["begin"], a["end"]) as item:
            piece = a["map_pieces"] + item * (8 * COLUMNS)
            places = [e.load(PTR, piece + 8 * i, 8) for i in range(COLUMNS - 1)]
            count, vector = e.load(I64, piece + 8 * (COLUMNS - 1), 8), e.vector(total.scalar)
            whole = count - count % vector.lanes
            for type, low, high in ((vector, e.integer(0), whole), (total, whole, count)):
                _along(e, _Elements(e, code, numbers, type), places, low, high)
    return e.text()


def _along(e: Emitter, elements: _Elements, places: list[Value], low: Value, high: Value) -> None:
    """The elements from `low` to before `high`."""
    size, code = Type(SCALARS[elements.code.dtype]).bytes, elements.code
    with e.loop(low, high, max(elements.type.lanes, 1)) as i:
        p, g, *memory = (place + i * size for place in places)
        move = elements.sgd if code.kind == "sgd" else elements.adam
        elements.store(move(elements.load(p), elements.load(g), memory), p)
