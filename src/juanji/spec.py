"""One description for the whole family: `Convolution`, frozen, checked once, a key for every cache behind it."""

import itertools
import math
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from juanji.boundary import MODES, ZERO, Boundary
from juanji.errors import ArgumentError, ShapeError
from juanji.kept import kept

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
WORDS = {"int128": 2, "int256": 4}  # types of sums that NumPy does not have: so many words of 64 bits, the lowest first
MOST_ELEMENTS = 2**62 // 16  # the largest complex number takes 16 bytes; every address stays inside a signed word


class Dtypes(NamedTuple):
    """Element types by NumPy name: of the input, of the weights, of the sum, of the output.

    A description sums float32 for float16 and bfloat16, otherwise what NumPy promotes x and w to or a wider output's type, and
    "int64" for exact sums of integers, whatever their size. What algorithms see has in its place the machine type that carries such
    sums (`exact.carriers_of`), which may be a float, int32, or an integer of several words (`WORDS`).
    """

    x: str = "float32"
    w: str = "float32"
    sum: str = "float32"
    y: str = "float32"

    @property
    def integers(self) -> bool:
        """Whether input and weights are integers or bool."""
        return np.dtype(self.x).kind in "biu" and np.dtype(self.w).kind in "biu"


class Epilogue(NamedTuple):
    """What happens to a finished sum before it is stored."""

    bias: bool = False
    activation: str | None = None
    parameter: float = 0.0  # the slope of leaky_relu


FLOAT32 = Dtypes()
NO_EPILOGUE = Epilogue()


@dataclass(frozen=True)
class Convolution:
    """A convolution over n spatial axes: everything about it but the numbers.

    `describe` makes it from what a user writes. It holds canonical values only, Python's own integers among them, so that
    equal descriptions are equal keys and no count overflows.

    Per spatial axis, with p the output's position and k the kernel's:  v = p·stride + k·dilation  is the place in the
    padded extent (low + size + high) which `boundary` fills, and p mod `sites` chooses the weights.

    sites: None for a convolution; 1 per axis up to the output's size for tiled weights, which have these axes in front;
        the output's size is a locally connected layer.
    taps: the kernel positions that are kept, of a kernel known to be zero elsewhere; None keeps them all. They are places
        in the weight array as it is given, before `flip` turns it; in row order, each once.
    rank, equal: of a kernel known when a plan is made (`factors.structure`): how many outer products of one vector per axis it is the
        sum of, within rounding, None if that is not known; whether all its weights are equal.
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
    dtypes: Dtypes = FLOAT32
    epilogue: Epilogue = NO_EPILOGUE
    overflow: str = "saturate"
    taps: tuple[tuple[int, ...], ...] | None = None
    rank: int | None = None
    equal: bool = False

    def __post_init__(self) -> None:
        _check(self)

    def __hash__(self) -> int:
        return self._hash

    @kept
    def _hash(self) -> int:
        return hash(tuple(getattr(self, field.name) for field in fields(self)))

    def __getstate__(self) -> dict[str, Any]:
        """Without the hash: those of strings differ between processes."""
        return {name: value for name, value in self.__dict__.items() if name != "_hash"}

    @property
    def n(self) -> int:
        """How many spatial axes."""
        return len(self.size)

    @kept
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
        bias = math.prod(self.bias_shape) * itemsize(self.dtypes.sum) if self.epilogue.bias else 0
        return (
            math.prod(self.x_shape) * itemsize(self.dtypes.x)
            + math.prod(self.w_shape) * itemsize(self.dtypes.w)
            + math.prod(self.y_shape) * itemsize(self.dtypes.y)
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
        if self.rank is not None:
            notes.append(f"rank {self.rank}")
        if self.equal:
            notes.append("equal weights")
        if self.epilogue.bias:
            notes.append("bias")
        if self.epilogue.activation:
            notes.append(self.epilogue.activation)
        return "\n".join([*lines, "        " + ", ".join(notes)] if notes else lines)


def span(kernel: int, dilation: int) -> int:
    """How many elements a dilated kernel covers, from its first to its last."""
    return dilation * (kernel - 1) + 1


def itemsize(dtype: str) -> int:
    """Bytes of an element.

    >>> itemsize("float32"), itemsize("int128")
    (4, 16)
    """
    return 8 * WORDS[dtype] if dtype in WORDS else np.dtype(dtype).itemsize


def _by(numbers: tuple[int, ...]) -> str:
    return "×".join(map(str, numbers))


def _check(c: Convolution) -> None:
    n = len(c.size)
    if not n:
        raise ShapeError("x needs at least one spatial axis, it has none")
    sites = c.sites if c.sites is not None else (1,) * n
    per_axis = (c.kernel, c.stride, c.dilation, c.padding, c.boundary, sites)
    if any(len(values) != n for values in per_axis):
        raise ShapeError(f"{n} spatial axes, but {[len(values) for values in per_axis]} values for them")
    _at_least("batch", (c.batch,), 0)
    for name, count in (("channels", c.channels), ("features", c.features), ("groups", c.groups)):
        _at_least(name, (count,), 1)
    for name, counts in (("size", c.size), ("kernel", c.kernel), ("stride", c.stride), ("dilation", c.dilation), ("sites", sites)):
        _at_least(name, counts, 1)
    _at_least("low padding", tuple(low for low, _ in c.padding), 0)
    _at_least("high padding", tuple(high for _, high in c.padding), 0)
    for name, value, valid in (
        ("layout", c.layout, LAYOUTS), ("weight_layout", c.weight_layout, WEIGHT_LAYOUTS), ("overflow", c.overflow, OVERFLOWS),
    ):  # fmt: skip
        if value not in valid:
            raise ArgumentError(f"{name} (={value!r}) must be one of {', '.join(valid)}")
    for boundary in c.boundary:
        if boundary.mode not in MODES:
            raise ArgumentError(f"boundary (={boundary.mode!r}) must be one of {', '.join(MODES)}")
    if c.epilogue.activation is not None and c.epilogue.activation not in ACTIVATIONS:
        raise ArgumentError(f"activation (={c.epilogue.activation!r}) must be None or one of {', '.join(ACTIVATIONS)}")
    if not math.isfinite(c.epilogue.parameter):
        raise ArgumentError(f"parameter (={c.epilogue.parameter}) of activation {c.epilogue.activation} must be finite")
    for name, count in (("channels", c.channels), ("features", c.features)):
        if count % c.groups:
            raise ShapeError(f"{name} (={count}) must be divisible by groups (={c.groups})")
    for axis, (out, site) in enumerate(zip(c.output, sites, strict=True)):
        if out < 1:
            low, high = c.padding[axis]
            covers = f"kernel of size {c.kernel[axis]}"
            if c.dilation[axis] > 1:
                covers += f" with dilation {c.dilation[axis]} spans {span(c.kernel[axis], c.dilation[axis])}"
            padded = f"{c.size[axis]} + {low} + {high} padding = {c.size[axis] + low + high}"
            raise ShapeError(f"{covers}, but axis {axis} is {padded}")
        if site > out:
            raise ShapeError(f"sites (={site}) of axis {axis} must not exceed its output size (={out})")
    padded_shape = tuple(low + size + high for size, (low, high) in zip(c.size, c.padding, strict=True))
    shapes = {"x": c.x_shape, "weights": c.w_shape, "padded x": (c.batch, c.channels, *padded_shape), "output": c.y_shape}
    for name, shape in shapes.items():
        if math.prod(shape) > MOST_ELEMENTS:
            raise ShapeError(f"{name} of shape {_by(shape)} has more elements than a 64-bit address reaches")
    if c.taps is not None:
        _check_taps(c.taps, c.kernel)
    if c.rank is not None:
        _at_least("rank", (c.rank,), 1)


def _check_taps(taps: tuple[tuple[int, ...], ...], kernel: tuple[int, ...]) -> None:
    for tap in taps:
        if len(tap) != len(kernel) or any(not 0 <= k < size for k, size in zip(tap, kernel, strict=True)):
            raise ArgumentError(f"taps (={tap} among them) must lie inside the kernel {_by(kernel)}")
    if any(before >= after for before, after in itertools.pairwise(taps)):
        raise ArgumentError("taps must stand in row order, each once")
    if len(taps) == math.prod(kernel):
        raise ArgumentError(f"taps must be None where they keep all {len(taps)} positions of the kernel")


def _at_least(name: str, counts: tuple[int, ...], least: int) -> None:
    for axis, count in enumerate(counts):
        if type(count) is not int or count < least:
            where = f" of axis {axis}" if len(counts) > 1 else ""
            raise ArgumentError(f"{name} (={count!r}){where} must be an int of at least {least}")


__all__ = ["ACTIVATIONS", "LAYOUTS", "ZERO", "Boundary", "Convolution", "Dtypes", "Epilogue", "span"]
