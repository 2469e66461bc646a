"""The same bits whoever runs what where: threads, batches, views, runs; and IEEE arithmetic in every thread."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import juanji as jj
from compiled import f32, planned, run_python, schedules
from juanji import machine as machines
from juanji import reference
from juanji.describe import describe
from juanji.jit.emit import I64, PTR, Emitter
from juanji.spec import Convolution
from strategies import Array, convolutions, operands

JOBS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "picture": ((4, 1, 301, 203), (1, 1, 5, 5), {"padding": 2, "boundary": "reflect"}),
    "colour": ((4, 201, 203, 3), (3, 3, 1, 3), {"padding": 1, "groups": 3, "layout": "channels_last"}),
    "first layer": ((4, 3, 64, 75), (40, 3, 7, 7), {"padding": 3, "stride": 2}),
    "dense": ((4, 66, 28, 29), (83, 66, 3, 3), {"padding": 1, "activation": "tanh"}),
    "dense, channels last": ((4, 28, 29, 66), (3, 3, 66, 83), {"padding": 1, "layout": "channels_last", "activation": "sigmoid"}),
    "many channels": ((4, 512, 7, 7), (128, 512, 3, 3), {"padding": 1}),
    "pointwise": ((4, 14, 14, 256), (1, 1, 256, 200), {"layout": "channels_last"}),
    "depthwise": ((4, 56, 57, 68), (3, 3, 1, 68), {"groups": 68, "padding": 1, "layout": "channels_last"}),
    "signal": ((4, 2, 50_001), (3, 2, 65), {"padding": "same"}),
    "volume": ((4, 6, 17, 18, 33), (20, 6, 3, 3, 3), {"padding": 1}),
}  # fmt: skip


def same_bits(a: Array, b: Array) -> bool:
    """Equal, signs of zeros and payloads of NaN included."""
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def job(name: str, dtype: str = "float32") -> tuple[Array, Array, dict[str, Any]]:
    x_shape, w_shape, arguments = JOBS[name]
    rng = np.random.default_rng(len(name))
    return rng.standard_normal(x_shape).astype(dtype), rng.standard_normal(w_shape).astype(dtype), arguments


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", JOBS)
def test_threads(name: str, dtype: str) -> None:
    x, w, arguments = job(name, dtype)
    one = jj.conv(x, w, threads=1, **arguments)
    for count in (2, 3, 5):
        assert same_bits(jj.conv(x, w, threads=count, **arguments), one), count


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", JOBS)
def test_batch(name: str, dtype: str) -> None:
    x, w, arguments = job(name, dtype)
    together = jj.conv(x, w, **arguments)
    for i in range(len(x)):
        assert same_bits(jj.conv(x[i : i + 1], w, **arguments), together[i : i + 1])
        assert same_bits(jj.conv(x[i], w, **arguments), together[i])
    assert same_bits(jj.conv(x[1:3], w, **arguments), together[1:3])


@settings(max_examples=60)
@given(spec=convolutions(max_batch=1, max_channels=20, max_groups=2, max_axes=2), seed=st.integers(0, 99))
def test_batches_of_random_descriptions(spec: Convolution, seed: int) -> None:
    x, w, bias = operands(spec, seed)
    five = np.concatenate([x, x[..., ::-1], x, -x, x])
    arguments = as_arguments(spec)
    one, all_five = jj.conv(x, w, bias, **arguments), jj.conv(five, w, bias, **arguments)
    for i in (0, 2, 4):
        assert same_bits(all_five[i : i + 1], one)


def as_arguments(spec: Convolution) -> dict[str, Any]:
    name, parameter = spec.epilogue.activation, spec.epilogue.parameter
    outside = tuple(("constant", b.value) if b.constant else b.mode for b in spec.boundary)
    return {
        "stride": spec.stride, "padding": spec.padding, "dilation": spec.dilation, "groups": spec.groups, "boundary": outside,
        "flip": spec.flip, "layout": spec.layout, "weight_layout": spec.weight_layout,
        "activation": (name, parameter) if name == "leaky_relu" else name,
    }  # fmt: skip


@settings(max_examples=60)
@given(
    spec=st.one_of(
        convolutions(max_axes=2),
        convolutions(max_axes=2, max_channels=40, max_groups=2),
        convolutions(max_channels=1, max_groups=24),
    ),
    seed=st.integers(0, 99),
)
def test_schedules(spec: Convolution, seed: int) -> None:
    # One order of the sum for all: neither the tile's kind nor its shape shows in the bits.
    x, w, bias = operands(spec, seed)
    by_kind = {kind: planned(spec, found[seed % len(found)])(x, w, bias) for kind, found in schedules(spec).items()}
    first = next(iter(by_kind.values()))
    for kind, y in by_kind.items():
        assert same_bits(y, first), kind


@pytest.mark.parametrize("name", JOBS)
def test_schedules_of_larger_jobs(name: str) -> None:
    x, w, arguments = job(name)
    x = x[:1]
    expected = jj.conv(x, w, algorithm="direct", **arguments)
    spec = describe(x.shape, w.shape, **arguments)
    for found in schedules(spec).values():
        for schedule in (found[0], found[len(found) // 2], found[-1]):
            assert same_bits(planned(spec, schedule)(x, w), expected), str(schedule)


@pytest.mark.parametrize("name", [name for name in JOBS if "channels last" not in name and name != "pointwise"])
def test_layouts(name: str) -> None:
    x, w, arguments = job(name)
    x, last = x[:2], arguments.get("layout") == "channels_last"
    arguments = {key: value for key, value in arguments.items() if key != "layout"}
    n = x.ndim - 2
    if last:
        x, w = np.moveaxis(x, -1, 1), w.transpose(n + 1, n, *range(n))
    first = jj.conv(x, w, **arguments)
    y = jj.conv(np.moveaxis(x, 1, -1), w.transpose(*range(2, n + 2), 1, 0), layout="channels_last", **arguments)
    assert same_bits(np.moveaxis(y, -1, 1).copy(), first)


@pytest.mark.parametrize("name", JOBS)
def test_from_run_to_run(name: str) -> None:
    x, w, arguments = job(name)
    first = jj.conv(x, w, threads=2, **arguments)
    plan = jj.plan(x.shape, w.shape, **arguments)
    bound = plan.bind(w)
    for _ in range(3):
        assert same_bits(jj.conv(x, w, threads=2, **arguments), first)
        assert same_bits(plan(x, w), first)
        assert same_bits(bound(x), first)
        assert same_bits(bound(x, out=np.empty_like(first), threads=3), first)


def test_from_process_to_process() -> None:
    code = "import test_bits; print(test_bits.digest())"
    assert run_python(code).strip() == run_python(code, JUANJI_NUM_THREADS="1").strip() == digest()


def digest() -> str:
    """A hash of several results."""
    import hashlib

    total = hashlib.sha256()
    for name in ("picture", "dense", "depthwise"):
        x, w, arguments = job(name)
        total.update(jj.conv(x, w, **arguments).tobytes())
    return total.hexdigest()


def gaps(a: Array) -> Array:
    """The same values in every second element of every axis of a larger array."""
    room = np.full([2 * n + 1 for n in a.shape], 77, a.dtype)
    view: Array = room[tuple(slice(1, 2 * n + 1, 2) for n in a.shape)]
    view[...] = a
    return view


def turned(a: Array) -> Array:
    """The same values, every axis running backwards through memory."""
    back = (slice(None, None, -1),) * a.ndim
    return a[back].copy()[back]


def unaligned(a: Array) -> Array:
    room = np.zeros(a.nbytes + 1, np.uint8)
    view: Array = room[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def read_only(a: Array) -> Array:
    copy = a.copy()
    copy.flags.writeable = False
    return copy


def outer_gaps(a: Array) -> Array:
    """Rows, planes and images with room between them, but neighbours together."""
    view: Array = np.zeros([n + 3 for n in a.shape[:-1]] + [a.shape[-1] + 5], a.dtype)[tuple(slice(1, n + 1) for n in a.shape)]
    view[...] = a
    return view


VIEWS: dict[str, Callable[[Array], Array]] = {
    "gaps in every axis": gaps,
    "gaps between rows": outer_gaps,
    "backwards": turned,
    "Fortran order": np.asfortranarray,
    "axes exchanged": lambda a: np.ascontiguousarray(np.moveaxis(a, 1, -1)).transpose(0, a.ndim - 1, *range(1, a.ndim - 1)),
    "unaligned": unaligned,
    "other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
    "other byte order, gaps": lambda a: gaps(a.astype(a.dtype.newbyteorder())),
    "read-only": read_only,
    "a matrix": lambda a: np.asarray(np.lib.stride_tricks.as_strided(a, writeable=False)),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", JOBS)
def test_views(name: str, view: str) -> None:
    x, w, arguments = job(name)
    x, w, bias = x[:2], w.copy(), np.linspace(-1, 1, w.shape[-1 if arguments.get("layout") else 0], dtype=np.float32)
    expected = jj.conv(x, w, bias, **arguments)
    kept = x.copy(), w.copy(), bias.copy()
    seen = VIEWS[view](x), VIEWS[view](w), VIEWS[view](bias) if bias.ndim > 1 or "axes" not in view else bias
    assert same_bits(jj.conv(*seen, **arguments), expected)
    out = VIEWS[view](np.zeros_like(expected))
    if out.flags.writeable:
        assert jj.conv(*seen, out=out, **arguments) is out
        np.testing.assert_array_equal(out, expected)
    for array, before in zip((x, w, bias), kept, strict=True):
        np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize("name", JOBS)
def test_broadcast_views(name: str) -> None:
    x, w, arguments = job(name)
    spread = np.broadcast_to(x[:1], x.shape)
    assert same_bits(jj.conv(spread, w, **arguments), jj.conv(spread.copy(), w, **arguments))
    constant = np.broadcast_to(np.float32(0.3), x.shape)
    assert same_bits(jj.conv(constant, w, **arguments), jj.conv(constant.copy(), w, **arguments))
    constant = np.broadcast_to(np.float32(0.3), w.shape)
    assert same_bits(jj.conv(x, constant, **arguments), jj.conv(x, constant.copy(), **arguments))
    by_column = np.broadcast_to(x[..., :1], x.shape)
    assert same_bits(jj.conv(by_column, w, **arguments), jj.conv(by_column.copy(), w, **arguments))


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("step", [-3, -1, 2, 7])
def test_axes_of_one_element_may_have_any_stride(step: int, layout: str) -> None:
    rng = np.random.default_rng(8)
    for one in range(2, 4):
        shape = [2, 3, 6, 6]
        shape[one if layout == "channels_first" else one - 1] = 1
        if layout == "channels_last":
            shape[1:] = [*shape[1:3], 3]
        x = rng.standard_normal(shape).astype(np.float32)
        w = rng.standard_normal((4, 3, 2, 3) if layout == "channels_first" else (2, 3, 3, 4)).astype(np.float32)
        strides = [s if n > 1 else step * x.itemsize for s, n in zip(x.strides, x.shape, strict=True)]
        view = np.lib.stride_tricks.as_strided(x, x.shape, strides)
        arguments: dict[str, Any] = {"padding": ((1, 1), (9, 0)), "boundary": "edge", "layout": layout}
        assert same_bits(jj.conv(view, w, **arguments), jj.conv(x, w, **arguments))
    signal = rng.standard_normal(13).astype(np.float32)[::13]
    assert same_bits(jj.convolve(signal, signal), signal * signal)


@settings(max_examples=60)
@given(spec=convolutions(dtypes=("float32", "float64", "uint8", "uint16")), data=st.data(), seed=st.integers(0, 99))
def test_random_views_of_random_descriptions(spec: Convolution, data: st.DataObject, seed: int) -> None:
    x, w, bias = operands(spec, seed)
    order = data.draw(st.permutations(range(x.ndim)))
    room = np.zeros([2 * x.shape[axis] for axis in order], x.dtype)
    steps = [data.draw(st.sampled_from((1, 2, -1, -2))) for _ in order]
    ends = [(x.shape[axis] * abs(step), step) for axis, step in zip(order, steps, strict=True)]
    cut = [slice(None, end, step) if step > 0 else slice(end - 1, None, step) for end, step in ends]
    view = room[tuple(cut)].transpose(np.argsort(order))
    view[...] = x
    arguments = as_arguments(spec) | {"out_dtype": spec.dtypes.y}
    assert same_bits(jj.conv(view, w, bias, **arguments), jj.conv(x, w, bias, **arguments))


# IEEE arithmetic ------------------------------------------------------------------------------------------------------------

FLUSH_TO_ZERO, DENORMALS_ARE_ZERO, ROUND_DOWN = 1 << 15, 1 << 6, 1 << 13
STICKY = 0x3F  # which exceptions have happened
x86_only = pytest.mark.skipif(not machines.probe().target.triple.startswith("x86_64"), reason="MXCSR is a register of x86-64 processors")


def _control_code() -> Callable[[Any], None]:
    """Code that exchanges the control register of the calling thread with the word at row[0]."""
    from juanji.jit.compile import compile_ir
    from juanji.jit.store import Code

    machine = machines.probe()
    e = Emitter(machine.vector_bits, machine.target.masks)
    with e.function("kernel", PTR) as (row,):
        old = e.stack(I64)
        e.plain("llvm.x86.sse.stmxcsr", old)
        e.plain("llvm.x86.sse.ldmxcsr", row)
        e.store(e.load(I64, old), row)
    code = Code(compile_ir(e.text(), machine.target))

    def exchange(word: Any) -> None:
        code.call(ctypes.addressof(word))

    return exchange


@contextmanager
def control(word: int) -> Iterator[Callable[[], int]]:
    """This thread's control register set to the word; yields what reads it."""
    exchange = _control_code()
    saved = ctypes.c_uint64(word)
    exchange(saved)

    def now() -> int:
        there = ctypes.c_uint64(word)
        exchange(there)
        found = there.value & 0xFFFF
        exchange(there)
        return found

    try:
        yield now
    finally:
        exchange(saved)


@x86_only
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", [FLUSH_TO_ZERO | DENORMALS_ARE_ZERO, FLUSH_TO_ZERO, DENORMALS_ARE_ZERO, ROUND_DOWN])
@pytest.mark.parametrize("name", ["picture", "dense", "dense, channels last", "depthwise", "first layer"])
def test_the_callers_mode_changes_nothing_and_is_kept(name: str, mode: int, dtype: str) -> None:
    x, w, arguments = job(name, dtype)
    tiny = float(np.finfo(dtype).smallest_normal)
    arguments = {key: value for key, value in arguments.items() if key != "activation"} | {"precision": "strict"}
    x = (x[:1] * tiny).astype(dtype)  # most products and many inputs are subnormal
    expected = jj.conv(x, w, threads=1, **arguments)
    assert ((expected != 0) & (np.abs(expected) < tiny)).any()
    assert np.count_nonzero(expected) > 0.9 * expected.size
    with control(0x1F80 | mode) as now:
        results = [jj.conv(x, w, threads=count, **arguments) for count in (1, 2)]
        after = now()
    for result in results:
        assert same_bits(result, expected)
    assert after & ~STICKY == 0x1F80 | mode


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_subnormal_numbers_are_kept(dtype: str) -> None:
    least = np.array(np.finfo(dtype).smallest_subnormal, dtype)
    x = np.full((1, 1, 4, 37), least, dtype)
    for layout in ("channels_first", "channels_last"):
        view = x if layout == "channels_first" else np.moveaxis(x, 1, -1)
        w = np.ones((1, 1, 2, 3) if layout == "channels_first" else (2, 3, 1, 1), dtype)
        assert (jj.conv(view, w, layout=layout) == 6 * least).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_schedule_lets_nan_and_infinity_pass(dtype: str) -> None:
    specials = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -3.0]
    rng = np.random.default_rng(5)
    for x_shape, w_shape, arguments in (
        ((1, 1, 9, 40), (1, 1, 3, 3), {"padding": 1}),
        ((1, 3, 6, 21), (18, 3, 2, 2), {}),
        ((1, 6, 21, 3), (2, 2, 3, 18), {"layout": "channels_last"}),
        ((1, 6, 21, 32), (2, 2, 1, 32), {"layout": "channels_last", "groups": 32}),
    ):
        spec = describe(x_shape, w_shape, dtype=dtype, **arguments)
        x = rng.choice(specials, x_shape, p=[0.02, 0.02, 0.02, 0.2, 0.2, 0.3, 0.24]).astype(dtype)
        w = rng.choice([0.0, 1.0, -1.0, 2.0], w_shape).astype(dtype)
        with np.errstate(invalid="ignore"):
            expected = reference.conv(spec, x, w)
        for found in schedules(spec).values():
            for schedule in (found[0], found[-1]):
                y = planned(spec, schedule)(x, w)
                np.testing.assert_array_equal(y, expected, err_msg=str(schedule))  # small integers, infinities, NaN: nothing rounds


@pytest.mark.parametrize("activation", [None, "relu", "relu6", "leaky_relu", "sigmoid", "tanh"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_activations_of_nan_and_infinity(dtype: str, activation: str | None) -> None:
    x = np.tile(np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1e30, -1e30, 3.0], dtype), 5)
    ends = {"relu": (np.inf, 0), "relu6": (6, 0), "sigmoid": (1, 0), "tanh": (1, -1)}.get(activation or "", (np.inf, -np.inf))
    for layout in ("channels_first", "channels_last"):
        shaped = x[None, None] if layout == "channels_first" else x[None, :, None]
        for features in (1, 17):
            w = np.ones((features, 1, 1) if layout == "channels_first" else (1, 1, features), dtype)
            y = jj.conv(shaped, w, activation=activation, layout=layout)
            y = y[0, -1] if layout == "channels_first" else y[0, :, -1]
            assert np.isnan(y[::8]).all()
            assert (y[1::8] == ends[0]).all()
            assert (y[2::8] == ends[1]).all()
            assert np.isfinite(y[7::8]).all()


def test_nan_becomes_zero_in_a_picture() -> None:
    x = f32([np.nan, np.inf, -np.inf, 0.5, 1.5, 2.5, 254.5, 255.5, -0.5, 1e10])
    y = jj.conv(x[None, None], np.ones((1, 1, 1), np.float32), out_dtype="uint8")
    assert y.tolist() == [[[0, 255, 0, 0, 2, 2, 254, 255, 0, 255]]]
