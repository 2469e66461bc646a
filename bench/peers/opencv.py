"""OpenCV: pictures."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from bench.peers import filters
from bench.peers.peer import Contestant
from bench.problems import AnyRow, Array, Row, sigma_of
from juanji.factors import factors

BORDERS = {"constant": "CONSTANT", "edge": "REPLICATE", "reflect": "REFLECT_101", "symmetric": "REFLECT"}


class OpenCV:
    """OpenCV's filter2D, and its separable filters, into a picture that is there already."""

    library = "opencv"

    def __init__(self) -> None:
        self.cv: Any = importlib.import_module("cv2")

    @contextmanager
    def session(self, threads: int) -> Iterator[None]:
        before = self.cv.getNumThreads()
        self.cv.setNumThreads(threads)
        try:
            yield
        finally:
            self.cv.setNumThreads(before)

    def contestants(self, row: AnyRow, first: Array, second: Array) -> Iterator[Contestant]:
        if not filters.is_plain(row):
            return
        spec = row.describe()
        mode = spec.boundary[0].mode
        if not filters.is_filter(spec) or spec.n != 2 or mode not in BORDERS:
            return
        picture, kernel = first.reshape(spec.size), second.reshape(spec.kernel)
        border = getattr(self.cv, f"BORDER_{BORDERS[mode]}")
        out = np.empty_like(picture)

        def run() -> Any:
            return self.cv.filter2D(picture, -1, kernel, dst=out, borderType=border)

        yield Contestant(self.library, "", run, filters.reader(row))
        if row.filter:
            yield from self._separable(row, picture, kernel, border)

    def _separable(self, row: Row, picture: Array, kernel: Array, border: int) -> Iterator[Contestant]:
        """What OpenCV has for kernels that it is told to be separable, and for this one. Its Gaussian of bytes is one of fixed point."""
        cv, out, size, read = self.cv, np.empty_like(picture), kernel.shape[::-1], filters.reader(row)
        terms = factors(kernel, 1, kernel.dtype)
        assert terms is not None
        down, along = terms[0]
        ways = {"sepFilter2D": lambda: cv.sepFilter2D(picture, -1, along, down, dst=out, borderType=border)}
        match row.filter:
            case "gaussian":
                sigma = sigma_of(size[0])
                ways["GaussianBlur"] = lambda: cv.GaussianBlur(picture, size, sigma, dst=out, borderType=border)
            case "box":
                ways["boxFilter"] = lambda: cv.boxFilter(picture, -1, size, dst=out, borderType=border)
            case "sobel":
                ways["Sobel"] = lambda: cv.Sobel(picture, -1, 1, 0, dst=out, borderType=border)
        for name, way in ways.items():
            yield Contestant(self.library, name, way, read, truncates=True)
