"""Training: what an iteration computes, why it stops, what it refuses, what it says when numbers are no longer finite."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from juanji import data, nn
from juanji.errors import ArgumentError, DivergedError
from juanji.nn.training.form import training_form
from small_trainings import PER_EPOCH, bars, network, run

FEW = bars(14)


def test_it_learns() -> None:
    net, history = run(epochs=12)
    assert history.stopped in ("epochs", "patience")
    assert history.epochs[-1]["validation_accuracy"] >= 0.9
    assert nn.evaluate(net, bars(30, seed=5))["accuracy"] >= 0.9
    assert len(history.losses) == PER_EPOCH * len(history.epochs)
    last = history.epochs[-1]
    assert last["loss"] == pytest.approx(np.mean(history.losses[-PER_EPOCH:]))
    assert last.keys() == {"epoch", "iteration", "loss", "rate", "validation_loss", "validation_accuracy", "seconds"}
    assert str(history).startswith(f"stopped after {len(history.losses)} iterations")


def test_one_iteration_is_a_step_along_the_gradient() -> None:
    net = nn.Sequential(nn.Conv(3, 3), nn.Tanh(), nn.Flatten(), nn.Dense(2), seed=1).build((1, 8, 8))
    before = {name: p.copy() for name, p in net.parameters.items()}
    gradients = net.gradients(FEW.x, FEW.y)
    nn.train(net, FEW, optimizer=nn.SGD(0.5), batch_size=14, epochs=1)
    for name, p in net.parameters.items():
        np.testing.assert_allclose(p, before[name] - 0.5 * gradients[name], rtol=1e-4, atol=1e-6)


def test_arrays_that_came_from_elsewhere_are_not_changed() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Dense(2)).build((1, 8, 8))
    weight = np.zeros((2, 64), np.float32)
    weight.flags.writeable = False
    net.set_arrays({"dense1.weight": weight, "dense1.bias": np.zeros(2, np.float32)})
    nn.train(net, FEW, epochs=1)
    assert not weight.any()
    assert net.parameters["dense1.weight"].any()


@pytest.mark.parametrize("threads", [1, 3])
def test_the_same_seed_gives_the_same_bits(threads: int) -> None:
    (one, first), (two, second) = run(epochs=2), run(epochs=2, threads=threads)
    assert first.losses == second.losses
    for name, p in one.parameters.items():
        assert (p == two.parameters[name]).all()
    other = run(epochs=2, seed=4)[1]
    assert other.losses != first.losses


# Reasons to stop -----------------------------------------------------------------------------------------------------------


def test_it_stops_after_max_iterations() -> None:
    history = run(max_iterations=7, epochs=None)[1]
    assert (history.stopped, len(history.losses)) == ("max_iterations", 7)
    assert [line["iteration"] for line in history.epochs] == [5, 7]
    assert run(max_iterations=7, epochs=1)[1].stopped == "epochs"


def test_it_stops_when_no_parameter_changes_by_as_much_as_tol() -> None:
    """A network of one weight and one bias whose changes can be followed by hand."""
    samples = data.Samples(np.array([[[1.0]], [[-1.0]]], np.float32), np.array([[2.0], [-2.0]], np.float32))
    seen: list[np.ndarray] = []

    def make() -> nn.Graph:
        return nn.Sequential(nn.Flatten(), nn.Dense(1, weight=0.0), shape=(1, 1), preprocessing=None)

    net, tol = make(), 1e-3
    options: dict[str, Any] = {"loss": "squared_error", "optimizer": nn.SGD(0.05), "batch_size": 2, "epochs": 1000}
    history = nn.train(net, samples, tol=tol, on_iteration=lambda i, loss: seen.append(net.parameters["dense1.weight"].copy()), **options)
    assert history.stopped == "tol"
    changes = [float(np.abs(b - a).max()) for a, b in zip([np.zeros((1, 1), np.float32), *seen], seen, strict=False)]
    assert changes[-1] < tol <= changes[-2]
    assert net.parameters["dense1.weight"][0, 0] == pytest.approx(2, abs=tol / 0.1)
    assert nn.train(make(), samples, tol=1e-30, **options | {"epochs": 3}).stopped == "epochs"


def test_patience_keeps_the_best_parameters() -> None:
    targets = np.random.default_rng(0).integers(0, 2, 40)  # nothing to learn but by heart
    samples, validation = data.Samples(bars(40).x, targets), data.Samples(bars(40, seed=1).x, 1 - targets)
    net = network()
    kept: list[dict[str, np.ndarray]] = []
    options: dict[str, Any] = {
        "batch_size": 40,
        "on_iteration": lambda i, loss: kept.append({k: p.copy() for k, p in net.parameters.items()}),
    }
    history = nn.train(net, samples, validation, optimizer=nn.Adam(0.02), epochs=60, patience=3, **options)
    losses = [line["validation_loss"] for line in history.epochs]
    assert history.stopped == "patience"
    assert history.best == np.argmin(losses) + 1 == len(losses) - 3
    for name, p in net.parameters.items():
        assert (p == kept[history.best - 1][name]).all()


def test_settings_that_do_not_fit_are_refused() -> None:
    for changes, words in (
        ({"epochs": None}, "epochs or max_iterations must be given"),
        ({"epochs": 0}, r"epochs \(=0\) must be at least 1"),
        ({"tol": 0.0}, r"tol \(=0.0\) must be above 0"),
        ({"resume": True}, "needs run_dir"),
        ({"loss": "hinge"}, r"loss \(='hinge'\) must be one of"),
        ({"metrics": ["auc"]}, r"metric \(='auc'\) must be one of"),
        ({"batch_size": 0}, r"size \(=0\)"),
    ):
        with pytest.raises(ArgumentError, match=words):
            run(**changes)
    with pytest.raises(ArgumentError, match="needs validation"):
        nn.train(network(), FEW, epochs=1, patience=2)
    x = nn.Input((1, 8, 8))
    with pytest.raises(ArgumentError, match="one input and one output, not 1 and 2"):
        nn.train(nn.Graph(x, [nn.ReLU()(x), nn.Tanh()(x)]), FEW, epochs=1)


# Numbers that are not finite -----------------------------------------------------------------------------------------------


def diverging(*layers: nn.Operator) -> str:
    net = nn.Sequential(*layers).build((1, 8, 8))
    before = {name: p.copy() for name, p in net.parameters.items()}
    with pytest.raises(DivergedError) as caught:
        nn.train(net, FEW, epochs=1, optimizer=nn.SGD(0.1))
    for name, p in net.parameters.items():
        np.testing.assert_array_equal(p, before[name])
    return str(caught.value)


def test_a_loss_that_is_not_finite_names_the_first_layer() -> None:
    inner = nn.Conv(2, 3, weight=1e30, bias=None)
    words = diverging(nn.Conv(2, 3), nn.ReLU(), inner, nn.Conv(2, 3, weight=1e30), nn.Flatten(), nn.Dense(2))
    assert words.startswith("layer conv3: its output is not finite, in iteration 1")


def test_a_parameter_that_is_not_finite_is_named() -> None:
    assert diverging(nn.Flatten(), nn.Dense(2, weight=np.full((2, 64), np.nan))).startswith("layer dense1: its weight is not finite")


def test_an_input_that_is_not_finite_is_named() -> None:
    x = FEW.x.copy()
    x[3, 0, 2, 2] = np.inf
    with pytest.raises(DivergedError, match=r"^input holds values that are not finite, in iteration 1"):
        nn.train(network(), data.Samples(x, FEW.y), epochs=1)


def test_a_gradient_that_is_not_finite_is_named() -> None:
    def loss(y: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
        return 1.0, np.full_like(y, 1e38)

    with pytest.raises(DivergedError, match=r"^layer dense2: the gradient of its weight is not finite, in iteration 1"):
        nn.train(nn.Sequential(nn.Flatten(), nn.Dense(3), nn.Dense(2, weight=100.0, bias=1e3)), FEW, loss=loss, metrics=(), epochs=1)


# Rearranged for training ---------------------------------------------------------------------------------------------------


def branching() -> nn.Graph:
    """Relus that may move and relus that may not, because something else reads them."""
    x = nn.Input((3, 12, 12))
    shared = nn.Conv(4, 3, padding=1)
    a = nn.ReLU()(shared(x))
    b = nn.MaxPool(2, padding=1)(nn.ReLU()(nn.Conv(4, 3, padding=1)(a)))
    c = nn.MaxPool(2, places=True)(nn.ReLU()(a))[0]
    d = nn.MaxPool(2)(nn.ReLU()(nn.BatchNorm()(nn.Conv(4, 3, padding=1)(a))))
    e = nn.BatchNorm()(nn.ReLU()(nn.BatchNorm()(a)))
    wide = nn.Resize(scale=2)(nn.Add()(c, d))
    return nn.Graph(
        x, nn.Concatenate()(nn.Flatten()(b), nn.Flatten()(nn.Add()(a, wide, e, nn.ReLU()(e))), nn.Flatten()(nn.ReLU()(nn.Conv(2, 3)(wide))))
    )


@pytest.mark.parametrize("make", [branching, lambda: nn.models.get("lenet-5", shape=(3, 12, 12)), lambda: nn.models.get("three-stages")])
def test_the_form_for_training_computes_the_same(make: Any) -> None:
    net = make().astype(np.float64).build(*[(3, 32, 32)] * (make().inputs["input"] == (3, 32, 32)))
    form = training_form(net)
    assert form.nodes != net.nodes
    x = np.random.default_rng(0).normal(size=(4, *net.inputs["input"]))
    tapes = [g.record(x, training=True) for g in (net, form)]
    (value,) = net.outputs.values()
    dy = np.random.default_rng(1).normal(size=tapes[0].values[value].shape)
    np.testing.assert_allclose(tapes[1].values[value], tapes[0].values[value], rtol=1e-12, atol=1e-12)
    one, two = (tape.backward({value: dy}, ["input"]) for tape in tapes)
    np.testing.assert_allclose(two.values["input"], one.values["input"], rtol=1e-10, atol=1e-10)
    assert one.parameters.keys() == two.parameters.keys()
    for name, gradient in one.parameters.items():
        np.testing.assert_allclose(two.parameters[name], gradient, rtol=1e-10, atol=1e-10)


def test_the_form_for_training_shares_its_arrays() -> None:
    net = network().build((1, 8, 8))
    form = training_form(net)
    for name, array in (net.parameters | net.buffers).items():
        assert np.shares_memory(array, (form.parameters | form.buffers)[name])


# The whole way back --------------------------------------------------------------------------------------------------------


@pytest.mark.torch
def test_gradients_of_a_whole_network_equal_torch() -> None:
    torch = pytest.importorskip("torch")
    layers = torch.nn
    net = nn.Sequential(
        nn.Conv(6, 5, padding=2), nn.BatchNorm(), nn.ReLU(), nn.MaxPool(2), nn.Conv(8, 3, stride=2, groups=2), nn.LeakyReLU(0.1),
        nn.ConvTranspose(4, 3, stride=2), nn.Sigmoid(), nn.AvgPool(2), nn.Flatten(), nn.Dense(20), nn.Tanh(), nn.Dense(10),
        shape=(3, 20, 20), preprocessing=None,
    )  # fmt: skip
    theirs = layers.Sequential(
        layers.Conv2d(3, 6, 5, padding=2), layers.BatchNorm2d(6), layers.ReLU(), layers.MaxPool2d(2), layers.Conv2d(6, 8, 3, 2, groups=2),
        layers.LeakyReLU(0.1), layers.ConvTranspose2d(8, 4, 3, stride=2), layers.Sigmoid(), layers.AvgPool2d(2), layers.Flatten(),
        layers.Linear(64, 20), layers.Tanh(), layers.Linear(20, 10),
    )  # fmt: skip
    names = dict(zip(net.parameters, theirs.parameters(), strict=True))
    with torch.no_grad():
        for name, p in net.parameters.items():
            names[name].copy_(torch.from_numpy(p))
    random = np.random.default_rng(0)
    x, target = random.normal(size=(8, 3, 20, 20)).astype(np.float32), random.integers(0, 10, 8)
    loss = layers.functional.cross_entropy(theirs(torch.from_numpy(x)), torch.from_numpy(target))
    loss.backward()
    tape = training_form(net).record(x, training=True)
    (value,) = net.outputs.values()
    ours, dy = nn.softmax_cross_entropy(tape.values[value], target)
    assert ours == pytest.approx(loss.item(), rel=1e-5)
    for name, gradient in tape.backward({value: dy}).parameters.items():
        scale = float(names[name].grad.abs().max())
        np.testing.assert_allclose(gradient, names[name].grad.numpy(), rtol=1e-4, atol=1e-4 * scale + 1e-7, err_msg=name)
    np.testing.assert_allclose(net.buffers["norm1.variance"], theirs[1].running_var.numpy(), rtol=1e-4)


# The display ---------------------------------------------------------------------------------------------------------------


def test_the_display_is_silent_where_nobody_looks(capfd: pytest.CaptureFixture[str]) -> None:
    run(epochs=1, quiet=False)
    assert capfd.readouterr() == ("", "")


def test_the_display_tells_of_epochs_on_a_terminal(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    run(epochs=2, quiet=False)
    out, err = capfd.readouterr()
    assert out == ""
    assert "epoch 1  loss" in err
    assert "validation accuracy" in err
