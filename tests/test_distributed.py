"""The example of training on several processes: they take the steps that one process would have taken with the whole batch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from compiled import environment

EXAMPLE = Path(__file__).parents[1] / "examples" / "distributed.py"


@pytest.mark.torch
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    found = []
    for count in (1, 2):
        saved = tmp_path / f"{count}.pt"
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count), str(EXAMPLE)]
        done = subprocess.run(
            [*command, "--steps", "40", "--save", str(saved)], env=environment() | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        lines = sorted(line for line in done.stdout.splitlines() if line.startswith("process"))
        assert [line.split(":")[0] for line in lines] == [f"process {rank} of {count}" for rank in range(count)]
        assert len({line.split(": ")[1] for line in lines}) == 1  # all processes hold the same network
        assert float(lines[0].split(": ")[1].split("%")[0]) > 80
        found.append(torch.load(saved, weights_only=True))
    one, two = found
    for name, parameter in one.items():
        assert (two[name] - parameter).abs().max() < 1e-3, name
