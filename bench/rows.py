"""The table of named problems: data, not code. Every report, test and picture of the bench walks over `ROWS`."""

from collections.abc import Iterator, Sequence
from typing import Any

from bench.problems import FIRST, LAST, AnyRow, Padding, PerAxis, PoolRow, Row

BOTH = (FIRST, LAST)


def _picture(height: int, width: int, kernel: int, dtype: str, group: str) -> Row:
    name = f"{width}x{height} {kernel}x{kernel} {dtype}"
    return Row(name, group, "picture", (height, width), (kernel, kernel), dtype, padding="same", boundary="reflect")


def _filter(shape: Sequence[int], size: int, filter: str, dtype: str, group: str) -> Row:
    """A picture or volume through a kernel that is known when it is planned."""
    name = f"{_by(tuple(reversed(shape)))} {filter} {_by((size,) * len(shape))} {dtype}"
    return Row(name, group, "picture", tuple(shape), (size,) * len(shape), dtype, padding="same", boundary="reflect", filter=filter)


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
    stride: PerAxis = 1,
    padding: Padding | None = None,
    dilation: int = 1,
    groups: int = 1,
    boundary: str = "zero",
    product: str = "y",
    out_dtype: str | None = None,
    algorithm: str = "auto",
) -> Iterator[Row]:
    """The problem in each layout, padded by half the kernel unless told otherwise. Equal names are equal problems."""
    if padding is None:
        padding = tuple(dilation * (k - 1) // 2 for k in kernel)
    notes = [_by((batch, channels, *size)), str(features), _by(kernel), *_stride(stride)]
    notes += [f"d{dilation}"] if dilation > 1 else []
    notes += [f"g{groups}"] if 1 < groups < channels else ["depthwise"] if groups > 1 else []
    notes += [padding] if isinstance(padding, str) else []
    notes += [boundary] if boundary != "zero" else []
    notes += [dtype] if dtype != "float32" else []
    notes += [f"d{product}"] if product != "y" else []
    notes += [algorithm] if algorithm != "auto" else []
    for layout in layouts:
        if layout == FIRST:
            x, w = (batch, channels, *size), (features, channels // groups, *kernel)
        else:
            x, w = (batch, *size, channels), (*kernel, channels // groups, features)
        options: dict[str, Any] = {"product": product, "out_dtype": out_dtype, "algorithm": algorithm}
        yield Row(_name(notes, layout), group, "conv", x, w, dtype, layout, stride, padding, dilation, groups, boundary, **options)


def _square(
    group: str, channels: int, size: int, features: int, kernel: int, stride: int = 1, layouts: Sequence[str] = (FIRST,), **more: Any
) -> Iterator[Row]:
    return _conv(group, channels, (size, size), features, (kernel, kernel), stride=stride, layouts=layouts, **more)


def _transposed(
    channels: int,
    size: Sequence[int],
    features: int,
    kernel: Sequence[int],
    stride: int,
    padding: int = 0,
    *,
    batch: int = 1,
    output_padding: int = 0,
    layouts: Sequence[str] = BOTH,
) -> Iterator[Row]:
    notes = [_by((batch, channels, *size)), str(features), _by(kernel), *_stride(stride), "transposed"]
    for layout in layouts:
        if layout == FIRST:
            x, w = (batch, channels, *size), (channels, features, *kernel)
        else:
            x, w = (batch, *size, channels), (*kernel, features, channels)
        options: dict[str, Any] = {"stride": stride, "padding": padding, "output_padding": output_padding, "product": "x"}
        yield Row(_name(notes, layout), "transposed", "transposed", x, w, layout=layout, **options)


def _sited(
    sites: Sequence[int] | None,
    channels: int,
    size: Sequence[int],
    features: int,
    kernel: Sequence[int],
    *,
    batch: int,
    stride: int = 1,
    padding: int = 0,
    layouts: Sequence[str] = (FIRST,),
) -> Iterator[Row]:
    """All three products with tiled weights, or with locally connected ones if `sites` is None."""
    output = [(length + 2 * padding - k) // stride + 1 for length, k in zip(size, kernel, strict=True)]
    what, sharing, grid = ("tiled", "tiled", sites) if sites else ("locally connected", "local", output)
    group = f"{what}, batch {'1' if batch == 1 else '8 and more'}"
    notes = [_by((batch, channels, *size)), str(features), _by(kernel), *_stride(stride), f"tiled {_by(sites)}" if sites else "local"]
    for product in "yxw":
        more = [f"d{product}"] if product != "y" else []
        for layout in layouts:
            if layout == FIRST:
                x, w = (batch, channels, *size), (*grid, features, channels, *kernel)
            else:
                x, w = (batch, *size, channels), (*grid, *kernel, channels, features)
            options: dict[str, Any] = {"stride": stride, "padding": padding, "product": product, "sharing": sharing}
            yield Row(_name([*notes, *more], layout), group, "conv", x, w, layout=layout, **options)


def _pool(
    op: str,
    channels: int,
    size: Sequence[int],
    window: int,
    stride: int | None = None,
    padding: int = 0,
    *,
    batch: int = 1,
    adaptive: bool = False,
    layouts: Sequence[str] = BOTH,
) -> Iterator[PoolRow]:
    """Pooling, forward and backward; with `adaptive` to `window` outputs per axis."""
    goal = [f"{op} to {window}"] if adaptive else [f"{op} {_by([window] * len(size))}", *_stride(window if stride is None else stride)]
    for product, group in (("y", "pooling"), ("x", "pooling, backward")):
        notes = [_by((batch, channels, *size)), *goal, *(["dx"] if product == "x" else [])]
        for layout in layouts:
            x = (batch, channels, *size) if layout == FIRST else (batch, *size, channels)
            yield PoolRow(_name(notes, layout), group, op, x, window, layout, stride, padding, product, adaptive)


def _name(notes: Sequence[str], layout: str) -> str:
    return " ".join([*notes, "last"] if layout == LAST else notes)


def _stride(stride: PerAxis) -> list[str]:
    return [] if stride == 1 else [f"/{stride if isinstance(stride, int) else _by(stride)}"]


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
# (channels, size, features, kernel, stride) of layers that stand for their networks
TRAINED = [(64, 224, 64, 3, 1), (128, 112, 128, 3, 1), (256, 56, 256, 3, 1), (512, 28, 512, 3, 1), (512, 14, 512, 3, 1)]  # VGG-16
RGB = [(32, 3, 1), (32, 3, 2), (32, 5, 1), (64, 5, 1), (32, 7, 1), (64, 7, 1)]  # (features, kernel, stride) of 3×224×224
KERNELS = (3, 5, 7, 9)
LARGE_KERNELS = (11, 15, 21, 31, 45, 61)


def _table() -> Iterator[AnyRow]:
    for channels, size, features, kernel, stride in DENSE:
        yield from _square("dense, batch 8", channels, size, features, kernel, stride, BOTH, batch=8)
    for dtype in ("float32", "uint8"):
        for kernel in KERNELS:
            yield _picture(2160, 3840, kernel, dtype, f"pictures {dtype}")
        for filter, size in (("gaussian", 5), ("gaussian", 9), ("box", 5), ("box", 9), ("sobel", 3)):
            yield _filter((2160, 3840), size, filter, dtype, f"pictures {dtype}")
        for filter, size in (("gaussian", 15), ("gaussian", 31), ("gaussian", 61), ("box", 31), ("box", 151)):
            yield _filter((2160, 3840), size, filter, dtype, "pictures, separable")
    for filter, size in (("gaussian", 9), ("gaussian", 25), ("box", 9)):
        yield _filter((128, 256, 256), size, filter, "float32", "volumes, separable")
    for kernel in LARGE_KERNELS:
        yield _picture(2160, 3840, kernel, "float32", "pictures, large kernels")
    for kernel in (11, 31):
        yield _picture(2160, 3840, kernel, "uint8", "pictures, large kernels")
    for group, network in (("ResNet-50", RESNET50), ("VGG-16", VGG16)):
        for channels, size, features, kernel, stride in network:
            yield from _square(group, channels, size, features, kernel, stride, BOTH)
    yield from _neighbours()
    for channels, size, kernel, stride in DEPTHWISE:
        yield from _square("depthwise", channels, size, channels, kernel, stride, BOTH, groups=channels)
    yield from _few_channels()
    yield from _single_channel()
    yield from _float64()
    yield from _signals()
    for length, taps in ((2**20, 512), (2**20, 1000), (2**20, 4001), (2**20, 20001), (2**16, 333), (2**13, 1025)):
        yield from _conv("signals, long kernels", 1, (length,), 1, (taps,), padding="valid")
    yield from _volumes()
    yield from _other_weak_cases()
    yield from _integers()
    yield from _half_floats()
    yield from _matrix_unit()
    yield from _large_kernels()
    yield from _weak_cases()
    yield from _gradients("gradient of input", "x")
    yield from _gradients("gradient of weights", "w")
    yield from _upsampling()
    yield from _local()
    yield from _tiled()
    yield from _pooling()


def _neighbours() -> Iterator[Row]:
    """The layers of both networks that Winograd's algorithm computes, by the direct sum as well."""
    for algorithm in ("direct", "winograd"):
        for channels, size, features, kernel, stride in (*RESNET50, *VGG16):
            if (kernel, stride) == (3, 1) and channels > 3:
                for batch in (1, 8):
                    group = f"3x3, {algorithm}"
                    yield from _square(group, channels, size, features, kernel, stride, BOTH, batch=batch, algorithm=algorithm)


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


def _integers() -> Iterator[Row]:
    """Narrow ones are summed in int32, which holds every sum of these rows."""
    group = "integers"
    for dtype in ("int8", "int16", "int32", "int64"):
        out = "int64" if dtype == "int64" else "int32"
        yield from _square(group, 64, 56, 64, 3, 1, BOTH, dtype=dtype, out_dtype=out)
    for dtype in ("int8", "int32"):
        yield from _square(group, 256, 14, 256, 3, dtype=dtype, out_dtype="int32")
        yield from _square(group, 128, 56, 128, 3, 1, BOTH, groups=128, dtype=dtype, out_dtype="int32")
        yield from _conv(group, 1, (1080, 1920), 1, (5, 5), dtype=dtype, out_dtype="int32")
    yield from _conv(group, 1, (2**18,), 1, (16,), padding="valid", dtype="int64", out_dtype="int64")


def _half_floats() -> Iterator[Row]:
    for dtype in ("float16", "bfloat16"):
        group = dtype  # torch is slow with the one, and has the matrix unit for the other
        yield from _square(group, 64, 56, 64, 3, 1, BOTH, dtype=dtype)
        yield from _square(group, 256, 14, 256, 3, dtype=dtype)
        yield from _square(group, 256, 56, 64, 1, 1, BOTH, dtype=dtype)
        yield from _square(group, 3, 224, 64, 7, 2, dtype=dtype)
        yield from _square(group, 128, 56, 128, 3, 1, BOTH, groups=128, dtype=dtype)


def _matrix_unit() -> Iterator[Row]:
    """More layers of ResNet-50 in bfloat16; those of both networks that Winograd's algorithm does not compute, by the unit in float32."""
    for channels, size, features, kernel, stride in RESNET50:
        if (channels, size) in ((128, 28), (512, 28), (1024, 14), (512, 7), (2048, 7), (128, 56)):
            yield from _square("bfloat16, ResNet-50", channels, size, features, kernel, stride, BOTH, dtype="bfloat16")
    for channels, size, features, kernel, stride in RESNET50:
        if (kernel, stride) != (3, 1) or size == 7:
            yield from _square("float32, matrix unit", channels, size, features, kernel, stride, BOTH, algorithm="matrix")


def _large_kernels() -> Iterator[Row]:
    group = "large kernels"
    for channels, size in ((96, 56), (192, 28), (384, 14), (768, 7)):  # ConvNeXt-T
        yield from _square(group, channels, size, channels, 7, 1, BOTH, groups=channels)
    yield from _square(group, 128, 56, 128, 31, 1, BOTH, groups=128)  # RepLKNet
    yield from _square(group, 512, 14, 512, 27, 1, BOTH, groups=512)
    yield from _square(group, 16, 56, 16, 13, 1, BOTH)
    yield from _square(group, 32, 28, 32, 17)
    yield from _square(group, 64, 56, 64, 31)
    yield from _conv(group, 1, (96, 128, 128), 1, (15, 15, 15))


def _weak_cases() -> Iterator[Row]:
    group = "weak cases"
    yield from _square(group, 32, 56, 32, 3, 1, BOTH, dtype="complex64")
    yield from _conv(group, 1, (2**16,), 1, (64,), padding="valid", dtype="complex64")
    for boundary in ("reflect", "edge", "wrap"):
        yield from _square(group, 32, 112, 32, 5, 1, BOTH, boundary=boundary)
    yield from _conv(group, 64, (4096,), 64, (9,), boundary="reflect", layouts=BOTH)
    yield from _conv(group, 16, (32, 32, 32), 16, (3, 3, 3), boundary="wrap")
    for channels, size in ((32, 112), (64, 56)):
        yield from _square(group, channels, size, channels, 3, 2, BOTH, padding="same")  # TensorFlow's: a column more on one side
    yield from _square(group, 64, 57, 64, 3, padding=((2, 0), (2, 0)))  # PixelCNN's shift
    for kernel in ((1, 7), (7, 1)):
        yield from _conv(group, 128, (17, 17), 128, kernel, layouts=BOTH)  # Inception
    yield from _square(group, 17, 31, 19, 3, 1, BOTH)
    yield from _square(group, 256, 64, 1, 1, 1, BOTH)  # a mask's head
    yield from _conv(group, 12, (16, 16, 16), 12, (3, 3, 3), dtype="float64")
    yield from _conv(group, 16, (8, 8), 16, (3, 3), layouts=BOTH)  # small calls, where the way there counts
    yield from _conv(group, 1, (32, 32), 4, (3, 3))
    yield from _conv(group, 4, (128,), 4, (3,))


def _gradients(group: str, product: str) -> Iterator[Row]:
    for network in (RESNET50, TRAINED):
        for channels, size, features, kernel, stride in network:
            yield from _square(group, channels, size, features, kernel, stride, BOTH, product=product)
    for channels, size, features, kernel, stride in DENSE:
        yield from _square(group, channels, size, features, kernel, stride, BOTH, batch=8, product=product)
    for channels, size, kernel, stride in ((32, 112, 3, 1), (128, 56, 3, 2), (512, 14, 3, 1)):
        yield from _square(group, channels, size, channels, kernel, stride, BOTH, groups=channels, product=product)
    yield from _square(group, 128, 56, 128, 3, layouts=BOTH, groups=32, product=product)
    yield from _square(group, 64, 56, 64, 3, dilation=2, product=product)
    yield from _square(group, 64, 56, 64, 3, 1, BOTH, dtype="float64", product=product)
    yield from _conv(group, 64, (4096,), 64, (3,), layouts=BOTH, product=product)
    yield from _conv(group, 128, (1024,), 128, (5,), batch=8, product=product)
    yield from _conv(group, 16, (32, 56, 56), 16, (3, 3, 3), layouts=BOTH, product=product)
    yield from _square(group, 1, 28, 6, 5, batch=64, product=product)  # LeNet on digits


def _upsampling() -> Iterator[Row]:
    for channels, size, features in ((512, 4, 256), (256, 8, 128), (128, 16, 64), (64, 32, 3)):
        yield from _transposed(channels, (size, size), features, (4, 4), 2, 1, batch=8)  # DCGAN
    for channels, size, features in ((1024, 28, 512), (512, 56, 256), (128, 112, 64)):
        yield from _transposed(channels, (size, size), features, (2, 2), 2)  # U-Net
    yield from _transposed(64, (56, 56), 64, (3, 3), 2, 1, output_padding=1)
    yield from _transposed(56, (64, 64), 1, (9, 9), 4, 4, output_padding=3)  # super-resolution
    yield from _transposed(256, (14, 14), 256, (3, 3), 1, 1)
    for channels, length, features, kernel, stride in ((512, 100, 256, 16, 8), (256, 800, 128, 16, 8), (64, 12800, 32, 4, 2)):
        yield from _transposed(channels, (length,), features, (kernel,), stride, (kernel - stride) // 2)  # HiFi-GAN
    yield from _transposed(64, (16, 16, 16), 32, (2, 2, 2), 2)  # V-Net


def _local() -> Iterator[Row]:
    for batch in (1, 8):
        yield from _sited(None, 16, (56, 56), 16, (3, 3), batch=batch, padding=1, layouts=BOTH)
        yield from _sited(None, 16, (55, 55), 16, (7, 7), batch=batch, stride=2)  # DeepFace
        yield from _sited(None, 3, (32, 32), 16, (5, 5), batch=batch, layouts=BOTH)
        yield from _sited(None, 1, (256, 256), 1, (3, 3), batch=batch, padding=1)
        yield from _sited(None, 32, (512,), 32, (3,), batch=batch, layouts=BOTH)
    yield from _sited(None, 64, (8, 8), 64, (3, 3), batch=32, padding=1, layouts=BOTH)


def _tiled() -> Iterator[Row]:
    for batch in (1, 8):
        yield from _sited((2, 2), 64, (56, 56), 64, (3, 3), batch=batch, padding=1, layouts=BOTH)
        yield from _sited((4, 4), 16, (64, 64), 16, (3, 3), batch=batch, padding=1)
        yield from _sited((3,), 64, (1024 - 1,), 64, (3,), batch=batch, padding=1)


def _pooling() -> Iterator[PoolRow]:
    for channels, size in ((64, 224), (256, 56), (512, 14)):  # VGG-16
        yield from _pool("max", channels, (size, size), 2)
    yield from _pool("max", 64, (112, 112), 3, 2, 1)  # ResNet
    yield from _pool("max", 64, (112, 112), 3, 2, 1, batch=8)
    yield from _pool("max", 480, (14, 14), 3, 1, 1)  # GoogLeNet
    yield from _pool("max", 512, (13, 13), 5, 1, 2)  # the pyramid of YOLO
    yield from _pool("avg", 256, (56, 56), 2)  # DenseNet
    yield from _pool("avg", 192, (35, 35), 3, 1, 1)  # Inception
    yield from _pool("lp", 64, (112, 112), 2)
    yield from _pool("lp", 64, (112, 112), 3, 2)
    for channels, size in ((2048, 7), (512, 28)):
        yield from _pool("avg", channels, (size, size), 1, adaptive=True)
    yield from _pool("avg", 512, (28, 28), 6, adaptive=True)
    yield from _pool("max", 256, (13, 13), 4, adaptive=True)
    yield from _pool("max", 64, (16384,), 4, layouts=(FIRST,))
    yield from _pool("max", 32, (16, 56, 56), 2, layouts=(FIRST,))


ROWS: tuple[AnyRow, ...] = tuple(_table())
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(row.group for row in ROWS))


def select(only: Sequence[str] = (), table: Sequence[AnyRow] = ROWS) -> list[AnyRow]:
    """The rows of a table that one of the words names: a row's whole name, or a part of its group or name in any case. No words: all rows.

    >>> [row.name for row in select(["one CHANNEL"])][0]
    '1x1x224x224 8 3x3'
    """
    names = {row.name for row in table}
    return [row for row in table if not only or any(_named(row, word, whole=word in names) for word in only)]


def _named(row: AnyRow, word: str, whole: bool) -> bool:
    if whole:
        return row.name == word
    return word.lower() in row.name.lower() or word.lower() in row.group.lower()
