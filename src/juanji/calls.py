"""Calls that were met before: what their arguments come to, found as they are written, before any of them is looked at.

Describing and planning takes a thousand times as long as finding what it came to last time. A function that is called with arrays
leaves all that does not depend on their elements to another one, and asks for that one's answer here; so arguments are normalised and
checked in one place, and only when they are new.
"""

from __future__ import annotations

from collections.abc import Callable
from marshal import dumps
from typing import Any, TypeVar

import numpy as np

from juanji import winners

T = TypeVar("T")

FORMAT = 2  # of marshal: the last in which what is written does not depend on who else holds a value
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
    try:
        written: Any = dumps(values, FORMAT)
    except ValueError:  # of other types than the language's own
        written = None
    try:
        found: T | None = _met.get((make, arrays, written))
        if found is None and not _own(values):
            written = _key(values)
            found = _met.get((make, arrays, written))
    except TypeError:  # something that is no key: too large, or wrong, and what follows says so
        return make(*arrays, **{name: plain(value) for name, value in options.items()})
    if found is None:
        found = make(*arrays, **{name: plain(value) for name, value in options.items()})
        if len(_met) >= MOST_CALLS:
            _met.clear()
        _met[make, arrays, written] = found
    return found


def plain(value: Any) -> Any:
    """An array as the lists or the number that it stands for."""
    return value.tolist() if isinstance(value, np.ndarray) else value


def _own(value: Any) -> bool:
    """Whether a value is what marshal writes alike only for values that are written alike: its type, and what it holds."""
    kind = type(value)
    return kind in (int, float, bool, str, type(None)) or (kind in (tuple, list) and all(map(_own, value)))


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
            return (kind, tuple(map(_key, value)))
        case np.ndarray() if value.nbytes <= MOST_BYTES and not value.dtype.hasobject:
            return (kind, value.dtype, value.shape, value.tobytes())
    raise TypeError(f"{kind.__name__} is no key, or too large for one")
