"""Handwritten digits told apart by LeNet-5, the network that made convolution famous.

    python examples/digits.py                     eight passes over MNIST's 60,000 digits, three seeds
    python examples/digits.py --short             3,000 digits, once: a few seconds
    python examples/digits.py -o mistakes.png     also a picture of test digits that are read wrongly

The network ends in ten scores, one for each class. Training lowers the softmax cross-entropy: softmax turns the scores into
probabilities, and the loss is minus the logarithm of the one that the right class got. Every digit is moved by up to a pixel each time
it is seen, so that there are more of them. The data come from the folder JUANJI_DATA, or are fetched from their official source into a
cache.
"""

import argparse
import sys
import time

import numpy as np

from juanji import JuanjiError, data, image, nn
from juanji.nn.predicting import predict


def train(samples: data.Samples, epochs: int, seed: int) -> nn.Graph:
    """LeNet-5 from its start to the end: the rate rises for a third of the way and then falls to almost nothing."""
    net = nn.models.get("lenet-5", seed=seed)
    net.classes = samples.classes
    optimizer = nn.SGD(0.05, momentum=0.9)
    nn.train(net, samples, optimizer=optimizer, schedule=nn.OneCycle(), augment=(data.Shift(1),), epochs=epochs, seed=seed)
    return net


def mistakes(net: nn.Graph, samples: data.Samples) -> tuple[np.ndarray, np.ndarray]:
    """The places of the samples that get a wrong class, and these classes."""
    found = np.concatenate([net(samples.x[start : start + 500]).argmax(axis=1) for start in range(0, len(samples), 500)])
    wrong = np.flatnonzero(found != samples.y)
    return wrong, found[wrong]


def sheet(pictures: np.ndarray, columns: int = 10) -> np.ndarray:
    """Grey pictures (N, 1, H, W) side by side in rows, three times as large."""
    height, width = pictures.shape[2:]
    blank = np.zeros((-len(pictures) % columns, 1, height, width), pictures.dtype)
    rows = np.concatenate([pictures, blank]).reshape(-1, columns, height, width)
    return np.kron(rows.swapaxes(1, 2).reshape(-1, columns * width), np.ones((3, 3), np.uint8))


def main() -> None:
    parser = argparse.ArgumentParser(description="Train LeNet-5 on MNIST.")
    parser.add_argument("--short", action="store_true", help="few digits, one pass, one seed")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("-o", "--output", help="a picture file for digits that are read wrongly")
    given = parser.parse_args()
    digits, test = data.load("mnist")
    epochs, seeds = 8, given.seeds
    if given.short:
        digits, test, epochs, seeds = digits[:3000], test[:1000], 1, given.seeds[:1]

    for seed in seeds:
        began = time.perf_counter()
        net = train(digits, epochs, seed)
        wrong, said = mistakes(net, test)
        took = time.perf_counter() - began
        print(f"seed {seed}: {1 - len(wrong) / len(test):.2%} of {len(test):,} test digits right, {took:.0f} s", flush=True)

    likely = ", ".join(f"{name} {probability:.1%}" for name, probability in predict(net, test.x[0, 0]).best(3))
    print(f"the first test digit is a {test.y[0]}; the network says {likely}")
    if given.output:
        image.write(given.output, sheet(test.x[wrong[:50]]))
        print(f"{given.output}: digits read as {' '.join(map(str, said[:50]))}, row by row")


if __name__ == "__main__":
    try:
        main()
    except JuanjiError as error:
        sys.exit(f"digits.py: {error}")
