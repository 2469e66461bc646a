"""python -m bench.inference: whole networks, one picture at a time, beside onnxruntime running the same graph; one table, one file.

Both hold their weights ready beforehand. Results are compared first; then all take turns, and the medians count.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import numpy as np

from bench.measure import Clock, interleave
from bench.report import describe_machine
from juanji import machine, nn
from juanji.nn.models import named
from juanji.nn.models.named import unbuilt

NETWORKS = ("vgg-16", "resnet-18", "resnet-50", "mobilenet-v2", "efficientnet-lite0", "lenet-5", "three-stages")
ROUNDS = 15
TOLERANCE = 2e-4  # of the largest output


@dataclass
class Timing:
    """One network. ms: medians of the compiled network, of the plain walk, of onnxruntime; ratio: onnxruntime's over the compiled one's.

    error: the largest difference from onnxruntime over the largest output. share: of the multiply-add limit.
    """

    network: str
    batch: int
    threads: int
    macs: int
    compiled_ms: float
    walk_ms: float
    onnxruntime_ms: float
    ratio: float
    error: float
    share: float


def measure(name: str, batch: int, threads: int, rounds: int, clock: Clock = time.perf_counter) -> Timing:
    """A network with random weights, and running statistics as if it had been trained."""
    model = named.MODELS[name]
    net = unbuilt(name).build(model.shape)
    random = np.random.default_rng(0)
    for key, array in net.buffers.items():
        if key.endswith(".variance"):
            array[...] = random.uniform(0.5, 1.5, array.shape)
    x = random.normal(size=(batch, *model.shape)).astype(np.float32)
    fast = net.compile(model.shape, threads=threads)
    session = _session(net, model.shape, threads)
    (source,) = (value.name for value in session.get_inputs())
    timed: list[Callable[[], Any]] = [lambda: fast(x), lambda: net(x), lambda: session.run(None, {source: x})]
    ours, _, theirs = (contestant() for contestant in timed)
    error = float(np.abs(ours - theirs[0]).max() / np.abs(theirs[0]).max())
    if not error < TOLERANCE:
        raise SystemExit(f"{name}: differs from onnxruntime by {error:.1e} of the largest output")
    compiled, walk, other = (median(times) * 1e3 for times in interleave(timed, rounds, clock=clock))
    shapes = net.shapes(model.shape, batch=batch)
    macs = sum(node.op.macs(*(shapes[value] for value in node.inputs)) for node in net.nodes)
    share = 2 * macs / machine.probe().peak("float32") / threads / (compiled / 1e3)
    return Timing(name, batch, threads, macs, compiled, walk, other, other / compiled, error, share)


def _session(net: nn.Graph, shape: Sequence[int], threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # or it takes the core from whoever is timed next
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        nn.to_onnx(net, path, shape)
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, and with --json write it."""
    parser = argparse.ArgumentParser(prog="python -m bench.inference", description="Whole networks beside onnxruntime.")
    parser.add_argument("--only", action="append", choices=NETWORKS, help="this network; may be repeated")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--cpu", action="store_true", help="the process's time on its cores instead of the wall clock's")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results")
    arguments = parser.parse_args(argv)
    found = []
    print(f"{'network':20} {'compiled':>10} {'walk':>10} {'onnxruntime':>12} {'ratio':>6} {'share':>6} {'error':>8}")
    for name in arguments.only or NETWORKS:
        clock = time.process_time if arguments.cpu else time.perf_counter
        row = measure(name, arguments.batch, arguments.threads, arguments.rounds, clock)
        found.append(row)
        times = f"{row.compiled_ms:7.2f} ms {row.walk_ms:7.2f} ms {row.onnxruntime_ms:9.2f} ms"
        print(f"{name:20} {times} {row.ratio:6.2f} {row.share:6.0%} {row.error:8.0e}", flush=True)
    print(f"geometric mean of the ratios {geometric_mean([row.ratio for row in found]):.2f}")
    if arguments.json:
        clocked = "cpu" if arguments.cpu else "wall"
        record = {"machine": describe_machine(machine.probe()), "clock": clocked, "rows": [asdict(row) for row in found]}
        arguments.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
