"""Films of pixels that add to a window: transposed convolution, and with it the gradient of the input, as the definition has them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.errors import ArgumentError
from juanji.explain.arguments import by_site, channels_first
from juanji.explain.arithmetic import factor
from juanji.show.frames import Field, Film, Frame
from juanji.show.gathered import reverse
from juanji.show.layout import (
    Array,
    added_to,
    cells_of,
    film_of,
    in_rows,
    inside,
    named,
    offsets_of,
    padding_of,
    pair,
    place_of,
    short,
    steps_of,
)  # fmt: skip


def scattered(
    x: Array, w: Array, bias: npt.ArrayLike | None, operator: str, feature: int, sample: int, arguments: Mapping[str, Any]
) -> Film:
    """Every element of the input, or of the error, launches a copy of the kernel, as many times as high; the copies add up."""
    if bias is not None:
        raise ArgumentError("bias must be None with scatter=True, which draws the sums alone")
    spec, y = reverse(x, w, None, operator, arguments)
    sample, feature = place_of("sample", sample, spec.batch), place_of("feature", feature, spec.channels)
    if spec.features > spec.groups:
        raise ArgumentError(f"x has {spec.features // spec.groups} channels for one of the result, but scatter=True draws one")
    if spec.epilogue.activation:
        raise ArgumentError(f"activation (={spec.epilogue.activation!r}) must be None with scatter=True, which draws the sums alone")
    group, inner = divmod(feature, spec.channels // spec.groups)
    pixels = channels_first(spec, x.reshape(spec.y_shape))[sample, group]
    kinds = [inside(size, low, high) for size, (low, high) in zip(spec.size, spec.padding, strict=True)]
    sums = np.zeros(tuple(map(len, kinds)), np.result_type(y, np.int64) if y.dtype.kind in "iu" else y.dtype)
    weights, offsets = by_site(spec, w)[(slice(None),) * spec.n + (group, inner)], offsets_of(spec)
    back, given = ("dx", "dy") if operator == "conv_grad_input" else ("y", "x")
    lows = [low for low, _ in spec.padding]

    def frame(pixel: tuple[int, ...]) -> Frame:
        corner = tuple(p * stride for p, stride in zip(pixel, spec.stride, strict=True))
        copy = weights[tuple(p % t for p, t in zip(pixel, spec.sites or (1,) * spec.n, strict=True))]
        added = copy * pixels[pixel]
        sums[np.ix_(*(np.add(first, taps) for first, taps in zip(corner, offsets, strict=True)))] += added
        line = f"{added_to(back, corner, offsets, lows, spec.size)} += {named(given, pixel)} · w = {factor(short(pixels[pixel]))} · w"
        return Frame(pair(pixel), pair(corner), in_rows(copy[None], spec.n), (line,), in_rows(added[None], spec.n))

    field = Field(in_rows(sums[None], spec.n), cells_of(kinds))  # `sums` is complete once all frames are made
    return film_of(operator, field, offsets, pixels, frame, spec.size, spec.kernel, padding_of(spec) | steps_of(spec))
