"""What a training left behind in numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class History:
    """Numbers of a training, in order.

    losses: of every iteration, the mean over its batch. epochs: of every epoch a dict with "epoch" and "iteration" (how many are done),
    "loss" (the mean over the epoch's iterations), "rate", "seconds", and with validation "validation_loss", "validation_accuracy" and
    so on. stopped: why it ended: "epochs", "max_iterations", "tol" or "patience". best: the epoch whose parameters the network has
    now, where patience chose them.
    """

    losses: list[float] = field(default_factory=list)
    epochs: list[dict[str, float]] = field(default_factory=list)
    stopped: str = ""
    best: int | None = None

    @classmethod
    def of_lines(cls, lines: Iterable[Mapping[str, Any]]) -> History:
        """From the lines of a run folder."""
        history = cls()
        for line in lines:
            if "epoch" in line:
                history.epochs.append(dict(line))
            else:
                history.losses.append(line["loss"])
        return history

    def __str__(self) -> str:
        if not self.epochs:
            return f"stopped after {len(self.losses)} iterations: {self.stopped}"
        last = self.epochs[-1]
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in shown(last).items())
        return f"stopped after {len(self.losses)} iterations, {last['epoch']} epochs: {self.stopped}; {numbers}"


def shown(line: Mapping[str, float]) -> dict[str, float]:
    """What people want to see of an epoch: losses and metrics, by names with spaces."""
    return {name.replace("_", " "): value for name, value in line.items() if name == "loss" or name.startswith("validation")}
