"""Schedules of pooling: which lanes, how large the items of work, and the tables that the code reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji.algorithms.problem import aligned
from juanji.entry import Entry
from juanji.jit.arguments import pack
from juanji.jit.emit import BYTES
from juanji.jit.pooling import emit_pooling
from juanji.jit.scatter import ScatterCode, emit_scatter
from juanji.jit.store import Code
from juanji.jit.windowed import SCALARS, PoolingCode
from juanji.machine import Machine
from juanji.windows import Index, Slide, Spread, Windows

Array = npt.NDArray[Any]
Divisors = tuple[npt.NDArray[np.int64], ...]

MOST_STRIDE = 8  # with which a slide or spread still beats one window at a time: each tap takes as many loads and shuffles
PANEL = 16 << 10  # bytes of small planes that are turned into pixels together; in larger ones rows are long enough
LARGE_PANEL = 256 << 10  # where windows differ, so that rows are reduced one output at a time, or are large
MOST_WRITTEN = 4  # taps of a slide that are written one after the other
LINE_ELEMENTS = 2048  # outputs of a block of columns: their line stays in the first cache
LARGE = 5  # rows of a plane to one of its results, from which on this is faster than to reduce along rows
LEAST_TURNED = 3  # times as many elements as lines have, from which on planes are reduced to these and then turned
MANY_MET = 16  # elements of a window, from which on that pays anyway: one axis after the other, there are fewer to meet
TOGETHER = 4  # rows that go down into lines of their own before any is read again
SHORT_LINE = 512  # elements, up to which a line would be read before it has reached the first cache
ITEM_TAPS = 1 << 16  # elements that an item of work should meet at least
TAP_CYCLES = 0.25  # per element that a window meets, for the choice of threads
SHARE = 128  # channels to which values are sent together: fewer, and their lines of the first cache are in each other's way
ASKED_FOR = 1 << 16  # bytes of a plane, up to which the next one is asked for before it is cleared
SCATTER_CYCLES = 4.0  # per element that is scattered


@dataclass(frozen=True)
class Kernel:
    """A piece of work for generated code: what `Program` is for convolutions.

    words: the fixed arguments by name. x_axes: names of arguments that are strides of the input, and of which dimension.
    items: independent pieces; scratch: bytes per thread; tables: arrays that the words point into.
    """

    code: Any
    emit: Callable[..., str]
    names: tuple[str, ...]
    words: Mapping[str, int]
    x_axes: Mapping[str, int]
    items: int
    scratch: int
    cycles: float
    close: tuple[int, ...] = ()  # the input's dimensions that must lie as in a C-contiguous array, innermost first
    tables: tuple[Array, ...] = ()

    def entry(self, code: Code, x_strides: tuple[int, ...]) -> Entry:
        """The machine code with its arguments, for an input with these strides in bytes."""
        row = pack(self.names, {**self.words, **{name: x_strides[dimension] for name, dimension in self.x_axes.items()}})
        return Entry(code, row, self.items, self.scratch, self.cycles)

    def fits(self, x: Array) -> bool:
        """Whether an array can be read where it lies."""
        flags = x.flags
        if not flags.c_contiguous:
            step = x.itemsize
            for dimension in self.close:
                if x.strides[dimension] != step and x.shape[dimension] > 1:
                    return False
                step *= x.shape[dimension]
        return flags.aligned


@dataclass(frozen=True, eq=False)
class Reduction:
    """Every window of a batch reduced to one value.

    x, y, total: element types of input and output, and of comparisons or sums. largest: the largest element, else the sum.
    places: also where the largest stands. matched: only elements whose places name the output count; channels last only.
    before: "abs" or "square" of each element. root: the square root of each result. times: each result by the element beside it of an
    array that lies as results do. divisors, shared: per axis what results are divided by, or elements before they are added, or None.
    """

    windows: tuple[Windows, ...]
    batch: int
    channels: int
    layout: str
    x: str
    y: str
    total: str
    largest: bool
    places: bool = False
    matched: bool = False
    before: str | None = None
    root: bool = False
    times: bool = False
    divisors: Divisors | None = None
    shared: Divisors | None = None

    @property
    def last(self) -> bool:
        """Whether channels lie innermost."""
        return self.layout == "channels_last" and self.channels > 1

    @property
    def bytes(self) -> int:
        """Of input and output."""
        inside, outside = math.prod(w.size for w in self.windows), math.prod(w.out for w in self.windows)
        of_x, of_y = np.dtype(self.x).itemsize, np.dtype(self.y).itemsize
        return self.batch * self.channels * (inside * of_x + outside * of_y)

    @property
    def after(self) -> str | None:
        """What is done to a result. To divide by a power of two is to multiply by its reciprocal, to the last bit."""
        if self.root or self.times:
            return "root" if self.root else "times"
        if self.divisors is None or all((d == 1).all() for d in self.divisors):
            return None
        return "scale" if all((d & (d - 1) == 0).all() for d in self.divisors) else "divide"

    @property
    def even(self) -> bool:
        """Whether all results are divided by one number."""
        return self.after in ("divide", "scale") and all((d == d[0]).all() for d in self.divisors or ())


def reduction(work: Reduction, machine: Machine) -> Kernel:
    """The kernel of a reduction."""
    n = len(work.windows)
    work = _merged(work)
    size = np.dtype(work.total).itemsize
    lanes = machine.vector_bits // 8 // size
    windows, after = work.windows, work.after
    wide, plane = windows[-1], math.prod(w.size for w in windows)
    places = None if not work.places else "i32" if plane < 2**31 else "i64"
    mode, stride = _mode(work, places is None and (after in (None, "times") or work.even), lanes)
    regular = wide.regular
    slide = regular if isinstance(regular, Slide) and mode == "slide" else None
    vectors = 4 if places is None or size >= BYTES[places] else 1
    taps = math.prod(int(w.count.max()) for w in windows)
    least = 1 if taps >= MANY_MET and len(windows) > 1 else LEAST_TURNED
    lined = _lined(work) if mode == "planes" and places is None and lanes <= _lined(work) <= plane / least else 0
    rows = len(windows) > 1 and mode not in ("channels", "planes", "whole")
    if rows or lined:
        vectors = min(vectors, -(-wide.size // lanes))
    elif mode == "whole":
        vectors = min(vectors, wide.size // lanes)
    portions = _portions(work)
    code = PoolingCode(
        x=work.x,
        y=work.y,
        total=SCALARS[work.total],
        largest=work.largest,
        before=work.before,
        after=after,
        even=work.even,
        places=places,
        matched=work.matched,
        axes=len(windows),
        lanes=mode,
        stride=stride,
        window=slide.window if slide is not None and slide.dilation == 1 and slide.window <= MOST_WRITTEN else 0,
        phase=regular.low % stride if isinstance(regular, Spread) and mode == "spread" else 0,
        long=mode == "run" and wide.step == 1 and int(wide.count.max()) >= lanes,
        vectors=vectors,
        lined=lined > 0,
        portions=tuple(bool((portion != 1).any()) for portion in portions),
        far=rows and work.bytes > machine.l2,
        together=TOGETHER if rows and wide.size <= SHORT_LINE else 1,
    )
    out = [w.out for w in windows]
    factors = _factors(work, after, lanes)
    firsts, counts = [w.first for w in windows], [w.count for w in windows]
    words = {"channels": work.channels, "pixels": math.prod(out), "plane": plane, "size": wide.size, "line": 0, "line_all": 0}
    words |= {"low": 0, "window": 0, "dilation": 1, "meets": 1, "steps": 0, "map_ends": 0, "planes": 0, "results": 0, "tags": 0}
    words |= {"lines": 0, "lined": 0}
    ends = np.empty(0, np.int64)
    if work.last:
        share = min(max(ITEM_TAPS // max(taps, 1) // (4 * lanes), 1) * 4 * lanes, work.channels)
        shares = -(-work.channels // share)
        band, bands = _bands(out[0], taps * share * math.prod(out[1:]))
        items, scratch = work.batch * bands * shares, 0
        words |= {"blocks": shares, "block": share}
    elif mode == "planes":
        band, bands, planes = out[0], 1, work.batch * work.channels
        room, held = max(lined or plane, lanes) * lanes * size, max(math.prod(out), lanes) * lanes
        tags = room + held * np.dtype(work.y).itemsize
        lines = tags + held * (BYTES[places] if places else 0)
        items, scratch = -(-planes // lanes), lines + lined * lanes * size
        words |= {"blocks": 1, "block": 0, "planes": planes, "results": room, "tags": tags, "lines": lines, "lined": lined}
    elif mode == "whole":
        band, bands, groups = 1, 1, -(-work.channels // lanes)
        items, scratch = work.batch * groups, lanes * lanes * size
        words |= {"blocks": groups, "block": 0}
    else:
        block = LINE_ELEMENTS if slide is not None and wide.out > 2 * LINE_ELEMENTS else wide.out
        line = -(-_line(wide, mode, stride, block, lanes) // lanes) * lanes
        band, bands = _bands(out[0], taps * math.prod(out[1:])) if len(out) > 1 else (1, 1)
        blocks = -(-wide.out // block)
        items = work.batch * work.channels * bands * blocks
        scratch = code.together * (aligned(line * size) + line * (BYTES[places] if places else 0))
        words |= {"blocks": blocks, "block": block, "line": aligned(line * size), "line_all": line}
        if isinstance(regular, Slide | Spread) and mode in ("slide", "spread"):
            words |= {"low": regular.low, "window": regular.window, "meets": -(-regular.window // stride)}
            words |= {"dilation": regular.dilation} if isinstance(regular, Slide) else {}
            firsts[-1] = counts[-1] = ends  # a long axis whose windows follow from their stride needs no tables
        if mode == "steps":
            ends = _ends(wide)
            firsts[-1], counts[-1] = wide.first[ends[:-1]], wide.count[ends[:-1]]
            words |= {"steps": len(ends) - 1, "map_ends": ends.ctypes.data}
    words |= {"band": band, "bands": bands}
    for axis, w in enumerate(windows):
        words |= {
            f"out{axis}": w.out, f"step{axis}": w.step, f"lin{axis}": math.prod(v.size for v in windows[axis + 1 :]),
            f"ys{axis}": math.prod(out[axis + 1 :]), f"map_weight{axis}": factors[axis].ctypes.data if axis < len(factors) else 0,
            f"map_first{axis}": firsts[axis].ctypes.data, f"map_count{axis}": counts[axis].ctypes.data,
            f"map_portion{axis}": portions[axis].ctypes.data if portions else 0,
        }  # fmt: skip
    spatial = list(range(1, n + 1) if work.layout == "channels_last" else range(2, n + 2))
    channel = n + 1 if work.layout == "channels_last" else 1
    whole = len(windows) < n or mode == "planes"
    inner = [*([channel] if work.last else []), *(reversed(spatial) if whole else spatial[-1:] if not work.last else [])]
    along = spatial[-len(windows) :]
    return Kernel(
        code=code,
        emit=emit_pooling,
        names=code.names,
        words=words,
        x_axes={"xs_n": 0, "xs_c": channel, **{f"xs{axis}": dimension for axis, dimension in enumerate(along)}},
        items=items,
        scratch=scratch,
        cycles=TAP_CYCLES * taps * math.prod(out) * work.batch * work.channels,
        close=tuple(inner),
        tables=(*factors, *firsts, *counts, *portions, ends),
    )


def _merged(work: Reduction) -> Reduction:
    """One long axis instead of several, where one window is the whole plane, or the whole plane looks at one element."""
    windows, size, out = work.windows, math.prod(w.size for w in work.windows), math.prod(w.out for w in work.windows)
    if len(windows) > 1 and (size == 1 or out == 1) and all((w.count == w.size).all() for w in windows):
        one = Windows(size, np.zeros(out, np.int64), np.full(out, size, np.int64), 1, None)
        divisors, shared = (per and (reduce(np.multiply.outer, per).reshape(-1),) for per in (work.divisors, work.shared))
        return replace(work, windows=(one,), divisors=divisors, shared=shared)
    return work


def _lined(work: Reduction) -> int:
    """Elements of a plane that is reduced along all axes but the last."""
    return work.windows[-1].size * math.prod(w.out for w in work.windows[:-1])


def _ends(wide: Windows) -> Index:
    """Where outputs begin that look at other elements than their neighbours before, and the end."""
    changes = (wide.first[1:] != wide.first[:-1]) | (wide.count[1:] != wide.count[:-1])
    return np.concatenate([[0], np.flatnonzero(changes) + 1, [wide.out]]).astype(np.int64)


def _mode(work: Reduction, plain: bool, lanes: int) -> tuple[str, int]:
    """What lies in the lanes, and the stride along it. plain: neither places nor factors tell outputs of equal windows apart.

    Bits depend on the choice, so it looks at nothing that may not show in them: not at the batch, nor at where x lies.
    """
    if work.last:
        return "channels", 1
    size = np.dtype(work.total).itemsize
    ends = [math.prod(w.size for w in work.windows), math.prod(w.out for w in work.windows)]
    wide = work.windows[-1]
    regular = wide.regular
    large = not work.places and ends[0] >= LARGE * _lined(work)
    panel = LARGE_PANEL if regular is None or large else PANEL
    if size >= 4 and 2 * work.channels >= lanes and min(ends) > 1 and max(ends) * lanes * size <= panel:
        return "planes", 1
    one = len(work.windows) == wide.out == 1 and wide.count[0] == wide.size  # a single window may also miss elements
    if one and wide.size >= lanes <= work.channels and not work.places and not work.shared:
        return "whole", 1
    if regular is not None and regular.stride <= MOST_STRIDE and wide.out > 1:
        return ("slide" if isinstance(regular, Slide) else "spread"), regular.stride
    return ("steps" if plain and 2 * len(_ends(wide)) <= wide.out else "run"), 1


def _line(wide: Windows, mode: str, stride: int, block: int, lanes: int) -> int:
    """Elements of a line buffer: what the outputs of a block meet, and what whole vectors read beyond."""
    match mode, wide.regular:
        case "slide", Slide() as slide:
            return (max(block, lanes) - 1) * stride + slide.dilation * (slide.window - 1) + 1 + lanes * stride
        case "spread", Spread() as spread:
            meets = -(-spread.window // stride)
            return meets - 1 + max(wide.size, (spread.low + block + lanes * stride) // stride + 1) + 2 * lanes
    return wide.size + lanes


def _bands(out: int, row: int) -> tuple[int, int]:
    """Rows of an item, and how many items a plane makes."""
    band = min(max(ITEM_TAPS // max(row, 1), 1), out)
    return band, -(-out // band)


def _factors(work: Reduction, after: str | None, lanes: int) -> tuple[Array, ...]:
    """Per axis the factor of each output, longer than the axis, because whole vectors are read; or the one factor of all."""
    if work.divisors is None or after not in ("scale", "divide"):
        return ()
    factors = []
    for divisor in [reduce(np.multiply, [d[:1] for d in work.divisors])] if work.even else work.divisors:
        factor = np.ones(len(divisor) + lanes, work.total)
        factor[: len(divisor)] = 1 / divisor if after == "scale" else divisor
        factors.append(factor)
    return tuple(factors)


def _portions(work: Reduction) -> tuple[Array, ...]:
    """Per axis what its elements are multiplied by. Axes whose elements are all alike leave that to the last, so that less is rounded."""
    if work.shared is None:
        return ()
    *outer, last = work.shared
    even = [bool((divisor == divisor[0]).all()) for divisor in outer]
    last = last * math.prod(int(divisor[0]) for divisor, alike in zip(outer, even, strict=True) if alike)
    outer = [np.ones_like(divisor) if alike else divisor for divisor, alike in zip(outer, even, strict=True)]
    return tuple((1 / divisor).astype(work.total) for divisor in (*outer, last))


def scatter(
    size: tuple[int, ...],
    out: tuple[int, ...],
    batch: int,
    channels: int,
    last: bool,
    dtype: str,
    add: bool,
    machine: Machine,
    beside: int = 1,
) -> Kernel:
    """The kernel that puts values (…, *out) where their places say in planes of zeros (…, *size); equal places add up, or the last wins.

    beside: channels-first planes whose values are sent in turns.
    """
    last = last and channels > 1
    places, pixels, planes = math.prod(out), math.prod(size), batch * channels
    plane = pixels * np.dtype(dtype).itemsize
    far = not last and planes * (plane + places * (8 + np.dtype(dtype).itemsize)) > machine.l2
    code = ScatterCode(dtype, add, last, 1 if last else beside, far)
    share = min(channels, SHARE) if last else plane // places if plane <= ASKED_FOR else 0
    shares = -(-channels // share) if last else 1
    words = {"places": places, "pixels": pixels, "channels": channels, "share": share, "shares": shares, "planes": planes}
    items = batch * shares if last else -(-planes // beside)
    return Kernel(code, emit_scatter, code.names, words, {}, items, 0, planes * (SCATTER_CYCLES * places + TAP_CYCLES * pixels))
