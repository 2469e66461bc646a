"""Which rows are plain filters, all that the libraries for pictures and signals have."""

from collections.abc import Callable
from typing import Any, TypeGuard

import numpy as np

from bench.problems import AnyRow, Array, Row
from juanji.spec import Convolution

DTYPES = ("uint8", "float32", "float64")


def is_plain(row: AnyRow) -> TypeGuard[Row]:
    """Whether one array of ordinary numbers becomes another, step by step."""
    if not isinstance(row, Row) or row.product != "y" or row.sharing != "shared" or row.dtype not in DTYPES:
        return False
    spec = row.describe()
    one = (spec.batch, spec.channels, spec.features) == (1, 1, 1)
    return one and all(step == 1 for step in (*spec.stride, *spec.dilation))


def is_filter(spec: Convolution) -> bool:
    """Whether the result of a plain row has the input's size, as the picture libraries' results have."""
    return all(pair == (k // 2, k // 2) and k % 2 for pair, k in zip(spec.padding, spec.kernel, strict=True))


def is_signal(spec: Convolution) -> bool:
    """Whether a plain row keeps what a kernel meets wholly, along one axis."""
    return spec.n == 1 and spec.padding == ((0, 0),)


def reader(row: Row) -> Callable[[Any], Array]:
    """From a plain array to the row's shape."""
    shape = row.x_shape if row.kind == "picture" else row.describe().y_shape
    return lambda y: np.asarray(y).reshape(shape)
