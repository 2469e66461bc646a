"""Integers that fit a narrower type than their arrays': read as such, exact all the same."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

import juanji as jj
from juanji import exact, reference
from juanji import machine as machines
from juanji.describe import describe
from juanji.errors import ArgumentError, DtypeError, ShapeError
from juanji.extents import FEW, PIECE, extent
from juanji.kinds import Integers
from juanji.spec import OVERFLOWS, Dtypes, Epilogue
from strategies import Array, convolutions
from test_dtypes import PAIRS, whole

able = pytest.mark.skipif(not machines.probe().peak_of_dots("int8", "int8"), reason="this processor sums no products of bytes")


class Narrow(Integers):
    """Operands are read as the narrowest types that hold them, at any price."""

    narrowed = 0

    def _converting(self, read: Sequence[str]) -> float:
        return 1e9 * (tuple(read) == self._own)


@settings(max_examples=60)
@given(data=st.data())
def test_integers_read_as_narrower_ones_give_the_same_sums(data: st.DataObject) -> None:
    draw = data.draw
    spec = draw(convolutions(taps=True, epilogue=False, max_axes=2) | convolutions(sites=True, epilogue=False, max_axes=2))
    x_type, w_type = draw(st.sampled_from(PAIRS))
    overflow = draw(st.sampled_from(OVERFLOWS))
    spec = dataclasses.replace(
        spec,
        dtypes=Dtypes(x_type, w_type, "int64", draw(st.sampled_from(("int64", "int32", "uint8")))),
        epilogue=Epilogue(draw(st.booleans()), draw(st.sampled_from((None, "relu")))),
        overflow=overflow,
    )
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    bits = draw(st.sampled_from((3, 7, 8, 15, 16)))
    x, w = whole(rng, spec.x_shape, x_type, bits), whole(rng, spec.w_shape, w_type, bits)
    bias = whole(rng, spec.bias_shape, "int64", 20) if spec.epilogue.bias else None
    if spec.taps is not None:
        w[np.broadcast_to(_skipped(spec), w.shape)] = 0
    plan = Narrow(spec, "auto", "default", "y")
    event(str(plan.plan({"x": exact.extent(x), "w": exact.extent(w)}).spec.dtypes[:2]))
    found, expected = (_or_refusal(call, x, w, bias) for call in (plan, partial(reference.conv, spec)))
    np.testing.assert_array_equal(found, expected)


def _or_refusal(call: Callable[..., Array], *arrays: Array | None) -> Array:
    """What a call returns, or says of sums that do not fit."""
    try:
        return call(*arrays)
    except ArgumentError as error:
        return np.array(str(error))


def _skipped(spec: Any) -> Array:
    """Where weights are not read."""
    skipped = np.ones(spec.kernel, np.bool_)
    skipped[tuple(np.transpose(spec.taps))] = False
    return skipped.reshape(*spec.kernel, *(1,) * {"OI*": 0, "*IO": 2, "O*I": 1}[spec.weight_layout])


@pytest.mark.parametrize("dtype", [*exact.SIGNED, *exact.UNSIGNED])
@pytest.mark.parametrize("more", [0, 1, 300])
def test_extents_are_found_wherever_they_stand(dtype: str, more: int) -> None:
    size = FEW // np.dtype(dtype).itemsize + 1 + more
    array = np.ones(size, dtype)
    low, high = exact.limits(dtype)
    for place in (0, 5, PIECE - 1, PIECE, size - 1):
        other = (place + size // 2) % size
        array[place], array[other] = low, high
        assert extent(array) == extent(array, threads=3) == (low, high), place
        array[place] = array[other] = 1
    assert extent(array) == extent(array[::-1]) == (1, 1)


@pytest.mark.parametrize(
    ("least", "most", "outside", "expected"),
    [
        (-128, 127, 0, ("int8", "int8")),
        (-128, 127, 128, ("int16", "int8")),
        (0, 128, 0, ("uint8", "int8")),
        (0, 256, 0, ("int16", "int8")),
        (-1, 128, 0, ("int16", "int8")),
        (-(2**15), 2**15 - 1, 0, ("int16", "int8")),
        (0, 2**15, 0, ("int64", "int64")),
    ],
)
def test_both_operands_are_as_narrow_as_their_values(least: int, most: int, outside: int, expected: tuple[str, str]) -> None:
    spec = describe((1, 1, 9), (1, 1, 3), dtype="int64", padding=1, boundary=("constant", outside))
    extents = {"x": (least, most), "w": (-3, 5)}
    assert Narrow(spec, "auto", "default", "y").plan(extents).spec.dtypes[:2] == expected
    assert Integers(spec, "direct", "default", "y").plan(extents).spec.dtypes[:2] == ("int64", "int64")  # it reads what it is given


@able
@pytest.mark.parametrize("dtype", ["int16", "int32", "int64", "uint16", "uint32"])
def test_where_it_pays_bytes_in_wide_arrays_are_read_as_bytes(dtype: str) -> None:
    plan = jj.plan((1, 64, 28, 28), (64, 64, 3, 3), dtype=dtype, padding=1)
    found = plan.explain()
    assert found["algorithm"] in ("matrix", "dot_product")
    assert (found["dtypes"]["x"], found["dtypes"]["w"]) == (dtype, dtype)
    assert f"input   1×64×28×28 {dtype}" in str(plan)
    assert "read    as int8 and int8, " in str(plan)
    assert found["seconds"] > plan.least.seconds
    assert found["buffers"] == plan.least.buffers + 64 * 28 * 28 + 64 * 64 * 3 * 3


@able
def test_a_plan_with_weights_takes_arrays_of_any_numbers() -> None:
    rng = np.random.default_rng(0)
    w = rng.integers(-100, 100, (16, 64, 3, 3))
    plan = jj.plan((2, 64, 9, 11), w.shape, dtype="int64", padding=1)
    bound = plan.bind(w)
    for most in (100, 200, 30_000, 2**40, 100):
        x = rng.integers(-most, most, (2, 64, 9, 11))
        expected = reference.conv(describe(x.shape, w.shape, dtype="int64", padding=1), x, w)
        np.testing.assert_array_equal(bound(x), expected)
        np.testing.assert_array_equal(plan(x[:, :, ::-1], w), plan(np.ascontiguousarray(x[:, :, ::-1]), w))


@able
def test_what_does_not_belong_to_a_plan_is_refused_as_ever() -> None:
    plan = jj.plan((1, 64, 28, 28), (64, 64, 3, 3), dtype="int32", padding=1)
    x, w = np.zeros((1, 64, 28, 28), np.int32), np.zeros((64, 64, 3, 3), np.int32)
    with pytest.raises(DtypeError, match=r"x has dtype int64, but the plan is for int32"):
        plan(x.astype(np.int64), w)
    with pytest.raises(DtypeError, match=r"w has dtype int8, but the plan is for int32"):
        plan(x, w.astype(np.int8))
    with pytest.raises(ShapeError, match=r"x has shape \(1, 64, 28, 27\)"):
        plan(x[..., 1:], w)
    assert not plan(x.astype(">i4"), w.astype(">i4")).any()
