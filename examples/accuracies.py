"""Networks trained on real data, and how good they are on the test part: digits, colour pictures, series.

    python examples/accuracies.py                     all of them, three seeds each
    python examples/accuracies.py digits --seeds 0

The data come from the folder JUANJI_DATA, or are fetched from their official sources into a cache.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from juanji import data, nn


def digits(seed: int) -> nn.History:
    """MNIST with LeNet-5: eight passes over 60,000 digits, moved by up to a pixel, the rate up and down once."""
    train, test = data.load("mnist")
    net = nn.models.get("lenet-5", seed=seed)
    optimizer = nn.SGD(0.05, momentum=0.9)
    return nn.train(net, train, test, optimizer=optimizer, schedule=nn.OneCycle(), augment=(data.Shift(1),), epochs=8, seed=seed)


def colour(seed: int) -> nn.History:
    """A sample of CIFAR-10 with three stages of convolution, relu and pooling; half of the pictures are mirrored."""
    train, test = data.load("cifar10")
    net = nn.models.get("three-stages", seed=seed)
    optimizer = nn.SGD(0.05, momentum=0.9, weight_decay=5e-4)
    return nn.train(net, train, test, optimizer=optimizer, schedule=nn.OneCycle(), augment=(data.Flip(),), epochs=12, seed=seed)


def colour_linear(seed: int) -> nn.History:
    """The same pictures with one weight per pixel and class: what the convolutions have to beat."""
    train, test = data.load("cifar10")
    net = nn.models.get("linear", shape=(3, 32, 32), seed=seed)
    return nn.train(net, train, test, optimizer=nn.SGD(0.01), schedule=nn.CosineDecay(), epochs=20, seed=seed)


def _series(name: str, seed: int) -> nn.History:
    train, test = data.load(name)
    net = nn.models.get("series", classes=len(train.classes or ()), shape=train.x.shape[1:], seed=seed)
    return nn.train(net, train, test, optimizer=nn.Adam(3e-3), schedule=nn.OneCycle(), batch_size=10, epochs=60, seed=seed)


def gunpoint(seed: int) -> nn.History:
    """GunPoint with a fully convolutional network along time: 50 series to learn from."""
    return _series("gunpoint", seed)


def basicmotions(seed: int) -> nn.History:
    """BasicMotions, six channels: 40 series to learn from."""
    return _series("basicmotions", seed)


RECIPES: dict[str, Callable[[int], nn.History]] = {
    recipe.__name__: recipe for recipe in (digits, colour, colour_linear, gunpoint, basicmotions)
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Train networks on real data.")
    parser.add_argument("names", nargs="*", help=", ".join(RECIPES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    given = parser.parse_args()
    for name in given.names or RECIPES:
        for seed in given.seeds:
            began = time.perf_counter()
            last = RECIPES[name](seed).epochs[-1]
            print(f"{name}, seed {seed}: accuracy {last['validation_accuracy']:.2%}, {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
