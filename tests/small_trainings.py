"""Small trainings for tests: pictures of bars, a network with everything that could forget its state, and what a run leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from juanji import nn
from juanji.data import Samples, Shift
from juanji.nn.formats import safetensors_files
from juanji.nn.training.history import History

PER_EPOCH = 5
TESTS = Path(__file__).resolve().parent


def bars(count: int = 70, seed: int = 0) -> Samples:
    """8×8 pictures of noise with a bar: lying is class 0, standing class 1."""
    random = np.random.default_rng(seed)
    x = random.normal(0, 0.4, (count, 1, 8, 8)).astype(np.float32)
    y = np.arange(count) % 2
    for picture, standing, place in zip(x, y, random.integers(1, 7, count), strict=True):
        picture[0][(slice(None), place) if standing else place] += 1.5
    return Samples(x, y, ("lying", "standing"))


def network(seed: int = 0) -> nn.Graph:
    """Batch statistics and dropout, which have a state of their own, and a fixed kernel."""
    return nn.Sequential(
        nn.Conv(4, 3, padding=1), nn.BatchNorm(), nn.ReLU(), nn.MaxPool(2), nn.Filter(np.full((3, 3), 1 / 9)),
        nn.Conv(6, 3), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(), nn.Dense(2),
        seed=seed,
    )  # fmt: skip


SETTINGS: dict[str, Any] = {
    "optimizer": nn.Adam(0.01),
    "schedule": nn.WarmUp(3, nn.CosineDecay()),
    "clip": nn.ClipNorm(1.0),
    "augment": (Shift(1),),
    "epochs": 4,
    "batch_size": 14,
    "seed": 3,
    "patience": 3,
    "quiet": True,
}


def run(run_dir: Path | None = None, net: nn.Graph | None = None, **changes: Any) -> tuple[nn.Graph, History]:
    """A training of four epochs of five iterations."""
    net = network() if net is None else net
    return net, nn.train(net, bars(), bars(30, seed=1), run_dir=run_dir, **SETTINGS | changes)


def left(run_dir: Path) -> tuple[dict[str, bytes], list[dict[str, Any]]]:
    """The bits of the network and of the last checkpoint that a run left, and its numbers but the times."""
    files = [run_dir / "net.safetensors", max((run_dir / "checkpoints").glob("*.safetensors"))]
    arrays = {f"{file.name} {name}": array.tobytes() for file in files for name, array in safetensors_files.read(file)[0].items()}
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return arrays, [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


if __name__ == "__main__":  # a run that is there to be killed
    import sys

    folder, seconds = sys.argv[1:]
    run(Path(folder), resume=True, checkpoint_seconds=float(seconds), epochs=40, patience=40)
