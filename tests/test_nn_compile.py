"""Compiled networks equal the plain walk, in both layouts, and use memory again."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest

from juanji import nn
from juanji.nn.models import named
from juanji.nn.operator import Operator
from juanji.spec import LAYOUTS
from test_nn_ops import CASES, IDS, Shape, network, values_of

RANDOM = np.random.default_rng(0)
BATCHED = [pytest.param(*case, id=name) for case, name in zip(CASES, IDS, strict=True) if case[1] and (6,) not in case[1]]


def used(net: nn.Graph) -> nn.Graph:
    """The network with running statistics as after training, so that folding them in matters."""
    for key, array in net.buffers.items():
        if key.endswith((".mean", ".variance")):
            array[...] = RANDOM.uniform(0.5, 2, array.shape)
    return net


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("op", "shapes"), BATCHED)
def test_every_operator_in_both_layouts(op: Operator, shapes: Sequence[Shape], layout: str) -> None:
    net = network(op, shapes)
    inputs = [x.astype(np.float32) for x in values_of(op, shapes)]
    expected = used(net.build())(*inputs)
    found = net.compile(layout=layout)(*inputs)
    assert found.shape == expected.shape
    assert found == pytest.approx(expected, rel=2e-5, abs=2e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_follows_a_convolution_is_folded_into_it(layout: str) -> None:
    net = nn.Sequential(
        nn.Conv(6, 3, padding=1, bias=None), nn.BatchNorm(), nn.ReLU(),
        nn.ConvTranspose(4, 3, stride=2, groups=2), nn.BatchNorm(), nn.LeakyReLU(0.2),
        nn.Conv(3, 3, sharing="local", bias=None), nn.BatchNorm(), nn.Tanh(),
        nn.Dropout(0.5), nn.Flatten(), nn.Dense(7), nn.BatchNorm(), nn.Sigmoid(),
        shape=(4, 5, 6),
    )  # fmt: skip
    x = RANDOM.normal(size=(3, 4, 5, 6)).astype(np.float32)
    expected = used(net.build())(x)
    fast = net.compile(layout=layout)
    assert [type(stage.op).__name__ for stage in fast.stages] == ["Conv", "ConvTranspose", "Conv", "Flatten", "Dense"]
    assert [getattr(stage.op, "activation", None) for stage in fast.stages[:3]] == ["relu", ("leaky_relu", 0.2), "tanh"]
    assert fast(x) == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sums_and_the_relu_behind_them(layout: str) -> None:
    x = nn.Input((4, 40, 50))
    a, b = nn.Conv(4, 1)(x), nn.Conv(4, 1)(x)
    gate = nn.GlobalPool(keep=True)(a)
    joined = nn.ReLU()(nn.Add()(a, b))
    net = nn.Graph(x, nn.ReLU()(nn.Add()(joined, gate, b)))
    fast = net.compile(layout=layout)
    assert [stage.activation for stage in fast.stages if isinstance(stage.op, nn.Add)] == ["relu", "relu"]
    picture = RANDOM.normal(size=(20, 4, 40, 50)).astype(np.float32)
    assert fast(picture) == pytest.approx(net(picture), rel=1e-5, abs=1e-5)


def test_nothing_is_folded_that_another_reads() -> None:
    x = nn.Input((4, 6, 6))
    a = nn.Conv(4, 3, padding=1)(x)
    b = nn.BatchNorm()(a)
    c = nn.ReLU()(b)
    net = used(nn.Graph(x, {"sum": nn.Add()(a, c), "normal": b}).build())
    picture = RANDOM.normal(size=(2, 4, 6, 6)).astype(np.float32)
    fast = net.compile()
    assert [type(stage.op).__name__ for stage in fast.stages] == ["Conv", "BatchNorm", "Expression"]
    for name, expected in net.run({"input": picture}).items():
        assert fast.run({"input": picture})[name] == pytest.approx(expected, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("seed", range(12))
def test_memory_that_is_used_again_holds_what_is_still_wanted(seed: int, layout: str) -> None:
    """Random graphs whose values live on for a while: forks, joins, views and operators in place."""
    random = np.random.default_rng(seed)
    x = nn.Input((4, 6, 6))
    values = [x]
    for _ in range(14):
        picked = [values[i] for i in random.integers(max(0, len(values) - 5), len(values), 2)]
        kinds: list[Operator] = [
            nn.ReLU(), nn.Add(), nn.Conv(4, 3, padding=1), nn.Multiply(), nn.MaxPool(3, 1, padding=1), nn.Sigmoid(), nn.BatchNorm(),
            nn.Dropout(),
        ]  # fmt: skip
        op = kinds[random.integers(len(kinds))]
        values.append(op(*picked) if isinstance(op, nn.Add | nn.Multiply) else op(picked[0]))
    pooled = nn.GlobalPool()(values[-1])
    net = nn.Graph(x, {"last": values[-1], "flat": nn.Dense(3)(nn.Flatten()(values[-2])), "pooled": nn.ReLU()(pooled), "early": values[5]})
    picture = random.normal(size=(2, 4, 6, 6)).astype(np.float32)
    expected = net.run({"input": picture})
    fast = net.compile(layout=layout)
    for _ in range(2):
        for name, found in fast.run({"input": picture}).items():
            assert found == pytest.approx(expected[name], rel=1e-4, abs=1e-4 * max(1.0, float(np.abs(expected[name]).max()))), name
    assert fast.arena <= fast.memory + 64 * len(values)


@pytest.mark.parametrize("layout", [None, *LAYOUTS])
def test_later_changes_of_the_network_are_not_seen(layout: str | None) -> None:
    net = nn.Sequential(nn.Conv(4, 3), nn.ReLU(), nn.Flatten(), nn.Dense(3), shape=(2, 6, 6)).build()
    picture = RANDOM.normal(size=(3, 2, 6, 6)).astype(np.float32)
    expected = net(picture)
    fast = net.compile(layout=layout)
    for array in net.parameters.values():
        array[...] = 0
    for batch in (1, 3):
        assert fast(picture[:batch]) == pytest.approx(expected[:batch], rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_flattened_may_be_read_again(layout: str) -> None:
    x = nn.Input((4, 6, 6))
    made = nn.Conv(4, 3)(x)
    flat = nn.Dense(5)(nn.Flatten()(made))
    net = nn.Graph(x, {"flat": flat, "again": nn.Conv(3, 1)(nn.Add()(made, nn.Reshape((1, 1, 1))(nn.Dense(1)(flat))))})
    picture = RANDOM.normal(size=(2, 4, 6, 6)).astype(np.float32)
    fast = net.compile(layout=layout)
    for name, expected in net.run({"input": picture}).items():
        assert fast.run({"input": picture})[name] == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_deep_networks_share_little_memory() -> None:
    net = nn.Sequential(*[nn.Conv(8, 3, padding=1) for _ in range(20)], shape=(8, 32, 32))
    fast = net.compile()
    assert fast.arena <= 2 * 8 * 32 * 32 * 4 + 128  # what a layer reads, and what it writes
    assert "conv20" in str(fast)


def test_batches_threads_and_single_pictures() -> None:
    net = nn.models.get("lenet-5", seed=1)
    fast = net.compile()
    x = RANDOM.normal(size=(5, 1, 28, 28)).astype(np.float32)
    expected = net(x)
    assert fast(x) == pytest.approx(expected, abs=1e-5)
    assert fast(x[0]) == pytest.approx(expected[0], abs=1e-5)
    assert fast((x[:2] * 0 + 200).astype(np.uint8)) == pytest.approx(net((x[:2] * 0 + 200).astype(np.uint8)), abs=1e-5)
    wrong: list[int] = []

    def many(i: int) -> None:
        wrong.extend(i for _ in range(20) if not np.allclose(fast(x[i : i + 1]), expected[i : i + 1], atol=1e-5))

    workers = [threading.Thread(target=many, args=(i,)) for i in range(5)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_results_do_not_change_when_the_memory_is_used_again() -> None:
    net = nn.Sequential(nn.Flatten(), shape=(2, 3, 3))
    fast = net.compile()
    first = fast(np.ones((1, 2, 3, 3), np.float32))
    fast(np.zeros((1, 2, 3, 3), np.float32))
    assert (first == 1).all()


@pytest.mark.parametrize("name", ["resnet-18", "mobilenet-v2", "unet", "series", "volume"])
def test_models(name: str) -> None:
    shape = {"resnet-18": (3, 64, 64), "mobilenet-v2": (3, 64, 64), "unet": (1, 32, 32)}.get(name, named.MODELS[name].shape)
    net = used(nn.models.get(name, shape=shape))
    x = RANDOM.normal(size=(2, *shape)).astype(np.float32)
    expected = net(x)
    assert net.compile(shape)(x) == pytest.approx(expected, rel=1e-3, abs=1e-4 * float(np.abs(expected).max()))
