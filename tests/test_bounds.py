"""No read or write outside the caller's arrays, the packed weights, the scratch memory: all of them beside protected pages.

A fault ends the process, so that each batch has its own; what it was computing is the last line it printed.
"""

import dataclasses
import signal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiled import assert_agrees, planned, python, schedules
from guarded import beside, guarded, scratch
from juanji import machine as machines
from juanji import run
from juanji.algorithms import direct
from juanji.describe import describe
from juanji.jit.emit import Emitter
from juanji.spec import Convolution
from strategies import operands
from test_direct import FAMILIES, LARGE, jobs


@dataclasses.dataclass(frozen=True)
class Sides:
    """Which arrays end before the protected page; the others begin after one."""

    x: bool
    w: bool
    bias: bool
    y: bool
    scratch: bool


ENDS, STARTS = Sides(True, True, True, True, True), Sides(False, False, False, False, False)


def compute(
    spec: Convolution,
    schedule: Any,
    machine: machines.Machine,
    sides: Sides,
    x_strides: tuple[int, ...] | None = None,
    threads: int = 1,
    items: int = 1,
) -> None:
    """items: into as many it is cut at least, as far as that goes."""
    (job,) = direct.work(spec, "y", machine).jobs
    schedule = job.finer(schedule, items)
    print(spec, repr(spec), schedule, sides, x_strides, sep="\n", flush=True)
    x, w, bias = operands(spec, seed=1, integers=True)
    x_at = guarded(x.shape, x.dtype, sides.x, x_strides)
    x_at[...] = x
    plan = planned(spec, schedule, machine)
    (part,) = plan.parts
    program = part.program
    part.program = dataclasses.replace(
        program,
        pack_weights=lambda array: beside(program.pack_weights(array), sides.w),
        pack_bias=lambda array: beside(program.pack_bias(array), sides.bias),
    )

    used = []

    def beside_pages(self: object, size: int) -> tuple[int, object]:
        used.append(size)
        return scratch(size, sides.scratch)

    type(run._thread).scratch = beside_pages  # type: ignore[method-assign,assignment]
    y = guarded(spec.y_shape, spec.dtypes.y, sides.y)
    assert plan(x_at, beside(w, sides.w), None if bias is None else beside(bias, sides.bias), out=y, threads=threads) is y
    assert used
    assert_agrees(spec, y, x, w, bias, exact=True)


@st.composite
def strided(draw: st.DrawFn, shape: tuple[int, ...], itemsize: int) -> tuple[int, ...] | None:
    """Strides of a view with gaps, turned axes and axes in another order; None for a contiguous array."""
    if draw(st.booleans()):
        return None
    strides, step = [0] * len(shape), itemsize
    order = draw(st.permutations(range(len(shape)))) if draw(st.booleans()) else range(len(shape))
    for axis in reversed(order):
        step *= draw(st.sampled_from((1, 1, 1, 2, 3)))
        strides[axis] = step * draw(st.sampled_from((1, 1, -1)))
        step *= shape[axis]
    return tuple(strides)


def random_batch(family: str, examples: int) -> None:
    """Random descriptions, schedules, places and views."""

    @settings(max_examples=examples, deadline=None, database=None)
    @given(data=st.data(), sides=st.builds(Sides, *[st.booleans()] * 5), threads=st.integers(1, 2), items=st.sampled_from((1, 7, 1000)))
    def draw(data: st.DataObject, sides: Sides, threads: int, items: int) -> None:
        spec, schedule, machine = data.draw(jobs(FAMILIES[family]))
        compute(spec, schedule, machine, sides, data.draw(strided(spec.x_shape, np.dtype(spec.dtypes.x).itemsize)), threads, items)

    draw()


def few(spec: Convolution) -> list[Any]:
    """Of every kind of schedule the first and the last: the same tiles for most sizes, so that little is compiled."""
    return [found[i] for found in schedules(spec).values() for i in sorted({0, len(found) - 1})]


def sizes_batch(dtype: str, layout: str) -> None:
    """Pictures and layers from 1×1 to a few columns more than two vectors."""
    machine = machines.probe()
    lanes = machine.vector_bits // (64 if dtype == "float64" else 32)
    w_dtype = "float32" if dtype == "uint8" else dtype
    for width in (1, lanes - 1, lanes, 2 * lanes + 3):
        for height, kernel, arguments in (
            (1, (1, 1), {}),
            (1, (1, 3), {"padding": ((0, 0), (1, 1))}),
            (5, (3, 3), {"padding": 1, "boundary": "reflect"}),
            (6, (3, 2), {"padding": ((2, 0), (0, 1)), "stride": (1, 2), "out_dtype": dtype}),
        ):
            for channels, features, groups in ((1, 1, 1), (3, 5, 1), (width, width, width), (2, width, 1)):
                body = (features, channels // groups, *kernel) if layout == "channels_first" else (*kernel, channels // groups, features)
                x = (2, channels, height, width) if layout == "channels_first" else (2, height, width, channels)
                spec = describe(x, body, dtype=dtype, w_dtype=w_dtype, groups=groups, layout=layout, bias=groups == 1, **arguments)
                for schedule in few(spec):
                    for sides in (ENDS, STARTS):
                        compute(spec, schedule, machine, sides)


def large_batch(dtype: str, names: list[str]) -> None:
    """Sizes with several blocks, bands, chunks and shares of the features."""
    for name in names:
        x, w, arguments = LARGE[name]
        spec = describe(x, w, dtype=dtype, w_dtype="float32" if dtype == "uint8" else dtype, **arguments)
        machine = machines.probe()
        small = dataclasses.replace(machine, l2=1 << 16)  # more and smaller chunks; results that are stored past the caches
        for number, schedule in enumerate(few(spec)):
            compute(spec, schedule, small if number % 2 else machine, STARTS if number % 3 == 2 else ENDS, threads=1 + number % 2)


def tails_without_masks_batch(dtype: str) -> None:
    """As on machines whose stores know no masks: tails go through a buffer."""
    machine = machines.probe()
    features = ",".join("-" + f[1:] if f.startswith("+avx512") else f for f in machine.features.split(","))
    narrow = dataclasses.replace(machine.target, features=features, vector_bits=256, registers=16, masks=False)
    machine = dataclasses.replace(machine, target=narrow)
    assert not Emitter(narrow.vector_bits, narrow.masks).masks
    for layout in ("channels_first", "channels_last"):
        for width in (1, 3, 7, 9, 17):
            x, w = ((1, 5, 4, width), (width, 5, 3, 3)) if layout == "channels_first" else ((1, 4, width, 5), (3, 3, 5, width))
            spec = describe(x, w, dtype=dtype, w_dtype="float32" if dtype == "uint8" else dtype, padding=1, layout=layout)
            for found in schedules(spec, machine).values():
                for schedule in (found[0], found[-1]):
                    for sides in (ENDS, STARTS):
                        compute(spec, schedule, machine, sides)


def batch(call: str, module: str = "test_bounds") -> None:
    """Run one batch in its own process."""
    ended = python(f"import {module}; {module}.{call}", timeout=400)
    if ended.returncode:
        how = f"signal {signal.Signals(-ended.returncode).name}" if ended.returncode < 0 else f"status {ended.returncode}"
        pytest.fail(f"{how} in {call}, computing\n{ended.stdout[-2500:]}\n{ended.stderr[-4000:]}")


@pytest.mark.parametrize("family", FAMILIES)
def test_random_descriptions(family: str) -> None:
    batch(f"random_batch({family!r}, 60)")


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_many_random_descriptions(family: str) -> None:
    batch(f"random_batch({family!r}, 1500)")


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_small_sizes(dtype: str, layout: str) -> None:
    batch(f"sizes_batch({dtype!r}, {layout!r})")


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("part", range(2))
def test_large_sizes(dtype: str, part: int) -> None:
    batch(f"large_batch({dtype!r}, {list(LARGE)[part::2]!r})")


@pytest.mark.skipif(not machines.probe().target.triple.startswith("x86_64"), reason="narrows the vectors of an x86-64 processor")
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_tails_without_masks(dtype: str) -> None:
    batch(f"tails_without_masks_batch({dtype!r})")


@pytest.mark.parametrize(("count", "faults"), [(4, False), (5, True)])
def test_the_pages_do_protect(count: int, faults: bool) -> None:
    for at_end in (True, False):
        array = f"guarded.guarded((4,), 'float32', {at_end})"
        turned = "" if at_end else "[::-1]"
        code = f"import guarded, numpy as np; a = {array}{turned}; np.lib.stride_tricks.as_strided(a, ({count},), a.strides).sum()"
        assert (python(code).returncode == -signal.SIGSEGV) is faults
