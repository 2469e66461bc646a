"""Dot-product instructions of vector units: each lane of 32 bits adds the products of several neighbours of the reduction to its sum.

    acc[lane] += Σ_k x[lane, k]·w[lane, k]      4 bytes with int32 sums, 2 short integers with int32 sums, 2 bfloat16 with float32 sums

x86-64 has them as VNNI, in vectors of 512 bits or, as AVX-VNNI, of 256, and as AVX512-BF16; aarch64 as DotProd, I8MM and BF16. Those of
x86-64 take bytes of x without sign and bytes of w with one, or the other way round. Where both have a sign or none has, 128 is taken from
x, or added, which is to turn its upper bit:

    Σ (x ± 128)·w = Σ x·w ± 128·Σ w

and what a feature's sum then has too much, ±128 times the sum of its weights, is known with the weights (`correction`). Sums of integers
wrap, so that they are exact where the whole sum fits int32.

vdpbf16ps multiplies and adds the number of the upper half of each word and then that of the lower, rounding each time to nearest, ties to
even, whatever the mode; it takes subnormal numbers for zeros and leaves zeros for them. bfdot adds the two products first, and rounds
both times to odd where the processor knows no other way.
"""

from __future__ import annotations

from typing import NamedTuple

from juanji.exact import limits
from juanji.jit.emit import Emitter, Type, Value
from juanji.jit.target import Target

BYTES = ("bool", "int8", "uint8")
SHORTS = (*BYTES, "int16")  # what a short integer can be
UPPER_BITS = -0x7F7F7F80  # of the four bytes of a word


class Dot(NamedTuple):
    """An instruction, and what its operands stand for.

    name: of the intrinsic, without its types. scalar, total: of the numbers that are multiplied and of their sums. turned: whether the
    upper bits of x's bytes are. weights_first: the order of the operands.
    """

    name: str
    scalar: str
    total: str
    turned: bool = False
    weights_first: bool = False

    @property
    def group(self) -> int:
        """Numbers of a word."""
        return 32 // Type(self.scalar).bits

    @property
    def correction(self) -> int:
        """What the sum of a feature's weights is multiplied by and added to each of its sums."""
        return 0 if not self.turned else 128 if self.weights_first else -128


def instruction(target: Target, x: str, w: str) -> Dot | None:
    """What multiplies words of x by words of w, if the target has such an instruction."""
    has, x86 = set(target.features.split(",")), target.triple.startswith("x86_64")
    if x86:
        whole = "+avx512vnni" in has if target.vector_bits == 512 else {"+avx512vnni", "+avx512vl"} <= has or "+avxvnni" in has
        floats = "+avx512bf16" in has
    else:
        whole, floats = "+dotprod" in has, "+bf16" in has
    if x == w == "bfloat16":
        return Dot("llvm.x86.avx512bf16.dpbf16ps" if x86 else "llvm.aarch64.neon.bfdot", "bf16", "float32") if floats else None
    if x in BYTES and w in BYTES:
        signed = (limits(x)[0] < 0, limits(w)[0] < 0)
        if x86:
            turned = signed[0] == signed[1]
            return Dot("llvm.x86.avx512.vpdpbusd", "i8", "int32", turned, weights_first=signed[0] != turned) if whole else None
        if signed[0] == signed[1]:
            return Dot(f"llvm.aarch64.neon.{'s' if signed[0] else 'u'}dot", "i8", "int32") if whole else None
        return Dot("llvm.aarch64.neon.usdot", "i8", "int32", weights_first=signed[0]) if "+i8mm" in has else None
    if x in SHORTS and w in SHORTS and x86:
        return Dot("llvm.x86.avx512.vpdpwssd", "i16", "int32") if whole else None
    return None


def multiply_add(e: Emitter, x: Value, w: Value, acc: Value, dot: Dot) -> Value:
    """Vectors of words, and of sums: acc + x·w."""
    numbers = Type(dot.scalar, acc.type.lanes * dot.group)
    operands = [e.emit(numbers, f"bitcast {vector} to {numbers}") for vector in ((w, x) if dot.weights_first else (x, w))]
    if dot.name.startswith("llvm.x86"):
        name = f"{dot.name}.{acc.type.bytes * 8}"
    else:
        name = f"{dot.name}.v{acc.type.lanes}{acc.type.scalar}.v{numbers.lanes}{numbers.scalar}"
    e.declared[name] = f"declare {acc.type} @{name}({acc.type}, {numbers}, {numbers})"
    return e.emit(acc.type, f"call {acc.type} @{name}({acc}, {operands[0]}, {operands[1]})")
