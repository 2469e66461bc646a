"""Gradients of weights of one tap by the matrix unit: against the definition, their bits, their memory, who is which operand."""

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import juanji as jj
from compiled import python
from juanji import machine as machines
from juanji.algorithms.matrix_layout import numbers as number_types
from juanji.algorithms.matrix_pointwise import Operands, Pointwise
from juanji.algorithms.problem import Problem
from juanji.contraction import lower
from juanji.describe import describe
from juanji.machine import Machine
from juanji.spec import LAYOUTS, WEIGHT_LAYOUTS, Convolution, Epilogue
from strategies import Array
from test_bits import VIEWS, same_bits
from test_matrix import FLOATS, unit
from test_matrix_outer import check, compute_beside_pages, numbers, planned, schedules

pytest.importorskip("ml_dtypes", reason="bfloat16 arrays need ml_dtypes")

COUNTS = (1, 3, 15, 16, 17, 32, 33, 64, 100)


@st.composite
def pointwise(draw: st.DrawFn) -> Convolution:
    """Kernels of one tap: counts of channels, features and positions below, at and above what fills tiles, steps and blocks."""
    size = draw(st.sampled_from([(1,), (31,), (32,), (33,), (500,), (7, 7), (3, 40), (28, 28), (3, 5, 7)]))
    channels, features = draw(st.sampled_from(COUNTS)), draw(st.sampled_from(COUNTS))
    batch, groups, layout = draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 1, 2, 3])), draw(st.sampled_from(LAYOUTS))
    weight_layout, of = draw(st.sampled_from(WEIGHT_LAYOUTS)), draw(st.sampled_from(FLOATS))
    ones, wide = (1,) * len(size), groups * channels
    x_shape = (batch, wide, *size) if layout == "channels_first" else (batch, *size, wide)
    w_shape = {"OI*": (groups * features, channels, *ones), "*IO": (*ones, channels, groups * features)}
    spec = describe(
        x_shape,
        w_shape.get(weight_layout, (groups * features, *ones, channels)),
        groups=groups,
        layout=layout,
        weight_layout=weight_layout,
        dtype=of.x,
    )
    return dataclasses.replace(spec, epilogue=Epilogue(), dtypes=of._replace(y=of.x))


@st.composite
def jobs(draw: st.DrawFn) -> tuple[Convolution, int, Machine]:
    """A description, the number of a schedule, and this machine with more or less cache."""
    l2 = draw(st.sampled_from((4096, 64 << 10, 2 << 20)))
    return draw(pointwise()), draw(st.integers(0, 999)), dataclasses.replace(machines.probe(), l2=l2)


@unit
@settings(max_examples=60)
@given(job=jobs(), seed=st.integers(0, 999), threads=st.integers(1, 3))
def test_any_schedule_computes_the_gradient(job: tuple[Convolution, int, Machine], seed: int, threads: int) -> None:
    assert all(isinstance(schedule, Pointwise) for schedule in schedules(job[0], job[2]))
    check(*job, seed, threads)


@unit
@pytest.mark.slow
@settings(max_examples=3000)
@given(job=jobs(), seed=st.integers(0, 999), threads=st.integers(1, 3))
def test_thousands_of_schedules_compute_the_gradient(job: tuple[Convolution, int, Machine], seed: int, threads: int) -> None:
    check(*job, seed, threads)


# Its bits -------------------------------------------------------------------------------------------------------------------


@unit
@settings(max_examples=30)
@given(spec=pointwise(), threads=st.integers(2, 4))
def test_schedules_and_threads_do_not_show(spec: Convolution, threads: int) -> None:
    x, dy = numbers(spec, 1)
    expected = planned(spec)(x, dy, threads=1)
    for number in range(1, len(schedules(spec, machines.probe()))):
        assert same_bits(planned(spec, number)(x, dy, threads=threads), expected)


@unit
@pytest.mark.parametrize("view", [view for view in VIEWS if "byte order" not in view])
@pytest.mark.parametrize(("channels", "features"), [(40, 24), (24, 40)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_views_do_not_show(layout: str, channels: int, features: int, view: str) -> None:
    x_shape, w_shape = ((2, channels, 9, 11), (features, channels, 1, 1))
    if layout == "channels_last":
        x_shape, w_shape = (2, 9, 11, channels), (1, 1, channels, features)
    spec = describe(x_shape, w_shape, layout=layout)
    (x, dy), plan = numbers(spec, 2), planned(spec)
    assert same_bits(plan(VIEWS[view](x), VIEWS[view](dy)), plan(x, dy))


@unit
@pytest.mark.parametrize(("layout", "channels", "features"), [*itertools.product(LAYOUTS, (33, 48), (20, 64))])
def test_numbers_that_are_not_finite_stay_with_their_channels_and_features(layout: str, channels: int, features: int) -> None:
    """What lies behind ends is multiplied by zeros, and must not be a leftover of other chunks or calls."""

    def arrays(of_x: float, of_dy: float) -> list[Array]:
        found = [np.full((2, 33, 21, c), value, np.float32) for c, value in ((channels, of_x), (features, of_dy))]
        return [np.moveaxis(array, -1, 1).copy() for array in found] if layout == "channels_first" else found

    shape = (features, channels, 1, 1)
    options: dict[str, Any] = {"layout": layout, "weight_layout": "OI*", "algorithm": "matrix"}
    jj.conv_grad_weight(*arrays(np.nan, np.inf), shape, **options)  # leaves them in scratch
    x, dy = arrays(1, 1)
    assert np.array_equal(jj.conv_grad_weight(x, dy, shape, **options), np.full(shape, 2 * 33 * 21, np.float32))
    np.moveaxis(x, 1 if layout == "channels_first" else -1, 0)[3, 0, 5, 5] = np.inf
    np.moveaxis(dy, 1 if layout == "channels_first" else -1, 0)[7, 1, 32, 20] = np.nan
    wrong = ~np.isfinite(jj.conv_grad_weight(x, dy, shape, **options)[:, :, 0, 0])
    assert wrong[7].all()
    assert wrong[:, 3].all()
    assert not np.delete(np.delete(wrong, 7, 0), 3, 1).any()


# Memory ---------------------------------------------------------------------------------------------------------------------


def pages_batch(examples: int) -> None:
    @settings(max_examples=examples, deadline=None, database=None)
    @given(job=jobs(), at_end=st.booleans())
    def draw(job: tuple[Convolution, int, Machine], at_end: bool) -> None:
        compute_beside_pages(*job, at_end)

    draw()


@unit
@pytest.mark.parametrize("examples", [15, pytest.param(1500, marks=pytest.mark.slow)])
def test_no_byte_outside_the_arrays_is_touched(examples: int) -> None:
    ended = python(f"import test_matrix_pointwise; test_matrix_pointwise.pages_batch({examples})", timeout=1800)
    assert ended.returncode == 0, f"exit status {ended.returncode}\n{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}"


# The sum's parts ------------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(spec=pointwise(), l2=st.sampled_from((4096, 64 << 10, 2 << 20)))
def test_every_position_is_in_one_block(spec: Convolution, l2: int) -> None:
    machine = dataclasses.replace(machines.probe(), l2=l2)
    of = number_types(spec.dtypes.x, spec.dtypes.y)
    assert of is not None
    operands = Operands(Problem(lower(spec), spec.dtypes, Epilogue(), machine), spec.weight_layout, of)
    (axis,), (box,) = operands.spatial, operands.box
    assert operands.chunks * box >= axis.out > (operands.chunks - 1) * box
    assert operands.across <= operands.down
    assert -(-operands.steps // operands.block) * operands.block >= operands.steps
    assert lower(spec).extent("c") == (operands.across if operands.exchanged else operands.down)
