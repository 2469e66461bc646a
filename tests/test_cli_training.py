"""`juanji train` and `juanji eval` on pictures of bars, a mask and numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from juanji import messages, nn
from juanji.cli import main
from small_trainings import bars, left

Run = Callable[..., tuple[int, str, str]]
TRAIN = ("train", "three-stages", "--data", "bars.npz", "--optimizer", "adam", "--batch-size", "20", "--schedule", "cosine")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in a folder with data sets, and gives its status and what it printed on either stream."""
    monkeypatch.chdir(tmp_path)
    train, test = bars(60), bars(30, seed=1)
    np.savez("bars.npz", x_train=train.x, y_train=train.y, x_test=test.x, y_test=test.y)
    masks = (train.x[:, 0] > 1).astype(np.int64)
    np.savez("masks.npz", x_train=train.x, y_train=masks, x_test=test.x, y_test=(test.x[:, 0] > 1).astype(np.int64))
    means = train.x.mean(axis=(1, 2, 3))[:, None]
    np.savez("numbers.npz", x_train=train.x, y_train=means, x_test=train.x[:10], y_test=means[:10])

    def call(*arguments: str) -> tuple[int, str, str]:
        messages.use("en")
        status = main(arguments)
        captured = capsys.readouterr()
        messages.use("en")
        return status, captured.out, captured.err

    return call


def test_train_then_eval(run: Run) -> None:
    status, out, err = run(*TRAIN, "--epochs", "6", "--out", "run")
    assert status == 0
    assert "60 samples to train, 30 to test" in err
    assert "stopped after 18 steps in 6 epochs: all epochs are done" in err
    loss, accuracy = (float(part.split()[1]) for part in out.split("  "))
    assert accuracy >= 0.8
    status, out, err = run("eval", "run", "--data", "bars.npz", "--json")
    found = json.loads(out)
    assert status == 0
    assert found["loss"] == pytest.approx(loss, rel=1e-3)
    assert (found["accuracy"], found["samples"], found["part"]) == (pytest.approx(accuracy, rel=1e-3), 30, "test")
    assert json.loads(run("eval", "run", "--data", "bars.npz", "--part", "train", "--limit", "7", "--json")[1])["samples"] == 7


def test_resume_ends_with_the_same_bits(run: Run) -> None:
    options = ("--epochs", "3", "--seed", "2", "--limit", "50")
    assert run(*TRAIN, *options, "--out", "once")[0] == 0
    assert run(*TRAIN, *options, "--out", "twice")[0] == 0
    folder = Path("twice")
    newest = max((folder / "checkpoints").iterdir())
    newest.unlink()  # as if it had been killed within the last epoch
    status, out, _ = run(*TRAIN, *options, "--out", "twice", "--resume", "--json")
    assert status == 0
    assert json.loads(out)["stopped"] == "epochs"
    assert left(folder) == left(Path("once"))


def test_a_run_is_not_overwritten_nor_resumed_with_other_settings(run: Run) -> None:
    assert run(*TRAIN, "--epochs", "1", "--out", "run")[0] == 0
    status, _, err = run(*TRAIN, "--epochs", "1", "--out", "run")
    assert status == 2
    assert "holds a run: resume it" in err
    status, _, err = run(*TRAIN, "--epochs", "1", "--lr", "0.5", "--out", "run", "--resume")
    assert status == 2
    assert "optimizer.rate (=0.5) must be as in the run that is resumed, 0.001" in err


def test_the_loss_follows_from_the_targets(run: Run) -> None:
    assert run("train", "linear", "--data", "numbers.npz", "--epochs", "2", "--lr", "0.01", "--out", "numbers")[0] == 0
    assert json.loads((Path("numbers") / "config.json").read_text())["loss"] == "squared_error"
    status, out, err = run("train", "unet", "--data", "masks.npz", "--epochs", "1", "--out", "masks", "--json")
    assert (status, json.loads(out)["epoch"]) == (0, 1), err
    assert json.loads((Path("masks") / "config.json").read_text())["loss"] == "sigmoid_cross_entropy"
    assert nn.load("masks/net.safetensors")(np.zeros((1, 1, 8, 8), np.float32)).shape == (1, 1, 8, 8)


def test_ctrl_c_says_how_to_go_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(nn, "train", interrupted)
    status, _, err = run(*TRAIN, "--out", "run")
    assert status == 130
    assert "the same command with --resume goes on from run" in err


def test_what_it_says_in_chinese(run: Run) -> None:
    status, _, err = run("--lang", "zh", *TRAIN, "--epochs", "1", "--out", "run")
    assert status == 0
    assert "训练样本 60 个" in err
    assert "已完成全部轮数" in err


def test_unknown_names_are_refused(run: Run) -> None:
    status, _, err = run("train", "no-such-net", "--data", "bars.npz", "--out", "run")
    assert status == 2
    assert "network (='no-such-net')" in err
    status, _, err = run(*TRAIN[:2], "--data", "no-such-data", "--out", "run")
    assert status == 2
    assert "must be one of mnist" in err
    assert run("eval", "missing", "--data", "bars.npz")[0] == 2
