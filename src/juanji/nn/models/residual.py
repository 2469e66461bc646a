"""Residual networks (He et al. 2015), in the form of torchvision, whose names of layers they bear, and ResNet-50 in that of TF-Slim."""

from __future__ import annotations

from juanji.nn.activations import ReLU
from juanji.nn.graph import Graph
from juanji.nn.joins import Add
from juanji.nn.layers import Conv, Dense
from juanji.nn.nodes import Input
from juanji.nn.norms import BatchNorm
from juanji.nn.operator import Shape, Symbol
from juanji.nn.pools import GlobalPool, MaxPool
from juanji.nn.preprocessing import IMAGENET


def _normal(x: Symbol, features: int, size: int, stride: int, name: str, norm: str) -> Symbol:
    x = Conv(features, size, stride, (size - 1) // 2, bias=None, name=name)(x)
    return BatchNorm(name=norm)(x)


def _unit(x: Symbol, channels: int, features: int, stride: int, name: str, wide: bool) -> Symbol:
    """Two 3×3 convolutions, or 1×1, 3×3, 1×1 with four times the features, beside the input, brought to their size."""
    made = features * 4 if wide else features
    sizes = ((1, 1, features), (3, stride, features), (1, 1, made)) if wide else ((3, stride, features), (3, 1, features))
    y = x
    for i, (size, step, count) in enumerate(sizes, 1):
        y = _normal(y, count, size, step, f"{name}.conv{i}", f"{name}.bn{i}")
        if i < len(sizes):
            y = ReLU(name=f"{name}.relu{i}")(y)
    if channels != made:
        x = _normal(x, made, 1, stride, f"{name}.downsample.0", f"{name}.downsample.1")
    elif stride != 1:
        x = MaxPool(1, stride, name=f"{name}.downsample")(x)
    return ReLU(name=f"{name}.relu")(Add(name=f"{name}.add")(y, x))


def _resnet(classes: int, shape: Shape, units: tuple[int, ...], wide: bool, late: bool = False) -> Graph:
    """late: a stage halves the picture in its last unit, as in TF-Slim, instead of in its first; then the last stage does not."""
    inputs = Input(shape)
    x = ReLU(name="relu")(_normal(inputs, 64, 7, 2, "conv1", "bn1"))
    x = MaxPool(3, 2, padding="same" if late else 1, name="maxpool")(x)
    channels = 64
    for stage, count in enumerate(units):
        features = 64 << stage
        for i in range(count):
            halves = (i == count - 1 and stage < len(units) - 1) if late else (i == 0 and stage > 0)
            x = _unit(x, channels, features, 2 if halves else 1, f"layer{stage + 1}.{i}", wide)
            channels = features * 4 if wide else features
    return Graph(inputs, Dense(classes, name="fc")(GlobalPool(name="avgpool")(x)), preprocessing=IMAGENET)


def resnet18(classes: int, shape: Shape) -> Graph:
    """ResNet-18."""
    return _resnet(classes, shape, (2, 2, 2, 2), wide=False)


def resnet50(classes: int, shape: Shape) -> Graph:
    """ResNet-50."""
    return _resnet(classes, shape, (3, 4, 6, 3), wide=True)


def resnet50_slim(classes: int, shape: Shape) -> Graph:
    """ResNet-50 as TF-Slim has it, where stages halve the picture at their end."""
    return _resnet(classes, shape, (3, 4, 6, 3), wide=True, late=True)
