"""Tiled weights as shared ones of a site at a time: against the definition, and beside the tiles that read windows."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import juanji as jj
from compiled import python
from guarded import beside, guarded, scratch
from juanji import machine as machines
from juanji import run
from juanji.algorithms import tiled
from juanji.contraction import OPERANDS, execute, lower
from juanji.describe import describe
from juanji.machine import Machine
from juanji.planner import choose, plan_for
from juanji.plans import Plan
from juanji.spec import Convolution
from juanji.turns import turns
from strategies import Array, convolutions
from test_codegen import machine_with
from test_local import READ, arrays_of, assert_right, shape_of

LAST = {"layout": "channels_last"}


def planned(spec: Convolution, produces: str, machine: Machine | None = None) -> Plan:
    """The plan by turns, whatever would be faster."""
    machine = machine or machines.probe()
    work = tiled.in_turns(spec, produces, machine)
    return Plan(spec, produces, "direct", work, choose(work.jobs), machine, {})


def compute(plan: Plan, arrays: dict[str, Array], **more: Any) -> Array:
    first, second = (arrays[name] for name in READ[plan.produces])
    return plan(first, second, arrays.get("bias") if plan.produces == "y" else None, **more)


@st.composite
def members(draw: st.DrawFn) -> tuple[Convolution, str]:
    """A description whose positions take few turns, and a product of it."""
    spec, produces = draw(convolutions()), draw(st.sampled_from(OPERANDS))
    longer = draw(st.integers(0, 40)) * spec.stride[-1]
    spec = dataclasses.replace(spec, size=(*spec.size[:-1], spec.size[-1] + longer))
    spec = dataclasses.replace(spec, sites=tuple(draw(st.integers(1, min(p, 4))) for p in spec.output))
    assume(produces == "x" or all(boundary.constant for boundary in spec.boundary))
    assume(produces == "y" or not spec.epilogue.bias)
    return spec, produces


def check(spec: Convolution, produces: str, seed: int, integers: bool, machine: Machine | None = None) -> None:
    if produces == "x":
        spec = dataclasses.replace(spec, epilogue=spec.epilogue._replace(activation=None))
    arrays = arrays_of(spec, seed, integers)
    result = compute(planned(spec, produces, machine), arrays, threads=1 + seed % 2)
    assert_right(spec, produces, result, arrays, integers)


@settings(max_examples=80)
@given(member=members(), seed=st.integers(0, 99), integers=st.booleans())
def test_turns_compute_the_product(member: tuple[Convolution, str], seed: int, integers: bool) -> None:
    check(*member, seed, integers)


@pytest.mark.slow
@settings(max_examples=3000)
@given(member=members(), seed=st.integers(0, 99), integers=st.booleans())
def test_turns_compute_thousands_of_products(member: tuple[Convolution, str], seed: int, integers: bool) -> None:
    check(*member, seed, integers)


@pytest.mark.parametrize("vectors", ["avx2", "avx512, 256 bits"])
@settings(max_examples=10)
@given(member=members())
def test_turns_on_other_vectors(vectors: str, member: tuple[Convolution, str]) -> None:
    check(*member, 3, True, machine_with(vectors))


# Sizes with several of everything: chunks, segments, vectors with gaps that end at a row's end.
LARGE: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "planes": ((2, 18, 17, 70), (2, 3, 20, 18, 3, 3), {"padding": 1}),
    "pixels": ((2, 17, 50, 18), (2, 3, 3, 3, 18, 20), {"padding": 1, **LAST}),
    "strides": ((2, 6, 23, 75), (3, 2, 18, 6, 3, 5), {"stride": (1, 2), "padding": (0, 2), "dilation": (2, 1)}),
    "groups": ((2, 4, 12, 90), (2, 5, 36, 2, 3, 3), {"groups": 2, "boundary": ("constant", 2.0), "padding": 1}),
    "signal": ((4, 32, 517), (7, 32, 32, 3), {"padding": 1}),
    "signal, kernel turned": ((4, 32, 200), (2, 20, 4, 32), {"flip": True, "weight_layout": "O*I"}),
    "volume": ((1, 2, 5, 8, 40), (2, 1, 2, 18, 2, 3, 3, 3), {"padding": 1}),
    "depthwise": ((2, 40, 30, 61), (2, 2, 40, 1, 3, 3), {"groups": 40, "padding": 1}),
    "depthwise, last": ((2, 30, 61, 40), (2, 2, 3, 3, 1, 40), {"groups": 40, "padding": 1, **LAST}),
    "reflected": ((2, 8, 30, 31), (2, 3, 16, 8, 3, 3), {"padding": 1, "boundary": "reflect"}),
    "wide numbers": ((1, 8, 20, 45), (2, 2, 20, 8, 3, 3), {"dtype": "float64"}),
    "half floats": ((1, 8, 20, 70), (2, 3, 20, 8, 3, 3), {"dtype": "float16"}),
}


def large(name: str) -> list[tuple[Convolution, str]]:
    """The description of a name, with what turns can compute of it."""
    x_shape, w_shape, given = LARGE[name]
    spec = describe(x_shape, w_shape, sharing="tiled", **given)
    constant = all(boundary.constant for boundary in spec.boundary)
    return [(spec, produces) for produces in OPERANDS if constant or produces == "x"]


@pytest.mark.parametrize("name", LARGE)
def test_large_sizes(name: str) -> None:
    for spec, produces in large(name):
        check(spec, produces, 5, spec.dtypes.x != "float16")


@pytest.mark.parametrize("name", ["planes", "pixels", "signal"])
def test_bits_do_not_depend_on_threads_batch_or_strides(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "THREAD_CYCLES", 1.0)  # small work on several threads too
    for spec, produces in large(name):
        arrays = arrays_of(spec, 4, False)
        wanted = compute(planned(spec, produces), arrays, threads=1)
        first = READ[produces][0]
        room = np.zeros((2 * spec.batch, *arrays[first].shape[1:]), arrays[first].dtype)[::2]
        room[...] = arrays[first]
        np.testing.assert_array_equal(compute(planned(spec, produces), {**arrays, first: room}, threads=3), wanted)
        if produces != "w":
            one = planned(dataclasses.replace(spec, batch=1), produces)
            np.testing.assert_array_equal(compute(one, {**arrays, first: arrays[first][1:2]})[0], wanted[1])


def test_few_sites_are_computed_in_turns_and_many_are_not() -> None:
    """The choice follows from the description, whatever the batch; local weights are never shared."""
    for batch in (1, 8):
        few = jj.plan((batch, 64, 56, 56), (2, 2, 64, 64, 3, 3), sharing="tiled", padding=1)
        assert len(few.parts) == 4
        assert "channel tile" in str(few)
        assert len(jj.plan((batch, 64, 56, 56), (28, 28, 8, 64, 3, 3), sharing="tiled", padding=1).parts) == 1
        assert len(jj.plan((batch, 4, 6, 6), (6, 6, 8, 4, 3, 3), sharing="local", padding=1).parts) == 1
        assert len(jj.plan((batch, 4, 6, 6), (2, 2, 8, 4, 3, 3), sharing="tiled", padding=1).parts) == 1


@pytest.mark.parametrize("produces", OPERANDS)
def test_all_sites_alike_are_a_shared_layer(produces: str) -> None:
    """One kernel repeated at every site gives what the shared layer gives; its gradient is the sum of those of the sites."""
    spec, _ = large("planes")[0]
    arrays = arrays_of(spec, 6, True)
    arrays["w"][...] = arrays["w"][0, 0]
    shared = dataclasses.replace(spec, sites=None)
    got = compute(planned(spec, produces), arrays)
    wanted = compute(plan_for(shared, "direct", produces=produces), {**arrays, "w": arrays["w"][0, 0]})
    np.testing.assert_array_equal(got.sum((0, 1)) if produces == "w" else got, wanted)


def test_a_turn_is_a_part_of_the_contraction() -> None:
    """What the turns of the output write together is all of it, each place once."""
    spec = describe((1, 2, 7, 9), (2, 3, 3, 2, 2, 2), sharing="tiled", stride=(2, 1))
    arrays = arrays_of(spec, 7, True)
    whole = execute(lower(spec), x=arrays["x"], w=arrays["w"])
    shared, total = lower(dataclasses.replace(spec, sites=None)), np.zeros_like(whole)
    for contraction, site in turns(shared, (2, 3)):
        total += execute(contraction, x=arrays["x"], w=arrays["w"][site])
    np.testing.assert_array_equal(total, whole)


# Memory ----------------------------------------------------------------------------------------------------------------------


def beside_pages() -> None:
    """Everything that the kernels read and write beside protected pages."""
    for name in LARGE:
        for number, (spec, produces) in enumerate(large(name)):
            at_end = number % 2 == 0
            print(name, produces, at_end, flush=True)
            arrays = arrays_of(spec, 11, True)

            def room(self: object, size: int, at_end: bool = at_end) -> tuple[int, object]:
                return scratch(size, at_end)

            type(run._thread).scratch = room  # type: ignore[method-assign,assignment]
            near = {of: beside(array, at_end) for of, array in arrays.items()}
            out = guarded(shape_of(spec, produces), getattr(spec.dtypes, produces), at_end)
            compute(planned(spec, produces), near, out=out, threads=1)


def test_nothing_outside_is_read_or_written() -> None:
    ended = python("import test_turns; test_turns.beside_pages()", timeout=300)
    assert ended.returncode == 0, f"{ended.returncode}\n{ended.stdout[-1500:]}\n{ended.stderr[-1500:]}"
