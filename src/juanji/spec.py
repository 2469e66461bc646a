"""One description for the whole family: `Convolution`, frozen, checked once, a key for every cache behind it."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from juanji.boundary import MODES, ZERO, Boundary
from juanji.errors import ArgumentError, ShapeError

LAYOUTS = ("channels_first", "channels_last")
WEIGHT_LAYOUTS = ("OI*", "*IO", "O*I")
ACTIVATIONS: dict[str, float | None] = {
    "relu": None,
    "relu6": None,
    "leaky_relu": 0.01,
    "sigmoid": None,
    "tanh": None,
}
OVERFLOWS = ("saturate", "wrap", "raise")
MOST_ELEMENTS = 2**62 // 16  # the largest complex number takes 16 bytes; every address stays inside a signed word


class Dtypes(NamedTuple):
    """Element types by NumPy name: of the input, of the weights, of the sum, of the output."""

    x: str = "float32"
    w: str = "float32"
    sum: str = "float32"
    y: str = "float32"


class Epilogue(NamedTuple):
    """What happens to a finished sum before it is stored."""

    bias: bool = False
    activation: str | None = None
    parameter: float = 0.0  # the slope of leaky_relu


@dataclass(frozen=True)
class Convolution:
    """A convolution over n spatial axes: everything about it but the numbers.

    Per spatial axis, with p the output's position and k the kernel's:  v = p·stride + k·dilation  is the place in the
    padded extent (low + size + high) which `boundary` fills, and p mod `sites` chooses the weights.

    sites: None for a convolution; 1 per axis up to the output's size for tiled weights, which have these axes in front;
        the output's size is a locally connected layer.
    taps: the kernel positions that are kept, of a kernel known to be zero elsewhere; None keeps them all.
    """

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    boundary: tuple[Boundary, ...]
    sites: tuple[int, ...] | None = None
    batch: int = 1
    channels: int = 1
    features: int = 1
    groups: int = 1
    layout: str = "channels_first"
    weight_layout: str = "OI*"
    flip: bool = False
    dtypes: Dtypes = Dtypes()
    epilogue: Epilogue = Epilogue()
    overflow: str = "saturate"
    taps: tuple[tuple[int, ...], ...] | None = None

    def __post_init__(self) -> None:
        _check(self)

    @property
    def n(self) -> int:
        """How many spatial axes."""
        return len(self.size)

    @cached_property
    def output(self) -> tuple[int, ...]:
        """The output's spatial shape, floor((low + size + high − dilation·(kernel − 1) − 1) / stride) + 1 per axis."""
        return tuple(
            (low + size + high - span(kernel, dilation)) // stride + 1
            for size, kernel, stride, dilation, (low, high) in zip(
                self.size, self.kernel, self.stride, self.dilation, self.padding, strict=True
            )
        )

    @property
    def x_shape(self) -> tuple[int, ...]:
        """The input's shape, batch included."""
        return self._shape(self.channels, self.size)

    @property
    def y_shape(self) -> tuple[int, ...]:
        """The output's shape, batch included."""
        return self._shape(self.features, self.output)

    @property
    def w_shape(self) -> tuple[int, ...]:
        """The weights' shape; the site axes lead where there is more than one site."""
        o, i = (self.features,), (self.channels // self.groups,)
        body = {"OI*": o + i + self.kernel, "*IO": self.kernel + i + o, "O*I": o + self.kernel + i}[self.weight_layout]
        return (self.sites or ()) + body

    @property
    def bias_shape(self) -> tuple[int, ...]:
        """The bias's shape: one per feature, and per site where there is more than one."""
        return (*(self.sites or ()), self.features)

    @property
    def shared(self) -> bool:
        """Whether every position uses the same weights."""
        return self.sites is None or all(t == 1 for t in self.sites)

    @property
    def macs(self) -> int:
        """Multiply-adds, those that meet the padding included; skipped taps are not."""
        taps = math.prod(self.kernel) if self.taps is None else len(self.taps)
        return math.prod(self.y_shape) * (self.channels // self.groups) * taps

    @property
    def bytes_moved(self) -> int:
        """Bytes of input, weights, bias and output, each once: what no algorithm can move less of."""
        bias = math.prod(self.bias_shape) * _bytes(self.dtypes.sum) if self.epilogue.bias else 0
        return (
            math.prod(self.x_shape) * _bytes(self.dtypes.x)
            + math.prod(self.w_shape) * _bytes(self.dtypes.w)
            + math.prod(self.y_shape) * _bytes(self.dtypes.y)
            + bias
        )

    @property
    def parameters(self) -> tuple[int, int]:
        """How many weights and how many biases a layer of this description has."""
        return math.prod(self.w_shape), math.prod(self.bias_shape)

    def _shape(self, channels: int, spatial: tuple[int, ...]) -> tuple[int, ...]:
        if self.layout == "channels_first":
            return (self.batch, channels, *spatial)
        return (self.batch, *spatial, channels)

    def __str__(self) -> str:
        lines = [
            f"input   {_by(self.x_shape)} {self.dtypes.x}, {self.layout}",
            f"weights {_by(self.w_shape)} {self.dtypes.w}, {self.weight_layout}",
            f"output  {_by(self.y_shape)} {self.dtypes.y}",
        ]
        notes = []
        if any(s != 1 for s in self.stride):
            notes.append(f"stride {_by(self.stride)}")
        if any(d != 1 for d in self.dilation):
            notes.append(f"dilation {_by(self.dilation)}")
        if any(side for pair in self.padding for side in pair):
            sides = ", ".join(f"{low}+{high} {mode}" for (low, high), mode in zip(self.padding, self.boundary, strict=True))
            notes.append(f"padding {sides}")
        if self.groups > 1:
            notes.append(f"groups {self.groups}")
        if self.sites is not None:
            notes.append(f"sites {_by(self.sites)}")
        if self.flip:
            notes.append("kernel turned by 180°")
        if self.taps is not None:
            notes.append(f"{len(self.taps)} of {math.prod(self.kernel)} taps")
        if self.epilogue.bias:
            notes.append("bias")
        if self.epilogue.activation:
            notes.append(self.epilogue.activation)
        return "\n".join([*lines, "        " + ", ".join(notes)] if notes else lines)


def span(kernel: int, dilation: int) -> int:
    """How many elements a dilated kernel covers, from its first to its last."""
    return dilation * (kernel - 1) + 1


def _bytes(dtype: str) -> int:
    return np.dtype(dtype).itemsize


def _by(numbers: tuple[int, ...]) -> str:
    return "×".join(map(str, numbers))


def _check(c: Convolution) -> None:
    if not c.size:
        raise ShapeError("x needs at least one spatial axis, it has none")
    sites = c.sites if c.sites is not None else (1,) * c.n
    per_axis = (c.kernel, c.stride, c.dilation, c.padding, c.boundary, sites)
    if any(len(values) != c.n for values in per_axis):
        raise ShapeError(f"{c.n} spatial axes, but {[len(values) for values in per_axis]} values for them")
    _at_least("batch", c.batch, 0)
    for name in ("channels", "features", "groups"):
        _at_least(name, getattr(c, name), 1)
    for name in ("size", "kernel", "stride", "dilation"):
        for axis, value in enumerate(getattr(c, name)):
            _at_least(f"{name} of axis {axis}", value, 1)
    for axis, count in enumerate(sites):
        _at_least(f"sites of axis {axis}", count, 1)
    for axis, pair in enumerate(c.padding):
        for side, value in zip(("low", "high"), pair, strict=True):
            _at_least(f"padding of axis {axis} ({side})", value, 0)
    for name, valid in (("layout", LAYOUTS), ("weight_layout", WEIGHT_LAYOUTS), ("overflow", OVERFLOWS)):
        if getattr(c, name) not in valid:
            raise ArgumentError(f"{name} (={getattr(c, name)!r}) must be one of {', '.join(valid)}")
    for boundary in c.boundary:
        if boundary.mode not in MODES:
            raise ArgumentError(f"boundary (={boundary.mode!r}) must be one of {', '.join(MODES)}")
    if c.epilogue.activation is not None and c.epilogue.activation not in ACTIVATIONS:
        raise ArgumentError(f"activation (={c.epilogue.activation!r}) must be None or one of {', '.join(ACTIVATIONS)}")
    for name, value in (("input channels", c.channels), ("output channels", c.features)):
        if value % c.groups:
            raise ShapeError(f"{name} (={value}) must be divisible by groups (={c.groups})")
    for axis in range(c.n):
        if c.output[axis] < 1:
            low, high = c.padding[axis]
            covers = f"kernel of size {c.kernel[axis]}"
            if c.dilation[axis] > 1:
                covers += f" with dilation {c.dilation[axis]} spans {span(c.kernel[axis], c.dilation[axis])}"
            padded = f"{c.size[axis]} + {low} + {high} padding = {c.size[axis] + low + high}"
            raise ShapeError(f"{covers}, but axis {axis} is {padded}")
        if sites[axis] > c.output[axis]:
            raise ShapeError(f"sites (={sites[axis]}) of axis {axis} must not exceed its output size (={c.output[axis]})")
    for name, shape in (("x", c.x_shape), ("weights", c.w_shape), ("output", c.y_shape)):
        padded = (low + size + high for size, (low, high) in zip(c.size, c.padding, strict=True))
        if math.prod(shape) > MOST_ELEMENTS or (name == "x" and math.prod(padded) * c.channels > MOST_ELEMENTS):
            raise ShapeError(f"{name} of shape {_by(shape)} has more elements than a 64-bit address reaches")
    if c.taps is not None and any(len(tap) != c.n or any(not 0 <= k < size for k, size in zip(tap, c.kernel)) for tap in c.taps):
        raise ArgumentError(f"taps (={c.taps}) must lie inside the kernel {_by(c.kernel)}")


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ArgumentError(f"{name} (={value}) must be at least {least}")


__all__ = ["ACTIVATIONS", "LAYOUTS", "ZERO", "Boundary", "Convolution", "Dtypes", "Epilogue", "span"]
