"""The activations of spec.ACTIVATIONS on vectors of sums: our own polynomials, nothing here calls a library."""

import math

from juanji.jit.emit import Emitter, Value


def activate(e: Emitter, x: Value, activation: str | None, parameter: Value) -> Value:
    """The activation of a sum. Integer sums know those that stay integers: relu and relu6."""
    zero = e.zero(x.type)
    less, greater = ("olt", "ogt") if x.type.floating else ("slt", "sgt")
    match activation:
        case None:
            return x
        case "relu":  # a NaN fails both comparisons and passes
            return e.select(e.compare(less, x, zero), zero, x)
        case "relu6":
            six = e.const(x.type, 6.0)
            low = e.select(e.compare(less, x, zero), zero, x)
            return e.select(e.compare(greater, low, six), six, low)
        case "leaky_relu":
            slope = e.splat(parameter, x.type.lanes) if x.type.lanes else parameter
            return e.select(e.compare("olt", x, zero), e.arith("fmul", x, slope), x)
        case "sigmoid":  # with z = e^−|x|, which cannot overflow: 1 / (1 + z), or z / (1 + z) where x is negative
            part, scale, rest = _exp(e, e.arith("fsub", e.const(x.type, -0.0), e.intrinsic("fabs", x.type, x)))
            one = e.const(x.type, 1.0)
            z = e.arith("fmul", e.arith("fmul", e.arith("fadd", part, one), scale), rest)
            return e.arith("fdiv", e.select(e.compare("olt", x, zero), z, one), e.arith("fadd", one, z))
        case "tanh":  # with m = e^−2|x| − 1, exact near 0: −m / (m + 2), and the sign of x
            size = e.intrinsic("fabs", x.type, x)
            part, scale, rest = _exp(e, e.arith("fmul", size, e.const(x.type, -2.0)))
            m = e.arith("fmul", e.arith("fmul", part, scale), rest)
            m = e.arith("fadd", m, e.fma(scale, rest, e.const(x.type, -1.0)))
            tanh = e.arith("fdiv", e.arith("fsub", e.const(x.type, -0.0), m), e.arith("fadd", m, e.const(x.type, 2.0)))
            return e.intrinsic("copysign", x.type, tanh, x)
    raise KeyError(activation)


def _exp(e: Emitter, x: Value) -> tuple[Value, Value, Value]:
    """e^x for x <= 0 as (part, scale, rest): e^x = (1 + part)·scale·rest, where x = n·ln 2 + r and |r| <= ln 2 / 2.

    part = e^r − 1 is its Taylor sum; the first term left out is below half a unit in the last place. scale·rest = 2^n, each
    built from its exponent's bits; in two factors, so that subnormal results are reached by one rounding.
    """
    double = x.type.scalar == "f64"
    bits, bias, terms, least = (52, 1023, 13, -750.0) if double else (23, 127, 7, -110.0)
    low_end = e.const(x.type, least)
    x = e.select(e.compare("olt", x, low_end), low_end, x)  # a NaN fails the comparison and passes
    n = e.intrinsic("roundeven", x.type, e.arith("fmul", x, e.const(x.type, 1 / math.log(2))))
    # ln 2 in two parts, the first with so few bits that n times it is exact.
    high = float.fromhex("0x1.62e42feep-1" if double else "0x1.62e4p-1")
    low = 1.9082149292705877e-10 if double else math.log(2) - high
    r = e.fma(n, e.const(x.type, -low), e.fma(n, e.const(x.type, -high), x))
    part = e.const(x.type, 1 / math.factorial(terms))
    for k in range(terms - 1, 0, -1):
        part = e.fma(part, r, e.const(x.type, 1 / math.factorial(k)))
    part = e.arith("fmul", part, r)
    known = e.select(e.compare("uno", n, n), e.zero(x.type), n)  # a NaN has no integer; it stays in `part`
    whole = e.convert("fptosi", known, "i64" if double else "i32")
    half = e.arith("ashr", whole, e.const(whole.type, 1))
    factors = []
    for exponent in (half, e.arith("sub", whole, half)):
        raised = e.arith("shl", e.arith("add", exponent, e.const(whole.type, bias)), e.const(whole.type, bits))
        factors.append(e.convert("bitcast", raised, x.type.scalar))
    return part, factors[0], factors[1]
