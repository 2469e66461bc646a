"""Element types: exact integer sums in every carrier, half floats, complex numbers, what sums are rounded and cut to."""

import dataclasses
import itertools
import math
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from compiled import error_bound, planned, python, schedules
from juanji import complexes, exact, reference
from juanji import machine as machines
from juanji.boundary import Boundary
from juanji.contraction import execute, lower
from juanji.describe import describe
from juanji.errors import ArgumentError, DtypeError, NotBuiltError
from juanji.jit.compile import assembly, compile_ir
from juanji.kinds import plan_for
from juanji.machine import Machine
from juanji.plans import Plan
from juanji.spec import OVERFLOWS, Convolution, Dtypes, Epilogue
from strategies import Array, convolutions, operands
from test_bounds import Sides, strided
from test_codegen import ARM, VECTORS, called, emitted, machine_with, on

try:
    import ml_dtypes  # noqa: F401
except ImportError:
    HALVES = ["float16"]
else:
    HALVES = ["float16", "bfloat16"]
WITH_BFLOAT16 = pytest.mark.skipif(len(HALVES) < 2, reason="ml_dtypes is not installed")

INTEGERS = (*exact.SIGNED, *exact.UNSIGNED)
PAIRS = [(x, w) for x, w in itertools.product(INTEGERS, INTEGERS) if not ("uint64" in (x, w) and {x, w} & {*exact.SIGNED})]
SHAPES = convolutions(taps=True, epilogue=False, max_axes=2)


def whole(rng: np.random.Generator, shape: tuple[int, ...], dtype: str, bits: int) -> Array:
    """Random integers of a type with so many bits at most, its ends among them."""
    least, most = exact.limits(dtype)
    least, most = max(least, -(1 << bits)), min(most, (1 << bits) - 1)
    array: Array = rng.integers(least, most, shape, np.int64 if dtype == "bool" else dtype, endpoint=True).astype(dtype)
    if array.size:
        array.flat[rng.integers(array.size)] = least if rng.integers(2) else most
    return array


@dataclasses.dataclass(frozen=True)
class Job:
    """A description of integers with its carrier, a schedule of it, its arrays."""

    spec: Convolution
    carried: Convolution
    schedule: Any
    x: Array
    w: Array
    bias: Array | None


@st.composite
def integer_jobs(draw: st.DrawFn, machine: Machine) -> Job:
    """Any integer types in and out, any way of overflow, any carrier that holds the sums."""
    spec = draw(SHAPES)
    x_type, w_type = draw(st.sampled_from(PAIRS))
    spec = dataclasses.replace(
        spec,
        dtypes=Dtypes(x_type, w_type, "int64", draw(st.sampled_from(INTEGERS))),
        epilogue=Epilogue(draw(st.booleans()), draw(st.sampled_from((None, None, "relu", "relu6")))),
        overflow=draw(st.sampled_from(OVERFLOWS)),
    )
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    bits = draw(st.sampled_from((1, 3, 9, 12, 30, 64)))
    x, w = whole(rng, spec.x_shape, x_type, bits), whole(rng, spec.w_shape, w_type, bits)
    bias = whole(rng, spec.bias_shape, "int64", min(2 * bits, 63)) if spec.epilogue.bias else None
    if spec.taps is not None:
        kept = np.zeros(spec.kernel, bool)
        kept[tuple(np.transpose(spec.taps))] = True
        w = w * kept.reshape(*spec.kernel, *(1,) * {"OI*": 0, "*IO": 2, "O*I": 1}[spec.weight_layout])
    most = {"x": exact.magnitude(x), "w": exact.magnitude(w), "bias": 0 if bias is None else exact.magnitude(bias)}
    fastest = exact.carried(spec, **most).dtypes.sum
    names = [*exact.CARRIERS]
    carrier = draw(st.sampled_from(names[names.index(fastest) :][:3]))
    carried = dataclasses.replace(spec, dtypes=spec.dtypes._replace(sum=carrier))
    event(carrier)
    by_kind = schedules(carried, machine)
    schedule = draw(st.sampled_from(by_kind[draw(st.sampled_from(sorted(by_kind)))]))
    return Job(spec, carried, schedule, x, w, bias)


def refusal(spec: Convolution, *arrays: Array | None) -> str:
    """What the definition says of sums that do not fit; nothing if all do."""
    try:
        reference.conv(spec, *arrays)  # type: ignore[arg-type]
    except ArgumentError as error:
        return str(error)
    return ""


def check_integers(job: Job, y: Array) -> None:
    """y is what the definition gives, to the last bit; or it flags what the definition refuses."""
    assert y.dtype.name == job.spec.dtypes.y
    if job.spec.overflow != "raise":
        np.testing.assert_array_equal(y, reference.conv(job.spec, job.x, job.w, job.bias))
        return
    expected, found = refusal(job.spec, job.x, job.w, job.bias), ""
    try:
        exact.refuse(y, job.spec.dtypes.y)
    except ArgumentError as error:
        found = str(error)
    assert found == expected
    if expected:
        saturated = reference.conv(dataclasses.replace(job.spec, overflow="saturate"), job.x, job.w, job.bias)
        assert exact.doubtful(job.spec, saturated)


def test_integer_types() -> None:
    assert exact.limits("bool") == (0, 1)
    assert exact.limits("uint64") == (0, 2**64 - 1)
    assert exact.magnitude(np.array([True, False])) == 1
    assert exact.magnitude(np.array([-(2**63), 5])) == 2**63
    assert exact.magnitude(np.array([2**64 - 1], np.uint64)) == 2**64 - 1
    assert exact.magnitude(np.empty((0, 3), np.int8)) == 0


@settings(max_examples=60)
@given(data=st.data())
def test_integer_sums_are_exact(data: st.DataObject) -> None:
    job = data.draw(integer_jobs(machines.probe()))
    check_integers(job, planned(job.carried, job.schedule)(job.x, job.w, job.bias))


@pytest.mark.slow
@pytest.mark.parametrize("vectors", VECTORS)
@settings(max_examples=1500)
@given(data=st.data())
def test_integer_sums_are_exact_on_every_kind_of_vector(vectors: str, data: st.DataObject) -> None:
    machine = machine_with(vectors)
    job = data.draw(integer_jobs(machine))
    check_integers(job, planned(job.carried, job.schedule, machine)(job.x, job.w, job.bias))


# Carriers -------------------------------------------------------------------------------------------------------------------


@settings(max_examples=100)
@given(spec=convolutions(sites=True, taps=True, epilogue=False, max_axes=2), produces=st.sampled_from("xwy"))
def test_terms_are_counted(spec: Convolution, produces: str) -> None:
    contraction = lower(spec).producing(produces)
    shapes = {"x": spec.x_shape, "w": spec.w_shape, "y": spec.y_shape}
    spec = dataclasses.replace(spec, boundary=tuple(Boundary(b.mode, 1.0 if b.constant else 0.0) for b in spec.boundary))
    ones = {name: np.ones(shape, np.int64) for name, shape in shapes.items() if name != produces}
    assert execute(lower(spec).producing(produces), **ones).max() <= exact.terms(spec, produces)
    assert contraction.output == produces


def test_the_bound_is_met() -> None:
    # All of the largest: the middle sum is n·a·b + |bias|.
    spec = describe((1, 3, 5, 5), (2, 3, 3, 3), dtype="int8", padding=1, bias=True)
    x, w, bias = np.full(spec.x_shape, -128, np.int8), np.full(spec.w_shape, -128, np.int8), np.full(2, 7, np.int64)
    assert exact.bound(spec, bias=7) == reference.conv(spec, x, w, bias).max() == 27 * 128 * 128 + 7
    assert exact.bound(spec, x=0, w=5, bias=9) == 5 + 9
    outside = dataclasses.replace(spec, boundary=(Boundary("constant", -1000.0), Boundary()))
    assert exact.bound(outside, w=1, bias=0) == 27_000
    assert exact.bound(outside, "x", y=10, w=2, bias=7) == 18 * 10 * 2 + 7
    assert exact.bound(outside, "w", y=10) == 25 * 10 * 1000


@pytest.mark.parametrize(
    ("x", "w", "count", "overflow", "expected"),
    [
        ("int8", "int8", 1024, "saturate", "float32"),
        ("int8", "int8", 1025, "saturate", "float64"),
        ("bool", "bool", 2**20, "saturate", "float32"),
        ("int16", "int16", 100, "saturate", "float64"),
        ("int32", "int32", 1, "saturate", "int64"),
        ("int32", "int32", 2, "saturate", "int128"),
        ("int32", "int32", 2, "wrap", "int64"),
        ("int64", "int64", 1, "saturate", "int128"),
        ("int64", "int64", 2, "saturate", "int256"),
        ("uint64", "uint64", 1, "saturate", "int256"),
        ("uint64", "uint64", 9, "wrap", "int64"),
    ],
)
def test_types_alone_choose_a_carrier(x: str, w: str, count: int, overflow: str, expected: str) -> None:
    spec = describe((1, 1, count), (1, 1, count), dtype=x, w_dtype=w, overflow=overflow)
    assert exact.carried(spec).dtypes == Dtypes(x, w, expected, "int64")


def test_sums_that_wrap_but_need_their_sign() -> None:
    spec = describe((1, 1, 9), (1, 1, 9), dtype="int64", overflow="wrap", activation="relu")
    assert exact.carried(spec).dtypes.sum == "int256"
    assert exact.carried(describe((1, 1, 9), (1, 1, 9))) == describe((1, 1, 9), (1, 1, 9))


@pytest.mark.parametrize("carrier", exact.CARRIERS)
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_carriers_hold_what_they_say(carrier: str, layout: str) -> None:
    # The largest sums that a carrier holds, and their neighbours, come out of every kind of schedule as they are.
    reach = min(exact.CARRIERS[carrier], 2**63 - 1)
    spec = describe((1, 19, 1) if layout == "channels_last" else (1, 1, 19), (2, 1, 1) if layout == "channels_last" else (1, 1, 2),
                    dtype="int64", layout=layout, bias=True)  # fmt: skip
    sums = np.array([reach, reach - 1, reach - 2, 1 - reach, -reach, 0] * 3 + [reach], np.int64)
    x, bias = sums.reshape(spec.x_shape), np.array([0])
    carried = dataclasses.replace(spec, dtypes=spec.dtypes._replace(sum=carrier))
    for w in (np.array([1, 0]), np.array([0, -1])):
        w = w.reshape(spec.w_shape)
        for found in schedules(carried).values():
            y = planned(carried, found[-1])(x, w, bias)
            np.testing.assert_array_equal(y, reference.conv(spec, x, w, bias))


def test_sums_of_several_words() -> None:
    # Products of 64 bits each that leave 128, and come back.
    ends = [2**63 - 1, -(2**63)]
    for dtype in ("int64", "uint64"):
        x = np.array([ends[k % 2] if dtype == "int64" else 2**64 - 1 - k for k in range(40)], dtype).reshape(1, 1, 40)
        w = np.array([ends[k // 2 % 2] if dtype == "int64" else 2**64 - 1 - k for k in range(8)], dtype).reshape(2, 1, 4)
        for out, overflow in itertools.product(("int64", "uint64", "int8"), ("saturate", "wrap")):
            spec = describe(x.shape, w.shape, dtype=dtype, out_dtype=out, overflow=overflow, padding=2)
            carried = exact.carried(spec)
            assert carried.dtypes.sum == ("int256" if overflow == "saturate" else "int64")
            for found in schedules(carried).values():
                np.testing.assert_array_equal(planned(carried, found[-1])(x, w), reference.conv(spec, x, w))


# Overflow -------------------------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_told() -> None:
    # 383 saturates to 127 and wraps to 127: a look at both would not tell.
    spec = describe((1, 1, 4), (1, 1, 1), dtype="int16", out_dtype="int8", overflow="raise")
    x, w = np.array([[[1, 127, 383, -500]]], np.int16), np.ones((1, 1, 1), np.int16)
    flags = planned(exact.carried(spec), schedules(exact.carried(spec)).popitem()[1][0])(x, w)
    assert flags.tolist() == [[[0, 0, 1, 1]]]
    with pytest.raises(ArgumentError, match=r"^sum at \(0, 0, 2\) does not fit out_dtype \(=int8\), and overflow is 'raise'$"):
        exact.refuse(flags, "int8")
    exact.refuse(flags[..., :2], "int8")
    assert not exact.doubtful(spec, np.array([1, 126, -127], np.int8))
    assert exact.doubtful(spec, np.array([1, 127], np.int8))
    assert not exact.fits(spec, exact.bound(spec))
    assert exact.fits(spec, 127)
    assert not exact.fits(dataclasses.replace(spec, dtypes=Dtypes(y="int8")), 127)


NUMBERS = [0.0, -0.0, 0.5, 1.5, 2.5, -0.5, -0.51, -1.5, -2.5, 126.5, 127.5, -128.5, -128.51, 254.5, 255.5, 32767.5, -32768.5, 65535.5]
NUMBERS += [sign * 2.0**power * (1 + lean) for sign in (1, -1) for power in (7, 8, 15, 16, 31, 32, 62, 63, 64, 65, 100, 127)
            for lean in (0, -(2.0**-24), 2.0**-23, -(2.0**-53), 2.0**-52, -(2.0**-12))]  # fmt: skip
NUMBERS += [np.inf, -np.inf, np.nan, 1e300, -1e300]


def through(numbers: Array, x: str, y: str, total: str, overflow: str = "saturate", machine: Machine | None = None) -> Array:
    """Numbers as sums of one product, stored as y."""
    spec = dataclasses.replace(describe((1, 1, numbers.size), (1, 1, 1)), dtypes=Dtypes(x, total, total, y), overflow=overflow)
    schedule = schedules(spec, machine)["Space features_inside"][-1]
    out: Array = planned(spec, schedule, machine)(numbers.astype(x).reshape(spec.x_shape), np.ones((1, 1, 1), total))
    expected = refusal(spec, numbers.astype(x).reshape(spec.x_shape), np.ones((1, 1, 1))) if overflow == "raise" else ""
    if overflow == "raise":
        assert bool(expected) == bool(out.any())
    else:
        wanted = reference.conv(spec, numbers.astype(x).reshape(spec.x_shape), np.ones((1, 1, 1)))
        assert out.dtype == wanted.dtype
        if y == "bfloat16":  # whose NaNs NumPy's comparison does not know
            np.testing.assert_array_equal(out.astype(np.float32), wanted.astype(np.float32))
        else:
            np.testing.assert_array_equal(out, wanted)
    return out.reshape(-1)


@pytest.mark.parametrize("vectors", ["avx2", "avx512"])
@pytest.mark.parametrize("total", ["float32", "float64"])
def test_floats_are_rounded_to_integers(total: str, vectors: str) -> None:
    machine = machine_with(vectors)
    with np.errstate(over="ignore"):
        numbers = np.array(NUMBERS).astype(total)
    for y, overflow in itertools.product(INTEGERS, ("saturate", "wrap")):
        through(numbers, total, y, total, overflow, machine)
    for y in ("uint8", "int64", "uint64"):
        flags = through(numbers, total, y, total, "raise", machine)
        rounded, (least, most) = np.rint(numbers.astype(np.float64)), exact.limits(y)
        assert flags.tolist() == [int(not (math.isfinite(v) and least <= int(v) <= most)) for v in rounded.tolist()]


# Half floats ----------------------------------------------------------------------------------------------------------------


def half_numbers(half: str) -> Array:
    """Every half float there is; of the NaNs the quiet ones, because NumPy warns of others."""
    bits = np.arange(65536, dtype=np.uint16)
    exponent, quiet = (0x7F80, 0x40) if half == "bfloat16" else (0x7C00, 0x200)
    least = bits & 0x7FFF
    numbers: Array = bits[(least <= exponent) | (bits & quiet != 0)].view(half)
    return numbers


@pytest.mark.parametrize("vectors", ["avx2", "avx512"])
@pytest.mark.parametrize("half", HALVES)
def test_every_half_float_comes_and_goes(half: str, vectors: str) -> None:
    machine = machine_with(vectors)
    numbers = half_numbers(half)
    for total in ("float32", "float64"):
        through(numbers, half, total, total, machine=machine)
        y = through(numbers, half, half, total, machine=machine)
        assert y.dtype == numbers.dtype


def close_to_ties(half: str, total: str) -> Array:
    """The half floats, the middles between neighbours, and what lies a last bit beside those."""
    numbers = half_numbers(half).astype(np.float64)
    finite = np.sort(numbers[np.isfinite(numbers)])
    middles = ((finite[1:] + finite[:-1]) / 2).astype(total)
    largest = finite[-1] + (finite[-1] - finite[-2]) / 2  # from here on stands infinity
    ends = np.array([largest, -largest, np.inf, -np.inf, np.nan, np.finfo(total).max, np.finfo(total).smallest_subnormal], total)
    all_of_them = np.concatenate([finite.astype(total), middles, ends])
    with np.errstate(over="ignore", under="ignore"):
        return np.concatenate([all_of_them, *(np.nextafter(all_of_them, total_of(total, end)) for end in (np.inf, -np.inf))])


def total_of(total: str, number: float) -> Any:
    """A scalar of a type."""
    return np.dtype(total).type(number)


@pytest.mark.parametrize("vectors", ["avx2", "avx512"])
@pytest.mark.parametrize("total", ["float32", "float64"])
@pytest.mark.parametrize("half", HALVES)
def test_sums_are_rounded_once_to_half_floats(half: str, total: str, vectors: str) -> None:
    numbers = close_to_ties(half, total)
    y = through(numbers, total, half, total, machine=machine_with(vectors))
    sign = np.signbit(y.astype(np.float64)) == np.signbit(numbers)
    assert sign[(numbers < 0) | (numbers > 0)].all()


FLOATS = [
    *((half, half, "float32", y) for half in HALVES for y in (half, "float32")),
    ("float16", "float32", "float32", "float16"),
    ("float16", "float64", "float64", "float64"),
    ("float64", "float64", "float64", "float16"),
    ("float32", "float32", "float64", "float64"),
    ("float32", "float32", "float32", "float16"),
    ("int8", "float16", "float32", "float16"),
    ("int32", "float32", "float64", "float64"),
    ("int64", "float64", "float64", "float32"),
    ("uint64", "float64", "float64", "float64"),
    ("uint32", "float64", "float64", "float64"),
    ("float32", "int8", "float32", "float32"),
    ("int16", "int16", "float64", "float32"),
    ("uint32", "bool", "float64", "float64"),
    ("float32", "float32", "float32", "int16"),
    ("float64", "float64", "float64", "uint32"),
]


def numbers_of(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    """Random numbers of any type."""
    return whole(rng, shape, dtype, 63) if dtype in INTEGERS else rng.standard_normal(shape).astype(dtype)


@settings(max_examples=60)
@given(spec=convolutions(taps=False), dtypes=st.sampled_from(FLOATS), data=st.data())
def test_float_sums_of_all_types(spec: Convolution, dtypes: tuple[str, str, str, str], data: st.DataObject) -> None:
    spec = dataclasses.replace(spec, dtypes=Dtypes(*dtypes))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x, w = numbers_of(rng, spec.x_shape, dtypes[0]), numbers_of(rng, spec.w_shape, dtypes[1])
    bias = rng.standard_normal(spec.bias_shape).astype(dtypes[2]) if spec.epilogue.bias else None
    by_kind = schedules(spec)
    schedule = data.draw(st.sampled_from(by_kind[data.draw(st.sampled_from(sorted(by_kind)))]))
    y = planned(spec, schedule)(x, w, bias)
    wide = dataclasses.replace(spec, dtypes=spec.dtypes._replace(y="float64"))
    expected = reference.conv(wide, x, w, bias)
    bound = error_bound(wide, x, w, bias, expected)
    # Rounding is monotonic: the stored number lies between those of the ends of what the sum may be.
    low, high = (reference.stored(end, np.dtype(dtypes[3]), spec.overflow) for end in (expected - bound, expected + bound))
    assert y.dtype == low.dtype
    assert ((low <= y) & (y <= high)).all()


# Complex --------------------------------------------------------------------------------------------------------------------

COMPLEX = st.builds(
    lambda spec, dtypes: dataclasses.replace(spec, dtypes=Dtypes(*dtypes)),
    convolutions(sites=True, taps=True, epilogue=False, max_axes=2),
    st.sampled_from((
        ("complex128",) * 4, ("complex128", "float64", "complex128", "complex128"), ("float64", "complex128", "complex128", "complex128"),
    )),
)  # fmt: skip


def small(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    """Small integers, real and imaginary, whose sums are exact."""
    array: Array = rng.integers(-4, 4, shape, endpoint=True).astype(dtype)
    if np.dtype(dtype).kind == "c":
        array += 1j * rng.integers(-4, 4, shape, endpoint=True)
    return array


@settings(max_examples=100)
@given(spec=COMPLEX, seed=st.integers(0, 99), bias=st.booleans())
def test_complex_sums_are_real_ones(spec: Convolution, seed: int, bias: bool) -> None:
    rng = np.random.default_rng(seed)
    spec = dataclasses.replace(spec, epilogue=Epilogue(bias))
    x, w = small(rng, spec.x_shape, spec.dtypes.x), small(rng, spec.w_shape, spec.dtypes.w)
    if spec.taps is not None:
        kept = np.zeros(spec.kernel, bool)
        kept[tuple(np.transpose(spec.taps))] = True
        w *= kept.reshape(*spec.kernel, *(1,) * {"OI*": 0, "*IO": 2, "O*I": 1}[spec.weight_layout])
    b = small(rng, spec.bias_shape, "complex128") if bias else None
    dy = small(rng, spec.y_shape, "complex128")
    contraction = lower(spec)

    problem = complexes.real(spec)
    assert problem.dtypes == Dtypes(*["float64"] * 4)
    assert problem.channels == (2 * spec.channels if spec.dtypes.x == "complex128" else spec.channels)
    y = reference.conv(problem, complexes.real_x(spec, x), complexes.real_w(spec, w), None if b is None else complexes.real_bias(spec, b))
    np.testing.assert_array_equal(complexes.complex_channels(spec, y), reference.conv(spec, x, w, b))

    to_w = complexes.real(spec, "w")
    dw = execute(lower(to_w).producing("w"), x=complexes.real_x(spec, x), y=complexes.real_channels(spec, dy))
    np.testing.assert_array_equal(complexes.complex_w(spec, dw), execute(contraction.producing("w"), x=x, y=dy))

    to_x = complexes.real(spec, "x")
    dx = execute(lower(to_x).producing("x"), w=complexes.real_w(spec, w, "x"), y=complexes.real_channels(spec, dy))
    np.testing.assert_array_equal(complexes.complex_channels(spec, dx), execute(contraction.producing("x"), w=w, y=dy))


def test_complex_arrays_are_views_where_they_can_be() -> None:
    spec = describe((2, 5, 6, 3), (3, 3, 3, 4), dtype="complex64", layout="channels_last")
    x = np.ones(spec.x_shape, np.complex64)
    assert np.shares_memory(complexes.real_x(spec, x), x)
    assert np.shares_memory(complexes.real_x(spec, x[:, ::2, ::-1]), x)
    y = np.ones((2, 3, 4, 8), np.float32)
    assert np.shares_memory(complexes.complex_channels(spec, y), y)
    assert complexes.complex_channels(spec, y).dtype == np.complex64
    for view in (x[..., ::2], x[..., ::-1]):
        np.testing.assert_array_equal(complexes.real_channels(spec, view).view(np.complex64), view)


@pytest.mark.parametrize("product", ["y", "x", "w"])
def test_complex_arrays_of_one_channel_are_views(product: str) -> None:
    rng = np.random.default_rng(5)
    spec = describe((2, 1, 9, 21), (1, 1, 3, 3), dtype="complex64", padding=1)
    arrays = {name: small(rng, shape, "complex64") for name, shape in (("x", spec.x_shape), ("w", spec.w_shape), ("y", spec.y_shape))}
    for array in (arrays["x"], arrays["x"][:, :, ::2, ::-1]):
        assert np.shares_memory(complexes.real_channels(spec, array), array) == (array.strides[-1] > 0)
    first, second = {"y": ("x", "w"), "x": ("y", "w"), "w": ("x", "y")}[product]
    expected = execute(lower(spec).producing(product), **{first: arrays[first], second: arrays[second]})
    for out in (np.zeros_like(expected), np.zeros((*expected.shape, 2), "complex64")[..., 0]):  # in one piece, and with gaps
        assert plan_for(spec, produces=product)(arrays[first], arrays[second], out=out) is out
        np.testing.assert_array_equal(out, expected)
        assert out.shape == expected.shape


def test_a_complex_layer_through_compiled_code() -> None:
    rng = np.random.default_rng(3)
    for layout in ("channels_first", "channels_last"):
        x_shape, w_shape = ((2, 4, 9, 21), (6, 2, 3, 3)) if layout == "channels_first" else ((2, 9, 21, 4), (3, 3, 2, 6))
        spec = describe(x_shape, w_shape, dtype="complex64", groups=2, padding=1, boundary=("constant", 2), layout=layout)
        x, w = small(rng, spec.x_shape, "complex64"), small(rng, spec.w_shape, "complex64")
        problem = complexes.real(spec)
        for found in schedules(problem).values():
            y = planned(problem, found[0])(complexes.real_x(spec, x), complexes.real_w(spec, w))
            np.testing.assert_array_equal(complexes.complex_channels(spec, y), reference.conv(spec, x, w))


# The door -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "w", "out", "expected"),
    [
        ("int8", "int8", None, ("int64", "int64")),
        ("bool", "bool", None, ("int64", "int64")),
        ("uint64", "uint8", "uint16", ("int64", "uint16")),
        ("int16", "uint32", "bool", ("int64", "bool")),
        ("int16", "int16", "float32", ("float64", "float32")),
        ("int32", "float32", None, ("float64", "float64")),
        ("int8", "float16", None, ("float32", "float16")),
        ("float16", "float16", None, ("float32", "float16")),
        ("float16", "float16", "float64", ("float64", "float64")),
        ("float32", "float32", "float64", ("float64", "float64")),
        ("float64", "float32", "float16", ("float64", "float16")),
        ("float32", "float32", "int64", ("float32", "int64")),
        ("uint8", "float32", "uint8", ("float32", "uint8")),
        ("complex64", "float32", None, ("complex64", "complex64")),
        ("complex64", "complex64", "complex128", ("complex128", "complex128")),
        ("int64", "complex64", "complex64", ("complex128", "complex64")),
        pytest.param("bfloat16", "bfloat16", None, ("float32", "bfloat16"), marks=WITH_BFLOAT16),
        pytest.param("bfloat16", "int8", "float32", ("float32", "float32"), marks=WITH_BFLOAT16),
        pytest.param("bfloat16", "float64", None, ("float64", "float64"), marks=WITH_BFLOAT16),
    ],
)
def test_types_of_sums_and_outputs(x: str, w: str, out: str | None, expected: tuple[str, str]) -> None:
    assert describe((1, 1, 5), (1, 1, 3), dtype=x, w_dtype=w, out_dtype=out).dtypes == Dtypes(x, w, *expected)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"dtype": "uint64", "w_dtype": "int8"}, DtypeError, "no integer type holds both uint64 and negative numbers; convert one of them"),
        ({"dtype": "complex64", "out_dtype": "float32"}, DtypeError, "out_dtype (=float32) is real, but x of complex64 with w of"),
        ({"out_dtype": "complex64"}, DtypeError, "out_dtype (=complex64) is complex, but x of float32 with w of float32 gives real sums"),
        ({"dtype": "longdouble"}, NotBuiltError, f"x of {np.dtype('longdouble').name} is not built yet"),
        ({"dtype": "float32", "w_dtype": "clongdouble"}, NotBuiltError, f"w of {np.dtype('clongdouble').name} is not built yet"),
        ({"dtype": "int8", "activation": "tanh"}, DtypeError, "activation (='tanh') of an integer sum is no integer; give a float"),
        ({"dtype": "complex64", "activation": "relu"}, DtypeError, "activation (='relu') must be None for complex sums"),
        ({"dtype": "int8", "boundary": ("constant", 2.5)}, ArgumentError, "must be an integer of 64 bits, because x and w are integers"),
        ({"dtype": "int8", "boundary": ("constant", np.inf)}, ArgumentError, "must be an integer of 64 bits"),
        ({"dtype": "int8", "boundary": ("constant", 2.0**63)}, ArgumentError, "must be an integer of 64 bits"),
    ],
)  # fmt: skip
def test_types_that_do_not_go_together(arguments: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind) as raised:
        describe((1, 1, 5), (1, 1, 3), **arguments)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@WITH_BFLOAT16
def test_bfloat16_has_no_common_type_with_long_integers() -> None:
    with pytest.raises(DtypeError, match="x of bfloat16 and w of int32 have no common type; convert one of them"):
        describe((1, 1, 5), (1, 1, 3), dtype="bfloat16", w_dtype="int32")


def test_activations_of_integers_in_float() -> None:
    spec = describe((1, 1, 5), (1, 1, 3), dtype="int8", out_dtype="float32", activation="sigmoid")
    assert spec.dtypes == Dtypes("int8", "int8", "float64", "float32")
    x, w = np.array([[[1, -2, 3, 4, 5]]], np.int8), np.ones((1, 1, 3), np.int8)
    y = planned(spec, schedules(spec)["Space features_inside"][0])(x, w)
    np.testing.assert_allclose(y, reference.conv(spec, x, w), rtol=1e-6)


# Memory and code ------------------------------------------------------------------------------------------------------------

KINDS = [
    Dtypes("int8", "int8", "float32", "int64"), Dtypes("uint16", "int16", "float64", "uint8"), Dtypes("int64", "int64", "float32", "int64"),
    Dtypes("int64", "int64", "int64", "int64"), Dtypes("int32", "int32", "int128", "int64"), Dtypes("uint64", "uint64", "int256", "uint64"),
    Dtypes("bool", "bool", "float32", "bool"), Dtypes("float16", "float16", "float32", "float16"),
    Dtypes("bfloat16", "bfloat16", "float32", "bfloat16"), Dtypes("float64", "float64", "float64", "float16"),
    Dtypes("float64", "float64", "float64", "bfloat16"), Dtypes("float16", "float64", "float64", "float64"),
    Dtypes("float32", "float32", "float32", "int64"), Dtypes("float64", "float64", "float64", "uint64"),
    Dtypes("uint64", "float64", "float64", "uint32"), Dtypes("float32", "float32", "float32", "int32"),
]  # fmt: skip
CAN_RUN = [dtypes for dtypes in KINDS if len(HALVES) == 2 or "bfloat16" not in dtypes]
FORMS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "picture": ((1, 1, 20, 90), (1, 1, 3, 3), {"padding": 1}),
    "stride": ((1, 2, 20, 90), (3, 2, 3, 3), {"stride": 2, "padding": 1}),
    "dense": ((1, 16, 7, 19), (24, 16, 3, 3), {"padding": 1, "activation": "relu"}),
    "dense, channels last": ((1, 7, 19, 16), (3, 3, 16, 24), {"padding": 1, "layout": "channels_last"}),
    "depthwise": ((1, 7, 19, 24), (3, 3, 1, 24), {"groups": 24, "layout": "channels_last"}),
}


def compiled_for(dtypes: Dtypes, target: str, forms: int) -> Iterator[tuple[Plan, str]]:
    """Plans of some forms of layers and ways of overflow, and their IR."""
    machine = on(ARM) if target == "aarch64" else machine_with(target)
    turn = CAN_RUN.index(dtypes)
    for number in range(turn, turn + forms):
        x, w, arguments = [*FORMS.values()][number % len(FORMS)]
        spec = dataclasses.replace(describe(x, w, **arguments), dtypes=dtypes, overflow=OVERFLOWS[number % len(OVERFLOWS)])
        found = [*schedules(spec, machine).values()][-1]
        plan = planned(spec, found[len(found) // 2], machine)
        yield plan, emitted(plan)


@pytest.mark.parametrize("target", ["avx2", "avx512", "aarch64"])
@pytest.mark.parametrize("dtypes", CAN_RUN, ids="-".join)
def test_code_wants_nothing_from_outside(dtypes: Dtypes, target: str) -> None:
    for plan, text in compiled_for(dtypes, target, 2):
        assert 0 < len(compile_ir(text, plan.machine.target)) < 64 << 10  # a name from outside raises


@pytest.mark.slow
@pytest.mark.parametrize("target", ["avx2", "avx512", "aarch64"])
@pytest.mark.parametrize("dtypes", CAN_RUN, ids="-".join)
def test_code_calls_nothing(dtypes: Dtypes, target: str) -> None:
    for plan, text in compiled_for(dtypes, target, len(FORMS) * len(OVERFLOWS)):
        assert called(assembly(text, plan.machine.target)) == set(), str(plan.schedule)


def guarded_batch(vectors: str, examples: int) -> None:
    """Random types, schedules, places and views between protected pages; a fault ends the process."""
    from guarded import beside, guarded, scratch
    from juanji import run

    machine = machine_with(vectors)

    @settings(max_examples=examples, deadline=None, database=None)
    @given(data=st.data(), sides=st.builds(Sides, *[st.booleans()] * 5))
    def draw(data: st.DataObject, sides: Sides) -> None:
        job = data.draw(integer_jobs(machine))
        if data.draw(st.booleans()):
            dtypes = data.draw(st.sampled_from(CAN_RUN))
            spec = dataclasses.replace(data.draw(convolutions(epilogue=False)), dtypes=dtypes)
            by_kind = schedules(spec, machine)
            schedule = data.draw(st.sampled_from(by_kind[data.draw(st.sampled_from(sorted(by_kind)))]))
            x, w, _ = operands(dataclasses.replace(spec, dtypes=Dtypes()), integers=True)
            job = Job(spec, spec, schedule, abs(x).astype(dtypes.x), abs(w).astype(dtypes.w), None)
        print(job, sides, flush=True)
        strides = data.draw(strided(job.spec.x_shape, job.x.dtype.itemsize))
        x_at = guarded(job.x.shape, job.x.dtype, sides.x, strides)
        x_at[...] = job.x
        plan = planned(job.carried, job.schedule, machine)
        (part,), program = plan.parts, plan.program
        part.program = dataclasses.replace(
            program,
            pack_weights=lambda array: beside(program.pack_weights(array), sides.w),
            pack_bias=lambda array: beside(program.pack_bias(array), sides.bias),
        )
        type(run._thread).scratch = lambda self, size: scratch(size, sides.scratch)  # type: ignore[method-assign,assignment,return-value]
        y = guarded(job.spec.y_shape, job.spec.dtypes.y, sides.y)
        plan(x_at, job.w, job.bias, out=y, threads=1)
        if job.spec is not job.carried:
            check_integers(job, y)
        elif job.spec.dtypes.sum in exact.CARRIERS:
            whole_sums = dataclasses.replace(job.spec, dtypes=job.spec.dtypes._replace(sum="int64"))
            np.testing.assert_array_equal(y, reference.conv(whole_sums, job.x, job.w))

    draw()


def guard(vectors: str, examples: int) -> None:
    ended = python(f"import test_dtypes; test_dtypes.guarded_batch({vectors!r}, {examples})", timeout=500)
    if ended.returncode:
        how = f"signal {signal.Signals(-ended.returncode).name}" if ended.returncode < 0 else f"status {ended.returncode}"
        pytest.fail(f"{how}, computing\n{ended.stdout[-2500:]}\n{ended.stderr[-4000:]}")


@pytest.mark.parametrize("vectors", ["avx2", "avx512"])
def test_no_byte_outside_the_arrays(vectors: str) -> None:
    machine_with(vectors)
    guard(vectors, 40)


@pytest.mark.slow
@pytest.mark.parametrize("vectors", VECTORS)
def test_no_byte_outside_the_arrays_many_times(vectors: str) -> None:
    machine_with(vectors)
    guard(vectors, 600)
