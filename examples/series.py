"""Series told apart by convolutions along time, and by the nearest series as a whole.

    python examples/series.py             GunPoint and BasicMotions, three seeds each
    python examples/series.py --short     a few passes: a few seconds

GunPoint: the hand of someone who draws a gun or only points, 150 places along time, 50 series to learn from. BasicMotions: six channels
of a watch on the wrist of someone who stands, walks, runs or plays badminton, 40 series to learn from. The network has three convolutions
along time and averages each of the last 64 maps over it, so that it matters what happens, and hardly when. To compare whole series, as
the nearest neighbour does, is all that matters when.
"""

import argparse
import sys
import time

from juanji import JuanjiError, data, nn


def train(samples: data.Samples, epochs: int, seed: int) -> nn.Graph:
    """The network "series" for these channels, lengths and classes."""
    net = nn.models.get("series", classes=len(samples.classes or ()), shape=samples.x.shape[1:], seed=seed)
    nn.train(net, samples, optimizer=nn.Adam(3e-3), schedule=nn.OneCycle(), batch_size=10, epochs=epochs, seed=seed)
    return net


def by_nearest(samples: data.Samples, test: data.Samples) -> float:
    """The share of the test series whose nearest series has their class."""
    known, asked = (part.x.reshape(len(part), -1) for part in (samples, test))
    nearest = ((asked[:, None] - known) ** 2).sum(axis=2).argmin(axis=1)
    return float((samples.y[nearest] == test.y).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description="Classify series with a one-dimensional convolutional network.")
    parser.add_argument("--short", action="store_true", help="few passes, one seed")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    given = parser.parse_args()
    epochs, seeds = (15, given.seeds[:1]) if given.short else (60, given.seeds)

    for name in ("gunpoint", "basicmotions"):
        samples, test = data.load(name)
        print(f"{name}: {samples}; the nearest series: {by_nearest(samples, test):.1%} of {len(test)}")
        for seed in seeds:
            began = time.perf_counter()
            right = nn.evaluate(train(samples, epochs, seed), test)["accuracy"]
            print(f"{name}, seed {seed}: {right:.1%}, {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    try:
        main()
    except JuanjiError as error:
        sys.exit(f"series.py: {error}")
