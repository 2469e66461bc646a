"""The contraction against the definition, and both gradients against the contraction."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from juanji import reference
from juanji.boundary import MODES, Boundary
from juanji.contraction import Contraction, Operand, execute, lower
from juanji.errors import ArgumentError
from juanji.phases import fold_border, phases, regions
from juanji.spec import Convolution, Dtypes
from strategies import Array, convolutions, operands

SEEDS = st.integers(0, 2**16)
LINEAR = convolutions(sites=True, taps=True, epilogue=False, dtypes=("float64",))
SHARED = convolutions(epilogue=False, dtypes=("float64",))
EVERY_TAP = convolutions(sites=True, epilogue=False, dtypes=("float64",))
MORE = settings(deadline=None, max_examples=150)


def one_axis(size: int = 9, kernel: int = 3, stride: int = 1, low: int = 0, high: int = 0, **rest: object) -> Convolution:
    fields = {"dilation": (1,), "boundary": (Boundary(),), **rest}
    return Convolution(size=(size,), kernel=(kernel,), stride=(stride,), padding=((low, high),), **fields)  # type: ignore[arg-type]


def gathered(contraction: Contraction, w: Array, dy: Array) -> Array:
    arrays: list[Array] = [np.zeros(region.shape, np.result_type(w, dy)) for region in regions(contraction)]
    for phase in phases(contraction):
        if phase.contraction is not None:
            arrays[phase.region] += execute(phase.contraction, x=dy, w=w)
    return fold_border(contraction, arrays)


@MORE
@given(spec=LINEAR, seed=SEEDS)
def test_forward_is_the_definition(spec: Convolution, seed: int) -> None:
    x, w, _ = operands(spec, seed, integers=True)
    np.testing.assert_array_equal(execute(lower(spec), x=x, w=w), reference.conv(spec, x, w))


@settings(deadline=None, max_examples=15)
@given(spec=convolutions(sites=True, taps=True, epilogue=False, dtypes=("float64",), max_axes=4), seed=SEEDS)
def test_forward_with_four_axes(spec: Convolution, seed: int) -> None:
    x, w, _ = operands(spec, seed, integers=True)
    np.testing.assert_array_equal(execute(lower(spec), x=x, w=w), reference.conv(spec, x, w))


@MORE
@given(spec=LINEAR, seed=SEEDS, complex_=st.booleans())
def test_gradients_are_the_exact_adjoints(spec: Convolution, seed: int, complex_: bool) -> None:
    if complex_:
        spec = replace(spec, dtypes=Dtypes(*["complex128"] * 4))
    x, w, _ = operands(spec, seed, integers=True)
    dy = operands(replace(spec, size=spec.output, kernel=(1,) * spec.n, stride=(1,) * spec.n, padding=((0, 0),) * spec.n,
                          sites=None, taps=None, channels=spec.features), seed + 1, integers=True)[0]  # fmt: skip
    c = lower(spec)
    y = execute(c, x=x, w=w)
    linear_in_x = y - execute(c, x=np.zeros_like(x), w=w)  # a constant boundary adds a part that x has no share in
    dx, dw = execute(c.producing("x"), w=w, y=dy), execute(c.producing("w"), x=x, y=dy)
    assert dx.shape == x.shape
    assert dw.shape == w.shape
    assert np.vdot(dy, linear_in_x) == np.vdot(dx, x)
    assert np.vdot(dy, y) == np.vdot(dw, w)


@MORE
@given(spec=SHARED, seed=SEEDS, complex_=st.booleans())
def test_phases_and_fold_are_the_gradient_of_the_input(spec: Convolution, seed: int, complex_: bool) -> None:
    _, w, _ = operands(replace(spec, dtypes=Dtypes(*["complex128"] * 4)) if complex_ else spec, seed, integers=True)
    dy = np.random.default_rng(seed).integers(-4, 5, spec.y_shape)
    c = lower(spec).producing("x")
    np.testing.assert_array_equal(gathered(c, w, dy), execute(c, w=w, y=dy))


@settings(deadline=None, max_examples=60)
@given(spec=SHARED)
def test_phases_store_each_place_of_each_region_once(spec: Convolution) -> None:
    c = lower(spec).producing("x")
    counts = [np.zeros(region.shape, int) for region in regions(c)]
    for phase in phases(c):
        where: list[slice] = [slice(None)] * len(c.x.dimensions)
        for i, (first, step) in enumerate(phase.places):
            where[c.x.dimensions.index(c.x.along(f"q{i}"))] = slice(first, None, step)
        counts[phase.region][tuple(where)] += 1
        if phase.contraction is None:
            continue
        once = tuple((axis, 1 if axis[0] == "k" or axis == "c" else extent) for axis, extent in phase.contraction.axes)
        bare = replace(phase.contraction, axes=once, x=Operand(()), w=Operand(()))  # reads nothing: each place that it stores to, once
        expected = np.zeros(counts[phase.region].shape, int)
        expected[tuple(where)] = 1
        np.testing.assert_array_equal(execute(bare, x=np.array(1), w=np.array(1)), expected)
        assert all(phase.contraction.x.along(f"q{i}").coefficient(f"k{i}") > 0 for i in range(c.n))  # positions rise with the taps
    assert all((count == 1).all() for count in counts)


@settings(deadline=None, max_examples=60)
@given(spec=EVERY_TAP)
def test_inequalities_are_those_that_the_extents_do_not_imply(spec: Convolution) -> None:
    c = lower(spec)
    assert c.w.inequalities == ()
    leftover = [p % t != 0 for p, t in zip(spec.output, spec.sites or (1,) * spec.n, strict=True)]
    assert len(c.y.inequalities) == sum(leftover)
    for i, (size, p, kernel) in enumerate(zip(spec.size, spec.output, spec.kernel, strict=True)):
        d = c.x.along(f"q{i}")
        places = np.add.outer(np.arange(p) * spec.stride[i], np.arange(kernel) * spec.dilation[i]) - spec.padding[i][0]
        assert d.reach == (places.min(), places.max())
        leaves = bool((places < 0).any() or (places >= size).any())
        assert (c.x.dimensions.index(d) in c.x.inequalities) == (leaves and spec.boundary[i].constant)


@settings(deadline=None, max_examples=60)
@given(spec=EVERY_TAP, data=st.data())
def test_strides_are_those_of_the_array(spec: Convolution, data: st.DataObject) -> None:
    c = lower(spec)
    for operand, shape in ((c.x, spec.x_shape), (c.w, spec.w_shape), (c.y, spec.y_shape)):
        assert operand.shape == shape
        at = {axis: data.draw(st.integers(0, extent - 1)) for axis, extent in c.axes}
        index = [d.offset + sum(a * at[axis] for axis, a in d.terms) for d in operand.dimensions]
        element = sum(i * math.prod(shape[number + 1 :]) for number, i in enumerate(index))
        assert element == operand.offset + sum(operand.stride(axis) * value for axis, value in at.items())


def test_coefficients_tell_a_tile_what_it_needs() -> None:
    c = lower(one_axis(stride=2, low=3, dilation=(4,), kernel=2, channels=6, features=4, groups=2, layout="channels_last"))
    x = c.x.along("q0")
    assert (x.coefficient("q0"), x.coefficient("k0"), x.offset, x.coefficient("o")) == (2, 4, -3, 0)
    assert [c.x.stride(a) for a in ("n", "g", "o", "c", "t0", "q0", "k0")] == [54, 3, 0, 1, 12, 12, 24]
    assert [c.y.stride(a) for a in ("n", "g", "o", "c", "q0")] == [16, 2, 1, 0, 4]
    assert c.n == 1
    assert c.operand("w") is c.w


def test_flip_reads_the_kernel_backwards() -> None:
    c = lower(one_axis(flip=True))
    assert (c.w.offset, c.w.stride("k0")) == (2, -1)


def test_sites_split_the_position_and_leave_the_rest_to_an_inequality() -> None:
    c = lower(one_axis(size=9, kernel=3, sites=(3,)))  # 7 positions over 3 sites
    assert (c.extent("t0"), c.extent("q0")) == (3, 3)
    assert (c.y.stride("t0"), c.y.stride("q0"), c.y.inequalities, c.x.inequalities) == (1, 3, (2,), ())
    assert (c.w.stride("t0"), c.w.stride("q0")) == (3, 0)


def test_contractions_are_keys() -> None:
    assert {lower(one_axis()): 1}[lower(one_axis())] == 1
    assert lower(one_axis()) != lower(one_axis()).producing("x")


def test_a_constant_adds_nothing_to_dx_and_enters_dw() -> None:
    c = lower(one_axis(size=2, kernel=3, low=1, high=1, boundary=(Boundary("constant", 5.0),)))
    x, w, dy = np.array([[[1.0, 2.0]]]), np.array([[[1.0, 10.0, 100.0]]]), np.array([[[1.0, 1.0]]])
    assert execute(c, x=x, w=w).tolist() == [[[5 + 10 + 200, 1 + 20 + 500]]]
    assert execute(c.producing("x"), w=w, y=dy).tolist() == [[[11.0, 110.0]]]
    assert gathered(c.producing("x"), w, dy).tolist() == [[[11.0, 110.0]]]
    assert execute(c.producing("w"), x=x, y=dy).tolist() == [[[5.0 + 1, 1.0 + 2, 2.0 + 5]]]


def test_regions_of_a_constant_border_are_the_input_itself() -> None:
    c = lower(one_axis(size=4, kernel=3, low=2, high=2)).producing("x")
    (phase,) = phases(c)
    assert phase.contraction is not None
    assert phase.contraction.y.shape == (1, 1, 4)
    c = lower(one_axis(size=4, kernel=3, low=2, high=1, boundary=(Boundary("edge"),))).producing("x")
    assert [region.spans for region in regions(c)] == [((2, 6),), ((0, 2),), ((6, 7),)]
    assert [region.shape for region in regions(c)] == [(1, 1, 4), (1, 1, 2), (1, 1, 1)]


def test_a_phase_that_no_tap_reaches_is_zero() -> None:
    c = lower(one_axis(size=7, kernel=1, stride=3)).producing("x")
    assert [phase.contraction is None for phase in phases(c)] == [False, True, True]
    assert gathered(c, np.array([[[2]]]), np.array([[[1, 2, 3]]])).tolist() == [[[2, 0, 0, 4, 0, 0, 6]]]


def test_phases_with_stride_and_dilation_that_share_a_factor() -> None:
    c = lower(one_axis(size=12, kernel=3, stride=4, dilation=(2,))).producing("x")
    found = [(p.places, p.contraction) for p in phases(c)]
    assert [(places, p and (p.extent("k0"), p.w.offset, p.w.stride("k0"), p.x.stride("k0"))) for places, p in found] == [
        (((0, 4),), (2, 2, -2, 1)), (((1, 4),), None), (((2, 4),), (1, 1, -2, 1)), (((3, 4),), None),
    ]  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_the_fold_of_a_single_pixel(mode: str) -> None:
    spec = one_axis(size=1, kernel=3, low=4, high=4, boundary=(Boundary(mode),))
    c = lower(spec).producing("x")
    w, dy = np.array([[[1, 10, 100]]]), np.ones(spec.y_shape, int)
    assert gathered(c, w, dy).tolist() == [[[111 if mode == "constant" else 111 * 7]]]


def test_an_empty_batch() -> None:
    spec = one_axis(batch=0)
    x, w = np.zeros(spec.x_shape), np.ones(spec.w_shape)
    assert execute(lower(spec), x=x, w=w).shape == (0, 1, 7)
    assert execute(lower(spec).producing("w"), x=x, y=np.zeros(spec.y_shape)).tolist() == [[[0, 0, 0]]]
    assert gathered(lower(spec).producing("x"), w, np.zeros(spec.y_shape)).shape == (0, 1, 9)


def test_wrong_roles_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"output \(='z'\) must be one of x, w, y"):
        lower(one_axis()).producing("z")
    with pytest.raises(ArgumentError, match="must be 'x'"):
        phases(lower(one_axis()))
    with pytest.raises(ArgumentError, match="must have shared weights"):
        phases(lower(one_axis(sites=(3,))).producing("x"))
