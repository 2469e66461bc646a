"""Random small members of the family, and arrays for them."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from juanji.boundary import MODES, Boundary
from juanji.spec import ACTIVATIONS, LAYOUTS, WEIGHT_LAYOUTS, Convolution, Dtypes, Epilogue, span

Array = npt.NDArray[Any]

LONGEST = {1: 12, 2: 7, 3: 5, 4: 3}  # of a spatial axis, by how many there are
PICTURES = ("uint8", "uint16")


@st.composite
def convolutions(
    draw: st.DrawFn,
    *,
    sites: bool = False,
    taps: bool = False,
    epilogue: bool = True,
    dtypes: Sequence[str] = ("float32", "float64"),
    modes: Sequence[str] = tuple(MODES),
    constants: Sequence[float] = (0.0, 0.0, 1.0, -2.0),
    max_axes: int = 3,
    max_channels: int = 3,
    max_groups: int = 3,
    max_batch: int = 2,
) -> Convolution:
    """A small valid `Convolution` of 1 to max_axes spatial axes (at most 4).

    sites: draw tiled and local weights too. taps: mark some kernel positions as the only ones. epilogue: draw bias and
    activation. dtypes: of the input; "uint8" and "uint16" get float32 weights and sum, and either type as output.
    """
    n = draw(st.integers(1, max_axes))
    longest = LONGEST[n]
    size, kernel, stride, dilation, padding, boundary = [], [], [], [], [], []
    for _ in range(n):
        k, d = draw(st.integers(1, min(4, longest))), draw(st.integers(1, 3))
        s = draw(st.integers(1, longest))
        low, high = (draw(st.integers(0, 2 if n > 2 else 3) | st.just(longest + 1)) for _ in range(2))
        high += max(span(k, d) - (low + s + high), 0)
        size.append(s)
        kernel.append(k)
        dilation.append(d)
        stride.append(draw(st.integers(1, 4)))
        padding.append((low, high))
        mode = draw(st.sampled_from(modes))
        boundary.append(Boundary(mode, draw(st.sampled_from(constants)) if mode == "constant" else 0.0))
    groups = draw(st.integers(1, max_groups))
    dtype = draw(st.sampled_from(dtypes))
    total = "float32" if dtype in PICTURES else dtype
    name = draw(st.sampled_from([None, *ACTIVATIONS])) if epilogue else None
    fields: dict[str, Any] = {
        "size": tuple(size),
        "kernel": tuple(kernel),
        "stride": tuple(stride),
        "dilation": tuple(dilation),
        "padding": tuple(padding),
        "boundary": tuple(boundary),
        "batch": draw(st.integers(1, max_batch)),
        "channels": groups * draw(st.integers(1, max_channels)),
        "features": groups * draw(st.integers(1, max_channels)),
        "groups": groups,
        "layout": draw(st.sampled_from(LAYOUTS)),
        "weight_layout": draw(st.sampled_from(WEIGHT_LAYOUTS)),
        "flip": draw(st.booleans()),
        "dtypes": Dtypes(dtype, total, total, draw(st.sampled_from([total, dtype]))),
        "epilogue": Epilogue(epilogue and draw(st.booleans()), name, (ACTIVATIONS[name] or 0.0) if name else 0.0),
    }
    if sites and draw(st.booleans()):
        output = Convolution(**fields).output
        local = draw(st.booleans())
        fields["sites"] = output if local else tuple(draw(st.integers(1, p)) for p in output)
    if taps and draw(st.booleans()):
        kept = draw(st.lists(st.tuples(*(st.integers(0, k - 1) for k in kernel)), min_size=1, max_size=6, unique=True))
        fields["taps"] = tuple(sorted(kept)) if len(kept) < math.prod(kernel) else None
    return Convolution(**fields)


def operands(spec: Convolution, seed: int = 0, integers: bool = False) -> tuple[Array, Array, Array | None]:
    """x, w and the bias (None if the spec has none), normal, or small integers whose sums are exact in any order.

    Weights outside `spec.taps` are zero, as the spec promises.
    """
    rng = np.random.default_rng(seed)

    def numbers(shape: tuple[int, ...], dtype: str) -> Array:
        if dtype in PICTURES:
            return rng.integers(0, 8 if integers else np.iinfo(dtype).max, shape, dtype, endpoint=True)
        array: Array = rng.integers(-4, 4, shape, endpoint=True).astype(dtype) if integers else rng.standard_normal(shape).astype(dtype)
        if np.dtype(dtype).kind == "c":
            array += 1j * (rng.integers(-4, 4, shape, endpoint=True) if integers else rng.standard_normal(shape))
        return array

    x, w = numbers(spec.x_shape, spec.dtypes.x), numbers(spec.w_shape, spec.dtypes.w)
    bias = numbers(spec.bias_shape, spec.dtypes.sum) if spec.epilogue.bias else None
    if spec.taps is not None:
        kept = np.zeros(spec.kernel, bool)
        kept[tuple(np.transpose(spec.taps))] = True
        end = {"OI*": 0, "*IO": 2, "O*I": 1}[spec.weight_layout]  # dimensions behind the kernel's
        w *= kept.reshape(*spec.kernel, *(1,) * end)
    return x, w, bias
