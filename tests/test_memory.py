"""What a call takes beside its arrays: no windows written out, no padded copy, only packed weights, scratch and strips of border."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import juanji as jj
from strategies import Array

LAYERS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "signal": ((1, 2, 800_000), (4, 2, 33), {"padding": "same"}),
    "picture": ((1, 1, 1200, 1100), (1, 1, 7, 7), {"padding": 3}),
    "dense": ((4, 32, 96, 97), (48, 32, 3, 3), {"padding": 1}),
    "dense, channels last": ((4, 96, 97, 32), (3, 3, 32, 48), {"padding": 2, "dilation": 2, "layout": "channels_last"}),
    "strided": ((4, 16, 128, 129), (32, 16, 5, 5), {"padding": 2, "stride": 2}),
    "depthwise": ((4, 112, 112, 32), (3, 3, 1, 32), {"padding": 1, "groups": 32, "layout": "channels_last"}),
    "volume": ((1, 16, 30, 40, 41), (16, 16, 3, 3, 3), {"padding": 1}),
}  # fmt: skip
TILED: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "tiled": ((4, 16, 96, 97), (2, 2, 24, 16, 3, 3), {"padding": 1, "sharing": "tiled"}),
    "local": ((8, 16, 48, 49), (48, 49, 16, 16, 3, 3), {"padding": 1, "sharing": "local"}),
}
BOUNDARIES = ("zero", "edge", "reflect", "symmetric", "wrap", ("constant", 2.0))
SMALL = 300_000  # bytes of Python's own and of tables


def most(call: Callable[[], object]) -> int:
    """The bytes that a call had allocated at most, once everything that stays was there.

    On one thread: with more, a thread that had no work in the first call may take its scratch in the second.
    """
    with jj.threads(1):
        call()
        tracemalloc.start()
        try:
            call()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


def products(name: str, table: dict[str, Any], boundary: Any, gradient: str | None, dtype: str = "float32") -> tuple[Any, Array, Array]:
    """The plan of a layer's output or of one of its gradients, and the two operands."""
    x_shape, w_shape, given = table[name]
    plan = jj.plan(x_shape, w_shape, dtype=dtype, boundary=boundary, gradient=gradient, **given)
    shapes = {None: (x_shape, w_shape), "input": (plan.spec.y_shape, w_shape), "weight": (x_shape, plan.spec.y_shape)}[gradient]
    first, second = (np.random.default_rng(1).standard_normal(shape).astype(dtype) for shape in shapes)
    return plan, first, second


@pytest.mark.parametrize("gradient", [None, "input", "weight"])
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("name", LAYERS)
def test_nothing_is_copied(name: str, boundary: Any, gradient: str | None) -> None:
    plan, first, second = products(name, LAYERS, boundary, gradient)
    out = np.empty_like(plan(first, second, threads=1))
    packed = 0 if gradient == "weight" else 4 * max(second.nbytes, 16_384)  # once for each phase of a stride, or transformed
    packed *= 2 if plan.algorithm == "winograd" and plan.buffers else 1  # transformed, and once for each strip of border
    assert plan.scratch <= 4 << 20
    assert plan.buffers <= (0.1 if len(first.shape) < 5 else 0.4) * max(first.nbytes, plan.spec.bytes_moved / 2)
    taken = most(lambda: plan(first, second, out=out, threads=1))
    assert taken <= plan.buffers + packed + SMALL, str(plan)
    assert taken + plan.scratch < first.nbytes


@pytest.mark.parametrize("gradient", [None, "input", "weight"])
@pytest.mark.parametrize("boundary", ["zero", "reflect", ("constant", 2.0)])
@pytest.mark.parametrize("name", TILED)
def test_weights_with_sites_are_read_where_they_lie(name: str, boundary: Any, gradient: str | None) -> None:
    plan, first, second = products(name, TILED, boundary, gradient)
    out = np.empty_like(plan(first, second, threads=1))
    assert most(lambda: plan(first, second, out=out, threads=1)) <= plan.buffers + SMALL, str(plan)
    assert plan.scratch + plan.buffers <= 4 << 20


@pytest.mark.parametrize("name", ["dense", "strided"])
def test_the_public_functions_take_no_more_than_their_plans(name: str) -> None:
    x_shape, w_shape, given = LAYERS[name]
    x, w = np.ones(x_shape, np.float32), np.ones(w_shape, np.float32)
    y = jj.conv(x, w, **given)
    assert most(lambda: jj.conv(x, w, **given)) <= y.nbytes + 4 * w.nbytes + SMALL
    assert most(lambda: jj.conv_grad_input(y, w, x.shape, **given)) <= x.nbytes + 4 * w.nbytes + SMALL
    assert most(lambda: jj.conv_grad_weight(x, y, w.shape, **given)) <= 4 * w.nbytes + SMALL
    assert most(lambda: jj.conv_transpose(y, w, **given)) <= x.nbytes + 4 * w.nbytes + SMALL


def test_views_are_read_where_they_lie() -> None:
    x_shape, w_shape, given = LAYERS["dense"]
    room = np.ones((2 * x_shape[0], *x_shape[1:]), np.float32)
    w, out = np.ones(w_shape, np.float32), np.empty((4, 48, 96, 97), np.float32)
    for view in (room[::2], room[::-2], room[:4, ::-1], np.broadcast_to(room[:1], x_shape)):
        assert most(lambda view=view: jj.conv(view, w, out=out, **given)) <= 2 * w.nbytes + SMALL  # type: ignore[misc]
    swapped = room[:4].astype(">f4")  # other byte orders are one copy
    assert most(lambda: jj.conv(swapped, w, out=out, **given)) <= swapped.nbytes + 2 * w.nbytes + SMALL


def test_complex_numbers_are_pairs() -> None:
    x, w = np.ones((4, 60, 61, 16), np.complex64), np.ones((3, 3, 16, 24), np.complex64)
    y = jj.conv(x, w, padding=1, layout="channels_last")
    taken = most(lambda: jj.conv(x, w, padding=1, layout="channels_last"))
    assert taken <= y.nbytes + 8 * w.nbytes + SMALL  # channels last: both arrays are views
    planes = np.ones((4, 16, 60, 61), np.complex64)
    first = w.transpose(3, 2, 0, 1)
    assert most(lambda: jj.conv(planes, first, padding=1)) <= planes.nbytes + 2 * y.nbytes + 8 * w.nbytes + SMALL


def test_integers_by_their_carriers() -> None:
    x, w = np.ones((4, 32, 96, 97), np.uint8), np.ones((48, 32, 3, 3), np.int8)
    y = jj.conv(x, w, padding=1, out_dtype="uint8")
    taken = most(lambda: jj.conv(x, w, padding=1, out_dtype="uint8"))
    assert taken <= y.nbytes + 4 * 4 * w.nbytes + SMALL  # no float copy of x, none of the sums
