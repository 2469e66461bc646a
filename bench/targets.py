"""What is to be reached, by group. Ratios: the peer's time over ours."""

import math
from typing import NamedTuple


class Target(NamedTuple):
    """Geometric means against a peer in the row's layout and in its best setting, and the least of a single row against its best.

    share: the least of a row's share of the machine's limit; of one image of 7×7, whose weights are read for few products, SMALL_SHARE.
    """

    same: float
    best: float
    worst: float
    libraries: tuple[str, ...] = ("torch",)
    share: float = 0.0

    def __str__(self) -> str:
        means = f"{self.best:g}" if self.same == self.best else f"{self.same:g} / {self.best:g}"
        return f"target {means} ({float(self.worst)})"


SMALL_SHARE = 0.7
# groups in which peers are slow, as their users say
WEAK = (
    "depthwise",
    "few channels",
    "one channel",
    "float64",
    "1-D",
    "3-D",
    "dilated, grouped, edges",
    "integers",
    "float16",
    "large kernels",
    "weak cases",
)
EITHER = ("torch", "jax")
WEAK_TARGET = Target(5, 2, 1, EITHER)
TARGETS = {
    "dense, batch 8": Target(1.8, 1.5, 0.95),
    "ResNet-50": Target(1.8, 1.5, 0.95, share=0.9),
    "VGG-16": Target(1.8, 1.5, 0.95, share=0.9),
    "3x3, direct": Target(1, 1, 0.9, share=0.9),
    "3x3, winograd": Target(2.5, 2.5, 1.5),
    "gradient of input": Target(1.1, 1.1, 0.9),
    "gradient of weights": Target(1.1, 1.1, 0.9),
    "transposed": Target(1.1, 1.1, 0.9),  # it is a gradient of an input
    "bfloat16": Target(1.5, 1.5, 1),
    "bfloat16, ResNet-50": Target(1.5, 1.5, 1),
    "float32, matrix unit": Target(1.8, 1.5, 0.95),
    "locally connected, batch 1": Target(1.3, 1.3, 1, EITHER),
    "locally connected, batch 8 and more": Target(3, 3, 1, EITHER),
    "tiled, batch 1": Target(1.3, 1.3, 1, EITHER),
    "tiled, batch 8 and more": Target(3, 3, 1, EITHER),
    "pooling": Target(8, 1.8, 1),
    "pooling, backward": Target(8, 1.8, 1),
    "pictures float32": Target(2.5, 2.5, 1.2, ("opencv",)),
    "pictures uint8": Target(2.5, 2.5, 1.2, ("opencv",)),
    "pictures, large kernels": Target(5, 5, 3, ("opencv",)),
    "pictures, separable": Target(2.5, 2.5, 1.2, ("opencv",)),
    "volumes, separable": Target(3, 3, 1.2, ("scipy",)),
    "signals, long kernels": Target(3, 3, 1.2, ("scipy",)),
    **dict.fromkeys(WEAK, WEAK_TARGET),
}


def least(ratios: dict[str, float], target: Target) -> float:
    """A row's ratio against the best setting of the library that comes nearest; infinite where none took part.

    >>> least({"torch best": 0.9, "scipy best": 0.5}, Target(1, 1, 1))
    0.9
    """
    return min((ratios[key] for library in target.libraries if (key := f"{library} best") in ratios), default=math.inf)
