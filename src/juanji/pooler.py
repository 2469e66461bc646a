"""How a described pooling is computed, forward and backward.

Largest values, sums and norms are windows reduced by generated code (jit/pooling.py). Their gradients:

    max   each error goes to the element that its place names                           dx[place[p]] += dy[p]
    avg   each error is shared evenly: the transpose of a sum over windows               dx = Sᵀ(dy / count)
    lp    with y = (Σ |x|^p)^(1/p):  ∂y/∂x = sign(x)·|x|^(p−1) / y^(p−1), so             dx = sign(x)·|x|^(p−1)·Sᵀ(dy / y^(p−1))

A weighted mean is a convolution in which every channel is a picture of its own, over the convolution of a picture of ones.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from juanji import machine as machines
from juanji.algorithms.pooling import Divisors, Kernel, Reduction, reduction, scatter
from juanji.convolution import compute
from juanji.describe import array_of, describe
from juanji.elementwise import ready
from juanji.entry import Entry
from juanji.errors import ArgumentError, DtypeError, ShapeError
from juanji.gradients import conv_grad_input
from juanji.jit.load import load
from juanji.jit.memory import apart, empty_aligned
from juanji.jit.store import Code
from juanji.kept import kept
from juanji.machine import Machine
from juanji.parts import Entries
from juanji.run import Ready
from juanji.spec import Convolution
from juanji.windows import Pooling, Sliding

Array = npt.NDArray[Any]

WHOLE = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")
FLOATS = ("float16", "float32", "float64")
NAMES = {np.dtype(name): name for name in (*WHOLE, *FLOATS)}  # NumPy takes a microsecond to spell a type's name
FETCHED, FETCHED_FROM_MEMORY = 7.0, 20.0  # taps of a window, up to which its error is better fetched than sent
CLEARED = 0.4  # the same for each element of an error's share, which is cleared before errors are sent
MOST_MEETING = 4  # windows at an element, up to which few of neighbouring errors have the same place


# Plans -------------------------------------------------------------------------------------------------------------------


class Reducer:
    """One reduction, compiled when it is first wanted. It does not hold on to `work`, whose tables may be large."""

    def __init__(self, work: Reduction, machine: Machine):
        self.kernel, self.target = reduction(work, machine), machine.target
        self._entries = Entries()

    @kept
    def code(self) -> Code:
        """The machine code."""
        return load(self.kernel.code, self.kernel.emit, self.target, machines.identity())

    def __call__(self, x: Array, y: Array, places: Array | None, threads: int | None) -> None:
        """Reduce x into the C-contiguous y, and the places into the likewise contiguous `places`; or what results are multiplied by."""
        if y.size == 0:
            return
        kernel = self.kernel
        if not kernel.fits(x):
            x = np.ascontiguousarray(x)
        entry = self._entries.get(x.strides) or self._entries.new(x, self._entry)
        if kernel.code.matched and places is not None:
            _run_checked(entry, kernel, x, places, y, threads)
        else:
            entry(x, places, None, y, threads)

    def ready(self, x: Array, y: Array, places: Array | None, threads: int | None) -> Ready:
        """The call on arrays that stay where they are, of which x fits; not for two threads at a time."""
        kernel, entry = self.kernel, self._entries.get(x.strides) or self._entries.new(x, self._entry)
        row = entry.filled(x, places, None, y)
        return Ready(self.code, row, kernel.items, kernel.scratch, kernel.cycles, threads, (x, y, places, kernel))

    def _entry(self, strides: tuple[int, ...]) -> Entry:
        return self.kernel.entry(self.code, strides)


class Pooler:
    """The reductions of one description, forward and backward, each made when it is first wanted."""

    def __init__(self, pooling: Pooling, machine: Machine):
        self.pooling, self.machine = pooling, machine
        self.x_dtype, self.y_dtype = np.dtype(pooling.dtype), np.dtype(pooling.y_dtype)
        self.total = np.dtype({"float16": "float32", "bool": "uint8"}.get(pooling.y_dtype, pooling.y_dtype))  # of comparisons and sums

    def _reduction(
        self, largest: bool, places: bool = False, before: str | None = None, root: bool = False, mean: bool = False, wide: bool = False
    ) -> Reducer:
        pooling, total = self.pooling, self.total.name
        stored = (total, total) if wide else tuple("uint8" if name == "bool" else name for name in (pooling.dtype, pooling.y_dtype))
        return Reducer(
            Reduction(
                windows=tuple(axis.windows for axis in pooling.axes),
                batch=pooling.batch,
                channels=pooling.channels,
                layout=pooling.layout,
                x=stored[0],
                y=stored[1],
                total=total,
                largest=largest,
                places=places,
                before=before,
                root=root,
                divisors=tuple(axis.divisor(pooling.padding_counts) for axis in pooling.axes) if mean else None,
            ),
            self.machine,
        )

    @kept
    def forward(self) -> Reducer:
        """The pooling itself; for a p without code of its own the sum, of powers that are already taken."""
        match self.pooling.kind, self.pooling.p:
            case "max", _:
                return self._reduction(largest=True)
            case "avg", _:
                return self._reduction(largest=False, mean=True)
            case _, 1.0:
                return self._reduction(largest=False, before="abs")
            case _, 2.0:
                return self._reduction(largest=False, before="square", root=True)
            case _, math.inf:
                return self._reduction(largest=True, before="abs")
        return self._reduction(largest=False, wide=True)

    @kept
    def with_places(self) -> Reducer:
        """The maximum and its places; of absolute values for the norm with p = inf."""
        return self._reduction(largest=True, places=True, before="abs" if self.pooling.kind == "lp" else None)

    @kept
    def spread(self) -> Reducer:
        """Sᵀ: at every element the sum over the windows that meet it."""
        return self._transposed()

    @kept
    def spread_times(self) -> Reducer:
        """Sᵀ, and its results by the elements of an array."""
        return self._transposed(times=True)

    @kept
    def matched(self) -> Reducer:
        """At every element the sum of the errors of the windows that meet it and whose places name it."""
        return self._transposed(matched=True)

    @kept
    def spread_means(self) -> Reducer:
        """`spread` of means: each error by the number of elements of its window. By its reciprocal, since a division would take longer
        than all else."""
        return self._transposed(shared=tuple(axis.divisor(self.pooling.padding_counts) for axis in self.pooling.axes))

    def _transposed(self, matched: bool = False, times: bool = False, shared: Divisors | None = None) -> Reducer:
        pooling, total = self.pooling, self.total.name
        return Reducer(
            Reduction(
                windows=tuple(axis.windows.transpose() for axis in pooling.axes),
                batch=pooling.batch,
                channels=pooling.channels,
                layout=pooling.layout,
                x=total,
                y=total,
                total=total,
                largest=False,
                matched=matched,
                times=times,
                shared=shared,
            ),
            self.machine,
        )

    @kept
    def sender(self) -> Sender:
        """What adds errors up at their places."""
        pooling, last = self.pooling, self.pooling.layout == "channels_last"
        beside = 2 if self._taps * math.prod(pooling.output) > MOST_MEETING * math.prod(pooling.size) else 1
        shapes = pooling.size, pooling.output, pooling.batch, pooling.channels
        return Sender(scatter(*shapes, last, self.total.name, True, self.machine, beside))

    @kept
    def fetches(self) -> bool:
        """Whether the errors of maxima are not sent to their places, but fetched by the elements of their windows: by as many at a time as
        there are lanes, where channels are in these. What is sent waits for memory, if that is not the second cache."""
        pooling = self.pooling
        if pooling.layout != "channels_last" or pooling.channels == 1:
            return False
        outputs, elements = math.prod(pooling.output), math.prod(pooling.size)
        size = pooling.channels * (outputs * (8 + self.total.itemsize) + elements * self.total.itemsize)
        most = FETCHED + CLEARED * elements / outputs if size <= self.machine.l2 else FETCHED_FROM_MEMORY
        return self._taps <= most

    @kept
    def _taps(self) -> float:
        """Elements of a window, on average."""
        return math.prod(float(axis.windows.count.mean()) for axis in self.pooling.axes)


@lru_cache(maxsize=1024)
def pooler(pooling: Pooling) -> Pooler:
    """The plan of a description; the same object for equal descriptions."""
    return Pooler(pooling, machines.probe())


# Forward -----------------------------------------------------------------------------------------------------------------


def forward(
    plan: Pooler, x: Array, single: bool, weights: Array | None, return_indices: bool, out: Array | None, threads: int | None
) -> Any:
    pooling = plan.pooling
    if return_indices and pooling.kind != "max":
        raise ArgumentError(f"return_indices is meant for kind 'max', but kind (={pooling.kind!r}) has no places")
    given = None if out is None else batched(out, single)
    y = empty_aligned(pooling.y_shape, plan.y_dtype) if given is None else _usable(given, pooling.y_shape, plan.y_dtype, x)
    places = empty_aligned(pooling.y_shape, np.int64) if return_indices else None
    if weights is not None:
        np.copyto(y, _weighted(plan, x, weights, threads))
    elif pooling.kind == "lp" and pooling.p not in (1, 2, math.inf):
        powers = np.abs(x.astype(plan.total))
        powers **= pooling.p
        sums = np.empty(pooling.y_shape, plan.total)
        plan.forward(powers, sums, None, threads)
        np.copyto(y, np.power(sums, 1 / pooling.p, out=sums), casting="same_kind")
    else:
        reducer = plan.forward if places is None else plan.with_places
        truth = plan.y_dtype.kind == "b"
        reducer(x.view(np.uint8) if truth else x, y.view(np.uint8) if truth else y, places, threads)
    if given is not None and y is not given:
        np.copyto(given, y)
    result = out if out is not None else y[0] if single else y
    if places is None:
        return result
    return result, places[0] if single else places


def _weighted(plan: Pooler, x: Array, weights: Array, threads: int | None) -> Array:
    """Σ w·x / Σ w over what lies inside each window."""
    pooling = plan.pooling
    w, norm = _normalised(pooling, weights)
    spec = _as_pictures(pooling, plan.total.name)
    pictures = x.astype(plan.total, copy=False).reshape(spec.x_shape)
    y = compute(spec, pictures, w.reshape(spec.w_shape).astype(plan.total), threads=threads).reshape(pooling.y_shape)
    return y if norm is None else np.divide(y, norm, out=y)


def _as_pictures(pooling: Pooling, dtype: str, one: bool = False) -> Convolution:
    """The convolution in which every channel is a picture of its own; channels that lie innermost are a spatial axis.

    one: of a single picture.
    """
    axes = [axis for axis in pooling.axes if isinstance(axis, Sliding)]
    last = pooling.layout == "channels_last" and not one
    size, window, stride, dilation = (tuple(getattr(axis, name) for axis in axes) for name in ("size", "window", "stride", "dilation"))
    ends = [(axis.out - 1) * axis.stride + axis.dilation * (axis.window - 1) + 1 for axis in axes]
    padding = [(axis.low, max(end - axis.low - axis.size, 0)) for axis, end in zip(axes, ends, strict=True)]
    colours, unit = ((pooling.channels,), (1,)) if last else ((), ())
    pictures = 1 if one else pooling.batch if last else pooling.batch * pooling.channels
    return describe(
        (pictures, 1, *size, *colours),
        (1, 1, *window, *unit),
        dtype=dtype,
        stride=(*stride, *unit),
        dilation=(*dilation, *unit),
        padding=[*padding, *((0, 0) for _ in unit)],
    )


def _normalised(pooling: Pooling, weights: Array) -> tuple[Array, Array | None]:
    """The weights over their sum; and what results are still to be divided by, or None where every window lies inside."""
    total = weights.sum()
    inside = all(int(axis.windows.count.min()) == axis.window for axis in pooling.axes if isinstance(axis, Sliding))
    norm: Array | None = None
    if not inside:
        spec = _as_pictures(pooling, "float64", one=True)
        norm = compute(spec, np.ones(spec.x_shape), weights.reshape(spec.w_shape)).reshape(pooling.output)
    if not math.isfinite(total) or total == 0 or (norm is not None and (norm == 0).any()):
        raise ArgumentError("weights must have a finite sum other than 0 inside every window")
    if norm is None:
        return weights / total, None
    return weights / total, _outputs(pooling, norm / total)


# Backward ----------------------------------------------------------------------------------------------------------------


def backward(
    plan: Pooler,
    x: Array,
    dy: npt.ArrayLike,
    single: bool,
    weights: Array | None,
    indices: npt.ArrayLike | None,
    y: npt.ArrayLike | None,
    threads: int | None,
) -> Array:
    pooling = plan.pooling
    if pooling.dtype not in FLOATS:
        raise DtypeError(f"x has dtype {pooling.dtype}, but a gradient needs float16, float32 or float64")
    if indices is not None and pooling.kind != "max":
        raise ArgumentError(f"indices are meant for kind 'max', but kind (={pooling.kind!r}) has no places")
    if y is not None and pooling.kind != "lp":
        raise ArgumentError(f"y is meant for kind 'lp', but the gradient of kind (={pooling.kind!r}) does not need it")
    errors = _output_like("dy", dy, plan, single)
    match pooling.kind:
        case "max":
            places = _places(plan, x, single, indices, threads)
            dx = _scattered(plan, errors, places, threads)
        case "avg":
            dx = _spread(plan, plan.spread_means, errors, threads)
        case "lp":
            dx = _norm_gradient(plan, x, errors, None if y is None else _output_like("y", y, plan, single), threads)
        case _:
            assert weights is not None
            w, norm = _normalised(pooling, weights)
            dx = _convolution_adjoint(plan, errors if norm is None else errors / norm, w, threads)
    dx = dx if dx.dtype == plan.x_dtype else dx.astype(plan.x_dtype)
    return dx[0] if single else dx


def _norm_gradient(plan: Pooler, x: Array, errors: Array, y: Array | None, threads: int | None) -> Array:
    p = plan.pooling.p
    if math.isinf(p):
        dx = _scattered(plan, errors, _places(plan, x, False, None, threads), threads)
        return np.multiply(dx, np.sign(x), out=dx)
    if p == 1:
        dx = _spread(plan, plan.spread, errors, threads)
        return np.multiply(dx, np.sign(x), out=dx)
    norm = forward(plan, x, False, None, False, None, threads) if y is None else y
    x, errors, norm = (array.astype(plan.total, copy=False) for array in (x, errors, norm))
    power = norm if p == 2 else norm ** (p - 1)
    ratio = empty_aligned(errors.shape, plan.total)
    ready(("ratio", 0, 1), [np.ascontiguousarray(errors), np.ascontiguousarray(power)], ratio, threads)()
    if p == 2:
        return _spread(plan, plan.spread_times, ratio, threads, np.ascontiguousarray(x))
    dx = _spread(plan, plan.spread, ratio, threads)
    factor = np.abs(x)
    factor **= p - 1
    np.copysign(factor, x, out=factor)
    return np.multiply(dx, factor, out=dx)


def _spread(plan: Pooler, spread: Reducer, errors: Array, threads: int | None, beside: Array | None = None) -> Array:
    """Sᵀ of errors; by `spread_times` by the elements beside."""
    dx = empty_aligned(plan.pooling.x_shape, plan.total)
    spread(errors.astype(plan.total, copy=False), dx, beside, threads)
    return dx


def _convolution_adjoint(plan: Pooler, errors: Array, w: Array, threads: int | None) -> Array:
    """The gradient of the input of the convolution that weighs windows."""
    spec = _as_pictures(plan.pooling, plan.total.name)
    dy, kernel = errors.astype(plan.total, copy=False).reshape(spec.y_shape), w.reshape(spec.w_shape).astype(plan.total)
    steps: dict[str, Any] = {"stride": spec.stride, "dilation": spec.dilation, "padding": spec.padding}
    return conv_grad_input(dy, kernel, spec.x_shape, **steps, threads=threads).reshape(plan.pooling.x_shape)


def _places(plan: Pooler, x: Array, single: bool, indices: npt.ArrayLike | None, threads: int | None) -> Array:
    """Where each maximum stands: as given, and checked, or found anew."""
    pooling = plan.pooling
    if indices is not None:
        return places_of(indices, pooling.y_shape[1:])[None] if single else places_of(indices, pooling.y_shape)
    places = empty_aligned(pooling.y_shape, np.int64)
    plan.with_places(x, np.empty(pooling.y_shape, plan.y_dtype), places, threads)
    return places


def _scattered(plan: Pooler, errors: Array, places: Array, threads: int | None) -> Array:
    """Each error at its place: sent there, or fetched from there. Both add those that meet in row order, so to the same bits."""
    pooling = plan.pooling
    errors = errors if errors.dtype == plan.total else errors.astype(plan.total)
    if not plan.fetches:
        return send(plan.sender, errors, places, pooling.x_shape, None, threads)
    dx = empty_aligned(pooling.x_shape, plan.total)
    plan.matched(errors, dx, places, threads)
    return dx


# Sending values to places -----------------------------------------------------------------------------------------------


class Sender:
    """One scattering, compiled when it is first wanted."""

    def __init__(self, kernel: Kernel):
        self.kernel = kernel

    @kept
    def entry(self) -> Entry:
        """The machine code and its arguments."""
        return self.kernel.entry(machines.loaded(self.kernel.code, self.kernel.emit), ())


def send(sender: Sender, values: Array, places: Array, shape: tuple[int, ...], out: Array | None, threads: int | None) -> Array:
    """Batched values at their places in zeros of a shape."""
    values = np.ascontiguousarray(values)
    result = empty_aligned(shape, values.dtype) if out is None else _usable(out, shape, values.dtype, values, places)
    if result.size:
        _run_checked(sender.entry, sender.kernel, values, places, result, threads)
    if out is not None and result is not out:
        np.copyto(out, result)
    return result


def _run_checked(entry: Entry, kernel: Kernel, values: Array, places: Array, result: Array, threads: int | None) -> None:
    """Run a kernel that looks at the places that it uses. Raises ArgumentError if one of them lies outside its plane."""
    fault = np.zeros(1, np.int64)
    entry(values, places, fault, result, threads)
    if fault[0]:
        plane = kernel.words["pixels"]
        raise ArgumentError(f"indices from {places.min()} to {places.max()} must lie between 0 and {plane - 1}: flat places in a plane")


@lru_cache(maxsize=1024)
def unpooler(size: tuple[int, ...], out: tuple[int, ...], batch: int, channels: int, layout: str, itemsize: int) -> Sender:
    """What puts values (…, *out) of so many bytes at their places in planes (…, *size)."""
    return Sender(scatter(size, out, batch, channels, layout == "channels_last", f"uint{8 * itemsize}", False, machines.probe()))


# Arrays ------------------------------------------------------------------------------------------------------------------


def numbers(name: str, value: npt.ArrayLike) -> Array:
    """The value as an array of an element type that can be pooled, in this machine's byte order."""
    array = array_of(name, value)
    if array.dtype in NAMES:
        return array
    native = array.dtype.newbyteorder("=")
    if native not in NAMES:
        raise DtypeError(f"{name} has dtype {array.dtype}, but must be bool, an integer, float16, float32 or float64")
    return array.astype(native)


def product(axes: list[Array]) -> Array:
    weights = np.ones(())
    for axis in axes:
        weights = weights[..., None] * axis
    return weights


def _output_like(name: str, value: npt.ArrayLike, plan: Pooler, single: bool) -> Array:
    """An array of the output's shape, with its batch and in its type."""
    array, shape = numbers(name, value), plan.pooling.y_shape
    if array.shape != (shape[1:] if single else shape):
        raise ShapeError(f"{name} has shape {array.shape}, but the output has {shape[1:] if single else shape}")
    array = array if array.dtype == plan.y_dtype else array.astype(plan.y_dtype)
    return array[None] if single else array


def places_of(indices: npt.ArrayLike, shape: tuple[int, ...]) -> Array:
    """Places as contiguous int64, one for each value; the kernels that use them see whether they lie inside the plane."""
    places = array_of("indices", indices)
    if places.dtype.kind not in "iu":
        raise DtypeError(f"indices have dtype {places.dtype}, but must be integers")
    if places.shape != shape:
        raise ShapeError(f"indices have shape {places.shape}, but must have {shape}: one per value")
    return np.ascontiguousarray(places, np.int64)


def batched(out: Any, single: bool) -> Any:
    return out[None] if single and isinstance(out, np.ndarray) else out


def _outputs(pooling: Pooling, spatial: Array) -> Array:
    """One number per output position, shaped to be broadcast over batch and channels."""
    return spatial[..., None] if pooling.layout == "channels_last" else spatial


def _usable(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], *inputs: Array) -> Array:
    """The array to compute into: `out` itself, or another where it has gaps or shares memory with an input."""
    if isinstance(out, np.ndarray) and out.shape == shape and out.dtype == dtype and out.flags.carray and apart(out, inputs):
        return out
    if not isinstance(out, np.ndarray) or out.shape != shape:
        raise ShapeError(f"out has shape {np.shape(out)}, but the result has {shape}")
    if out.dtype != dtype and out.dtype.newbyteorder("=") != dtype:
        raise DtypeError(f"out has dtype {out.dtype}, but the result has {dtype}")
    if not out.flags.writeable:
        raise ArgumentError("out is read-only")
    return empty_aligned(shape, dtype)
