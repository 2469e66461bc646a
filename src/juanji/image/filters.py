"""Pictures through kernels: `filter`, and the named filters that are one call of it. All channels but alpha are filtered alike."""

from typing import Any, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from juanji.describe import BoundaryLike, PerAxis, array_of
from juanji.errors import ArgumentError
from juanji.image import kernels
from juanji.image.picture import Array
from juanji.image.prepared import prepare


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
