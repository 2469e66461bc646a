"""What a row of the table is: one problem with its shapes, its arrays and its limit. Products of convolutions, and pooling."""

import importlib
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji import windows
from juanji.describe import describe, parse_padding, per_axis, structured
from juanji.gradients import transposed
from juanji.machine import Machine
from juanji.spec import Convolution, itemsize

Array = npt.NDArray[Any]
PerAxis = int | tuple[int, ...]
Padding = PerAxis | tuple[tuple[int, int], ...] | str

FIRST, LAST = "channels_first", "channels_last"
SMALLEST, LARGEST = -100, 100  # what integer rows hold: a sum of a few thousand products fits into 32 bits


def sigma_of(size: int) -> float:
    """The width of a Gaussian that is cut off to so many elements, as OpenCV chooses it."""
    return 0.3 * ((size - 1) / 2 - 1) + 0.8


def _gaussian(shape: tuple[int, ...]) -> Array:
    product: Array = np.ones(())
    for size in shape:
        row = np.exp(-0.5 * ((np.arange(size) - size // 2) / sigma_of(size)) ** 2)
        product = np.multiply.outer(product, row / row.sum())
    return product


FILTERS: dict[str, Callable[[tuple[int, ...]], Array]] = {
    "gaussian": _gaussian,
    "box": lambda shape: np.full(shape, 1 / math.prod(shape)),
    "sobel": lambda shape: np.outer([1.0, 2, 1], [-1, 0, 1]),
}


@dataclass(frozen=True)
class Row:
    """A convolution, or the gradient of one.

    kind "conv": `x_shape` is batched and, like `w_shape`, in the row's layout.
    kind "picture": `x_shape` is (height, width), or a volume's, `w_shape` the kernel's; the result has the picture's size and dtype.
    kind "transposed": `x_shape` and `w_shape` are those of `conv_transpose`; its product is "x", a gradient of the input.
    product: "y" the output, "x" the gradient of the input, "w" that of the weights.
    out_dtype: of the result, unless it is `dtype`.
    algorithm: what the planner is asked for.
    filter: of a picture, which of the `FILTERS` the kernel is, known when it is planned; random numbers without.
    """

    name: str
    group: str
    kind: str
    x_shape: tuple[int, ...]
    w_shape: tuple[int, ...]
    dtype: str = "float32"
    layout: str = FIRST
    stride: PerAxis = 1
    padding: Padding = 0
    dilation: int = 1
    groups: int = 1
    boundary: str = "zero"
    product: str = "y"
    sharing: str = "shared"
    out_dtype: str | None = None
    output_padding: int = 0
    algorithm: str = "auto"
    filter: str = ""

    def describe(self) -> Convolution:
        """The row as the package describes it: shapes, multiply-adds, bytes. Raises ImportError for a dtype that is not installed."""
        dtype = element_type(self.dtype)
        match self.kind:
            case "picture":
                x, w = (1, 1, *self.x_shape), (1, 1, *self.w_shape)
                weights = self._weights() if self.filter else None
                taps = None if weights is None else weights != 0
                types: dict[str, Any] = {"dtype": dtype, "w_dtype": self.w_dtype, "out_dtype": dtype}
                spec = describe(x, w, padding="same", boundary=self.boundary, taps=taps, **types)
                return spec if weights is None else structured(spec, weights)
            case "transposed":
                more: dict[str, Any] = {"output_padding": self.output_padding, "sharing": "shared", "weight_layout": None, "dtype": dtype}
                return transposed(self.x_shape, self.w_shape, **self.arguments, **more)
            case _:
                out = None if self.out_dtype is None else element_type(self.out_dtype)
                return describe(self.x_shape, self.w_shape, dtype=dtype, out_dtype=out, sharing=self.sharing, **self.arguments)

    @property
    def arguments(self) -> dict[str, Any]:
        """What `juanji.conv` takes besides the arrays."""
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
            "boundary": self.boundary,
            "layout": self.layout,
        }

    @property
    def w_dtype(self) -> np.dtype[Any]:
        """The dtype of the weights: pictures of bytes have float32 kernels."""
        return np.dtype("float32") if self.kind == "picture" and self.dtype == "uint8" else element_type(self.dtype)

    @property
    def macs(self) -> int:
        """Multiply-adds."""
        return self.describe().macs

    @property
    def bytes_moved(self) -> int:
        """Bytes of the operands and the result, each once."""
        return self.describe().bytes_moved

    @property
    def terms(self) -> int:
        """How many products each element of the result sums."""
        spec = self.describe()
        result = {"y": spec.y_shape, "x": spec.x_shape, "w": spec.w_shape}[self.product]
        return max(1, spec.macs // math.prod(result))

    def limit(self, machine: Machine) -> float:
        """Seconds on one core below which no algorithm that multiplies as often can stay."""
        spec = self.describe()
        real = 4 if np.dtype(spec.dtypes.x).kind == "c" else 1
        of = spec.dtypes.x, spec.dtypes.w
        peak = max(machine.peak_of_products(*of), machine.peak_of_dots(*of), machine.peak(self.dtype))
        return max(2 * real * spec.macs / peak, spec.bytes_moved / machine.bandwidth)

    def arrays(self) -> tuple[Array, Array]:
        """The two operands of the product, the same in every run. A kernel for bytes averages, so that no pixel saturates."""
        spec = self.describe()
        draw = np.random.default_rng(zlib.crc32(self.name.encode()))
        if self.kind == "picture":
            return self._picture(draw)
        shapes = {"y": (spec.x_shape, spec.w_shape), "x": (spec.y_shape, spec.w_shape), "w": (spec.x_shape, spec.y_shape)}
        first, second = (_numbers(draw, shape, element_type(self.dtype)) for shape in shapes[self.product])
        return first, second

    def _weights(self) -> Array:
        """The kernel of a filter by name."""
        return FILTERS[self.filter](self.w_shape).astype(self.w_dtype)

    def _picture(self, draw: np.random.Generator) -> tuple[Array, Array]:
        if self.dtype == "uint8":
            w = draw.random(self.w_shape)
            x, w = draw.integers(0, 256, self.x_shape, dtype=np.uint8), (w / w.sum()).astype(np.float32)
        else:
            x, w = _numbers(draw, self.x_shape, np.dtype(self.dtype)), _numbers(draw, self.w_shape, np.dtype(self.dtype))
        return x, self._weights() if self.filter else w


@dataclass(frozen=True)
class PoolRow:
    """Pooling of batched float32, forward ("y") or backward ("x"). `size` is the window's, or with `adaptive` the output's."""

    name: str
    group: str
    op: str
    x_shape: tuple[int, ...]
    size: PerAxis
    layout: str = FIRST
    stride: PerAxis | None = None
    padding: int = 0
    product: str = "y"
    adaptive: bool = False
    dtype: str = "float32"
    macs: int = 0  # it has no multiply-adds to count

    kind = "pool"

    def describe(self) -> windows.Pooling:
        """The row as the package describes it."""
        last = self.layout == LAST
        spatial = self.x_shape[1:-1] if last else self.x_shape[2:]
        size = per_axis("size", self.size, len(spatial), 1)
        if self.adaptive:
            axes = windows.bins(spatial, size)
        else:
            stride = size if self.stride is None else per_axis("stride", self.stride, len(spatial), 1)
            ones = (1,) * len(spatial)
            axes = windows.sliding(spatial, size, stride, ones, parse_padding(self.padding, spatial, size, stride, ones), False)
        return windows.Pooling(axes, self.op, self.x_shape[0], self.x_shape[-1 if last else 1], self.layout, self.dtype)

    @property
    def bytes_moved(self) -> int:
        """Bytes of input and output, each once. Backward reads the error, and what names or weighs its elements, and writes dx.

        That is a place of 8 bytes per maximum; for a norm the input and the output once more.
        """
        pooling = self.describe()
        inputs, outputs = math.prod(pooling.x_shape), math.prod(pooling.y_shape)
        more = {"max": 8 * outputs, "lp": itemsize(self.dtype) * (inputs + outputs)}.get(self.op, 0) if self.product == "x" else 0
        return itemsize(self.dtype) * (inputs + outputs) + more

    @property
    def terms(self) -> int:
        """How many elements a window has."""
        pooling = self.describe()
        return max(1, math.prod(pooling.size) // math.prod(pooling.output))

    def limit(self, machine: Machine) -> float:
        """Seconds on one core in which the bytes can be moved."""
        return self.bytes_moved / machine.bandwidth

    def arrays(self) -> tuple[Array, Array]:
        """The input and, of the output's shape, an error: the same in every run."""
        draw = np.random.default_rng(zlib.crc32(self.name.encode()))
        pooling = self.describe()
        return _numbers(draw, pooling.x_shape, np.dtype(self.dtype)), _numbers(draw, pooling.y_shape, np.dtype(self.dtype))


AnyRow = Row | PoolRow


def element_type(name: str) -> np.dtype[Any]:
    """The dtype of a name; ml_dtypes gives NumPy that of bfloat16. Raises ImportError where it is missing."""
    if name == "bfloat16":
        importlib.import_module("ml_dtypes")
    return np.dtype(name)


def _numbers(draw: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    if dtype.kind in "iu":
        return draw.integers(SMALLEST, LARGEST, shape, dtype=dtype, endpoint=True)
    if dtype.kind == "c":
        parts = draw.standard_normal((*shape, 2), dtype=np.float32)
        return parts.view(np.complex64)[..., 0].astype(dtype, copy=False)
    return draw.standard_normal(shape, dtype=np.float32).astype(dtype, copy=False)
