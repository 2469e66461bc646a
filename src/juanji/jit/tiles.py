"""The matrix unit of x86-64 processors (AMX) in the emitter's words: eight tiles of 16 rows of 64 bytes, and products of them.

    acc[i, j] += Σ_k a[i, k]·b[k, j]        i, j < 16;  k < 32 bfloat16 numbers, or 64 bytes

An accumulator is 16×16 float32 or int32. Each row of a holds the numbers k of one i. Those of b lie in groups as long as a sum is
wide (2 bfloat16 numbers, 4 bytes): row r has for each j in turn the numbers k = r·group … r·group + group − 1.

Products of bfloat16 numbers are exact. The unit adds those of even k and those of odd k in two chains of 16, one chain to the other and
their sum to the accumulator, rounding each time to nearest, ties to even; it takes subnormal numbers for zeros and leaves zeros for them.
Its int32 sums wrap.
"""

from juanji.jit.emit import I8, I64, LINE, Emitter, Int, Type, Value
from juanji.jit.target import Target

ROWS = 16  # of a tile
TILES = 8
TILE = ROWS * LINE  # bytes
PRODUCTS = {
    ("bfloat16", "bfloat16"): "tdpbf16ps",
    ("int8", "int8"): "tdpbssd",
    ("int8", "uint8"): "tdpbsud",
    ("uint8", "int8"): "tdpbusd",
    ("uint8", "uint8"): "tdpbuud",
}
FEATURES = ("+amx-tile", "+amx-bf16", "+amx-int8", "+avx512bf16")  # what LLVM calls all that is used here


def has(target: Target) -> bool:
    """Whether code for a target may use the unit, if the system gives leave."""
    return set(FEATURES) <= set(target.features.split(","))


def configure(e: Emitter) -> None:
    """All tiles with 16 rows of 64 bytes, until `release`."""
    words = e.stack(I64, LINE // 8)
    for place in range(0, LINE, 8):
        word = {0: 1, 16: 0x0040_0040_0040_0040, 24: 0x0040_0040_0040_0040, 48: 0x1010_1010_1010_1010}.get(place, 0)
        e.store(e.integer(word), words + place)
    e.plain("llvm.x86.ldtilecfg", words)


def release(e: Emitter) -> None:
    """Back to the state in which the system need not keep the tiles of a thread."""
    e.plain("llvm.x86.tilerelease")


def zero(e: Emitter, tile: int) -> None:
    """All numbers of a tile zero."""
    e.plain("llvm.x86.tilezero", e.integer(tile, I8))


def load(e: Emitter, tile: int, pointer: Value, pitch: Int) -> None:
    """16 rows of 64 bytes, `pitch` bytes apart."""
    e.plain("llvm.x86.tileloadd64", e.integer(tile, I8), pointer, e.integer(pitch))


def store(e: Emitter, tile: int, pointer: Value, pitch: Int) -> None:
    """The way back."""
    e.plain("llvm.x86.tilestored64", e.integer(tile, I8), pointer, e.integer(pitch))


def multiply(e: Emitter, name: str, acc: int, a: int, b: int) -> None:
    """acc += a·b by one of `PRODUCTS`."""
    e.plain(f"llvm.x86.{name}", *(e.integer(tile, I8) for tile in (acc, a, b)))


def bfloat16(e: Emitter, number: Value) -> Value:
    """A vector of float32 as bfloat16, rounded as by the unit: subnormal numbers to zero."""
    name = f"llvm.x86.avx512bf16.cvtneps2bf16.{number.type.bytes * 8}"
    return _as_words(e, name, [number], number.type.lanes)


def bfloat16_pair(e: Emitter, low: Value, high: Value) -> Value:
    """The same for two vectors, side by side in one."""
    name = f"llvm.x86.avx512bf16.cvtne2ps2bf16.{low.type.bytes * 8}"
    return _as_words(e, name, [high, low], 2 * low.type.lanes)


def _as_words(e: Emitter, name: str, numbers: list[Value], lanes: int) -> Value:
    to = Type("bf16", lanes)
    e.declared[name] = f"declare {to} @{name}({', '.join(str(number.type) for number in numbers)})"
    return e.convert("bitcast", e.emit(to, f"call {to} @{name}({', '.join(map(str, numbers))})"), "i16")


def operands(product: str) -> tuple[str, str]:
    """The element types of a product's operands."""
    return next(types for types, name in PRODUCTS.items() if name == product)
