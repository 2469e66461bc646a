"""The operators that networks from files need: gradients against finite differences, shapes, and what their outputs see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import test_nn_ops as core
from juanji import nn
from juanji.errors import ArgumentError, ShapeError
from juanji.nn.operator import OPERATORS, Operator, Run
from juanji.nn.operators.arithmetic import FUNCTIONS
from juanji.nn.operators.reductions import KINDS
from juanji.nn.operators.resampling import COORDINATES, ROUNDINGS

Shape = tuple[int, ...]
PICTURE, SERIES, VOLUME, SEQUENCE = (2, 4, 7, 6), (2, 4, 9), (2, 2, 5, 4, 6), (4, 2, 3)
ABOVE_ZERO = ("sqrt", "log")

# operator, shapes of its inputs
CASES: list[tuple[Operator, Sequence[Shape]]] = [
    *((nn.Function(name), [PICTURE]) for name in FUNCTIONS),
    (nn.Clip(-1.0, 0.7), [PICTURE]),
    (nn.Clip(None, 0.5), [SERIES]),
    (nn.Clip(), [SERIES]),
    (nn.ELU(0.7), [PICTURE]),
    (nn.ELU(1.7, scale=1.1), [PICTURE]),
    (nn.ELU(0.6, width=0.6), [PICTURE]),
    (nn.Threshold(0.7), [PICTURE]),
    (nn.Threshold(0.7, -0.2, 0.3), [PICTURE]),
    (nn.LogSoftmax(), [PICTURE]),
    (nn.LogSoftmax(-1), [(3, 7)]),
    (nn.Subtract(), [PICTURE, (4, 1, 1)]),
    (nn.Divide(), [(4, 7, 1), PICTURE]),
    (nn.Power(), [PICTURE, ()]),
    (nn.Power(), [PICTURE, (4, 1, 1)]),
    (nn.Maximum(), [PICTURE, PICTURE]),
    (nn.Minimum(), [PICTURE, (1, 1, 6)]),
    (nn.PReLU(), [PICTURE, (4, 1, 1)]),
    (nn.MatMul(), [(2, 3, 4, 5), (2, 1, 5, 2)]),
    (nn.MatMul(), [(3, 4, 5), (5, 2)]),
    (nn.MatMul(), [(5,), (3, 5, 2)]),
    (nn.MatMul(), [(3, 2, 5), (5,)]),
    *((nn.Reduce(kind, (-1, 1), keep=kind in ("mean", "l2")), [PICTURE]) for kind in KINDS),
    (nn.Reduce(), [PICTURE]),
    (nn.LocalResponseNorm(3, alpha=0.5), [(2, 6, 3, 2)]),
    (nn.LocalResponseNorm(4, alpha=0.5, beta=0.6, k=2.0), [(2, 6, 3)]),
    (nn.Rearrange((0, 2, -1)), [PICTURE]),
    (nn.Rearrange((12, 28)), [PICTURE]),
    (nn.Transpose((0, 3, 1, 2)), [PICTURE]),
    (nn.Transpose(), [PICTURE]),
    (nn.AddAxes((0, -1)), [SERIES]),
    (nn.DropAxes((1, -1)), [(2, 1, 3, 1)]),
    (nn.DropAxes(), [(2, 1, 3, 1)]),
    (nn.Slice((1, -1), (5, -9), (2, -1), (2, -2)), [PICTURE]),
    (nn.Slice((1,), (2**62,), (0,), (1,)), [PICTURE]),
    (nn.Split(1, (1, 3)), [PICTURE]),
    (nn.Split(-1, parts=4), [(2, 3, 7)]),
    (nn.Split(0, parts=1), [SERIES]),
    (nn.Expand((3, 2, 4, 5)), [(4, 1)]),
    (nn.Tile((2, 1, 3)), [SERIES]),
    (nn.Take((3, 0, -4), axis=1), [PICTURE]),
    (nn.Take(((0, 1), (1, 1)), axis=2), [PICTURE]),
    (nn.Take(2, axis=-1), [PICTURE]),
    (nn.PadAxes(((1, 0), (0, 0), (2, 3)), "reflect"), [SERIES]),
    (nn.PadAxes(((1, 0), (0, 2), (2, 3)), ("constant", 2.0)), [SERIES]),
    (nn.DepthToSpace(2), [(2, 8, 3, 2)]),
    (nn.DepthToSpace(2, "DCR"), [(2, 8, 3, 2)]),
    (nn.SpaceToDepth(2), [(2, 2, 4, 6)]),
    (nn.SpaceToDepth(2, "CRD"), [(2, 2, 4, 6)]),
    *((nn.Resample(scale=(1.5, 0.7), coordinates=name), [PICTURE]) for name in COORDINATES),
    *((nn.Resample(size=(9, 4), mode="nearest", rounding=name), [PICTURE]) for name in ROUNDINGS),
    (nn.Resample(scale=2, mode="cubic"), [PICTURE]),
    (nn.Resample(size=3, mode="cubic", slope=-0.5), [VOLUME]),
    (nn.LSTM(3), [SEQUENCE]),
    (nn.LSTM(3, "reverse"), [SEQUENCE, (1, 2, 3), (1, 2, 3)]),
    (nn.LSTM(2, "bidirectional"), [SEQUENCE]),
    (nn.GRU(3), [SEQUENCE]),
    (nn.GRU(2, "bidirectional"), [SEQUENCE, (2, 2, 2)]),
    (nn.GRU(3, reset="before"), [SEQUENCE, (1, 2, 3)]),
]  # fmt: skip
IDS = [f"{i}-{op}" for i, (op, _) in enumerate(CASES)]


def values_of(op: Operator, shapes: Sequence[Shape]) -> list[np.ndarray]:
    values = core.values_of(op, shapes)
    if isinstance(op, nn.Power) or getattr(op, "function", "") in ABOVE_ZERO:
        return [np.asarray(np.abs(value) + 0.3) for value in values]
    return values


@pytest.mark.parametrize(("op", "shapes"), CASES, ids=IDS)
def test_gradients_equal_finite_differences(op: Operator, shapes: Sequence[Shape]) -> None:
    inputs, arrays = values_of(op, shapes), core.arrays_of(op, shapes)

    def outputs() -> tuple[tuple[np.ndarray, ...], Any]:
        y, saved = op.forward(arrays, *inputs, run=Run())
        return (y if op.outputs > 1 else (y,)), saved

    made, saved = outputs()
    assert tuple(y.shape for y in made) == op.shapes(*shapes)
    random = np.random.default_rng(6)
    dy = tuple(np.asarray(random.normal(size=y.shape)) for y in made)
    back = op.backward(arrays, saved, dy if op.outputs > 1 else dy[0], (True,) * len(inputs))
    assert back.parameters.keys() == arrays.keys()
    checked = [*zip(inputs, back.inputs, strict=True), *((arrays[name], gradient) for name, gradient in back.parameters.items())]
    for array, gradient in checked:
        assert gradient is not None
        assert gradient.shape == array.shape
        for _ in range(3):
            direction = random.normal(size=array.shape)
            start, step, sums = array.copy(), 1e-6, []
            for sign in (1, -1):
                array[...] = start + sign * step * direction
                sums.append(sum((y * d).sum() for y, d in zip(outputs()[0], dy, strict=True)))
            array[...] = start
            assert (gradient * direction).sum() == pytest.approx((sums[0] - sums[1]) / (2 * step), rel=2e-5, abs=2e-5)


@pytest.mark.parametrize(("op", "shapes"), [case for case in CASES if case[0].outputs == 1 and len(case[0].shape(*case[1])) > 2], ids=str)
def test_outputs_depend_on_what_they_see_and_on_nothing_else(op: Operator, shapes: Sequence[Shape]) -> None:
    inputs = values_of(op, shapes)
    y, saved = op.forward({}, *inputs, run=Run())
    place = tuple(size // 2 for size in y.shape[2:])
    dy = np.zeros_like(y)
    dy[(slice(None), slice(None), *place)] = 1
    back = op.backward({}, saved, dy, (True,) * len(inputs))
    boxes = op.sees(tuple((p, p) for p in place), *shapes)
    for x, dx, box in zip(inputs, back.inputs, boxes, strict=True):
        assert dx is not None
        if x.ndim > 2:
            outside = np.ones(x.shape, bool)
            outside[(slice(None), slice(None), *(slice(max(a, 0), max(b + 1, 0)) for a, b in box))] = False
            assert not dx[outside].any()


def test_every_operator_is_checked() -> None:
    here = {name for name, kind in OPERATORS.items() if kind.__module__.startswith("juanji.nn.operators.")}
    assert {type(op).__name__ for op, _ in CASES} | {"ToFloat"} == here


def test_gradients_of_some_outputs_only() -> None:
    """A split and an LSTM of which one output is used: the others count as zeros."""
    x = np.random.default_rng(0).normal(size=SEQUENCE)
    _, saved = nn.Split(1, (1, 1)).forward({}, x, run=Run())
    back = nn.Split(1, (1, 1)).backward({}, saved, (None, np.ones((4, 1, 3))), (True,))
    assert back.inputs[0] is not None
    assert back.inputs[0].sum(axis=(0, 2)).tolist() == [0, 12]
    op = nn.LSTM(3)
    arrays = core.arrays_of(op, [SEQUENCE])
    made, saved = op.forward(arrays, x, run=Run())
    dy = np.ones_like(made[1])
    last = op.backward(arrays, saved, (None, dy, None), (True,)).inputs[0]
    along = np.zeros_like(made[0])
    along[-1] = dy
    np.testing.assert_allclose(np.asarray(op.backward(arrays, saved, (along, None, None), (True,)).inputs[0]), np.asarray(last))


@pytest.mark.torch
def test_recurrent_layers_are_torchs() -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=SEQUENCE)
    for op, theirs, order in (
        (nn.LSTM(5, "bidirectional"), torch.nn.LSTM(3, 5, bidirectional=True, dtype=torch.float64), (0, 3, 1, 2)),  # i, f, g, o there
        (nn.GRU(5, "bidirectional"), torch.nn.GRU(3, 5, bidirectional=True, dtype=torch.float64), (1, 0, 2)),  # r, u, n there
    ):
        state = {name: value.detach().numpy() for name, value in theirs.state_dict().items()}

        def ours(name: str, state: dict[str, np.ndarray] = state, order: tuple[int, ...] = order) -> np.ndarray:
            gates = [np.split(state[f"{name}_l0{end}"], len(order)) for end in ("", "_reverse")]
            return np.stack([np.concatenate([parts[i] for i in order]) for parts in gates])

        bias = np.concatenate([ours("bias_ih"), ours("bias_hh")], axis=1)
        arrays = {"weight": ours("weight_ih"), "recurrent": ours("weight_hh"), "bias": bias}
        y = op.forward(arrays, x, run=Run())[0][0]
        expected = theirs(torch.from_numpy(x))[0].detach().numpy()
        np.testing.assert_allclose(y.transpose(0, 2, 1, 3).reshape(expected.shape), expected, rtol=1e-9)


def test_integers_become_floats() -> None:
    y, _ = nn.ToFloat().forward({}, np.array([[1, 255]], np.uint8), run=Run())
    assert y.dtype == np.float32
    assert y.tolist() == [[1, 255]]


@pytest.mark.parametrize(
    ("op", "shapes", "said"),
    [
        (nn.Subtract(), [PICTURE, (2, 4, 3, 3)], "shapes"),
        (nn.MatMul(), [(3, 4), (3, 4)], "multiplies"),
        (nn.Rearrange((5, -1)), [PICTURE], "cannot take"),
        (nn.Rearrange((0, 0, 0, 0, 0)), [PICTURE], "keeps an axis"),
        (nn.DropAxes((1,)), [PICTURE], "length 1"),
        (nn.AddAxes((0, 0)), [PICTURE], "twice"),
        (nn.Transpose((0, 0, 1, 2)), [PICTURE], "cannot order"),
        (nn.Split(1, (1, 2)), [PICTURE], "cannot cut"),
        (nn.Tile((2, 1)), [PICTURE], "each axis"),
        (nn.PadAxes(((1, 1),)), [PICTURE], "each axis"),
        (nn.DepthToSpace(3), [PICTURE], "multiple"),
        (nn.SpaceToDepth(2), [PICTURE], "multiples"),
        (nn.SpaceToDepth(2), [SERIES], "N, C, H, W"),
        (nn.Resample(scale=0.1), [PICTURE], "nothing"),
        (nn.Resample(scale=(1, 2)), [SERIES], "2 scales"),
        (nn.LSTM(3), [(2, 3)], "sequence"),
        (nn.LSTM(3), [SEQUENCE, (1, 2, 3)], "2 states"),
        (nn.GRU(3), [SEQUENCE, (1, 2, 4)], "1 states"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(op: Operator, shapes: Sequence[Shape], said: str) -> None:
    with pytest.raises((ArgumentError, ShapeError), match=said):
        op.shapes(*shapes)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: nn.Function("tangent"), "function"),
        (lambda: nn.Reduce("median"), "kind"),
        (lambda: nn.Slice((0,), (1,), (0,), (0,)), "steps"),
        (lambda: nn.Resample(size=3, coordinates="middle"), "coordinates"),
        (lambda: nn.Resample(), "size"),
        (lambda: nn.LSTM(3, "sideways"), "direction"),
        (lambda: nn.GRU(3, reset="never"), "reset"),
    ],
)
def test_settings_that_have_no_meaning_are_refused(make: Any, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        make()
