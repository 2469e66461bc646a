"""Depthwise layers: the tiles that are made for them, on random members of the family, and what large kernels leave out."""

import dataclasses
import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import adjoints
import juanji as jj
from compiled import assert_agrees, planned, schedules
from juanji import machine as machines
from juanji.algorithms import direct
from juanji.algorithms.depthwise import Depthwise
from juanji.algorithms.planes import Plane
from juanji.algorithms.turned_planes import Turned
from juanji.algorithms.whole_rows import Rows
from juanji.boundary import Boundary
from juanji.describe import describe
from juanji.jit.compile import assembly
from juanji.plans import Plan
from juanji.spec import Convolution, Dtypes
from paged import planned_beside_pages
from strategies import Array, convolutions, operands
from test_codegen import VECTORS, emitted, machine_with

TILES = (Depthwise, Plane, Rows, Turned)
CACHES = ((2 << 10, 16 << 10), (48 << 10, 2 << 20))  # small ones make bands, and send tiles away that want a whole plane


def each_alone(spec: Convolution, layout: str = "channels_first") -> Convolution:
    """A filter or more for every channel, of which there are several."""
    groups = spec.groups + 1
    return dataclasses.replace(spec, groups=groups, channels=groups, features=groups * (spec.features // spec.groups), layout=layout)


def one_each(spec: Convolution) -> Convolution:
    """Channels last, one filter for each, under a border of one number."""
    spec = each_alone(spec, "channels_last")
    return dataclasses.replace(spec, features=spec.groups, boundary=spec.boundary[:1] * spec.n)


def in_planes(spec: Convolution) -> Convolution:
    """The same with channels first, in planes not much smaller than a vector."""
    return dataclasses.replace(spec, layout="channels_first", size=(*spec.size[:-1], spec.size[-1] + 9))


def halves(spec: Convolution) -> Convolution:
    """The same of half floats, under zeros."""
    zeros = tuple(Boundary(b.mode) for b in spec.boundary)
    return dataclasses.replace(spec, dtypes=Dtypes("float16", "float16", "float32", "float32"), boundary=zeros)


def large(spec: Convolution) -> Convolution:
    """The same with a kernel of 9×8 taps, most of which meet only padding, and steps of 1."""
    kernel, padding = (9, 8, 2)[: spec.n], ((7, 8), (6, 5), (0, 3))[: spec.n]
    return dataclasses.replace(spec, kernel=kernel, padding=padding, dilation=(1,) * spec.n, stride=(1,) * spec.n)


def groups_of_several(spec: Convolution) -> Convolution:
    """The same with two or four channels in a group, in whole vectors of groups."""
    channels = 64 // spec.kernel[0]
    channels -= channels % 16
    groups = channels // (2 if spec.stride[0] % 2 else 4)
    return dataclasses.replace(spec, groups=groups, channels=channels, features=channels)


LAST = convolutions(max_channels=1, max_groups=40, modes=("constant",), dtypes=("float32", "float64", "uint8")).map(one_each)
FIRST = convolutions(max_channels=2, max_groups=5, dtypes=("float32", "float64", "uint8")).map(each_alone)
TURNED = LAST.map(in_planes)
FAMILIES = {
    "planes": FIRST,
    "planes, large kernels": FIRST.map(large),
    "turned": TURNED,
    "turned, half floats": TURNED.map(halves),
    "turned, large kernels": TURNED.map(large),
    "turned, groups of several": TURNED.map(groups_of_several),
    "last": LAST,
    "last, half floats": LAST.map(halves),
    "last, large kernels": LAST.map(large),
    "last, groups of several": LAST.map(groups_of_several),
}
computed: Counter[str] = Counter()


@pytest.mark.parametrize("vectors", VECTORS)
@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=20)
@given(data=st.data(), seed=st.integers(0, 999), integers=st.booleans())
def test_any_tile_computes_the_description(family: str, vectors: str, data: st.DataObject, seed: int, integers: bool) -> None:
    spec = data.draw(FAMILIES[family])
    l1, l2 = data.draw(st.sampled_from(CACHES))
    machine = dataclasses.replace(machine_with(vectors), l1=l1, l2=l2)
    own = [schedule for found in schedules(spec, machine).values() for schedule in found if isinstance(schedule, TILES)]
    if own:
        schedule = data.draw(st.sampled_from(own))
        computed[f"{family}: {type(schedule).__name__}"] += 1
        x, w, bias = operands(spec, seed, integers)
        assert_agrees(spec, planned(spec, schedule, machine)(x, w, bias, threads=1 + seed % 3), x, w, bias, exact=integers)


@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=20)
@given(data=st.data(), seed=st.integers(0, 999))
def test_any_tile_beside_protected_pages(family: str, at_end: bool, data: st.DataObject, seed: int) -> None:
    spec = data.draw(FAMILIES[family])
    own = [schedule for found in schedules(spec).values() for schedule in found if isinstance(schedule, TILES)]
    if own:
        x, w, bias = operands(spec, seed, integers=True)
        y = planned_beside_pages(planned(spec, data.draw(st.sampled_from(own))), x, w, bias, at_end)
        assert_agrees(spec, y, x, w, bias, exact=True)


def test_every_family_met_its_tile() -> None:
    assert {name.split(":")[0] for name in computed} == set(FAMILIES), computed
    assert {name.split(": ")[1] for name in computed} == {"Plane", "Depthwise", "Rows", "Turned"}


@pytest.mark.parametrize("kernel", [(5, 5), (3, 3, 3)])
def test_tiles_and_their_order_show_in_no_bit(kernel: tuple[int, ...]) -> None:
    last: dict[str, Any] = {"groups": 40, "layout": "channels_last"}
    spec = describe((2, *(11,) * len(kernel), 40), (*kernel, 1, 40), padding=kernel[0] // 2, **last)
    rng = np.random.default_rng(6)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in (spec.x_shape, spec.w_shape))
    found = [schedule for group in schedules(spec).values() for schedule in group if isinstance(schedule, Depthwise)]
    results = [planned(spec, schedule)(x, w, threads=1 + turn % 3).tobytes() for turn, schedule in enumerate(found[::5])]
    assert len(results) > 10
    assert set(results) == {jj.conv(x, w, padding=kernel[0] // 2, algorithm="direct", **last).tobytes()}


@pytest.mark.parametrize("kernel", [(7, 7), (3, 3, 3)])
@pytest.mark.parametrize("vectors", VECTORS)
def test_sums_of_large_tiles_stay_in_registers(vectors: str, kernel: tuple[int, ...]) -> None:
    machine = machine_with(vectors)
    spec = describe((1, *(28,) * len(kernel), 64), (*kernel, 1, 64), padding=kernel[0] // 2, groups=64, layout="channels_last")
    found = {(s.rows, s.columns): s for group in schedules(spec, machine).values() for s in group if isinstance(s, Depthwise)}
    for rows, columns in sorted(found, key=lambda shape: -shape[0] * shape[1])[:4]:
        assert rows * columns > machine.registers // 3
        text = assembly(emitted(planned(spec, found[rows, columns], machine)), machine.target)
        for block in re.split(r"^\.LBB.*$", text, flags=re.MULTILINE):
            if "vfmadd" in block:
                assert not re.findall(r".*%[xyz]mm\d+, .*\(%rsp\).*|.*\(%rsp\).*, %[xyz]mm\d+.*", block), (rows, columns)


@pytest.mark.parametrize("stride", [(2, 2), (1, 3), (2, 1)])
def test_gradients_of_inputs_with_gaps_between_their_phases(stride: tuple[int, int]) -> None:
    spec = describe((2, 5, 37, 41), (5, 1, 3, 5), stride=stride, padding=((1, 0), (2, 3)), groups=5)
    _, w, _ = operands(spec, 3, integers=True)
    dy = np.random.default_rng(4).integers(-4, 5, spec.y_shape).astype(np.float32)

    work, chosen = direct.grad_input(spec, machines.probe()), []
    for job in work.jobs:
        found = [choice for choice in job.candidates() if isinstance(choice[0], Plane)]
        chosen.append(found[len(found) // 2])
    plan = Plan(spec, "x", "direct", work, chosen, machines.probe(), {})
    np.testing.assert_array_equal(plan(dy, w), adjoints.grad_input(spec, dy, w))


# Kernels of which most taps meet only zeros outside: weights and sums with which it would show that they are left out.
AWKWARD = {
    "zeros of both signs": ([0.0, -0.0, 1.0, -1.0], [0.0, -0.0, -1.0]),
    "products too small": ([1e-30, -1e-30, -0.0], [1e-30, -1e-30, -0.0]),
    "infinite weights": ([1.0, 2.0], [1.0, np.inf]),
    "weights that are no numbers": ([1.0, -1.0], [1.0, -1.0, 2.0, 3.0, np.nan]),
}


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("name", AWKWARD)
def test_what_large_kernels_leave_out_shows_in_no_bit(name: str, layout: str) -> None:
    xs, ws = AWKWARD[name]
    rng, last = np.random.default_rng(5), layout == "channels_last"
    shapes = ((1, 9, 10, 18), (11, 11, 1, 18)) if last else ((1, 18, 9, 10), (18, 1, 11, 11))
    spec = describe(*shapes, padding=5, groups=18, layout=layout, bias=True)
    x, w = (rng.choice(np.array(values, np.float32), shape) for values, shape in ((xs, spec.x_shape), (ws, spec.w_shape)))
    w.reshape(-1)[: w.size // 2] = 1.0  # some filters have nothing that shows
    bias = rng.choice(np.array([0.0, -0.0], np.float32), 18)
    kinds = schedules(spec)
    assert ("Depthwise" if last else "Plane") in {found.split()[0] for found in kinds}
    results = {key: words(planned(spec, found[len(found) // 2])(x, w, bias)) for key, found in kinds.items()}
    first = results.pop(next(key for key in results if key.startswith("Space")))
    for key, found in results.items():
        np.testing.assert_array_equal(found, first, err_msg=key)
    if name == "products too small":
        assert (first == words(np.array([-0.0], np.float32))).any()  # sums that +0 would change


def words(y: Array) -> Array:
    """The bits of numbers, one pattern for all that are none."""
    return np.where(np.isnan(y), np.float32(np.nan), y).view(np.uint32)


@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize("dtype", ["int64", "int32", "int8"])
def test_elements_longer_than_sums_meet_zeros_outside(dtype: str, group: int) -> None:
    """Sixteen numbers of 64 bits are as long as two vectors of the sums that carry them."""
    rng = np.random.default_rng(0)
    x, w = rng.integers(-9, 9, (2, 5, 6, 16)).astype(dtype), rng.integers(-9, 9, (3, 3, group, 16)).astype(dtype)
    arguments: dict[str, Any] = {"padding": 1, "groups": 16 // group, "layout": "channels_last", "algorithm": "direct"}
    wide = x.astype(np.float64), w.astype(np.float64)
    np.testing.assert_array_equal(jj.conv(x, w, **arguments), jj.conv(*wide, **arguments))
    np.testing.assert_array_equal(jj.conv_grad_input(x, w, x.shape, **arguments), jj.conv_grad_input(*wide, x.shape, **arguments))
