"""How each operator is written in ONNX. A writer takes an operator's place and gives the names of its outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from juanji import boundary as boundaries
from juanji.describe import Activation, parse_boundaries, parse_padding, per_axis
from juanji.nn import activations, joins, layers, moves, norms, pools
from juanji.nn.formats.onnx_writing import Place
from juanji.nn.operator import Operator, Run, Shape
from juanji.nn.operators import arithmetic, layouts, recurrent, reductions, resampling, response_norm
from juanji.pooling import window_weights
from juanji.windows import Pooling, bins

Names = list[str]
GLOBAL = {"max": "GlobalMaxPool", "avg": "GlobalAveragePool", "lp": "GlobalLpPool"}
REDUCED = {
    "max": "ReduceMax", "min": "ReduceMin", "mean": "ReduceMean", "avg": "ReduceMean", "sum": "ReduceSum", "l1": "ReduceL1",
    "l2": "ReduceL2", "lp": "ReduceL2",
}  # fmt: skip
FUNCTIONS = {
    "abs": "Abs", "negative": "Neg", "reciprocal": "Reciprocal", "sqrt": "Sqrt", "exp": "Exp", "log": "Log", "sin": "Sin", "cos": "Cos",
    "erf": "Erf", "softplus": "Softplus", "softsign": "Softsign", "mish": "Mish", "hard_swish": "HardSwish", "sign": "Sign",
    "floor": "Floor", "ceil": "Ceil", "round": "Round",
}  # fmt: skip


def simple(kind: str, *settings: str, **fixed: Any) -> Callable[[Place], Names]:
    """An operator that ONNX has, with settings of the same names."""
    return lambda place: place.give(kind, *place.inputs, **fixed, **{name: getattr(place.op, name) for name in settings})


def _ends(sides: Sequence[tuple[int, int]]) -> list[int]:
    return [low for low, _ in sides] + [high for _, high in sides]


# Convolutions --------------------------------------------------------------------------------------------------------------


def activated(place: Place, y: str, activation: Activation) -> str:
    """The activation that is fused with a convolution, as a node of its own."""
    kind, parameter = (activation, 0.01) if isinstance(activation, str) else activation or (None, 0.0)
    match kind:
        case None:
            return y
        case "relu6":
            return place.step("Clip", y, place.number("low", 0), place.number("high", 6))
        case "leaky_relu":
            return place.step("LeakyRelu", y, alpha=float(parameter))
    return place.step({"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}[str(kind)], y)


def _bias(place: Place) -> tuple[str, ...]:
    return (place.parameter("bias"),) if "bias" in place.writing.net.arrays_of(place.node) else ()


def conv(place: Place) -> Names:
    op, (shape,) = place.op, place.shapes
    assert isinstance(op, layers.Conv | layers.Filter)
    own = op if isinstance(op, layers.Conv) else layers.depthwise(op, shape[1], len(shape) - 2)
    if own.sharing != "shared":
        raise place.refuse(f"it has no {own.sharing} weights")
    spec = layers.conv_spec(own, shape)
    x, sides = place.inputs[0], spec.padding
    modes = parse_boundaries(own.boundary, len(sides))
    if any(mode != boundaries.ZERO for mode in modes):
        x = place.padded(x, shape, ((0, 0), (0, 0), *sides), (boundaries.ZERO, boundaries.ZERO, *modes))
        sides = ((0, 0),) * len(sides)
    (y,) = place.give(
        "Conv", x, place.parameter("weight"), *_bias(place), kernel_shape=list(spec.kernel), strides=list(spec.stride),
        dilations=list(spec.dilation), pads=_ends(sides), group=spec.groups,
    )  # fmt: skip
    return [activated(place, y, own.activation)]


def conv_transpose(place: Place) -> Names:
    op, (shape,) = place.op, place.shapes
    assert isinstance(op, layers.ConvTranspose)
    spec = layers.transposed_spec(op, shape)
    if any(mode != boundaries.ZERO for mode in parse_boundaries(op.boundary, len(spec.kernel))):
        raise place.refuse(f"it has no boundary {op.boundary}")
    (y,) = place.give(
        "ConvTranspose", place.inputs[0], place.parameter("weight"), *_bias(place), kernel_shape=list(spec.kernel),
        strides=list(spec.stride), dilations=list(spec.dilation), pads=_ends(spec.padding), group=op.groups,
        output_padding=list(per_axis("output_padding", op.output_padding, len(spec.kernel), 0)),
    )  # fmt: skip
    return [activated(place, y, op.activation)]


def dense(place: Place) -> Names:
    return place.give("Gemm", place.inputs[0], place.parameter("weight"), *_bias(place), transB=1)


# Pooling -------------------------------------------------------------------------------------------------------------------


def _window(op: Any, shape: Shape) -> dict[str, Any]:
    """The attributes of a pooling."""
    n = len(shape) - 2
    size, dilation = per_axis("size", op.size, n, 1), per_axis("dilation", op.dilation, n, 1)
    stride = size if op.stride is None else per_axis("stride", op.stride, n, 1)
    sides = parse_padding(op.padding, shape[2:], size, stride, dilation)
    settings = {"kernel_shape": list(size), "strides": list(stride), "dilations": list(dilation)}
    return {**settings, "pads": _ends(sides), "ceil_mode": int(op.ceil_mode)}


def pool(place: Place) -> Names:
    op, settings = place.op, _window(place.op, place.shapes[0])
    match op:
        case pools.MaxPool():
            return place.give("MaxPool", *place.inputs, outputs=2 if op.places else 1, **settings)
        case pools.AvgPool():
            return place.give("AveragePool", *place.inputs, count_include_pad=int(op.count_include_pad), **settings)
        case pools.LpPool() if float(op.p).is_integer():
            return place.give("LpPool", *place.inputs, p=int(op.p), **settings)
    raise place.refuse("p must be an integer there")


def weighted_pool(place: Place) -> Names:
    """Σ w·x / Σ w: a convolution of each channel by itself, over the same convolution of ones."""
    op, (shape,) = place.op, place.shapes
    assert isinstance(op, pools.WeightedPool)
    if op.ceil_mode:
        raise place.refuse("convolutions have no ceil_mode")
    settings = _window(op, shape)
    del settings["ceil_mode"]
    weights = np.asarray(window_weights(op.weights, Pooling(op.axes(shape), "weighted", 1, 1, "channels_first", "float32")), np.float32)
    common = (op.size, settings["strides"], op.padding, op.dilation)
    ones = np.ones((1, 1, *shape[2:]), np.float32)
    below = layers.Conv(1, *common, bias=None).forward({"weight": weights[None, None]}, ones, run=Run())[0]
    kernel = place.number("weight", np.broadcast_to(weights, (shape[1], 1, *weights.shape)))
    (y,) = place.give("Conv", place.inputs[0], kernel, group=shape[1], **settings)
    return [place.step("Div", y, place.number("inside", below))]


def _binned(place: Place, x: str, shape: Shape, output: tuple[int, ...], kind: str, label: str) -> str:
    """Adaptive pooling, one axis after the other: each bin of an axis is cut out and reduced to one."""
    for axis, along in enumerate(bins(shape[2:], output), start=2):
        windows = along.windows
        parts = []
        for i, (first, count) in enumerate(zip(windows.first.tolist(), windows.count.tolist(), strict=True)):
            name = f"{label}{axis}_{i}"
            ends = (place.integers(f"{name}a", (first,)), place.integers(f"{name}b", (first + count,)))
            part = place.step("Slice", x, *ends, place.integers(f"axis{axis}", (axis,)))
            parts.append(place.step(REDUCED[kind], part, place.integers(f"axis{axis}", (axis,)), keepdims=1))
        x = place.step("Concat", *parts, axis=axis) if len(parts) > 1 else parts[0]
    return x


def adaptive_pool(place: Place) -> Names:
    op = place.op
    assert isinstance(op, pools.AdaptivePool)
    return [_binned(place, place.inputs[0], place.shapes[0], place.shape[2:], op.kind, "bin")]


def pyramid_pool(place: Place) -> Names:
    op, (shape,) = place.op, place.shapes
    assert isinstance(op, pools.PyramidPool)
    levels = [_binned(place, place.inputs[0], shape, (level,) * (len(shape) - 2), op.kind, f"level{level}_") for level in op.levels]
    return place.give("Concat", *(place.step("Flatten", level) for level in levels), axis=1)


def global_pool(place: Place) -> Names:
    op = place.op
    assert isinstance(op, pools.GlobalPool)
    y = place.give(GLOBAL[op.kind], place.inputs[0])
    return y if op.keep else [place.step("Flatten", y[0])]


def unpool(place: Place) -> Names:
    """Unpooling by a window whose only use is to tell the output's size: in + kernel − 1, with stride 1."""
    source = next((n for n in place.writing.net.nodes if place.node.inputs[1] in n.outputs), None)
    size, goal = place.shapes[0][2:], place.shape[2:]
    if source is None or place.writing.shapes[source.inputs[0]][2:] != goal or any(g < s for g, s in zip(goal, size, strict=True)):
        raise place.refuse("its places must be those of a MaxPool of a value of the result's size")
    return place.give("MaxUnpool", *place.inputs[:2], kernel_shape=[g - s + 1 for g, s in zip(goal, size, strict=True)])


# Normalisation -------------------------------------------------------------------------------------------------------------


def batch_norm(place: Place) -> Names:
    op = place.op
    assert isinstance(op, norms.BatchNorm)
    arrays = (place.parameter(name) for name in ("weight", "bias", "mean", "variance"))
    return place.give("BatchNormalization", *place.inputs, *arrays, epsilon=op.epsilon, momentum=1 - op.momentum)


def group_norm(place: Place) -> Names:
    op = place.op
    assert isinstance(op, norms.GroupNorm)
    arrays = (place.parameter("weight"), place.parameter("bias"))
    if op.groups in ("each", place.shapes[0][1]):
        return place.give("InstanceNormalization", *place.inputs, *arrays, epsilon=op.epsilon)
    return place.give("GroupNormalization", *place.inputs, *arrays, epsilon=op.epsilon, num_groups=op.groups)


def layer_norm(place: Place) -> Names:
    op = place.op
    assert isinstance(op, norms.LayerNorm)
    count = len(place.shapes[0]) - 1 if op.axes is None else op.axes
    arrays = (place.parameter("weight"), place.parameter("bias"))
    return place.give("LayerNormalization", *place.inputs, *arrays, epsilon=op.epsilon, axis=-count)


def local_response_norm(place: Place) -> Names:
    op = place.op
    assert isinstance(op, response_norm.LocalResponseNorm)
    return place.give("LRN", *place.inputs, size=op.size, alpha=op.alpha, beta=op.beta, bias=op.k)


def dropout(place: Place) -> Names:
    op = place.op
    assert isinstance(op, norms.Dropout)
    return place.give("Dropout", *place.inputs, place.number("rate", op.rate))


# Activations and arithmetic ------------------------------------------------------------------------------------------------


def clip(place: Place) -> Names:
    op = place.op
    low, high = (op.low, op.high) if isinstance(op, arithmetic.Clip) else (0.0, 6.0)
    limits = ["" if limit is None else place.number(name, limit) for name, limit in (("low", low), ("high", high))]
    return place.give("Clip", *place.inputs, *limits)


def elu(place: Place) -> Names:
    op = place.op
    assert isinstance(op, arithmetic.ELU)
    if op.width == 1:
        return place.give("Selu", *place.inputs, alpha=op.alpha, gamma=op.scale)
    if op.width != op.alpha:
        raise place.refuse("width must be 1 or alpha there")
    y = place.give("Celu", *place.inputs, alpha=op.alpha)
    return y if op.scale == 1 else [place.step("Mul", y[0], place.number("scale", op.scale))]


def threshold(place: Place) -> Names:
    op = place.op
    assert isinstance(op, arithmetic.Threshold)
    if op.low is None and op.shift == 0:
        return place.give("ThresholdedRelu", *place.inputs, alpha=op.high)
    if op.low != -op.high:
        raise place.refuse("low must be −high there, or None without a shift")
    return place.give("Shrink", *place.inputs, lambd=op.high, bias=op.shift)


def silu(place: Place) -> Names:
    return place.give("Mul", place.inputs[0], place.step("Sigmoid", place.inputs[0]))


def gelu(place: Place) -> Names:
    op = place.op
    assert isinstance(op, activations.GELU)
    return place.give("Gelu", *place.inputs, approximate="tanh" if op.approximate else "none")


def add(place: Place) -> Names:
    return place.give("Sum", *place.inputs)


def function(place: Place) -> Names:
    op = place.op
    assert isinstance(op, arithmetic.Function)
    return place.give(FUNCTIONS[op.function], *place.inputs)


def reduce(place: Place) -> Names:
    op = place.op
    assert isinstance(op, reductions.Reduce)
    axes = () if op.axes is None else (place.integers("axes", op.axes),)
    return place.give(REDUCED[op.kind], *place.inputs, *axes, keepdims=int(op.keep))


# Recurrent -----------------------------------------------------------------------------------------------------------------


def recurrent_layer(place: Place) -> Names:
    op = place.op
    assert isinstance(op, recurrent.LSTM | recurrent.GRU)
    settings: dict[str, Any] = {"hidden_size": op.features, "direction": op.direction}
    if isinstance(op, recurrent.GRU):
        settings["linear_before_reset"] = int(op.reset == "after")
    arrays = [place.parameter(name) for name in ("weight", "recurrent", "bias")]
    kind = "LSTM" if isinstance(op, recurrent.LSTM) else "GRU"
    states = ("", *place.inputs[1:]) if len(place.inputs) > 1 else ()
    return place.give(kind, place.inputs[0], *arrays, *states, outputs=op.outputs, **settings)


# Layouts -------------------------------------------------------------------------------------------------------------------


def constant(place: Place) -> Names:
    return [place.writing.array(place.node.outputs[0], place.writing.net.arrays_of(place.node)["value"])]


def reshape(place: Place) -> Names:
    op = place.op
    to = (0, *op.to) if isinstance(op, moves.Reshape) else op.to if isinstance(op, layouts.Rearrange) else ()
    return place.give("Reshape", place.inputs[0], place.integers("shape", to))


def pad(place: Place) -> Names:
    op, (shape,) = place.op, place.shapes
    n = len(shape) - 2
    if isinstance(op, moves.Pad):
        sides = ((0, 0), (0, 0), *moves.sides_of("padding", op.padding, n))
        modes = (boundaries.ZERO, boundaries.ZERO, *parse_boundaries(op.boundary, n))
    else:
        assert isinstance(op, layouts.PadAxes)
        sides, modes = tuple(op.sides), parse_boundaries(op.boundary, 1) * len(shape)
    return [place.padded(place.inputs[0], shape, sides, modes)]


def crop(place: Place) -> Names:
    op, n = place.op, len(place.shape) - 2
    assert isinstance(op, moves.Crop)
    kept = op.sees(tuple((0, size - 1) for size in place.shape[2:]), *place.shapes)[0]
    return _sliced(place, [first for first, _ in kept], [last + 1 for _, last in kept], range(2, 2 + n), (1,) * n)


def cut(place: Place) -> Names:
    op = place.op
    assert isinstance(op, layouts.Slice)
    return _sliced(place, op.starts, op.ends, op.axes, op.steps)


def _sliced(place: Place, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int], steps: Sequence[int]) -> Names:
    rows = zip(("starts", "ends", "axes", "steps"), (starts, ends, axes, steps), strict=True)
    return place.give("Slice", place.inputs[0], *(place.integers(name, row) for name, row in rows))


def transpose(place: Place) -> Names:
    op, n = place.op, len(place.shapes[0])
    assert isinstance(op, layouts.Transpose)
    return place.give("Transpose", *place.inputs, perm=list(reversed(range(n))) if op.axes is None else list(op.axes))


def axes_changed(place: Place) -> Names:
    op = place.op
    assert isinstance(op, layouts.AddAxes | layouts.DropAxes)
    axes = () if op.axes is None else (place.integers("axes", op.axes),)
    return place.give("Unsqueeze" if isinstance(op, layouts.AddAxes) else "Squeeze", *place.inputs, *axes)


def split(place: Place) -> Names:
    op = place.op
    assert isinstance(op, layouts.Split)
    sizes = [place.writing.shapes[name][op.axis] for name in place.node.outputs]
    return place.give("Split", *place.inputs, place.integers("sizes", sizes), outputs=op.outputs, axis=op.axis)


def expand(place: Place) -> Names:
    op = place.op
    assert isinstance(op, layouts.Expand)
    return place.give("Expand", *place.inputs, place.integers("shape", op.to))


def tile(place: Place) -> Names:
    op = place.op
    assert isinstance(op, layouts.Tile)
    return place.give("Tile", *place.inputs, place.integers("repeats", op.repeats))


def take(place: Place) -> Names:
    op = place.op
    assert isinstance(op, layouts.Take)
    return place.give("Gather", *place.inputs, place.number("places", op.places, np.int64), axis=op.axis)


def depth_to_space(place: Place) -> Names:
    op = place.op
    assert isinstance(op, layouts.DepthToSpace)
    return place.give("DepthToSpace", *place.inputs, blocksize=op.block, mode=op.order)


def space_to_depth(place: Place) -> Names:
    op = place.op
    assert isinstance(op, layouts.SpaceToDepth)
    if op.order != "DCR":
        raise place.refuse("order must be DCR there")
    return place.give("SpaceToDepth", *place.inputs, blocksize=op.block)


def resize(place: Place) -> Names:
    op = place.op
    if isinstance(op, moves.Resize):
        linear = "align_corners" if op.align_corners else "half_pixel"
        coordinates, rounding, slope = linear if op.mode == "linear" else "asymmetric", "floor", -0.75
    else:
        assert isinstance(op, resampling.Resample)
        coordinates, rounding, slope = op.coordinates, op.rounding, op.slope
    spatial = list(range(2, len(place.shape)))
    if isinstance(op, resampling.Resample) and op.scale is not None:  # the scale itself enters the coordinates
        scales = op.scale if isinstance(op.scale, Sequence) else (op.scale,) * len(spatial)
        given = ["", place.number("scales", scales, np.float32)]
    else:
        given = ["", "", place.integers("sizes", place.shape[2:])]
    return place.give(
        "Resize", place.inputs[0], *given, axes=spatial, mode=op.mode, coordinate_transformation_mode=coordinates,
        nearest_mode=rounding, cubic_coeff_a=slope,
    )  # fmt: skip


FORMS: dict[type[Operator], Callable[[Place], Names]] = {
    layers.Conv: conv,
    layers.ConvTranspose: conv_transpose,
    layers.Filter: conv,
    layers.Dense: dense,
    activations.ReLU: simple("Relu"),
    activations.ReLU6: clip,
    activations.LeakyReLU: lambda place: place.give("LeakyRelu", *place.inputs, alpha=getattr(place.op, "slope", 0.01)),
    activations.Sigmoid: simple("Sigmoid"),
    activations.Tanh: simple("Tanh"),
    activations.HardSigmoid: lambda place: place.give(
        "HardSigmoid", *place.inputs, alpha=getattr(place.op, "slope", 0.0), beta=getattr(place.op, "offset", 0.0)
    ),
    activations.SiLU: silu,
    activations.GELU: gelu,
    activations.Softmax: simple("Softmax", "axis"),
    joins.Add: add,
    joins.Multiply: simple("Mul"),
    joins.Concatenate: simple("Concat", "axis"),
    pools.MaxPool: pool,
    pools.AvgPool: pool,
    pools.LpPool: pool,
    pools.WeightedPool: weighted_pool,
    pools.AdaptivePool: adaptive_pool,
    pools.GlobalPool: global_pool,
    pools.PyramidPool: pyramid_pool,
    pools.Unpool: unpool,
    norms.BatchNorm: batch_norm,
    norms.GroupNorm: group_norm,
    norms.LayerNorm: layer_norm,
    norms.Dropout: dropout,
    response_norm.LocalResponseNorm: local_response_norm,
    moves.Constant: constant,
    moves.Flatten: simple("Flatten", axis=1),
    moves.Reshape: reshape,
    moves.Pad: pad,
    moves.Crop: crop,
    moves.Resize: resize,
    resampling.Resample: resize,
    arithmetic.Function: function,
    arithmetic.Clip: clip,
    arithmetic.ELU: elu,
    arithmetic.Threshold: threshold,
    arithmetic.LogSoftmax: simple("LogSoftmax", "axis"),
    arithmetic.Subtract: simple("Sub"),
    arithmetic.Divide: simple("Div"),
    arithmetic.Power: simple("Pow"),
    arithmetic.Maximum: simple("Max"),
    arithmetic.Minimum: simple("Min"),
    arithmetic.PReLU: simple("PRelu"),
    arithmetic.MatMul: simple("MatMul"),
    reductions.Reduce: reduce,
    recurrent.LSTM: recurrent_layer,
    recurrent.GRU: recurrent_layer,
    layouts.Rearrange: reshape,
    layouts.Transpose: transpose,
    layouts.AddAxes: axes_changed,
    layouts.DropAxes: axes_changed,
    layouts.Slice: cut,
    layouts.Split: split,
    layouts.Expand: expand,
    layouts.Tile: tile,
    layouts.Take: take,
    layouts.PadAxes: pad,
    layouts.DepthToSpace: depth_to_space,
    layouts.SpaceToDepth: space_to_depth,
}
