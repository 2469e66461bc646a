"""The definition of convolution in plain NumPy, obvious and slow: the truth for tests and explanations.

    y[n, o, p] = activation( bias[o] + Σ_tap Σ_c  padded[n, c, p·stride + tap·dilation] · w[p mod sites, o, c, tap] )

with p and tap running over all spatial axes, and c over the channels of o's group. Sums are in float64 (complex128), or exact
for integers and bool; only the finished result is rounded, once, to the output's type.
"""

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji import boundary
from juanji.errors import ArgumentError
from juanji.exact import limits, refuse, terms
from juanji.exact import magnitude as largest
from juanji.spec import Convolution

Array = npt.NDArray[Any]


def conv(spec: Convolution, x: Array, w: Array, bias: Array | None = None) -> Array:
    """The output of `spec` on an input and weights of its shapes, in its output type.

    >>> from juanji.describe import describe
    >>> spec = describe((1, 1, 3, 3), (1, 1, 2, 2), bias=True)
    >>> a = np.arange(1.0, 10.0, dtype=np.float32).reshape(1, 1, 3, 3)
    >>> conv(spec, a, np.float32([[[[0, 1], [2, 3]]]]), np.float32([1]))[0, 0]
    array([[26., 32.],
           [44., 50.]], dtype=float32)
    """
    total = _sum(spec, x, w, bias)
    return stored(activate(spec, total), np.dtype(spec.dtypes.y), spec.overflow)


def magnitude(spec: Convolution, x: Array, w: Array, bias: Array | None = None) -> Array:
    """The same sum over absolute values: rounding errors of any order of summation are below (terms · ε) of it.

    >>> from juanji.describe import describe
    >>> magnitude(describe((1, 1, 2), (1, 1, 2)), np.array([[[3.0, -4.0]]]), np.array([[[1.0, 1.0]]]))
    array([[[7.]]])
    """
    outside = tuple(boundary.Boundary(b.mode, abs(b.value)) for b in spec.boundary)
    x, w = (np.abs(a if a.dtype.kind == "c" else a.astype(np.float64)) for a in (x, w))
    return _sum(replace(spec, boundary=outside), x, w, None if bias is None else np.abs(bias))


def _sum(spec: Convolution, x: Array, w: Array, bias: Array | None) -> Array:
    """bias + Σ of products, in the spec's layout and the exact or widest type."""
    for name, array, shape in (("x", x, spec.x_shape), ("w", w, spec.w_shape), ("bias", bias, spec.bias_shape)):
        if array is not None and array.shape != shape:
            raise ArgumentError(f"{name} has shape {array.shape}, but the description says {shape}")
    wide = _sum_type(spec, x, w, bias)
    x, w = x.astype(wide), w.astype(wide)
    if spec.layout == "channels_last":
        x = np.moveaxis(x, -1, 1)
    first = {"OI*": 2, "*IO": 0, "O*I": 1}[spec.weight_layout] + len(spec.sites or ())
    w = np.moveaxis(w, range(first, first + spec.n), range(spec.n))
    if spec.weight_layout == "*IO":
        w = np.swapaxes(w, -1, -2)
    for axis, ((low, high), outside) in enumerate(zip(spec.padding, spec.boundary, strict=True)):
        x = boundary.pad(x, axis + 2, low, high, outside)

    # from here on x is (N, C, *padded) and w is (*kernel, *sites, O, C/groups)
    groups, inner = spec.groups, spec.channels // spec.groups
    total = np.zeros((spec.batch, groups, spec.features // groups, math.prod(spec.output)), wide)
    for tap in itertools.product(*map(range, spec.kernel)) if spec.taps is None else spec.taps:
        windows = []
        for p, k, size, stride, dilation in zip(spec.output, tap, spec.kernel, spec.stride, spec.dilation, strict=True):
            first = dilation * (size - 1 - k if spec.flip else k)
            windows.append(slice(first, first + stride * (p - 1) + 1, stride))
        seen: Array = x[(slice(None), slice(None), *windows)].reshape(spec.batch, groups, inner, total.shape[-1])
        weights: Array = w[tap]
        if spec.sites is None:
            total += weights.reshape(groups, -1, inner) @ seen
        else:
            at: Array = _per_position(spec, weights).reshape(-1, groups, spec.features // groups, inner)
            total += np.einsum("ngcp,pgoc->ngop", seen, at)
    total = total.reshape(spec.batch, spec.features, *spec.output)

    if bias is not None:
        bias = bias.astype(wide)
        if spec.sites is None:
            total += bias.reshape(-1, *(1,) * spec.n)
        else:
            total += np.moveaxis(_per_position(spec, bias), -1, 0)
    return np.moveaxis(total, 1, -1) if spec.layout == "channels_last" else total


def _per_position(spec: Convolution, by_site: Array) -> Array:
    """(*sites, ...) spread to (*output, ...): position p takes site p mod sites, along every axis."""
    assert spec.sites is not None
    sites = (np.arange(p) % t for p, t in zip(spec.output, spec.sites, strict=True))
    spread: Array = by_site[np.ix_(*sites)]
    return spread


def _sum_type(spec: Convolution, x: Array, w: Array, bias: Array | None) -> np.dtype[Any]:
    """complex128, float64, or for integers int64 where no sum can leave it and Python's integers where one may."""
    arrays = [x, w] if bias is None else [x, w, bias]
    kinds = {a.dtype.kind for a in arrays}
    if "c" in kinds:
        return np.dtype(np.complex128)
    if not kinds <= set("biu"):
        return np.dtype(np.float64)
    most_x, most_w, most_bias = ([largest(a) for a in arrays] + [0])[:3]
    most_x = max(most_x, *(abs(int(b.value)) if math.isfinite(b.value) else 0 for b in spec.boundary))
    return np.dtype(np.int64 if max(terms(spec) * most_x * most_w, most_x, most_w) + most_bias < 2**63 else object)


def activate(spec: Convolution, total: Array) -> Array:
    """The activation of a finished sum, in the sum's type or float64."""
    match spec.epilogue.activation:
        case None:
            return total
        case "relu":
            return np.maximum(total, 0)
        case "relu6":
            return np.clip(total, 0, 6)
        case "leaky_relu":
            return np.where(total < 0, total * spec.epilogue.parameter, total)
        case "tanh":
            return np.tanh(total.astype(np.float64))
        case "sigmoid":
            return 0.5 * (1 + np.tanh(0.5 * total.astype(np.float64)))  # equals 1 / (1 + e^−v), and no v overflows
        case name:
            raise ArgumentError(f"activation (={name!r}) has no definition here")


def stored(total: Array, dtype: np.dtype[Any], overflow: str) -> Array:
    """The result rounded to the output's type: integers half to even, NaN to 0, what does not fit as `overflow` says."""
    if dtype.kind not in "biu":
        with np.errstate(over="ignore"):  # beyond the largest float32 stands infinity
            return (_for_half(total) if dtype.name == "bfloat16" else total).astype(dtype)
    least, most = limits(dtype.name)
    if total.dtype.kind == "f":
        total = np.rint(total)
        if overflow == "raise":
            refuse(~((total >= least) & (total < most + 1)), dtype.name)  # NaN fails every comparison
        total = np.nan_to_num(total)
        if overflow != "saturate" or dtype.itemsize == 8:  # Python's integers, because float64 cannot name 2**63 − 1
            total = np.array([int(v) for v in total.flat], object).reshape(total.shape)
    if overflow == "raise":
        refuse(np.asarray((total < least) | (total > most), bool), dtype.name)
    if overflow == "wrap":
        total = (total.astype(object) - least) % (most - least + 1) + least
    return np.clip(total, least, most).astype(dtype)


def _for_half(total: Array) -> Array:
    """float32 that rounds to the same bfloat16: rounded to odd, because the cast to bfloat16 would round a second time."""
    total = total.astype(np.float64)
    near = total.astype(np.float32)
    cut: Array = np.where(np.abs(near) > np.abs(total), np.nextafter(near, np.float32(0)), near)
    odd: Array = (cut.view(np.uint32) | (near != total)).view(np.float32)
    return odd
