"""The constants of the cost models: found in the source, changed for a while, fitted to measured times, written back.

A model gives the expected seconds e_i(c) of candidate i from constants c > 0: cycles of loads, stores, lines and tiles, added up and,
where units work side by side, the longer of several. With θ = log c, which keeps them positive, and m_i the measured times,

    minimise  Σ w_i·r_i² + λ·Σ (θ_j − θ⁰_j)²,    r_i = log m_i − log e_i(θ), less most of its mean over the problem

by Gauss and Newton's steps, the derivatives being differences. What all candidates of a problem have in common, a crowded machine for
one, decides nothing, so only the share `COMMON` of it is to be explained. w_i is the best time of the problem over m_i: what is far
from the best need not be known well; beyond `FAR` an error counts linearly, as those of what no constant explains. λ says what a
constant that stands in the source is worth: an error's variance (0.2², a fifth) over the constant's own (0.5²), a dozen times, because
the dozen samples of a problem err together.
"""

import ast
import importlib
import math
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji import algorithms

Floats = npt.NDArray[np.float64]

# What machines promise, and what decides bits or which candidates there are, is not fitted.
FIXED = {"FMA_PER_CYCLE", "FMA_LATENCY", "EASE", "EMPTY"}
PRIOR = 12 * 0.2**2 / 0.5**2
COMMON = 0.3
FAR = 0.5
STEP = 0.02  # of log c, for a difference
LONGEST = 0.5  # of log c, in one iteration
ITERATIONS = 6  # at most; the last one improves by less than `SETTLED`
SETTLED = 0.005


@dataclass(frozen=True)
class Constant:
    """A float that a module of algorithms assigns to a name in capitals."""

    module: str
    name: str
    value: float


def modules() -> Iterator[ModuleType]:
    """Every module of algorithms."""
    for info in pkgutil.iter_modules(algorithms.__path__, f"{algorithms.__name__}."):
        yield importlib.import_module(info.name)


def constants() -> list[Constant]:
    """Every one that may be fitted."""
    return [
        Constant(module.__name__, name, vars(module)[name])
        for module in modules()
        for name, _ in _assigned(_source(module))
        if name not in FIXED
    ]


def _source(module: ModuleType) -> str:
    return Path(str(module.__file__)).read_text(encoding="utf-8")


def _assigned(source: str) -> Iterator[tuple[str, ast.Constant]]:
    """Names in capitals and the floats that a module assigns to them, alone or in a row."""
    for statement in ast.parse(source).body:
        if not isinstance(statement, ast.Assign):
            continue
        (target,), value = statement.targets, statement.value
        row = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
        pairs = zip(target.elts, value.elts, strict=True) if row else [(target, value)]  # type: ignore[attr-defined]
        for name, constant in pairs:
            if isinstance(name, ast.Name) and name.id.isupper() and isinstance(constant, ast.Constant) and type(constant.value) is float:
                yield name.id, constant


@contextmanager
def changed(values: Mapping[Constant, float]) -> Iterator[None]:
    """Other values for a while, also where a module has imported a name from another."""
    before = [(module, name, old) for module in modules() for name, old in vars(module).items() if type(old) is float]
    try:
        for constant, value in values.items():
            own = vars(importlib.import_module(constant.module))[constant.name]
            for module, name, old in before:
                if name == constant.name and old is own:
                    setattr(module, name, value)
        yield
    finally:
        for module, name, old in before:
            setattr(module, name, old)


def fit(
    model: Callable[[], Floats],
    measured: Floats,
    weights: Floats,
    problems: npt.NDArray[np.int64],
    free: Sequence[Constant],
    told: Callable[[str], Any] = str,
) -> dict[Constant, float]:
    """The constants that explain measured times best, those that the times say nothing about left out.

    model: the expected seconds of every measured time, with the constants as they stand. problems: the number of the problem of each.
    """
    log_m, theta = np.log(measured), np.zeros(len(free))  # of c/c⁰
    many = np.bincount(problems)

    def residuals(theta: Floats) -> Floats:
        with changed({c: c.value * math.exp(t) for c, t in zip(free, theta, strict=True) if t}):
            r: Floats = log_m - np.log(model())
        return r - (1 - COMMON) * (np.bincount(problems, r) / many)[problems]

    def loss(r: Floats, theta: Floats) -> float:
        size = np.abs(r)
        return float(weights @ np.where(size < FAR, size**2, FAR * (2 * size - FAR)) + PRIOR * theta @ theta)

    r = residuals(theta)
    now = loss(r, theta)
    for iteration in range(ITERATIONS):
        slopes = np.stack([(residuals(theta + STEP * row) - r) / STEP for row in np.eye(len(free))], axis=1)
        scale = weights * np.minimum(1.0, FAR / np.maximum(np.abs(r), 1e-9))
        step = np.linalg.solve(slopes.T * scale @ slopes + PRIOR * np.eye(len(free)), -slopes.T @ (scale * r) - PRIOR * theta)
        step = np.clip(step, -LONGEST, LONGEST)
        while np.abs(step).max() > 1e-3:
            tried = residuals(theta + step)
            if (then := loss(tried, theta + step)) < now:
                break
            step /= 2
        else:
            break
        told(f"iteration {iteration + 1}: loss {now:.2f}, then {then:.2f}")
        theta, r, before, now = theta + step, tried, now, then
        if now > (1 - SETTLED) * before:
            break
    return {c: c.value * math.exp(t) for c, t in zip(free, theta, strict=True) if abs(t) > 1e-9}


def write(values: Mapping[Constant, float]) -> list[str]:
    """Put fitted values where the constants stand in the source; the files that were changed."""
    files = []
    for module in modules():
        own = {constant.name: value for constant, value in values.items() if constant.module == module.__name__}
        if own:
            path = Path(str(module.__file__))
            path.write_text(rewritten(_source(module), own), encoding="utf-8")
            files.append(path.name)
    return files


def rewritten(source: str, values: Mapping[str, float]) -> str:
    """A module's source with other values in its assignments.

    >>> rewritten("A, B = 1.0, 2.5  # cycles\\nC = 3.0\\n", {"B": 0.123456, "C": 30.0})
    'A, B = 1.0, 0.123  # cycles\\nC = 30.0\\n'
    """
    lines = source.splitlines(keepends=True)
    for name, node in reversed(list(_assigned(source))):  # from behind, so that places stay what they are
        if name in values:
            line, end = lines[node.lineno - 1].encode(), node.end_col_offset
            assert end is not None
            lines[node.lineno - 1] = (line[: node.col_offset] + rounded(values[name]).encode() + line[end:]).decode()
    return "".join(lines)


def rounded(value: float) -> str:
    """A positive number as a constant of three digits.

    >>> rounded(0.123456), rounded(42123.0), rounded(2.0)
    ('0.123', '42100.0', '2.0')
    """
    return repr(float(f"{value:.3g}"))
