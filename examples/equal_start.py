"""Why weights start from random numbers: a layer that starts all equal stays all equal, however long it learns.

    python examples/equal_start.py                   three starts, three passes over 10,000 digits each
    python examples/equal_start.py --short           one pass over 1,000
    python examples/equal_start.py -o kernels.png    also a picture of the kernels of the first layer, before and after

Two units of a layer with equal weights give equal outputs. If the next layer reads them with equal weights too, the error that comes back
to them is equal, and so is every step they take. Eight such kernels are one kernel, computed eight times. Any two different numbers break
the tie: the classical texts draw from a normal distribution with a deviation of 0.01; He's start (2015) chooses the deviation that keeps
the size of activations from layer to layer.
"""

import argparse
import sys

import numpy as np

from juanji import JuanjiError, data, image, nn

STARTS: dict[str, float | str] = {"all 0.01": 0.01, "normal, deviation 0.01": "normal", "He": "he"}
HIDDEN = {"conv1": 8, "dense1": 32}  # layers and their units


def network(start: float | str) -> nn.Graph:
    """A convolution and two dense layers whose weights all have the same start."""
    return nn.Sequential(
        nn.Conv(8, 5, weight=start), nn.Tanh(), nn.MaxPool(2),
        nn.Flatten(), nn.Dense(32, weight=start), nn.Tanh(), nn.Dense(10, weight=start),
        shape=(1, 28, 28),
    )  # fmt: skip


def row(kernels: np.ndarray) -> np.ndarray:
    """Kernels (8, 1, 5, 5) side by side, middle grey for 0, each pixel 12×12."""
    grey = 128 + 100 * kernels[:, 0] / np.abs(kernels).max()
    framed = np.pad(grey, ((0, 0), (1, 1), (1, 1)), constant_values=255).astype(np.uint8)
    return np.kron(np.concatenate(list(framed), axis=1), np.ones((12, 12), np.uint8))


def main() -> None:
    parser = argparse.ArgumentParser(description="Equal weights stay equal; random ones do not.")
    parser.add_argument("--short", action="store_true", help="few digits, one pass")
    parser.add_argument("-o", "--output", help="a picture file for the kernels of the first layer")
    given = parser.parse_args()
    digits, test = data.load("mnist")
    digits, test, epochs = (digits[:1000], test[:500], 1) if given.short else (digits[:10_000], test, 3)

    rows = []
    for name, start in STARTS.items():
        net = network(start).build()
        before = net.parameters["conv1.weight"].copy()
        nn.train(net, digits, optimizer=nn.SGD(0.05, momentum=0.9), epochs=epochs)
        after = net.parameters["conv1.weight"]
        different = nn.distinct_units(net)
        units = ", ".join(f"{layer} {different[layer]} of {count}" for layer, count in HIDDEN.items())
        print(f"{name}: {nn.evaluate(net, test)['accuracy']:.1%} of the test digits right; different units: {units}", flush=True)
        rows += [row(before), row(after)]
    if given.output:
        image.write(given.output, np.concatenate(rows))
        print(f"{given.output}: the kernels of conv1 before and after, a pair of rows for each of {'; '.join(STARTS)}")


if __name__ == "__main__":
    try:
        main()
    except JuanjiError as error:
        sys.exit(f"equal_start.py: {error}")
