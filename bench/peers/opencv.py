"""OpenCV: pictures."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from bench.peers import filters
from bench.peers.peer import Contestant
from bench.problems import AnyRow, Array

BORDERS = {"constant": "CONSTANT", "edge": "REPLICATE", "reflect": "REFLECT_101", "symmetric": "REFLECT"}


class OpenCV:
    """OpenCV's filter2D, into a picture that is there already."""

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
