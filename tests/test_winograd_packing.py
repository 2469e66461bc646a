"""Weights of a single call, transformed by the kernel of Winograd's tile: the same bits as of weights transformed beforehand."""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import pytest

import juanji as jj
from compiled import python
from juanji import machine as machines
from juanji.algorithms import winograd
from juanji.algorithms.winograd_program import Winograd, ordered
from juanji.describe import describe
from juanji.jit.compile import assembly
from juanji.machine import Machine
from juanji.plans import Plan
from juanji.spec import Convolution
from paged import planned_beside_pages
from test_bits import same_bits
from test_codegen import ARM, called, machine_with, on
from test_packing import DTYPES, operands, small_machine
from test_winograd import alike

# description: (input, weights, arguments). Features of both products fill vectors, or leave a last one that is not full.
LAYERS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "dense": ((2, 50, 7, 6), (48, 50, 3, 3), {"padding": 1}),
    "many": ((1, 134, 5, 7), (100, 134, 3, 3), {"padding": 1}),
    "channels last": ((2, 7, 6, 50), (3, 3, 50, 60), {"padding": 1, "layout": "channels_last"}),
    "features outermost": ((1, 7, 5, 66), (48, 3, 3, 66), {"padding": 1, "layout": "channels_last", "weight_layout": "O*I"}),
    "turned": ((1, 40, 9, 9), (33, 40, 5, 5), {"padding": 2, "flip": True}),
    "groups": ((1, 160, 8, 8), (130, 80, 1, 3), {"groups": 2}),
    "one axis": ((1, 144, 33), (128, 144, 5), {"padding": 2}),
    "volume": ((1, 40, 4, 5, 6), (33, 40, 3, 3, 3), {"padding": 1}),
    "dilated": ((1, 48, 9, 11), (64, 48, 3, 3), {"padding": 2, "dilation": 2}),
}


def plans(spec: Convolution, produces: str, machine: Machine | None = None) -> Iterator[Plan]:
    """Plans whose kernels transform the weights of a single call, by every seventh schedule that can."""
    machine = machine or machines.probe()
    work = winograd.work_of(spec, produces, machine, alike(spec, 2))
    (job,) = work.jobs
    beforehand = next(job.candidates())
    (problem,) = job.program.args  # type: ignore[attr-defined]

    def can(schedule: Winograd) -> bool:
        return ordered(problem, schedule.vectors * problem.lanes, schedule.block).by_code

    found = (s for s, _ in winograd.candidates(problem, beforehand[0].sizes, packs=True) if can(s))
    for schedule in itertools.islice(found, 0, None, 7):
        jobs = (dataclasses.replace(job, once=lambda _, schedule=schedule: schedule),)  # type: ignore[misc]
        yield Plan(spec, produces, "winograd", dataclasses.replace(work, jobs=jobs), [beforehand], machine, {})


@pytest.mark.parametrize("produces", ["y", "x"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LAYERS)
def test_weights_of_a_single_call_give_the_same_bits(name: str, dtype: str, produces: str) -> None:
    x_shape, w_shape, arguments = LAYERS[name]
    spec = describe(x_shape, w_shape, dtype=dtype, **arguments)
    first, w = operands(spec, produces)
    found = list(itertools.islice(plans(spec, produces), 3))
    for plan, threads in zip(found, (1, 2, 3), strict=False):
        assert same_bits(plan(first, w, threads=threads), plan.bind(w)(first, threads=1))
    assert found


@pytest.mark.parametrize("bits", [128, 256])
@pytest.mark.parametrize("name", LAYERS)
def test_without_masks(name: str, bits: int) -> None:
    x_shape, w_shape, arguments = LAYERS[name]
    spec = describe(x_shape, w_shape, **arguments)
    first, w = operands(spec, "x")
    for plan in itertools.islice(plans(spec, "x", small_machine(bits)), 1):
        assert same_bits(plan(first, w), plan.bind(w)(first))


@pytest.mark.parametrize("target", ["aarch64", "avx2"])
def test_kernels_are_freestanding(target: str) -> None:
    machine = on(ARM) if target == "aarch64" else machine_with(target)
    for name in ("dense", "channels last"):
        x_shape, w_shape, arguments = LAYERS[name]
        program = next(plans(describe(x_shape, w_shape, **arguments), "x", machine)).parts[0].once.program
        assert called(assembly(program.emit(program.code, machine.target), machine.target)) == set()


def test_small_pictures_take_it_and_larger_ones_do_not() -> None:
    for size, packs in ((7, True), (112, False)):
        plan = jj.plan((1, 256, size, size), (256, 256, 3, 3), padding=1, algorithm="winograd")
        assert plan.parts[0].once.schedule.packs == packs, size
        assert not plan.schedule.packs  # of bound weights


def test_threads_share_the_blocks_of_features() -> None:
    plan = jj.plan((1, 256, 14, 14), (256, 256, 3, 3), padding=1, algorithm="winograd")
    once = plan.parts[0].once
    blocks = -(-256 // (once.schedule.vectors * machines.probe().vector_bits // 32))
    for threads in (1, 2, 3, 64):
        assert once.for_threads(threads).program.items == blocks


def beside_pages(names: list[str]) -> None:
    """Compute layers with everything beside protected pages."""
    for name in names:
        x_shape, w_shape, arguments = LAYERS[name]
        spec = describe(x_shape, w_shape, **arguments)
        first, w = operands(spec, "x")
        for at_end, plan in itertools.product((False, True), itertools.islice(plans(spec, "x"), 2)):
            expected = plan.bind(w)(first)
            assert same_bits(planned_beside_pages(plan, first, w, None, at_end), expected)


def test_nothing_outside_the_arrays_is_touched() -> None:
    ended = python(f"import test_winograd_packing; test_winograd_packing.beside_pages({list(LAYERS)!r})", timeout=300)
    assert ended.returncode == 0, f"exit status {ended.returncode}\n{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}"
