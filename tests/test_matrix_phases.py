"""Phases of gradients of the input together on the matrix unit: bits and values as apart, whatever the schedule; memory; the choice."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiled import python
from juanji import machine as machines
from juanji.algorithms import direct, matrix
from juanji.algorithms.matrix_layout import numbers
from juanji.algorithms.matrix_phases import by_region, together
from juanji.algorithms.matrix_program import Matrix
from juanji.describe import describe
from juanji.jit.compile import assembly, compile_ir
from juanji.machine import Machine
from juanji.planner import plan_for
from juanji.plans import Plan
from juanji.spec import ACTIVATIONS, Convolution, Epilogue, span
from paged import planned_beside_pages
from strategies import Array
from test_bits import same_bits
from test_codegen import called
from test_matrix import FLOATS, UNIT, members, unit

pytest.importorskip("ml_dtypes", reason="bfloat16 arrays need ml_dtypes")

CACHES = ((512, 4096), (4096, 64 << 10), (48 << 10, 2 << 20))
computed: Counter[bool] = Counter()


@st.composite
def strided(draw: st.DrawFn) -> Convolution:
    """With a step along lines and hardly a phase of them that no tap reaches; most with equally many outputs of each phase."""
    spec = draw(members(FLOATS))
    stride = (*spec.stride[:-1], draw(st.sampled_from([2, 2, 3, 4, 5, 8])))
    kernel = (*spec.kernel[:-1], max(spec.kernel[-1], stride[-1] + draw(st.integers(-1, 2))))
    dilation = (*spec.dilation[:-1], draw(st.sampled_from([1, 1, 1, spec.dilation[-1]])))
    size = [max(n, span(k, d)) for n, k, d in zip(spec.size, kernel, dilation, strict=True)]
    if draw(st.integers(0, 3)):
        size = [-(-n // s) * s for n, s in zip(size, stride, strict=True)]
    name = draw(st.sampled_from([None, None, *ACTIVATIONS]))
    features = spec.groups * draw(st.integers(20, 70))  # most fill a step, so that windows are not unfolded
    return dataclasses.replace(
        spec, stride=stride, kernel=kernel, dilation=dilation, size=tuple(size), features=features,
        dtypes=spec.dtypes._replace(y=spec.dtypes.x), epilogue=Epilogue(draw(st.booleans()), name, 0.125 if name == "leaky_relu" else 0.0),
    )  # fmt: skip


def planned(spec: Convolution, machine: Machine, joined: bool, pick: int = 0) -> Plan:
    """Phases together wherever that is possible, or each apart."""
    of = numbers(spec.dtypes.y, spec.dtypes.w)
    assert of is not None

    def join(problems: Sequence[Any]) -> list[direct.Job]:
        jobs: list[direct.Job] = []
        for group in by_region(problems):
            one = together(group, of) if joined and not group[0].goal else None
            apart = [direct.tile(problem) if problem.goal else matrix.job(problem, of) for problem in group]
            jobs += [matrix.job_of_phases(one, of)] if one else apart
        return jobs

    work = direct.grad_input(spec, machine, join=join)
    chosen = []
    for job in work.jobs:
        found = list(job.candidates())
        chosen.append(found[pick % len(found)])
    return Plan(spec, "x", "matrix", work, chosen, machine, {})


def are_joined(plan: Plan) -> bool:
    return any(isinstance(part.schedule, Matrix) and part.schedule.phases > 0 for part in plan.parts)


def given_to(spec: Convolution, seed: int) -> tuple[Array, Array, Array | None]:
    """Errors, weights and the bias of a transposed convolution."""
    rng = np.random.default_rng(seed)
    dy, w, bias = (rng.standard_normal(shape).astype(spec.dtypes.x) for shape in (spec.y_shape, spec.w_shape, (spec.channels,)))
    return dy, w, bias if spec.epilogue.bias else None


@unit
@settings(max_examples=50)
@given(spec=strided(), pick=st.integers(0, 99), caches=st.sampled_from(CACHES), seed=st.integers(0, 999))
def test_phases_together_have_the_bits_of_each(spec: Convolution, pick: int, caches: tuple[int, int], seed: int) -> None:
    machine = dataclasses.replace(machines.probe(), l1=caches[0], l2=caches[1])
    plan, operands = planned(spec, machine, True, pick), given_to(spec, seed)
    computed[are_joined(plan)] += 1
    assert same_bits(plan(*operands, threads=1 + seed % 3), planned(spec, machine, False, seed)(*operands))


@unit
@pytest.mark.slow
@settings(max_examples=2000)
@given(spec=strided(), pick=st.integers(0, 99), caches=st.sampled_from(CACHES), seed=st.integers(0, 999))
def test_thousands_of_phases_together(spec: Convolution, pick: int, caches: tuple[int, int], seed: int) -> None:
    machine = dataclasses.replace(machines.probe(), l1=caches[0], l2=caches[1])
    operands = given_to(spec, seed)
    result = planned(spec, machine, True, pick)(*operands, threads=1 + seed % 3)
    assert same_bits(result, planned(spec, machine, False, seed)(*operands))


@unit
def test_many_of_them_were_together() -> None:
    assert computed[True] >= 10, computed


# x, w of the convolution whose gradient it is
LAYERS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "one tap each": ((2, 40, 20, 70), (33, 40, 2, 2), {"stride": 2}),
    "none of some rows": ((2, 20, 21, 64), (40, 20, 1, 2), {"stride": (3, 2)}),
    "unequal windows": ((2, 17, 22, 58), (48, 17, 3, 3), {"stride": 2, "padding": 1}),
    "signal": ((3, 64, 808), (32, 64, 16), {"stride": 8, "padding": 4}),
    "volume": ((1, 32, 6, 8, 36), (20, 32, 2, 2, 2), {"stride": 2}),
    "steps of 3 and 4": ((1, 70, 12, 68), (40, 70, 5, 4), {"stride": (3, 4)}),
    "channels last": ((2, 21, 64, 40), (3, 3, 40, 33), {"stride": (3, 2), "padding": 1, "layout": "channels_last"}),
    "patches": ((1, 3, 48, 320), (40, 3, 16, 16), {"stride": 16}),
    "groups": ((2, 40, 16, 44), (80, 20, 4, 4), {"stride": 2, "padding": 1, "groups": 2}),
    "edges": ((1, 33, 16, 44), (40, 33, 4, 4), {"stride": 2, "padding": 1, "boundary": "edge"}),
}


def layer(name: str, dtype: str = "float32") -> Convolution:
    x, w, arguments = LAYERS[name]
    return describe(x, w, dtype=dtype, **arguments)


@unit
@pytest.mark.parametrize("name", LAYERS)
def test_schedules_threads_batches_and_views_do_not_show(name: str) -> None:
    spec, machine = layer(name), machines.probe()
    dy, w, _ = given_to(spec, 5)
    expected = planned(spec, machine, False)(dy, w)
    for pick in range(0, 12, 3):
        plan = planned(spec, machine, True, pick)
        assert are_joined(plan)
        assert same_bits(plan(dy, w, threads=1 + pick % 4), expected)
    one = planned(dataclasses.replace(spec, batch=1), machine, True)
    for i in range(spec.batch):
        assert same_bits(one(dy[i : i + 1], w), expected[i : i + 1])
    assert same_bits(plan(dy[..., ::-1], w), planned(spec, machine, False)(np.ascontiguousarray(dy[..., ::-1]), w))


@unit
def test_what_is_not_together() -> None:
    of = numbers("float32", "float32")
    assert of is not None

    def joined(x: tuple[int, ...], w: tuple[int, ...], **arguments: Any) -> bool:
        return are_joined(planned(describe(x, w, **arguments), machines.probe(), True))

    assert joined((1, 32, 20, 40), (32, 32, 2, 2), stride=2)
    assert joined((1, 20, 40, 32), (2, 2, 32, 32), stride=(2, 1), layout="channels_last")
    assert not joined((1, 32, 20, 41), (32, 32, 3, 3), stride=2)  # one phase has an output more
    assert not joined((1, 32, 20, 40), (32, 32, 1, 1), stride=2)  # and others none
    assert not joined((1, 32, 20, 40), (32, 32, 2, 2), stride=(2, 1))
    assert not joined((1, 32, 20, 40), (16, 32, 4, 4), stride=2)  # whose windows are unfolded
    assert not joined((1, 20, 40, 32), (2, 2, 32, 32), layout="channels_last")


@unit
def test_the_planner_takes_it() -> None:
    plan = plan_for(describe((1, 64, 224, 224), (128, 64, 2, 2), stride=2), produces="x")
    assert plan.algorithm == "matrix"
    assert are_joined(plan)
    assert "of all phases" in str(plan)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", LAYERS)
def test_kernels_are_freestanding(name: str, dtype: str) -> None:
    machine = dataclasses.replace(machines.probe(), target=UNIT, peak_matrix=2e12)
    for part in planned(layer(name, dtype), machine, True, 3).parts:
        text = part.program.emit(part.program.code, machine.target)
        assert called(assembly(text, machine.target)) == set()
        assert compile_ir(text, machine.target)


def beside_pages() -> None:
    """Compute layers with everything beside protected pages."""
    for name in LAYERS:
        spec = layer(name)
        dy, w, _ = given_to(spec, 4)
        for pick in (0, 5):
            plan = planned(spec, machines.probe(), True, pick)
            for at_end in (False, True):
                assert same_bits(planned_beside_pages(plan, dy, w, None, at_end), plan(dy, w))


@unit
def test_nothing_outside_the_arrays_is_touched() -> None:
    ended = python("import test_matrix_phases; test_matrix_phases.beside_pages()", timeout=300)
    assert ended.returncode == 0, f"{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}"
