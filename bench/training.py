"""python -m bench.training: an epoch of training beside PyTorch, the same network from the same weights on the same batches.

Every iteration of `nn.train` is followed by one of PyTorch's, forward, back, and the optimiser's step, so that both meet the same noise;
what counts is the median of each. The losses of both must agree at first, or the row is wrong; save with dropout, which draws other
numbers. With --cpu-time the processor's time counts, of all threads, for machines on which others work as well.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import juanji as jj
from bench.peers.torch_networks import twin
from bench.report import describe_machine, versions
from juanji import machine, nn
from juanji.data import Batches, Samples

ITERATIONS = 40
UNTIMED = 5  # in which machine code is made and caches fill
AGREE = 1e-3  # how far the first losses may be apart


@dataclass(frozen=True)
class Row:
    """A network and what it is trained on: random samples, because the time does not depend on them."""

    name: str
    model: str
    shape: tuple[int, ...]
    batch: int
    classes: int = 10

    def network(self) -> nn.Graph:
        return nn.models.get(self.model, classes=self.classes, shape=self.shape)

    def samples(self, count: int) -> Samples:
        draw = np.random.default_rng(0)
        x = draw.random((count, *self.shape), np.float32)
        y = draw.integers(0, max(self.classes, 2), (count, *(self.shape[1:] if self.model == "unet" else ())))
        return Samples(x, y)


ROWS = (
    Row("LeNet-5, digits", "lenet-5", (1, 28, 28), 64),
    Row("three stages, colour", "three-stages", (3, 32, 32), 64),
    Row("MLP, digits", "mlp", (1, 28, 28), 64),
    Row("series, 6 channels", "series", (6, 100), 32, 4),
    Row("volumes", "volume", (1, 16, 16, 16), 16, 2),
    Row("U-Net, masks", "unet", (1, 64, 64), 8, 1),
)


@dataclass
class Record:
    """Milliseconds of an iteration, medians and least; ratio: PyTorch's over ours."""

    name: str
    ours_ms: float
    torch_ms: float
    ours_best_ms: float
    torch_best_ms: float
    ratio: float
    agrees: bool


def measure(row: Row, threads: int, iterations: int = ITERATIONS, clock: Callable[[], float] = time.perf_counter) -> Record:
    """A training of so many iterations, PyTorch's in between."""
    import torch

    torch.set_num_threads(threads)
    samples = row.samples(row.batch * 8)
    net = row.network()
    loss = "sigmoid_cross_entropy" if row.model == "unet" else "softmax_cross_entropy"
    step = _torch_step(torch, net, samples, row.batch, loss)
    ours: list[float] = []
    theirs: list[float] = []
    losses: list[tuple[float, float]] = []
    began = clock()

    def after(done: int, value: float) -> None:
        nonlocal began
        ours.append(clock() - began)
        began = clock()
        losses.append((value, step(done - 1)))
        theirs.append(clock() - began)
        began = clock()

    with jj.threads(threads):
        optimizer = nn.SGD(0.01, momentum=0.9)
        nn.train(net, samples, loss=loss, optimizer=optimizer, max_iterations=iterations, batch_size=row.batch, on_iteration=after)
    random = any(isinstance(node.op, nn.Dropout) for node in net.nodes)
    agrees = random or all(math.isclose(a, b, rel_tol=AGREE) for a, b in losses[:UNTIMED])
    mine, other = (sorted(times[UNTIMED:]) for times in (ours, theirs))
    a, b = median(mine), median(other)
    return Record(row.name, a * 1e3, b * 1e3, mine[0] * 1e3, other[0] * 1e3, b / a, agrees)


def _torch_step(torch: Any, net: nn.Graph, samples: Samples, batch: int, loss: str) -> Callable[[int], float]:
    """An iteration of PyTorch's, by its number, on the batch that `nn.train` has in it."""
    module = twin(net, samples.x.shape[1:])
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)
    batches = Batches(samples, batch)
    x, y = torch.from_numpy(samples.x), torch.from_numpy(samples.y)

    def softmax(output: Any, target: Any) -> Any:
        return torch.nn.functional.cross_entropy(output, target)

    def sigmoid(output: Any, target: Any) -> Any:
        return torch.nn.functional.binary_cross_entropy_with_logits(output[:, 0], target.float())

    measure = softmax if loss == "softmax_cross_entropy" else sigmoid

    def step(iteration: int) -> float:
        epoch, number = divmod(iteration, len(batches))
        places = torch.from_numpy(batches.order(epoch)[number * batch : (number + 1) * batch])
        optimizer.zero_grad(set_to_none=True)
        value = measure(module(x[places]), y[places])
        value.backward()
        optimizer.step()
        return float(value.item())

    return step


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.training", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="rows whose name contains this")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of both (default 1); set OPENBLAS_NUM_THREADS to the same")
    parser.add_argument("--iterations", type=int, default=ITERATIONS, metavar="N", help=f"of each row (default {ITERATIONS})")
    parser.add_argument("--cpu-time", action="store_true", help="processor time instead of the wall clock's")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results")
    given = parser.parse_args()
    rows = [row for row in ROWS if not given.only or any(word in row.name for word in given.only)]
    records = []
    for row in rows:
        record = measure(row, given.threads, given.iterations, time.process_time if given.cpu_time else time.perf_counter)
        records.append(record)
        note = "" if record.agrees else "  LOSSES DIFFER"
        print(f"{record.name:24} {record.ours_ms:8.2f} ms  torch {record.torch_ms:8.2f} ms  ratio {record.ratio:.2f}{note}", flush=True)
    mean = math.exp(sum(math.log(record.ratio) for record in records) / len(records)) if records else math.nan
    print(f"geometric mean {mean:.2f} at {given.threads} threads (target 1.5, no row under 1)")
    if given.json:
        facts = {"machine": describe_machine(machine.probe()), "versions": versions(), "threads": given.threads, "cpu_time": given.cpu_time}
        given.json.write_text(json.dumps({**facts, "records": [asdict(record) for record in records]}, indent=1) + "\n", "utf-8")
    return int(not all(record.agrees for record in records))


if __name__ == "__main__":
    sys.exit(main())
