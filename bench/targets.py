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
APART = "channels-first takes twice the time of channels-last: what one site sees lies apart"
ALONE = "weights that are used once: packing or transforming them takes as long as the products of one small image"
CUTTING = "1×1 to 64 features: reading the input and cutting it into three parts takes longer than the products"
CAUSES: dict[str, str] = {
    **dict.fromkeys(("dense, batch 8", "ResNet-50", "float32, matrix unit"), CUTTING),
    **dict.fromkeys(
        ("1x3x224x224 64 7x7 /2", "1x3x224x224 64 7x7 /2 bfloat16"),
        "three channels: windows begin anywhere in a cache line, and a third of the numbers multiplied are zeros",
    ),
    "3x3, direct": "84 to 97% of the limit",
    "3x3, winograd": "transformed weights of 16 MB come from memory for each chunk of tiles",
    "depthwise": "large planes: reading a panel from memory and computing from it take turns",
    "few channels": "with a stride each line is parted into phases; otherwise 79 to 94% of the limit",
    "1x4x256x256 8 3x3 last": "8 features are half a vector",
    "float64": "1×1 to 64 features: 70 to 91% of the limit, the input is read from memory while it is multiplied",
    "1-D": "depthwise: channels-first a load for each multiply-add, most of which cross a cache line",
    "3-D": "depthwise in three axes: nine lines to each row of outputs, which no tile keeps for the next outer place",
    "1x3x16x112x112 64 3x7x7 /1x2x2": "near the limit; channels are cut into parts for the matrix unit",
    "dilated, grouped, edges": "groups of 8 or 16 channels fill half a vector or one, so that few sums share a load",
    "bfloat16": "1×1 to 64 features: joining planes in words takes longer than the products; depthwise: rounding takes as long as the sums",
    "bfloat16, ResNet-50": "channels-first: joining planes in words takes as long as the products of few features",
    "large kernels": "depthwise, channels-first: rows of 14 fill 14 of 16 lanes, in all of which columns of padding are multiplied",
    **dict.fromkeys(("1x256x64x64 1 1x1", "1x256x64x64 1 1x1 last"), "one feature: a channel tile with one lane in use"),
    **dict.fromkeys(
        ("1x16x8x8 16 3x3", "1x16x8x8 16 3x3 last", "1x1x32x32 4 3x3", "1x4x128 4 3"),
        "the way into a kernel takes longer than its arithmetic",
    ),
    **dict.fromkeys(
        ("1x512x14x14 512 3x3 /2 dx", "1x256x28x28 256 3x3 /2 dx"),
        "much of it is packing: each phase picks taps out of weights whose kernel axes are innermost",
    ),
    "1x128x56x56 128 3x3 /2 depthwise dx": "four phases, each of which reads dy anew and stores every second element",
    "gradient of input": ALONE,
    **dict.fromkeys(
        ("1x16x32x56x56 16 3x3x3 dw", "1x16x32x56x56 16 3x3x3 dw last"),
        "16 features are one vector: a load for each multiply-add",
    ),
    "gradient of weights": "1×1: 77 to 90% of the limit; turning or copying the errors of a chunk serves few tiles; depthwise: 49 to 52%",
    "transposed": "channels-first: a phase stores elements a stride apart, so that each line of the output is fetched and written twice",
    **dict.fromkeys(
        ("1x16x32x56x56 16 3x3x3", "1x16x32x56x56 16 3x3x3 last", "1x16x32x56x56 16 3x3x3 dx", "1x16x32x56x56 16 3x3x3 dx last"),
        "16 features are one vector: 13 loads for 12 multiply-adds",
    ),
    "pooling": "small: 5 µs of Python in each call; small planes are turned to pixels and back",
    "pooling, backward": "small: 8 µs of Python in each call; max: places are 64-bit, twice the bytes of the errors",
    "tiled, batch 1": "each site reads the input anew; 16 features are one vector: a load for each multiply-add",
    "tiled, batch 8 and more": "each site reads the input anew; 16 features are one vector: a load for each multiply-add",
    "locally connected, batch 1": APART,
    "locally connected, batch 8 and more": APART,
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
