"""How large an output is, and why: the formula with its numbers, what each padding mode stands for, which elements nothing sees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Unpack

import numpy as np
import numpy.typing as npt

from juanji.describe import PADDINGS, PerAxis, parse_padding
from juanji.explain.arguments import (
    Geometry,
    Index,
    PoolingArguments,
    Shape,
    TransposedGeometry,
    by,
    checked,
    described,
    described_transpose,
    met,
    runs,
    sizes,
)  # fmt: skip
from juanji.pooling import planned
from juanji.spec import Convolution, span
from juanji.windows import Sliding


@dataclass(frozen=True)
class AxisShape:
    """One spatial axis of an operator.

    formula: with the numbers filled in. low, high: the padding before and after. unused: the elements of the input that no output
    sees; of a transposed convolution, those of the output that no input reaches.
    """

    formula: str
    output: int
    low: int
    high: int
    unused: tuple[int, ...]


@dataclass(frozen=True)
class OutputShape:
    """The shapes of an operator, axis by axis; prints itself.

    modes: what each padding mode stands for on these sizes: its (low, high) pairs and the output's spatial shape; None where the
    kernel does not fit. Empty where no mode is another choice.
    """

    operator: str
    x_shape: tuple[int, ...]
    y_shape: tuple[int, ...]
    axes: tuple[AxisShape, ...]
    modes: dict[str, tuple[tuple[tuple[int, int], ...], tuple[int, ...] | None]]

    @property
    def output(self) -> tuple[int, ...]:
        """The output's spatial shape."""
        return tuple(axis.output for axis in self.axes)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{self.operator}: input {by(self.x_shape)} → output {by(self.y_shape)}"
        unused = "gets nothing" if self.operator == "conv_transpose" else "unused"
        for number, axis in enumerate(self.axes):
            yield f"axis {number}: {axis.formula} = {axis.output}" + (f", {unused}: {runs(axis.unused)}" if axis.unused else "")
        width = max(map(len, self.modes), default=0)
        for mode, (pairs, output) in self.modes.items():
            sides = ", ".join(f"{low}+{high}" for low, high in pairs)
            yield f"padding {mode:{width}} is {sides}: " + (f"output {by(output)}" if output else "the kernel does not fit")


def output_shape(x_shape: Shape, w_shape: Shape, **arguments: Unpack[Geometry]) -> OutputShape:
    """The shape that `conv` gives with the same arguments, the formula filled in.

    x_shape, w_shape: as those of the arrays, x with or without a batch. Raises ShapeError or ArgumentError as `conv` does.

    >>> print(output_shape((1, 1, 6, 4), (1, 1, 3, 3), stride=(2, 1)))
    conv: input 1×1×6×4 → output 1×1×2×2
    axis 0: ⌊(6 + 0 + 0 − 3) / 2⌋ + 1 = 2, unused: 5
    axis 1: ⌊(4 + 0 + 0 − 3) / 1⌋ + 1 = 2
    padding valid      is 0+0, 0+0: output 2×2
    padding same       is 0+1, 1+1: output 3×4
    padding same_lower is 1+0, 1+1: output 3×4
    padding full       is 2+2, 2+2: output 4×6
    padding causal     is 2+0, 2+0: output 3×4
    """
    spec, single = described(x_shape, w_shape, arguments)
    axes = []
    for axis, unused in enumerate(unmet(spec)):
        (low, high), size, extent = spec.padding[axis], spec.size[axis], span(spec.kernel[axis], spec.dilation[axis])
        formula = f"⌊({size} + {low} + {high} − {extent}) / {spec.stride[axis]}⌋ + 1"
        axes.append(AxisShape(formula, spec.output[axis], low, high, unused))
    return OutputShape("conv", spec.x_shape[single:], spec.y_shape[single:], tuple(axes), _modes(spec))


def output_shape_transpose(x_shape: Shape, w_shape: Shape, **arguments: Unpack[TransposedGeometry]) -> OutputShape:
    """The shape that `conv_transpose` gives with the same arguments.

    >>> print(output_shape_transpose((1, 1, 2, 2), (1, 1, 3, 3)))
    conv_transpose: input 1×1×2×2 → output 1×1×4×4
    axis 0: (2 − 1)·1 − 0 − 0 + 3 + 0 = 4
    axis 1: (2 − 1)·1 − 0 − 0 + 3 + 0 = 4
    """
    spec, single = described_transpose(x_shape, w_shape, arguments)
    axes = []
    for axis, unused in enumerate(unmet(spec)):
        p, stride, size = spec.output[axis], spec.stride[axis], spec.size[axis]
        (low, high), extent = spec.padding[axis], span(spec.kernel[axis], spec.dilation[axis])
        more = size - ((p - 1) * stride - low - high + extent)
        axes.append(AxisShape(f"({p} − 1)·{stride} − {low} − {high} + {extent} + {more}", size, low, high, unused))
    return OutputShape("conv_transpose", spec.y_shape[single:], spec.x_shape[single:], tuple(axes), {})


def output_shape_pool(x_shape: Shape, size: PerAxis, **arguments: Unpack[PoolingArguments]) -> OutputShape:
    """The shape that `pool` gives with the same arguments.

    >>> print(output_shape_pool((1, 3, 5, 5), 2))
    pool: input 1×3×5×5 → output 1×3×2×2
    axis 0: ⌊(5 + 0 + 0 − 2) / 2⌋ + 1 = 2, unused: 4
    axis 1: ⌊(5 + 0 + 0 − 2) / 2⌋ + 1 = 2, unused: 4
    """
    x = np.broadcast_to(np.float32(0), sizes("x_shape", x_shape))  # only its shape is looked at
    _, single, plan = planned(x, size, **checked(arguments, PoolingArguments))
    axes = []
    for axis in plan.pooling.axes:
        assert isinstance(axis, Sliding)
        left, right = "⌈⌉" if axis.ceil else "⌊⌋"
        formula = f"{left}({axis.size} + {axis.low} + {axis.high} − {span(axis.window, axis.dilation)}) / {axis.stride}{right} + 1"
        room = axis.low + axis.size + axis.high - span(axis.window, axis.dilation)
        if axis.ceil and axis.out < -(-room // axis.stride) + 1:
            formula += " − 1 (the last window would start beyond the input)"
        starts, table = np.arange(axis.out) * axis.stride - axis.low, np.arange(axis.window) * axis.dilation
        axes.append(AxisShape(formula, axis.out, axis.low, axis.high, _without(axis.size, starts[:, None] + table)))
    return OutputShape("pool", plan.pooling.x_shape[single:], plan.pooling.y_shape[single:], tuple(axes), {})


def unmet(spec: Convolution) -> Iterator[tuple[int, ...]]:
    """Per axis the elements of the input that no tap meets, inside or through the boundary."""
    return (_without(size, table) for size, table in zip(spec.size, met(spec), strict=True))


def _without(size: int, seen: Index) -> tuple[int, ...]:
    mask: npt.NDArray[np.bool_] = np.ones(size, bool)
    mask[seen[(seen >= 0) & (seen < size)]] = False
    return tuple(np.flatnonzero(mask).tolist())


def _modes(spec: Convolution) -> dict[str, tuple[tuple[tuple[int, int], ...], tuple[int, ...] | None]]:
    found = {}
    for mode in PADDINGS:
        pairs = parse_padding(mode, spec.size, spec.kernel, spec.stride, spec.dilation)
        axes = zip(spec.size, spec.kernel, spec.stride, spec.dilation, pairs, strict=True)
        output = tuple((low + size + high - span(k, d)) // step + 1 for size, k, step, d, (low, high) in axes)
        found[mode] = (pairs, output if min(output) > 0 else None)
    return found
