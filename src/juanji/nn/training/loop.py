"""Training: mini-batches forward and back, a step of the optimiser after each, until there is a reason to stop.

One iteration computes the mean loss of a batch, its gradients by back-propagation, and lets the optimiser change the parameters. What an
iteration does depends on the parameters, the optimiser's memory, and its number alone: batches, augmentation and dropout are drawn from
(seed, number). So a checkpoint needs nothing else, and a training that was stopped anywhere goes on to the same bits.
"""

from __future__ import annotations

import math
import os
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.data.augment import Augmentation
from juanji.data.batches import Batches, Indexed
from juanji.data.samples import Samples
from juanji.errors import ArgumentError, DivergedError, ExtraError
from juanji.jit.memory import recycled
from juanji.nn.graph import Graph
from juanji.nn.losses import Loss, loss_of
from juanji.nn.training.clipping import Clip
from juanji.nn.training.curves import draw_curves
from juanji.nn.training.evaluation import evaluate, only_output
from juanji.nn.training.finite import all_finite, culprit
from juanji.nn.training.form import training_form
from juanji.nn.training.history import History
from juanji.nn.training.interrupts import postponed
from juanji.nn.training.metrics import Metric, metrics_of
from juanji.nn.training.optim import SGD, Optimizer
from juanji.nn.training.progress import Display
from juanji.nn.training.run_folder import Checkpoint, RunFolder, plain
from juanji.nn.training.schedules import Schedule

Array = npt.NDArray[Any]


def train(
    net: Graph,
    train: Indexed,
    validation: Indexed | None = None,
    *,
    loss: str | Loss = "softmax_cross_entropy",
    optimizer: Optimizer = SGD(0.1, momentum=0.9),  # noqa: B008 - frozen
    epochs: int | None = None,
    max_iterations: int | None = None,
    tol: float | None = None,
    patience: int | None = None,
    batch_size: int = 64,
    seed: int = 0,
    schedule: Schedule | None = None,
    clip: Clip | None = None,
    augment: Sequence[Augmentation] = (),
    metrics: Iterable[str | Metric] | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    resume: bool = False,
    checkpoint_seconds: float = 60.0,
    threads: int = 1,
    quiet: bool = False,
    on_iteration: Callable[[int, float], None] | None = None,
) -> History:
    """Train a network with one input and one output, in place, and return the numbers of the training.

    train, validation: `jj.data.Samples`, or anything with a length that gives a pair (x, y) for an array of places.
    loss: a name, or a function (outputs, targets) -> (mean loss, its gradient). metrics: measured on the validation samples after
        every epoch; those that are usual with the loss unless given.
    It stops after `epochs` or `max_iterations`, one of which must be given; with tol, when no element of any parameter changed by as
        much as tol in an iteration; with patience, when the validation loss has not fallen for that many epochs, and then the network
        gets the parameters of its best one.
    seed: of the order of the samples, the augmentation and dropout. A network that has no parameters yet is built, from its own seed.
    schedule: a factor for the optimiser's rate. clip: a bound for the gradients.
    run_dir: a folder for settings, numbers, checkpoints (after every epoch, and every checkpoint_seconds) and curves. resume: take up
        the run in that folder where its last checkpoint is, and go on to the same bits that it would have reached without a stop;
        with the same settings, save that without a schedule epochs and max_iterations may be others.
    threads: how many make batches ahead. quiet: no display. on_iteration: called with the number of iterations done and the loss.

    Ctrl-C stops after the iteration under way, with a checkpoint, and is then raised.
    Raises DivergedError, naming the layer, when a number is not finite; FileError when the folder cannot be written, with the last
    checkpoint in place; ArgumentError for settings that do not fit.

    >>> from juanji import data, nn
    >>> x = np.array([[[-1.0]], [[0.5]], [[2.0]]])
    >>> net = nn.Sequential(nn.Flatten(), nn.Dense(1), shape=(1, 1))
    >>> history = train(net, data.Samples(x, 3 * x[:, 0] + 1), loss="squared_error", epochs=200, tol=1e-5, batch_size=3)
    >>> history.stopped, net.parameters["dense1.weight"].round(2), net.parameters["dense1.bias"].round(2)
    ('tol', array([[3.]], dtype=float32), array([1.], dtype=float32))
    """
    _check_stops(epochs, max_iterations, tol, patience, validation)
    if resume and run_dir is None:
        raise ArgumentError("resume (=True) needs run_dir, the folder of the run")
    batches = Batches(train, batch_size, seed=seed, augment=augment, threads=threads)
    limits = {"epochs": None if epochs is None else epochs * len(batches), "max_iterations": max_iterations}
    total, reason = min((limit, name) for name, limit in limits.items() if limit is not None)
    plan = _Plan(
        batches, validation, loss, loss_of(loss), metrics_of(metrics, loss), optimizer, schedule, clip, tol, patience, seed, total, reason
    )
    _prepare(net, train)
    state = Checkpoint(0, net.parameters | net.buffers, optimizer.memory(net.parameters))
    history, folder = History(), None
    try:
        if run_dir is not None:
            folder = RunFolder(run_dir)
            config = _config(net, plan, train, epochs, max_iterations)
            kept, history = folder.begin(config, resume=resume, free=() if schedule else ("epochs", "max_iterations"))
            if kept is None:
                folder.save(state)
            else:
                state = _restored(kept, net)
        return _Training(net, plan, state, history, folder, checkpoint_seconds, on_iteration).run(quiet)
    finally:
        if folder is not None:
            folder.close()


def _check_stops(epochs: int | None, max_iterations: int | None, tol: float | None, patience: int | None, validation: object) -> None:
    """Refuse reasons to stop that have no meaning."""
    if epochs is None and max_iterations is None:
        raise ArgumentError("epochs or max_iterations must be given")
    for name, value in (("epochs", epochs), ("max_iterations", max_iterations), ("patience", patience)):
        if value is not None and value < 1:
            raise ArgumentError(f"{name} (={value!r}) must be at least 1")
    if tol is not None and not tol > 0:
        raise ArgumentError(f"tol (={tol!r}) must be above 0")
    if patience is not None and validation is None:
        raise ArgumentError(f"patience (={patience}) needs validation samples")


@dataclass(frozen=True)
class _Plan:
    """The settings of a training."""

    batches: Batches
    validation: Indexed | None
    loss_name: str | Loss
    loss: Loss
    metrics: tuple[Metric, ...]
    optimizer: Optimizer
    schedule: Schedule | None
    clip: Clip | None
    tol: float | None
    patience: int | None
    seed: int
    total: int  # iterations
    reason: str  # for stopping after them


class _Training:
    """A training under way."""

    def __init__(
        self,
        net: Graph,
        plan: _Plan,
        state: Checkpoint,
        history: History,
        folder: RunFolder | None,
        checkpoint_seconds: float,
        on_iteration: Callable[[int, float], None] | None,
    ):
        self.net, self.plan, self.state, self.history, self.folder = net, plan, state, history, folder
        self.form = training_form(net)
        self.value = net.outputs[only_output(net)]
        self.checkpoint_seconds, self.on_iteration = checkpoint_seconds, on_iteration

    def run(self, quiet: bool) -> History:
        """Iterations until there is a reason to stop."""
        plan, state, per_epoch = self.plan, self.state, len(self.plan.batches)
        self.epoch_began = self.saved = time.monotonic()
        with recycled(), postponed() as interrupt, Display(plan.total, state.iteration, plan.batches.size, quiet=quiet) as self.display:
            while not self._finished():
                epoch, start = divmod(state.iteration, per_epoch)
                for x, target in plan.batches.epoch(epoch, start):
                    self._iteration(epoch, x, target)
                    if state.iteration % per_epoch == 0:
                        self._end_epoch()
                    elif time.monotonic() - self.saved >= self.checkpoint_seconds:
                        self._save()
                    if interrupt.asked:
                        self._save()
                        self._draw()
                        raise KeyboardInterrupt
                    if self._finished():
                        break
            self._end()
        return self.history

    def _finished(self) -> bool:
        return bool(self.state.stopped) or self.state.iteration >= self.plan.total

    # An iteration ------------------------------------------------------------------------------------------------------------

    def _iteration(self, epoch: int, x: Array, target: Array) -> None:
        plan, state = self.plan, self.state
        loss, gradients = self._gradients(x, target)
        rate = self._rate(state.iteration)
        before = {name: p.copy() for name, p in self.net.parameters.items()} if plan.tol is not None else {}
        if plan.clip is not None:
            gradients = plan.clip(gradients)
        plan.optimizer.update(self.net.parameters, gradients, state.memory, rate=rate, step=state.iteration + 1)
        state.iteration += 1
        if plan.tol is not None and all(np.abs(p - before[name]).max(initial=0) < plan.tol for name, p in self.net.parameters.items()):
            state.stopped = "tol"
        self.history.losses.append(loss)
        if self.folder is not None:
            self.folder.line({"iteration": state.iteration, "loss": loss, "rate": rate})
        self.display.iteration(state.iteration, epoch, loss)
        if self.on_iteration is not None:
            self.on_iteration(state.iteration, loss)

    def _gradients(self, x: Array, target: Array) -> tuple[float, Mapping[str, Array]]:
        """The loss of a batch, and its gradients, all of them finite."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # what overflows is found below
            tape = self.form.record(x, training=True, step=self.state.iteration, seed=self.plan.seed)
            loss, dy = self.plan.loss(tape.values[self.value], target)
            gradients = tape.backward({self.value: dy}).parameters if math.isfinite(loss) else {}
            if math.isfinite(loss) and all_finite(gradients):
                return loss, gradients
        number = self.state.iteration + 1
        raise DivergedError(f"{culprit(tape, gradients)}, in iteration {number}; the loss is {loss:g}: try a lower rate, or clip")

    def _rate(self, iteration: int) -> float:
        factor = 1.0 if self.plan.schedule is None else self.plan.schedule(iteration, self.plan.total)
        return self.plan.optimizer.rate * factor

    # Epochs and the end ------------------------------------------------------------------------------------------------------

    def _end_epoch(self) -> None:
        """Measure, remember the best, write it down."""
        state, line = self.state, self._measured()
        if self.plan.patience is not None:
            if line["validation_loss"] < state.best_loss:
                state.best_loss, state.best_epoch = line["validation_loss"], int(line["epoch"])
                state.best = {name: array.copy() for name, array in state.network.items()}
            elif line["epoch"] - state.best_epoch >= self.plan.patience:
                state.stopped = state.stopped or "patience"
        self._save()
        if self.folder is not None:
            self.net.save(self.folder.path / "net.safetensors")

    def _measured(self) -> dict[str, float]:
        """The numbers of the epoch, whole or not, that ends now."""
        plan, done, per_epoch = self.plan, self.state.iteration, len(self.plan.batches)
        first = (done - 1) // per_epoch * per_epoch
        numbers: dict[str, float] = {
            "epoch": -(-done // per_epoch), "iteration": done, "loss": math.fsum(self.history.losses[first:done]) / (done - first),
            "rate": self._rate(done - 1),
        }  # fmt: skip
        if plan.validation is not None:
            found = evaluate(self.net, plan.validation, loss=plan.loss_name, metrics=plan.metrics)
            numbers |= {f"validation_{name}": value for name, value in found.items()}
        now = time.monotonic()
        numbers["seconds"], self.epoch_began = round(now - self.epoch_began, 3), now
        self.history.epochs.append(numbers)
        if self.folder is not None:
            self.folder.line(numbers)
        self.display.epoch(numbers)
        return numbers

    def _end(self) -> None:
        """The last checkpoint, the numbers of an epoch that was cut short, the best parameters, the pictures."""
        state = self.state
        self._save()
        if state.iteration % len(self.plan.batches):  # after the checkpoint: a longer run would not have stopped to measure here
            self._measured()
        if state.best:
            self.net.set_arrays({name: array.copy() for name, array in state.best.items()})
            self.history.best = state.best_epoch
        self.history.stopped = state.stopped or self.plan.reason
        if self.folder is not None:
            self.net.save(self.folder.path / "net.safetensors")
            self._draw()

    def _save(self) -> None:
        if self.folder is not None:
            self.folder.save(self.state)
            self.saved = time.monotonic()

    def _draw(self) -> None:
        if self.folder is not None and self.history.losses:
            try:
                draw_curves(self.history, self.folder.path / "curves.png")
            except ExtraError as error:
                self.display.say(f"no curves.png: {error}")


def _prepare(net: Graph, samples: Indexed) -> None:
    """Parameters that are the network's own, to be changed in place: arrays that came from elsewhere are copied."""
    only_output(net)
    if not net.built:
        first = samples[np.zeros(1, np.int64)]
        x = first.x if isinstance(first, Samples) else first[0]
        net.build(x.shape[1:])
    net.set_arrays({name: array.copy() for name, array in (net.parameters | net.buffers).items()})


def _restored(kept: Checkpoint, net: Graph) -> Checkpoint:
    """The state of a checkpoint, its arrays in the network."""
    net.set_arrays(kept.network)
    kept.network = net.parameters | net.buffers
    return kept


def _config(net: Graph, plan: _Plan, samples: Indexed, epochs: int | None, max_iterations: int | None) -> dict[str, Any]:
    """The settings that decide what a training computes."""
    settings = {
        "network": net.record_of(),
        "train": _identity(samples),
        "validation": None if plan.validation is None else _identity(plan.validation),
        "loss": plan.loss_name,
        "optimizer": plan.optimizer,
        "epochs": epochs,
        "max_iterations": max_iterations,
        "tol": plan.tol,
        "patience": plan.patience,
        "batch_size": plan.batches.size,
        "seed": plan.seed,
        "schedule": plan.schedule,
        "clip": plan.clip,
        "augment": tuple(plan.batches.augment),
        "metrics": tuple(metric.name for metric in plan.metrics),
    }
    return {name: plain(value) for name, value in settings.items()}


def _identity(samples: Indexed) -> dict[str, Any]:
    """What samples are known again by: their number, and where they are arrays a checksum of them."""
    known: dict[str, Any] = {"count": len(samples)}
    if isinstance(samples, Samples):
        for name, array in (("x", samples.x), ("y", samples.y)):
            known[name] = {
                "shape": list(array.shape),
                "dtype": array.dtype.name,
                "crc32": zlib.crc32(np.ascontiguousarray(array).data),
            }
    return known
