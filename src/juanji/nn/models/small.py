"""Small networks: for digits, small pictures, series, volumes and masks."""

from __future__ import annotations

from juanji.nn.activations import ReLU
from juanji.nn.graph import Graph, Sequential
from juanji.nn.joins import Concatenate
from juanji.nn.layers import Conv, ConvTranspose, Dense
from juanji.nn.moves import Flatten
from juanji.nn.nodes import Input
from juanji.nn.norms import BatchNorm, Dropout
from juanji.nn.operator import Operator, Shape, Symbol
from juanji.nn.pools import GlobalPool, MaxPool


def linear(classes: int, shape: Shape) -> Graph:
    """One weight per pixel and class: what a convolution has to beat."""
    return Sequential(Flatten(), Dense(classes), shape=shape)


def mlp(classes: int, shape: Shape) -> Graph:
    """Two hidden layers that know nothing of where pixels lie."""
    return Sequential(Flatten(), Dense(300), ReLU(), Dense(100), ReLU(), Dense(classes), shape=shape)


def lenet(classes: int, shape: Shape) -> Graph:
    """LeNet-5 (LeCun et al. 1998) in its sizes, with relu and maxima where it had sigmoids and averages."""
    return Sequential(
        Conv(6, 5, padding=2), ReLU(), MaxPool(2),
        Conv(16, 5), ReLU(), MaxPool(2),
        Flatten(), Dense(120), ReLU(), Dense(84), ReLU(), Dense(classes),
        shape=shape,
    )  # fmt: skip


def three_stages(classes: int, shape: Shape) -> Graph:
    """Three times convolution 5×5, relu, pooling, with 16, 20 and 20 maps: the reference network for 32×32×3 pictures."""
    stages: list[Operator] = []
    for features in (16, 20, 20):
        stages += [Conv(features, 5, padding=2), ReLU(), MaxPool(2)]
    return Sequential(*stages, Flatten(), Dense(classes), shape=shape)


def series(classes: int, shape: Shape) -> Graph:
    """A fully convolutional network for series (Wang, Yan & Oates 2017): three layers along time, averaged over it."""
    layers: list[Operator] = []
    for features, size in ((64, 8), (128, 5), (64, 3)):
        layers += [Conv(features, size, padding="same", bias=None), BatchNorm(), ReLU()]
    return Sequential(*layers, GlobalPool(), Dense(classes), shape=shape)


def volume(classes: int, shape: Shape) -> Graph:
    """A small network for volumes: three stages of 3×3×3, averaged over space."""
    stages: list[Operator] = []
    for features in (8, 16, 32):
        stages += [Conv(features, 3, padding=1, bias=None), BatchNorm(), ReLU(), MaxPool(2)]
    return Sequential(*stages[:-1], GlobalPool(), Dropout(0.2), Dense(classes), shape=shape)


def unet(classes: int, shape: Shape, features: int = 16, depth: int = 3) -> Graph:
    """A small U-Net (Ronneberger, Fischer & Brox 2015): down by maxima, up by transposed convolutions, beside what was there before.

    One output channel per class at every pixel, before sigmoid or softmax. Sizes must be multiples of 2^depth.
    """

    def twice(x: Symbol, count: int, name: str) -> Symbol:
        for i in (1, 2):
            x = Conv(count, 3, padding=1, bias=None, name=f"{name}_conv{i}")(x)
            x = ReLU(name=f"{name}_relu{i}")(BatchNorm(name=f"{name}_norm{i}")(x))
        return x

    inputs = x = Input((shape[0], *(None,) * (len(shape) - 1)))
    beside = []
    for level in range(depth):
        x = twice(x, features << level, f"down{level + 1}")
        beside.append(x)
        x = MaxPool(2, name=f"pool{level + 1}")(x)
    x = twice(x, features << depth, "middle")
    for level in reversed(range(depth)):
        x = ConvTranspose(features << level, 2, stride=2, name=f"raise{level + 1}")(x)
        x = twice(Concatenate(name=f"join{level + 1}")(beside[level], x), features << level, f"up{level + 1}")
    return Graph(inputs, Conv(classes, 1, name="classes")(x))
