"""Losses and metrics over time as a picture."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from juanji.atomic import atomic_write
from juanji.errors import ArgumentError
from juanji.extras import optional
from juanji.nn.training.history import History


def draw_curves(history: History, path: str | os.PathLike[str]) -> None:
    """Write a PNG of the loss over the iterations and of what was measured after every epoch.

    Raises ExtraError if Matplotlib is not installed, ArgumentError if there is nothing to draw.
    """
    if not history.losses:
        raise ArgumentError("the history has no iterations to draw")
    figure = optional("matplotlib.figure", "show").Figure(figsize=(9, 3.5), layout="constrained")
    others = sorted({name for line in history.epochs for name in line if name.startswith("validation_") and name != "validation_loss"})
    panels = figure.subplots(1, 2 if others else 1, squeeze=False)[0]
    losses = np.array(history.losses)
    iterations = np.arange(1, len(losses) + 1)
    panels[0].plot(iterations, losses, color="0.75", linewidth=0.7, label="batch")
    ends = [line["iteration"] for line in history.epochs]

    def over_epochs(panel: Any, name: str, label: str) -> None:
        panel.plot(ends, [line.get(name, np.nan) for line in history.epochs], "o-", markersize=3, label=label)

    over_epochs(panels[0], "loss", "training, mean of the epoch")
    if any("validation_loss" in line for line in history.epochs):
        over_epochs(panels[0], "validation_loss", "validation")
    if losses.min() > 0:
        panels[0].set_yscale("log")
    panels[0].set(xlabel="iteration", ylabel="loss")
    panels[0].legend(frameon=False)
    for name in others:
        over_epochs(panels[1], name, name.removeprefix("validation_"))
    if others:
        panels[1].set(xlabel="iteration", ylabel="on validation")
        panels[1].legend(frameon=False)
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=120)
