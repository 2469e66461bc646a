"""Receptive fields and layer tables of networks: published values, and what gradients say (mission B9, B10)."""

from __future__ import annotations

import json

import numpy as np
import pytest

from juanji import explain, nn
from juanji.cli.app import run
from juanji.errors import ArgumentError, ShapeError
from juanji.nn.models.named import unbuilt
from juanji.nn.operator import Operator


@pytest.mark.parametrize(
    ("name", "layer", "size", "stride", "padding"),
    [
        ("vgg-16", "pool5", 212, 32, 90),
        ("vgg-16", "conv5_3", 196, 16, 90),
        ("alexnet", "pool5", 195, 32, 64),
        ("resnet-50-slim", "layer4.2.relu", 483, 32, 239),
        ("resnet-50", "layer4.2.relu", 427, 32, 213),
    ],
)
def test_published_values(name: str, layer: str, size: int, stride: int, padding: int) -> None:
    field = explain.receptive_field(unbuilt(name), layer)
    assert (field.size, field.stride, field.padding) == ((size,) * 2, (stride,) * 2, (padding,) * 2)


def test_stacks_of_three_by_three() -> None:
    net = nn.Sequential(*[nn.Conv(1, 3) for _ in range(4)], shape=(1, 20, 20))
    assert [explain.receptive_field(net, f"conv{i}").size for i in (1, 2, 3, 4)] == [(3, 3), (5, 5), (7, 7), (9, 9)]
    field = explain.receptive_field(net, "conv2", (4, 7))
    assert field.region == ((4, 8), (7, 11))
    assert field.centre == (6, 9)


def networks() -> list[nn.Graph]:
    """Networks with every kind of way back: strides, dilation, upsampling, branches, crops, pooling, gates."""
    found = []
    for seed in range(10):
        random = np.random.default_rng(seed)
        x = y = nn.Input((2, 24, 20))
        kinds: list[Operator] = [
            nn.Conv(2, 3, padding=1), nn.Conv(2, (3, 2), stride=(2, 1)), nn.Conv(2, 3, dilation=2), nn.ConvTranspose(2, 3, stride=2),
            nn.AvgPool(2), nn.AvgPool(3, 1, padding=1), nn.Resize(scale=2), nn.Resize(scale=2, mode="linear"), nn.Pad((1, 2)), nn.Crop(1),
            nn.AdaptivePool((7, 5)), nn.BatchNorm(), nn.Tanh(),
        ]  # fmt: skip
        for _ in range(5):
            op = kinds[random.integers(len(kinds))]
            y = op(y)
        branch = nn.Conv(2, 1)(y)
        wide = nn.Conv(2, 3, padding=1)(y)
        found.append(nn.Graph(x, nn.Concatenate()(nn.Add()(branch, wide), y), seed=seed))
    return found


@pytest.mark.parametrize("seed", range(10))
def test_the_region_is_what_a_unit_depends_on(seed: int) -> None:
    net = networks()[seed]
    layer = net.nodes[-1].name
    try:
        net.shapes()
    except ShapeError:
        pytest.skip("the network leaves nothing of its input")
    size = net.shapes()[layer][2:]
    for place in {(0, 0), tuple(s // 2 for s in size), tuple(s - 1 for s in size)}:
        field = explain.receptive_field(net, layer, place)
        effective = explain.effective_field(net, layer, place, samples=2)
        assert effective.shape == (24, 20)
        outside = np.ones(effective.shape, bool)
        outside[tuple(slice(a, b + 1) for a, b in field.inside)] = False
        assert not effective[outside].any()
        if any(first > last for first, last in field.inside):  # all of it lies in the padding
            assert not effective.any()
            continue
        touched = [np.flatnonzero(effective.any(axis=1 - axis)) for axis in (0, 1)]
        reached = tuple((int(axis[0]), int(axis[-1])) for axis in touched)
        gap = max(op.op.dilation if isinstance(op.op, nn.Conv) and isinstance(op.op.dilation, int) else 1 for op in net.nodes)
        slack = 0 if gap == 1 else 4  # the holes of a dilated kernel may swallow the border
        for (a, b), (first, last) in zip(reached, field.inside, strict=True):
            assert first <= a <= first + slack
            assert last - slack <= b <= last


def test_what_varies_is_said() -> None:
    net = nn.Sequential(nn.Conv(2, 3, padding=1), nn.Resize(scale=2), shape=(1, 8, 8))
    field = explain.receptive_field(net, "resize1", (3, 3))
    assert field.region == ((0, 2), (0, 2))
    assert field.stride == (None, None)
    assert "varies" in str(field)


def test_the_effective_field_is_strongest_in_its_middle() -> None:
    net = nn.Sequential(*[nn.Conv(4, 3) for _ in range(6)], shape=(1, 24, 24))
    effective = explain.effective_field(net, "conv6", (5, 5))
    centre = explain.receptive_field(net, "conv6", (5, 5)).centre
    place = np.unravel_index(effective.argmax(), effective.shape)
    assert np.abs(np.array(place) - centre).max() <= 2
    assert effective.max() == 1
    assert effective[5, 5] < 0.2  # a corner of the field


def test_units_and_layers_that_there_are_not() -> None:
    net = nn.Sequential(nn.Conv(2, 3), nn.Flatten(), nn.Dense(3), shape=(1, 8, 8))
    with pytest.raises(ArgumentError, match="6×6 map of conv1"):
        explain.receptive_field(net, "conv1", (6, 0))
    with pytest.raises(ArgumentError, match="conv1, flatten1, dense1"):
        explain.receptive_field(net, "conv2")
    with pytest.raises(ShapeError, match="without spatial axes"):
        explain.receptive_field(net, "dense1")
    with pytest.raises(ShapeError, match="kernel of size 3"):
        explain.receptive_field(nn.Sequential(nn.Conv(2, 3)), "conv1", input_shape=(1, 2, 2))


def test_the_table_of_the_reference_network() -> None:
    table = explain.layer_table(nn.models.get("three-stages"))
    assert table.total("parameters") == 22_466
    rows = {layer.name: layer for layer in table.layers}
    assert rows["conv1"].parameters == 16 * 5 * 5 * 3 + 16
    assert rows["conv1"].full == (32 * 32 * 3) * (32 * 32 * 16)
    assert rows["conv1"].local == rows["conv1"].connections == 75 * 32 * 32 * 16
    assert rows["pool3"].field == (36, 8, 14)
    assert rows["dense1"].field is None
    assert rows["dense1"].full == rows["dense1"].connections == 320 * 10
    assert "22,466" in str(table)
    with pytest.raises(ArgumentError, match="count of"):
        table.total("kind")


def test_the_ladder_of_full_local_and_shared() -> None:
    """28×28 with a 5×5 window: 576 windows that share 25 weights and a bias; and each with its own."""
    shared, own = (
        explain.layer_table(nn.Sequential(nn.Conv(1, 5, sharing=sharing), shape=(1, 28, 28))).layers[0] for sharing in ("shared", "local")
    )
    assert shared.parameters == 26
    assert shared.connections == 576 * 25
    assert own.parameters == 576 * 26
    assert shared.full == 784 * 576


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "net", "lenet-5"]) == 0
    assert "61,706" in capsys.readouterr().out
    assert run(["explain", "net", "vgg-16", "--layer", "pool5", "--unit", "3,3", "--input", "3x224x224"]) == 0
    assert "212 × 212" in capsys.readouterr().out
    assert run(["explain", "net", "lenet-5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["layers"][0]["parameters"] == 156
    for wrong in (["--unit", "3,3"], ["--layer", "pool9"], ["--layer", "pool1", "--unit", "99,0"], ["--layer", "pool1", "--unit", "a"]):
        assert run(["explain", "net", "lenet-5", *wrong]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
