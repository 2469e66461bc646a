"""The acceptance list's rows D4 to D6, D8 and D9: networks that are trained."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from juanji import data, nn
from small_trainings import bars

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
needs_data = pytest.mark.skipif("JUANJI_DATA" not in os.environ, reason="JUANJI_DATA names no folder of data sets")


# D4 ------------------------------------------------------------------------------------------------------------------------


@needs_data
def test_d4_a_cnn_is_trained_from_samples() -> None:
    """Layers, kernel sizes, padding, strides, activations, a rate, a maximum of iterations and a threshold; weights and biases back."""
    train, test = data.load("mnist")
    net = nn.Sequential(
        nn.Conv(6, (5, 3), padding=(2, 1), stride=1), nn.Sigmoid(), nn.MaxPool(2), nn.Conv(12, 5, stride=2), nn.Tanh(), nn.Flatten(),
        nn.Dense(10),
    )  # fmt: skip
    history = nn.train(net, train[:4000], test[:1000], optimizer=nn.SGD(0.03, momentum=0.9), max_iterations=300, tol=1e-7)
    assert (history.stopped, len(history.losses)) == ("max_iterations", 300)
    assert history.epochs[-1]["validation_accuracy"] > 0.85
    assert {name: p.shape for name, p in net.parameters.items()} == {
        "conv1.weight": (6, 1, 5, 3), "conv1.bias": (6,), "conv2.weight": (12, 6, 5, 5), "conv2.bias": (12,),
        "dense1.weight": (10, 300), "dense1.bias": (10,),
    }  # fmt: skip


def test_d4_training_stops_when_nothing_changes_by_as_much_as_the_threshold() -> None:
    net = nn.Sequential(nn.Conv(2, 3), nn.Sigmoid(), nn.MaxPool(2), nn.Flatten(), nn.Dense(2))
    epsilon, before = 1e-3, dict[str, np.ndarray]()

    def remember(done: int, loss: float) -> None:
        steps.append(max(float(np.abs(p - before[name]).max()) for name, p in net.parameters.items()) if before else np.inf)
        before.update({name: p.copy() for name, p in net.parameters.items()})

    steps: list[float] = []
    history = nn.train(net, bars(), optimizer=nn.SGD(0.2), tol=epsilon, epochs=2000, batch_size=70, on_iteration=remember)
    assert history.stopped == "tol"
    assert steps[-1] < epsilon
    assert min(steps[:-1]) >= epsilon


# D5 ------------------------------------------------------------------------------------------------------------------------


def like(start: Any) -> nn.Graph:
    return nn.Sequential(
        nn.Conv(6, 3, weight=start),
        nn.ReLU(),
        nn.MaxPool(2),
        nn.Conv(5, 2, weight=start),
        nn.Tanh(),
        nn.Flatten(),
        nn.Dense(2, weight=start),
    )


def test_d5_equal_weights_stay_equal_and_random_ones_do_not() -> None:
    equal, drawn = like(0.05), like("normal")
    hidden = {"conv1": 6, "conv2": 5}
    for net in (equal, drawn):
        nn.train(net, bars(), optimizer=nn.SGD(0.2, momentum=0.9), epochs=20)
    assert {layer: nn.distinct_units(equal)[layer] for layer in hidden} == dict.fromkeys(hidden, 1)
    assert {layer: nn.distinct_units(drawn)[layer] for layer in hidden} == hidden
    start = like(0.05).build((1, 8, 8)).parameters["conv1.weight"]
    assert np.abs(equal.parameters["conv1.weight"] - start).max() > 0.05  # it did learn, as one unit


def test_d5_the_start_of_the_classical_texts() -> None:
    weight = nn.Sequential(nn.Conv(64, 5, weight="normal"), shape=(16, 9, 9), seed=1).parameters["conv1.weight"]
    assert weight.std() == pytest.approx(0.01, rel=0.02)
    assert abs(weight.mean()) < 3e-4
    other = nn.Sequential(nn.Conv(64, 5, weight="normal"), shape=(16, 9, 9), seed=2).parameters["conv1.weight"]
    assert (weight != other).any()


# D6 ------------------------------------------------------------------------------------------------------------------------


def rings(count: int, seed: int) -> data.Samples:
    """Points within and around a circle."""
    random = np.random.default_rng(seed)
    y = np.arange(count) % 2
    radius, angle = random.uniform(0, 0.8, count) + y * 1.2, random.uniform(0, 2 * np.pi, count)
    return data.Samples(np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)[:, :, None].astype(np.float32), y)


def test_d6_what_is_lost_without_the_nonlinearity() -> None:
    """However many linear layers there are, together they are one, and no line parts a disc from the ring around it."""
    found = {}
    for name, between in {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "none": None}.items():
        layers = [op for _ in range(2) for op in (nn.Dense(16), *([between()] if between else []))]
        net = nn.Sequential(nn.Flatten(), *layers, nn.Dense(2))
        nn.train(net, rings(400, 0), optimizer=nn.Adam(0.02), epochs=30, batch_size=50)
        found[name] = nn.evaluate(net, rings(400, 1))["accuracy"]
    assert min(found["relu"], found["tanh"], found["sigmoid"]) >= 0.97, found
    assert found["none"] <= 0.8, found


@pytest.mark.slow
@needs_data
def test_d6_what_is_lost_on_digits() -> None:
    """Convolutions, mean pooling and dense layers with relu between them and without."""
    train, test = data.load("mnist")
    found = []
    for between in ([nn.ReLU()], []):
        net = nn.Sequential(
            nn.Conv(6, 5, padding=2), *between, nn.AvgPool(2), nn.Conv(16, 5), *between, nn.AvgPool(2), nn.Flatten(), nn.Dropout(0.2),
            nn.Dense(84), *between, nn.Dense(10),
        )  # fmt: skip
        nn.train(net, train, optimizer=nn.SGD(0.05, momentum=0.9), schedule=nn.OneCycle(), epochs=2)
        found.append(nn.evaluate(net, test)["accuracy"])
    assert found[0] > 0.975
    assert found[1] < 0.935


# D8 ------------------------------------------------------------------------------------------------------------------------


def test_d8_a_fixed_kernel_inside_a_network_is_not_trained() -> None:
    gaussian = np.outer([1, 2, 1], [1, 2, 1]) / 16
    net = nn.Sequential(nn.Conv(4, 3, padding=1), nn.Filter(gaussian), nn.ReLU(), nn.MaxPool(2), nn.Flatten(), nn.Dense(2)).build((1, 8, 8))
    assert not any(name.startswith("filter1") for name in net.parameters)
    before = net.parameters["conv1.weight"].copy()
    nn.train(net, bars(), optimizer=nn.SGD(0.1, momentum=0.9, weight_decay=0.01), epochs=10)
    (fixed,) = net.buffers.values()
    assert (fixed == np.broadcast_to(gaussian.astype(np.float32), fixed.shape)).all()
    assert np.abs(net.parameters["conv1.weight"] - before).max() > 0.01  # the error passed through it
    assert nn.evaluate(net, bars(30, seed=1))["accuracy"] >= 0.9


# D9 ------------------------------------------------------------------------------------------------------------------------


def test_d9_the_small_reference_network() -> None:
    net = nn.models.get("three-stages")
    shapes = net.shapes()
    found = [shapes[name][1:] for name in ("conv1", "pool1", "conv2", "pool2", "conv3", "pool3")]
    assert found == [(16, 32, 32), (16, 16, 16), (20, 16, 16), (20, 8, 8), (20, 8, 8), (20, 4, 4)]
    assert sum(p.size for p in net.parameters.values()) == 22_466


# On real data --------------------------------------------------------------------------------------------------------------
