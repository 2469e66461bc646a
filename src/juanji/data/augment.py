"""Augmentation of a batch: small frozen callables (x, y, rng) -> (x, y), of which a tuple is a chain.

Each works on whole batches x (N, C, *S) of any number of spatial axes, draws for every sample by itself, and returns new arrays. If y has
the size of x along its last axes, it is a mask or a picture and is moved with x; otherwise it passes through.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from juanji.describe import per_axis
from juanji.errors import ArgumentError, ShapeError

Array = npt.NDArray[Any]

# what stands outside: the names of `conv`, and np.pad's for them
OUTSIDE = {"zero": "constant", "edge": "edge", "reflect": "reflect", "symmetric": "symmetric", "wrap": "wrap"}


class Augmentation(Protocol):
    """What turns a batch into another one."""

    def __call__(self, x: Array, y: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """The batch after a random change."""


@dataclass(frozen=True)
class Flip:
    """Mirror along one spatial axis, the last one unless said, with a probability for each sample."""

    axis: int = -1
    probability: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ArgumentError(f"probability (={self.probability!r}) must be from 0 to 1")

    def __call__(self, x: Array, y: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        n = x.ndim - 2
        if not -n <= self.axis < n:
            raise ArgumentError(f"axis (={self.axis}) must be one of the {n} spatial axes")
        axis = self.axis % n - n
        chosen = rng.random(len(x)) < self.probability
        return _mirrored(x, chosen, axis), _mirrored(y, chosen, axis) if moves_along(x, y) else y


@dataclass(frozen=True)
class Crop:
    """Cut a window at a random place of each sample, padded before.

    size: of the window, one number or one for each spatial axis; the sample's own if not given.
    padding: what is added on both sides, one number or one for each axis.
    boundary: what the padding holds: "zero", "edge", "reflect", "symmetric" or "wrap".
    """

    size: int | Sequence[int] | None = None
    padding: int | Sequence[int] = 0
    boundary: str = "zero"

    def __post_init__(self) -> None:
        if self.boundary not in OUTSIDE:
            raise ArgumentError(f"boundary (={self.boundary!r}) must be one of {', '.join(OUTSIDE)}")

    def __call__(self, x: Array, y: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        space = x.shape[2:]
        size = space if self.size is None else per_axis("size", self.size, len(space), 1)
        padding = per_axis("padding", self.padding, len(space), 0)
        room = [length + 2 * pad - window for length, pad, window in zip(space, padding, size, strict=True)]
        if min(room) < 0:
            raise ShapeError(f"size {size} must fit into x of {space} with padding {padding}")
        places = [rng.integers(0, most, len(x), endpoint=True) for most in room]
        mode = OUTSIDE[self.boundary]
        return _cut(x, places, size, padding, mode), _cut(y, places, size, padding, mode) if moves_along(x, y) else y


@dataclass(frozen=True)
class Shift:
    """Move each sample by a random number of pixels, at most `most` either way along each axis, one number or one for each.

    boundary: what comes in at the edge, as for `Crop`.
    """

    most: int | Sequence[int]
    boundary: str = "zero"

    def __call__(self, x: Array, y: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        return Crop(None, self.most, self.boundary)(x, y, rng)


def moves_along(x: Array, y: Array) -> bool:
    """Whether y (N, *S) or (N, K, *S) lies over the pixels of x (N, C, *S)."""
    space = x.shape[2:]
    return y.ndim in (x.ndim, x.ndim - 1) and y.shape[-len(space) :] == space


def _mirrored(batch: Array, chosen: Array, axis: int) -> Array:
    batch = batch.copy()
    batch[chosen] = np.flip(batch[chosen], axis)
    return batch


def _cut(batch: Array, places: Sequence[Array], size: Sequence[int], padding: Sequence[int], mode: str) -> Array:
    """Window `size` of each sample of the padded batch, sample i at places[…][i]."""
    n = len(size)
    lead = batch.ndim - n
    mode_arguments: Any = {"mode": mode}
    padded = np.pad(batch, [(0, 0)] * lead + [(pad, pad) for pad in padding], **mode_arguments) if any(padding) else batch
    windows = np.lib.stride_tricks.sliding_window_view(padded, tuple(size), axis=tuple(range(lead, batch.ndim)))
    between = (slice(None),) * (lead - 1)  # channels, which the indices on both sides of it leave behind the samples
    index: tuple[Any, ...] = (np.arange(len(batch)), *between, *places)
    return np.ascontiguousarray(windows[index])
