"""Adaptive Gauss–Kronrod integration of many integrals at once.

The rule sees a piece at 21 points. Two polynomial rules share them: Kronrod's, exact to degree 31, is the value, and its difference
from Gauss's on 10 of the points, exact to degree 19, says how far off it may be. As in QUADPACK that difference d becomes the error

    s·min(1, (200·d/s)^(3/2)),    s = ∫ |f − its mean|

because Kronrod's rule is much the better one; below 50 ε·∫|f| it is rounding. While an integral's errors add up to more than was asked,
those of its pieces whose error is above their share are halved, all integrals in one call of the function.

An endless piece is mapped to 0 < u < 1 by x = a ± (1 − u)/u.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

NODES = np.array([
    0.148874338981631210884826001129720, 0.294392862701460198131126603103866, 0.433395394129247190799265943165784,
    0.562757134668604683339000099272694, 0.679409568299024406234327365114874, 0.780817726586416897063717578345042,
    0.865063366688984510732096688423493, 0.930157491355708226001207180059508, 0.973906528517171720077964012084452,
    0.995657163025808080735527280689003,
])  # fmt: skip
KRONROD = np.array([
    0.149445554002916905664936468389821, 0.147739104901338491374841515972068, 0.142775938577060080797094273138717,
    0.134709217311473325928054001771707, 0.123491976262065851077958109831074, 0.109387158802297641899210590325805,
    0.093125454583697605535065465083366, 0.075039674810919952767043140916190, 0.054755896574351996031381300244580,
    0.032558162307964727478818972459390, 0.011694638867371874278064396062192,
])  # fmt: skip
GAUSS = np.array([
    0.295524224714752870173892994651338, 0.269266719309996355091226921569469, 0.219086362515982043995534934228163,
    0.149451349150580593145776339657697, 0.066671344308688137593568809893332,
])  # fmt: skip
X = np.concatenate([-NODES[::-1], [0.0], NODES])
K = np.concatenate([KRONROD[:0:-1], KRONROD])
G = np.concatenate([GAUSS[::-1], GAUSS])  # at X[1::2]

ROUNDING = 50 * np.finfo(np.float64).eps
MOST_PIECES = 400  # of one integral

Integrand = Callable[[Array, Array], Array]  # places (pieces, points), the integral of each piece → values


@dataclass(frozen=True)
class Integrals:
    """Values, their errors, and the part of those that is rounding and that no halving makes smaller; one element per integral."""

    value: Array
    error: Array
    rounding: Array


@dataclass(frozen=True)
class _Pieces:
    """Intervals of u, each of one integral. sign 0: x = u; otherwise x = anchor + sign·(1 − u)/u."""

    low: Array
    high: Array
    integral: Array
    anchor: Array
    sign: Array

    def __getitem__(self, chosen: Array) -> "_Pieces":
        return _Pieces(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def halves(self) -> "_Pieces":
        middle = (self.low + self.high) / 2
        first = _Pieces(self.low, middle, self.integral, self.anchor, self.sign)
        return _joined(first, _Pieces(middle, self.high, self.integral, self.anchor, self.sign))

    @property
    def divisible(self) -> Array:
        middle = (self.low + self.high) / 2
        return np.asarray((self.low < middle) & (middle < self.high))


def integrate(f: Integrand, edges: Array, rtol: float) -> Integrals:
    """∫ f over each row of `edges`, (integrals, at least 2), ends and the places between at which it is cut; ends may be infinite.

    Stops for an integral when its error is at most rtol·|value|, only rounding, or its pieces are as many as `MOST_PIECES`.
    """
    count = len(edges)
    pieces = _cut(edges)
    value, error, rounding = _rule(f, pieces)
    while True:
        totals = Integrals(*(_per_integral(part, pieces.integral, count) for part in (value, error, rounding)))
        number = np.bincount(pieces.integral, minlength=count)
        limit = rtol * np.abs(totals.value)
        short = (totals.error > np.maximum(limit, totals.rounding)) & (number < MOST_PIECES)
        owner = pieces.integral
        split = short[owner] & (error > limit[owner] / number[owner]) & (error > rounding) & pieces.divisible
        if not split.any():
            return totals
        halves = pieces[split].halves()
        new = _rule(f, halves)
        pieces = _joined(pieces[~split], halves)
        value, error, rounding = (np.concatenate([old[~split], part]) for old, part in zip((value, error, rounding), new, strict=True))


def _cut(edges: Array) -> _Pieces:
    low, high = edges[:, :-1].ravel(), edges[:, 1:].ravel()
    integral = np.repeat(np.arange(len(edges)), edges.shape[1] - 1)
    sign = np.where(np.isinf(high), 1.0, np.where(np.isinf(low), -1.0, 0.0))
    anchor = np.where(sign > 0, low, np.where(sign < 0, high, 0.0))
    pieces = _Pieces(np.where(sign, 0.0, low), np.where(sign, 1.0, high), integral, anchor, sign)
    return pieces[high > low]


def _rule(f: Integrand, pieces: _Pieces) -> tuple[Array, Array, Array]:
    """Value, error and rounding of each piece."""
    half = (pieces.high - pieces.low) / 2
    u = (pieces.low + half)[:, None] + half[:, None] * X
    sign = pieces.sign[:, None]
    endless = sign != 0
    with np.errstate(over="ignore"):
        values = f(np.where(endless, pieces.anchor[:, None] + sign * (1 - u) / np.where(endless, u, 1), u), pieces.integral)
        values = values / np.where(endless, u * u, 1)
    value = half * (values @ K)
    difference = np.abs(value - half * (values[:, 1::2] @ G))
    spread = half * (np.abs(values - (values @ K)[:, None] / 2) @ K)
    rounding = ROUNDING * half * (np.abs(values) @ K)
    ratio = np.divide(200 * difference, spread, out=np.zeros_like(spread), where=spread > 0)
    return value, np.maximum(spread * np.minimum(1, ratio**1.5), rounding), rounding


def _per_integral(parts: Array, integral: Array, count: int) -> Array:
    total = np.zeros(count, parts.dtype)
    np.add.at(total, integral, parts)
    return total


def _joined(a: _Pieces, b: _Pieces) -> _Pieces:
    return _Pieces(*(np.concatenate([getattr(a, name), getattr(b, name)]) for name in _Pieces.__dataclass_fields__))
