"""Batch normalisation."""

from __future__ import annotations

import numpy as np

from juanji import nn
from juanji.nn.operator import Run


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
