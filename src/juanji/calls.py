"""Calls that were met before: what their arguments come to, found as they are written, before any of them is looked at.

Describing and planning takes a thousand times as long as finding what it came to last time. A function that is called with arrays
leaves all that does not depend on their elements to another one, and asks for that one's answer here; so arguments are normalised and
checked in one place, and only when they are new.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from juanji import winners

T = TypeVar("T")

PLAIN = frozenset((int, str, bool, type(None)))  # types whose values, with them, are keys as they are
MOST_CALLS = 1024
MOST_BYTES = 1 << 14  # of an array whose elements are looked at

_met: dict[Any, Any] = {}
winners.EMPTY_PLANS.append(_met.clear)


def met(make: Callable[..., T], arrays: tuple[Any, ...], options: dict[str, Any]) -> T:
    """make(*arrays, **options), or what that was when the arguments were last written like this.

    arrays: what the call needs to know of its arrays, their shapes and element types. options: values as the user wrote them; arrays
    among them reach `make` as the lists or numbers that they stand for. What `make` raises is raised, each time.

    >>> from fractions import Fraction
    >>> first = met(Fraction, (3,), {"denominator": 4})
    >>> first, met(Fraction, (3,), {"denominator": 4}) is first, met(Fraction, (3,), {"denominator": 5})
    (Fraction(3, 4), True, Fraction(3, 5))
    """
    values = tuple(options.values())
    types = tuple(map(type, values))
    try:
        if not PLAIN.issuperset(types):
            values = tuple([value if kind in PLAIN else _key(value) for value, kind in zip(values, types, strict=True)])
        key = (make, arrays, values, types)
        found: T | None = _met.get(key)
    except TypeError:  # something that is no key: too large, or wrong, and what follows says so
        return make(*arrays, **{name: plain(value) for name, value in options.items()})
    if found is None:
        found = make(*arrays, **{name: plain(value) for name, value in options.items()})
        if len(_met) >= MOST_CALLS:
            _met.clear()
        _met[key] = found
    return found


def plain(value: Any) -> Any:
    """An array as the lists or the number that it stands for."""
    return value.tolist() if isinstance(value, np.ndarray) else value


def _key(value: Any) -> Any:
    """A value as part of a key: hashable, and equal only to what is written alike (1, 1.0 and True are three things).

    Raises TypeError for what is none.
    """
    kind = type(value)
    match value:
        case float() | np.floating():  # of which 0.0 and -0.0 are equal
            return (kind, repr(value))
        case str() | int() | np.generic() | np.dtype() | type() | None:
            return (kind, value)
        case tuple() | list():
            types = tuple(map(type, value))
            return (kind, types, tuple(value) if PLAIN.issuperset(types) else tuple(map(_key, value)))
        case np.ndarray() if value.nbytes <= MOST_BYTES and not value.dtype.hasobject:
            return (kind, value.dtype, value.shape, value.tobytes())
    raise TypeError(f"{kind.__name__} is no key, or too large for one")
