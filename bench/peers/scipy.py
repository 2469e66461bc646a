"""SciPy: pictures and signals."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from bench.peers import filters
from bench.peers.peer import Contestant
from bench.problems import AnyRow, Array, Row, sigma_of
from juanji.boundary import pad

LARGE = 9  # taps along each axis from which overlap-add is worth a try
MOST_MACS = 2 * 10**9  # that ndimage does in a time that one may wait

MODES = {"constant": "constant", "edge": "nearest", "reflect": "mirror", "symmetric": "reflect", "wrap": "wrap"}


class SciPy:
    """SciPy's ndimage.correlate into an array that is there already, and for signals the best of scipy.signal. It has one thread."""

    library = "scipy"

    def __init__(self) -> None:
        self.ndimage: Any = importlib.import_module("scipy.ndimage")
        self.signal: Any = importlib.import_module("scipy.signal")

    @contextmanager
    def session(self, threads: int) -> Iterator[None]:
        yield

    def contestants(self, row: AnyRow, first: Array, second: Array) -> Iterator[Contestant]:
        if not filters.is_plain(row):
            return
        spec = row.describe()
        x, w = first.reshape(spec.size), second.reshape(spec.kernel)
        if filters.is_filter(spec):
            if row.filter in ("gaussian", "box") and row.dtype != "uint8":  # of bytes, each pass would be cut off to bytes
                yield self._separable(row, x, w)
            wraps = spec.dtypes.y == "uint8" and bool((w < 0).any())  # what is below 0, where ours saturates
            if spec.macs <= MOST_MACS and not wraps:
                yield self._filter(row, x, w)
            if not row.filter and spec.dtypes.y != "uint8" and min(spec.kernel) >= LARGE:
                yield self._large(row, x, w)
        elif filters.is_signal(spec):
            yield from self._signal(row, x, w)

    def _filter(self, row: Row, x: Array, w: Array) -> Contestant:
        mode, out = MODES[row.describe().boundary[0].mode], np.empty_like(x)

        def run() -> Any:
            self.ndimage.correlate(x, w, output=out, mode=mode)
            return out

        return Contestant(self.library, "ndimage", run, filters.reader(row), truncates=True)

    def _separable(self, row: Row, x: Array, w: Array) -> Contestant:
        """One pass of ndimage for each axis."""
        mode, out, size = MODES[row.describe().boundary[0].mode], np.empty_like(x), w.shape[0]

        def run() -> Any:
            if row.filter == "box":
                self.ndimage.uniform_filter(x, size, output=out, mode=mode)
            else:
                self.ndimage.gaussian_filter(x, sigma_of(size), output=out, mode=mode, radius=size // 2)
            return out

        return Contestant(self.library, "ndimage", run, filters.reader(row))

    def _large(self, row: Row, x: Array, w: Array) -> Contestant:
        """Overlap-add, which knows no boundary but zero: the picture is padded beforehand."""
        spec = row.describe()
        for axis, (sides, boundary) in enumerate(zip(spec.padding, spec.boundary, strict=True)):
            x = pad(x, axis, *sides, boundary)
        turned = np.ascontiguousarray(np.flip(w))
        return Contestant(self.library, "overlap-add", lambda: self.signal.oaconvolve(x, turned, "valid"), filters.reader(row))

    def _signal(self, row: Row, x: Array, w: Array) -> Iterator[Contestant]:
        turned, one = np.ascontiguousarray(w[::-1]), np.ones(1, w.dtype)
        read = filters.reader(row)
        yield Contestant(self.library, "direct", lambda: self.signal.correlate(x, w, "valid", "direct"), read)
        yield Contestant(self.library, "fft", lambda: self.signal.fftconvolve(x, turned, "valid"), read)
        yield Contestant(self.library, "overlap-add", lambda: self.signal.oaconvolve(x, turned, "valid"), read)
        yield Contestant(self.library, "lfilter", lambda: self.signal.lfilter(turned, one, x)[len(w) - 1 :], read)
