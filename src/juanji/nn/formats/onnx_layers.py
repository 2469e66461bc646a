"""What ONNX's layers are here: convolution, pooling, normalisation, dense and recurrent layers, resizing.

A translator takes one node of the file and gives its outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from juanji.nn import layers, pools
from juanji.nn.formats.onnx_building import Call, Flowing, Known, NeedsShapes, Value
from juanji.nn.formats.onnx_files import Array
from juanji.nn.moves import Resize
from juanji.nn.norms import BatchNorm, GroupNorm, LayerNorm
from juanji.nn.operators.layouts import Transpose
from juanji.nn.operators.recurrent import GRU, LSTM
from juanji.nn.operators.resampling import COORDINATES, ROUNDINGS, Resample
from juanji.nn.operators.response_norm import LocalResponseNorm

Values = tuple[Value, ...]
Sides = tuple[tuple[int, int], ...]


# Windows -------------------------------------------------------------------------------------------------------------------


def _per_axis(call: Call, name: str, n: int, default: int = 1) -> tuple[int, ...]:
    found = call.setting(name, [default] * n)
    if len(found) != n:
        raise call.refuse(f"{name} (={found}) must have {n} entries")
    return tuple(found)


def _pairs(call: Call, n: int) -> Sides:
    pads = _per_axis(call, "pads", 2 * n, 0)
    return tuple(zip(pads[:n], pads[n:], strict=True))


def _padding(call: Call, n: int) -> Any:
    auto = call.setting("auto_pad", "NOTSET")
    named = {"SAME_UPPER": "same", "SAME_LOWER": "same_lower", "VALID": 0}
    if auto in named:
        return named[auto]
    call.expect("auto_pad", "NOTSET")
    return _pairs(call, n)


def _weights(call: Call) -> tuple[Array, dict[str, Array], float | None]:
    """The kernel, the arrays, and what a bias starts from: None if there is none."""
    weight = call.known(1, "weights")
    if weight.ndim < 3:
        raise call.refuse(f"weights of shape {weight.shape} have no spatial axes")
    kernel = tuple(call.setting("kernel_shape", list(weight.shape[2:])))
    if kernel != weight.shape[2:]:
        raise call.refuse(f"kernel_shape (={kernel}) is not that of the weights, {weight.shape}")
    if not call.has(2):
        return weight, {"weight": weight}, None
    return weight, {"weight": weight, "bias": call.known(2, "bias")}, 0.0


def conv(call: Call) -> Values:
    weight, arrays, bias = _weights(call)
    n = weight.ndim - 2
    op = layers.Conv(
        weight.shape[0], weight.shape[2:], _per_axis(call, "strides", n), _padding(call, n), _per_axis(call, "dilations", n),
        call.setting("group", 1), bias=bias,
    )  # fmt: skip
    return call.emit(op, call.value(), arrays=arrays)


def conv_transpose(call: Call) -> Values:
    weight, arrays, bias = _weights(call)
    n, groups = weight.ndim - 2, call.setting("group", 1)
    strides, dilations = _per_axis(call, "strides", n), _per_axis(call, "dilations", n)
    extra = _per_axis(call, "output_padding", n, 0)
    sides, extra = _transposed_sides(call, weight.shape[2:], strides, dilations, extra)
    op = layers.ConvTranspose(weight.shape[1] * groups, weight.shape[2:], strides, sides, extra, dilations, groups, bias=bias)
    return call.emit(op, call.value(), arrays=arrays)


def _transposed_sides(
    call: Call, kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...], extra: tuple[int, ...]
) -> tuple[Sides, tuple[int, ...]]:
    """Padding and output padding. Where ONNX gives the output's size, what is too much is cut at both ends, as its formula says."""
    n, auto = len(kernel), call.setting("auto_pad", "NOTSET")
    wanted = call.optional("output_shape")
    if wanted is None and auto in ("NOTSET", "VALID"):
        return _pairs(call, n), extra
    call.expect("auto_pad", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
    if wanted is None:  # the output is stride times the input: input-independent
        totals = [d * (k - 1) + 1 + e - s for k, s, d, e in zip(kernel, strides, dilations, extra, strict=True)]
    else:
        axes = zip(call.shape()[2:], list(wanted)[-n:], kernel, strides, dilations, extra, strict=True)
        totals = [s * (size - 1) + e + d * (k - 1) + 1 - to for size, to, k, s, d, e in axes]
    extra = tuple(e + max(-total, 0) for e, total in zip(extra, totals, strict=True))
    halves = [(max(total, 0) // 2, max(total, 0) - max(total, 0) // 2) for total in totals]
    return tuple((a, b) if auto == "SAME_UPPER" else (b, a) for a, b in halves), extra


def pool(call: Call) -> Values:
    size = tuple(call.setting("kernel_shape", [0]))
    n = len(size)
    common = (size, _per_axis(call, "strides", n), _padding(call, n), _per_axis(call, "dilations", n), bool(call.setting("ceil_mode", 0)))
    match call.node.kind:
        case "MaxPool":
            call.expect("storage_order", 0)
            if not call.wants(1):
                return call.emit(pools.MaxPool(*common), call.value())
            y, places = call.emit(pools.MaxPool(*common, places=True), call.value())
            return y, Flowing(places.name, places.shape, "places")
        case "AveragePool":
            return call.emit(pools.AvgPool(*common, count_include_pad=bool(call.setting("count_include_pad", 0))), call.value())
    return call.emit(pools.LpPool(*common, p=call.setting("p", 2)), call.value())


def global_pool(call: Call) -> Values:
    call.expect("p", 2)
    kind = {"GlobalMaxPool": "max", "GlobalAveragePool": "avg", "GlobalLpPool": "lp"}[call.node.kind]
    return call.emit(pools.GlobalPool(kind, keep=True), call.value())


def max_unpool(call: Call) -> Values:
    places = call.value(1)
    if not isinstance(places, Flowing) or places.kind != "places":
        raise call.refuse("its indices must be those of a MaxPool")
    if call.has(2):
        return call.emit(pools.Unpool(tuple(call.integers(2, "output_shape")[2:])), call.value(), places)
    size = tuple(call.setting("kernel_shape", [0]))
    n, shape = len(size), call.shape()
    axes = zip(shape[2:], size, _per_axis(call, "strides", n), _pairs(call, n), strict=True)
    return call.emit(pools.Unpool(tuple((length - 1) * s - sum(pair) + k for length, k, s, pair in axes)), call.value(), places)


# Normalisation -------------------------------------------------------------------------------------------------------------


def batch_norm(call: Call) -> Values:
    call.expect("training_mode", 0)
    call.expect("spatial", 1)
    arrays = {name: call.known(i, name) for i, name in enumerate(("weight", "bias", "mean", "variance"), start=1)}
    op = BatchNorm(momentum=1 - call.setting("momentum", 0.9), epsilon=call.setting("epsilon", 1e-5))
    return call.emit(op, call.value(), arrays=arrays)


def group_norm(call: Call) -> Values:
    weight, bias = call.known(1, "scale"), call.known(2, "bias")
    groups: int | str = "each"
    if call.node.kind == "GroupNormalization":
        groups = call.setting("num_groups", 1)
        if call.opset < 21:  # scale and bias were one for each group
            per_group = call.shape()[1] // groups
            weight, bias = np.repeat(weight, per_group), np.repeat(bias, per_group)
    op = GroupNorm(groups, epsilon=call.setting("epsilon", 1e-5))
    return call.emit(op, call.value(), arrays={"weight": weight, "bias": bias})


def layer_norm(call: Call) -> Values:
    if call.wants(1) or call.wants(2):
        raise call.refuse("its mean and deviation as outputs are not understood")
    weight, axis = call.known(1, "scale"), call.setting("axis", -1)
    count = -axis if axis < 0 else len(call.shape()) - axis
    if weight.ndim != count:
        raise call.refuse(f"a scale of shape {weight.shape} for {count} axes")
    arrays = {"weight": weight, "bias": call.known(2, "bias") if call.has(2) else np.zeros_like(weight)}
    return call.emit(LayerNorm(count, epsilon=call.setting("epsilon", 1e-5)), call.value(), arrays=arrays)


def local_response_norm(call: Call) -> Values:
    op = LocalResponseNorm(call.setting("size", 1), call.setting("alpha", 1e-4), call.setting("beta", 0.75), call.setting("bias", 1.0))
    return call.emit(op, call.value())


# Recurrent -----------------------------------------------------------------------------------------------------------------


def recurrent(call: Call) -> Values:
    """LSTM and GRU with the usual activations, whose sequences all have the same length; batches may stand first (layout 1)."""
    lstm = call.node.kind == "LSTM"
    usual = (["Sigmoid", "Tanh", "Tanh"] if lstm else ["Sigmoid", "Tanh"])
    given = call.optional("activations")
    if given is not None and (len(given) % len(usual) or given != usual * (len(given) // len(usual))):
        raise call.refuse(f"activations (={given}) are not understood")
    call.expect("input_forget", 0)
    if call.optional("clip") is not None or call.has(7):
        raise call.refuse("clip and peepholes are not understood")
    if call.has(4) and set(call.integers(4, "sequence_lens")) != {call.shape()[call.setting("layout", 0)]}:
        raise call.refuse("sequences of several lengths are not understood")
    weight, again = call.known(1, "weights"), call.known(2, "weights")
    bias = call.known(3, "bias") if call.has(3) else np.zeros((len(weight), 2 * weight.shape[1]), weight.dtype)
    arrays = {"weight": weight, "recurrent": again, "bias": bias}
    features, direction = again.shape[2], call.setting("direction", "forward")
    op = LSTM(features, direction) if lstm else GRU(features, direction, "after" if call.setting("linear_before_reset", 0) else "before")
    batch_first = bool(call.setting("layout", 0))
    x = _swapped(call, call.value(), 0, 1) if batch_first else call.value()
    states = _states(call, op, batch_first)
    if not batch_first:
        return call.emit(op, x, *states, arrays=arrays)
    made = call.steps(op, x, *states, arrays=arrays)
    y = _swapped(call, _swapped(call, made[0], 0, 2), 1, 2)
    return (y, *(_swapped(call, state, 0, 1) for state in made[1:]))


def _states(call: Call, op: LSTM | GRU, batch_first: bool) -> list[Value]:
    """The states to start from; where only some are given, the others are zeros."""
    given = [call.value(i) if call.has(i) else None for i in (5, 6)[: op.states]]
    there = [value for value in given if value is not None]
    if not there:
        return []
    if len(there) < len(given):
        shape = next(value.shape for value in there)
        if shape is None:
            raise NeedsShapes
        there = [value or Known(np.zeros(shape, np.float32), f"{call.node.name}/zeros", stored=False) for value in given]
    return [_swapped(call, value, 0, 1) for value in there] if batch_first else there


def _swapped(call: Call, value: Value, a: int, b: int) -> Value:
    axes = list(range(4 if {a, b} & {2} else 3))
    axes[a], axes[b] = axes[b], axes[a]
    return call.step(Transpose(tuple(axes)), value)


# Resizing ------------------------------------------------------------------------------------------------------------------


def resize(call: Call) -> Values:
    mode = {"nearest": "nearest", "linear": "linear", "bilinear": "linear", "cubic": "cubic"}.get(call.setting("mode", "nearest"))
    if mode is None:
        call.expect("mode", "nearest", "linear", "cubic")
    call.expect("antialias", 0)
    call.expect("exclude_outside", 0)
    call.expect("keep_aspect_ratio_policy", "stretch")
    old = call.opset < 11  # Upsample, and Resize 10: no coordinates are named, o/r is meant, and floor
    coordinates = "asymmetric" if old else call.setting("coordinate_transformation_mode", "half_pixel")
    rounding = "floor" if old else call.setting("nearest_mode", "round_prefer_floor")
    if coordinates not in COORDINATES or rounding not in ROUNDINGS:
        raise call.refuse(f"coordinates {coordinates}, {rounding} are not understood")
    scale, size = _resized(call, old)
    whole = scale is None or all(float(s).is_integer() for s in scale)
    if whole and mode == "linear" and coordinates in ("half_pixel", "align_corners"):
        return call.emit(Resize(size, scale, "linear", align_corners=coordinates == "align_corners"), call.value())
    if whole and scale is not None and mode == "nearest" and _repeats(coordinates, rounding):
        return call.emit(Resize(scale=scale), call.value())
    slope = call.setting("cubic_coeff_a", -0.75)
    return call.emit(Resample(size, scale, str(mode), coordinates, rounding, slope), call.value())


def _repeats(coordinates: str, rounding: str) -> bool:
    """Whether a whole scale just repeats every element: o/r and floor, or the element whose centre is nearest."""
    if coordinates == "asymmetric":
        return rounding == "floor"
    return coordinates in ("half_pixel", "half_pixel_symmetric") and rounding.startswith("round")


def _resized(call: Call, old: bool) -> tuple[tuple[float, ...] | None, tuple[int, ...] | None]:
    """Scales or sizes of the spatial axes; one of them is None."""
    if old:
        scales = call.setting("scales", [1.0]) if "scales" in call.node.attributes else _floats(call, 1)
        sizes = None
    else:
        scales = _floats(call, 2) if call.has(2) else []
        sizes = call.integers(3, "sizes") if call.has(3) and not scales else None
    given = scales if sizes is None else sizes
    axes = call.optional("axes") or list(range(len(given)))
    ends = axes and axes == list(range(axes[0], axes[0] + len(axes))) and axes[0] in (0, 2)  # the usual ones, to the last axis
    rank = axes[-1] + 1 if ends else len(call.shape())
    by_axis = {axis % rank: value for axis, value in zip(axes, given, strict=True)}
    if sizes is None:
        if any(by_axis.get(axis, 1) != 1 for axis in (0, 1)):
            raise call.refuse("batch and channels cannot be resized")
        return tuple(float(by_axis.get(axis, 1)) for axis in range(2, rank)), None
    if any(axis in by_axis and by_axis[axis] != call.shape()[axis] for axis in (0, 1)):
        raise call.refuse("batch and channels cannot be resized")
    return None, tuple(int(by_axis[axis] if axis in by_axis else call.shape()[axis]) for axis in range(2, rank))


def _floats(call: Call, i: int) -> list[float]:
    return [float(value) for value in call.known(i, "scales").reshape(-1)]
