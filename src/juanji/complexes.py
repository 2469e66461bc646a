"""Complex convolution as a real one, which the real algorithms compute.

A complex number is a pair of channels. Multiplying by w is the real matrix

    y = w·x        [ re y ]   [ re w  −im w ] [ re x ]
                   [ im y ] = [ im w   re w ] [ im x ]

so a convolution of C complex channels to O features is one of 2C real channels to 2O, whose weights are made of such matrices;
of an input that is real itself, C channels to 2O features, by the left column alone. The two parts of a channel are neighbours
and stay in its group. Channels-last arrays already lie like that, and are views; so are those of a single channel, which lie alike in
both layouts and are described as channels-last ones; other channels-first arrays are copied into planes.

Gradients are Hermitian adjoints. The conjugate of w has the transposed matrix, and the adjoint of a real map is its transpose:
the real gradient of the input is the complex one as it stands. That of the weights comes as a matrix of sums dy_a·x_b per
weight, of which

    Σ conj(x)·dy = (re·re + im·im) + i·(im dy·re x − re dy·im x)

is put together. A constant outside is a real number; a real problem would put it into both parts of x, so that x is padded
beforehand where the constant is not zero (the gradient of the input does not see it).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.boundary import ZERO, pad
from juanji.spec import Convolution, Dtypes

Array = npt.NDArray[Any]

PARTS = {"complex64": "float32", "complex128": "float64"}


def real(spec: Convolution, produces: str = "y") -> Convolution:
    """The real description of a complex one, or of the gradient of its "x" or "w".

    >>> from juanji.describe import describe
    >>> str(real(describe((1, 8, 8, 3), (5, 5, 3, 4), dtype="complex64", layout="channels_last"))).splitlines()[:3]
    ['input   1×8×8×6 float32, channels_last', 'weights 5×5×6×8 float32, *IO', 'output  1×4×4×8 float32']
    """
    total, result = PARTS[spec.dtypes.sum], getattr(spec.dtypes, produces)
    size, padding, boundary = spec.size, spec.padding, spec.boundary
    if produces == "x":
        boundary = tuple(ZERO if b.constant else b for b in boundary)
    elif _padded_beforehand(spec):
        size = tuple(low + s + high for s, (low, high) in zip(size, padding, strict=True))
        padding, boundary = ((0, 0),) * spec.n, (ZERO,) * spec.n
    return replace(
        spec,
        size=size,
        padding=padding,
        boundary=boundary,
        layout="channels_last" if _single(spec) else spec.layout,
        channels=spec.channels * _parts(spec, produces),
        features=spec.features * 2,
        dtypes=Dtypes(total, total, total, total)._replace(**{produces: PARTS.get(result, result)}),
    )


def real_x(spec: Convolution, x: Array) -> Array:
    """The input of the real description, for its output or the gradient of its weights."""
    if _parts(spec) == 1:
        x = x.astype(PARTS[spec.dtypes.sum], copy=False)
        return np.moveaxis(x, 1, -1) if _single(spec) else x
    x = x.astype(spec.dtypes.sum, copy=False)
    if _padded_beforehand(spec):
        first = 2 if spec.layout == "channels_first" else 1
        for axis, ((low, high), outside) in enumerate(zip(spec.padding, spec.boundary, strict=True), first):
            x = pad(x, axis, low, high, outside)
    return real_channels(spec, x)


def real_channels(spec: Convolution, array: Array) -> Array:
    """An array like input or output, or a gradient of theirs, with two real channels for each."""
    array = array.astype(spec.dtypes.sum, copy=False)
    if spec.layout == "channels_last":
        return _pairs(array)
    if _single(spec):
        pairs = _pairs(array[:, 0])
        return pairs.reshape(*pairs.shape[:-1], -1, 2)
    batch, channels, *size = array.shape
    planes = np.empty((batch, channels, 2, *size), PARTS[spec.dtypes.sum])
    planes[:, :, 0], planes[:, :, 1] = array.real, array.imag
    return planes.reshape(batch, 2 * channels, *size)


def complex_channels(spec: Convolution, array: Array) -> Array:
    """The inverse of `real_channels`: of the real output, or the real gradient of the input."""
    if spec.layout == "channels_last" or _single(spec):
        joined = np.ascontiguousarray(array).view(_whole(array))
        return np.moveaxis(joined, -1, 1) if _single(spec) else joined
    batch, channels, *size = array.shape
    planes = array.reshape(batch, channels // 2, 2, *size)
    joined = np.empty((batch, channels // 2, *size), _whole(array))
    joined.real, joined.imag = planes[:, :, 0], planes[:, :, 1]
    return joined


def real_out(spec: Convolution, out: Array) -> Array | None:
    """The real output, or the real gradient of the input, in the memory of the complex one, or None where it does not lie there."""
    if out.dtype != spec.dtypes.sum or not (spec.layout == "channels_last" or _single(spec)):
        return None
    parts = real_channels(spec, out)
    return parts if np.may_share_memory(parts, out) else None


def real_w(spec: Convolution, w: Array, produces: str = "y") -> Array:
    """The weights of the real description."""
    w = np.moveaxis(w.astype(spec.dtypes.sum, copy=False), _feature_and_channel(spec), (0, 1))
    features, channels, *rest = w.shape
    parts = _parts(spec, produces)
    blocks = np.empty((features, 2, channels, parts, *rest), PARTS[spec.dtypes.sum])
    blocks[:, 0, :, 0], blocks[:, 1, :, 0] = w.real, w.imag
    if parts == 2:
        blocks[:, 0, :, 1], blocks[:, 1, :, 1] = -w.imag, w.real
    return np.moveaxis(blocks.reshape(2 * features, parts * channels, *rest), (0, 1), _feature_and_channel(spec))


def complex_w(spec: Convolution, dw: Array) -> Array:
    """The complex gradient of the weights from that of the real description's weights."""
    dw = np.moveaxis(dw, _feature_and_channel(spec), (0, 1))
    parts = _parts(spec)
    features, channels, *rest = dw.shape
    blocks = dw.reshape(features // 2, 2, channels // parts, parts, *rest)
    joined = np.empty((features // 2, channels // parts, *rest), _whole(dw))
    joined.real, joined.imag = blocks[:, 0, :, 0], blocks[:, 1, :, 0]
    if parts == 2:
        joined.real += blocks[:, 1, :, 1]
        joined.imag -= blocks[:, 0, :, 1]
    return np.moveaxis(joined, (0, 1), _feature_and_channel(spec))


def real_bias(spec: Convolution, bias: Array) -> Array:
    """The bias of the real description."""
    return _pairs(bias.astype(spec.dtypes.sum, copy=False))


def _pairs(array: Array) -> Array:
    """Real and imaginary parts as neighbours along the last axis: a view where that axis has no gaps."""
    if array.strides[-1] != array.itemsize:
        array = np.ascontiguousarray(array)
    pairs: Array = array.view(array.real.dtype)
    return pairs


def _whole(parts: Array) -> str:
    """The complex type whose parts these are."""
    return next(name for name, part in PARTS.items() if part == parts.dtype.name)


def _parts(spec: Convolution, produces: str = "y") -> int:
    """Real channels for each channel of the input: one where it is real. Its gradient never is."""
    return 2 if spec.dtypes.x in PARTS or produces == "x" else 1


def _single(spec: Convolution) -> bool:
    """Whether channels-first arrays lie like channels-last ones, because they have but one channel."""
    return spec.layout == "channels_first" and spec.channels == spec.features == 1


def _padded_beforehand(spec: Convolution) -> bool:
    outside = zip(spec.padding, spec.boundary, strict=True)
    return _parts(spec) == 2 and any(b.value != 0 and sides != (0, 0) for sides, b in outside)


def _feature_and_channel(spec: Convolution) -> tuple[int, int]:
    """The dimensions of the weights that hold features and channels."""
    first = len(spec.sites or ())
    return {"OI*": (first, first + 1), "*IO": (-1, -2), "O*I": (first, -1)}[spec.weight_layout]
