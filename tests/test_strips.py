"""Strips of columns for groups of a few channels, on random members of the family, beside protected pages, and their bits."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiled import assert_agrees, planned, schedules
from juanji.describe import describe
from juanji.machine import Machine
from juanji.spec import Convolution
from paged import planned_beside_pages
from strategies import convolutions, operands
from test_codegen import VECTORS, machine_with
from test_depthwise import CACHES, groups_of_several, in_planes, one_each


def side_by_side(spec: Convolution) -> Convolution:
    """Groups of several channels whose taps and outputs are neighbours, of two kernel rows or more and one outer tap."""
    kernel, ones = list(spec.kernel), (1,) * spec.n
    kernel[:-1] = ones[:-1]
    if spec.n > 1:
        kernel[-2] = max(spec.kernel[-2], 2)
    size = tuple(max(sides) for sides in zip(spec.size, kernel, strict=True))
    return groups_of_several(dataclasses.replace(spec, size=size, kernel=tuple(kernel), stride=ones, dilation=ones))


DEPTHWISE = convolutions(max_channels=1, max_groups=4, modes=("constant",), dtypes=("float32", "float64", "uint8")).map(one_each)


def of_strips(spec: Convolution, machine: Machine | None = None, strips: bool = True) -> list[Any]:
    """The schedules of planes turned into pixels that have strips, or those that have tiles."""
    return [schedule for schedule in schedules(spec, machine).get("Turned", []) if (schedule.rows == 0) == strips]


@pytest.mark.parametrize("vectors", VECTORS)
@settings(max_examples=30)
@given(data=st.data(), seed=st.integers(0, 999), at_end=st.booleans(), items=st.sampled_from((1, 7)))
def test_strips_compute_the_description(vectors: str, data: st.DataObject, seed: int, at_end: bool, items: int) -> None:
    spec = data.draw(DEPTHWISE.map(in_planes).map(side_by_side))
    l1, l2 = data.draw(st.sampled_from(CACHES))
    machine = dataclasses.replace(machine_with(vectors), l1=l1, l2=l2)
    own = of_strips(spec, machine)
    if not own:
        return
    plan = planned(spec, data.draw(st.sampled_from(own)), machine)
    x, w, bias = operands(spec, seed, integers=True)
    assert_agrees(spec, plan(x, w, bias, threads=items), x, w, bias, exact=True)
    assert_agrees(spec, planned_beside_pages(plan, x, w, bias, at_end), x, w, bias, exact=True)


@pytest.mark.parametrize("channels", [2, 4, 8])
def test_strips_have_the_bits_of_tiles(channels: int) -> None:
    x, w = (2, 32, 9, 13), (32, channels, 3, 3)
    spec = describe(x, w, padding=((1, 2), (2, 0)), groups=32 // channels, bias=True, activation="relu")
    rng = np.random.default_rng(channels)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in (x, w, spec.bias_shape)]
    strips, tiles = (of_strips(spec, strips=which) for which in (True, False))
    expected = planned(spec, tiles[-1])(*arrays).tobytes()
    assert len(strips) > 2
    for schedule in strips:
        assert planned(spec, schedule)(*arrays).tobytes() == expected, schedule
