"""Films of a window that makes a pixel of what it covers: convolution, its transpose and its gradient."""

import operator as operators
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji import boundary
from juanji.convolution import conv
from juanji.describe import spatial_axes
from juanji.errors import ArgumentError
from juanji.explain.arguments import (
    Arguments,
    Geometry,
    TransposedArguments,
    by_site,
    channels_first,
    described,
    described_transpose,
)  # fmt: skip
from juanji.gradients import conv_grad_input, conv_transpose
from juanji.show.frames import GAP, INSIDE, OUTSIDE, Field, Film, Frame
from juanji.show.layout import (
    Array,
    arithmetic,
    cells_of,
    film_of,
    in_rows,
    inside,
    offsets_of,
    padding_of,
    pair,
    place_of,
    seen,
    steps_of,
)  # fmt: skip
from juanji.spec import Convolution

# The window over the padded input -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Forward:
    """One feature of a convolution, laid out in rows and columns: the padded input that it sees, its weights, its output."""

    spec: Convolution
    field: Field
    weights: Array  # (*sites, channels, *taps), as they lie over the window
    bias: Array | None  # (*sites) or ()
    results: Array

    @classmethod
    def of(cls, x: Array, w: Array, bias: npt.ArrayLike | None, feature: int, sample: int, arguments: Mapping[str, Any]) -> "Forward":
        """The layout of `conv(x, w, bias, **arguments)`."""
        spec, single = described(x.shape, w.shape, arguments, dtype=x.dtype, w_dtype=w.dtype, bias=bias is not None, known=Arguments)
        sample, feature = place_of("sample", sample, spec.batch), place_of("feature", feature, spec.features)
        y = conv(x, w, bias, **arguments)
        results = channels_first(spec, y[None] if single else y)[sample, feature]
        inner = spec.channels // spec.groups
        group = feature // (spec.features // spec.groups)
        padded = channels_first(spec, x.reshape(spec.x_shape))[sample, group * inner : (group + 1) * inner]
        for axis, ((low, high), outside) in enumerate(zip(spec.padding, spec.boundary, strict=True)):
            padded = boundary.pad(padded, axis + 1, low, high, outside)
        cells = cells_of([inside(size, low, high) for size, (low, high) in zip(spec.size, spec.padding, strict=True)])
        of_feature = (slice(None),) * spec.n + (feature,)
        of_bias = None if bias is None else np.asarray(bias).reshape(*(spec.sites or (1,) * spec.n), -1)[of_feature]
        return cls(spec, Field(in_rows(padded, spec.n), cells), by_site(spec, w)[of_feature], of_bias, results)


def forward(x: Array, w: Array, bias: npt.ArrayLike | None, feature: int, sample: int, arguments: Mapping[str, Any]) -> Film:
    laid = Forward.of(x, w, bias, feature, sample, arguments)
    spec, field, results = laid.spec, laid.field, laid.results
    offsets = offsets_of(spec)

    def frame(pixel: tuple[int, ...]) -> Frame:
        site = tuple(p % t for p, t in zip(pixel, spec.sites or (1,) * spec.n, strict=True))
        weights = laid.weights[site]
        corner = tuple(p * s for p, s in zip(pixel, spec.stride, strict=True))
        lines = arithmetic(
            pixel, weights, *seen(field, corner, offsets, spec.n), None if laid.bias is None else laid.bias[site], results[pixel],
            spec.epilogue.activation,
        )  # fmt: skip
        return Frame(pair(pixel), pair(corner), in_rows(weights, spec.n), lines)

    return film_of("conv", field, offsets, results, frame, spec.size, spec.kernel, padding_of(spec) | steps_of(spec))


# The turned kernel over the spread error ----------------------------------------------------------------------------------


def backward(
    x: Array, w: Array, bias: npt.ArrayLike | None, operator: str, feature: int, sample: int, arguments: Mapping[str, Any]
) -> Film:
    # dx[v] = Σ w[k]·dy[p] over p·stride + k·dilation − low = v. With P = p·stride the place of dy[p] among the zeros between, and
    # k' = K − 1 − k counting the turned kernel, P = v + low − dilation·(K − 1) + dilation·k': a window with stride 1.
    spec, y = reverse(x, w, bias, operator, arguments)
    if not spec.shared:
        raise ArgumentError(
            f"{operator} is drawn with shared weights, where it is one turned kernel over a padded error; or with scatter=True"
        )
    sample, feature = place_of("sample", sample, spec.batch), place_of("feature", feature, spec.channels)
    results = y[sample, feature]
    group, inner = divmod(feature, spec.channels // spec.groups)
    many = spec.features // spec.groups
    error = channels_first(spec, x.reshape(spec.y_shape))[sample, group * many : (group + 1) * many]
    weights = by_site(spec, w)[(0,) * spec.n][group * many : (group + 1) * many, inner]
    weights = np.flip(weights, tuple(range(1, spec.n + 1)))
    firsts, axes = [], []
    for size, p, stride, kernel, dilation, (low, _) in zip(
        spec.size, spec.output, spec.stride, spec.kernel, spec.dilation, spec.padding, strict=True
    ):
        first, last = min(0, low - dilation * (kernel - 1)), max(stride * (p - 1), size - 1 + low)
        firsts.append(first)
        axes.append(np.array([_spread(place, p, stride) for place in range(first, last + 1)], np.int8))
    values = np.zeros((many, *map(len, axes)), error.dtype)
    taken = [slice(-first, -first + s * (p - 1) + 1, s) for first, s, p in zip(firsts, spec.stride, spec.output, strict=True)]
    values[(slice(None), *taken)] = error
    field = Field(in_rows(values, spec.n), cells_of(axes))
    offsets = offsets_of(spec)
    of_bias = None if bias is None else np.asarray(bias)

    def frame(pixel: tuple[int, ...]) -> Frame:
        per_axis = zip(pixel, spec.padding, spec.dilation, spec.kernel, firsts, strict=True)
        corner = tuple(v + low - dilation * (kernel - 1) - first for v, (low, _), dilation, kernel, first in per_axis)
        lines = arithmetic(
            pixel, weights, *seen(field, corner, offsets, spec.n), None if of_bias is None else of_bias[feature], results[pixel],
            spec.epilogue.activation, "dx" if operator == "conv_grad_input" else "y",
        )  # fmt: skip
        return Frame(pair(pixel), pair(corner), in_rows(weights, spec.n), lines)

    return film_of(operator, field, offsets, results, frame, spec.output, spec.kernel, steps_of(spec))


def _spread(place: int, count: int, stride: int) -> int:
    if not 0 <= place <= stride * (count - 1):
        return OUTSIDE
    return GAP if place % stride else INSIDE


def reverse(x: Array, w: Array, bias: npt.ArrayLike | None, operator: str, arguments: Mapping[str, Any]) -> tuple[Convolution, Array]:
    """The convolution that "conv_transpose" or "conv_grad_input" goes back through, and the result as (N, C, *S)."""
    options = dict(arguments)
    if operator == "conv_transpose":
        spec, single = described_transpose(
            x.shape, w.shape, options, dtype=x.dtype, w_dtype=w.dtype, bias=bias is not None, known=TransposedArguments
        )
        y = conv_transpose(x, w, bias, **options)
    else:
        if bias is not None:
            raise ArgumentError("bias must be None with operator='conv_grad_input', whose result has none")
        spec, single = _gradient(x, w, options)
        y = conv_grad_input(x, w, spec.x_shape[1:] if single else spec.x_shape, **options)
    if not all(outside.constant for outside in spec.boundary):
        raise ArgumentError(f"{operator} is drawn with boundary 'zero': what stood outside under another goes back to other places")
    return spec, channels_first(spec, y[None] if single else y)


def _gradient(dy: Array, w: Array, options: dict[str, Any]) -> tuple[Convolution, bool]:
    """The convolution whose gradient of the input is drawn, and whether dy came without a batch. Takes input_shape out of the options."""
    wanted = options.pop("input_shape", None)
    if wanted is None:  # the smallest input that gives such an error
        return described_transpose(dy.shape, w.shape, options, dtype=dy.dtype, w_dtype=w.dtype, known=Geometry)
    shape = tuple(operators.index(size) for size in wanted)
    n = spatial_axes(w.shape, options.get("sharing", "shared"))
    if len(shape) == n:  # without samples and channels: those of dy, and of w
        last = options.get("layout") == "channels_last"
        axis = {"OI*": -n - 1, "*IO": -2, "O*I": -1}.get(options.get("weight_layout") or ("*IO" if last else "OI*"), -1)
        channels = (w.shape[axis] * options.get("groups", 1),)
        shape = dy.shape[: dy.ndim - n - 1] + ((*shape, *channels) if last else (*channels, *shape))
    return described(shape, w.shape, options, dtype=dy.dtype, w_dtype=w.dtype, known=Geometry)
