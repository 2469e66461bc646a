"""A kernel of one's own inside a network, which training leaves as it is.

    python examples/fixed_kernel.py             three seeds
    python examples/fixed_kernel.py --short     a few digits, one seed

Between the convolution of the first layer and its pooling stands a Gaussian. It is not trained, but the error passes through it: what
comes back to the convolution before it has been blurred too. Pooling takes every second pixel, and a blur before it keeps fine detail from
turning into false patterns; the two networks, with and without, are also asked about digits with noise, of which neither has seen any.
"""

import argparse
import sys

import numpy as np

from juanji import JuanjiError, data, image, nn

GAUSSIAN = image.kernels.gaussian(sigma=1.0, size=5)


def network(seed: int, blurred: bool) -> nn.Graph:
    """Two layers of convolution, relu and pooling; in the first, features are blurred or not."""
    blur = [nn.Filter(GAUSSIAN)] if blurred else []
    return nn.Sequential(
        nn.Conv(8, 5, padding=2), nn.ReLU(), *blur, nn.MaxPool(2),
        nn.Conv(16, 5), nn.ReLU(), nn.MaxPool(2),
        nn.Flatten(), nn.Dense(10),
        shape=(1, 28, 28), seed=seed,
    )  # fmt: skip


def noisy(samples: data.Samples, deviation: float) -> data.Samples:
    """The same digits with noise, deviation in grey levels of 255."""
    noise = np.random.default_rng(0).normal(0, deviation, samples.x.shape)
    return data.Samples(np.clip(samples.x + noise, 0, 255).astype(np.uint8), samples.y)


def main() -> None:
    parser = argparse.ArgumentParser(description="A fixed Gaussian inside a network.")
    parser.add_argument("--short", action="store_true", help="few digits, one seed")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    given = parser.parse_args()
    digits, test = data.load("mnist")
    digits, epochs, seeds = digits[:20_000], 3, given.seeds
    if given.short:
        digits, test, epochs, seeds = digits[:2000], test[:1000], 1, given.seeds[:1]

    print("test digits right: as they are, with noise of deviation 80")
    for seed in seeds:
        for name, blurred in (("without", False), ("with", True)):
            net = network(seed, blurred).build()
            start = {key: array.copy() for key, array in net.arrays.items()}
            nn.train(net, digits, optimizer=nn.SGD(0.05, momentum=0.9), schedule=nn.OneCycle(), epochs=epochs, seed=seed)
            shares = [nn.evaluate(net, samples)["accuracy"] for samples in (test, noisy(test, 80))]
            same = ", ".join(key for key, array in net.arrays.items() if (array == start[key]).all()) or "nothing"
            print(f"seed {seed}, {name} a Gaussian: {shares[0]:.1%}, {shares[1]:.1%}; left as it was: {same}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except JuanjiError as error:
        sys.exit(f"fixed_kernel.py: {error}")
