"""The compiled tiles against the definition: random members of the family, random schedules, small and large."""

import dataclasses
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

import juanji as jj
from compiled import assert_agrees, f32, kind, planned, schedules
from juanji import machine as machines
from juanji.describe import describe
from juanji.spec import Convolution
from strategies import convolutions, operands


def whole_vectors(spec: Convolution) -> Convolution:
    """A depthwise layer whose channels fill vectors, under a border of one number."""
    groups = 16 * spec.groups
    return dataclasses.replace(
        spec, groups=groups, channels=groups, features=groups, layout="channels_last", boundary=spec.boundary[:1] * spec.n
    )


FAMILIES = {
    "small": convolutions(taps=True),
    "four axes": convolutions(taps=True, max_axes=4, max_channels=2, max_groups=2, max_batch=1),
    "pictures": convolutions(taps=True, dtypes=("uint8", "uint16")),
    "wide": convolutions(max_axes=2, max_channels=40, max_groups=2),
    "depthwise": convolutions(max_axes=2, max_channels=1, max_groups=40, dtypes=("float32", "float64", "uint8")),
    "depthwise, whole vectors": convolutions(max_axes=2, max_channels=1, modes=("constant",)).map(whole_vectors),
}
CACHES = ((512, 2048), (4 << 10, 32 << 10), (48 << 10, 2 << 20))  # small ones make small blocks, chunks, several of each
computed: Counter[str] = Counter()
kernels: set[Any] = set()


@st.composite
def jobs(draw: st.DrawFn, family: st.SearchStrategy[Convolution]) -> tuple[Convolution, Any, machines.Machine]:
    """A description, one of its schedules, and the machine (this one, with more or less cache) that it is made for."""
    spec = draw(family)
    l1, l2 = draw(st.sampled_from(CACHES))
    machine = dataclasses.replace(machines.probe(), l1=l1, l2=l2)
    by_kind = schedules(spec, machine)
    return spec, draw(st.sampled_from(by_kind[draw(st.sampled_from(sorted(by_kind)))])), machine


def check(spec: Convolution, schedule: Any, machine: machines.Machine, seed: int, integers: bool) -> None:
    plan = planned(spec, schedule, machine)
    event("kernel reused" if plan.program.code in kernels else "kernel compiled")
    kernels.add(plan.program.code)
    computed[kind(schedule)] += 1
    x, w, bias = operands(spec, seed, integers)
    out = np.empty(math.prod(spec.y_shape) + 16, spec.dtypes.y)[seed % 16 :][: math.prod(spec.y_shape)].reshape(spec.y_shape)
    y = plan(x, w, bias, threads=1 + seed % 3, out=out)  # stores past the caches want aligned vectors, which `out` may not have
    assert_agrees(spec, y, x, w, bias, exact=integers)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=150)
@given(data=st.data(), seed=st.integers(0, 999), integers=st.booleans())
def test_any_schedule_computes_the_description(family: str, data: st.DataObject, seed: int, integers: bool) -> None:
    check(*data.draw(jobs(FAMILIES[family])), seed, integers)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=2000)
@given(data=st.data(), seed=st.integers(0, 999), integers=st.booleans())
def test_thousands_of_schedules_compute_their_descriptions(family: str, data: st.DataObject, seed: int, integers: bool) -> None:
    check(*data.draw(jobs(FAMILIES[family])), seed, integers)


# Sizes at which there are several of everything that a schedule cuts the work into, and tails at each. Integer-valued
# operands, so that every kind of schedule must give the very same numbers.
LARGE: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "picture": ((1, 1, 371, 467), (1, 1, 3, 3), {"padding": 1, "boundary": "reflect"}),
    "picture, long rows": ((1, 1, 9, 30011), (1, 1, 3, 5), {"padding": "same", "boundary": "wrap"}),
    "picture, large kernel": ((1, 1, 130, 155), (1, 1, 31, 29), {"padding": "same", "boundary": "edge"}),
    "picture, very wide dilation": ((1, 1, 90, 101), (1, 1, 3, 3), {"dilation": (20, 31), "padding": "same", "boundary": "symmetric"}),
    "colour, interleaved": ((1, 97, 131, 3), (5, 5, 1, 3), {"padding": 2, "groups": 3, "layout": "channels_last"}),
    "first layer": ((2, 3, 101, 111), (37, 3, 7, 7), {"stride": 2, "padding": 3, "bias": True}),
    "first layer, channels last": ((2, 101, 111, 3), (7, 7, 3, 37), {"stride": 2, "padding": 3, "bias": True, "layout": "channels_last"}),
    "dense": ((2, 70, 29, 31), (83, 70, 3, 3), {"padding": 1, "activation": "relu"}),
    "dense, channels last": ((2, 29, 31, 70), (3, 3, 70, 83), {"padding": 1, "activation": "relu", "layout": "channels_last"}),
    "many channels": ((1, 514, 7, 7), (131, 514, 3, 3), {"padding": 1, "bias": True}),
    "many channels, last": ((1, 7, 7, 514), (3, 3, 514, 131), {"padding": 1, "bias": True, "layout": "channels_last"}),
    "pointwise": ((3, 129, 23, 17), (65, 129, 1, 1), {"bias": True}),
    "pointwise, channels last": ((3, 23, 17, 129), (1, 1, 129, 65), {"bias": True, "layout": "channels_last"}),
    "pointwise, stride": ((2, 24, 21, 66), (1, 1, 66, 50), {"stride": (2, 3), "layout": "channels_last"}),
    "groups": ((2, 60, 25, 27), (87, 20, 3, 3), {"groups": 3, "stride": (1, 2), "padding": ((0, 2), (1, 0))}),
    "groups, channels last": ((2, 25, 27, 60), (3, 3, 20, 87), {"groups": 3, "stride": (1, 2), "padding": 1, "layout": "channels_last"}),
    "depthwise": ((2, 67, 33, 35), (67, 1, 5, 5), {"groups": 67, "padding": 2, "boundary": "edge"}),
    "depthwise, channels last": ((2, 33, 35, 67), (5, 5, 1, 67), {"groups": 67, "padding": 2, "layout": "channels_last", "bias": True}),
    "depthwise, whole vectors": ((2, 20, 21, 64), (3, 3, 1, 64), {"groups": 64, "stride": 2, "layout": "channels_last"}),
    "signal": ((1, 1, 100_003), (1, 1, 9), {"padding": "causal", "dilation": 7}),
    "signal, large kernel": ((1, 1, 5000), (1, 1, 1500), {"padding": "full", "boundary": ("constant", 3)}),
    "text": ((2, 70, 301), (33, 70, 3), {"padding": "same", "stride": 2}),
    "volume": ((1, 5, 20, 21, 22), (9, 5, 3, 3, 3), {"padding": 1, "boundary": ("wrap", "zero", "reflect"), "stride": (1, 2, 1)}),
    "volume, channels last": ((1, 13, 14, 15, 18), (2, 3, 4, 18, 21), {"padding": 2, "layout": "channels_last"}),
    "four axes": ((1, 2, 7, 8, 9, 21), (3, 2, 2, 3, 2, 3), {"padding": 1, "stride": (1, 2, 1, 2)}),
    "five axes": ((2, 3, 5, 4, 6, 5, 18), (4, 3, 2, 2, 3, 1, 3), {"padding": 1, "boundary": "symmetric"}),
    "five axes, channels last": ((1, 5, 4, 6, 5, 7, 20), (2, 2, 3, 1, 3, 20, 17), {"layout": "channels_last", "dilation": (1, 2, 1, 1, 2)}),
    "kernel as large as the input": ((2, 3, 61, 67), (5, 3, 61, 67), {}),
    "kernel as large as the input, last": ((1, 31, 33, 19), (31, 33, 19, 18), {"layout": "channels_last"}),
    "kernel as large as the input, one axis": ((2, 7, 3001), (2, 7, 3001), {"bias": True}),
    "kernel larger than the input": ((1, 2, 5, 6), (3, 2, 11, 13), {"padding": 6, "boundary": "reflect"}),
    "stride beyond the kernel": ((1, 20, 50, 61), (18, 20, 2, 2), {"stride": (7, 9)}),
}  # fmt: skip


def sampled(spec: Convolution, count: int, seed: int) -> list[Any]:
    """Of each kind of schedule that many, or all."""
    rng = np.random.default_rng(seed)
    return [found[index] for found in schedules(spec).values() for index in rng.permutation(len(found))[:count]]


def agree(name: str, dtype: str, count: int) -> None:
    x_shape, w_shape, arguments = LARGE[name]
    spec = describe(x_shape, w_shape, dtype=dtype, w_dtype="float32" if dtype == "uint8" else dtype, **arguments)
    x, w, bias = operands(spec, seed=1, integers=True)
    options = {name: value for name, value in arguments.items() if name != "bias"}
    expected = jj.conv(x, w, bias, algorithm="direct", **options)
    assert_agrees(spec, expected, x, w, bias, exact=True)
    for turn, schedule in enumerate(sampled(spec, count, seed=len(name))):
        y = planned(spec, schedule)(x, w, bias, threads=1 + turn % 3)
        np.testing.assert_array_equal(y, expected, err_msg=str(schedule))


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("name", LARGE)
def test_every_kind_of_schedule_gives_the_same_numbers(name: str, dtype: str) -> None:
    agree(name, dtype, 2)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("name", LARGE)
def test_many_schedules_give_the_same_numbers(name: str, dtype: str) -> None:
    agree(name, dtype, 25)


def test_the_table_meets_every_kind() -> None:
    kinds = {kind for x, w, arguments in LARGE.values() for kind in schedules(describe(x, w, **arguments))}
    words = {word for kind in kinds for word in kind.split()}
    assert {"Space", "Channel", "Depthwise", "panel", "lanewise", "channels_inside"} <= words
    assert "Channel" in kinds or any(kind.startswith("Channel") and "panel" not in kind for kind in kinds)


@pytest.mark.parametrize("side", [3, 5, 11])
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_kernels_that_are_mostly_zero(side: int, layout: str) -> None:
    rng = np.random.default_rng(side)
    w = rng.integers(1, 9, (side, side)) * (rng.random((side, side)) < 0.4)
    w[0] = 0  # a whole row, as Sobel's middle one
    weights = w.astype(np.float32)[None, None] if layout == "channels_first" else w.astype(np.float32)[..., None, None]
    picture = rng.integers(0, 255, (1, 1, 45, 77) if layout == "channels_first" else (1, 45, 77, 1), "uint8")
    for x in (picture, picture.astype(np.float32)):
        plan = jj.plan(x.shape, weights, dtype=x.dtype, padding=side // 2, boundary="reflect", layout=layout)
        assert plan.spec.taps is not None
        for schedule in sampled(plan.spec, 5, seed=side):
            assert_agrees(plan.spec, planned(plan.spec, schedule)(x, weights), x, weights, None, exact=True)


def test_a_kernel_of_zeros_gives_the_bias() -> None:
    w = np.zeros((2, 1, 3, 3), np.float32)
    plan = jj.plan((1, 1, 6, 7), w, bias=True, padding=1)
    y = plan(np.full((1, 1, 6, 7), 5, np.float32), w, f32([3, -1]))
    np.testing.assert_array_equal(y, np.broadcast_to(f32([3, -1]).reshape(1, 2, 1, 1), (1, 2, 6, 7)))


def test_more_zeros_than_are_worth_skipping() -> None:
    w = np.ones((1, 1, 13, 13), np.float32)
    w[0, 0, 3, 4] = 0
    x = np.arange(30 * 41, dtype=np.float32).reshape(1, 1, 30, 41)
    plan = jj.plan(x.shape, w, padding=6)
    assert_agrees(plan.spec, plan(x, w), x, w, None, exact=True)


@pytest.mark.parametrize(("boundary", "other"), [("reflect", "wrap"), ("zero", "zero")])
def test_one_piece_of_code_serves_every_size(boundary: str, other: str) -> None:
    first = describe((1, 1, 400, 500), (1, 1, 3, 3), boundary=boundary, padding=1)
    second = describe((3, 1, 450, 640), (1, 1, 3, 3), boundary=other, padding=1)
    by_kind = schedules(second)
    schedule = next(iter(schedules(first).values()))[5]
    same = [s for s in by_kind[kind(schedule)] if planned(second, s).program.code == planned(first, schedule).program.code]
    assert len(same) == 1
