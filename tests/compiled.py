"""Compiled code held against the definition: any schedule of a description, run and compared."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji import machine as machines
from juanji import reference
from juanji.algorithms import direct
from juanji.algorithms.direct import Job
from juanji.exact import carried
from juanji.machine import Machine
from juanji.planner import ALGORITHMS
from juanji.plans import Plan
from juanji.spec import Convolution
from strategies import PICTURES, Array

TESTS = Path(__file__).resolve().parent
SOURCE = Path(machines.__file__).resolve().parent.parent
EXACT_ACTIVATIONS = (None, "relu", "relu6")


def f32(values: npt.ArrayLike) -> Array:
    """An array of float32."""
    return np.asarray(values, np.float32)


def schedules(spec: Convolution, machine: Machine | None = None) -> dict[str, list[Any]]:
    """The schedules of the direct algorithm by kind: the tile's class and everything about it that is a yes or a no."""
    (job,) = direct.work(spec, "y", machine or machines.probe()).jobs
    return by_kind(job)


def by_kind(job: Job) -> dict[str, list[Any]]:
    """The candidates of a job by kind."""
    found: dict[str, list[Any]] = {}
    for schedule, _ in job.candidates():
        found.setdefault(kind(schedule), []).append(schedule)
    return found


def kind(schedule: Any) -> str:
    """The name of a schedule's kind."""
    fields = ((f.name, getattr(schedule, f.name)) for f in dataclasses.fields(schedule))
    return " ".join([type(schedule).__name__, *(name for name, value in fields if value is True)])


def planned(spec: Convolution, schedule: Any, machine: Machine | None = None) -> Plan:
    """The plan that computes a description by a given schedule."""
    machine = machine or machines.probe()
    return Plan(spec, "y", "direct", direct.work(spec, "y", machine), [(schedule, 1.0)], machine, {})


def planned_for(spec: Convolution, produces: str, choose: Callable[[dict[str, list[Any]]], Any], machine: Machine | None = None) -> Plan:
    """The plan of a product ("y", "x", "w") by the first algorithm that accepts it; `choose` picks a schedule of each of its jobs."""
    machine = machine or machines.probe()
    name, algorithm = next((name, entry) for name, entry in ALGORITHMS.items() if entry.accepts(spec, produces) is None)
    work = algorithm.work(carried(spec, produces), produces, machine)
    return Plan(spec, produces, name, work, [(choose(by_kind(job)), 1.0) for job in work.jobs], machine, {})


def counted(algorithm: str, spec: Convolution, number: int = 0, machine: Machine | None = None, produces: str = "y") -> Plan:
    """The plan by one of an algorithm's schedules for each job, counted round."""
    machine = machine or machines.probe()
    work = ALGORITHMS[algorithm].work(spec, produces, machine)
    found = [[schedule for schedule, _ in job.candidates()] for job in work.jobs]
    return Plan(spec, produces, algorithm, work, [(schedules[number % len(schedules)], 1e6) for schedules in found], machine, {})


def assert_agrees(spec: Convolution, y: Array, x: Array, w: Array, bias: Array | None, exact: bool = False) -> None:
    """y is what the definition gives: to the last bit if no sum can round, else within what n roundings can do."""
    assert (y.shape, y.dtype.name) == (spec.y_shape, spec.dtypes.y)
    if exact and spec.epilogue.activation in EXACT_ACTIVATIONS:
        np.testing.assert_array_equal(y, reference.conv(spec, x, w, bias))
        return
    wide = dataclasses.replace(spec, dtypes=spec.dtypes._replace(y="float64"))
    expected = reference.conv(wide, x, w, bias)
    bound = error_bound(wide, x, w, bias, expected)
    if spec.dtypes.y in PICTURES:  # the rounding to an integer, after which saturation only brings values closer
        expected = np.clip(expected, 0, np.iinfo(spec.dtypes.y).max)
        bound += 0.5
    wrong = np.abs(y.astype(np.float64) - expected) > bound
    first = f"{y[wrong][0]} is not {expected[wrong][0]}" if wrong.any() else ""
    assert not wrong.any(), f"{np.count_nonzero(wrong)} of {y.size}, the first at {np.argwhere(wrong)[0]}: {first}"


def error_bound(spec: Convolution, x: Array, w: Array, bias: Array | None, result: Array) -> Array:
    """How far a finished sum may be from the exact `result`: one chain of fused multiply-adds, operands rounded to its type first.

    Every one of the n terms is rounded at most n + 2 times, each time by at most ε/2 of what is below Σ|terms|. No activation
    has a slope above 1; its own evaluation may add a few ulps of the result, and of 1 for sigmoid and tanh.
    """
    eps = float(np.finfo(spec.dtypes.sum).eps)
    terms = spec.macs // max(int(np.prod(spec.y_shape)), 1)
    total = reference.magnitude(spec, x, w, bias)
    ulps = 4 if spec.epilogue.activation in ("sigmoid", "tanh") else 2
    bound: Array = 0.5 * (terms + 3) * eps * total + ulps * eps * np.abs(result) + np.finfo(spec.dtypes.sum).smallest_subnormal
    return bound


def environment(**changes: str) -> dict[str, str]:
    """What a child process needs to import this tree and these tests."""
    path = os.pathsep.join([str(SOURCE), str(TESTS), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, **changes}


def python(code: str, timeout: float = 120, **changes: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter on this tree, without this session's warning filters."""
    command = [sys.executable, "-X", "faulthandler", "-c", code]
    return subprocess.run(command, env=environment(**changes), capture_output=True, text=True, timeout=timeout, check=False)


def run_python(code: str, timeout: float = 120, **changes: str) -> str:
    """What a fresh interpreter prints; fails with its words if it does not end well."""
    ended = python(code, timeout, **changes)
    assert ended.returncode == 0, f"exit status {ended.returncode}\n{ended.stdout[-2000:]}\n{ended.stderr[-4000:]}"
    return ended.stdout
