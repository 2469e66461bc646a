"""From the arguments of the operators to what is explained: a description, arrays in one order, and which element each tap meets."""

import operator
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, SupportsIndex, TypedDict

import numpy as np
import numpy.typing as npt

from juanji.boundary import index_map
from juanji.calls import plain
from juanji.describe import Activation, BoundaryLike, Padding, PerAxis, check_sums, choose_dtypes, describe, parse_dtype, spatial_axes
from juanji.errors import ArgumentError
from juanji.gradients import transposed
from juanji.spec import Convolution, Dtypes

Array = npt.NDArray[Any]
Index = npt.NDArray[np.int64]
Shape = Iterable[SupportsIndex]


class Geometry(TypedDict, total=False):
    """The arguments of `conv` that say what meets what."""

    stride: PerAxis
    padding: Padding
    dilation: PerAxis
    groups: int
    boundary: BoundaryLike
    flip: bool
    sharing: str
    layout: str
    weight_layout: str | None


class Arguments(Geometry, total=False):
    """All the arguments of `conv` that change its result."""

    activation: Activation
    out_dtype: npt.DTypeLike | None
    overflow: str


class TransposedGeometry(Geometry, total=False):
    """Those of `conv_transpose` that say what meets what."""

    output_padding: PerAxis


class TransposedArguments(Arguments, total=False):
    """All the arguments of `conv_transpose` that change its result."""

    output_padding: PerAxis


class PoolingArguments(TypedDict, total=False):
    """The arguments of `pool` that change its result, the weights apart."""

    kind: str
    stride: PerAxis | None
    padding: Padding
    dilation: PerAxis
    ceil_mode: bool
    count_include_pad: bool
    p: float
    layout: str


# What `gradients.transposed` must be told, by default.
FORWARD = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "sharing": "shared", "layout": "channels_first", "weight_layout": None}


def described(
    x_shape: Shape,
    w_shape: Shape,
    arguments: Mapping[str, Any],
    *,
    dtype: npt.DTypeLike = "float32",
    w_dtype: npt.DTypeLike | None = None,
    bias: bool = False,
    known: Any = Geometry,
) -> tuple[Convolution, bool]:
    """The convolution that `conv` would compute, and whether x came without a batch. known: the arguments that may be given."""
    options = checked(arguments, known)
    x_shape, w_shape = sizes("x_shape", x_shape), sizes("w_shape", w_shape)
    single = len(x_shape) == spatial_axes(w_shape, options.get("sharing", "shared")) + 1
    return describe((1, *x_shape) if single else x_shape, w_shape, dtype=dtype, w_dtype=w_dtype, bias=bias, **options), single


def described_transpose(
    x_shape: Shape,
    w_shape: Shape,
    arguments: Mapping[str, Any],
    *,
    dtype: npt.DTypeLike = "float32",
    w_dtype: npt.DTypeLike | None = None,
    bias: bool = False,
    known: Any = TransposedGeometry,
) -> tuple[Convolution, bool]:
    """The convolution whose transpose `conv_transpose` computes: its output is the x given, its input the result."""
    options = {"output_padding": 0, **FORWARD, **checked(arguments, known)}
    x_shape, w_shape = sizes("x_shape", x_shape), sizes("w_shape", w_shape)
    single = len(x_shape) == spatial_axes(w_shape, options["sharing"]) + 1
    out = options.pop("out_dtype", None)
    spec = transposed((1, *x_shape) if single else x_shape, w_shape, bias=bias, **options)
    of_x = parse_dtype("dtype", dtype)
    of_w = of_x if w_dtype is None else parse_dtype("w_dtype", w_dtype)
    of = choose_dtypes(of_x, of_w, None if out is None else parse_dtype("out_dtype", out))
    return check_sums(replace(spec, dtypes=Dtypes(of.y, of.w, of.sum, of.x)), "x"), single


def checked(arguments: Mapping[str, Any], known: Any) -> dict[str, Any]:
    """The arguments, arrays among them as lists, if a TypedDict `known` has them all."""
    names = known.__optional_keys__
    unknown = arguments.keys() - names
    if unknown:
        raise ArgumentError(f"{min(unknown)} (={arguments[min(unknown)]!r}) must be one of {', '.join(sorted(names))}")
    return {name: plain(value) for name, value in arguments.items()}


def sizes(name: str, shape: Shape) -> tuple[int, ...]:
    """A shape as Python's integers."""
    try:
        return tuple(operator.index(size) for size in shape)
    except TypeError:
        raise ArgumentError(f"{name} (={shape!r}) must be a sequence of integers") from None


def met(spec: Convolution) -> list[Index]:
    """Per spatial axis, for output p and tap k in the order of x, the element p·stride + k·dilation − low that stands there.

    Through the boundary: −1 where a constant does.

    >>> spec, _ = described((1, 4), (1, 1, 3), {"padding": 1, "boundary": "edge"})
    >>> met(spec)[0].tolist()
    [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 3]]
    """
    axes = zip(spec.size, spec.padding, spec.boundary, places(spec), strict=True)
    return [index_map(size, low, high, outside.mode)[place + low] for size, (low, high), outside, place in axes]


def places(spec: Convolution) -> list[Index]:
    """As `met`, before the boundary: negative, or the size and more, is outside."""
    axes = zip(spec.output, spec.kernel, spec.stride, spec.dilation, spec.padding, strict=True)
    return [np.arange(p)[:, None] * stride + np.arange(k) * dilation - low for p, k, stride, dilation, (low, _) in axes]


def by_site(spec: Convolution, w: Array) -> Array:
    """Weights as (*sites, O, C/groups, *K), turned where `flip` says, so that taps stand in the order of x; sites are 1 if shared."""
    n = spec.n
    w = w.reshape(*(spec.sites or (1,) * n), *w.shape[w.ndim - n - 2 :])
    match spec.weight_layout:
        case "*IO":
            w = np.moveaxis(w, (-1, -2), (n, n + 1))
        case "O*I":
            w = np.moveaxis(w, -1, n + 1)
    return np.flip(w, tuple(range(n + 2, 2 * n + 2))) if spec.flip else w


def channels_first(spec: Convolution, array: Array) -> Array:
    """A batched x or y as (N, C, *S)."""
    return np.moveaxis(array, -1, 1) if spec.layout == "channels_last" else array


def wide(*arrays: Array | None) -> np.dtype[Any]:
    """The type that sums of products of these are explained in: complex128, float64, or Python's integers."""
    kinds = {array.dtype.kind for array in arrays if array is not None}
    if "c" in kinds:
        return np.dtype(np.complex128)
    return np.dtype(object if kinds <= set("biu") else np.float64)


def by(sizes: Iterable[int]) -> str:
    """Sizes as they are printed.

    >>> by((3, 224, 224))
    '3×224×224'
    """
    return "×".join(map(str, sizes))


def runs(numbers: Iterable[int]) -> str:
    """Rising integers, runs of them from the first to the last; of many runs the first few and the last.

    >>> runs([-1, 0, 1, 5, 7, 8]), runs(range(0, 99, 2))
    ('−1…1, 5, 7…8', '0, 2, 4, 6, 8, 10, …, 98')
    """
    found: list[list[int]] = []
    for value in numbers:
        if found and value == found[-1][1] + 1:
            found[-1][1] = value
        else:
            found.append([value, value])
    written = [str(first) if first == last else f"{first}…{last}" for first, last in found]
    if len(written) > 8:
        written = [*written[:6], "…", written[-1]]
    return ", ".join(written).replace("-", "−")
