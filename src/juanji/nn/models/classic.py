"""AlexNet, VGG-16 and the edge detector made of its trunk."""

from __future__ import annotations

from juanji.nn.activations import ReLU, Sigmoid
from juanji.nn.graph import Graph, Sequential
from juanji.nn.joins import Concatenate
from juanji.nn.layers import Conv, Dense
from juanji.nn.moves import Flatten, Resize
from juanji.nn.nodes import Input
from juanji.nn.norms import Dropout
from juanji.nn.operator import Operator, Shape
from juanji.nn.pools import MaxPool
from juanji.nn.preprocessing import IMAGENET, Preprocessing

VGG_16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # features of the 3×3 convolutions of each block
# features, size, stride, padding, and whether maxima follow
ALEXNET = (
    (64, 11, 4, "valid", True), (192, 5, 1, "same", True), (384, 3, 1, "same", False), (384, 3, 1, "same", False), (256, 3, 1, "same", True)
)  # fmt: skip
EDGE_MEAN = (122.67892, 116.66877, 104.00699)


def alexnet(classes: int, shape: Shape) -> Graph:
    """AlexNet in its second form (Krizhevsky 2014), on one machine."""
    row: list[Operator] = []
    for i, (features, size, stride, padding, pooled) in enumerate(ALEXNET, 1):
        row += [Conv(features, size, stride, padding, name=f"conv{i}"), ReLU(name=f"relu{i}")]
        row += [MaxPool(3, 2, name=f"pool{i}")] if pooled else []
    for i, features in ((6, 4096), (7, 4096)):
        row += [Flatten()] if i == 6 else []
        row += [Dense(features, name=f"fc{i}"), ReLU(name=f"relu{i}"), Dropout(0.5, name=f"drop{i}")]
    return Sequential(*row, Dense(classes, name="fc8"), shape=shape, preprocessing=IMAGENET)


def vgg16(classes: int, shape: Shape) -> Graph:
    """VGG-16 (Simonyan & Zisserman 2014). Layers are named as in the paper: conv1_1 … conv5_3, pool1 … pool5, fc6, fc7, fc8."""
    row: list[Operator] = []
    for block, counts in enumerate(VGG_16, 1):
        for i, features in enumerate(counts, 1):
            row += [Conv(features, 3, padding=1, name=f"conv{block}_{i}"), ReLU(name=f"relu{block}_{i}")]
        row.append(MaxPool(2, name=f"pool{block}"))
    row.append(Flatten())
    for i in (6, 7):
        row += [Dense(4096, name=f"fc{i}"), ReLU(name=f"relu{i}"), Dropout(0.5, name=f"drop{i}")]
    return Sequential(*row, Dense(classes, name="fc8"), shape=shape, preprocessing=IMAGENET)


def vgg16_names() -> dict[str, str]:
    """The names of its layers in PyTorch's files: the convolutions and their activations and pools are numbered through."""
    found, number = {}, 0
    for block, counts in enumerate(VGG_16, 1):
        for i in range(1, len(counts) + 1):
            found[f"conv{block}_{i}"] = f"features.{number}"
            number += 2
        number += 1
    return found | {"fc6": "classifier.0", "fc7": "classifier.3", "fc8": "classifier.6"}


def vgg16_edges(classes: int, shape: Shape) -> Graph:
    """The trunk of VGG-16 with a 1×1 convolution on each block, brought to the picture's size and joined: the probability of an edge."""
    inputs = x = Input((3, None, None))
    sides = []
    for block, counts in enumerate(VGG_16, 1):
        if block > 1:
            x = MaxPool(2, name=f"pool{block - 1}")(x)
        for i, features in enumerate(counts, 1):
            x = ReLU(name=f"relu{block}_{i}")(Conv(features, 3, padding=1, name=f"conv{block}_{i}")(x))
        side = Conv(1, 1, name=f"side{block}")(x)
        sides.append(side if block == 1 else Resize(mode="linear", name=f"full{block}")(side, inputs))
    edges = Sigmoid(name="edges")(Conv(1, 1, name="fuse")(Concatenate(name="sides")(*sides)))
    return Graph(inputs, edges, preprocessing=Preprocessing(EDGE_MEAN, 1.0), classes=("edge",))
