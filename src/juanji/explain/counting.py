"""How many parameters, connections, multiply-adds and bytes a layer has, and what it would have with other ways of sharing.

Between m input and n output elements of a sample there are, with k weights to a window and t tiles per axis,

    full      every output meets every input through a weight of its own           m·n weights
    local     every output meets its window through weights of its own             k·n
    tiled     t kernels per axis used in turn                                      k·tⁿ·O
    shared    one kernel for every position: a convolution                         k·O

each a stronger assumption than the one before, with fewer parameters for the same connections.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Unpack

import numpy.typing as npt

from juanji.describe import PerAxis, per_axis
from juanji.explain.arguments import Geometry, Shape, by, described, met
from juanji.spec import Convolution, itemsize


@dataclass(frozen=True)
class Rung:
    """One way of sharing weights: how many there are, and how many pairs of an input and an output element they join."""

    name: str
    weights: int
    biases: int
    connections: int


@dataclass(frozen=True)
class Counts:
    """The counts of a convolution layer; prints itself.

    windows: positions of the kernel. macs: multiply-adds of a whole batch, those on padding included. activations: output elements of
    a batch. ladder: full, local, tiled and shared, for one sample. The bytes are of a batch.
    """

    spec: Convolution
    windows: int
    weights: int
    biases: int
    connections: int
    macs: int
    activations: int
    x_bytes: int
    parameter_bytes: int
    y_bytes: int
    ladder: tuple[Rung, ...]

    @property
    def flops(self) -> int:
        """Two to a multiply-add."""
        return 2 * self.macs

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return self.weights + self.biases

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"input {by(self.spec.x_shape)} → output {by(self.spec.y_shape)}: {self.windows:,} windows of {by(self.spec.kernel)}"
        yield f"weights {self.weights:,}, biases {self.biases:,}, connections {self.connections:,}"
        yield f"multiply-adds {self.macs:,}, activations {self.activations:,}"
        yield f"bytes: input {self.x_bytes:,}, parameters {self.parameter_bytes:,}, output {self.y_bytes:,}"
        heads = ("", "weights", "biases", "connections")
        rows = [(rung.name, f"{rung.weights:,}", f"{rung.biases:,}", f"{rung.connections:,}") for rung in self.ladder]
        widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
        for name, *numbers in (heads, *rows):
            yield " ".join([f"{name:<{widths[0]}}", *(f"{number:>{width}}" for number, width in zip(numbers, widths[1:], strict=True))])


def counts(
    x_shape: Shape,
    w_shape: Shape,
    *,
    bias: bool = True,
    tiles: PerAxis = 2,
    dtype: npt.DTypeLike = "float32",
    **arguments: Unpack[Geometry],
) -> Counts:
    """What a layer `conv(x, w, bias, **arguments)` of these shapes has, beside the full, local, tiled and shared layers of its size.

    tiles: of the tiled one, per axis; no more than there are outputs. A connection joins an output to an input element that its window
    meets, inside or through the boundary; what meets a constant is none. Raises what `conv` raises.

    >>> print(counts((1, 28, 28), (1, 1, 5, 5)))
    input 1×1×28×28 → output 1×1×24×24: 576 windows of 5×5
    weights 25, biases 1, connections 14,400
    multiply-adds 14,400, activations 576
    bytes: input 3,136, parameters 104, output 2,304
              weights biases connections
    full      451,584    576     451,584
    local      14,400    576      14,400
    tiled 2×2     100      4      14,400
    shared         25      1      14,400
    """
    spec, _ = described(x_shape, w_shape, arguments, dtype=dtype, bias=bias)
    weights, biases = spec.parameters if bias else (spec.parameters[0], 0)
    windows, per_window = math.prod(spec.output), spec.channels // spec.groups * math.prod(spec.kernel)
    joined = spec.features * spec.channels // spec.groups * math.prod(int((table >= 0).sum()) for table in met(spec))
    least = zip(per_axis("tiles", tiles, spec.n, 1), spec.output, strict=True)
    sites = tuple(min(tile, positions) for tile, positions in least)
    each = spec.features * per_window
    m, n = math.prod(spec.x_shape[1:]), math.prod(spec.y_shape[1:])
    ladder = (
        Rung("full", m * n, n * bias, m * n),
        Rung("local", windows * each, n * bias, joined),
        Rung(f"tiled {by(sites)}", math.prod(sites) * each, math.prod(sites) * spec.features * bias, joined),
        Rung("shared", each, spec.features * bias, joined),
    )
    return Counts(
        spec=spec,
        windows=windows,
        weights=weights,
        biases=biases,
        connections=joined,
        macs=spec.macs,
        activations=math.prod(spec.y_shape),
        x_bytes=math.prod(spec.x_shape) * itemsize(spec.dtypes.x),
        parameter_bytes=weights * itemsize(spec.dtypes.w) + biases * itemsize(spec.dtypes.sum),
        y_bytes=math.prod(spec.y_shape) * itemsize(spec.dtypes.y),
        ladder=ladder,
    )
