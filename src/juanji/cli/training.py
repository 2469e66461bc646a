"""`juanji train` and `juanji eval`: networks on data sets."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from juanji.cli.options import Json
from juanji.cli.talk import print_json, talk, waiting
from juanji.errors import ArgumentError
from juanji.messages import say

if TYPE_CHECKING:
    from juanji.data import Samples
    from juanji.nn import Graph

app = typer.Typer()

Data = Annotated[str, typer.Option(help=say("train.data"))]
Limit = Annotated[int | None, typer.Option(min=1, help=say("train.limit"))]


class OptimizerName(StrEnum):
    SGD = "sgd"
    ADAM = "adam"
    ADAMW = "adamw"


class ScheduleName(StrEnum):
    CONSTANT = "constant"
    STEP = "step"
    COSINE = "cosine"
    ONE_CYCLE = "one-cycle"


class Part(StrEnum):
    TRAIN = "train"
    TEST = "test"


@app.command(help=say("train"), epilog=say("train.example"))
def train(
    network: Annotated[str, typer.Argument(help=say("option.network"))],
    data: Data,
    out: Annotated[Path, typer.Option(help=say("train.out"))],
    epochs: Annotated[int, typer.Option(min=1, help=say("train.epochs"))] = 5,
    resume: Annotated[bool, typer.Option("--resume", help=say("train.resume"))] = False,
    seed: Annotated[int, typer.Option(min=0, help=say("train.seed"))] = 0,
    limit: Limit = None,
    lr: Annotated[float | None, typer.Option(min=0, help=say("train.lr"))] = None,
    batch_size: Annotated[int, typer.Option(min=1, help=say("train.batch_size"))] = 64,
    optimizer: Annotated[OptimizerName, typer.Option(help=say("train.optimizer"))] = OptimizerName.SGD,
    momentum: Annotated[float, typer.Option(min=0, help=say("train.momentum"))] = 0.9,
    weight_decay: Annotated[float | None, typer.Option(min=0, help=say("train.weight_decay"))] = None,
    schedule: Annotated[ScheduleName, typer.Option(help=say("train.schedule"))] = ScheduleName.CONSTANT,
    max_iterations: Annotated[int | None, typer.Option(min=1, help=say("train.max_iterations"))] = None,
    tol: Annotated[float | None, typer.Option(help=say("train.tol"))] = None,
    patience: Annotated[int | None, typer.Option(min=1, help=say("train.patience"))] = None,
    as_json: Json = False,
) -> None:
    from juanji import nn

    given: dict[str, Any] = {"rate": lr, "weight_decay": weight_decay, "momentum": momentum if optimizer == OptimizerName.SGD else None}
    stepper = nn.OPTIMIZERS[optimizer.value](**{name: value for name, value in given.items() if value is not None})
    schedules = {ScheduleName.STEP: nn.StepDecay, ScheduleName.COSINE: nn.CosineDecay, ScheduleName.ONE_CYCLE: nn.OneCycle}
    with waiting(say("train.loading", data=data)):
        samples, test = (_limited(part, limit, seed) for part in _load(data))
    task = _task(samples)
    net = _network(network, task, samples, seed)
    talk(say("train.start", network=network, parameters=sum(p.size for p in net.parameters.values()), samples=len(samples), test=len(test)))
    try:
        history = nn.train(
            net, samples, test, loss=task.loss, optimizer=stepper, epochs=epochs, max_iterations=max_iterations, tol=tol, patience=patience,
            batch_size=batch_size, seed=seed, schedule=schedules[schedule]() if schedule in schedules else None, run_dir=out, resume=resume,
        )  # fmt: skip
    except KeyboardInterrupt:
        talk(say("train.interrupted", out=out))
        raise
    last = history.epochs[-1]
    talk(say("train.done", iterations=len(history.losses), epochs=int(last["epoch"]), reason=say(f"train.stopped.{history.stopped}")))
    if as_json:
        print_json({"out": out, "stopped": history.stopped, "best": history.best, **last})
        return
    print(_told({name.removeprefix("validation_"): value for name, value in last.items() if name.startswith("validation_")}))


@app.command(name="eval", help=say("eval"), epilog=say("eval.example"))
def evaluate(
    network: Annotated[str, typer.Argument(help=say("option.network"))],
    data: Data,
    part: Annotated[Part, typer.Option(help=say("eval.part"))] = Part.TEST,
    limit: Limit = None,
    batch_size: Annotated[int, typer.Option(min=1, help=say("train.batch_size"))] = 256,
    as_json: Json = False,
) -> None:
    from juanji import nn
    from juanji.nn.opened import open_network

    net = open_network(network)
    if not isinstance(net, nn.Graph):
        raise ArgumentError(say("eval.no_graph", network=network))
    with waiting(say("train.loading", data=data)):
        samples = _limited(_load(data)[part == Part.TEST], limit, 0)
    with waiting(say("eval.waiting", network=network)):
        found = nn.evaluate(net, samples, loss=_task(samples).loss, batch_size=batch_size)
    if as_json:
        print_json({"network": network, "data": data, "part": part.value, "samples": len(samples), **found})
        return
    print(_told(found))


class Task(NamedTuple):
    """What targets ask of a network: a loss, and how many outputs it needs."""

    loss: str
    outputs: int


def _task(samples: "Samples") -> Task:
    """Class numbers: softmax; of each pixel and only two: one mask; numbers: squared error."""
    if samples.labelled or samples.masked:
        count = len(samples.classes) if samples.classes is not None else int(samples.y.max(initial=0)) + 1
        return Task("sigmoid_cross_entropy", 1) if samples.masked and count <= 2 else Task("softmax_cross_entropy", count)
    return Task("squared_error", samples.y[:1].size)


def _network(network: str, task: Task, samples: "Samples", seed: int) -> "Graph":
    """A model by name for these samples, or a network from a file, to be trained further."""
    from juanji import nn
    from juanji.nn.opened import open_network

    if network in nn.models.NAMES:
        net = nn.models.get(network, classes=task.outputs, shape=samples.x.shape[1:], seed=seed)
        net.classes = samples.classes
        return net
    found = open_network(network)
    if not isinstance(found, nn.Graph):
        raise ArgumentError(say("eval.no_graph", network=network))
    return found


def _load(data: str) -> "tuple[Samples, Samples]":
    from juanji.data import load

    return load(data)


def _limited(samples: "Samples", limit: int | None, seed: int) -> "Samples":
    return samples if limit is None or limit >= len(samples) else samples.shuffled(seed)[:limit]


def _told(numbers: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
