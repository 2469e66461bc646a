"""The way from the interpreter into a kernel: what the kernel is given, who may run meanwhile, and what is left behind."""

import ctypes
import sys
import threading
import time
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import pytest

from juanji import machine as machines
from juanji import run
from juanji.entry import Entry
from juanji.errors import ArgumentError
from juanji.jit.arguments import HEAD
from juanji.jit.emit import I64, PTR, Emitter
from juanji.jit.entry import MOST_WORDS
from juanji.jit.memory import address
from juanji.jit.target import Target
from juanji.run import BRIEF_CYCLES, SLICE_CYCLES
from strategies import Array

WORD = 8


@dataclass(frozen=True)
class EchoCode:
    """A kernel that writes its row of so many words to y, as often as it is told by the last of them."""

    words: int


def emit_echo(code: EchoCode, target: Target) -> str:
    e = Emitter(target.vector_bits, target.masks)
    with e.function("kernel", PTR) as (row,):
        y = e.load(PTR, row + WORD * HEAD.index("y"), WORD)
        with e.loop(0, e.load(I64, row + WORD * (code.words - 1), WORD)), e.loop(0, code.words) as i:
            e.store(e.load(I64, row + i * WORD, WORD), y + i * WORD, WORD)
    return e.text()


def echo(words: int = 20, cycles: float = 1.0, times: int = 1, scratch: int = 0) -> tuple[Entry, list[int]]:
    """The entry of that kernel, and the words that it has of its own."""
    own = [0] * len(HEAD) + [7 * i - 40 for i in range(len(HEAD), words - 1)] + [times]
    own[HEAD.index("x")], own[HEAD.index("y")] = -24, 8  # what lies before and behind where the arrays begin
    row = (ctypes.c_int64 * words)(*own)
    return Entry(machines.loaded(EchoCode(words), emit_echo), row, 1, scratch, cycles), own


class Kin(np.ndarray[tuple[int, ...], np.dtype[np.float64]]):
    """An array of a class of its own, which has words behind those of all arrays."""

    __slots__ = ("more",)


ARRAYS = [
    np.zeros(5), np.zeros((3, 4))[1:, ::2], np.zeros((3, 4))[::-1], np.zeros((2, 3), "f2"), np.zeros(3, ml_dtypes.bfloat16),
    np.broadcast_to(np.zeros(3), (4, 3)), np.zeros(()), np.zeros(2).view(Kin),
]  # fmt: skip


@pytest.mark.parametrize("cycles", [1.0, BRIEF_CYCLES + 1, SLICE_CYCLES + 1])
@pytest.mark.parametrize("words", [len(HEAD) + 1, 20, 21, MOST_WORDS - 1, MOST_WORDS, MOST_WORDS + 1, 700])
def test_the_row_of_a_kernel(words: int, cycles: float) -> None:
    for x in ARRAYS:
        entry, own = echo(words, cycles, scratch=100)
        w, y = np.zeros(3), np.zeros(words + 1, np.int64)
        entry(x, w, None, y, 1)
        got = dict(zip(HEAD, y[1:].tolist(), strict=False))
        expected = {"x": address(x) - 24, "w": address(w), "bias": 0, "y": address(y) + 8, "begin": 0, "end": 1, "behind": 0}
        assert {name: got[name] for name in expected} == expected
        assert got["scratch"] == run.scratch_memory(100)[0]
        assert y[1 + len(HEAD) :].tolist() == own[len(HEAD) :]


def test_each_call_has_a_row_of_its_own() -> None:
    entry, own = echo()
    first, second = (np.zeros(21, np.int64) for _ in range(2))
    bias = np.zeros(1)
    entry(ARRAYS[0], None, bias, first, 1)
    entry(ARRAYS[0], ARRAYS[1], None, second, 1)
    assert first[1 + HEAD.index("w")] == second[1 + HEAD.index("bias")] == 0
    assert first[1 + HEAD.index("bias")] == address(bias)
    assert second[1 + HEAD.index("w")] == address(ARRAYS[1])
    row = entry.filled(ARRAYS[0], None, bias, first)
    assert [row[i] for i in range(20) if i != HEAD.index("scratch")] == [first[1 + i] for i in range(20) if i != HEAD.index("scratch")]
    assert entry.row[HEAD.index("x")] == own[HEAD.index("x")]


def test_the_number_of_threads_is_looked_at() -> None:
    entry, _ = echo()
    with pytest.raises(ArgumentError, match=r"threads \(=0\) must be an integer of at least 1"):
        entry(ARRAYS[0], None, None, np.zeros(21, np.int64), 0)


def test_nothing_is_lost_or_kept() -> None:
    entry, _ = echo()
    x, y = np.zeros(4), np.zeros(21, np.int64)
    before = [sys.getrefcount(it) for it in (None, x, y, entry.template)]
    for _ in range(10_000):
        entry(x, None, None, y, 1)
    after = [sys.getrefcount(it) for it in (None, x, y, entry.template)]
    assert abs(after[0] - before[0]) < 100
    assert after[1:] == before[1:]


@pytest.mark.parametrize(("cycles", "others"), [(BRIEF_CYCLES, False), (BRIEF_CYCLES + 1, True)])
def test_others_run_while_a_long_kernel_does(cycles: float, others: bool) -> None:
    entry, _ = echo(cycles=cycles, times=3_000_000)  # some ten milliseconds at least
    y = np.zeros(21, np.int64)
    steps, end = [0], threading.Event()

    def work() -> None:
        while not end.is_set():
            steps[0] += 1
            time.sleep(1e-4)

    thread = threading.Thread(target=work)
    interval = sys.getswitchinterval()
    thread.start()
    try:
        sys.setswitchinterval(30)  # nobody is asked to let others run: they do where the lock is given away
        before = steps[0]
        entry(ARRAYS[0], None, None, y, 1)
        ran = steps[0] - before
    finally:
        sys.setswitchinterval(interval)
        end.set()
        thread.join()
    assert (ran > 0) == others


def test_scratch_memory_is_of_the_thread() -> None:
    entry, _ = echo(scratch=64)
    found: list[int] = []

    def work() -> None:
        y: Array = np.zeros(21, np.int64)
        entry(ARRAYS[0], None, None, y, 1)
        found.append(int(y[1 + HEAD.index("scratch")]))
        wait.wait(30)

    wait = threading.Barrier(2)
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(set(found)) == 2
