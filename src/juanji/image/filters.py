"""Pictures through kernels: `filter`, and the named filters that are one call of it.

A picture is H×W (grey) or has a channel axis; all channels but alpha are filtered alike. What is computed is a convolution described to
the planner; this file only says how a picture is seen as one:

    H×W                       one channel, two spatial axes
    …×H×W×C, C last           one channel, *three* spatial axes H, W, C, the kernel of size 1 along the third: interleaved channels
                              are then one long row, and nothing is copied or shuffled
    C elsewhere, stacks       every plane is a picture of a batch
    "outline", C colours      C channels in, one out
    a pair of derivatives     two features out, then their magnitude
"""

import math
import operator
from dataclasses import replace
from typing import Any, NamedTuple, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from juanji.calls import MOST_BYTES, met
from juanji.describe import BoundaryLike, PerAxis, array_of, describe, parse_boundaries, parse_dtype, per_axis
from juanji.errors import ArgumentError, DtypeError, ShapeError
from juanji.factors import Structure, structure
from juanji.image import kernels
from juanji.image.magnitudes import magnitude
from juanji.planner import Plan, plan_for
from juanji.spec import ZERO, Boundary

Array = npt.NDArray[Any]

PIXELS = ("uint8", "uint16", "float32", "float64")
_PIXELS = frozenset(map(np.dtype, (*PIXELS, "bool")))  # NumPy takes a microsecond to spell a type's name
SUMMED = ("outline",)  # kernels that, by name, add the colours up


class Options(TypedDict, total=False):
    """What every filter takes, as `filter` explains it."""

    boundary: BoundaryLike
    dtype: npt.DTypeLike | None
    stride: PerAxis
    channel_axis: int | None
    threads: int | None


def filter(
    image: npt.ArrayLike,
    kernel: npt.ArrayLike | str,
    *,
    boundary: BoundaryLike = "reflect",
    dtype: npt.DTypeLike | None = None,
    stride: PerAxis = 1,
    channel_axis: int | None = None,
    threads: int | None = None,
    **parameters: Any,
) -> Array:
    """Correlate a picture with a 2-D kernel, given as an array or by name, and keep its size and element type.

    image: uint8, uint16, float32 or float64; H×W, or with channels. `channel_axis` says where those are; without it they are the last
        axis of an array of three whose last has 1 to 4 entries. Axes left over are a stack of pictures. In the last position two channels
        are grey and alpha, and four are colour and alpha: alpha is carried along, not filtered.
    kernel: centred on its element k // 2 along each axis; used as printed, not turned. The name of a pair ("sobel", "prewitt", "scharr",
        "gradient") gives the magnitude of its two derivatives; "outline" adds the colours up and gives a grey picture.
    boundary: one mode of `np.pad` for both axes or one for each; ("constant", value) too.
    dtype: of the result, the picture's unless said. Integer results are rounded, half to even, and saturate, so that the negative half
        of a derivative becomes 0; dtype="float32" keeps signs. (The command line writes the magnitude where the weights sum to zero.)
    stride: the result's pixels are [::stride, ::stride] of the result with stride 1.
    parameters: those of a named kernel, as `kernels` has them: filter(image, "gaussian", sigma=2).

    Zeros in the kernel are skipped: a NaN under one does not reach the result.

    Raises ArgumentError, ShapeError or DtypeError.

    >>> step = np.repeat(np.array([[0, 0, 200, 200]], "uint8"), 3, axis=0)
    >>> filter(step, "sobel_x", dtype="float32")[1]
    array([  0., 800., 800.,   0.], dtype=float32)
    >>> filter(step, "mean")[1]
    array([  0,  67, 133, 200], dtype=uint8)
    >>> filter(step, -kernels.sobel_x)[1]  # negative answers, and no sign to keep in uint8
    array([0, 0, 0, 0], dtype=uint8)
    """
    if parameters:
        kernel = _with_parameters(kernel, parameters)
    return prepare(image, kernel, boundary=boundary, dtype=dtype, stride=stride, channel_axis=channel_axis).run(threads)


def _with_parameters(kernel: npt.ArrayLike | str, parameters: dict[str, Any]) -> npt.ArrayLike:
    if not isinstance(kernel, str):
        raise ArgumentError(f"{next(iter(parameters))} is no argument of filter; only kernels given by name have parameters of their own")
    return kernels.get(kernel, **parameters)


class Prepared(NamedTuple):
    """A filter about to run on one picture: the plan, the picture seen as that asks, and the weights."""

    picture: "Picture"
    plan: Plan
    x: Array
    w: Array
    summed: bool
    stride: tuple[int, int]
    dtype: np.dtype[Any]

    def convolve(self, threads: int | None = None) -> Array:
        """The convolution alone, in the shape of its description."""
        return self.plan(self.x, self.w, threads=threads)

    def run(self, threads: int | None = None) -> Array:
        """The filtered picture, a new array."""
        y = self.convolve(threads)
        result = store(y, self.dtype) if self.w.shape[0] == 1 else magnitude(y, self.dtype, threads)
        return self.picture.restore(result, self.summed, self.stride)


def prepare(
    image: npt.ArrayLike,
    kernel: npt.ArrayLike | str,
    *,
    boundary: BoundaryLike = "reflect",
    dtype: npt.DTypeLike | None = None,
    stride: PerAxis = 1,
    channel_axis: int | None = None,
) -> Prepared:
    """All that `filter` does before it computes: the plan, with its arrays. Arguments as there."""
    pixels = _pixels(image)
    given = kernel if isinstance(kernel, str) else _Content.of(_kernel(kernel))
    arrays = pixels.shape, pixels.dtype, given
    options: dict[str, Any] = {"boundary": boundary, "dtype": dtype, "stride": stride, "channel_axis": channel_axis}
    small = isinstance(given, str) or len(given.content) <= MOST_BYTES
    recipe = met(_recipe, arrays, options) if small else _recipe(*arrays, **options)
    picture = Picture(pixels.view(np.uint8) if pixels.dtype == np.bool_ else pixels, recipe.channels)
    x = picture.colours() if recipe.summed else picture.planes()
    return Prepared(picture, recipe.plan, x, recipe.w, recipe.summed, recipe.stride, recipe.dtype)


class _Content(NamedTuple):
    """An array as a value: what is equal to it has the same elements."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    content: bytes

    @classmethod
    def of(cls, array: Array) -> "_Content":
        return cls(array.dtype, array.shape, array.tobytes())

    @property
    def array(self) -> Array:
        return np.frombuffer(self.content, self.dtype).reshape(self.shape)


class _Recipe(NamedTuple):
    """What of a `Prepared` is the same for all pictures of a shape and type; where those have their channels."""

    plan: Plan
    w: Array
    summed: bool
    stride: tuple[int, int]
    dtype: np.dtype[Any]
    channels: int | None


def _recipe(
    shape: tuple[int, ...], of: np.dtype[Any], given: str | _Content, *, boundary: Any, dtype: Any, stride: Any, channel_axis: Any
) -> _Recipe:
    final = _result_dtype(of, dtype)
    channels = _channels(shape, channel_axis)
    work = np.dtype(np.float64 if np.float64 in (of, final) else np.float32)
    named = kernels.PAIRS.get(given, (given,)) if isinstance(given, str) else ()
    parts = [_kernel(kernels.get(name)) for name in named] if isinstance(given, str) else [given.array]
    weights = np.stack([_weights(part, work, final) for part in parts])
    direct = len(weights) == 1 and (final == work or final.kind == "u")  # `store` makes the rest, a magnitude before it
    summed = isinstance(given, str) and given in SUMMED and channels is not None
    sample = Picture(np.broadcast_to(np.zeros((), of), shape), channels)
    x_shape = (sample.colours() if summed else sample.planes()).shape
    rows, columns = per_axis("stride", stride, 2, 1)
    outside = parse_boundaries(boundary, 2)
    for value in (side.value for side in outside if not math.isfinite(side.value)):
        if of.kind != "f":
            raise ArgumentError(f"the constant of boundary (={value}) must be finite for a picture of {of}")
    taps = (weights != 0).any(axis=0)
    plan = _planned(
        x_shape,
        np.dtype(np.uint8) if of == np.bool_ else of,
        work,
        final if direct else work,
        weights.shape,
        taps.tobytes(),
        structure(weights[0], work) if len(weights) == 1 and not summed else Structure(),
        (rows, columns),
        outside,
        summed,
        "strict" if of.kind in "bu" and _sums_exactly(weights, of) else "default",
    )
    if summed:
        weights = np.repeat(weights[:, None], x_shape[-1], axis=1)
    return _Recipe(plan, weights.reshape(plan.spec.w_shape), summed, (rows, columns), final, channels)


def _planned(
    x_shape: tuple[int, ...],
    x_dtype: np.dtype[Any],
    w_dtype: np.dtype[Any],
    out_dtype: np.dtype[Any],
    weights: tuple[int, ...],
    taps: bytes,
    of_kernel: Structure,
    stride: tuple[int, ...],
    boundaries: tuple[Boundary, ...],
    summed: bool,
    precision: str,
) -> Plan:
    """The plan for a view of `Picture` and weights (features, rows, columns), of which `taps` says where one is not zero, and
    `of_kernel` what else is known of them."""
    features, *kernel = weights
    kept = np.frombuffer(taps, np.bool_).reshape(kernel)
    padding = [(k // 2, k - 1 - k // 2) for k in kernel]
    if len(x_shape) == 5:  # the third spatial axis: the interleaved channels
        kernel, kept = [*kernel, 1], kept[..., None]
        stride, padding, boundaries = (*stride, 1), [*padding, (0, 0)], (*boundaries, ZERO)
    spec = describe(
        x_shape,
        (features, x_shape[-1] if summed else 1, *kernel),
        dtype=x_dtype,
        w_dtype=w_dtype,
        out_dtype=out_dtype,
        stride=stride,
        padding=padding,
        boundary=boundaries,
        layout="channels_last" if summed else "channels_first",
        weight_layout="OI*",
        taps=kept if kept.any() else None,
    )
    return plan_for(replace(spec, **of_kernel._asdict()), precision=precision)


def _sums_exactly(weights: Array, dtype: np.dtype[Any]) -> bool:
    """Whether no sum of integer pixels with these weights is rounded before it is stored: all weights are multiples of a power of two
    so large that its multiples up to the largest sum have a place in the weights' significand.

    >>> _sums_exactly(np.ones((16, 16), np.float32) / 256, np.dtype("uint8")), _sums_exactly(np.ones((3, 3)) / 9, np.dtype("uint8"))
    (True, False)
    """
    largest = float(np.abs(weights).sum(dtype=np.float64)) * (1 if dtype == np.bool_ else np.iinfo(dtype).max)
    if not math.isfinite(largest):
        return False
    unit = math.ldexp(1.0, math.frexp(largest)[1] - np.finfo(weights.dtype).nmant - 1)
    return not np.fmod(weights, unit).any()


class Picture(NamedTuple):
    """An array with what its axes mean. `channels` is the channel axis, counted from 0, or None."""

    pixels: Array
    channels: int | None

    @property
    def last(self) -> bool:
        """Whether the channels are interleaved."""
        return self.channels is not None and self.channels == self.pixels.ndim - 1

    @property
    def alpha(self) -> bool:
        """Whether the last channel is alpha: of two or four interleaved ones it is."""
        return self.last and self.pixels.shape[-1] in (2, 4)

    def planes(self) -> Array:
        """The picture as one input channel: (batch, 1, H, W), or (batch, 1, H, W, C) where the channels are interleaved."""
        if self.last:
            return self.pixels.reshape(-1, 1, *self.pixels.shape[-3:])
        first = self.pixels if self.channels is None else np.moveaxis(self.pixels, self.channels, 0)
        return first.reshape(-1, 1, *first.shape[-2:])

    def colours(self) -> Array:
        """The picture without alpha, channels last: (batch, H, W, C)."""
        assert self.channels is not None
        last = np.moveaxis(self.pixels, self.channels, -1)
        if self.alpha:
            last = last[..., :-1]
        return last.reshape(-1, *last.shape[-3:])

    def restore(self, y: Array, summed: bool, stride: tuple[int, int]) -> Array:
        """The convolution's output in the picture's own arrangement of axes, with its alpha."""
        stack = [length for axis, length in enumerate(self.pixels.shape) if axis != self.channels][:-2]
        if summed:
            result = y.reshape(*stack, *y.shape[1:3])
        elif self.channels is None:
            result = y.reshape(*stack, *y.shape[-2:])
        elif self.last:
            result = y.reshape(*stack, *y.shape[-3:])
        else:
            planes = y.reshape(self.pixels.shape[self.channels], *stack, *y.shape[-2:])
            result = np.moveaxis(planes, 0, self.channels)
        if self.alpha:
            alpha = store(self.pixels[..., :: stride[0], :: stride[1], -1], y.dtype)
            if summed:
                return np.stack([result, alpha], axis=-1)
            result[..., -1] = alpha
        return result


def store(values: Array, dtype: np.dtype[Any]) -> Array:
    """Numbers as pixels: integers rounded, half to even, and saturated, NaN as 0.

    >>> store(np.array([-3.0, 0.5, 1.5, 300.0]), np.dtype("uint8"))
    array([  0,   0,   2, 255], dtype=uint8)
    """
    if values.dtype == dtype:
        return values
    if dtype.kind == "u":
        top = np.iinfo(dtype).max
        values = np.clip(np.rint(np.nan_to_num(values, nan=0, posinf=top, neginf=0)), 0, top)
    return values.astype(dtype)


def is_derivative(kernel: npt.ArrayLike | str) -> bool:
    """Whether the kernel's weights add up to zero, so that an even surface gives 0 and signs matter.

    >>> is_derivative("sobel"), is_derivative("mean"), is_derivative([[1, 0, -1]])
    (True, False, True)
    """
    if isinstance(kernel, str):
        kernel = kernels.get(kernels.PAIRS.get(kernel, (kernel,))[0])
    weights = np.asarray(kernel, np.float64)
    return bool(abs(weights.sum()) <= 1e-6 * np.abs(weights).sum())


def on_grey(values: Array, prepared: Prepared, *, signed: bool) -> Array:
    """The signed result of a filter as pixels of the picture's own integer type.

    Their magnitude, saturated; or, `signed`, zero as middle grey and the largest answer that the kernel can give as black or white.
    """
    dtype = prepared.picture.pixels.dtype
    colours = values[..., :-1] if prepared.picture.alpha else values
    if signed:
        top, middle = np.iinfo(dtype).max, (np.iinfo(dtype).max + 1) // 2
        w = prepared.w
        reach = max(float(w.clip(0, None).sum()), float(-w.clip(None, 0).sum())) * top
        colours = middle + colours * ((middle - 1) / reach if reach else 0.0)
    result = values.copy()
    if prepared.picture.alpha:
        result[..., :-1] = colours
    else:
        result = colours
    return store(result if signed else np.abs(result), dtype)


def _pixels(image: npt.ArrayLike) -> Array:
    """The user's array in the machine's byte order, its element type checked."""
    pixels = array_of("image", image)
    if pixels.dtype in _PIXELS:
        return pixels
    if pixels.dtype.newbyteorder("=") not in _PIXELS:
        raise DtypeError(f"image has dtype {pixels.dtype}; a picture is {', '.join(PIXELS)}, as image.astype('float32') gives")
    return pixels.astype(pixels.dtype.newbyteorder("="))


def _result_dtype(pixels: np.dtype[Any], dtype: npt.DTypeLike | None) -> np.dtype[Any]:
    if dtype is None and pixels == np.bool_:
        raise DtypeError("image has dtype bool, which cannot hold a filtered picture; say dtype='float32', for example")
    result = pixels if dtype is None else parse_dtype("dtype", dtype)
    if result.name not in PIXELS:
        raise DtypeError(f"dtype (={result}) must be one of {', '.join(PIXELS)}")
    return result.newbyteorder("=")


def _channels(shape: tuple[int, ...], channel_axis: int | None) -> int | None:
    """The channel axis of pictures of a shape, which is checked."""
    channels = _channel_axis(shape, channel_axis)
    if len(shape) - (channels is not None) < 2:
        raise ShapeError(f"image of shape {shape} must have two axes, rows and columns, besides its channels")
    if 0 in shape:
        raise ShapeError(f"image of shape {shape} has no pixels")
    return channels


def _channel_axis(shape: tuple[int, ...], channel_axis: int | None) -> int | None:
    n = len(shape)
    if channel_axis is not None:
        axis = operator.index(channel_axis)
        if not -n <= axis < n:
            raise ArgumentError(f"channel_axis (={axis}) must be an axis of the image, which has {n}")
        return axis % n
    if n <= 2:
        return None
    if n == 3 and 1 <= shape[-1] <= 4:
        return 2
    raise ShapeError(
        f"image of shape {shape} is neither H×W nor H×W×C with 1 to 4 channels; channel_axis says which axis is not rows or columns,"
        " 0 for a stack of grey pictures"
    )


def _kernel(kernel: npt.ArrayLike) -> Array:
    """The kernel as a 2-D array of real numbers."""
    given = array_of("kernel", kernel)
    if given.dtype.kind not in "fiub":
        raise DtypeError(f"kernel has dtype {given.dtype}, but a picture's kernel is made of real numbers")
    if given.ndim != 2:
        hint = "; a row is kernel[None, :] and a column kernel[:, None]" if given.ndim == 1 else ""
        raise ShapeError(f"kernel of shape {given.shape} must have two axes{hint}")
    if given.size == 0:
        raise ShapeError(f"kernel of shape {given.shape} has no elements")
    return given


def _weights(kernel: Array, work: np.dtype[Any], final: np.dtype[Any]) -> Array:
    """The kernel in the type that is summed."""
    with np.errstate(over="ignore"):
        weights = kernel.astype(work)
    if final.kind == "u" and not np.isfinite(weights).all():
        raise ArgumentError(f"kernel must be finite in {work} where the result is {final}, but holds {_odd(weights)}")
    return weights


def _odd(weights: Array) -> float:
    return float(weights[~np.isfinite(weights)][0])


def mean(image: npt.ArrayLike, size: int = 3, **options: Unpack[Options]) -> Array:
    """Blur: every pixel becomes the mean of the `size`×`size` pixels around it, `size` odd.

    The result has the picture's element type. The options are those of `filter`: boundary, dtype, stride, channel_axis, threads.
    """
    return filter(image, kernels.mean(size), **options)


def gaussian(image: npt.ArrayLike, sigma: float = 1.0, size: int | None = None, **options: Unpack[Options]) -> Array:
    """Gaussian blur: neighbours count by exp(−distance² / 2σ²), where `sigma` is in pixels.

    The kernel ends at 4σ, as SciPy's does, unless its odd `size` is given; its weights sum to 1. The result has the picture's element
    type. The options are those of `filter`: boundary, dtype, stride, channel_axis, threads.

    >>> spot = np.zeros((3, 3), "uint8")
    >>> spot[1, 1] = 255
    >>> gaussian(spot, sigma=0.5, boundary="zero")[1]
    array([ 21, 158,  21], dtype=uint8)
    """
    return filter(image, kernels.gaussian(sigma, size), **options)


def motion_blur(image: npt.ArrayLike, size: int = 9, angle: float = 0.0, **options: Unpack[Options]) -> Array:
    """Blur as a moving camera does: the mean along a line of `size` pixels (odd), turned counter-clockwise by `angle` degrees.

    The result has the picture's element type. The options are those of `filter`: boundary, dtype, stride, channel_axis, threads.
    """
    return filter(image, kernels.motion_blur(size, angle), **options)


def unsharp(image: npt.ArrayLike, sigma: float = 1.0, amount: float = 1.0, **options: Unpack[Options]) -> Array:
    """Sharpen by unsharp masking: the picture and `amount` times its difference from its Gaussian blur of width `sigma`.

    The result has the picture's element type and saturates. The options are those of `filter`: boundary, dtype, stride, channel_axis,
    threads.
    """
    return filter(image, kernels.unsharp(sigma, amount), **options)


def sharpen(image: npt.ArrayLike, centre: int = 9, **options: Unpack[Options]) -> Array:
    """Sharpen with the 3×3 kernel of centre 9 and eight −1 ("sharpen"), or of centre 5 and four −1 ("sharpen_5", the milder one).

    The result has the picture's element type and saturates. The options are those of `filter`: boundary, dtype, stride, channel_axis,
    threads.
    """
    return filter(image, _choose("centre", centre, {9: "sharpen", 5: "sharpen_5"}), **options)


def emboss(image: npt.ArrayLike, **options: Unpack[Options]) -> Array:
    """A relief lit from the bottom right; the weights sum to 1, so even surfaces keep their value.

    The result has the picture's element type and saturates. The options are those of `filter`: boundary, dtype, stride, channel_axis,
    threads.
    """
    return filter(image, "emboss", **options)


def sobel(image: npt.ArrayLike, **options: Unpack[Options]) -> Array:
    """Edges: √(x² + y²) of the two Sobel derivatives, "sobel_x" along the columns and "sobel_y" along the rows.

    float32 for integer pictures, unless dtype says otherwise. The options are those of `filter`.

    >>> float(sobel(np.array([[0, 0, 1], [0, 0, 1], [0, 0, 1]], "uint8"))[1, 1])
    4.0
    """
    return _derivative(image, "sobel", options)


def prewitt(image: npt.ArrayLike, **options: Unpack[Options]) -> Array:
    """Edges: √(x² + y²) of the two Prewitt derivatives, rows of −1, 0, 1.

    float32 for integer pictures, unless dtype says otherwise. The options are those of `filter`.
    """
    return _derivative(image, "prewitt", options)


def scharr(image: npt.ArrayLike, **options: Unpack[Options]) -> Array:
    """Edges: √(x² + y²) of the two Scharr derivatives, weights 3, 10, 3: four times as large as Sobel's.

    float32 for integer pictures, unless dtype says otherwise. The options are those of `filter`.
    """
    return _derivative(image, "scharr", options)


def gradient(image: npt.ArrayLike, **options: Unpack[Options]) -> Array:
    """Edges: √(x² + y²) of the two gradient kernels as the texts print them, which are Prewitt's.

    float32 for integer pictures, unless dtype says otherwise. The options are those of `filter`.
    """
    return _derivative(image, "gradient", options)


def laplacian(image: npt.ArrayLike, neighbours: int = 4, **options: Unpack[Options]) -> Array:
    """The second derivative: the sum of the 4 or 8 `neighbours` less the pixel as many times, signed.

    float32 for integer pictures, unless dtype says otherwise. The options are those of `filter`.
    """
    return _derivative(image, _choose("neighbours", neighbours, {4: "laplacian", 8: "laplacian_8"}), options)


def outline(image: npt.ArrayLike, **options: Unpack[Options]) -> Array:
    """How far each pixel stands out from the mean of its eight neighbours, added up over the colours: a signed grey picture.

    float32 for integer pictures, unless dtype says otherwise. The options are those of `filter`.
    """
    return _derivative(image, "outline", options)


def _derivative(image: npt.ArrayLike, name: str, options: Options) -> Array:
    image = array_of("image", image)
    if image.dtype.kind != "f" and options.get("dtype") is None:
        options = {**options, "dtype": np.float32}
    return filter(image, name, **options)


def _choose(argument: str, value: int, names: dict[int, str]) -> str:
    if not isinstance(value, int | np.integer) or value not in names:
        raise ArgumentError(f"{argument} (={value!r}) must be {' or '.join(map(str, names))}")
    return names[value]
