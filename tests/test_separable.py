"""Separable, low-rank and equal kernels against the definition: any schedule of any description, errors, bits, memory, choices."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

import juanji as jj
from compiled import counted
from guarded import beside, guarded, scratch
from juanji import machine as machines
from juanji import reference, run
from juanji.boundary import MODES, Boundary
from juanji.describe import describe, structured
from juanji.errors import ArgumentError, NotBuiltError
from juanji.factors import factors, structure
from juanji.image import kernels
from juanji.jit.compile import assembly, compile_ir
from juanji.machine import Machine
from juanji.planner import ALGORITHMS, plan_for
from juanji.plans import Plan
from juanji.spec import ACTIVATIONS, LAYOUTS, WEIGHT_LAYOUTS, Convolution, Dtypes, Epilogue, span
from strategies import Array
from test_bits import same_bits
from test_bounds import Sides, batch
from test_codegen import ARM, VECTORS, called, machine_with, on

DTYPES = (
    Dtypes(), Dtypes(), Dtypes(*["float64"] * 4), Dtypes("uint8", "float32", "float32", "uint8"),
    Dtypes("uint16", "float32", "float32", "uint16"), Dtypes("float16", "float16", "float32", "float16"),
    Dtypes("float32", "float32", "float64", "float64"),
)  # fmt: skip
INTEGERS = (Dtypes("uint8", "int8", "float32", "int64"), Dtypes("int16", "int16", "float64", "int16"))
LENGTHS = {1: 90, 2: 40, 3: 12, 4: 6}  # of an axis, by how many there are


# Kernels ------------------------------------------------------------------------------------------------------------------------


def outer(vectors: list[Array]) -> Array:
    """Their outer product."""
    product: Array = np.ones(())
    for vector in vectors:
        product = np.multiply.outer(product, vector)
    return product


def test_named_kernels_have_the_ranks_that_the_books_say() -> None:
    first, second = ("mean", "gaussian", "sobel_x", "prewitt_y", "scharr_x", "identity"), ("laplacian", "sharpen", "unsharp")
    for name, rank in {**dict.fromkeys(first, 1), **dict.fromkeys(second, 2)}.items():
        for dtype in ("float32", "float64"):
            assert structure(kernels.get(name).astype(dtype), dtype).rank == rank, name
    assert structure(kernels.mean(5), "float64").equal
    assert not structure(kernels.gaussian(), "float64").equal


@pytest.mark.parametrize("sigma", [0.6, 1.0, 2.3, 5.0, 8.0])
@pytest.mark.parametrize("n", [2, 3])
def test_gaussians_are_of_rank_1(sigma: float, n: int) -> None:
    radius = int(4 * sigma + 0.5)
    row = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    whole = np.exp(sum(np.meshgrid(*[np.log(row / row.sum())] * n, indexing="ij")))  # each weight rounded by itself
    for dtype in ("float32", "float64"):
        for w in (outer([row / row.sum()] * n).astype(dtype), *([whole.astype(dtype)] if dtype == "float32" else [])):
            found = factors(w, 1, dtype)
            assert found is not None
            off = np.abs(outer([v.astype(np.float64) for v in found[0]]) / w - 1).max()
            assert off <= 4 * n * np.finfo(dtype).eps


@given(st.data())
def test_factors_of_integers_are_exact(data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 4))
    vectors = [np.array(data.draw(st.lists(st.integers(-9, 9), min_size=1, max_size=6))) for _ in range(n)]
    w = outer(vectors) * data.draw(st.sampled_from([1.0, 0.125, 77 / 1024]))
    found = factors(w, 1, "float64") if w.any() else None
    if w.any():
        assert found is not None
        np.testing.assert_array_equal(outer(list(found[0])), w)
        assert all((v == np.rint(v)).all() for v in [v for v in found[0] if v.size > 1][1:])


@given(st.integers(1, 4), st.integers(4, 20), st.integers(4, 20), st.integers(0, 99))
def test_terms_add_up(rank: int, rows: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((rows, rank)) @ rng.standard_normal((rank, columns))
    found = structure(w, "float32").rank
    assert found is not None
    assert found <= rank
    terms = factors(w, found, "float32")
    assert terms is not None
    np.testing.assert_allclose(sum(outer([v.astype(np.float64) for v in t]) for t in terms), w, atol=1e-6 * np.abs(w).max())


def test_what_has_no_structure() -> None:
    rng = np.random.default_rng(0)
    assert structure(rng.random((9, 9)), "float32").rank is None
    assert structure(rng.random(9), "float32") == (None, False)
    assert structure(np.zeros((3, 3)), "float32") == (None, False)
    assert structure(np.full((3, 3), np.nan), "float32") == (None, False)
    assert structure(np.ones((1, 7)), "float32") == (None, True)
    assert structure(kernels.gaussian().astype("float32"), "float64").rank != 1  # to the sums of float64 its roundings matter
    assert structure(np.array([[1, 2], [2, 5]]), "int64").rank is None  # of integers there is one term, or none


# Any member of the family that is accepted --------------------------------------------------------------------------------------


@st.composite
def members(draw: st.DrawFn, ranks: tuple[int, ...] = (1, 1, 1, 2, 3)) -> tuple[Convolution, Array]:
    """A description and a kernel of its rank."""
    rank = draw(st.sampled_from(ranks))
    n = draw(st.sampled_from([2, 2, 3] if rank > 1 else [2, 2, 2, 3, 4]))
    longest = {2: 12, 3: 4, 4: 3}[n]
    kernel = [draw(st.integers(1, longest)) for _ in range(n)]
    if rank > 1:  # over the last two axes
        kernel = [*[1] * (n - 2), *(draw(st.integers(rank, longest)) for _ in range(2))]
    dilation = [draw(st.sampled_from([1, 1, 2, 3])) for _ in range(n)]
    size = [draw(st.integers(1, LENGTHS[n])) for _ in range(n)]
    if draw(st.booleans()):
        size[-1] = draw(st.integers(1, 150 if n > 2 else 500))
    padding = [(draw(st.integers(0, k + 1)), draw(st.integers(0, k + 1))) for k in kernel]
    padding = [
        (low, max(high, span(k, d) - s - low)) for (low, high), k, d, s in zip(padding, kernel, dilation, size, strict=True)
    ]
    modes = [draw(st.sampled_from(sorted(MODES))) for _ in range(n)]
    exact = rank == 1 and draw(st.integers(0, 3)) == 0
    dtypes = draw(st.sampled_from(INTEGERS if exact else DTYPES))
    name = draw(st.sampled_from([None, None, "relu"] if exact else [None, None, *ACTIVATIONS]))
    spec = Convolution(
        size=tuple(size), kernel=tuple(kernel), stride=(*[draw(st.sampled_from([1, 1, 1, 2, 3])) for _ in range(n - 1)], 1),
        dilation=tuple(dilation), padding=tuple(padding),
        boundary=tuple(Boundary(mode, draw(st.sampled_from([0.0, 3.0])) if mode == "constant" else 0.0) for mode in modes),
        batch=draw(st.integers(1, 3)), layout=draw(st.sampled_from(LAYOUTS)), weight_layout=draw(st.sampled_from(WEIGHT_LAYOUTS)),
        flip=draw(st.booleans()), dtypes=dtypes, epilogue=Epilogue(draw(st.booleans()), name, 0.125 if name == "leaky_relu" else 0.0),
    )  # fmt: skip
    return known(spec, rank, draw(st.integers(0, 99)), draw(st.booleans()))


@st.composite
def equal_members(draw: st.DrawFn) -> tuple[Convolution, Array]:
    """A description with equal weights, of one axis too."""
    spec, _ = draw(members(ranks=(1,)))
    n = spec.n
    kernel = tuple(draw(st.integers(1, {2: 20, 3: 5, 4: 3}[n])) for _ in range(n))
    padding = tuple(
        (low, max(high, span(k, d) - s - low)) for (low, high), k, d, s in zip(spec.padding, kernel, spec.dilation, spec.size, strict=True)
    )
    changed: dict[str, Any] = {"kernel": kernel, "padding": padding, "taps": None, "rank": None, "equal": True}
    changed |= {"stride": (*spec.stride[:-2], 1, 1), "dilation": (*spec.dilation[:-2], 1, spec.dilation[-1])}
    if n == 2 and draw(st.booleans()):
        line = ("size", "boundary", "kernel", "padding", "stride", "dilation")
        changed |= {name: {**vars(spec), **changed}[name][1:] for name in line}
    weight = draw(st.sampled_from([1, -2, 3])) if spec.dtypes.integers else draw(st.sampled_from([1.0, -0.3, 1 / 9, 1e-3]))
    spec = dataclasses.replace(spec, **changed)
    assume(ALGORITHMS["box"].accepts(spec, "y") is None)  # axes that are merged may leave a strided one before the last
    return spec, np.full(spec.w_shape, weight, spec.dtypes.w)


def known(spec: Convolution, rank: int, seed: int, holes: bool = False) -> tuple[Convolution, Array]:
    """The description with a random kernel of a rank, some of whose rows and columns are zero if `holes`."""
    rng = np.random.default_rng(seed)
    kept = [rng.random(k) < 0.7 if holes else np.ones(k, np.bool_) for k in spec.kernel]
    for mask in kept:
        mask[rng.integers(len(mask))] = True
    if spec.dtypes.w != spec.dtypes.sum:  # rounded to less than the sum has, a kernel stays of rank 1 if no weight is rounded
        rank = 1
    terms = []
    for _ in range(rank):
        whole = spec.dtypes.w != spec.dtypes.sum
        vectors = [rng.integers(1, 4, k) if whole else rng.uniform(0.5, 2, k) * rng.choice([-1, 1], k) for k in spec.kernel]
        terms.append(outer([vector * mask for vector, mask in zip(vectors, kept, strict=True)]))
    w = np.sum(terms, axis=0).astype(spec.dtypes.w)
    taps = tuple(map(tuple, np.argwhere(outer([mask * 1 for mask in kept])).tolist()))
    return dataclasses.replace(spec, taps=taps if len(taps) < w.size else None, rank=rank), w.reshape(spec.w_shape)


def operands(spec: Convolution, seed: int) -> tuple[Array, Array | None]:
    """x and the bias."""
    rng = np.random.default_rng(seed)
    if np.dtype(spec.dtypes.x).kind in "iu":
        x = rng.integers(0, 100, spec.x_shape).astype(spec.dtypes.x)
    else:
        x = rng.standard_normal(spec.x_shape).astype(spec.dtypes.x)
    integers = spec.dtypes.integers
    bias = rng.integers(-50, 50, 1) if integers else rng.standard_normal(1).astype(spec.dtypes.sum)
    return x, bias if spec.epilogue.bias else None


def algorithm_of(spec: Convolution) -> str:
    """The algorithm that computes kernels of this rank."""
    (name,) = (name for name in ("separable", "low_rank", "box") if ALGORITHMS[name].accepts(spec, "y") is None)
    return name


def planned(spec: Convolution, number: int, machine: Machine | None = None, name: str | None = None) -> Plan:
    """The plan by one of the schedules, counted round."""
    return counted(name or algorithm_of(spec), spec, number, machine)


def assert_close(spec: Convolution, y: Array, x: Array, w: Array, bias: Array | None) -> None:
    """y is the sum, but for a rounding of each multiply-add, of each weight, and of the result."""
    assert (y.shape, y.dtype.name) == (spec.y_shape, spec.dtypes.y)
    if spec.dtypes.integers:
        np.testing.assert_array_equal(y, reference.conv(dataclasses.replace(spec, dtypes=spec.dtypes._replace(sum="int64")), x, w, bias))
        return
    wide = dataclasses.replace(spec, dtypes=spec.dtypes._replace(y="float64"), taps=None)
    expected = reference.conv(wide, x, w, bias)
    terms = factors(w.reshape(spec.kernel), spec.rank or 1, spec.dtypes.sum) or ()
    sizes = sum(np.abs(outer([v.astype(np.float64) for v in t])) for t in terms)
    sizes = np.maximum(sizes, np.abs(w.astype(np.float64)).reshape(spec.kernel))
    size = reference.magnitude(wide, x, sizes.reshape(w.shape), bias)
    eps, stored = (float(np.finfo(t).eps) if np.dtype(t).kind == "f" else 0.0 for t in (spec.dtypes.sum, spec.dtypes.y))
    count = sum(spec.kernel) * (spec.rank or 1) + 8 * spec.n + 2
    bound = count * eps * size + 2 * max(eps, stored) * (np.abs(expected) + 2)
    if y.dtype.kind == "u":
        expected, bound = np.clip(expected, 0, np.iinfo(y.dtype).max), bound + 0.5
    wrong = ~(np.abs(y.astype(np.float64) - expected) <= bound)
    assert not wrong.any(), f"{np.count_nonzero(wrong)} of {y.size}, at {np.argwhere(wrong)[0]}: {y[wrong][0]} is not {expected[wrong][0]}"


def check(member: tuple[Convolution, Array], number: int, small: bool, seed: int) -> None:
    spec, w = member
    machine = dataclasses.replace(machines.probe(), l1=512, l2=4096) if small else machines.probe()
    x, bias = operands(spec, seed)
    plan = planned(spec, number, machine)
    event(f"{plan.algorithm}, {'one block' if plan.schedule.block >= spec.output[-1] else 'blocks'}")
    out = np.empty(math.prod(spec.y_shape) + 16, spec.dtypes.y)[seed % 16 :][: math.prod(spec.y_shape)].reshape(spec.y_shape)
    assert_close(spec, plan(x, w, bias, out=out, threads=1 + seed % 3), x, w, bias)


@settings(max_examples=60)
@given(member=members(), number=st.integers(0, 999), small=st.booleans(), seed=st.integers(0, 999))
def test_any_schedule_computes_the_description(member: tuple[Convolution, Array], number: int, small: bool, seed: int) -> None:
    check(member, number, small, seed)


@settings(max_examples=60)
@given(member=equal_members(), number=st.integers(0, 999), small=st.booleans(), seed=st.integers(0, 999))
def test_any_sums_of_equal_taps(member: tuple[Convolution, Array], number: int, small: bool, seed: int) -> None:
    check(member, number, small, seed)


@pytest.mark.slow
@settings(max_examples=1000)
@given(member=members() | equal_members(), number=st.integers(0, 999), small=st.booleans(), seed=st.integers(0, 999))
def test_thousands_of_schedules(member: tuple[Convolution, Array], number: int, small: bool, seed: int) -> None:
    check(member, number, small, seed)


# Kinds of vectors, bits, errors -----------------------------------------------------------------------------------------------------

Case = tuple[tuple[int, ...], Array, dict[str, Any]]
GAUSS, WIDE = outer([np.array([1.0, 4, 6, 4, 1]) / 16] * 2), outer([np.hanning(17)[1:-1], np.hanning(25)[1:-1]])
CASES: dict[str, Case] = {  # several blocks, bands and steps, and tails of each
    "picture": ((2, 1, 70, 1333), GAUSS, {"boundary": "reflect"}),
    "colour": ((1, 1, 60, 431, 3), GAUSS[..., None], {"boundary": ("edge", "wrap", "zero")}),
    "wide kernel": ((1, 1, 90, 700), WIDE, {"boundary": ("constant", 2)}),
    "volume": ((1, 1, 9, 30, 400), outer([np.array([1.0, 2, 1])] * 3), {"boundary": ("symmetric", "wrap", "zero"), "bias": True}),
    "rank 2": ((2, 1, 50, 640), kernels.unsharp(1.0), {"boundary": "reflect"}),
    "box": ((2, 1, 70, 1333), np.full((7, 9), 1 / 63), {"boundary": "reflect"}),
    "wide box": ((1, 1, 100, 400), np.full((41, 59), 1e-3), {"boundary": "wrap"}),
    "box volume": ((1, 1, 7, 40, 400), np.full((3, 5, 7), 0.1), {"boundary": ("edge", "zero", "symmetric"), "bias": True}),
    "signal": ((3, 1, 20_001), np.full(100, 0.01), {"boundary": "reflect"}),
}


def case(name: str, dtype: str = "float32") -> tuple[Convolution, Array, str]:
    """The description of one of the `CASES`, its weights, and the algorithm."""
    x_shape, kernel, arguments = CASES[name]
    w = kernel.astype("float32" if dtype == "uint8" else dtype)[None, None]
    spec = structured(describe(x_shape, w.shape, dtype=dtype, w_dtype=w.dtype, out_dtype=dtype, padding="same", **arguments), w)
    return spec, w, "box" if spec.equal else algorithm_of(spec)


@pytest.mark.parametrize("vectors", VECTORS)
@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_vector(name: str, vectors: str) -> None:
    machine = machine_with(vectors)
    for dtype in ("float32", "uint8"):
        spec, w, algorithm = case(name, dtype)
        x, bias = operands(spec, 1)
        assert_close(spec, planned(spec, 5, machine, algorithm)(x, w, bias), x, w, bias)


@pytest.mark.parametrize("name", CASES)
def test_schedules_threads_batch_and_views_do_not_show_in_the_bits(name: str) -> None:
    spec, w, algorithm = case(name)
    x, bias = operands(spec, 2)
    expected = planned(spec, 0, name=algorithm)(x, w, bias, threads=1)
    small = dataclasses.replace(machines.probe(), l1=2048, l2=16384)
    for number, machine in ((3, None), (7, None), (20, small), (33, small)):
        assert same_bits(planned(spec, number, machine, algorithm)(x, w, bias, threads=3), expected)
    alone = dataclasses.replace(spec, batch=1)
    assert same_bits(planned(alone, 1, name=algorithm)(x[-1:], w, bias), expected[-1:])
    gaps = np.full((spec.batch, 2, *(length + 3 for length in spec.size)), np.nan, np.float32)
    view = gaps[(slice(None), slice(1, 2), *(slice(1, 1 + length) for length in spec.size))]
    view[...] = x
    assert same_bits(planned(spec, 0, name=algorithm)(view, w, bias), expected)


@pytest.mark.parametrize("target", ["this machine", "aarch64", "avx2"])
@pytest.mark.parametrize("name", ["picture", "volume", "rank 2", "wide box"])
def test_kernels_are_freestanding(name: str, target: str) -> None:
    machine = on(ARM) if target == "aarch64" else machines.probe() if target == "this machine" else machine_with(target)
    for dtype in ("float32", "uint8"):
        spec, _, algorithm = case(name, dtype)
        plan = planned(spec, 40, machine, algorithm)
        text: str = plan.program.emit(plan.program.code, machine.target)
        assert called(assembly(text, machine.target)) == set()
        assert 0 < len(compile_ir(text, machine.target)) < 64 << 10


@pytest.mark.parametrize("name", ["picture", "wide kernel", "rank 2", "box", "wide box"])
def test_errors_are_below_those_of_the_direct_sum(name: str) -> None:
    spec, w, algorithm = case(name)
    wide = dataclasses.replace(spec, dtypes=Dtypes(*["float64"] * 4), rank=None, equal=False)
    rng = np.random.default_rng(5)
    for draw in (rng.random, rng.standard_normal):
        x = draw(spec.x_shape).astype(np.float32)
        exact = plan_for(wide, "direct")(x.astype(np.float64), w.astype(np.float64))
        off = {name: np.abs(plan_for(spec, name)(x, w) - exact) for name in ("direct", algorithm)}
        assert off[algorithm].max() <= 1.1 * off["direct"].max()
        assert np.square(off[algorithm]).mean() <= np.square(off["direct"]).mean()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["picture", "wide kernel", "volume", "box", "wide box", "signal"])
def test_what_is_not_finite_stays_in_its_windows(name: str, bad: float) -> None:
    spec, w, algorithm = case(name)
    x, bias = operands(spec, 3)
    places = np.random.default_rng(4).integers(0, x.size, 5)
    x.flat[places] = bad
    y = planned(spec, 2, name=algorithm)(x, w, bias)
    expected = plan_for(spec, "direct")(x, w, bias)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
    np.testing.assert_array_equal(np.isposinf(y), np.isposinf(expected))


@pytest.mark.parametrize("name", ["picture", "box", "wide box"])
def test_sums_overflow_only_where_the_definition_does(name: str) -> None:
    x_shape, kernel, arguments = CASES[name]
    w = (kernel / kernel.sum()).astype(np.float32)[None, None]
    spec = structured(describe(x_shape, w.shape, padding="same", **arguments), w)
    x = np.full(spec.x_shape, 3e38, np.float32)
    y = planned(spec, 1, name="box" if spec.equal else "separable")(x, w)
    np.testing.assert_allclose(y, x, rtol=1e-5)


# What is chosen -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "kernel", "dtype", "expected"),
    [
        ((1080, 1920), kernels.gaussian(1.0), "uint8", "separable"),
        ((1080, 1920), kernels.gaussian(5.0), "float32", "separable"),
        ((1080, 1920), kernels.mean(31), "float32", "box"),
        ((1080, 1920), kernels.mean(31), "uint8", "box"),
        ((1080, 1920), kernels.unsharp(1.0), "uint8", "low_rank"),
        ((1080, 1920), kernels.get("laplacian"), "float32", "direct"),
    ],
)
def test_it_is_chosen_where_it_is_faster(size: tuple[int, int], kernel: Array, dtype: str, expected: str) -> None:
    plan = jj.plan((1, 1, *size), kernel.astype(np.float32)[None, None], dtype=dtype, padding="same")
    assert isinstance(plan, Plan)
    assert plan.algorithm == expected


def test_pictures_of_bytes_are_exact_where_sums_are() -> None:
    picture = np.random.default_rng(6).integers(0, 256, (300, 400, 3), np.uint8)
    for kernel in (kernels.mean(3) * 9 / 8, np.ones((16, 16)) / 256, kernels.get("scharr_x"), GAUSS, np.ones((5, 5))):
        exact = reference_picture(picture, kernel)
        np.testing.assert_array_equal(jj.image.filter(picture, kernel), np.clip(np.rint(exact), 0, 255))
    for kernel in (kernels.mean(9), kernels.gaussian(2.0), kernels.mean(31)):
        np.testing.assert_array_less(np.abs(jj.image.filter(picture, kernel) - reference_picture(picture, kernel)), 0.501)


def reference_picture(picture: Array, kernel: Array) -> Array:
    """The filtered picture in float64."""
    spec = describe((3, 1, *picture.shape[:2]), (1, 1, *kernel.shape), dtype="float64", padding="valid")
    low = [k // 2 for k in kernel.shape]
    spec = dataclasses.replace(
        spec, padding=tuple((b, k - 1 - b) for b, k in zip(low, kernel.shape, strict=True)), boundary=(Boundary("reflect"),) * 2
    )
    planes = np.moveaxis(picture, -1, 0)[:, None].astype(np.float64)
    return np.moveaxis(plan_for(spec, "direct")(planes, kernel[None, None].astype(np.float64))[:, 0], 0, -1)


def test_signals_find_the_structure_too() -> None:
    rng = np.random.default_rng(7)
    a, k = rng.standard_normal((200, 300)), outer([rng.standard_normal(9), rng.standard_normal(11)])
    y = jj.convolve(a, k, "same", boundary="wrap", algorithm="separable")
    np.testing.assert_allclose(y, jj.convolve(a, k, "same", boundary="wrap", algorithm="direct"), atol=1e-12)
    whole = rng.integers(-99, 99, (3, 5000))
    moving = jj.correlate(whole, np.ones(50, int), "valid", axes=1, algorithm="box")
    np.testing.assert_array_equal(moving, jj.correlate(whole, np.ones(50, int), "valid", axes=1, algorithm="direct"))


@pytest.mark.parametrize(
    ("kernel", "arguments", "algorithm", "words"),
    [
        (np.random.default_rng(0).random((9, 9)), {}, "separable", "not known to be a sum of a few outer products"),
        (kernels.unsharp(), {}, "separable", "its kernel is of rank 2"),
        (kernels.gaussian(), {}, "low_rank", "its kernel is of rank 1"),
        (kernels.gaussian(), {}, "box", "not known to be equal"),
        (kernels.mean(3), {"stride": 2}, "box", "stride 1 along the last axis"),
        (kernels.mean(3), {"stride": (2, 1)}, "box", "stride and dilation 1 along the last axis but one"),
        (kernels.gaussian(), {"gradient": "input"}, "separable", "not known"),
    ],
)
def test_refusals(kernel: Array, arguments: dict[str, Any], algorithm: str, words: str) -> None:
    with pytest.raises(NotBuiltError, match=words):
        jj.plan((1, 1, 40, 40), kernel.astype(np.float32)[None, None], algorithm=algorithm, **arguments)


def test_weights_of_another_structure_are_refused() -> None:
    w = np.ones((1, 1, 3, 3), np.float32)
    x = np.ones((1, 1, 9, 9), np.float32)
    other = w.copy()
    other[0, 0, 1, 1] = 5
    with pytest.raises(ArgumentError, match="w has weights that differ, but the plan was made for equal ones"):
        jj.plan(x.shape, w, algorithm="box")(x, other)
    with pytest.raises(ArgumentError, match="w is not of rank 1"):
        jj.plan(x.shape, w, algorithm="separable")(x, other)
    np.testing.assert_array_equal(jj.plan(x.shape, w, algorithm="separable")(x, 2 * w), np.full((1, 1, 7, 7), 18))
    np.testing.assert_array_equal(jj.plan(x.shape, w, algorithm="separable")(x, 0 * w), np.zeros((1, 1, 7, 7)))


# Memory -------------------------------------------------------------------------------------------------------------------------


def compute(member: tuple[Convolution, Array], number: int, small: bool, sides: Sides) -> None:
    """Run a schedule with everything that it touches beside protected pages."""
    spec, w = member
    machine = dataclasses.replace(machines.probe(), l1=512, l2=4096) if small else machines.probe()
    plan = planned(spec, number, machine)
    print(spec, repr(spec), plan.schedule, machine, sides, sep="\n", flush=True)
    x, bias = operands(spec, 1)
    expected = plan(x, w, bias)
    (part,) = plan.parts
    program = part.program
    part.program = dataclasses.replace(program, pack_weights=lambda array: beside(program.pack_weights(array), sides.w))
    type(run._thread).scratch = lambda self, size: scratch(size, sides.scratch)  # type: ignore[method-assign,assignment,return-value]
    y = guarded(spec.y_shape, spec.dtypes.y, sides.y)
    plan(beside(x, sides.x), w, bias, out=y)
    assert same_bits(y, expected)


def random_batch(examples: int) -> None:
    """Random descriptions, schedules and places."""

    @settings(max_examples=examples, deadline=None, database=None)
    @given(
        member=members() | equal_members(), number=st.integers(0, 999), small=st.booleans(), sides=st.builds(Sides, *[st.booleans()] * 5)
    )
    def draw(member: tuple[Convolution, Array], number: int, small: bool, sides: Sides) -> None:
        compute(member, number, small, sides)

    draw()


def test_no_access_outside() -> None:
    batch("random_batch(40)", "test_separable")


@pytest.mark.slow
def test_no_access_outside_many() -> None:
    batch("random_batch(800)", "test_separable")
