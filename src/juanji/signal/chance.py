"""The sum of independent random variables: its distribution is the convolution of theirs."""

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import reduce
from itertools import accumulate
from numbers import Rational, Real
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.errors import ArgumentError

Probability = Fraction | float
Variable = Mapping[Any, Any] | Sequence[Any] | npt.NDArray[Any]
Distribution = dict[Any, Probability]

SLACK = 1e-6  # by which probabilities given as floats, float32 among them, may miss a sum of 1


class SumDistribution(Mapping[Any, Probability]):
    """The distribution of a sum: a mapping from each possible total, in rising order, to its probability, which has `terms` too.

    A total that cannot occur has probability 0.
    """

    def __init__(self, variables: Sequence[Distribution]) -> None:
        self._variables = list(variables)
        self._sums = list(accumulate(variables, _add))  # of the first variable, the first two, ...

    def __getitem__(self, total: Any) -> Probability:
        return self._sums[-1].get(total, Fraction(0))

    def __iter__(self) -> Iterator[Any]:
        return iter(self._sums[-1])

    def __len__(self) -> int:
        return len(self._sums[-1])

    def __contains__(self, total: object) -> bool:
        return total in self._sums[-1]

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{total}: {p}" for total, p in self.items()) + "}"

    def terms(self, total: Any) -> list[tuple[tuple[Any, ...], Probability]]:
        """Every way to that total: the outcome of each variable, and the product of their probabilities.

        >>> die = [0, 1, 1, 1, 1, 1, 1]
        >>> distribution_of_sum(die, die).terms(4)
        [((1, 3), Fraction(1, 36)), ((2, 2), Fraction(1, 36)), ((3, 1), Fraction(1, 36))]
        """
        return [(ways, math.prod(f[a] for f, a in zip(self._variables, ways, strict=True))) for ways in self._ways(total, len(self._sums))]

    def _ways(self, total: Any, count: int) -> Iterator[tuple[Any, ...]]:
        """The outcomes of the first `count` variables that add up to a total, and are possible."""
        if count == 1:
            if self._variables[0].get(total, 0):
                yield (total,)
            return
        for before in self._sums[count - 2]:
            for last, p in self._variables[count - 1].items():
                if p and before + last == total:
                    yield from ((*ways, last) for ways in self._ways(before, count - 1))


def distribution_of_sum(*variables: Variable) -> SumDistribution:
    """The distribution of the sum of independent random variables, P(n) = Σ f(a)·g(b) over a + b = n, and so on for more of them.

    variables: each a mapping from outcome to probability, or a sequence of the probabilities of 0, 1, 2 ... Outcomes are numbers.
        Probabilities are at least 0 and add up to 1. Integers alone are odds, which are divided by their sum: a die is {1: 1, 2: 1, ...}.

    Fractions and integers give exact fractions; a float makes the result floats. For long arrays of floats, `convolve` does the same sums
    faster. Raises ArgumentError.

    >>> die = dict.fromkeys(range(1, 7), 1)
    >>> distribution_of_sum(die, die)[4]
    Fraction(1, 12)
    """
    if not variables:
        raise ArgumentError("distribution_of_sum needs at least one random variable")
    return SumDistribution([_distribution(number, variable) for number, variable in enumerate(variables)])


def _distribution(number: int, variable: Variable) -> Distribution:
    named = f"variable {number}"
    if isinstance(variable, Mapping):
        given = dict(variable)
    elif isinstance(variable, Sequence | np.ndarray) and not isinstance(variable, str) and np.ndim(variable) == 1:
        given = dict(enumerate(variable))
    else:
        raise ArgumentError(f"{named} (={variable!r}) must be a mapping from outcomes to probabilities or a sequence of them")
    for outcome, p in given.items():
        if not isinstance(outcome, Real) or outcome != outcome:
            raise ArgumentError(f"{named}: outcome {outcome!r} must be a number")
        if not isinstance(p, Real) or not math.isfinite(p) or p < 0:
            raise ArgumentError(f"{named}: the probability of {outcome!r} (={p!r}) must be a number of at least 0")
    exact: dict[Any, Any] = {a: Fraction(p) if isinstance(p, Rational) else float(p) for a, p in given.items()}
    total = sum(exact.values())
    if total and all(isinstance(p, Fraction) and p.denominator == 1 for p in exact.values()):
        return {a: p / total for a, p in exact.items()}
    if abs(total - 1) > (0 if isinstance(total, Fraction) else SLACK):
        raise ArgumentError(f"{named}: its probabilities add up to {total}, but must to 1")
    return exact


def _add(f: Distribution, g: Distribution) -> Distribution:
    """The distribution of the sum of two, the totals in rising order."""

    def gather(total: Distribution, a: Any) -> Distribution:
        for b, q in g.items():
            total[a + b] = total.get(a + b, 0) + f[a] * q
        return total

    found = reduce(gather, f, Distribution())
    return {total: found[total] for total in sorted(found)}
