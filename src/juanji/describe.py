"""From what a user writes to the one canonical `Convolution`: the door, where every argument is normalised and checked."""

import math
import operator
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from functools import lru_cache
from numbers import Real
from typing import Any, SupportsIndex, TypeGuard, cast

import numpy as np
import numpy.typing as npt

from juanji import boundary as boundaries
from juanji.errors import ArgumentError, DtypeError, NotBuiltError, ShapeError
from juanji.exact import SIGNED, UNSIGNED, limits
from juanji.factors import structure
from juanji.spec import ACTIVATIONS, LAYOUTS, WEIGHT_LAYOUTS, Boundary, Convolution, Dtypes, Epilogue, span

PerAxis = SupportsIndex | Iterable[SupportsIndex]  # integers of Python or NumPy, in any sequence or array
Padding = str | SupportsIndex | Iterable[SupportsIndex | Iterable[SupportsIndex]]
Number = float | np.floating[Any] | np.integer[Any]
OneBoundary = str | tuple[str, Number] | Boundary
BoundaryLike = OneBoundary | Sequence[OneBoundary]
Activation = str | tuple[str, Number] | None

SHARINGS = ("shared", "tiled", "local")
HALVES = ("float16", "bfloat16")  # summed in float32
FLOATS = (*HALVES, "float32", "float64")
COMPLEX = ("complex64", "complex128")
PADDINGS = ("valid", "same", "same_lower", "full", "causal")


def describe(
    x_shape: Iterable[SupportsIndex],
    w_shape: Iterable[SupportsIndex],
    *,
    dtype: npt.DTypeLike = "float32",
    w_dtype: npt.DTypeLike | None = None,
    out_dtype: npt.DTypeLike | None = None,
    bias: bool = False,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: SupportsIndex = 1,
    boundary: BoundaryLike = "zero",
    flip: bool = False,
    sharing: str = "shared",
    layout: str = "channels_first",
    weight_layout: str | None = None,
    activation: Activation = None,
    overflow: str = "saturate",
    taps: npt.NDArray[np.bool_] | None = None,
) -> Convolution:
    """The `Convolution` of a batched input shape and a weight shape.

    dtype, w_dtype: of the input and of the weights, the same unless said; they are summed and stored in the type that NumPy
        promotes them to (half floats summed in float32), or in out_dtype where that is wider; a narrower one is rounded to. Integers
        and bool are summed exactly, and stored in int64; in a float out_dtype they are summed in float64. Integer sums take the
        activations that stay integers, relu and relu6; complex sums take none.
    taps: a mask of the kernel's shape that marks the positions to keep, as they stand in the weights before `flip`.

    The others are those of `conv`. Raises ArgumentError, ShapeError or DtypeError with one line that names the argument, its
    value and the rule.

    >>> describe((1, 3, 227, 227), (96, 3, 11, 11), stride=4).y_shape
    (1, 96, 55, 55)
    >>> describe((1, 1, 4, 4), (1, 1, 5, 5), padding=1, dilation=2)
    Traceback (most recent call last):
    juanji.errors.ShapeError: kernel of size 5 with dilation 2 spans 9, but axis 0 is 4 + 1 + 1 padding = 6
    """
    x_shape, w_shape = _shape("x_shape", x_shape), _shape("w_shape", w_shape)
    _one_of("layout", layout, LAYOUTS)
    _one_of("sharing", sharing, SHARINGS)
    if weight_layout is None:
        weight_layout = "OI*" if layout == "channels_first" else "*IO"
    _one_of("weight_layout", weight_layout, WEIGHT_LAYOUTS)
    n = spatial_axes(w_shape, sharing)
    if len(x_shape) != n + 2:
        raise ShapeError(f"x of shape {x_shape} must have {n + 2} axes: batch, channels and the {n} spatial axes of w {w_shape}")
    batch, channels, size = _split(x_shape, layout)
    sites, features, per_group, kernel = _split_weights(w_shape, n, weight_layout, sharing)
    groups = _integer("groups", groups, 1)
    if channels % groups:
        raise ShapeError(f"channels (={channels}) must be divisible by groups (={groups})")
    if channels != per_group * groups:
        raise ShapeError(
            f"x has {channels} channels, but w of shape {w_shape} takes {per_group}"
            + (f" in each of {groups} groups = {per_group * groups}" if groups > 1 else "")
        )
    strides, dilations = per_axis("stride", stride, n, 1), per_axis("dilation", dilation, n, 1)
    for axis, (length, k) in enumerate(zip(size, kernel, strict=True)):
        if length < 1 or k < 1:
            raise ShapeError(f"x (size {length}) and w (size {k}) must have at least one element along spatial axis {axis}")
    of_x = parse_dtype("dtype", dtype)
    of_w = of_x if w_dtype is None else parse_dtype("w_dtype", w_dtype)
    described = Convolution(
        size=size,
        kernel=kernel,
        stride=strides,
        dilation=dilations,
        padding=parse_padding(padding, size, kernel, strides, dilations),
        boundary=parse_boundaries(boundary, n),
        sites=sites,
        batch=batch,
        channels=channels,
        features=features,
        groups=groups,
        layout=layout,
        weight_layout=weight_layout,
        flip=bool(flip),
        dtypes=choose_dtypes(of_x, of_w, None if out_dtype is None else parse_dtype("out_dtype", out_dtype)),
        epilogue=Epilogue(bool(bias), *_parse_activation(activation)),
        overflow=overflow,
        taps=_kept(taps, kernel),
    )
    check_sums(described)
    if sharing == "local" and sites != described.output:
        raise ShapeError(f"w has sites {sites}, but sharing='local' needs one per output position {described.output}")
    return described


def structured(c: Convolution, w: npt.NDArray[Any]) -> Convolution:
    """The description with the structure of the weights that it is planned for: of one channel and one feature, shared.

    >>> structured(describe((1, 1, 9, 9), (1, 1, 3, 3)), np.ones((1, 1, 3, 3), np.float32)).rank
    1
    """
    if not c.shared or (c.channels, c.features) != (1, 1):
        return c
    return replace(c, **structure(w.reshape(c.kernel), c.dtypes.sum)._asdict())


def array_of(name: str, value: npt.ArrayLike) -> npt.NDArray[Any]:
    """np.asarray, with one line for nested lists that are no array.

    >>> array_of("a", [[1.0, 2.0], [3.0]])
    Traceback (most recent call last):
    juanji.errors.ShapeError: a must be an array, but its rows have different lengths
    """
    try:
        return np.asarray(value)
    except ValueError:
        raise ShapeError(f"{name} must be an array, but its rows have different lengths") from None


def spatial_axes(w_shape: Sequence[int], sharing: str = "shared") -> int:
    """How many spatial axes weights of this shape have: ndim − 2, or half of it when they have sites."""
    n, odd = divmod(len(w_shape) - 2, 1 if sharing == "shared" else 2)
    if n < 1 or odd:
        axes = "O, I and the spatial axes" if sharing == "shared" else "one site axis per spatial axis, O, I and the spatial axes"
        raise ShapeError(f"w of shape {tuple(w_shape)} must have {axes}")
    return n


def per_axis(name: str, value: object, n: int, least: int) -> tuple[int, ...]:
    """One integer per spatial axis from an integer or a sequence of n.

    >>> per_axis("stride", (1, 2), 2, 1)
    (1, 2)
    """
    if _several(value):
        values = tuple(_integer(name, v, least) for v in value)
        if len(values) != n:
            raise ArgumentError(f"{name} (={value!r}) must be one integer or one per spatial axis, and there are {n}")
        return values
    return (_integer(name, value, least),) * n


def parse_padding(
    padding: object, size: tuple[int, ...], kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[tuple[int, int], ...]:
    """(low, high) per axis from an integer, one integer per axis, pairs, or a mode of `PADDINGS`.

    "same" gives ceil(size / stride) outputs with the odd element at the end, "same_lower" at the start; "causal" pads
    low only, so that no output sees a later input.

    >>> parse_padding("same", (6,), (3,), (2,), (1,))
    ((0, 1),)
    """
    n = len(size)
    if isinstance(padding, str):
        _one_of("padding", padding, PADDINGS)
        return tuple(_mode(padding, *axis) for axis in zip(size, kernel, stride, dilation, strict=True))
    if _several(padding):
        values = list(padding)
        if len(values) != n:
            raise ArgumentError(f"padding (={padding!r}) must be an integer, one per spatial axis, pairs or a mode, and there are {n} axes")
        return tuple(_pair(padding, value) for value in values)
    side = _integer("padding", padding, 0)
    return ((side, side),) * n


def _mode(mode: str, size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    reach = span(kernel, dilation) - 1
    match mode:
        case "valid":
            return 0, 0
        case "full":
            return reach, reach
        case "causal":
            return reach, 0
    total = max((-(-size // stride) - 1) * stride + reach + 1 - size, 0)
    small, large = total // 2, total - total // 2
    return (small, large) if mode == "same" else (large, small)


def _pair(padding: object, value: object) -> tuple[int, int]:
    if not _several(value):
        side = _integer("padding", value, 0)
        return side, side
    sides = [_integer("padding", side, 0) for side in value]
    if len(sides) != 2:
        raise ArgumentError(f"padding (={padding!r}) must give (low, high) for an axis, not {value!r}")
    return sides[0], sides[1]


def parse_boundaries(boundary: BoundaryLike, n: int) -> tuple[Boundary, ...]:
    """One `Boundary` per spatial axis from one for all, ("constant", value) among them, or a sequence of n.

    >>> parse_boundaries("wrap", 1)
    (Boundary(mode='wrap', value=0.0),)
    >>> [str(b) for b in parse_boundaries(("edge", ("constant", 7)), 2)]
    ['edge', 'constant 7']
    """
    match boundary:
        case str() | Boundary() | ("constant", Real()):
            return (boundaries.parse(boundary),) * n
        case Sequence() | np.ndarray() if len(boundary) == n:
            return tuple(boundaries.parse(b) for b in boundary)
    raise ArgumentError(f"boundary (={boundary!r}) must be one mode or one per spatial axis, and there are {n}")


def _parse_activation(activation: Activation) -> tuple[str | None, float]:
    match activation:
        case None:
            return None, 0.0
        case str():
            _one_of("activation", activation, tuple(ACTIVATIONS))
            return activation, ACTIVATIONS[activation] or 0.0
        case (str() as name, Real() as parameter):
            _one_of("activation", name, tuple(ACTIVATIONS))
            if ACTIVATIONS[name] is None:
                raise ArgumentError(f"activation (={activation!r}): {name} takes no parameter")
            if not math.isfinite(parameter):
                raise ArgumentError(f"activation (={activation!r}) must have a finite parameter")
            return name, float(parameter) + 0.0  # a slope of −0.0 is 0.0: they are equal as keys
    raise ArgumentError(f"activation (={activation!r}) must be None, a name or (name, number)")


def parse_dtype(name: str, dtype: npt.DTypeLike) -> np.dtype[Any]:
    """The element type that a user's argument means.

    >>> parse_dtype("out_dtype", "u1")
    dtype('uint8')
    """
    try:
        if dtype is not None:  # np.dtype(None) would be float64
            return np.dtype(dtype)
    except (TypeError, ValueError):
        pass
    raise DtypeError(f"{name} (={dtype!r}) must be an element type of NumPy")


@lru_cache(maxsize=1024)
def choose_dtypes(x: np.dtype[Any], w: np.dtype[Any], out: np.dtype[Any] | None) -> Dtypes:
    """The types of the sum and the output for an input and weights, or an error that says why there are none.

    >>> choose_dtypes(np.dtype("uint8"), np.dtype("float64"), None)
    Dtypes(x='uint8', w='float64', sum='float64', y='float64')
    >>> choose_dtypes(np.dtype("int8"), np.dtype("int16"), np.dtype("uint8")).sum
    'int64'
    """
    for name, dtype in (("x", x), ("w", w), ("out", out)):
        if dtype is not None and (dtype.kind not in "fcbiuV" or dtype.type is np.void or dtype.hasobject):
            raise DtypeError(f"{name} has dtype {dtype}, which is not a number that can be multiplied and added")
        if dtype is not None and dtype.name not in (*SIGNED, *UNSIGNED, *FLOATS, *COMPLEX):
            raise NotBuiltError(f"{name} of {dtype.name} is not built yet; integers, bool, float16 to float64, bfloat16 and complex are")
    product = _promoted(x, w)
    if out is None:
        out = np.dtype(np.int64) if product.kind in "biu" else product
    if (out.kind == "c") != (product.kind == "c"):
        kinds = ("complex", "real") if product.kind == "c" else ("real", "complex")
        raise DtypeError(f"out_dtype (={out}) is {kinds[1]}, but x of {x} with w of {w} gives {kinds[0]} sums")
    if product.kind in "biu":
        total = "int64" if out.kind in "biu" else "float64"
    elif out.kind in "biu":
        total = product.name
    else:
        total = _promoted(product, out).name if out.itemsize > product.itemsize else product.name
    return Dtypes(x.name, w.name, "float32" if total in HALVES else total, out.name)


def _promoted(x: np.dtype[Any], w: np.dtype[Any]) -> np.dtype[Any]:
    """The type that NumPy promotes both to."""
    try:
        promoted = np.result_type(x, w)
    except TypeError:
        raise DtypeError(f"x of {x} and w of {w} have no common type; convert one of them") from None
    if promoted.kind == "f" and x.kind != "f" and w.kind != "f" and "V" not in (x.kind, w.kind):
        raise DtypeError(f"x of {x} and w of {w}: no integer type holds both uint64 and negative numbers; convert one of them")
    return promoted


def check_sums(c: Convolution, produces: str = "y") -> Convolution:
    """The description, if its activation and the constants outside, which the gradient of "x" does not see, suit sums of its type.

    >>> describe((1, 1, 3), (1, 1, 2), dtype="int8", activation="tanh")
    Traceback (most recent call last):
    juanji.errors.DtypeError: activation (='tanh') of an integer sum is no integer; give a float out_dtype, not int64
    """
    dtypes, activation = c.dtypes, c.epilogue.activation
    if dtypes.sum in COMPLEX and activation is not None:
        raise DtypeError(f"activation (={activation!r}) must be None for complex sums")
    if dtypes.sum != "int64":
        return c
    if activation not in (None, "relu", "relu6"):
        out = getattr(dtypes, produces)
        raise DtypeError(f"activation (={activation!r}) of an integer sum is no integer; give a float out_dtype, not {out}")
    least, most = limits("int64")
    for boundary in c.boundary if produces != "x" else ():
        if boundary.value % 1 or not least <= boundary.value <= most:
            raise ArgumentError(f"boundary (={('constant', boundary.value)!r}) must be an integer of 64 bits, because x and w are integers")
    return c


def _split(x_shape: tuple[int, ...], layout: str) -> tuple[int, int, tuple[int, ...]]:
    if layout == "channels_first":
        return x_shape[0], x_shape[1], x_shape[2:]
    return x_shape[0], x_shape[-1], x_shape[1:-1]


def _split_weights(
    w_shape: tuple[int, ...], n: int, weight_layout: str, sharing: str
) -> tuple[tuple[int, ...] | None, int, int, tuple[int, ...]]:
    sites, body = (None, w_shape) if sharing == "shared" else (w_shape[:n], w_shape[n:])
    match weight_layout:
        case "OI*":
            return sites, body[0], body[1], body[2:]
        case "*IO":
            return sites, body[-1], body[-2], body[:-2]
        case _:
            return sites, body[0], body[-1], body[1:-1]


def _kept(taps: npt.NDArray[np.bool_] | None, kernel: tuple[int, ...]) -> tuple[tuple[int, ...], ...] | None:
    if taps is None:
        return None
    mask = np.asarray(taps)
    if mask.dtype != np.bool_:
        raise DtypeError(f"taps has dtype {mask.dtype}, but a mask of the kernel is bool")
    if mask.shape != kernel:
        raise ShapeError(f"taps of shape {mask.shape} must have the kernel's shape {kernel}")
    return None if mask.all() else tuple(map(tuple, np.argwhere(mask).tolist()))


def _shape(name: str, shape: object) -> tuple[int, ...]:
    if getattr(shape, "ndim", 1) > 1:
        raise ArgumentError(f"{name} is an array of shape {getattr(shape, 'shape', None)}; give that shape, not the array")
    if not _several(shape):
        raise ArgumentError(f"{name} (={shape!r}) must be a sequence of integers")
    return tuple(_integer(name, length, 0) for length in shape)


def _several(value: object) -> TypeGuard[Iterable[Any]]:
    """Whether a value is a sequence rather than one number or word; arrays without axes are numbers."""
    return isinstance(value, Iterable) and not isinstance(value, str | Set | Mapping) and getattr(value, "ndim", 1) > 0


def _integer(name: str, value: object, least: int) -> int:
    try:
        number = operator.index(cast(SupportsIndex, value))
    except TypeError:
        raise ArgumentError(f"{name} (={value!r}) must be an integer") from None
    if number < least:
        raise ArgumentError(f"{name} (={value!r}) must be at least {least}")
    return number


def _one_of(name: str, value: object, valid: Sequence[str]) -> None:
    if not isinstance(value, str) or value not in valid:
        raise ArgumentError(f"{name} (={value!r}) must be one of {', '.join(valid)}")
