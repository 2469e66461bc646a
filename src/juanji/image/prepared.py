"""From a picture and a kernel to a plan: all that a filter does before it computes.

What is computed is a convolution described to the planner: one feature, or for a pair of derivatives two and then their magnitude. What
of that is the same for all pictures of a shape and type is found once (`_recipe`).
"""

import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from juanji.calls import MOST_BYTES, met
from juanji.describe import BoundaryLike, PerAxis, array_of, describe, parse_boundaries, per_axis
from juanji.errors import ArgumentError, DtypeError, ShapeError
from juanji.factors import Structure, structure
from juanji.image import kernels
from juanji.image.magnitudes import magnitude
from juanji.image.picture import Array, Picture, channels_of, pixels_of, result_dtype, store
from juanji.planner import plan_for
from juanji.plans import Plan
from juanji.spec import ZERO, Boundary

SUMMED = ("outline",)  # kernels that, by name, add the colours up


class Prepared(NamedTuple):
    """A filter about to run on one picture: the plan, the picture seen as that asks, and the weights."""

    picture: Picture
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
    pixels = pixels_of(image)
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
    final = result_dtype(of, dtype)
    channels = channels_of(shape, channel_axis)
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
    if not signed:
        return store(np.abs(values), dtype)
    top, middle = np.iinfo(dtype).max, (np.iinfo(dtype).max + 1) // 2
    w = prepared.w
    reach = max(float(w.clip(0, None).sum()), float(-w.clip(None, 0).sum())) * top
    result = values.copy()
    colours = result[..., :-1] if prepared.picture.alpha else result
    colours[...] = middle + colours * ((middle - 1) / reach if reach else 0.0)
    return store(result, dtype)
