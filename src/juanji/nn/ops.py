"""The operators that networks are made of, each with its forward and its backward side by side.

With y = forward(x) and dy = ∂L/∂y given, backward returns ∂L/∂x and ∂L/∂p: the chain rule, one link each. Convolutions are `jj.conv` and
its gradients (their derivation stands in `juanji.gradients`); everything else is a line or two of NumPy.
    dense     y = x·Wᵀ + b       dx = dy·W     dW = dyᵀ·x     db = Σ dy
    relu      y = max(x, 0)      dx = dy where y > 0
    sigmoid   y = 1/(1 + e⁻ˣ)    dx = dy·y·(1 − y)
    tanh                         dx = dy·(1 − y²)
    softmax   y = eˣ / Σ eˣ      dx = y·(dy − Σ dy·y)
    add       y = a + b          da = db = dy (summed over axes along which one was repeated)
    multiply  y = a·b            da = dy·b    db = dy·a
Normalisation, dropout and what only moves values about stand in files of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from juanji.channelwise import gate
from juanji.convolution import conv
from juanji.describe import Activation, BoundaryLike, Padding, PerAxis, describe, per_axis
from juanji.errors import ArgumentError, ShapeError
from juanji.gradients import conv_grad_bias, conv_grad_input, conv_grad_weight, conv_transpose, transposed
from juanji.jit.memory import empty_aligned
from juanji.nn.erf import erf
from juanji.nn.geometry import transposed_sees, window_sees
from juanji.nn.initial import Given, Initial, initial
from juanji.nn.operator import Array, Back, Box, Operator, Parameter, Parameters, Run, Shape, same_shape, spatial, whole
from juanji.spec import Convolution

Start = Initial | str | float | npt.ArrayLike


# Convolutions --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class _Weighted(Operator):
    """An operator with weights and perhaps a bias: what they start from, and whether they train."""

    weight: Start = field(default="he", metadata={"saved": False}, repr=False)
    bias: Start | None = field(default=0.0, metadata={"saved": False}, repr=False)
    trained: bool = True
    has_bias: bool | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.has_bias is None:  # what a saved network keeps of `bias`
            object.__setattr__(self, "has_bias", self.bias is not None)

    def trains(self, parameter: str) -> bool:
        return self.trained

    def _starting(self, weight: Shape, bias: Shape, fans: tuple[int, int]) -> dict[str, Parameter]:
        """The weights, and the bias if there is one, of these shapes."""
        found = {"weight": Parameter(weight, initial(self.weight), fans)}
        if self.has_bias:
            found["bias"] = Parameter(bias, initial(0.0 if self.bias is None else self.bias), fans)
        return found


@dataclass(frozen=True, eq=False)
class Conv(_Weighted):
    """Convolution, fused with a bias and an activation. Any number of spatial axes: as many as the input has.

    features: how many maps it makes. size, stride, padding, dilation, boundary, sharing, activation: as for `jj.conv`. groups: a
    number, or "each" for a filter of its own for every channel (depthwise). sites: how many kernels take turns along each axis when
    tiled. weight, bias: initialisers, numbers or arrays to start from; bias=None for none. trained: False keeps what it starts from.
    """

    stem: ClassVar[str] = "conv"
    features: int
    size: PerAxis
    stride: PerAxis = 1
    padding: Padding = 0
    dilation: PerAxis = 1
    groups: int | str = 1
    boundary: BoundaryLike = "zero"
    activation: Activation = None
    sharing: str = "shared"
    sites: PerAxis | None = None

    def options(self, shape: Shape) -> dict[str, Any]:
        """The arguments of `jj.conv` and its gradients."""
        groups = shape[1] if self.groups == "each" else self.groups
        return {
            "stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": groups,
            "boundary": self.boundary, "sharing": self.sharing,
        }  # fmt: skip

    def parameters(self, *shapes: Shape) -> dict[str, Parameter]:
        (shape,) = shapes
        n = spatial(self, shape)
        options = self.options(shape)
        groups, kernel = options["groups"], per_axis("size", self.size, n, 1)
        if not isinstance(groups, int) or shape[1] % groups or self.features % groups:
            raise ArgumentError(f"groups (={self.groups!r}) must be 'each' or divide {shape[1]} channels and {self.features} features")
        sites: tuple[int, ...] = ()
        if self.sharing == "local":
            sites = describe(shape, (self.features, shape[1] // groups, *kernel), **{**options, "sharing": "shared"}).output
        elif self.sharing == "tiled":
            if self.sites is None:
                raise ArgumentError("sites must be given with sharing='tiled': how many kernels take turns along each axis")
            sites = per_axis("sites", self.sites, n, 1)
        taps = math.prod(kernel)
        fans = (shape[1] // groups * taps, self.features // groups * taps)
        return self._starting((*sites, self.features, shape[1] // groups, *kernel), (*sites, self.features), fans)

    def shape(self, *shapes: Shape) -> Shape:
        return conv_spec(self, shapes[0]).y_shape

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        (x,) = inputs
        y = conv(x, p["weight"], p.get("bias"), activation=self.activation, **self.options(x.shape))
        return y, (x, y if self.activation else None)

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        x, y = saved
        if y is not None:
            dy = through(self.activation, y, dy)
        options = self.options(x.shape)
        grads = {}
        if self.trained:
            grads["weight"] = conv_grad_weight(x, dy, p["weight"].shape, **options)
            if self.has_bias:
                grads["bias"] = conv_grad_bias(dy, p["bias"].shape, **options)
        return Back((conv_grad_input(dy, p["weight"], x.shape, **options) if wanted[0] else None,), grads)

    def macs(self, *shapes: Shape) -> int:
        return conv_spec(self, shapes[0]).macs

    def sees(self, box: Box, *shapes: Shape) -> tuple[Box, ...]:
        return (window_sees(conv_spec(self, shapes[0]), box),)


@lru_cache(maxsize=1024)
def conv_spec(op: Conv, shape: Shape) -> Convolution:
    """The description of a convolution for an input of this shape."""
    weight = op.parameters(shape)["weight"].shape
    return describe(shape, weight, bias=bool(op.has_bias), activation=op.activation, **op.options(shape))


@dataclass(frozen=True, eq=False)
class ConvTranspose(_Weighted):
    """Transposed convolution; settings as for `jj.conv_transpose`."""

    stem: ClassVar[str] = "transposed"
    features: int
    size: PerAxis
    stride: PerAxis = 1
    padding: Padding = 0
    output_padding: PerAxis = 0
    dilation: PerAxis = 1
    groups: int = 1
    boundary: BoundaryLike = "zero"
    activation: Activation = None

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that it shares with the convolution of which it is the transpose."""
        return {
            "stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups, "boundary": self.boundary
        }  # fmt: skip

    def parameters(self, *shapes: Shape) -> dict[str, Parameter]:
        (shape,) = shapes
        kernel = per_axis("size", self.size, spatial(self, shape), 1)
        if shape[1] % self.groups or self.features % self.groups:
            raise ArgumentError(f"groups (={self.groups!r}) must divide {shape[1]} channels and {self.features} features")
        taps = math.prod(kernel)
        fans = (shape[1] // self.groups * taps, self.features // self.groups * taps)
        return self._starting((shape[1], self.features // self.groups, *kernel), (self.features,), fans)

    def shape(self, *shapes: Shape) -> Shape:
        return transposed_spec(self, shapes[0]).x_shape

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        (x,) = inputs
        more = {"output_padding": self.output_padding, "activation": self.activation}
        y = conv_transpose(x, p["weight"], p.get("bias"), **more, **self.options)  # type: ignore[arg-type]
        return y, (x, y if self.activation else None)

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        x, y = saved
        if y is not None:
            dy = through(self.activation, y, dy)
        grads = {}
        if self.trained:  # the roles of input and error are exchanged, as those of the convolution and its transpose are
            grads["weight"] = conv_grad_weight(dy, x, p["weight"].shape, **self.options)
            if self.has_bias:
                grads["bias"] = conv_grad_bias(dy)
        return Back((conv(dy, p["weight"], **self.options) if wanted[0] else None,), grads)

    def macs(self, *shapes: Shape) -> int:
        return transposed_spec(self, shapes[0]).macs

    def sees(self, box: Box, *shapes: Shape) -> tuple[Box, ...]:
        return (transposed_sees(transposed_spec(self, shapes[0]), box),)


@lru_cache(maxsize=1024)
def transposed_spec(op: ConvTranspose, shape: Shape) -> Convolution:
    """The convolution whose transpose takes an input of this shape."""
    kernel = per_axis("size", op.size, spatial(op, shape), 1)
    return transposed(
        shape, (shape[1], op.features // op.groups, *kernel), output_padding=op.output_padding, bias=bool(op.has_bias), sharing="shared",
        layout="channels_first", weight_layout=None, activation=op.activation, **op.options,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Filter(Operator):
    """One fixed kernel over every channel alike, not trained: a Gaussian after a layer of features, say. Size and channels stay."""

    stem: ClassVar[str] = "filter"
    kernel: npt.ArrayLike = field(repr=False)
    stride: PerAxis = 1
    padding: Padding = "same"
    boundary: BoundaryLike = "reflect"

    def _conv(self, shape: Shape) -> Conv:
        return depthwise(self, shape[1], spatial(self, shape))

    def trains(self, parameter: str) -> bool:
        return False

    def parameters(self, *shapes: Shape) -> dict[str, Parameter]:
        return self._conv(shapes[0]).parameters(*shapes)

    def shape(self, *shapes: Shape) -> Shape:
        return self._conv(shapes[0]).shape(*shapes)

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        return self._conv(inputs[0].shape).forward(p, *inputs, run=run)

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        return self._conv(saved[0].shape).backward(p, saved, dy, wanted)

    def macs(self, *shapes: Shape) -> int:
        return self._conv(shapes[0]).macs(*shapes)

    def sees(self, box: Box, *shapes: Shape) -> tuple[Box, ...]:
        return self._conv(shapes[0]).sees(box, *shapes)


@lru_cache(maxsize=256)
def depthwise(op: Filter, channels: int, n: int) -> Conv:
    """A fixed kernel as a convolution that gives it to every channel."""
    kernel = np.asarray(op.kernel, np.float32)
    if kernel.ndim != n:
        raise ShapeError(f"kernel of shape {kernel.shape} must have the {n} spatial axes of the input")
    return Conv(
        channels, kernel.shape, op.stride, op.padding, groups="each", boundary=op.boundary, bias=None, trained=False,
        weight=Given(np.broadcast_to(kernel, (channels, 1, *kernel.shape))),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Dense(_Weighted):
    """Every output is a weighted sum of every input: (N, F) to (N, features)."""

    stem: ClassVar[str] = "dense"
    features: int

    def parameters(self, *shapes: Shape) -> dict[str, Parameter]:
        inputs = self._checked(shapes[0])[1]
        return self._starting((self.features, inputs), (self.features,), (inputs, self.features))

    def _checked(self, shape: Shape) -> Shape:
        if len(shape) != 2:
            raise ShapeError(f"{self} takes (N, F), not {shape}; put Flatten() before it")
        return shape

    def shape(self, *shapes: Shape) -> Shape:
        return (self._checked(shapes[0])[0], self.features)

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        (x,) = inputs
        self._checked(x.shape)
        weight, bias = p["weight"], p["bias"] if self.has_bias else 0
        if self.features > len(x):  # the larger factor as it lies: the library takes longer to turn it than this sum does
            return np.add((weight @ x.T).T, bias, dtype=x.dtype, order="C"), x
        y = x @ weight.T
        y += bias
        return y, x

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        grads = {}
        if self.trained:
            grads["weight"] = dy.T @ saved
            if self.has_bias:
                grads["bias"] = dy.sum(axis=0)
        return Back((dy @ p["weight"] if wanted[0] else None,), grads)

    def macs(self, *shapes: Shape) -> int:
        return math.prod(shapes[0]) * self.features


# Activations ---------------------------------------------------------------------------------------------------------------


def through(activation: Activation, y: Array, dy: Array) -> Array:
    """dy times the derivative of an activation, in terms of its result."""
    kind, parameter = (activation, 0.01) if isinstance(activation, str) else activation or ("none", 0)
    backs: dict[str, Callable[[], Array]] = {
        "relu": lambda: gate(dy, y),
        "relu6": lambda: dy * ((y > 0) & (y < 6)),
        "leaky_relu": lambda: dy * np.where(y > 0, np.ones((), y.dtype), np.asarray(parameter, y.dtype)),
        "sigmoid": lambda: dy * (y * (1 - y)),
        "tanh": lambda: dy * (1 - y * y),
    }
    if kind in backs:
        return backs[kind]()
    raise ArgumentError(f"activation (={activation!r}) has no derivative here")


@dataclass(frozen=True, eq=False)
class Activated(Operator):
    """An activation whose derivative follows from its result."""

    def apply(self, x: Array) -> Array:
        """The activation of every element."""
        raise NotImplementedError

    @property
    def activation(self) -> Activation:
        """What `jj.conv` calls it."""
        return self.stem

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        y = self.apply(inputs[0])
        return y, y

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        return Back((through(self.activation, saved, dy),))


@dataclass(frozen=True, eq=False)
class ReLU(Activated):
    """max(x, 0)."""

    stem: ClassVar[str] = "relu"

    def apply(self, x: Array) -> Array:
        y: Array = np.maximum(x, 0, out=empty_aligned(x.shape, x.dtype))
        return y


@dataclass(frozen=True, eq=False)
class ReLU6(Activated):
    """min(max(x, 0), 6)."""

    stem: ClassVar[str] = "relu6"

    def apply(self, x: Array) -> Array:
        return np.clip(x, 0, 6)


@dataclass(frozen=True, eq=False)
class LeakyReLU(Activated):
    """x where it is positive, slope·x elsewhere."""

    stem: ClassVar[str] = "leaky"
    slope: float = 0.01

    @property
    def activation(self) -> Activation:
        return ("leaky_relu", self.slope)

    def apply(self, x: Array) -> Array:
        return np.where(x > 0, x, x * np.asarray(self.slope, x.dtype))


@dataclass(frozen=True, eq=False)
class Sigmoid(Activated):
    """1 / (1 + e⁻ˣ)."""

    stem: ClassVar[str] = "sigmoid"

    def apply(self, x: Array) -> Array:
        return sigmoid(x)


@dataclass(frozen=True, eq=False)
class Tanh(Activated):
    """The hyperbolic tangent."""

    stem: ClassVar[str] = "tanh"

    def apply(self, x: Array) -> Array:
        return np.tanh(x)


@dataclass(frozen=True, eq=False)
class HardSigmoid(Operator):
    """min(max(slope·x + offset, 0), 1): a sigmoid made of three lines."""

    stem: ClassVar[str] = "hard_sigmoid"
    slope: float = 1 / 6
    offset: float = 0.5

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        (x,) = inputs
        y = np.clip(x * np.asarray(self.slope, x.dtype) + np.asarray(self.offset, x.dtype), 0, 1)
        return y, y

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        return Back((dy * (np.asarray(self.slope, dy.dtype) * ((saved > 0) & (saved < 1))),))


@dataclass(frozen=True, eq=False)
class SiLU(Operator):
    """x·sigmoid(x), also called swish. Its derivative is s + x·s·(1 − s)."""

    stem: ClassVar[str] = "silu"

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        (x,) = inputs
        s = sigmoid(x)
        return x * s, (x, s)

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        x, s = saved
        return Back((dy * (s * (1 + x * (1 - s))),))


@dataclass(frozen=True, eq=False)
class GELU(Operator):
    """x·Φ(x) with the normal distribution's Φ; its derivative is Φ(x) + x·φ(x). approximate: by tanh, with an error up to 5e−4."""

    stem: ClassVar[str] = "gelu"
    approximate: bool = False

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        (x,) = inputs
        if self.approximate:
            t = np.tanh(np.asarray(math.sqrt(2 / math.pi), x.dtype) * (x + np.asarray(0.044715, x.dtype) * x**3))
            return x * ((1 + t) / 2), (x, t)
        below = (1 + erf(x * np.asarray(math.sqrt(0.5), x.dtype))) / 2
        return x * below, (x, below)

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        x, kept = saved
        if self.approximate:
            inner = np.asarray(math.sqrt(2 / math.pi), x.dtype) * (1 + np.asarray(3 * 0.044715, x.dtype) * x * x)
            return Back((dy * ((1 + kept) / 2 + x / 2 * (1 - kept * kept) * inner),))
        density = np.exp(-x * x / 2) * np.asarray(1 / math.sqrt(2 * math.pi), x.dtype)
        return Back((dy * (kept + x * density),))


@dataclass(frozen=True, eq=False)
class Softmax(Operator):
    """eˣ / Σ eˣ along an axis, the classes: probabilities."""

    stem: ClassVar[str] = "softmax"
    axis: int = 1

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        (x,) = inputs
        y = np.exp(x - x.max(axis=self.axis, keepdims=True))  # no larger than 1, whatever x
        y /= y.sum(axis=self.axis, keepdims=True)
        return y, y

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        return Back((saved * (dy - (dy * saved).sum(axis=self.axis, keepdims=True)),))


def sigmoid(x: Array) -> Array:
    """1 / (1 + e⁻ˣ), by way of tanh, which does not overflow."""
    half = np.asarray(0.5, x.dtype)
    y: Array = np.tanh(x * half)
    y *= half
    y += half
    return y


# Joining -------------------------------------------------------------------------------------------------------------------


def unrepeated(gradient: Array, shape: Shape) -> Array:
    """The sum over the axes along which an input of this shape was repeated."""
    if gradient.shape == shape:
        return gradient
    extra = gradient.ndim - len(shape)
    axes = (*range(extra), *(i + extra for i, size in enumerate(shape) if size == 1 != gradient.shape[i + extra]))
    total: Array = gradient.sum(axis=axes, keepdims=True)
    return total.reshape(shape)


def broadcast(op: Operator, shapes: tuple[Shape, ...]) -> Shape:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise ShapeError(f"{op} takes inputs of shapes that can be repeated to one, not {' and '.join(map(str, shapes))}") from None


@dataclass(frozen=True, eq=False)
class Add(Operator):
    """The sum of its inputs; axes of length 1 are repeated."""

    stem: ClassVar[str] = "add"

    def shape(self, *shapes: Shape) -> Shape:
        return broadcast(self, shapes)

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        y = inputs[0] + inputs[1] if len(inputs) > 1 else inputs[0]
        for other in inputs[2:]:
            y = y + other
        return y, tuple(x.shape for x in inputs)

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        return Back(tuple(unrepeated(dy, shape) if want else None for shape, want in zip(saved, wanted, strict=True)))

    def sees(self, box: Box, *shapes: Shape) -> tuple[Box, ...]:
        return repeated_sees(box, shapes)


@dataclass(frozen=True, eq=False)
class Multiply(Operator):
    """The product of two inputs; axes of length 1 are repeated."""

    stem: ClassVar[str] = "multiply"

    def shape(self, *shapes: Shape) -> Shape:
        if len(shapes) != 2:
            raise ArgumentError(f"{self} takes two inputs, not {len(shapes)}")
        return broadcast(self, shapes)

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        a, b = inputs
        return a * b, (a, b)

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        a, b = saved
        return Back((unrepeated(dy * b, a.shape) if wanted[0] else None, unrepeated(dy * a, b.shape) if wanted[1] else None))

    def macs(self, *shapes: Shape) -> int:
        return math.prod(broadcast(self, shapes))

    def sees(self, box: Box, *shapes: Shape) -> tuple[Box, ...]:
        return repeated_sees(box, shapes)


def repeated_sees(box: Box, shapes: tuple[Shape, ...]) -> tuple[Box, ...]:
    """Along repeated axes every element depends on the one there is."""
    longest = max(shapes, key=len)

    def of(shape: Shape) -> Box:
        if len(shape) != len(longest):
            return whole(shape)
        return tuple((0, 0) if size == 1 != most else side for size, most, side in zip(shape[2:], longest[2:], box, strict=True))

    return tuple(map(of, shapes))


@dataclass(frozen=True, eq=False)
class Concatenate(Operator):
    """Its inputs one behind the other along an axis, the channels."""

    stem: ClassVar[str] = "concatenate"
    axis: int = 1

    def shape(self, *shapes: Shape) -> Shape:
        axis = self.axis % len(shapes[0])
        same_shape(self, (tuple(0 if i == axis else size for i, size in enumerate(shape)) for shape in shapes))
        return tuple(sum(shape[i] for shape in shapes) if i == axis else size for i, size in enumerate(shapes[0]))

    def forward(self, p: Parameters, *inputs: Array, run: Run) -> tuple[Array, Any]:
        y = empty_aligned(self.shape(*(x.shape for x in inputs)), np.result_type(*inputs))
        return np.concatenate(inputs, axis=self.axis, out=y), [x.shape[self.axis] for x in inputs]

    def backward(self, p: Parameters, saved: Any, dy: Array, wanted: tuple[bool, ...]) -> Back:
        return Back(tuple(np.split(dy, np.cumsum(saved)[:-1], axis=self.axis)))

    def sees(self, box: Box, *shapes: Shape) -> tuple[Box, ...]:
        if self.axis % len(shapes[0]) < 2:
            return (box,) * len(shapes)
        axis, found, start = self.axis % len(shapes[0]) - 2, [], 0
        for shape in shapes:
            first, last = box[axis]
            found.append((*box[:axis], (first - start, last - start), *box[axis + 1 :]))
            start += shape[axis + 2]
        return tuple(found)
