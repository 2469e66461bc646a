"""The peers: each takes a row and says in which ways it can run it. One that is not installed is named and left out."""

import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from bench.rows import FIRST, LAST, Array, Row
from juanji.spec import Convolution

# what each calls the boundaries that it has
TORCH_MODES = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}
OPENCV_BORDERS = {"constant": "CONSTANT", "edge": "REPLICATE", "reflect": "REFLECT_101", "symmetric": "REFLECT"}
SCIPY_MODES = {"constant": "constant", "edge": "nearest", "reflect": "mirror", "symmetric": "reflect", "wrap": "wrap"}


@dataclass(frozen=True)
class Contestant:
    """One way to run a row, with everything prepared that may be prepared: layout, packed weights, a place for the result.

    read: from what `run` returns to an array in the row's own shape and layout.
    same: whether it takes and returns arrays in the row's layout.
    truncates: rounds its bytes towards zero, so may differ by one from those that round to nearest.
    """

    library: str
    setting: str
    run: Callable[[], Any]
    read: Callable[[Any], Array]
    same: bool = True
    truncates: bool = False

    @property
    def label(self) -> str:
        return f"{self.library} {self.setting}".strip()


class Peer(Protocol):
    """A library: `session` sets its threads for as long as it lasts, `contestants` are its ways to run a row, perhaps none."""

    library: str

    def session(self, threads: int) -> AbstractContextManager[None]: ...

    def contestants(self, row: Row, x: Array, w: Array) -> Iterator[Contestant]: ...


def find() -> tuple[list[Peer], list[str]]:
    """The peers that are installed, and the names of those that are not."""
    peers: list[Peer] = []
    missing = []
    for peer in (Torch, OpenCV, SciPy):
        try:
            peers.append(peer())
        except ImportError:
            missing.append(peer.library)
    return peers, missing


class Torch:
    """PyTorch on the CPU in both memory formats, and with weights that oneDNN packed beforehand. It makes its result in each call."""

    library = "torch"

    def __init__(self) -> None:
        self.torch: Any = importlib.import_module("torch")

    @contextmanager
    def session(self, threads: int) -> Iterator[None]:
        before = self.torch.get_num_threads()
        self.torch.set_num_threads(threads)
        try:
            with self.torch.inference_mode():
                yield
        finally:
            self.torch.set_num_threads(before)

    def contestants(self, row: Row, x: Array, w: Array) -> Iterator[Contestant]:
        spec = row.describe()
        mode = spec.boundary[0].mode
        if row.dtype not in ("float32", "float64") or mode not in ("constant", *TORCH_MODES):
            return
        if row.kind == "picture":
            x, w = x[None, None], w[None, None]
        if row.layout == LAST:
            x, w = np.moveaxis(x, -1, 1), np.moveaxis(w, (-1, -2), (0, 1))
        tx, tw = (self.torch.from_numpy(np.ascontiguousarray(a)) for a in (x, w))
        how = _Geometry(list(spec.stride), spec.padding, list(spec.dilation), spec.groups, mode)

        def read(y: Any) -> Array:
            if y.ndim > spec.n + 2:
                y = y.squeeze(2)
            if row.kind == "picture":
                y = y[0, 0]
            array: Array = y.numpy()
            return np.moveaxis(array, 1, -1) if row.layout == LAST else array

        yield Contestant(self.library, FIRST, self._plain(tx, tw, how), read, same=row.layout == FIRST)
        if spec.n == 1:
            tx, tw, how = tx.unsqueeze(2), tw.unsqueeze(2), how.as_picture()
        last = self.torch.channels_last_3d if spec.n == 3 else self.torch.channels_last
        tx, tw = (a.contiguous(memory_format=last) for a in (tx, tw))
        yield Contestant(self.library, LAST, self._plain(tx, tw, how), read, same=row.layout == LAST)
        packed = self._packed(tx, tw, how) if row.dtype == "float32" and how.symmetric else None
        if packed:
            yield Contestant("torch-packed", "", packed, read, same=row.layout == LAST)

    def _plain(self, x: Any, w: Any, how: "_Geometry") -> Callable[[], Any]:
        """The public operator; a padding that it has not is another call before it, each time."""
        conv = (self.torch.conv1d, self.torch.conv2d, self.torch.conv3d)[x.ndim - 3]
        if how.symmetric:
            sides = [low for low, _ in how.padding]
            return lambda: conv(x, w, None, how.stride, sides, how.dilation, how.groups)
        pad, mode = self.torch.nn.functional.pad, TORCH_MODES.get(how.mode, how.mode)
        ends = [side for pair in reversed(how.padding) for side in pair]
        return lambda: conv(pad(x, ends, mode=mode), w, None, how.stride, 0, how.dilation, how.groups)

    def _packed(self, x: Any, w: Any, how: "_Geometry") -> Callable[[], Any] | None:
        """The operator that torch.compile freezes weights into; None where this build has it not, or not for this problem."""
        sides = [low for low, _ in how.padding]
        try:
            pack = self.torch.ops.mkldnn._reorder_convolution_weight
            conv = self.torch.ops.mkldnn._convolution_pointwise
            packed = pack(w, sides, how.stride, how.dilation, how.groups, list(x.shape))
        except (AttributeError, RuntimeError):
            return None
        return lambda: conv(x, packed, None, sides, how.stride, how.dilation, how.groups, "none", [], "")


class _Geometry(NamedTuple):
    """Where torch's operator looks, in its words."""

    stride: list[int]
    padding: tuple[tuple[int, int], ...]
    dilation: list[int]
    groups: int
    mode: str

    @property
    def symmetric(self) -> bool:
        """Whether the operator pads so by itself."""
        return self.mode == "constant" and all(low == high for low, high in self.padding)

    def as_picture(self) -> "_Geometry":
        """Of a signal seen as a picture of height 1, which torch has in both memory formats."""
        return self._replace(stride=[1, *self.stride], padding=((0, 0), *self.padding), dilation=[1, *self.dilation])


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

    def contestants(self, row: Row, x: Array, w: Array) -> Iterator[Contestant]:
        spec = row.describe()
        mode = spec.boundary[0].mode
        if not _is_filter(spec) or spec.n != 2 or mode not in OPENCV_BORDERS:
            return
        picture, kernel = x.reshape(spec.size), w.reshape(spec.kernel)
        border = getattr(self.cv, f"BORDER_{OPENCV_BORDERS[mode]}")
        out = np.empty_like(picture)

        def run() -> Any:
            return self.cv.filter2D(picture, -1, kernel, dst=out, borderType=border)

        yield Contestant(self.library, "", run, _reader(row))


class SciPy:
    """SciPy's ndimage.correlate into an array that is there already, and for signals the best of scipy.signal. It has one thread."""

    library = "scipy"

    def __init__(self) -> None:
        self.ndimage: Any = importlib.import_module("scipy.ndimage")
        self.signal: Any = importlib.import_module("scipy.signal")

    @contextmanager
    def session(self, threads: int) -> Iterator[None]:
        yield

    def contestants(self, row: Row, x: Array, w: Array) -> Iterator[Contestant]:
        spec = row.describe()
        x, w = (x.reshape(spec.size), w.reshape(spec.kernel)) if _one_map(spec) else (x, w)
        if _is_filter(spec):
            yield self._filter(row, x, w)
        elif _is_signal(spec):
            yield from self._signal(row, x, w)

    def _filter(self, row: Row, x: Array, w: Array) -> Contestant:
        mode, out = SCIPY_MODES[row.describe().boundary[0].mode], np.empty_like(x)

        def run() -> Any:
            self.ndimage.correlate(x, w, output=out, mode=mode)
            return out

        return Contestant(self.library, "ndimage", run, _reader(row), truncates=True)

    def _signal(self, row: Row, x: Array, w: Array) -> Iterator[Contestant]:
        turned, one = np.ascontiguousarray(w[::-1]), np.ones(1, w.dtype)
        yield Contestant(self.library, "direct", lambda: self.signal.correlate(x, w, "valid", "direct"), _reader(row))
        yield Contestant(self.library, "fft", lambda: self.signal.fftconvolve(x, turned, "valid"), _reader(row))
        yield Contestant(self.library, "overlap-add", lambda: self.signal.oaconvolve(x, turned, "valid"), _reader(row))
        yield Contestant(self.library, "lfilter", lambda: self.signal.lfilter(turned, one, x)[len(w) - 1 :], _reader(row))


def _is_filter(spec: Convolution) -> bool:
    """Whether it takes one plain array to one of the same size, which is all that the picture libraries do."""
    centred = all(pair == (k // 2, k // 2) and k % 2 for pair, k in zip(spec.padding, spec.kernel, strict=True))
    return _one_map(spec) and centred


def _is_signal(spec: Convolution) -> bool:
    return _one_map(spec) and spec.n == 1 and spec.padding == ((0, 0),)


def _one_map(spec: Convolution) -> bool:
    one = (spec.batch, spec.channels, spec.features) == (1, 1, 1)
    return one and all(step == 1 for step in (*spec.stride, *spec.dilation))


def _reader(row: Row) -> Callable[[Any], Array]:
    shape = row.x_shape if row.kind == "picture" else row.describe().y_shape
    return lambda y: np.asarray(y).reshape(shape)
