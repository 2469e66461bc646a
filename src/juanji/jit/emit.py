"""The only writer of LLVM IR: text, one instruction a line.

The vocabulary fits one screen. A `Value` knows its type and name; integer values take Python's operators, and Python
integers stay Python integers until they meet a value, so that what is known while generating folds away. `Var` is a
mutable slot that LLVM turns back into registers: loops need no hand-made phis.

    e = Emitter(target)
    with e.function("kernel", "ptr"):
        total = e.var(e.vector("f32"), e.zero(e.vector("f32")))
        with e.loop(0, count, 1) as i:
            total.set(e.fma(e.load(x + i * 64, ...), e.splat(w), total.get()))
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

LLVM_TYPES = {"f16": "half", "bf16": "bfloat", "f32": "float", "f64": "double"}
BYTES = {"i1": 1, "i8": 1, "i16": 2, "i32": 4, "i64": 8, "i128": 16, "i256": 32, "f16": 2, "f32": 4, "f64": 8, "ptr": 8}
LINE = 64  # bytes of a cache line
WORD = 8  # bytes of the longest element that vector registers know, and of the strictest alignment of any


class Type(NamedTuple):
    """A scalar ("f32", "i64", "ptr" ...) or, with lanes, a vector of them."""

    scalar: str
    lanes: int = 0

    @lru_cache(maxsize=256)  # noqa: B019 - there are few types
    def __str__(self) -> str:
        scalar = LLVM_TYPES.get(self.scalar, self.scalar)
        return f"<{self.lanes} x {scalar}>" if self.lanes else scalar

    @property
    def bytes(self) -> int:
        """Size in memory."""
        return BYTES[self.scalar] * max(self.lanes, 1)

    @property
    def bits(self) -> int:
        """Size of one element; pointers have none."""
        size: str = self.scalar.lstrip("bfi")
        return int(size)

    @property
    def floating(self) -> bool:
        """Whether its elements are floating-point numbers."""
        return self.scalar[0] in "fb"

    def of(self, scalar: str) -> Type:
        """As many lanes of another scalar."""
        return Type(scalar, self.lanes)


I1, I8, I32, I64, PTR = Type("i1"), Type("i8"), Type("i32"), Type("i64"), Type("ptr")


@dataclass(slots=True, eq=False)  # not frozen: a kernel has thousands, and those take three times as long to make
class Value:
    """An SSA name, or a constant's spelling, with its type."""

    e: Emitter
    type: Type
    name: str

    def __str__(self) -> str:
        return f"{self.type} {self.name}"

    def __add__(self, other: Int) -> Value:
        if isinstance(other, int) and other == 0:
            return self
        if self.type == PTR:
            return self.e.emit(PTR, f"getelementptr i8, {self}, {self.e.integer(other)}")
        return self.e.emit(self.type, f"add nsw {self}, {self.e.integer(other, self.type).name}")

    __radd__ = __add__

    def __sub__(self, other: Int) -> Value:
        return self.e.emit(self.type, f"sub nsw {self}, {self.e.integer(other, self.type).name}")

    def __rsub__(self, other: int) -> Value:
        return self.e.integer(other, self.type) - self

    def __mul__(self, other: Int) -> Value:
        if isinstance(other, int) and other in (0, 1):
            return self if other else self.e.integer(0, self.type)
        return self.e.emit(self.type, f"mul nsw {self}, {self.e.integer(other, self.type).name}")

    __rmul__ = __mul__

    def __floordiv__(self, other: Int) -> Value:
        return self if other == 1 else self.e.emit(self.type, f"udiv {self}, {self.e.integer(other, self.type).name}")

    def __mod__(self, other: Int) -> Value:
        if isinstance(other, int) and other == 1:
            return self.e.integer(0, self.type)
        return self.e.emit(self.type, f"urem {self}, {self.e.integer(other, self.type).name}")


Int = int | Value


class Var:
    """A mutable slot: `get` and `set` become registers and phis in LLVM's hands."""

    def __init__(self, e: Emitter, type: Type, initial: Value):
        self.e, self.type = e, type
        self.slot = e.stack(type)
        self.set(initial)

    def get(self) -> Value:
        """The value that was set last."""
        return self.e.emit(self.type, f"load {self.type}, {self.slot}")

    def set(self, value: Value) -> None:
        """Give the slot another value."""
        self.e.line(f"store {value}, {self.slot}")


class Emitter:
    """Builds one module. `lines` is the body of the function that is open, `entry` its stack slots, `result` what it returns, if any."""

    def __init__(self, vector_bits: int, masks: bool):
        self.vector_bits, self.masks = vector_bits, masks
        self.done: list[str] = []
        self.declared: dict[str, str] = {}
        self.lines: list[str] = []
        self.entry: list[str] = []
        self.counter = 0
        self.block = "entry"
        self.result: Value | None = None
        self.fmas = 0

    # names, constants ------------------------------------------------------------------------------------------------

    def fresh(self) -> str:
        """A new SSA name."""
        self.counter += 1
        return f"%v{self.counter}"

    def line(self, text: str) -> None:
        """An instruction without a result."""
        self.lines.append(text)

    def emit(self, type: Type, text: str) -> Value:
        """An instruction with a result."""
        name = self.fresh()
        self.lines.append(f"{name} = {text}")
        return Value(self, type, name)

    def integer(self, value: Int, type: Type = I64) -> Value:
        """A Python integer as a constant; a value as it is."""
        return Value(self, type, str(value)) if isinstance(value, int) else value

    def vector(self, scalar: str) -> Type:
        """As many lanes of a scalar as a register holds; one of an integer of several words, whose registers are the scalar ones."""
        return Type(scalar, self.vector_bits // (8 * BYTES[scalar]) if BYTES[scalar] <= WORD else 1)

    def zero(self, type: Type) -> Value:
        """All bits zero."""
        return Value(self, type, "zeroinitializer" if type.lanes else ("0.0" if type.floating else "0"))

    def const(self, type: Type, number: float) -> Value:
        """A number, in every lane of a vector type."""
        if type.scalar == "f32":
            number = struct.unpack("f", struct.pack("f", number))[0]
        text = f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}" if type.floating else str(int(number))
        scalar = Type(type.scalar)
        return Value(self, type, f"splat ({scalar} {text})" if type.lanes else text)

    def lane_numbers(self, type: Type) -> Value:
        """0, 1, 2 ... in the lanes of an integer vector."""
        return Value(self, type, "<" + ", ".join(f"{type.scalar} {lane}" for lane in range(type.lanes)) + ">")

    # structure -------------------------------------------------------------------------------------------------------

    @contextmanager
    def function(self, name: str, *parameters: Type, internal: bool = False) -> Iterator[list[Value]]:
        """A function; yields its arguments."""
        arguments = [Value(self, type, f"%a{i}") for i, type in enumerate(parameters)]
        self.lines, self.entry, self.block, self.result = [], [], "entry", None
        yield arguments
        linkage = "internal" if internal else "dso_local"
        attributes = 'nounwind "no-builtins" noinline' if internal else 'nounwind "no-builtins"'
        returned = "void" if self.result is None else self.result.type
        head = f"define {linkage} {returned} @{name}({', '.join(f'{a.type} noundef {a.name}' for a in arguments)}) {attributes} {{"
        self.done += [head, "entry:", *self.entry, *self.lines, f"ret {self.result or 'void'}", "}"]

    def call(self, name: str, *arguments: Value) -> None:
        """Call a function of this module."""
        self.line(f"call void @{name}({', '.join(map(str, arguments))})")

    def call_at(self, function: Value, *arguments: Value) -> None:
        """Call a function by its address."""
        self.line(f"call void {function.name}({', '.join(map(str, arguments))})")

    def stack(self, type: Type, count: int = 1) -> Value:
        """Room on the stack, aligned to a vector, for the whole call."""
        name = self.fresh()
        size = f", i32 {count}" if count > 1 else ""
        self.entry.append(f"{name} = alloca {type}{size}, align {max(type.bytes if type.lanes else 8, 8)}")
        return Value(self, PTR, name)

    def var(self, type: Type, initial: Value) -> Var:
        """A mutable slot."""
        return Var(self, type, initial)

    @contextmanager
    def loop(self, low: Int, high: Int, step: Int = 1) -> Iterator[Value]:
        """Counts from low by step while below high; tested before the first round unless both ends are known."""
        self.counter += 1
        label, before = f"l{self.counter}", self.block
        start, end = self.integer(low), self.integer(high)
        sure = isinstance(low, int) and isinstance(high, int) and low < high
        if sure:
            self.line(f"br label %{label}.body")
        else:
            enter = self.compare("slt", start, end)
            self.line(f"br {enter}, label %{label}.body, label %{label}.end")
        self._label(f"{label}.body")
        index = Value(self, I64, f"%{label}.i")
        phi = len(self.lines)
        self.line("")
        yield index
        following = index + step
        self.lines[phi] = f"{index.name} = phi i64 [ {start.name}, %{before} ], [ {following.name}, %{self.block} ]"
        again = self.compare("slt", following, end)
        self.line(f"br {again}, label %{label}.body, label %{label}.end")
        self._label(f"{label}.end")

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """Runs the body where the condition holds."""
        self.counter += 1
        label = f"w{self.counter}"
        self.line(f"br {condition}, label %{label}.then, label %{label}.end")
        self._label(f"{label}.then")
        yield
        self.line(f"br label %{label}.end")
        self._label(f"{label}.end")

    @contextmanager
    def otherwise(self, condition: Value) -> Iterator[None]:
        """Runs the body where the condition does not hold."""
        with self.when(self.emit(I1, f"xor {condition}, true")):
            yield

    @contextmanager
    def repeat(self) -> Iterator[Callable[[Value], None]]:
        """Runs the body again and again; yields what leaves it where a condition holds."""
        self.counter += 1
        label = f"r{self.counter}"

        def leave(condition: Value) -> None:
            self.counter += 1
            self.line(f"br {condition}, label %{label}.end, label %{label}.on{self.counter}")
            self._label(f"{label}.on{self.counter}")

        self.line(f"br label %{label}.body")
        self._label(f"{label}.body")
        yield leave
        self.line(f"br label %{label}.body")
        self._label(f"{label}.end")

    def _label(self, name: str) -> None:
        self.line(f"{name}:")
        self.block = name

    # arithmetic ------------------------------------------------------------------------------------------------------

    def compare(self, predicate: str, a: Value, b: Value) -> Value:
        """icmp or fcmp by a predicate's LLVM name."""
        kind = "fcmp" if a.type.floating else "icmp"
        return self.emit(a.type.of("i1"), f"{kind} {predicate} {a}, {b.name}")

    def select(self, condition: Value, yes: Value, no: Value) -> Value:
        """One of two values, lane by lane."""
        return self.emit(yes.type, f"select {condition}, {yes}, {no}")

    def least(self, a: Int, b: Int) -> Value:
        """The smaller of two signed integers."""
        if isinstance(a, int) and isinstance(b, int):
            return self.integer(min(a, b))
        a, b = self.integer(a), self.integer(b)
        return self.select(self.compare("slt", a, b), a, b)

    def most(self, a: Int, b: Int) -> Value:
        """The larger of two signed integers."""
        if isinstance(a, int) and isinstance(b, int):
            return self.integer(max(a, b))
        a, b = self.integer(a), self.integer(b)
        return self.select(self.compare("sgt", a, b), a, b)

    def divide(self, number: Value, by: Value) -> tuple[Value, Value]:
        """Quotient and remainder of integers that are not negative."""
        quotient = number // by
        return quotient, number - quotient * by

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """a·b + c, rounded once."""
        self.fmas += 1
        return self.intrinsic("fma", c.type, a, b, c)

    def arith(self, op: str, a: Value, b: Value) -> Value:
        """fadd, fsub, fmul, fdiv, add, mul, and, or, xor, shl ... integers modulo their size."""
        return self.emit(a.type, f"{op} {a}, {b.name}")

    def intrinsic(self, name: str, result: Type, *arguments: Value) -> Value:
        """A call of an llvm intrinsic that is overloaded on its result type only."""
        suffix = f"v{result.lanes}" if result.lanes else ""
        full = f"llvm.{name}.{suffix}{result.scalar}"
        self.declared[full] = f"declare {result} @{full}({', '.join(str(a.type) for a in arguments)})"
        return self.emit(result, f"call {result} @{full}({', '.join(map(str, arguments))})")

    def plain(self, name: str, *arguments: Value) -> None:
        """A call of an llvm intrinsic without overloads and result."""
        self.declared[name] = f"declare void @{name}({', '.join(str(a.type) for a in arguments)})"
        self.line(f"call void @{name}({', '.join(map(str, arguments))})")

    def convert(self, op: str, value: Value, scalar: str) -> Value:
        """fpext, fptrunc, uitofp, fptosi, zext, trunc, bitcast ... to another scalar of as many lanes."""
        to = value.type.of(scalar)
        return self.emit(to, f"{op} {value} to {to}")

    def nearest(self, value: Value, scalar: str) -> Value:
        """Floats that an integer type has room for as the nearest integers, ties to even as `ieee_mode` rounds."""
        to = value.type.of(scalar)
        suffixes = (f"{f'v{type.lanes}' if type.lanes else ''}{type.scalar}" for type in (to, value.type))
        name = f"llvm.lrint.{'.'.join(suffixes)}"
        self.declared[name] = f"declare {to} @{name}({value.type})"
        return self.emit(to, f"call {to} @{name}({value})")

    # memory and lanes ------------------------------------------------------------------------------------------------

    def load(self, type: Type, pointer: Value, align: int = 0) -> Value:
        """Loads a value; alignment is that of one element unless told."""
        return self.emit(type, f"load {type}, {pointer}, align {min(align or BYTES[type.scalar], WORD)}")

    def store(self, value: Value, pointer: Value, align: int = 0) -> None:
        """Stores a value; alignment is that of one element unless told."""
        self.line(f"store {value}, {pointer}, align {min(align or BYTES[value.type.scalar], WORD)}")

    def stream(self, value: Value, pointer: Value) -> None:
        """Stores a vector past the caches; the pointer must be aligned to it or to a cache line, and a `fence` must follow before others
        read."""
        self.line(f"store {value}, {pointer}, align {min(value.type.bytes, LINE)}, !nontemporal !0")

    def streamable(self, width: int, wanted: Value, pointer: Value, *strides: Value) -> Value:
        """Whether storing past the caches is wanted, and `width` bytes at the pointer and at multiples of the strides are whole
        cache lines: parts of lines would each be written alone."""
        skew = self.emit(I64, f"ptrtoint {pointer} to i64")
        for stride in strides:
            skew = self.arith("or", skew, stride)
        skew = self.arith("and", self.arith("or", skew, self.integer(width)), self.integer(LINE - 1))
        even = self.compare("eq", skew, self.integer(0))
        return self.arith("and", even, self.compare("ne", wanted, self.integer(0)))

    def fence(self) -> None:
        """Lets nobody see a later store before all earlier ones."""
        self.line("fence seq_cst")

    def load_shared(self, pointer: Value) -> Value:
        """A word that other threads write, as it is now; what they wrote before is seen as well."""
        return self.emit(I64, f"load atomic i64, {pointer} seq_cst, align {WORD}")

    def swap(self, op: str, pointer: Value, value: Int) -> Value:
        """xchg, add, or ... of a word, in one step for all threads. What it was before."""
        return self.emit(I64, f"atomicrmw {op} {pointer}, {self.integer(value)} seq_cst")

    def swap_if(self, pointer: Value, expected: Int, new: Int) -> Value:
        """Another value for a word that is still as expected, in one step for all threads. Whether it was."""
        words = f"{pointer}, {self.integer(expected)}, {self.integer(new)}"
        pair = Value(self, I64, self.fresh())
        self.line(f"{pair.name} = cmpxchg {words} seq_cst seq_cst")
        return self.emit(I1, f"extractvalue {{ i64, i1 }} {pair.name}, 1")

    def load_first(self, type: Type, pointer: Value, count: Value) -> Value:
        """Loads the first `count` lanes, zeros in the others; for machines that have masks."""
        return self.load_where(type, pointer, self.lanes_before(type.lanes, count))

    def lanes_before(self, lanes: int, count: Value) -> Value:
        """A mask of the first `count` lanes."""
        counts = self.splat(self.emit(I32, f"trunc {count} to i32"), lanes)
        return self.compare("slt", self.lane_numbers(counts.type), counts)

    def lanes_from(self, lanes: int, first: Value) -> Value:
        """A mask of all lanes but those before the `first`."""
        firsts = self.splat(self.emit(I32, f"trunc {first} to i32"), lanes)
        return self.compare("sge", self.lane_numbers(firsts.type), firsts)

    def load_where(self, type: Type, pointer: Value, mask: Value) -> Value:
        """Loads the lanes where a mask holds, zeros in the others, whose memory nobody touches; for machines that have masks."""
        name = f"llvm.masked.load.v{type.lanes}{type.scalar}.p0"
        arguments = [pointer, self.integer(BYTES[type.scalar], I32), mask, self.zero(type)]
        self.declared[name] = f"declare {type} @{name}({', '.join(str(a.type) for a in arguments)})"
        return self.emit(type, f"call {type} @{name}({', '.join(map(str, arguments))})")

    def splat(self, scalar: Value, lanes: int) -> Value:
        """The same scalar in every lane."""
        to = Type(scalar.type.scalar, lanes)
        one = self.emit(to, f"insertelement {to} poison, {scalar}, i32 0")
        return self.shuffle(one, one, [0] * lanes)

    def any_lane(self, mask: Value) -> Value:
        """Whether any lane of a mask holds."""
        bits = Type(f"i{mask.type.lanes}")
        return self.compare("ne", self.emit(bits, f"bitcast {mask} to {bits}"), self.zero(bits))

    def shuffle(self, a: Value, b: Value, lanes: Sequence[int]) -> Value:
        """Lanes chosen out of two vectors, the second one's numbers following the first's."""
        indices = "zeroinitializer" if not any(lanes) else "<" + ", ".join(f"i32 {lane}" for lane in lanes) + ">"
        return self.emit(Type(a.type.scalar, len(lanes)), f"shufflevector {a}, {b}, <{len(lanes)} x i32> {indices}")

    def moved(self, line: Sequence[Value], places: int) -> list[Value]:
        """All but the last of vectors that lie behind each other, moved on by so many places, fewer than there are lanes."""
        lanes = range(places, places + line[0].type.lanes)
        return [self.shuffle(one, following, lanes) for one, following in itertools.pairwise(line)]

    def unknown(self, pointer: Value) -> Value:
        """The same pointer, but LLVM does not know: what is loaded through it is loaded again, not kept in a register."""
        return self.emit(PTR, f'call ptr asm "", "=r,0"({pointer})')

    def no_crossing(self) -> None:
        """LLVM moves no instruction across this place. Where registers are few, it would load so far ahead that they run out."""
        name = "llvm.codeview.annotation"  # a label, which its schedulers respect
        self.declared[name] = f"declare void @{name}(metadata)"
        self.line(f'call void @{name}(metadata !{{!"no crossing"}})')

    def opaque(self, floats: Value) -> Value:
        """The same floats, but LLVM does not look at what they were made of: where shuffles follow shuffles, its search for fewer of them
        can take most of a compilation."""
        return self.intrinsic("arithmetic.fence", floats.type, floats)

    def prefetch(self, pointer: Value, level: int) -> None:
        """Asks for a line to be brought into the first or the second cache."""
        self.plain("llvm.prefetch.p0", pointer, *(self.integer(n, I32) for n in (0, 4 - level, 1)))

    def store_first(self, value: Value, pointer: Value, count: Value) -> None:
        """Stores the first `count` lanes: by a mask where the machine has masks, else over a buffer on the stack."""
        if self.masks:
            mask = self.lanes_before(value.type.lanes, count)
            name = f"llvm.masked.store.v{value.type.lanes}{value.type.scalar}.p0"
            align = Value(self, I32, str(BYTES[value.type.scalar]))
            self.plain(name, value, pointer, align, mask)
            return
        buffer = self.stack(value.type)
        self.store(value, buffer)
        scalar = Type(value.type.scalar)
        with self.loop(0, self.least(count, value.type.lanes)) as lane:
            self.store(self.load(scalar, buffer + lane * scalar.bytes), pointer + lane * scalar.bytes)

    def store_apart(self, value: Value, pointer: Value, step: int, count: Value | None = None) -> None:
        """Stores the lanes, or the first `count`, `step` elements apart, nothing between them; for machines that have masks."""
        lanes, scalar = value.type.lanes, value.type.scalar
        name = f"llvm.masked.store.v{lanes}{scalar}.p0"
        for part in range(step):
            mask = "<" + ", ".join(f"i1 {int((part * lanes + lane) % step == 0)}" for lane in range(lanes)) + ">"
            spread = self.shuffle(value, value, [(part * lanes + lane) // step for lane in range(lanes)])
            place = pointer + part * lanes * BYTES[scalar]
            wanted = Value(self, Type("i1", lanes), mask)
            if count is not None:
                wanted = self.arith("and", wanted, self.lanes_before(lanes, count * step - part * lanes))
            self.plain(name, spread, place, self.integer(BYTES[scalar], I32), wanted)

    def text(self) -> str:
        """The whole module."""
        return "\n".join([*self.declared.values(), *self.done, "!0 = !{i32 1}", ""])
