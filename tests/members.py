"""Random members of the family as their users write them, and what the definition says of each."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume
from hypothesis import strategies as st

import adjoints
from juanji import contraction, reference
from juanji.boundary import MODES, Boundary
from juanji.describe import choose_dtypes
from juanji.errors import ArgumentError, JuanjiError
from juanji.exact import SIGNED, UNSIGNED, limits
from juanji.spec import LAYOUTS, NO_EPILOGUE, OVERFLOWS, WEIGHT_LAYOUTS, Convolution, Dtypes, Epilogue, span
from strategies import Array
from test_bits import VIEWS

try:
    import ml_dtypes  # noqa: F401
except ImportError:
    HALVES: tuple[str, ...] = ("float16",)
else:
    HALVES = ("float16", "bfloat16")

FLOATS = (*HALVES, "float32", "float64")
INTEGERS = (*SIGNED, *UNSIGNED)
COMPLEX = ("complex64", "complex128")


def _together(x: str, w: str) -> bool:
    try:
        choose_dtypes(np.dtype(x), np.dtype(w), None)
    except JuanjiError:
        return False
    return True


EVERY_PAIR = tuple((x, w) for x, w in itertools.product((*INTEGERS, *FLOATS, *COMPLEX), repeat=2) if _together(x, w))
FEW_PAIRS = (
    ("float32", "float32"), ("float64", "float64"), *((half, half) for half in HALVES), ("uint8", "float32"), ("uint8", "int8"),
    ("int64", "int64"), ("complex64", "complex64"), ("float64", "complex128"),
)  # fmt: skip
NARROWER_OR_WIDER = {"i": ("uint8", "int16", "int64", "bool", "float64"), "f": ("float32", "float64", "float16", "uint8"), "c": COMPLEX}
LONGEST = {1: 24, 2: 8, 3: 5, 4: 3, 5: 2}  # of a spatial axis, by how many there are
MOST_MACS = 40_000
INEXACT = ("leaky_relu", "sigmoid", "tanh")
PLAIN = Convolution((1,), (1,), (1,), (1,), ((0, 0),), (Boundary(),))


@dataclass(frozen=True)
class Member:
    """A description, the geometry as a user writes it, and the rest that makes a call.

    values: "whole" are integers whose sums no type rounds, "any" are normal or, of integers, of all sizes.
    """

    spec: Convolution
    geometry: dict[str, Any]
    output_padding: tuple[int, ...] | None
    out_dtype: str | None
    dy: str
    values: str
    seed: int
    single: bool
    views: tuple[str, ...]

    def rounds(self, sum_type: str) -> bool:
        """Whether sums of this type may be rounded."""
        return self.values != "whole" and sum_type != "int64"

    def numbers(self, shape: tuple[int, ...], dtype: str, salt: int) -> Array:
        """An array of the member's values."""
        rng = np.random.default_rng((self.seed, salt))
        kind = np.dtype(dtype).kind
        if kind in "biu":
            least, most = limits(dtype)
            bits = 3 if self.values == "whole" else int(rng.choice((1, 7, 12, 31, 63))) if self.spec.dtypes.integers else 7
            drawn: Array = rng.integers(max(least, -(2**bits)), min(most, 2**bits - 1), shape, np.int64, endpoint=True).astype(dtype)
            return drawn
        drawn = rng.integers(-4, 4, shape, endpoint=True).astype(float) if self.values == "whole" else rng.standard_normal(shape)
        if kind == "c":
            drawn = drawn + 1j * (rng.integers(-4, 4, shape, endpoint=True) if self.values == "whole" else rng.standard_normal(shape))
        return drawn.astype(dtype)

    def seen(self, array: Array, turn: int) -> Any:
        """The array as another view, or as nested lists; without its batch axis where the member has none."""
        array = array[0] if self.single and turn != 1 else array
        name = self.views[turn]
        if name == "a list":
            return array.tolist() if array.dtype in (np.float64, np.int64, np.bool_, np.complex128) else array
        return array if array.dtype.kind == "V" and "byte order" in name else VIEWS[name](array)

    def bias(self, shape: tuple[int, ...], of: Dtypes) -> Array | None:
        """A bias in the type of a sum."""
        if not self.spec.epilogue.bias:
            return None
        return (replace(self, values="whole") if of.sum == "int64" else self).numbers(shape, of.sum, 3)

    def result(self, array: Array) -> Array:
        """The result with the batch axis that a call without one leaves out."""
        return array[None] if self.single else array


@st.composite
def members(draw: st.DrawFn, *, pairs: Any = EVERY_PAIR, few: bool = False, max_axes: int = 5, float64: bool = False) -> Member:
    """Any member of the family. few: kernels, strides and types from few values, so that examples share compiled code."""
    n = draw(st.sampled_from([axes for axes in (1, 2, 2, 2, 3, 3, 4, 5) if axes <= max_axes]))
    longest = LONGEST[n]
    kernel = tuple(draw(st.integers(1, min(3 if few or n > 1 else 9, longest))) for _ in range(n))
    dilation = tuple(draw(st.integers(1, 2 if few or n > 3 else 3)) for _ in range(n))
    stride = tuple(draw(st.integers(1, 3 if few else 5)) for _ in range(n))
    size = tuple(draw(st.integers(1, longest)) for _ in range(n))
    written, padding = draw(paddings(size, kernel, stride, dilation))
    for s, (low, high), k, d in zip(size, padding, kernel, dilation, strict=True):
        assume(low + s + high >= span(k, d))
    x, w = draw(st.sampled_from((("float64", "float64"),) if float64 else pairs))
    whole = np.dtype(x).kind in "biu" and np.dtype(w).kind in "biu"
    constant = draw(st.sampled_from([0.0, 1.0, -2.0] if whole else [0.0, 1.0, -2.5]))
    boundary = tuple(Boundary(draw(st.sampled_from(sorted(MODES))), constant) for _ in range(n))
    kind = "i" if whole else "c" if "c" in (np.dtype(x).kind, np.dtype(w).kind) else "f"
    out_dtype = draw(st.none() | st.sampled_from(NARROWER_OR_WIDER[kind])) if not float64 else None
    dtypes = choose_dtypes(np.dtype(x), np.dtype(w), None if out_dtype is None else np.dtype(out_dtype))
    allowed = {"i": (None, "relu", "relu6"), "c": (None,), "f": (None, "relu", "relu6", "leaky_relu", "sigmoid", "tanh")}
    name = draw(st.sampled_from(allowed["i" if dtypes.sum == "int64" else kind]))
    groups = draw(st.sampled_from([1, 1, 1, 2, 3, 8] if n < 3 else [1, 1, 2]))
    each = st.sampled_from([1, 2, 3, 17] if n < 3 else [1, 2])
    layout = draw(st.sampled_from(LAYOUTS))
    spec = Convolution(
        size=size, kernel=kernel, stride=stride, dilation=dilation, padding=padding, boundary=boundary,
        batch=draw(st.integers(1, 2)), channels=groups * draw(each), features=groups * draw(each), groups=groups, layout=layout,
        weight_layout=draw(st.sampled_from(WEIGHT_LAYOUTS)), flip=draw(st.booleans()), dtypes=dtypes,
        epilogue=Epilogue(draw(st.booleans()), name, 0.125 if name == "leaky_relu" else 0.0),
        overflow="saturate" if name in INEXACT else draw(st.sampled_from(OVERFLOWS)),  # others jump where a rounded sum does not fit
    )  # fmt: skip
    sharing = draw(st.sampled_from(["shared", "shared", "tiled", "local"]))
    if sharing != "shared":
        spec = replace(spec, sites=spec.output if sharing == "local" else tuple(draw(st.integers(1, min(p, 3))) for p in spec.output))
    assume(spec.macs <= MOST_MACS and math.prod(spec.w_shape) <= MOST_MACS)
    values = "any" if (whole or spec.overflow == "saturate") and (float64 or draw(st.booleans())) else "whole"
    single = draw(st.booleans()) and spec.batch == 1
    outside: Any = tuple(("constant", b.value) if b.constant else b.mode for b in boundary)
    if len(set(outside)) == 1 and draw(st.booleans()):
        (outside,) = set(outside)
    errors = sorted({x, w} | ({dtypes.y} if out_dtype is None and not whole else set()))
    if constant % 1:  # is refused where x and dy are integers
        errors = [name for name in errors if np.dtype(name).kind not in "biu"]
    usual = spec.weight_layout == ("OI*" if layout == "channels_first" else "*IO")
    return Member(
        spec,
        {
            "stride": draw(forms(stride)), "padding": written, "dilation": draw(forms(dilation)), "groups": groups, "boundary": outside,
            "flip": spec.flip, "sharing": sharing, "layout": layout, "weight_layout": None if usual else spec.weight_layout,
            "overflow": spec.overflow,
        },
        _output_padding(spec, written),
        out_dtype,
        draw(st.sampled_from(errors)),
        values,
        draw(st.integers(0, 2**20)),
        single,
        tuple(draw(st.sampled_from(["read-only", "read-only", *VIEWS, "a list"])) for _ in range(3)),
    )  # fmt: skip


def forms(values: tuple[int, ...]) -> st.SearchStrategy[Any]:
    """One integer per axis, in the ways that people write them."""
    ways: list[Any] = [values, list(values), np.array(values), tuple(np.int32(v) for v in values)]
    return st.sampled_from(ways + [values[0], np.int64(values[0])] * (len(set(values)) == 1))


@st.composite
def paddings(draw: st.DrawFn, size: Any, kernel: Any, stride: Any, dilation: Any) -> tuple[Any, tuple[tuple[int, int], ...]]:
    """A padding as it is written, and the (low, high) pairs that it means."""
    n, reach = len(size), [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    form = draw(st.sampled_from(["valid", "same", "same_lower", "full", "causal", "number", "per axis", "pairs", "pairs"]))
    if form.startswith("same"):
        total = [max((-(-s // step) - 1) * step + r + 1 - s, 0) for s, step, r in zip(size, stride, reach, strict=True)]
        halves = [(t // 2, t - t // 2) for t in total]
        return form, tuple(halves if form == "same" else [(high, low) for low, high in halves])
    if form in ("valid", "full", "causal"):
        return form, tuple((r if form != "valid" else 0, r if form == "full" else 0) for r in reach)
    far = st.integers(0, 2) if n > 2 else st.integers(0, 3) | st.just(max(size) + 1)
    if form == "number":
        side = draw(far)
        return side, ((side, side),) * n
    if form == "per axis":
        sides = [draw(far) for _ in range(n)]
        return sides, tuple((side, side) for side in sides)
    pairs = tuple((draw(far), draw(far)) for _ in range(n))
    return pairs, pairs


def _output_padding(spec: Convolution, written: Any) -> tuple[int, ...] | None:
    """What a transposed convolution adds to get back to the input's size; None where its padding gives another."""
    axes = zip(spec.size, spec.output, spec.stride, spec.padding, spec.kernel, spec.dilation, strict=True)
    if str(written).startswith("same"):
        return None if any(s != p * step for s, p, step, _, _, _ in axes) else (0,) * spec.n
    return tuple(s - ((p - 1) * step - low - high + span(k, d)) for s, p, step, (low, high), k, d in axes)


# What a member computes, by the definition ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Truth:
    """Finished sums before their epilogue. Where some may be rounded, `size` is the sum of |terms|, of which each has `terms`."""

    total: Array
    size: Array | None
    terms: Any
    type: str

    @property
    def exact(self) -> bool:
        """Whether no sum can be rounded, in any order."""
        return self.size is None

    @property
    def eps(self) -> float:
        """Distance from 1 to the next number of the sum's type."""
        return float(np.finfo("float32" if self.type == "int64" else self.type).eps)

    @property
    def bound(self) -> Any:
        """How far another order of the same sum may get, as `compiled.error_bound`; a product of complex numbers is four real ones."""
        if self.size is None:
            return 0.0
        terms = self.terms * 4 if self.type in COMPLEX else self.terms
        return 0.5 * (terms + 4) * self.eps * self.size + np.finfo(self.type).smallest_subnormal

    def plus(self, bias: Array | None) -> "Truth":
        """With a bias, of a shape that fits, added."""
        if bias is None:
            return self
        size = None if self.size is None else self.size + np.abs(bias)
        return replace(self, total=self.total + wide(bias, self.type == "int64"), size=size)


def wide(array: Array, exact: bool = True) -> Array:
    """The same numbers in float64, complex128 or, of integers, Python's own (exact)."""
    kind = array.dtype.kind
    return array.astype(np.complex128 if kind == "c" else object if kind in "biu" and exact else np.float64)


def forward(member: Member, x: Array, w: Array, bias: Array | None) -> Truth:
    """The sums of the convolution."""
    spec, total = member.spec, reference._sum(member.spec, x, w, bias)
    size = reference.magnitude(spec, x, w, bias) if member.rounds(spec.dtypes.sum) else None
    return Truth(total, size, spec.macs // math.prod(spec.y_shape), spec.dtypes.sum)


def gradient(member: Member, produces: str, first: Array, second: Array, of: Dtypes) -> Truth:
    """The sums of a gradient, term by term."""
    names = {"x": ("y", "w"), "w": ("x", "y")}[produces]
    linear = contraction.lower(replace(member.spec, epilogue=NO_EPILOGUE)).producing(produces)
    total = contraction.execute(linear, **{name: wide(a, of.integers) for name, a in zip(names, (first, second), strict=True)})
    if not member.rounds(of.sum):
        return Truth(total, None, 0, of.sum)
    sizes = [np.abs(wide(array, exact=False)) for array in (first, second)]
    return Truth(total, *adjoints.magnitude(member.spec, produces, sizes[0], sizes[1]), of.sum)


def assert_is(call: Callable[[], Array], truth: Truth, dtype: str, epilogue: Epilogue, overflow: str) -> Array | None:
    """The call gives what the definition gives, to the last bit where no sum rounds; or the definition's error (None)."""

    def activated(total: Array) -> Array:
        return reference.activate(replace(PLAIN, epilogue=epilogue), total)

    def stored(total: Array) -> Array:
        return reference.stored(total, np.dtype(dtype), overflow)

    inexact = epilogue.activation in INEXACT
    if truth.exact and not inexact:
        try:
            expected = stored(activated(truth.total))
        except ArgumentError as refused:
            assert_refused(call, str(refused))
            return None
        y = call()
        assert (y.shape, y.dtype.name) == (expected.shape, dtype)
        plain = np.float32 if y.dtype.kind == "V" else y.dtype
        np.testing.assert_array_equal(y.astype(plain), expected.astype(plain))
        return y
    y, total = call(), truth.total.astype(np.complex128 if truth.total.dtype.kind == "c" else np.float64)
    assert (y.shape, y.dtype.name) == (total.shape, dtype)
    if total.dtype.kind == "c":
        wrong = np.abs(y - total) > truth.bound + np.finfo(dtype).eps * np.abs(total)
        assert not wrong.any(), f"{np.count_nonzero(wrong)} of {y.size}: {y[wrong][0]} is not {total[wrong][0]}"
        return y
    ulps = 4 * truth.eps * (np.abs(activated(total)) + 1) if inexact else 0.0
    low, high = (stored(activated(total + sign * truth.bound) + sign * ulps) for sign in (-1, 1))  # everything here rises with the sum
    wrong = ~((low <= y) & (y <= high))
    assert not wrong.any(), f"{np.count_nonzero(wrong)} of {y.size}: {y[wrong][0]} is not from {low[wrong][0]} to {high[wrong][0]}"
    return y


def assert_refused(call: Callable[[], Array], words: str) -> None:
    """The call raises ArgumentError with these words."""
    with pytest.raises(ArgumentError) as raised:
        call()
    assert str(raised.value) == words
