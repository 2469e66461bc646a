"""Runs on disk: killed, interrupted, out of space, damaged, and taken up again to the same bits."""

from __future__ import annotations

import json
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiled import environment
from juanji import nn
from juanji.errors import ArgumentError, DivergedError, ExtraError, FileError
from juanji.nn.training import curves
from small_trainings import PER_EPOCH, SETTINGS, TESTS, bars, left, network, run


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    run(folder)
    return folder


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def stop_at(iteration: int) -> Any:
    def stop(done: int, loss: float) -> None:
        if done == iteration:
            raise Killed

    return stop


def test_what_a_run_leaves(whole: Path) -> None:
    names = {str(path.relative_to(whole)) for path in whole.rglob("*") if path.is_file()}
    checkpoints = {f"checkpoints/{iteration:09}.safetensors" for iteration in (15, 20)}
    assert names == {"config.json", "metrics.jsonl", "net.safetensors", "curves.png"} | checkpoints
    config = json.loads((whole / "config.json").read_text())
    assert config["optimizer"] == {"kind": "Adam", "rate": 0.01, "betas": [0.9, 0.999], "epsilon": 1e-08, "weight_decay": 0.0}
    lines = left(whole)[1]
    assert [line["iteration"] for line in lines if "epoch" not in line] == list(range(1, 21))
    assert [line["epoch"] for line in lines if "epoch" in line] == [1, 2, 3, 4]
    net = nn.load(whole / "net.safetensors")
    best = min(line["validation_loss"] for line in lines if "epoch" in line)
    assert nn.evaluate(net, bars(30, seed=1))["loss"] == best


@pytest.mark.parametrize("seconds", [0.0, 60.0])
@pytest.mark.parametrize("stops", [[1], [5], [7], [4, 6, 18], [19], [20]])
def test_a_resumed_run_ends_with_the_same_bits(whole: Path, tmp_path: Path, stops: list[int], seconds: float) -> None:
    """Stopped after these iterations, before their checkpoints."""
    for iteration in stops:
        with pytest.raises(Killed):
            run(tmp_path, resume=True, checkpoint_seconds=seconds, on_iteration=stop_at(iteration))
    history = run(tmp_path, resume=True, checkpoint_seconds=seconds)[1]
    assert left(tmp_path) == left(whole)
    assert (len(history.losses), len(history.epochs), history.stopped) == (20, 4, "epochs")


def test_a_finished_run_is_only_read(whole: Path, tmp_path: Path) -> None:
    net, first = run(tmp_path)
    again, history = run(tmp_path, resume=True, on_iteration=stop_at(21))
    assert history == first
    for name, p in again.parameters.items():
        assert (p == net.parameters[name]).all()
    assert left(tmp_path) == left(whole)


def test_a_run_goes_on_for_more_epochs_to_the_same_bits(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"schedule": None, "patience": None}
    run(tmp_path / "once", epochs=3, **changes)
    run(tmp_path / "twice", epochs=None, max_iterations=7, **changes)
    assert left(tmp_path / "twice")[1][-1]["epoch"] == 2  # measured where it stopped, within the second epoch
    run(tmp_path / "twice", epochs=3, resume=True, **changes)
    assert left(tmp_path / "once") == left(tmp_path / "twice")


def test_only_the_last_two_checkpoints_are_kept(tmp_path: Path) -> None:
    run(tmp_path, checkpoint_seconds=0, epochs=2)
    assert [path.name for path in sorted((tmp_path / "checkpoints").iterdir())] == ["000000009.safetensors", "000000010.safetensors"]


# Refusals ------------------------------------------------------------------------------------------------------------------


def test_a_folder_that_holds_a_run_is_not_overwritten(whole: Path) -> None:
    before = left(whole)
    with pytest.raises(ArgumentError, match="holds a run: resume it, or name another folder"):
        run(whole)
    assert left(whole) == before


def test_a_folder_has_one_writer(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"

    def second(done: int, loss: float) -> None:
        if done == 7:
            with pytest.raises(ArgumentError, match=r"holds a run that is going on: name another folder$"):
                run(folder, resume=True)
            raise Killed

    with pytest.raises(Killed):
        run(folder, on_iteration=second)
    run(folder, resume=True)
    assert left(folder) == left(whole)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 4}, r"seed \(=4\) must be as in the run that is resumed, 3"),
        ({"optimizer": nn.Adam(0.02)}, r"optimizer.rate \(=0.02\) must be as in the run that is resumed, 0.01"),
        ({"optimizer": nn.SGD(0.01)}, r"optimizer \(=.*SGD.*\) must be"),
        ({"schedule": nn.WarmUp(3, nn.CosineDecay(0.1))}, r"schedule.then.end \(=0.1\)"),
        ({"epochs": 5}, r"epochs \(=5\) must be as in the run that is resumed, 4"),
        ({"augment": ()}, r"augment \(=\[\]\)"),
        ({"loss": nn.losses.softmax_cross_entropy, "metrics": ["accuracy"]}, r"loss \(=.*softmax_cross_entropy"),
        ({"net": nn.Sequential(nn.Flatten(), nn.Dense(2))}, r"network.*\(="),
    ],
)
def test_another_setting_is_refused_by_name(whole: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        run(whole, resume=True, **changes)


def test_other_samples_are_refused(whole: Path) -> None:
    with pytest.raises(ArgumentError, match=r"train.x.crc32 \(="):
        nn.train(network(), bars(seed=9), bars(30, seed=1), run_dir=whole, resume=True, **SETTINGS)


# Damage --------------------------------------------------------------------------------------------------------------------


def stopped(folder: Path) -> None:
    with pytest.raises(Killed):
        run(folder, checkpoint_seconds=0, on_iteration=stop_at(13))


def test_a_torn_line_is_repaired(whole: Path, tmp_path: Path) -> None:
    stopped(tmp_path)
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"iteration": 14, "lo')
    run(tmp_path, resume=True)
    assert left(tmp_path) == left(whole)


def test_a_damaged_checkpoint_gives_way_to_the_one_before(whole: Path, tmp_path: Path) -> None:
    stopped(tmp_path)
    newest = tmp_path / "checkpoints" / "000000012.safetensors"
    newest.write_bytes(newest.read_bytes()[:1000])
    run(tmp_path, resume=True)
    assert left(tmp_path) == left(whole)


def test_numbers_that_are_missing_are_told(tmp_path: Path) -> None:
    stopped(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(FileError, match="has 0 bytes, but had"):
        run(tmp_path, resume=True)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(FileError, match="is no JSON object of settings"):
        run(tmp_path, resume=True)


def test_files_that_are_no_checkpoints_are_told(tmp_path: Path) -> None:
    stopped(tmp_path)
    for path in (tmp_path / "checkpoints").iterdir():
        network().build((1, 8, 8)).save(path)
    with pytest.raises(FileError, match="is no checkpoint of a training"):
        run(tmp_path, resume=True)


# A full disk ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("beyond", "words"),
    [(4000, r"000000015.safetensors: could not be written"), (20, r"metrics.jsonl: could not be written \(the disk is full\)")],
)
def test_a_full_disk_keeps_the_last_checkpoint(whole: Path, tmp_path: Path, beyond: int, words: str) -> None:
    """No file may grow further than that beyond the numbers so far; to a program this is as a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(done: int, loss: float) -> None:
        if done == 12:
            resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "metrics.jsonl").stat().st_size + beyond, limits[1]))

    try:
        with pytest.raises(FileError, match=words):
            run(tmp_path, on_iteration=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in sorted((tmp_path / "checkpoints").iterdir())] == ["000000005.safetensors", "000000010.safetensors"]
    run(tmp_path, resume=True)
    assert left(tmp_path) == left(whole)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="could not be made a folder"):
        run(tmp_path / "file" / "run")


def test_a_run_that_diverges_keeps_its_last_checkpoint(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"optimizer": nn.SGD(1e25), "clip": None, "schedule": None}
    with pytest.raises(DivergedError, match=r"^layer"):
        run(tmp_path, **settings)
    assert (tmp_path / "checkpoints" / "000000000.safetensors").exists()


# Ctrl-C and kill -9 --------------------------------------------------------------------------------------------------------


def test_ctrl_c_stops_after_the_iteration_with_a_checkpoint(whole: Path, tmp_path: Path) -> None:
    def press(done: int, loss: float) -> None:
        if done == 8:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, on_iteration=press)
    assert signal.getsignal(signal.SIGINT) is before
    assert (tmp_path / "checkpoints" / "000000008.safetensors").exists()
    assert len(left(tmp_path)[1]) == 8 + 1
    run(tmp_path, resume=True)
    assert left(tmp_path) == left(whole)


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start with it ignored
    reached: list[int] = []

    def press(done: int, loss: float) -> None:
        signal.raise_signal(signal.SIGINT)
        reached.append(1)
        signal.raise_signal(signal.SIGINT)
        reached.append(2)

    try:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, on_iteration=press)
    finally:
        signal.signal(signal.SIGINT, before)
    assert reached == [1]


def killed(folder: Path, after: int, seconds: str = "0", pause: float = 0.0) -> None:
    """A run in another process, with a checkpoint every so many seconds, killed a moment after so many new lines of numbers."""
    numbers = folder / "metrics.jsonl"
    child = subprocess.Popen([sys.executable, str(TESTS / "small_trainings.py"), str(folder), seconds], env=environment())
    start, deadline = sys.maxsize, time.monotonic() + 240
    while child.poll() is None and time.monotonic() < deadline:
        count = numbers.read_bytes().count(b"\n") if numbers.exists() else 0
        start = min(start, count)  # what follows the last checkpoint is cut off first
        if count >= start + after:
            break
        time.sleep(0.001)
    time.sleep(pause)
    child.kill()
    assert child.wait() == -signal.SIGKILL


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the run that is killed elsewhere, undisturbed."""
    folder = tmp_path_factory.mktemp("runs") / "long"
    run(folder, epochs=40, patience=40)
    return folder


def test_a_killed_run_ends_with_the_same_bits(long: Path, tmp_path: Path) -> None:
    for after, seconds in ((3, "60"), (PER_EPOCH * 4, "0")):
        killed(tmp_path, after, seconds)
        assert not (tmp_path / "curves.png").exists()
    run(tmp_path, resume=True, epochs=40, patience=40)
    assert left(tmp_path) == left(long)


@pytest.mark.slow
def test_a_run_that_is_killed_twenty_times_ends_with_the_same_bits(long: Path, tmp_path: Path) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    moments = random.Random(seed)
    for _ in range(20):
        killed(tmp_path, moments.randrange(9), moments.choice(["0", "0.02", "60"]), moments.uniform(0, 0.02))
        assert not (tmp_path / "curves.png").exists()  # it had not ended
    run(tmp_path, resume=True, epochs=40, patience=40)
    assert left(tmp_path) == left(long)


# The picture ---------------------------------------------------------------------------------------------------------------


def test_curves_need_matplotlib_and_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str, extra: str) -> None:
        raise ExtraError(f"{module} is not installed")

    monkeypatch.setattr(curves, "optional", missing)
    _, history = run(tmp_path, epochs=1)
    assert len(history.losses) == PER_EPOCH
    assert not (tmp_path / "curves.png").exists()
    assert (tmp_path / "net.safetensors").exists()


def test_curves_of_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="no iterations"):
        nn.draw_curves(nn.History(), tmp_path / "curves.png")


def test_left_sees_a_difference(whole: Path, tmp_path: Path) -> None:
    """The comparison above can fail."""
    run(tmp_path, seed=4)
    arrays, lines = left(tmp_path)
    assert arrays.keys() == left(whole)[0].keys()
    assert arrays != left(whole)[0]
    assert lines != left(whole)[1]
    assert np.isfinite(lines[0]["loss"])
