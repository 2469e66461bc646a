"""Augmentation against its definition, and mini-batches: the same bits whatever the threads, and no thread left behind."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiled import SOURCE
from juanji.data import Batches, Crop, Flip, Samples, Shift
from juanji.data.augment import OUTSIDE, Augmentation
from juanji.errors import ArgumentError, ShapeError

Array = npt.NDArray[Any]


@st.composite
def batches_of_places(draw: st.DrawFn) -> tuple[Array, Array]:
    """x (N, 2, *S) whose elements are all different and not 0, and y (N, *S) equal to its first channel."""
    n = draw(st.integers(1, 3))
    shape = (draw(st.integers(1, 4)), 2, *draw(st.tuples(*[st.integers(1, 6)] * n)))
    x = 1 + np.arange(np.prod(shape)).reshape(shape)
    return x, x[:, 0].copy()


@given(batches_of_places(), st.integers(-3, 2), st.integers(0, 99))
def test_flip_turns_some_samples_whole(batch: tuple[Array, Array], axis: int, seed: int) -> None:
    x, y = batch
    n = x.ndim - 2
    if not -n <= axis < n:
        with pytest.raises(ArgumentError, match="must be one of the"):
            Flip(axis)(x, y, np.random.default_rng(seed))
        return
    before = x.copy()
    found, mask = Flip(axis)(x, y, np.random.default_rng(seed))
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(mask, found[:, 0])
    chosen = np.random.default_rng(seed).random(len(x)) < 0.5
    for sample, result, turned in zip(x, found, chosen, strict=True):
        np.testing.assert_array_equal(result, np.flip(sample, axis % n + 1) if turned else sample)


def test_flip_probability() -> None:
    x, y = np.arange(2000).reshape(1000, 1, 2), np.zeros(1000, int)
    for probability in (0.0, 0.3, 1.0):
        found, labels = Flip(probability=probability)(x, y, np.random.default_rng(0))
        assert labels is y
        turned = (found[:, 0, 0] > found[:, 0, 1]).mean()
        assert abs(turned - probability) < (0.05 if 0 < probability < 1 else 1e-9)
    with pytest.raises(ArgumentError, match=r"probability .=2. must be from 0 to 1"):
        Flip(probability=2)


@given(batches_of_places(), st.sampled_from(sorted(OUTSIDE)), st.integers(0, 99), st.data())
def test_crop_is_a_window_of_the_padded_sample(batch: tuple[Array, Array], boundary: str, seed: int, data: st.DataObject) -> None:
    x, y = batch
    space = x.shape[2:]
    padding = data.draw(st.tuples(*[st.integers(0, 3)] * len(space)))
    size = tuple(data.draw(st.integers(1, length + 2 * pad)) for length, pad in zip(space, padding, strict=True))
    found, mask = Crop(size, padding, boundary)(x, y, np.random.default_rng(seed))
    assert found.shape == (*x.shape[:2], *size)
    np.testing.assert_array_equal(mask, found[:, 0])
    for sample, result in zip(x, found, strict=True):
        padded = np.pad(sample, [(0, 0), *((pad, pad) for pad in padding)], mode=OUTSIDE[boundary])  # type: ignore[call-overload]
        windows = np.lib.stride_tricks.sliding_window_view(padded[0], size).reshape(-1, *size)
        assert (windows == result[0]).reshape(len(windows), -1).all(1).any()
    if min(size) > max(space) + 2 * max(padding):
        with pytest.raises(ShapeError, match="must fit into x"):
            Crop(max(space) + 2 * max(padding) + 1, padding, boundary)(x, y, np.random.default_rng(seed))


def test_crop_reaches_every_place_and_draws_per_sample() -> None:
    x = np.broadcast_to(np.arange(36).reshape(6, 6), (500, 1, 6, 6))
    found, labels = Crop(4, padding=1)(x, np.arange(500), np.random.default_rng(0))
    assert len(np.unique(found.reshape(500, -1), axis=0)) == 25
    assert labels.tolist() == list(range(500))
    with pytest.raises(ShapeError, match=r"size \(9, 9\) must fit into x of \(6, 6\) with padding \(1, 1\)"):
        Crop(9, padding=1)(x, np.arange(500), np.random.default_rng(0))
    with pytest.raises(ArgumentError, match=r"boundary .='nothing'. must be one of zero, edge, reflect, symmetric, wrap"):
        Crop(4, boundary="nothing")


@given(batches_of_places(), st.integers(0, 4), st.integers(0, 99))
def test_shift_by_rolling(batch: tuple[Array, Array], most: int, seed: int) -> None:
    """Under "wrap" a shift is np.roll by at most `most`; under "zero" it is that with the elements that came round made 0."""
    x, y = batch
    axes = tuple(range(1, x.ndim - 1))
    wrapped, mask = Shift(most, "wrap")(x, y, np.random.default_rng(seed))
    zero, _ = Shift(most)(x, y, np.random.default_rng(seed))
    np.testing.assert_array_equal(mask, wrapped[:, 0])
    for sample, result, cut in zip(x, wrapped, zero, strict=True):
        rolls = np.stack(np.meshgrid(*[range(-most, most + 1)] * len(axes), indexing="ij"), -1).reshape(-1, len(axes))
        assert any(np.array_equal(np.roll(sample, tuple(roll), axes), result) for roll in rolls)
        assert ((cut == result) | (cut == 0)).all()


@pytest.mark.parametrize("change", [Flip(), Crop(3, 1), Shift(1)])
def test_targets_that_are_pictures_move_too(change: Augmentation) -> None:
    x = np.arange(2 * 3 * 16).reshape(2, 3, 4, 4)
    found, target = change(x, x[:, :1], np.random.default_rng(1))
    np.testing.assert_array_equal(found[:, :1], target)
    _, numbers = change(x, np.ones((2, 5)), np.random.default_rng(1))
    np.testing.assert_array_equal(numbers, np.ones((2, 5)))


# batches


def numbered(count: int) -> Samples:
    return Samples(np.arange(count * 6, dtype=np.float32).reshape(count, 1, 2, 3), np.arange(count))


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("juanji-batches")]


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    yield
    gc.collect()
    assert not workers()


@given(st.integers(1, 20), st.integers(1, 7), st.booleans(), st.booleans(), st.integers(1, 3), st.integers(0, 4), st.data())
def test_an_epoch_takes_every_sample_once(
    count: int, size: int, drop_last: bool, shuffle: bool, threads: int, ahead: int, data: st.DataObject
) -> None:
    if drop_last and size > count:
        with pytest.raises(ArgumentError, match="leaves no whole batch"):
            Batches(numbered(count), size, drop_last=True)
        return
    augment = (Flip(), Shift(1))
    batches = Batches(numbered(count), size, 5, augment, shuffle, drop_last, threads, ahead)
    found = list(batches.epoch(3))
    assert len(found) == len(batches) == (count // size if drop_last else -(-count // size))
    taken = np.concatenate([y for _, y in found])
    np.testing.assert_array_equal(taken, batches.order(3)[: len(taken)])
    assert len(set(taken)) == len(taken) == (len(batches) * size if drop_last else count)
    if not shuffle:
        np.testing.assert_array_equal(taken, np.arange(len(taken)))
    start = data.draw(st.integers(0, len(batches)))
    again = list(Batches(numbered(count), size, 5, augment, shuffle, drop_last).epoch(3, start))
    assert len(again) == len(batches) - start
    for (x, y), (x_again, y_again) in zip(found[start:], again, strict=True):
        np.testing.assert_array_equal(x, x_again)
        np.testing.assert_array_equal(y, y_again)


def test_seed_epoch_and_batch_are_drawn_apart() -> None:
    def orders(seed: int, epoch: int) -> list[int]:
        return [int(v) for _, y in Batches(numbered(30), 7, seed).epoch(epoch) for v in y]

    different = {tuple(orders(seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(different) == 9
    drawn: dict[tuple[int, int], float] = {}

    def note(x: Array, y: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        drawn[len(drawn), int(y[0])] = rng.random()
        return x, y

    batches = Batches(numbered(30), 7, 0, (note,))
    for epoch in range(3):
        list(batches.epoch(epoch))
    assert len(set(drawn.values())) == len(drawn) == 15
    assert np.random.default_rng([0, 0]).random() not in drawn.values()  # the order's


def test_anything_indexed_will_do() -> None:
    class Squares:
        def __len__(self) -> int:
            return 5

        def __getitem__(self, places: Array) -> tuple[Array, Array]:
            return places.reshape(-1, 1, 1) ** 2, places

    for x, y in Batches(Squares(), 2).epoch(0):
        np.testing.assert_array_equal(x[:, 0, 0], y**2)


def test_what_fails_is_raised_in_its_turn() -> None:
    def fail(x: Array, y: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        if 4 in y:
            raise ZeroDivisionError("sample 4")
        return x, y

    batches = Batches(numbered(9), 2, augment=(fail,), shuffle=False, threads=2, ahead=4)
    found = batches.epoch(0)
    assert [next(found)[1].tolist() for _ in range(2)] == [[0, 1], [2, 3]]
    with pytest.raises(ZeroDivisionError, match="sample 4"):
        next(found)
    assert not workers()
    assert next(found, None) is None


def test_only_so_many_are_made_ahead() -> None:
    made = []

    def note(x: Array, y: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        made.append(int(y[0]))
        return x, y

    found = Batches(numbered(40), 1, augment=(note,), shuffle=False, threads=3, ahead=4).epoch(0)
    assert made == []
    next(found)
    deadline = time.monotonic() + 10
    while len(made) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert sorted(made) == [0, 1, 2, 3, 4]
    assert workers()
    del found
    assert not workers()


def test_two_arrays_are_no_samples() -> None:
    with pytest.raises(ArgumentError, match=r"samples is a tuple, but must be Samples; Samples\(x, y\) makes them"):
        Batches((np.zeros((3, 1, 2)), np.zeros(3)), 1)  # type: ignore[arg-type]


def test_numbers_out_of_range() -> None:
    for name, value in (("size", 0), ("size", 1.5), ("seed", -1), ("threads", 0), ("ahead", -1), ("size", True)):
        arguments: dict[str, Any] = {"size": 2, name: value}
        with pytest.raises(ArgumentError, match=f"{name} .={value!r}. must be an integer from"):
            Batches(numbered(4), **arguments)
    with pytest.raises(ArgumentError, match=r"start .=-1. must be an integer from 0 on"):
        Batches(numbered(4), 2).epoch(0, -1)
    with pytest.raises(ArgumentError, match=r"number .=-1. must be an integer from 0 on"):
        Batches(numbered(4), 2).epoch(-1)


INTERRUPTED = """
import signal, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start with it ignored
import numpy as np
from juanji.data import Batches, Samples

def slow(x, y, rng):
    time.sleep(0.05)
    return x, y

try:
    for i, _ in enumerate(Batches(Samples(np.zeros((10000, 1, 1)), np.zeros(10000, int)), 1, augment=(slow,), threads=4).epoch(0)):
        if i == 0:
            print("started", flush=True)
except KeyboardInterrupt:
    print(threading.active_count(), "thread")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_stops_the_threads() -> None:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "started\n"
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=20)
    assert out == "1 thread\n", err
    assert child.returncode == 0
