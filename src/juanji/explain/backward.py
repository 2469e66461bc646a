"""The gradients of a convolution as convolutions.

With y = conv(x, w) over the padded extent L = low + S + high of an axis, dilation·(K − 1) + 1 = E and r = (L − E) mod stride,

    dx   dy with stride − 1 zeros between its elements, padded by E − 1 before and E − 1 + r after, correlated with the kernel turned by
         180° (that is, convolved with the kernel), channels and features exchanged: L elements, the gradient of the padded input.
         What stood in the padding is cut off, or added back to where the boundary took it from.
    dw   the padded input correlated with dy as a kernel, whose dilation is the stride, in steps of the dilation; batch and channels
         exchanged, so that it sums over the batch. The first K elements.
    db   the sum of dy.

`conv_grad_input` and `conv_grad_weight` compute the same without zeros and without exchanging anything in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Unpack

import numpy as np

from juanji import boundary
from juanji.convolution import conv
from juanji.errors import ArgumentError
from juanji.explain.arguments import Array, Geometry, Shape, by, by_site, channels_first, described
from juanji.spec import Convolution, span


@dataclass(frozen=True)
class Gradients:
    """What each gradient is as a convolution, with the sizes filled in; prints itself, and computes itself that way."""

    spec: Convolution

    @property
    def spread(self) -> tuple[int, ...]:
        """The positions of dy with the zeros of the stride between them."""
        return tuple((p - 1) * stride + 1 for p, stride in zip(self.spec.output, self.spec.stride, strict=True))

    @property
    def padding(self) -> tuple[tuple[int, int], ...]:
        """By how much dy is padded before and after, per axis."""
        spans = map(span, self.spec.kernel, self.spec.dilation)
        axes = zip(spans, self._padded, self.spec.stride, strict=True)
        return tuple((extent - 1, extent - 1 + (length - extent) % stride) for extent, length, stride in axes)

    @property
    def _padded(self) -> tuple[int, ...]:
        return tuple(low + size + high for size, (low, high) in zip(self.spec.size, self.spec.padding, strict=True))

    def input(self, dy: Array, w: Array) -> Array:
        """The gradient of the input, as the convolution of dy that it is. Batched arrays of the description's shapes."""
        spec, n = self.spec, self.spec.n
        errors = channels_first(spec, dy)
        spread = np.zeros((*errors.shape[:2], *self.spread), dy.dtype)
        spread[(slice(None), slice(None), *(slice(None, None, step) for step in spec.stride))] = errors
        kernels = by_site(spec, w)[(0,) * n].conj()
        grouped = kernels.reshape(spec.groups, spec.features // spec.groups, spec.channels // spec.groups, *spec.kernel)
        exchanged = np.swapaxes(grouped, 1, 2).reshape(spec.channels, spec.features // spec.groups, *spec.kernel)
        padded = conv(spread, exchanged, flip=True, padding=self.padding, dilation=spec.dilation, groups=spec.groups)
        for axis, ((low, high), outside) in enumerate(zip(spec.padding, spec.boundary, strict=True)):
            padded = boundary.fold(padded, axis + 2, low, high, outside)
        return np.moveaxis(padded, 1, -1) if spec.layout == "channels_last" else padded

    def weight(self, x: Array, dy: Array) -> Array:
        """The gradient of the weights, as the correlation of x with dy that it is. Batched arrays of the description's shapes."""
        spec, n = self.spec, self.spec.n
        padded, errors = channels_first(spec, x).conj(), channels_first(spec, dy)
        for axis, ((low, high), outside) in enumerate(zip(spec.padding, spec.boundary, strict=True)):
            padded = boundary.pad(padded, axis + 2, low, high, outside)
        found = []
        for seen, kernel in zip(np.split(padded, spec.groups, 1), np.split(errors, spec.groups, 1), strict=True):
            whole = conv(np.swapaxes(seen, 0, 1), np.swapaxes(kernel, 0, 1), stride=spec.dilation, dilation=spec.stride)
            found.append(np.swapaxes(whole[(slice(None), slice(None), *map(slice, spec.kernel))], 0, 1))
        taps = tuple(range(2, n + 2))
        dw = np.concatenate(found)
        dw = np.flip(dw, taps) if spec.flip else dw
        match spec.weight_layout:
            case "*IO":
                return np.moveaxis(dw, (1, 0), (-2, -1))
            case "O*I":
                return np.moveaxis(dw, 1, -1)
        return dw

    def bias(self, dy: Array) -> Array:
        """The gradient of the bias: the sum of dy over batch and positions."""
        errors = channels_first(self.spec, dy)
        return np.asarray(errors.sum(axis=(0, *range(2, errors.ndim))))

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        spec = self.spec
        yield f"dx {by(spec.size)}:"
        yield f"  dy is {by(spec.output)}"
        if max(spec.stride) > 1:
            yield f"  with the zeros of stride {by(spec.stride)} between its elements {by(self.spread)}"
        sides = ", ".join(f"{low}+{high}" for low, high in self.padding)
        wide = tuple(p + low + high for p, (low, high) in zip(self.spread, self.padding, strict=True))
        yield f"  padded by {sides} (dilation·(K − 1), and what the stride left unused at the end) {by(wide)}"
        dilated = f" with dilation {by(spec.dilation)}" if max(spec.dilation) > 1 else ""
        turned = "w as it is" if spec.flip else "w turned by 180°"
        yield f"  correlated with {turned}, {by(spec.kernel)}{dilated}, channels and features exchanged: {by(self._padded)}"
        for axis, ((low, high), outside) in enumerate(zip(spec.padding, spec.boundary, strict=True)):
            if low or high:
                what = "is cut off" if outside.constant else f"is added back where {outside} took it from"
                yield f"  the padding {low}+{high} of axis {axis} {what}"
        yield f"dw {by(spec.kernel)}:"
        yield f"  x with its padding is {by(self._padded)}"
        dilated = f" with the stride as its dilation, {by(spec.stride)}" if max(spec.stride) > 1 else ""
        steps = f", in steps of the dilation, {by(spec.dilation)}" if max(spec.dilation) > 1 else ""
        yield f"  correlated with dy {by(spec.output)} as the kernel{dilated}{steps}: {by(spec.kernel)}"
        yield f"  summed over the {spec.batch} samples of the batch" + (", turned by 180°" if spec.flip else "")
        yield f"db {spec.features}: the sum of dy over the batch and all {by(spec.output)} positions"


def gradients_as_convolutions(x_shape: Shape, w_shape: Shape, **arguments: Unpack[Geometry]) -> Gradients:
    """What the gradients of `conv(x, w, **arguments)` are as convolutions, for shared weights.

    Raises ArgumentError for other sharing, where the gradient of each site's weights sees only the outputs of that site.

    >>> print(gradients_as_convolutions((1, 1, 3, 3), (1, 1, 2, 2)))
    dx 3×3:
      dy is 2×2
      padded by 1+1, 1+1 (dilation·(K − 1), and what the stride left unused at the end) 4×4
      correlated with w turned by 180°, 2×2, channels and features exchanged: 3×3
    dw 2×2:
      x with its padding is 3×3
      correlated with dy 2×2 as the kernel: 2×2
      summed over the 1 samples of the batch
    db 1: the sum of dy over the batch and all 2×2 positions
    """
    if arguments.get("sharing", "shared") != "shared":
        raise ArgumentError(f"sharing (={arguments['sharing']!r}) must be 'shared': other weights see only the outputs of their site")
    spec, _ = described(x_shape, w_shape, arguments)
    return Gradients(spec)
