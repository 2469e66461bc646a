"""`conv` and its plan: normalise the arguments, describe, plan, run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.calls import met, plain
from juanji.describe import Activation, BoundaryLike, Padding, PerAxis, array_of, describe, parse_dtype, spatial_axes, structured
from juanji.errors import ArgumentError, DtypeError, ShapeError
from juanji.kinds import AnyPlan, plan_for
from juanji.spec import Convolution

Array = npt.NDArray[Any]

GRADIENTS = {None: "y", "input": "x", "weight": "w"}


def conv(
    x: npt.ArrayLike,
    w: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    boundary: BoundaryLike = "zero",
    flip: bool = False,
    sharing: str = "shared",
    layout: str = "channels_first",
    weight_layout: str | None = None,
    activation: Activation = None,
    out: Array | None = None,
    out_dtype: npt.DTypeLike | None = None,
    overflow: str = "saturate",
    algorithm: str = "auto",
    precision: str = "default",
    threads: int | None = None,
) -> Array:
    """Cross-correlation of x with w over any number of spatial axes, as neural networks call convolution.

    channels_first: x (N, C, *S), w (O, C/groups, *K); channels_last: x (N, *S, C), w (*K, C/groups, O). Without N the
    result has none either. The output has floor((S + low + high − dilation·(K − 1) − 1) / stride) + 1 elements per axis.

    stride, dilation: one for all axes or one for each.
    padding: an integer, one per axis, (low, high) pairs per axis, "valid", "same" (ceil(S / stride) outputs, the odd element at the
        end), "same_lower", "full" or "causal" (low only).
    boundary: what the padding holds, one mode for all axes or one for each: "zero", "edge", "reflect", "symmetric", "wrap" as in
        np.pad, or ("constant", value).
    flip: turn the kernel by 180°: mathematical convolution.
    sharing: "shared"; "tiled": w has one site axis per spatial axis in front, T of them, and output position p uses site p mod T;
        "local": T is the output's shape. The bias is (O,), with sites (*T, O), in the type of the sum.
    weight_layout: "OI*", "*IO" or "O*I", if it is not the layout's own.
    activation: None, "relu", "relu6", "sigmoid", "tanh", "leaky_relu", or ("leaky_relu", slope).
    out_dtype, overflow: x and w promote as in NumPy; float16 and bfloat16 are summed in float32; integers exactly, to int64 unless
        out_dtype says otherwise. A sum that does not fit saturates, wraps, or with "raise" is an ArgumentError that names its place.
    out: an array for the result. threads: how many, at most. algorithm, precision: as for `plan`.

    Raises ShapeError, ArgumentError or DtypeError in one line; NotBuiltError names what is described but not built yet.

    >>> x = np.arange(1.0, 10).reshape(1, 1, 3, 3)
    >>> conv(x, np.array([[[[0.0, 1], [2, 3]]]]))[0, 0]
    array([[25., 31.],
           [43., 49.]])
    """
    x, w = array_of("x", x), array_of("w", w)
    bias = None if bias is None else operand("bias", bias, least=0)
    options = {
        "stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "boundary": boundary, "flip": flip,
        "sharing": sharing, "layout": layout, "weight_layout": weight_layout, "activation": activation, "out_dtype": out_dtype,
        "overflow": overflow, "algorithm": algorithm, "precision": precision,
    }  # fmt: skip
    chosen = met(_described, (x.shape, w.shape, x.dtype, w.dtype, bias is not None), options)
    single = x.ndim == len(chosen.spec.size) + 1
    y = chosen(x[None], w, bias, out=batched(out), threads=threads) if single else chosen(x, w, bias, out=out, threads=threads)
    return y[0] if single else y


def plan(
    x_shape: tuple[int, ...],
    w: tuple[int, ...] | Array,
    *,
    dtype: npt.DTypeLike = "float32",
    bias: bool = False,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    boundary: BoundaryLike = "zero",
    flip: bool = False,
    sharing: str = "shared",
    layout: str = "channels_first",
    weight_layout: str | None = None,
    activation: Activation = None,
    out_dtype: npt.DTypeLike | None = None,
    overflow: str = "saturate",
    gradient: str | None = None,
    algorithm: str = "auto",
    precision: str = "default",
) -> AnyPlan:
    """The plan for a batched input shape and a weight shape, or an array of weights, whose zeros and structure may then be used.

    Zeros may be skipped; a kernel of one channel and one feature may be computed as a sum of outer products of vectors, or as sums of
    equal weights, and the plan then takes weights of that structure only.
    gradient: None for the convolution itself, "input" for a plan called as plan(dy, w), "weight" for plan(x, dy).
    algorithm: "auto" is the one that is expected to be fastest for one image; a name asks for that one ("direct" is exact where no
    sum of the definition rounds), and NotBuiltError says why it does not compute the plan. precision: "strict" keeps out algorithms
    whose error is larger than the direct sum's and which carry infinities and NaN as far as their tiles reach.

    >>> plan((1, 3, 224, 224), (64, 3, 7, 7), stride=2, padding=3).spec.y_shape
    (1, 64, 112, 112)
    """
    if gradient not in GRADIENTS:
        raise ArgumentError(f"gradient (={gradient!r}) must be None, 'input' or 'weight'")
    if gradient == "weight" and (bias or activation is not None):
        raise ArgumentError(f"bias (={bias!r}) and activation (={activation!r}) belong to the output, not to gradient='weight'")
    taps, sharing = None, plain(sharing)
    kind = parse_dtype("dtype", dtype)
    w_dtype = kind
    if isinstance(w, np.ndarray):
        w = operand("w", w)
        shape, w_dtype = w.shape, w.dtype
        spatial_axes(shape, sharing)  # refuses an array that is no set of weights
        if sharing == "shared" and gradient is None:
            taps = (_canonical_axes(w, weight_layout, layout) != 0).any(axis=(0, 1))
            if not taps.any():
                taps = None
    else:
        shape = tuple(w) if isinstance(w, Iterable) else (w,)
    options = {
        "stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "boundary": boundary, "flip": flip,
        "layout": layout, "weight_layout": weight_layout, "activation": activation, "out_dtype": out_dtype, "overflow": overflow,
    }  # fmt: skip
    chosen: dict[str, Any] = {name: plain(value) for name, value in options.items()}
    spec = describe(x_shape, shape, dtype=dtype, w_dtype=w_dtype, bias=bias, sharing=sharing, taps=taps, **chosen)
    if isinstance(w, np.ndarray) and gradient is None:
        spec = structured(spec, w)
    return plan_for(spec, algorithm, precision, GRADIENTS[gradient])


def compute(
    spec: Convolution,
    x: Array,
    w: Array,
    bias: Array | None = None,
    *,
    out: Array | None = None,
    algorithm: str = "auto",
    precision: str = "default",
    threads: int | None = None,
) -> Array:
    """AnyPlan and run an already described convolution."""
    return plan_for(spec, algorithm, precision)(x, w, bias, out=out, threads=threads)


def _described(
    x_shape: Any, w_shape: Any, x_dtype: Any, w_dtype: Any, bias: bool, *, sharing: Any, algorithm: str, precision: str, **options: Any
) -> AnyPlan:
    check_operand("x", x_shape, x_dtype)
    check_operand("w", w_shape, w_dtype)
    if len(x_shape) == spatial_axes(w_shape, sharing) + 1:
        x_shape = (1, *x_shape)
    spec = describe(x_shape, w_shape, dtype=x_dtype, w_dtype=w_dtype, bias=bias, sharing=sharing, **options)
    return plan_for(spec, algorithm, precision)


def batched(out: Array | None) -> Array | None:
    """`out` for an unbatched call, seen with a batch of one."""
    if out is not None and not isinstance(out, np.ndarray):
        raise ArgumentError(f"out must be an array, not {type(out).__name__}")
    return None if out is None else out[None]


def operand(name: str, value: npt.ArrayLike, least: int = 1) -> Array:
    """The value as an array of numbers with at least as many axes."""
    array = array_of(name, value)
    check_operand(name, array.shape, array.dtype, least)
    return array


def check_operand(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], least: int = 1) -> None:
    """Whether such arrays are operands: numbers, along at least as many axes."""
    if dtype.kind not in "fcbiuV" or dtype.hasobject or dtype.type is np.void:
        raise DtypeError(f"{name} has dtype {dtype}, which is not a number that can be multiplied and added")
    if len(shape) < least:
        raise ShapeError(f"{name} is a single number; it needs channels and at least one spatial axis")


def _canonical_axes(w: Array, weight_layout: str | None, layout: str) -> Array:
    """Shared weights seen as (feature, channel, taps)."""
    order = weight_layout or ("OI*" if layout == "channels_first" else "*IO")
    match order:
        case "*IO":
            return np.moveaxis(w, (-1, -2), (0, 1))
        case "O*I":
            return np.moveaxis(w, -1, 1)
        case _:  # "OI*", or a name that `describe` refuses
            return w
