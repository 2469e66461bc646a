"""Small colour pictures told apart by three stages of convolution, relu and pooling, beside a linear classifier.

    python examples/colours.py             three seeds
    python examples/colours.py --short     4,000 pictures: a few seconds

A linear classifier has one weight for every pixel and class: it can only compare a picture with one template for each class. The
network's 22,466 parameters, fewer than the 30,730 of the linear one, look for the same small patterns everywhere. Half of its training
pictures, drawn anew in every pass, are mirrored.

The data are CIFAR-10: the folder JUANJI_DATA may hold a part of it, and else all of it is fetched. What is reached depends on how many
pictures there are.
"""

import argparse
import sys
import time

from juanji import JuanjiError, data, nn


def linear(samples: data.Samples, epochs: int, seed: int) -> nn.Graph:
    """One dense layer, and softmax in the loss."""
    net = nn.models.get("linear", shape=samples.x.shape[1:], seed=seed)
    nn.train(net, samples, optimizer=nn.SGD(0.01), schedule=nn.CosineDecay(), epochs=epochs, seed=seed)
    return net


def convolutional(samples: data.Samples, epochs: int, seed: int) -> nn.Graph:
    """The network "three-stages": 16, 20 and 20 maps by kernels of 5×5, each halved by pooling, then a dense layer."""
    net = nn.models.get("three-stages", seed=seed)
    optimizer = nn.SGD(0.05, momentum=0.9, weight_decay=5e-4)
    nn.train(net, samples, optimizer=optimizer, schedule=nn.OneCycle(), augment=(data.Flip(),), epochs=epochs, seed=seed)
    return net


def main() -> None:
    parser = argparse.ArgumentParser(description="A small convolutional network and a linear classifier on CIFAR-10.")
    parser.add_argument("--short", action="store_true", help="few pictures and passes, one seed")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    given = parser.parse_args()
    pictures, test = data.load("cifar10")
    epochs, seeds = {linear: 20, convolutional: 12}, given.seeds
    if given.short:
        pictures, test, epochs, seeds = pictures[:4000], test[:1000], {linear: 3, convolutional: 3}, given.seeds[:1]

    print(f"{len(pictures):,} pictures to learn from, {len(test):,} to test")
    for seed in seeds:
        right = {}
        for train in (linear, convolutional):
            began = time.perf_counter()
            right[train] = nn.evaluate(train(pictures, epochs[train], seed), test)["accuracy"]
            print(f"seed {seed}: {train.__name__} {right[train]:.1%}, {time.perf_counter() - began:.0f} s", flush=True)
        print(f"seed {seed}: convolution is {100 * (right[convolutional] - right[linear]):.1f} points above", flush=True)


if __name__ == "__main__":
    try:
        main()
    except JuanjiError as error:
        sys.exit(f"colours.py: {error}")
