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
PLANES = "channels-first: torch's best has channels last, where a vector of channels needs no shuffles at the ends of rows"
PADDED = "every tap is multiplied, also where it meets only padding"
CAUSES: dict[str, str] = {
    **dict.fromkeys(
        ("8x512x7x7 512 3x3", "8x512x7x7 512 3x3 last", "1x512x7x7 512 3x3", "1x512x7x7 512 3x3 last"),
        "direct, though Winograd takes two thirds with bound weights: to one image a quarter of transforming 16 MB counts",
    ),
    "dense, batch 8": "1×1 to 64 features: 78% of the limit, the input is read from memory while it is multiplied",
    "ResNet-50": "1×1 to 64 features at 56×56: 86 to 92% of the limit",
    "3x3, direct": "90 to 97% of the limit",
    "3x3, winograd": "transformed weights of 16 MB come from memory for each chunk of tiles",
    "depthwise": PLANES,
    "1x120x28x28 120 5x5 depthwise last": "120 channels are seven and a half vectors: by the lane-wise tile, with a panel",
    "1x72x56x56 72 5x5 /2 depthwise last": "72 channels are four and a half vectors: by the lane-wise tile, with a panel",
    "few channels": "with a stride each line is parted into phases; otherwise 78 to 94% of the limit",
    "1x4x256x256 8 3x3 last": "8 features are half a vector",
    "float64": "1×1 to 64 features: 89 to 91% of the limit",
    "1-D": "depthwise: a load from the line for each multiply-add, most of which cross a cache line",
    "3-D": "depthwise in three axes: rows of 28 are a vector and three quarters, and there are nine lines to each",
    "1x3x16x112x112 64 3x7x7 /1x2x2": "near the limit; channels are cut into parts for the matrix unit",
    "dilated, grouped, edges": "groups of 8 or 16 channels fill half a vector or one, so that few sums share a load",
    **dict.fromkeys(("1x256x32x32 256 3x3 d12", "1x256x32x32 256 3x3 d6"), f"{PADDED}: 44% of them at dilation 12, 23% at 6"),
    "1x512x28x28 512 3x3 d4": f"{PADDED}, 18% of them; Winograd on every fourth pixel would be next",
    "float16": "depthwise: halves are widened on their way into the lines",
    "bfloat16": "channels-first planes are turned to pixels and back; depthwise layers do not use the matrix unit",
    "bfloat16, ResNet-50": "channels-first planes are turned to pixels and back",
    "float32, matrix unit": "few features: each number is cut into three parts for few products",
    "large kernels": f"depthwise: {PADDED}, 6% at 7×7 on 56×56, 43% on 7×7",
    **dict.fromkeys(("1x512x14x14 512 27x27 depthwise", "1x512x14x14 512 27x27 depthwise last"), f"{PADDED}, 73% of them"),
    "pictures uint8": "sums of bytes in float32, where OpenCV sums 16-bit integers: half as many in a vector",
    "pictures, separable": "sums of bytes in float32, where OpenCV sums 16-bit integers: half as many in a vector",
    **dict.fromkeys(("1x256x64x64 1 1x1", "1x256x64x64 1 1x1 last"), "one feature: a channel tile with one lane in use"),
    **dict.fromkeys(
        ("1x16x8x8 16 3x3", "1x16x8x8 16 3x3 last", "1x1x32x32 4 3x3", "1x4x128 4 3"),
        "the way into a kernel takes longer than its arithmetic",
    ),
    **dict.fromkeys(
        ("1x512x14x14 512 3x3 /2 dx", "1x256x28x28 256 3x3 /2 dx"),
        "much of it is packing: each phase picks taps out of weights whose kernel axes are innermost",
    ),
    **dict.fromkeys(
        ("1x128x56x56 128 3x3 /2 depthwise dx", "1x128x56x56 128 3x3 /2 depthwise dx last"),
        "four phases, each of which reads dy anew and stores every second element",
    ),
    "gradient of input": ALONE,
    "1x512x14x14 512 3x3 depthwise dx": PLANES,
    **dict.fromkeys(
        ("1x16x32x56x56 16 3x3x3 dw", "1x16x32x56x56 16 3x3x3 dw last"),
        "16 features are one vector: a load for each multiply-add",
    ),
    "gradient of weights": "1×1 and depthwise: 49 to 79% of the limit; no certain cause was found",
    "transposed": "a phase stores elements a stride apart",
    **dict.fromkeys(
        ("1x16x32x56x56 16 3x3x3", "1x16x32x56x56 16 3x3x3 last", "1x16x32x56x56 16 3x3x3 dx", "1x16x32x56x56 16 3x3x3 dx last"),
        "16 features are one vector: 13 loads for 12 multiply-adds",
    ),
    "pooling": "small: 6 µs of Python in each call",
    "pooling, backward": "small: 10 µs of Python in each call; max: places are 64-bit, twice the bytes of the errors",
    "tiled, batch 1": APART,
    "tiled, batch 8 and more": APART,
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
