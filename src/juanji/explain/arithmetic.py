"""Sums of products as they are added, and as they are printed."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MOST_TERMS = 27  # of one sum that are printed


def added(numbers: Array) -> Any:
    """The sum of all elements, one after the other in row order, from 0."""
    total = 0 if numbers.dtype.hasobject else numbers.dtype.type(0)
    return total + np.add.accumulate(numbers.reshape(-1))[-1] if numbers.size else total


def number_of(value: Any) -> str:
    """A number as it is printed: integers whole, others to six digits.

    >>> number_of(np.float64(-2.5)), number_of(3), number_of(1j)
    ('−2.5', '3', '(0+1j)')
    """
    if isinstance(value, complex | np.complexfloating):
        return f"({value:.6g})".replace("-", "−")
    whole = isinstance(value, int | np.integer | np.bool_)
    return (f"{int(value)}" if whole else f"{float(value):.6g}").replace("-", "−")


def factor(value: Any) -> str:
    """As inside a product or sum: negative numbers in parentheses."""
    text = number_of(value)
    return f"({text})" if text.startswith("−") else text


def products_of(weights: Array, values: Array, beyond: npt.NDArray[np.bool_] | None = None) -> str:
    """weight·value + …, values outside x in brackets."""
    outside = np.zeros(values.shape, bool) if beyond is None else beyond
    terms = (
        f"{factor(w)}·" + (f"[{number_of(v)}]" if out else factor(v))
        for w, v, out in zip(weights.flat, values.flat, outside.flat, strict=True)
    )
    return " + ".join(few(terms)) or "0"


def few(terms: Iterable[str]) -> list[str]:
    """The terms, or the first of many and in parentheses how many more there are."""
    written = list(terms)
    return written if len(written) <= MOST_TERMS else [*written[: MOST_TERMS - 3], f"… ({len(written) - MOST_TERMS + 3})"]
