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
from juanji.algorithms import direct
from juanji.algorithms.channel import Channel
from juanji.algorithms.packing import FEW_WEIGHTS, Packing
from juanji.describe import describe
from juanji.machine import Machine
from juanji.planner import Plan
from juanji.spec import Convolution
from paged import planned_beside_pages
from strategies import Array

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
