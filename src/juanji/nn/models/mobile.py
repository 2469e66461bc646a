"""Networks of inverted residuals: wide between two thin 1×1 convolutions, with a filter of its own for every channel in the middle.

MobileNetV2 (Sandler et al. 2018) with torchvision's names of layers, EfficientNet-Lite0 (Tan & Le 2019) with those of its PyTorch port.
"""

from __future__ import annotations

from juanji.nn.activations import ReLU6
from juanji.nn.graph import Graph
from juanji.nn.joins import Add
from juanji.nn.layers import Conv, Dense
from juanji.nn.nodes import Input
from juanji.nn.norms import BatchNorm, Dropout
from juanji.nn.operator import Shape, Symbol
from juanji.nn.pools import GlobalPool
from juanji.nn.preprocessing import IMAGENET, Preprocessing

# times wider, features, repeats, stride
MOBILENET = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
# size, times wider, features, repeats, stride
LITE0 = ((3, 1, 16, 1, 1), (3, 6, 24, 2, 2), (5, 6, 40, 2, 2), (3, 6, 80, 3, 2), (5, 6, 112, 3, 1), (5, 6, 192, 4, 2), (3, 6, 320, 1, 1))


def mobilenet(classes: int, shape: Shape) -> Graph:
    """MobileNetV2."""

    def normal(x: Symbol, features: int, size: int, stride: int, groups: int | str, conv: str, norm: str) -> Symbol:
        return BatchNorm(name=norm)(Conv(features, size, stride, (size - 1) // 2, groups=groups, bias=None, name=conv)(x))

    inputs = Input(shape)
    x = ReLU6(name="features.0.2")(normal(inputs, 32, 3, 2, 1, "features.0.0", "features.0.1"))
    channels, number = 32, 1
    for times, features, repeats, first in MOBILENET:
        for i in range(repeats):
            y, stride, at = x, first if i == 0 else 1, f"features.{number}.conv"
            if times > 1:
                y = ReLU6(name=f"{at}.0.2")(normal(y, channels * times, 1, 1, 1, f"{at}.0.0", f"{at}.0.1"))
            k = int(times > 1)
            y = ReLU6(name=f"{at}.{k}.2")(normal(y, channels * times, 3, stride, "each", f"{at}.{k}.0", f"{at}.{k}.1"))
            y = normal(y, features, 1, 1, 1, f"{at}.{k + 1}", f"{at}.{k + 2}")
            x = Add(name=f"features.{number}.add")(x, y) if stride == 1 and channels == features else y
            channels, number = features, number + 1
    x = ReLU6(name=f"features.{number}.2")(normal(x, 1280, 1, 1, 1, f"features.{number}.0", f"features.{number}.1"))
    x = Dropout(0.2, name="classifier.0")(GlobalPool(name="pool")(x))
    return Graph(inputs, Dense(classes, name="classifier.1")(x), preprocessing=IMAGENET)


def efficientnet_lite0(classes: int, shape: Shape) -> Graph:
    """EfficientNet-Lite0: TensorFlow's padding, batch normalisation with epsilon 1e−3."""

    def normal(x: Symbol, features: int, size: int, stride: int, groups: int | str, conv: str, norm: str) -> Symbol:
        x = Conv(features, size, stride, "same", groups=groups, bias=None, name=conv)(x)
        return BatchNorm(momentum=0.01, epsilon=1e-3, name=norm)(x)

    inputs = Input(shape)
    x = ReLU6(name="relu_stem")(normal(inputs, 32, 3, 2, 1, "conv_stem", "bn0"))
    channels, number = 32, 0
    for size, times, features, repeats, first in LITE0:
        for i in range(repeats):
            y, stride, at = x, first if i == 0 else 1, f"blocks.{number}"
            if times > 1:
                y = ReLU6(name=f"{at}.relu0")(normal(y, channels * times, 1, 1, 1, f"{at}.expand_conv", f"{at}.bn0"))
            y = ReLU6(name=f"{at}.relu1")(normal(y, channels * times, size, stride, "each", f"{at}.depthwise_conv", f"{at}.bn1"))
            y = normal(y, features, 1, 1, 1, f"{at}.project_conv", f"{at}.bn2")
            x = Add(name=f"{at}.add")(x, y) if stride == 1 and channels == features else y
            channels, number = features, number + 1
    x = ReLU6(name="relu_head")(normal(x, 1280, 1, 1, 1, "conv_head", "bn1"))
    x = Dropout(0.2, name="dropout")(GlobalPool(name="pool")(x))
    return Graph(inputs, Dense(classes, name="fc")(x), preprocessing=Preprocessing(127.0, 128.0, (224, 224), 0.875))
