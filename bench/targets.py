"""What is to be reached, by group, and why a row that falls short does. Ratios: the peer's time over ours."""

from typing import NamedTuple


class Target(NamedTuple):
    """Geometric means against a peer in the row's layout and in its best setting, and the least of a single row against its best."""

    same: float
    best: float
    worst: float
    libraries: tuple[str, ...] = ("torch",)

    def __str__(self) -> str:
        means = f"{self.best:g}" if self.same == self.best else f"{self.same:g} / {self.best:g}"
        return f"target {means} ({float(self.worst)})"


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
    "ResNet-50": Target(1.8, 1.5, 0.95),
    "VGG-16": Target(1.8, 1.5, 0.95),
    "3x3, direct": Target(1, 1, 0.9),
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
# of a row, or of all of a group's that fall short
GATHERED = "channels-first: memory waits while the windows of neighbouring sites are gathered and turned, a third of the time"
ALONE = "weights that are used once: turning those that lie along the sum takes a quarter as long as the products of one small image"
CUTTING = "1×1 to 64 features: reading the input and cutting it into three parts takes longer than the products"
CAUSES: dict[str, str] = {
    **dict.fromkeys(("dense, batch 8", "ResNet-50", "float32, matrix unit"), CUTTING),
    "3x3, direct": "92 to 97% of the limit",
    "depthwise": "large planes: reading a panel from memory and computing from it take turns",
    "few channels": "with a stride each line is parted into phases; otherwise 79 to 94% of the limit",
    "float64": "1×1 to 64 features: 70 to 91% of the limit, the input is read from memory while it is multiplied",
    "1-D": "depthwise: channels-last, neighbours of a window lie 2 KB apart and share two sets of the first cache",
    "3-D": "depthwise in three axes: nine lines to each row of outputs, which no tile keeps for the next outer place",
    "dilated, grouped, edges": "groups of 16 channels: laying out, cutting and joining their lines takes as long as their products",
    "bfloat16": "1×1 to 64 features: joining planes in words takes longer than the products; depthwise: rounding takes as long as the sums",
    "bfloat16, ResNet-50": "channels-first: joining planes in words takes as long as the products of few features",
    "large kernels": "depthwise, channels-first: rows of 14 fill 14 of 16 lanes, in all of which columns of padding are multiplied",
    **dict.fromkeys(("1x256x64x64 1 1x1", "1x256x64x64 1 1x1 last"), "one feature: over 90% of what memory allows"),
    **dict.fromkeys(
        ("1x16x8x8 16 3x3", "1x16x8x8 16 3x3 last", "1x1x32x32 4 3x3", "1x4x128 4 3"),
        "the way into a kernel takes longer than its arithmetic",
    ),
    "gradient of input": ALONE,
    "gradient of weights": "1×1 to 64 features: cutting for the matrix unit takes as long as its products; depthwise: half the limit",
    "transposed": "channels-first: a phase stores elements a stride apart, so that each line of the output is fetched and written twice",
    **dict.fromkeys(
        ("1x16x32x56x56 16 3x3x3", "1x16x32x56x56 16 3x3x3 last", "1x16x32x56x56 16 3x3x3 dx", "1x16x32x56x56 16 3x3x3 dx last"),
        "16 features are one vector: 13 loads for 12 multiply-adds",
    ),
    "pooling": "small: 3 µs of Python in each call; averages of pairs: at the limit, which is copying",
    "pooling, backward": "small: 4 µs of Python in each call; max: places are 64-bit, twice the bytes of the errors",
    "tiled, batch 1": "each site is a job of its own, which gathers its positions, a stride apart, for a single tile of features",
    "tiled, batch 8 and more": "each site reads the input anew; 16 features are one vector: a load for each multiply-add",
    "locally connected, batch 1": GATHERED,
    "locally connected, batch 8 and more": GATHERED,
}


def cause(name: str, group: str, ratios: dict[str, float]) -> str:
    """Why a row misses its group's least ratio: nothing if it does not, or nobody knows.

    >>> cause("a row", "ResNet-50", {"torch best": 0.99})
    ''
    """
    target = TARGETS.get(group)
    if target is None or all(ratios.get(f"{library} best", target.worst) >= target.worst for library in target.libraries):
        return ""
    return CAUSES.get(name, CAUSES.get(group, ""))
