"""A number instead of a class: by how many degrees was a handwritten digit turned?

    python examples/regression.py             three seeds
    python examples/regression.py --short     2,000 digits: a few seconds

MNIST's digits are turned by angles between −45° and 45°, and a network learns to say the angle. It has one output without an
activation, and the loss is the squared error. Its mean error stands beside that of the best constant and of the best linear function of
the pixels. None can be perfect: people write at slants of their own, and nobody knows how upright a digit was before it was turned.

The network here is built layer by layer, and everything about its training is given: the optimiser and its rate, the number of
iterations at most, and `tol`, a change of the parameters below which it stops. Afterwards all weights and biases are arrays by name.
"""

import argparse
import itertools
import sys
import time

import numpy as np

from juanji import JuanjiError, data, nn

MOST = 45.0  # degrees


def turned(pictures: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """Each of the pictures (N, 1, H, H) turned about its centre, counter-clockwise, by bilinear interpolation; outside it is black."""
    side = pictures.shape[-1]
    middle, radians = (side - 1) / 2, np.radians(degrees)[:, None, None]
    rows, columns = np.mgrid[:side, :side] - middle
    row = np.cos(radians) * rows + np.sin(radians) * columns + middle  # where the pixel came from
    column = np.cos(radians) * columns - np.sin(radians) * rows + middle
    top, left = np.floor(row).astype(int), np.floor(column).astype(int)
    around, which = np.pad(pictures[:, 0], ((0, 0), (1, 1), (1, 1))), np.arange(len(pictures))[:, None, None]
    found = np.zeros((len(pictures), side, side))
    for i, j in itertools.product((0, 1), repeat=2):  # the four pixels around that place
        weight = (1 - np.abs(row - top - i)) * (1 - np.abs(column - left - j))
        found += weight * around[which, np.clip(top + i + 1, 0, side + 1), np.clip(left + j + 1, 0, side + 1)]
    return np.rint(found).astype(np.uint8)[:, None]


def turned_digits(samples: data.Samples, seed: int) -> data.Samples:
    """Digits with the angle, in units of 45°, by which each was turned."""
    degrees = np.random.default_rng(seed).uniform(-MOST, MOST, len(samples))
    return data.Samples(turned(samples.x, degrees), (degrees / MOST).astype(np.float32)[:, None])


def network(seed: int) -> nn.Graph:
    """Three convolutions that halve the picture, two dense layers, one number."""
    return nn.Sequential(
        nn.Conv(16, 5, stride=2, padding=2), nn.ReLU(),
        nn.Conv(32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv(32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Dense(64), nn.ReLU(), nn.Dense(1),
        shape=(1, 28, 28), seed=seed,
    )  # fmt: skip


def error_of(found: np.ndarray, samples: data.Samples) -> float:
    """The mean error in degrees."""
    return float(np.abs(found - samples.y).mean() * MOST)


def linear(samples: data.Samples, test: data.Samples) -> np.ndarray:
    """What the linear function with the least squared error on the samples says of the test, a little damped for constant pixels."""
    known, asked = (np.pad(s.x.reshape(len(s), -1) / 255, ((0, 0), (0, 1)), constant_values=1.0) for s in (samples, test))
    return asked @ np.linalg.solve(known.T @ known + np.eye(known.shape[1]), known.T @ samples.y)


def main() -> None:
    parser = argparse.ArgumentParser(description="Learn by how much digits were turned.")
    parser.add_argument("--short", action="store_true", help="few digits, one seed")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    given = parser.parse_args()
    digits, others = data.load("mnist")
    iterations, seeds = 3000, given.seeds
    if given.short:
        digits, others, iterations, seeds = digits[:2000], others[:1000], 120, given.seeds[:1]
    samples, test = turned_digits(digits, seed=1), turned_digits(others, seed=2)

    print(f"the best constant: {error_of(np.median(samples.y), test):.1f}° from the angle on average")
    print(f"the best linear function: {error_of(linear(samples, test), test):.1f}°")
    for seed in seeds:
        began = time.perf_counter()
        net = network(seed)
        history = nn.train(
            net, samples, loss="squared_error", optimizer=nn.Adam(2e-3), schedule=nn.OneCycle(), max_iterations=iterations, tol=1e-9,
            seed=seed,
        )  # fmt: skip
        error = nn.evaluate(net, test, loss="squared_error", metrics="mean_error")["mean_error"] * MOST
        count = sum(p.size for p in net.parameters.values())
        print(f"seed {seed}: {count:,} weights and biases: {error:.1f}°, {time.perf_counter() - began:.0f} s, stopped by {history.stopped}")


if __name__ == "__main__":
    try:
        main()
    except JuanjiError as error:
        sys.exit(f"regression.py: {error}")
