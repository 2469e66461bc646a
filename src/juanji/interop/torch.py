"""juanji inside PyTorch: modules, and the functions that they call, on CPU tensors without a copy.

The functions and their derivatives are in autograd.py; a module is their arguments with the parameters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar, TypedDict, Unpack

import torch
from torch import Tensor, nn

from juanji.describe import BoundaryLike, Padding, PerAxis, describe, parse_boundaries, parse_padding, per_axis
from juanji.errors import ArgumentError, DtypeError, ShapeError
from juanji.interop.autograd import conv, conv_transpose, default_weight_layout
from juanji.spec import LAYOUTS, WEIGHT_LAYOUTS

Options = dict[str, Any]  # keyword arguments of `juanji.conv`


class Keywords(TypedDict, total=False):
    """What every module takes by name.

    boundary, flip, layout, weight_layout: as in `juanji.conv`. device, dtype: of the parameters, as in torch.
    """

    boundary: BoundaryLike
    flip: bool
    layout: str
    weight_layout: str | None
    device: torch.device | str | None
    dtype: torch.dtype | None


class _Layer(nn.Module):
    """What the modules share: their arguments, and parameters with torch's initial values.

    sites: leading axes of the weights. features, depth: the two channel axes of the weights, the first of which groups divide.
    """

    axes: ClassVar[int | None] = None  # spatial axes, of classes named by it
    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: tuple[int, ...],
        sites: tuple[int, ...],
        bias: bool,
        options: Options,
        *,
        boundary: BoundaryLike = "zero",
        flip: bool = False,
        layout: str = "channels_first",
        weight_layout: str | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        n = len(kernel)
        dtype = dtype or torch.get_default_dtype()
        if not dtype.is_floating_point and not dtype.is_complex:
            raise DtypeError(f"dtype (={dtype}) must be a floating type, because parameters have gradients")
        if layout not in LAYOUTS:
            raise ArgumentError(f"layout (={layout!r}) must be one of {', '.join(LAYOUTS)}")
        weight_layout = weight_layout or default_weight_layout(layout)
        if weight_layout not in WEIGHT_LAYOUTS:
            raise ArgumentError(f"weight_layout (={weight_layout!r}) must be one of {', '.join(WEIGHT_LAYOUTS)}")
        (groups,) = per_axis("groups", options["groups"], 1, 1)
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if per_axis(name, channels, 1, 1)[0] % groups:
                raise ShapeError(f"{name} (={channels}) must be divisible by groups (={groups})")
        stride, dilation = per_axis("stride", options["stride"], n, 1), per_axis("dilation", options["dilation"], n, 1)
        parse_padding(options["padding"], (1,) * n, kernel, stride, dilation)
        parse_boundaries(boundary, n)
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel
        self.options = options | {
            "stride": stride, "dilation": dilation, "boundary": boundary, "flip": flip, "layout": layout, "weight_layout": weight_layout,
        }  # fmt: skip
        features, depth = self._weight_channels(groups)
        body = {"OI*": (features, depth, *kernel), "*IO": (*kernel, depth, features), "O*I": (features, *kernel, depth)}[weight_layout]
        self.weight = nn.Parameter(torch.empty((*sites, *body), device=device, dtype=dtype))
        self.register_parameter("bias", nn.Parameter(torch.empty((*sites, out_channels), device=device, dtype=dtype)) if bias else None)
        self._fan = depth * math.prod(kernel)
        self.reset_parameters()

    def _weight_channels(self, groups: int) -> tuple[int, int]:
        return self.out_channels, self.in_channels // groups

    def reset_parameters(self) -> None:
        """New values as torch's layers have them: He's uniform distribution with a = √5, whose bound is 1/√fan_in."""
        bound = 1 / math.sqrt(self._fan)
        for parameter in self.parameters(recurse=False):
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of x with the layer's weights, plus its bias."""
        return conv(x, self.weight, self.bias, **self.options)

    def extra_repr(self) -> str:
        """Channels, kernel, and the arguments that are not the usual ones."""
        n = len(self.kernel_size)
        usual = {
            "stride": (1,) * n, "padding": 0, "output_padding": 0, "dilation": (1,) * n, "groups": 1, "boundary": "zero", "flip": False,
            "layout": "channels_first", "weight_layout": default_weight_layout(self.options["layout"]),
        }  # fmt: skip
        words = [str(self.in_channels), str(self.out_channels), f"kernel_size={self.kernel_size}"]
        if "sharing" in self.options:
            words.append(f"sites={tuple(self.weight.shape[:n])}")
        words += [f"{name}={value!r}" for name, value in self.options.items() if name in usual and value != usual[name]]
        if self.bias is None:
            words.append("bias=False")
        return ", ".join(words)

    @classmethod
    def _per_axis(cls, name: str, value: PerAxis) -> tuple[int, ...]:
        """One integer per spatial axis. How many axes there are is told by the class's name, or else by the value."""
        n = cls.axes
        if n is None:
            if not isinstance(value, Iterable):
                raise ArgumentError(f"{name} (={value!r}) must have one integer per spatial axis; {cls.__name__}2d takes one for all")
            value = tuple(value)
            n = len(value)
        return per_axis(name, value, n, 1)


class Conv(_Layer):
    """A layer of `conv`, over as many spatial axes as kernel_size has entries; Conv1d, Conv2d and Conv3d take an integer too.

    Arguments are those of torch's layers, of `juanji.conv` and `Keywords`: padding is also "same" with a stride, (low, high) pairs or
    any mode, boundary one mode or one per axis. weight (O, C/groups, *K) and bias (O,) start as torch's do.
    Raises ArgumentError, ShapeError or DtypeError in one line.

    >>> Conv(3, 8, (3, 3), stride=2, padding="same", boundary=("reflect", "wrap"))
    Conv(3, 8, kernel_size=(3, 3), stride=(2, 2), padding='same', boundary=('reflect', 'wrap'))
    >>> Conv2d(3, 8, 5)(torch.ones(1, 3, 32, 32)).shape
    torch.Size([1, 8, 28, 28])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: PerAxis,
        stride: PerAxis = 1,
        padding: Padding = 0,
        dilation: PerAxis = 1,
        groups: int = 1,
        bias: bool = True,
        **more: Unpack[Keywords],
    ):
        kernel = self._per_axis("kernel_size", kernel_size)
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        super().__init__(in_channels, out_channels, kernel, (), bias, options, **more)


class TiledConv(_Layer):
    """Convolution with `tiles` sets of weights per axis: position p uses set p mod tiles.

    weight (*tiles, O, C/groups, *K), bias (*tiles, O). TiledConv1d, TiledConv2d and TiledConv3d take integers too.

    >>> TiledConv2d(4, 6, 3, tiles=(2, 1), padding=1).weight.shape
    torch.Size([2, 1, 6, 4, 3, 3])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: PerAxis,
        tiles: PerAxis,
        stride: PerAxis = 1,
        padding: Padding = 0,
        dilation: PerAxis = 1,
        groups: int = 1,
        bias: bool = True,
        **more: Unpack[Keywords],
    ):
        kernel = self._per_axis("kernel_size", kernel_size)
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "sharing": "tiled"}
        super().__init__(in_channels, out_channels, kernel, per_axis("tiles", tiles, len(kernel), 1), bias, options, **more)


class LocallyConnected(_Layer):
    """A layer with weights of their own at every output position, for inputs of one spatial shape.

    weight (*P, O, C/groups, *K), bias (*P, O), P the output's spatial shape. input_size has one entry per spatial axis;
    LocallyConnected1d, LocallyConnected2d and LocallyConnected3d take an integer too.

    >>> LocallyConnected2d(4, 6, (8, 9), 3, stride=2, padding="same").weight.shape
    torch.Size([4, 5, 6, 4, 3, 3])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        input_size: PerAxis,
        kernel_size: PerAxis,
        stride: PerAxis = 1,
        padding: Padding = 0,
        dilation: PerAxis = 1,
        groups: int = 1,
        bias: bool = True,
        **more: Unpack[Keywords],
    ):
        size = self._per_axis("input_size", input_size)
        kernel = per_axis("kernel_size", kernel_size, len(size), 1)
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "sharing": "local"}
        output = describe((1, 1, *size), (1, 1, *kernel), stride=stride, padding=padding, dilation=dilation).output
        super().__init__(in_channels, out_channels, kernel, output, bias, options, **more)


class ConvTranspose(_Layer):
    """A layer of `conv_transpose`; ConvTranspose1d, ConvTranspose2d and ConvTranspose3d take integers too.

    Arguments stand in the order of torch's layers. weight (C, O/groups, *K) and bias (O,) start as torch's do.

    >>> ConvTranspose1d(4, 6, 3, stride=2, padding="same")(torch.ones(1, 4, 5)).shape
    torch.Size([1, 6, 10])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: PerAxis,
        stride: PerAxis = 1,
        padding: Padding = 0,
        output_padding: PerAxis = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: PerAxis = 1,
        **more: Unpack[Keywords],
    ):
        kernel = self._per_axis("kernel_size", kernel_size)
        options = {"stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation, "groups": groups}
        super().__init__(in_channels, out_channels, kernel, (), bias, options, **more)

    def _weight_channels(self, groups: int) -> tuple[int, int]:
        return self.in_channels, self.out_channels // groups

    def forward(self, x: Tensor) -> Tensor:
        """The transposed convolution of x with the layer's weights, plus its bias."""
        return conv_transpose(x, self.weight, self.bias, **self.options)


class Conv1d(Conv):
    """`Conv` over one spatial axis."""

    axes = 1


class Conv2d(Conv):
    """`Conv` over two spatial axes."""

    axes = 2


class Conv3d(Conv):
    """`Conv` over three spatial axes."""

    axes = 3


class TiledConv1d(TiledConv):
    """`TiledConv` over one spatial axis."""

    axes = 1


class TiledConv2d(TiledConv):
    """`TiledConv` over two spatial axes."""

    axes = 2


class TiledConv3d(TiledConv):
    """`TiledConv` over three spatial axes."""

    axes = 3


class LocallyConnected1d(LocallyConnected):
    """`LocallyConnected` over one spatial axis."""

    axes = 1


class LocallyConnected2d(LocallyConnected):
    """`LocallyConnected` over two spatial axes."""

    axes = 2


class LocallyConnected3d(LocallyConnected):
    """`LocallyConnected` over three spatial axes."""

    axes = 3


class ConvTranspose1d(ConvTranspose):
    """`ConvTranspose` over one spatial axis."""

    axes = 1


class ConvTranspose2d(ConvTranspose):
    """`ConvTranspose` over two spatial axes."""

    axes = 2


class ConvTranspose3d(ConvTranspose):
    """`ConvTranspose` over three spatial axes."""

    axes = 3


__all__ = [
    "Conv",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "Keywords",
    "LocallyConnected",
    "LocallyConnected1d",
    "LocallyConnected2d",
    "LocallyConnected3d",
    "TiledConv",
    "TiledConv1d",
    "TiledConv2d",
    "TiledConv3d",
    "conv",
    "conv_transpose",
]
