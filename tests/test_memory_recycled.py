"""Memory used again: what leaves behind what, and what must not."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from juanji import data, nn
from juanji.jit import memory
from juanji.jit.memory import address, empty_aligned, recycled
from strategies import Array

SHAPE = (50, 1000)


def test_an_array_gets_the_memory_of_one_that_is_gone() -> None:
    with recycled():
        first = empty_aligned(SHAPE, "float32")
        place = address(first)
        second = empty_aligned(SHAPE, "float32")
        assert address(second) != place
        assert not np.may_share_memory(first, second)
        del first
        third = empty_aligned(SHAPE[::-1], "float32")  # as many bytes
        assert address(third) == place
        assert place % 64 == 0


@pytest.mark.parametrize("view", [lambda x: x[3:, ::2], lambda x: x.T.reshape(-1)[:5], lambda x: x.view(np.uint8)[0], memoryview])
def test_a_view_keeps_the_memory(view: Callable[[Array], Any]) -> None:
    with recycled():
        array = empty_aligned((40, 1000), "float64")
        array[...] = 7
        kept = view(array)
        shared = np.may_share_memory(np.asarray(kept), array)
        before = np.array(kept)
        place = address(array)
        del array
        other = empty_aligned((40, 1000), "float64")
        other[...] = 8
        np.testing.assert_array_equal(np.asarray(kept), before)
        assert (address(other) != place) == shared


def test_an_array_outlives_the_block() -> None:
    with recycled():
        array = empty_aligned(SHAPE, "float32")
        array[...] = 1
        empty_aligned(SHAPE, "float32")
        recycler = memory._thread.recycler
    gc.collect()
    assert recycler is not None
    assert not recycler.waiting  # nothing is held for later
    others = [empty_aligned(SHAPE, "float32") for _ in range(4)]
    for other in others:
        other[...] = 2
    assert (array == 1).all()
    del array
    assert not recycler.waiting


def test_blocks_belong_to_a_thread_and_nest() -> None:
    with recycled():
        outer = empty_aligned(SHAPE, "float32")
        places = {address(outer)}
        del outer
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.append(address(empty_aligned(SHAPE, "float32"))))
        thread.start()
        thread.join()
        with recycled():
            inner = empty_aligned(SHAPE, "float32")
            assert address(inner) not in places
        again = empty_aligned(SHAPE, "float32")
        assert address(again) in places
        assert found[0] not in places


def test_what_waits_is_bounded() -> None:
    with recycled():
        for rows in range(100, 300):
            empty_aligned((rows, 100), "float32")
        recycler = memory._thread.recycler
        assert recycler is not None
        assert recycler.used == 0
        assert recycler.free == sum(len(one) for waiting in recycler.waiting.values() for one in waiting) <= 2 * recycler.most


def test_training_makes_nothing_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first iterations every array of a step lies where one of the step before lay."""
    made: list[int] = []
    room = memory.Recycler.room

    def counted(self: memory.Recycler, size: int) -> memory._Room:
        if not self.waiting.get(size):
            made.append(size)
        return room(self, size)

    monkeypatch.setattr(memory.Recycler, "room", counted)
    x = np.random.default_rng(0).random((24, 3, 20, 20), np.float32)
    net = nn.Sequential(nn.Conv(8, 3), nn.BatchNorm(), nn.ReLU(), nn.MaxPool(2), nn.Conv(16, 3), nn.ReLU(), nn.Flatten(), nn.Dense(2))
    after: list[int] = []
    nn.train(
        net, data.Samples(x, np.arange(24) % 2), max_iterations=8, batch_size=8, quiet=True, on_iteration=lambda *_: after.append(len(made))
    )
    assert after[0] > 0
    assert after[2] == after[-1]
