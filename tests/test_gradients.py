"""Gradients and transposed convolution against the definition: every kind of schedule, every argument, identities, bits, bounds."""

import dataclasses
import math
import signal
import tracemalloc
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

import adjoints
import juanji as jj
from compiled import EXACT_ACTIVATIONS, by_kind, f32, kind, planned_for, python
from guarded import beside, guarded, scratch
from juanji import machine as machines
from juanji import plans as plan_module
from juanji import reference, run
from juanji.contraction import execute, lower
from juanji.describe import describe
from juanji.errors import ArgumentError, DtypeError, JuanjiError, ShapeError
from juanji.jit.compile import assembly, compile_ir
from juanji.planner import plan_for
from juanji.plans import READ, Plan
from juanji.spec import ACTIVATIONS, NO_EPILOGUE, Convolution, Dtypes
from strategies import PICTURES, Array, convolutions
from test_bits import VIEWS, as_arguments, same_bits
from test_codegen import ARM, VECTORS, called, machine_with, on
from test_direct import CACHES, LARGE

SITES = False  # whether weights with sites have gradients
FLOATS = ("float32", "float64")
FAMILIES = {
    "small": convolutions(sites=SITES, dtypes=FLOATS),
    "four axes": convolutions(sites=SITES, dtypes=FLOATS, max_axes=4, max_channels=2, max_groups=2, max_batch=1),
    "pictures": convolutions(dtypes=PICTURES),
    "wide": convolutions(dtypes=FLOATS, max_axes=2, max_channels=40, max_groups=2),
    "depthwise": convolutions(dtypes=FLOATS, max_axes=2, max_channels=1, max_groups=40),
}
computed: Counter[str] = Counter()


def product(spec: Convolution, produces: str) -> Convolution:
    """The description as its gradient is asked for: that of the weights has no epilogue, and comes in the sum's type."""
    if produces == "w":
        return dataclasses.replace(spec, epilogue=NO_EPILOGUE)
    of = spec.dtypes
    return dataclasses.replace(spec, dtypes=Dtypes(of.y, of.w, of.sum, of.x))  # the wider or the narrower type on either side


def operands(spec: Convolution, produces: str, seed: int = 0, integers: bool = False) -> tuple[Array, Array, Array | None]:
    """What the product is computed from, and its bias: normal, or integers whose sums are exact in any order."""
    rng = np.random.default_rng(seed)

    def numbers(shape: tuple[int, ...], dtype: str) -> Array:
        if dtype in PICTURES:
            return rng.integers(0, 8 if integers else np.iinfo(dtype).max, shape, dtype, endpoint=True)
        drawn: Array = (rng.integers(-4, 4, shape, endpoint=True) if integers else rng.standard_normal(shape)).astype(dtype)
        return drawn

    shapes = {"x": spec.x_shape, "w": spec.w_shape, "y": spec.y_shape}
    first, second = (numbers(shapes[name], getattr(spec.dtypes, name)) for name in READ[produces])
    return first, second, numbers((spec.channels,), spec.dtypes.sum) if spec.epilogue.bias else None


def biased(spec: Convolution, total: Array, bias: Array | None) -> Array:
    """A gradient of the input with a bias for each of its channels."""
    if bias is None:
        return total
    added: Array = total + (bias.astype(total.dtype).reshape(-1, *(1,) * spec.n) if spec.layout == "channels_first" else bias)
    return added


def agrees(spec: Convolution, produces: str, found: Array, first: Array, second: Array, bias: Array | None, exact: bool) -> None:
    """The product is what the definition gives: to the last bit if no sum can round, else within what n roundings can do."""
    name, shape = (spec.dtypes.x, spec.x_shape) if produces == "x" else (spec.dtypes.w, spec.w_shape)
    assert (found.shape, found.dtype.name) == (shape, name)
    wide = dataclasses.replace(spec, dtypes=spec.dtypes._replace(y="float64"))
    expected = reference.activate(wide, biased(spec, adjoints.gradient(spec, produces, first, second), bias))
    rounded = np.dtype(name).kind in "iu"
    if rounded:  # saturation only brings values closer
        expected = np.clip(expected, 0, np.iinfo(name).max)
    if exact and spec.epilogue.activation in EXACT_ACTIVATIONS:
        np.testing.assert_array_equal(found, (np.rint(expected) if rounded else expected).astype(name))
        return
    total, terms = adjoints.magnitude(spec, produces, first, second)
    total = biased(spec, total, None if bias is None else np.abs(bias))
    eps = float(np.finfo(spec.dtypes.sum).eps)
    ulps = 4 if spec.epilogue.activation in ("sigmoid", "tanh") else 2  # as in `compiled.error_bound`
    bound = 0.5 * (terms + 4) * eps * total + ulps * eps * np.abs(expected) + np.finfo(spec.dtypes.sum).smallest_subnormal
    wrong = np.abs(found.astype(np.float64) - expected) > bound + (0.5 if rounded else 0)
    where = np.argwhere(wrong)
    assert not wrong.any(), f"{len(where)} of {found.size}, the first at {where[0]}: {found[wrong][0]} is not {expected[wrong][0]}"


# Every schedule --------------------------------------------------------------------------------------------------------------


@st.composite
def plans(draw: st.DrawFn, family: st.SearchStrategy[Convolution], produces: str) -> Plan:
    """The plan of a random product by random schedules, for this machine with more or less cache."""
    spec = product(draw(family), produces)
    l1, l2 = draw(st.sampled_from(CACHES))
    machine = dataclasses.replace(machines.probe(), l1=l1, l2=l2)

    def choose(found: dict[str, list[Any]]) -> Any:
        return draw(st.sampled_from(found[draw(st.sampled_from(sorted(found)))]))

    return planned_for(spec, produces, choose, machine)


def check(plan: Plan, seed: int, integers: bool) -> None:
    for part in plan.parts:
        computed[kind(part.schedule)] += 1
    event(f"{min(len(plan.parts), 3)} parts")
    spec = plan.spec
    first, second, bias = operands(spec, plan.produces, seed, integers)
    name, shape = (spec.dtypes.x, spec.x_shape) if plan.produces == "x" else (spec.dtypes.w, spec.w_shape)
    count = math.prod(shape)
    out = np.empty(count + 16, name)[seed % 16 :][:count].reshape(shape)
    assert plan(first, second, bias, out=out, threads=1 + seed % 3) is out
    agrees(spec, plan.produces, out, first, second, bias, exact=integers)


@pytest.mark.parametrize("produces", ["x", "w"])
@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=10)
@given(data=st.data(), seed=st.integers(0, 999), integers=st.booleans())
def test_any_schedule_computes_the_gradients(family: str, produces: str, data: st.DataObject, seed: int, integers: bool) -> None:
    check(data.draw(plans(FAMILIES[family], produces)), seed, integers)


@pytest.mark.slow
@pytest.mark.parametrize("produces", ["x", "w"])
@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=1000)
@given(data=st.data(), seed=st.integers(0, 999), integers=st.booleans())
def test_thousands_of_schedules_compute_the_gradients(family: str, produces: str, data: st.DataObject, seed: int, integers: bool) -> None:
    check(data.draw(plans(FAMILIES[family], produces)), seed, integers)


@settings(max_examples=60)
@given(spec=convolutions(sites=True, epilogue=False, max_channels=2, max_groups=2), produces=st.sampled_from("xw"), seed=st.integers(0, 99))
def test_the_definition_is_the_contraction(spec: Convolution, produces: str, seed: int) -> None:
    first, second, _ = operands(spec, produces, seed, integers=True)
    read = dict(zip(READ[produces], (first.astype(np.float64), second.astype(np.float64)), strict=True))
    expected = execute(lower(spec).producing(produces), **read)
    np.testing.assert_array_equal(adjoints.gradient(spec, produces, first, second), expected)


# Larger ones: several chunks, blocks, shares and segments, tails at each; strides beyond the kernel, one wide axis, much border.
MORE: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "stride, one column": ((2, 20, 300, 1), (33, 20, 3, 1), {"stride": (1, 3)}),
    "stride, one column, last": ((2, 300, 1, 20), (3, 1, 20, 33), {"stride": (1, 3), "layout": "channels_last"}),
    "phases of one place": ((1, 17, 5, 6), (19, 17, 7, 8), {"stride": (5, 6), "padding": 4}),
    "folded often": ((2, 9, 4, 5), (11, 9, 3, 3), {"padding": 23, "boundary": ("wrap", "reflect"), "stride": (2, 1)}),
    "dilation meets stride": ((1, 18, 60, 61), (21, 18, 4, 3), {"stride": (6, 4), "dilation": (4, 6), "padding": 7, "boundary": "edge"}),
    "many features": ((1, 8, 12, 13), (600, 8, 3, 3), {"padding": 1, "flip": True}),
    "dense, turned": ((2, 29, 31, 40), (50, 3, 3, 40), {"padding": 1, "layout": "channels_last", "weight_layout": "O*I", "flip": True}),
    "depthwise with more features": ((1, 30, 31, 24), (3, 3, 1, 72), {"padding": 1, "groups": 24, "layout": "channels_last"}),
    "depthwise, pointwise": ((2, 30, 31, 21), (1, 1, 1, 21), {"groups": 21, "layout": "channels_last"}),
}  # fmt: skip
TABLE = LARGE | MORE


def agree(name: str, produces: str, dtype: str, count: int) -> None:
    x_shape, w_shape, arguments = TABLE[name]
    spec = product(describe(x_shape, w_shape, dtype=dtype, **arguments), produces)
    first, second, bias = operands(spec, produces, seed=1, integers=True)
    expected = None
    for turn in range(count):
        rng = np.random.default_rng(turn)

        def choose(found: dict[str, list[Any]], turn: int = turn, rng: np.random.Generator = rng) -> Any:
            schedules = found[sorted(found)[turn % len(found)]]
            return schedules[rng.integers(len(schedules))]

        plan = planned_for(spec, produces, choose)
        result = plan(first, second, bias, threads=1 + turn % 3)
        if expected is None:
            agrees(spec, produces, result, first, second, bias, exact=True)
            expected = result
        np.testing.assert_array_equal(result, expected, err_msg=str(plan))


@pytest.mark.parametrize(("name", "produces"), [(name, "xw"[number % 2]) for number, name in enumerate(TABLE)])
def test_large_sizes(name: str, produces: str) -> None:
    agree(name, produces, FLOATS[len(name) % 2], 2)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("produces", ["x", "w"])
@pytest.mark.parametrize("name", TABLE)
def test_large_sizes_by_many_schedules(name: str, produces: str, dtype: str) -> None:
    agree(name, produces, dtype, 24)


def test_pixels_of_several_rows_with_ends_as_far_apart_as_those_of_one() -> None:
    """Outputs of the phases lie 1, 1, 1, 1, 1, 1 and 8 elements apart: as far from first to last as eight that lie 2 apart."""
    spec = describe(
        (1, 1, 1, 1, 1, 1), (1, 1, 1, 1, 1, 1), dtype="float64", stride=(1, 2, 1, 2), padding=[(0, 4), (1, 4), (2, 4), (0, 4)],
        boundary=["edge", "edge", "edge", "constant"],
    )  # fmt: skip
    first, second, bias = operands(spec, "x", seed=1, integers=True)
    for turn in range(40):

        def choose(found: dict[str, list[Any]], turn: int = turn) -> Any:
            schedules = [schedule for kind in sorted(found) for schedule in found[kind]]
            return schedules[turn % len(schedules)]

        agrees(spec, "x", planned_for(spec, "x", choose)(first, second, bias), first, second, bias, exact=True)


def test_the_tables_meet_every_kind() -> None:
    kinds: set[str] = set()
    for x, w, arguments in TABLE.values():
        for produces in "xw":
            plan = plan_for(product(describe(x, w, **arguments), produces), produces=produces)
            kinds |= {name for job in plan.work.jobs for name in by_kind(job)}
    words = {word for name in kinds for word in name.split()}
    assert {"Space", "Channel", "Outer", "Dot", "panel", "lanewise"} <= words
    assert any(name.startswith("Outer") and "panel" not in name for name in kinds)


# What people call -------------------------------------------------------------------------------------------------------------

PADDINGS: st.SearchStrategy[Any] = st.sampled_from(["valid", "same", "same_lower", "full", "causal", 0, 1, 2])


def three(spec: Convolution, x: Array, w: Array, dy: Array) -> tuple[Array, Array, Array]:
    """y, dx and dw through the public functions."""
    arguments = {name: value for name, value in as_arguments(spec).items() if name != "activation"}
    if not spec.shared:
        arguments["sharing"] = "tiled"
    y = jj.conv(x, w, **arguments)
    return y, jj.conv_grad_input(dy, w, x.shape, **arguments), jj.conv_grad_weight(x, dy, w.shape, **arguments)


@settings(max_examples=20)
@given(spec=convolutions(sites=SITES, epilogue=False, max_axes=4, constants=(0.0,)), seed=st.integers(0, 99), single=st.booleans())
def test_gradients_are_adjoints(spec: Convolution, seed: int, single: bool) -> None:
    rng = np.random.default_rng(seed)
    spec = dataclasses.replace(spec, batch=1 if single else spec.batch)
    shapes = spec.x_shape, spec.w_shape, spec.y_shape
    x, w, dy = (rng.integers(-4, 4, shape, endpoint=True).astype(spec.dtypes.sum) for shape in shapes)
    y, dx, dw = three(spec, x[0], w, dy[0]) if single else three(spec, x, w, dy)
    assert dx.shape == (x[0] if single else x).shape
    assert dw.shape == w.shape
    expected = float(np.vdot(y.reshape(-1), dy.reshape(-1)))  # of integers: exact
    assert np.vdot(x.reshape(-1), dx.reshape(-1)) == expected
    assert np.vdot(w.reshape(-1), dw.reshape(-1)) == expected


@settings(max_examples=15)
@given(spec=convolutions(sites=SITES, epilogue=False, dtypes=("float64",), max_axes=2), seed=st.integers(0, 99))
def test_gradients_against_finite_differences(spec: Convolution, seed: int) -> None:
    # L = Σ dy·y² / 2 is quadratic in x and in w, so that central differences are exact but for rounding.
    rng = np.random.default_rng(seed)
    x, w, weight = (rng.standard_normal(shape) for shape in (spec.x_shape, spec.w_shape, spec.y_shape))
    arguments = {name: value for name, value in as_arguments(spec).items() if name != "activation"}

    def loss(x: Array, w: Array) -> float:
        return float((weight * jj.conv(x, w, **arguments) ** 2).sum() / 2)

    _, dx, dw = three(spec, x, w, weight * jj.conv(x, w, **arguments))
    scale = float((np.abs(weight) * jj.conv(np.abs(x) + 1, np.abs(w) + 1, **arguments) ** 2).sum())
    for turn in range(6):
        step_x, step_w = np.zeros_like(x), np.zeros_like(w)
        moved, gradient = ((step_x, dx), (step_w, dw))[turn % 2]
        at = tuple(rng.integers(length) for length in moved.shape)
        moved[at] = 0.25
        above, below = loss(x + step_x, w + step_w), loss(x - step_x, w - step_w)
        assert abs((above - below) / 0.5 - gradient[at]) < 1e-12 * (scale + 1)


def test_five_axes_and_a_signal() -> None:
    for x_shape, w_shape, arguments in (
        ((2, 3, 17), (4, 3, 3), {"stride": 2, "padding": 1}),
        ((1, 2, 3, 4, 3, 2, 5), (3, 2, 2, 1, 2, 2, 3), {"stride": (1, 2, 1, 1, 2), "padding": 1, "boundary": "symmetric"}),
    ):
        spec = describe(x_shape, w_shape, **arguments)
        x, dy, _ = operands(spec, "w", integers=True)
        _, w, _ = operands(spec, "x", integers=True)
        y, dx, dw = three(spec, x, w, dy)
        assert np.vdot(y, dy) == np.vdot(x, dx) == np.vdot(w, dw)


def test_mission_a11_and_d1() -> None:
    x, w = np.arange(1.0, 5).reshape(1, 1, 2, 2), np.arange(1.0, 10).reshape(1, 1, 3, 3)
    y = jj.conv_transpose(x, w)
    assert y.shape == (1, 1, 4, 4)
    units = np.eye(16).reshape(16, 1, 4, 4)
    matrix = jj.conv(units, w).reshape(16, 4).T  # C: 4 × 16
    assert np.count_nonzero(matrix) == 36
    assert (np.count_nonzero(matrix, axis=1) == 9).all()
    np.testing.assert_array_equal(y.reshape(16), matrix.T @ x.reshape(4))
    np.testing.assert_array_equal(jj.conv_grad_input(x, w, (1, 1, 4, 4)), y)
    # 3×3 input, 2×2 kernel: the 2×2 error padded to 4×4, convolved with the turned kernel
    error, kernel = np.array([[[[1.0, -2], [3, 5]]]]), np.array([[[[1.0, 2], [3, 4]]]])
    dx = jj.conv_grad_input(error, kernel, (1, 1, 3, 3))
    np.testing.assert_array_equal(dx, jj.conv(np.pad(error, ((0, 0), (0, 0), (1, 1), (1, 1))), kernel[..., ::-1, ::-1]))
    np.testing.assert_array_equal(dx, jj.conv(error, kernel, padding="full", flip=True))


def test_mission_d2() -> None:
    x, error = np.arange(1.0, 10).reshape(1, 1, 3, 3), np.array([[[[1.0, -2], [3, 5]]]])
    dw = jj.conv_grad_weight(x, error, (1, 1, 2, 2))
    np.testing.assert_array_equal(dw, jj.conv(x, error))  # the error as a kernel on the input
    np.testing.assert_array_equal(dw[0, 0], [[34, 41], [55, 62]])
    np.testing.assert_array_equal(jj.conv_grad_bias(error), [7])


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8", "int64", "complex64", "bool"])
def test_gradient_of_the_bias(dtype: str, layout: str) -> None:
    rng = np.random.default_rng(5)
    dy = rng.integers(0, 2 if dtype == "bool" else 90, (2, 3, 4, 5)).astype(dtype)
    axis = 1 if layout == "channels_first" else 3
    db = jj.conv_grad_bias(dy, layout=layout)
    assert db.dtype == (np.int64 if np.dtype(dtype).kind in "iub" else dtype)
    np.testing.assert_array_equal(db, dy.astype("complex128").sum(tuple({0, 1, 2, 3} - {axis})))
    np.testing.assert_array_equal(jj.conv_grad_bias(dy, db.shape, layout=layout), db)
    tiled = jj.conv_grad_bias(dy, (2, 1, dy.shape[axis]), layout=layout)
    rows = np.moveaxis(dy.astype("complex128"), axis, -1)
    np.testing.assert_array_equal(tiled, np.stack([rows[:, t::2].sum((0, 1, 2)) for t in range(2)])[:, None])


def test_gradient_of_the_bias_saturates() -> None:
    dy = np.full((1, 2, 3), 2**62, np.int64)
    dy[:, 1] *= -1
    assert jj.conv_grad_bias(dy).tolist() == [2**63 - 1, -(2**63)]
    assert jj.conv_grad_bias(np.full((1, 1, 4), 2**64 - 1, np.uint64)).tolist() == [2**63 - 1]


# Transposed convolution -------------------------------------------------------------------------------------------------------


@st.composite
def transposes(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]:
    """Shapes of x and w and arguments of a small transposed convolution."""
    n = draw(st.integers(1, 3))
    size = tuple(draw(st.integers(1, 5 - n)) for _ in range(n))
    kernel = tuple(draw(st.integers(1, 3)) for _ in range(n))
    groups, inner, own = (draw(st.integers(1, 2)) for _ in range(3))
    strides = [draw(st.integers(1, 3)) for _ in range(n)]
    padding = draw(PADDINGS)
    layout = draw(st.sampled_from(["channels_first", "channels_last"]))
    order = draw(st.sampled_from([None, "OI*", "*IO", "O*I"]))
    arguments: dict[str, Any] = {
        "stride": strides,
        "padding": padding,
        "dilation": draw(st.integers(1, 2)),
        "groups": groups,
        "boundary": draw(st.sampled_from(["zero", "edge", "reflect", "symmetric", "wrap", ("constant", 5)])),
        "flip": draw(st.booleans()),
        "layout": layout,
        "weight_layout": order,
    }
    if not str(padding).startswith("same"):
        arguments["output_padding"] = [draw(st.integers(0, s - 1)) for s in strides]
    features = groups * own
    w_shape = {"OI*": (features, inner, *kernel), "*IO": (*kernel, inner, features), "O*I": (features, *kernel, inner)}
    x_shape = (2, features, *size) if layout == "channels_first" else (2, *size, features)
    return x_shape, w_shape[order or ("OI*" if layout == "channels_first" else "*IO")], arguments


def lengths(x_shape: tuple[int, ...], w_shape: tuple[int, ...], arguments: dict[str, Any]) -> tuple[int, ...]:
    """The spatial shape of a transposed convolution's output, by the formula."""
    n, last = len(x_shape) - 2, arguments["layout"] == "channels_last"
    size = x_shape[1:-1] if last else x_shape[2:]
    first = {"OI*": 2, "*IO": 0, "O*I": 1, None: 0 if last else 2}[arguments["weight_layout"]]
    padding = arguments["padding"]
    found = []
    for axis, (p, kernel, stride) in enumerate(zip(size, w_shape[first : first + n], arguments["stride"], strict=True)):
        reach = arguments["dilation"] * (kernel - 1)
        pads = 2 * padding if isinstance(padding, int) else {"valid": 0, "full": 2 * reach, "causal": reach}.get(padding)
        extra = arguments.get("output_padding", [0] * n)[axis]
        found.append(p * stride if pads is None else (p - 1) * stride - pads + reach + 1 + extra)
    return tuple(found)


@settings(max_examples=25)
@given(drawn=transposes(), seed=st.integers(0, 99))
def test_transposed_convolution_is_the_transposed_matrix(drawn: Any, seed: int) -> None:
    x_shape, w_shape, arguments = drawn
    rng = np.random.default_rng(seed)
    x, w = (rng.integers(-4, 4, shape, endpoint=True).astype(np.float64) for shape in (x_shape, w_shape))
    try:
        y = jj.conv_transpose(x, w, **arguments)
    except ShapeError as error:  # more padding than there is output
        assert "the output would have" in str(error)  # noqa: PT017
        return
    forward = {name: value for name, value in arguments.items() if name != "output_padding"}
    forward["boundary"] = "zero" if isinstance(forward["boundary"], tuple) else forward["boundary"]  # a constant is not linear
    assert (y.shape[1:-1] if arguments["layout"] == "channels_last" else y.shape[2:]) == lengths(x_shape, w_shape, arguments)
    count = math.prod(y.shape[1:])
    columns = jj.conv(np.eye(count).reshape(count, *y.shape[1:]), w, **forward)
    assert columns.shape[1:] == x.shape[1:]
    matrix = columns.reshape(count, -1)  # row j: what the unit at place j gives
    np.testing.assert_array_equal(y.reshape(2, -1), x.reshape(2, -1) @ matrix.T)
    np.testing.assert_array_equal(jj.conv_transpose(x[1], w, **arguments), y[1])
    # its own gradients: the forward product, and that of the weights with exchanged roles
    dy = rng.integers(-4, 4, y.shape, endpoint=True).astype(np.float64)
    expected = np.vdot(y, dy)
    assert np.vdot(jj.conv(dy, w, **forward), x) == expected
    assert np.vdot(jj.conv_grad_weight(dy, x, w.shape, **forward), w) == expected


@pytest.mark.parametrize(("activation", "dtype"), list(zip((None, *ACTIVATIONS), FLOATS * 3, strict=True)))
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"stride": 2, "output_padding": 1},
        {"stride": (4, 5), "output_padding": (1, 3)},  # phases that no tap reaches
        {"padding": 2, "boundary": "reflect"},
        {"stride": (4, 1), "padding": 1, "boundary": ("wrap", "edge")},  # both
        {"stride": (4, 5), "layout": "channels_last"},
        {"stride": 3, "padding": 1, "boundary": ("symmetric", "zero"), "layout": "channels_last"},
    ],
)
def test_epilogues(arguments: dict[str, Any], activation: str | None, dtype: str) -> None:
    rng = np.random.default_rng(3)
    first = arguments.get("layout") != "channels_last"
    x_shape, w_shape = ((2, 5, 6, 7), (5, 18, 3, 3)) if first else ((2, 6, 7, 5), (3, 3, 18, 5))
    x, w, bias = (rng.standard_normal(shape).astype(dtype) for shape in (x_shape, w_shape, (18,)))
    plain = jj.conv_transpose(x, w, **arguments).astype(np.float64)
    spec = describe((1, 1, 1), (1, 1, 1), activation=activation)
    expected = reference.activate(spec, plain + (bias.reshape(-1, 1, 1) if first else bias))
    y = jj.conv_transpose(x, w, bias, activation=activation, **arguments)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, expected, rtol=0, atol=64 * np.finfo(dtype).eps * np.abs(plain).max())
    out = np.full_like(y, np.nan)
    assert jj.conv_transpose(x, w, bias, activation=activation, out=out, **arguments) is out
    assert same_bits(out, y)


@pytest.mark.parametrize("boundary", ["zero", "edge"])
@pytest.mark.parametrize("out_dtype", PICTURES)
def test_pictures_are_rounded_and_saturated(out_dtype: str, boundary: str) -> None:
    rng = np.random.default_rng(4)
    x, w = rng.integers(0, 255, (1, 1, 9, 11)).astype("uint8"), f32(rng.standard_normal((1, 1, 3, 3)))
    for stride in (1, 2, 4):
        arguments: dict[str, Any] = {"stride": stride, "padding": 1, "boundary": boundary}
        exact = jj.conv_transpose(x, w, f32([0.25]), **arguments)
        y = jj.conv_transpose(x, w, f32([0.25]), out_dtype=out_dtype, **arguments)
        np.testing.assert_array_equal(y, np.clip(np.rint(exact), 0, np.iinfo(out_dtype).max))
        assert (exact < 0).any()


def test_weights_of_a_picture() -> None:
    x, dy = np.full((1, 1, 4, 40), 255, np.uint8), np.ones((1, 1, 4, 40), np.float32)
    dw = jj.conv_grad_weight(x, dy, (1, 1, 1, 1))
    assert dw.dtype == np.float32
    assert dw.item() == 255 * 160
    assert jj.conv_grad_weight(x, dy, (1, 1, 1, 1), out_dtype="uint8").item() == 255
    assert jj.conv_grad_weight(x, dy, (1, 1, 1, 1), out_dtype="uint16").item() == 255 * 160
    assert jj.conv_grad_weight(x, -dy, (1, 1, 1, 1), out_dtype="uint16").item() == 0


def test_mixed_floats_promote() -> None:
    a, b = np.ones((1, 1, 4, 4), np.float32), np.ones((1, 1, 3, 3), np.float64)
    assert jj.conv_transpose(a, b).dtype == jj.conv_grad_weight(a, b, (1, 1, 2, 2)).dtype == np.float64
    assert jj.conv_grad_input(a, b, (1, 1, 6, 6)).dtype == jj.conv_grad_input(b, a, (1, 1, 6, 6)).dtype == np.float64


def test_the_named_forms_of_one_argument() -> None:
    x, w = np.ones((1, 4, 5, 5)), np.ones((4, 3, 3, 3))
    expected = jj.conv_transpose(x, w, groups=2, stride=2)
    np.testing.assert_array_equal(jj.conv_transpose(x, w, groups=np.int64(2), stride=np.array([2, 2])), expected)
    np.testing.assert_array_equal(jj.conv_transpose(x.tolist(), w.tolist(), groups=np.array(2), stride=[2, np.int8(2)]), expected)
    np.testing.assert_array_equal(jj.conv_grad_input(x, w, np.array(expected.shape), groups=2, stride=2), expected)
    np.testing.assert_array_equal(jj.conv_grad_input(x, w, list(expected.shape), groups=2, stride=2), expected)


# Bits -------------------------------------------------------------------------------------------------------------------------

JOBS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "picture": ((3, 1, 201, 203), (1, 1, 5, 5), {"padding": 2, "boundary": "reflect"}),
    "first layer": ((3, 3, 64, 75), (40, 3, 7, 7), {"padding": 3, "stride": 2}),
    "dense": ((3, 66, 28, 29), (83, 66, 3, 3), {"padding": 1}),
    "dense, channels last": ((3, 28, 29, 66), (3, 3, 66, 83), {"padding": 1, "layout": "channels_last", "boundary": "edge"}),
    "whole vectors": ((3, 14, 14, 64), (3, 3, 64, 128), {"layout": "channels_last"}),
    "depthwise": ((3, 56, 57, 68), (3, 3, 1, 68), {"groups": 68, "padding": 1, "layout": "channels_last", "stride": 2}),
    "depthwise planes": ((3, 20, 56, 57), (20, 1, 3, 3), {"groups": 20, "padding": 1}),
    "volume": ((2, 6, 11, 12, 33), (20, 6, 3, 3, 3), {"padding": 1, "boundary": "wrap"}),
}  # fmt: skip


def job(name: str, produces: str) -> tuple[Array, Array, Callable[..., Array]]:
    """The two operands, normal, and the function that makes the product of them."""
    x_shape, w_shape, arguments = JOBS[name]
    spec = describe(x_shape, w_shape, **arguments)
    first, second, _ = operands(spec, produces, seed=len(name))

    def compute(first: Array, second: Array, **more: Any) -> Array:
        shape = w_shape if produces == "w" else (*first.shape[: first.ndim - len(x_shape) + 1], *x_shape[1:])
        function: Callable[..., Array] = jj.conv_grad_input if produces == "x" else jj.conv_grad_weight
        return function(first, second, shape, **arguments, **more)

    return first, second, compute


@pytest.mark.parametrize("produces", ["x", "w"])
@pytest.mark.parametrize("name", JOBS)
def test_threads_and_runs(name: str, produces: str) -> None:
    first, second, compute = job(name, produces)
    one = compute(first, second, threads=1)
    for threads in (2, 3, 1):
        assert same_bits(compute(first, second, threads=threads), one), threads
    out = np.full_like(one, np.nan)
    assert compute(first, second, out=out) is out
    assert same_bits(out, one)


@pytest.mark.parametrize("name", JOBS)
def test_batch(name: str) -> None:
    dy, w, compute = job(name, "x")
    together = compute(dy, w)
    for i in range(len(dy)):
        assert same_bits(compute(dy[i : i + 1], w), together[i : i + 1])
        assert same_bits(compute(dy[i], w), together[i])


@settings(max_examples=15)
@given(spec=convolutions(sites=SITES, epilogue=False, max_channels=20, max_groups=2, max_axes=2), seed=st.integers(0, 99))
def test_batches_of_random_descriptions(spec: Convolution, seed: int) -> None:
    dy, w, _ = operands(dataclasses.replace(spec, batch=1), "x", seed)
    arguments = {name: value for name, value in as_arguments(spec).items() if name != "activation"}
    one = jj.conv_grad_input(dy, w, (1, *spec.x_shape[1:]), **arguments)
    five = jj.conv_grad_input(np.concatenate([dy, -dy, dy, dy[..., ::-1], dy]), w, (5, *spec.x_shape[1:]), **arguments)
    for i in (0, 2, 4):
        assert same_bits(five[i : i + 1], one)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("produces", ["x", "w"])
@pytest.mark.parametrize("name", JOBS)
def test_views(name: str, produces: str, view: str) -> None:
    first, second, compute = job(name, produces)
    expected = compute(first, second)
    kept = first.copy(), second.copy()
    assert same_bits(compute(VIEWS[view](first), VIEWS[view](second)), expected)
    out = VIEWS[view](np.zeros_like(expected))
    if out.flags.writeable:
        assert compute(first, second, out=out) is out
        np.testing.assert_array_equal(out, expected)
    for array, before in zip((first, second), kept, strict=True):
        np.testing.assert_array_equal(array, before)


def test_channels_last_views_of_planes() -> None:
    for name, produces in (("dense", "x"), ("dense", "w"), ("depthwise planes", "w")):
        first, second, compute = job(name, produces)
        other = second if produces == "x" else np.moveaxis(np.moveaxis(second, 1, -1).copy(), -1, 1)
        assert same_bits(compute(np.moveaxis(np.moveaxis(first, 1, -1).copy(), -1, 1), other), compute(first, second))


@settings(max_examples=20)
@given(
    spec=convolutions(epilogue=False, max_axes=2, max_channels=20, max_groups=2), produces=st.sampled_from("xw"), seed=st.integers(0, 99)
)  # fmt: skip
def test_schedules(spec: Convolution, produces: str, seed: int) -> None:
    first, second, _ = operands(spec, produces, seed)

    def result(end: int) -> Array:
        plan = planned_for(spec, produces, lambda found: found[sorted(found)[end]][seed % len(found[sorted(found)[end]])])
        return plan(first, second)

    assert same_bits(result(0), result(-1))


@pytest.mark.parametrize("produces", ["x", "w"])
def test_the_result_may_share_memory_with_an_operand(produces: str) -> None:
    rng = np.random.default_rng(1)
    w = f32(rng.standard_normal((48, 48, 3, 3)))
    if produces == "x":
        dy = f32(rng.standard_normal((2, 48, 9, 9)))
        expected, out = jj.conv_grad_input(dy, w, dy.shape, padding=1), dy.copy()
        assert same_bits(jj.conv_grad_input(out, w, dy.shape, padding=1, out=out), expected)
        for stride in (1, 3):
            room = dy.reshape(-1).copy()
            first = room[: 2 * 48 * 9].reshape(2, 48, 3, 3)
            out = room[: 2 * 48 * 9 * stride * stride].reshape(2, 48, 3 * stride, 3 * stride)
            arguments: dict[str, Any] = {"padding": "same", "stride": stride}
            expected = jj.conv_grad_input(first.copy(), w, out.shape, **arguments)
            assert same_bits(jj.conv_grad_input(first, w, out.shape, out=out, **arguments), expected)
        return
    x = f32(rng.standard_normal((96, 8, 5, 5)))
    dy = f32(rng.standard_normal((96, 400, 3, 3)))
    expected = jj.conv_grad_weight(x, dy, (400, 8, 3, 3))
    for threads in (1, 2):
        room = dy.copy()
        out = room.reshape(-1)[: expected.size].reshape(expected.shape)
        assert same_bits(jj.conv_grad_weight(x, room, expected.shape, out=out, threads=threads), expected)
        second = np.concatenate([x.reshape(-1), np.zeros(expected.size - x.size, np.float32)])
        out = second.reshape(expected.shape)
        assert same_bits(jj.conv_grad_weight(second[: x.size].reshape(x.shape), dy, expected.shape, out=out, threads=threads), expected)


@pytest.mark.parametrize("boundary", ["zero", "reflect"])
def test_infinity_and_nan_pass_without_warnings(boundary: str) -> None:
    dy = f32(np.ones((1, 17, 6, 7)))
    dy[0, 0, 0, :2] = np.inf, -np.inf
    dy[0, 1, 2, 2] = np.nan
    dy[0, 2] = 3e38
    w = np.ones((17, 3, 3, 3), np.float32)
    spec = describe((1, 3, 6, 7), w.shape, padding=1, boundary=boundary)
    dx = jj.conv_grad_input(dy, w, (1, 3, 6, 7), padding=1, boundary=boundary)
    with np.errstate(invalid="ignore", over="ignore"):
        expected = adjoints.grad_input(spec, dy, w).astype(np.float32)
    np.testing.assert_array_equal(np.isnan(dx), np.isnan(expected))
    assert np.isinf(dx[~np.isnan(dx)]).any()
    dw = jj.conv_grad_weight(np.ones((1, 3, 6, 7), np.float32), dy, w.shape, padding=1, boundary=boundary)
    assert np.isnan(dw[:2]).any()
    assert np.isinf(dw[2]).all()


def test_sums_of_infinities_do_not_warn() -> None:
    # Where arrays are added afterwards: strips of border to the input's gradient, segments of a long sum, a bias.
    dy = np.zeros((1, 1, 400, 500), np.float32)
    dy[0, 0, 0, 0], dy[0, 0, 1, 1] = np.inf, -np.inf
    dy[0, 0, 0, 2], dy[0, 0, 0, 4], dy[0, 0, -1] = 3e38, 3e38, -np.inf
    w = np.ones((1, 1, 3, 3), np.float32)
    dx = jj.conv_transpose(dy, w, f32([-np.inf]), padding=1, boundary="edge")
    assert np.isnan(dx[0, 0, 0, 0])
    assert np.isnan(jj.conv_grad_input(dy, w, dy.shape, padding=1, boundary="edge")[0, 0, 0, 0])
    dy = np.tile(dy, (1, 1, 2, 2))
    x = np.ones_like(dy)
    plan = plan_for(describe(x.shape, w.shape, padding=1), produces="w")
    assert plan.work.more[0][0] > 1
    assert np.isnan(plan(x, dy)).all()


# Bounds -----------------------------------------------------------------------------------------------------------------------


def placed(pack: Callable[[Array], Array], at_end: bool) -> Callable[[Array], Array]:
    """Packing whose result lies beside a protected page."""
    return lambda array: beside(pack(array), at_end)


def compute_beside_pages(plan: Plan, ends: tuple[bool, bool, bool, bool], threads: int = 1) -> None:
    """The product with every array beside a protected page: the first, the second packed, results and strips, scratch."""
    spec, produces = plan.spec, plan.produces
    print(repr(spec), *(part.schedule for part in plan.parts), plan.machine.l1, plan.machine.l2, ends, sep="\n", flush=True)
    first, second, bias = operands(spec, produces, seed=1, integers=True)
    for part in plan.parts:
        program = part.program
        weights, biases = placed(program.pack_weights, ends[1]), placed(program.pack_bias, ends[1])
        part.program = dataclasses.replace(program, pack_weights=weights, pack_bias=biases)

    def beside_pages(self: object, size: int) -> tuple[int, object]:
        return scratch(size, ends[3])

    type(run._thread).scratch = beside_pages  # type: ignore[method-assign,assignment]
    vars(plan_module)["empty_aligned"] = lambda shape, dtype: guarded(shape, dtype, ends[2])
    name, shape = (spec.dtypes.x, spec.x_shape) if produces == "x" else (spec.dtypes.w, spec.w_shape)
    out = guarded(shape, name, ends[2])
    plan(beside(first, ends[0]), second, bias, out=out, threads=threads)
    agrees(spec, produces, out, first, second, bias, exact=True)


def random_batch(family: str, produces: str, examples: int) -> None:
    @settings(max_examples=examples, deadline=None, database=None)
    @given(data=st.data(), ends=st.tuples(*[st.booleans()] * 4), threads=st.integers(1, 2))
    def draw(data: st.DataObject, ends: tuple[bool, bool, bool, bool], threads: int) -> None:
        compute_beside_pages(data.draw(plans(FAMILIES[family], produces)), ends, threads)

    draw()


def large_batch(produces: str, names: list[str]) -> None:
    for number, name in enumerate(names):
        x, w, arguments = TABLE[name]
        spec = product(describe(x, w, dtype=FLOATS[number % 2], **arguments), produces)
        machine = machines.probe()
        for turn in range(3):
            small = dataclasses.replace(machine, l1=1 << 13, l2=1 << 16) if turn == 1 else machine
            ends = (turn != 2,) * 4

            def choose(found: dict[str, list[Any]], turn: int = turn) -> Any:
                schedules = found[sorted(found)[turn % len(found)]]
                return schedules[turn * 5 % len(schedules)]

            compute_beside_pages(planned_for(spec, produces, choose, small), ends, 1 + turn % 2)


def batch(call: str) -> None:
    """Run one batch in its own process."""
    ended = python(f"import test_gradients; test_gradients.{call}", timeout=600)
    if ended.returncode:
        how = f"signal {signal.Signals(-ended.returncode).name}" if ended.returncode < 0 else f"status {ended.returncode}"
        pytest.fail(f"{how} in {call}, computing\n{ended.stdout[-2500:]}\n{ended.stderr[-4000:]}")


@pytest.mark.parametrize("produces", ["x", "w"])
@pytest.mark.parametrize("family", ["wide", "depthwise"])
def test_nothing_outside_the_arrays_is_touched(family: str, produces: str) -> None:
    batch(f"random_batch({family!r}, {produces!r}, 12)")


@pytest.mark.slow
@pytest.mark.parametrize("produces", ["x", "w"])
@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_outside_the_arrays_is_touched_by_many(family: str, produces: str) -> None:
    batch(f"random_batch({family!r}, {produces!r}, 700)")


@pytest.mark.slow
@pytest.mark.parametrize("produces", ["x", "w"])
@pytest.mark.parametrize("part", range(3))
def test_nothing_outside_large_arrays_is_touched(part: int, produces: str) -> None:
    batch(f"large_batch({produces!r}, {list(TABLE)[part::3]!r})")


# Memory -----------------------------------------------------------------------------------------------------------------------

BIG: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "picture": ((1, 1, 1500, 2000), (1, 1, 5, 5), {"padding": 2, "boundary": "reflect"}),
    "first layer": ((8, 3, 224, 224), (64, 3, 7, 7), {"padding": 3, "stride": 2}),
    "dense": ((8, 64, 56, 56), (64, 64, 3, 3), {"padding": 1, "boundary": "edge"}),
    "dense, channels last": ((8, 56, 56, 64), (3, 3, 64, 64), {"padding": 1, "layout": "channels_last"}),
    "pointwise": ((8, 28, 28, 128), (1, 1, 128, 256), {"layout": "channels_last"}),
    "depthwise": ((8, 112, 112, 32), (3, 3, 1, 32), {"padding": 1, "groups": 32, "layout": "channels_last"}),
    "signal": ((1, 2, 1_000_000), (3, 2, 65), {"padding": "same"}),
    "volume": ((2, 16, 32, 32, 32), (16, 16, 3, 3, 3), {"padding": 1, "boundary": "wrap", "stride": 2}),
}


@pytest.mark.parametrize("produces", ["x", "w"])
@pytest.mark.parametrize("name", BIG)
def test_scratch_is_small(name: str, produces: str) -> None:
    x_shape, w_shape, arguments = BIG[name]
    spec = describe(x_shape, w_shape, **arguments)
    plan = plan_for(spec, produces=produces)
    assert plan.scratch <= 4 << 20
    assert plan.scratch + plan.buffers <= 0.1 * spec.bytes_moved + (1 << 20), str(plan)


@pytest.mark.parametrize("produces", ["x", "w"])
@pytest.mark.parametrize("name", BIG)
def test_no_hidden_copies(name: str, produces: str) -> None:
    x_shape, w_shape, arguments = BIG[name]
    spec = describe(x_shape, w_shape, **arguments)
    first, second, _ = operands(spec, produces)
    plan = plan_for(spec, produces=produces)
    out = np.empty(x_shape if produces == "x" else w_shape, np.float32)
    plan(first, second, out=out, threads=1)  # compiled, scratch in place
    tracemalloc.start()
    try:
        plan(first, second, out=out, threads=1)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    packed = 1.1 * second.nbytes if produces == "x" else 0
    if plan.algorithm == "winograd":  # transformed: (4 + 3 − 1)² for each 3²
        packed += 4 * second.nbytes
    assert most <= plan.buffers + 1.5 * packed + 0.05 * spec.bytes_moved + 100_000, str(plan)


# Bad input --------------------------------------------------------------------------------------------------------------------

X, W, DY = np.ones((2, 4, 6, 7), np.float32), np.ones((6, 2, 3, 3), np.float32), np.ones((2, 6, 4, 5), np.float32)


def refused(call: Callable[[], object], error: type[JuanjiError], words: str) -> None:
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert words in message, message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("shape", "arguments", "error", "words"),
    [
        ((2, 4, 6, 8), {"groups": 2}, ShapeError, "input_shape"),
        ((3, 4, 6, 7), {"groups": 2}, ShapeError, "input_shape"),
        ((2, 4, 7, 7), {"groups": 2, "stride": 2}, ShapeError, "input_shape"),
        ((2, 3, 6, 7), {"groups": 2}, ShapeError, "groups"),
        ((2, 2, 6, 7), {"groups": 2}, ShapeError, "channels"),
        ((4, 6, 7), {"groups": 2}, ShapeError, "axes"),
        ((2, 4, 2, 2), {"groups": 2}, ShapeError, "kernel of size 3"),
        (5, {}, ArgumentError, "input_shape"),
        ("abcd", {}, ArgumentError, "input_shape"),
        ((2, 4, 6.0, 7), {}, ArgumentError, "input_shape"),
        ((2, 4, -6, 7), {}, ArgumentError, "-6"),
        (X, {}, ArgumentError, "give that shape, not the array"),
        (None, {}, ArgumentError, "input_shape"),
        ((2, 4, 6, 7), {"groups": 2, "stride": 0}, ArgumentError, "stride"),
        ((2, 4, 6, 7), {"groups": 2, "layout": "NCHW"}, ArgumentError, "layout"),
        ((2, 4, 6, 7), {"groups": 2, "weight_layout": ["OI*"]}, ArgumentError, "weight_layout"),
        ((2, 4, 6, 7), {"groups": 2, "boundary": "mirror"}, ArgumentError, "boundary"),
        ((2, 4, 6, 7), {"groups": 2, "algorithm": "fast"}, ArgumentError, "algorithm"),
        ((2, 4, 6, 7), {"groups": 2, "precision": "low"}, ArgumentError, "precision"),
        ((2, 4, 6, 7), {"groups": 2, "threads": 0}, ArgumentError, "threads"),
        ((2, 4, 6, 7), {"groups": 2, "out": np.zeros((2, 4, 6, 8), "f4")}, ShapeError, "out"),
        ((2, 4, 6, 7), {"groups": 2, "out": np.zeros((2, 4, 6, 7), "f8")}, DtypeError, "out"),
        ((2, 4, 6, 7), {"groups": 2, "out": [0]}, ShapeError, "out"),
        ((2, 4, 6, 7), {"groups": 2, "out_dtype": "nothing"}, DtypeError, "out_dtype"),
        ((2, 4, 6, 7), {"groups": 2, "sharing": "all"}, ArgumentError, "sharing"),
    ],
)
def test_bad_gradient_of_the_input(shape: Any, arguments: dict[str, Any], error: type[JuanjiError], words: str) -> None:
    refused(lambda: jj.conv_grad_input(DY, W, shape, **arguments), error, words)


@pytest.mark.parametrize(
    ("dy", "shape", "arguments", "error", "words"),
    [
        (DY, (6, 2, 3, 2), {"groups": 2}, ShapeError, "weight_shape"),
        (DY, (5, 4, 3, 3), {}, ShapeError, "weight_shape"),
        (DY, (6, 3, 3, 3), {}, ShapeError, "channels"),
        (DY[0], (6, 2, 3, 3), {"groups": 2}, ShapeError, "dy"),
        (DY[:1], (6, 2, 3, 3), {"groups": 2}, ShapeError, "dy"),
        (DY, (6, 2, 3), {"groups": 2}, ShapeError, "axes"),
        (DY, (6, 2), {"groups": 2}, ShapeError, "w of shape"),
        (DY, 3, {}, ArgumentError, "weight_shape"),
        (DY, W, {}, ArgumentError, "give that shape, not the array"),
        (DY, (6, 2, 0, 3), {"groups": 2}, ShapeError, "at least one element"),
        (DY, (6, 2, 3, 3), {"groups": 2, "out": np.zeros((6, 2, 3, 4), "f4")}, ShapeError, "out"),
        (DY, (6, 2, 3, 3), {"groups": 2, "out": np.zeros((6, 2, 3, 3), "f8")}, DtypeError, "out"),
        (DY.astype("U1"), (6, 2, 3, 3), {"groups": 2}, DtypeError, "dy"),
        (3.0, (6, 2, 3, 3), {"groups": 2}, ShapeError, "dy"),
    ],
)
def test_bad_gradient_of_the_weights(dy: Any, shape: Any, arguments: dict[str, Any], error: type[JuanjiError], words: str) -> None:
    refused(lambda: jj.conv_grad_weight(X, dy, shape, **arguments), error, words)


@pytest.mark.parametrize(
    ("x", "arguments", "error", "words"),
    [
        (DY, {"output_padding": 1}, ArgumentError, "output_padding (=1) of axis 0 must be below the stride (=1)"),
        (DY, {"output_padding": (0, 3), "stride": (1, 3)}, ArgumentError, "of axis 1 must be below"),
        (DY, {"output_padding": -1}, ArgumentError, "output_padding"),
        (DY, {"output_padding": (0, 0, 0)}, ArgumentError, "output_padding"),
        (DY, {"output_padding": 1, "stride": 2, "padding": "same"}, ArgumentError, "output_padding"),
        (DY, {"padding": "most"}, ArgumentError, "padding"),
        (DY, {"padding": "same as it ever was"}, ArgumentError, "padding"),
        (DY, {"padding": 5}, ShapeError, "the output would have"),
        (DY[:, :4], {}, ShapeError, "x has 4 channels"),
        (DY, {"groups": 4}, ShapeError, "groups"),
        (DY, {"groups": "2"}, ArgumentError, "groups"),
        (DY, {"groups": 0}, ArgumentError, "groups"),
        (DY, {"stride": 0}, ArgumentError, "stride"),
        (DY, {"layout": "NHWC"}, ArgumentError, "layout"),
        (DY, {"layout": ["channels_first"]}, ArgumentError, "layout"),
        (DY, {"weight_layout": "IO*"}, ArgumentError, "weight_layout"),
        (DY, {"weight_layout": ["OI*"]}, ArgumentError, "weight_layout"),
        (DY, {"activation": "gelu"}, ArgumentError, "activation"),
        (DY, {"bias": np.ones(6)}, ShapeError, "bias has shape (6,), but must have (2,)"),
        (DY, {"bias": np.ones((1, 2))}, ShapeError, "bias"),
        (DY, {"bias": np.ones(2, "c16")}, DtypeError, "bias"),
        (DY, {"out": np.zeros((2, 2, 6, 6), "f4")}, ShapeError, "out"),
        (DY[0, 0], {}, ShapeError, "axes"),
        (DY[0, 0, 0, 0], {}, ShapeError, "x"),
        (DY[:, :, :0], {}, ShapeError, ""),
    ],
)
def test_bad_transposed_convolutions(x: Any, arguments: dict[str, Any], error: type[JuanjiError], words: str) -> None:
    refused(lambda: jj.conv_transpose(x, W, **arguments), error, words)


@pytest.mark.parametrize(
    ("dy", "arguments", "error", "words"),
    [
        (DY, {"bias_shape": (5,)}, ShapeError, "bias_shape"),
        (DY, {"bias_shape": (2, 6)}, ShapeError, "bias_shape"),
        (DY, {"bias_shape": (5, 1, 6)}, ShapeError, "bias_shape"),
        (DY, {"bias_shape": ()}, ShapeError, "bias_shape"),
        (DY, {"bias_shape": (0, 1, 6)}, ShapeError, "bias_shape"),
        (DY, {"bias_shape": 6}, ArgumentError, "bias_shape"),
        (DY, {"layout": "NCHW"}, ArgumentError, "layout"),
        (DY[0, 0], {}, ShapeError, "dy"),
        (np.array([None]), {}, DtypeError, "dy"),
    ],
)
def test_bad_gradient_of_the_bias(dy: Any, arguments: dict[str, Any], error: type[JuanjiError], words: str) -> None:
    refused(lambda: jj.conv_grad_bias(dy, **arguments), error, words)


@pytest.mark.parametrize("arguments", [{}, {"stride": 2}, {"padding": 1, "boundary": "edge"}])
def test_empty_batches(arguments: dict[str, Any]) -> None:
    y = jj.conv_transpose(np.ones((0, 6, 4, 5), np.float32), W, np.ones(2), activation="tanh", **arguments)
    assert y.shape[:2] == (0, 2)
    shape = jj.conv(np.ones((2, 2, 6, 7), np.float32), W, **arguments).shape
    assert jj.conv_grad_input(np.ones((0, *shape[1:]), np.float32), W, (0, 2, 6, 7), **arguments).shape == (0, 2, 6, 7)
    out = np.full(W.shape, np.nan, np.float32)
    dw = jj.conv_grad_weight(np.ones((0, 2, 6, 7), np.float32), np.ones((0, *shape[1:]), np.float32), W.shape, out=out, **arguments)
    assert dw is out
    assert not dw.any()
    assert not jj.conv_grad_bias(np.ones((0, 6, 4, 5))).any()


def test_plans_of_gradients_say_what_they_are() -> None:
    for produces, name in (("x", "gradient of the input"), ("w", "gradient of the weights")):
        plan = plan_for(describe((2, 3, 30, 31), (8, 3, 3, 3), padding=1, boundary="edge", stride=2), produces=produces)
        assert str(plan).startswith(name)
        assert plan.explain()["produces"] == name
        first, second, _ = operands(plan.spec, produces)
        same_bits(plan.bind(second)(first), plan(first, second))
        refused(lambda: plan(first[:1], second), ShapeError, "the plan is for")  # noqa: B023
        refused(lambda: plan(first, second[:1]), ShapeError, "the plan is for")  # noqa: B023
        refused(lambda: plan(first, second, np.ones(3)), ArgumentError, "bias is given")  # noqa: B023


# Generated code ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vectors", VECTORS)
@settings(max_examples=15)
@given(
    spec=st.one_of(
        convolutions(dtypes=(*FLOATS, *PICTURES)),
        convolutions(max_axes=2, max_channels=24, max_groups=2),
        convolutions(max_axes=2, max_channels=1, max_groups=24),
    ),
    produces=st.sampled_from("xw"), data=st.data(), integers=st.booleans(),
)  # fmt: skip
def test_every_kind_of_vector(vectors: str, spec: Convolution, produces: str, data: st.DataObject, integers: bool) -> None:
    def choose(found: dict[str, list[Any]]) -> Any:
        return data.draw(st.sampled_from(found[data.draw(st.sampled_from(sorted(found)))]))

    spec = product(spec, produces)
    plan = planned_for(spec, produces, choose, machine_with(vectors))
    first, second, bias = operands(spec, produces, seed=3, integers=integers)
    agrees(spec, produces, plan(first, second, bias), first, second, bias, exact=integers)


def tile(schedule: Any) -> tuple[int, ...]:
    """The extents of a schedule's tile."""
    return tuple(getattr(schedule, name, 1) for name in ("vectors", "features", "rows", "pixels", "block"))


def extreme(pick: Any, found: dict[str, list[Any]]) -> Any:
    """The least tile of the first kind, or the largest of the last."""
    return pick(found[pick(found)], key=tile)


@pytest.mark.parametrize("target", ["this machine", "aarch64", "avx2"])
@pytest.mark.parametrize("name", ["picture", "dense", "depthwise"])
def test_kernels_are_freestanding(name: str, target: str) -> None:
    machine = on(ARM) if target == "aarch64" else machines.probe() if target == "this machine" else machine_with(target)
    x_shape, w_shape, arguments = JOBS[name]
    for produces in "xw":
        spec = describe(x_shape, w_shape, dtype=FLOATS[len(name) % 2], **arguments)
        for pick in (min, max):
            plan = planned_for(spec, produces, partial(extreme, pick), machine)
            for part in {part.program.code: part for part in plan.parts[:2]}.values():
                text = part.program.emit(part.program.code, machine.target)
                assert called(assembly(text, machine.target)) == set(), str(part.schedule)
                assert 0 < len(compile_ir(text, machine.target)) < 64 << 10


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("produces", ["x", "w"])
def test_a_new_size_compiles_nothing(produces: str, layout: str) -> None:
    def codes(size: int, batch: int, stride: int) -> set[Any]:
        x = (batch, 20, size, size + 3) if layout == "channels_first" else (batch, size, size + 3, 20)
        w = (40, 20, 3, 3) if layout == "channels_first" else (3, 3, 20, 40)
        spec = describe(x, w, padding=1, stride=stride, layout=layout)

        return {part.program.code for part in planned_for(spec, produces, partial(extreme, min)).parts}

    for stride in (1, 2):
        assert codes(30, 1, stride) == codes(44, 2, stride)
