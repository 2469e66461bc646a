"""Transposed convolution and the gradients of `conv`: the same descriptions, with the operands' roles exchanged.

With y = conv(x, w) and the error dy = ∂L/∂y given (contraction.py has the algebra, phases.py how scattering becomes gathering):

    dx    each input element gets dy of every output that saw it, times the weight it was seen through: dy, padded with zeros,
          convolved with the kernel turned by 180°; a stride leaves gaps in dy, which phases step over. What the boundary put
          outside goes back to where it came from.
    dw    each weight gets, over all positions, what it met times the error there: dy as a kernel on x. With sites, over the
          positions of its own site.
    db    the sum of dy.

A transposed convolution is the gradient of the input of another convolution, so its own gradients are `conv(dy, w)` in its input
and `conv_grad_weight(dy, x)` in its weights, with the same arguments.
"""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

from juanji.calls import met
from juanji.channelwise import sums
from juanji.convolution import batched, check_operand, operand
from juanji.describe import (
    SHARINGS,
    Activation,
    BoundaryLike,
    Padding,
    PerAxis,
    array_of,
    check_sums,
    choose_dtypes,
    describe,
    parse_dtype,
    parse_padding,
    per_axis,
    spatial_axes,
)  # fmt: skip
from juanji.errors import ArgumentError, ShapeError
from juanji.kinds import AnyPlan, plan_for
from juanji.spec import LAYOUTS, Convolution, Dtypes, span

Array = npt.NDArray[Any]
Shape = Iterable[SupportsIndex]


def conv_transpose(
    x: npt.ArrayLike,
    w: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
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
    activation: Activation = None,
    out: Array | None = None,
    out_dtype: npt.DTypeLike | None = None,
    overflow: str = "saturate",
    algorithm: str = "auto",
    precision: str = "default",
    threads: int | None = None,
) -> Array:
    """Transposed convolution ("deconvolution"): multiplication by Cᵀ (Cᴴ if complex) where `conv` with the same arguments multiplies by C.

    channels_first: x (N, C, *S), w (C, O/groups, *K); channels_last: x (N, *S, C), w (*K, O/groups, C). The output has
    (S − 1)·stride − low − high + dilation·(K − 1) + 1 + output_padding elements per axis; with padding "same" S·stride.
    output_padding must be below the stride. A boundary says where the convolution's border came from: what would fall outside is
    added there. With sites, x position p uses the weights of site p mod T; the bias is (O,).
    Raises ShapeError, ArgumentError or DtypeError in one line.

    >>> conv_transpose(np.array([[[[1.0, 2], [3, 4]]]]), np.ones((1, 1, 3, 3)))[0, 0]
    array([[ 1.,  3.,  3.,  2.],
           [ 4., 10., 10.,  6.],
           [ 4., 10., 10.,  6.],
           [ 3.,  7.,  7.,  4.]])
    """
    x, w = array_of("x", x), array_of("w", w)
    bias = None if bias is None else operand("bias", bias, least=0)
    options = {
        "stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation, "groups": groups,
        "boundary": boundary, "flip": flip, "sharing": sharing, "layout": layout, "weight_layout": weight_layout,
        "activation": activation, "out_dtype": out_dtype, "overflow": overflow, "algorithm": algorithm, "precision": precision,
    }  # fmt: skip
    chosen = met(transposed_plan, (x.shape, w.shape, x.dtype, w.dtype, bias is not None), options)
    single = x.ndim == len(chosen.spec.size) + 1
    y = chosen(x[None], w, bias, out=batched(out), threads=threads) if single else chosen(x, w, bias, out=out, threads=threads)
    return y[0] if single else y


def conv_grad_input(
    dy: npt.ArrayLike,
    w: npt.ArrayLike,
    input_shape: Shape,
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
    out: Array | None = None,
    out_dtype: npt.DTypeLike | None = None,
    overflow: str = "saturate",
    algorithm: str = "auto",
    precision: str = "default",
    threads: int | None = None,
) -> Array:
    """The gradient in x of Σ dy·conv(x, w) with the same arguments: the exact adjoint of conv in x.

    input_shape is that of x, with N where dy has it. A constant outside adds nothing; other boundaries get their share back.
    Raises ShapeError if an x of that shape could not have given dy.

    >>> conv_grad_input(np.ones((1, 1, 2, 2)), np.array([[[[1.0, 2], [3, 4]]]]), (1, 1, 3, 3))[0, 0]
    array([[ 1.,  3.,  2.],
           [ 4., 10.,  6.],
           [ 3.,  7.,  4.]])
    """
    dy, w = array_of("dy", dy), array_of("w", w)
    options = {
        "stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "boundary": boundary, "flip": flip,
        "sharing": sharing, "layout": layout, "weight_layout": weight_layout, "out_dtype": out_dtype, "overflow": overflow,
        "algorithm": algorithm, "precision": precision,
    }  # fmt: skip
    shape = _shape("input_shape", input_shape)
    chosen = met(_gradient, ("x", shape, w.shape, dy.shape, dy.dtype, w.dtype), options)
    single = dy.ndim == len(chosen.spec.size) + 1
    dx = chosen(dy[None], w, out=batched(out), threads=threads) if single else chosen(dy, w, out=out, threads=threads)
    return dx[0] if single else dx


def conv_grad_weight(
    x: npt.ArrayLike,
    dy: npt.ArrayLike,
    weight_shape: Shape,
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
    out: Array | None = None,
    out_dtype: npt.DTypeLike | None = None,
    overflow: str = "saturate",
    algorithm: str = "auto",
    precision: str = "default",
    threads: int | None = None,
) -> Array:
    """The gradient in w of Σ dy·conv(x, w) with the same arguments: the exact adjoint of conv in w.

    What the boundary puts outside takes part, a constant too. Raises ShapeError if weights of that shape could not have given dy.

    >>> conv_grad_weight(np.arange(9.0).reshape(1, 1, 3, 3), np.ones((1, 1, 2, 2)), (1, 1, 2, 2))[0, 0]
    array([[ 8., 12.],
           [20., 24.]])
    """
    x, dy = array_of("x", x), array_of("dy", dy)
    options = {
        "stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "boundary": boundary, "flip": flip,
        "sharing": sharing, "layout": layout, "weight_layout": weight_layout, "out_dtype": out_dtype, "overflow": overflow,
        "algorithm": algorithm, "precision": precision,
    }  # fmt: skip
    shape = _shape("weight_shape", weight_shape)
    chosen = met(_gradient, ("w", x.shape, shape, dy.shape, x.dtype, dy.dtype), options)
    if x.ndim == len(chosen.spec.size) + 1:
        x, dy = x[None], dy[None]
    return chosen(x, dy, out=out, threads=threads)


_WEIGHT_ARGUMENTS = frozenset(inspect.signature(conv_grad_weight).parameters)


def conv_grad_bias(
    dy: npt.ArrayLike, bias_shape: Shape | None = None, *, sharing: str = "shared", layout: str = "channels_first", **same: Any
) -> Array:
    """The gradient in the bias of Σ dy·conv(x, w, bias): the sum of dy over batch and positions.

    bias_shape: (O,), also if it is missing; with tiled and local weights (*T, O), each over the positions p with p mod T = its site.
    dy has its batch. Floats are summed in float64 and keep their type, float32 over each sample's positions pairwise in float32;
    integers give int64, saturated. The other arguments of `conv_grad_weight` are accepted, so that both can be given the same ones;
    they change nothing here.

    >>> conv_grad_bias(np.ones((2, 3, 4, 5)))
    array([40., 40., 40.])
    """
    dy = operand("dy", dy, least=3)
    unknown = same.keys() - _WEIGHT_ARGUMENTS
    if unknown:
        raise ArgumentError(f"{min(unknown)} is no argument of a convolution's gradients")
    for name, value, valid in (("layout", layout, LAYOUTS), ("sharing", sharing, SHARINGS)):
        if value not in valid:
            raise ArgumentError(f"{name} (={value!r}) must be one of {', '.join(valid)}")
    if layout == "channels_first":
        dy = np.moveaxis(dy, 1, -1)
    *positions, features = dy.shape[1:]
    if bias_shape is None and sharing == "tiled":
        raise ArgumentError("bias_shape must be given with sharing='tiled': (*T, O)")
    implied = (*positions, features) if sharing == "local" else (features,)
    shape = implied if bias_shape is None else _shape("bias_shape", bias_shape)
    sites = shape[:-1] or (1,) * len(positions)
    fits = len(sites) == len(positions) and all(1 <= t <= p for t, p in zip(sites, positions, strict=True))
    if shape[-1:] != (features,) or not fits:
        raise ShapeError(f"bias_shape (={shape}) must be ({features},), or have one site axis per axis of {tuple(positions)} before it")
    if dy.dtype == np.float32 and math.prod(sites) == 1 and layout == "channels_first":
        return sums(np.moveaxis(dy, -1, 1)).astype(dy.dtype).reshape(shape)
    if dy.dtype.kind in "fcV":
        wide = np.dtype(np.complex128 if dy.dtype.kind == "c" else np.float64)
        return _per_site(dy, sites, wide).reshape(shape).astype(dy.dtype)
    exact = _per_site(dy, sites, np.dtype(object if dy.dtype.itemsize == 8 else np.int64)).reshape(shape)
    limits = np.iinfo(np.int64)
    return np.clip(exact, limits.min, limits.max).astype(np.int64)


def _per_site(dy: Array, sites: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """dy (N, *positions, O) summed over batch and the positions of each site."""
    total = np.zeros((*sites, dy.shape[-1]), dtype)
    for site in np.ndindex(sites):
        own = dy[(slice(None), *(slice(t, None, step) for t, step in zip(site, sites, strict=True)))]
        total[site] = np.add.reduce(own.astype(object) if dtype.hasobject else own, axis=tuple(range(own.ndim - 1)), dtype=dtype)
    return total


# From arguments to plans ------------------------------------------------------------------------------------------------


def _gradient(
    produces: str, x_shape: Any, w_shape: Any, dy_shape: Any, first: Any, second: Any, *,
    sharing: Any, out_dtype: Any, algorithm: str, precision: str, **options: Any,
) -> AnyPlan:  # fmt: skip
    """The plan of the gradient in "x", which reads dy and w, or in "w", which reads x and dy; first, second: these operands' types."""
    shapes = {"x": x_shape, "w": w_shape, "dy": dy_shape}
    read = ("dy", "w") if produces == "x" else ("x", "dy")
    for name, dtype in zip(read, (first, second), strict=True):
        check_operand(name, shapes[name], dtype)
    if len(x_shape) != len(dy_shape):
        x_name = "input_shape" if produces == "x" else "x of shape"
        raise ShapeError(f"dy of shape {dy_shape} must have as many axes as {x_name} {x_shape}: a batch in both, or in neither")
    single = len(dy_shape) == spatial_axes(w_shape, sharing) + 1
    spec = describe((1, *x_shape) if single else x_shape, w_shape, sharing=sharing, **options)
    y_shape = spec.y_shape[1:] if single else spec.y_shape
    if y_shape != dy_shape:
        given = f"input_shape (={x_shape})" if produces == "x" else f"weight_shape (={w_shape})"
        raise ShapeError(f"dy has shape {dy_shape}, but {given} with these arguments gives an output of shape {y_shape}")
    of = choose_dtypes(first, second, None if out_dtype is None else parse_dtype("out_dtype", out_dtype))
    dtypes = Dtypes(of.y, of.w, of.sum, of.x) if produces == "x" else Dtypes(of.x, of.y, of.sum, of.w)
    return plan_for(check_sums(replace(spec, dtypes=dtypes), produces), algorithm, precision, produces)


def transposed_plan(
    x_shape: Any, w_shape: Any, x_dtype: Any, w_dtype: Any, bias: bool, *,
    sharing: Any, output_padding: Any, out_dtype: Any, algorithm: str = "auto", precision: str = "default", **options: Any,
) -> AnyPlan:  # fmt: skip
    check_operand("x", x_shape, x_dtype)
    check_operand("w", w_shape, w_dtype)
    if len(x_shape) == spatial_axes(w_shape, sharing) + 1:
        x_shape = (1, *x_shape)
    spec = transposed(x_shape, w_shape, output_padding=output_padding, bias=bias, sharing=sharing, **options)
    of = choose_dtypes(x_dtype, w_dtype, None if out_dtype is None else parse_dtype("out_dtype", out_dtype))
    return plan_for(check_sums(replace(spec, dtypes=Dtypes(of.y, of.w, of.sum, of.x)), "x"), algorithm, precision, "x")


def transposed(
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    *,
    stride: PerAxis,
    padding: Padding,
    output_padding: PerAxis,
    dilation: PerAxis,
    groups: Any,
    sharing: str,
    layout: str,
    weight_layout: str | None,
    **options: Any,
) -> Convolution:
    """The convolution whose gradient of the input a transposed convolution is: its output has the shape `x_shape`."""
    for name, value, valid in (("sharing", sharing, SHARINGS), ("layout", layout, LAYOUTS)):
        if value not in valid:
            raise ArgumentError(f"{name} (={value!r}) must be one of {', '.join(valid)}")
    n = spatial_axes(w_shape, sharing)
    if len(x_shape) != n + 2:
        raise ShapeError(f"x of shape {x_shape} must have {n + 2} axes: batch, channels and the {n} spatial axes of w {w_shape}")
    first = layout == "channels_first"
    batch, features, positions = x_shape[0], x_shape[1 if first else -1], x_shape[2:] if first else x_shape[1:-1]
    order = weight_layout if isinstance(weight_layout, str) else "OI*" if first else "*IO"
    body = w_shape[len(w_shape) - n - 2 :]
    kernel, inner, own = {
        "OI*": (body[2:], body[1], body[0]), "*IO": (body[:n], body[-2], body[-1]), "O*I": (body[1:-1], body[-1], body[0]),
    }.get(order, (body[2:], body[1], body[0]))  # fmt: skip
    if own != features:
        raise ShapeError(f"x has {features} channels, but w of shape {w_shape} takes {own}")
    strides, dilations = per_axis("stride", stride, n, 1), per_axis("dilation", dilation, n, 1)
    more = per_axis("output_padding", output_padding, n, 0)
    for axis, (extra, step) in enumerate(zip(more, strides, strict=True)):
        if extra >= step:
            raise ArgumentError(f"output_padding (={extra}) of axis {axis} must be below the stride (={step})")
    if isinstance(padding, str) and padding.startswith("same"):
        if any(more):
            raise ArgumentError(f"output_padding (={output_padding}) must be 0 with padding={padding!r}, which gives S·stride elements")
        size = tuple(p * step for p, step in zip(positions, strides, strict=True))
    else:
        pads = parse_padding(padding, (1,) * n, kernel, strides, dilations)
        size = tuple(
            (p - 1) * step - low - high + span(k, d) + extra
            for p, step, (low, high), k, d, extra in zip(positions, strides, pads, kernel, dilations, more, strict=True)
        )
    for axis, length in enumerate(size):
        if length < 1:
            raise ShapeError(f"the output would have {length} elements along axis {axis}: (S − 1)·stride − padding + dilation·(K − 1) + 1")
    channels = inner * operator.index(groups) if isinstance(groups, SupportsIndex) else inner  # `describe` refuses what is no integer
    shape = (batch, channels, *size) if first else (batch, *size, channels)
    spec = describe(
        shape, w_shape, stride=strides, padding=padding, dilation=dilations, groups=groups, sharing=sharing, layout=layout,
        weight_layout=weight_layout, **options,
    )  # fmt: skip
    assert spec.output == tuple(positions), (spec.output, positions)
    return spec


def _shape(name: str, shape: Any) -> tuple[int, ...]:
    if isinstance(shape, np.ndarray) and shape.ndim != 1:
        raise ArgumentError(f"{name} is an array of shape {shape.shape}; give that shape, not the array")
    try:
        return tuple(int(length.__index__()) for length in shape)
    except (TypeError, AttributeError):
        raise ArgumentError(f"{name} (={shape!r}) must be a sequence of integers") from None


__all__ = ["conv_grad_bias", "conv_grad_input", "conv_grad_weight", "conv_transpose", "transposed", "transposed_plan"]
