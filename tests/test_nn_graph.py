"""Networks as graphs: building, running, going back, sharing, saving, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from juanji import nn
from juanji.errors import ArgumentError, FormatError, ShapeError
from juanji.nn.formats import safetensors_files
from test_nn_ops import CASES, IDS, Shape, network, values_of

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(2, 3, 8, 8)).astype(np.float32)


def branches() -> nn.Graph:
    """Two ways that meet again, one of which forks."""
    x = nn.Input((3, 8, 8))
    a = nn.ReLU()(nn.Conv(4, 3, padding=1)(x))
    b = nn.Conv(4, 1)(x)
    joined = nn.Add()(a, b)
    gate = nn.Sigmoid()(nn.Conv(4, 1)(nn.GlobalPool(keep=True)(joined)))
    return nn.Graph(x, {"scores": nn.Dense(5)(nn.Flatten()(nn.Multiply()(joined, gate))), "gate": gate}, seed=1)


def test_layers_are_named_by_kind_and_order_unless_named() -> None:
    net = nn.Sequential(nn.Conv(4, 3), nn.ReLU(), nn.Conv(4, 3, name="last"), nn.MaxPool(2), nn.AvgPool(2), shape=(3, 12, 12))
    assert [node.name for node in net.nodes] == ["conv1", "relu1", "last", "pool1", "pool2"]
    assert list(net.parameters) == ["conv1.weight", "conv1.bias", "last.weight", "last.bias"]


def test_outputs_and_features_by_name() -> None:
    net = branches()
    found = net.run({"input": X})
    assert {name: y.shape for name, y in found.items()} == {"scores": (2, 5), "gate": (2, 4, 1, 1)}
    both = net(X)
    assert isinstance(both, tuple)
    assert (both[0] == found["scores"]).all()
    features = net.features(X, ["conv2", "add1"])
    tape = net.record(X)
    assert (features["add1"] == tape.values["add1"]).all()
    assert list(features) == ["conv2", "add1"]


def test_one_sample_gives_one_sample() -> None:
    net = nn.Sequential(nn.Conv(4, 3), nn.GlobalPool(), nn.Dense(2), shape=(3, 8, 8))
    assert net(X[0]).shape == (2,)
    assert net(X[0]) == pytest.approx(net(X)[0], abs=1e-6)


def test_pictures_of_bytes_are_scaled() -> None:
    net = nn.Sequential(nn.Flatten(), preprocessing=nn.Preprocessing((1, 2, 3), 2.0))
    y = net(np.full((1, 3, 1, 1), 5, np.uint8))
    assert y.tolist() == [[2.0, 1.5, 1.0]]
    assert nn.Sequential(nn.Flatten())(np.full((1, 1, 2), 255, np.uint8)).tolist() == [[1.0, 1.0]]


def test_gradients_of_a_whole_network_equal_finite_differences() -> None:
    net = branches().build().astype("float64")
    x = X.astype(np.float64)
    target = np.array([1, 4])

    def loss() -> float:
        return nn.softmax_cross_entropy(net.run({"input": x})["scores"], target)[0]

    tape = net.record(x)
    _, dy = nn.softmax_cross_entropy(tape.values[net.outputs["scores"]], target)
    back = tape.backward({net.outputs["scores"]: dy}, ["input"])
    for array, gradient in ((x, back.values["input"]), *((net.parameters[key], back.parameters[key]) for key in net.parameters)):
        direction = np.random.default_rng(2).normal(size=array.shape)
        start = array.copy()
        array[...] = start + 1e-6 * direction
        above = loss()
        array[...] = start - 1e-6 * direction
        below = loss()
        array[...] = start
        assert (gradient * direction).sum() == pytest.approx((above - below) / 2e-6, rel=1e-5, abs=1e-8)


def test_gradients_by_the_short_way() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Dense(3))
    net(X)
    grads = net.gradients(X, np.array([0, 2]))
    assert {key: gradient.shape for key, gradient in grads.items()} == {key: array.shape for key, array in net.parameters.items()}


def test_a_rule_takes_the_place_of_an_operators_way_back() -> None:
    net = nn.Sequential(nn.ReLU())
    x = np.array([[-1.0, 2.0]], np.float32)
    back = net.record(x).backward(
        {"relu1": np.ones((1, 2), np.float32)}, ["input"], rules={nn.ReLU: lambda op, p, saved, dy, wanted: nn.Back((dy * 3,))}
    )
    assert back.values["input"].tolist() == [[3.0, 3.0]]


def test_an_operator_that_stands_twice_has_one_set_of_parameters() -> None:
    conv = nn.Conv(3, 3, padding=1)
    net = nn.Sequential(conv, nn.ReLU(), conv, shape=(3, 8, 8))
    assert list(net.parameters) == ["conv1.weight", "conv1.bias"]
    first = np.maximum(net.features(X, ["conv1"])["conv1"], 0)
    single = nn.Sequential(conv, shape=(3, 8, 8))
    single.build().parameters["conv1.weight"][...] = net.parameters["conv1.weight"]
    assert (net(X) == single(first)).all()
    twice = net.astype("float64")
    dy = RANDOM.normal(size=(2, 3, 8, 8))
    gradient = twice.record(X).backward({"conv2": dy}).parameters["conv1.weight"]
    step = np.zeros_like(gradient)
    step[1, 2, 0, 1] = 1e-6
    weight = twice.parameters["conv1.weight"]
    weight += step
    above = (twice(X) * dy).sum()
    weight -= 2 * step
    assert gradient[1, 2, 0, 1] == pytest.approx((above - (twice(X) * dy).sum()) / 2e-6, rel=1e-4)


def test_equal_seeds_give_equal_starts_and_layers_do_not_disturb_each_other() -> None:
    short = nn.Sequential(nn.Conv(4, 3), shape=(3, 8, 8), seed=5).parameters
    long = nn.Sequential(nn.Conv(4, 3), nn.ReLU(), nn.Conv(4, 3), shape=(3, 8, 8), seed=5).parameters
    other = nn.Sequential(nn.Conv(4, 3), shape=(3, 8, 8), seed=6).parameters
    assert (short["conv1.weight"] == long["conv1.weight"]).all()
    assert (short["conv1.weight"] != other["conv1.weight"]).any()


def test_a_seed_below_0_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"seed \(=-1\) must be an integer from 0 on"):
        nn.Sequential(nn.Conv(4, 3), shape=(3, 8, 8), seed=-1).build()


def test_initialisers() -> None:
    def start(value: object) -> np.ndarray:
        return nn.Sequential(nn.Conv(64, 3, weight=value), shape=(32, 8, 8)).parameters["conv1.weight"]  # type: ignore[arg-type]

    fan_in, fan_out = 32 * 9, 64 * 9
    assert start("he").std() == pytest.approx(np.sqrt(2 / fan_in), rel=0.02)
    assert start("glorot").std() == pytest.approx(np.sqrt(2 / (fan_in + fan_out)), rel=0.02)
    assert start("normal").std() == pytest.approx(0.01, rel=0.02)
    assert (start(0.5) == 0.5).all()
    given = RANDOM.normal(size=(64, 32, 3, 3)).astype(np.float32)
    assert (start(given) == given).all()
    with pytest.raises(ShapeError, match="was given to start from"):
        start(given[:, :1])
    with pytest.raises(ArgumentError, match="he, glorot"):
        start("magic")


def test_no_value_outlives_its_last_use() -> None:
    """A run lets go of what nobody will read, a recording keeps it."""
    net = nn.Sequential(*[nn.ReLU() for _ in range(30)])
    values = net._walk({"input": X}, nn.operator.Run(), {"relu30"})
    assert list(values) == ["relu30"]
    assert len(net.record(X).values) == 31


BATCHED = [pytest.param(*case, id=name) for case, name in zip(CASES, IDS, strict=True) if (6,) not in case[1]]


@pytest.mark.parametrize(("op", "shapes"), BATCHED)
def test_saved_networks_are_the_same(op: nn.Operator, shapes: list[Shape], tmp_path: Path) -> None:
    net, inputs = network(op, shapes), values_of(op, shapes)
    before = net(*inputs)
    net.save(tmp_path / "net.safetensors")
    again = nn.load(tmp_path / "net.safetensors")
    assert str(again) == str(net)
    assert np.array_equal(again(*inputs), before)
    assert list(again.parameters) == sorted(net.parameters, key=list(again.parameters).index)
    assert again.parameters.keys() == net.parameters.keys()
    assert again.buffers.keys() == net.buffers.keys()


def test_a_saved_graph_keeps_its_ways_its_classes_and_its_preprocessing(tmp_path: Path) -> None:
    x = nn.Input((3, None, None))
    pooled = nn.MaxPool(2, places=True)(nn.Conv(2, 3, padding=1)(x))
    y = nn.Unpool()(pooled[0], pooled[1], x)
    net = nn.Graph(x, y, classes=("猫", "dog"), preprocessing=nn.Preprocessing((1.0, 2.0, 3.0), 4.0, (8, 8), 0.9))
    before = net(X)
    net.save(tmp_path / "net.safetensors")
    again = nn.load(tmp_path / "net.safetensors")
    assert np.array_equal(again(X), before)
    assert again.classes == ("猫", "dog")
    assert again.preprocessing == net.preprocessing
    assert again.inputs == {"input": (3, None, None)}


@pytest.mark.parametrize(
    "change",
    [
        {"version": 9},
        {"nodes": [{"name": "a", "op": "os.system", "settings": {}, "inputs": ["input"], "outputs": ["a"], "owner": "a"}]},
        {"nodes": [{"name": "a", "op": "ReLU", "settings": {"__class__": 1}, "inputs": ["input"], "outputs": ["a"], "owner": "a"}]},
        {"nodes": 3},
        {"preprocessing": {"mean": 1, "run": 2}},
        {"inputs": None},
    ],
)
def test_a_record_of_something_else_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    net = nn.Sequential(nn.Dense(2), shape=(3,))
    record = json.loads(json.dumps(net.record_of())) | change
    path = tmp_path / "net.safetensors"
    safetensors_files.write(path, net.parameters, {"juanji.graph": json.dumps(record)})
    with pytest.raises(FormatError, match="describes no network"):
        nn.load(path)


def test_weights_alone_are_no_network(tmp_path: Path) -> None:
    safetensors_files.write(tmp_path / "w.safetensors", {"a": np.zeros(3)})
    with pytest.raises(FormatError, match=r"nn\.models\.get"):
        nn.load(tmp_path / "w.safetensors")


def test_what_is_refused() -> None:
    net = branches().build()
    with pytest.raises(ArgumentError, match="conv1, relu1"):
        net.features(X, ["conv9"])
    with pytest.raises(ShapeError, match=r"the network takes \(3, 8, 8\)"):
        net(X[:, :, :7])
    with pytest.raises(ArgumentError, match="takes 1 inputs"):
        net(X, X)
    with pytest.raises(ArgumentError, match="must be named input"):
        net.run({"x": X})
    with pytest.raises(ArgumentError, match="build it"):
        _ = nn.Sequential(nn.Dense(3)).parameters
    with pytest.raises(ArgumentError, match="no value of this network"):
        net.record(X).backward({"conv9": X})
    x = nn.Input((3,))
    with pytest.raises(ArgumentError, match="not among the inputs"):
        nn.Graph(nn.Input((3,), "other"), nn.Dense(2)(x))
    with pytest.raises(ArgumentError, match="no other layer has"):
        nn.Graph(x, nn.Dense(2, name="input")(x))
    with pytest.raises(IndexError, match="below 1"):
        nn.Dense(2)(x)[1]
    with pytest.raises(ShapeError, match="layer conv1: "):
        nn.Sequential(nn.Conv(3, 9), shape=(3, 8, 8)).build()


LOSSES = [
    (nn.softmax_cross_entropy, (4, 3), np.array([0, 2, 1, 1])),
    (nn.softmax_cross_entropy, (2, 3, 4, 2), np.random.default_rng(0).integers(0, 3, (2, 4, 2))),
    (nn.sigmoid_cross_entropy, (2, 1, 4, 2), np.random.default_rng(0).integers(0, 2, (2, 4, 2))),
    (nn.squared_error, (4, 3), np.random.default_rng(0).normal(size=(4, 3))),
    (nn.huber, (4, 3), np.random.default_rng(0).normal(0, 2, (4, 3))),
]


@pytest.mark.parametrize(("loss", "shape", "target"), LOSSES, ids=[f"{loss.__name__}-{i}" for i, (loss, _, _) in enumerate(LOSSES)])
def test_losses_and_their_gradients(loss: nn.losses.Loss, shape: Shape, target: np.ndarray) -> None:
    y = np.random.default_rng(3).normal(0, 2, shape)
    value, dy = loss(y, target)
    assert np.isfinite(value)
    for place in ((0,) * len(shape), tuple(size - 1 for size in shape)):
        step = np.zeros(shape)
        step[place] = 1e-6
        assert dy[place] == pytest.approx((loss(y + step, target)[0] - loss(y - step, target)[0]) / 2e-6, rel=1e-4, abs=1e-9)


def test_losses_stay_finite_far_out_and_refuse_other_targets() -> None:
    far = np.array([[1000.0, -1000.0]], np.float32)
    assert nn.softmax_cross_entropy(far, np.array([1]))[0] == 2000
    assert nn.sigmoid_cross_entropy(far, np.array([[0, 1]]))[0] == 1000
    with pytest.raises(ArgumentError, match="there are 2 classes"):
        nn.softmax_cross_entropy(far, np.array([2]))
    with pytest.raises(ShapeError, match="class numbers of shape"):
        nn.softmax_cross_entropy(far, np.array([[1, 0]]))
    with pytest.raises(TypeError, match="integers"):
        nn.softmax_cross_entropy(far, np.array([0.5]))
    with pytest.raises(ArgumentError, match="softmax_cross_entropy, sigmoid"):
        nn.losses.loss_of("hinge")
