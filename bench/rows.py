"""The table of named problems: data, not code. Every report, test and picture of the bench walks over `ROWS`."""

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.describe import describe
from juanji.spec import Convolution

Array = npt.NDArray[Any]

FIRST, LAST = "channels_first", "channels_last"
BOTH = (FIRST, LAST)


@dataclass(frozen=True)
class Row:
    """One problem.

    kind "conv": `x_shape` is batched and, like `w_shape`, in the row's layout.
    kind "picture": `x_shape` is (height, width), `w_shape` the kernel's; the result has the picture's size and dtype.
    """

    name: str
    group: str
    kind: str
    x_shape: tuple[int, ...]
    w_shape: tuple[int, ...]
    dtype: str = "float32"
    layout: str = FIRST
    stride: int | tuple[int, ...] = 1
    padding: int | tuple[int, ...] | str = 0
    dilation: int = 1
    groups: int = 1
    boundary: str = "zero"

    def describe(self) -> Convolution:
        """The row as the package describes it: shapes, multiply-adds, bytes."""
        if self.kind == "picture":
            return describe(
                (1, 1, *self.x_shape),
                (1, 1, *self.w_shape),
                dtype=self.dtype,
                w_dtype=self.w_dtype,
                out_dtype=self.dtype,
                padding="same",
                boundary=self.boundary,
            )
        return describe(self.x_shape, self.w_shape, dtype=self.dtype, **self.arguments)

    @property
    def arguments(self) -> dict[str, Any]:
        """What `juanji.planner` takes besides the shapes and the dtype."""
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
            "boundary": self.boundary,
            "layout": self.layout,
        }

    @property
    def w_dtype(self) -> str:
        """The dtype of the weights: pictures of bytes have float32 kernels."""
        return "float32" if self.dtype == "uint8" else self.dtype

    def arrays(self) -> tuple[Array, Array]:
        """Input and weights, the same in every run. A kernel for bytes averages, so that no pixel saturates."""
        draw = np.random.default_rng(zlib.crc32(self.name.encode()))
        if self.dtype == "uint8":
            w = draw.random(self.w_shape)
            return draw.integers(0, 256, self.x_shape, dtype=np.uint8), (w / w.sum()).astype(np.float32)
        x = draw.standard_normal(self.x_shape, dtype=np.float32).astype(self.dtype, copy=False)
        return x, draw.standard_normal(self.w_shape).astype(self.dtype)


def _picture(height: int, width: int, kernel: int, dtype: str, group: str) -> Row:
    name = f"{width}x{height} {kernel}x{kernel} {dtype}"
    return Row(name, group, "picture", (height, width), (kernel, kernel), dtype, padding="same", boundary="reflect")


def _conv(
    group: str,
    channels: int,
    size: Sequence[int],
    features: int,
    kernel: Sequence[int],
    *,
    batch: int = 1,
    layouts: Sequence[str] = (FIRST,),
    dtype: str = "float32",
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] | str | None = None,
    dilation: int = 1,
    groups: int = 1,
    boundary: str = "zero",
) -> Iterator[Row]:
    """The problem in each layout, padded by half the kernel unless told otherwise. Equal names are equal problems."""
    if padding is None:
        padding = tuple(dilation * (k - 1) // 2 for k in kernel)
    notes = [_by((batch, channels, *size)), str(features), _by(kernel)]
    notes += [f"/{stride if isinstance(stride, int) else _by(stride)}"] if stride != 1 else []
    notes += [f"d{dilation}"] if dilation > 1 else []
    notes += [f"g{groups}"] if 1 < groups < channels else ["depthwise"] if groups > 1 else []
    notes += [padding] if isinstance(padding, str) else []
    notes += [boundary] if boundary != "zero" else []
    notes += [dtype] if dtype != "float32" else []
    for layout in layouts:
        if layout == FIRST:
            x, w = (batch, channels, *size), (features, channels // groups, *kernel)
        else:
            x, w = (batch, *size, channels), (*kernel, channels // groups, features)
        name = " ".join([*notes, "last"] if layout == LAST else notes)
        yield Row(name, group, "conv", x, w, dtype, layout, stride, padding, dilation, groups, boundary)


def _square(
    group: str, channels: int, size: int, features: int, kernel: int, stride: int = 1, layouts: Sequence[str] = (FIRST,), **more: Any
) -> Iterator[Row]:
    return _conv(group, channels, (size, size), features, (kernel, kernel), stride=stride, layouts=layouts, **more)


def _by(numbers: Sequence[int]) -> str:
    return "x".join(map(str, numbers))


# (channels, size, features, kernel, stride)
DENSE = [(64, 56, 64, 3, 1), (512, 7, 512, 3, 1), (256, 14, 256, 3, 1), (256, 56, 64, 1, 1)]
RESNET50 = [
    *[(3, 224, 64, 7, 2), (64, 56, 64, 1, 1), (64, 56, 64, 3, 1), (64, 56, 256, 1, 1), (256, 56, 64, 1, 1)],
    *[(256, 56, 128, 1, 1), (128, 56, 128, 3, 2), (256, 56, 512, 1, 2)],
    *[(128, 28, 512, 1, 1), (512, 28, 128, 1, 1), (128, 28, 128, 3, 1)],
    *[(512, 28, 256, 1, 1), (256, 28, 256, 3, 2), (512, 28, 1024, 1, 2)],
    *[(256, 14, 1024, 1, 1), (1024, 14, 256, 1, 1), (256, 14, 256, 3, 1)],
    *[(1024, 14, 512, 1, 1), (512, 14, 512, 3, 2), (1024, 14, 2048, 1, 2)],
    *[(512, 7, 2048, 1, 1), (2048, 7, 512, 1, 1), (512, 7, 512, 3, 1)],
]
VGG16 = [
    *[(3, 224, 64, 3, 1), (64, 224, 64, 3, 1), (64, 112, 128, 3, 1), (128, 112, 128, 3, 1), (128, 56, 256, 3, 1)],
    *[(256, 56, 256, 3, 1), (256, 28, 512, 3, 1), (512, 28, 512, 3, 1), (512, 14, 512, 3, 1)],
]
# MobileNet: (channels, size, kernel, stride)
DEPTHWISE = [
    *[(32, 112, 3, 1), (64, 112, 3, 2), (128, 56, 3, 1), (128, 56, 3, 2), (256, 28, 3, 1), (256, 28, 3, 2), (512, 14, 3, 1)],
    *[(512, 14, 3, 2), (1024, 7, 3, 1), (72, 56, 5, 2), (120, 28, 5, 1), (672, 14, 5, 1)],
]
RGB = [(32, 3, 1), (32, 3, 2), (32, 5, 1), (64, 5, 1), (32, 7, 1), (64, 7, 1)]  # (features, kernel, stride) of 3×224×224
KERNELS = (3, 5, 7, 11, 15)


def _table() -> Iterator[Row]:
    for channels, size, features, kernel, stride in DENSE:
        yield from _square("dense, batch 8", channels, size, features, kernel, stride, BOTH, batch=8)
    for dtype in ("float32", "uint8"):
        for kernel in KERNELS:
            yield _picture(2160, 3840, kernel, dtype, f"pictures {dtype}")
    for group, network in (("ResNet-50", RESNET50), ("VGG-16", VGG16)):
        for channels, size, features, kernel, stride in network:
            yield from _square(group, channels, size, features, kernel, stride, BOTH)
    for channels, size, kernel, stride in DEPTHWISE:
        yield from _square("depthwise", channels, size, channels, kernel, stride, BOTH, groups=channels)
    yield from _few_channels()
    yield from _single_channel()
    yield from _float64()
    yield from _signals()
    yield from _volumes()
    yield from _other_weak_cases()


def _few_channels() -> Iterator[Row]:
    group = "few channels"
    yield from _square(group, 3, 224, 64, 3, 1, BOTH, batch=2)
    yield from _square(group, 3, 224, 64, 7, 2, BOTH, batch=8)
    for features, kernel, stride in RGB:
        yield from _square(group, 3, 224, features, kernel, stride)
    yield from _square(group, 3, 227, 96, 11, 4, padding=0)  # AlexNet
    yield from _square(group, 4, 256, 8, 3, 1, BOTH)


def _single_channel() -> Iterator[Row]:
    group = "one channel"
    for features, kernel in ((8, 3), (16, 5), (32, 7), (64, 3)):
        yield from _square(group, 1, 224, features, kernel)
    yield from _square(group, 1, 28, 6, 5, batch=64)  # LeNet on digits
    for kernel in (3, 5, 7, 11):
        yield from _conv(group, 1, (1080, 1920), 1, (kernel, kernel))
    yield from _conv(group, 1, (1080, 1920), 1, (3, 3), stride=2)


def _float64() -> Iterator[Row]:
    group = "float64"
    for channels, size, features, kernel, stride in DENSE:
        yield from _square(group, channels, size, features, kernel, stride, BOTH, dtype="float64")
    yield from _square(group, 3, 224, 64, 7, 2, dtype="float64")
    yield from _square(group, 128, 56, 128, 3, groups=128, dtype="float64")
    for kernel in (3, 5, 7):
        yield _picture(1080, 1920, kernel, "float64", group)


def _signals() -> Iterator[Row]:
    group = "1-D"
    for taps in (3, 16, 64, 256):
        yield from _conv(group, 1, (2**20,), 1, (taps,), padding="valid")
    yield from _conv(group, 1, (160_000,), 512, (10,), stride=5, padding="valid")  # the first layer of wav2vec
    yield from _conv(group, 64, (4096,), 64, (3,), layouts=BOTH)
    yield from _conv(group, 128, (1024,), 128, (5,), batch=8, layouts=BOTH)
    yield from _conv(group, 256, (2048,), 256, (3,), dilation=4, padding="causal")
    yield from _conv(group, 300, (1000,), 100, (3,), padding="valid", layouts=BOTH)  # words
    yield from _conv(group, 512, (2048,), 512, (31,), groups=512, layouts=BOTH)  # speech


def _volumes() -> Iterator[Row]:
    group = "3-D"
    yield from _conv(group, 16, (32, 56, 56), 16, (3, 3, 3), layouts=BOTH)
    yield from _conv(group, 64, (8, 28, 28), 64, (3, 3, 3), layouts=BOTH)
    yield from _conv(group, 3, (16, 112, 112), 64, (3, 7, 7), stride=(1, 2, 2))  # the first layer of R3D
    yield from _conv(group, 64, (8, 28, 28), 64, (3, 3, 3), groups=64, layouts=BOTH)
    for kernel in (3, 5):
        yield from _conv(group, 1, (96, 128, 128), 1, (kernel,) * 3)


def _other_weak_cases() -> Iterator[Row]:
    group = "dilated, grouped, edges"
    yield from _square(group, 64, 56, 64, 3, layouts=BOTH, dilation=2)
    yield from _square(group, 512, 28, 512, 3, dilation=4)
    for dilation in (6, 12):
        yield from _square(group, 256, 32, 256, 3, dilation=dilation)  # DeepLab's pyramid
    for channels, size in ((128, 56), (256, 28), (512, 14), (1024, 7)):
        yield from _square(group, channels, size, channels, 3, layouts=BOTH, groups=32)  # ResNeXt-50
    yield from _square(group, 96, 27, 256, 5, groups=2)  # AlexNet
    yield from _square(group, 240, 28, 240, 1, layouts=BOTH, groups=3)  # ShuffleNet
    for boundary in ("reflect", "edge", "wrap"):
        yield from _square(group, 64, 56, 64, 3, layouts=BOTH, boundary=boundary)
    yield from _square(group, 3, 256, 32, 7, boundary="reflect")  # style transfer


ROWS: tuple[Row, ...] = tuple(_table())
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(row.group for row in ROWS))


def select(only: Sequence[str] = ()) -> list[Row]:
    """The rows that one of the words names: a row's whole name, or a part of its group or name in any case. No words: all rows.

    >>> [row.name for row in select(["one CHANNEL"])][0]
    '1x1x224x224 8 3x3'
    """
    names = {row.name for row in ROWS}
    return [row for row in ROWS if not only or any(_named(row, word, whole=word in names) for word in only)]


def _named(row: Row, word: str, whole: bool) -> bool:
    if whole:
        return row.name == word
    return word.lower() in row.name.lower() or word.lower() in row.group.lower()


def terms(spec: Convolution) -> int:
    """How many products each output sums."""
    return spec.macs // math.prod(spec.y_shape)
