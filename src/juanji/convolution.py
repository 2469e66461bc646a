"""`conv` and its plan: normalise the arguments, describe, plan, run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.describe import Activation, BoundaryLike, Padding, PerAxis, array_of, describe, parse_dtype, spatial_axes
from juanji.errors import ArgumentError, DtypeError, ShapeError
from juanji.kinds import AnyPlan, plan_for
from juanji.spec import Convolution

Array = npt.NDArray[Any]

GRADIENTS = {None: "y", "input": "x", "weight": "w"}
PLAIN = frozenset((int, str, bool, type(None)))  # types whose values, with them, are keys as they are
MOST_PLANS = 4096  # calls whose plan is found without a look at their arguments


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
    x, w = operand("x", x), operand("w", w)
    bias = None if bias is None else operand("bias", bias, least=0)
    options = {
        "stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "boundary": boundary, "flip": flip,
        "sharing": sharing, "layout": layout, "weight_layout": weight_layout, "activation": activation, "out_dtype": out_dtype,
        "overflow": overflow,
    }  # fmt: skip
    single = x.ndim == spatial_axes(w.shape, plain(sharing)) + 1
    if single:
        x, out = x[None], batched(out)
    chosen = planned(_described, (x.shape, w.shape, x.dtype, w.dtype, bias is not None), options, algorithm, precision)
    y = chosen(x, w, bias, out=out, threads=threads)
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
    """The plan for a batched input shape and a weight shape, or an array of weights whose zeros may then be skipped.

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
    x_shape: Any, w_shape: Any, x_dtype: Any, w_dtype: Any, bias: bool, algorithm: str, precision: str, **options: Any
) -> AnyPlan:
    return plan_for(describe(x_shape, w_shape, dtype=x_dtype, w_dtype=w_dtype, bias=bias, **options), algorithm, precision)


_plans: dict[Any, AnyPlan] = {}


def planned(make: Callable[..., AnyPlan], arrays: tuple[Any, ...], options: dict[str, Any], algorithm: str, precision: str) -> AnyPlan:
    """The plan of a call, found by its arguments as they are written, before any of them is looked at.

    make(*arrays, algorithm, precision, **options) plans it; `arrays` is what the call needs to know of its arrays.
    """
    values = (*options.values(), algorithm, precision)
    types = tuple(map(type, values))
    key = (make, arrays, values, types) if PLAIN.issuperset(types) else (make, arrays, *map(_key, values))
    try:
        kept = _plans.get(key)
    except TypeError:  # something that cannot be hashed, so cannot be right: what follows says which
        return make(*arrays, algorithm, precision, **{name: plain(value) for name, value in options.items()})
    if kept is None:
        kept = make(*arrays, algorithm, precision, **{name: plain(value) for name, value in options.items()})
        if len(_plans) >= MOST_PLANS:
            _plans.clear()
        _plans[key] = kept
    return kept


def batched(out: Array | None) -> Array | None:
    """`out` for an unbatched call, seen with a batch of one."""
    if out is not None and not isinstance(out, np.ndarray):
        raise ArgumentError(f"out must be an array, not {type(out).__name__}")
    return None if out is None else out[None]


def plain(value: Any) -> Any:
    """An array as the lists or the number that it stands for."""
    return value.tolist() if isinstance(value, np.ndarray) else value


def _key(value: Any) -> Any:
    """A value as part of a key: hashable, and equal only to what is written alike (1, 1.0 and True are three things)."""
    kind = type(value)
    if kind is int or kind is str or value is None:
        return value
    if kind is tuple or kind is list:
        return (kind, *map(_key, value))
    if isinstance(value, np.ndarray):
        return (kind, value.dtype, value.shape, value.tobytes())
    return (kind, repr(value)) if isinstance(value, float | np.floating) else (kind, value)


def operand(name: str, value: npt.ArrayLike, least: int = 1) -> Array:
    """The value as an array of numbers with at least as many axes."""
    array = array_of(name, value)
    if array.dtype.kind not in "fcbiuV" or array.dtype.hasobject or array.dtype.type is np.void:
        raise DtypeError(f"{name} has dtype {array.dtype}, which is not a number that can be multiplied and added")
    if array.ndim < least:
        raise ShapeError(f"{name} is a single number; it needs channels and at least one spatial axis")
    return array


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
