"""Convolutions of PyTorch's CPU tensors as autograd functions. A tensor is read where it lies, not copied.

With T(x, w, dy) = Σ dy·conv(x, w), linear in each of its three places save for what a constant boundary adds beside x, the
products of one description are the derivatives of T,

    conv(x, w) = ∂T/∂dy        grad_input(dy, w) = ∂T/∂x        grad_weight(x, dy) = ∂T/∂w

so each derivative of one of them is another one, with the direction that comes in at the place that went out:

    of conv(x, w),          along dy:     in x   grad_input(dy, w)      in w    grad_weight(x, dy)     in the bias  Σ dy
    of grad_input(dy, w),   along ddx:    in dy  conv₀(ddx, w)          in w    grad_weight₀(ddx, dy)
    of grad_weight(x, dy),  along ddw:    in x   grad_input(dy, ddw)    in dy   conv(x, ddw)

where ₀ marks a zero in place of the constant, which has no share in ∂T/∂x. Three functions whose backwards are one another are
therefore differentiable any number of times. A transposed convolution is grad_input(x, w).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.autograd import Function

from juanji import convolution, gradients
from juanji.boundary import ZERO
from juanji.describe import BoundaryLike, Padding, PerAxis, parse_boundaries, spatial_axes
from juanji.errors import ArgumentError, DtypeError
from juanji.spec import LAYOUTS

Array = npt.NDArray[Any]
Options = dict[str, Any]  # keyword arguments of `juanji.conv`


# Functions --------------------------------------------------------------------------------------------------------------


def conv(
    x: Tensor,
    w: Tensor,
    bias: Tensor | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    boundary: BoundaryLike = "zero",
    flip: bool = False,
    sharing: str = "shared",
    layout: str = "channels_first",
    weight_layout: str | None = None,
) -> Tensor:
    """`juanji.conv` on CPU tensors, differentiable in x, w and bias any number of times.

    Shapes and arguments are those of `juanji.conv`; floating tensors must have one dtype. x in torch's memory format channels_last
    is read as it is and gives such a y. Raises ShapeError, ArgumentError or DtypeError in one line.

    >>> x = torch.arange(9.0).reshape(1, 1, 3, 3).requires_grad_()
    >>> y = conv(x, torch.ones(1, 1, 2, 2), padding=((0, 1), (0, 1)), boundary="wrap")
    >>> y[0, 0].tolist()
    [[8.0, 12.0, 10.0], [20.0, 24.0, 22.0], [14.0, 18.0, 16.0]]
    >>> y[0, 0, 2, 2].backward()
    >>> x.grad[0, 0].tolist()
    [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0]]
    """
    n = _checked(x, w, bias, sharing)
    options = _options(n, stride, padding, dilation, groups, boundary, flip, sharing, layout, weight_layout)
    if x.dim() == n + 1:
        return _result(_Conv.apply(x[None], w, bias, options))[0]
    return _result(_Conv.apply(x, w, bias, options))


def conv_transpose(
    x: Tensor,
    w: Tensor,
    bias: Tensor | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    boundary: BoundaryLike = "zero",
    flip: bool = False,
    sharing: str = "shared",
    layout: str = "channels_first",
    weight_layout: str | None = None,
) -> Tensor:
    """`juanji.conv_transpose` on CPU tensors, differentiable in x, w and bias any number of times.

    Shapes and arguments are those of `juanji.conv_transpose`, errors and memory formats those of `conv`. It is the Hermitian adjoint:
    complex weights are conjugated, which torch's own function does not do.

    >>> conv_transpose(torch.ones(1, 1, 2), torch.tensor([[[1.0, 2.0, 3.0]]]), stride=2)[0, 0].tolist()
    [1.0, 2.0, 4.0, 2.0, 3.0]
    """
    n = _checked(x, w, bias, sharing)
    options = _options(n, stride, padding, dilation, groups, boundary, flip, sharing, layout, weight_layout)
    if x.dim() == n + 1:
        return _result(_ConvTranspose.apply(x[None], w, bias, output_padding, options))[0]
    return _result(_ConvTranspose.apply(x, w, bias, output_padding, options))


def _options(
    n: int, stride: Any, padding: Any, dilation: Any, groups: Any, boundary: Any, flip: Any, sharing: Any, layout: Any, weight_layout: Any
) -> Options:
    """The arguments with what the backwards change made explicit: one boundary per axis, and the order of the weights' axes."""
    return {
        "stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "boundary": parse_boundaries(boundary, n),
        "flip": flip, "sharing": sharing, "layout": layout, "weight_layout": weight_layout or default_weight_layout(layout),
    }  # fmt: skip


def default_weight_layout(layout: str) -> str:
    """The order of the weights' axes where none is said."""
    return "OI*" if layout == "channels_first" else "*IO"


def _linear(options: Options) -> Options:
    """The same without constants outside."""
    return options | {"boundary": tuple(ZERO if b.constant else b for b in options["boundary"])}


def _checked(x: Tensor, w: Tensor, bias: Tensor | None, sharing: str) -> int:
    """How many spatial axes there are, once the tensors are known to be such as NumPy can see."""
    given = {"x": x, "w": w} | ({} if bias is None else {"bias": bias})
    for name, tensor in given.items():
        if not isinstance(tensor, Tensor):
            raise ArgumentError(f"{name} is a {type(tensor).__name__}, but must be a torch.Tensor")
        if not tensor.is_cpu:
            raise ArgumentError(f"{name} is on device {tensor.device}, but juanji computes on the CPU: move it with {name}.cpu()")
        if tensor.layout is not torch.strided:
            raise ArgumentError(f"{name} has layout {tensor.layout}, but must be dense: {name}.to_dense()")
    floating = {name: tensor.dtype for name, tensor in given.items() if tensor.dtype.is_floating_point or tensor.dtype.is_complex}
    if len({*floating.values()}) > 1:
        raise DtypeError(f"{', '.join(f'{name} of {dtype}' for name, dtype in floating.items())}: they must have one dtype")
    return spatial_axes(w.shape, sharing)


# The three products, and their derivatives ------------------------------------------------------------------------------


class _Conv(Function):
    """conv(x, w) + bias."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, bias: Tensor | None, options: Options) -> Tensor:
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, w if ctx.needs_input_grad[0] else None)
        ctx.shapes, ctx.options = (x.shape, w.shape), options
        lying = _lying(x, options)
        return _tensor(lying.back(convolution.conv(lying.array, _array(w), _bias(bias), **lying.options)))

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        (x, w), (x_shape, w_shape), options = ctx.saved_tensors, ctx.shapes, ctx.options
        for_x, for_w, for_bias, _ = ctx.needs_input_grad
        return (
            _GradInput.apply(dy, w, x_shape, options) if for_x else None,
            _GradWeight.apply(x, dy, w_shape, options) if for_w else None,
            _sum(dy, options["layout"], None if options["sharing"] == "shared" else w_shape[: dy.dim() - 2]) if for_bias else None,
            None,
        )


class _GradInput(Function):
    """The gradient of the input: grad_input(dy, w)."""

    @staticmethod
    def forward(ctx: Any, dy: Tensor, w: Tensor, x_shape: Sequence[int], options: Options) -> Tensor:
        ctx.save_for_backward(dy if ctx.needs_input_grad[1] else None, w if ctx.needs_input_grad[0] else None)
        ctx.w_shape, ctx.options = w.shape, options
        lying = _lying(dy, options)
        return _tensor(lying.back(gradients.conv_grad_input(lying.array, _array(w), lying.shape(x_shape), **lying.options)))

    @staticmethod
    def backward(ctx: Any, ddx: Tensor) -> tuple[Tensor | None, ...]:
        return (*_of_grad_input(ctx, ddx), None, None)


class _ConvTranspose(Function):
    """grad_input(x, w) + bias, of the shape that the arguments give it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, bias: Tensor | None, output_padding: PerAxis, options: Options) -> Tensor:
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, w if ctx.needs_input_grad[0] else None)
        ctx.w_shape, ctx.options = w.shape, options
        lying = _lying(x, options)
        return _tensor(
            lying.back(gradients.conv_transpose(lying.array, _array(w), _bias(bias), output_padding=output_padding, **lying.options))
        )

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        for_bias = ctx.needs_input_grad[2]
        return (*_of_grad_input(ctx, dy), _sum(dy, ctx.options["layout"], None) if for_bias else None, None, None)


def _of_grad_input(ctx: Any, ddx: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """The derivatives of grad_input(dy, w) in dy and in w."""
    (dy, w), options = ctx.saved_tensors, _linear(ctx.options)
    return (
        _Conv.apply(ddx, w, None, options) if ctx.needs_input_grad[0] else None,
        _GradWeight.apply(ddx, dy, ctx.w_shape, options) if ctx.needs_input_grad[1] else None,
    )


class _GradWeight(Function):
    """The gradient of the weights: grad_weight(x, dy)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dy: Tensor, w_shape: Sequence[int], options: Options) -> Tensor:
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, dy if ctx.needs_input_grad[0] else None)
        ctx.x_shape, ctx.options = x.shape, options
        lying = _lying(x, options)
        return _tensor(gradients.conv_grad_weight(lying.array, lying.like(_array(dy)), w_shape, **lying.options))

    @staticmethod
    def backward(ctx: Any, ddw: Tensor) -> tuple[Tensor | None, ...]:
        x, dy = ctx.saved_tensors
        return (
            _GradInput.apply(dy, ddw, ctx.x_shape, ctx.options) if ctx.needs_input_grad[0] else None,
            _Conv.apply(x, ddw, None, ctx.options) if ctx.needs_input_grad[1] else None,
            None,
            None,
        )


def _sum(dy: Tensor, layout: str, sites: Sequence[int] | None) -> Tensor:
    """The gradient of the bias, by operations that torch differentiates itself: over all positions, or over those of each site."""
    channel = LAYOUTS.index(layout) * (dy.dim() - 2) + 1
    if sites is None:
        return dy.sum([axis for axis in range(dy.dim()) if axis != channel])
    total = dy.movedim(channel, -1).sum(0)
    for axis, count in enumerate(sites):
        places = torch.arange(total.shape[axis]) % count
        empty = total.new_zeros((*total.shape[:axis], count, *total.shape[axis + 1 :]))
        total = empty.index_add(axis, places, total)
    return total


def _result(applied: Any) -> Tensor:
    """What `Function.apply` returns, which torch does not type."""
    tensor: Tensor = applied
    return tensor


# Tensors as arrays ------------------------------------------------------------------------------------------------------


class _Lying(NamedTuple):
    """An array (N, C, *S) or (N, *S, C) in the layout in which it lies in memory, and the arguments for that layout.

    there, back_again: the order of axes that leads to this layout and the one that leads back; None where it is the caller's.
    """

    array: Array
    options: Options
    there: tuple[int, ...] | None = None
    back_again: tuple[int, ...] | None = None

    def like(self, array: Array) -> Array:
        """Another array, turned in the same way."""
        return array if self.there is None else array.transpose(self.there)

    def shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """A shape, turned in the same way."""
        return tuple(shape) if self.there is None else tuple(shape[axis] for axis in self.there)

    def back(self, array: Array) -> Array:
        """A result as the caller's layout has it."""
        return array if self.back_again is None else array.transpose(self.back_again)


def _lying(tensor: Tensor, options: Options) -> _Lying:
    """The tensor as an array whose innermost axis has neighbours in memory, if its channels or its last spatial axis do.

    A tensor of the shape (N, C, H, W) in the memory format channels_last is a (N, H, W, C) array.
    """
    array = _array(tensor)
    strides, first = array.strides, options["layout"] == "channels_first"
    other = 1 if first else -2
    if len(strides) < 3 or strides[-1] == array.itemsize or strides[other] != array.itemsize or array.shape[other] == 1:
        return _Lying(array, options)
    axes = tuple(range(array.ndim))
    to_last, to_first = (0, *axes[2:], 1), (0, axes[-1], *axes[1:-1])
    there, back = (to_last, to_first) if first else (to_first, to_last)
    return _Lying(array.transpose(there), options | {"layout": LAYOUTS[first]}, there, back)


def _array(tensor: Tensor) -> Array:
    """The tensor's memory as an array."""
    plain = tensor.detach().resolve_conj().resolve_neg()
    half = plain.dtype == torch.bfloat16
    try:
        array: Array = (plain.view(torch.uint16) if half else plain).numpy()
    except TypeError:
        raise DtypeError(f"a tensor of {plain.dtype} has no counterpart in NumPy") from None
    return array.view(_bfloat16()) if half else array


def _bias(bias: Tensor | None) -> Array | None:
    """A bias in the type of the sums, as `juanji.conv` wants it of types that NumPy does not promote."""
    return None if bias is None else _array(bias.float() if bias.dtype == torch.bfloat16 else bias)


def _tensor(array: Array) -> Tensor:
    """The array's memory as a tensor."""
    if array.dtype.kind == "V":  # bfloat16
        return torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(array)


@lru_cache(maxsize=1)
def _bfloat16() -> np.dtype[Any]:
    try:
        import ml_dtypes
    except ImportError:
        raise DtypeError("tensors of torch.bfloat16 need the package ml_dtypes, which gives NumPy that type") from None
    dtype: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return dtype


__all__ = ["conv", "conv_transpose", "default_weight_layout"]
