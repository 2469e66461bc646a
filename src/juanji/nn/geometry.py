"""Shapes of convolutions inside networks, and which inputs their outputs see.

Output element o of an axis with stride s, dilation d, K taps and `low` elements of padding reads inputs o·s − low + d·k for k = 0 … K − 1.
A transposed convolution reads backwards: its output p gets what inputs q with q·s − low + d·k = p send there, which are those from
⌈(p + low − d·(K − 1)) / s⌉ to ⌊(p + low) / s⌋.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from juanji.describe import describe, per_axis
from juanji.gradients import transposed
from juanji.nn.operator import Box, Shape, spatial
from juanji.spec import Convolution, span

if TYPE_CHECKING:
    from juanji.nn.ops import Conv, ConvTranspose


@lru_cache(maxsize=1024)
def conv_spec(op: Conv, shape: Shape) -> Convolution:
    """The description of a convolution for an input of this shape."""
    weight = op.parameters(shape)["weight"].shape
    return describe(shape, weight, bias=bool(op.has_bias), activation=op.activation, **op.options(shape))


def conv_shape(op: Conv, shape: Shape, kernel: tuple[int, ...]) -> Shape:
    """The output's shape, which does not depend on how weights are shared."""
    options = {**op.options(shape), "sharing": "shared"}
    return describe(shape, (op.features, shape[1] // options["groups"], *kernel), **options).y_shape


@lru_cache(maxsize=1024)
def transposed_spec(op: ConvTranspose, shape: Shape) -> Convolution:
    """The convolution whose transpose takes an input of this shape."""
    kernel = per_axis("size", op.size, spatial(op, shape), 1)
    return transposed(
        shape, (shape[1], op.features // op.groups, *kernel), output_padding=op.output_padding, bias=bool(op.has_bias), sharing="shared",
        layout="channels_first", weight_layout=None, activation=op.activation, **op.options,
    )  # fmt: skip


def window_sees(spec: Convolution, box: Box) -> Box:
    """What a region of a convolution's output reads."""
    axes = zip(box, spec.stride, spec.padding, spec.kernel, spec.dilation, strict=True)
    return tuple((first * s - low, last * s - low + span(k, d) - 1) for (first, last), s, (low, _), k, d in axes)


def transposed_sees(spec: Convolution, box: Box) -> Box:
    """What a region of a transposed convolution's output reads."""
    axes = zip(box, spec.stride, spec.padding, spec.kernel, spec.dilation, strict=True)
    return tuple((-((span(k, d) - 1 - low - first) // s), (last + low) // s) for (first, last), s, (low, _), k, d in axes)
