"""ONNX operators with settings drawn at random, read by juanji and run beside onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from juanji import nn

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

Array = np.ndarray
Drawn = tuple[list[Any], list[Array], list[Array]]  # nodes from "x" to "y", further inputs as stored arrays, the inputs that flow
DRAWS = 30


def node(kind: str, inputs: int, outputs: int = 1, **settings: Any) -> Any:
    names = ["x", *(f"w{i}" for i in range(inputs - 1))]
    return onnx.helper.make_node(kind, names, ["y", *(f"y{i}" for i in range(1, outputs))], "drawn", **settings)


def some(random: np.random.Generator, *shape: int) -> Array:
    return random.normal(0, 1, shape).astype(np.float32)


def ints(random: np.random.Generator, n: int, low: int, high: int) -> list[int]:
    return [int(value) for value in random.integers(low, high, n)]


def sizes(random: np.random.Generator, n: int) -> list[int]:
    return ints(random, n, 7, 12) if n < 3 else ints(random, n, 5, 8)


def padding(random: np.random.Generator, kernel: list[int]) -> dict[str, Any]:
    choice = random.integers(4)
    if choice < 2:
        return {"pads": [int(random.integers(0, k)) for k in kernel * 2]}
    return {"auto_pad": ("SAME_UPPER", "SAME_LOWER", "VALID")[random.integers(3)]}


def conv(random: np.random.Generator) -> Drawn:
    n, group, per = int(random.integers(1, 4)), int(random.integers(1, 4)), int(random.integers(1, 3))
    kernel = ints(random, n, 1, 4)
    weights = [some(random, group * per, 2, *kernel)] + ([some(random, group * per)] if random.integers(2) else [])
    pads = padding(random, kernel)
    dilations = [1] * n if "auto_pad" in pads else ints(random, n, 1, 3)
    drawn = node("Conv", 1 + len(weights), group=group, strides=ints(random, n, 1, 4), dilations=dilations, **pads)
    return [drawn], weights, [some(random, 2, group * 2, *sizes(random, n))]


def conv_transpose(random: np.random.Generator) -> Drawn:
    n, group, per = int(random.integers(1, 4)), int(random.integers(1, 4)), int(random.integers(1, 3))
    kernel, strides, dilations = ints(random, n, 1, 4), ints(random, n, 1, 4), ints(random, n, 1, 3)
    weights = [some(random, group * 2, per, *kernel)] + ([some(random, group * per)] if random.integers(2) else [])
    settings: dict[str, Any] = {"pads": [int(random.integers(0, d * (k - 1) + 1)) for k, d in zip(kernel * 2, dilations * 2, strict=True)]}
    if random.integers(2):
        settings["output_padding"] = [int(random.integers(0, s)) for s in strides]
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    if not random.integers(3) and all(span >= s for span, s in zip(spans, strides, strict=True)):  # onnxruntime's output is smaller else
        settings = {"auto_pad": ("SAME_UPPER", "SAME_LOWER")[random.integers(2)]}
    x = some(random, 2, group * 2, *ints(random, n, 4, 7))
    if not random.integers(3) and "auto_pad" not in settings:
        most = [(s - 1) * t + d * (k - 1) + 1 for s, t, k, d in zip(x.shape[2:], strides, kernel, dilations, strict=True)]
        settings = {"output_shape": [int(m - random.integers(0, 3)) for m in most]}
        if min(settings["output_shape"]) < 1:
            settings = {}
    return [node("ConvTranspose", 1 + len(weights), group=group, strides=strides, dilations=dilations, **settings)], weights, [x]


def pool(random: np.random.Generator) -> Drawn:
    n, kind = int(random.integers(1, 4)), ("MaxPool", "AveragePool", "LpPool")[random.integers(3)]
    kernel = ints(random, n, 2, 4)
    settings: dict[str, Any] = {"kernel_shape": kernel, "strides": ints(random, n, 1, 4), **padding(random, kernel)}
    if "auto_pad" not in settings:
        settings["ceil_mode"] = int(random.integers(2))
        settings["dilations"] = ints(random, n, 1, 3)
    if kind == "AveragePool":
        settings["count_include_pad"] = int(random.integers(2))
        if settings.get("ceil_mode"):
            settings["dilations"] = [1] * n
    if kind == "LpPool":
        settings["p"] = int(random.integers(1, 4))
    return [node(kind, 1, **settings)], [], [some(random, 2, 3, *sizes(random, n))]


def resize(random: np.random.Generator) -> Drawn:
    n, mode = int(random.integers(1, 3)), ("nearest", "linear", "cubic")[random.integers(3)]
    n = 2 if mode == "cubic" else n
    modes = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
    settings: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": modes[random.integers(4)]}
    if mode == "nearest":
        settings["nearest_mode"] = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")[random.integers(4)]
    x = some(random, 2, 3, *sizes(random, n))
    none = np.zeros(0, np.float32)
    if random.integers(2):
        scales = random.choice([0.5, 1, 2, 3, 1.25, 0.75], n)
        return [node("Resize", 3, **settings)], [none, np.array([1, 1, *scales], np.float32)], [x]
    to = np.array([2, 3, *ints(random, n, 2, 20)], np.int64)
    return [node("Resize", 4, **settings)], [none, none, to], [x]


def pad(random: np.random.Generator) -> Drawn:
    n, mode = int(random.integers(1, 5)), ("constant", "reflect", "edge", "wrap")[random.integers(4)]
    x = some(random, *ints(random, n, 4, 7))
    low = -2 if mode == "constant" else 0
    sides = np.array(ints(random, 2 * n, low, 4), np.int64)
    return [node("Pad", 3, mode=mode)], [sides, np.array(1.5, np.float32)], [x]


def cut(random: np.random.Generator) -> Drawn:
    x = some(random, *ints(random, 4, 4, 9))
    count = int(random.integers(1, 5))
    axes = random.permutation(4)[:count] - 4 * random.integers(0, 2, count)
    steps = random.choice([-2, -1, 1, 1, 2, 3], count)
    starts = np.where(steps > 0, random.integers(-9, 3, count), random.integers(3, 12, count))
    ends = np.where(steps > 0, random.choice([3, 4, 2**62], count), random.choice([-20, -(2**62), 0], count))
    return [node("Slice", 5)], [np.asarray(row, np.int64) for row in (starts, ends, axes, steps)], [x]


def reduction(random: np.random.Generator) -> Drawn:
    kinds = ["Mean", "Sum", "Max", "Min", "L1", "L2", "SumSquare", "LogSumExp"]
    axes = np.array(random.permutation(4)[: random.integers(1, 4)] - 4 * random.integers(2), np.int64)
    stored = [axes] if random.integers(4) else []
    drawn = node(f"Reduce{kinds[random.integers(8)]}", 1 + len(stored), keepdims=int(random.integers(2)))
    return [drawn], stored, [some(random, *ints(random, 4, 2, 6))]


def gemm(random: np.random.Generator) -> Drawn:
    m, k, n = ints(random, 3, 2, 6)
    a, b = random.integers(0, 2, 2).tolist()
    c = [some(random, *shape) for shape in ([(n,), (1, n), (m, n), (m, 1), ()][random.integers(5)],)] if random.integers(4) else []
    settings = {"transA": a, "transB": b, "alpha": float(random.choice([1, 0.5])), "beta": float(random.choice([1, 2]))}
    x = some(random, *((k, m) if a else (m, k)))
    return [node("Gemm", 2 + len(c), **settings)], [some(random, *((n, k) if b else (k, n))), *c], [x]


def recurrent(random: np.random.Generator) -> Drawn:
    kind, gates = (("LSTM", 4), ("GRU", 3))[random.integers(2)]
    t, n, f, h = ints(random, 4, 1, 6)
    direction = ("forward", "reverse", "bidirectional")[random.integers(3)]
    d = 2 if direction == "bidirectional" else 1
    settings: dict[str, Any] = {"hidden_size": h, "direction": direction}
    if kind == "GRU":
        settings["linear_before_reset"] = int(random.integers(2))
    stored = [some(random, d, gates * h, f), some(random, d, gates * h, h), some(random, d, 2 * gates * h)]
    names = ["x", "w0", "w1", "w2"]
    states = random.integers(3)
    if states:
        stored.append(some(random, d, n, h))
        names += ["", "w3"]
        if kind == "LSTM" and states == 2:
            stored.append(some(random, d, n, h))
            names.append("w4")
    outputs = ["y", "y1", "y2"][: 3 if kind == "LSTM" else 2]
    return [onnx.helper.make_node(kind, names, outputs, "drawn", **settings)], stored, [some(random, t, n, f)]


def normalised(random: np.random.Generator) -> Drawn:
    n = int(random.integers(1, 4))
    x = some(random, 2, 4, *ints(random, n, 2, 6))
    match random.integers(5):
        case 0:
            stored = [some(random, 4), some(random, 4), some(random, 4), random.random(4).astype(np.float32) + 0.1]
            return [node("BatchNormalization", 5, epsilon=1e-3)], stored, [x]
        case 1:
            return [node("InstanceNormalization", 3, epsilon=1e-3)], [some(random, 4), some(random, 4)], [x]
        case 2:
            return [node("GroupNormalization", 3, num_groups=2)], [some(random, 4), some(random, 4)], [x]
        case 3:
            axis = int(random.integers(1, x.ndim)) - x.ndim * int(random.integers(2))
            shape = x.shape[axis:]
            stored = [some(random, *shape)] + ([some(random, *shape)] if random.integers(2) else [])
            return [node("LayerNormalization", 1 + len(stored), axis=axis)], stored, [x]
    drawn = node("LRN", 1, size=int(random.choice([1, 3, 5])), alpha=0.3, beta=0.6, bias=1.5)
    return [drawn], [], [some(random, 2, 6, 5, 4)]  # onnxruntime has it for pictures


FAMILIES = [conv, conv_transpose, pool, resize, pad, cut, reduction, gemm, recurrent, normalised]


def model_of(nodes: list[Any], stored: list[Array], flowing: list[Array], opset: int = 21) -> Any:
    info = onnx.helper.make_tensor_value_info
    kinds = onnx.TensorProto
    graph = onnx.helper.make_graph(
        nodes,
        "drawn",
        [info("x", kinds.FLOAT, flowing[0].shape)],
        [info(name, kinds.FLOAT, None) for name in nodes[-1].output],
        [onnx.numpy_helper.from_array(array, f"w{i}") for i, array in enumerate(stored)],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=10)


@pytest.mark.parametrize("family", FAMILIES)
def test_drawn_operators_equal_onnxruntime(family: Callable[[np.random.Generator], Drawn]) -> None:
    for seed in range(DRAWS):
        nodes, stored, flowing = family(np.random.default_rng(seed))
        model = model_of(nodes, stored, flowing)
        theirs = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": flowing[0]})
        ours = nn.from_onnx(model).run({"x": flowing[0]})
        for value, name in zip(theirs, nodes[-1].output, strict=True):
            np.testing.assert_allclose(ours[name], value, rtol=2e-5, atol=2e-5, err_msg=f"{seed} {nodes}", strict=True)
