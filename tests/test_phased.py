"""All phases of a depthwise gradient by one tile: the bits of the phases one by one, whatever the description and the threads."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import adjoints
from compiled import python
from juanji import machine as machines
from juanji.algorithms import direct, phased
from juanji.algorithms.direct import Job
from juanji.algorithms.problem import Problem
from juanji.describe import describe
from juanji.jit.compile import assembly, compile_ir
from juanji.machine import Machine
from juanji.planner import plan_for
from juanji.plans import Plan
from juanji.spec import NO_EPILOGUE, Convolution, Dtypes
from paged import planned_beside_pages
from strategies import Array, convolutions, operands
from test_codegen import ARM, VECTORS, called, machine_with, on

CACHES = ((2 << 10, 16 << 10), (48 << 10, 2 << 20))  # small ones make bands, and send planes away
computed: Counter[str] = Counter()


def filtered(spec: Convolution) -> Convolution:
    """Channels first, one filter for each of several groups, with a step along rows and no phase that no tap reaches."""
    groups, each = spec.groups + 1, spec.channels // spec.groups
    stride = (*spec.stride[:-1], max(spec.stride[-1], 2))
    kernel = tuple(max(k, s) for k, s in zip(spec.kernel, stride, strict=True))
    size = tuple(n + d * (k - old) for n, d, k, old in zip(spec.size, spec.dilation, kernel, spec.kernel, strict=True))
    spec = dataclasses.replace(spec, stride=stride, kernel=kernel, size=size)
    dtypes = Dtypes("float16", "float16", "float32", "float16") if spec.dtypes.x == "float16" else spec.dtypes
    return dataclasses.replace(spec, groups=groups, channels=groups * each, features=groups, layout="channels_first", dtypes=dtypes)


MODES = ("constant", "edge", "wrap")
FAMILY = convolutions(max_channels=2, max_groups=4, dtypes=("float32", "float64", "float16"), modes=MODES).map(filtered)


def joined(problems: Sequence[Problem]) -> list[Job]:
    """Phases together wherever the tile computes them."""
    jobs: list[Job] = []
    for group in phased.groups(problems):
        one = phased.together(group)
        jobs += [direct.tile_of_phases(one)] if one and list(phased.candidates(one)) else map(direct.tile, group)
    return jobs


def planned(spec: Convolution, machine: Machine, together: bool, pick: int = 0) -> Plan:
    work = direct.grad_input(spec, machine, join=joined if together else None)
    chosen = []
    for job in work.jobs:
        found = list(job.candidates())
        chosen.append(found[pick % len(found)])
    return Plan(spec, "x", "direct", work, chosen, machine, {})


def given_to(spec: Convolution, seed: int) -> tuple[Array, Array, Array | None]:
    """Errors, weights and the bias of a transposed convolution."""
    rng = np.random.default_rng(seed)
    _, w, _ = operands(spec, seed, integers=True)
    dy = rng.integers(-4, 5, spec.y_shape).astype(spec.dtypes.y)
    return dy, w, rng.integers(-4, 5, spec.channels).astype(spec.dtypes.y) if spec.epilogue.bias else None


@pytest.mark.parametrize("vectors", VECTORS)
@settings(max_examples=25)
@given(spec=FAMILY, pick=st.integers(0, 99), caches=st.sampled_from(CACHES), seed=st.integers(0, 999))
def test_phases_together_have_the_bits_of_each(vectors: str, spec: Convolution, pick: int, caches: tuple[int, int], seed: int) -> None:
    machine = dataclasses.replace(machine_with(vectors), l1=caches[0], l2=caches[1])
    if direct.accepts(spec, "x"):
        return
    plan = planned(spec, machine, True, pick)
    dy, w, bias = given_to(spec, seed)
    result = plan(dy, w, bias, threads=1 + seed % 3)
    np.testing.assert_array_equal(result, planned(spec, machine, False)(dy, w, bias))
    if spec.epilogue == NO_EPILOGUE:
        np.testing.assert_array_equal(result, adjoints.grad_input(spec, dy, w))
    if any(isinstance(part.schedule, phased.Phased) for part in plan.parts):
        computed[vectors] += 1


def test_every_kind_of_vector_met_the_tile() -> None:
    assert min(computed[vectors] for vectors in VECTORS) >= 5, computed


# size, kernel, stride, padding, dilation
LAYERS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "even": ((56, 56), (3, 3), {"stride": 2, "padding": 1}),
    "odd": ((35, 61), (3, 3), {"stride": 2, "padding": 1}),
    "steps of 3 and 4": ((30, 67), (5, 4), {"stride": (3, 4), "padding": (2, 1)}),
    "columns only": ((19, 50), (4, 2), {"stride": (1, 2)}),
    "dilated": ((40, 41), (3, 3), {"stride": 2, "padding": 3, "dilation": 3}),
    "one axis": ((301,), (7,), {"stride": 2, "padding": 3}),
    "three axes": ((9, 12, 40), (3, 3, 3), {"stride": 2, "padding": 1}),
    "large kernel": ((37, 45), (9, 9), {"stride": 2, "padding": 4}),
}


def layer(name: str, groups: int = 5) -> Convolution:
    size, kernel, arguments = LAYERS[name]
    return describe((2, groups, *size), (groups, 1, *kernel), groups=groups, **arguments)


@pytest.mark.parametrize("name", LAYERS)
def test_random_numbers(name: str) -> None:
    spec, rng = layer(name), np.random.default_rng(3)
    dy, w = (rng.standard_normal(shape).astype(np.float32) for shape in (spec.y_shape, spec.w_shape))
    machine = machines.probe()
    expected = planned(spec, machine, False)(dy, w)
    for pick in range(0, 12, 3):
        plan = planned(spec, machine, True, pick)
        assert {type(part.schedule) for part in plan.parts} == {phased.Phased}
        np.testing.assert_array_equal(plan(dy, w, threads=1 + pick % 2), expected)
        np.testing.assert_array_equal(plan(dy[:, :, ::-1], w), planned(spec, machine, False)(dy[:, :, ::-1], w))


def test_the_planner_takes_it() -> None:
    spec = describe((1, 128, 56, 56), (128, 1, 3, 3), stride=2, padding=1, groups=128)
    assert [type(part.schedule) for part in plan_for(spec, algorithm="direct", produces="x").parts] == [phased.Phased]


@pytest.mark.parametrize("name", LAYERS)
def test_kernels_are_freestanding(name: str) -> None:
    for machine in (on(ARM), machine_with("avx2")):
        for part in planned(layer(name), machine, True, 3).parts:
            assert isinstance(part.schedule, phased.Phased)
            text = part.program.emit(part.program.code, machine.target)
            assert called(assembly(text, machine.target)) == set()
            assert compile_ir(text, machine.target)


def beside_pages() -> None:
    """Compute layers with everything beside protected pages."""
    for name in LAYERS:
        spec, rng = layer(name, 3), np.random.default_rng(4)
        dy, w = (rng.standard_normal(shape).astype(np.float32) for shape in (spec.y_shape, spec.w_shape))
        for pick in (0, 5):
            plan = planned(spec, machines.probe(), True, pick)
            for at_end in (False, True):
                np.testing.assert_array_equal(planned_beside_pages(plan, dy, w, None, at_end), plan(dy, w))


def test_nothing_outside_the_arrays_is_touched() -> None:
    ended = python("import test_phased; test_phased.beside_pages()", timeout=300)
    assert ended.returncode == 0, f"{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}"
