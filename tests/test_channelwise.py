"""Sums and maps over each channel of a batch against NumPy's, over rows of every length, in every layout, beside protected memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import juanji as jj
from guarded import beside, guarded
from juanji import channelwise
from juanji import machine as machines
from juanji.channelwise import Affine
from juanji.jit.channelwise import NUMBERS, ChannelwiseCode, emit_channelwise
from juanji.jit.compile import assembly, compile_ir
from juanji.jit.load import load
from juanji.jit.steps import StepCode, emit_step
from strategies import Array
from test_codegen import ARM, called, machine_with, on

SHAPES = [
    (5, 3),
    (300, 200),
    (4, 3, 7),
    (9, 5, 70, 60),
    (2, 2, 3, 4, 5),
    (3, 1, 300, 300),
    *((2, 3, length) for length in range(15, 82, 11)),
]
TOLERANCES = {"float64": 1e-12, "float32": 2e-6, "float16": 2e-3}


def drawn(shape: tuple[int, ...], seed: int = 0, mean: float = 0) -> Array:
    return np.random.default_rng(seed).normal(mean, 1, shape)


def of_channels(vector: Array, ndim: int) -> Array:
    return vector.reshape(-1, *(1,) * (ndim - 2))


def others(x: Array) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def normal(x: Array, **more: Any) -> tuple[Array, Array, Array, Affine]:
    return channelwise.normalise(x, np.ones(x.shape[1]), np.zeros(x.shape[1]), 1e-5, **more)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_normalise_and_sums(shape: tuple[int, ...], dtype: str) -> None:
    x, (weight, bias) = drawn(shape, mean=3).astype(dtype), drawn((2, shape[1]), 1)
    exact, tolerance = x.astype(np.float64), TOLERANCES["float32" if dtype == "float16" else dtype]
    y, mean, variance, to_y = channelwise.normalise(x, weight, bias, 1e-3)
    assert mean.dtype == variance.dtype == np.float64
    np.testing.assert_allclose(mean, exact.mean(axis=others(x)), rtol=tolerance)
    np.testing.assert_allclose(variance, exact.var(axis=others(x)), rtol=10 * tolerance)
    np.testing.assert_allclose(to_y.factor, weight / np.sqrt(variance + 1e-3), rtol=1e-15)
    np.testing.assert_allclose(to_y.offset, bias - mean * to_y.factor, rtol=1e-13)
    np.testing.assert_array_equal(y, channelwise.affine(x, to_y))
    np.testing.assert_array_equal(channelwise.normalise(x, weight, bias, 1e-3, relu=True)[0], np.maximum(y, 0))
    np.testing.assert_allclose(channelwise.sums(x), exact.sum(axis=others(x)), rtol=tolerance)


def test_a_mean_far_from_zero_does_not_drown_the_variance() -> None:
    x = drawn((8, 2, 64, 64), mean=1000).astype(np.float32)
    np.testing.assert_allclose(normal(x)[2], x.astype(np.float64).var(axis=(0, 2, 3)), rtol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_maps(shape: tuple[int, ...], dtype: str) -> None:
    x, dy = drawn(shape, 1).astype(dtype), drawn(shape, 2).astype(dtype)
    to_y = Affine(*drawn((2, shape[1]), 3))
    exact = of_channels(to_y.factor, x.ndim) * x.astype(np.float64) + of_channels(to_y.offset, x.ndim)
    y = channelwise.affine(x, to_y)
    assert y.dtype == dtype
    np.testing.assert_allclose(y, exact, rtol=TOLERANCES[dtype], atol=3 * TOLERANCES[dtype])
    np.testing.assert_array_equal(channelwise.affine(x, to_y, relu=True), np.maximum(y, 0))
    np.testing.assert_array_equal(channelwise.gate(dy, y), np.where(y > 0, dy, 0))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_normalise_back(shape: tuple[int, ...], dtype: str) -> None:
    x, dy = drawn(shape, 1).astype(dtype), drawn(shape, 2).astype(dtype)
    factor, offset, mean, slope, share = drawn((5, shape[1]), 3)
    slope, share = slope / x[:, 0].size, share / x[:, 0].size
    to_y = Affine(factor, offset)
    dx, plain, weighted = channelwise.normalise_back(x, dy, mean, to_y, slope, share)
    away, g = x.astype(np.float64) - of_channels(mean, x.ndim), dy.astype(np.float64)
    tolerance: Any = {"rtol": 1e-4, "atol": TOLERANCES["float32" if dtype == "float16" else dtype] * x[:, 0].size}
    np.testing.assert_allclose(plain, g.sum(axis=others(x)), **tolerance)
    np.testing.assert_allclose(weighted, (g * away).sum(axis=others(x)), **tolerance)
    expected = of_channels(factor, x.ndim) * g + of_channels(slope * weighted, x.ndim) * away + of_channels(share * plain, x.ndim)
    np.testing.assert_allclose(dx, expected, rtol=TOLERANCES[dtype], atol=10 * TOLERANCES[dtype])
    if dtype != "float16":  # which may round a small y to 0, while the map itself is above it
        open_dy = channelwise.gate(dy, channelwise.affine(x, to_y))
        pairs = (
            channelwise.normalise_back(x, dy, mean, to_y, slope, share, relu=True),
            channelwise.normalise_back(x, open_dy, mean, to_y, slope, share),
        )
        for one, two in zip(*pairs, strict=True):
            np.testing.assert_array_equal(one, two)


def calls(x: Array, dy: Array) -> list[Any]:
    """Every pass, on arrays as they lie."""
    mean, slope, shift = np.linspace(-1, 1, 3 * x.shape[1]).reshape(3, -1)
    to_y = Affine(slope, shift)
    return [
        *normal(x, relu=True), channelwise.sums(x), channelwise.affine(x, to_y, relu=True), channelwise.gate(dy, x),
        *channelwise.normalise_back(x, dy, mean, to_y, slope, shift, relu=True),
    ]  # fmt: skip


VIEWS: list[Callable[[Array], Array]] = [
    lambda x: np.concatenate([x, x], axis=1)[:, : x.shape[1]],
    lambda x: np.repeat(x, 2, axis=0)[::2],
    lambda x: np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1),
    lambda x: np.ascontiguousarray(x[:, ::-1])[:, ::-1],
    lambda x: np.ascontiguousarray(x[..., ::-1])[..., ::-1],
    lambda x: x.astype(x.dtype.newbyteorder()),
]


@pytest.mark.parametrize("view", VIEWS)
def test_neither_strides_nor_threads_show_in_the_bits(view: Callable[[Array], Array]) -> None:
    x, dy = drawn((6, 5, 30, 31), 1).astype(np.float32), drawn((6, 5, 30, 31), 2).astype(np.float32)
    with jj.threads(1):
        expected = calls(x, dy)
    with jj.threads(4):
        for one, two in zip(expected, calls(view(x), view(dy)), strict=True):
            np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("at_end", [False, True])
def test_nothing_beyond_the_arrays_is_touched(dtype: str, at_end: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channelwise, "empty_aligned", lambda shape, dtype: guarded(shape, dtype, at_end))
    for shape in SHAPES:
        x, dy = (beside(drawn(shape, seed).astype(dtype), at_end) for seed in (1, 2))
        calls(x, dy)


def test_a_number_that_is_not_finite_stays_with_its_channel() -> None:
    x = drawn((2, 3, 20)).astype(np.float32)
    x[1, 1, 19] = np.nan
    y, mean, variance, _ = normal(x)
    for found in (y.sum(axis=(0, 2)), mean, variance, channelwise.sums(x)):
        assert list(np.isnan(found)) == [False, True, False]
    assert np.isnan(channelwise.affine(x, Affine(np.ones(3), np.zeros(3)), relu=True)).sum() == 1


def test_empty_batches() -> None:
    x = np.zeros((0, 3, 4), np.float32)
    assert channelwise.affine(x, Affine(np.ones(3), np.ones(3))).shape == x.shape
    assert (channelwise.sums(x) == 0).all()


def test_a_gate_of_any_number_of_axes() -> None:
    for shape in ((5,), (4, 33), (2, 3, 4, 5), (0, 3)):
        y, dy = drawn(shape, 1), drawn(shape, 2)
        np.testing.assert_array_equal(channelwise.gate(dy, y), np.where(y > 0, dy, 0))


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("target", ["this machine", "aarch64", "avx2"])
def test_kernels_are_freestanding(target: str, dtype: str) -> None:
    machine = on(ARM) if target == "aarch64" else machines.probe() if target == "this machine" else machine_with(target)
    codes: list[tuple[Any, Any]] = [
        *((ChannelwiseCode(kind, dtype, channelwise.TOTALS[dtype], relu), emit_channelwise) for kind in NUMBERS for relu in (False, True)),
        *((StepCode(kind, dtype, channelwise.TOTALS[dtype], True, True, True), emit_step) for kind in ("sgd", "adam", "adamw")),
    ]
    for code, emit in codes:
        text = emit(code, machine.target)
        assert called(assembly(text, machine.target)) == set(), code
        assert 0 < len(compile_ir(text, machine.target)) < 16 << 10


@pytest.mark.parametrize("target", ["avx2", "avx512, 256 bits"])
def test_other_registers(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = machine_with(target)
    arrays = [(drawn((3, 2, length), 1), drawn((3, 2, length), 2)) for length in (1, 7, 37, 300)]
    expected = [calls(x, dy) for x, dy in arrays]
    monkeypatch.setattr(machines, "loaded", lambda code, emit: load(code, emit, machine.target, machines.identity()))
    monkeypatch.setattr(channelwise, "empty_aligned", lambda shape, dtype: guarded(shape, dtype, True))
    for (x, dy), results in zip(arrays, expected, strict=True):
        for one, two in zip(calls(beside(x, True), beside(dy, True)), results, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-12, atol=1e-12)
