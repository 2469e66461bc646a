"""Networks written as ONNX: valid by onnx's own checker, equal in onnxruntime for every batch, and the same when read back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from juanji import nn
from juanji.errors import ArgumentError, NotBuiltError
from juanji.nn.formats.onnx_forms import FORMS
from juanji.nn.operator import OPERATORS, Operator

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

Shape = tuple[int, ...]
PICTURE, SERIES, VOLUME = (4, 7, 6), (4, 9), (2, 5, 4, 6)
SLOPES = np.linspace(0.1, 0.4, 4).reshape(4, 1, 1)

# operator, shapes of its inputs without the batch
CASES: list[tuple[Operator, Sequence[Shape]]] = [
    (nn.Conv(6, 3), [PICTURE]),
    (nn.Conv(6, 3, stride=2, padding="same", groups=2, bias=None), [PICTURE]),
    (nn.Conv(8, (3, 2), dilation=(2, 1), padding=((1, 2), (0, 1)), boundary=("reflect", "wrap"), groups="each", bias=0.5), [PICTURE]),
    (nn.Conv(4, 5, padding=2, boundary="symmetric", activation="relu6"), [SERIES]),
    (nn.Conv(4, 5, padding=2, boundary=("constant", 2.0), activation=("leaky_relu", 0.2)), [SERIES]),
    (nn.Conv(4, 5, padding=9, boundary="reflect", activation="sigmoid"), [(4, 5)]),
    (nn.Conv(3, (2, 3, 2), stride=(1, 2, 1), padding=1, activation="tanh"), [VOLUME]),
    (nn.ConvTranspose(3, 3, stride=2, output_padding=1, padding=1), [PICTURE]),
    (nn.ConvTranspose(6, (2, 3), stride=(2, 1), groups=2, activation="relu"), [PICTURE]),
    (nn.ConvTranspose(2, 3, dilation=2, bias=None), [SERIES]),
    (nn.Filter(np.outer([1, 2, 1], [1, 2, 1]) / 16), [PICTURE]),
    (nn.Dense(5), [(7,)]),
    (nn.Dense(5, bias=None), [(7,)]),
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
    (nn.Add(), [PICTURE, PICTURE, (4, 1, 1)]),
    (nn.Multiply(), [PICTURE, (4, 1, 1)]),
    (nn.Concatenate(axis=3), [PICTURE, (4, 7, 2)]),
    (nn.MaxPool(2), [PICTURE]),
    (nn.MaxPool(3, stride=2, padding=1, ceil_mode=True), [PICTURE]),
    (nn.AvgPool(3, stride=2, padding=1, count_include_pad=True), [PICTURE]),
    (nn.AvgPool(3, stride=2, padding=1), [PICTURE]),
    (nn.AvgPool(2, dilation=2), [VOLUME]),
    (nn.LpPool(2, p=3), [PICTURE]),
    (nn.WeightedPool(3, stride=1, padding=1), [PICTURE]),
    (nn.WeightedPool(2, weights="linear"), [VOLUME]),
    (nn.AdaptivePool((3, 2)), [PICTURE]),
    (nn.AdaptivePool(2, kind="max"), [SERIES]),
    (nn.AdaptivePool(3, kind="lp"), [VOLUME]),
    (nn.GlobalPool(), [PICTURE]),
    (nn.GlobalPool("lp"), [PICTURE]),
    (nn.GlobalPool("max", keep=True), [VOLUME]),
    (nn.PyramidPool(), [PICTURE]),
    (nn.PyramidPool((1, 3), kind="avg"), [SERIES]),
    (nn.BatchNorm(), [PICTURE]),
    (nn.BatchNorm(epsilon=1e-3), [(3,)]),
    (nn.GroupNorm(2), [PICTURE]),
    (nn.GroupNorm("each"), [SERIES]),
    (nn.LayerNorm(), [PICTURE]),
    (nn.LayerNorm(axes=1), [PICTURE]),
    (nn.LocalResponseNorm(3, alpha=0.2), [PICTURE]),
    (nn.Dropout(0.4), [PICTURE]),
    (nn.Flatten(), [PICTURE]),
    (nn.Reshape((7, -1)), [PICTURE]),
    (nn.Pad(((2, 1), (0, 3)), boundary=("edge", "reflect")), [PICTURE]),
    (nn.Pad(2, boundary=("constant", 3.0)), [SERIES]),
    (nn.Pad(3, boundary="wrap"), [SERIES]),
    (nn.Crop(((2, 1), (0, 3))), [PICTURE]),
    (nn.Crop(), [PICTURE, (1, 4, 4)]),
    (nn.Resize(scale=2), [PICTURE]),
    (nn.Resize(scale=1.6), [PICTURE]),
    (nn.Resize(size=(5, 9), mode="linear"), [PICTURE]),
    (nn.Resize(size=4, mode="linear", align_corners=True), [VOLUME]),
    (nn.Resample(scale=1.7, mode="cubic"), [PICTURE]),
    (nn.Resample(size=(5, 9), mode="nearest", rounding="ceil"), [PICTURE]),
    (nn.Resample(scale=(0.5, 2.5), mode="linear", coordinates="asymmetric"), [PICTURE]),
    *((nn.Function(name), [PICTURE]) for name in ("abs", "negative", "exp", "sin", "cos", "erf", "softplus", "softsign", "mish")),
    *((nn.Function(name), [PICTURE]) for name in ("hard_swish", "sign", "floor", "ceil", "round", "reciprocal")),
    (nn.Clip(-0.5, None), [PICTURE]),
    (nn.Clip(None, 0.5), [PICTURE]),
    (nn.ELU(0.7), [PICTURE]),
    (nn.ELU(1.7, scale=1.1), [PICTURE]),
    (nn.ELU(0.6, width=0.6, scale=2.0), [PICTURE]),
    (nn.Threshold(0.7), [PICTURE]),
    (nn.Threshold(0.7, -0.7, 0.2), [PICTURE]),
    (nn.LogSoftmax(), [PICTURE]),
    (nn.Subtract(), [PICTURE, PICTURE]),
    (nn.Divide(), [PICTURE, (4, 1, 1)]),
    (nn.Maximum(), [PICTURE, PICTURE]),
    (nn.Minimum(), [PICTURE, (1, 1, 6)]),
    (nn.MatMul(), [(4, 5), (5, 3)]),
    (nn.Reduce("mean", (2, 3)), [PICTURE]),
    (nn.Reduce("sum", (-1,), keep=False), [PICTURE]),
    (nn.Reduce("l2", (1,)), [PICTURE]),
    (nn.Rearrange((0, 2, -1)), [PICTURE]),
    (nn.Transpose((0, 3, 1, 2)), [PICTURE]),
    (nn.AddAxes((2, -1)), [SERIES]),
    (nn.DropAxes((2,)), [(3, 1, 2)]),
    (nn.Slice((1, -1), (5, -9), (2, 3), (2, -2)), [PICTURE]),
    (nn.Expand((1, 4, 7, 6)), [(1, 7, 1)]),
    (nn.Tile((1, 2, 1)), [SERIES]),
    (nn.Take((3, 0, 0), axis=1), [PICTURE]),
    (nn.Take(2, axis=2), [PICTURE]),
    (nn.PadAxes(((0, 0), (1, 2), (0, 1)), "edge"), [SERIES]),
    (nn.DepthToSpace(2), [(8, 3, 2)]),
    (nn.DepthToSpace(2, "DCR"), [(8, 3, 2)]),
    (nn.SpaceToDepth(2), [(2, 4, 6)]),
]  # fmt: skip
IDS = [f"{i}-{op}" for i, (op, _) in enumerate(CASES)]


def network(op: Operator, shapes: Sequence[Shape]) -> nn.Graph:
    inputs = [nn.Input(shape, f"x{i}") for i, shape in enumerate(shapes)]
    net = nn.Graph(inputs, op(*inputs), preprocessing=None, seed=3).build()
    random = np.random.default_rng(1)
    for name, array in net.arrays.items():  # statistics, scales and biases that do something
        if name.rpartition(".")[2] in ("bias", "mean", "variance") or isinstance(op, nn.GroupNorm | nn.LayerNorm):
            array[...] = random.uniform(0.5, 1.5, array.shape)
    return net


def inputs_of(net: nn.Graph, batch: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(batch)
    return {name: random.normal(0, 2, net.shapes(batch=batch)[name]).astype(np.float32) for name in net.inputs}


def written(net: nn.Graph, folder: Path) -> Path:
    path = folder / "net.onnx"
    nn.to_onnx(net, path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    return path


def check(net: nn.Graph, folder: Path, batches: Sequence[int] = (1, 3)) -> nn.Graph | nn.ShapedGraph:
    """Equal in onnxruntime, and again after reading; gives the network that was read."""
    path = written(net, folder)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    again: nn.Graph | nn.ShapedGraph = nn.from_onnx(path)
    for batch in batches:
        inputs = inputs_of(net, batch)
        expected = net.run(inputs)
        for name, theirs in zip((out.name for out in session.get_outputs()), session.run(None, inputs), strict=True):
            np.testing.assert_allclose(theirs, expected[name], rtol=1e-5, atol=1e-5)
        for name, ours in again.run(inputs).items():
            np.testing.assert_allclose(ours, expected[name], rtol=2e-6, atol=2e-6)
    return again


@pytest.mark.parametrize(("op", "shapes"), CASES, ids=IDS)
def test_operators_are_equal_in_onnxruntime_and_when_read_back(op: Operator, shapes: Sequence[Shape], tmp_path: Path) -> None:
    assert isinstance(check(network(op, shapes), tmp_path), nn.Graph)


def test_every_operator_is_written_or_refused() -> None:
    built = [kind for kind in OPERATORS.values() if not kind.__module__.startswith("juanji.nn.inference.")]  # which networks never hold
    home = {kind for kind in built if kind.__module__.startswith("juanji.nn.")}
    missing = {kind.__name__ for kind in home - FORMS.keys()}
    assert missing == {"ToFloat"}
    elsewhere = {nn.Constant, nn.Unpool, nn.Split, nn.LSTM, nn.GRU, nn.Power, nn.PReLU}
    assert {type(op) for op, _ in CASES} | elsewhere == set(FORMS)


def test_powers_slopes_and_roots_take_what_they_are_defined_for(tmp_path: Path) -> None:
    x = nn.Input(PICTURE)
    positive = nn.Add()(nn.Function("abs")(x), nn.Constant(np.ones(1))())
    root = nn.Power()(nn.Function("sqrt")(positive), nn.Constant(np.float32(1.5))())
    check(nn.Graph(x, nn.PReLU()(nn.Function("log")(root), nn.Constant(SLOPES, trained=True)())), tmp_path)


def test_unpooling_finds_its_places_again(tmp_path: Path) -> None:
    x = nn.Input((3, 5, 7))
    pooled = nn.MaxPool(2, places=True)(x)
    check(nn.Graph(x, nn.Unpool()(nn.Tanh()(pooled[0]), pooled[1], x)), tmp_path)


def test_split_and_several_outputs(tmp_path: Path) -> None:
    x = nn.Input(PICTURE)
    parts = nn.Split(1, (1, 3))(x)
    check(nn.Graph(x, {"first": parts[0], "all": nn.Concatenate()(parts[1], nn.ReLU()(parts[0])), "x": x}), tmp_path)


@pytest.mark.parametrize("op", [nn.LSTM(3), nn.LSTM(3, "bidirectional"), nn.GRU(3, "reverse"), nn.GRU(3, reset="before")], ids=str)
def test_recurrent_layers(op: Operator, tmp_path: Path) -> None:
    x = nn.Input((2, 5))
    made = op(nn.Transpose((1, 0, 2))(x))
    check(nn.Graph(x, {"y": made[0], "h": made[1]}, seed=2), tmp_path)


def test_a_network_keeps_its_names_shares_its_arrays_and_trains_on(tmp_path: Path) -> None:
    shared = nn.Conv(4, 3, padding=1, name="twice")
    x = nn.Input((4, 8, 8))
    y = nn.MaxPool(2)(nn.ReLU()(nn.BatchNorm()(shared(shared(x)))))
    net = nn.Graph(x, nn.Softmax()(nn.Dense(3)(nn.Dropout(0.5)(nn.Flatten()(y)))), preprocessing=None)
    again = check(net, tmp_path)
    assert isinstance(again, nn.Graph)
    assert again.parameters.keys() == net.parameters.keys()
    assert again.buffers.keys() == net.buffers.keys()
    assert [str(node.op) for node in again.nodes if isinstance(node.op, nn.Dropout)] == ["Dropout()"]
    inputs = inputs_of(net, 2)["input"]
    expected, found = (graph.gradients(inputs, np.array([0, 2])) for graph in (net, again))
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[name], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("op", "said"),
    [
        (nn.Conv(3, 3, sharing="local"), "layer conv1: Conv.* has no local weights"),
        (nn.ConvTranspose(3, 3, padding=1, boundary="edge"), "layer transposed1: .* has no boundary edge"),
        (nn.LpPool(2, p=2.5), "layer pool1: .* p must be an integer"),
        (nn.WeightedPool(2, ceil_mode=True), "layer pool1: .* no ceil_mode"),
    ],
    ids=str,
)
def test_what_onnx_cannot_say_is_refused_by_name(op: Operator, said: str, tmp_path: Path) -> None:
    with pytest.raises(NotBuiltError, match=said):
        nn.to_onnx(network(op, [PICTURE]), tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_only_graphs_are_written(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="must be a Graph"):
        nn.to_onnx(nn.ReLU(), tmp_path / "net.onnx")
