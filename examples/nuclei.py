"""Cell nuclei found in a micrograph: every pixel gets a probability, or one of three classes.

    python examples/nuclei.py                     mask, then background, border and inside
    python examples/nuclei.py --short             a few steps of each
    python examples/nuclei.py -o nuclei.png       also a picture of what was found

There is one labelled picture, so a small U-Net learns from its upper half and is judged on the lower one, which it has not seen. Windows
of 64×64 are cut out and mirrored at random while it learns; afterwards the half picture goes through it as a whole, because a network of
convolutions takes other sizes than those it learnt from; this one halves them three times, so they must be multiples of 8.

    mask          one score at each pixel, and its sigmoid is the probability of "nucleus"
    three classes a softmax over background, border and inside at each pixel; the border keeps nuclei apart that touch

How good a result is says the intersection over union: of the pixels that were found or should have been, the share that is both.
"""

import argparse
import sys
import time

import numpy as np

import juanji as jj
from juanji import JuanjiError, data, image, nn

CLASSES = ("background", "border", "inside")
COLOURS = np.array([(20, 20, 30), (240, 170, 40), (70, 130, 200)], np.uint8)


def train(samples: data.Samples, outputs: int, loss: str, iterations: int, seed: int) -> nn.Graph:
    """A U-Net, from windows of the picture."""
    net = nn.models.get("unet", classes=outputs, shape=(1, 64, 64), seed=seed)
    net.preprocessing = nn.Preprocessing(float(samples.x.mean()), float(samples.x.std()))
    windows = data.patches(samples.x[0], samples.y[0], size=96, step=16)
    nn.train(
        net, windows, loss=loss, optimizer=nn.Adam(2e-3), schedule=nn.OneCycle(), batch_size=8, max_iterations=iterations, seed=seed,
        augment=(data.Crop(64), data.Flip(axis=-1), data.Flip(axis=-2)),
    )  # fmt: skip
    return net


def three_classes(objects: np.ndarray, reach: int = 2) -> np.ndarray:
    """0 background, 1 border, 2 inside for numbered objects (N, H, W): border is what has another number within reach.

    Pooling finds it: the largest number around a pixel and the smallest differ. `data.borders` marks a line of one pixel instead, which
    is hard to hit: a border found one pixel beside it counts as missed and as wrong.
    """
    numbers = objects[:, None].astype(np.float32)
    window = {"size": 2 * reach + 1, "stride": 1, "padding": reach}
    border = jj.pool(numbers, **window) != -jj.pool(-numbers, **window)
    return np.where(border, 1, np.where(numbers == 0, 0, 2))[:, 0].astype(np.uint8)


def overlap(found: np.ndarray, wanted: np.ndarray) -> float:
    """Intersection over union of two masks."""
    return np.count_nonzero(found & wanted) / np.count_nonzero(found | wanted)


def best_threshold(samples: data.Samples) -> int:
    """The brightness that parts the nuclei of these samples from their background best: what a network has to beat."""
    return max(range(samples.x.min(), samples.x.max()), key=lambda level: overlap(samples.x[0, 0] > level, samples.y[0] > 0))


def objects(mask: np.ndarray, least: int = 20) -> int:
    """How many pieces a mask (H, W) falls into, specks of fewer than `least` pixels aside.

    Every pixel starts with a number of its own and takes the largest of its neighbours' until none changes: 3×3 pooling of maxima.
    """
    numbers = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0).astype(np.float32)
    while True:
        spread = np.where(mask, jj.pool(numbers[None, None], 3, stride=1, padding=1)[0, 0], 0)
        if (spread == numbers).all():
            return int(np.count_nonzero(np.unique(numbers[mask], return_counts=True)[1] >= least))
        numbers = spread


def main() -> None:
    parser = argparse.ArgumentParser(description="Segment cell nuclei with a small U-Net.")
    parser.add_argument("--short", action="store_true", help="few steps, one seed")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("-o", "--output", help="a picture file for the test half, its classes, and those found")
    given = parser.parse_args()
    upper, lower = data.load("nuclei", masks="stored", test_fraction=0.5)
    iterations, seeds = ((12, 12), given.seeds[:1]) if given.short else ((150, 300), given.seeds)

    truth, wanted, level = lower.y[0] > 0, three_classes(lower.y)[0], best_threshold(upper)
    count, pieces = len(np.unique(lower.y)) - 1, (objects(truth), objects(wanted == 2))
    print(f"{count} nuclei in the lower half; as a mask they are {pieces[0]} pieces, without their borders {pieces[1]}")
    print(f"the best threshold of the upper half, {level}: intersection over union {overlap(lower.x[0, 0] > level, truth):.3f}")
    in_masks = data.Samples(upper.x, (upper.y > 0).astype(np.uint8))
    in_classes = data.Samples(upper.x, three_classes(upper.y), CLASSES)
    for seed in seeds:
        began = time.perf_counter()
        mask = train(in_masks, 1, "sigmoid_cross_entropy", iterations[0], seed)(lower.x)[0, 0] > 0
        print(f"seed {seed}: mask {overlap(mask, truth):.3f}, {time.perf_counter() - began:.0f} s", flush=True)
        began = time.perf_counter()
        found = train(in_classes, 3, "softmax_cross_entropy", iterations[1], seed)(lower.x)[0].argmax(axis=0)
        each = ", ".join(f"{name} {overlap(found == k, wanted == k):.3f}" for k, name in enumerate(CLASSES))
        print(f"seed {seed}: {each}, {time.perf_counter() - began:.0f} s", flush=True)
        print(f"seed {seed}: pieces of the mask found {objects(mask)}, of the inside {objects(found == 2)}", flush=True)
    if given.output:
        grey = np.clip(lower.x[0, 0].astype(np.float32) * 2, 0, 255).astype(np.uint8)
        image.write(given.output, np.concatenate([np.stack([grey] * 3, axis=-1), COLOURS[wanted], COLOURS[found]]))
        print(f"{given.output}: the picture, what is there, what was found; border orange, inside blue")


if __name__ == "__main__":
    try:
        main()
    except JuanjiError as error:
        sys.exit(f"nuclei.py: {error}")
