"""Small calls: what is found without a look at the arguments is what looking gives, and few steps lead to it."""

import ctypes
import sys
import threading
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import juanji as jj
from juanji import calls, run
from juanji.jit.arguments import Row
from juanji.jit.memory import address, apart
from juanji.run import BRIEF_CYCLES, run_items
from strategies import Array

X, W, DY = np.ones((1, 2, 9, 8), np.float32), np.ones((2, 2, 3, 3), np.float32), np.ones((1, 2, 7, 6), np.float32)
PICTURE, KERNEL = np.arange(72, dtype=np.float32).reshape(9, 8), np.arange(9, dtype=np.float32).reshape(3, 3)


@pytest.fixture(autouse=True)
def _nothing_met() -> None:
    calls._met.clear()


# Met before, or not ---------------------------------------------------------------------------------------------------------

LIKE_ONE: list[Any] = [
    1, True, 1.0, "1", np.int64(1), np.float32(1), np.bool_(True), np.array(1), np.array(1.0), np.array([1, 1]), [1, 1], (1, 1), (1, True),
    (1, 1.0), [1], (1, 1, 1), ([1], 1), None, {1}, {1: 1}, b"1", 1j, object,
]  # fmt: skip
FUNCTIONS: dict[str, tuple[Callable[..., Any], dict[str, list[Any]]]] = {
    "conv": (
        lambda **more: jj.conv(X, W, **more),
        {
            "stride": LIKE_ONE, "padding": [*LIKE_ONE, "same", ((1, 1), (1, 1)), ((1, 1), (1, True)), [[1, 1], [1, 1]]], "groups": LIKE_ONE,
            "dilation": LIKE_ONE, "flip": [False, 0, None, 0.0, True], "layout": ["channels_first", "channels_last", b"channels_first", 0],
            "boundary": ["zero", "edge", ("constant", 0), ("constant", 0.0), ("constant", -0.0), ["zero", "zero"], ("constant", True)],
            "out_dtype": [None, "float64", np.float64, np.dtype("f8"), "d", 8, np.float32(1)], "precision": ["default", "strict", 1],
            "activation": [None, "relu", ("leaky_relu", 0.0), ("leaky_relu", 0), ("leaky_relu", np.float64(0.5)), ("relu", 1), 0],
            "algorithm": ["auto", "direct", "Direct", None],
        },
    ),
    "conv_transpose": (lambda **more: jj.conv_transpose(DY, W, **more), {"stride": LIKE_ONE, "output_padding": [0, False, 0.0, (0, 0)]}),
    "conv_grad_input": (lambda **more: jj.conv_grad_input(DY, W, X.shape, **more), {"stride": LIKE_ONE, "padding": [0, (0, 0), False]}),
    "conv_grad_weight": (lambda **more: jj.conv_grad_weight(X, DY, W.shape, **more), {"stride": LIKE_ONE, "padding": [0, (0, 0), 0.0]}),
    "pool": (
        lambda **more: jj.pool(X, 2, **more),
        {
            "stride": LIKE_ONE, "padding": LIKE_ONE, "kind": ["max", "avg", "lp", 1], "p": [2, 2.0, "2", 1, True, np.inf],
            "dilation": LIKE_ONE,
        },
    ),
    "adaptive_pool": (lambda **more: jj.adaptive_pool(X, **more), {"output_size": LIKE_ONE}),
    "correlate": (
        lambda **more: jj.correlate(PICTURE, KERNEL, **more),
        {"stride": LIKE_ONE, "mode": ["valid", "same", 1, None, ["valid"]], "axes": [None, (0, 1), [1, 0], (0, 1.0), 0, (0, True)]},
    ),
    "filter": (
        lambda **more: jj.image.filter(PICTURE, **more),
        {
            "kernel": ["mean", "sobel", "no such", KERNEL, KERNEL.astype(int), KERNEL > 3, KERNEL[::-1], KERNEL.tolist(), KERNEL[0], None],
        },
    ),
}  # fmt: skip


def outcome(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """The bits of the result, or the error."""
    try:
        y = function(**arguments)
    except Exception as error:
        return type(error), str(error)
    return y.dtype, y.shape, y.tobytes()


@pytest.mark.parametrize(("name", "option"), [(name, option) for name, (_, options) in FUNCTIONS.items() for option in options])
def test_a_call_met_before_is_the_call(name: str, option: str) -> None:
    function, options = FUNCTIONS[name]
    fresh = []
    for value in options[option]:
        calls._met.clear()
        fresh.append(outcome(function, {option: value}))
    calls._met.clear()
    for order in (options[option], options[option][::-1]):  # each after all the others, and twice
        for value, expected in zip(order, fresh if order is options[option] else fresh[::-1], strict=True):
            assert outcome(function, {option: value}) == expected, value
    assert calls._met


def test_values_that_are_equal_but_not_written_alike_are_different_arguments() -> None:
    def written(*, value: Any) -> str:
        return f"{type(value)} {value!r}"

    zeros = [0, False, 0.0, -0.0, np.float64(0), np.float64(-0.0), (0, 0), (0, False), (0, -0.0), [0, 0], ((0, 0), 0), ((0, False), 0)]
    arrays = [np.array([1, 2]), np.array([2, 1]), np.array([1.0, 2]), np.array([[1], [2]])]
    for value in [*LIKE_ONE, *zeros, *arrays, *zeros[::-1], *LIKE_ONE[::-1]]:
        assert calls.met(written, (), {"value": value}) == written(value=calls.plain(value))


def test_what_changes_after_the_call_changes_nothing_before() -> None:
    stride, padding = [1, 1], np.array([[0, 0], [0, 0]])
    small, large = jj.conv(X, W), jj.conv(X, W, padding=1, stride=2)
    assert np.array_equal(jj.conv(X, W, stride=stride, padding=padding), small)
    stride[:], padding[...] = [2, 2], 1
    assert np.array_equal(jj.conv(X, W, stride=stride, padding=padding), large)
    kernel = KERNEL.copy()
    before = jj.image.filter(PICTURE, kernel)
    kernel *= 2
    assert np.array_equal(jj.image.filter(PICTURE, kernel), 2 * before)


class Changing:
    """An integer that is another one next time."""

    value = 0

    def __index__(self) -> int:
        self.value += 1
        return self.value


def test_objects_that_change_are_looked_at_each_time() -> None:
    stride: Any = Changing()
    assert [jj.conv(X, W, stride=stride).shape[2:] for _ in range(2)] == [(7, 6), (4, 3)]


def test_no_more_calls_are_kept_than_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "MOST_CALLS", 5)
    for height in range(3, 20):
        jj.conv(X[:, :, :1].repeat(height, axis=2), W)
        assert len(calls._met) <= 5
    assert np.array_equal(jj.conv(X, W), jj.conv(X, W))


def test_large_kernels_are_no_keys() -> None:
    kernel = np.random.default_rng(0).random((61, 61))
    assert kernel.nbytes > calls.MOST_BYTES
    picture = np.random.default_rng(1).random((70, 70)).astype(np.float32)
    y = jj.image.filter(picture, kernel)
    assert not calls._met
    assert np.array_equal(y, jj.image.filter(picture, kernel.tolist()))


# Few steps ------------------------------------------------------------------------------------------------------------------

SMALL_X, SMALL_W = np.ones((1, 1, 8, 8), np.float32), np.ones((1, 1, 3, 3), np.float32)
PLAN = jj.plan(SMALL_X.shape, SMALL_W.shape, padding=1)
BOUND = PLAN.bind(SMALL_W)
STEPS: dict[str, tuple[Callable[[], Any], int]] = {
    "conv": (lambda: jj.conv(SMALL_X, SMALL_W, padding=1), 26),
    "plan": (lambda: PLAN(SMALL_X, SMALL_W), 22),
    "bound": (lambda: BOUND(SMALL_X), 14),
    "pool": (lambda: jj.pool(SMALL_X, 2), 24),
    "correlate": (lambda: jj.correlate(SMALL_X[0, 0], SMALL_W[0, 0]), 34),
    "filter": (lambda: jj.image.filter(SMALL_X[0, 0], SMALL_W[0, 0]), 44),
    "filter by name": (lambda: jj.image.filter(SMALL_X[0, 0], "mean"), 40),
    "conv_grad_input": (lambda: jj.conv_grad_input(SMALL_X, SMALL_W, SMALL_X.shape, padding=1), 36),
    "conv_grad_weight": (lambda: jj.conv_grad_weight(SMALL_X, SMALL_X, SMALL_W.shape, padding=1), 36),
}


@pytest.mark.parametrize("name", STEPS)
def test_how_many_functions_a_small_call_calls(name: str) -> None:
    call, most = STEPS[name]
    called: list[str] = []

    def note(frame: Any, event: str, _: Any) -> None:
        if event == "call":
            called.append(frame.f_code.co_qualname if sys.version_info >= (3, 11) else frame.f_code.co_name)

    with jj.threads(1):
        call()
        call()
        before = sys.getprofile()
        sys.setprofile(note)
        try:
            call()
        finally:
            sys.setprofile(before)
    assert len(called) <= most, called


def test_weights_in_the_order_of_a_program_are_not_copied() -> None:
    (part,) = PLAN.parts
    assert part.program.pack_weights(SMALL_W) is SMALL_W
    for other in (SMALL_W[..., ::-1], np.asfortranarray(SMALL_W[0, 0])[None, None], misaligned(SMALL_W)):
        packed = part.program.pack_weights(other)
        assert not np.shares_memory(packed, other)
        assert np.array_equal(packed.reshape(3, 3), other[0, 0])


def misaligned(array: Array) -> Array:
    room = np.empty(array.nbytes + 1, np.uint8)[1:]
    view = np.ndarray(array.shape, array.dtype, room)
    view[...] = array
    assert not view.flags.aligned
    return view


@pytest.mark.parametrize("sharing", ["shared", "tiled", "local"])
@pytest.mark.parametrize("shape", [(1, 1, 3, 3), (6, 1, 3, 3), (16, 5, 1, 1)])
@pytest.mark.parametrize("gradient", [None, "input", "weight"])
def test_a_bound_plan_does_not_see_what_becomes_of_the_weights(shape: tuple[int, ...], sharing: str, gradient: str | None) -> None:
    rng = np.random.default_rng(0)
    size = 9 - shape[-1]
    sites = {"shared": (), "tiled": (1, 2), "local": (size, size)}[sharing]
    x_shape, w_shape = (1, shape[1], 8, 8), (*sites, *shape)
    plan: Any = jj.plan(x_shape, w_shape, sharing=sharing, bias=gradient is None, activation=None, gradient=gradient)
    shapes = {None: (x_shape, w_shape), "input": (plan.spec.y_shape, w_shape), "weight": (x_shape, plan.spec.y_shape)}[gradient]
    first, second = (rng.random(shape).astype(np.float32) for shape in shapes)
    bias = rng.random(plan.spec.bias_shape).astype(np.float32) if gradient is None else None
    bound = plan.bind(second, bias)
    before = bound(first)
    second[...] = 7
    if bias is not None:
        bias[...] = 7
    assert np.array_equal(bound(first), before)


# Addresses ------------------------------------------------------------------------------------------------------------------


def frozen(array: Array) -> Array:
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(5), np.zeros((3, 4))[1:, ::2], np.zeros((3, 4))[::-1], np.zeros((0, 3)), np.zeros((2, 3), "f2"), np.zeros(3, ">f8"),
        frozen(np.zeros(4)), np.zeros(3, ml_dtypes.bfloat16), np.zeros((3, 2), order="F"), np.zeros(()), np.zeros(2, bool), np.zeros(9)[2:],
        np.broadcast_to(np.zeros(3), (4, 3)), misaligned(np.zeros(3)),
    ],
)  # fmt: skip
def test_addresses(array: Array) -> None:
    assert address(array) == array.__array_interface__["data"][0]


def test_arrays_that_share_memory_are_not_apart() -> None:
    own, other = np.zeros((4, 6)), np.zeros((4, 6))
    views = [own[1:], own[:2], own[2:], own[:, ::2], own[:, 1::2], own.T, other.reshape(-1)]
    arrays = [own, other, *views, frozen(np.zeros(3)), np.zeros((0, 3))]
    for one in arrays:
        assert apart(one, [])
        for two in arrays:
            assert apart(one, [two]) == (not np.may_share_memory(one, two))
            assert apart(one, [np.zeros(2), two]) == (not np.may_share_memory(one, two))


# The interpreter's lock -----------------------------------------------------------------------------------------------------


class Recording:
    """Stands for code: notes which of its calls is made, and whether others could run meanwhile."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def call(self, row: Row) -> None:
        self.made.append("call")

    def call_briefly(self, row: Row) -> None:
        self.made.append("call_briefly")


@pytest.mark.parametrize(("cycles", "expected"), [(BRIEF_CYCLES, "call_briefly"), (BRIEF_CYCLES + 1, "call")])
def test_short_kernels_keep_the_lock(cycles: float, expected: str) -> None:
    code: Any = Recording()
    run_items(code, (ctypes.c_int64 * 8)(), 3, 0, cycles, 1)
    assert code.made == [expected]


def test_small_calls_from_many_threads() -> None:
    problems = [(np.full((1, 1, 5 + i, 8), i, np.float32), SMALL_W * (i + 1)) for i in range(6)]
    expected = [jj.conv(x, w) for x, w in problems]
    wrong: list[int] = []

    def work(first: int) -> None:
        for turn in range(300):
            i = (first + turn) % 6
            if not np.array_equal(jj.conv(*problems[i]), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert run.BRIEF_CYCLES < run.THREAD_CYCLES
