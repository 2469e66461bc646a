"""Running sums of integers against the definition, to the bit; quotients by products; sums of floats that become bytes."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

import juanji as jj
from juanji import machine as machines
from juanji import reference
from juanji.algorithms import box, running
from juanji.algorithms.problem import Problem
from juanji.algorithms.running import Running, quotient
from juanji.boundary import MODES, Boundary
from juanji.contraction import lower
from juanji.describe import describe, structured
from juanji.exact import limits
from juanji.jit.compile import assembly, compile_ir
from juanji.planner import plan_for
from juanji.spec import Convolution, Dtypes
from strategies import Array
from test_bits import same_bits
from test_codegen import ARM, VECTORS, called, machine_with, on
from test_separable import planned

TYPES = ("uint8", "uint8", "uint8", "int8", "uint16", "int16", "bool")
MOST_WORDS = 257  # taps of bytes whose sums fit into 16 bits


# Quotients --------------------------------------------------------------------------------------------------------------------


def stored(largest: int, weight: float, dtype: str = "float32") -> Array:
    """The bytes that the sums 0 … largest become."""
    numbers: Array = np.rint(np.arange(largest + 1).astype(dtype) * np.dtype(dtype).type(weight))
    return numbers


def assert_quotients(found: tuple[int, int, int], largest: int, weight: float) -> None:
    """The product of words, as they wrap, is what each sum is stored as."""
    times, more, bits = found
    sums = (np.arange(largest + 1) + more).astype(np.uint16).astype(np.uint32)
    np.testing.assert_array_equal((sums * np.uint32(times) >> 16).astype(np.uint16) >> bits, stored(largest, weight))


def test_means_of_an_odd_number_of_bytes_are_quotients() -> None:
    for taps in range(3, MOST_WORDS, 2):
        weight = float(np.float32(1 / taps))
        found = quotient(weight, 255 * taps, "float32")
        assert found is not None, taps
        assert_quotients(found, 255 * taps, weight)


@given(st.floats(2**-17, 0.5, width=32), st.integers(1, MOST_WORDS))
def test_quotients_of_any_weight(weight: float, taps: int) -> None:
    found = quotient(weight, 255 * taps, "float32")
    event("a quotient" if found else "none")
    if found is not None:
        assert_quotients(found, 255 * taps, weight)


@pytest.mark.parametrize("weight", [0.0, -0.25, np.nan, np.inf, 1.0, 0.75, 1e-30])
def test_weights_without_quotients(weight: float) -> None:
    assert quotient(weight, 255 * 9, "float32") is None


def test_ties_have_no_quotient() -> None:
    assert quotient(1 / 4, 4 * 255, "float32") is None
    picture = np.arange(256, dtype=np.uint8).reshape(16, 16).repeat(8, axis=1)
    exact = jj.image.filter(picture, np.full((2, 2), 0.25), dtype="float64")
    np.testing.assert_array_equal(jj.image.filter(picture, np.full((2, 2), 0.25)), np.rint(exact))


# Sums -------------------------------------------------------------------------------------------------------------------------


@st.composite
def members(draw: st.DrawFn) -> tuple[Convolution, Array]:
    """A box over integers that is summed as such, and its weights."""
    dtype = draw(st.sampled_from(TYPES))
    out = draw(st.sampled_from([dtype, "float32"]))
    n = draw(st.sampled_from([2, 2, 2, 3]))
    longest = draw(st.sampled_from([3, 9, 40])) if n == 2 else 4
    kernel = [draw(st.integers(1, longest)) for _ in range(n - 1)] + [draw(st.integers(2, longest))]
    size = [draw(st.integers(1, {2: 40, 3: 8}[n])) for _ in range(n - 1)] + [draw(st.integers(1, 400))]
    if n == 3 and draw(st.booleans()):  # interleaved colours
        kernel[-2:], size[-2:] = [kernel[-1], 1], [draw(st.integers(1, 120)), draw(st.integers(2, 4))]
    padding = [(draw(st.integers(0, k)), draw(st.integers(0, k))) for k in kernel]
    padding = [(low, max(high, k - s - low)) for (low, high), k, s in zip(padding, kernel, size, strict=True)]
    if kernel[-1] == 1:
        padding[-1] = (0, 0)
    least, most = limits(dtype)
    modes = [draw(st.sampled_from(sorted(MODES))) for _ in range(n)]
    spec = Convolution(
        size=tuple(size), kernel=tuple(kernel), stride=(1,) * n, dilation=(1,) * n, padding=tuple(padding),
        boundary=tuple(Boundary(m, float(draw(st.integers(least, most))) if m == "constant" else 0.0) for m in modes),
        batch=draw(st.integers(1, 2)), dtypes=Dtypes(dtype, "float32", "float32", out), equal=True,
    )  # fmt: skip
    assume(box.accepts(spec, "y") is None)  # axes that are merged may leave a dilated one before the last
    weight = draw(st.sampled_from([1 / np.prod(kernel), 1.0, 0.25, -0.3]))
    return spec, np.full(spec.w_shape, weight, np.float32)


def expected(spec: Convolution, x: Array, w: Array) -> Array:
    """Exact sums, times the weight in float32, as the output has them."""
    whole = dataclasses.replace(spec, dtypes=Dtypes(spec.dtypes.x, "int64", "int64", "int64"), equal=False)
    sums = reference.conv(whole, x, np.ones(spec.w_shape, np.int64))
    result: Array = sums.astype(np.float32) * w.flat[0] + np.float32(0)  # a sum that starts from 0 is never −0
    if spec.dtypes.y == "float32":
        return result
    least, most = limits(spec.dtypes.y)
    bounded: Array = np.clip(np.rint(result), least, most).astype(spec.dtypes.y)
    return bounded


@settings(max_examples=80)
@given(member=members(), number=st.integers(0, 9), small=st.booleans(), seed=st.integers(0, 999))
def test_sums_are_exact(member: tuple[Convolution, Array], number: int, small: bool, seed: int) -> None:
    spec, w = member
    machine = dataclasses.replace(machines.probe(), l1=512, l2=4096) if small else machines.probe()
    least, most = limits(spec.dtypes.x)
    x = np.random.default_rng(seed).integers(least, most, spec.x_shape, endpoint=True).astype(spec.dtypes.x)
    if seed % 4 == 0:
        x[...] = most
    plan = planned(spec, number, machine, "box")
    code = plan.program.code
    event(f"{getattr(code, 'window', 'floats')}, {getattr(code, 'narrow', 0) and 'narrow'}, {getattr(code, 'divides', False)}")
    assert isinstance(plan.schedule, Running)
    count = int(np.prod(spec.y_shape))
    out = np.empty(count + 16, spec.dtypes.y)[seed % 16 :][:count].reshape(spec.y_shape)
    assert same_bits(plan(x, w, out=out, threads=1 + seed % 3), expected(spec, x, w))


@pytest.mark.parametrize("vectors", VECTORS)
@pytest.mark.parametrize("size", [3, 5, 8, 9, 16, 17, 40])
def test_every_kind_of_vector(size: int, vectors: str) -> None:
    for shape, w_shape in (((1, 1, 50, 700), (1, 1, size, size)), ((1, 1, 50, 200, 3), (1, 1, size, size, 1))):
        spec = describe(shape, w_shape, dtype="uint8", w_dtype="float32", out_dtype="uint8", padding="same", boundary="reflect")
        spec = dataclasses.replace(spec, equal=True)
        x, w = np.random.default_rng(size).integers(0, 256, shape, np.uint8), np.full(w_shape, 1 / size**2, np.float32)
        assert same_bits(planned(spec, 0, machine_with(vectors), "box")(x, w), expected(spec, x, w))


@pytest.mark.parametrize("target", ["this machine", "aarch64", "avx2"])
@pytest.mark.parametrize("size", [4, 5, 9])
def test_kernels_are_freestanding(size: int, target: str) -> None:
    machine = on(ARM) if target == "aarch64" else machines.probe() if target == "this machine" else machine_with(target)
    spec = describe((1, 1, 50, 700), (1, 1, size, size), dtype="uint8", w_dtype="float32", out_dtype="uint8", padding="same")
    program = planned(dataclasses.replace(spec, equal=True), 0, machine, "box").program
    text: str = program.emit(program.code, machine.target)
    assert called(assembly(text, machine.target)) == set()
    assert 0 < len(compile_ir(text, machine.target)) < 32 << 10


def test_what_is_summed_as_floats() -> None:
    def schedule(dtype: str, taps: tuple[int, ...], **options: Any) -> object:
        spec = describe((1, 1, 900, 900), (1, 1, *taps), dtype=dtype, w_dtype="float32", **options)
        return plan_for(dataclasses.replace(spec, equal=True), "box").schedule

    assert isinstance(schedule("uint8", (5, 5)), Running)
    assert isinstance(schedule("uint8", (5, 5), boundary=("constant", 7), padding=2), Running)
    for refused in (schedule("uint8", (5, 5), boundary=("constant", 0.5), padding=2), schedule("float32", (5, 5)),
                    schedule("uint8", (5, 5), boundary=("constant", 256), padding=2), schedule("uint16", (200, 200))):  # fmt: skip
        assert isinstance(refused, box.Box)


def test_words_hold_the_largest_sums() -> None:
    longest = {"uint8": MOST_WORDS, "int8": 256, "bool": 65535}
    for dtype, taps, word in ((dtype, taps + more, word) for dtype, taps in longest.items() for more, word in ((0, "i16"), (1, "i32"))):
        spec = describe((1, 1, 1, 70_000), (1, 1, 1, taps), dtype=dtype, w_dtype="float32", out_dtype="float32")
        problem = Problem(lower(spec), spec.dtypes, spec.epilogue, machines.probe())
        assert running.accepts(problem)
        plan = planned(dataclasses.replace(spec, equal=True), 0, name="box")
        assert plan.program.code.window == word
        for end in limits(dtype):
            x = np.full(spec.x_shape, end, dtype)
            assert (plan(x, np.ones(spec.w_shape, np.float32)) == np.float32(int(end) * taps)).all()


# Floats that become bytes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "bool", "int8"])
@pytest.mark.parametrize("x_dtype", ["float32", "float64"])
def test_rows_of_sums_are_rounded_and_saturate(dtype: str, x_dtype: str) -> None:
    least, most = limits(dtype)
    special = [np.nan, np.inf, -np.inf, -0.5, -0.0, 0.5, 1.5, 2.5, most + 0.5, most - 0.5, most + 1, least - 0.5, 1e30, -1e30, 3e9, -3e9]
    x = np.resize(np.array(special + [i + 0.5 for i in range(37)], x_dtype), (3, 517))
    w = np.ones((1, 1), x_dtype)
    with np.errstate(invalid="ignore"):
        rounded = np.clip(np.rint(np.nan_to_num(x, nan=0.0)), least, most).astype(dtype)
    one = jj.conv(x[None, None], w[None, None], out_dtype=dtype)[0, 0]
    np.testing.assert_array_equal(one, rounded)
    spec = structured(describe((1, 1, 3, 517), (1, 1, 1, 1), dtype=x_dtype, out_dtype=dtype), w[None, None])
    passes = planned(dataclasses.replace(spec, rank=1), 0, name="separable")(x[None, None], w[None, None])[0, 0]
    np.testing.assert_array_equal(passes, rounded)
