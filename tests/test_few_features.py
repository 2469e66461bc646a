"""Layers of few channels or few features: tiles with lanes along the pixels, on random members of the family."""

import dataclasses
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiled import assert_agrees, kind, planned, schedules
from juanji.algorithms.pixels import Pixels
from juanji.algorithms.space import Space
from juanji.describe import describe
from juanji.spec import Convolution
from strategies import convolutions, operands
from test_codegen import VECTORS, machine_with

DTYPES = ("float32", "float64", "uint8")
computed: Counter[str] = Counter()


@st.composite
def few(draw: st.DrawFn, many_channels: bool) -> Convolution:
    """Channels last, rows of more than a vector, one group, up to 14 features; up to 10 channels, or 40."""
    spec = draw(convolutions(max_groups=1, dtypes=DTYPES))
    channels, features = draw(st.integers(2, 40 if many_channels else 10)), draw(st.integers(1, 14))
    size = (*spec.size[:-1], spec.size[-1] + draw(st.integers(0, 40)))
    return dataclasses.replace(spec, layout="channels_last", size=size, channels=channels, features=features)


def one_tap(spec: Convolution) -> Convolution:
    """The same with a kernel of one tap."""
    ones, none = (1,) * spec.n, ((0, 0),) * spec.n
    return dataclasses.replace(spec, kernel=ones, stride=ones, dilation=ones, padding=none)


@st.composite
def signals(draw: st.DrawFn) -> Convolution:
    """Lines of more than a few vectors, and filters of 6 to 40 taps, one or two for each channel."""
    spec = draw(convolutions(max_axes=1, dtypes=DTYPES))
    taps, more = draw(st.integers(6, 40)), draw(st.integers(40, 200))
    fields: dict[str, Any] = {"size": (more,), "kernel": (taps,), "stride": (1,), "dilation": (1,), "layout": "channels_first"}
    return dataclasses.replace(spec, channels=spec.groups, **fields)


FAMILIES = {"signals": signals(), "few channels": few(many_channels=False), "many channels": few(many_channels=True)}
FAMILIES["one tap"] = FAMILIES["many channels"].map(one_tap)


@pytest.mark.parametrize("vectors", VECTORS)
@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=25)
@given(data=st.data(), seed=st.integers(0, 999), integers=st.booleans())
def test_any_tile_computes_the_description(family: str, vectors: str, data: st.DataObject, seed: int, integers: bool) -> None:
    spec, machine = data.draw(FAMILIES[family]), machine_with(vectors)
    own = [schedule for found in schedules(spec, machine).values() for schedule in found if isinstance(schedule, Pixels | Space)]
    schedule = data.draw(st.sampled_from(sorted(own, key=lambda schedule: isinstance(schedule, Space))))
    computed[f"{family}: {kind(schedule)}"] += 1
    x, w, bias = operands(spec, seed, integers)
    assert_agrees(spec, planned(spec, schedule, machine)(x, w, bias, threads=1 + seed % 3), x, w, bias, exact=integers)


def test_every_family_met_its_tile() -> None:
    assert {name.split(":")[0] for name in computed} == set(FAMILIES), computed
    assert any("Pixels" in name for name in computed), computed


SHAPES: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "to one feature": ((2, 9, 11, 50), (1, 1, 50, 1), {}),
    "to three features": ((1, 64, 48, 33), (1, 1, 33, 3), {}),
    "colours to colours": ((1, 20, 45, 3), (5, 3, 3, 3), {"padding": (2, 1)}),
    "channels in two blocks": ((1, 12, 40, 72), (5, 5, 72, 7), {"padding": 2}),
    "a stride": ((1, 21, 67, 32), (3, 3, 32, 5), {"padding": 1, "stride": 2}),
    "edges of their own": ((1, 12, 40, 4), (3, 3, 4, 12), {"padding": 1, "boundary": "reflect"}),
    "a long filter for each channel": ((3, 5, 300), (5, 1, 31), {"padding": 15, "groups": 5, "layout": "channels_first"}),
}


@pytest.mark.parametrize("name", SHAPES)
def test_all_tiles_give_the_same_bits(name: str) -> None:
    x_shape, w_shape, options = SHAPES[name]
    spec = describe(x_shape, w_shape, **{"layout": "channels_last", "bias": True, **options})
    x, w, bias = operands(spec)
    results = {key: planned(spec, found[len(found) // 2])(x, w, bias) for key, found in schedules(spec).items()}
    assert any(key.startswith("Channel") for key in results)
    assert any(key.startswith(("Space", "Pixels")) for key in results)
    first = next(iter(results.values()))
    for key, y in results.items():
        np.testing.assert_array_equal(y.view(np.uint32), first.view(np.uint32), err_msg=key)
