"""Between memory and registers: conversions of elements as they are read and written, and the epilogue between.

Sums live in float32, float64, int64 or in integers of several words. Elements are widened as they enter a panel; half floats
come and go through float32. A finished sum is activated and then stored in the output's type: as a float it is rounded once, to
nearest, ties to even; as an integer likewise, with 0 for NaN, and what does not fit follows `exact.Narrowing`.

Nothing here calls a library: activations are our own polynomials, conversions those that the processor has or plain arithmetic.
"""

from juanji.exact import SATURATING, SIGNED, UNSIGNED, Narrowing, limits
from juanji.jit.activations import activate
from juanji.jit.emit import Emitter, Type, Value

SCALARS = {
    "bool": "i8", "int8": "i8", "uint8": "i8", "int16": "i16", "uint16": "i16", "int32": "i32", "uint32": "i32", "int64": "i64",
    "uint64": "i64", "int128": "i128", "int256": "i256", "float16": "i16", "bfloat16": "i16", "float32": "f32", "float64": "f64",
}  # fmt: skip
HALFWAY = 4  # rows that have changed places in a transposition when the search for fewer shuffles is made to begin anew
DIGITS = {"f32": 24, "f64": 53}  # bits of a significand: integers up to 2^digits are exact


def read(e: Emitter, pointer: Value, dtype: str, total: Type, count: Value | None = None) -> Value:
    """One element, or as many as `total` has lanes (the first `count`), converted to the type of the sum."""
    type = total.of(SCALARS[dtype])
    stored = e.load(type, pointer) if count is None else e.load_first(type, pointer, count)
    match dtype:
        case "float16":
            return resized(e, e.convert("fpext", e.convert("bitcast", stored, "f16"), "f32"), total.scalar)
        case "bfloat16":
            wide = e.convert("zext", stored, "i32")
            return resized(e, e.convert("bitcast", e.arith("shl", wide, e.const(wide.type, 16)), "f32"), total.scalar)
        case _ if total.floating and not stored.type.floating:
            return to_float(e, stored, dtype in SIGNED, total.scalar)
    return resized(e, stored, total.scalar, signed=dtype not in UNSIGNED)


def to_float(e: Emitter, whole: Value, signed: bool, scalar: str) -> Value:
    """An integer as a float. Those of more than 24 bits meet float32 only where sums are exact in it, so that all are short."""
    if whole.type.bits < 32 or (scalar == "f32" and whole.type.bits > 32):
        whole, signed = resized(e, whole, "i32", signed), True
    return e.convert("sitofp" if signed or scalar == "f32" else "uitofp", whole, scalar)


def finish(
    e: Emitter, total: Value, dtype: str, activation: str | None, parameter: Value, narrowing: Narrowing = SATURATING
) -> Value:
    """The stored form of a finished sum: activated, then converted to the output's type."""
    total = activate(e, total, activation, parameter)
    if dtype in SIGNED or dtype in UNSIGNED:
        return _to_integer(e, total, dtype, narrowing)
    if dtype == "float16":
        return e.convert("bitcast", e.convert("fptrunc", _float32_for_half(e, total), "f16"), SCALARS[dtype])
    if dtype == "bfloat16":
        return _bfloat16(e, _float32_for_half(e, total))
    return resized(e, total, SCALARS[dtype])


def finish_line(
    e: Emitter, totals: list[Value], dtype: str, activation: str | None, parameter: Value, narrowing: Narrowing
) -> list[Value]:
    """The stored forms of vectors of sums that lie behind each other, in fewer vectors where bytes or short words fill them."""
    count = together(totals[0].type.scalar, dtype, narrowing)
    if count == 1 or len(totals) % count:
        return finish_each(e, totals, dtype, activation, parameter, narrowing)
    wholes = [_nearest_within(e, activate(e, total, activation, parameter), dtype, narrowing.exact) for total in totals]
    return joined(e, wholes, SCALARS[dtype])


def finish_each(
    e: Emitter, totals: list[Value], dtype: str, activation: str | None, parameter: Value, narrowing: Narrowing
) -> list[Value]:
    """The same, a vector of each."""
    return [finish(e, total, dtype, activation, parameter, narrowing) for total in totals]


def together(scalar: str, dtype: str, narrowing: Narrowing) -> int:
    """How many vectors of sums `finish_line` stores as one: 1 if each is one by itself."""
    fills = narrowing.overflow == "saturate" and dtype in UNSIGNED and _short(scalar, dtype)
    return 32 // Type(SCALARS[dtype]).bits if fills else 1


def joined(e: Emitter, wholes: list[Value], scalar: str) -> list[Value]:
    """Vectors of integers from 0 up, behind each other, as vectors of a shorter type that has room for them.

    Those that share a vector are put into the parts of its elements, which then change places: less than half of the instructions that
    it takes to narrow each by itself.
    """
    kind, lanes = wholes[0].type, wholes[0].type.lanes
    parts = kind.bits // Type(scalar).bits
    found = []
    for first in range(0, len(wholes), parts):
        word = wholes[first]
        for i in range(1, parts):
            word = e.arith("or", word, e.arith("shl", wholes[first + i], e.const(kind, i * kind.bits // parts)))
        mixed = e.emit(Type(scalar, lanes * parts), f"bitcast {word} to {Type(scalar, lanes * parts)}")
        found.append(e.shuffle(mixed, mixed, [place % lanes * parts + place // lanes for place in range(lanes * parts)]))
    return found


def resized(e: Emitter, number: Value, scalar: str, signed: bool = True) -> Value:
    """Another size of the same kind: integers lose upper bits or gain copies of the sign, floats are rounded."""
    to = number.type.of(scalar)
    if to == number.type:
        return number
    if to.floating:
        return e.convert("fpext" if to.bits > number.type.bits else "fptrunc", number, scalar)
    return e.convert("trunc" if to.bits < number.type.bits else "sext" if signed else "zext", number, scalar)


# Half floats --------------------------------------------------------------------------------------------------------------


def _float32_for_half(e: Emitter, number: Value) -> Value:
    """A float32 that rounds to the same half float as the number itself.

    Of a float64 it is the number rounded to odd: cut off, and the last bit set if anything was lost. A half float has so many
    fewer bits that this bit tells on which side of a tie the number lies (Boldo and Melquiond, 2008).
    """
    if number.type.scalar == "f32":
        return number
    near = e.convert("fptrunc", number, "f32")
    back = e.convert("fpext", near, "f64")
    beyond = e.compare("ogt", e.intrinsic("fabs", back.type, back), e.intrinsic("fabs", number.type, number))
    bits = e.convert("bitcast", near, "i32")
    cut = e.arith("sub", bits, e.convert("zext", beyond, "i32"))
    odd = e.arith("or", cut, e.convert("zext", e.compare("une", back, number), "i32"))
    return e.convert("bitcast", odd, "f32")


def _bfloat16(e: Emitter, number: Value) -> Value:
    """The upper half of a float32, rounded to even by an addition that carries; a NaN stays one, and quiet."""
    bits = e.convert("bitcast", number, "i32")
    upper = e.arith("lshr", bits, e.const(bits.type, 16))
    tie = e.arith("add", e.arith("and", upper, e.const(bits.type, 1)), e.const(bits.type, 0x7FFF))
    rounded = e.arith("lshr", e.arith("add", bits, tie), e.const(bits.type, 16))
    quiet = e.arith("or", upper, e.const(bits.type, 0x40))
    return e.convert("trunc", e.select(e.compare("uno", number, number), quiet, rounded), "i16")


# Integers -----------------------------------------------------------------------------------------------------------------


def _to_integer(e: Emitter, total: Value, dtype: str, narrowing: Narrowing) -> Value:
    """A sum as an integer of the output's type, or as a flag."""
    if narrowing.overflow == "saturate" and _short(total.type.scalar, dtype):
        return resized(e, _nearest_within(e, total, dtype, narrowing.exact), SCALARS[dtype])
    if total.type.floating and not narrowing.exact:
        total = e.intrinsic("roundeven", total.type, total)
    match narrowing.overflow:
        case "raise":
            stored = total.type.of(SCALARS[dtype])
            return e.select(_fits(e, total, dtype), e.zero(stored), e.const(stored, 1))
        case "wrap":
            return _wrapped(e, total, dtype, narrowing.exact)
    if total.type.floating:
        return _saturated(e, total, dtype, narrowing.exact)
    return _clamped(e, total, dtype)


def _short(scalar: str, dtype: str) -> bool:
    """Whether sums are floats that have all numbers of an integer type, and a signed word has them too."""
    return scalar in DIGITS and limits(dtype)[1] < min(1 << DIGITS[scalar], 2**31)


def _nearest_within(e: Emitter, total: Value, dtype: str, exact: bool) -> Value:
    """The nearest number of a `_short` type to a float, as a word; 0 for NaN."""
    least, most = (e.const(total.type, end) for end in limits(dtype))
    if not exact and limits(dtype)[0] < 0:
        total = e.select(e.compare("uno", total, total), e.zero(total.type), total)
    total = e.select(e.compare("ogt", total, least), total, least)  # false for NaN, which becomes 0
    total = e.select(e.compare("olt", total, most), total, most)
    return e.convert("fptosi", total, "i32") if exact else e.nearest(total, "i32")


def _fits(e: Emitter, total: Value, dtype: str) -> Value:
    """Whether an integer, in any type, is one of the output's. NaN is not."""
    least, most = limits(dtype)
    if total.type.floating:  # most + 1 is a power of two, which every float has
        above, below = e.compare("oge", total, e.const(total.type, least)), e.compare("olt", total, e.const(total.type, most + 1))
    else:
        above, below = (
            e.compare(predicate, total, e.const(total.type, _within(total.type, end))) for predicate, end in (("sge", least), ("sle", most))
        )
    return e.arith("and", above, below)


def _within(type: Type, number: int) -> int:
    """The nearest number of a signed integer type."""
    end = 1 << (type.bits - 1)
    return max(min(number, end - 1), -end)


def _saturated(e: Emitter, total: Value, dtype: str, exact: bool) -> Value:
    """The nearest number of a type that is not `_short` to a whole float; 0 for NaN."""
    least, most = limits(dtype)
    wholes = 1 << DIGITS[total.type.scalar]
    if exact and most >= wholes:
        return _clamped(e, e.convert("fptosi", total, "i32" if total.type.scalar == "f32" else "i64"), dtype)
    if not exact and least < 0:
        total = e.select(e.compare("uno", total, total), e.zero(total.type), total)
    low = e.const(total.type, least)
    total = e.select(e.compare("ogt", total, low), total, low)  # false for NaN, which becomes 0
    op = "fptosi" if least < 0 else "fptoui"
    # The largest integer may be no float, but the one after it is, and whatever reaches that is too large.
    beyond = e.compare("oge", total, e.const(total.type, most + 1))
    near = e.convert(op, e.select(beyond, low, total), SCALARS[dtype])
    return e.select(beyond, e.const(near.type, most), near)


def _clamped(e: Emitter, whole: Value, dtype: str) -> Value:
    """The nearest number of the output's type to an integer."""
    for predicate, end in zip(("slt", "sgt"), limits(dtype), strict=True):
        if end == _within(whole.type, end):
            bound = e.const(whole.type, end)
            whole = e.select(e.compare(predicate, whole, bound), bound, whole)
    return resized(e, whole, SCALARS[dtype])


def _wrapped(e: Emitter, total: Value, dtype: str, exact: bool) -> Value:
    """The number of the output's type that equals the sum modulo 2^bits; 0 for NaN and infinity."""
    whole = total
    if total.type.floating:
        short = exact and total.type.scalar == "f32"
        whole = e.convert("fptosi", total if exact else _modulo_word(e, total), "i32" if short else "i64")
    if dtype == "bool":
        whole = e.arith("and", whole, e.const(whole.type, 1))
    return resized(e, whole, SCALARS[dtype])


def _modulo_word(e: Emitter, number: Value) -> Value:
    """What is left of a whole number after multiples of 2^64, from −2^63 to below 2^63; every step is exact."""
    word, half = 2.0**64, 2.0**63
    turns = e.intrinsic("trunc", number.type, e.arith("fmul", number, e.const(number.type, 1 / word)))
    rest = e.fma(turns, e.const(number.type, -word), number)  # of the number's sign
    for predicate, end, turn in (("oge", half, -word), ("olt", -half, word)):
        over = e.compare(predicate, rest, e.const(number.type, end))
        rest = e.select(over, e.arith("fadd", rest, e.const(number.type, turn)), rest)
    return e.select(e.compare("uno", rest, rest), e.zero(rest.type), rest)


# Sums and lanes -----------------------------------------------------------------------------------------------------------


def multiply_add(e: Emitter, a: Value, b: Value, c: Value) -> Value:
    """a·b + c: rounded once, or of integers modulo their size."""
    return e.fma(a, b, c) if c.type.floating else e.arith("add", e.arith("mul", a, b), c)


def plus(e: Emitter, a: Value, b: Value) -> Value:
    """The sum of two sums."""
    return e.arith("fadd" if a.type.floating else "add", a, b)


def of_group(e: Emitter, x: Value, channel: int, group: int) -> Value:
    """A channel of its own group in every lane of a vector of groups of channels."""
    return x if group == 1 else e.shuffle(x, x, [lane // group * group + channel for lane in range(x.type.lanes)])


def across(e: Emitter, lanes: Value) -> Value:
    """The sum of a vector's lanes: the upper half added to the lower, until one is left."""
    while lanes.type.lanes > 1:
        half = lanes.type.lanes // 2
        lanes = plus(e, e.shuffle(lanes, lanes, range(half)), e.shuffle(lanes, lanes, range(half, 2 * half)))
    return e.emit(Type(lanes.type.scalar), f"extractelement {lanes}, i32 0")


def transpose(e: Emitter, rows: list[Value]) -> list[Value]:
    """The columns of a square of vectors: log2(lanes) rounds that swap ever larger off-diagonal blocks.

    Of fewer rows, a power of two, each of the squares that stand behind each other in them.
    """
    lanes, count, distance = rows[0].type.lanes, len(rows), 1
    while distance < count:
        upper = [lane if not lane & distance else lanes + lane - distance for lane in range(lanes)]
        lower = [lane + distance if not lane & distance else lanes + lane for lane in range(lanes)]
        swapped = list(rows)
        for i in range(count):
            if not i & distance:
                swapped[i] = e.shuffle(rows[i], rows[i + distance], upper)
                swapped[i + distance] = e.shuffle(rows[i], rows[i + distance], lower)
        distance *= 2
        rows = [e.opaque(row) for row in swapped] if distance == HALFWAY < count and rows[0].type.floating else swapped
    return rows
