"""Optimisers against their formulas and against PyTorch; schedules, clipping, metrics."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

import juanji as jj
from guarded import beside
from juanji import data, nn
from juanji.errors import ArgumentError, DtypeError, ShapeError
from juanji.nn.training.metrics import METRICS

CASES: list[tuple[Any, str, dict[str, Any]]] = [
    (nn.SGD(0.1), "SGD", {"lr": 0.1}),
    (nn.SGD(0.1, momentum=0.9), "SGD", {"lr": 0.1, "momentum": 0.9}),
    (nn.SGD(0.1, 0.9, nesterov=True, weight_decay=0.01), "SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    (nn.Adam(0.01), "Adam", {"lr": 0.01}),
    (nn.Adam(0.01, (0.8, 0.99), 1e-3, 0.1), "Adam", {"lr": 0.01, "betas": (0.8, 0.99), "eps": 1e-3, "weight_decay": 0.1}),
    (nn.AdamW(0.01), "AdamW", {"lr": 0.01, "weight_decay": 0.01}),
    (nn.AdamW(0.01, weight_decay=0.3), "AdamW", {"lr": 0.01, "weight_decay": 0.3}),
]


def path_of(optimizer: Any, gradients: list[np.ndarray], start: np.ndarray) -> np.ndarray:
    p = {"w": start.copy()}
    memory = optimizer.memory(p)
    for step, g in enumerate(gradients, 1):
        given = g.copy()
        optimizer.update(p, {"w": given}, memory, rate=optimizer.rate, step=step)
        assert (given == g).all()
    return p["w"]


@pytest.mark.parametrize(("optimizer", "name", "options"), CASES, ids=[str(case[0]) for case in CASES])
def test_steps_follow_the_formulas(optimizer: Any, name: str, options: dict[str, Any]) -> None:
    """One number, written out with Python's floats."""
    p = m = s = v = 0.0
    p, decay, rate = 0.5, options.get("weight_decay", 0.0), options["lr"]
    gradients = [0.3, -2.0, 0.01, 5.0]
    for t, g in enumerate(gradients, 1):
        if name == "AdamW":
            p -= rate * decay * p
        else:
            g += decay * p
        if name == "SGD":
            mu = options.get("momentum", 0.0)
            v = mu * v + g
            p -= rate * (g + mu * v if options.get("nesterov") else v)
        else:
            b1, b2 = options.get("betas", (0.9, 0.999))
            m, s = b1 * m + (1 - b1) * g, b2 * s + (1 - b2) * g * g
            p -= rate * (m / (1 - b1**t)) / (math.sqrt(s / (1 - b2**t)) + options.get("eps", 1e-8))
    got = path_of(optimizer, [np.array([g]) for g in gradients], np.array([0.5]))
    assert got[0] == pytest.approx(p, rel=1e-12)


@pytest.mark.torch
@pytest.mark.parametrize(("optimizer", "name", "options"), CASES, ids=[str(case[0]) for case in CASES])
def test_steps_equal_torch(optimizer: Any, name: str, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    start = random.normal(size=(3, 4))
    gradients = [random.normal(size=(3, 4)) * scale for scale in (1, 10, 0.1, 1, 1e-4)]
    theirs = torch.nn.Parameter(torch.from_numpy(start.copy()))
    stepper = getattr(torch.optim, name)([theirs], **options)
    for g in gradients:
        theirs.grad = torch.from_numpy(g)
        stepper.step()
    np.testing.assert_allclose(path_of(optimizer, gradients, start), theirs.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("optimizer", [case[0] for case in CASES], ids=str)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("at_end", [False, True])
def test_many_parameters_of_every_size_beside_protected_memory(optimizer: Any, dtype: str, at_end: bool) -> None:
    """Equal to steps of one element at a time, which have no vectors and no pieces; and nothing beyond the arrays is touched."""
    random = np.random.default_rng(0)
    shapes = {"none": (0, 3), "one": (), "tail": (31,), "rows": (3, 16), "pieces": (3, 8191)}
    p = {name: beside(random.normal(size=shape).astype(dtype), at_end) for name, shape in shapes.items()}
    g = {name: beside(random.normal(size=shape).astype(dtype), at_end) for name, shape in shapes.items()}
    memory = {name: beside(array, at_end) for name, array in optimizer.memory(p).items()}
    flat = [np.concatenate([array.ravel() for array in arrays.values()]) for arrays in (p, g)]
    picked = random.choice(flat[0].size, 50, replace=False)
    single = {str(i): flat[0][i : i + 1].copy() for i in picked}
    kept = optimizer.memory(single)
    for step in (1, 2):
        with jj.threads(step):
            optimizer.update(p, g, memory, rate=0.1, step=step)
        optimizer.update(single, {str(i): flat[1][i : i + 1] for i in picked}, kept, rate=0.1, step=step)
    moved = np.concatenate([array.ravel() for array in p.values()])
    assert [moved[i] for i in picked] == [single[str(i)][0] for i in picked]
    assert np.isfinite(moved).all()


def test_what_cannot_be_changed_in_place_is_refused() -> None:
    optimizer = nn.SGD(0.1, momentum=0.9)
    whole = np.ones((4, 6), np.float32)

    def update(p: Any, g: Any, memory: Any) -> None:
        optimizer.update({"w": p}, {"w": g}, {"momentum.w": memory}, rate=0.1, step=1)

    fixed = whole.copy()
    fixed.flags.writeable = False
    for error, arrays, text in (
        (ArgumentError, (whole[:, ::2], whole[:, ::2], whole[:, ::2]), "w must be contiguous, aligned and writeable"),
        (ArgumentError, (fixed, whole, whole.copy()), "w must be contiguous, aligned and writeable"),
        (ShapeError, (whole, whole[:3], whole.copy()), "the gradient of w has shape (3, 6), but must have (4, 6)"),
        (ShapeError, (whole, whole, whole[0]), "what is remembered of w is float32 (6,), but must be float32 (4, 6)"),
        (ShapeError, (whole, whole, whole.astype(np.float64)), "what is remembered of w is float64 (4, 6)"),
        (DtypeError, (np.ones(3, np.int32),) * 3, "w has dtype int32, but must be float16, float32, float64 to be trained"),
    ):
        with pytest.raises(error, match=re.escape(text)):
            update(*arrays)
    assert (whole == 1).all()


def test_gradients_may_lie_anyhow() -> None:
    optimizer, g = nn.SGD(1.0), np.arange(12.0)
    for given in (
        g.reshape(3, 4).T.copy().T,
        g.astype(">f8").reshape(3, 4),
        g.astype(np.float32).reshape(3, 4),
        np.repeat(g, 2)[::2].reshape(3, 4),
    ):
        p = {"w": np.zeros((3, 4))}
        optimizer.update(p, {"w": given}, {}, rate=1.0, step=1)
        np.testing.assert_array_equal(p["w"], -g.reshape(3, 4))


def test_float32_parameters_stay_float32() -> None:
    for optimizer, _, _ in CASES:
        p = {"w": np.ones(3, np.float32)}
        memory = optimizer.memory(p)
        optimizer.update(p, {"w": np.ones(3, np.float32)}, memory, rate=0.1, step=1)
        assert {array.dtype for array in [*p.values(), *memory.values()]} == {np.dtype(np.float32)}


def test_settings_out_of_range_are_refused() -> None:
    for make in (
        lambda: nn.SGD(-1.0), lambda: nn.SGD(momentum=1.0), lambda: nn.SGD(nesterov=True), lambda: nn.Adam(betas=(0.9, 1.0)),
        lambda: nn.AdamW(weight_decay=-1.0), lambda: nn.ClipNorm(0.0), lambda: nn.OneCycle(peak=1.0), lambda: nn.WarmUp(0),
    ):  # fmt: skip
        with pytest.raises(ArgumentError, match=r"\(=|needs"):
            make()


def test_schedules() -> None:
    assert nn.CosineDecay()(0, 10) == 1
    assert nn.CosineDecay()(5, 10) == pytest.approx(0.5)
    assert nn.CosineDecay(0.2)(10, 10) == pytest.approx(0.2)
    warm = nn.WarmUp(4, nn.StepDecay((0.5,)), start=0.2)
    assert [warm(i, 24) for i in (0, 3, 4, 13, 14)] == pytest.approx([0.4, 1.0, 1.0, 1.0, 0.1])
    assert nn.WarmUp(2)(7, 9) == 1
    cycle = [nn.OneCycle()(i, 50) for i in range(50)]
    assert max(cycle) == pytest.approx(1, abs=0.01)
    assert cycle.index(max(cycle)) in (14, 15)
    assert cycle[0] == pytest.approx(1 / 25)
    assert cycle[-1] == pytest.approx(1 / 250_000)


@pytest.mark.torch
@pytest.mark.parametrize("total", [10, 37])
def test_schedules_equal_torch(total: int) -> None:
    torch = pytest.importorskip("torch")
    rates = torch.optim.lr_scheduler
    cases: list[tuple[Any, Any]] = [
        (nn.OneCycle(), lambda o: rates.OneCycleLR(o, 1.0, total_steps=total)),
        (nn.CosineDecay(0.1), lambda o: rates.CosineAnnealingLR(o, total, 0.1)),
    ]
    for ours, theirs in cases:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        schedule, found = theirs(optimizer), []
        for _ in range(total):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if len(found) < total:
                schedule.step()
        np.testing.assert_allclose([ours(i, total) for i in range(total)], found, rtol=1e-9, atol=1e-12)


def test_clipping_bounds_gradients_and_leaves_small_ones_alone() -> None:
    gradients = {"a": np.array([3.0, 0.0], np.float32), "b": np.array([[4.0]], np.float32)}
    clipped = nn.ClipNorm(2.5)(gradients)
    assert clipped["a"].tolist() == [1.5, 0]
    assert clipped["b"].tolist() == [[2.0]]
    assert clipped["a"].dtype == np.float32
    assert nn.ClipNorm(5.0)(gradients) is gradients
    assert nn.ClipValue(3.5)(gradients)["b"].tolist() == [[3.5]]
    assert gradients["b"].tolist() == [[4.0]]


def counted(metric: str, *batches: tuple[Any, Any]) -> float:
    found = METRICS[metric]
    return found.value(sum((found.count(np.asarray(y), np.asarray(t)) for y, t in batches), np.zeros(())))


def test_metrics_add_up_over_batches() -> None:
    right, wrong = [[0.1, 0.9]], [[0.9, 0.1]]
    assert counted("accuracy", (right, [1]), (wrong, [1]), (right + right, [1, 0])) == 0.5
    assert counted("mean_error", ([[1.0], [2.0]], [1.5, 2.0]), ([[0.0]], [3.0])) == pytest.approx(3.5 / 3)
    with pytest.raises(ShapeError, match="class numbers"):
        counted("accuracy", (right, [[1]]))


def test_intersection_over_union() -> None:
    mask = np.array([[[[1.0, -1.0], [2.0, -3.0]]]])
    assert counted("iou", (mask, np.array([[[1, 1], [0, 0]]]))) == pytest.approx(1 / 3)
    assert counted("iou", (mask, np.array([[[1, 1], [0, 0]]])), (mask, (mask > 0)[:, 0])) == pytest.approx(3 / 5)
    assert counted("iou", (-np.ones((1, 1, 2, 2)), np.zeros((1, 2, 2), int))) == 1.0
    classes = np.zeros((1, 3, 2, 2))
    classes[0, 1, 0] = 1  # the upper row is class 1, the lower class 0; class 2 does not occur
    assert counted("iou", (classes, np.array([[[1, 1], [1, 0]]]))) == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_evaluate_weighs_batches_by_their_samples() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Dense(2), shape=(1, 3), preprocessing=None)
    random = np.random.default_rng(0)
    samples = data.Samples(random.normal(size=(7, 1, 3)), random.integers(0, 2, 7))
    whole, parts = nn.evaluate(net, samples, batch_size=7), nn.evaluate(net, samples, batch_size=3)
    assert parts == pytest.approx(whole)
    assert whole.keys() == {"loss", "accuracy"}
    assert nn.evaluate(net, samples, loss=None, metrics=("accuracy",)) == {"accuracy": whole["accuracy"]}
    with pytest.raises(ArgumentError, match="must be one of accuracy, iou, mean_error"):
        nn.evaluate(net, samples, metrics=["f1"])
    with pytest.raises(ArgumentError, match="no samples"):
        nn.evaluate(net, samples[:0])
