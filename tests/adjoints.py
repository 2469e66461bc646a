"""The definition of both gradients in plain NumPy, tap by tap: obvious, slow, and nothing like the way they are computed."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji import boundary
from juanji.boundary import Boundary
from juanji.spec import Convolution

Array = npt.NDArray[Any]


def grad_input(spec: Convolution, dy: Array, w: Array) -> Array:
    """The gradient of the input in float64 or complex128, in the spec's layout; no epilogue."""
    errors, weights = _channels_first(spec, dy), _taps_first(spec, w)
    padded = np.zeros((spec.batch, spec.channels, *_padded(spec)), np.result_type(errors, weights))
    for tap, window in _windows(spec):
        if spec.shared:
            at = weights[tap].conj().reshape(spec.groups, *_of_a_group(spec))
            seen = np.swapaxes(at, 1, 2) @ _flat(spec, errors)
        else:
            seen = np.einsum("ngop,pgoc->ngcp", _flat(spec, errors), _per_position(spec, weights[tap].conj()))
        padded[window] += seen.reshape(spec.batch, spec.channels, *spec.output)
    for axis, ((low, high), outside) in enumerate(zip(spec.padding, spec.boundary, strict=True)):
        padded = boundary.fold(padded, axis + 2, low, high, outside)
    return np.moveaxis(padded, 1, -1) if spec.layout == "channels_last" else padded


def grad_weight(spec: Convolution, x: Array, dy: Array) -> Array:
    """The gradient of the weights in float64 or complex128, in the spec's weight layout."""
    padded, errors = _channels_first(spec, x), _channels_first(spec, dy)
    errors = errors.reshape(spec.batch, spec.groups, -1, *spec.output)
    for axis, ((low, high), outside) in enumerate(zip(spec.padding, spec.boundary, strict=True)):
        padded = boundary.pad(padded, axis + 2, low, high, outside)
    features, channels = _of_a_group(spec)
    grads = np.zeros((*spec.kernel, *_sites(spec), spec.groups, features, channels), np.result_type(padded, errors))
    for tap, window in _windows(spec):
        seen = padded[window].reshape(spec.batch, spec.groups, channels, *spec.output).conj()
        for site in np.ndindex(_sites(spec)):
            own: tuple[Any, ...] = (..., *(slice(t, None, step) for t, step in zip(site, _sites(spec), strict=True)))
            met = seen[own].reshape(*seen.shape[:3], -1)
            error = errors[own].reshape(*errors.shape[:3], -1)
            grads[tap][site] = (error @ np.swapaxes(met, 2, 3)).sum(0)
    grads = grads.reshape(*spec.kernel, *_sites(spec), spec.features, channels)
    kernel, rest = range(spec.n), range(spec.n, 2 * spec.n)
    feature, channel = 2 * spec.n, 2 * spec.n + 1
    order = {"OI*": (feature, channel, *kernel), "*IO": (*kernel, channel, feature), "O*I": (feature, *kernel, channel)}[spec.weight_layout]
    return grads.transpose(*rest, *order).reshape(spec.w_shape)


def gradient(spec: Convolution, produces: str, first: Array, second: Array) -> Array:
    """That of the input ("x") from dy and w, or of the weights ("w") from x and dy."""
    return (grad_input if produces == "x" else grad_weight)(spec, first, second)


def magnitude(spec: Convolution, produces: str, first: Array, second: Array) -> tuple[Array, Array]:
    """The same sum over absolute values, and how many terms it has, element by element."""
    outside = tuple(Boundary(b.mode, abs(b.value)) for b in spec.boundary)
    ones = tuple(Boundary(b.mode, 1.0) for b in spec.boundary)
    terms = gradient(replace(spec, boundary=ones), produces, np.ones_like(first), np.ones_like(second))
    return gradient(replace(spec, boundary=outside), produces, np.abs(first), np.abs(second)), terms


def _sites(spec: Convolution) -> tuple[int, ...]:
    return spec.sites or (1,) * spec.n


def _of_a_group(spec: Convolution) -> tuple[int, int]:
    """Features and channels of one group."""
    return spec.features // spec.groups, spec.channels // spec.groups


def _padded(spec: Convolution) -> tuple[int, ...]:
    return tuple(low + size + high for size, (low, high) in zip(spec.size, spec.padding, strict=True))


def _channels_first(spec: Convolution, array: Array) -> Array:
    wide = array.astype(np.result_type(array, np.float64))
    return np.moveaxis(wide, -1, 1) if spec.layout == "channels_last" else wide


def _flat(spec: Convolution, dy: Array) -> Array:
    return dy.reshape(spec.batch, spec.groups, spec.features // spec.groups, -1)


def _taps_first(spec: Convolution, w: Array) -> Array:
    """Weights as (*kernel, *sites, features, channels of a group)."""
    n, w = spec.n, w.astype(np.result_type(w, np.float64)).reshape(*_sites(spec), *spec.w_shape[-spec.n - 2 :])
    first = {"OI*": 2, "*IO": 0, "O*I": 1}[spec.weight_layout] + n
    w = np.moveaxis(w, range(first, first + n), range(n))
    return np.swapaxes(w, -1, -2) if spec.weight_layout == "*IO" else w


def _per_position(spec: Convolution, weights: Array) -> Array:
    """(*sites, features, channels) as (positions, groups, features, channels), the last two of a group."""
    sites = (np.arange(p) % t for p, t in zip(spec.output, _sites(spec), strict=True))
    return weights[np.ix_(*sites)].reshape(-1, spec.groups, *_of_a_group(spec))


def _windows(spec: Convolution) -> Iterator[tuple[tuple[int, ...], tuple[Any, ...]]]:
    """Every tap, as it stands in the weights, and the places of the padded input that it meets."""
    for tap in itertools.product(*map(range, spec.kernel)):
        window = []
        for p, k, size, stride, dilation in zip(spec.output, tap, spec.kernel, spec.stride, spec.dilation, strict=True):
            first = dilation * (size - 1 - k if spec.flip else k)
            window.append(slice(first, first + stride * (p - 1) + 1, stride))
        yield tap, (..., *window)
