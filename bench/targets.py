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
CAUSES: dict[str, str] = {
    "bfloat16": "channels-first planes are turned to pixels and back; depthwise layers do not use the matrix unit",
    "bfloat16, ResNet-50": "channels-first planes are turned to pixels and back",
    "float32, matrix unit": "few features: each number is cut into three parts for few products",
    "large kernels": "every tap is multiplied, also where it meets only padding: 6% at 7×7 on 56×56, 43% on 7×7",
    **dict.fromkeys(
        ("1x512x14x14 512 27x27 depthwise", "1x512x14x14 512 27x27 depthwise last"),
        "every tap is multiplied, though 73% of them meet only padding",
    ),
    "1x256x64x64 1 1x1 last": "one feature: a channel tile with one lane in use",
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
    "gradient of input": "with one image, packing weights that are used once takes up to 40%",
    **dict.fromkeys(
        ("1x16x32x56x56 16 3x3x3 dw", "1x16x32x56x56 16 3x3x3 dw last"),
        "16 features are one vector: 13 loads for 12 multiply-adds",
    ),
    "transposed": "a phase stores elements a stride apart",
    **dict.fromkeys(
        ("1x256x32x32 256 3x3 d12", "1x256x32x32 256 3x3 d6"),
        "every tap is multiplied, also where it meets only padding: 44% of them at dilation 12, 23% at 6",
    ),
    **dict.fromkeys(
        ("1x16x32x56x56 16 3x3x3", "1x16x32x56x56 16 3x3x3 last", "1x16x32x56x56 16 3x3x3 dx", "1x16x32x56x56 16 3x3x3 dx last"),
        "16 features are one vector: 13 loads for 12 multiply-adds",
    ),
    "pooling": "small: some 15 µs of Python in each call",
    "pooling, backward": "small: some 20 µs of Python in each call; max, channels-last: each element looks at all windows that meet it",
    "1x512x28x28 avg to 6 dx": "windows of unequal size, channels-first: five times the time of channels-last",
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
