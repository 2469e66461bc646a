"""What is lost without the nonlinearity, and what dropout is for.

    python examples/nonlinearity.py             three seeds
    python examples/nonlinearity.py --short     a few digits, one seed: too few to tell

A convolution, a mean over windows and a dense layer are linear, and so is any number of them in a row: together they can do no more than
one dense layer. A function that is not linear between them, the second of the three stages of a typical layer (convolution, activation,
pooling), is what makes depth worth having.

Dropout sets half of the units to 0, others in every step, so that none can rely on another. It helps where there are few samples: here
it is tried on 500.
"""

import argparse
import sys

from juanji import JuanjiError, data, nn

ACTIVATIONS = {"none": None, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}


def network(activation: type[nn.Operator] | None, seed: int, dropout: bool = False) -> nn.Graph:
    """Convolutions, means and dense layers with an activation between them, or without. Means, because a maximum is not linear."""
    between = [] if activation is None else [activation()]
    dropped = [nn.Dropout(0.5)] if dropout else []
    return nn.Sequential(
        nn.Conv(8, 5, weight="glorot"), *between, nn.AvgPool(2),
        nn.Conv(16, 5, weight="glorot"), *between, nn.AvgPool(2),
        nn.Flatten(), *dropped, nn.Dense(64, weight="glorot"), *between, *dropped, nn.Dense(10, weight="glorot"),
        shape=(1, 28, 28), seed=seed,
    )  # fmt: skip


def right(net: nn.Graph, samples: data.Samples, test: data.Samples, epochs: int, seed: int) -> float:
    """The share of test digits that the network reads rightly, once it has learnt."""
    nn.train(net, samples, optimizer=nn.Adam(3e-3), schedule=nn.OneCycle(), epochs=epochs, seed=seed)
    return nn.evaluate(net, test)["accuracy"]


def main() -> None:
    parser = argparse.ArgumentParser(description="Networks with and without a nonlinearity, with and without dropout.")
    parser.add_argument("--short", action="store_true", help="few digits and passes, one seed")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    given = parser.parse_args()
    digits, test = data.load("mnist")
    many, few, epochs, passes, seeds = 10_000, 500, 3, 40, given.seeds
    if given.short:
        test, many, few, epochs, passes, seeds = test[:1000], 1500, 200, 2, 10, given.seeds[:1]

    for name, activation in ACTIVATIONS.items():
        found = [right(network(activation, seed), digits[:many], test, epochs, seed) for seed in seeds]
        print(f"{name}: {' '.join(f'{share:.1%}' for share in found)} of the test digits right after {many:,}", flush=True)
    for name, dropout in (("without dropout", False), ("with dropout", True)):
        found = [right(network(nn.ReLU, seed, dropout), digits[:few], test, passes, seed) for seed in seeds]
        print(f"{name}: {' '.join(f'{share:.1%}' for share in found)} right after {few:,}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except JuanjiError as error:
        sys.exit(f"nonlinearity.py: {error}")
