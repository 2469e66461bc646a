"""The row tile of gradients of weights: the definition, the same bits for any rows that are held, nothing touched beside the arrays."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import adjoints
from juanji import machine as machines
from juanji.algorithms import direct
from juanji.algorithms.row_sums import RowSums
from juanji.describe import describe
from juanji.machine import Machine
from juanji.plans import Plan
from juanji.spec import NO_EPILOGUE, Convolution
from paged import planned_beside_pages
from strategies import Array, convolutions, operands
from test_codegen import VECTORS, machine_with

computed: Counter[int] = Counter()


def filtered(spec: Convolution) -> Convolution:
    """Channels first, one or more filters of six taps and more for each of several groups."""
    groups = spec.groups + 1
    kernel = tuple(max(taps, 3 if axis == spec.n - 1 else 2) for axis, taps in enumerate(spec.kernel))
    size = tuple(n + d * (k - old) for n, d, k, old in zip(spec.size, spec.dilation, kernel, spec.kernel, strict=True))
    return dataclasses.replace(
        spec, kernel=kernel, size=size, groups=groups, channels=groups, features=groups * (spec.features // spec.groups),
        layout="channels_first", epilogue=NO_EPILOGUE,
    )  # fmt: skip


FAMILY = convolutions(max_channels=2, max_groups=5, dtypes=("float32", "float64"), modes=("constant", "edge", "wrap")).map(filtered)


def plans(spec: Convolution, machine: Machine) -> list[Plan]:
    """The plans by each schedule of the tile."""
    work = direct.work(spec, "w", machine)
    (job,) = work.jobs
    found = [choice for choice in job.candidates() if isinstance(choice[0], RowSums)]
    return [Plan(spec, "w", "direct", work, [choice], machine, {}) for choice in found]


def given_to(spec: Convolution, seed: int, integers: bool = True) -> tuple[Array, Array]:
    """x and dy."""
    x = operands(spec, seed, integers)[0]
    rng = np.random.default_rng(seed)
    dy = rng.integers(-4, 5, spec.y_shape) if integers else rng.standard_normal(spec.y_shape)
    return x, dy.astype(spec.dtypes.y)


@pytest.mark.parametrize("vectors", VECTORS)
@settings(max_examples=40)
@given(spec=FAMILY, seed=st.integers(0, 999))
def test_any_rows_sum_to_the_definition(vectors: str, spec: Convolution, seed: int) -> None:
    x, dy = given_to(spec, seed)
    expected = adjoints.grad_weight(spec, x, dy)
    for plan in plans(spec, machine_with(vectors)):
        computed[plan.parts[0].schedule.rows] += 1
        np.testing.assert_array_equal(plan(x, dy, threads=1 + seed % 3), expected, err_msg=str(plan))


def test_several_rows_were_held() -> None:
    assert len(computed) > 3 or not machines.probe().target.masks, computed


SHAPES = {
    "short rows": ((3, 5, 14, 15), (5, 1, 3, 3), {"padding": 1}),
    "long rows": ((2, 3, 9, 112), (3, 1, 3, 3), {"padding": 1}),
    "stride": ((2, 4, 21, 57), (8, 1, 5, 5), {"padding": 2, "stride": 2}),
    "volume": ((2, 3, 5, 9, 30), (3, 1, 3, 3, 3), {"padding": 1}),
    "turned": ((1, 3, 12, 20), (3, 1, 2, 4), {"padding": (1, 2), "flip": True}),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_no_schedule_or_thread_shows_in_the_bits(name: str) -> None:
    x_shape, w_shape, arguments = SHAPES[name]
    spec = describe(x_shape, w_shape, groups=x_shape[1], **arguments)  # type: ignore[arg-type]
    x, dy = given_to(spec, 5, integers=False)
    found = plans(spec, machines.probe())
    if not found:
        pytest.skip("this machine has no masks")
    assert len(found) > 1
    first = found[0](x, dy, threads=1)
    np.testing.assert_allclose(first, adjoints.grad_weight(spec, x, dy), rtol=1e-3, atol=1e-3)
    for plan in found:
        for threads in (1, 2, 3):
            np.testing.assert_array_equal(plan(x, dy, threads=threads).view(np.uint32), first.view(np.uint32), err_msg=str(plan))


def test_neither_infinities_beside_a_row_nor_beyond_its_last_place_enter() -> None:
    """Places of x that no tap sees from any place of dy, though vectors reach over them."""
    spec = describe((1, 2, 8, 33), (2, 1, 3, 3), groups=2, stride=(1, 4))
    x, dy = given_to(spec, 1)
    expected = adjoints.grad_weight(spec, x, dy)
    x[..., 3::4] = x[..., 31:] = np.inf
    for plan in plans(spec, machines.probe()):
        np.testing.assert_array_equal(plan(x, dy), expected)


@pytest.mark.parametrize("at_end", [True, False])
@settings(max_examples=20)
@given(spec=FAMILY, seed=st.integers(0, 999))
def test_beside_protected_pages(at_end: bool, spec: Convolution, seed: int) -> None:
    x, dy = given_to(spec, seed)
    for plan in plans(spec, machines.probe())[:2]:
        np.testing.assert_array_equal(planned_beside_pages(plan, x, dy, None, at_end), adjoints.grad_weight(spec, x, dy))
