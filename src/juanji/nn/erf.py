"""The error function, which NumPy lacks: rational approximations after W. J. Cody (Mathematics of Computation 23, 1969).

erf(x) = x·P(x²)/Q(x²) for |x| <= 0.46875, and 1 − erfc(|x|) with the sign of x beyond, where erfc(x) = e^(−x²)·P(x)/Q(x) up to 4; above
6 nothing is left of erfc in float64. Errors stay below 1e−15.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

SMALL = (
    (1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2, 3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)
MIDDLE = (
    (
        2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1, 2.98635138197400131e2,
        8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3,
    ),
    (
        1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3, 3.29079923573345963e3,
        4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3,
    ),
)  # fmt: skip
LARGE = (
    (
        1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1, 1.60837851487422766e-2,
        6.58749161529837803e-4,
    ),
    (1.0, 2.56852019228982242e0, 1.87295284992346725e0, 5.27905102951428412e-1, 6.05183413124413191e-2, 2.33520497626869185e-3),
)  # fmt: skip


def erf(x: Array) -> Array:
    """erf of every element, in x's type.

    >>> erf(np.array([0.0, 0.25, 1.0, -5.0])).round(8)
    array([ 0.        ,  0.27632639,  0.84270079, -1.        ])
    """
    a = np.abs(x).astype(np.float64)
    y = np.empty_like(a)
    small, large = a <= 0.46875, a > 4
    middle = ~small & ~large
    s = a[small]
    y[small] = s * _ratio(SMALL, s * s)
    m = a[middle]
    y[middle] = 1 - np.exp(-m * m) * _ratio(MIDDLE, m)
    far = np.minimum(a[large], 30.0)
    inverse = 1 / (far * far)
    y[large] = 1 - np.exp(-far * far) / far * (1 / np.sqrt(np.pi) - inverse * _ratio(LARGE, inverse))
    return np.copysign(y, x).astype(x.dtype)


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: Array) -> Array:
    above, below = coefficients
    return np.polyval(above, x) / np.polyval(below, x)
