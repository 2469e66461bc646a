"""Nuclei found in a volume: convolution along three axes.

    python examples/volume.py                    three seeds
    python examples/volume.py --short            a few steps
    python examples/volume.py -o volume.png      also a picture of the middle layer, what is there and what was found

The same operators as for pictures, on a microscope's stack of 31 layers of 61×57. The network learns from the first two thirds of the
rows and is judged on the rest. Instead of making the volume smaller, as the U-Net of nuclei.py does, it looks further with every layer: a
dilation of 1, 2 and 4 between the elements of a 3×3×3 kernel lets each voxel see 15×15×15 of those around it.
"""

import argparse
import sys
import time

import numpy as np

from juanji import JuanjiError, data, image, nn


def network(samples: data.Samples, seed: int) -> nn.Graph:
    """Three convolutions with normalisation and relu, and one score for each voxel."""
    layers: list[nn.Operator] = []
    for features, dilation in ((8, 1), (16, 2), (16, 4)):
        layers += [nn.Conv(features, 3, padding=dilation, dilation=dilation, bias=None), nn.BatchNorm(), nn.ReLU()]
    scaled = nn.Preprocessing(float(samples.x.mean()), float(samples.x.std()))
    return nn.Sequential(*layers, nn.Conv(1, 1), shape=(1, None, None, None), preprocessing=scaled, seed=seed)


def train(samples: data.Samples, iterations: int, seed: int) -> nn.Graph:
    """The network, from windows of 16×24×24 voxels that are mirrored along every axis."""
    net = network(samples, seed)
    windows = data.patches(samples.x[0], samples.y[0], size=(16, 24, 24), step=(5, 8, 8))
    nn.train(
        net, windows, loss="sigmoid_cross_entropy", optimizer=nn.Adam(5e-3), schedule=nn.OneCycle(), batch_size=8,
        max_iterations=iterations, seed=seed, augment=tuple(data.Flip(axis) for axis in (-1, -2, -3)),
    )  # fmt: skip
    return net


def overlap(found: np.ndarray, wanted: np.ndarray) -> float:
    """Intersection over union of two masks."""
    return np.count_nonzero(found & wanted) / np.count_nonzero(found | wanted)


def best_threshold(samples: data.Samples) -> int:
    """The brightness that parts the nuclei of these samples from their background best."""
    return max(range(samples.x.min(), samples.x.max()), key=lambda level: overlap(samples.x[0, 0] > level, samples.y[0] > 0))


def main() -> None:
    parser = argparse.ArgumentParser(description="Segment nuclei in a volume.")
    parser.add_argument("--short", action="store_true", help="few steps, one seed")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("-o", "--output", help="a picture file for the middle layer of the unseen part")
    given = parser.parse_args()
    samples, unseen = data.load("nuclei3d", test_fraction=1 / 3)
    iterations, seeds = (20, given.seeds[:1]) if given.short else (200, given.seeds)

    level, truth = best_threshold(samples), unseen.y[0] > 0
    print(f"{samples.x.shape[2:]} voxels to learn from, {truth.shape} to test; where a nucleus is, intersection over union")
    print(f"the best threshold, {level}: {overlap(unseen.x[0, 0] > level, truth):.3f}")
    for seed in seeds:
        began = time.perf_counter()
        found = train(samples, iterations, seed)(unseen.x)[0, 0] > 0
        print(f"seed {seed}: {overlap(found, truth):.3f}, {time.perf_counter() - began:.0f} s", flush=True)
    if given.output:
        middle = len(truth) // 2
        grey = unseen.x[0, 0, middle] / unseen.x[0, 0, middle].max()
        line = np.full((1, grey.shape[1]), 0.5)
        layers = np.concatenate([grey, line, truth[middle], line, found[middle]])
        image.write(given.output, np.kron((layers * 255).astype(np.uint8), np.ones((6, 6), np.uint8)))
        print(f"{given.output}: layer {middle} of the unseen part, what is there, what was found")


if __name__ == "__main__":
    try:
        main()
    except JuanjiError as error:
        sys.exit(f"volume.py: {error}")
