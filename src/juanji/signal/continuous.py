"""Continuous convolution: what is made at a rate f, and changes with its age as g says."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from juanji.errors import ArgumentError, DtypeError
from juanji.signal.quadrature import Integrals, integrate

Array = npt.NDArray[Any]
Function = Callable[[Array], npt.ArrayLike] | float | complex

AT_ONCE = 4096  # integrals; more are computed in turn, so that their points stay below a few MiB


class Integral(NamedTuple):
    """A value and how far it may be from the truth: arrays of the shape of t, or numbers."""

    value: Any
    error: Any


def convolve_continuous(
    f: Function,
    g: Function,
    t: npt.ArrayLike,
    *,
    lower: float = 0.0,
    upper: npt.ArrayLike | None = None,
    points: npt.ArrayLike = (),
    ages: npt.ArrayLike = (),
    rtol: float = 1e-10,
) -> Integral:
    """∫ f(τ) g(t − τ) dτ for τ from `lower` to `upper`, with an estimate of its error.

    Of what is made at the rate f(τ) from `lower` on, and of which a piece of age a has the part g(a) left, it is what there is at t. g may
    as well be the part that is spoilt, 1 less what is left.

    f, g: functions that take arrays and return as many numbers, real or complex (np.exp, not math.exp); a number is a constant.
    t: one time or an array of them. upper: t itself unless given; one, or one per t. Where t is before `lower` nothing is made.
    lower, upper: may be infinite.
    points: times at which f has a jump or a kink. ages: ages at which g has. A peak much narrower than the range, too, should have a point:
        a function is seen at 21 places of each piece first.
    rtol: the error relative to the value that is good enough; an ArgumentError says where it is not reached.

    Adaptive Gauss–Kronrod, 10 and 21 points, as in QUADPACK. Raises ArgumentError or DtypeError.

    >>> made = convolve_continuous(10, lambda age: np.exp(-age / 10), 24.0)
    >>> print(f"{made.value:.3f}, error below {made.error:.0e}, of {production(10, 24.0).value:.0f}")
    90.928, error below 1e-12, of 240
    """
    times = _real("t", t)
    low = float(_real("lower", lower))
    high = times if upper is None else np.broadcast_to(_real("upper", upper), times.shape)
    if upper is not None and (high < low).any():
        raise ArgumentError(f"upper (={high[high < low].flat[0]}) must not be below lower (={low})")
    if not 0 < rtol < 1:
        raise ArgumentError(f"rtol (={rtol!r}) must lie between 0 and 1")
    at, until = times.ravel(), np.maximum(high, low).ravel()
    jumps = np.atleast_1d(_real("points", points)).ravel(), np.atleast_1d(_real("ages", ages)).ravel()
    blocks = [_block(f, g, at[i : i + AT_ONCE], low, until[i : i + AT_ONCE], *jumps, rtol) for i in range(0, max(at.size, 1), AT_ONCE)]
    value, error = (np.concatenate([getattr(block, part) for block in blocks]).reshape(times.shape) for part in ("value", "error"))
    return Integral(value[()], error[()])


def production(
    f: Function,
    t: npt.ArrayLike,
    *,
    lower: float = 0.0,
    points: npt.ArrayLike = (),
    rtol: float = 1e-10,
) -> Integral:
    """∫ f(τ) dτ for τ from `lower` to t: all that was made, whatever became of it. Arguments as for `convolve_continuous`.

    >>> round(float(production(np.cos, np.pi / 2).value), 12)
    1.0
    """
    return convolve_continuous(f, 1.0, t, lower=lower, points=points, rtol=rtol)


def _block(f: Function, g: Function, t: Array, low: float, high: Array, points: Array, ages: Array, rtol: float) -> Integrals:
    def integrand(x: Array, integral: Array) -> Array:
        return _values("f", f, x) * _values("g", g, t[integral, None] - x)

    rows = np.broadcast_to(points, (t.size, points.size))
    cuts = [np.full((t.size, 1), low), rows, t[:, None] - ages, high[:, None]]
    if np.isinf(low) or np.isinf(high).any():  # what f and g do near 0 is then not at an end
        cuts += [np.zeros((t.size, 1)), t[:, None]]
    edges = np.sort(np.clip(np.concatenate(cuts, axis=1), low, high[:, None]), axis=1)
    result = integrate(integrand, edges, rtol)
    missed = result.error > np.maximum(rtol * np.abs(result.value), result.rounding)
    if missed.any():
        first = int(np.flatnonzero(missed)[0])
        raise ArgumentError(
            f"rtol (={rtol:g}) is not reached at t = {t[first]:g}: {result.value[first]:g} ± {result.error[first]:.1g};"
            " give the places of jumps, kinks and peaks as points or ages, or a larger rtol"
        )
    return result


def _values(name: str, function: Function, x: Array) -> Array:
    """The function at x, its shape and its numbers checked."""
    try:
        values = np.asarray(function(x) if callable(function) else function)
        values = np.broadcast_to(values, x.shape)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{name} must take an array and return as many numbers ({error}); np.vectorize({name}) does") from None
    if values.dtype.kind not in "fciub":
        raise DtypeError(f"{name} returns dtype {values.dtype}, but must return numbers")
    bad = ~np.isfinite(values)
    if bad.any():
        raise ArgumentError(f"{name} is {values[bad].flat[0]} at {x[bad].flat[0]:g}, but must be finite between lower and upper")
    return values


def _real(name: str, value: npt.ArrayLike) -> Array:
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise ArgumentError(f"{name} (={value!r}) must be real numbers") from None
    if np.isnan(array).any():
        raise ArgumentError(f"{name} must not hold NaN")
    return array
