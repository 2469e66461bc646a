"""Mini-batches made ahead by threads, the same bits whatever the threads and wherever an epoch is taken up again.

The order of an epoch is drawn from (seed, epoch) and the augmentation of a batch from (seed, epoch, batch) alone, so nothing
depends on what was drawn before, nor on which thread came first.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from juanji.data.augment import Augmentation
from juanji.data.samples import Samples
from juanji.errors import ArgumentError

Array = npt.NDArray[Any]
Batch = tuple[Array, Array]


class Indexed(Protocol):
    """Anything with a length that gives samples, as `Samples` or as a pair (x, y), for an array of places."""

    def __len__(self) -> int:
        """How many samples there are."""

    def __getitem__(self, places: Array, /) -> Samples | Batch:
        """The samples at these places, in this order."""


@dataclass(frozen=True)
class Batches:
    """The mini-batches of a training set.

    samples: `Samples`, or anything that is `Indexed`; several threads ask it at once if `threads` is above 1.
    size: samples in a batch; the last one has what is left, or is dropped with drop_last.
    seed: an integer from 0 on, of the order and of the augmentation.
    augment: what every batch goes through in turn, as `Flip`, `Crop` and `Shift`.
    shuffle: False keeps the order of storage.
    threads: how many make batches; ahead: how many batches are made while one is in use.

    Raises ArgumentError for a number out of its range.

    >>> batches = Batches(Samples(np.zeros((10, 1, 4)), np.arange(10)), 4, seed=1)
    >>> [y.tolist() for x, y in batches.epoch(0)]
    [[8, 4, 7, 0], [1, 2, 5, 9], [6, 3]]
    >>> [y.tolist() for x, y in batches.epoch(0, start=2)]
    [[6, 3]]
    """

    samples: Indexed
    size: int
    seed: int = 0
    augment: Sequence[Augmentation] = ()
    shuffle: bool = True
    drop_last: bool = False
    threads: int = 1
    ahead: int = 2

    def __post_init__(self) -> None:
        if isinstance(self.samples, tuple | list):
            raise ArgumentError(f"samples is a {type(self.samples).__name__}, but must be Samples; Samples(x, y) makes them of two arrays")
        for name, least in (("size", 1), ("seed", 0), ("threads", 1), ("ahead", 0)):
            _from(name, getattr(self, name), least)
        if len(self) == 0:
            raise ArgumentError(f"size (={self.size}) leaves no whole batch of {len(self.samples)} samples")

    def __len__(self) -> int:
        """Batches in an epoch."""
        whole, rest = divmod(len(self.samples), self.size)
        return whole + (rest > 0 and not self.drop_last)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The batches (x, y) of one epoch, from batch `start` on.

        The threads start with the first batch, and are gone when the iterator is exhausted, closed, dropped or interrupted. What
        fails in one of them is raised here, in its turn.
        """
        _from("number", number, 0)
        _from("start", start, 0)
        return self._ahead(number, start)

    def order(self, epoch: int) -> Array:
        """The places of the samples in the order of an epoch."""
        count = len(self.samples)
        return np.random.default_rng([self.seed, epoch]).permutation(count) if self.shuffle else np.arange(count)

    def _ahead(self, epoch: int, start: int) -> Iterator[Batch]:
        order = self.order(epoch)
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="juanji-batches")
        coming: deque[Future[Batch]] = deque()
        try:
            waiting = (pool.submit(self._make, order, epoch, number) for number in range(start, len(self)))
            coming.extend(islice(waiting, 1 + self.ahead))
            while coming:
                yield coming.popleft().result()
                coming.extend(islice(waiting, 1))
        finally:
            pool.shutdown(cancel_futures=True)  # and wait for the batches under way

    def _make(self, order: Array, epoch: int, number: int) -> Batch:
        found = self.samples[order[number * self.size : (number + 1) * self.size]]
        x, y = (found.x, found.y) if isinstance(found, Samples) else found
        rng = np.random.default_rng([self.seed, epoch, 1 + number])  # not 0, because [s, e, 0] and [s, e] are the same seed
        for change in self.augment:
            x, y = change(x, y, rng)
        return x, y


def _from(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ArgumentError(f"{name} (={value!r}) must be an integer from {least} on")
