"""Calls from many threads, across forks, under Ctrl-C; thread counts; results put where the caller wants them."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import juanji as jj
from compiled import environment, python, run_python
from juanji import run
from juanji.errors import ArgumentError, DtypeError, ShapeError

Array = npt.NDArray[Any]

posix = pytest.mark.skipif(sys.platform == "win32", reason="no fork, no SIGINT for one process")


# Many threads ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inner", [1, 2])
def test_many_threads_call_at_once(inner: int) -> None:
    rng = np.random.default_rng(0)
    problems = []
    for i in range(12):
        x = rng.integers(-4, 5, (1 + i % 2, 3, 40 + 7 * i, 50 + i)).astype(np.float32)
        w = rng.integers(-4, 5, (5 + i, 3, 1 + i % 5, 3)).astype(np.float32)
        problems.append((x, w))
    plain = [jj.conv(x, w, threads=1) for x, w in problems]
    start, failures = threading.Barrier(12), list[str]()

    def work(who: int) -> None:
        start.wait()
        for turn in range(24):
            i = (who * 5 + turn) % 12
            y = jj.conv(*problems[i], threads=inner)
            if not np.array_equal(y, plain[i]):
                failures.append(f"thread {who}, problem {i}")

    in_threads(work, 12)
    assert not failures


def test_many_threads_plan_and_compile_the_same_at_once() -> None:
    x = np.ones((1, 2, 17, 19), np.float32)
    w = np.ones((3, 2, 4, 1), np.float32)
    start, results = threading.Barrier(10), list[Array]()

    def work(who: int) -> None:
        start.wait()
        results.append(jj.conv(x, w, activation="relu6", dilation=(3, 1)))

    in_threads(work, 10)
    assert len(results) == 10
    assert all((y == 6).all() for y in results)


def test_one_plan_and_one_bound_plan_from_many_threads() -> None:
    rng = np.random.default_rng(1)
    w = rng.standard_normal((20, 9, 3, 3)).astype(np.float32)
    xs = [rng.standard_normal((1, 9, 33, 35)).astype(np.float32) for _ in range(8)]
    plan = jj.plan(xs[0].shape, w.shape, padding=1)
    bound = plan.bind(w)
    expected = [plan(x, w, threads=1) for x in xs]
    failures = list[int]()

    def work(who: int) -> None:
        for _ in range(30):
            out = np.empty_like(expected[who])
            if not np.array_equal(bound(xs[who], out=out), expected[who]) or not np.array_equal(plan(xs[who], w), expected[who]):
                failures.append(who)

    in_threads(work, 8)
    assert not failures


def in_threads(work: Any, count: int) -> None:
    """work(0), work(1) ... each in a thread of its own; what one raises is raised."""
    raised: list[BaseException] = []

    def run_one(who: int) -> None:
        try:
            work(who)
        except BaseException as error:
            raised.append(error)

    workers = [threading.Thread(target=run_one, args=(who,)) for who in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert not any(worker.is_alive() for worker in workers)
    if raised:
        raise raised[0]


def test_the_interpreter_runs_on_during_a_call() -> None:
    x, w = np.ones((1, 1, 3000, 3000), np.float32), np.ones((1, 1, 15, 15), np.float32)
    jj.conv(x, w, threads=1)
    done = threading.Event()

    def call() -> None:
        jj.conv(x, w, threads=1)
        done.set()

    caller = threading.Thread(target=call)
    turns = 0
    caller.start()
    while not done.is_set():
        turns += 1
        time.sleep(0.001)
    caller.join()
    assert turns > 5


# Fork -----------------------------------------------------------------------------------------------------------------------

FORK = """
import os, sys, threading, time
import numpy as np
import juanji as jj
x = np.arange(256 * 512, dtype=np.float32).reshape(1, 1, 256, 512) % 11
w = np.ones((1, 1, 3, 3), np.float32)

def right(threads, side=3):
    w = np.ones((1, 1, side, side), np.float32)
    y = jj.conv(x, w, threads=threads, algorithm="direct")
    return y[0, 0, 7, 9] == x[0, 0, 7:7 + side, 9:9 + side].sum() and y.shape == (1, 1, 257 - side, 513 - side)

def in_child(work):
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if work() else 2
        finally:
            os._exit(status)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return "hangs"
"""


@posix
@pytest.mark.parametrize("threads", [1, 2])
def test_a_forked_child_computes(threads: int) -> None:
    code = f"""{FORK}
assert right({threads})
for _ in range(3):
    status = in_child(lambda: right({threads}) and right({threads}, 5) and right(2, 4))  # known code, and code that it has to compile
    assert status == 0, status
assert right({threads})
status = in_child(lambda: in_child(lambda: right({threads})) == 0)
assert status == 0, status
"""
    run_python(code)


@posix
def test_fork_before_anything_was_computed() -> None:
    run_python(f"{FORK}\nstatus = in_child(lambda: right(2)); assert status == 0, status\nassert right(2)")


@posix
@pytest.mark.parametrize("delay", [0.0, 0.01, 0.03, 0.1, 0.3])
def test_fork_while_another_thread_makes_the_first_call(delay: float, tmp_path: Path) -> None:
    # The first call of all finds out about the machine: it imports, measures, compiles.
    code = f"""{FORK}
jj.conv
other = threading.Thread(target=right, args=(1,))
other.start()
time.sleep({delay})
status = in_child(lambda: right(2) and right(1, 2))
other.join()
assert status == 0, status
"""
    run_python(code, JUANJI_CACHE_DIR=str(tmp_path / "cold"))


@posix
def test_fork_while_other_threads_compile_and_compute(tmp_path: Path) -> None:
    code = f"""{FORK}
assert right(2)
stop = threading.Event()
def compile_all():
    side = 1
    while not stop.is_set():
        side += 1
        jj.conv(np.ones((1, 1, 40, 60), np.float32), np.ones((1, 1, 1 + side // 30 % 30, 1 + side % 30), np.float32), threads=1)
def compute_all():
    while not stop.is_set():
        right(2)
others = [threading.Thread(target=t) for t in (compile_all, compute_all)]
for t in others: t.start()
found = []
for i in range(16):
    time.sleep(0.02 + 0.013 * (i % 4))
    found.append(in_child(lambda: right(2) and right(1, 2 + i)))
    if found[-1] != 0: break
stop.set()
for t in others: t.join()
assert found == [0] * 16, found
"""
    run_python(code, timeout=200, JUANJI_CACHE_DIR=str(tmp_path / "cold"))


# Ctrl-C ---------------------------------------------------------------------------------------------------------------------

LONG = {
    "a picture": ("(1, 1, 9000, 9000)", "(1, 1, 61, 61)", "padding=30, algorithm='direct'"),
    "a layer": ("(16, 256, 112, 112)", "(512, 256, 3, 3)", "padding=1"),
    "a layer, channels last": ("(16, 112, 112, 256)", "(3, 3, 256, 512)", "padding=1, layout='channels_last'"),
    "a kernel as large as the picture": ("(1, 1, 3000, 3000)", "(1, 1, 3000, 3000)", "padding=300"),
}
SOON = 2.0  # seconds; the machine may be busy with other tests


@posix
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", LONG)
def test_ctrl_c_ends_a_long_call(name: str, threads: int) -> None:
    x, w, arguments = LONG[name]
    code = f"""
import signal
import time
import numpy as np
import juanji as jj
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start with it ignored
x, w = np.zeros({x}, np.float32), np.zeros({w}, np.float32)
plan = jj.plan(x.shape, w.shape, {arguments})
plan.code
out = np.empty(plan.spec.y_shape, np.float32)
print("begin", flush=True)
begin = time.monotonic()
try:
    plan(x, w, out=out, threads={threads})
    print("finished after", time.monotonic() - begin)
except KeyboardInterrupt:
    print("interrupted", flush=True)
y = jj.conv(np.ones((1, 1, 60, 300), np.float32), np.ones((1, 1, 3, 3), np.float32), threads={threads})
assert (y == 9).all()
out[...] = 7
time.sleep(0.3)
assert (out == 7).all()  # nobody goes on writing into it
print("goes on", flush=True)
"""
    child = subprocess.Popen([sys.executable, "-c", code], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "begin\n"
        time.sleep(0.4)
        sent = time.monotonic()
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == "interrupted\n"
        took = time.monotonic() - sent
        output, errors = child.communicate(timeout=60)
    finally:
        child.kill()
    assert (output, child.returncode) == ("goes on\n", 0), errors
    assert took < SOON


# Thread counts --------------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _same_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_default", None)


X, W = np.ones((1, 1, 8, 9), np.float32), np.ones((1, 1, 3, 3), np.float32)


@pytest.mark.parametrize("count", [0, -1, 1.5, "2", True, (2,), np.float32(2)])
def test_thread_counts_that_are_none(count: Any) -> None:
    calls: list[Callable[[], object]] = [
        lambda: jj.conv(X, W, threads=count),
        lambda: jj.set_threads(count),
        lambda: jj.threads(count).__enter__(),
    ]
    for call in calls:
        with pytest.raises(ArgumentError, match=r"^threads \(=.*\) must be an integer of at least 1$"):
            call()
    assert (jj.conv(X, W) == 9).all()


def test_who_says_how_many_threads() -> None:
    jj.set_threads(3)
    assert run.thread_count(None) == 3
    with jj.threads(2):
        assert run.thread_count(None) == 2
        with jj.threads(np.int64(5)):
            assert run.thread_count(None) == 5
        assert run.thread_count(None) == 2
        assert run.thread_count(7) == 7
        seen: list[int] = []
        other = threading.Thread(target=lambda: seen.append(run.thread_count(None)))
        other.start()
        other.join()
        assert seen == [3]  # the block is this thread's
    with pytest.raises(RuntimeError, match="on purpose"), jj.threads(4):
        raise RuntimeError("on purpose")
    assert run.thread_count(None) == 3


@pytest.mark.parametrize("text", ["0", "-2", "two", "1.5", " ", "2 threads"])
def test_a_number_of_threads_in_the_environment_that_is_none(text: str) -> None:
    ended = python("import numpy as np, juanji as jj; jj.conv(np.ones((1, 1, 9)), np.ones((1, 1, 3)))", JUANJI_NUM_THREADS=text)
    assert ended.returncode == 1
    last = ended.stderr.strip().splitlines()[-1]
    assert last == f"juanji.errors.ArgumentError: JUANJI_NUM_THREADS (={text!r}) must be an integer of at least 1"


def test_the_environment_and_the_cores() -> None:
    code = "from juanji import run; print(run.thread_count(None))"
    assert run_python(code, JUANJI_NUM_THREADS="3").strip() == "3"
    assert run_python(code, JUANJI_NUM_THREADS="").strip() == run_python("import os; print(len(os.sched_getaffinity(0)))").strip()


def test_more_threads_than_work_or_workers() -> None:
    x = np.ones((1, 1, 900, 1000), np.float32)
    y = jj.conv(x, W, threads=1)
    for count in (7, 100, 1000):
        np.testing.assert_array_equal(jj.conv(x, W, threads=count), y)
        assert (jj.conv(X, W, threads=count) == 9).all()


# out= -----------------------------------------------------------------------------------------------------------------------


def test_out_is_filled_and_returned() -> None:
    out = np.full((1, 1, 6, 7), np.nan, np.float32)
    assert jj.conv(X, W, out=out) is out
    assert (out == 9).all()
    plan = jj.plan(X.shape, W.shape)
    calls: list[Callable[[], Array]] = [lambda: plan(X, W, out=out), lambda: plan.bind(W)(X, out=out)]
    for call in calls:
        out[...] = np.nan
        assert call() is out
        assert (out == 9).all()


def test_out_without_the_batch_axis() -> None:
    out = np.zeros((1, 6, 7), np.float32)
    y = jj.conv(X[0], W, out=out)
    assert y.shape == out.shape
    assert np.shares_memory(y, out)
    assert (out == 9).all()


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("threads", [1, 3])
def test_out_may_be_the_input(layout: str, threads: int) -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((2, 20, 120, 121) if layout == "channels_first" else (2, 120, 121, 20)).astype(np.float32)
    w = rng.standard_normal((20, 20, 3, 3) if layout == "channels_first" else (3, 3, 20, 20)).astype(np.float32)
    arguments: dict[str, Any] = {"padding": 1, "layout": layout, "threads": threads}
    expected = jj.conv(x, w, **arguments)
    makes: list[Callable[[Array], tuple[Array, Array]]] = [
        lambda room: (room[: x.size].reshape(x.shape), room[: x.size].reshape(x.shape)),
        lambda room: (room[: x.size].reshape(x.shape), room[5 : 5 + x.size].reshape(x.shape)),
        lambda room: (room[1000 : 1000 + x.size].reshape(x.shape), room[: x.size].reshape(x.shape)),
        lambda room: (room[: x.size].reshape(x.shape), room[: x.size][::-1].reshape(x.shape)),
    ]
    for make in makes:
        source, out = make(np.zeros(x.size + 2000, np.float32))
        source[...] = x
        assert jj.conv(source, w, out=out, **arguments) is out
        np.testing.assert_array_equal(out, expected)


def test_out_may_be_the_weights_or_the_bias() -> None:
    rng = np.random.default_rng(3)
    x, w, bias = (rng.standard_normal(shape).astype(np.float32) for shape in ((1, 1, 66, 66), (1, 1, 33, 33), (1,)))
    expected = jj.conv(x, w, bias, padding=((0, 0), (0, 0)), stride=(1, 1), algorithm="direct")[..., :33, :33]
    part = np.ascontiguousarray(x[..., :65, :65])
    w_copy = w.copy()
    assert jj.conv(part, w_copy, bias, out=w_copy, algorithm="direct") is w_copy
    np.testing.assert_array_equal(w_copy, expected)
    signal, one, bias_copy = np.ones((1, 4, 1), np.float32), np.ones((8, 4, 1), np.float32), np.arange(8, dtype=np.float32)
    out = bias_copy.reshape(1, 8, 1)
    jj.conv(signal, one, bias_copy, out=out)
    assert bias_copy.tolist() == [4, 5, 6, 7, 8, 9, 10, 11]


def test_bound_weights_are_the_plans_own() -> None:
    w, bias = np.ones((2, 1, 3, 3), np.float32), np.ones(2, np.float32)
    for shape in (w.shape, (2, 1, 1, 1)):
        weights = w[..., : shape[2], : shape[3]].copy()
        bound = jj.plan(X.shape, shape, bias=True).bind(weights, bias)
        before = bound(X).copy()
        weights[...], bias[...] = 100, 100
        np.testing.assert_array_equal(bound(X), before)
        bias[...] = 1


@pytest.mark.parametrize("shape", [(1, 1, 6, 8), (1, 6, 7), (1, 1, 6, 7, 1), (1, 2, 6, 7), ()])
def test_out_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"^out has shape .*, but the result has \(1, 1, 6, 7\)$"):
        jj.conv(X, W, out=np.zeros(shape, np.float32))


@pytest.mark.parametrize("dtype", ["float64", "int32", "uint8", "complex64", "object", "bool"])
def test_out_of_another_type(dtype: str) -> None:
    with pytest.raises(DtypeError, match=rf"^out has dtype {dtype}, but the result has float32$"):
        jj.conv(X, W, out=np.zeros((1, 1, 6, 7), dtype))


def test_out_that_cannot_be_written() -> None:
    out = np.zeros((1, 1, 6, 7), np.float32)
    out.flags.writeable = False
    with pytest.raises(ArgumentError, match=r"^out is read-only$"):
        jj.conv(X, W, out=out)
    assert (out == 0).all()


@pytest.mark.parametrize("out", [[[1.0]], "out", 7, (1, 1, 6, 7)])
def test_out_that_is_no_array(out: Any) -> None:
    with pytest.raises(ArgumentError) as raised:
        jj.conv(X, W, out=out)
    assert "\n" not in str(raised.value)
