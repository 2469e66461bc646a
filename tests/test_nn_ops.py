"""Every operator of networks: its gradients against finite differences, its shape rule, its place in a receptive field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from juanji import nn
from juanji.errors import ArgumentError, ShapeError
from juanji.nn.operator import OPERATORS, Operator, Run

Shape = tuple[int, ...]
PICTURE, SERIES, VOLUME = (2, 4, 7, 6), (2, 4, 9), (2, 2, 5, 4, 6)
GAUSS = np.outer([1, 2, 1], [1, 2, 1]) / 16

# operator, shapes of its inputs
CASES: list[tuple[Operator, Sequence[Shape]]] = [
    (nn.Conv(6, 3), [PICTURE]),
    (nn.Conv(6, 3, stride=2, padding="same", groups=2, bias=None), [PICTURE]),
    (nn.Conv(8, (3, 2), dilation=(2, 1), padding=((1, 2), (0, 1)), boundary=("reflect", "wrap"), groups="each", bias=0.5), [PICTURE]),
    (nn.Conv(3, 3, sharing="local"), [PICTURE]),
    (nn.Conv(3, 3, sharing="tiled", sites=2, padding=1), [PICTURE]),
    (nn.Conv(3, 4, stride=3), [SERIES]),
    (nn.Conv(3, 2, padding=1), [VOLUME]),
    (nn.Conv(3, 3, activation="relu"), [PICTURE]),
    (nn.Conv(3, 3, activation="relu6", weight=nn.Normal(3.0)), [PICTURE]),
    (nn.Conv(3, 3, activation=("leaky_relu", 0.2)), [PICTURE]),
    (nn.Conv(3, 3, activation="sigmoid"), [PICTURE]),
    (nn.Conv(3, 3, activation="tanh"), [PICTURE]),
    (nn.ConvTranspose(3, 3, stride=2, output_padding=1, padding=1), [PICTURE]),
    (nn.ConvTranspose(6, (2, 3), stride=(2, 1), groups=2, activation="tanh"), [PICTURE]),
    (nn.ConvTranspose(2, 3, dilation=2, bias=None), [SERIES]),
    (nn.Filter(GAUSS), [PICTURE]),
    (nn.Filter([1.0, 0, -1], stride=2, boundary="zero"), [SERIES]),
    (nn.Dense(5), [(3, 7)]),
    (nn.Dense(5, bias=None, weight="glorot"), [(3, 7)]),
    (nn.ReLU(), [PICTURE]),
    (nn.ReLU6(), [PICTURE]),
    (nn.LeakyReLU(0.1), [PICTURE]),
    (nn.Sigmoid(), [PICTURE]),
    (nn.Tanh(), [PICTURE]),
    (nn.HardSigmoid(), [PICTURE]),
    (nn.SiLU(), [PICTURE]),
    (nn.GELU(), [PICTURE]),
    (nn.GELU(approximate=True), [PICTURE]),
    (nn.Softmax(), [PICTURE]),
    (nn.Softmax(axis=-1), [(3, 7)]),
    (nn.Add(), [PICTURE, PICTURE, (2, 4, 1, 1)]),
    (nn.Multiply(), [PICTURE, (2, 4, 1, 1)]),
    (nn.Multiply(), [PICTURE, (6,)]),
    (nn.Concatenate(), [PICTURE, (2, 3, 7, 6)]),
    (nn.Concatenate(axis=3), [PICTURE, (2, 4, 7, 2)]),
    (nn.MaxPool(2), [PICTURE]),
    (nn.MaxPool(3, stride=2, padding=1, ceil_mode=True), [PICTURE]),
    (nn.AvgPool(3, stride=2, padding=1, count_include_pad=True), [PICTURE]),
    (nn.AvgPool(2), [VOLUME]),
    (nn.LpPool(2, p=3), [PICTURE]),
    (nn.WeightedPool(3, stride=1), [PICTURE]),
    (nn.AdaptivePool((3, 2)), [PICTURE]),
    (nn.AdaptivePool(2, kind="max"), [SERIES]),
    (nn.GlobalPool(), [PICTURE]),
    (nn.GlobalPool("max", keep=True), [VOLUME]),
    (nn.PyramidPool(), [PICTURE]),
    (nn.BatchNorm(), [PICTURE]),
    (nn.BatchNorm(), [(5, 3)]),
    (nn.GroupNorm(2), [PICTURE]),
    (nn.GroupNorm("each"), [SERIES]),
    (nn.LayerNorm(), [PICTURE]),
    (nn.LayerNorm(axes=1), [PICTURE]),
    (nn.Dropout(0.4), [PICTURE]),
    (nn.Dropout(0.4, whole_maps=True), [PICTURE]),
    (nn.Flatten(), [PICTURE]),
    (nn.Reshape((7, -1)), [PICTURE]),
    (nn.Pad(((2, 1), (0, 3)), boundary=("edge", "reflect")), [PICTURE]),
    (nn.Pad(2, boundary=("constant", 3.0)), [SERIES]),
    (nn.Crop(((2, 1), (0, 3))), [PICTURE]),
    (nn.Crop(), [PICTURE, (2, 1, 4, 4)]),
    (nn.Resize(scale=2), [PICTURE]),
    (nn.Resize(size=(5, 9), mode="linear"), [PICTURE]),
    (nn.Resize(size=4, mode="linear", align_corners=True), [VOLUME]),
    (nn.Resize(mode="linear"), [PICTURE, (2, 1, 9, 4)]),
    (nn.Constant(np.arange(6.0).reshape(1, 6), trained=True), []),
]  # fmt: skip
IDS = [f"{i}-{op}" for i, (op, _) in enumerate(CASES)]


def network(op: Operator, shapes: Sequence[Shape]) -> nn.Graph:
    """The operator alone, in float64."""
    inputs = [nn.Input(shape[1:] if len(shape) > 1 else None, f"x{i}") for i, shape in enumerate(shapes)]
    return nn.Graph(inputs, op(*inputs), preprocessing=None, seed=3)


def values_of(op: Operator, shapes: Sequence[Shape]) -> list[np.ndarray]:
    """Inputs none of which is near a kink."""
    random = np.random.default_rng(5)
    found = []
    for shape in shapes:
        x = random.normal(0, 2, shape)
        found.append(x + np.sign(x) * 0.05 + random.random(shape) * 1e-3)
    return found


def arrays_of(op: Operator, shapes: Sequence[Shape]) -> dict[str, np.ndarray]:
    random = np.random.default_rng(4)
    return {
        name: parameter.initial(random, parameter.shape, parameter.fans).astype(np.float64)
        for name, parameter in op.parameters(*shapes).items()
    }


@pytest.mark.parametrize(("op", "shapes"), CASES, ids=IDS)
@pytest.mark.parametrize("training", [False, True])
def test_gradients_equal_finite_differences(op: Operator, shapes: Sequence[Shape], training: bool) -> None:
    inputs, arrays = values_of(op, shapes), arrays_of(op, shapes)
    run = Run(training, (7,))

    def output(*xs: np.ndarray) -> np.ndarray:
        statistics = {name: array.copy() for name, array in arrays.items()}  # those of a batch normalisation change as it trains
        return np.asarray(op.forward(statistics, *xs, run=run)[0])

    y, saved = op.forward({name: array.copy() for name, array in arrays.items()}, *inputs, run=run)
    assert y.shape == op.shape(*shapes)
    dy = np.random.default_rng(6).normal(size=y.shape)
    back = op.backward(arrays, saved, dy, (True,) * len(inputs))
    checked = [(x, dx) for x, dx in zip(inputs, back.inputs, strict=True) if dx is not None]
    assert checked or not inputs
    assert back.parameters.keys() == {name for name in arrays if op.trains(name)}
    checked += [(arrays[name], gradient) for name, gradient in back.parameters.items()]
    random = np.random.default_rng(8)
    for array, gradient in checked:
        assert gradient.shape == array.shape
        for _ in range(3):
            direction = random.normal(size=array.shape)
            start, step = array.copy(), 1e-6
            array[...] = start + step * direction
            above = (output(*inputs) * dy).sum()
            array[...] = start - step * direction
            below = (output(*inputs) * dy).sum()
            array[...] = start
            expected = (above - below) / (2 * step)
            assert (gradient * direction).sum() == pytest.approx(expected, rel=2e-5, abs=2e-6 * np.abs(dy).sum() / 10)


def test_every_operator_is_checked() -> None:
    assert {type(op).__name__ for op, _ in CASES} | {"Unpool"} == {name for name, kind in OPERATORS.items() if kind.__module__ in HOME}


HOME = {f"juanji.nn.{module}" for module in ("layers", "activations", "joins", "pools", "norms", "moves")}


@pytest.mark.parametrize(("op", "shapes"), CASES, ids=IDS)
def test_outputs_depend_on_what_they_see_and_on_nothing_else(op: Operator, shapes: Sequence[Shape]) -> None:
    """One element of the output has a gradient only inside the region that `sees` names, and at its corners where nothing is padded."""
    if not shapes or not op.shape(*shapes)[2:] or any(len(shape) < 3 for shape in shapes):
        pytest.skip("has no spatial axes")
    inputs, arrays = values_of(op, shapes), arrays_of(op, shapes)
    y, saved = op.forward(arrays, *inputs, run=Run())
    place = tuple(size // 2 for size in y.shape[2:])
    dy = np.zeros_like(y)
    dy[(slice(None), slice(None), *place)] = np.random.default_rng(1).normal(size=y.shape[:2])
    back = op.backward(arrays, saved, dy, (True,) * len(inputs))
    boxes = op.sees(tuple((p, p) for p in place), *shapes)
    assert len(boxes) == len(shapes)
    padded = getattr(op, "boundary", "zero") != "zero"
    for x, dx, box in zip(inputs, back.inputs, boxes, strict=True):
        if dx is None or padded:
            continue
        outside = np.ones(x.shape, bool)
        outside[(slice(None), slice(None), *(slice(max(a, 0), max(b + 1, 0)) for a, b in box))] = False
        assert not dx[outside].any()
        if isinstance(op, nn.Conv) and op.activation is None and op.groups == 1:
            inside = tuple(slice(max(a, 0), min(b, size - 1) + 1) for (a, b), size in zip(box, x.shape[2:], strict=True))
            ends = dx[(slice(None), slice(None), *inside)]
            assert ends[(0, 0, *(0,) * len(box))]
            assert ends[(0, 0, *(-1,) * len(box))]


def test_unpool_puts_values_back_where_they_were_found() -> None:
    x = nn.Input((1, 4, 4))
    pooled = nn.MaxPool(2, places=True)(x)
    net = nn.Graph(x, nn.Unpool()(pooled[0], pooled[1], x))
    picture = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    y = net(picture)
    kept = np.zeros((4, 4), bool)
    kept[1::2, 1::2] = True
    assert (y[0, 0] == np.where(kept, picture[0, 0], 0)).all()
    back = net.record(picture).backward({"unpool1": np.ones((1, 1, 4, 4), np.float32)}, ["input"])
    assert (back.values["input"][0, 0] == kept).all()


def test_resize_is_the_usual_one() -> None:
    x = np.array([[[0.0, 4.0]]])
    linear, nearest = nn.Resize(scale=2, mode="linear"), nn.Resize(size=3)
    assert linear.forward({}, x, run=Run())[0].tolist() == [[[0.0, 1.0, 3.0, 4.0]]]
    assert nearest.forward({}, x, run=Run())[0].tolist() == [[[0.0, 0.0, 4.0]]]
    corners = replace(linear, scale=None, size=3, align_corners=True)
    assert corners.forward({}, x, run=Run())[0].tolist() == [[[0.0, 2.0, 4.0]]]


def test_batch_normalisation_remembers_what_it_saw() -> None:
    x = np.random.default_rng(0).normal(3, 2, (8, 2, 5)).astype(np.float32)
    net = nn.Sequential(nn.BatchNorm(momentum=1.0))
    y = net.record(x, training=True).values["norm1"]
    assert abs(y.mean()) < 1e-6
    assert net.buffers["norm1.mean"] == pytest.approx(x.mean(axis=(0, 2)), rel=1e-5)
    assert net.buffers["norm1.variance"] == pytest.approx(x.var(axis=(0, 2), ddof=1), rel=1e-5)
    assert set(net.parameters) == {"norm1.weight", "norm1.bias"}


def test_dropout_keeps_the_mean_and_draws_anew_each_step() -> None:
    net = nn.Sequential(nn.Dropout(0.25))
    x = np.ones((1, 1, 100_000), np.float32)
    first, second = (net.record(x, training=True, step=step).values["dropout1"] for step in (0, 1))
    assert first.mean() == pytest.approx(1, abs=0.01)
    assert (first == 0).mean() == pytest.approx(0.25, abs=0.01)
    assert (first != second).any()
    assert (net.record(x, training=True, step=0).values["dropout1"] == first).all()
    assert (net(x) == x).all()


@pytest.mark.parametrize(
    ("op", "shapes", "said"),
    [
        (nn.Dense(3), [PICTURE], "Flatten"),
        (nn.Conv(6, 3, groups=4), [(1, 6, 5, 5)], "groups"),
        (nn.Conv(6, 9), [PICTURE], "kernel of size 9"),
        (nn.Conv(6, 3, sharing="tiled"), [PICTURE], "sites"),
        (nn.Add(), [PICTURE, (2, 4, 3, 3)], "shapes"),
        (nn.Concatenate(), [PICTURE, (2, 4, 7, 5)], "one shape"),
        (nn.Reshape((5, -1)), [PICTURE], "values per sample"),
        (nn.Crop(4), [PICTURE], "cannot cut"),
        (nn.GroupNorm(3), [PICTURE], "groups"),
        (nn.Filter(GAUSS), [SERIES], "spatial axes"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_layers_name(op: Operator, shapes: Sequence[Shape], said: str) -> None:
    net = network(op, shapes)
    with pytest.raises((ArgumentError, ShapeError), match=f"layer .*{said}"):
        net.build()
