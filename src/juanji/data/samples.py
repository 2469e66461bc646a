"""`Samples`: inputs and what they should give, side by side."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.data.reading import counted
from juanji.errors import ArgumentError, ShapeError

Array = npt.NDArray[Any]
Index = slice | npt.ArrayLike


@dataclass(frozen=True, eq=False, repr=False)
class Samples:
    """N inputs `x` of shape (N, C, *S) and N targets `y`, as they were stored.

    y: (N,) class numbers as int64, which count from 0; or (N, *S), a class number or an object's number at every pixel;
        or any float array whose first axis is N, numbers to regress.
    classes: the names of the classes, or None.

    Its length is N; a slice, an array of places or a mask gives Samples. Raises ShapeError or ArgumentError if these do not fit.

    >>> samples = Samples(np.zeros((4, 1, 2, 2), np.uint8), np.array([0, 1, 1, 1]), ("cat", "dog"))
    >>> samples
    4 samples of uint8 (1, 2, 2); 2 classes: cat, dog
    >>> samples[1:].y
    array([1, 1, 1])
    """

    x: Array
    y: Array
    classes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.x.ndim < 3:
            raise ShapeError(f"x of shape {self.x.shape} must have at least 3 axes: samples, channels, and one or more of space")
        if self.y.ndim == 0 or len(self.y) != len(self.x):
            raise ShapeError(f"y of shape {self.y.shape} must have one entry for each of the {len(self.x)} samples of x")
        if self.labelled and self.y.size:
            low, high = int(self.y.min()), int(self.y.max())
            if low < 0 or (self.classes is not None and high >= len(self.classes)):
                most = "" if self.classes is None else f" to {len(self.classes) - 1}"
                raise ArgumentError(f"y has class numbers from {low} to {high}, but they must run from 0{most}")

    @property
    def labelled(self) -> bool:
        """Whether y is one class number for each sample."""
        return self.y.ndim == 1 and self.y.dtype.kind in "iub"

    @property
    def masked(self) -> bool:
        """Whether y is a mask over each sample's pixels."""
        return self.y.dtype.kind in "iub" and self.y.shape[1:] == self.x.shape[2:]

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: Index) -> "Samples":
        if isinstance(index, int | np.integer):
            raise ArgumentError(f"index (={index}) must be a slice or an array; [{index}:{index + 1}] has one sample")
        places: Any = index if isinstance(index, slice) else np.asarray(index)
        return Samples(self.x[places], self.y[places], self.classes)

    def __repr__(self) -> str:
        return f"{counted(len(self), 'sample')} of {self.x.dtype} {self.x.shape[1:]}; {self._targets()}"

    def _targets(self) -> str:
        if self.classes is not None:
            names = self.classes if len(self.classes) <= 10 else (*self.classes[:9], "…")
            over = " at every pixel" if self.masked else ""
            return f"{len(self.classes)} classes{over}: {', '.join(names)}"
        if self.labelled:
            return f"class numbers up to {self.y.max(initial=0)}"
        return f"targets of {self.y.dtype} {self.y.shape[1:]}"

    def shuffled(self, seed: int = 0) -> "Samples":
        """The same samples in a random order, which the seed decides."""
        return self[np.random.default_rng(seed).permutation(len(self))]

    def split(self, fraction: float, seed: int = 0) -> tuple["Samples", "Samples"]:
        """Two parts, the second with round(fraction · N) samples drawn at random; both keep the order of storage.

        Class numbers are shared out evenly: sorted by class, the second part takes samples at equal distances.

        Raises ArgumentError if either part would be empty.

        >>> samples = Samples(np.zeros((40, 1, 8)), np.repeat([0, 1], [30, 10]))
        >>> train, test = samples.split(0.2)
        >>> np.bincount(train.y), np.bincount(test.y)
        (array([24,  8]), array([6, 2]))
        """
        count = len(self)
        taken = round(fraction * count) if 0 < fraction < 1 else 0
        if not 0 < taken < count:
            raise ArgumentError(f"fraction (={fraction!r}) must leave at least one of the {count} samples in both parts")
        order = np.random.default_rng(seed).permutation(count)
        if self.labelled:
            order = order[np.argsort(self.y[order], kind="stable")]
        second = np.zeros(count, bool)
        second[order[(2 * np.arange(taken) + 1) * count // (2 * taken)]] = True
        return self[~second], self[second]
