"""What the schedules for weights with sites look at: a description, its axes, and where its arrays lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.algorithms import costs
from juanji.algorithms.problem import aligned, as_sums, contiguous_strides
from juanji.boundary import index_map
from juanji.exact import Narrowing
from juanji.jit.emit import LINE
from juanji.kept import kept
from juanji.machine import Machine
from juanji.spec import WORDS, Convolution, itemsize, span

Array = npt.NDArray[Any]

OVERLAP = 0.1  # of the arithmetic that does not hide behind reading memory
LONG_PLANE = 512  # bytes, from which on planes beside each other may share few sets of the first cache
LEAST_ITEM = 1 << 18  # multiply-adds, below which an item is not worth being one


@dataclass(frozen=True, eq=False)
class Axis:
    """One spatial axis. table: its index map over the padded extent; outside: the constant there; x: the input's dimension."""

    size: int
    out: int
    sites: int
    kernel: int
    stride: int
    dilation: int
    low: int
    table: npt.NDArray[np.int64]
    outside: float
    x: int

    @property
    def reach(self) -> int:
        """Elements from the first tap to the last."""
        return span(self.kernel, self.dilation)

    @property
    def turns(self) -> int:
        """Positions of the first site."""
        return -(-self.out // self.sites)


NO_AXIS = Axis(1, 1, 1, 1, 1, 1, 0, np.zeros(1, np.int64), 0.0, -1)


class Sited:
    """A description whose weights have sites, on a machine. features, channels and depth are those of one group."""

    def __init__(self, spec: Convolution, produces: str, machine: Machine):
        self.spec, self.produces, self.machine = spec, produces, machine
        self.sites = spec.sites or (1,) * spec.n
        self.all_sites, self.kernel = math.prod(self.sites), math.prod(spec.kernel)
        self.features, self.channels = spec.features // spec.groups, spec.channels // spec.groups
        self.depth = self.channels * self.kernel
        self.turns = math.prod(-(-out // t) for out, t in zip(spec.output, self.sites, strict=True))
        self.most_rows = spec.batch * self.turns
        self.x, self.w, self.y = map(itemsize, (spec.dtypes.x, spec.dtypes.w, spec.dtypes.y))
        self.total = itemsize(spec.dtypes.sum)
        self.lanes = 1 if spec.dtypes.sum in WORDS else machine.vector_bits // 8 // self.total
        self.narrowing = Narrowing(spec.overflow, spec.dtypes.integers)
        self.last = spec.layout == "channels_last"

    @kept
    def axes(self) -> list[Axis]:
        """The spatial axes, the innermost last."""
        spec = self.spec
        return [
            Axis(
                spec.size[i], spec.output[i], self.sites[i], spec.kernel[i], spec.stride[i], spec.dilation[i], spec.padding[i][0],
                index_map(spec.size[i], *spec.padding[i], boundary.mode), boundary.value if boundary.constant else 0.0,
                i + (1 if self.last else 2),
            )
            for i, boundary in enumerate(spec.boundary)
        ]  # fmt: skip

    @property
    def channel_dimension(self) -> int:
        """The dimension of input and output that holds the channels."""
        return self.spec.n + 1 if self.last else 1

    @property
    def clock(self) -> float:
        """Cycles per second."""
        return self.machine.peak_f32 / (2 * self.machine.vector_bits // 32 * costs.FMA_PER_CYCLE)

    @property
    def w_bytes(self) -> int:
        """Bytes of all weights."""
        return math.prod(self.spec.w_shape) * self.w

    @property
    def feature_step(self) -> int:
        """Weights from one feature to the next."""
        return 1 if self.spec.weight_layout == "*IO" else self.depth

    @property
    def window_step(self) -> int:
        """Weights from one element of a window to the next."""
        return self.spec.features if self.spec.weight_layout == "*IO" else 1

    @property
    def along_window(self) -> bool:
        """Whether vectors of weights lie along the window; where both could, the longer."""
        return self.window_step == 1 and not (self.feature_step == 1 and self.features > self.depth)

    @property
    def channel_inner(self) -> bool:
        """Whether the weights' order is tap by tap; with one tap it is both."""
        return self.spec.weight_layout != "OI*" or self.kernel == 1

    def tables(self, axes: Sequence[Axis]) -> tuple[Array, ...]:
        """What stands outside along each axis, with the activation's parameter behind; and the index maps."""
        with np.errstate(over="ignore"):  # a constant too large for float32 is infinity there
            constants: Array = as_sums(np.array([*(axis.outside for axis in axes), self.spec.epilogue.parameter]), self.spec.dtypes.sum)
        return (constants, *(axis.table for axis in axes))

    def words(self, axes: Sequence[Axis], tables: Sequence[Array]) -> dict[str, int]:
        """The arguments that every kernel for sites takes."""
        spec, channel = self.spec, self.channel_dimension
        xs, ys = contiguous_strides(spec.x_shape, self.x), contiguous_strides(spec.y_shape, self.y)
        words = {
            "constants": tables[0].ctypes.data, "batch": spec.batch, "groups": spec.groups, "all_sites": self.all_sites,
            "channels": self.channels, "features": self.features, "low_w": axes[-1].low, "size_w": axes[-1].size,
            "xs_n": xs[0], "xs_c": xs[channel], "ys_n": ys[0], "ys_c": ys[channel], "w_site": spec.features * self.depth * self.w,
        }  # fmt: skip
        for i, axis in enumerate(axes):
            words |= {
                f"sites{i}": axis.sites, f"turns{i}": axis.out // axis.sites, f"rest{i}": axis.out % axis.sites, f"out{i}": axis.out,
                f"taps{i}": axis.kernel, f"stride{i}": axis.stride, f"step{i}": -axis.dilation if spec.flip else axis.dilation,
                f"start{i}": axis.reach - 1 if spec.flip else 0, f"map{i}": tables[1 + i].ctypes.data,
                f"xs{i}": xs[axis.x] if axis.x >= 0 else 0, f"ys{i}": ys[axis.x] if axis.x >= 0 else 0,
            }  # fmt: skip
        return words

    def views(self, axes: Sequence[Axis]) -> dict[str, int]:
        """The arguments that are strides of the first operand, which may be any view, and of which dimension."""
        name = "ys" if self.produces == "x" else "xs"
        return {f"{name}_n": 0, f"{name}_c": self.channel_dimension, **{f"{name}{i}": axis.x for i, axis in enumerate(axes)}}

    def held(self, axes: Sequence[Axis], room: Room, images: int, channels: int, band: int) -> dict[str, int]:
        """The arguments about the part of the input's gradient that an item owns in scratch. `channels` are some of a group, or all."""
        spec, inner = self.spec, [axis.size for axis in axes[1:]]
        by_pixel = self.last and spec.channels > 1
        shape = (images, band, *inner, channels) if by_pixel else (images, channels, band, *inner)
        part, dx = contiguous_strides(shape, self.total), contiguous_strides(spec.x_shape, self.x)
        first, plane = (1 if by_pixel else 2), math.prod(shape[2:]) * self.total
        if not by_pixel and plane >= LONG_PLANE:
            plane = aligned(plane) | LINE  # an odd number of cache lines: planes' beginnings fall into all sets of the first cache
            part = [channels * plane, plane, *part[2:]]
        size = aligned(images * part[0])
        words = {
            "images": images, "bands": -(-axes[0].size // band), "band": band, "size0": axes[0].size, "places": math.prod(inner),
            "merged": int(channels == spec.channels), "part": room.take(size + self.lanes * self.total), "part_bytes": size,
            "part_p": channels * self.total, "xs_n": part[0], "xs_c": part[-1] if by_pixel else part[1],
            "dx_n": dx[0], "dx_c": dx[self.channel_dimension], "dx_p": spec.channels * self.x,
            "dx_0": dx[axes[0].x] if axes[0].x >= 0 else 0,
        }  # fmt: skip
        return words | {f"xs{i}": part[first + i] for i in range(len(axes))}


class Room:
    """Places in scratch, one behind the other, each at a cache line."""

    def __init__(self) -> None:
        self.bytes = 0

    def take(self, count: int) -> int:
        """Where the next `count` bytes lie."""
        place = self.bytes
        self.bytes += aligned(count)
        return place


@dataclass(frozen=True)
class BiasInPlace:
    """Biases in their own order, in the sum's type."""

    dtype: str

    def __call__(self, bias: Array) -> Array:
        """The biases as the kernel reads them."""
        return as_sums(np.ascontiguousarray(bias), self.dtype)


def fewest_items(machine: Machine) -> int:
    """Items for the threads to share, where there is enough work."""
    return max(2 * machine.cores, 4)


def halves(count: int) -> list[int]:
    """The count, its half, and so on down to 1, each rounded up.

    >>> halves(6)
    [6, 3, 2, 1]
    """
    found = [max(count, 1)]
    while found[-1] > 1:
        found.append(-(-found[-1] // 2))
    return found
