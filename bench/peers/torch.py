"""PyTorch: convolutions and their gradients; its pooling and its ways to weights with sites are in the modules beside."""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from bench.peers import torch_pooling, torch_sites
from bench.peers.peer import Contestant
from bench.problems import FIRST, LAST, AnyRow, Array, Row, element_type

MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}  # the boundaries that it has
READ = {"y": ("x", "w"), "x": ("y", "w"), "w": ("x", "y")}  # the operands of each product
EXACT = {"float32": 2**24, "float64": 2**53}  # below these a float's sums of integers are exact


class Torch:
    """PyTorch on the CPU in both memory formats, and with weights that oneDNN packed beforehand. It makes its result in each call."""

    library = "torch"

    def __init__(self) -> None:
        self.torch: Any = importlib.import_module("torch")

    @contextmanager
    def session(self, threads: int) -> Iterator[None]:
        before = self.torch.get_num_threads()
        self.torch.set_num_threads(threads)
        try:
            with self.torch.inference_mode():
                yield
        finally:
            self.torch.set_num_threads(before)

    def contestants(self, row: AnyRow, first: Array, second: Array) -> Iterator[Contestant]:
        if not isinstance(row, Row):
            yield from torch_pooling.contestants(self.torch, row, first, second)
        elif row.sharing != "shared":
            yield from torch_sites.contestants(self.torch, row, first, second)
        elif row.describe().boundary[0].mode in MODES:
            yield from self._convolution(row, first, second)

    def _convolution(self, row: Row, first: Array, second: Array) -> Iterator[Contestant]:
        spec = row.describe()
        if row.kind == "picture":
            if row.dtype == "uint8" or row.filter:  # the dense sum is all that it has, and takes minutes for 151×151 taps
                return
            first, second = first[None, None], second[None, None]
        if row.layout == LAST:
            first, second = (channels_first(a, role) for a, role in zip((first, second), READ[row.product], strict=True))
        how = _Geometry.of(row)
        a, b = (tensor(self.torch, np.ascontiguousarray(array)) for array in (first, second))

        def read(result: Any) -> Array:
            if result.ndim > spec.n + 2:
                result = result.squeeze(2)
            array = to_numpy(self.torch, result)
            if row.kind == "picture":
                array = array[0, 0]
            return channels_last(array, row.product) if row.layout == LAST else array

        for layout in (FIRST, LAST):
            if layout == LAST and spec.n == 1:
                a, b, how = a.unsqueeze(2), b.unsqueeze(2), how.as_picture()
            memory_format = self._format(layout, a.ndim)
            a, b = (t.contiguous(memory_format=memory_format) for t in (a, b))
            for setting, run in self._settings(row, a, b, how, memory_format):
                yield Contestant(self.library, f"{layout} {setting}".strip(), run, read, same=row.layout == layout)
        weighted = row.product == "y" or row.kind == "transposed"
        packed = self._packed(row, a, b, how) if weighted and row.dtype == "float32" and how.symmetric else None
        if packed:
            yield Contestant("torch-packed", "", packed, read, same=row.layout == LAST)

    def _format(self, layout: str, ndim: int) -> Any:
        if layout == FIRST:
            return self.torch.contiguous_format
        return self.torch.channels_last_3d if ndim == 5 else self.torch.channels_last

    def _settings(self, row: Row, a: Any, b: Any, how: "_Geometry", memory_format: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
        """The operator of the product."""
        if row.kind == "transposed":
            yield "", self._transposed(a, b, how)
        elif row.product != "y":
            yield "", self._gradient(row, a, b, how, memory_format)
        elif a.is_floating_point() or a.is_complex():
            yield "", self._forward(a, b, how)
        else:
            yield from self._integers(row, a, b, how)

    def _integers(self, row: Row, x: Any, w: Any, how: "_Geometry") -> Iterator[tuple[str, Callable[[], Any]]]:
        """It sums in the result's type; faster is the way through floats that hold every sum."""
        out = getattr(self.torch, row.out_dtype or row.dtype)
        conv = self._operator(w.to(out), how)
        yield "", lambda: conv(x.to(out))
        largest = row.terms * int(x.abs().max()) * int(w.abs().max())
        name = next(name for name, exact in EXACT.items() if largest < exact)
        carrier = getattr(self.torch, name)
        through = self._operator(w.to(carrier), how)
        yield f"through {name}", lambda: through(x.to(carrier)).to(out)
        quantized = self._quantized(x, w, how) if row.dtype == "int8" and name == "float32" and how.symmetric else None
        if quantized:
            yield "quantized", lambda: quantized().to(out)

    def _quantized(self, x: Any, w: Any, how: "_Geometry") -> Callable[[], Any] | None:
        """What quantised networks run, with scales of 1: bytes, whose zero is 128, in exact sums that come as float32; None
        where this build has it not, or not for this problem."""
        scales, zeros = self.torch.ones(w.shape[0]), self.torch.zeros(w.shape[0], dtype=self.torch.int32)
        steps = (how.stride, how.sides, how.dilation, how.groups)

        def run() -> Any:
            levels = x.view(self.torch.uint8) ^ 128
            plain: tuple[Any, ...] = (1.0, 0, self.torch.float32, "none", [], "")
            return self.torch.ops.onednn.qconv_pointwise(levels, 1.0, 128, packed, scales, zeros, None, *steps, *plain)

        try:
            packed = self.torch.ops.onednn.qconv_prepack(w, scales, 1.0, 128, *steps, list(x.shape))
            run()
        except (AttributeError, RuntimeError):
            return None
        return run

    def _forward(self, x: Any, w: Any, how: "_Geometry") -> Callable[[], Any]:
        conv = self._operator(w, how)
        return lambda: conv(x)

    def _operator(self, w: Any, how: "_Geometry") -> Callable[[Any], Any]:
        """The public operator; a padding that it has not is another call before it, each time."""
        conv = (self.torch.conv1d, self.torch.conv2d, self.torch.conv3d)[w.ndim - 3]
        if how.symmetric:
            return lambda x: conv(x, w, None, how.stride, how.sides, how.dilation, how.groups)
        return lambda x: conv(self._pad(x, how), w, None, how.stride, 0, how.dilation, how.groups)

    def _pad(self, x: Any, how: "_Geometry") -> Any:
        ends = [side for pair in reversed(how.padding) for side in pair]
        return self.torch.nn.functional.pad(x, ends, mode=MODES[how.mode])

    def _gradient(self, row: Row, a: Any, b: Any, how: "_Geometry", memory_format: Any) -> Callable[[], Any]:
        """The operator behind autograd, asked for one of its results. What it does not read only lends its shape and format."""
        assert how.symmetric, row.name
        spec, backward = row.describe(), self.torch.ops.aten.convolution_backward
        steps = (None, how.stride, how.sides, how.dilation, False, how.more, how.groups)
        data, weights = (spec.batch, spec.channels, *spec.size), (spec.features, spec.channels // spec.groups, *spec.kernel)
        shape = data if row.product == "x" else weights
        flat = (1,) * (a.ndim - len(shape))
        like = self.torch.empty((*shape[:2], *flat, *shape[2:]), dtype=a.dtype, memory_format=memory_format)
        if row.product == "x":
            return lambda: backward(a, like, b, *steps, (True, False, False))[0]
        return lambda: backward(b, a, like, *steps, (False, True, False))[1]

    def _transposed(self, x: Any, w: Any, how: "_Geometry") -> Callable[[], Any]:
        assert how.symmetric
        conv = (self.torch.conv_transpose1d, self.torch.conv_transpose2d, self.torch.conv_transpose3d)[w.ndim - 3]
        return lambda: conv(x, w, None, how.stride, how.sides, how.more, how.groups, how.dilation)

    def _packed(self, row: Row, x: Any, w: Any, how: "_Geometry") -> Callable[[], Any] | None:
        """The operator that torch.compile freezes weights into; None where this build has it not, or not for this problem."""
        steps = (how.stride, how.dilation, how.groups)
        try:
            ops = self.torch.ops.mkldnn
            if row.kind == "transposed":
                pack, conv, more = ops._reorder_convolution_transpose_weight, ops._convolution_transpose_pointwise, [how.more]
            else:
                pack, conv, more = ops._reorder_convolution_weight, ops._convolution_pointwise, []
            packed = pack(w, how.sides, *more, *steps, list(x.shape))
            conv(x, packed, None, how.sides, *more, *steps, "none", [], "")
        except (AttributeError, RuntimeError):
            return None
        return lambda: conv(x, packed, None, how.sides, *more, *steps, "none", [], "")


class _Geometry(NamedTuple):
    """Where torch's operators look, in their words."""

    stride: list[int]
    padding: tuple[tuple[int, int], ...]
    dilation: list[int]
    groups: int
    mode: str
    more: list[int]  # output_padding

    @classmethod
    def of(cls, row: Row) -> "_Geometry":
        spec = row.describe()
        more = [row.output_padding] * spec.n
        return cls(list(spec.stride), spec.padding, list(spec.dilation), spec.groups, spec.boundary[0].mode, more)

    @property
    def symmetric(self) -> bool:
        """Whether the operator pads so by itself."""
        return self.mode == "constant" and all(low == high for low, high in self.padding)

    @property
    def sides(self) -> list[int]:
        return [low for low, _ in self.padding]

    def as_picture(self) -> "_Geometry":
        """Of a signal seen as a picture of height 1, which torch has in both memory formats."""
        flat = ((0, 0), *self.padding)
        return self._replace(stride=[1, *self.stride], padding=flat, dilation=[1, *self.dilation], more=[0, *self.more])


def channels_first(array: Array, role: str) -> Array:
    """What is channels-last, as torch's shapes have it: (N, C, *S), or weights (O, I, *K)."""
    return np.moveaxis(array, (-1, -2), (0, 1)) if role == "w" else np.moveaxis(array, -1, 1)


def channels_last(array: Array, role: str) -> Array:
    """The way back."""
    return np.moveaxis(array, (0, 1), (-1, -2)) if role == "w" else np.moveaxis(array, 1, -1)


def tensor(torch: Any, array: Array) -> Any:
    """The array's memory as a tensor; NumPy and torch do not know each other's bfloat16."""
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def to_numpy(torch: Any, result: Any) -> Array:
    """The way back."""
    array: Array
    if result.dtype == torch.bfloat16:
        array = result.contiguous().view(torch.int16).numpy().view(element_type("bfloat16"))
    else:
        array = result.numpy()
    return array
