"""Weights in the order of a tile: made by a kernel of their own, or a block at a time by the kernel of the tile."""

import dataclasses
import itertools
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from compiled import python
from juanji import machine as machines
from juanji.algorithms import direct, matrix, matrix_program
from juanji.algorithms.channel import Channel
from juanji.algorithms.dealing import Dealing
from juanji.algorithms.direct import Job
from juanji.algorithms.packing import FEW_WEIGHTS, Packing, TransformedPacking
from juanji.describe import describe
from juanji.jit.compile import assembly, compile_ir
from juanji.jit.deal import emit_deal
from juanji.jit.pack import Runs
from juanji.machine import Machine
from juanji.plans import Plan
from juanji.spec import Convolution
from paged import planned_beside_pages
from strategies import Array
from test_codegen import called

# description: (input, weights, arguments). Features of both products fill vectors, or leave a last one that is not full.
LAYERS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "1x1": ((1, 150, 5, 4), (120, 150, 1, 1), {}),
    "1x1, channels last": ((1, 5, 4, 150), (1, 1, 150, 120), {"layout": "channels_last"}),
    "3x3": ((1, 50, 5, 5), (48, 50, 3, 3), {"padding": 1}),
    "3x3, stride 2": ((1, 96, 6, 7), (100, 96, 3, 3), {"padding": 1, "stride": 2}),
    "3x3, channels last": ((1, 5, 5, 50), (3, 3, 50, 48), {"padding": 1, "layout": "channels_last"}),
    "3x3, features outermost": ((1, 5, 5, 50), (48, 3, 3, 50), {"padding": 1, "layout": "channels_last", "weight_layout": "O*I"}),
    "5x5, turned": ((1, 30, 5, 5), (33, 30, 5, 5), {"padding": 2, "flip": True}),
    "groups": ((1, 160, 4, 4), (130, 80, 1, 3), {"groups": 2}),
    "one axis": ((1, 60, 9), (64, 60, 17), {"padding": 8}),
    "pixels of one channel": ((1, 1, 9, 9), (400, 1, 7, 7), {"padding": 3}),
}
DTYPES = ("float32", "float64", "float16")


def small_machine(bits: int | None = None) -> Machine:
    """This machine with caches that hold less than the weights; with narrower vectors and no masks, if bits are given."""
    found = dataclasses.replace(machines.probe(), l1=1 << 13, l2=1 << 17)
    if bits is None or bits >= found.vector_bits:
        return found
    return dataclasses.replace(found, target=dataclasses.replace(found.target, vector_bits=bits, masks=False))


def plans(spec: Convolution, produces: str, machine: Machine) -> Iterator[Plan]:
    """Plans by the channel tile, of which some job would rather have other code for weights that come with a single call."""
    work = direct.work(spec, produces, machine)
    schedules = [
        [schedule for schedule, _ in job.candidates() if isinstance(schedule, Channel) and not schedule.lanewise] for job in work.jobs
    ]
    for chosen in itertools.islice(zip(*map(itertools.cycle, schedules), strict=False), 0, max(map(len, schedules)), 7):
        plan = Plan(spec, produces, "direct", work, [(schedule, 1.0) for schedule in chosen], machine, {})
        if any(part.once is not part for part in plan.parts):
            yield plan


def operands(spec: Convolution, produces: str) -> tuple[Array, Array]:
    rng = np.random.default_rng(5)
    first, dtype = (spec.x_shape, spec.dtypes.x) if produces == "y" else (spec.y_shape, spec.dtypes.y)
    return rng.standard_normal(first).astype(dtype), rng.standard_normal(spec.w_shape).astype(spec.dtypes.w)


@pytest.mark.parametrize("produces", ["y", "x"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LAYERS)
def test_weights_of_a_single_call_give_the_same_bits(name: str, dtype: str, produces: str) -> None:
    x_shape, w_shape, arguments = LAYERS[name]
    spec = describe(x_shape, w_shape, dtype=dtype, **arguments)
    first, w = operands(spec, produces)
    found = list(itertools.islice(plans(spec, produces, small_machine()), 3))
    for plan in found:
        expected = plan.bind(w)(first, threads=1)
        for threads in (1, 2, 3):
            np.testing.assert_array_equal(plan(first, w, threads=threads), expected)
    assert found or (name, produces) in {("pixels of one channel", "x"), ("1x1, channels last", "y")}


@pytest.mark.parametrize("bits", [128, 256])
@pytest.mark.parametrize("name", LAYERS)
def test_without_masks(name: str, bits: int) -> None:
    x_shape, w_shape, arguments = LAYERS[name]
    spec = describe(x_shape, w_shape, **arguments)
    first, w = operands(spec, "x")
    for plan in itertools.islice(plans(spec, "x", small_machine(bits)), 1):
        np.testing.assert_array_equal(plan(first, w), plan.bind(w)(first))


def test_only_where_no_other_chunk_needs_them() -> None:
    spec = describe((1, 96, 6, 7), (100, 96, 3, 3), padding=1)
    two = dataclasses.replace(spec, batch=2)
    assert list(itertools.islice(plans(spec, "x", small_machine()), 1))
    assert not list(plans(two, "x", small_machine()))
    assert not list(plans(spec, "x", machines.probe()))  # whose second cache holds all


@pytest.mark.parametrize("produces", ["y", "x"])
@pytest.mark.parametrize("name", LAYERS)
def test_order(name: str, produces: str) -> None:
    """Generated code against the definition of the order, element by element."""
    x_shape, w_shape, arguments = LAYERS[name]
    spec = describe(x_shape, w_shape, **arguments)
    _, w = operands(spec, produces)
    work = direct.work(spec, produces, machines.probe())
    for job in work.jobs:
        schedules = [schedule for schedule, _ in job.candidates() if isinstance(schedule, Channel) and not schedule.lanewise]
        packing = job.program(schedules[len(schedules) // 2]).pack_weights
        assert isinstance(packing, Packing)
        packed = packing(w)
        for place in np.ndindex(*packed.shape[:-1]):
            offset = packing.offset + sum(i * stride for i, stride in zip(place, packing.strides, strict=False))
            lanes = min(packing.features - place[1] * packing.width, packing.width)
            run = w.reshape(-1)[offset + np.arange(lanes) * packing.feature_stride]
            np.testing.assert_array_equal(packed[place], np.pad(run, (0, packing.width - lanes)))
    assert w.size > FEW_WEIGHTS


# Gradients of inputs whose phases want neighbours: (input, weights, arguments).
PHASES: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "3x3": ((1, 96, 6, 7), (100, 96, 3, 3), {"padding": 1, "stride": 2}),
    "5x5, a step along rows": ((1, 50, 5, 9), (48, 50, 5, 5), {"padding": 2, "stride": (1, 2)}),
    "4x4, turned": ((2, 67, 8, 8), (70, 67, 4, 4), {"padding": 1, "stride": 2, "flip": True}),
    "groups": ((1, 160, 8, 8), (130, 80, 3, 3), {"padding": 1, "stride": 2, "groups": 2}),
    "one axis": ((1, 40, 90), (70, 40, 33), {"padding": 4, "stride": 4}),
    "one feature less than vectors hold": ((1, 95, 6, 6), (64, 95, 3, 3), {"padding": 1, "stride": 3}),
}


def packings(job: Job, pick: int) -> Any:
    """What packs the weights of a job by one of its schedules, of the channel tile if it has such."""
    found = [schedule for schedule, _ in job.candidates()]
    own = [schedule for schedule in found if isinstance(schedule, Channel) and not schedule.lanewise] or found
    return job.program(own[pick % len(own)]).pack_weights


@pytest.mark.parametrize("bits", [128, None])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", PHASES)
def test_one_pass_for_all_phases(name: str, dtype: str, bits: int | None) -> None:
    x_shape, w_shape, arguments = PHASES[name]
    spec = describe(x_shape, w_shape, dtype=dtype, **arguments)
    work = direct.work(spec, "x", small_machine(bits))
    _, w = operands(spec, "x")
    dealt = 0
    for pick in range(0, 60, 7):
        own = [packings(job, pick + number) for number, job in enumerate(work.jobs)]  # of tiles of several widths
        dealing = Dealing.of(own)
        if dealing is not None:
            dealt += 1
            for found, pack in zip(dealing(w), own, strict=True):
                np.testing.assert_array_equal(found, pack(w))
    assert dealt


@pytest.mark.parametrize("bits", [128, 512])
def test_dealing_calls_nothing(bits: int) -> None:
    target = dataclasses.replace(machines.probe().target, vector_bits=bits, masks=False)
    text = emit_deal(Runs("float32", "float32", True, 3), target)
    assert called(assembly(text, target)) == set()
    assert compile_ir(text, target)


def test_one_pass_for_the_matrix_unit() -> None:
    x_shape, w_shape, arguments = PHASES["3x3"]
    spec = describe(x_shape, w_shape, **arguments)
    if matrix.accepts(spec, "x") is None:
        own = [packings(job, 0) for job in matrix.work(spec, "x", machines.probe()).jobs]
        dealing, (_, w) = Dealing.of(own), operands(spec, "x")
        assert dealing is not None
        for found, pack in zip(dealing(w), own, strict=True):
            np.testing.assert_array_equal(found, pack(w))


# Descriptions of which the matrix unit's steps are runs of neighbours in w: (input, weights, arguments), and the product.
ALONG: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any], str]] = {
    "1x1, gradient": ((1, 6, 6, 64), (1, 1, 64, 96), {"layout": "channels_last"}, "x"),
    "3x3, gradient": ((1, 9, 9, 64), (3, 3, 64, 96), {"layout": "channels_last", "stride": 2, "padding": 1}, "x"),
    "1x1": ((1, 96, 6, 6), (64, 96, 1, 1), {}, "y"),
    "3x3, features outermost": ((1, 6, 6, 64), (32, 3, 3, 64), {"layout": "channels_last", "weight_layout": "O*I"}, "y"),
}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", ALONG)
def test_tiles_of_the_matrix_unit_are_made_of_runs(name: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same tiles as are made of weights that were put in order before."""
    x_shape, w_shape, arguments, produces = ALONG[name]
    spec = describe(x_shape, w_shape, dtype=dtype, **arguments)
    if matrix.accepts(spec, produces) is not None:
        pytest.skip("no matrix unit")
    _, w = operands(spec, produces)
    for job in matrix.work(spec, produces, machines.probe()).jobs:
        for schedule, _ in list(job.candidates())[::5]:
            own = job.program(schedule).pack_weights
            assert isinstance(own, TransformedPacking)
            with monkeypatch.context() as patched:
                patched.setattr(matrix_program, "_along", lambda *_: False)
                other: Any = job.program(schedule).pack_weights
            assert (own.code.along, other.code.along) == (dtype == "float32", False)
            np.testing.assert_array_equal(own(w), other(w))


def test_weights_apart_are_packed_apart() -> None:
    """Kernel axes outermost; taps that no phase wants; neighbours that several strips of border want."""
    cases: list[tuple[tuple[int, ...], dict[str, Any]]] = [
        ((3, 3, 96, 100), {"weight_layout": "*IO", "padding": 1}),
        ((100, 96, 4, 4), {"dilation": 2}),
        ((100, 96, 3, 3), {"boundary": "edge", "padding": 1}),
    ]
    for shape, arguments in cases:
        spec = describe((1, 96, 9, 9), shape, stride=2, **arguments)
        assert Dealing.of([packings(job, 0) for job in direct.work(spec, "x", machines.probe()).jobs]) is None


def beside_pages(names: list[str]) -> None:
    """Compute layers with everything beside protected pages."""
    for name in names:
        x_shape, w_shape, arguments = LAYERS[name]
        spec = describe(x_shape, w_shape, **arguments)
        first, w = operands(spec, "x")
        for at_end in (False, True):
            for plan in itertools.islice(plans(spec, "x", small_machine()), 2):
                expected = plan.bind(w)(first)
                np.testing.assert_array_equal(planned_beside_pages(plan, first, w, None, at_end), expected)


def test_nothing_outside_the_arrays_is_touched() -> None:
    ended = python(f"import test_packing; test_packing.beside_pages({list(LAYERS)!r})", timeout=300)
    how = f"signal {signal.Signals(-ended.returncode).name}" if ended.returncode < 0 else f"status {ended.returncode}"
    assert ended.returncode == 0, f"{how}\n{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}"
