"""Layers with weights: convolutions, transposed ones and dense layers, each with its forward and its backward side by side.

Convolutions are `jj.conv` and its gradients (their derivation stands in `juanji.gradients`). A dense layer is a matrix product:
    y = x·Wᵀ + b       dx = dy·W     dW = dyᵀ·x     db = Σ dy
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from juanji.convolution import conv
from juanji.describe import Activation, BoundaryLike, Padding, PerAxis, describe, per_axis
from juanji.errors import ArgumentError, ShapeError
from juanji.gradients import conv_grad_bias, conv_grad_input, conv_grad_weight, conv_transpose, transposed
from juanji.nn.activations import through
from juanji.nn.geometry import transposed_sees, window_sees
from juanji.nn.initial import Given, Initial, initial
from juanji.nn.operator import Array, Back, Box, Operator, Parameter, Parameters, Run, Shape, spatial
from juanji.spec import Convolution

Start = Initial | str | float | npt.ArrayLike


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
