"""Statistics of a batch, block by block, against NumPy's of the whole."""

from __future__ import annotations

import numpy as np
import pytest

from juanji import nn
from juanji.nn import batch_statistics as statistics
from juanji.nn.operator import Run

SHAPES = [(5, 3), (300, 200), (4, 3, 7), (9, 5, 70, 60), (2, 2, 3, 4, 5), (3, 1, 300, 300)]


@pytest.mark.parametrize("shape", SHAPES)
def test_mean_and_variance(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(3, 2, shape)
    axes = (0, *range(2, len(shape)))
    for dtype, tolerance in (("float64", 1e-12), ("float32", 2e-6)):
        mean, variance = statistics.mean_and_variance(x.astype(dtype))
        np.testing.assert_allclose(mean, x.mean(axis=axes), rtol=tolerance)
        np.testing.assert_allclose(variance, x.var(axis=axes), rtol=10 * tolerance)


def test_a_mean_far_from_zero_does_not_drown_the_variance() -> None:
    x = np.random.default_rng(0).normal(1000, 1, (8, 2, 64, 64)).astype(np.float32)
    np.testing.assert_allclose(statistics.mean_and_variance(x)[1], x.astype(np.float64).var(axis=(0, 2, 3)), rtol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_sums_and_maps(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    x, dy = random.normal(size=shape), random.normal(size=shape)
    a, b, c, m = random.normal(size=(4, shape[1]))
    axes = (0, *range(2, len(shape)))
    wide = [v.reshape(-1, *(1,) * (len(shape) - 2)) for v in (a, b, c, m)]
    np.testing.assert_allclose(statistics.affine(x, a, b), wide[0] * x + wide[1], rtol=1e-12)
    np.testing.assert_allclose(
        statistics.combined(dy, a, x, m, b, c), wide[0] * dy + wide[1] * (x - wide[3]) + wide[2], rtol=1e-9, atol=1e-12
    )
    assert (statistics.affine(x, a, b, relu=True) == np.maximum(statistics.affine(x, a, b), 0)).all()
    gate = random.normal(size=shape)
    for one, two in zip(statistics.error_sums(x, m, dy, gate), statistics.error_sums(x, m, dy * (gate > 0)), strict=True):
        assert (one == two).all()
    assert (statistics.combined(dy, a, x, m, b, c, gate) == statistics.combined(dy * (gate > 0), a, x, m, b, c)).all()
    plain, weighted = statistics.error_sums(x, m, dy)
    np.testing.assert_allclose(plain, dy.sum(axis=axes), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(weighted, (dy * (x - wide[3])).sum(axis=axes), rtol=1e-9, atol=1e-9)


def test_batch_norm_trains_and_then_uses_what_it_saw() -> None:
    x = np.random.default_rng(0).normal(5, 3, (64, 4, 10, 10)).astype(np.float32)
    op = nn.BatchNorm(momentum=1.0)
    p = {
        name: parameter.initial(np.random.default_rng(0), parameter.shape, parameter.fans)
        for name, parameter in op.parameters(x.shape).items()
    }
    y, _ = op.forward(p, x, run=Run(True))
    np.testing.assert_allclose(y.mean(axis=(0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(axis=(0, 2, 3)), 1, rtol=1e-4)
    np.testing.assert_allclose(p["mean"], x.mean(axis=(0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(p["variance"], x.var(axis=(0, 2, 3), ddof=1), rtol=1e-5)
    np.testing.assert_allclose(op.forward(p, x, run=Run())[0], y, atol=1e-3)
