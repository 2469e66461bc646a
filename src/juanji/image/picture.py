"""What the axes of an array of pixels mean, and how numbers become pixels.

A picture is H×W (grey) or has a channel axis. A convolution sees it as

    H×W                       one channel, two spatial axes
    …×H×W×C, C last           one channel, *three* spatial axes H, W, C, the kernel of size 1 along the third: interleaved channels
                              are then one long row, and nothing is copied or shuffled
    C elsewhere, stacks       every plane is a picture of a batch
    colours to be added up    C channels in, one out
"""

import operator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from juanji.describe import array_of, parse_dtype
from juanji.errors import ArgumentError, DtypeError, ShapeError

Array = npt.NDArray[Any]

PIXELS = ("uint8", "uint16", "float32", "float64")
_PIXELS = frozenset(map(np.dtype, (*PIXELS, "bool")))  # NumPy takes a microsecond to spell a type's name


class Picture(NamedTuple):
    """An array with what its axes mean. `channels` is the channel axis, counted from 0, or None."""

    pixels: Array
    channels: int | None

    @property
    def last(self) -> bool:
        """Whether the channels are interleaved."""
        return self.channels is not None and self.channels == self.pixels.ndim - 1

    @property
    def alpha(self) -> bool:
        """Whether the last channel is alpha: of two or four interleaved ones it is."""
        return self.last and self.pixels.shape[-1] in (2, 4)

    def planes(self) -> Array:
        """The picture as one input channel: (batch, 1, H, W), or (batch, 1, H, W, C) where the channels are interleaved."""
        if self.last:
            return self.pixels.reshape(-1, 1, *self.pixels.shape[-3:])
        first = self.pixels if self.channels is None else np.moveaxis(self.pixels, self.channels, 0)
        return first.reshape(-1, 1, *first.shape[-2:])

    def colours(self) -> Array:
        """The picture without alpha, channels last: (batch, H, W, C)."""
        assert self.channels is not None
        last = np.moveaxis(self.pixels, self.channels, -1)
        if self.alpha:
            last = last[..., :-1]
        return last.reshape(-1, *last.shape[-3:])

    def restore(self, y: Array, summed: bool, stride: tuple[int, int]) -> Array:
        """The convolution's output in the picture's own arrangement of axes, with its alpha."""
        stack = [length for axis, length in enumerate(self.pixels.shape) if axis != self.channels][:-2]
        if summed:
            result = y.reshape(*stack, *y.shape[1:3])
        elif self.channels is None:
            result = y.reshape(*stack, *y.shape[-2:])
        elif self.last:
            result = y.reshape(*stack, *y.shape[-3:])
        else:
            planes = y.reshape(self.pixels.shape[self.channels], *stack, *y.shape[-2:])
            result = np.moveaxis(planes, 0, self.channels)
        if self.alpha:
            alpha = store(self.pixels[..., :: stride[0], :: stride[1], -1], y.dtype)
            if summed:
                return np.stack([result, alpha], axis=-1)
            result[..., -1] = alpha
        return result


def store(values: Array, dtype: np.dtype[Any]) -> Array:
    """Numbers as pixels: integers rounded, half to even, and saturated, NaN as 0.

    >>> store(np.array([-3.0, 0.5, 1.5, 300.0]), np.dtype("uint8"))
    array([  0,   0,   2, 255], dtype=uint8)
    """
    if values.dtype == dtype:
        return values
    if dtype.kind == "u":
        top = np.iinfo(dtype).max
        values = np.clip(np.rint(np.nan_to_num(values, nan=0, posinf=top, neginf=0)), 0, top)
    return values.astype(dtype)


def pixels_of(image: npt.ArrayLike) -> Array:
    """The user's array in the machine's byte order, its element type checked."""
    pixels = array_of("image", image)
    if pixels.dtype in _PIXELS:
        return pixels
    if pixels.dtype.newbyteorder("=") not in _PIXELS:
        raise DtypeError(f"image has dtype {pixels.dtype}; a picture is {', '.join(PIXELS)}, as image.astype('float32') gives")
    return pixels.astype(pixels.dtype.newbyteorder("="))


def result_dtype(pixels: np.dtype[Any], dtype: npt.DTypeLike | None) -> np.dtype[Any]:
    """The element type of a filtered picture, which is checked."""
    if dtype is None and pixels == np.bool_:
        raise DtypeError("image has dtype bool, which cannot hold a filtered picture; say dtype='float32', for example")
    result = pixels if dtype is None else parse_dtype("dtype", dtype)
    if result.name not in PIXELS:
        raise DtypeError(f"dtype (={result}) must be one of {', '.join(PIXELS)}")
    return result.newbyteorder("=")


def channels_of(shape: tuple[int, ...], channel_axis: int | None) -> int | None:
    """The channel axis of pictures of a shape, which is checked."""
    channels = _channel_axis(shape, channel_axis)
    if len(shape) - (channels is not None) < 2:
        raise ShapeError(f"image of shape {shape} must have two axes, rows and columns, besides its channels")
    if 0 in shape:
        raise ShapeError(f"image of shape {shape} has no pixels")
    return channels


def _channel_axis(shape: tuple[int, ...], channel_axis: int | None) -> int | None:
    n = len(shape)
    if channel_axis is not None:
        axis = operator.index(channel_axis)
        if not -n <= axis < n:
            raise ArgumentError(f"channel_axis (={axis}) must be an axis of the image, which has {n}")
        return axis % n
    if n <= 2:
        return None
    if n == 3 and 1 <= shape[-1] <= 4:
        return 2
    raise ShapeError(
        f"image of shape {shape} is neither H×W nor H×W×C with 1 to 4 channels; channel_axis says which axis is not rows or columns,"
        " 0 for a stack of grey pictures"
    )
