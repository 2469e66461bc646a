"""What the functions of this package take: a picture, or arrays as the network takes them; and the way from such an array to a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.errors import ArgumentError, ShapeError
from juanji.nn.graph import Graph
from juanji.nn.predicting import prepared
from juanji.nn.preprocessing import BYTES

Array = npt.NDArray[Any]


def as_input(net: Graph, x: npt.ArrayLike) -> Array:
    """A picture H×W or H×W×C, prepared as `predict` does; or an array (N, C, H, W), integers of which are scaled as the network says."""
    array = np.asarray(x)
    if array.ndim == 4:
        if array.dtype.kind in "iub" and net.preprocessing is not None:
            array = net.preprocessing(array)
        return array.astype(net.dtype, copy=False)
    own, picture = prepared(net, array)
    return own(picture).astype(net.dtype, copy=False)


def one_input(net: Graph, x: npt.ArrayLike) -> Array:
    """Likewise, but a single one."""
    array = as_input(net, x)
    if len(array) != 1:
        raise ShapeError(f"x has shape {array.shape}, but must be one picture")
    return array


def channels_last(x: Array) -> Array:
    """(C, H, W) as (H, W, C)."""
    return np.ascontiguousarray(np.moveaxis(x, 0, -1))


def picture_of(net: Graph, x: Array) -> Array:
    """What a network is given, (C, H, W), as the picture that it was: uint8, H×W×3 or H×W."""
    own = net.preprocessing or BYTES
    mean, deviation = (np.asarray(value, np.float64).reshape(-1, 1, 1) for value in (own.mean, own.deviation))
    whole = np.clip(np.rint(x * deviation + mean), 0, 255).astype(np.uint8)
    return whole[0] if len(whole) == 1 else channels_last(whole)


def target_of(net: Graph, y: Array, target: int | str | None) -> int:
    """The number of a class: by its name, its number, or the one that scores best in y (1, K, …)."""
    if target is None:
        return int(y[0].reshape(y.shape[1], -1).mean(axis=1).argmax())
    if isinstance(target, str):
        if net.classes is None or target not in net.classes:
            known = "the network has none" if net.classes is None else f"they are {', '.join(net.classes[:5])} …"
            raise ArgumentError(f"target (={target!r}) must be the number or the name of a class; {known}")
        return net.classes.index(target)
    if not 0 <= target < y.shape[1]:
        raise ArgumentError(f"target (={target}) must be a class from 0 to {y.shape[1] - 1}")
    return int(target)
