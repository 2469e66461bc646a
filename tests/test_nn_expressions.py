"""Operators on each element alone are joined into one, numbers are folded into convolutions, and the results stay what they were."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guarded import beside, guarded
from juanji import elementwise, machine, nn
from juanji.nn.inference import compiled, grouping
from juanji.nn.inference.expressions import FUNCTIONS, Expression, Scaled
from juanji.nn.moves import Constant
from juanji.nn.operator import Operator, Run, Symbol
from juanji.nn.operators.arithmetic import Divide, Subtract
from juanji.spec import LAYOUTS

LEAVES = st.sampled_from([0, 1, 0.5, -3.0, 6.0])
PAIRS, ALONE = st.sampled_from(["add", "multiply"]), st.sampled_from(elementwise.ACTIVATIONS)
TREES = st.recursive(LEAVES, lambda parts: st.tuples(PAIRS, parts, parts) | st.tuples(ALONE, parts), max_leaves=8)


@settings(max_examples=60)
@given(tree=TREES, count=st.integers(1, 70), dtype=st.sampled_from(["float32", "float64"]), at_end=st.booleans())
def test_expressions_beside_protected_memory(tree: Any, count: int, dtype: str, at_end: bool) -> None:
    random = np.random.default_rng(count)
    arrays = [beside(random.normal(size=count).astype(dtype), at_end) for _ in range(2)]
    y = guarded((count,), dtype, at_end)
    elementwise.ready(tree, arrays, y, 1)()
    expected, _ = Expression(tree).forward({}, *(a.astype(np.float64) for a in arrays), run=Run())
    eps = 1e-5 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(y, np.broadcast_to(expected, y.shape), rtol=eps, atol=eps * 100)


def test_the_functions_are_those_that_code_knows() -> None:
    assert set(FUNCTIONS) == {"add", "multiply", *elementwise.ACTIVATIONS}


def constant(number: float, shape: tuple[int, ...] = (1,)) -> Symbol:
    return Constant(np.full(shape, number, np.float32))()


def hard_swish(x: Symbol) -> Symbol:
    """As files spell it out."""
    gate = nn.ReLU6()(nn.Add()(x, constant(3.0, ())))
    return Divide()(nn.Multiply()(x, gate), constant(6.0, ()))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_activation_that_is_spelled_out_is_one_stage(layout: str) -> None:
    x = nn.Input((4, 9, 10))
    swish = nn.Add()(nn.Multiply()(constant(1.5), hard_swish(nn.Conv(6, 3)(x))), constant(-0.25))
    net = nn.Graph(x, nn.Conv(5, 3, padding=1)(swish)).build()
    fast = net.compile(layout=layout)
    assert [type(stage.op).__name__ for stage in fast.stages] == ["Conv", "Expression", "Conv"]
    picture = np.random.default_rng(0).normal(0, 3, (2, 4, 9, 10)).astype(np.float32)
    assert fast(picture) == pytest.approx(net(picture), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_numbers_go_into_the_weights(layout: str) -> None:
    x = nn.Input((4, 9, 10))
    first = Subtract()(constant(2.0), nn.Multiply()(nn.Conv(6, 3, bias=None)(x), constant(0.5)))
    second = Divide()(nn.Add()(nn.ConvTranspose(3, 3)(first), constant(1.0)), constant(4.0))
    last = nn.Multiply()(constant(-2.0, ()), nn.Dense(7)(nn.Flatten()(second)))
    net = nn.Graph(x, nn.ReLU()(last)).build()
    fast = net.compile(layout=layout)
    assert [type(stage.op).__name__ for stage in fast.stages] == ["Conv", "ConvTranspose", "Flatten", "Dense"]
    picture = np.random.default_rng(0).normal(size=(2, 4, 9, 10)).astype(np.float32)
    assert fast(picture) == pytest.approx(net(picture), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_numbers_for_every_channel_go_into_the_weights_too(layout: str) -> None:
    random = np.random.default_rng(1)
    x = nn.Input((4, 9, 10))

    def channels(count: int, shape: tuple[int, ...]) -> Symbol:
        return Constant(random.uniform(0.5, 2, count).astype(np.float32).reshape(shape))()

    first = Subtract()(channels(6, (6, 1, 1)), nn.Multiply()(nn.Conv(6, 3, bias=None)(x), channels(6, (1, 6, 1, 1))))
    second = Divide()(nn.BatchNorm()(nn.Add()(nn.ConvTranspose(3, 3)(first), channels(3, (1, 3, 1, 1)))), channels(3, (3, 1, 1)))
    alone = nn.Multiply()(nn.MaxPool(2)(nn.ReLU()(second)), channels(3, (3, 1, 1)))
    last = nn.Multiply()(nn.Dense(7)(nn.Flatten()(alone)), channels(7, (7,)))
    rows = nn.Add()(alone, Constant(random.normal(size=(4, 1)).astype(np.float32))())
    net = nn.Graph(x, {"last": last, "rows": rows}).build()
    fast = net.compile(layout=layout)
    names = [type(stage.op).__name__ for stage in fast.stages]
    assert sorted(names) == ["Add", "Constant", "Conv", "ConvTranspose", "Dense", "Flatten", "MaxPool", "ScaledChannels"]
    picture = random.normal(size=(2, 4, 9, 10)).astype(np.float32)
    for name, expected in net.run({"input": picture}).items():
        assert fast.run({"input": picture})[name] == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_what_is_not_a_number_for_every_element_is_left_alone() -> None:
    x = nn.Input((4, 9, 10))
    made = nn.Conv(6, 3)(x)
    wide = nn.Add()(nn.GlobalPool()(made), constant(1.0, (1, 1, 1)))  # (N, 6) becomes (1, N, 6)
    net = nn.Graph(x, {"shifted": nn.Add()(made, constant(1.0)), "plain": made, "wide": wide, "inverse": Divide()(constant(1.0), made)})
    picture = np.random.default_rng(0).normal(size=(2, 4, 9, 10)).astype(np.float32)
    fast = net.compile()
    for name, expected in net.run({"input": picture}).items():
        found = fast.run({"input": picture})[name]
        assert found.shape == expected.shape
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_array_for_one_sample_is_repeated_for_others(layout: str) -> None:
    random = np.random.default_rng(2)
    x = nn.Input((4, 6, 5))
    fixed = Constant(random.normal(size=(1, 4, 6, 5)).astype(np.float32))()
    net = nn.Graph(x, nn.Multiply()(nn.ReLU()(nn.Add()(nn.MaxPool(1)(x), fixed)), fixed))
    fast = net.compile(layout=layout)
    for batch in (1, 3):
        picture = random.normal(size=(batch, 4, 6, 5)).astype(np.float32)
        assert fast(picture) == pytest.approx(net(picture), rel=1e-5, abs=1e-5)


def test_scalings_one_after_another() -> None:
    x = np.array([1, -2, 3], np.float32)
    first, second = Scaled(2.0, 1.0), Scaled(-3.0, 5.0)
    both, _ = first.then(second).forward({}, x, run=Run())
    np.testing.assert_array_equal(both, (x * 2 + 1) * -3 + 5)


KINDS = ["sum", "product", "plus", "minus", "times", "over", "relu", "relu6", "sigmoid", "tanh", "depthwise"]


def applied(kind: str, a: Symbol, b: Symbol, number: Symbol) -> Symbol:
    """An operator on elements, or a convolution that ends an expression."""
    alone: dict[str, Operator] = {
        "relu": nn.ReLU(), "relu6": nn.ReLU6(), "sigmoid": nn.Sigmoid(), "tanh": nn.Tanh(),
        "depthwise": nn.Conv(16, (3, 1), padding=(1, 0), groups="each"),
    }  # fmt: skip
    if kind in alone:
        return alone[kind](a)
    pairs: dict[str, tuple[Operator, Symbol]] = {
        "sum": (nn.Add(), b), "product": (nn.Multiply(), b), "plus": (nn.Add(), number), "minus": (Subtract(), number),
        "times": (nn.Multiply(), number), "over": (Divide(), number),
    }  # fmt: skip
    op, other = pairs[kind]
    return op(a, other)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("seed", range(20))
def test_random_expressions_in_networks(seed: int, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forks and joins of operators on elements, some wanted outside, with a cache so small that they run by strips."""
    random = np.random.default_rng(seed)
    x = nn.Input((3, 12, 9))
    values = [nn.Conv(16, 1)(x)]
    for _ in range(12):
        a, b = (values[i] for i in random.integers(max(0, len(values) - 3), len(values), 2))
        number = constant(float(random.uniform(0.5, 2)), () if random.integers(2) else (1,))
        values.append(applied(random.choice(KINDS), a, b, number))
    net = nn.Graph(x, {"last": values[-1], "early": values[6]})
    picture = random.normal(size=(2, 3, 12, 9)).astype(np.float32)
    expected = net.run({"input": picture})
    small = dataclasses.replace(machine.probe(), l2=12_000)
    monkeypatch.setattr(compiled, "machines", SimpleNamespace(probe=lambda: small))
    monkeypatch.setattr(grouping, "FEWEST_PIXELS", 1)
    monkeypatch.setattr(grouping, "MOVED", 0)
    fast = net.compile(layout=layout)
    for _ in range(2):
        for name, found in fast.run({"input": picture}).items():
            assert found == pytest.approx(expected[name], rel=1e-4, abs=1e-4 * max(1.0, float(np.abs(expected[name]).max()))), name
