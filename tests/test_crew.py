"""The crew: every slice is done once, by whoever is free; nobody is waited for who has not come, and all who came are."""

import ctypes
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from compiled import run_python
from juanji import crew
from juanji.crew import share_out
from juanji.jit.arguments import HEAD
from juanji.jit.compile import compile_ir
from juanji.jit.crew import ASLEEP, FREE, LeaderCode, MemberCode, emit_leader, emit_member
from juanji.jit.emit import LINE
from juanji.jit.target import Target

BEGIN, END, BEHIND, SCRATCH, X = (HEAD.index(name) for name in ("begin", "end", "behind", "scratch", "x"))
ITEMS = 40
BASE, STRIDE = 1 << 30, 4096  # of scratch memory that nobody touches


def shared(count: int, length: int, slice_: Callable[[Any], None], patience: int = 1000) -> None:
    """Slices of the items, each a call of a Python function with the row."""

    def kernel(at: int) -> None:
        slice_((ctypes.c_int64 * len(HEAD)).from_address(at))

    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(kernel)
    code: Any = SimpleNamespace(address=ctypes.cast(function, ctypes.c_void_p).value)
    row = (ctypes.c_int64 * len(HEAD))()
    row[X] = 77
    share_out(code, row, ITEMS, length, count, patience, BASE, STRIDE)


@pytest.mark.parametrize("pause", [0.0, 0.0005])
@pytest.mark.parametrize("patience", [1, 1000])
@pytest.mark.parametrize("length", [1, 3, 40])
@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_every_item_is_done_once(count: int, length: int, patience: int, pause: float) -> None:
    done: list[int] = []
    slices: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    rows: dict[int, set[int]] = defaultdict(set)

    def slice_(row: Any) -> None:
        begin, end, behind = row[BEGIN], row[END], row[BEHIND]
        assert row[X] == 77
        slices[row[SCRATCH]].append((behind, begin, end))
        rows[row[SCRATCH]].add(ctypes.addressof(row))
        time.sleep(pause)
        done.extend(range(begin, end))
        assert (begin, end, behind) == (row[BEGIN], row[END], row[BEHIND])  # nobody else's row

    shared(count, length, slice_, patience)
    assert sorted(done) == list(range(ITEMS))
    assert slices.keys() <= {BASE + who * STRIDE for who in range(count)}
    assert all(len(addresses) == 1 for addresses in rows.values())
    for found in slices.values():
        before = 0
        for behind, begin, end in found:
            assert behind in (0, before)  # 0 also where the caller has looked up
            assert end == min(begin + length, ITEMS)
            before = end


def test_others_come() -> None:
    threads = set[int]()

    def slice_(_: Any) -> None:
        threads.add(threading.get_ident())
        time.sleep(0.002)

    for _ in range(10):
        shared(4, 1, slice_)
    assert len(threads) >= 4
    assert threading.get_ident() in threads
    names = [thread.name for thread in threading.enumerate() if thread.name.startswith("juanji-")]
    assert len(names) == len(set(names)) == crew._crew.size


def test_calls_inside_of_calls_and_from_many_threads_at_once() -> None:
    results: list[list[int]] = []

    def inner(_: Any) -> None:
        done: list[int] = []
        shared(3, 1, lambda row: done.append(row[BEGIN]))
        results.append(done)

    callers = [threading.Thread(target=shared, args=(4, 1, inner)) for _ in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert not any(caller.is_alive() for caller in callers)
    assert len(results) == 6 * ITEMS
    assert all(sorted(done) == list(range(ITEMS)) for done in results)


def test_nobody_waits_for_a_thread_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = crew._Crew()
    empty.size = 3  # seats on which nobody sits
    monkeypatch.setattr(crew, "_crew", empty)
    done: list[int] = []
    for _ in range(3):
        shared(4, 1, lambda row: done.append(row[BEGIN]))
    assert sorted(done) == sorted(3 * list(range(ITEMS)))
    assert [state_of(empty, seat) for seat in range(3)] == [FREE] * 3


def state_of(of: crew._Crew, seat: int) -> int:
    state: int = ctypes.c_int64.from_address(of.seats + seat * LINE).value
    return state


@pytest.mark.parametrize("count", [1, 2, 3])
def test_an_interrupt_is_raised_when_all_have_ended(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lead, running, done, calls = crew._crew.leader.call, [0], list[int](), list[int]()

    def interrupted(at: int) -> None:
        lead(at)
        calls.append(at)
        if len(calls) == 1:
            raise KeyboardInterrupt

    def slice_(row: Any) -> None:
        running[0] += 1
        time.sleep(0.01)
        done.append(row[BEGIN])
        running[0] -= 1

    monkeypatch.setattr(crew._crew, "leader", SimpleNamespace(call=interrupted))
    with pytest.raises(KeyboardInterrupt):
        shared(count, 1, slice_, patience=2)
    assert running == [0]
    assert 2 <= len(done) < ITEMS
    assert len(calls) == 2
    before = len(done)
    time.sleep(0.05)
    assert len(done) == before


def test_threads_fall_asleep() -> None:
    shared(3, 1, lambda _: None)
    end = time.monotonic() + 20
    while time.monotonic() < end and any(state_of(crew._crew, seat) != ASLEEP for seat in range(crew._crew.size)):
        time.sleep(0.001)
    assert all(state_of(crew._crew, seat) == ASLEEP for seat in range(crew._crew.size))


LAYER = """
import os, signal, sys, threading, time
import numpy as np
import juanji as jj
x, w = np.ones((1, 64, 120, 120), np.float32), np.ones((64, 64, 3, 3), np.float32)
plan = jj.plan(x.shape, w.shape)
"""


def test_idle_threads_take_no_time() -> None:
    code = f"""{LAYER}
for _ in range(3): plan(x, w, threads=3)
time.sleep(0.1)
begin = time.process_time()
time.sleep(0.5)
print(time.process_time() - begin)
"""
    assert float(run_python(code)) < 0.05


@pytest.mark.parametrize(
    "last",
    [
        "",
        "time.sleep(0.05)",
        "threading.Thread(target=lambda: [plan(x, w, threads=2) for _ in range(1000)], daemon=True).start()\ntime.sleep(0.1)",
    ],
)
def test_the_process_ends(last: str) -> None:
    assert run_python(f"{LAYER}\nfor _ in range(3): plan(x, w, threads=3)\nprint('done')\n{last}") == "done\n"


@pytest.mark.skipif(not hasattr(__import__("signal"), "setitimer"), reason="no timers that send signals")
def test_calls_by_a_signals_handler() -> None:
    code = f"""{LAYER}
from juanji import run
run.SLICE_CYCLES = 1e5  # looks for signals often
rng = np.random.default_rng(0)
x, w = rng.standard_normal(x.shape, np.float32), rng.standard_normal(w.shape, np.float32)
small = x[..., :60, :60]
expected, expected_small, wrong, handled = plan(x, w, threads=1), jj.conv(small, w, threads=1), [], []
def handler(*_):
    handled.append(1)
    if not np.array_equal(jj.conv(small, w, threads=2), expected_small): wrong.append("inner")
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
end = time.monotonic() + 2
while time.monotonic() < end:
    if not np.array_equal(plan(x, w, threads=3), expected): wrong.append("outer")
signal.setitimer(signal.ITIMER_REAL, 0)
assert len(handled) > 5, handled
assert not wrong, wrong
"""
    run_python(code)


@pytest.mark.parametrize(
    "target",
    [
        Target("aarch64-unknown-linux-gnu", "generic", "", 128, 32, False),
        Target("x86_64-pc-windows-elf", "haswell", "+avx2,+fma", 256, 16, False),
    ],
)
def test_code_for_other_systems_calls_nothing_outside_itself(target: Target) -> None:
    member, leader = compile_ir(emit_member(MemberCode(), target), target), compile_ir(emit_leader(LeaderCode(), target), target)
    assert 100 < len(member) < 2000
    assert 100 < len(leader) < 2000
