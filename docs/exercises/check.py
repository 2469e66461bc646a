"""python docs/exercises/check.py mine.py: compares your answers to the exercises with juanji.

Each function gets a few dozen random cases, small ones first, so that the case shown is easy to follow by hand. Exit status 0: all right.
"""

import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import juanji as jj

Case = tuple[tuple[Any, ...], Any]
CASES = 30


def _integers(rng: np.random.Generator, *shape: int) -> Any:
    return rng.integers(-9, 10, shape)


def correlate(rng: np.random.Generator, size: int) -> Case:
    a, k = _integers(rng, size + 2, size + 3), _integers(rng, *rng.integers(1, 4, 2))
    k = k[: a.shape[0], : a.shape[1]]
    return (a, k), jj.correlate(a, k)


def convolve(rng: np.random.Generator, size: int) -> Case:
    (a, k), _ = correlate(rng, size)
    return (a, k), jj.convolve(a, k, "valid")


def output_size(rng: np.random.Generator, size: int) -> Case:
    kernel, stride, low, high, dilation = (int(v) for v in rng.integers((1, 1, 0, 0, 1), (4, 4, 3, 3, 3)))
    length = dilation * (kernel - 1) + 1 + size
    given = {"stride": stride, "padding": ((low, high),), "dilation": dilation}
    return (length, kernel, stride, low, high, dilation), jj.explain.output_shape((1, 1, length), (1, 1, kernel), **given).output[0]


def same_padding(rng: np.random.Generator, size: int) -> Case:
    length, kernel, stride = size + 1, *(int(v) for v in rng.integers(1, 5, 2))
    shape = jj.explain.output_shape((1, 1, length), (1, 1, kernel), stride=stride, padding="same")
    return (length, kernel, stride), (shape.axes[0].low, shape.axes[0].high)


def mirrored(rng: np.random.Generator, size: int) -> Case:
    signal, padding = _integers(rng, size + 2), int(rng.integers(0, size + 2))
    return (signal, padding), jj.conv(signal[None], np.ones((1, 1, 1), int), padding=padding, boundary="reflect")[0]


def sum_of_dice(rng: np.random.Generator, size: int) -> Case:
    p, q = (rng.dirichlet(np.ones(int(n))) for n in rng.integers(1, size + 3, 2))
    return (p, q), np.array([float(v) for v in jj.signal.distribution_of_sum(p, q).values()])


def im2col(rng: np.random.Generator, size: int) -> Case:
    k = int(rng.integers(1, 4))
    x = _integers(rng, int(rng.integers(1, 4)), size + 2, size + 3)
    k = min(k, *x.shape[1:])
    return (x, k), jj.explain.im2col(x, (k, k))


def max_pool(rng: np.random.Generator, size: int) -> Case:
    a = _integers(rng, *(2 * rng.integers(1, size + 2, 2)))
    return (a,), jj.pool(a[None], (2, 2))[0]


def gradient_of_input(rng: np.random.Generator, size: int) -> Case:
    (a, k), y = correlate(rng, size)
    error = _integers(rng, *y.shape)
    return (error, k), jj.conv_grad_input(error[None, None], k[None, None], (1, 1, *a.shape))[0, 0]


def receptive_field(rng: np.random.Generator, size: int) -> Case:
    layers = [tuple(int(v) for v in rng.integers(1, 4, 3)) for _ in range(size % 5 + 1)]
    net = jj.nn.Sequential(*(jj.nn.Conv(1, k, stride=s, dilation=d, padding="same") for k, s, d in layers))
    return (layers,), jj.explain.receptive_field(net, f"conv{len(layers)}", (0,), input_shape=(1, 400)).size[0]


EXERCISES: dict[str, Callable[[np.random.Generator, int], Case]] = {
    made.__name__: made
    for made in (
        correlate, convolve, output_size, same_padding, mirrored, sum_of_dice, im2col, max_pool, gradient_of_input, receptive_field,
    )
}  # fmt: skip


def complaint(name: str, answer: Callable[..., Any] | None) -> str | None:
    """What is wrong with an answer, in a few lines with the first case that shows it; None if nothing is."""
    if answer is None:
        return "is not there"
    rng = np.random.default_rng(len(name))
    for number in range(CASES):
        arguments, expected = EXERCISES[name](rng, number // 4)
        try:
            found = answer(*(np.copy(a) if isinstance(a, np.ndarray) else a for a in arguments))
        except NotImplementedError:
            return "is still to be written"
        except Exception as error:  # the reader's code may raise anything
            return f"raised {type(error).__name__}: {error}\n  for {_shown(arguments)}"
        if np.shape(found) != np.shape(expected) or not np.allclose(np.asarray(found, float), np.asarray(expected, float), atol=1e-9):
            return f"for {_shown(arguments)}\n  gave {_shown((found,))}\n  but should give {_shown((expected,))}"
    return None


def _shown(values: tuple[Any, ...]) -> str:
    return ", ".join(str(v.tolist()) if isinstance(v, np.ndarray) else str(v) for v in values)


def report(answers: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    for name in EXERCISES:
        given = answers.get(name)
        yield name, complaint(name, given if callable(given) else None)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or not Path(arguments[0]).is_file():
        print("usage: python docs/exercises/check.py mine.py, a copy of docs/exercises/exercises.py filled in", file=sys.stderr)
        return 2
    wrong = 0
    for name, what in report(runpy.run_path(arguments[0])):
        print(f"{'✗' if what else '✓'} {name}" + (f" {what}" if what else ""))
        wrong += what is not None
    print(f"{len(EXERCISES) - wrong} of {len(EXERCISES)} right")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
